"""T-21: what a next hop can say under TLS without end: requests for another handshake, key updates, session
tickets, records of one octet or of none. Each connection ends by a limit, its client hears why, nobody
else waits, and what honest servers do of it is no fault.
"""
import ssl
import threading
import time

import pytest

from nexthop import Slots, attempt, wait_over
from program import Danelaw
from rawtls import (DATA, HANDSHAKE, HELLO_REQUEST, KEY_UPDATE, KEY_UPDATE_REQUESTED, TICKET, Records)
from smtp import Smtp

TLS12 = {"maximum_version": ssl.TLSVersion.TLSv1_2}
MANY, FEW = 1000, 5  # a hundred are too many
LINES = 150  # of one reply; a hundred are too many
TIMERS = {"timeouts": {t: "9s" for t in ("rcpt", "connect", "greeting", "handshake", "command")},
          "dns": {"timeout": "2s", "total": "3s"}}


def declare(lab):
    lab.floods = Slots(lab, "flood.lab", tls=24)


@pytest.fixture(scope="module")
def danelaw(lab):
    with Danelaw(lab, TIMERS) as d:
        yield d


@pytest.fixture
def hop(lab):
    with lab.floods.hops() as hop:
        yield hop


def starttls(c, line):
    def start_tls():
        c.sock, c.is_tls = Records(c.sock, c.mx.context(c.mx.cert)), True
    c.start_tls = start_tls
    return "220 2.0.0 go"


class Neighbour(threading.Thread):
    """Somebody else's session: how long its replies take."""

    def __init__(self):
        super().__init__()
        self.longest, self.count, self.is_over = 0, 0, threading.Event()

    def run(self):
        with Smtp() as c:
            while not self.is_over.wait(0.002):
                begun = time.monotonic()
                c("NOOP", 250)
                self.longest = max(self.longest, time.monotonic() - begun)
                self.count += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.is_over.set()
        self.join(10)


# ---- what is said, so many times ----

def update(words):
    def say(records, times):
        for _ in range(times):
            yield records.seal(HANDSHAKE, words)
            records.change_key()
    return say


def record(kind, data):
    def say(records, times):
        return (records.seal(kind, data) for _ in range(times))
    return say


FLOODS = {
    "key updates": ({}, update(KEY_UPDATE)),
    "key updates requested": ({}, update(KEY_UPDATE_REQUESTED)),
    "tickets": ({}, record(HANDSHAKE, TICKET)),
    "empty records": ({}, record(DATA, b"")),
    "hello requests": (TLS12, record(HANDSHAKE, HELLO_REQUEST)),
    "empty records of TLS 1.2": (TLS12, record(DATA, b"")),
}


def floods(say, stage, times):
    """FakeMx arguments: before the answer at this stage so much of it, made before and sent at once."""
    def act(c, line):
        if stage == "EHLO" and not c.is_tls:
            return None
        try:
            c.sock.sock.sendall(b"".join(say(c.sock, times)))
        except OSError:
            pass  # closed meanwhile
        return None if stage == "EHLO" else "250 2.1.0 fine"
    return {"replies": {"STARTTLS": starttls, stage: act}}


@pytest.mark.parametrize("stage", ["EHLO", "MAIL"])
@pytest.mark.parametrize("flood", FLOODS)
def test_flood(danelaw, hop, flood, stage):
    """T-21, R-TLSSEC-11, R-SMTP-76: 451 at once and by no timer; the neighbour's replies are quick."""
    tls, say = FLOODS[flood]
    h = hop("tls", tls=tls, **floods(say, stage, MANY))
    with Neighbour() as neighbour:
        begun = time.monotonic()
        reply = attempt(h.domain)
        seconds = time.monotonic() - begun
    assert reply.startswith(("451 4.7.5 tls-handshake: ", "451 4.4.2 connection-lost: ")), reply
    assert "too many handshake messages" in reply or "record too small" in reply, reply
    assert seconds < 4.5 and neighbour.count and neighbour.longest < 2, (seconds, neighbour.longest)
    wait_over(h.mx)
    assert not h.mx.messages


@pytest.mark.parametrize("flood", ["key updates", "key updates requested", "tickets"])
def test_a_few_are_honest(danelaw, hop, flood):
    """T-21: they end no connection."""
    tls, say = FLOODS[flood]
    h = hop("tls", tls=tls, **floods(say, "MAIL", FEW))
    assert attempt(h.domain).code == 250 and len(h.mx.messages) == 1


def test_records_of_one_octet(danelaw, hop):
    """T-21: a server may cut its replies so; one without end meets the limit of replies."""
    def cut(c):
        say = c.say

        def say_in_octets(*lines):
            data = b"".join(x if isinstance(x, bytes) else x.encode() + b"\r\n" for x in lines)
            c.sock.sock.sendall(b"".join(c.sock.seal(DATA, data[i:i + 1]) for i in range(len(data))))
        c.say = say_in_octets if c.is_tls else say

    def ehlo(c, line):
        cut(c)
        return None

    def endless(c, line):
        cut(c)
        return "\r\n".join(["250-x"] * LINES)

    h = hop("tls", replies={"STARTTLS": starttls, "EHLO": ehlo})
    assert attempt(h.domain).code == 250
    h = hop("tls", replies={"STARTTLS": starttls, "EHLO+": endless})
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.1 connect-failed") and "took too long" not in reply, reply
