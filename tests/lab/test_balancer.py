"""What load balancers say before their clients: PROXY v1 and v2."""
import socket
import struct
import time

import pytest

from program import Danelaw
from smtp import MESSAGE, Smtp
from zones import wait

SERVER = ("127.0.0.1", 2527)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
EDGE = {"listener edge": {"listen": "127.0.0.1:2527", "proxy_protocol": "127.0.0.2",
                          "clients": "127.0.0.0/8 10.0.0.0/8 2001:db8:1::/48"}}


def declare(lab):
    lab.domain("px.lab", "3 1 1")


@pytest.fixture(scope="module")
def balanced(lab):
    with Danelaw(lab, EDGE) as d:
        yield d


def introduce(header, pieces=None, source="127.0.0.2"):
    c = Smtp(SERVER, ehlo=None, source=(source, 0))
    c.raw(header, split=pieces)
    return c


def v2(command, family, body):
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def tcp4(source):
    return socket.inet_aton(source) + socket.inet_aton("198.18.0.1") + struct.pack("!HH", 4711, 25)


def tcp6(source):
    pack = socket.inet_pton
    return (pack(socket.AF_INET6, source) + pack(socket.AF_INET6, "2001:db8::1") +
            struct.pack("!HH", 4711, 25))


GOOD = [
    (b"PROXY TCP4 10.9.8.7 198.18.0.1 4711 25\r\n", "10.9.8.7"),
    (b"PROXY TCP6 2001:db8:1::7 2001:db8::1 4711 25\r\n", "2001:db8:1::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.2"),
    (v2(0x21, 0x11, tcp4("10.9.8.6")), "10.9.8.6"),
    (v2(0x21, 0x21, tcp6("2001:db8:1::6") + b"\x04\x00\x01x"), "2001:db8:1::6"),
    (v2(0x20, 0, b""), "127.0.0.2"),
]


@pytest.mark.parametrize("n", range(len(GOOD)))
def test_good_headers(lab, balanced, n):
    """R-NET-12: the client of the log, of Received and of the ACL is the one that the header
    names."""
    header, client = GOOD[n]
    for pieces in (None, 5):
        user = "px%d%s" % (n, pieces or "")
        with introduce(header, pieces) as c:
            c.reply(220)
            c("EHLO px.client.lab", 250)
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<%s@px.lab>" % user, 250)
            c.data(MESSAGE, 250)
        assert balanced.delivery_to(user + "@px.lab")["client"] == client
        literal = "[IPv6:%s]" % client if ":" in client else "[%s]" % client
        assert literal.encode() in lab["px.lab"].delivered(user)[0]


def test_the_clients_acl_applies_to_whom_the_header_names(balanced):
    """R-NET-12"""
    for header in (b"PROXY TCP4 192.0.2.1 198.18.0.1 4711 25\r\n",
                   v2(0x21, 0x21, tcp6("2001:db8:2::1"))):
        with introduce(header) as c:
            assert c.reply(554).startswith("554 5.7.1 not-allowed") and c.is_closed()


BAD = [b"EHLO a\r\n", b"PROXY TCP4 10.9.8.7 198.18.0.1 4711\r\n", b"PROXY " + b"A" * 200,
       b"PROXY TCP4 10.9.8.7 198.18.0.1 4711 25\n\n", v2(0x21, 0x12, tcp4("10.9.8.7")),
       v2(0x31, 0x11, tcp4("10.9.8.7")), v2(0x21, 0x11, b"short"),
       SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 64]


@pytest.mark.parametrize("n", range(len(BAD)))
def test_malformed_headers_close_at_once(balanced, n):
    """N-06: without a word: whoever speaks so is no load balancer."""
    before = balanced.log.count("client=127.0.0.2 refused by listener edge, whose")
    with introduce(BAD[n]) as c:
        assert c.is_closed(4)
    wait(lambda: balanced.log.count("client=127.0.0.2 refused by listener edge, whose")
         == before + 1, 2, "one line tells it")


def test_strangers_cannot_introduce_anybody(lab, balanced):
    """N-07: from others the header is what it looks like: no command."""
    with introduce(b"PROXY TCP4 10.9.8.7 198.18.0.1 4711 25\r\n", source="127.0.0.3") as c:
        c.reply(220)
        assert c.reply().code >= 400
    with Smtp(SERVER, source=("127.0.0.3", 0)) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<stranger@px.lab>", 250)
        c.data(MESSAGE, 250)
    assert balanced.delivery_to("stranger@px.lab")["client"] == "127.0.0.3"


def test_a_balancer_that_says_nothing(balanced):
    """N-06: five seconds; and one that goes away half-way is no burden."""
    with introduce(b"PROXY TCP4 10.9") as half:
        half.sock.shutdown(socket.SHUT_WR)
        assert half.is_closed(4)
    began = time.monotonic()
    with introduce(b"PROXY TCP4 10.9") as c:
        assert not c.is_closed(3) and c.is_closed(6)
        assert 4.5 < time.monotonic() - began < 9
    wait(lambda: "no PROXY header came within 5 s" in balanced.log, 2, "the line about it")


def test_stopping_while_one_waits(lab):
    with Danelaw(lab, {**EDGE, "listener smarthost": {"listen": "127.0.0.1:2528"},
                       "listener edge": {**EDGE["listener edge"], "listen": "127.0.0.1:2529"}}):
        waiting = Smtp(("127.0.0.1", 2529), ehlo=None, source=("127.0.0.2", 0))
        waiting.raw(b"PROXY ")
    assert waiting.is_closed()
