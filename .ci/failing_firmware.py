"""The firmware cases of failing_disk.sh: BINARY WORK, where WORK/failfs.so is the shim.

Another build of a known version comes in, while the model is manual, blocked, held, its device
pinned, or none of these. A step of that upload fails, or is the process's last. What the device
is served then and after a restart is what it was served before or, where uploads become active,
the new build; and whatever the failure, the upload succeeds when it is tried again.
"""

import hashlib
import http.client
import shutil
import signal
import ssl
import struct

import failing_disk as disk
from failing_disk import ARM, LOG, WORK, Daemon, check

# An upload takes fewer calls.
MOST_CALLS = 60
OLD, NEW = 1, 2
DECISIONS = {
    "active at once": [],
    "manual": [("PUT", "/api/models/lamp", {"activate": "manual"})],
    "held": [("PUT", "/api/models/lamp", {"held": True})],
    "blocked": [("PUT", "/api/models/lamp/blocked/1.0", {})],
    "pinned": [("PUT", "/api/devices/k1/pin", {"version": "1.0"})],
}


def image(seed):
    """An ESP32 application that is the same version with every seed."""
    description = struct.pack("<IIII", 0xABCD5432, 0, 0, 0) + b"1.0".ljust(32, b"\0")
    description += b"lamp".ljust(32, b"\0") + b"12:00:00".ljust(16, b"\0")
    description += b"Jan  1 2026".ljust(16, b"\0") + b"v5.1".ljust(32, b"\0")
    description += hashlib.sha256(bytes([seed])).digest()
    segment = description.ljust(256, b"\0") + bytes((i * 7 + seed) & 0xFF for i in range(4096))
    head = struct.pack("<BBBBI", 0xE9, 1, 0, 0, 0x40080000) + bytes(16)
    body = head + struct.pack("<II", 0x3F400020, len(segment)) + segment
    checksum = 0xEF
    for byte in segment:
        checksum ^= byte
    return body + bytes(15 - len(body) % 16) + bytes([checksum])


class Gateway(Daemon):
    def request(self, method, path, token, body=None):
        context = ssl.create_default_context(cafile=self.data / "tls/ca.pem")
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=context)
        try:
            connection.request(method, path, body, {"Authorization": "Bearer " + token})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def upload(self, seed):
        return self.request("POST", "/api/pipeline/models/lamp/firmware", PIPELINE, image(seed))[0]

    def served(self):
        """What the device gets: OLD, NEW, or None for nothing."""
        status, body = self.request("GET", "/api/iot/firmware", disk.TOKEN)
        if status == 404:
            return None
        return {image(OLD): OLD, image(NEW): NEW}.get(body, f"{status}: {len(body)} bytes")


def fail_at(decision, operation, nth, mode, error):
    """One daemon whose nth call fails; whether that call was reached."""
    what = f"{decision}: {operation} {nth} {mode} {error}".strip()
    data = WORK / "data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(WORK / decision, data, ignore=shutil.ignore_patterns("run"))
    LOG.unlink(missing_ok=True)
    before = None if decision in ("held", "blocked") else OLD
    allowed = [before, NEW] if decision == "active at once" else [before]
    daemon = Gateway(data, op=operation, nth=nth, mode=mode, err=error)
    ARM.touch()
    status = daemon.upload(NEW)
    ARM.unlink()
    reached = LOG.exists() and " FAIL" in LOG.read_text()
    if not mode.startswith("kill"):
        check(daemon.alive(), f"{what}: the daemon goes on")
        check(status in (200, 500, 507), f"{what}: status {status}")
        served = daemon.served()
        check(served in allowed, f"{what}: serves {served}")
    daemon.end(signal.SIGKILL)
    again = Gateway(data)
    served = again.served()
    check(served in allowed, f"{what}: serves {served} after a restart")
    if status == 200:
        check(served == allowed[-1], f"{what}: serves {served} after an upload that was taken")
    check(again.upload(NEW) == 200, f"{what}: the upload is taken when it is tried again")
    served = again.served()
    check(served == allowed[-1], f"{what}: serves {served} after it was tried again")
    check(again.upload(OLD) == 200, f"{what}: the old build is taken")
    left = disk.left_over(data)
    check(not left, f"{what}: temp files {left}")
    check(again.end(signal.SIGTERM) == 0, f"{what}: stops")
    return reached


if __name__ == "__main__":
    disk.TOKEN = disk.fresh()
    first = Daemon(WORK / "fresh")
    PIPELINE = first.control("POST", "/api/tokens", {"name": "ci", "role": "pipeline"})["token"]
    first.end(signal.SIGTERM)
    for decision, requests in DECISIONS.items():
        shutil.rmtree(WORK / decision, ignore_errors=True)
        shutil.copytree(WORK / "fresh", WORK / decision, ignore=shutil.ignore_patterns("run"))
        gateway = Gateway(WORK / decision)
        check(gateway.upload(OLD) == 200, f"{decision}: the first build is taken")
        for request in requests:
            gateway.control(*request)
        gateway.end(signal.SIGTERM)
        for operation, mode, error in [("write", "err", "ENOSPC"), ("write", "kill", ""),
                                       ("fsync", "err", "EIO"), ("fsync", "kill", ""),
                                       ("rename", "err", "EIO"), ("rename", "kill", ""),
                                       ("rename", "killafter", ""), ("unlink", "kill", "")]:
            count = 0
            for nth in range(1, MOST_CALLS):
                if not fail_at(decision, operation, nth, mode, error):
                    break
                count += 1
            check(count >= 2 or operation == "unlink", f"{decision}: {operation} goes through the shim")
            print(f"{decision:14} {operation:6} {mode:9} {error:6}: {count} calls", flush=True)
    disk.conclude()
