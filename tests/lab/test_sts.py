"""MTA-STS (RFC 8461) beside DANE: policies fetched from a real nginx, MX hosts that are real Postfix.

What must be proven, what is only reported, what outlives restarts, kill -9, a clock that jumps and
a disk that is slow, and what a thousand new domains may not do to the others."""
import os
import re
import statistics
import resource
import socket
import sqlite3
import ssl
import struct
import time

import pytest

from certs import make
from dnsrelay import fail
from nginx import ScriptedHost, endless, policy, stall
from program import Danelaw
from smtp import Smtp, send
from switches import Switches
from world import STALE
from zones import UNSIGNED, wait

BAD_CERTS = ("self-signed", "expired", "wrong-name", "cn-only")
BAD_HOSTS = {
    "301": dict(status=301), "302": dict(status=302), "404": dict(status=404),
    "500": dict(status=500), "204": dict(status=204), "html": dict(type="text/html"),
    "no-type": dict(type=""), "gzip": dict(gzip=True), "drip": dict(rate=1),
    "64k": dict(text=policy("enforce", "mx.host-64k.plain").ljust(65537, "\n")),
}
BAD_TXT = {
    "two": ['"v=STSv1; id=1;"', '"v=STSv1; id=2;"'], "space": ['"v=STSv1 ; id=1;"'],
    "no-id": ['"v=STSv1;"'], "id": ['"v=STSv1; id=a-b;"'], "other": ['"v=spf1 -all"'],
}
BAD_TEXT = {
    "no-mode": "version: STSv1\nmx: *.lab\nmax_age: 86400\n",
    "no-mx": policy("enforce"), "case": policy("Enforce", "mx.text-case.plain"),
    "age": policy("enforce", "mx.text-age.plain", max_age=10**11),
    "bare-cr": policy("enforce", "mx.text-bare-cr.plain").replace("\r\n", "\r"),
}
TLS_1_1 = {"minimum_version": ssl.TLSVersion.TLSv1, "ciphers": "ALL:@SECLEVEL=0",
           "maximum_version": ssl.TLSVersion.TLSv1_1}
CROWD = 1000


def bad_cert(lab, kind, host):
    if kind == "self-signed":
        return lab.cert(host)
    if kind == "expired":
        return lab.ca.issue(host, days=-1)
    if kind == "wrong-name":
        return lab.ca.issue("other.plain")
    return make(lab.folder + "/certs", host, issuer=lab.ca)


def domain(lab, name, sts, how=UNSIGNED, **more):
    """Without DANE; the MX host's certificate is good unless `cert` is another."""
    if "cert" not in more:
        more["cert"] = lab.ca.issue("mx." + name)
    return lab.domain(name, how=how, sts=sts, **more)


def declare(lab):
    domain(lab, "enforce.plain", "enforce")
    lab.domain("enforce.lab", cert=lab.ca.issue("mx.enforce.lab"), sts="enforce")
    domain(lab, "wire.plain", "enforce", fake={})
    domain(lab, "unlisted.plain", dict(mx=["mx.elsewhere.plain", "*.unlisted.example"]), fake={})
    domain(lab, "wild.plain", dict(mx="*.wild.plain"))
    lab.zone("deep.plain", "@ MX 10 a.mx\na.mx A %s\n" % lab["wire.plain"].address
             + lab.sts("deep.plain", mx="*.deep.plain"), UNSIGNED)
    for kind in BAD_CERTS:
        cert = bad_cert(lab, kind, "mx.enforce-%s.plain" % kind)
        domain(lab, "enforce-%s.plain" % kind, "enforce", cert=cert, fake={})
        cert = bad_cert(lab, kind, "mx.testing-%s.plain" % kind)
        domain(lab, "testing-%s.plain" % kind, "testing", cert=cert)
        host = "cert-%s.plain" % kind
        domain(lab, host, dict(cert=bad_cert(lab, kind, "mta-sts." + host)))
    for mode in "enforce", "testing":
        domain(lab, mode + "-clear.plain", mode, cert=None)
    domain(lab, "enforce-old.plain", "enforce", fake={"tls": TLS_1_1})
    domain(lab, "testing.plain", "testing")
    domain(lab, "testing-unlisted.plain", dict(mode="testing", mx="mx.elsewhere.plain"))
    domain(lab, "none.plain", "none", cert=lab.cert("mx.none.plain"))
    declare_bad_hosts(lab)
    declare_beside_dane(lab)
    declare_changing(lab)
    lab.zone("crowd.plain", "* MX 10 mx\nmx A %s\n* TXT \"v=STSv1; id=1;\"\n* A %s\n" % (
        lab["wire.plain"].address, lab.silent.address), UNSIGNED)


