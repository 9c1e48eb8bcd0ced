"""DNS at its limits: much of it at once, expensive zones, an outage, answers that change under our
hands, and ourselves among the hosts of a domain.

What DNS may say otherwise is in test_dns.py; root keys and the clock are in test_dns_root.py.
"""
import base64
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs import tlsa
from dnsrelay import qtype, silent, slow
from fakemx import polite
from program import Danelaw
from smtp import MESSAGE, Smtp, send
from test_dns import BOGUS, FAILED, VERIFIED, assert_outcome
from world import STALE
from zones import NSEC3, UNSIGNED, wait

OWN = "198.18.251.1"
LOOP = "554 5.4.6 mx-loop"
EQUALS = 24  # hosts in an order of chance: of so many, both orders are seen
BATCH = 6  # of them at once: more would take longer than one lookup may
LAB = SimpleNamespace()


def declare(lab):
    cert = lab.cert("mx.hard.lab")
    LAB.good = lab.fake(lab.address(), cert)
    declare_much(lab, cert)
    declare_expensive(lab, cert)
    declare_changing(lab, cert)
    declare_ourselves(lab, cert)
    for i in range(5):
        lab.domain("outage-%d.h.lab" % i, "3 1 1", cert=cert, fake={})
    LAB.client_left, LAB.is_known = threading.Event(), threading.Event()
    LAB.left = lab.domain("left.h.lab", "3 1 1", cert=cert, fake={}, twist=when_client_left)


def when_client_left(query, fetch):
    """Before danelaw's patience with one lookup is over; whoever asks once more hears nothing."""
    if qtype(query) == "MX":
        LAB.client_left.wait(10)
        if LAB.is_known.is_set():
            return None
    return fetch()


@pytest.fixture(scope="module")
def danelaw(lab):
    changes = {"listener smarthost": {"listen": "127.0.0.1:2525 %s:25 0.0.0.0:2626" % OWN},
               "dns": {"timeout": "2s", "total": "5s"},
               "domain wild4.h.lab": {"next_hop": "wild4.h.lab:2626"},
               "domain two-families.h.lab": {"ip": "ipv6"}}
    if os.path.exists("/proc/net/if_inet6"):
        changes["listener smarthost"]["listen"] += " [::]:2626"
        changes["domain wild6.h.lab"] = {"next_hop": "wild6.h.lab:2626"}
    with Danelaw(lab, changes) as d:
        yield d


def at_once(recipients, server, timeout=30):
    """Their replies, and how long each took."""
    def one(recipient):
        started = time.monotonic()
        return send(recipient, server=server, timeout=timeout), time.monotonic() - started
    with ThreadPoolExecutor(len(recipients)) as pool:
        return list(pool.map(one, recipients))


# ---- much at once ----

def declare_much(lab, cert):
    LAB.over_tcp = []
    many = ["%040x" % i for i in range(61)]

    def counting(query, fetch):
        if query.lab_is_tcp:
            LAB.over_tcp.append(qtype(query))
        return fetch()
    for server in range(10):
        relay, mx = lab.relay(counting), lab.fake(lab.address(), cert)
        for i in range(3):
            text = "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n" % (mx.address, tlsa(cert))
            text += "".join("_25._tcp.mx TLSA 3 1 1 %064x\n" % k for k in range(90))
            lab.dns.zone("big-%d-%d.h.lab" % (server, i), text, address=relay.address)
    text = "@ MX 5 first\nfirst A %s\n_25._tcp.first TLSA %s\n" % (LAB.good.address, tlsa(cert))
    for label in many:
        text += "@ MX 10 exchange-%s\nexchange-%s A %s\n" % (label, label, LAB.good.address)
        text += "exchange-%s AAAA 2001:db8:25::%s\n" % (label, label[-4:])
    for i in range(3):
        lab.zone("exchanges-%d.h.lab" % i, text, twist=counting)


def lookups(danelaw, rdtype, part):
    return [line for line in danelaw.log.splitlines()
            if " lookup " in line and "type=%s " % rdtype in line and part in line]


