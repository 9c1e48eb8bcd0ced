"""The way of one message through danelaw: to whom it goes, over which TLS, and what is said if not.

Receivers are real Postfix and Exim; where a test asserts what was on the wire, a FakeMx."""
import os
import re
import time

import pytest

from certs import tlsa
from dnsrelay import deny, drop, fail, silent, strip_signatures
from smtp import MESSAGE, Smtp, send
from world import STALE
from zones import BOGUS_DS, CORRUPT, EXPIRED, ISLAND, NSEC3, UNSIGNED, wait

NULL_MX = "@ MX 0 .\n"
SPECIAL = {"loopback.lab": "127.0.0.1", "private.lab": "10.0.0.25", "zero.lab": "0.0.0.0",
           "link-local.lab": "169.254.1.1", "multicast.lab": "224.0.0.1"}


def has_ipv6():
    return os.path.exists("/proc/net/if_inet6")


def declare(lab):
    lab.domain("right.lab", "3 1 1")
    lab.domain("nsec3.lab", "3 0 2", NSEC3)
    lab.domain("authority.lab", "2 0 1", cert=lab.ca.issue("mx.authority.lab"))
    lab.domain("exim.lab", "3 1 1", exim=True)
    lab.domain("expired-cert.lab", "3 1 1", cert=lab.cert("elsewhere.lab", days=-1))
    lab.domain("rollover.lab", [STALE, "3 1 1"])
    lab.domain("unusable.lab", ["1 1 1", "3 1 7 " + "00" * 32])
    lab.domain("wire.lab", "3 1 1", fake={})

    lab.domain("stale.lab", STALE, fake={})
    lab.domain("stripped.lab", "3 1 1", stripped=True)
    lab.domain("wrong-name.lab", "2 0 1", cert=lab.ca.issue("other.lab"), fake={})
    for reply in ("454 4.7.0 later", "500 5.5.1 what", "250 2.0.0 ok", "354 go on"):
        lab.domain("starttls-%s.lab" % reply[:3], "3 1 1", fake={"replies": {"STARTTLS": reply}})
    lab.domain("no-ehlo.lab", "3 1 1", fake={"replies": {"EHLO": "502 5.5.1 no"}})
    lab.domain("injected.lab", "3 1 1", fake={"inject": b"250-fake\r\n250 STARTTLS\r\n"})
    lab.domain("early.lab", "3 1 1", fake={"replies": {
        "EHLO": "250-fake\r\n250 STARTTLS\r\n220 2.0.0 go"}})
    lab.domain("unusable-stripped.lab", ["3 1 7 " + "00" * 32], cert=None, fake={})

    for how in (CORRUPT, EXPIRED, BOGUS_DS):
        lab.domain("%s.lab" % how, "3 1 1", how, fake={})
    lab.domain("tlsa-bogus.lab", "3 1 1", CORRUPT + " TLSA", fake={})
    for name, twist in {"tlsa-dropped": drop("TLSA"), "tlsa-servfail": fail("SERVFAIL", "TLSA"),
                        "tlsa-denied": deny("TLSA"),
                        "signatures-stripped": strip_signatures}.items():
        lab.domain(name + ".lab", "3 1 1", twist=twist, fake={})

    lab.domain("unsigned.plain", how=UNSIGNED)
    lab.domain("clear.plain", how=UNSIGNED, cert=None)
    lab.domain("island.lab", STALE, ISLAND)
    lab.domain("no-tlsa-queries.plain", how=UNSIGNED, twist=drop("TLSA"))

    lab.zone("null-mx.lab", NULL_MX)
    lab.zone("no-mail.lab", "www A 198.18.1.1\n")
    lab.zone("dead.lab", "@ MX 10 mx\nmx A %s\n" % lab.address())
    lab.zone("implicit.lab", "@ A %s\n" % lab["clear.plain"].address)
    lab.zone("dead-mx.lab", "@ MX 10 mx\n@ A %s\nmx A %s\n"
             % (lab["wire.lab"].address, lab.address()))
    lab.zone("alias.lab", "@ MX 10 mail\nmail CNAME mx.right.lab.\n")
    lab.zone("alias-ta.lab", "@ MX 10 mail\nmail CNAME mx.authority.lab.\n")
    lab.zone("to-plain.lab", "@ MX 10 mail\nmail CNAME mx.unsigned.plain.\n"
             "_25._tcp.mail TLSA %s\n" % STALE)
    lab.zone("two.lab", "@ MX 10 mx.stale.lab.\n@ MX 20 mx.right.lab.\n")
    lab.zone("patient.lab", "@ MX 10 mx.right.lab.\n@ MX 20 mx.silent.lab.\n")
    lab.zone("silent.lab", "mx A 198.18.1.1\n", twist=silent)
    lab.domain("aaaa-fails.lab", "3 1 1", twist=fail("SERVFAIL", "AAAA"))
    lab.domain("changes.lab", "3 1 1", ttl=1)
    lab.zone("bare-alias.lab", "www CNAME right.lab.\n")
    for name, address in SPECIAL.items():
        lab.zone(name, "@ MX 10 mx\nmx A %s\n" % address)
    six = lab.address6()
    lab.zone("six.lab", "@ MX 10 mx\nmx AAAA %s\n_25._tcp.mx TLSA %s\n"
             % (six, tlsa(lab["right.lab"].cert)))
    if has_ipv6():
        lab.postfix.service(six, "mx.six.lab", lab["right.lab"].cert)
    lab.domain("fussy.lab", "3 1 1")
    lab.domain("seven.lab", "3 1 1", postfix={"smtpd_discard_ehlo_keywords": "8bitmime"})
    lab.domain("small.lab", "3 1 1", postfix={"message_size_limit": 100000})