def declare_bad_hosts(lab):
    for name, how in BAD_HOSTS.items():
        domain(lab, "host-%s.plain" % name, how)
    for name, txt in BAD_TXT.items():
        domain(lab, "txt-%s.plain" % name, dict(txt=txt))
    for name, text in BAD_TEXT.items():
        domain(lab, "text-%s.plain" % name, dict(text=text))
    chatty = ScriptedHost(lab.address(), endless, lab.ca.issue("mta-sts.host-endless.plain"))
    lab.silent = ScriptedHost(lab.address(), stall)
    lab.stops += [chatty, lab.silent]
    domain(lab, "host-endless.plain", dict(host=chatty.address))
    domain(lab, "host-silent.plain", dict(host=lab.silent.address))
    domain(lab, "host-loopback.plain", dict(host="127.0.0.1"))
    domain(lab, "txt-fails.plain", None, twist=fail("SERVFAIL", "TXT"))
    domain(lab, "txt-alias.plain", None,
           records="_mta-sts CNAME _mta-sts.enforce.plain.\nmta-sts A 198.18.1.1\n")


def declare_beside_dane(lab):
    lab.domain("dane-bad.lab", STALE, cert=lab.ca.issue("mx.dane-bad.lab"), sts="enforce", fake={})
    lab.domain("dane-good.lab", "3 1 1", sts=dict(mx="mx.elsewhere.plain"))
    lab.domain("dane-unusable.lab", ["1 1 1"], cert=lab.ca.issue("mx.dane-unusable.lab"),
               sts="enforce")
    lab.domain("dane-unusable-bad.lab", ["1 1 1"], sts="enforce", fake={})
    lab.zone("order.plain", "@ MX 10 mx.enforce-expired.plain.\n@ MX 20 mx.unlisted.plain.\n"
             "@ MX 30 mx.enforce.plain.\n"
             + lab.sts("order.plain", mx=["*.enforce-expired.plain", "mx.enforce.plain"]), UNSIGNED)


def declare_changing(lab):
    for name in "removed", "id", "killed", "expiring", "no-ca":
        domain(lab, name + ".plain", "enforce", cert=lab.cert("mx.%s.plain" % name), ttl=1)
    domain(lab, "slow.plain", dict(rate=150))


@pytest.fixture(scope="module")
def switches(lab):
    folder = lab.new_folder("switches")
    os.makedirs(folder)
    return Switches(folder)


def changes(lab, sts=None, port=2526, **more):
    """A state and a port of its own; policy hosts have the lab's four seconds."""
    return {"server": {"state_dir": lab.new_folder("sts-state")},
            "listener smarthost": {"listen": "127.0.0.1:%d" % port,
                                   "max_sessions_per_client": "2000"},
            "mta-sts": sts or {}, **more}


@pytest.fixture(scope="module")
def sts(lab):
    with Danelaw(lab, changes(lab, port=2525)) as d:
        yield d


def mail(d, to):
    return send(to, server=d.server)


def outcome(d, to):
    log = d.delivery_to(to)
    return log["policy"], log["tls"], log["status"]


ENFORCED = ("sts:enforce", "verified", "sent")


def cached(state):
    """What sqlite3 shows a human: the domains with their modes."""
    path = state + "/mta-sts.sqlite"
    if not os.path.exists(path):
        return {}
    db = sqlite3.connect("file:%s?mode=ro" % path, uri=True)
    try:
        return dict(db.execute("SELECT domain, mode FROM policies"))
    except sqlite3.OperationalError:
        return {}  # not written yet
    finally:
        db.close()


