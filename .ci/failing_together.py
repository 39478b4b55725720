"""The cases of failing_disk.sh for several boards at once: BINARY WORK, where WORK/failfs.so
and WORK/slowsync.so are the shims.

Their dumps are committed together. A step of that fails, or is the process's last, or the power
goes: what was answered is there and whole, and no board's failure is another's.
"""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
import time

import failing_disk as disk

# Boards that upload at once, and the time of a sync: while one is under way,
# the others come together.
BOARDS, SYNC_US = 5, 30_000


def boards():
    """Tokens of boards in WORK/fresh; the first use of one is written down."""
    tokens = {"k1": disk.fresh()}
    first = disk.Daemon(disk.WORK / "fresh")
    for key in (f"k{n}" for n in range(2, BOARDS + 1)):
        made = first.control("POST", "/api/devices", {"device_key": key, "model": "lamp"})
        tokens[key] = made["token"]
    for token in tokens.values():
        first.post(b"", token)
    first.end(signal.SIGTERM)
    return tokens


def post_together(daemon):
    """All boards at once; per board the status, the answer and what was sent."""
    results = {}

    def one(board, token, body):
        results[board] = (*daemon.post(body, token), body)

    threads = [threading.Thread(target=one, args=(board, token, disk.dump(20 + n)))
               for n, (board, token) in enumerate(TOKENS.items())]
    for thread in threads:
        thread.start()
    return threads, results


def together_whole(data, results, what):
    """After a new start: what was answered is there, and nothing is half there."""
    again = disk.Daemon(data)
    again.settle()
    listed = again.control("GET", "/api/coredumps")["coredumps"]
    stored = len(list((data / "coredumps").glob("*/*.dmp")))
    disk.check(len(listed) == stored, f"{what}: {len(listed)} listed, {stored} stored")
    for board, (status, answer, body) in results.items():
        disk.whole(data, [(answer, body)] if status == 201 else [], [body], f"{what}: {board}", board)
    for board, (_, _, body) in results.items():
        status, _ = again.post(body, TOKENS[board])
        disk.check(status == 201, f"{what}: {board} is taken again, not {status}")
    again.settle()
    left = disk.left_over(data)
    disk.check(not left, f"{what}: temp files {left}")
    disk.check(again.end(signal.SIGTERM) == 0, f"{what}: stops")
    return sum(status == 201 for status, _, _ in results.values())


def together_at(operation, nth, mode, error):
    """Several boards at once; the nth call fails. Whether it was reached, how
    many boards had an answer, and the calls."""
    what = f"together: {operation} {nth} {mode} {error}".strip()
    data = disk.WORK / "data"
    shutil.rmtree(data, ignore_errors=True)
    disk.copy_fresh(data)
    disk.LOG.unlink(missing_ok=True)
    daemon = disk.Daemon(data, slow_us=SYNC_US, op=operation, nth=nth, mode=mode, err=error)
    disk.ARM.touch()
    threads, results = post_together(daemon)
    for thread in threads:
        thread.join()
    disk.ARM.unlink()
    calls = disk.LOG.read_text() if disk.LOG.exists() else ""
    reached = " FAIL" in calls
    if mode.startswith("kill"):
        if reached:
            daemon.process.wait(30)
        disk.check(disk.is_killed_if_reached(daemon), f"{what}: the shim kills")
    else:
        statuses = sorted(status for status, _, _ in results.values())
        bad = [status for status in statuses if status != 201]
        disk.check(len(bad) <= 1, f"{what}: one call failed, the answers are {statuses}")
        disk.check(all(status in (500, 507) for status in bad), f"{what}: {statuses}")
        daemon.settle()
        left = disk.left_over(data)
        disk.check(not left, f"{what}: temp files when idle {left}")
    daemon.end(signal.SIGKILL)
    return reached, together_whole(data, results, what), calls


def failing_together():
    calls = together_at("fsync", 10_000, "err", "EIO")[2]
    own = sum(".tmp-" in line for line in calls.splitlines())
    disk.check(own < 2 * BOARDS, f"together: {own} files of {BOARDS} dumps were synced on their own")
    for mode, error, operations in [
        ("kill", "", ["open", "write", "rename", "mkdir", "fsync"]),
        ("killafter", "", ["rename", "mkdir"]),
        ("err", "EIO", ["write", "rename", "fsync"]),
        ("err", "ENOSPC", ["open", "write", "rename", "mkdir"]),
    ]:
        for operation in operations:
            count = taken = 0
            for nth in range(1, disk.MOST_CALLS):
                reached, acknowledged, _ = together_at(operation, nth, mode, error)
                if not reached:
                    break
                count, taken = count + 1, taken + acknowledged
            disk.check(count >= 2, f"together: {operation} {mode}: the calls go through the shim")
            print(f"together: {operation:6} {mode:9} {error:6}: {count} calls failed one after "
                  f"another, {taken} acknowledged dumps looked at", flush=True)


def power_cuts():
    """The filesystem stops for good in the middle of a commit of several boards."""
    mount = disk.WORK / "cut"
    mount.mkdir()
    for operation in ["open", "write", "rename", "fsync"]:
        count = taken = 0
        for nth in range(1, disk.MOST_CALLS):
            what = f"power cut: {operation} {nth}"
            # a file of its own each time: the loop device of the one before may still be there
            image = disk.WORK / f"image-{operation}-{nth}"
            with open(image, "wb") as file:
                file.truncate(48 << 20)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            mounted = subprocess.run(["mount", "-o", "loop", image, mount], stderr=subprocess.PIPE)
            if mounted.returncode:
                print(f"NOT TRIED, power cuts: {mounted.stderr.decode().strip()}", flush=True)
                return
            try:
                data = mount / "data"
                disk.copy_fresh(data)
                os.sync()
                disk.LOG.unlink(missing_ok=True)
                daemon = disk.Daemon(data, slow_us=SYNC_US, op=operation, nth=nth, mode="delay:400")
                disk.ARM.touch()
                threads, results = post_together(daemon)
                while any(thread.is_alive() for thread in threads):
                    if disk.LOG.exists() and " FAIL" in disk.LOG.read_text():
                        break
                    time.sleep(0.002)
                reached = disk.LOG.exists() and " FAIL" in disk.LOG.read_text()
                if reached:
                    cut(mount)
                for thread in threads:
                    thread.join()
                disk.ARM.unlink()
                daemon.end(signal.SIGKILL)
                subprocess.run(["umount", mount], check=True)
                subprocess.run(["mount", "-o", "loop", image, mount], check=True)
                if not reached:
                    break
                count, taken = count + 1, taken + together_whole(data, results, what)
            finally:
                subprocess.run(["umount", "-l", mount], check=True)
                image.unlink()
        disk.check(count >= 2, f"power cut: {operation}: the calls go through the shim")
        print(f"power cut: {operation:6}: {count} cuts, {taken} acknowledged dumps looked at",
              flush=True)


def cut(mount):
    """EXT4_IOC_SHUTDOWN without writing the log: nothing more reaches the disk."""
    folder = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(folder)


TOKENS = boards()
failing_together()
power_cuts()
disk.conclude()
