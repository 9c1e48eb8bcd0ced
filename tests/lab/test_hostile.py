"""Rows of the catalogue that belong to no one side: memory that is not there, helpers that die, forged
answers off the path, and what must mean nothing: revocation, raw keys, headers, signals."""
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import time

import dns.message
import dns.rrset
import pytest

from certs import make, tlsa
from dnsrelay import DnsRelay, UdpHandler, silent
from program import Danelaw
from smtp import Smtp, send
from switches import Switches
from world import STALE
from zones import CORRUPT, UNSIGNED, wait

VERIFIED = dict(policy="dane", tls="verified", mx_dnssec="secure", status="sent")


class ForgingRelay(DnsRelay):
    """Before each answer come forged ones: another id, another port."""

    def __init__(self, address, lie):
        self.lie, self.ports, self.ids = lie, set(), set()
        super().__init__(address)
        self.servers[0].RequestHandlerClass = ForgingHandler


class ForgingHandler(UdpHandler):
    def handle(self):
        relay, (wire, sock) = self.server.relay, self.request
        query = dns.message.from_wire(wire)
        relay.ports.add(self.client_address[1])
        relay.ids.add(query.id)
        forged = dns.message.make_response(query)
        name = query.question[0].name
        if query.question[0].rdtype == dns.rdatatype.MX:
            forged.answer.append(dns.rrset.from_text(name, 300, "IN", "MX", "1 " + relay.lie))
            forged.id ^= 1
            sock.sendto(forged.to_wire(), self.client_address)
            forged.id ^= 1
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((relay.address, 0))  # the right address, not port 53
                other.sendto(forged.to_wire(), self.client_address)
        super().handle()


def keep_hello(c, line):
    """STARTTLS is answered, and the ClientHello kept."""
    c.say("220 go")
    c.mx.hello = c.sock.recv(65536)
    c.close()


def declare(lab):
    lab.domain("h-good.lab", "3 1 1", fake={})
    lab.domain("h-stale.lab", STALE, fake={})
    good = lab.domain("h-agile.lab", fake={})
    lab.dns.zones["h-agile.lab."].records += "".join(
        "_25._tcp.mx TLSA %s\n" % r for r in ("3 1 2 " + "5a" * 64, tlsa(good.cert, 3, 1, 1)))
    lab.domain("h-clear.lab", cert=None, fake={})
    lab.domain("h-hello.lab", "3 1 1", fake={"replies": {"STARTTLS": keep_hello}})
    lab.crl = socket.create_server((lab.address(), 80))
    lab.stops.append(Closer(lab.crl))
    where = "URI:http://%s/" % lab.crl.getsockname()[0]
    more = ("crlDistributionPoints=" + where, "authorityInfoAccess=OCSP;" + where,
            "tlsfeature=status_request")
    lab.domain("h-revoked-ee.lab", "3 1 1", fake={}, cert=make(
        lab.folder + "/certs", "mx.h-revoked-ee.lab", ("mx.h-revoked-ee.lab",), more=more))
    lab.domain("h-revoked-ta.lab", "2 0 1", fake={}, cert=lab.ca.issue("mx.h-revoked-ta.lab", more=more))
    shared = lab.domain("h-shared.lab", "3 1 1", fake={})
    for name in ("h-one.lab", "h-two.lab"):
        lab.zone(name, "@ MX 10 mx.h-shared.lab.\n")
    plain = lab.domain("h-shared.plain", how=UNSIGNED, cert=None, fake={})
    for name in ("h-one.plain", "h-two.plain"):
        lab.zone(name, "@ MX 10 mx.h-shared.plain.\n", UNSIGNED)
    lab.shared = {"lab": shared.receiver, "plain": plain.receiver}
    lab.domain("h-resets.lab", cert=None, fake={"script": reset_after_data})
    lab.domain("h-bogus.lab", "3 1 1", CORRUPT, fake={})
    lab.zone("h-odd.lab", "odd CNAME \\027[31mred\\010forged.h-bogus.lab.\n")
    lab.zone("h-silent.plain", "@ MX 10 mx\n", UNSIGNED, silent)
    lab.thief = lab.domain("h-thief.plain", how=UNSIGNED, cert=None, fake={}).receiver
    lab.forging = ForgingRelay("198.19.3.1", "mx.h-thief.plain.")
    lab.stops.append(lab.forging)
    lab.honest = lab.fake(lab.address())
    records = "".join("d%d MX 10 mx\n" % n for n in range(40)) + "mx A %s\n" % lab.honest.address
    lab.dns.zone("h-forged.plain", records, UNSIGNED, lab.forging.address)