def no_mail_on(receiver):
    """Neither in clear nor in TLS was the envelope ever said."""
    return b"MAIL" not in bytes(receiver.clear + receiver.secret).upper()


# ---- what must arrive, and how it is called ----

@pytest.mark.parametrize("name, policy, tls", [
    ("right.lab", "dane", "verified"),
    ("nsec3.lab", "dane", "verified"),
    ("authority.lab", "dane", "verified"),
    ("exim.lab", "dane", "verified"),
    ("expired-cert.lab", "dane", "verified"),  # R-DANE-09: DANE-EE knows no dates and no names
    ("rollover.lab", "dane", "verified"),
    ("unusable.lab", "dane-unusable", "encrypted"),  # R-DANE-02, R-DANE-04
    ("unsigned.plain", "may", "encrypted"),
    ("clear.plain", "may", "cleartext"),
    ("island.lab", "may", "encrypted"),  # R-DNS-03, R-DNS-17: an insecure TLSA is none
])
def test_delivered(lab, danelaw, name, policy, tls):
    """R-DANE-01, R-DANE-03, R-TLSSEC-17: delivered, and named for what was proven."""
    to = "good@" + name
    assert send(to).code == 250
    assert MESSAGE.split(b"\r\n\r\n")[1] in lab[name].delivered("good")[0]
    log = danelaw.delivery_to(to)
    assert (log["policy"], log["tls"], log["status"]) == (policy, tls, "sent")


def test_log_lists_every_recipient(lab, danelaw):
    """Interface section 4: however long the list is."""
    names = ["recipient-number-%d@right.lab" % n for n in range(90)]
    assert send(names).code == 250
    danelaw.delivery_to(names[0])
    wait(lambda: all("<%s>" % n in danelaw.log for n in names), 2, "all recipients in the log")
    assert "delivery-more session=" in danelaw.log
    for line in danelaw.log.splitlines():
        if " to=" in line:
            assert line.split(" to=")[1].split(" ")[0].endswith(">")


def test_aliased_mx_hosts(lab, danelaw):
    """R-DNS-11, R-DNS-14: a secure CNAME is expanded, and its end is the TLSA base domain."""
    for name in ("alias.lab", "alias-ta.lab"):
        assert send("b@" + name).code == 250
        assert danelaw.delivery_to("b@" + name)["tls"] == "verified"


def test_insecure_tail_of_an_alias(lab, danelaw):
    """R-DNS-12, D-07: the alias itself is secure, so its TLSA binds although the tail is not."""
    reply = send("b@to-plain.lab")
    assert reply.startswith("451 4.7.5 dane-mismatch")