def test_many_large_answers_at_once(lab):
    """C.2 item 23: 30 sets that need TCP, on 10 name servers, and no needless 451."""
    names = ["big-%d-%d.h.lab" % (s, i) for s in range(10) for i in range(3)]
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.4:2525"},
                       "dns": {"timeout": "15s"}}) as d:
        replies = at_once(["b@" + n for n in names], d.server)
        assert [r for r, _ in replies if r.code != 250] == []
        for name in names:
            log = d.delivery_to("b@" + name)
            assert {k: log[k] for k in VERIFIED} == VERIFIED
        assert len(lookups(d, "TLSA", "count=91 ")) == 30
    assert LAB.over_tcp.count("TLSA") >= 30


def test_many_exchanges(danelaw):
    """An MX answer of over 9 kB, most of it additional data that nobody needs: it is not proven
    either, so that it takes no second."""
    started = time.monotonic()
    replies = at_once(["b@exchanges-%d.h.lab" % i for i in range(3)], danelaw.server)
    assert [r for r, _ in replies if r.code != 250] == []
    assert time.monotonic() - started < 5
    assert LAB.over_tcp.count("MX") >= 3
    for i in range(3):
        assert danelaw.delivery_to("b@exchanges-%d.h.lab" % i)["tls"] == "verified"


# ---- expensive zones (D-16) ----

def declare_expensive(lab, cert):
    for name, record in {"good": tlsa(cert), "stale": STALE, "absent": None}.items():
        text = "@ MX 10 mx\nmx A %s\n" % LAB.good.address
        text += "_25._tcp.mx TLSA %s\n" % record if record else ""
        lab.zone("iterations-%s.h.lab" % name, text, NSEC3 + " 2500")
    trap = KeyTrap("trap.d16.lab.", LAB.good.address)
    relay = lab.relay(trap.answer)
    trap.server = relay.address
    lab.zone("d16.lab", "trap NS ns.trap\nns.trap A %s\ntrap DS %s\n" % (relay.address, trap.ds))
    lab.domain("neighbour.h.lab", "3 1 1", cert=cert, fake={})


class KeyTrap:
    """A zone whose keys all have one tag, and whose answers have as many signatures by it: each
    must be tried with each key, and each try takes RSA's longest exponent."""

    def __init__(self, name, address, count=40):
        self.name, self.address = dns.name.from_text(name), address
        self.random = random.Random(16)
        self.signer = rsa.generate_private_key(65537, 2048)
        self.key = dns.dnssec.make_dnskey(self.signer.public_key(), "RSASHA256", flags=257)
        colliding = [self.slow_key(4711) for _ in range(count)]
        assert {dns.dnssec.key_id(k) for k in colliding} == {4711}
        self.keys = dns.rrset.from_rdata(self.name, 60, self.key, *colliding)
        # What the keys are is proven honestly, so that every other answer is worth a trial.
        self.keys_proof = dns.rrset.from_rdata(self.name, 60, dns.dnssec.sign(
            self.keys, self.signer, self.name, self.key, lifetime=86400))
        self.ds = dns.dnssec.make_ds(self.name, self.key, "SHA256").to_text()
        self.count = count

    def slow_key(self, tag):
        number = bytearray(self.random.randbytes(384))
        number[0], number[-1] = 0xff, number[-1] | 1
        exponent = bytes([0x7f]) + self.random.randbytes(382) + b"\xff"
        number[101:103] = b"\0\0"
        rdata = bytearray(b"\1\1\3\10" + b"\0\1\x80" + exponent + number)
        missing = (tag - key_tag(rdata)) % 65535
        rdata[-384 + 101:-384 + 103] = missing.to_bytes(2, "big")
        return dns.rdata.from_wire("IN", "DNSKEY", bytes(rdata), 0, len(rdata))

    def answer(self, query, fetch):
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        name, kind = query.question[0].name, query.question[0].rdtype
        if kind == dns.rdatatype.DNSKEY and name == self.name:
            answer.answer += [self.keys, self.keys_proof]
        else:
            address = self.server if name.labels[0] == b"ns" else self.address
            text = {"MX": "10 mx.trap.d16.lab.", "A": address}.get(qtype(query), "")
            data = dns.rrset.from_text(name, 60, "IN", kind, text) if text else \
                dns.rrset.from_text(self.name, 60, "IN", "SOA", "ns.trap.d16.lab. x. 1 1 1 1 60")
            section = answer.answer if text else answer.authority
            section += [data, self.forgeries(data)]
        if not query.lab_is_tcp and len(answer.to_wire(max_size=65535)) > 1232:
            answer.answer, answer.authority = [], []
            answer.flags |= dns.flags.TC
        return answer

    def forgeries(self, data):
        now = int(time.time())
        head = "%s 8 %d 60 %d %d 4711 %s " % (
            dns.rdatatype.to_text(data.rdtype), len(data.name) - 1, now + 86400, now - 86400,
            self.name)
        return dns.rrset.from_text_list(data.name, 60, "IN", "RRSIG", [
            head + base64.b64encode(b"\0" + self.random.randbytes(383)).decode()
            for _ in range(self.count)])


