"""What machines ask over HTTP, and what they may try: /metrics, /healthz, /readyz.

The numbers must be those of the mail that was sent, promtool must find nothing to complain about,
and nobody who comes over HTTP may be noticed by mail.
"""
import contextlib
import http.client
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import smtp
from program import PROGRAM, Danelaw
from smtp import Smtp, send
from world import STALE
from zones import CORRUPT, UNSIGNED, wait

PORT = 9125
ADMIN = {"admin": {"listen": "127.0.0.1:%d [::1]:%d" % (PORT, PORT)}}
SECOND = {"admin": {"listen": "127.0.0.1:9126"}, "listener smarthost": {"listen": "127.0.0.1:2526"}}
LINE = re.compile(r'(\w+)(\{(?:\w+="[^"\\\n]*",?)+\})? (-?[0-9.]+)')


VERDICT = threading.Event()


def awaited_verdict(c, text):
    VERDICT.wait(10)
    return "250 2.0.0 taken"


def declare(lab):
    lab.domain("counted.lab", "3 1 1", fake={})
    lab.domain("counted-stale.lab", STALE, fake={})
    lab.domain("counted-clear.plain", how=UNSIGNED, cert=None, fake={})
    lab.domain("counted-slow.plain", how=UNSIGNED, cert=None, fake={"replies": {".": awaited_verdict}})
    lab.domain("counted-picky.plain", how=UNSIGNED, cert=None,
               fake={"replies": {"RCPT": "550 5.1.1 no"}})
    lab.domain("counted-report.lab", STALE, fake={})
    lab.domain("counted-bogus.lab", "3 1 1", how=CORRUPT + " TLSA", fake={})
    lab.domain("counted-sts.lab", cert=lab.ca.issue("mx.counted-sts.lab"), sts="enforce", fake={})


@pytest.fixture(scope="module")
def served(lab):
    changes = {"domain stale-until.lab": {"level": "may", "until": "2037-12-31", "reason": "test"},
               "domain counted-report.lab": {"enforce": "no"},
               "limits": {"connection_idle": "0s"}}  # each message has a connection of its own
    with Danelaw(lab, {**ADMIN, **changes}) as d:
        wait(lambda: get("/readyz")[0] == 200, 10, "DNSSEC is known to work")
        yield d


def get(path, method="GET", host="127.0.0.1", port=PORT):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def metrics():
    """{name{labels}: value}; each line must be one."""
    status, text = get("/metrics")
    assert status == 200
    found = {}
    for line in text.splitlines():
        if line.startswith("# "):
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        assert name + (labels or "") not in found, "twice: " + line
        found[name + (labels or "")] = float(value)
    return found


@contextlib.contextmanager
def counted(wanted):
    """By how much the block must make each grow; a name without labels is the sum of its own."""
    before = metrics()
    yield
    grown = {}

    def fits():
        grown.clear()
        for key, value in metrics().items():
            for name in {key, key.split("{")[0]}:
                grown[name] = grown.get(name, 0) + value - before.get(key, 0)
        return all(grown.get(key, 0) == n for key, n in wanted.items())
    try:
        wait(fits, 3, "")
    except TimeoutError:
        raise AssertionError("wanted %s, grew %s" % (wanted, {k: v for k, v in grown.items() if v}))


def raw(data, host=("127.0.0.1", PORT), seconds=20):
    """Everything that comes back until the other side closes."""
    with socket.create_connection(host, seconds) as s:
        s.sendall(data)
        text = b""
        with contextlib.suppress(ConnectionError):
            while True:
                piece = s.recv(65536)
                if not piece:
                    return text
                text += piece
    return text


# ---- what is told ----

