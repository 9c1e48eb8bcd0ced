"""Odd and hostile clients: what they hear, what the next hop sees, and that others are not disturbed.

Content is witnessed by a FakeMx octet by octet, and by real Postfix and Exim in their maildirs."""
import contextlib
import email
import itertools
import os
import random
import re
import select
import socket
import struct
import threading
import time

import pytest

from nexthop import has_data
from program import PROGRAM, Danelaw
from smtp import MESSAGE, Smtp, send, stuff
from zones import wait

BOUND = "127.0.0.1"
NORMALIZE, REFUSE_LONG, FEW, CLOSED, HASTY = [(BOUND, port) for port in (2530, 2531, 2532, 2533, 2534)]
LIMIT = 1 << 20
RECIPIENTS = 1000


def declare(lab):
    lab.domain("odd.lab", "3 1 1", fake={})
    lab.domain("odd-two.lab", "3 1 1", fake={})
    lab.domain("odd-postfix.lab", "3 1 1")
    lab.domain("odd-exim.lab", "3 1 1", exim=True)
    lab.domain("odd-third.lab", "3 1 1", fake={"replies": {"RCPT": every_third}})
    lab.domain("odd-none.lab", "3 1 1", fake={"replies": {"RCPT": "550 5.1.1 nobody"}})
    lab.domain("odd-late-354.lab", "3 1 1", fake={"replies": {"DATA": late_354}})
    lab.domain("odd-no-data.lab", "3 1 1", fake={"replies": {"DATA": "451 4.3.0 not now"}})
    lab.domain("odd-slow.lab", "3 1 1", fake={"replies": {".": slow_final}})
    lab.domain("odd-slower.lab", "3 1 1", fake={"replies": {".": slower_final}})
    lab.domain("odd-gone.lab", "3 1 1", fake={"replies": {".": final_when_gone}})
    lab.domain("odd-stalled.lab", "3 1 1", fake={"replies": {"DATA": stalled}})
    lab.domain("odd-seven.lab", "3 1 1", fake={"ehlo": ("PIPELINING", "SMTPUTF8")})
    lab.domain("xn--bcher-kva.lab", "3 1 1", fake={})


def every_third(c, line):
    number = int(re.search(r"<r(\d+)", line).group(1))
    return "550 5.1.1 number %d is nobody" % number if number % 3 == 0 else None


def late_354(c, line):
    c.stall(3)


def slow_final(c, text):
    c.stall(0.4)
    return "250 2.0.0 slowly taken"


def slower_final(c, text):
    c.stall(2.6)
    return "250 2.0.0 slowly taken"


CLIENT_IS_GONE = threading.Event()


def final_when_gone(c, text):
    CLIENT_IS_GONE.wait(10)
    return "250 2.0.0 slowly taken"


def stalled(c, line):
    c.say("354 go on, and on")
    c.stall()


@pytest.fixture(scope="module")
def danelaw(lab):
    listeners = {
        "listener normalize": {"listen": "%s:%d" % NORMALIZE, "bare_newline": "normalize"},
        "listener refuse": {"listen": "%s:%d" % REFUSE_LONG, "long_lines": "refuse"},
        "listener few": {"listen": "%s:%d" % FEW, "max_sessions": 6, "max_sessions_per_client": 3},
        "listener closed": {"listen": "%s:%d" % CLOSED, "clients": "198.18.77.0/24 ::1"},
    }
    with Danelaw(lab, {**listeners, "limits": {"message_size": LIMIT}}) as d:
        yield d


@pytest.fixture(scope="module")
def hasty(lab):
    """Idle clients go after two seconds; sizes are the default ones."""
    with Danelaw(lab, {"listener smarthost": {"listen": "%s:%d" % HASTY},
                       "timeouts": {"idle_client": "2s", "shutdown": "1s"}}) as d:
        yield d


def accepted(lab, name="odd.lab"):
    return lab[name].receiver.messages


def without_received(data):
    match = re.match(rb"Received: from [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", data)
    assert match and b"danelaw.lab" in match.group(), data[:300]
    return data[match.end():]


def envelope(c, *recipients, mail="MAIL FROM:<a@client.lab>"):
    c(mail, 250)
    for r in recipients or ["b@odd.lab"]:
        c("RCPT TO:<%s>" % r, 250)


def rss(d):
    """Resident KiB."""
    with open("/proc/%d/statm" % d.worker) as f:
        return int(f.read().split()[1]) * 4


def bound(kib):
    """A sanitizer keeps freed memory for a while."""
    with open(PROGRAM, "rb") as f:
        return 65536 if b"__asan_init" in f.read() else kib


def descriptors(d):
    return len(os.listdir("/proc/%d/fd" % d.worker))


# ---- commands, in every order ----

HELLO, TRANSACTION, ACCEPTED = 1, 2, 4  # what has happened so far


class Model:
    """What RFC 5321 section 4.1.4 says each command is answered, and where it leads."""

    def __init__(self):
        self.state = 0

    def hear(self, line):
        verb = line.split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            self.state = HELLO
            return 250
        if verb == "RSET":
            self.state &= HELLO
            return 250
        if verb == "MAIL":
            if self.state != HELLO:
                return 503
            self.state |= TRANSACTION
            return 250
        if verb == "RCPT":
            if not self.state & TRANSACTION:
                return 503
            self.state |= ACCEPTED
            return 250
        if verb == "DATA":
            if not self.state & TRANSACTION:
                return 503
            if not self.state & ACCEPTED:
                return 554
            self.state = HELLO
            return 354
        return OTHERS[verb]


OTHERS = {"NOOP": 250, "VRFY": 252, "HELP": 214, "EXPN": 502, "AUTH": 502, "STARTTLS": 502, "ETRN": 502,
          "TURN": 502, "XCLIENT": 502, "XFORWARD": 502, "BANANA": 500}
COMMANDS = ["EHLO client.lab", "helo client.lab", "MAIL FROM:<a@client.lab>", "mail from:<> SIZE=10",
            "RCPT TO:<b@odd.lab>", "rcpt TO:<c@odd.lab>", "DATA", "RSET", "NOOP", "noop x y",
            "VRFY b", "HELP", "EXPN list", "AUTH PLAIN AGEAYg==", "STARTTLS", "ETRN odd.lab", "TURN",
            "XCLIENT NAME=x ADDR=127.0.0.1", "XFORWARD NAME=x", "banana"]