def warned(d, text):
    wait(lambda: re.search(text, d.log), 2, "a warning %r\n%s" % (text, d.tail(15)))


# ---- enforce ----

@pytest.mark.parametrize("name", ["enforce.plain", "enforce.lab", "wild.plain"])
def test_enforced(lab, sts, name):
    """R-STS-25, -26, -34: a listed host with a good certificate, whether or not DNS is signed."""
    assert mail(sts, "b@" + name).code == 250
    assert lab[name].delivered("b")
    assert outcome(sts, "b@" + name) == ENFORCED


def test_enforced_on_the_wire(lab, sts):
    """R-STS-07, -26: SNI is the MX host; one fetch by GET, then the cache serves."""
    for _ in range(3):
        assert mail(sts, "b@wire.plain").code == 250
    assert set(lab["wire.plain"].receiver.snis) == {"mx.wire.plain"}
    assert lab.web.fetches("wire.plain", 1) == ["200"]


@pytest.mark.parametrize("name", ["enforce-%s.plain" % kind for kind in BAD_CERTS])
def test_certificate(lab, sts, name):
    """R-STS-26: not trusted, not in date, not for this name, or only by its common name."""
    reply = mail(sts, "b@" + name)
    assert reply.startswith("451 4.7.5 sts-certificate: mx.%s[" % name), reply
    assert "the MTA-STS policy of %s wants a trusted certificate for mx.%s" % (name, name) in reply
    assert b"MAIL" not in lab[name].receiver.clear + lab[name].receiver.secret


def test_no_starttls(sts):
    """R-STS-27, and never in clear on a second connection."""
    reply = mail(sts, "b@enforce-clear.plain")
    assert reply.startswith("451 4.7.4 sts-no-starttls: mx.enforce-clear.plain["), reply


def test_old_tls(lab, sts):
    """R-STS-33: TLS below 1.2 is none, and there is no second try in clear."""
    assert mail(sts, "b@enforce-old.plain").startswith("451 4.7.5 tls-handshake")
    assert len(lab["enforce-old.plain"].receiver.connections) == 1


@pytest.mark.parametrize("name", ["unlisted.plain", "deep.plain"])
def test_unlisted(lab, sts, name):
    """R-STS-25, -27, S-09: not listed, or more than one label below the wildcard; not dialled."""
    reply = mail(sts, "b@" + name)
    assert reply.startswith("451 4.7.5 sts-mx: "), reply
    assert "whose MTA-STS policy allows only" in reply
    if name in lab.domains:
        assert not lab[name].receiver.connections


def test_order_of_hosts(sts):
    """R-STS-27: bad certificate, not listed, good: in the order of preference."""
    assert mail(sts, "b@order.plain").code == 250
    log = sts.delivery_to("b@order.plain")
    assert log["mx"].startswith("mx.enforce.plain[") and log["tls"] == "verified"
    for reason, host in (("sts-certificate", "mx.enforce-expired.plain"), ("sts-mx", "mx.unlisted.plain")):
        assert re.search('next-hop-failed session=.* reason=%s text="%s' % (reason, host), sts.log)


# ---- testing, none ----

@pytest.mark.parametrize("name, code, tls", [
    ("testing-clear.plain", "sts-no-starttls", "cleartext"),
    ("testing-unlisted.plain", "sts-mx", "encrypted"),
    *[("testing-%s.plain" % kind, "sts-certificate", "encrypted") for kind in BAD_CERTS],
])
def test_testing(lab, sts, name, code, tls):
    """R-STS-28: delivered as without a policy, and told, over a connection used again too."""
    for user in "b", "c":
        to = user + "@" + name
        assert mail(sts, to).code == 250
        assert lab[name].delivered(user)
        assert outcome(sts, to) == ("sts:testing", tls, "sent")
    told = re.findall("sts-testing session=.* reason=%s text=.*%s" % (code, re.escape(name)), sts.log)
    assert len(told) == 2


