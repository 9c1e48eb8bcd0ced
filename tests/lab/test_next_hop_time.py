"""A next hop's silence, slowness and disappearance; its other addresses; connections that are kept."""
import os
import re
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from certs import tlsa
from fakemx import FakeMx, polite
from nexthop import (Slots, at, attempt, closes, commands, drips, has_dot, listen, resets,
                     says_and_closes, stalls, transcript, verbs, wait_over)
from program import PROGRAM, Danelaw
from smtp import MESSAGE, Smtp, send, stuff
from zones import wait

ZONE = "nht.lab"
LINE = b"x" * 998 + b"\r\n"

SHORT = {"timeouts": {"rcpt": "4s", "connect": "1s", "greeting": "1s", "handshake": "1s",
                      "command": "1s", "data_start": "1s", "data_block": "1500ms",
                      "data_end": "2500ms", "shutdown": "1s"},
         "dns": {"timeout": "2s", "total": "3s"}}
KEPT = {"limits": {"connection_idle": "7s", "connection_messages": "3",
                   "next_hop_connections": "2"},
        "timeouts": {t: "5s" for t in ("rcpt", "connect", "greeting", "handshake", "command")},
        "dns": {"timeout": "2s", "total": "3s"},
        "unbound": {"cache-max-ttl": "1"}}


def declare(lab):
    lab.next_hop_time_slots = Slots(lab, ZONE, plain=230, tls=60, pair=24, dual=8, six=2)
    # One MX host for two domains; and a TLSA RRset that changes.
    lab.next_hop_shared = lab.address()
    cert = lab.next_hop_time_slots.cert
    lab.zone("nhs.lab", "one MX 10 mx\ntwo MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n_2525._tcp.mx TLSA %s"
             "\n" % (lab.next_hop_shared, tlsa(cert, 3, 1, 1), tlsa(cert, 3, 0, 1)), ttl=1)


@pytest.fixture
def hop(lab):
    with lab.next_hop_time_slots.hops() as hop:
        yield hop


class Serving:
    """One danelaw at a time has the port: of one of the two configurations, or a test's own."""

    def __init__(self, lab):
        self.lab, self.changes, self.danelaw = lab, None, None

    def under(self, changes):
        if self.changes is not changes:
            self.stop()
            self.changes, self.danelaw = changes, Danelaw(self.lab, changes)
            self.danelaw.start()
        return self.danelaw

    def stop(self):
        danelaw, self.changes, self.danelaw = self.danelaw, None, None
        if danelaw:
            danelaw.stop()


@pytest.fixture(scope="module")
def serving(lab):
    serving = Serving(lab)
    yield serving
    serving.stop()


@pytest.fixture
def short(serving):
    return serving.under(SHORT)


@pytest.fixture
def kept(serving):
    return serving.under(KEPT)


@pytest.fixture
def alone(lab, serving):
    """The port is free for a danelaw of the test's own."""
    serving.stop()
    return lab


@pytest.fixture
def small_buffers():
    """The kernel takes 64 KB of a connection's output, not megabytes; in the lab's namespace only."""
    path = "/proc/sys/net/ipv4/tcp_wmem"
    with open(path) as f:
        before = f.read()
    with open(path, "w") as f:
        f.write("4096 16384 65536")
    yield
    with open(path, "w") as f:
        f.write(before)


def begin(h, user="b", **how):
    c = Smtp(**how)
    c("MAIL FROM:<a@client.lab>", 250)
    c("RCPT TO:<%s@%s>" % (user, h.domain), 250)
    c("DATA", 354)
    return c


def deaf(c, line):
    """354, and from then on nothing is read: the window closes."""
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.say("354 go")
    c.mx.go_on.wait(20)


# ---- timers ----

SILENT = {"greeting": "451 4.4.1 connect-failed", "EHLO": "451 4.4.1 connect-failed",
          "STARTTLS": "451 4.7.4 dane-no-starttls", "EHLO+": "451 4.4.1 connect-failed",
          "handshake": "451 4.7.5 tls-handshake",
          "MAIL": "451 4.4.2 connection-lost", "RCPT": "451 4.4.2 connection-lost",
          "DATA": "451 4.4.2 connection-lost", ".": "451 4.4.2 outcome-unknown"}


