"""One message to several next hops: what the client is told, what each receiver has, what is kept.

A fate is what one next hop does with the message, and where: at RCPT, DATA, in the body, at the
final dot. Each has a receiver and three domains of its own, so that it can meet itself."""
import contextlib
import itertools
import os
import re
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakemx import FakeMx, Gone
from nexthop import Slots, has_data, has_dot
from postfix import Postfix
from program import Danelaw, fields
from smtp import Smtp, stuff
from zones import wait

SHORT = {"timeouts": {"command": "3s", "data_start": "3s", "data_block": "2s", "data_end": "4s"},
         "limits": {"next_hop_connections": "1000", "connection_idle": "0s"},
         "spool": {"retry": "1h"}}


# ---- fates ----

def closes(c, line=None):
    raise Gone("as told")


def stalls(c, line=None):
    while True:  # until danelaw gives up
        c._read()


def closes_in_body(c, line):
    c.say("354 go on")
    raise Gone("as told")


# What the client is told for the recipient (2, 4 or 5), and what the message then comes to there:
# A accepted, T refused for now, P for good.
FATES = {
    "rcpt-later": (4, None, {"RCPT": "450 4.2.0 later"}),
    "rcpt-no": (5, None, {"RCPT": "550 5.1.1 no"}),
    "rcpt-lost": (4, None, {"RCPT": closes}),
    "rcpt-stall": (4, None, {"RCPT": stalls}),
    "data-later": (2, "T", {"DATA": "451 4.3.0 later"}),
    "data-no": (2, "P", {"DATA": "554 5.7.0 no"}),
    "data-lost": (2, "T", {"DATA": closes}),
    "data-stall": (2, "T", {"DATA": stalls}),
    "body-lost": (2, "T", {"DATA": closes_in_body}),
    "dot-yes": (2, "A", {}),
    "dot-later": (2, "T", {".": "452 4.2.2 later"}),
    "dot-no": (2, "P", {".": "554 5.6.0 no"}),
    "dot-lost": (2, "T", {".": closes}),
    "dot-stall": (2, "T", {".": stalls}),
}
AT_THE_END = ("body-lost", "dot-yes", "dot-later", "dot-no", "dot-lost", "dot-stall")
SENDER = "sender@back.fan.lab"


def declare(lab):
    text = ""
    lab.fan = {}
    for fate in FATES:
        lab.fan[fate] = lab.address()
        text += "mx-%s A %s\n" % (fate, lab.fan[fate])
        text += "".join("%s-%d MX 10 mx-%s\n" % (fate, n, fate) for n in range(1, 4))
    lab.fan["back"] = lab.address()  # where notices go
    text += "back MX 10 mx-back\nmx-back A %s\n" % lab.fan["back"]
    lab.zone("fan.lab", text)
    lab.fan["many"] = lab.address()
    text = "mx-many A %s\n" % lab.fan["many"]
    lab.zone("many.lab", text + "".join("d%d MX 10 mx-many\n" % n for n in range(150)))
    lab.fan_slots = Slots(lab, "fanhop.lab", plain=30)


@pytest.fixture
def hop(lab):
    with lab.fan_slots.hops() as hop:
        yield hop


@pytest.fixture(scope="module")
def receivers(lab):
    """A FakeMx for each fate."""
    mxs = {fate: FakeMx(lab.fan[fate], replies=how) for fate, (_, _, how) in FATES.items()}
    mxs["back"] = FakeMx(lab.fan["back"])
    yield mxs
    for mx in mxs.values():
        mx.stop()


@pytest.fixture(scope="module")
def danelaw(lab):
    with Danelaw(lab, SHORT) as d:
        yield d


def message(subject, *lines):
    head = "From: %s\r\nSubject: %s\r\nMessage-ID: <%s@fan.lab>\r\n\r\n" % (SENDER, subject, subject)
    return (head + "\r\n".join(lines or ["Hello."]) + "\r\n").encode()


def had(mx, subject):
    """The recipients that a receiver has this message for."""
    mark = ("Subject: %s\r\n" % subject).encode()
    return [r for m in mx.messages if mark in m.data for r in m.recipients]


