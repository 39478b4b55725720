"""A gateway that is tormented, its clients, and what must be left of them."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path

BINARY = Path(os.environ["TORTURE_BINARY"]).resolve()
SHARED_DATA = Path(os.environ["ESPGATE_SHARED_DATA"])
TOOLS = Path(os.environ["ESPGATE_SHARED_TOOLS"])
PATIENCE = 60

CONFIG = """[http]
listen = ["127.0.0.1:0", "[::1]:0"]
[serial]
discover = "off"
[coredumps]
keep_per_device = 1000000
keep_first_of_crash = 1000000
min_free = 0
max_total = "95%"
"""


def dumps():
    """One real dump after the other: the same crash, another stack each time."""
    image = bytearray((SHARED_DATA / "coredumps/cases/esp32.raw").read_bytes())
    run = os.urandom(6)
    number = 0
    while True:
        number += 1
        # the last bytes before the checksum are memory
        struct.pack_into("<6sI", image, len(image) - 14, run, number)
        struct.pack_into("<I", image, len(image) - 4, zlib.crc32(bytes(image[:-4])))
        yield bytes(image)


class Gateway:
    """The real binary on `folder/data`; `folder` is kept between lives."""

    def __init__(self, folder, config=CONFIG):
        self.folder, self.data = folder, folder / "data"
        self.config = folder / "espgate.toml"
        self.process = None
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)

    def begin(self):
        environment = {"ESPGATE_DATA_DIR": str(self.data), "ESPGATE_CONFIG": str(self.config)}
        self.journal = open(self.folder / "journal", "wb")
        (self.data / "run/https-address").unlink(missing_ok=True)
        self.process = subprocess.Popen([BINARY, "serve"], env=environment, stderr=self.journal)

    def wait_ready(self):
        until = time.monotonic() + PATIENCE
        while " is ready on " not in self.said():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("does not start: " + self.said()[-2000:])
            time.sleep(0.005)
        address = (self.data / "run/https-address").read_text().split()[0]
        self.port = int(address.rsplit(":", 1)[1])

    def start(self):
        self.begin()
        self.wait_ready()
        return self

    def said(self):
        return (self.folder / "journal").read_text(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def end(self, how=signal.SIGTERM):
        if self.alive():
            self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        self.journal.close()
        return status

    def memory(self, field="VmHWM"):
        """Kilobytes, as the kernel counts them."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0

    def control(self, method, path, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(str(self.data / "run/control.sock"))
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text or b"null")

    def device(self, key, model="lamp"):
        """Registers a board; its token."""
        status, made = self.control("POST", "/api/devices", {"device_key": key, "model": model})
        assert status in (200, 201), made
        return made["token"]

    def tls(self, source="127.0.0.1"):
        plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (source, 0))
        context = ssl.create_default_context(cafile=self.data / "tls/ca.pem")
        return context.wrap_socket(plain, server_hostname="espgate.internal")

    def post(self, token, body, source="127.0.0.1"):
        """Uploads a dump from an address of this machine: status, answer, seconds; status 0 if
        there is no answer."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("espgate.internal", timeout=PATIENCE)
        try:
            connection.sock = self.tls(source)
            connection.request("POST", "/api/iot/coredump?chip=esp32&firmware_version=1", body,
                               {"Authorization": "Bearer " + token})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), time.monotonic() - began
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}, time.monotonic() - began
        finally:
            connection.close()


class Clients:
    """Boards that upload one dump after the other until they are stopped."""

    def __init__(self, gateway, tokens):
        self.acknowledged, self.refused = [], []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.upload, args=(gateway, key, token))
                        for key, token in tokens.items()]
        for thread in self.threads:
            thread.start()

    def upload(self, gateway, key, token):
        for body in dumps():
            if self.stop.is_set():
                return
            status, answer, _ = gateway.post(token, body)
            if status == 201:
                self.acknowledged.append((key, answer["filename"], body))
            elif status == 0:
                return
            else:
                self.refused.append((status, answer))

    def join(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def lost(data, acknowledged):
    """What was acknowledged and is not on the disk as it was sent, with its sidecar."""
    missing = []
    for key, name, body in acknowledged:
        path = data / "coredumps" / key / name
        try:
            sidecar = json.loads(path.with_suffix(".json").read_bytes())
            if path.read_bytes() != body or sidecar["size"] != len(body):
                missing.append(f"{key}/{name} is not what was sent")
        except (OSError, ValueError, KeyError) as error:
            missing.append(f"{key}/{name}: {error}")
    return missing


def halves(data):
    """Files that a start should have put right: temporary ones, dumps without a sidecar."""
    found = [str(path) for path in data.rglob(".*")]
    for dump in (data / "coredumps").glob("*/*.dmp"):
        if not dump.with_suffix(".json").exists():
            found.append(f"{dump} has no sidecar")
    return found


def clear(folder):
    shutil.rmtree(folder, ignore_errors=True)
