"""Clients that take connections, memory, disk or registers and give nothing back: boards get
in, and the unit's memory limit holds. The clients are those of $ESPGATE_SHARED_TOOLS/hostile."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from application import application
from gateway import BINARY, CONFIG, TOOLS, Gateway, clear, dumps

UNIT = Path(__file__).parents[2] / "systemd/espgate.service"
# The unit's MemoryMax, which is in megabytes.
MEMORY_KB = int(re.search(r"^MemoryMax=(\d+)M$", UNIT.read_text(), re.M)[1]) << 10
# From another address than the hostile clients'.
HONEST = "127.0.0.200"


def site(work, name, config=CONFIG):
    """A gateway with the board `honest`, and its token."""
    folder = work / name
    clear(folder)
    gateway = Gateway(folder, config).start()
    for model in ("lamp", "bb"):
        gateway.control("PUT", f"/api/models/{model}", {})
    token = gateway.device("honest")
    gateway.post(token, b"first use")
    return gateway, token


def tool(name, *arguments):
    path = TOOLS / "hostile" / name
    return subprocess.Popen([sys.executable, path, *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said_until(attack, proof):
    """What the attack says up to the line with `proof`, or to its end."""
    said = ""
    for line in attack.stdout:
        said += line
        if re.search(proof, said, re.S):
            break
    return said


def uploads(gateway, token, seconds, source=HONEST):
    """Honest uploads for so long: how many, the slowest, what was not answered with 201."""
    slowest, count, faults = 0, 0, []
    until = time.monotonic() + seconds
    for body in dumps():
        status, answer, took = gateway.post(token, body, source)
        count, slowest = count + 1, max(slowest, took)
        if status != 201:
            faults.append(f"an honest upload is answered {status} {answer}")
        if time.monotonic() > until:
            return count, slowest, faults
        time.sleep(0.1)


def row(gateway, what, count, figures, faults):
    if not gateway.alive():
        faults = [*faults, f"the daemon ended: {gateway.said()[-500:]}"]
    else:
        memory = gateway.memory()
        figures += f", {memory >> 10} MB at most"
        if memory > MEMORY_KB:
            faults = [*faults, f"{memory >> 10} MB are more than the unit's MemoryMax"]
        gateway.end()
    if "panicked" in gateway.said():
        faults = [*faults, f"panic: {gateway.said()[-500:]}"]
    return {"what": what, "count": count, "figures": figures, "faults": faults}


def during(gateway, token, attack, proof, what, count, seconds, limit):
    """Honest uploads while `attack` runs, from when it says `proof` of what it holds."""
    said = said_until(attack, proof) if proof else ""
    time.sleep(3)
    uploaded, slowest, faults = uploads(gateway, token, seconds)
    ended = attack.poll() is not None
    if slowest > limit:
        faults.append(f"an honest upload took {slowest:.1f} s, more than {limit} s")
    attack.kill()
    said += attack.communicate()[0]
    if ended or not re.search(proof, said, re.S):
        faults.append(f"the attack did not last: {said[-500:]}")
    return row(gateway, what, count,
               f"{uploaded} honest uploads, the slowest {slowest:.2f} s", faults)


def slots(work, seconds):
    gateway, token = site(work, "slots")
    attack = tool("slots_two_addresses.py", gateway.port, 60, "127.0.0.9,127.0.0.10")
    return during(gateway, token, attack, "held 256.*held 256", "all connections held by two addresses",
                  "512 connections", seconds, 2)


def drip(work, seconds):
    config = CONFIG + '[auth]\ndevices = "open"\n'
    gateway, token = site(work, "drip", config)
    for n in range(8):
        gateway.device(f"dev{n}")
    attack = tool("upload_slots_drip.py", gateway.port, seconds + 15)
    return during(gateway, token, attack, "", "slow uploads that hold all memory for uploads",
                  "32 uploads at 633 B/s", seconds, 12)


def slow_readers(work, seconds):
    config = CONFIG + '[auth]\ndevices = "open"\n'
    gateway, token = site(work, "readers", config)
    for n in range(8):
        gateway.device(f"dev{n}")
    folder = work / "image"
    clear(folder)
    folder.mkdir()
    image = folder / "lamp.bin"
    image.write_bytes(application(6 << 20))
    subprocess.run([BINARY, "--data-dir", gateway.data, "firmware", "add", image, "--model", "lamp"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "ESPGATE_CONFIG": str(gateway.config)})
    attack = tool("slow_downloads_memory.py", 500, 20000, seconds + 15, gateway.port, gateway.process.pid)
    return during(gateway, token, attack, "500 conns", "slow readers of a 6 MB image", "500 connections",
                  seconds, 2)


def registers(work, seconds):
    gateway, token = site(work, "registers")
    _, fleet = gateway.control("POST", "/api/tokens",
                               {"name": "fleet", "role": "fleet", "model": "bb"})
    attack = tool("fleet_registers_devices.py", gateway.port, fleet["token"], seconds)
    uploaded, slowest, faults = uploads(gateway, token, seconds)
    said, _ = attack.communicate()
    _, status = gateway.control("GET", "/api/status")
    devices = status["counts"]["devices"]
    if "(200" not in said:
        faults.append(f"the attack did not get far: {said[-500:]}")
    if devices > 1002:
        faults.append(f"{devices} boards are registered")
    return row(gateway, "a fleet token that registers boards", f"{seconds} s",
               f"{devices} boards registered, {uploaded} honest uploads, "
               f"the slowest {slowest:.2f} s", faults)


def full_disk(work):
    """On a disk of 96 MB, a fleet token uploads as much as it can."""
    mount, image = work / "small", work / "small.ext4"
    mount.mkdir(exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        config = CONFIG.replace('min_free = 0\nmax_total = "95%"\n', "")
        gateway, token = site(mount, "full", config)
        _, fleet = gateway.control("POST", "/api/tokens",
                                   {"name": "fleet", "role": "fleet", "model": "bb"})
        attack = tool("fleet_fills_disk.py", gateway.port, fleet["token"], 140, 1_000_000)
        said, _ = attack.communicate()
        uploaded, slowest, faults = uploads(gateway, token, 2)
        if "201:" not in said:
            faults.append(f"the attack stored nothing: {said[-500:]}")
        return row(gateway, "a fleet token that fills a disk of 96 MB", "140 MB",
                   f"{uploaded} honest uploads afterwards, the slowest {slowest:.2f} s", faults)
    finally:
        subprocess.run(["umount", "-l", mount], check=True)
        image.unlink()


def control_socket(work):
    gateway, _ = site(work, "control")
    began = time.monotonic()
    attack = tool("control_socket_hog.py", gateway.data / "run/control.sock", BINARY, "ka")
    said, _ = attack.communicate(timeout=120)
    took = time.monotonic() - began
    faults = [] if "status rc 0" in said else [said]
    if took > 10:
        faults.append(f"status took {took:.1f} s")
    return row(gateway, "local connections that hold the control socket", "64 connections",
               f"`espgate status` after {took:.1f} s", faults)


def everything(work, seconds):
    yield slots(work, seconds)
    yield slow_readers(work, seconds)
    yield drip(work, seconds)
    yield registers(work, seconds)
    yield full_disk(work)
    yield control_socket(work)