def spooled(danelaw, subject_user):
    """{recipient: "retry" or "bounce"} of what danelaw kept, by the recipients' user."""
    lines = [fields(x) for x in danelaw.log.splitlines() if " spooled session=" in x]
    return {x["to"].strip("<>"): x["next"] for x in lines if x["to"].startswith("<%s@" % subject_user)}


def await_end(danelaw, user):
    """Of the session with which it came: whether its client has heard the reply is known then."""
    session = re.search(r" spooled session=(\S+) .* to=<%s@" % user, danelaw.log).group(1)
    wait(lambda: "session=%s closed: " % session in danelaw.log, 5, danelaw.tail())


# ---- the matrix ----

class Case:
    """One transaction to some fates; what must come of it follows from them alone."""

    def __init__(self, name, fates):
        self.name, self.fates = name, fates
        copies = {}
        self.recipients = []
        for fate in fates:
            copies[fate] = copies.get(fate, 0) + 1
            self.recipients.append("%s@%s-%d.fan.lab" % (name, fate, copies[fate]))

    def run(self, server):
        with Smtp(server, timeout=60) as c:
            c("MAIL FROM:<%s>" % SENDER, 250)
            c.raw("".join("RCPT TO:<%s>\r\n" % r for r in self.recipients).encode())
            self.answers = [c.reply() for _ in self.recipients]
            self.final = c("DATA")
            if self.final.code == 354:
                time.sleep(0.3)  # what is lost in the body is lost before the dot
                c.raw(stuff(message(self.name)))
                self.final = c.reply()
            c("NOOP", 250)
        return self

    def check(self, danelaw, receivers):
        told = " ".join(self.fates) + "\n" + "\n".join(self.answers) + "\n" + self.final
        assert [a.code // 100 for a in self.answers] == [FATES[f][0] for f in self.fates], told
        taken = [(r, FATES[f][1]) for f, r in zip(self.fates, self.recipients) if FATES[f][1]]
        ends = [end for _, end in taken]
        mixed = "A" in ends and set(ends) != {"A"}
        if not ends:
            assert self.final.code == 554, told
        elif "A" in ends:
            assert self.final.code == 250, told
        else:
            assert self.final.code // 100 == (4 if "T" in ends else 5), told
        kept = {r: "retry" if end == "T" else "bounce" for r, end in taken if end != "A"}
        assert spooled(danelaw, self.name) == (kept if mixed else {}), told
        got = [r for fate in FATES for r in had(receivers[fate], self.name)]
        assert sorted(got) == sorted(r for r, end in taken if end == "A"), told
        bounces = mixed and "P" in ends
        wait(lambda: len(had(receivers["back"], self.name)) == bounces, 5, "bounces\n" + told)


def run_all(danelaw, cases):
    with ThreadPoolExecutor(60) as pool:
        return list(pool.map(lambda case: case.run(danelaw.server), cases))


def test_two_destinations(danelaw, receivers):
    """R-SMTP-65, -68: every two fates."""
    pairs = itertools.combinations_with_replacement(FATES, 2)
    cases = [Case("two%d" % n, fates) for n, fates in enumerate(pairs)]
    assert len(cases) == 105
    for case in run_all(danelaw, cases):
        case.check(danelaw, receivers)


def test_three_destinations(danelaw, receivers):
    """R-SMTP-65, -68: every three fates of a message that was begun; in reverse order, too."""
    threes = itertools.combinations_with_replacement(AT_THE_END, 3)
    cases = [Case("three%d" % n, fates[::-1] if n % 2 else fates) for n, fates in enumerate(threes)]
    assert len(cases) == 56
    for case in run_all(danelaw, cases):
        case.check(danelaw, receivers)


def test_accepted_one_survives_refused_ones(danelaw, receivers):
    """R-NET-13, R-SMTP-57: whoever was told 250 is not dropped for a bad list of recipients."""
    with Smtp(danelaw.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<list@dot-yes-1.fan.lab>", 250)
        for n in range(20):
            c("RCPT TO:<list%d@rcpt-no-1.fan.lab>" % n, 550)
        assert c("RCPT TO:<list@dot-yes-2.fan.lab>", 452).startswith("452 4.5.3 too-many-recipients")
        c.data(message("list"), 250)
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<list@rcpt-no-1.fan.lab>", 550)
        c.reply(421)
    assert had(receivers["dot-yes"], "list") == ["list@dot-yes-1.fan.lab"]


# ---- one that holds the others up ----

def test_stalled_one_falls_out(danelaw, receivers, hop):
    """R-SMTP-37, -76: who takes no data for data_block leaves, the others get it all."""
    def stops_reading(c, line):
        c.say("354 go on")
        c.stall(8)
        raise Gone("as told")
    stuck = hop(replies={"DATA": stops_reading})
    case = Case("stall", ["dot-yes"])
    with Smtp(danelaw.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<%s>" % case.recipients[0], 250)
        c("RCPT TO:<stall@%s>" % stuck.domain, 250)
        c.data(message("stall", *["x" * 900] * 6000), 250)
    assert spooled(danelaw, "stall") == {"stall@" + stuck.domain: "retry"}
    assert had(receivers["dot-yes"], "stall") == case.recipients
    assert len(receivers["dot-yes"].messages[-1].data) > 5400000
    assert not has_dot(stuck.mx)


def test_slow_one_falls_out(danelaw, receivers, hop):
    """R-SMTP-76: who takes data, but keeps the others waiting for data_block in all, leaves, too."""
    def sips(c, line):
        c.say("354 go on")
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while c.sock.recv(20000):
            time.sleep(0.1)
        raise Gone("as told")
    slow = hop(replies={"DATA": sips})
    case = Case("slow", ["dot-yes"])
    with Smtp(danelaw.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<%s>" % case.recipients[0], 250)
        c("RCPT TO:<slow@%s>" % slow.domain, 250)
        started = time.monotonic()
        c.data(message("slow", *["x" * 900] * 6000), 250)
    assert time.monotonic() - started < 16
    assert spooled(danelaw, "slow") == {"slow@" + slow.domain: "retry"}
    assert "took the message too slowly" in danelaw.log
    assert len(receivers["dot-yes"].messages[-1].data) > 5400000


# ---- many domains ----

@contextlib.contextmanager
def taking_many(server, name, numbers):
    """A transaction for domains of one host, and the replies to its RCPTs."""
    with Smtp(server, timeout=60) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c.raw("".join("RCPT TO:<%s@d%d.many.lab>\r\n" % (name, n) for n in numbers).encode())
        yield c, [c.reply() for _ in numbers]


@pytest.fixture(scope="module")
def many(lab):
    mx = FakeMx(lab.fan["many"])
    yield mx
    mx.stop()


def test_descriptors_for_further_next_hops(lab, many):
    """R-NET-13: a third of them in all; the first next hop of a message is always served."""
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"}})
    with Danelaw(lab, changes, wrap=("prlimit", "--nofile=240:240")) as d:
        with taking_many(d.server, "one", range(60)) as (_, one), \
                taking_many(d.server, "two", range(60)) as (c, two), \
                taking_many(d.server, "three", range(3)) as (_, three):
            assert [r.code for r in one] == [250] * 60
            assert [r.code for r in two] == [250] * 22 + [451] * 38
            assert two[-1].startswith("451 4.3.2 busy")
            assert [r.code for r in three] == [250, 451, 451]
            c.data(message("two"), 250)
        assert "oo many open files" not in d.log
        with taking_many(d.server, "four", range(60)) as (_, four):
            assert [r.code for r in four] == [250] * 60


def test_own_shortage_is_no_setback(lab, many):
    """R-SMTP-34: that danelaw has no descriptor left says nothing about the next hop."""
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"}})
    with Danelaw(lab, changes, wrap=("prlimit", "--nofile=64:64")) as d:
        assert retry(d, ["first@d0.many.lab"], message("first")).code == 250
        with Smtp(d.server) as c:
            c("MAIL FROM:<%s>" % SENDER, 250)
            with contextlib.ExitStack() as idle:
                for _ in range(64):
                    idle.enter_context(socket.create_connection(d.server))
                wait(lambda: len(os.listdir("/proc/%d/fd" % d.worker)) == 64, 5, d.tail())
                assert c("RCPT TO:<a@d0.many.lab>", 451).startswith("451 4.3.2 busy: mx-many.many.lab")
            wait(lambda: len(os.listdir("/proc/%d/fd" % d.worker)) < 60, 5, d.tail())
            c("RSET", 250)
        assert retry(d, ["fine@d0.many.lab"], message("fine")).code == 250


def test_many_domains_at_one_hoster(lab, many):
    """R-NET-13, -SMTP-65: half of the connections are left to others; the rest is not refused but
    follows from the spool."""
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"},
                             "limits": {"connection_idle": "0s", "next_hop_connections": "10"}})
    with Danelaw(lab, changes) as d:
        with taking_many(d.server, "hoster", range(100)) as (c, replies):
            assert [r.code for r in replies] == [250] * 100
            assert sum("the next hop is busy now" in r for r in replies) >= 90
            assert retry(d, ["bystander@d0.many.lab"], message("bystander")).code == 250
            assert re.match("250 2.0.0 not all .* queued as ", c.data(message("hoster")))
        kept = spooled(d, "hoster")
        assert len(kept) >= 90 and set(kept.values()) == {"retry"}
        wait(lambda: len(had(many, "hoster")) > 100 - len(kept), 5, d.tail())  # and no [spool] retry
        assert len(set(had(many, "hoster"))) == len(had(many, "hoster"))


def test_idle_connections_leave_room(lab, many):
    """R-SMTP-81: as many connections to a hoster as there may be, all idle: a message to other domains of it
    takes their room and needs no spool."""
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"},
                             "limits": {"next_hop_connections": "10"}})
    with Danelaw(lab, changes) as d:
        for n in range(10):
            assert retry(d, ["idle@d%d.many.lab" % n], message("idle")).code == 250
        with taking_many(d.server, "awake", range(20, 25)) as (c, replies):
            assert [r.code for r in replies] == [250] * 5
            c.data(message("awake"), 250)
        assert len(had(many, "awake")) == 5 and not spooled(d, "awake")