def walk(steps, commands, seed):
    """Commands at random, never 20 bad ones in a row; every command in every state."""
    rand, model, bad, line = random.Random(seed), Model(), 0, None
    for _ in range(steps):
        line = rand.choice(commands) if bad < 15 else "NOOP"
        before, code = model.state, model.hear(line)
        bad = bad + 1 if code in (500, 502, 503) else 0
        yield line, code, before


def test_commands_in_every_order(lab, danelaw):
    """R-SMTP-01, -02, -04, -56, P-07, P-20: random walks of 2000 commands against a model."""
    seen = set()
    count = len(accepted(lab))
    messages = 0
    for seed in range(20):
        with Smtp(ehlo=None) as c:
            c.reply(220)
            for line, code, state in walk(100, COMMANDS, seed):
                seen.add((state, line))
                c(line, code)
                if code == 354:
                    messages += 1
                    c.raw(b".\r\n")
                    c.reply(250)
            c("QUIT", 221)
            assert c.is_closed()
    assert len(seen) == len(COMMANDS) * 4, "every command in every state"
    assert messages > 5 and len(accepted(lab)) == count + messages
    assert b"AUTH" not in lab["odd.lab"].receiver.secret  # none was passed on
    assert b"XCLIENT" not in lab["odd.lab"].receiver.secret


def test_pipelined_in_every_order(lab, danelaw):
    """R-SMTP-27, -29: the same in one piece; each its reply, in order."""
    steps = list(walk(1500, [x for x in COMMANDS if x != "DATA"], 2))
    with Smtp(ehlo=None) as c:
        c.raw("".join(line + "\r\n" for line, _, _ in steps).encode() + b"QUIT\r\n")
        c.reply(220)
        for line, code, _ in steps:
            assert c.reply().code == code, line
        c.reply(221)


@pytest.mark.parametrize("line, code, text", [
    ("EHLO", 501, "5.5.4"), ("HELO", 501, ""), ("MAIL", 501, ""), ("MAIL FROM:", 501, ""),
    ("MAIL FROM a@client.lab", 501, ""), ("MAIL FROM:a@client.lab", 501, ""),
    ("MAIL FROM:<a@client.lab", 501, ""), ("MAIL FROM:<a@client.lab>SIZE=1", 501, ""),
    ("MAIL FROM:<a@>", 501, "5.1.3"), ("MAIL FROM:<@client.lab>", 501, "5.1.3"),
    ("MAIL FROM:<a b@client.lab>", 501, "5.1.3"), ("MAIL FROM:<a@b@client.lab>", 501, "5.1.3"),
    ("MAIL FROM:<%s@client.lab>" % ("l" * 65), 501, "5.1.3"),  # R-SMTP-06
    ("MAIL FROM:<%s@client.lab>" % ("l" * 64), 250, ""),
    ("MAIL FROM:<a@%s.lab>" % ".".join(["d" * 60] * 5), 501, "5.1.3"),
    ("MAIL FROM:<a@client.lab> SIZE=0", 250, ""), ("MAIL FROM:<a@client.lab> SIZE=-1", 501, ""),  # P-12
    ("MAIL FROM:<a@client.lab> SIZE=", 501, ""), ("MAIL FROM:<a@client.lab> SIZE=1 SIZE=1", 501, ""),
    ("MAIL FROM:<a@client.lab> SIZE=99999999999999999999", 552, "5.3.4 too-large"),
    ("MAIL FROM:<a@client.lab> SIZE=%d" % (LIMIT + 1), 552, "5.3.4 too-large"),
    ("MAIL FROM:<a@client.lab> SIZE=%d" % LIMIT, 250, ""),
    ("MAIL FROM:<a@client.lab> BODY=8BITMIME body=7bit", 501, ""),
    ("MAIL FROM:<a@client.lab> BODY=BINARYMIME", 501, ""),
    ("MAIL FROM:<a@client.lab> SMTPUTF8=yes", 501, ""), ("MAIL FROM:<a@client.lab> FOO=1", 555, "5.5.4"),
    ("MAIL FROM:<> REQUIRETLS", 555, "5.5.4"),  # P-14
    ("MAIL FROM:<a@client.lab> AUTH=<>", 555, "5.5.4"),  # R-SMTP-56
    ("MAIL FROM:<a@client.lab> RET=NO", 501, "5.5.4"),  # R-SMTP-53
    ("MAIL FROM:<a@client.lab> ENVID=+0A", 501, "5.5.4"),
    ("RSET now", 501, ""), ("QUIT now", 501, ""), ("VRFY", 501, ""),
    ("", 500, "5.5.2"), ("   ", 500, "5.5.2"), ("MAIL\tFROM:<a@client.lab>", 501, ""),
    ("MAIL FROM:<a@client.lab>\0", 501, ""), ("EHLO a\x07b", 501, ""),  # R-SMTP-08
    ("MAIL FROM:<j\u00e4@client.lab>", 553, "5.6.7"),  # P-13
    ("MAIL FROM:<j\u00e4@client.lab> SMTPUTF8", 250, ""),
    ("MAIL FROM:<j\udce4@client.lab> SMTPUTF8", 553, "5.6.7"),  # not UTF-8
    ("MAIL FROM:<j\udcc1\udca1@client.lab> SMTPUTF8", 553, "5.6.7"),  # overlong
])
def test_arguments(lab, danelaw, line, code, text):
    """R-SMTP-06, -08, -09, -16, -52, P-12, P-13, P-14: said once, and the session goes on."""
    with Smtp() as c:
        assert text in c(line, code)
        c("NOOP", 250)


