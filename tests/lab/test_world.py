"""Proves the lab with tools that are not ours: Unbound, delv, posttls-finger, openssl, swaks."""
import os
import subprocess
import time

import dns.query
import dns.rcode
import pytest

from dnsrelay import deny, drop, fail, forge_ad, strip_signatures, truncate
from smtp import Smtp, send
from world import STALE
from zones import BOGUS_DS, CORRUPT, EXPIRED, ISLAND, NSEC3, SIGNED, UNSIGNED, wait

SECURE = {SIGNED: "world-signed.lab", NSEC3: "world-nsec3.lab"}
INSECURE = {UNSIGNED: "world-unsigned.lab", ISLAND: "world-island.lab"}
BOGUS = {EXPIRED: "world-expired.lab", BOGUS_DS: "world-bogusds.lab", CORRUPT: "world-corrupt.lab"}


def declare(lab):
    for how, name in {**SECURE, **INSECURE, **BOGUS}.items():
        lab.domain(name, "3 1 1", how)
    lab.domain("world-unsigned.plain", how=UNSIGNED)
    lab.domain("world-ta.lab", "2 0 1", cert=lab.ca.issue("mx.world-ta.lab"))
    lab.domain("world-expired-cert.lab", "3 1 1", cert=lab.cert("elsewhere.lab", days=-1))
    lab.domain("world-stale.lab", STALE)
    lab.domain("world-clear.lab", cert=None)
    lab.domain("world-small.lab", postfix={"message_size_limit": 100000,
                                           "smtpd_discard_ehlo_keywords": "8bitmime"})
    lab.domain("world-exim.lab", "3 1 1", exim=True)
    lab.domain("world-fake.lab", "3 1 1", fake={})
    lab.domain("world-changes.lab", "3 1 1", ttl=1)
    lab.domain("world-tlsa-corrupt.lab", "3 1 1", CORRUPT + " TLSA")
    for name, twist in TWISTS.items():
        lab.domain("world-%s.lab" % name, "3 1 1", twist=twist, fake={})
    lab.domain("world-forged.lab", how=UNSIGNED, twist=forge_ad, fake={})


TWISTS = {"deny": deny("TLSA"), "drop": drop("TLSA"), "servfail": fail("SERVFAIL", "TLSA"),
          "strip": strip_signatures, "truncate": truncate("TLSA")}


def tlsa_of(name):
    return "_25._tcp.mx." + name


@pytest.mark.parametrize("name", SECURE.values())
def test_secure_zones_validate(lab, name):
    for query in ((name, "MX"), ("mx." + name, "A"), (tlsa_of(name), "TLSA")):
        answer = lab.resolve(*query)
        assert answer.is_secure and answer.answer
    absent = lab.resolve("_26._tcp.mx." + name, "TLSA")
    assert absent.is_secure and absent.rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("name", list(INSECURE.values()) + ["world-unsigned.plain"])
def test_insecure_zones_answer_without_ad(lab, name):
    answer = lab.resolve(name, "MX")
    assert answer.answer and not answer.is_secure


@pytest.mark.parametrize("name", BOGUS.values())
def test_bogus_zones_fail(lab, name):
    assert lab.resolve(name, "MX").rcode() == dns.rcode.SERVFAIL


def test_one_type_can_be_bogus(lab):
    assert lab.resolve("world-tlsa-corrupt.lab", "MX").is_secure
    assert lab.resolve(tlsa_of("world-tlsa-corrupt.lab"), "TLSA").rcode() == dns.rcode.SERVFAIL


def test_delv_validates_from_the_root(lab):
    with open(lab.dns.trust_anchor) as f:
        fields = f.read().split()
    anchor = lab.folder + "/delv.anchor"
    with open(anchor, "w") as f:
        f.write('trust-anchors { "." static-ds %s "%s"; };\n' % (" ".join(fields[4:7]), fields[7]))
    out = subprocess.run(["delv", "-a", anchor, "+root=.", "@198.18.0.53",
                          tlsa_of("world-signed.lab"), "TLSA"], capture_output=True, text=True,
                         timeout=20)
    assert "; fully validated" in out.stdout, out.stdout + out.stderr


@pytest.mark.parametrize("name", ["deny", "servfail", "strip"])
def test_tampering_servers_are_caught(lab, name):
    assert lab.resolve(tlsa_of("world-%s.lab" % name), "TLSA").rcode() == dns.rcode.SERVFAIL
    if name != "strip":
        assert lab.resolve("world-%s.lab" % name, "MX").is_secure


def test_dropping_server_is_silent_for_one_type(lab):
    relay = lab["world-drop.lab"].relay
    query = dns.message.make_query(tlsa_of("world-drop.lab"), "TLSA")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(query, relay.address, timeout=0.5)
    assert lab.resolve("mx.world-drop.lab", "A").is_secure
    assert relay.asked("TLSA") == [tlsa_of("world-drop.lab") + "."]