def test_message_and_dot_in_one_piece(danelaw, hop):
    """R-SMTP-75: the dot waits for the disk, and what comes before it waits, too: one write to each next hop."""
    pieces = []

    def reads(c, line):
        c.say("354 go on")
        c.buffer = c._read(1 << 20)
        pieces.append(c.buffer)
        c.hear_data()
        return "250 2.0.0 taken"
    to = ["piece@" + hop(replies={"DATA": reads}).domain for _ in range(2)]
    assert retry(danelaw, to, message("piece")).code == 250
    assert len(pieces) == 2 and pieces[0] == pieces[1]
    assert pieces[0].startswith(b"Received: ") and pieces[0].endswith(b"\r\nHello.\r\n.\r\n")


def test_connection_is_free_at_its_own_end(lab, hop):
    """R-SMTP-81: a next hop that has answered the final dot serves the next message, while this one waits
    for others."""
    quick, late = hop(), hop(replies=when_told("250 2.0.0 taken"))
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"},
                             "limits": {"next_hop_connections": "1"}})
    with Danelaw(lab, changes) as d, Smtp(d.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        for h in (quick, late):
            c("RCPT TO:<free@%s>" % h.domain, 250)
        c("DATA", 354)
        c.raw(stuff(message("free")))
        wait(lambda: had(quick.mx, "free"), 5, d.tail())
        assert retry(d, ["next@" + quick.domain], message("next")).code == 250
        assert not had(late.mx, "free")
        late.mx.replies["."].is_told.set()
        c.reply(250)
    assert len(quick.mx.connections) == 1


# ---- the client leaves (R-SMTP-70), and comes back ----

def reset(c):
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def leave_after_dot(danelaw, recipients, text, mxs, how=reset, server=None):
    """Once all of these next hops have the message; they answer when danelaw knows of it (when_told)."""
    with Smtp(server or danelaw.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        for r in recipients:
            c("RCPT TO:<%s>" % r, 250)
        c("DATA", 354)
        c.raw(stuff(text))
        wait(lambda: all(map(has_data, mxs)), 5, "the next hops have it")
        how(c)
    session = re.findall(r"session=(\S+) < RCPT TO:<%s>" % re.escape(recipients[0]), danelaw.log)[-1]
    if how is reset:
        wait(lambda: "session=%s closed: " % session in danelaw.log, 5, "danelaw knows\n" + danelaw.tail())
    for mx in mxs:
        mx.replies["."].is_told.set()


def when_told(reply):
    """To the final dot, once mx.replies["."].is_told."""
    def answer(c, text):
        answer.is_told.wait(10)
        return reply
    answer.is_told = threading.Event()
    return {".": answer}


def slow(reply):
    """To the final dot."""
    def answer(c, text):
        c.stall(1)
        return reply
    return {".": answer}


def duplicates(danelaw, user):
    lines = [fields(x) for x in danelaw.log.splitlines() if " duplicate session=" in x]
    return [x["to"].strip("<>") for x in lines if x["to"].startswith("<%s@" % user)]


def retry(danelaw, recipients, text):
    with Smtp(danelaw.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        for r in recipients:
            c("RCPT TO:<%s>" % r, 250)
        return c.data(text)


def test_client_gone_is_remembered(danelaw, hop):
    """R-SMTP-64, -70: what was accepted without its client hearing of it is not delivered twice."""
    mx = hop(replies=when_told("250 2.0.0 taken"))
    to, text = ["gone@" + mx.domain], message("gone")
    leave_after_dot(danelaw, to, text, [mx.mx])
    wait(lambda: danelaw.deliveries(to="<%s>" % to[0], status="sent"), 5, danelaw.tail())
    assert retry(danelaw, to, text).startswith("250 2.0.0 duplicate: ")
    assert duplicates(danelaw, "gone") == to and len(mx.mx.messages) == 1
    assert retry(danelaw, to, message("gone", "Something else.")).code == 250
    assert len(mx.mx.messages) == 2 and duplicates(danelaw, "gone") == to


def test_client_gone_in_a_mix(danelaw, hop):
    """R-SMTP-70: nothing is kept for a client that did not hear; its retry goes where it is missing."""
    good, late = hop(replies=when_told("250 2.0.0 taken")), hop(replies=when_told("451 4.3.0 later"))
    to, text = ["mixed@" + good.domain, "mixed@" + late.domain], message("mixed")
    leave_after_dot(danelaw, to, text, [good.mx, late.mx])
    wait(lambda: danelaw.deliveries(to="<%s>" % to[1], status="deferred"), 5, danelaw.tail())
    assert not spooled(danelaw, "mixed")
    late.mx.replies.clear()
    assert retry(danelaw, to, text).code == 250
    assert len(good.mx.messages) == len(late.mx.messages) == 1
    assert duplicates(danelaw, "mixed") == to[:1] and not spooled(danelaw, "mixed")


def test_killed_between_acceptances(lab, hop):
    """R-SMTP-64: who had answered when danelaw was killed is not served again by the client's retry;
    and once it was told, the like of the message is mail again."""
    def stays_silent(c, text):
        c.stall(8)
        raise Gone("as told")
    good, silent = hop(), hop(replies={".": stays_silent})
    to, text = ["killed@" + good.domain, "killed@" + silent.domain], message("killed")
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.11:2525"}})
    with Danelaw(lab, changes) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<%s>" % SENDER, 250)
            for r in to:
                c("RCPT TO:<%s>" % r, 250)
            c("DATA", 354)
            c.raw(stuff(text))
            wait(lambda: re.search(r"mx1\.%s\[.*?\]:25: final dot -> " % good.domain, d.log), 5, d.tail())
            time.sleep(1.5)  # what it answered is written down
            d.child.kill()
            d.child.wait()
        d.start()
        silent.mx.replies.clear()
        assert retry(d, to, text).code == 250
        assert len(good.mx.messages) == len(silent.mx.messages) == 1
        assert duplicates(d, "killed") == to[:1]
        assert retry(d, to, text).code == 250
        assert len(good.mx.messages) == len(silent.mx.messages) == 2


def test_client_closed_in_a_mix(danelaw, hop):
    """R-SMTP-71: one that has closed its side may still listen, so all goes on; or it may not, so
    nobody is served twice if it comes again, nor whom danelaw has taken over."""
    good, late = hop(replies=when_told("250 2.0.0 taken")), hop(replies=when_told("451 4.3.0 later"))
    to, text = ["closed@" + good.domain, "closed@" + late.domain], message("closed")
    leave_after_dot(danelaw, to, text, [good.mx, late.mx], Smtp.close)
    wait(lambda: spooled(danelaw, "closed") == {to[1]: "retry"}, 5, danelaw.tail())
    await_end(danelaw, "closed")
    late.mx.replies.clear()
    assert retry(danelaw, to, text).code == 250
    assert len(good.mx.messages) == 1 and not late.mx.messages
    assert sorted(duplicates(danelaw, "closed")) == sorted(to)


def test_no_message_id_no_duplicate(danelaw, hop):
    """In doubt it is delivered: two alarms may be alike."""
    mx = hop(replies=when_told("250 2.0.0 taken"))
    to, text = ["alarm@" + mx.domain], b"Subject: the disk is full\r\n\r\nAgain.\r\n"
    leave_after_dot(danelaw, to, text, [mx.mx])
    wait(lambda: danelaw.deliveries(to="<%s>" % to[0], status="sent"), 5, danelaw.tail())
    assert retry(danelaw, to, text).code == 250
    assert len(mx.mx.messages) == 2 and not duplicates(danelaw, "alarm")


def pipe(server, to, text):
    """As `... | nc -N`: all at once, the sending side closed, the replies read to the end."""
    with Smtp(server, ehlo=None) as c:
        c.reply(220)
        c.raw(b"EHLO client.lab\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\n" % (SENDER.encode(), to.encode()))
        for _ in range(3):
            c.reply(250)
        c("DATA", 354)
        c.raw(stuff(text) + b"QUIT\r\n")
        c.sock.shutdown(socket.SHUT_WR)
        final = c.reply()
        c.reply(221)
        assert c.is_closed()
        return final


def test_half_closed_client_is_alive(danelaw, hop):
    """R-SMTP-71: who hears its 250 and sends the same again means it."""
    mx = hop(replies=slow("250 2.0.0 taken"))
    to, text = "daily@" + mx.domain, message("daily")
    assert [pipe(danelaw.server, to, text).code for _ in range(3)] == [250] * 3
    assert len(mx.mx.messages) == 3 and not duplicates(danelaw, "daily")


def test_duplicate_that_was_told_is_forgotten(danelaw, hop):
    """R-SMTP-64: one retry is what the guard is for; the daily alarm after it is mail."""
    mx = hop(replies=when_told("250 2.0.0 taken"))
    to, text = ["once@" + mx.domain], message("once")
    leave_after_dot(danelaw, to, text, [mx.mx])
    wait(lambda: danelaw.deliveries(to="<%s>" % to[0], status="sent"), 5, danelaw.tail())
    assert retry(danelaw, to, text).startswith("250 2.0.0 duplicate: ")
    assert not retry(danelaw, to, text).startswith("250 2.0.0 duplicate: ")
    assert len(mx.mx.messages) == 2 and duplicates(danelaw, "once") == to


# ---- LMTP (RFC 2033) ----

@pytest.fixture(scope="module")
def lmtp(lab):
    with Danelaw(lab, dict(SHORT, **{"listener smarthost": {
            "listen": "127.0.0.8:2524", "protocol": "lmtp"}})) as d:
        yield d


def lhlo(d):
    c = Smtp(d.server, ehlo=None)
    assert c.reply(220).endswith(" LMTP")
    c("LHLO client.lab", 250)
    return c


def test_lmtp_replies(lmtp, receivers):
    """R-SMTP-62: one reply for each recipient that was told 250, in order; nothing is kept."""
    case = Case("lmtp", ["dot-no", "rcpt-no", "dot-yes", "dot-later", "dot-lost", "body-lost", "dot-yes"])
    with lhlo(lmtp) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        codes = [c("RCPT TO:<%s>" % r).code for r in case.recipients]
        assert codes == [250, 550, 250, 250, 250, 250, 250]
        c("DATA", 354)
        time.sleep(0.3)
        c.raw(stuff(message("lmtp")))
        assert [c.reply().code for _ in range(6)] == [554, 250, 452, 451, 451, 250]
        c("MAIL FROM:<%s>" % SENDER, 250)  # the session is in step
        c("RCPT TO:<%s>" % case.recipients[2], 250)
        assert c.data(message("lmtp2")).code == 250
    assert had(receivers["dot-yes"], "lmtp") and not spooled(lmtp, "lmtp")
    assert b"\r\n\tby danelaw.lab (danelaw) with LMTP id " in receivers["dot-yes"].messages[-1].data


def test_lmtp_many_replies(lmtp, hop):
    """R-SMTP-76: more replies than there is room for at once, to a client that reads late."""
    mx = hop(replies={".": "250 2.0.0 " + "x" * 400})
    with lhlo(lmtp) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c.raw(b"".join(b"RCPT TO:<u%d@%s>\r\n" % (n, mx.domain.encode()) for n in range(900)))
        assert {c.reply().code for _ in range(900)} == {250}
        c("DATA", 354)
        c.raw(stuff(message("many")) + b"NOOP\r\n")
        time.sleep(1)
        assert {c.reply().code for _ in range(900)} == {250}
        assert "still here" in c.reply(250)


def test_lmtp_is_not_smtp(lmtp, danelaw):
    """RFC 2033 4.1, 4.2: greetings are exclusive; DATA without a recipient is 503."""
    with lhlo(lmtp) as c:
        c("EHLO client.lab", 500)
        c("HELO client.lab", 500)
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<x@rcpt-no-1.fan.lab>", 550)
        c("DATA", 503)
    with lhlo(lmtp) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<x@data-no-1.fan.lab>", 250)
        c("RCPT TO:<x@data-later-1.fan.lab>", 250)
        c("DATA", 451)  # one reply where nobody takes it
        c("NOOP", 250)
    with Smtp(danelaw.server) as c:
        c("LHLO client.lab", 500)
        assert not any("RCPTDOMAINMAX" in x for x in c.extensions)


# ---- delivery = queue ----

@pytest.fixture(scope="module")
def queueing(lab):
    with Danelaw(lab, dict(SHORT, **{"listener smarthost": {
            "listen": "127.0.0.9:2525", "delivery": "queue"}})) as d:
        yield d


def test_queue(queueing, receivers, hop):
    """Refused for good at once, everything else is taken; nothing is streamed while the client waits."""
    silent = hop(replies={"RCPT": stalls})
    case = Case("queue", ["rcpt-no", "rcpt-later", "dot-yes"])
    with Smtp(queueing.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        assert [c("RCPT TO:<%s>" % r).code for r in case.recipients] == [550, 250, 250]
        c("RCPT TO:<queue@no-such.fan.lab>", 550)
        started = time.monotonic()
        c("RCPT TO:<queue@%s>" % silent.domain, 250)
        assert time.monotonic() - started < 15
        assert re.match(r"250 2\.0\.0 queued as \S+$", c.data(message("queue")))
    assert spooled(queueing, "queue") == {r: "retry" for r in [
        *case.recipients[1:], "queue@" + silent.domain]}


def test_queue_knows_duplicates(queueing, hop):
    """R-SMTP-64: what was queued for a client that had left is not queued twice."""
    late = hop(replies={"RCPT": "450 4.2.0 later"})
    to, text = ["queued@" + late.domain], message("queued")
    with Smtp(queueing.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<%s>" % to[0], 250)
        c("DATA", 354)
        c.raw(stuff(text))
        c.close()
    wait(lambda: spooled(queueing, "queued") == {to[0]: "retry"}, 5, queueing.tail())
    await_end(queueing, "queued")
    assert retry(queueing, to, text).startswith("250 2.0.0 duplicate: ")
    assert duplicates(queueing, "queued") == to


# ---- LMTP from Postfix ----

class LmtpPostfix(Postfix):
    port = 2521

    def __init__(self, folder):
        super().__init__(folder)
        self.settings += ("myhostname = sender.lab\ninet_interfaces = 127.0.0.1\n"
                          "default_transport = lmtp:inet:[127.0.0.8]:2524\n")
        self.services += "127.0.0.1:%d inet n - n - - smtpd\nlmtp unix - - n - - lmtp\n" % self.port


def test_lmtp_from_postfix(lab, lmtp, receivers):
    """R-SMTP-62: Postfix logs each recipient's own result."""
    sender = LmtpPostfix(lab.new_folder("postfix-lmtp"))
    sender.start()
    try:
        case = Case("pflmtp", ["dot-yes", "dot-later", "dot-no", "rcpt-no"])
        with Smtp(("127.0.0.1", sender.port)) as c:
            c("MAIL FROM:<%s>" % SENDER, 250)
            for r in case.recipients:
                c("RCPT TO:<%s>" % r, 250)
            c.data(message("pflmtp"), 250)
        wanted = dict(zip(case.recipients, ("sent", "deferred", "bounced", "bounced")))
        for r, status in wanted.items():
            wait(lambda: re.search("to=<%s>.* status=%s " % (re.escape(r), status), sender.maillog),
                 5, r + "\n" + sender.maillog)
    finally:
        sender.stop()
    assert had(receivers["dot-yes"], "pflmtp") == case.recipients[:1]


# ---- a disk that is full ----

@pytest.fixture
def full(lab):
    """danelaw with a small disk for its state, and fill(), which leaves nothing free on it."""
    state = lab.new_folder("small")
    os.makedirs(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24M,mode=777", "tmpfs", state], check=True)

    def fill(name="ballast"):
        with open("%s/%s" % (state, name), "wb", buffering=0) as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * 4096)
    changes = dict(SHORT, **{"listener smarthost": {"listen": "127.0.0.10:2525"},
                             "server": {"state_dir": state}})
    with Danelaw(lab, changes) as d:
        d.fill, d.state = fill, state
        yield d
    subprocess.run(["umount", "-l", state], check=True)  # its disk process may still be ending


def test_full_before(full, hop):
    """One destination needs no disk; a second one is refused before anything is promised."""
    one, two = hop(), hop()
    full.fill()
    wait(lambda: "alarm what=disk state=on" in full.log, 8, "danelaw has looked\n" + full.tail())
    with Smtp(full.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<full@%s>" % one.domain, 250)
        assert c("RCPT TO:<full@%s>" % two.domain, 452).startswith("452 4.3.1 spool-failed")
        c.data(message("full"), 250)
    assert had(one.mx, "full") == ["full@" + one.domain] and not two.mx.messages


def test_full_in_the_body(full, hop):
    """R-SMTP-65: what cannot be written gets no final dot anywhere."""
    one, two = hop(), hop()
    with Smtp(full.server) as c:
        c("MAIL FROM:<%s>" % SENDER, 250)
        c("RCPT TO:<body@%s>" % one.domain, 250)
        c("RCPT TO:<body@%s>" % two.domain, 250)
        c("DATA", 354)
        full.fill()
        c.raw(stuff(message("body", *["x" * 900] * 4000)))
        assert c.reply(452).startswith("452 4.3.1 spool-failed")
    assert not has_dot(one.mx) and not has_dot(two.mx)
    assert not spooled(full, "body")


def test_full_after_an_acceptance(full, hop):
    """What was accepted before the rest could not be kept is not delivered again."""
    def accept(c, text):
        full.fill()
        return "250 2.0.0 taken"
    good = hop(replies={".": accept})
    late = hop(replies=slow("451 4.3.0 later"))
    to, text = ["after@" + good.domain, "after@" + late.domain], message("after")
    assert retry(full, to, text).startswith("452 4.3.1 spool-failed")
    wait(lambda: "alarm what=disk state=on" in full.log, 8, "danelaw has looked\n" + full.tail())
    os.unlink(full.state + "/ballast")
    wait(lambda: "alarm what=disk state=off" in full.log, 8, "it has looked again\n" + full.tail())
    late.mx.replies.clear()
    assert retry(full, to, text).code == 250
    assert len(good.mx.messages) == len(late.mx.messages) == 1
    assert duplicates(full, "after") == to[:1]