def test_testing_without_failure(sts):
    assert mail(sts, "b@testing.plain").code == 250
    assert outcome(sts, "b@testing.plain") == ("sts:testing", "encrypted", "sent")
    assert not re.search(r"not refused: .*testing\.plain\b", sts.log)


def test_none(sts):
    """R-STS-29, S-10."""
    assert mail(sts, "b@none.plain").code == 250
    assert outcome(sts, "b@none.plain") == ("may", "encrypted", "sent")


# ---- policies that cannot be had ----

NO_POLICY = ["host-%s.plain" % h for h in (*BAD_HOSTS, "endless", "silent", "loopback")] + [
    "cert-%s.plain" % kind for kind in BAD_CERTS]


@pytest.mark.parametrize("name", NO_POLICY)
def test_no_policy(sts, name):
    """R-STS-08..12, -18, S-01..05: delivered without, within fetch_timeout, with a warning."""
    start = time.monotonic()
    assert mail(sts, "b@" + name).code == 250
    assert time.monotonic() - start < 10
    assert outcome(sts, "b@" + name) == ("may", "encrypted", "sent")
    warned(sts, "reason=sts-fetch text=.*" + re.escape(name))


@pytest.mark.parametrize("name", ["text-%s.plain" % t for t in BAD_TEXT])
def test_invalid_policy(sts, name):
    """R-STS-13..15, S-06."""
    assert mail(sts, "b@" + name).code == 250
    assert outcome(sts, "b@" + name)[0] == "may"
    warned(sts, "reason=sts-policy-invalid text=.*" + re.escape(name))


@pytest.mark.parametrize("name", ["txt-%s.plain" % t for t in BAD_TXT])
def test_no_record(lab, sts, name):
    """R-STS-02..04: no policy is discovered, so none is fetched."""
    assert mail(sts, "b@" + name).code == 250
    assert outcome(sts, "b@" + name)[0] == "may"
    assert lab.web.fetches(name) == []


def test_record_by_alias(sts):
    """R-STS-06: the alias of `_mta-sts` is followed; the policy host stays the domain's own."""
    assert mail(sts, "b@txt-alias.plain").code == 250
    warned(sts, r"reason=sts-fetch text=.*mta-sts\.txt-alias\.plain")


def test_record_lookup_fails(sts):
    """R-STS-17: nothing is known about this domain, so nothing is sent."""
    assert mail(sts, "b@txt-fails.plain").startswith("451 4.4.3 dns-failed: the TXT lookup of _mta-sts.")


def test_first_contact_deferred(lab):
    """R-STS-18: what delivers by the RFC's default waits, if the operator wants it so."""
    with Danelaw(lab, changes(lab, {"first_contact": "defer"})) as d:
        for name in "host-404.plain", "cert-expired.plain", "text-no-mode.plain":
            reply = mail(d, "b@" + name)
            assert reply.startswith("451 4.7.5 sts-fetch: "), reply
        for name in "enforce.plain", "none.plain", "txt-two.plain":
            assert mail(d, "b@" + name).code == 250
        assert d.delivery_to("b@enforce.plain")["tls"] == "verified"


def test_environment(lab):
    """S-14: proxies and CA files of the environment mean nothing."""
    env = {"https_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9",
           "SSL_CERT_FILE": "/dev/null", "CURL_CA_BUNDLE": "/dev/null"}
    with Danelaw(lab, changes(lab), env=env) as d:
        assert mail(d, "b@enforce.plain").code == 250
        assert outcome(d, "b@enforce.plain") == ENFORCED


# ---- beside DANE ----

def test_dane_is_decided_first(lab, sts):
    """R-STS-31, S-13: a failing DANE host is not rescued; R-STS-32: a good one is not blocked."""
    assert mail(sts, "b@dane-bad.lab").startswith("451 4.7.5 dane-mismatch")
    assert b"MAIL" not in lab["dane-bad.lab"].receiver.secret
    assert mail(sts, "b@dane-good.lab").code == 250
    assert outcome(sts, "b@dane-good.lab") == ("dane", "verified", "sent")