def test_timeouts_of_each_kind(short, hop):
    """F-09, R-SMTP-33..36, U-13: silence, and one octet at a time, end with the timer of the
    stage."""
    cases = []
    for stage in SILENT:
        if stage == "handshake":
            def starttls(c, line):
                c.say("220 go")
                c.stall()
            cases.append((stage, hop("tls", replies={"STARTTLS": starttls})))
            continue
        for act in (stalls, drips(b"250-x\r\n" * 60 if stage != "DATA" else b"354-x\r\n" * 60, 0.1)):
            kind, how = at(stage, act)
            cases.append((stage, hop(kind, **how)))

    def run(case):
        begun = time.monotonic()
        return attempt(case[1].domain), time.monotonic() - begun

    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(run, cases))
    for (stage, h), (reply, seconds) in zip(cases, results):
        assert reply.startswith(SILENT[stage]), stage + ": " + reply
        assert 0.9 < seconds < 20, (stage, seconds)
        assert "within" in reply or "timed out" in reply, reply
        line = short.delivery_to("b@" + h.domain)
        assert line["status"] == ("unknown" if stage == "." else "deferred")


def test_connect_timeout(short, hop):
    """R-SMTP-33: an address that drops our SYN (its accept queue is full) is given up in time."""
    h = hop("plain", None)
    full = socket.socket()
    full.bind((h.addresses[0], 25))
    full.listen(0)
    fillers = []
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((h.addresses[0], 25))
        fillers.append(s)
    reply = attempt(h.domain)
    for s in fillers + [full]:
        s.close()
    assert reply.startswith("451 4.4.1 connect-failed") and "within 1 s" in reply


def test_u13_total_budget(alone, hop):
    """U-13, R-SMTP-33: each step within its own timer, the sum is bounded by rcpt all the same."""
    changes = {"timeouts": {**SHORT["timeouts"], "rcpt": "1500ms"},
               "dns": {"timeout": "1s", "total": "1s"}, "mta-sts": {"fetch_timeout": "1s"}}

    def late(c, rest=None):
        c.stall(0.45)
        return None

    def script(c):
        late(c)
        polite(c)

    with Danelaw(alone, changes) as d:
        h = hop("tls", script=script,
                replies={v: late for v in ("EHLO", "EHLO+", "STARTTLS+", "MAIL+", "RCPT+")})
        begun = time.monotonic()
        reply = attempt(h.domain)
        assert reply.startswith("451 4.4.1 connect-failed") and "took too long" in reply
        assert 1.3 < time.monotonic() - begun < 6
        assert d.delivery_to("b@" + h.domain)["status"] == "deferred"
        assert not h.mx.messages