def key_tag(rdata):
    total = sum(rdata[0::2]) * 256 + sum(rdata[1::2])
    return (total + (total >> 16)) & 0xffff


def test_many_iterations(danelaw):
    """D-16, and R-DNS-09: what an expensive NSEC3 chain denies is not proven, so the missing AAAA
    is insecure. The A record is secure, and so TLSA counts."""
    assert_outcome(danelaw, "b@iterations-good.h.lab", VERIFIED)
    assert_outcome(danelaw, "b@iterations-stale.h.lab", "451 4.7.5 dane-mismatch")
    assert_outcome(danelaw, "b@iterations-absent.h.lab", dict(policy="may", status="sent"))
    aaaa = lookups(danelaw, "AAAA", "name=mx.iterations-stale.h.lab ")
    assert aaaa and all("state=insecure" in line for line in aaaa)


def cpu_seconds(danelaw):
    with open("/proc/%d/stat" % danelaw.worker) as f:
        return sum(map(int, f.read().split()[13:15])) / os.sysconf("SC_CLK_TCK")


def test_colliding_keys(danelaw):
    """D-16, R-DNS-43: no answer in time, and nobody else waits for it."""
    assert_outcome(danelaw, "b@neighbour.h.lab", VERIFIED)
    done, waits, before = threading.Event(), [], cpu_seconds(danelaw)

    def watch():
        with Smtp(danelaw.server) as c:
            while not done.is_set():
                started = time.monotonic()
                c("MAIL FROM:<a@client.lab>", 250)
                c("RCPT TO:<b@neighbour.h.lab>", 250)
                c("RSET", 250)
                waits.append(time.monotonic() - started)
    watcher = threading.Thread(target=watch)
    watcher.start()
    replies = []
    for n in range(0, 20, 4):  # on a busy machine the name server itself may be too slow for a trap
        replies += at_once(["b@d%d.trap.d16.lab" % i for i in range(n, n + 4)], danelaw.server)
        if cpu_seconds(danelaw) - before > 0.2:
            break
    done.set()
    watcher.join()
    for reply, seconds in replies:
        assert reply.startswith((BOGUS, FAILED)), reply
        assert seconds < 15
    assert cpu_seconds(danelaw) - before > 0.2, "the trap was entered"
    assert len(waits) > 2 and max(waits) < 8


# ---- an outage (R-DNS-37, R-DNS-42) ----

