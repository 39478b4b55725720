"""Runs all of it and prints a table: WORK short | WORK KILLS CUTS."""

import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import crashes
import hostile
import probes
import scanners

WORK = Path(sys.argv[1])
SHORT = sys.argv[2] == "short"
KILLS, CUTS = (20, 3) if SHORT else (int(sys.argv[2]), int(sys.argv[3]))


def failing_operations():
    """The step of CI that fails each write, sync and rename."""
    ran = subprocess.run([".ci/failing_disk.sh"], capture_output=True, text=True, check=False)
    counts = [line for line in ran.stdout.splitlines() if " passed, " in line]
    faults = [] if ran.returncode == 0 else ran.stdout.splitlines()[-20:] + [ran.stderr[-500:]]
    passed = sum(int(line.split()[0]) for line in counts)
    return {"what": "each write, sync and rename fails once (`.ci/failing_disk.sh`)",
            "count": f"{passed} claims", "figures": "all hold", "faults": faults}


def rows():
    seconds = 8 if SHORT else 20
    yield crashes.kills(WORK, KILLS)
    yield crashes.cuts(WORK, CUTS)
    yield probes.probes(WORK)
    yield from hostile.everything(WORK, seconds)
    yield scanners.sslscan(WORK)
    if not SHORT:
        yield from scanners.slow_http(WORK, seconds)
        yield scanners.testssl(WORK)
        yield failing_operations()


def main():
    passed = failed = 0
    print("| what | how much | result |\n|--|--|--|", flush=True)
    for row in rows():
        failed += bool(row["faults"])
        passed += not row["faults"]
        result = row["figures"] if not row["faults"] else f"FAILED; {row['figures']}"
        print(f"| {row['what']} | {row['count']} | {result} |", flush=True)
        for fault in row["faults"][:10]:
            print(f"  FAILED: {fault}", file=sys.stderr, flush=True)
    cores = len(Path("/proc/cpuinfo").read_text().split("\nprocessor")) or 1
    print(f"\n{date.today()}, {platform.machine()}, {cores} cores, {time.process_time():.0f} s "
          "of the clients' processor time")
    print(f"{passed} passed, {failed} failed")
    return bool(failed) or not passed


if __name__ == "__main__":
    sys.exit(main())
