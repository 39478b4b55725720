"""Malformed and odd HTTP requests as raw bytes, to the gateway and to nginx in the same run.

The list is our own: the rules of RFC 9110 and 9112 whose breach lets two programs read one
message in two ways, and the limits. `refuse`: an error of the message's form (400 and the like),
or the connection is closed without an answer; `no`: any error; `once`: one answer, and the rest
is no second request; `take`: an answer that is no error of the form."""

import re
import socket
import ssl
import subprocess

from gateway import CONFIG, clear
from hostile import site

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


# A route that reads the body, in open mode.
UPLOAD = b"POST /api/iot/coredump?chip=esp32&firmware_version=1&device_key=honest"


def post(headers, body=b""):
    return UPLOAD + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n" + body


def chunked(body):
    return post(b"Transfer-Encoding: chunked\r\n", body)


def get(line=b"GET /healthz HTTP/1.1", headers=b"Host: a\r\n"):
    return line + b"\r\n" + headers + b"\r\n"


PROBES = [
    # how the body's end is told
    ("length and chunked", "refuse", post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("chunked and length", "refuse", post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n" + SMUGGLED)),
    ("two lengths that differ", "refuse", post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd")),
    ("list of lengths that differ", "refuse", post(b"Content-Length: 3, 4\r\n", b"abcd")),
    ("length with a plus", "refuse", post(b"Content-Length: +3\r\n", b"abc")),
    ("negative length", "refuse", post(b"Content-Length: -3\r\n", b"abc")),
    ("length in hex", "refuse", post(b"Content-Length: 0x3\r\n", b"abc")),
    ("length with an underscore", "refuse", post(b"Content-Length: 1_0\r\n", b"0123456789")),
    ("empty length", "refuse", post(b"Content-Length: \r\n", b"abc")),
    ("length of 2^64", "refuse", post(b"Content-Length: 18446744073709551616\r\n", b"abc")),
    ("length of 2^64 + 3", "refuse", post(b"Content-Length: 18446744073709551619\r\n", b"abc")),
    ("length followed by text", "refuse", post(b"Content-Length: 3abc\r\n", b"abc")),
    ("length in other digits", "refuse", post("Content-Length: ٣\r\n".encode(), b"abc")),
    ("unknown coding", "refuse", post(b"Transfer-Encoding: x\r\n", b"0\r\n\r\n")),
    ("coding before chunked", "refuse", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n")),
    ("chunked is not last", "refuse", post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n")),
    ("chunked twice", "refuse", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    ("chunked in quotes", "refuse", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n")),
    ("chunked with a vertical tab", "refuse", post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n")),
    ("chunked behind a NUL", "refuse", post(b"Transfer-Encoding: \0chunked\r\n", b"0\r\n\r\n")),
    ("coding's name with a blank", "refuse", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n")),
    ("coding on a folded line", "refuse", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n")),
    ("coding in HTTP/1.0", "refuse", UPLOAD + b" HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    # chunks
    ("chunk size that is no number", "refuse", chunked(b"zz\r\nabc\r\n0\r\n\r\n")),
    ("negative chunk size", "refuse", chunked(b"-1\r\nabc\r\n0\r\n\r\n")),
    ("chunk size with 0x", "refuse", chunked(b"0x3\r\nabc\r\n0\r\n\r\n")),
    ("chunk size of 2^64", "refuse", chunked(b"10000000000000000\r\nabc\r\n0\r\n\r\n")),
    ("empty chunk size", "refuse", chunked(b"\r\nabc\r\n0\r\n\r\n")),
    ("chunk longer than its size", "refuse", chunked(b"3\r\nabcdef\r\n0\r\n\r\n")),
    ("chunk size with a blank before it", "refuse", chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    ("chunk size with an underscore", "refuse", chunked(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n")),
    ("chunk ended by a bare LF", "once", chunked(b"3\nabc\n0\n\n" + SMUGGLED)),
    ("a line end inside an extension", "once", chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    ("very long chunk extension", "refuse", chunked(b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n")),
    ("very many trailers", "refuse", chunked(b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 50_000 + b"\r\n")),
    ("chunks", "take", chunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")),
    ("chunks and a trailer", "take", chunked(b"3\r\nabc\r\n0\r\nA: b\r\n\r\n")),
    # lines and names
    ("blank in a name", "refuse", get(headers=b"Host: a\r\nA b: c\r\n")),
    ("blank behind a name", "refuse", get(headers=b"Host: a\r\nA : c\r\n")),
    ("no colon", "refuse", get(headers=b"Host: a\r\nabc\r\n")),
    ("empty name", "refuse", get(headers=b"Host: a\r\n: c\r\n")),
    ("NUL in a name", "refuse", get(headers=b"Host: a\r\nA\0b: c\r\n")),
    ("NUL in a value", "refuse", get(headers=b"Host: a\r\nA: b\0c\r\n")),
    ("bare CR in a value", "refuse", get(headers=b"Host: a\r\nA: b\rc\r\n")),
    ("other bytes in a name", "refuse", get(headers="Host: a\r\nÄ: c\r\n".encode())),
    ("folded line", "refuse", get(headers=b"Host: a\r\nA: b\r\n c\r\n")),
    ("first header is folded", "refuse", get(headers=b" Host: a\r\nA: b\r\n")),
    ("1000 headers", "refuse", get(headers=b"Host: a\r\n" + b"A: b\r\n" * 1000)),
    ("a header of 1 MB", "refuse", get(headers=b"Host: a\r\nA: " + b"b" * (1 << 20) + b"\r\n")),
    ("a name of 100 kB", "refuse", get(headers=b"Host: a\r\n" + b"b" * 100_000 + b": c\r\n")),
    # the host
    ("no host", "refuse", get(headers=b"")),
    ("two hosts", "refuse", get(headers=b"Host: a\r\nHost: b\r\n")),
    ("the same host twice", "refuse", get(headers=b"Host: a\r\nHost: a\r\n")),
    ("host with a blank", "refuse", get(headers=b"Host: a b\r\n")),
    ("host with a user", "refuse", get(headers=b"Host: u@a\r\n")),
    ("host with a path", "refuse", get(headers=b"Host: a/b\r\n")),
    ("host with a wrong port", "refuse", get(headers=b"Host: a:99999\r\n")),
    ("host in HTTP/1.0", "take", get(b"GET /healthz HTTP/1.0", b"")),
    ("host with a port", "take", get(headers=b"Host: a:8443\r\n")),
    ("IPv6 host", "take", get(headers=b"Host: [::1]:8443\r\n")),
    # the first line
    ("no version", "refuse", b"GET /healthz\r\n\r\n"),
    ("HTTP/0.9", "refuse", get(b"GET /healthz HTTP/0.9")),
    ("HTTP/2.0", "refuse", get(b"GET /healthz HTTP/2.0")),
    ("HTTP/1.10", "refuse", get(b"GET /healthz HTTP/1.10")),
    ("http/1.1", "refuse", get(b"GET /healthz http/1.1")),
    ("HTTP/ 1.1", "refuse", get(b"GET /healthz HTTP/ 1.1")),
    ("no target", "refuse", get(b"GET HTTP/1.1")),
    ("two blanks", "refuse", get(b"GET  /healthz HTTP/1.1")),
    ("tab for a blank", "refuse", get(b"GET\t/healthz HTTP/1.1")),
    ("blank before the method", "refuse", get(b" GET /healthz HTTP/1.1")),
    ("blank in the target", "refuse", get(b"GET /health z HTTP/1.1")),
    ("NUL in the target", "refuse", get(b"GET /healthz\0 HTTP/1.1")),
    ("bare CR in the target", "refuse", get(b"GET /health\rz HTTP/1.1")),
    ("method with a NUL", "refuse", get(b"GE\0T /healthz HTTP/1.1")),
    ("method with a colon", "refuse", get(b"G:T /healthz HTTP/1.1")),
    ("target without a slash", "no", get(b"GET healthz HTTP/1.1")),
    ("a target of 100 kB", "refuse", get(b"GET /" + b"a" * 100_000 + b" HTTP/1.1")),
    ("a method of 100 kB", "refuse", get(b"A" * 100_000 + b" / HTTP/1.1")),
    ("CONNECT", "no", get(b"CONNECT a:443 HTTP/1.1")),
    ("TRACE", "no", get(b"TRACE / HTTP/1.1")),
    ("unknown method", "no", get(b"BREW /healthz HTTP/1.1")),
    ("target with host", "take", get(b"GET http://a/healthz HTTP/1.1")),
    ("empty lines first", "take", b"\r\n\r\n" + get()),
    ("HEAD", "take", get(b"HEAD /healthz HTTP/1.1")),
    # paths: nothing outside of the routes
    ("dots", "no", get(b"GET /../../../etc/passwd HTTP/1.1")),
    ("encoded dots", "no", get(b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1")),
    ("encoded slashes", "no", get(b"GET /..%2f..%2fetc%2fpasswd HTTP/1.1")),
    ("backslashes", "no", get(b"GET /..\\..\\etc\\passwd HTTP/1.1")),
    ("encoded NUL", "no", get(b"GET /healthz%00 HTTP/1.1")),
    ("overlong dot", "no", get(b"GET /%c0%ae%c0%ae/etc/passwd HTTP/1.1")),
    # what is not HTTP
    ("nothing but line ends", "refuse", b"\r\n" * 20_000),
    ("bytes at random", "refuse", bytes(range(256)) * 64 + b"\r\n\r\n"),
    ("a TLS hello inside", "refuse", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    ("HTTP/2 preface", "refuse", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64)),
    ("upgrade to h2c", "take", get(headers=b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n")),
    ("upgrade to a websocket", "take", get(headers=b"Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n")),
    ("an unknown expectation", "once", post(b"Content-Length: 3\r\nExpect: 200-maybe\r\n", b"abc")),
    ("two requests at once", "take", get() + get()),
]

OF_THE_FORM = {400, 411, 413, 414, 417, 431, 494, 501, 505}


def exchange(address, context, request):
    """The statuses of all answers, and whether the server closed the connection."""
    answer, closed = b"", False
    plain = socket.create_connection(address, 10)
    with context.wrap_socket(plain) if context else plain as stream:
        try:
            stream.sendall(request)
        except OSError:
            pass
        stream.settimeout(2)
        try:
            while piece := stream.recv(65536):
                answer += piece
            closed = True
        except TimeoutError:
            pass
        except OSError:
            closed = True
    statuses = re.findall(rb"(?:^|\n)HTTP/1\.[01] (\d{3})[ \r]", answer)
    return [int(status) for status in statuses if int(status) >= 200], closed


def is_right(expected, statuses, closed):
    """Whether this is what the rule asks for."""
    match expected:
        case "refuse":
            return closed and len(statuses) <= 1 and OF_THE_FORM.issuperset(statuses)
        case "no":
            return len(statuses) == 1 and statuses[0] >= 400
        case "once":
            return len(statuses) == 1
        case _:
            return bool(statuses) and OF_THE_FORM.isdisjoint(statuses)


def nginx(work):
    """nginx with its own settings, on a port of its own; the process and its address."""
    folder = work / "nginx"
    clear(folder)
    (folder / "html").mkdir(parents=True)
    (folder / "html/healthz").write_text("ok\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "nginx.conf").write_text(f"""daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/error;
events {{}}
http {{ access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {folder}/html;
    location /api {{ return 200; }} }} }}
""")
    process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"],
                               stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            subprocess.run(["sleep", "0.05"], check=True)
    return process, ("127.0.0.1", port)


def probes(work):
    gateway, _ = site(work, "probes", CONFIG + '[auth]\ndevices = "open"\n')
    context = ssl.create_default_context(cafile=gateway.data / "tls/ca.pem")
    context.check_hostname = False
    process, peer = nginx(work)
    faults, right, peers_right = [], 0, 0
    try:
        for name, expected, request in PROBES:
            ours = exchange(("127.0.0.1", gateway.port), context, request)
            theirs = exchange(peer, None, request)
            right += is_right(expected, *ours)
            peers_right += is_right(expected, *theirs)
            if not is_right(expected, *ours):
                faults.append(f"{name}: to {expected}, answered {ours} (nginx {theirs})")
            if not gateway.alive():
                faults.append(f"{name}: the daemon ended")
                break
    finally:
        process.terminate()
        process.wait()
    if gateway.alive():
        gateway.end()
    if "panicked" in gateway.said():
        faults.append(f"panic: {gateway.said()[-500:]}")
    return {"what": "malformed and odd requests beside nginx", "count": f"{len(PROBES)} requests",
            "figures": f"{right} answered as asked for; nginx: {peers_right}", "faults": faults}