def family(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [pid] + [p for child in f.read().split() for p in family(int(child))]


def test_outage(lab, danelaw):
    """All name servers fall silent, and come back: mail flows again soon, and what was not known
    meanwhile is asked again within 5 s."""
    servers = [pid for nsd in lab.dns.processes for pid in family(nsd.pid)]
    assert send("b@outage-0.h.lab", server=danelaw.server).code == 250
    try:
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        during = at_once(["b@outage-%d.h.lab" % i for i in (0, 1, 2)], danelaw.server)
        assert during[0][0].code == 250  # known still
        for reply, seconds in during[1:]:
            assert reply.startswith(FAILED), reply
            assert seconds < 9
        time.sleep(max(0, 3 - (time.monotonic() - started)))
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    back = time.monotonic()
    for user, name in ("new", "outage-3.h.lab"), ("failed-before", "outage-1.h.lab"):
        wait(lambda: send("%s@%s" % (user, name)).code == 250, 10, user)
    assert time.monotonic() - back < 16
    assert danelaw.delivery_to("failed-before@outage-1.h.lab")["tls"] == "verified"


def test_lookup_whose_client_left(lab):
    """R-DNS-44 and the design: it goes on for the cache, and nobody asks twice."""
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.4:2525"}}) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c.raw(b"RCPT TO:<b@left.h.lab>\r\n")
            wait(lambda: LAB.left.relay.asked("MX"), 2, "the question")
            assert not lookups(d, "MX", "name=left.h.lab ")
        LAB.client_left.set()
        wait(lambda: lookups(d, "MX", "name=left.h.lab "), 5, "the answer")
        LAB.is_known.set()
        assert send("b@left.h.lab", server=d.server).code == 250
        assert d.delivery_to("b@left.h.lab")["tls"] == "verified"


# ---- answers that change ----

def declare_changing(lab, cert):
    """What a test puts into hooks runs once, between the lookup and the handshake."""
    LAB.hooks = {}

    for name, record in {"flips": "3 1 1", "flips-wrong": STALE}.items():
        script = {"script": lambda c, name=name: hooked(c, name)}
        lab.domain(name + ".h.lab", record, cert=cert, fake=script, ttl=1)
    declare_two_families(lab, cert)


def hooked(c, name):
    def reply(conversation, line):
        LAB.hooks.pop(name, lambda: None)()
        return ""
    c.mx.replies = dict(c.mx.replies, EHLO=reply)
    polite(c)


def records(d, record):
    return "@ MX 10 mx\nmx A %s\n%s" % (d.address, record and "_25._tcp.mx TLSA %s\n" % record)


def test_records_change_before_the_handshake(lab, danelaw):
    """D-19, R-DANE-30, R-DNS-40: an attempt goes by the records that it found; the next message of
    the same client session by new ones."""
    d = lab["flips.h.lab"]
    LAB.hooks["flips"] = lambda: lab.dns.change(d.name, records(d, STALE))
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@flips.h.lab>", 250)
        c.data(MESSAGE, 250)
        assert danelaw.delivery_to("b@flips.h.lab")["tls"] == "verified"
        assert "flips" not in LAB.hooks, "the change came in between"
        time.sleep(2.1)
        c("MAIL FROM:<a@client.lab>", 250)
        assert c("RCPT TO:<c@flips.h.lab>").startswith("451 4.7.5 dane-mismatch")
        lab.dns.change(d.name, records(d, ""))
        time.sleep(2.1)
        c("RSET", 250)
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<d@flips.h.lab>", 250)
        c.data(MESSAGE, 250)
        assert danelaw.delivery_to("d@flips.h.lab")["policy"] == "may"


def test_records_vanish_before_the_handshake(lab, danelaw):
    """D-19: no records any more does not help who could not prove himself by those there were."""
    d = lab["flips-wrong.h.lab"]
    LAB.hooks["flips-wrong"] = lambda: lab.dns.change(d.name, records(d, ""))
    assert send("b@flips-wrong.h.lab").startswith("451 4.7.5 dane-mismatch")
    assert "flips-wrong" not in LAB.hooks and not d.receiver.messages
    time.sleep(2.1)
    assert send("c@flips-wrong.h.lab").code == 250
    assert danelaw.delivery_to("c@flips-wrong.h.lab")["policy"] == "may"


def declare_two_families(lab, cert):
    """The A record of the host is its own; for AAAA its signed zone has an alias to elsewhere."""
    if not os.path.exists("/proc/net/if_inet6"):
        return
    there = lab.address6()
    LAB.second = lab.fake(there, lab.cert("host.families.plain"))
    lab.zone("families.plain", "host AAAA %s\n" % there, UNSIGNED)

    def twist(query, fetch):
        if qtype(query) != "AAAA" or query.question[0].name != name:
            return fetch()
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        alias = dns.rrset.from_text(name, 300, "IN", "CNAME", "host.families.plain.")
        answer.answer += [alias, sign(lab.dns.zones["two-families.h.lab."], alias)]
        return answer
    name = dns.name.from_text("mx.two-families.h.lab")
    lab.zone("two-families.h.lab", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n" % (
        LAB.good.address, tlsa(cert)), twist=twist)