@pytest.mark.parametrize("line, code, text", [
    ("RCPT TO:<>", 501, "5.1.3"), ("RCPT TO:<b>", 501, "5.1.3"), ("RCPT TO:<b@a..lab>", 501, "5.1.3"),
    ("RCPT TO:<b@-odd.lab>", 501, "5.1.3"), ("RCPT TO:<b@odd.lab.>", 501, "5.1.3"),
    ("RCPT TO:<b@odd.lab> NOTIFY=NO", 501, "5.5.4"), ("RCPT TO:<b@odd.lab> X", 555, "5.5.4"),
    ("RCPT TO:<postmaster>", 550, "5.1.1"), ("RCPT TO:<PostMaster>", 550, "5.1.1"),  # R-SMTP-13
    ("RCPT TO:<b@[198.18.1.1]>", 550, "5.1.2 address-literal"),  # R-DNS-33
    ("RCPT TO:<b@[IPv6:2001:db8:25::1]>", 550, "5.1.2 address-literal"),
    ("RCPT TO:<b@[300.1.1.1]>", 501, "5.1.3"), ("RCPT TO:<b@[x:y]>", 501, "5.1.3"),
    ("RCPT TO:<j\u00e4@odd.lab>", 553, "5.6.7"), ("RCPT TO:<@a:b@odd.lab", 501, ""),
    ("RCPT TO:<@a,b@odd.lab>", 501, "5.1.3"), ("RCPT TO:<b@odd.lab\0>", 501, ""),
])
def test_bad_recipients(lab, danelaw, line, code, text):
    """P-22, R-SMTP-13, -52: refused, and the transaction goes on."""
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        assert text in c(line, code)
        c("RCPT TO:<good@odd.lab>", 250)


PATHS = {
    "@a.lab,@b.lab:user@odd.lab": "user@odd.lab",  # R-SMTP-10: the route is stripped, nothing else
    "user%evil.lab@odd.lab": None, "host!user@odd.lab": None, "a..b@odd.lab": None,
    ".a.@odd.lab": None, '"a b"@odd.lab': None, '"a@b"@odd.lab': None, '"a\\"@evil.lab>"@odd.lab': None,
    '"@evil.lab:x"@odd.lab': None, '"<b@evil.lab>"@odd.lab': None, '""@odd.lab': None,
    "a+b=c@ODD.lab": None, "o'connor/{x}|~`@odd.lab": None, "%s@odd.lab" % ("u" * 64): None,
}


def test_odd_paths_reach_the_next_hop_as_they_are(lab, danelaw):
    """R-SMTP-10, -11, P-22: octet-exact on the wire; only a source route goes."""
    heard = len(lab["odd.lab"].receiver.secret)
    with Smtp() as c:
        c("MAIL FROM:<@r.lab:a%b@client.lab>", 250)
        for path in PATHS:
            c("RCPT TO:<%s>" % path, 250)
        c.data(MESSAGE, 250)
    wire = bytes(lab["odd.lab"].receiver.secret[heard:]).decode()
    assert "MAIL FROM:<a%b@client.lab>" in wire
    assert re.findall(r"^RCPT TO:<(.*)>\r$", wire, re.M) == [b or a for a, b in PATHS.items()]


def test_null_sender(lab, danelaw):
    """R-SMTP-12: passed unchanged."""
    with Smtp() as c:
        envelope(c, mail="MAIL FROM:<>")
        c.data(MESSAGE, 250)
    assert accepted(lab)[-1].sender == ""


def test_smtputf8(lab, danelaw):
    """R-SMTP-08, R-DNS-31: addresses beyond ASCII, a U-label domain found by its A-label."""
    with Smtp() as c:
        c("MAIL FROM:<j\u00e4@client.lab> SMTPUTF8", 250)
        c("RCPT TO:<g\u00f6@b\u00fccher.lab>", 250)
        c.data("Subject: \u00fc\r\n\r\nx\r\n".encode(), 250)
    message = accepted(lab, "xn--bcher-kva.lab")[-1]
    assert message.sender == "j\u00e4@client.lab" and message.recipients[0].startswith("g\u00f6@")
    assert b"with UTF8SMTP" in message.data
    with Smtp() as c:  # without the parameter neither here nor there
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<g\u00f6@odd.lab>", 553)
        c("RCPT TO:<b@b\u00fccher.lab>", 553)


def test_too_many_errors(lab, danelaw):
    """R-NET-13: twenty in a row end it, twenty refused recipients do; one good one between does
    not."""
    with Smtp() as c:
        for _ in range(19):
            c("banana", 500)
        c("NOOP", 250)
        for _ in range(19):
            c("banana", 500)
        c("banana", 500)
        assert c.reply(421).startswith("421 4.7.0") and c.is_closed()
    with Smtp() as c:
        c.raw(b"MAIL FROM:<a@client.lab>\r\n" + b"RCPT TO:<b@odd-none.lab>\r\n" * 100)
        c.reply(250)
        for _ in range(20):
            assert "5.1.1" in c.reply(550)
        c.reply(421)
        assert c.is_closed()


# ---- lines ----

@pytest.mark.parametrize("junk", [
    b"EHLO x\nMAIL FROM:<a@client.lab>\r\n", b"EHLO x\rMAIL FROM:<a@client.lab>\r\n", b"NOOP\n",
    b"\n", b"NOOP\r\r\n", b"\r\r\n", b"RCPT TO:<b@odd.lab>\nRCPT TO:<c@odd.lab>\r\n",
    b"MAIL FROM:<a\n@client.lab>\r\n",
])
@pytest.mark.parametrize("split", [None, 1])
def test_bare_newline_in_a_command(lab, danelaw, junk, split):
    """R-SMTP-07, P-03: one 500, closed, and nothing after it is looked at."""
    with Smtp() as c:
        c.raw(junk + b"QUIT\r\n", split)
        assert c.reply(500).startswith("500 5.5.2")
        assert c.is_closed()


def test_endless_command_line(lab, danelaw):
    """R-SMTP-05, P-04: 1 MiB without CRLF: one 500, the rest dropped unread, memory bounded."""
    with Smtp() as c:
        c.raw(b"NOOP " + b"x" * 2041 + b"\r\n")
        c.reply(250)
        before = rss(danelaw)
        c.raw(b"NOOP " + b"x" * 4096 + b"MAIL FROM:<a@client.lab> \r \n " * 33000)
        c.raw(b"\r\nRSET\r\n")
        c.reply(500)
        c.reply(250)
        assert rss(danelaw) - before < bound(2048)
    with Smtp() as c:
        c.raw(b"EHLO " + b"a" * 2044 + b"\r")  # the longest and a little more, at its edge
        c.raw(b"\nNOOP\r\n")
        c.reply(500)
        c.reply(250)


