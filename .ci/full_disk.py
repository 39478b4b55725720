"""The full disks of failing_disk.sh: BINARY WORK.

Whoever has a fleet token invents boards until a small ext4 is full: a registered board's dump
is stored all the same. Then no block is left, or no inode: what a person removes or revokes is
gone, and still is after a restart on the full disk.
"""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager

import failing_disk as disk
from failing_disk import WORK, Daemon, check, fill
from failing_firmware import image

INVENTED, SIZE = 100, 1_000_000
numbers = iter(range(1_000))


@contextmanager
def filesystem(*options):
    """A new ext4 of 96 MB."""
    # a file of its own each time: the loop device of the one before may still be there
    number = next(numbers)
    file, mount = WORK / f"full-{number}.img", WORK / f"full-{number}"
    mount.mkdir()
    with open(file, "wb") as empty:
        empty.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", *options, file], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", file, mount], stderr=subprocess.PIPE)
    if mounted.returncode:
        check(False, f"a small ext4 can be mounted: {mounted.stderr.decode()}")
        disk.conclude()
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)
        file.unlink()


def fill_with_files(folder):
    """Takes all inodes that there are."""
    folder.mkdir(exist_ok=True)
    for number in range(1_000_000):
        try:
            (folder / f"{number}-{len(os.listdir(folder))}").touch()
        except OSError:
            return


def dump(salt, size):
    """Bytes that are no other dump's."""
    return salt.to_bytes(4, "big") + bytes(size - 4)


class Gateway(Daemon):
    def status(self, method, path, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.data / "run/control.sock"))
        connection.request(method, path, body)
        return connection.getresponse().status

    def post_as(self, key, token, body):
        """A board with a fleet's token, or one of its own."""
        context = ssl.create_default_context(cafile=self.data / "tls/ca.pem")
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=context)
        path = f"/api/iot/coredump?chip=esp32&firmware_version=1&device_key={key}"
        connection.request("POST", path, body, {"Authorization": "Bearer " + token})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def invent(daemon, token, count, size):
    """Boards that nobody has, each with a dump."""
    statuses = {daemon.post_as(f"b{n}", token, dump(n, size)) for n in range(count)}
    check(statuses == {201}, f"invented boards: statuses {statuses}")


def removals(daemon):
    """What is removed on the disk that is full; afterwards none of it is there."""
    builds = daemon.control("GET", "/api/models/lamp/firmware")["firmware"]
    [former] = [build["name"] for build in builds if not build["active"]]
    dumps = daemon.control("GET", "/api/coredumps?device=k1")["coredumps"]
    return [
        ("DELETE", "/api/tokens/field", None),
        ("DELETE", "/api/devices/k2/tokens", None),
        ("DELETE", "/api/devices/b1", "/api/devices/b1"),
        ("DELETE", f"/api/models/lamp/firmware/{former}", f"/api/models/lamp/firmware/{former}"),
        ("DELETE", "/api/devices/b2", "/api/devices/b2"),
        ("DELETE", "/api/models/lamp/firmware", None),
        ("DELETE", f"/api/coredumps/{dumps[0]['id']}", f"/api/coredumps/{dumps[0]['id']}"),
    ]


def full(what, options, size, fill_up):
    with filesystem(*options) as mount:
        data = mount / "data"
        disk.copy_fresh(data)
        daemon = Gateway(data)
        other = daemon.control("POST", "/api/devices", {"device_key": "k2", "model": "lamp"})
        fleet = {"name": "field", "role": "fleet", "model": "lamp"}
        fleet = daemon.control("POST", "/api/tokens", fleet)["token"]
        for seed in (1, 2):
            path = "/api/pipeline/models/lamp/firmware"
            check(daemon.status("POST", path, image(seed)) == 200, f"{what}: firmware {seed}")
        check(daemon.post(dump(1_000, 20_000))[0] == 201, f"{what}: a first dump")
        invent(daemon, fleet, INVENTED, size)
        fill_up(mount)
        status = daemon.post(dump(1_001, 900_000))[0]
        check(status == 201, f"{what}: the dump of a registered board: status {status}")
        check(daemon.post_as("k2", other["token"], dump(1_002, 5_000)) == 201, f"{what}: another's")
        done = removals(daemon)
        for method, path, _ in done:
            fill_up(mount)
            status = daemon.status(method, path)
            check(status in (200, 204), f"{what}: {method} {path}: status {status}")
        fill_up(mount)
        daemon.end(signal.SIGKILL)
        daemon = Gateway(data)
        for _, _, path in done:
            if path:
                status = daemon.status("GET", path)
                gone = status == 404 or path.startswith("/api/models/")
                check(gone, f"{what}: {path} came back: status {status}")
        names = [token["name"] for token in daemon.control("GET", "/api/tokens")["tokens"]]
        check("field" not in names, f"{what}: the fleet token came back")
        tokens = daemon.control("GET", "/api/devices/k2")["tokens"]
        check(tokens == [], f"{what}: tokens of a device came back: {tokens}")
        builds = daemon.control("GET", "/api/models/lamp/firmware")["firmware"]
        check(builds == [], f"{what}: firmware came back: {builds}")
        check(daemon.control("GET", "/api/devices/k1")["registered"], f"{what}: the others stay")
        check(daemon.end(signal.SIGTERM) == 0, f"{what}: stops")
        print(f"full disk, {what}: {len(done)} removals", flush=True)


def no_blocks(mount):
    fill(mount / "filler")


def no_inodes(mount):
    fill_with_files(mount / "many")


if __name__ == "__main__":
    if os.geteuid() != 0:
        check(False, "full disks need root")
        sys.exit(1)
    disk.TOKEN = disk.fresh()
    full("no block left", [], SIZE, no_blocks)
    full("no inode left", ["-N", "1000"], 5_000, no_inodes)
    disk.conclude()