def test_unusable_records_and_enforce(sts):
    """R-DANE-33: both apply; TLS without proof is not enough here."""
    assert mail(sts, "b@dane-unusable.lab").code == 250
    assert outcome(sts, "b@dane-unusable.lab") == ENFORCED
    assert mail(sts, "b@dane-unusable-bad.lab").startswith("451 4.7.5 sts-certificate")


def test_settings(lab):
    """mta_sts = no does not ask; enforce = no delivers and tells."""
    exceptions = {"domain unlisted.plain": {"enforce": "no"},
                  "domain enforce-expired.plain": {"enforce": "no"},
                  "domain enforce-cn-only.plain": {"mta_sts": "no"},
                  "domain enforce-self-signed.plain": {"level": "dane-only"}}
    with Danelaw(lab, changes(lab, **exceptions)) as d:
        for name, reason in (("unlisted.plain", "sts-mx"),
                             ("enforce-expired.plain", "sts-certificate")):
            assert mail(d, "b@" + name).code == 250
            log = d.delivery_to("b@" + name)
            assert (log["would_refuse"], log["tls"], log["policy"]) == (reason, "encrypted", "may")
        before = lab.web.fetches("enforce-cn-only.plain")
        assert mail(d, "b@enforce-cn-only.plain").code == 250
        assert lab.web.fetches("enforce-cn-only.plain") == before
        assert mail(d, "b@enforce-self-signed.plain").startswith("451 4.7.5 dane-required")


# ---- the cache ----

def change_records(lab, name, old, new):
    zone = lab.dns.zones[name + "."]
    assert old in zone.records
    lab.dns.change(name, zone.records.replace(old, new))
    time.sleep(2.1)  # a TTL of one second, counted in whole seconds


def refused(d, name):
    """The policy of these domains demands what their hosts do not have."""
    return mail(d, "b@" + name).startswith("451 4.7.5 sts-certificate")


def test_removed_while_cached(lab, sts):
    """R-STS-17, S-08: neither the record nor the policy host is there any more."""
    assert refused(sts, "removed.plain")
    lab.web.publish("removed.plain", None)
    change_records(lab, "removed.plain", '_mta-sts TXT "v=STSv1; id=1;"', "")
    assert refused(sts, "removed.plain")


def test_changed_id(lab, switches):
    """R-STS-16, -21: another id is fetched before the mail goes on, though not twice in 5 minutes;
    a policy that is none replaces nothing, a good one applies at once."""
    switches.set()
    with Danelaw(lab, changes(lab), env=switches.env) as d:
        assert refused(d, "id.plain")
        lab.web.publish("id.plain", "version: STSv1\nmode: none\n")
        change_records(lab, "id.plain", "id=1", "id=2")
        assert refused(d, "id.plain")
        assert lab.web.fetches("id.plain", 1) == ["200"]
        switches.set(steady=301)
        assert refused(d, "id.plain")
        warned(d, r"reason=sts-policy-invalid text=.*id\.plain")
        lab.web.publish("id.plain", policy("none"))
        change_records(lab, "id.plain", "id=2", "id=3")
        switches.set(steady=602)
        assert mail(d, "b@id.plain").code == 250
        assert outcome(d, "b@id.plain")[0] == "may"
        assert lab.web.fetches("id.plain", 3) == ["200"] * 3


def test_kill(lab):
    """R-STS-22: what was fetched outlives kill -9, and serves when nothing is published any more."""
    settings = changes(lab)
    state = settings["server"]["state_dir"]
    with Danelaw(lab, settings) as d:
        assert refused(d, "killed.plain")
        wait(lambda: cached(state).get("killed.plain") == "enforce", 5, "the policy is written")
        d.child.kill()
        d.child.wait()
        d.child = None
    lab.web.publish("killed.plain", None)
    change_records(lab, "killed.plain", '_mta-sts TXT "v=STSv1; id=1;"', "")
    with Danelaw(lab, settings) as d:
        assert refused(d, "killed.plain")