@pytest.mark.parametrize("first", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.0\r\n\r\nMAIL FROM:<a@client.lab>\r\n",
    b"CONNECT odd.lab:25 HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0\0\0\0",
    b"\x80\x2e\x01\x00\x02", b"PROXY TCP4 198.18.77.1 127.0.0.1 1 25\r\nEHLO x\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"SSH-2.0-x\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"get / http/1.0\r\n\r\n", b"\x05\x01\x00", b"\xff\xfb\x01",
])
@pytest.mark.parametrize("split", [None, 1])
def test_other_protocols(lab, danelaw, first, split):
    """R-SMTP-03, P-19, P-20: one 421 and the end; nothing in it is a command."""
    with Smtp(ehlo=None) as c:
        c.reply(220)
        try:
            c.raw(first + b"EHLO x\r\n", split)
        except ConnectionError:
            pass
        codes = [c.reply().code]
        while codes[-1] == 500 and len(codes) < 4:  # the empty lines of PROXY v2, sent alone
            codes.append(c.reply().code)
        assert codes[-1] == 421 and c.is_closed()


def test_other_protocol_later(lab, danelaw):
    with Smtp() as c:
        c("GET / HTTP/1.1", 421)
        assert c.is_closed()


@pytest.mark.parametrize("chunk", [b"BDAT 10 LAST\r\nRSET\r\nRSET", b"BDAT 0\r\n", b"BDAT\r\nNOOP\r\n"])
def test_bdat(lab, danelaw, chunk):
    """R-SMTP-50, P-21: 502 and closed; its octets are no commands."""
    with Smtp() as c:
        envelope(c)
        c.raw(chunk)
        c.reply(502)
        assert c.is_closed()


# ---- pipelining, and clients that do not read ----

def test_a_thousand_recipients_unread(lab, danelaw):
    """R-SMTP-14, -76, P-06: all sent before one reply is read; each its own, in order."""
    pad = "x" * 55
    with Smtp() as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = rss(danelaw)
        c.raw(b"MAIL FROM:<a@client.lab>\r\n")
        c.raw(b"".join(b"RCPT TO:<r%d.%s@odd-third.lab>\r\n" % (i, pad.encode())
                       for i in range(RECIPIENTS + 5)))
        time.sleep(0.2)
        with Smtp() as other:  # nobody else waits for it
            other("NOOP", 250)
        c.reply(250)
        for i in range(RECIPIENTS):
            reply = c.reply()
            assert reply.code == (550 if i % 3 == 0 else 250), i
            assert i % 3 or "number %d " % i in reply
        for i in range(5):
            assert c.reply(452).startswith("452 4.5.3 too-many-recipients")
        assert rss(danelaw) - before < bound(4096)
        c.data(MESSAGE, 250)
    wanted = ["r%d.%s@odd-third.lab" % (i, pad) for i in range(RECIPIENTS) if i % 3]
    assert accepted(lab, "odd-third.lab")[-1].recipients == wanted


def test_a_client_that_never_reads(lab, danelaw):
    """R-SMTP-76: it is not heard while its replies wait; memory stays, others are served."""
    with Smtp() as c:
        before = rss(danelaw)
        c.sock.settimeout(0.5)
        with pytest.raises(socket.timeout):
            for _ in range(100000):
                c.raw(b"HELP\r\n" * 2000)
        assert rss(danelaw) - before < bound(1024)
        assert send("b@odd.lab").code == 250


def test_many_domains(lab, deferring):
    """P-06, R-SMTP-14, -61, -76: ten thousand domains are no ten thousand lookups, and no memory."""
    with Smtp(deferring.server) as c:
        envelope(c)
        mark = len(deferring.log)
        for block in range(10):
            c.raw(b"".join(b"RCPT TO:<b@d%d-%d.lab>\r\n" % (block, i) for i in range(90)))
            for _ in range(90):
                assert c.reply(452).startswith("452 4.5.3 one-domain")
        assert "lookup name=d" not in deferring.log[mark:] and "lookup name=" in deferring.log
        c.data(MESSAGE, 250)
    with Smtp(deferring.server) as c:
        c.raw(b"MAIL FROM:<a@client.lab>\r\n")
        mark, before = len(deferring.log), rss(deferring)
        for block in range(20):
            c.raw(b"".join(b"RCPT TO:<b@none%d-%d.lab>\r\n" % (block, i) for i in range(1000)))
            if block == 0:
                c.reply(250)
            codes = [c.reply(550, 452).code for _ in range(1000)]
        assert set(codes) == {452} and "too-many-recipients" in c.transcript[-1]
        assert deferring.log.count("lookup name=none", mark) < 20
        assert rss(deferring) - before < bound(4096)


def test_other_domain_after_a_refused_one(lab, deferring):
    """R-SMTP-61: a domain that took nobody does not hold the transaction."""
    with Smtp(deferring.server) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<x@odd-none.lab>", 550)
        c("RCPT TO:<x@nowhere.lab>", 550)
        c("RCPT TO:<x@odd-two.lab>", 250)
        assert c("RCPT TO:<x@odd.lab>", 452).startswith("452 4.5.3 one-domain")
        c("RCPT TO:<x@odd-none.lab>", 452)
        c("RCPT TO:<y@ODD-Two.lab>", 250)
        c.data(MESSAGE, 250)
        c("MAIL FROM:<a@client.lab>", 250)  # and it is forgotten with the transaction
        c("RCPT TO:<x@odd.lab>", 250)
    assert accepted(lab, "odd-two.lab")[-1].recipients == ["x@odd-two.lab", "y@ODD-Two.lab"]


def test_one_octet_at_a_time(lab, danelaw):
    """P-05: segments of one octet change nothing."""
    with Smtp(ehlo=None) as c:
        c.raw(b"EHLO client.lab\r\nMAIL FROM:<a@client.lab>\r\nRCPT TO:<tiny@odd.lab>\r\nDATA\r\n", 1)
        for code in (220, 250, 250, 250, 354):
            c.reply(code)
        c.raw(stuff(b"Subject: tiny\r\n\r\n.\r\n..\r\nend\r\n") + b"QUIT\r\n", 1)
        c.reply(250)
        c.reply(221)
    assert without_received(accepted(lab)[-1].data) == b"Subject: tiny\r\n\r\n.\r\n..\r\nend\r\n"