class Closer:
    def __init__(self, sock):
        self.sock = sock

    def stop(self):
        self.sock.close()


def reset_after_data(c):
    """Takes an envelope and vanishes while the message is on its way."""
    c.say("220 hi")
    for reply in ("250-x\r\n250 PIPELINING", "250 ok", "250 ok", "354 go"):
        c.hear()
        c.say(reply)
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.sock.recv(1)
    c.sock.close()


# ---- faults ----

@pytest.fixture(scope="module")
def switches(lab):
    folder = lab.new_folder("switches")
    os.makedirs(folder)
    return Switches(folder)


def send_or_end(d, recipient):
    """The code of the reply; None where danelaw ended for want of memory, as it may (conf/mem.c)."""
    try:
        return send(recipient, server=d.server).code
    except (AssertionError, OSError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert d.child.wait(1) == -signal.SIGABRT
            d.start()
        return None


def test_no_memory_for_tls(lab, switches):
    """F-01, R-DANE-07: whichever of OpenSSL's allocations fails, while records are set, a handshake is
    made or an answer validated: mail is proven or stays with its client, and nothing unproven is sent."""
    good, *bad = (lab[name].receiver for name in ("h-good.lab", "h-stale.lab", "h-agile.lab"))
    port = ("127.0.0.6", 2525)
    with Danelaw(lab, {"listener smarthost": {"listen": "%s:%d" % port}, "policy": {"mta_sts": "no"}},
                 env=switches.env) as d:
        assert send("first@h-good.lab", server=port).code == 250
        steady, many = 40, 1 << 40  # past the time for which refusals are remembered
        switches.set(steady=steady, allocations=many)
        assert send("count@h-good.lab", server=port).code == 250
        used = many - switches.allocations
        assert used > 300, "OpenSSL's allocations are not counted"
        replies = set()
        points = [(n, "h-agile.lab") for n in range(1, 150)]  # where records are set, each one
        points += [(1 + n * used // 80, name) for n in range(80) for name in ("h-good.lab", "h-stale.lab")]
        for n, name in points:
            steady += 40
            switches.set(steady=steady, allocations=n)
            code = send_or_end(d, "n%d@%s" % (n, name))
            replies.add((name, code))
            assert code in (451, None) or (name == "h-good.lab" and code == 250), n
        assert {("h-good.lab", 250), ("h-good.lab", 451), ("h-stale.lab", 451),
                ("h-agile.lab", 451)} <= replies
        sent = d.deliveries(status="sent")
        assert sent and all(x["tls"] == "verified" for x in sent)
        switches.set(steady=steady + 40)
        assert send("last@h-good.lab", server=port).code == 250
    switches.set()
    assert b"MAIL" not in good.clear + b"".join(mx.clear + mx.secret for mx in bad)



def children(pid):
    """All processes below this one, as {pid: name}."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry) as f:
                name, rest = re.match(r"\d+ \((.*)\) (.*)", f.read(), re.S).groups()
        except OSError:
            continue
        if rest[0] != "Z":
            parents[int(entry)] = (int(rest.split()[1]), name)
    found, frontier = {}, {pid}
    while frontier:
        frontier = {p for p, (parent, _) in parents.items() if parent in frontier}
        found.update({p: parents[p][1] for p in frontier})
    return found


def udp_sockets(pid):
    """Inodes of the UDP sockets that a process holds: with danelaw, its resolver's."""
    with open("/proc/net/udp") as f:
        udp = {line.split()[9] for line in f.read().splitlines()[1:]}
    try:
        held = [os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)]
    except OSError:
        return set()
    return {h[8:-1] for h in held if h.startswith("socket:[")} & udp


def test_on_the_disk_before_any_dot(lab, switches):
    """F-02, R-SMTP-65, -75: with a disk that takes its time, no next hop of several sees the final dot
    before the message is safe."""
    ends = [lab[name].receiver for name in ("h-good.lab", "h-clear.lab")]
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.6:2528"}}, env=switches.env) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            for name in ("h-good.lab", "h-clear.lab"):
                c("RCPT TO:<slow@%s>" % name, 250)
            c("DATA", 354)
            switches.set(fsync=600)
            begun = time.time()
            c.raw(b"Subject: slow\r\n\r\nx\r\n.\r\n")
            c.reply(250)
        switches.set()
    for mx in ends:
        [taken] = [m.time for m in mx.messages if m.recipients[0].startswith("slow@")]
        assert taken - begun > 0.55


def test_helpers_die(lab):
    """F-05, F-06: they are started again, mail flows, and none of them holds what a resolver owns,
    though it is born in the middle of lookups."""
    port = ("127.0.0.6", 2526)
    state = lab.new_folder("helpers")
    with Danelaw(lab, {"listener smarthost": {"listen": "%s:%d" % port}, "server": {"state_dir": state}}) as d:
        assert send("before@h-good.lab", server=port).code == 250
        everybody = lambda: {d.worker: "danelaw", **children(d.worker)}  # noqa: E731
        helpers = {p: name for p, name in everybody().items() if name.startswith("danelaw-")}
        assert helpers
        with Smtp(port) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c.raw(b"RCPT TO:<b@h-silent.plain>\r\n")  # a lookup that stays under way
            wait(lambda: any(udp_sockets(p) for p in everybody()), 5, "a lookup")
            for pid in helpers:
                os.kill(pid, signal.SIGKILL)
            wait(lambda: sorted(n for p, n in everybody().items() if p not in helpers
                                and n.startswith("danelaw-")) == sorted(helpers.values()),
                 9, "other helpers: %s" % helpers)

            def have_owners_of_their_own():  # who is just born closes them first
                owners = [udp_sockets(p) for p in everybody()]
                return any(owners) and sum(map(len, owners)) == len(set().union(*owners))
            wait(have_owners_of_their_own, 5, "no socket has two owners")
        assert send("after@h-good.lab", server=port).code == 250
        assert d.delivery_to("after@h-good.lab")["tls"] == "verified"


# ---- D-25: forged answers ----

def test_answers_off_the_path(lab):
    """D-25: of an unsigned zone, where nothing but id and port protects: forged answers
    come first, and none is taken. The ports that are asked from are many."""
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.6:2527"}}) as d:
        for n in range(40):
            assert send("b@d%d.h-forged.plain" % n, server=d.server).code == 250
    assert not lab.thief.connections and len(lab.honest.messages) == 40
    assert len(lab.forging.ports) > 30 and len(lab.forging.ids) > 30
    assert max(lab.forging.ports) - min(lab.forging.ports) > 10000


# ---- what must mean nothing ----

def test_revocation_is_not_consulted(lab, danelaw):
    """R-DANE-17: certificates that name a CRL, an OCSP server, and want a stapled answer."""
    for name in ("h-revoked-ee.lab", "h-revoked-ta.lab"):
        assert send("b@" + name).code == 250
        log = danelaw.delivery_to("b@" + name)
        assert {k: log[k] for k in VERIFIED} == VERIFIED
    lab.crl.settimeout(0.1)
    with pytest.raises(socket.timeout):
        lab.crl.accept()


def extensions(hello):
    """The extension types of a ClientHello (RFC 8446 4.1.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    at += 1 + hello[at]
    end = at + 2 + int.from_bytes(hello[at:at + 2], "big")
    at, found = at + 2, set()
    while at < end:
        kind, length = struct.unpack("!HH", hello[at:at + 4])
        found.add(kind)
        at += 4 + length
    return found


def test_what_the_client_hello_offers(lab, danelaw):
    """R-DANE-31, -17, R-TLSSEC-08: no raw public keys (19, 20), no stapling (5), no authentication
    after the handshake (49), no early data (42); SNI is there (0)."""
    assert send("b@h-hello.lab").startswith("451 4.7.5 tls-handshake")
    offered = extensions(lab["h-hello.lab"].receiver.hello)
    assert 0 in offered and not offered & {5, 19, 20, 42, 49}


def test_success_is_told_in_full(lab, danelaw):
    """R-DANE-29: host, address, base domain's record, protocol, cipher, MX state."""
    d = lab["h-good.lab"]
    assert send("told@h-good.lab").code == 250
    log = danelaw.delivery_to("told@h-good.lab")
    assert {k: log[k] for k in VERIFIED} == VERIFIED
    assert log["mx"] == "mx.h-good.lab[%s]:25" % d.address
    assert re.fullmatch(r"3 1 1 [0-9a-f]{8,}(\.\.)?", log["tlsa"])
    assert log["protocol"] == "TLSv1.3" and log["cipher"].startswith("TLS_AES_")


TLS_REQUIRED = {
    "once": b"TLS-Required: No\r\nSubject: x\r\n\r\nx\r\n",
    "twice": b"TLS-Required: No\r\nTLS-Required: No\r\n\r\nx\r\n",
    "folded": b"TLS-Required:\r\n No\r\n\r\nx\r\n",
    "comment": b"TLS-Required: No (really)\r\n\r\nx\r\n",
    "body": b"Subject: x\r\n\r\nTLS-Required: No\r\n",
    "late": b"".join(b"X-%d: %s\r\n" % (n, b"x" * 990) for n in range(1060)) + b"TLS-Required: No\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("kind", TLS_REQUIRED)
def test_tls_required_no(lab, danelaw, kind):
    """P-15: ignored, and passed on: what must be proven is proven."""
    text = TLS_REQUIRED[kind]
    assert send("%s@h-stale.lab" % kind, text).startswith("451 4.7.5 dane-mismatch")
    assert send("%s@h-good.lab" % kind, text).code == 250
    assert danelaw.delivery_to("%s@h-good.lab" % kind)["tls"] == "verified"
    assert lab["h-good.lab"].receiver.messages[-1].data.endswith(b"\r\n" + text)
    assert b"MAIL" not in lab["h-good.lab"].receiver.clear


# ---- connections, signals, words ----

@pytest.mark.parametrize("zone", ["lab", "plain"])
def test_domains_share_no_connection(lab, danelaw, zone):
    """R-SMTP-60, -66: one host serves both, but what it must prove is each domain's own."""
    mx = lab.shared[zone]
    for name in ("h-one.", "h-two.", "h-one."):
        assert send("b@" + name + zone).code == 250
    said = [bytes(c.clear + c.secret) for c in mx.connections]
    assert [x.count(b"MAIL FROM") for x in said] == [2, 1]
    assert all(len(set(re.findall(rb"RCPT TO:<b@(\S+)>", x))) == 1 for x in said)


def test_peers_that_reset(lab, danelaw):
    """R-NET-17: writing to who is gone is an error to handle, and no signal to die of."""
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@h-resets.lab>", 250)
        c("DATA", 354)
        c.raw(b"".join([b"Subject: x\r\n\r\n"] + [b"x" * 998 + b"\r\n"] * 4000) + b".\r\n")
        assert c.reply().startswith("451 4.4.2 connection-lost")
    for pid, name in {danelaw.child.pid: "", **children(danelaw.child.pid), **children(danelaw.worker)}.items():
        with open("/proc/%d/status" % pid) as f:
            ignored = int(re.search(r"SigIgn:\s*(\S+)", f.read())[1], 16)
        assert ignored >> (signal.SIGPIPE - 1) & 1, name


def test_what_lookups_log(lab, danelaw):
    """R-DNS-45: name, type, state, and why it failed, where a name from the net forges no line."""
    assert send("b@odd.h-odd.lab").startswith("451 4.4.3 dns-bogus")
    lines = [line for line in danelaw.log.splitlines() if " lookup name=odd.h-odd.lab " in line]
    assert lines and all(re.search(r' type=\w+ state=failed .* why="(?:[^"\\]|\\.)+"', x) for x in lines)
    assert not re.search(r"[^\n\x20-\x7e]", danelaw.log)
    assert not [x for x in danelaw.log.splitlines() if "danelaw" not in x]


def test_what_ehlo_offers(danelaw):
    """R-SMTP-40: what can be honoured, and nothing else."""
    with Smtp() as c:
        offered = {x.split()[0] for x in c.extensions}
        assert offered == {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN",
                           "LIMITS"}