def sign(zone, rrset):
    """With the key that ldns made for the zone."""
    with open(zone.key + ".private") as f:
        secret = dict(line.split(": ", 1) for line in f if ": " in line)["PrivateKey"]
    private = ec.derive_private_key(int.from_bytes(base64.b64decode(secret), "big"), ec.SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), "ECDSAP256SHA256", flags=257)
    rrsig = dns.dnssec.sign(rrset, private, dns.name.from_text(zone.name), key, lifetime=86400,
                            verify=True)
    return dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig)


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")
def test_insecure_second_family(danelaw):
    """R-DNS-09: the signed family makes TLSA count for the addresses of both."""
    assert_outcome(danelaw, "b@two-families.h.lab", "451 4.7.5 dane-mismatch")
    aaaa = lookups(danelaw, "AAAA", "name=mx.two-families.h.lab ")
    assert aaaa and "state=insecure count=1 " in aaaa[0]
    assert len(LAB.second.connections) == 1 and b"MAIL" not in LAB.second.secret


# ---- ourselves among others (R-DNS-28) ----

def declare_ourselves(lab, cert):
    def late(c):
        c.stall(8)
        polite(c)
    LAB.other, LAB.late = lab.fake(lab.address(), cert), lab.fake(lab.address(), script=late)
    LAB.backup = lab.fake(lab.address(), cert)
    text = "self A %s\nother A %s\nlate A %s\nbackup A %s\n" % (
        OWN, LAB.other.address, LAB.late.address, LAB.backup.address)
    for i in range(EQUALS):
        text += "e%d MX 10 self\ne%d MX 10 other\ne%d MX 20 backup\n" % (i, i, i)
        text += "q%d MX 10 mx.silent-%d.h.lab.\nq%d MX 10 other\n" % (i, i, i)
        lab.zone("silent-%d.h.lab" % i, "mx A %s\n" % LAB.other.address, UNSIGNED, silent)
        text += "late%d MX 10 self.slow-%d.h.lab.\nlate%d MX 10 late\n" % (i, i, i)
        lab.zone("slow-%d.h.lab" % i, "self A %s\n" % OWN, twist=slow(0.3, "A", "AAAA"))
    text += "below MX 5 other\nbelow MX 10 self\nbelow MX 10 backup\n"
    lab.zone("eq.h.lab", text)
    lab.zone("wild4.h.lab", "@ MX 10 mx\nmx A 198.18.0.1\n")
    lab.zone("wild6.h.lab", "@ MX 10 mx\nmx AAAA 2001:db8:25::1\n")


def test_ourselves_at_the_same_preference(danelaw):
    """RFC 5321 5.1: whichever comes first, the whole preference and worse are discarded."""
    for i in range(8):
        assert_outcome(danelaw, "b@e%d.eq.h.lab" % i, LOOP)
    assert not LAB.other.messages and not LAB.backup.connections
    assert b"MAIL" not in LAB.other.clear + LAB.other.secret


def test_ourselves_below(danelaw):
    """Better preferences stay."""
    assert_outcome(danelaw, "b@below.eq.h.lab", dict(status="sent"))
    LAB.other.messages.clear()


def test_ourselves_found_while_connecting(danelaw):
    """The other host was faster with its addresses, but not with its greeting."""
    for first in range(0, EQUALS, BATCH):
        batch = range(first, first + BATCH)
        for reply, seconds in at_once(["b@late%d.eq.h.lab" % i for i in batch], danelaw.server):
            assert reply.startswith(LOOP) and seconds < 7, reply
    assert LAB.late.connections, "by chance it always came second"
    assert b"MAIL" not in LAB.late.clear


def test_silent_equal_delays_nobody(danelaw):
    """Who is looked for beside the host under way is not waited for. One try of two shows nothing: by
    chance the silent host comes first."""
    took = []
    for i in range(EQUALS):
        started = time.monotonic()
        assert send("b@q%d.eq.h.lab" % i).code == 250
        took.append(time.monotonic() - started)
        if "route mx.silent-%d.h.lab:" % i not in danelaw.log and took[-1] < 1.9:
            return
    raise AssertionError("the silent host was waited for, or came first: %s" % took)


@pytest.mark.parametrize("name", ["wild4", "wild6"])
def test_wildcard_listener_is_ourselves(danelaw, name):
    """0.0.0.0 and :: stand for each local address, with the port."""
    if name == "wild6" and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("no IPv6 here")
    assert_outcome(danelaw, "b@%s.h.lab" % name, LOOP)
