"""Other people's tools: slowhttptest, sslscan, testssl.sh."""

import json
import re
import subprocess
import xml.etree.ElementTree as xml

from hostile import row, site, uploads


def slow_http(work, seconds):
    """Slow heads, bodies, ranges and readers, of slowhttptest, while a board uploads."""
    for flag, what in [("-H", "slow heads"), ("-B", "slow bodies"), ("-X", "slow readers")]:
        gateway, token = site(work, "slowhttptest")
        method = ["-t", "POST"] if flag == "-B" else []
        attack = subprocess.Popen(
            ["slowhttptest", "-c", "600", flag, *method, "-i", "5", "-r", "300", "-l", str(seconds + 6),
             "-u", f"https://127.0.0.1:{gateway.port}/healthz", "-p", "5"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        subprocess.run(["sleep", "4"], check=True)
        uploaded, slowest, faults = uploads(gateway, token, seconds)
        said, _ = attack.communicate(timeout=seconds + 60)
        if "slow HTTP test status" not in re.sub(r"\x1b\[[0-9;]*m", "", said):
            faults.append(f"slowhttptest did not run: {said[-300:]}")
        if slowest > 2:
            faults.append(f"an honest upload took {slowest:.1f} s")
        yield row(gateway, f"slowhttptest, {what}", "600 connections",
                  f"{uploaded} honest uploads, the slowest {slowest:.2f} s", faults)


def sslscan(work):
    gateway, _ = site(work, "sslscan")
    said = subprocess.run(["sslscan", "--xml=-", "--no-colour", f"127.0.0.1:{gateway.port}"],
                          capture_output=True, text=True, check=False).stdout
    faults = []
    scan = xml.fromstring(said).find("ssltest")
    on = [f"{p.get('type')} {p.get('version')}" for p in scan.iter("protocol") if p.get("enabled") == "1"]
    if sorted(on) != ["tls 1.2", "tls 1.3"]:
        faults.append(f"protocols: {on}")
    ciphers = [cipher.get("cipher") for cipher in scan.iter("cipher")]
    weak = [name for name in ciphers if not re.search("GCM|CHACHA20", name)]
    if weak or not ciphers:
        faults.append(f"ciphers: {ciphers}")
    for name in ("compression", "heartbleed"):
        for found in scan.iter(name):
            if "1" in (found.get("supported"), found.get("vulnerable")):
                faults.append(f"{name}: {found.attrib}")
    return row(gateway, "sslscan", f"{len(ciphers)} ciphers accepted", ", ".join(on), faults)


# What testssl.sh says of any certificate that a site made itself.
OF_THE_SITE = re.compile("^cert|^DNS_|^OCSP|^HSTS|^chain|^overall|^issuer|^scanTime|^engine|^service")


def testssl(work):
    gateway, _ = site(work, "testssl")
    findings = work / "testssl.json"
    findings.unlink(missing_ok=True)
    command = ["testssl", "--quiet", "--warnings", "off", "--color", "0", "-p", "-s", "-f", "-U",
               "--jsonfile", findings, f"127.0.0.1:{gateway.port}"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    told = json.loads(findings.read_text())
    told = [finding for finding in told if not OF_THE_SITE.match(finding["id"])]
    bad = [f"{finding['id']}: {finding['severity']} {finding['finding']}" for finding in told
           if finding["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL")]
    faults = bad if len(told) > 30 else [f"only {len(told)} findings", *bad]
    return row(gateway, "testssl.sh: protocols, ciphers, known attacks", f"{len(told)} checks",
               f"{len(bad)} of them bad", faults)