def test_client_leaves(lab):
    """R-STS-35: the client leaves while the policy is being fetched, which the cache has then."""
    settings = changes(lab, {"fetch_timeout": "5s"})
    with Danelaw(lab, settings) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c.raw(b"RCPT TO:<b@slow.plain>\r\n")
            wait(lambda: re.search(r" lookup name=_mta-sts\.slow\.plain ", d.log), 5, "it is on its way")
            time.sleep(0.1)
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait(lambda: "slow.plain" in cached(settings["server"]["state_dir"]), 5, "it is cached")


def test_ca_file_missing(lab):
    """F-10: what MTA-STS protects waits, DANE goes on, and the operator is told at start."""
    settings = changes(lab)
    state = settings["server"]["state_dir"]
    with Danelaw(lab, settings) as d:
        assert mail(d, "b@enforce.plain").code == 250
        wait(lambda: "enforce.plain" in cached(state), 5, "the policy is written")
    settings["tls"] = {"ca_file": "/nonexistent/ca.pem"}
    with Danelaw(lab, settings) as d:
        assert re.search("error.*CA file /nonexistent/ca.pem: No such file", d.log)
        reply = mail(d, "b@enforce.plain")
        assert reply.startswith("451 4.7.5 sts-certificate") and "/nonexistent/ca.pem" in reply
        assert mail(d, "b@dane-good.lab").code == 250


def test_expiry(lab, switches):
    """F-03, R-STS-23: the clock moves past max_age, and nothing is published any more."""
    switches.set()
    with Danelaw(lab, changes(lab), env=switches.env) as d:
        assert refused(d, "expiring.plain")
        lab.web.publish("expiring.plain", None)
        change_records(lab, "expiring.plain", '_mta-sts TXT "v=STSv1; id=1;"', "")
        switches.set(wall=86000)
        assert refused(d, "expiring.plain")
        switches.set(wall=-86000)
        assert refused(d, "expiring.plain")
        switches.set(wall=2 * 86400)
        assert mail(d, "b@expiring.plain").code == 250
        assert outcome(d, "b@expiring.plain")[0] == "may"
    switches.set()


# ---- never in the way ----

def timed(d, count):
    """Seconds of so many mails over connections that are open already."""
    seconds = []
    for _ in range(count):
        start = time.monotonic()
        assert mail(d, "b@wire.plain").code == 250
        seconds.append(time.monotonic() - start)
    return seconds


def is_waiting(client):
    client.sock.setblocking(False)
    try:
        client.sock.recv(1)
        return False
    except BlockingIOError:
        return True


def test_slow_disk(lab, sts, switches):
    """R-STS-22: policies are written to a disk that takes 8 s for each fsync; nobody waits for it."""
    settings = changes(lab)
    state = settings["server"]["state_dir"]
    switches.set()
    with Danelaw(lab, settings, env=switches.env) as d:
        switches.set(fsync=8000)
        start = time.monotonic()
        assert mail(d, "b@wire.plain").code == 250
        seconds = []
        while time.monotonic() - start < 4:
            seconds += timed(d, 5)
        assert cached(state) == {}  # the write still waits for the disk
        switches.set()
        wait(lambda: "wire.plain" in cached(state), 5, "the policy is written in the end")
    assert max(seconds) < 3


def test_crowd(lab):
    """S-15: a thousand new domains with one slow policy host; connections to it are limited, and
    mail for others is none the slower."""
    settings = changes(lab, {"fetch_timeout": "60s"})
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    clients = []
    with Danelaw(lab, settings) as d:
        assert mail(d, "b@wire.plain").code == 250
        usual = statistics.median(timed(d, 30))
        lab.silent.most = 0
        for i in range(CROWD):
            clients.append(Smtp(d.server))
            clients[-1]("MAIL FROM:<a@client.lab>", 250)
            clients[-1].raw(b"RCPT TO:<b@d%d.crowd.plain>\r\n" % i)
        crowded = statistics.median(timed(d, 30))
        assert mail(d, "b@enforce.plain").code == 250
        assert all(is_waiting(c) for c in clients)
        for c in clients:
            c.close()
    assert 1 <= lab.silent.most <= 5
    assert crowded < usual + 1  # a fetch from the silent host takes 60 s