def test_no_tlsa_query_for_insecure_hosts(lab, danelaw):
    """R-DNS-08, D-04: a server that drops TLSA queries does not hurt where they cannot count."""
    d = lab["no-tlsa-queries.plain"]
    assert send("b@" + d.name).code == 250
    assert d.relay.asked("TLSA") == []


def test_clear_phase_holds_nothing(lab, danelaw):
    """R-DANE-22, R-TLSSEC-05, R-DANE-18: EHLO and STARTTLS in clear; SNI is the base domain."""
    d = lab["wire.lab"]
    assert send("b@wire.lab").code == 250
    lines = bytes(d.receiver.connections[-1].clear).decode().split("\r\n")
    assert [line.split(" ")[0] for line in lines if line] == ["EHLO", "STARTTLS"]
    assert d.receiver.snis[-1] == "mx.wire.lab"


# ---- what must not arrive ----

@pytest.mark.parametrize("name, reply", [
    ("stale.lab", "451 4.7.5 dane-mismatch"),  # R-DANE-01, T-06
    ("wrong-name.lab", "451 4.7.5 dane-name"),  # R-DANE-11
    ("starttls-454.lab", "451 4.7.4 dane-no-starttls"),  # R-DANE-21, T-03
    ("starttls-500.lab", "451 4.7.4 dane-no-starttls"),
    ("starttls-250.lab", "451 4.7.4 dane-no-starttls"),
    ("starttls-354.lab", "451 4.7.4 dane-no-starttls"),
    ("no-ehlo.lab", "451 4.7.4 dane-no-starttls"),  # T-02
    ("injected.lab", "451 4.7.5 tls-handshake"),  # R-TLSSEC-01, T-04
    ("early.lab", "451 4.7.4 dane-no-starttls"),  # the 220 before STARTTLS was said
    ("unusable-stripped.lab", "451 4.7.4 dane-no-starttls"),  # R-DANE-02
    (CORRUPT + ".lab", "451 4.4.3 dns-bogus"),  # R-DNS-05
    (EXPIRED + ".lab", "451 4.4.3 dns-bogus"),  # D-01
    (BOGUS_DS + ".lab", "451 4.4.3 dns-bogus"),
    ("tlsa-bogus.lab", "451 4.4.3 dns-bogus"),  # R-DNS-07
    ("tlsa-denied.lab", "451 4.4.3 dns-bogus"),  # D-02
    ("tlsa-servfail.lab", "451 4.4.3 dns-failed"),
    ("tlsa-dropped.lab", "451 4.4.3 dns-failed"),  # D-03
    ("signatures-stripped.lab", "451 4.4.3 dns-bogus"),  # R-DNS-36, D-05
])
def test_refused_before_the_envelope(lab, danelaw, name, reply):
    """R-DANE-01, -02, -11, R-DNS-05, -07, -36, R-TLSSEC-01, D-01..03, D-05, T-02..04, T-06,
    R-DANE-21, R-DANE-22: refused with the reason, and MAIL was said to nobody."""
    started = time.monotonic()
    assert send("b@" + name).startswith(reply)
    assert time.monotonic() - started < 65  # R-DNS-43: all lookups of a domain
    assert no_mail_on(lab[name].receiver)
    assert danelaw.delivery_to("b@" + name)["reason"] == reply.split()[2]


def test_stripped_starttls(lab, danelaw):
    """T-01: a real Postfix behind somebody who removes STARTTLS."""
    d = lab["stripped.lab"]
    assert send("b@stripped.lab").startswith("451 4.7.4 dane-no-starttls")
    assert b"MAIL" not in d.stripper.clear.upper()


@pytest.mark.parametrize("address, reply", [
    ("b@null-mx.lab", "556 5.1.10 null-mx"),  # R-DNS-26
    ("b@nowhere.lab", "550 5.1.2 no-such-domain"),  # R-DNS-23
    ("b@no-mail.lab", "550 5.1.2 no-mail-host"),
    ("b@[198.18.1.1]", "550 5.1.2 address-literal"),  # R-DNS-33
    ("b@a..lab", "501 5.1.3 bad-address"),  # D-21
    ("b@dead.lab", "451 4.4.1 connect-failed"),
    ("b@dead-mx.lab", "451 4.4.1 connect-failed"),  # R-DNS-24: never the A of the bare domain
])
def test_refusals_of_addresses(lab, danelaw, address, reply):
    """R-SMTP-80: the reply says what is wrong with the destination."""
    assert send(address).startswith(reply)


