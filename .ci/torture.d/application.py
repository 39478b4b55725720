"""An ESP32 application of a certain size: `application.py BYTES` writes one to standard output."""

import hashlib
import struct
import sys


def application(size):
    """An ESP32 application of this size."""
    text = lambda value, length: value.ljust(length, b"\0")
    description = struct.pack("<IIII", 0xABCD5432, 0, 0, 0) + text(b"1.0", 32) + text(b"lamp", 32)
    description += text(b"12:00:00", 16) + text(b"Jan  1 2026", 16) + text(b"v5.1", 32)
    description += hashlib.sha256(b"lamp").digest()
    segment = text(description, 256) + bytes(size)
    head = struct.pack("<BBBBI", 0xE9, 1, 0, 0, 0x40080000) + bytes(16)
    body = head + struct.pack("<II", 0x3F400020, len(segment)) + segment
    checksum = 0xEF
    for byte in description:
        checksum ^= byte
    return body + bytes(15 - len(body) % 16) + bytes([checksum])


if __name__ == "__main__":
    sys.stdout.buffer.write(application(int(sys.argv[1])))
