"""The cases of failing_disk.sh: BINARY WORK, where WORK/failfs.so and
WORK/slowsync.so are the shims."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

BINARY, WORK = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
ARM, LOG = WORK / "armed", WORK / "calls"
# An upload and what the worker does with it afterwards take fewer calls.
MOST_CALLS = 40
passed, failures = 0, []


def check(fine, claim):
    global passed
    if fine:
        passed += 1
    else:
        failures.append(claim)
        print("FAILED:", claim, flush=True)


def dump(salt):
    """A raw image whose checksum holds; every salt is another dump."""
    body = bytes((i * 7 + salt) & 0xFF for i in range(20_000))
    head = struct.pack("<IIIIII", 24 + len(body) + 4, 0x00000102, 0, 0, 0, 0)
    return head + body + struct.pack("<I", zlib.crc32(head + body))


class Daemon:
    def __init__(self, data, slow_us=0, **failing):
        self.data, self.journal = data, WORK / "journal"
        environment = {"ESPGATE_DATA_DIR": str(data), "ESPGATE_CONFIG": str(WORK / "espgate.toml")}
        if failing:
            environment |= {"LD_PRELOAD": str(WORK / "failfs.so"), "FAILFS_DIR": str(data),
                            "FAILFS_ARM": str(ARM), "FAILFS_LOG": str(LOG)}
            if slow_us:
                environment |= {"LD_PRELOAD": f"{WORK}/failfs.so {WORK}/slowsync.so",
                                "SLOWSYNC_US": str(slow_us)}
            environment |= {f"FAILFS_{name.upper()}": str(value) for name, value in failing.items()}
        with open(self.journal, "wb") as journal:
            self.process = subprocess.Popen([BINARY, "serve"], env=environment, stderr=journal)
        until = time.monotonic() + 60
        while " is ready on " not in self.said():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("does not start: " + self.said())
            time.sleep(0.02)
        self.port = int(self.said().split(" is ready on https://127.0.0.1:")[1].split(",")[0])

    def said(self):
        return self.journal.read_text(errors="replace")

    def control(self, method, path, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.data / "run/control.sock"))
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return json.loads(answer.read() or b"null")

    def post(self, body, token=None):
        """Status and answer; 0 if the daemon went away."""
        context = ssl.create_default_context(cafile=self.data / "tls/ca.pem")
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=context)
        try:
            connection.request("POST", "/api/iot/coredump?chip=esp32&firmware_version=1", body,
                               {"Authorization": "Bearer " + (token or TOKEN)})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()

    def settle(self):
        """Until nothing waits for the worker, or it was made to fail: then it
        tries again when the next dump comes."""
        until = time.monotonic() + 20
        while self.alive() and time.monotonic() < until:
            if ARM.exists() and LOG.exists() and " FAIL" in LOG.read_text():
                until = min(until, time.monotonic() + 0.3)
            try:
                listed = self.control("GET", "/api/coredumps")["coredumps"]
            except (OSError, http.client.HTTPException, ValueError):
                continue
            if all(entry["decode"] != "pending" for entry in listed):
                return
            time.sleep(0.02)

    def alive(self):
        return self.process.poll() is None

    def end(self, how):
        if self.alive():
            self.process.send_signal(how)
        return self.process.wait(30)


def left_over(data):
    """Temporary files that stay: the worker writes crash groups, and again what failed."""
    until = time.monotonic() + 15
    while (left := hidden(data)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def is_killed_if_reached(daemon):
    """Whether the daemon ended if the failing call was reached, and goes on if not. It
    ends a moment after the shim has written that down."""
    until = time.monotonic() + 3
    while True:
        reached = LOG.exists() and " FAIL" in LOG.read_text()
        if daemon.alive() != reached or time.monotonic() > until:
            return daemon.alive() != reached
        time.sleep(0.02)


def hidden(data):
    return [str(path) for path in data.rglob(".*")]


def whole(data, acknowledged, sent, what, board="k1"):
    """What is on the disk, after a start that put it right."""
    folder = data / "coredumps" / board
    for answer, body in acknowledged:
        path = folder / answer["filename"]
        check(path.is_file() and path.read_bytes() == body, f"{what}: {path.name} was acknowledged")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(names):
        stem, _, extension = name.partition(".")
        if extension == "dmp":
            check((folder / name).read_bytes() in sent, f"{what}: {name} is a whole dump")
            try:
                sidecar = json.loads((folder / (stem + ".json")).read_bytes())
                check(sidecar["size"] == (folder / name).stat().st_size, f"{what}: sidecar of {name}")
                check(sidecar["identity"] == "token", f"{what}: {name} has the sidecar of its upload")
            except (OSError, ValueError) as error:
                check(False, f"{what}: {name} has no sidecar: {error}")
        elif name.startswith("coredump_"):
            check(stem + ".dmp" in names, f"{what}: {name} belongs to a dump")
    left = left_over(data)
    check(not left, f"{what}: temp files {left}")


def copy_fresh(data):
    """A data directory with a model and a device, and no sockets in it."""
    shutil.copytree(WORK / "fresh", data, ignore=shutil.ignore_patterns("run"))


def fail_at(operation, nth, mode, error):
    """One daemon whose nth call fails; whether that call was reached."""
    what = f"{operation} {nth} {mode} {error}".strip()
    data = WORK / "data"
    shutil.rmtree(data, ignore_errors=True)
    copy_fresh(data)
    LOG.unlink(missing_ok=True)
    daemon = Daemon(data, op=operation, nth=nth, mode=mode, err=error)
    sent, acknowledged, refused = [dump(1), dump(2), dump(3)], [], []
    ARM.touch()
    for body in sent[:1]:
        status, answer = daemon.post(body)
        (acknowledged if status == 201 else refused).append((answer, body))
        # a half write is followed by its rest; nothing has failed then
        expected = {201} if mode == "short" else {201, 507 if error == "ENOSPC" else 500}
        if not mode.startswith("kill"):
            check(status in expected, f"{what}: status {status}")
            check("/" not in json.dumps(answer.get("error", "")), f"{what}: {answer} has a path")
        daemon.settle()
    ARM.unlink()
    if mode.startswith("kill"):
        check(is_killed_if_reached(daemon), f"{what}: the shim kills")
    calls = LOG.read_text() if LOG.exists() else ""
    reached = " FAIL" in calls
    if not mode.startswith("kill"):
        check(daemon.alive(), f"{what}: the daemon goes on: {daemon.said()}")
        status, answer = daemon.post(sent[2])
        check(status == 201, f"{what}: the next dump is taken, not {status}")
        acknowledged.append((answer, sent[2]))
        daemon.settle()
        left = left_over(data)
        check(not left, f"{what}: temp files when idle {left}")
    daemon.end(signal.SIGKILL)
    again = Daemon(data)
    again.settle()
    listed = again.control("GET", "/api/coredumps")["coredumps"]
    stored = len(list((data / "coredumps").glob("*/*.dmp")))
    check(len(listed) == stored, f"{what}: {len(listed)} listed, {stored} stored")
    check(again.post(dump(4))[0] == 201, f"{what}: takes dumps after a restart")
    sent.append(dump(4))
    again.settle()
    whole(data, acknowledged, sent, what)
    check(again.end(signal.SIGTERM) == 0, f"{what}: stops")
    return reached, len(acknowledged), calls


def failing_calls():
    for mode, error in [("err", "EIO"), ("err", "ENOSPC"), ("kill", ""), ("killafter", ""), ("short", "")]:
        for operation in ["write", "fsync", "rename"]:
            # After one call is before the next, but for the last step of a file.
            if (mode, operation) in [("short", "fsync"), ("short", "rename"),
                                     ("killafter", "write"), ("killafter", "fsync")]:
                continue
            count = taken = 0
            for nth in range(1, MOST_CALLS):
                reached, acknowledged, calls = fail_at(operation, nth, mode, error)
                if not reached:
                    break
                count, taken = count + 1, taken + acknowledged
            check(count >= 2, f"{operation} {mode}: the calls go through the shim")
            print(f"{operation:6} {mode:9} {error:6}: {count} calls failed one after another, "
                  f"{taken} acknowledged dumps looked at", flush=True)


def full_disk():
    """A small filesystem that fills up, also over a restart."""
    if os.geteuid() != 0:
        check(False, "the full disk needs root")
        return
    mount = WORK / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=755", "tmpfs", mount], check=True)
    try:
        data, filler = mount / "data", mount / "filler"
        copy_fresh(data)
        daemon = Daemon(data)
        check("tmpfs" in daemon.said(), "full disk: the daemon says that it is on a tmpfs")
        sent, acknowledged = [dump(n) for n in range(1, 8)], []
        acknowledged.append((daemon.post(sent[0])[1], sent[0]))
        daemon.settle()
        fill(filler)
        status, _ = daemon.post(sent[1])
        check(status == 507, f"full disk: status {status}")
        left = left_over(data)
        check(not left, f"full disk: temp files {left}")
        daemon.end(signal.SIGKILL)
        fill(filler)
        try:
            daemon = Daemon(data)
        except RuntimeError as error:
            check(False, f"full disk: {error}")
            filler.unlink()
            daemon = Daemon(data)
            fill(filler)
        status, _ = daemon.post(sent[2])
        check(status == 507, f"full disk: status {status} after a restart")
        check(daemon.control("GET", "/api/status")["degraded"], "full disk: the status says so")
        filler.unlink()
        status, answer = daemon.post(sent[3])
        check(status == 201, f"full disk: status {status} when there is room again")
        acknowledged.append((answer, sent[3]))
        daemon.settle()
        whole(data, acknowledged, sent, "full disk")
        check(daemon.end(signal.SIGTERM) == 0, "full disk: stops")
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def fill(filler):
    """Takes all room there is."""
    with open(filler, "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def fresh():
    """Makes WORK/fresh, a data directory with a model and a device; gives the device's token."""
    (WORK / "espgate.toml").write_text(
        '[http]\nlisten = ["127.0.0.1:0"]\n[serial]\ndiscover = "off"\n'
        '[coredumps]\nmin_free = 0\nmax_total = "90%"\n')
    first = Daemon(WORK / "fresh")
    first.control("PUT", "/api/models/lamp", {})
    made = first.control("POST", "/api/devices", {"device_key": "k1", "model": "lamp"})
    first.end(signal.SIGTERM)
    return made["token"]


def conclude():
    print(f"{passed} passed, {len(failures)} failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    TOKEN = fresh()
    failing_calls()
    full_disk()
    conclude()
