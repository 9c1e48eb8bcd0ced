"""Recipient domains whose next hops a test writes when it needs them, and what they may do wrong.

    slots = Slots(lab, "nh.lab", plain=60, tls=20, pair=8, dual=4)      # in declare(lab)

    @pytest.fixture
    def hop(lab): ...                                                   # see hops()
        h = hop("plain", replies={"RCPT": "550 no"})
        reply = attempt(h.domain)                                       # the reply that decided

A domain is used once, since danelaw remembers addresses that failed. plain: no TLSA, no STARTTLS;
tls: TLSA 3 1 1; pair: two MX hosts, 10 and 20; dual: one MX host with two addresses; six: one with
an IPv4 and an IPv6 address. h.mx is the first FakeMx, h.mxs all of them.
"""
import ast
import contextlib
import itertools
import re
import socket
import struct
from types import SimpleNamespace

from certs import tlsa
from fakemx import FakeMx, Gone
from smtp import MESSAGE, Smtp, stuff
from zones import wait

ADDRESSES = {"plain": 1, "tls": 1, "pair": 2, "dual": 2, "six": 2}
CLEAN = re.compile(r"[2-5][0-5][0-9][ -][ -~]{0,506}")


class Slots:
    def __init__(self, lab, zone, **counts):
        self.cert = lab.cert("mx." + zone)
        self.record = tlsa(self.cert, 3, 1, 1)
        self.free, text = {}, ""
        for kind, count in counts.items():
            slots = [self._slot(lab, zone, kind, n) for n in range(1, count + 1)]
            self.free[kind] = iter(slots)
            text += "".join(self._records(slot, zone) for slot in slots)
        lab.zone(zone, text)

    def _slot(self, lab, zone, kind, n):
        addresses = [lab.address() for _ in range(ADDRESSES[kind])]
        if kind == "six":
            addresses[0] = lab.address6()
        return SimpleNamespace(kind=kind, domain="%s%d.%s" % (kind, n, zone), addresses=addresses)

    def _records(self, slot, zone):
        name = slot.domain[:-len(zone) - 1]
        text, hosts = "", ["mx1." + name, "mx2." + name] if slot.kind == "pair" else ["mx1." + name]
        for n, host in enumerate(hosts, 1):
            text += "%s MX %d %s\n" % (name, 10 * n, host)
        for host, address in zip(itertools.cycle(hosts), slot.addresses):
            text += "%s %s %s\n" % (host, "AAAA" if ":" in address else "A", address)
        if slot.kind == "tls":
            text += "_25._tcp.%s TLSA %s\n" % (hosts[0], self.record)
        return text

    @contextlib.contextmanager
    def hops(self):
        """Gives hop(kind, *variants, **how): a FakeMx(**how) for each address, the n-th with the
        n-th of `variants` (None: nothing listens there). All end with the block."""
        started = []

        def hop(kind="plain", *variants, **how):
            slot = next(self.free[kind])
            variants = variants or ({},) * len(slot.addresses)
            cert = self.cert if kind == "tls" else None
            slot.mxs = [v is not None and FakeMx(a, cert, **{**how, **v})
                        for a, v in zip(slot.addresses, variants)]
            slot.mx = next((mx for mx in slot.mxs if mx), None)
            started.extend(mx for mx in slot.mxs if mx)
            return slot

        yield hop
        for mx in started:
            mx.stop()


# ---- a client, and what it must never hear ----

def check_clean(reply):
    """R-SMTP-18, -20: lines of at most 512 octets, printable ASCII, one code."""
    for line in reply.split("\n"):
        assert CLEAN.fullmatch(line) and line[:3] == reply[:3], repr(line)
    return reply


def attempt(domain, text=MESSAGE, users=("b",), mail="", between=None):
    """A message, and the reply that decided about it; the session must go on in step afterwards.
    `between` is called in the middle of the body."""
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>%s" % (mail and " " + mail), 250)
        replies = [check_clean(c("RCPT TO:<%s@%s>" % (user, domain))) for user in users]
        decided = next((r for r in replies if r.code != 250), None)
        if any(r.code == 250 for r in replies):
            decided = check_clean(c("DATA"))
        if decided.code == 354:
            wire = stuff(text)
            c.raw(wire[:len(wire) // 2])
            if between:
                between()
            c.raw(wire[len(wire) // 2:])
            decided = check_clean(c.reply())
        assert "still here" in c("NOOP", 250)
        c("QUIT", 221)
        return decided


# ---- what a next hop may do at a stage ----

STAGES = ("greeting", "EHLO", "STARTTLS", "EHLO+", "MAIL", "RCPT", "DATA", "body", ".")


def at(stage, act):
    """(kind of slot, FakeMx arguments) for a next hop that does act(conversation) at the stage."""
    if stage == "greeting":
        return "plain", {"script": act}
    if stage == "body":
        def data(c, line):
            c.say("354 go on")
            act(c)
        return "plain", {"replies": {"DATA": data}}
    kind = "tls" if stage in ("STARTTLS", "EHLO+") else "plain"
    return kind, {"replies": {stage: lambda c, rest: act(c)}}


def says(raw):
    """Says this and listens until the other side closes."""
    def act(c):
        c.say(raw if isinstance(raw, bytes) else raw.encode() + b"\r\n")
        listen(c)
    return act


def listen(c):
    while True:
        c._read()


def says_and_closes(raw):
    def act(c):
        c.say(raw if isinstance(raw, bytes) else raw.encode() + b"\r\n")
        raise Gone("as told")
    return act


def closes(c):
    raise Gone("as told")


def resets(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.sock.close()
    raise Gone("as told")


def stalls(c):
    c.stall()
    raise Gone("stopped")


def drips(text, seconds):
    """One octet at a time: each comes within any timer for silence."""
    def act(c):
        for i in range(len(text)):
            c.say(text[i:i + 1])
            c.stall(seconds)
            if c.mx.stopping.is_set():
                raise Gone("stopped")
    return act


def is_over(mx, count=1):
    """All of at least `count` conversations have ended."""
    return len(mx.connections) >= count and all(
        c.log and c.log[-1].startswith("-- ") or c.sock.fileno() < 0 for c in mx.connections)


def wait_over(mx, seconds=5):
    wait(lambda: is_over(mx), seconds, "the conversation ends\n" + transcript(mx))


def wait_lost(danelaw, slot):
    """danelaw knows that the connection to the slot's first host is gone."""
    ends = re.compile(r"mx1\.%s\[.*?\]:25: (failed while|message -> closed)" % re.escape(slot.domain))
    wait(lambda: ends.search(danelaw.log), 5, "danelaw has heard of it\n" + transcript(slot.mx))


def transcript(mx):
    return "\n".join("\n".join(map(str, c.log)) for c in mx.connections)


def commands(mx):
    """The commands of all conversations, in order."""
    lines = [line for c in mx.connections for line in c.log]
    return [ast.literal_eval(line[3:]).decode() for line in lines if line.startswith(("C: ", "C+ "))]


def verbs(mx):
    return [line.split(" ")[0] for line in commands(mx)]


def has_data(mx):
    """Some client's whole message, with its dot, waits for our reply."""
    return any(c.log and c.log[-1].startswith("C  ") for c in mx.connections)


def has_dot(mx):
    return b"\r\n.\r\n" in mx.clear + mx.secret