@pytest.mark.parametrize("after, codes", [
    (b"QUIT\r\n", [221]), (b"RSET\r\nNOOP\r\nQUIT\r\n", [250, 250, 221]),  # P-09
    (b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<two@odd.lab>\r\nRSET\r\nQUIT\r\n", [250, 250, 250, 221]),
    (b".\r\nQUIT\r\n", [500, 221]),
])
def test_commands_behind_the_dot(lab, danelaw, after, codes):
    """P-09, R-SMTP-26, -71: they wait for the final reply; a closed sending side loses none."""
    for half_close in (False, True):
        with Smtp() as c:
            envelope(c, "b@odd-slow.lab")
            c("DATA", 354)
            started = time.monotonic()
            c.raw(stuff(MESSAGE) + after)
            if half_close:
                c.sock.shutdown(socket.SHUT_WR)
            assert c.reply(250) == "250 2.0.0 slowly taken"
            assert time.monotonic() - started > 0.25
            for code in codes:
                c.reply(code)
            assert c.is_closed()


# ---- data before 354 ----

@pytest.mark.parametrize("domain, split", [
    ("odd.lab", False), ("odd-late-354.lab", True), ("odd-late-354.lab", False),
    ("odd-none.lab", False), ("odd-no-data.lab", False),
])
def test_data_before_354(lab, danelaw, domain, split):
    """R-SMTP-28, P-08: it could be commands; 503, closed, and nothing is delivered."""
    count = len(accepted(lab, domain))
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % domain)
        c.raw(b"DATA\r\n" + (b"" if split else stuff(MESSAGE)))
        if split:
            time.sleep(0.1)
            c.raw(stuff(MESSAGE))
        assert c.reply(503).startswith("503 5.5.1 data before 354")
        assert c.is_closed()
    time.sleep(0.05)
    assert len(accepted(lab, domain)) == count


def test_refused_data(lab, danelaw):
    """The next hop's word on DATA is the client's; the session goes on."""
    with Smtp() as c:
        envelope(c, "b@odd-no-data.lab")
        assert "4.3.0 not now" in c("DATA", 451)
        envelope(c)
        c.data(MESSAGE, 250)


# ---- the end of data, and what could be taken for it ----

SMUGGLED = b"MAIL FROM:<evil@client.lab>\r\nRCPT TO:<smuggled@%s>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
FALSE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n\0.\r\n",
              b"\r\n.\0\r\n", b"\n\n.\n\n", b"\r\n.\r\r\n", b"\r\r\n.\r\n\r", b"\r\n.\n\r\n", b"\0\n.\r\n",
              b"\r\n\r.\r\n", b"\n\r\n.\n\r"]


@pytest.mark.parametrize("domain", ["odd-postfix.lab", "odd-exim.lab"])
def test_nothing_is_smuggled_in(lab, danelaw, domain):
    """R-SMTP-21, -23, P-01, P-02, P-10: refused as a whole; the receiver has nothing at all."""
    for end in FALSE_ENDS:
        with Smtp() as c:
            envelope(c, "outer@" + domain)
            c("DATA", 354)
            c.raw(b"Subject: outer\r\n\r\nx" + end + SMUGGLED % domain.encode() + b"\r\n.\r\n")
            reply = c.reply(550, 554)
            if reply.code == 554:
                assert reply.startswith("554 5.6.0 bad-content") and b"\0" in end
                c("NOOP", 250)
            else:
                assert reply.startswith("550 5.5.2 bare-newline") and c.is_closed()
    assert send("witness@" + domain).code == 250
    lab[domain].delivered("witness")
    for user in ("smuggled", "outer"):
        assert lab[domain].receiver.maildir.messages("%s@%s" % (user, domain)) == []
    assert danelaw.deliveries(reason="bare-newline")[-1]["status"] == "refused"


@pytest.mark.parametrize("domain", ["odd-postfix.lab", "odd-exim.lab"])
def test_nothing_is_smuggled_in_by_normalizing(lab, danelaw, domain):
    """R-SMTP-25: bare LF becomes CR LF, and what looked like an end to somebody stays content."""
    ends = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\n\n.\n\n"]
    for end in ends:
        with Smtp(NORMALIZE) as c:
            envelope(c, "normal@" + domain)
            c("DATA", 354)
            c.raw(b"Subject: outer\nX: y\r\n\nx" + end + SMUGGLED % domain.encode() + b"\r\n.\r\n")
            c.reply(250)
            c("NOOP", 250)
    for got in lab[domain].delivered("normal", len(ends)):
        assert b"\r\nMAIL FROM:<evil@client.lab>\r\n" in got and got.endswith(b"smuggled\r\n\r\nx\r\n")
        assert b"Subject: outer\r\nX: y\r\n\r\nx\r\n" in got
    assert lab[domain].receiver.maildir.messages("smuggled@" + domain) == []
    with Smtp(NORMALIZE) as c:  # a bare CR has no such excuse
        envelope(c, "normal@" + domain)
        c("DATA", 354)
        c.raw(b"Subject: x\r\n\r\nx\r.\r" + SMUGGLED % domain.encode() + b"\r\n.\r\n")
        c.reply(550)
        assert c.is_closed()


