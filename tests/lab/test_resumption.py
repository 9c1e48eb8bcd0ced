"""TLS sessions of next hops (R-TLSSEC-06): what is resumed, and with which proof; what never is.

No connection is kept here, so that each message makes a handshake. (TLSA changed between two mails:
test_dane.py.)
"""
import socket

import pytest

from fakemx import Gone
from program import Danelaw
from smtp import Smtp
from test_admin import metrics
from world import STALE
from zones import UNSIGNED


def declare(lab):
    lab.domain("pf.res.lab", "3 1 1")
    lab.domain("pf12.res.lab", "3 1 1", postfix={"smtpd_tls_mandatory_protocols": "<=TLSv1.2",
                                                 "smtpd_tls_protocols": "<=TLSv1.2"})
    ta = lab.ca.issue("mx.ta.res.lab")
    lab.domain("ta.res.lab", "2 0 1", cert=ta, fake={"tickets": True})
    lab.zone("other.res.lab", "@ MX 10 mx.ta.res.lab.\n")
    lab.domain("report.res.lab", STALE, fake={"tickets": True})
    lab.domain("wrong.res.lab", STALE, fake={"tickets": True})
    lab.domain("forgets.res.lab", "3 1 1", fake={})
    lab.domain("breaks.res.lab", "3 1 1", fake={"tickets": True, "replies": {"STARTTLS": no_tickets}})
    lab.domain("optional.res.lab", how=UNSIGNED, fake={"tickets": True,
                                                         "replies": {"STARTTLS": no_tickets}})


def no_tickets(c, line):
    """Breaks off at a ClientHello with a ticket in it, which is that much longer."""
    c.say("220 2.0.0 go")
    length = len(c.sock.recv(4096, socket.MSG_PEEK))
    c.mx.first = getattr(c.mx, "first", length)
    if length > c.mx.first + 100:
        raise Gone("no tickets here")


@pytest.fixture(scope="module")
def danelaw(lab):
    with Danelaw(lab, {"limits": {"connection_idle": "0s"}, "admin": {"listen": "127.0.0.1:9125"},
                       "domain report.res.lab": {"enforce": "no"}}) as d:
        yield d


def send(recipient, code=250):
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        reply = c("RCPT TO:<%s>" % recipient)
        if reply.code == 250:
            reply = c.data(b"Subject: x\r\n\r\nx\r\n")
        assert reply.code == code, reply
        return reply


def handshakes():
    now = metrics()
    return [now['danelaw_handshakes_total{resumed="%s"}' % x] for x in ("no", "yes")]


def grown(before):
    return [now - then for now, then in zip(handshakes(), before)]


@pytest.mark.parametrize("domain, protocol", [("pf.res.lab", "TLSv1.3"), ("pf12.res.lab", "TLSv1.2")])
def test_resumed_with_the_proof_of_the_first(danelaw, domain, protocol):
    before = handshakes()
    for i in range(3):
        send("r%d@%s" % (i, domain))
    assert grown(before) == [1, 2]
    first, last = (danelaw.delivery_to("r%d@%s" % (i, domain)) for i in (0, 2))
    for log in (first, last):
        assert log["tls"] == "verified" and log["protocol"] == protocol and log["reused"] == "no"
    assert last["tlsa"] == first["tlsa"] and first["tlsa"].startswith("3 1 1")


def test_same_host_other_next_hop_domain(lab, danelaw):
    """Under usage 2 its name is another: what was proven for one proves nothing for the other."""
    mx = lab["ta.res.lab"].receiver
    for domain in ("ta.res.lab", "other.res.lab", "ta.res.lab", "other.res.lab"):
        send("b@" + domain)
    assert [c.is_resumed for c in mx.connections] == [False, False, True, True]


def test_what_was_only_reported_is_not_kept(lab, danelaw):
    before = handshakes()
    for _ in range(2):
        send("b@report.res.lab")
    used = [c for c in lab["report.res.lab"].receiver.connections if b"MAIL" in c.secret]
    assert [c.is_resumed for c in used] == [False, False]
    assert grown(before)[1] == 0


def test_what_failed_is_not_kept(lab, danelaw):
    for _ in range(2):
        assert "dane-mismatch" in send("b@wrong.res.lab", 451)
    mx = lab["wrong.res.lab"].receiver
    assert not any(c.is_resumed for c in mx.connections)


def test_refused_tickets(lab, danelaw):
    """A server that has forgotten makes a full handshake of it, and is asked for all it must prove."""
    for i in range(2):
        send("f%d@forgets.res.lab" % i)
        assert danelaw.delivery_to("f%d@forgets.res.lab" % i)["tls"] == "verified"
    assert [c.is_resumed for c in lab["forgets.res.lab"].receiver.connections] == [False] * 2


@pytest.mark.parametrize("domain, tls", [("breaks.res.lab", "verified"),
                                         ("optional.res.lab", "encrypted")])
def test_a_server_that_breaks_at_tickets(lab, danelaw, domain, tls):
    """It is met without one then: the host has not failed, and no mail leaves in clear for it."""
    for i in range(2):
        send("b%d@%s" % (i, domain))
        assert danelaw.delivery_to("b%d@%s" % (i, domain))["tls"] == tls
    assert len(lab[domain].receiver.connections) == 3