def test_promtool_finds_nothing(served):
    """Interface section 5: the format, and the names' conventions."""
    send("b@counted.lab")
    text = get("/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and not done.stdout.strip(), done.stdout


def test_families(served):
    """Interface section 5: every name that has a source."""
    text = get("/metrics")[1]
    for name in ("messages_total refusals_total would_refuse_total sessions sessions_total "
                 "next_hop_connections handshakes_total dns_lookups_total sts_fetches_total "
                 "hint_mismatches_total delivery_seconds spool_messages spool_tries_total "
                 "spool_notices_total exception_expires_seconds alarm dnssec_working "
                 "build_info").split():
        assert "\n# TYPE danelaw_%s " % name in "\n" + text, name
    now = metrics()
    assert now["danelaw_dnssec_working"] == 1
    assert now['danelaw_alarm{what="ca-missing"}'] == 0
    until = now['danelaw_exception_expires_seconds{domain="stale-until.lab"}']
    assert abs(until - (2145916800 - time.time())) < 60
    assert any(k.startswith('danelaw_build_info{version="') for k in now)


def test_sent(served):
    with counted({'danelaw_messages_total{policy="dane",tls="verified",status="sent"}': 1,
                  'danelaw_handshakes_total{resumed="no"}': 1, "danelaw_sessions_total": 1,
                  "danelaw_delivery_seconds_count": 1, "danelaw_refusals_total": 0}):
        assert send("b@counted.lab").code == 250


def test_refused(served):
    """Once for each recipient that heard it; the next hop's own words are not ours."""
    with counted({'danelaw_messages_total{policy="dane",tls="-",status="deferred"}': 1,
                  'danelaw_refusals_total{reason="dane-mismatch"}': 2,
                  "danelaw_delivery_seconds_count": 0}):
        with Smtp() as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<b@counted-stale.lab>", 451)
            c("RCPT TO:<c@counted-stale.lab>", 451)
    with counted({'danelaw_messages_total{policy="may",tls="-",status="refused"}': 0,
                  "danelaw_refusals_total": 0}):
        assert send("nobody@counted-picky.plain").code == 550


def test_would_refuse(served):
    with counted({'danelaw_would_refuse_total{reason="dane-mismatch"}': 1,
                  "danelaw_refusals_total": 0}):
        assert send("b@counted-report.lab").code == 250


def test_questions(served):
    with counted({'danelaw_dns_lookups_total{type="TLSA",state="bogus"}': 1,
                  'danelaw_refusals_total{reason="dns-bogus"}': 1}):
        send("b@counted-bogus.lab")
    with counted({'danelaw_sts_fetches_total{result="ok"}': 1,
                  'danelaw_messages_total{policy="sts:enforce",tls="verified",status="sent"}': 1}):
        assert send("b@counted-sts.lab").code == 250


def test_gauges(served):
    """What is under way is seen while it is."""
    with Smtp() as c:
        wait(lambda: metrics()["danelaw_sessions"] == 1, 5, "those of before have left")
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@counted.lab>", 250)
        wait(lambda: metrics()["danelaw_next_hop_connections"] == 1, 5, "those of before have ended")
    wait(lambda: metrics()["danelaw_next_hop_connections"] == metrics()["danelaw_sessions"] == 0, 3,
         "all is over")


# ---- health ----

def test_pages(served):
    """GET and HEAD, over both addresses; nothing else is there."""
    assert get("/healthz") == (200, "alive\n") and get("/readyz") == (200, "ready\n")
    assert get("/metrics", "HEAD") == (200, "")
    assert get("/healthz", host="::1")[0] == 200
    for path in ("/", "/metrics/", "/../../etc/passwd", "//metrics", "*"):
        assert get(path)[0] == 404, path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X" * 1000):
        assert get("/metrics", method)[0] == 405, method


def test_not_ready_without_dnssec(lab):
    """R-DNS-37: alive, but another node could do better."""
    broken = {"dns": {"dnssec_probe": "counted-clear.plain. A"}}
    with Danelaw(lab, {**broken, **SECOND}):
        wait(lambda: "does not work" in get("/readyz", port=9126)[1], 10, "DNSSEC is broken")
        assert get("/readyz", port=9126)[0] == 503 and get("/healthz", port=9126)[0] == 200
        assert "\ndanelaw_dnssec_working 0\n" in get("/metrics", port=9126)[1]


def test_draining(lab):
    """A message past its final dot is waited for, and /readyz says so."""
    with Danelaw(lab, SECOND) as d, Smtp(d.server) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@counted-slow.plain>", 250)
        c("DATA", 354)
        c.raw(smtp.stuff(smtp.MESSAGE))
        wait(lambda: "final dot" in d.log, 3, "the dot went on")
        d.child.send_signal(signal.SIGTERM)
        wait(lambda: get("/readyz", port=9126) == (503, "draining\n"), 3, "it drains")
        assert get("/healthz", port=9126)[0] == 200
        VERDICT.set()
        c.reply(250)


def test_off_by_default(lab):
    with Danelaw(lab, {"listener smarthost": SECOND["listener smarthost"]}) as d:
        with pytest.raises(ConnectionRefusedError):
            get("/healthz", port=9126)
        assert "http://" not in d.log


def test_cannot_bind(lab, served):
    """69, and which setting is at fault."""
    d = Danelaw(lab, {**ADMIN, "listener smarthost": {"listen": "127.0.0.1:2599"}})
    done = subprocess.run([PROGRAM, "-c", d.conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=30)
    assert done.returncode == 69, done.stdout
    assert "[admin] cannot bind [127.0.0.1]:9125" in done.stdout


# ---- hostile requests ----

def status(reply):
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else None


@pytest.mark.parametrize("request_, wanted", [
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", {200}),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nx", {200}),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400, None}),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", {405}),
    (b"GET /metrics HTTP/1.1\r\n\r\n", {400}),
    (b"GET /metrics HTTP/1.0\r\n\r\n", {200}),
    (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n", {431, None}),
    (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", {431, None}),
    (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431, None}),
    (b"EHLO client.lab\r\nMAIL FROM:<>\r\n\r\n", {400, 405, None}),
    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", {400, 405, None}),
    (b"\0" * 5000, {400, 431, None}),
    (b"\r\n" * 5000, {400, 414, None}),
], ids=range(14))
def test_hostile_request(served, request_, wanted):
    """One answer at most, then the end; and the next one is served."""
    reply = raw(request_)
    assert status(reply) in wanted, reply[:200]
    assert reply.count(b" 200 OK") <= 1
    assert get("/healthz")[0] == 200