def test_truncating_server_is_asked_over_tcp(lab):
    assert lab.resolve(tlsa_of("world-truncate.lab"), "TLSA").is_secure


def test_forged_ad_is_not_believed(lab):
    answer = lab.resolve("world-forged.lab", "MX")
    assert answer.answer and not answer.is_secure


def test_records_can_change(lab):
    name = tlsa_of("world-changes.lab")
    assert STALE not in str(lab.resolve(name, "TLSA"))
    lab.dns.change("world-changes.lab", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n"
                   % (lab["world-changes.lab"].address, STALE))
    wait(lambda: STALE in str(lab.resolve(name, "TLSA")), 5, "the new TLSA is seen")


FINGER = {
    "world-signed.lab": "Verified TLS connection established",
    "world-nsec3.lab": "Verified TLS connection established",
    "world-ta.lab": "Verified TLS connection established",
    "world-expired-cert.lab": "Verified TLS connection established",
    "world-exim.lab": "Verified TLS connection established",
    "world-fake.lab": "Verified TLS connection established",
    "world-stale.lab": "certificate verification failed",
    "world-expired.lab": "Host or domain name not found",
}


@pytest.mark.parametrize("name", FINGER)
def test_postfix_agrees_about_dane(lab, name):
    """posttls-finger is the DANE verdict of another implementation."""
    out = subprocess.run(["posttls-finger", "-c", "-l", "dane", "-o", "inet_protocols=ipv4", name],
                         capture_output=True, text=True, timeout=60,
                         env=dict(os.environ, MAIL_CONFIG=lab.postfix.folder + "/conf"))
    assert FINGER[name] in out.stdout + out.stderr


def test_openssl_sees_the_certificate_and_sni(lab):
    d = lab["world-fake.lab"]
    out = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", d.address + ":25",
                          "-servername", d.mx, "-brief"], input="QUIT\n", capture_output=True,
                         text=True, timeout=20)
    assert "CN = " + d.mx in out.stdout + out.stderr
    assert d.mx in d.receiver.snis


def test_receivers_take_and_show_mail(lab):
    text = b"Subject: x\r\n\r\n..dots\r\n.\r\n\xe4\r\n"
    for name in ("world-signed.lab", "world-exim.lab"):
        d = lab[name]
        reply = send("direct@" + name, text, server=(d.address, 25), mail="BODY=8BITMIME")
        assert reply.code == 250
        assert d.delivered("direct")[0].endswith(text)
    d = lab["world-fake.lab"]
    assert send("b@" + d.name, text, server=(d.address, 25)).code == 250
    assert d.receiver.messages[-1].data == text
    assert b"MAIL FROM" in d.receiver.clear


def test_receiver_settings_are_kept_apart(lab):
    with Smtp((lab["world-small.lab"].address, 25)) as c:
        assert "SIZE 100000" in c.extensions and "8BITMIME" not in c.extensions
    with Smtp((lab["world-signed.lab"].address, 25)) as c:
        assert "8BITMIME" in c.extensions and "STARTTLS" in c.extensions
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<reject1@world-signed.lab>", 550)
        c("RCPT TO:<later1@world-signed.lab>", 451)
    with Smtp((lab["world-clear.lab"].address, 25)) as c:
        assert "STARTTLS" not in c.extensions


def test_fake_mx_scripts(lab):
    def liar(c):
        c.say("220 hello")
        c.expect("EHLO")
        c.say("502 5.5.1 no")
        c.expect("HELO")
        c.stall()

    mx = lab.fake(lab.address(), script=liar)
    with Smtp((mx.address, 25), ehlo=None) as c:
        c.reply(220)
        c("EHLO x", 502)
        c.raw(b"HELO x\r\n", split=2)
    wait(lambda: b"HELO x" in mx.clear, 5, "what was sent is recorded")


def test_swaks_speaks_to_postfix_over_tls(lab):
    d = lab["world-signed.lab"]
    out = subprocess.run(["swaks", "--server", d.address, "--to", "swaks@" + d.name, "--tls",
                          "--from", "a@client.lab", "--suppress-data"], capture_output=True,
                         text=True, timeout=30)
    assert out.returncode == 0, out.stdout
    assert d.delivered("swaks")


def test_clients_queue_what_is_deferred(lab, postfix_client, exim_client):
    """Real senders with nothing listening at their smarthost keep the mail."""
    for client in (postfix_client, exim_client):
        assert send("b@world-signed.lab", server=("127.0.0.1", client.port)).code == 250
        wait(client.queue, 10, "the message is in the queue")
        time.sleep(0.1)
        assert len(client.queue()) == 1