@pytest.mark.parametrize("size", [1 << 23, 60000], ids=["8 MB", "all of it in our hands"])
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_u09_stalled_body(short, hop, size, kind):
    """U-09, R-SMTP-37: a window that stays closed ends the delivery after data_block; the client
    hears it after its dot."""
    def script(c):
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        polite(c)
    h = hop(kind, script=script, replies={"DATA": deaf})
    h.mx.go_on = threading.Event()
    h.mx.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    begun = time.monotonic()
    c = begin(h)
    c.raw(LINE * (size // 1000) + b".\r\n")
    reply = c.reply(451)
    assert time.monotonic() - begun < 9
    if size > 1 << 20:
        assert reply.startswith("451 4.4.2 connection-lost") and "took no data for 1.5 s" in reply
    else:  # so small that the kernel may have taken it all
        assert reply.split()[2] in ("connection-lost:", "outcome-unknown:")
    h.mx.go_on.set()
    c.close()
    assert not h.mx.messages or "outcome-unknown" in reply


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_u08_acknowledged_before_the_dot_has_left(short, hop, small_buffers, kind):
    """U-08, R-SMTP-57: a next hop that takes nothing says 250 while our dot still waits for room. Of
    these sizes some have their dot in our hands by then, whatever the kernel's buffers take."""
    def data(c, line):
        c.say("354 go")
        c.stall(0.3)
        c.say("250 2.0.0 I believe you")
        c.mx.go_on.wait(10)
        listen(c)

    def deliver(h):
        with begin(h) as c:
            c.raw(LINE * h.lines + b".\r\n")
            return c.reply()

    hops = []
    for lines in range(40, 400, 12):
        h = hop(kind, replies={"DATA": data})
        h.mx.go_on, h.lines = threading.Event(), lines
        h.mx.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        hops.append(h)
    with ThreadPoolExecutor(len(hops)) as pool:
        replies = list(pool.map(deliver, hops))
    for h in hops:
        h.mx.go_on.set()
    assert {r.split()[2] for r in replies if r.code != 250} == {"connection-lost:"}
    log = short.log
    assert any("mx1.%s[%s]:25: message -> final dot" % (h.domain, h.addresses[0]) in log
               for h, r in zip(hops, replies) if r.code == 451), [(h.lines, r) for h, r in zip(hops, replies)]


def test_r_smtp_37_slow_body_is_no_stall(short, hop):
    """A next hop that takes a little within each data_block gets the whole message."""
    def data(c, line):
        c.say("354 go")
        text = bytearray()
        for _ in range(22):
            c.stall(0.1)
            text += c.sock.recv(1 << 18)
        c.buffer = bytes(text)
        c.mx.taken = c.hear_data()
        c.say("250 2.0.0 slowly")
    h = hop(replies={"DATA": data})
    c = begin(h)
    c.raw(LINE * 8000 + b".\r\n")
    assert c.reply(250) == "250 2.0.0 slowly"
    c.close()
    assert h.mx.taken.endswith(LINE * 8000)


def about(danelaw, session, words):
    """The lines with these words about a session, once there is one."""
    named = re.compile(r"\b%s\b" % session)
    return wait(lambda: [x for x in danelaw.log.splitlines() if named.search(x) and words in x], 5,
                "%s of %s\n%s" % (words, session, danelaw.tail()))


def test_u06_late_final_reply(short, hop):
    """U-06, R-SMTP-36: 451 outcome-unknown at data_end; the late 250 is told in the log."""
    h = hop(replies={".": lambda c, text: c.mx.go_on.wait(10) and "250 2.0.0 at last"})
    h.mx.go_on = threading.Event()
    begun = time.monotonic()
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.2 outcome-unknown") and "duplicate" in reply
    assert 2.4 < time.monotonic() - begun < 8
    h.mx.go_on.set()
    line = short.delivery_to("b@" + h.domain)
    assert (line["status"], line["reason"]) == ("unknown", "outcome-unknown")
    [late] = about(short, line["session"], "possible duplicate when")
    assert 'reply="250 2.0.0 at last"' in late and " warning " in late
    wait_over(h.mx)


def test_late_reply_that_never_comes_ends(short, hop):
    h = hop(replies={".": lambda c, text: listen(c)})
    assert attempt(h.domain).startswith("451 4.4.2 outcome-unknown")
    wait_over(h.mx, 3)
    assert about(short, short.delivery_to("b@" + h.domain)["session"], "no late reply")


# ---- the client ----

def session_to(danelaw, h):
    """The one that has named a recipient of this hop last."""
    return re.findall(r"session=(\S+) < RCPT TO:<\w+@%s>" % re.escape(h.domain), danelaw.log)[-1]


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("sent", [b"", b"Subject: x\r\n\r\ntext\r\n", b"x\r\n.", b"x\r\n.\r",
                                  b"x\r\n\r\n.\n"], ids=repr)
def test_r_smtp_69_client_gone_before_its_dot(short, hop, how, sent):
    """No dot goes upstream, and the next hop sees the connection end."""
    h = hop()
    c = begin(h)
    c.raw(sent or b"")
    if how == "RST":
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    wait_over(h.mx)
    assert not has_dot(h.mx) and not h.mx.messages
    assert short.delivery_to("b@" + h.domain)["status"] in ("deferred", "refused")


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_r_smtp_70_client_gone_after_its_dot(short, hop, how):
    """P-18: the reply is awaited and logged, with the duplicate that may come of it."""
    h = hop(replies={".": lambda c, text: (c.mx.got.set(), c.mx.go_on.wait(10)) and "250 2.0.0 mine"})
    h.mx.got, h.mx.go_on = threading.Event(), threading.Event()
    c = begin(h)
    c.raw(stuff(MESSAGE))
    assert h.mx.got.wait(10)
    if how == "RST":
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    if how == "RST":
        about(short, session_to(short, h), " closed: ")
    h.mx.go_on.set()
    line = short.delivery_to("b@" + h.domain)
    assert (line["status"], line["reply"]) == ("sent", "250 2.0.0 mine")
    if how == "RST":
        about(short, line["session"], " the client left before it heard")  # a duplicate is foretold


def test_r_smtp_75_reset_behind_the_dot(short, hop):
    """A client that sent its dot and gave up at once will try again: no dot goes upstream."""
    h = hop()
    c = begin(h)
    wait(lambda: "354" in transcript(h.mx), 3, "354")
    os.kill(short.worker, signal.SIGSTOP)
    try:
        c.raw(stuff(MESSAGE))
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    finally:
        os.kill(short.worker, signal.SIGCONT)
    wait_over(h.mx)
    assert not h.mx.messages and not has_dot(h.mx)


@pytest.mark.parametrize("size", [1000, 300000])
def test_r_smtp_71_half_closed_client(short, hop, size):
    """DATA .. dot QUIT FIN: all replies still come, also where a slow next hop holds the rest
    back."""
    def data(c, line):
        c.say("354 go")
        c.stall(0.4)
        text = c.hear_data()
        c.say("250 2.0.0 %d" % len(text))

    def script(c):
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        polite(c)
    h = hop(script=script, replies={"DATA": data})
    h.mx.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
    c = begin(h)
    c.raw(LINE * (size // 1000) + b".\r\nQUIT\r\n")
    c.sock.shutdown(socket.SHUT_WR)
    assert int(c.reply(250).split()[-1]) > size
    c.reply(221)
    assert c.is_closed()


@pytest.mark.parametrize("outcome", ["taken", "stalled"])
def test_the_end_of_a_message_that_waits_for_room(serving, hop, small_buffers, outcome):
    """R-SMTP-71: a half-closed client whose last octets, with its dot, wait with us for a slow next
    hop has not left. R-SMTP-37: one that stalls then is given up after data_block, though our dot is
    written. Of these sizes some end in our hands, whatever the kernel's buffers take."""
    danelaw = serving.under(SHORT if outcome == "stalled" else KEPT)

    def data(c, line):
        c.say("354 go")
        if outcome == "stalled":
            c.mx.go_on.wait(10)
            listen(c)
        c.stall(0.4)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        c.say("250 2.0.0 %d" % len(c.hear_data()))

    def deliver(h):
        with begin(h) as c:
            c.raw(LINE * h.lines + b".\r\nQUIT\r\n")
            c.sock.shutdown(socket.SHUT_WR)
            return c.reply()

    hops = []
    for lines in range(40, 400, 12):
        h = hop(replies={"DATA": data})
        h.mx.go_on, h.lines = threading.Event(), lines
        h.mx.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        hops.append(h)
    with ThreadPoolExecutor(len(hops)) as pool:
        replies = list(pool.map(deliver, hops))
    for h in hops:
        h.mx.go_on.set()
    wrong = [(h.lines, str(r)) for h, r in zip(hops, replies) if r.code != 250]
    if outcome == "taken":
        assert not wrong, wrong[0]
        return
    log = danelaw.log
    ours = [r for h, r in zip(hops, replies) if "outcome-unknown" not in r
            and "mx1.%s[%s]:25: message -> final dot" % (h.domain, h.addresses[0]) in log]
    assert ours and all("took no data for 1.5 s" in r for r in ours), ours


def test_r_smtp_72_lost_in_the_body(short, hop):
    """The next hop goes away in the middle: 451 after the client's dot, no second host, not
    flagged as a possible duplicate."""
    def data(c, line):
        c.say("354 go")
        c._read()
        resets(c)
    h = hop("pair", {"replies": {"DATA": data}}, {})
    c = begin(h)
    for _ in range(8):
        c.raw(LINE * 1000)
    c.raw(b".\r\n")
    assert c.reply(451).startswith("451 4.4.2 connection-lost")
    c("NOOP", 250)
    c.close()
    assert not h.mxs[1].connections
    assert short.delivery_to("b@" + h.domain)["status"] == "deferred"


# ---- other addresses ----

def test_r_net_16_addresses_in_order(short, hop):
    """R-NET-16, R-SMTP-34: both are tried; then connect-failed is remembered for 30 s."""
    h = hop("dual", {"script": stalls}, {"script": stalls})
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.1 connect-failed")
    assert [len(mx.connections) for mx in h.mxs] == [1, 1]
    h.mxs[0].script = h.mxs[1].script = polite
    begun = time.monotonic()
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.1 connect-failed") and time.monotonic() - begun < 3
    assert [len(mx.connections) for mx in h.mxs] == [1, 1]


@pytest.mark.parametrize("kind", ["dual", "pair", "six"])
def test_r_smtp_34_dead_first_address(short, hop, kind):
    answering = threading.Event()

    def script(c):
        """Whichever is tried first is the dead one."""
        if not answering.is_set():
            answering.set()
            c.mx.dead = True
        if getattr(c.mx, "dead", False):
            c.stall()
        polite(c)

    h = hop(kind, {"script": script}, {"script": script})
    begun = time.monotonic()
    assert attempt(h.domain).code == 250
    assert time.monotonic() - begun > 0.9
    for _ in range(2):
        begun = time.monotonic()
        assert attempt(h.domain).code == 250
        assert time.monotonic() - begun < 3
    dead = next(mx for mx in h.mxs if getattr(mx, "dead", False))
    assert len(dead.connections) == 1
    assert len(h.mxs[1 - h.mxs.index(dead)].messages) == 3
    if kind == "pair":
        assert h.mxs[0] is dead


def test_connection_refused_on_all(short, hop):
    h = hop("pair", None, None)
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.1 connect-failed: mx1.") and "connection refused" in reply


def test_r_smtp_34_a_host_gets_a_third(alone, hop):
    """A first host that is slow in every step leaves time for the second."""
    changes = {"timeouts": {"rcpt": "6s", "connect": "5s", "greeting": "5s", "handshake": "5s",
                            "command": "5s"}, "dns": {"timeout": "1s", "total": "1s"}}
    with Danelaw(alone, changes):
        h = hop("pair", {"script": stalls}, {})
        begun = time.monotonic()
        assert attempt(h.domain).code == 250
        assert 1.8 < time.monotonic() - begun < 4.9  # the first host's own timer has 5 s


# ---- next_hop ----

def test_next_hop_spellings(lab, alone):
    """Interface [policy] next_hop: with and without MX lookup, other ports and their TLSA owner."""
    address, six = lab.next_hop_shared, lab.address6()
    cert = lab.next_hop_time_slots.cert
    mx25 = FakeMx(address, cert)
    mx2525 = FakeMx(address, cert, port=2525)
    v6 = FakeMx(six, port=2526)
    spelled = {
        "one.nhs.lab": (mx25, "dane", "3 1 1"), "one.nhs.lab:2525": (mx2525, "dane", "3 0 1"),
        "[mx.nhs.lab]:2525": (mx2525, "dane", "3 0 1"), "[mx.nhs.lab]": (mx25, "dane", "3 1 1"),
        "[%s]:25" % address: (mx25, "may", ""), "[%s]:2525" % address: (mx2525, "may", ""),
        "[IPv6:%s]:2526" % six: (v6, "may", ""),
    }
    domains = {"d%d.spelled.lab" % n: hop for n, hop in enumerate(spelled)}
    changes = {"domain " + name: {"next_hop": hop} for name, hop in domains.items()}
    changes["domain d9.spelled.lab"] = {"next_hop": "[one.nhs.lab]"}  # has no address of its own
    try:
        with Danelaw(alone, changes) as d:
            for name, hop in domains.items():
                mx, policy, record = spelled[hop]
                before = len(mx.messages)
                assert send("b@" + name).code == 250, d.tail()
                assert len(mx.messages) == before + 1, hop
                line = d.delivery_to("b@" + name)
                assert line["policy"] == policy and line["tlsa"].startswith(record), (hop, line)
            assert send("b@d9.spelled.lab").code in (451, 550)
    finally:
        for mx in (mx25, mx2525, v6):
            mx.stop()


# ---- kept connections ----

def test_r_smtp_81_reuse(kept, hop):
    """Nothing is asked first; at most connection_messages; the log says so."""
    h = hop("tls")
    for _ in range(4):
        assert attempt(h.domain).code == 250
    assert len(h.mx.connections) == 2 and len(h.mx.messages) == 4
    first = [x.split(" ")[0] for x in commands(h.mx)]
    assert first[:10] == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "DATA",
                          "MAIL"]
    lines = [x for x in kept.deliveries() if h.domain in x["to"]]
    assert [x["reused"] for x in lines] == ["no", "yes", "yes", "no"]
    assert {x["tls"] for x in lines} == {"verified"}
    wait_over(h.mx, 9)
    assert verbs(h.mx)[-1] == "QUIT"


def test_r_smtp_81_other_client_other_sender(kept, hop):
    """What one client said never shows to another: sender, recipients and body are the second's."""
    h = hop(replies={"RCPT": lambda c, line: "550 no" if "bad" in line else None})
    with Smtp() as c:
        c("MAIL FROM:<first@client.lab>", 250)
        c("RCPT TO:<bad@%s>" % h.domain, 550)
        c("RCPT TO:<kept@%s>" % h.domain, 250)
        c("RSET", 250)
    assert send("c@" + h.domain, sender="second@client.lab").code == 250
    m = h.mx.messages[0]
    assert (m.sender, m.recipients) == ("second@client.lab", ["c@" + h.domain])
    assert len(h.mx.connections) == 1


@pytest.mark.parametrize("how", ["closed", "RSET 421", "RSET 500", "RSET lost", "MAIL 421",
                                 "MAIL lost", "MAIL 354", "RCPT lost", "DATA lost"])
def test_r_smtp_81_dead_kept_connection_is_replaced_in_silence(kept, hop, how):
    """RSET: a recipient was refused, and the envelope ended with it."""
    verb, _, what = how.partition(" ")

    def act(c, line):
        if c is not c.mx.connections[0] or not c.mx.messages:
            return None
        return says_and_closes(what + " 4.7.0 too many messages")(c) if what.isdigit() else closes(c)

    h = hop(replies={verb: act, "RCPT": act if verb == "RCPT" else
                     lambda c, line: "550 5.1.1 no" if "<bad@" in line else None} if what else {})
    assert attempt(h.domain).code == 250
    if verb == "RSET":
        assert attempt(h.domain, users=["bad"]).code == 550
    if verb == "DATA":
        assert attempt(h.domain).startswith("451 4.4.2 connection-lost")
        return
    if how == "closed":
        h.mx.connections[0].close()
    assert attempt(h.domain).code == 250, kept.tail()
    assert len(h.mx.connections) == 2 and len(h.mx.messages) == 2
    assert kept.delivery_to("b@" + h.domain)["reused"] == "no"


def test_r_smtp_81_keys(lab, kept):
    """The same MX host for another domain, and for the same with another TLSA RRset, is proven
    anew."""
    cert = lab.next_hop_time_slots.cert
    mx = FakeMx(lab.next_hop_shared, cert)
    try:
        assert send("b@one.nhs.lab").code == 250
        assert send("b@two.nhs.lab").code == 250
        assert len(mx.connections) == 2
        lab.dns.change("nhs.lab", "one MX 10 mx\ntwo MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n"
                       % (lab.next_hop_shared, "3 1 1 " + "00" * 32))
        time.sleep(2.05)  # TTL 1, and the cache counts whole seconds
        assert len(mx.connections) == 2 and "QUIT" not in verbs(mx)
        assert send("b@two.nhs.lab").startswith("451 4.7.5 dane-mismatch")
        assert len(mx.messages) == 2
    finally:
        mx.stop()
        lab.dns.change("nhs.lab", "one MX 10 mx\ntwo MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n"
                       "_2525._tcp.mx TLSA %s\n" % (lab.next_hop_shared, tlsa(cert, 3, 1, 1),
                                                   tlsa(cert, 3, 0, 1)))


def test_r_net_13_next_hop_connections(kept, hop):
    """The third at the same time waits for its turn, and hears `busy` when that was too long."""
    h = hop()
    clients = [begin(h, "u%d" % n) for n in range(2)]
    started = time.monotonic()
    reply = attempt(h.domain)
    assert reply.startswith("451 4.3.2 busy: mx1.")
    assert 4.5 < time.monotonic() - started < 12
    for c in clients:
        c.raw(stuff(MESSAGE))
        c.reply(250)
        c.close()
    assert attempt(h.domain).code == 250
    assert len(h.mx.connections) == 2


def test_first_come_first_served(alone, hop):
    """R-NET-13: each connection that is free again serves who has waited longest. DNS is known, so that
    each stands in the queue before danelaw greets the next."""
    with Danelaw(alone, {"limits": KEPT["limits"]}):
        h = hop()
        working = [begin(h, "u%d" % n) for n in range(2)]
        waiting = []
        for n in range(4):
            waiting.append(Smtp())
            waiting[-1].raw(b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<w%d@%s>\r\nDATA\r\n" % (
                n, h.domain.encode()))
        waiting.pop(1).close()  # who leaves the queue costs nobody a turn
        for done, served in zip(working + waiting, waiting):
            done.raw(stuff(MESSAGE))
            done.reply(250)
            for code in (250, 250, 354):
                served.reply(code)
        for c in working + waiting:
            c.close()
        assert len(h.mx.connections) <= 4


def test_first_come_first_served_at_a_provider(alone, hop):
    """R-NET-13: the hosts below nht.lab have five times next_hop_connections together; who waits for
    room there gets the first that is free, whichever host's it was, at the best of its own hosts,
    and hears why it was too long."""
    def envelope(h):
        c = Smtp()
        c.raw(b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<w@%s>\r\nDATA\r\n" % h.domain.encode())
        return c

    changes = {"limits": {"next_hop_connections": "1"}, "dns": {"timeout": "1s", "total": "1s"},
               "timeouts": dict.fromkeys(KEPT["timeouts"], "4s")}
    with Danelaw(alone, changes) as d:
        working = [begin(hop()) for _ in range(5)]
        waiting, pair = [], hop("pair")
        for h in (hop(), pair, hop()):
            waiting.append(envelope(h))
            wait(lambda: "route mx1.%s: " % h.domain in d.log, 5, "it stands in the queue\n" + d.tail())
        for done, served in zip(working, waiting[:2]):
            done.raw(stuff(MESSAGE))
            done.reply(250)
            for code in (250, 250, 354):
                served.reply(code)
        assert pair.mxs[0].connections and not pair.mxs[1].connections
        waiting[2].reply(250)
        busy = waiting[2].reply(451)
        assert busy.startswith("451 4.3.2 busy: mx1.") and "the hosts of nht.lab have" in busy
        for c in working + waiting:
            c.close()


# ---- 421 ----

def crowded(most, each):
    """A receiver that turns away who comes while `most` are served, and each after some messages."""
    def script(c):
        with c.mx.lock:
            c.mx.open += 1
            has_room = c.mx.open <= most
        try:
            if not has_room:
                c.mx.turned_away += 1
                says_and_closes("421 4.3.2 too many connections")(c)
            polite(c)
        finally:
            with c.mx.lock:
                c.mx.open -= 1

    def mail(c, line):
        c.served = getattr(c, "served", 0) + 1
        return says_and_closes("421 4.7.0 too many messages")(c) if c.served > each else None

    def final(c, text):
        c.stall(0.05)
        return "250 2.0.0 taken"
    return {"script": script, "replies": {"MAIL": mail, ".": final}}


def test_u03_421_to_the_third_connection(alone, hop):
    """RFC 5321 3.8: who is turned away waits for the connections that are served; they become fewer,
    and more again with each message; nothing is lost, refused or doubled."""
    with Danelaw(alone, {"log": {"level": "info"}}) as d:
        h = hop("tls")
        h.mx.__dict__.update(lock=threading.Lock(), open=0, turned_away=0,
                             **crowded(most=2, each=4))
        to = ["u%d@%s" % (n, h.domain) for n in range(24)]
        with ThreadPoolExecutor(len(to)) as pool:
            assert [r.code for r in pool.map(send, to)] == [250] * len(to), d.tail()
        assert sorted(m.recipients[0] for m in h.mx.messages) == sorted(to)
        assert 0 < h.mx.turned_away < 2 * len(to), h.mx.turned_away
        assert " next-hop-421 mx=mx1.%s[" % h.domain in d.log


PAUSE = 1  # second, for the first 421


def within_pause(new_hop, count):
    """A hop, and the replies to so many messages that took no longer than a pause: a busy machine may need
    some tries, of a hop each."""
    for _ in range(10):
        h, begun = new_hop(), time.monotonic()
        replies = [attempt(h.domain) for _ in range(count)]
        if time.monotonic() - begun < PAUSE:
            return h, replies
    raise AssertionError("%d messages never took less than %d s" % (count, PAUSE))


@pytest.mark.parametrize("stage", ["greeting", "MAIL", "."])
def test_u03_421_is_followed_by_a_pause(kept, hop, stage):
    """Meanwhile nobody connects, and the reply says why."""
    text = says_and_closes("421 4.3.2 not now")
    how = {"script": text} if stage == "greeting" else {"replies": {stage: lambda c, rest: text(c)}}
    h, (first, reply) = within_pause(lambda: hop(**how), 2)
    assert "421 4.3.2 not now" in first or stage != "greeting"
    assert reply.startswith("451 4.4.1 connect-failed: mx1.") and "said 421 a moment ago" in reply
    assert len(h.mx.connections) == 1
    time.sleep(PAUSE)
    assert "said 421" not in attempt(h.domain)
    assert len(h.mx.connections) == 2


def test_u03_421_leads_to_the_other_host(kept, hop):
    h, replies = within_pause(lambda: hop("pair", {"script": says_and_closes("421 4.3.2 not now")}, {}), 3)
    assert [r.code for r in replies] == [250] * 3
    assert len(h.mxs[0].connections) == 1 and len(h.mxs[1].messages) == 3


def test_u03_421_to_idle_connections(kept, hop):
    """They are replaced without a word, and at once: the next message is not refused."""
    h = hop()
    for n in range(1, 4):
        assert attempt(h.domain).code == 250
        h.mx.connections[-1].say("421 4.3.2 closing")
        h.mx.connections[-1].close()
        wait_over(h.mx)
    assert len(h.mx.connections) == 3


# ---- size ----

def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) * 1024


def is_sanitized():
    with open(PROGRAM, "rb") as f:
        return b"__asan_init" in f.read()


@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_r_smtp_76_memory(alone, hop, kind):
    """50 MB to a next hop that begins to read late: back-pressure, not memory, holds them."""
    text = b"Subject: big\r\n\r\n" + LINE * 49000

    def data(c, line):
        c.say("354 go")
        c.stall(0.7)
        c.mx.taken = len(c.hear_data())
        c.say("250 2.0.0 ok")
    with Danelaw(alone, {"log": {"level": "info"}}) as d:
        h = hop(kind, replies={"DATA": data})
        assert attempt(h.domain).code == 250
        before = rss(d.worker)
        c = begin(h)
        begun = time.monotonic()
        c.raw(text + b".\r\n")
        c.reply(250)
        c.close()
        assert time.monotonic() - begun < 30
        assert h.mx.taken > len(text)
        if not is_sanitized():  # AddressSanitizer keeps what was freed
            assert rss(d.worker) - before < 16 << 20


# ---- SIGTERM ----

def stopping(d):
    d.child.send_signal(signal.SIGTERM)
    wait(lambda: "stopping: " in d.log, 3, "it stops")


UNHURRIED = {**SHORT, "timeouts": {**SHORT["timeouts"], "data_end": "5s", "shutdown": "5s"}}


def test_r_smtp_82_sigterm_in_data(alone, hop):
    """The message completes; new clients are turned away; exit 0."""
    with Danelaw(alone, UNHURRIED) as d:
        h = hop()
        idle = Smtp()
        c = begin(h)
        c.raw(b"Subject: x\r\n\r\n")
        stopping(d)
        idle.reply(421)
        with pytest.raises(OSError):
            Smtp(timeout=1)
        c.raw(LINE * 100 + b".\r\n")
        c.reply(250)
        assert c.reply(421).startswith("421 4.3.2 shutdown")
        assert d.child.wait(20) == 0
        assert len(h.mx.messages) == 1
        assert d.delivery_to("b@" + h.domain)["status"] == "sent"


@pytest.mark.parametrize("client", ["stays", "leaves"])
def test_r_smtp_82_sigterm_in_the_final_wait(alone, hop, client):
    def final(c, text):
        c.mx.got.set()
        c.stall(0.5)
        return "250 2.0.0 done"
    with Danelaw(alone, UNHURRIED) as d:
        h = hop(replies={".": final})
        h.mx.got = threading.Event()
        c = begin(h)
        c.raw(stuff(MESSAGE))
        assert h.mx.got.wait(10)
        if client == "leaves":
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        stopping(d)
        if client == "stays":
            c.reply(250)
        assert d.child.wait(20) == 0
        assert d.delivery_to("b@" + h.domain)["status"] == "sent"


@pytest.mark.parametrize("client", ["stays", "leaves"])
def test_shutdown_limit_exceeded(alone, hop, client):
    """Cut ones are logged as outcome-unknown, and it still exits in time with 0."""
    changes = {**SHORT, "timeouts": {**SHORT["timeouts"], "data_end": "9s", "shutdown": "500ms"}}
    with Danelaw(alone, changes) as d:
        h = hop(replies={".": lambda c, text: (c.mx.got.set(), listen(c))})
        h.mx.got = threading.Event()
        in_body = begin(h, "body")
        in_body.raw(b"x\r\n")
        c = begin(h)
        c.raw(stuff(MESSAGE))
        assert h.mx.got.wait(10)
        if client == "leaves":
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        begun = time.monotonic()
        stopping(d)
        if client == "stays":
            assert c.reply().code in (421, 451)
        in_body.reply(421)
        assert d.child.wait(20) == 0 and time.monotonic() - begun < 8
        line = d.delivery_to("b@" + h.domain)
        assert (line["status"], line["reason"]) == ("unknown", "outcome-unknown")
        assert d.delivery_to("body@" + h.domain)["status"] == "deferred"


def test_sigterm_with_kept_and_late_connections(alone, hop):
    """Neither a kept connection nor a late reply holds the end up, and nothing leaks."""
    with Danelaw(alone, {**SHORT, "timeouts": {**SHORT["timeouts"], "data_end": "300ms"}}):
        kept, late = hop(), hop(replies={".": lambda c, text: listen(c)})
        assert attempt(kept.domain).code == 250
        assert attempt(late.domain).startswith("451 4.4.2 outcome-unknown")