def test_slow_and_silent(served):
    """A place is held for 10 s at most, by whoever says an octet now and then, too; meanwhile mail
    goes on, and when the places are free again so does HTTP."""
    began = time.monotonic()
    held = [socket.create_connection(("127.0.0.1", PORT), 5) for _ in range(40)]
    while time.monotonic() - began < 9:
        for i, s in enumerate(held):
            with contextlib.suppress(OSError):
                s.send(b"G" if i % 2 else b"")
        sent = time.monotonic()
        assert send("b@counted.lab").code == 250
        assert time.monotonic() - sent < 3
        time.sleep(0.5)
    wait(lambda: is_served(), 4, "HTTP is served again")
    assert time.monotonic() - began < 25
    for s in held:
        s.close()


def is_served():
    with contextlib.suppress(OSError, http.client.HTTPException):
        return get("/healthz")[0] == 200


def test_many_at_once(served):
    """No descriptor and no time is lost to those who come and go, or reset."""
    def descriptors():
        return len(os.listdir("/proc/%d/fd" % served.child.pid))
    before = descriptors()
    began = time.monotonic()
    for i in range(600):
        s = socket.create_connection(("127.0.0.1", PORT), 5)
        if i % 3:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    assert send("b@counted.lab").code == 250
    wait(is_served, 5, "HTTP is served again")
    wait(lambda: descriptors() <= before + 2, 8, "no descriptor is lost")
    assert time.monotonic() - began < 20


def test_idle_costs_nothing(served):
    """Nothing spins while nobody asks."""
    with open("/proc/%d/stat" % served.child.pid) as f:
        before = sum(map(int, f.read().split()[13:15]))
    time.sleep(1)
    with open("/proc/%d/stat" % served.child.pid) as f:
        assert sum(map(int, f.read().split()[13:15])) - before < 20
