"""The process is killed, the power is cut: what was acknowledged is there afterwards."""

import fcntl
import os
import random
import signal
import struct
import subprocess
import time

from gateway import Clients, Gateway, clear, halves, lost

BOARDS = 4
# A data directory serves so many kills, so that it does not fill the disk.
KILLS_PER_FOLDER = 100


def prepared(folder):
    """A gateway with boards; their tokens have been used."""
    gateway = Gateway(folder).start()
    gateway.control("PUT", "/api/models/lamp", {})
    tokens = {f"k{n}": gateway.device(f"k{n}") for n in range(BOARDS)}
    for token in tokens.values():
        gateway.post(token, b"first use")
    gateway.end()
    return gateway, tokens


def life(gateway, tokens, number, delay, strike):
    """One life under load that ends with `strike` after `delay`: acknowledged dumps, refusals,
    boards that were registered."""
    gateway.start()
    clients = Clients(gateway, tokens)
    registered, until = [], time.monotonic() + delay
    while time.monotonic() < until and gateway.alive():
        key = f"new{number}x{len(registered)}"
        try:
            gateway.device(key)
        except (OSError, AssertionError):
            break
        registered.append(key)
        time.sleep(0.01)
    time.sleep(max(0, until - time.monotonic()))
    strike()
    clients.join()
    return clients.acknowledged, clients.refused, registered


def check(gateway, acknowledged, registered):
    """Starts again; what is wrong."""
    gateway.start()
    faults = lost(gateway.data, acknowledged)
    _, listed = gateway.control("GET", "/api/devices?limit=1000")
    known = {device["device_key"] for device in listed["devices"]}
    if listed.get("next_cursor") is None:
        faults += [f"board {key} was registered and is not" for key in registered if key not in known]
    status = gateway.end()
    if status != 0:
        faults.append(f"stops with {status}: {gateway.said()[-300:]}")
    if "panicked" in gateway.said():
        faults.append(f"panic: {gateway.said()[-500:]}")
    return faults + halves(gateway.data)


def kills(work, count):
    """SIGKILL at any time, also while it starts."""
    faults, taken, boards, done = [], 0, 0, 0
    chance = random.Random(count)
    while done < count and not faults:
        folder = work / "kills"
        clear(folder)
        gateway, tokens = prepared(folder)
        everything, everyone = [], []
        for _ in range(min(KILLS_PER_FOLDER, count - done)):
            done += 1
            if chance.random() < 0.2:
                gateway.begin()
                time.sleep(chance.uniform(0, 0.1))
                gateway.end(signal.SIGKILL)
                continue
            strike = lambda: gateway.end(signal.SIGKILL)
            acknowledged, refused, registered = life(
                gateway, tokens, done, chance.uniform(0.02, 0.4), strike)
            everything += acknowledged
            everyone += registered
            faults += lost(gateway.data, acknowledged) + [str(answer) for answer in refused]
        faults += check(gateway, everything, everyone)
        taken, boards = taken + len(everything), boards + len(everyone)
    if not taken or not boards:
        faults.append("there was no load")
    return {"what": "kills (SIGKILL) under load", "count": f"{done} kills",
            "figures": f"{taken} acknowledged dumps and {boards} registered boards, all there",
            "faults": faults}


def cuts(work, count):
    """The filesystem stops for good, as at a power cut (ext4 shutdown without its journal)."""
    faults, taken, boards, done = [], 0, 0, 0
    chance = random.Random(count)
    mount, image = work / "disk", work / "disk.ext4"
    mount.mkdir(exist_ok=True)
    clear(work / "cuts")
    template, tokens = prepared(work / "cuts")
    while done < count and not faults:
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        mounted = subprocess.run(["mount", "-o", "loop", image, mount], stderr=subprocess.PIPE)
        if mounted.returncode:
            return {"what": "power cuts", "count": "none", "figures": "not tried",
                    "faults": [mounted.stderr.decode().strip()]}
        try:
            subprocess.run(["cp", "-a", template.data, mount / "data"], check=True)
            gateway = Gateway(mount)
            os.sync()
            everything, everyone = [], []
            for _ in range(min(10, count - done)):
                done += 1

                def strike():
                    stop_for_good(mount)
                    gateway.end(signal.SIGKILL)

                acknowledged, _, registered = life(
                    gateway, tokens, done, chance.uniform(0.05, 0.6), strike)
                subprocess.run(["umount", mount], check=True)
                subprocess.run(["mount", "-o", "loop", image, mount], check=True)
                everything += acknowledged
                everyone += registered
                faults += check(gateway, acknowledged, registered)
            faults += lost(gateway.data, everything)
            taken, boards = taken + len(everything), boards + len(everyone)
        finally:
            subprocess.run(["umount", "-l", mount], check=True)
            image.unlink()
    if not taken or not boards:
        faults.append("there was no load")
    return {"what": "power cuts (ext4 shutdown) under load", "count": f"{done} cuts",
            "figures": f"{taken} acknowledged dumps and {boards} registered boards, all there",
            "faults": faults}


def stop_for_good(mount):
    """EXT4_IOC_SHUTDOWN without writing the log: nothing more reaches the disk."""
    folder = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))
    finally:
        os.close(folder)