def test_every_sequence_around_a_dot(lab, danelaw):
    """R-SMTP-21, -23, -24: all 3^5 sequences of CR, LF and dot, against what the RFC says."""
    for parts in itertools.product([b"\r", b"\n", b"."], repeat=5):
        octets = b"S: x\r\n\r\na" + b"".join(parts) + b"b\r\n.\r\n"
        end = octets.index(b"\r\n.\r\n")
        content, rest = octets[:end + 2], octets[end + 5:]
        is_good = not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
        count = len(accepted(lab))
        with Smtp() as c:
            envelope(c)
            c("DATA", 354)
            c.raw(octets)
            reply = c.reply()
            assert reply.code == (250 if is_good else 550), octets
            if not is_good:
                assert c.is_closed(), octets
                assert len(accepted(lab)) == count
                continue
            for _ in range(rest.count(b"\r\n")):
                c.reply(500)
        assert without_received(accepted(lab)[-1].data) == content.replace(b"\r\n.", b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", bytes(lab["odd.lab"].receiver.secret))


ODD_CONTENT = {
    "8-bit": b"Subject: x\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n. \r\n.x\r\n \r\n\t\r\n",
    "blanks": b"Subject: x \r\n\r\n \r\nx  \r\n\r\n\r\n",
    "controls": b"Subject: x\r\n\r\n\x01\x08\x0b\x0c\x1b\x7f\r\n",
    "long": b"Subject: x\r\n\r\n" + b"a" * 997 + b"\r\n" + b"b" * 998 + b"\r\nc\r\n",
    "from": b"Subject: x\r\n\r\nFrom here\r\n>From there\r\n",
}


@pytest.mark.parametrize("domain", ["odd-postfix.lab", "odd-exim.lab"])
@pytest.mark.parametrize("kind", ODD_CONTENT)
def test_real_receivers_get_every_octet(lab, danelaw, domain, kind):
    """R-SMTP-22, -48, P-10: byte-exact, in the maildir of a real receiver."""
    user = kind + "-exact"
    assert send("%s@%s" % (user, domain), ODD_CONTENT[kind], mail="BODY=8BITMIME").code == 250
    got = lab[domain].delivered(user)[-1]
    assert got.split(b"\r\n\r\n", 1)[1] == ODD_CONTENT[kind].split(b"\r\n\r\n", 1)[1]


def test_undeclared_8bit(lab, danelaw):
    """R-SMTP-41, -43, P-10: passed where 8-bit is taken, refused at the end of data where not."""
    text = b"Subject: \xc3\xbc\r\n\r\n\xff\r\n"
    assert send("b@odd.lab", text).code == 250
    assert without_received(accepted(lab)[-1].data) == text
    with Smtp() as c:
        envelope(c, "b@odd-seven.lab")
        assert c.data(text, 554).startswith("554 5.6.3 no-8bitmime")
        envelope(c, "b@odd-seven.lab")
        c.data(MESSAGE, 250)
    assert len(accepted(lab, "odd-seven.lab")) == 1


@pytest.mark.parametrize("length, passes", [(998, True), (999, False), (1000, False), (1 << 19, False)])
def test_long_lines(lab, danelaw, length, passes):
    """R-SMTP-15, P-11: passed whole by default; refused as a whole where the operator says so."""
    text = b"Subject: x\r\n\r\n." + b"y" * (length - 1) + b"\r\nz\r\n"
    assert send("b@odd.lab", text).code == 250
    assert without_received(accepted(lab)[-1].data) == text
    count = len(accepted(lab))
    reply = send("b@odd.lab", text, server=REFUSE_LONG)
    assert passes == (reply.code == 250) == (len(accepted(lab)) > count)
    assert passes or reply.startswith("554 5.6.0 bad-content")


# ---- sizes ----

def test_empty_message(lab, danelaw):
    """A body of no octets is a message."""
    with Smtp() as c:
        envelope(c)
        c("DATA", 354)
        c.raw(b".\r\n")
        c.reply(250)
    assert without_received(accepted(lab)[-1].data) == b""


def test_undeclared_oversize(lab, danelaw):
    """R-SMTP-16: the next hop never sees the dot, the client is heard out, the session goes on."""
    line = b"z" * 98 + b"\r\n"
    count = len(accepted(lab))
    with Smtp() as c:
        for size, code in ((LIMIT // 100 - 1, 250), (LIMIT // 100 + 1, 552), (LIMIT // 20, 552)):
            envelope(c)
            assert c.data(b"S: x\r\n\r\n" + line * size, code).code == code
            assert code == 250 or "5.3.4 too-large" in c.transcript[-1]
        envelope(c)
        c.data(MESSAGE, 250)
    assert len(accepted(lab)) == count + 2
    log = danelaw.deliveries(reason="too-large")
    assert len(log) == 2 and {f["status"] for f in log} == {"refused"}


def test_exactly_the_limit(lab, danelaw):
    """RFC 1870: the limit itself is allowed, dots of stuffing and our own field do not count."""
    text = b"S: x\r\n\r\n" + b".\r\n" * ((LIMIT - 8) // 3)
    text += b"x" * (LIMIT - len(text) - 2) + b"\r\n" if LIMIT - len(text) >= 2 else b""
    text = text[:-3] if len(text) > LIMIT else text
    assert LIMIT - 2 <= len(text) <= LIMIT
    assert send("b@odd.lab", text, mail="SIZE=%d" % LIMIT).code == 250
    assert send("b@odd.lab", text + b"abc\r\n").startswith("552 5.3.4 too-large")


# ---- loops ----

HOP = b"Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000\r\n"


@pytest.mark.parametrize("fields, code", [
    (HOP * 100, 250), (HOP * 101, 554), (HOP.lower() * 101, 554),
    (b"Received:\r\n x\r\n" * 101, 554), (b"Subject: x\r\n\r\n" + HOP * 101, 250),
])
def test_too_many_hops(lab, danelaw, fields, code):
    """R-SMTP-47, P-16: 101 Received fields stop it, in whatever spelling; in the body they are
    text."""
    count = len(accepted(lab))
    reply = send("b@odd.lab", fields + b"Subject: x\r\n\r\nx\r\n")
    assert reply.code == code and len(accepted(lab)) == count + (code == 250)
    assert code == 250 or reply.startswith("554 5.4.6 mail-loop")


def test_own_hops(lab, danelaw):
    """R-SMTP-47: a message that came through here more than three times goes in circles."""
    assert send("b@odd.lab").code == 250
    data = accepted(lab)[-1].data
    own = data[:len(data) - len(without_received(data))]
    assert send("b@odd.lab", own * 3 + MESSAGE).code == 250
    assert send("b@odd.lab", own * 4 + MESSAGE).startswith("554 5.4.6 mail-loop")


@pytest.mark.parametrize("text", [b"no colon here\r\nSubject: x\r\n",
                                  b"\r\n\r\n", b"Subject: x\r\nno blank line\r\n", b": \r\n", b"\x01: x\r\n\r\n"])
def test_odd_headers(lab, danelaw, text):
    """P-16, R-SMTP-48: passed as they are."""
    assert send("b@odd.lab", text).code == 250
    data = accepted(lab)[-1].data
    assert data.endswith(text) and re.fullmatch(rb"Received: (?:[^\r]*\r\n)(?:\t[^\r]*\r\n){2,4}",
                                                data[:len(data) - len(text)])


@pytest.mark.parametrize("text", [b" ; Mon, 1 Jan 2001 00:00:00 +0000\r\nA: b\r\n\r\nx\r\n", b"\tby me\r\n", b" \r\n"])
@pytest.mark.parametrize("dot", [b"", b"."])
def test_nobody_goes_on_with_our_field(lab, danelaw, text, dot):
    """P-16, R-SMTP-45: a first line that is folded, also behind a stuffed dot, is the body's: it has no header
    section. An empty line is put between, and the message itself is passed as it is."""
    with Smtp() as c:
        envelope(c)
        c("DATA", 354)
        for octet in dot + text[:3]:
            c.raw(bytes([octet]))
            time.sleep(0.02)
        c.raw(text[3:] + b".\r\n")
        c.reply(250)
    data = accepted(lab)[-1].data
    assert data.endswith(b"\r\n\r\n" + text)
    assert email.message_from_bytes(data).keys() == ["Received"]
    assert b"by me" not in email.message_from_bytes(data)["Received"].encode()


@pytest.mark.parametrize("helo", ["a(b", "x) by evil (y", "[1.2.3.4]", "a;b", "A" * 500, "x\\"])
def test_names_in_received(lab, danelaw, helo):
    """R-SMTP-44, -45: whatever the client calls itself, the field keeps its form."""
    with Smtp(ehlo=helo) as c:
        envelope(c)
        c.data(MESSAGE, 250)
    data = accepted(lab)[-1].data
    field = data[:len(data) - len(MESSAGE)]
    assert data.endswith(MESSAGE) and max(map(len, field.split(b"\r\n"))) <= 998
    assert re.fullmatch(rb"Received: from [^\r]*\r\n(?:\t[^\r]*\r\n)*", field), field
    assert field.count(b"by danelaw.lab") == 1 and field.count(b";") == 1
    unquoted = re.sub(rb"\\.", b"", field)
    assert unquoted.count(b"(") == unquoted.count(b")")
    assert b"by evil" not in re.sub(rb"\((?:[^()\\]|\\.)*\)", b"", field)


def test_two_danelaws_in_a_loop(lab):
    """N-05: each the other's next hop: bounded, told as temporary, and both live on."""
    def other(port, to):
        return {"server": {"hostname": "loop-%d.lab" % port},
                "listener smarthost": {"listen": "127.0.0.1:%d" % port},
                "limits": {"next_hop_connections": 5},
                "timeouts": {"rcpt": "3s", "greeting": "3s", "connect": "3s", "handshake": "3s",
                             "command": "3s"},
                "mta-sts": {"fetch_timeout": "3s"},
                "dns": {"root_hints": lab.dns.root_hints, "trust_anchor": lab.dns.trust_anchor,
                        "timeout": "1s", "total": "2s"},
                "policy": {"next_hop": "[127.0.0.1]:%d" % to, "level": "may"}}
    with Danelaw(lab, other(2541, 2542)) as a, Danelaw(lab, other(2542, 2541)) as b:
        started = time.monotonic()
        reply = send("b@odd.lab", server=(BOUND, 2541))
        assert reply.code // 100 in (4, 5) and time.monotonic() - started < 10, reply
        assert len(re.findall(r"session=\S+ from", a.log + b.log)) < 30
        assert not a.deliveries(status="sent") and not b.deliveries(status="sent")
        with Smtp((BOUND, 2541)) as c:
            c("NOOP", 250)


def test_own_listener_as_next_hop(lab, danelaw):
    """R-DNS-28: a domain whose MX is our own listener is refused, not tried."""
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.1:2543"},
                       "policy": {"next_hop": "[127.0.0.1]:2543"}}) as d:
        assert send("b@odd.lab", server=(BOUND, 2543)).startswith("554 5.4.6 mx-loop")
        assert len(re.findall(r"session=\S+ from", d.log)) <= 2


# ---- clients that leave ----

def test_cut_at_every_octet(lab, danelaw):
    """R-SMTP-69, -70, P-17, P-18: RST or FIN anywhere: nothing arrives but what was sent whole."""
    greeting = b"EHLO c\r\nMAIL FROM:<a@client.lab>\r\nRCPT TO:<cut@odd.lab>\r\nDATA\r\n"
    body = b"Subject: x\r\n\r\n..\r\nx\r\n.\r\n"
    for how in ("FIN", "RST"):
        before = len(accepted(lab))
        for end in range(len(greeting) + len(body)):
            c = Smtp(ehlo=None)
            c.raw(greeting[:end])
            if end > len(greeting):
                for code in (220, 250, 250, 250, 354):
                    c.reply(code)
                c.raw(body[:end - len(greeting)])
            if how == "RST":
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        time.sleep(0.2)
        assert len(accepted(lab)) == before, how
        c = Smtp(ehlo=None)
        c.raw(greeting)
        for code in (220, 250, 250, 250, 354):
            c.reply(code)
        c.raw(body)
        c.close()
        wait(lambda: len(accepted(lab)) == before + 1, 2, "the whole one arrives")


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_gone_after_the_dot(lab, danelaw, how):
    """R-SMTP-70, P-18: the next hop's word is waited for and logged, with a warning of a
    duplicate."""
    to = "gone-%s@odd-gone.lab" % how.lower()
    CLIENT_IS_GONE.clear()
    c = Smtp()
    envelope(c, to)
    c("DATA", 354)
    c.raw(stuff(MESSAGE))
    wait(lambda: has_data(lab["odd-gone.lab"].receiver), 5, "the next hop has it")
    if how == "RST":
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    if how == "RST":
        session = re.findall(r"session=(\S+) < RCPT TO:<%s>" % re.escape(to), danelaw.log)[-1]
        wait(lambda: "session=%s closed: " % session in danelaw.log, 5, "danelaw has noticed")
    CLIENT_IS_GONE.set()
    log = danelaw.delivery_to(to)
    assert log["status"] == "sent" and log["reply"] == "250 2.0.0 slowly taken"
    if how == "RST":
        wait(lambda: "session=%s the client left before it heard" % log["session"] in danelaw.log, 2,
             danelaw.tail())


# ---- who may speak ----

def test_clients_outside_the_list(lab, danelaw):
    """R-NET-02, N-08: 554 at connect, closed, never a command; those inside are served."""
    for source in ("127.0.0.1", "198.18.78.1", "198.18.76.255"):
        with Smtp(CLOSED, ehlo=None, source=(source, 0)) as c:
            assert c.reply(554).startswith("554 5.7.1 not-allowed")
            assert c.is_closed()
    with Smtp(CLOSED, source=("198.18.77.9", 0)) as c:
        envelope(c)
    wait(lambda: "client=198.18.78.1 refused" in danelaw.log, 2, danelaw.tail())


def test_sessions_are_limited(lab, danelaw):
    """R-NET-13, N-10: per client and in all: 421, and room again when one leaves."""
    held = [Smtp(FEW, source=("127.0.0.9", 0)) for _ in range(3)]
    with Smtp(FEW, ehlo=None, source=("127.0.0.9", 0)) as c:
        assert c.reply(421).startswith("421 4.3.2 overload") and c.is_closed()
    held += [Smtp(FEW, source=("127.0.0.10", 0)) for _ in range(3)]
    with Smtp(FEW, ehlo=None, source=("127.0.0.11", 0)) as c:
        assert c.reply(421).startswith("421 4.3.2 overload") and c.is_closed()
    held.pop().close()
    wait(lambda: has_room("127.0.0.11"), 5, "room for another one")
    for c in held:
        c.close()
    wait(lambda: has_room("127.0.0.9"), 5, "room for all")


def has_room(source):
    with Smtp(FEW, ehlo=None, source=(source, 0)) as c:
        return c.reply(220, 421).code == 220


@pytest.mark.parametrize("words, code", [(b"QUIT\r\n", 221), (b"GET / HTTP/1.1\r\n", 421)])
def test_ended_sessions_hold_nothing(lab, danelaw, words, code):
    """N-10: a client that is told goodbye and does not go is no way around the limit of sessions."""
    before = descriptors(danelaw)
    held = []
    for _ in range(40):
        c = Smtp(FEW, ehlo=None, source=("127.0.0.12", 0))
        held.append(c)
        if c.reply(220, 421).code == 220:
            c.raw(words)
            c.reply(code)
    assert descriptors(danelaw) - before <= 6
    for c in held:
        c.close()


def test_descriptor_exhaustion(lab):
    """R-NET-15, N-09: accepting pauses and does not spin; it goes on when there is room."""
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.1:2544"}},
                 wrap=["prlimit", "--nofile=64:64"]) as d:
        clients = []
        for _ in range(80):
            sock = socket.create_connection((BOUND, 2544), 5)
            clients.append(sock)
        wait(lambda: "out of descriptors" in d.log, 3, "it is said")
        ticks = cpu_ticks(d)
        time.sleep(1)
        assert cpu_ticks(d) - ticks < 20, "hundredths of a second in one second"
        wait(lambda: sum(bool(select.select([s], [], [], 0)[0]) for s in clients) >= 30, 5,
             "those that were accepted have been greeted")
        for sock in clients:
            sock.close()
        wait(lambda: served((BOUND, 2544)), 5, "served again")


def served(server):
    try:
        with Smtp(server, timeout=1) as c:
            return c("RCPT TO:<x@y.lab>", 503)
    except (OSError, AssertionError):
        return False


def cpu_ticks(d):
    with open("/proc/%d/stat" % d.worker) as f:
        return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))