# ---- several hosts ----

def test_implicit_mx(lab, danelaw):
    """R-DNS-23: no MX, so the domain itself is the host."""
    assert send("b@implicit.lab").code == 250


def test_next_host_after_a_failed_one(lab, danelaw):
    """R-DANE-23: mx10 does not match, mx20 does."""
    assert send("b@two.lab").code == 250
    assert danelaw.delivery_to("b@two.lab")["mx"].startswith("mx.right.lab[")
    assert no_mail_on(lab["stale.lab"].receiver)


def test_worse_hosts_are_not_waited_for(lab, danelaw):
    """A backup MX whose zone is silent costs nothing while the best host works."""
    started = time.monotonic()
    assert send("b@patient.lab").code == 250
    assert time.monotonic() - started < 5  # a lookup that nobody answers takes 20


def test_one_family_that_fails(lab, danelaw):
    """R-DNS-10: AAAA ends in SERVFAIL, A is secure: delivered, and TLSA still binds."""
    assert send("b@aaaa-fails.lab").code == 250
    assert danelaw.delivery_to("b@aaaa-fails.lab")["tls"] == "verified"


@pytest.mark.skipif(not has_ipv6(), reason="cannot run here: no IPv6 in this kernel")
def test_ipv6(lab, danelaw):
    """R-NET-16: a host with nothing but AAAA."""
    assert send("b@six.lab").code == 250
    assert "2001:db8:25::1:" in danelaw.delivery_to("b@six.lab")["mx"]


def test_recipient_domain_is_an_alias(lab, danelaw):
    """R-DNS-22: the CNAME at the recipient domain is followed; the address stays as it was."""
    assert send("b@www.bare-alias.lab").code == 250
    assert lab.postfix.maildir.wait_for("b@www.bare-alias.lab")


@pytest.mark.parametrize("name", SPECIAL)
def test_special_addresses_are_not_dialled(lab, danelaw, name):
    """R-DNS-28, R-DNS-29, D-13, D-14: nothing of the kind is allowed in the lab's settings."""
    assert send("b@" + name).startswith("451 4.4.4 no-address")


def test_changed_tlsa_counts_for_the_next_message(lab, danelaw):
    """R-DNS-40, R-SMTP-81, T-20: the pooled connection is not used once its proof has changed."""
    d = lab["changes.lab"]
    assert send("one@changes.lab").code == 250
    records = "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n"
    lab.dns.change("changes.lab", records % (d.address, STALE))
    time.sleep(2.1)  # the TTL of 1 s runs out, counted in whole seconds
    assert send("two@changes.lab").startswith("451 4.7.5 dane-mismatch")
    assert not lab.postfix.maildir.messages("two@changes.lab")


# ---- the envelope and the octets ----

def test_second_domain_is_deferred(lab, deferring):
    """D1: one next-hop domain in a transaction; the client sends the other in its next one."""
    with Smtp(deferring.server) as c:
        assert any(x.startswith("LIMITS ") and "RCPTDOMAINMAX=1" in x for x in c.extensions)
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<one@right.lab>", 250)
        assert c("RCPT TO:<two@exim.lab>", 452).startswith("452 4.5.3 one-domain")
        c("RCPT TO:<three@right.lab>", 250)
        c.data(MESSAGE, 250)
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<two@exim.lab>", 250)
        c.data(MESSAGE, 250)
    for domain, user in (("right.lab", "one"), ("right.lab", "three"), ("exim.lab", "two")):
        assert len(lab[domain].delivered(user)) == 1


def test_recipients_have_their_own_replies(lab, danelaw):
    """The next hop's verdict on each recipient passes through; the accepted one is served."""
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        assert "5.1.1" in c("RCPT TO:<reject1@fussy.lab>", 550)
        assert "4.2.1" in c("RCPT TO:<later1@fussy.lab>", 451)
        c("RCPT TO:<b@fussy.lab>", 250)
        c.data(MESSAGE, 250)
    assert len(lab["fussy.lab"].delivered("b")) == 1


