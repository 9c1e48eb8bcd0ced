"""STARTTLS injection, both sides, after the catalogue of the study "Why TLS is better without STARTTLS"
(USENIX Security 2021): what somebody on the way can put between the clear and the secret part of a
conversation is said by nobody, whatever it is and however it is cut into segments.
"""
import ssl
import time

import pytest

from fakemx import Gone
from nexthop import Slots, at, attempt, says, transcript, wait_over
from program import Danelaw
from smtp import MESSAGE, Smtp

SERVER = ("127.0.0.1", 2527)

INJECTED = {
    "reply": b"250 2.0.0 fake\r\n",
    "EHLO reply": b"250-fake\r\n250-SIZE 10\r\n250 STARTTLS\r\n",
    "another 220": b"220 again\r\n",
    "whole session": b"250 fake\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n221 bye\r\n",
    "failure": b"454 4.7.0 TLS is not available\r\n",
    "begin of a line": b"2",
    "line end": b"\r\n",
    "bare LF": b"\n250 x\n",
    "NUL": b"\0",
    "TLS alert": b"\x15\x03\x03\x00\x02\x01\x00",
    "TLS record": b"\x16\x03\x03\x00\x05hello",
    "too much": b"250 x\r\n" * 9000,
}


def declare(lab):
    lab.inject = Slots(lab, "inject.lab", tls=len(INJECTED) * len(PLACES) + len(EARLIER))
    lab.domain("injected-client.lab", "3 1 1", fake={})


@pytest.fixture(scope="module")
def danelaw(lab):
    cert = lab.cert("sender.lab")
    with Danelaw(lab, {"listener edge": {"listen": "%s:%d" % SERVER, "clients": "127.0.0.0/8",
                                         "tls_certificate": cert.chain, "tls_key": cert.key},
                       "timeouts": {"handshake": "2s", "command": "2s"}}) as d:
        yield d


@pytest.fixture
def hop(lab):
    with lab.inject.hops() as hop:
        yield hop


# ---- from the next hop's side ----

def same_segment(c, octets):
    c.say(b"220 2.0.0 go\r\n" + octets)
    c.start_tls()


def own_segment(c, octets):
    c.say(b"220 2.0.0 go\r\n")
    c.say(octets)
    c.start_tls()


def with_the_server_hello(c, octets):
    """The honest answer to the ClientHello, with octets before it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = c.mx.context(c.mx.cert).wrap_bio(incoming, outgoing, server_side=True)
    c.say(b"220 2.0.0 go\r\n")
    incoming.write(c.sock.recv(65536))
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    c.sock.sendall(octets + outgoing.read())
    c.sock.recv(65536)
    raise Gone("injected")


PLACES = {"same segment": same_segment, "own segment": own_segment,
          "before the ServerHello": with_the_server_hello}


def says_nothing_unproven(h):
    """In clear EHLO and STARTTLS, once; nothing after them, and never an envelope."""
    for c in h.mx.connections:
        lines = bytes(c.clear).split(b"\r\n")
        assert [x.split(b" ")[0] for x in lines[:2]] == [b"EHLO", b"STARTTLS"], transcript(h.mx)
        assert b"MAIL" not in bytes(c.clear) + bytes(c.secret) and bytes(c.clear).count(b"EHLO") == 1
    assert not h.mx.messages


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", INJECTED)
def test_injected_replies(danelaw, hop, what, place):
    """T-04, T-05, R-TLSSEC-01: the host has failed; nothing of it is taken into TLS."""
    def starttls(c, line):
        PLACES[place](c, INJECTED[what])
        c._read()
        raise Gone("heard something")
    h = hop("tls", replies={"STARTTLS": starttls})
    assert attempt(h.domain).startswith("451 4.7.5 tls-handshake")
    wait_over(h.mx)
    says_nothing_unproven(h)


EARLIER = {
    "all of it in the greeting": ("greeting", b"220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n"),
    "the 220 behind EHLO": ("EHLO", b"250-x\r\n250 STARTTLS\r\n220 go\r\n"),
    "a session behind EHLO": ("EHLO", b"250-x\r\n250 STARTTLS\r\n220 go\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n"),
    "unasked inside TLS": ("EHLO+", b"250-x\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n"),
    "an EHLO of 220": ("EHLO", b"220-x\r\n220 STARTTLS\r\n"),
    "two lines of 220, and a third": ("STARTTLS", b"220-go\r\n220 on\r\n220 and on\r\n"),
    "another code within": ("STARTTLS", b"220-go\r\n250 on\r\n"),
    "no STARTTLS in words that look like it": ("EHLO", b"250-x\r\n250-XSTARTTLS\r\n250 STARTTLSX\r\n"),
}


@pytest.mark.parametrize("case", EARLIER)
def test_replies_before_their_questions(danelaw, hop, case):
    """T-03, T-05, R-TLSSEC-01, -03, -04: no answer counts for a question that was not yet asked."""
    stage, octets = EARLIER[case]
    _, how = at(stage, says(octets))
    h = hop("tls", **how)
    assert attempt(h.domain).code == 451
    wait_over(h.mx)
    assert b"MAIL" not in h.mx.clear + h.mx.secret and not h.mx.messages


# ---- from the client's side ----

COMMANDS = {
    "command": b"NOOP\r\n",
    "session": b"EHLO evil\r\nMAIL FROM:<evil@client.lab>\r\nRCPT TO:<evil@injected-client.lab>\r\nDATA\r\n",
    "begin of a command": b"MAIL FROM:<evil@client.lab> SIZE=",
    "line end": b"\r\n",
    "NUL": b"\0",
}


def hello():
    """(a client's TLS, where its octets come out, and where others' go in)"""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="sender.lab")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("place", ["behind STARTTLS", "after the 220", "before the ClientHello", "within it"])
@pytest.mark.parametrize("what", COMMANDS)
def test_injected_commands(danelaw, what, place):
    """R-TLSSEC-02: they end the session; none of them is ever heard, neither in clear nor under TLS."""
    octets, first = COMMANDS[what], hello()
    with Smtp(SERVER) as c:
        if place == "behind STARTTLS":
            c.raw(b"STARTTLS\r\n" + octets)
            c.reply(503)
        else:
            c("STARTTLS", 220)
            c.raw({"after the 220": octets, "before the ClientHello": octets + first,
                   "within it": first[:20] + octets + first[20:]}[place])
        heard = b""
        c.sock.settimeout(9)
        try:
            if place == "after the 220":
                time.sleep(0.05)
                c.raw(first)
            while data := c.sock.recv(4096):
                heard += data
        except ConnectionError:
            pass
        assert b"250 " not in heard and b"354" not in heard
    assert "evil@" not in danelaw.log


def test_nothing_clear_is_known_inside_tls(lab, danelaw):
    """R-TLSSEC-03, towards clients: what was said in clear, EHLO first of all, is forgotten."""
    with Smtp(SERVER, ehlo="clear.client.lab") as c:
        assert "STARTTLS" in c.extensions
        c("STARTTLS", 220)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        c.sock = context.wrap_socket(c.sock)
        c("MAIL FROM:<a@client.lab>", 503)
        assert "STARTTLS" not in c("EHLO secret.client.lab", 250).lines
        c("STARTTLS", 502, 503)
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@injected-client.lab>", 250)
        c.data(MESSAGE, 250)
    [message] = lab["injected-client.lab"].receiver.messages
    assert b"secret.client.lab" in message.data and b"clear.client.lab" not in message.data