def test_a_session_costs_kilobytes(lab, danelaw):
    """R-SMTP-76: three hundred sessions with open transactions."""
    before = rss(danelaw)
    held = [Smtp() for _ in range(300)]
    for c in held:
        c("MAIL FROM:<a@client.lab>", 250)
    assert rss(danelaw) - before < bound(64 * len(held))
    for c in held:
        c.close()


# ---- time ----

def test_idle_clients(lab, hasty):
    """R-SMTP-32, -38, P-05: silent, or dribbling one command for ever: 421, also behind good ones."""
    for words in ((), (b"EHLO x\r\n",), (b"N", b"O", b"O", b"P", b" ", b" ", b" ", b" "),
                  (b"x" * 3000, b"x", b"x", b"x", b"x", b"x")):
        started = time.monotonic()
        with Smtp(HASTY, ehlo=None) as c:
            c.reply(220)
            with contextlib.suppress(ConnectionError):  # a slow machine's last words come too late
                for word in words:
                    c.raw(word)
                    time.sleep(0.06)
            codes = []
            while 421 not in codes:
                codes.append(c.reply().code)
            assert c.is_closed() and time.monotonic() - started < 8, codes


def test_idle_in_the_body(lab, hasty):
    """F-09, R-SMTP-38, -69: 421, and the next hop gets no dot; a slow body that moves is not idle."""
    count = len(accepted(lab))
    with Smtp(HASTY) as c:
        envelope(c)
        c("DATA", 354)
        c.raw(b"Subject: x\r\n\r\nhalf a li")
        assert c.reply(421).startswith("421 4.4.2 idle") and c.is_closed()
    assert len(accepted(lab)) == count
    with Smtp(HASTY) as c:
        envelope(c)
        c("DATA", 354)
        for octet in b"Subject: x\r\n":  # which takes longer than a client may be idle
            c.raw(bytes([octet]))
            time.sleep(0.19)
        c.raw(b".\r\n")
        c.reply(250)


def test_waiting_for_the_next_hop_is_not_idle(lab, hasty):
    """The 2.6 s are the next hop's."""
    with Smtp(HASTY) as c:
        envelope(c, "b@odd-slower.lab")
        c.data(MESSAGE, 250)


def test_stalled_next_hop_disturbs_nobody(lab, hasty):
    """R-SMTP-76: back-pressure to the one client, memory bounded, full speed for another."""
    with Smtp(HASTY) as c:
        envelope(c, "b@odd-stalled.lab")
        c("DATA", 354)
        before = rss(hasty)
        c.sock.settimeout(0.1)
        sent = 0
        with pytest.raises(socket.timeout):
            while sent < 40 << 20:
                sent += c.sock.send(b"x" * 998 + b"\r\n")
        assert rss(hasty) - before < bound(1024)
        started = time.monotonic()
        for _ in range(20):
            assert send("b@odd.lab", server=HASTY).code == 250
        assert time.monotonic() - started < 8