def test_what_the_next_hop_cannot_take(lab, danelaw):
    """R-SMTP-17, R-SMTP-41."""
    assert send("b@seven.lab", mail="BODY=8BITMIME").startswith("554 5.6.3 no-8bitmime")
    assert send("b@small.lab", mail="SIZE=200000").startswith("552 5.3.4")


BODIES = {
    "empty": b"",
    "headers only": b"Subject: x\r\n",
    "no headers": b"\r\ntext\r\n",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n.x\r\n\r\n.\r\n",
    "leading dot": b".Subject: x\r\n\r\n.\r\n",
    "8-bit": b"Subject: x\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "controls": b"Subject: x\r\n\r\n\x01\x07\x08\x0b\x0c\x1b\x7f\r\n",
    "lines of 999, 1000 and a million": b"\r\n".join(
        [b"Subject: x", b"", b"a" * 997, b"b" * 998, b"c" * 1000000, b""]),
    "fields that look like ours": b"Received: by danelaw.lab\r\nDKIM-Signature: v=1\r\n\r\nx\r\n",
    "trailing empty lines": b"Subject: x\r\n\r\nx\r\n\r\n\r\n\r\n",
}


def without_received(data):
    """The message below the one field that danelaw has put on top."""
    match = re.match(rb"Received: from [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", data)
    assert match and b"danelaw.lab" in match.group(), data[:300]
    return data[match.end():]


@pytest.mark.parametrize("kind", BODIES)
def test_octets_are_untouched(lab, danelaw, kind):
    """R-SMTP-22, R-SMTP-44, R-SMTP-48: one Received field on top, no other octet changes."""
    assert send("b@wire.lab", BODIES[kind], mail="BODY=8BITMIME").code == 250
    assert without_received(lab["wire.lab"].receiver.messages[-1].data) == BODIES[kind]


def test_octets_at_every_split(lab, danelaw):
    """R-SMTP-22: chunk boundaries anywhere, the end of data among them."""
    text = b"Subject: x\r\n\r\n.\r\n..x\r\nend\r\n"
    for split in range(1, 8):
        with Smtp() as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<b@wire.lab>", 250)
            c("DATA", 354)
            c.raw(text.replace(b"\r\n.", b"\r\n..") + b".\r\n", split)
            c.reply(250)
        assert without_received(lab["wire.lab"].receiver.messages[-1].data) == text


def test_fifty_megabytes(lab, danelaw):
    """A message passes while it arrives; nothing of it is kept."""
    line = b"0123456789" * 7 + b"\r\n"
    text = b"Subject: large\r\n\r\n" + line * (49 * 1024 * 1024 // len(line))
    assert send("b@wire.lab", text, timeout=100).code == 250
    assert without_received(lab["wire.lab"].receiver.messages[-1].data) == text
    lab["wire.lab"].receiver.messages.clear()


def test_the_final_reply_is_the_next_hops(lab, danelaw):
    """250 is said only after the next hop has said it, and in its words."""
    mx = lab["wire.lab"].receiver
    for final in ("250 2.0.0 taken as 42", "451 4.3.0 try again", "554 5.7.1 not this one"):
        mx.replies["."] = final
        try:
            assert send("b@wire.lab") == final
        finally:
            del mx.replies["."]


# ---- stock senders ----

@pytest.mark.parametrize("kind", ["postfix", "exim"])
def test_stock_senders(lab, danelaw, kind, request):
    """A sender that knows nothing of DANE: right is delivered, stale stays in its queue."""
    client = request.getfixturevalue(kind + "_client")
    for name in ("right.lab", "stale.lab"):
        assert send("%s@%s" % (kind, name), server=("127.0.0.1", client.port)).code == 250
    lab["right.lab"].delivered(kind)
    wait(lambda: danelaw.deliveries(reason="dane-mismatch"), 10, "the stale one is tried")
    wait(lambda: len(client.queue()) == 1, 10, "only the stale one stays")
    assert no_mail_on(lab["stale.lab"].receiver)
