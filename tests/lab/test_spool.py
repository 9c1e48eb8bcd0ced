"""What danelaw answers for itself: tried again, given up, and told to the sender.

Messages come in through a listener with delivery = queue. Notices go where any mail goes: to the MX
of the sender's domain, by danelaw, and are read by Python and by a bounce parser of the
distribution."""
import email
import email.policy
import itertools
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from certs import tlsa
from nexthop import has_data
from program import Danelaw, fields
from smtp import MESSAGE, Smtp, stuff
from switches import Switches
from world import STALE
from zones import wait

PORTS = itertools.count(2560)
HOUR, DAY = 3600, 86400
IMPATIENT = [x for name in ("timeouts.rcpt", "timeouts.connect", "timeouts.greeting",
                            "timeouts.handshake", "timeouts.command", "dns.total", "dns.timeout",
                            "mta-sts.fetch_timeout")
             for x in ("-o", name + "=2s")]
SENDER = "writer@back.lab"
PARSER = """
use Mail::DeliveryStatus::BounceParser;
my $b = Mail::DeliveryStatus::BounceParser->new(join '', <STDIN>);
print $b->is_bounce ? "bounce\\n" : "no bounce\\n";
print join(" ", $_->get("email"), $_->get("std_reason")), "\\n" for $b->reports;
"""


def dot_first(*replies):
    left = list(replies)
    return lambda c, text: left.pop(0) if left else "250 2.0.0 taken"


def lose_first_after_dot():
    lost = []

    def final(c, text):
        if lost:
            return "250 2.0.0 taken"
        lost.append(c)
        c.close()
        raise OSError("lost after the dot")
    return final


def declare(lab):
    lab.domain("back.lab", "3 1 1", fake={})
    lab.domain("later.lab", "3 1 1", fake={"replies": {".": dot_first("451 4.3.0 not now")}})
    lab.domain("some.lab", "3 1 1", fake={"replies": {"RCPT": rcpt_of_some()}})
    lab.domain("mended.lab", STALE, fake={}, ttl=1)
    lab.domain("stale-for-ever.lab", STALE, fake={}, ttl=1)
    lab.domain("lost.lab", "3 1 1", fake={"replies": {".": lose_first_after_dot()}})
    lab.domain("no-notices.lab", "3 1 1", fake={"replies": {"MAIL": refuse_notices}})
    lab.domain("slow-dot.lab", "3 1 1", fake={"replies": {".": slow_dot}})
    lab.domain("seven.spool.lab", "3 1 1",
               fake={"ehlo": ("PIPELINING", "ENHANCEDSTATUSCODES")})
    lab.domain("clock.lab", "3 1 1", fake={"replies": {".": dot_first("451 4.3.0 not now")}})
    lab.domain("step.lab", "3 1 1", fake={"replies": {".": dot_first(*["451 4.3.0 not now"] * 2)}})
    lab.domain("twice.lab", "3 1 1", fake={"replies": {".": dot_first(*["451 4.3.0 not now"] * 2)}})
    lab.domain("narrow.lab", "3 1 1", fake={"ehlo": ("PIPELINING", "SIZE 20000", "8BITMIME")})
    lab.domain("slow-one.lab", "3 1 1", fake={"replies": {".": refuse_first_time(very_slow_dot)}})
    lab.domain("still.lab", "3 1 1", fake={"replies": {".": dot_first("451 4.3.0 not now")}})
    lab.domain("killed.lab", "3 1 1", fake={"replies": {".": dot_first("451 4.3.0 not now")}})
    lab.domain("unread.lab", "3 1 1", fake={"replies": {".": refuse_first_time()}})
    lab.domain("unmounted.lab", "3 1 1", fake={"replies": {".": dot_first(*["451 4.3.0 not now"] * 4)}})
    lab.domain("turns.lab", "3 1 1", fake={"replies": {".": slow_dot}})
    lab.domain("crowd.lab", "3 1 1", fake={"replies": {".": slow_dot_in_company()}})


def rcpt_of_some():
    """Later, when the client is told and at the first try."""
    left = ["450 4.2.0 later"] * 2
    return lambda c, line: left.pop() if "later" in line and left else None


def refuse_first_time(then=lambda c, text: "250 2.0.0 taken"):
    known = set()

    def final(c, text):
        if bytes(text) in known:
            return then(c, text)
        known.add(bytes(text))
        return "451 4.3.0 not now"
    return final


def refuse_notices(c, line):
    return "550 5.7.1 no notices" if "<>" in line else None


def slow_dot(c, text):
    c.stall(1)
    return "250 2.0.0 taken"


def slow_dot_in_company():
    """The first message waits for a second one beside it."""
    here, are_two = [], threading.Event()

    def final(c, text):
        here.append(c)
        if len(here) == 2:
            are_two.set()
        are_two.wait(8)
        c.stall(1)
        here.remove(c)
        return "250 2.0.0 taken"
    return final


def very_slow_dot(c, text):
    c.stall(3)
    return "250 2.0.0 taken"


@pytest.fixture(scope="module")
def switches(lab):
    folder = lab.new_folder("switches")
    os.makedirs(folder)
    return Switches(folder)


class Queue(Danelaw):
    """A danelaw that queues, with a spool of its own."""

    def __init__(self, lab, spool=None, delivery="queue", limits=None, **how):
        state = lab.new_folder("spool-state")
        super().__init__(lab, {
            "server": {"state_dir": state},
            "listener smarthost": {"listen": "127.0.0.1:%d" % next(PORTS), "delivery": delivery},
            "spool": {"retry": "1s", **(spool or {})}, "limits": limits or {}}, **how)
        self.state = state

    def put(self, recipients, message=MESSAGE, sender=SENDER, mail=""):
        """The reply that took the message, which must be 250."""
        with Smtp(self.server) as c:
            c("MAIL FROM:<%s>%s" % (sender, mail), 250)
            for r in [recipients] if isinstance(recipients, str) else recipients:
                c("RCPT TO:<%s>" % r.split()[0] + r[len(r.split()[0]):], 250)
            return c.data(message, 250)

    def events(self, event, **wanted):
        lines = [fields(x) for x in self.log.splitlines() if " %s session=" % event in x]
        return [x for x in lines if all(x.get(k) == v for k, v in wanted.items())]

    def tries(self, to, count=0):
        """The lines about its tries, once there are so many: the next hop knows of each before the log."""
        def found():
            return [d for d in self.deliveries() if "<%s>" % to in d.get("to", "") and "tries" in d]
        wait(lambda: len(found()) >= count, 9, "%d tries for %s\n%s" % (count, to, self.tail()))
        return found()

    def sent(self, to):
        """The line about the try with which it went out."""
        return wait(lambda: [t for t in self.tries(to) if t["status"] == "sent"], 9, self.tail())[-1]


@pytest.fixture(scope="module")
def queue(lab):
    with Queue(lab) as d:
        yield d


# ---- reading notices ----

class Notice:
    def __init__(self, data):
        self.data = data
        self.mail = email.message_from_bytes(data, policy=email.policy.SMTP)
        assert self.mail.defects == [] and self.mail.is_multipart()
        parts = list(self.mail.iter_parts())
        self.text = parts[0].get_content()
        report = parts[1].get_payload()  # a list of header blocks (RFC 3464)
        self.about, self.recipients = report[0], report[1:]
        self.headers = parts[2].get_payload(decode=True) if len(parts) > 2 else None
        self.parts = parts

    def parsed_by_perl(self):
        done = subprocess.run(["perl", "-e", PARSER], input=self.data.replace(b"\r\n", b"\n"),
                              stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().splitlines()


def notices(lab, about, count=1, domain="back.lab"):
    """Those that the sender's MX has about a recipient."""
    def found():
        return [m for m in lab[domain].receiver.messages if about.encode() in m.data]
    wait(lambda: len(found()) >= count, 8, "a notice about " + about)
    return [Notice(m.data) for m in found()]


def received(lab, name, text=b""):
    return [m for m in lab[name].receiver.messages if text in m.data]


# ---- trying again ----

def test_again_and_together(lab, queue):
    """R-SMTP-65: refused for now, tried again; the recipients of a domain go in one transaction."""
    to = ["%s@later.lab" % x for x in "abc"]
    queue.put(to)
    wait(lambda: received(lab, "later.lab"), 8, "the second try")
    assert [m.recipients for m in received(lab, "later.lab")] == [to]
    tries = queue.tries(to[0], 2)
    assert [t["status"] for t in tries] == ["deferred", "sent"]
    assert [t["tries"] for t in tries] == ["1", "2"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[0-9:]{8}Z", tries[0]["next_try"])
    assert "next_try" not in tries[1]
    keys = re.findall(r" (\w+)=", [x for x in queue.log.splitlines() if "tries=2" in x][0])
    assert keys[-2:] == ["reply", "tries"] and keys[:3] == ["session", "client", "from"]


def test_record_is_mended(lab, queue):
    """R-SMTP-65: every try takes its decisions anew: mended in DNS, it goes out."""
    queue.put("a@mended.lab")
    assert queue.tries("a@mended.lab", 1)[0]["reason"] == "dane-mismatch"
    d = lab["mended.lab"]
    lab.dns.change("mended.lab", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n"
                   % (d.receiver.address, tlsa(d.cert)))
    wait(lambda: received(lab, "mended.lab"), 8, "delivery after the record was mended")
    assert queue.sent("a@mended.lab")["tls"] == "verified"
    assert b"MAIL" not in bytes(d.receiver.clear).upper()


def test_lost_after_the_dot(lab, queue):
    """R-SMTP-68: nobody knows whether it arrived: tried again, and the log says what that means."""
    queue.put("a@lost.lab")
    wait(lambda: received(lab, "lost.lab"), 8, "the second try")
    tries = queue.tries("a@lost.lab", 2)
    assert [t["status"] for t in tries] == ["unknown", "sent"]
    assert "duplicate" in tries[0]["reply"]


def test_first_try_counts(lab):
    """R-SMTP-65: the try while the client waited was the first one, and the next wait is longer."""
    with Queue(lab, {"retry": "1s 3s"}, delivery=None) as d:
        d.put(["first-try@back.lab", "first-try@twice.lab"])
        wait(lambda: received(lab, "twice.lab"), 9, "the third try")
        tries = d.tries("first-try@twice.lab", 2)
    assert [t["tries"] for t in tries] == ["2", "3"]


def test_size_is_what_was_declared(lab, queue):
    """R-SMTP-17: stuffed dots are none of the message's octets."""
    message = b"Subject: dots\r\n\r\n" + b".\r\n" * 6000
    queue.put("dots@narrow.lab", message, mail=" SIZE=%d" % len(message))
    assert queue.tries("dots@narrow.lab", 1)[0]["status"] == "sent"
    assert received(lab, "narrow.lab")[0].data.endswith(message)


def test_each_recipient_its_own_fate(lab, queue):
    """One is taken, one is not yet: the next try is for the rest alone."""
    queue.put(["good@some.lab", "later@some.lab"])
    wait(lambda: len(received(lab, "some.lab")) == 2, 8, "the second try")
    assert [m.recipients for m in received(lab, "some.lab")] == \
        [["good@some.lab"], ["later@some.lab"]]


def test_not_many_at_once(lab, queue):
    """At most four deliveries to one domain at a time, and all of them get through."""
    receiver = lab["crowd.lab"].receiver
    for n in range(9):
        queue.put("n%d@crowd.lab" % n)
    most = 0

    def all_there():
        nonlocal most
        busy = sum(c.log[-1].startswith("C  ") for c in receiver.connections if c.log)
        most = max(most, busy)
        return len(receiver.messages) == 9
    wait(all_there, 9, "nine messages")
    assert 2 <= most <= 4


def test_busy_is_no_try(lab, switches):
    """R-NET-13, R-SMTP-65: where a next hop's connections stay busy for too long, no try is
    counted."""
    switches.set()
    to = ["slot%d@slow-one.lab" % n for n in range(3)]
    with Queue(lab, {"retry": "30s"}, limits={"next_hop_connections": "1", "connection_idle": "0s"},
               options=IMPATIENT, env=switches.env) as d:
        for recipient in to:
            d.put(recipient)
            d.tries(recipient, 1)

        def busy():
            return [t for r in to for t in d.tries(r) if t["reason"] == "busy"]
        for n in (1, 2, 3):
            switches.set(wall=60 * n)
            wait(lambda: has_data(lab["slow-one.lab"].receiver), 9, "a try that finds a connection")
            if n == 1:
                wait(lambda: len(busy()) == 2, 9, "two that find none")
                assert {t["tries"] for t in busy()} == {"1"} and all("next_try" in t for t in busy())
            wait(lambda: len(received(lab, "slow-one.lab")) == n, 9, "one more")
        wait(lambda: [d.tries(r)[-1]["tries"] for r in to] == ["2"] * 3, 5, "their lines in the log")
    assert sorted(m.recipients[0] for m in received(lab, "slow-one.lab")) == to
    assert not d.events("bounce")
    switches.set()


def test_waits_its_turn(lab):
    """R-NET-13: deliveries of the spool to one next hop wait for its connections, in turn."""
    to = ["turn%d@turns.lab" % n for n in range(3)]
    with Queue(lab, {"retry": "30s"}, limits={"next_hop_connections": "1"}) as d:
        for recipient in to:
            d.put(recipient)
        wait(lambda: len(received(lab, "turns.lab")) == 3, 9, "three messages")
        assert [[t["status"] for t in d.tries(r, 1)] for r in to] == [["sent"]] * 3
        assert [d.tries(r)[0]["tries"] for r in to] == ["1"] * 3
    assert len(lab["turns.lab"].receiver.connections) == 1


# ---- giving up ----

def test_bounce(lab, queue):
    """R-SMTP-65: refused for good at the final dot's domain; the sender hears of it, once."""
    queue.put("nobody@seven.spool.lab", b"Subject: caf\xc3\xa9\r\n\r\nZw\xc3\xb6lf.\r\n")
    [n] = notices(lab, "nobody@seven.spool.lab")
    [m] = received(lab, "back.lab", b"nobody@seven.spool.lab")
    assert m.sender == "" and m.recipients == [SENDER] and m.is_tls
    assert n.mail.get_content_type() == "multipart/report"
    assert n.mail.get_param("report-type") == "delivery-status"
    assert n.mail["Auto-Submitted"] == "auto-replied" and n.mail["MIME-Version"] == "1.0"
    assert n.mail["To"] == "<%s>" % SENDER or n.mail["To"] == SENDER
    assert "postmaster@danelaw.lab" in n.mail["From"]
    assert n.about["Reporting-MTA"] == "dns; danelaw.lab" and n.about["Arrival-Date"]
    [r] = n.recipients
    assert r["Final-Recipient"] == "rfc822; nobody@seven.spool.lab"
    assert (r["Action"], r["Status"]) == ("failed", "5.6.3")
    assert r["Diagnostic-Code"].startswith("X-danelaw; 554 5.6.3 no-8bitmime")
    assert r["Remote-MTA"] == "dns; mx.seven.spool.lab"
    assert "no-8bitmime:" in n.text and "Content-Type: text/rfc822-headers" in n.data.decode()
    assert b"Subject: caf\xc3\xa9" in n.headers and b"Zw" not in n.headers
    assert all(b < 128 for b in n.data)
    assert n.parsed_by_perl()[:2][0] == "bounce"
    assert "nobody@seven.spool.lab" in n.parsed_by_perl()[1]
    wait(lambda: queue.events("bounce", to="<nobody@seven.spool.lab>"), 5, "the line about it")


def test_expired(lab):
    """R-SMTP-65: older than its lifetime, it is given back, with what was wrong and who can mend
    it."""
    with Queue(lab, {"lifetime": "2s", "bounce_from": "desk@danelaw.lab"}) as d:
        d.put(["old@stale-for-ever.lab", "older@stale-for-ever.lab"])
        [n] = notices(lab, "old@stale-for-ever.lab")
        d.put("last@stale-for-ever.lab", sender="")
        wait(lambda: d.events("dropped"), 8, "the null sender's message is dropped")
    assert "desk@danelaw.lab" in n.mail["From"]
    assert [(r["Action"], r["Status"]) for r in n.recipients] == [("failed", "5.4.7")] * 2
    assert all("dane-mismatch" in r["Diagnostic-Code"] for r in n.recipients)
    assert "(DANE, a TLSA record)" in " ".join(n.text.split())
    assert n.parsed_by_perl()[0] == "bounce" and len(n.parsed_by_perl()) == 3
    assert len(d.events("expired")) == 3
    assert int(d.tries("old@stale-for-ever.lab")[-1]["tries"]) >= 2
    [dropped] = d.events("dropped")
    assert dropped["to"] == "<last@stale-for-ever.lab>" and "null sender" in dropped["why"]
    assert not received(lab, "back.lab", b"last@stale-for-ever.lab")
    assert not received(lab, "stale-for-ever.lab")


def test_late_then_given_up(lab, switches):
    """After 4 hours the sender hears that it is late, once; after its lifetime that it is over, but
    not before it was tried as often as a lifetime has room for."""
    switches.set()
    with Queue(lab, {"retry": "2h", "lifetime": "5h"}, env=switches.env) as d:
        d.put("slow@stale-for-ever.lab")
        d.tries("slow@stale-for-ever.lab", 1)
        switches.set(wall=4 * HOUR + 60)
        [n] = notices(lab, "slow@stale-for-ever.lab")
        assert (n.recipients[0]["Action"], n.recipients[0]["Status"]) == ("delayed", "4.7.5")
        assert n.recipients[0]["Will-Retry-Until"]
        before = len(d.tries("slow@stale-for-ever.lab"))
        switches.set(wall=8 * HOUR)
        wait(lambda: len(d.tries("slow@stale-for-ever.lab")) > before, 8, "one more try")
        time.sleep(0.5)
        assert len(notices(lab, "slow@stale-for-ever.lab")) == 1 and not d.events("expired")
        switches.set(wall=12 * HOUR)
        last = notices(lab, "slow@stale-for-ever.lab", 2)[-1]
        assert (last.recipients[0]["Action"], last.recipients[0]["Status"]) == ("failed", "5.4.7")
        switches.set()


def test_fifty_in_one_notice(lab):
    """Recipients that fail together share a notice."""
    to = ["u%d@stale-for-ever.lab" % n for n in range(50)]
    with Queue(lab, {"lifetime": "1s"}) as d:
        d.put(to)
        [n] = notices(lab, "u49@stale-for-ever.lab")
    assert len(n.recipients) == 50
    assert [r["Final-Recipient"] for r in n.recipients] == ["rfc822; " + t for t in to]
    assert n.text.count("dane-mismatch:") == 2  # what was said, what it means


def test_bounce_of_a_bounce(lab, queue):
    """Loop-safe: a notice that fails ends in the log."""
    queue.put("x@seven.spool.lab", b"Subject: x\r\n\r\n\xe9\r\n", sender="w@no-notices.lab")
    wait(lambda: queue.events("dropped", to="<w@no-notices.lab>"), 8, "the notice is dropped")
    [dropped] = queue.events("dropped", to="<w@no-notices.lab>")
    assert dropped["from"] == "<>" and "notice itself" in dropped["why"]


@pytest.mark.parametrize("notify, told", [("NEVER", False), ("SUCCESS", False),
                                          ("FAILURE", True), ("DELAY,FAILURE", True)])
def test_notify(lab, queue, notify, told):
    """R-SMTP-53: who did not ask for a notice gets none."""
    to = "%s@seven.spool.lab" % notify.lower().replace(",", "-")
    queue.put(to + " NOTIFY=%s ORCPT=rfc822;first@old.lab" % notify,
              b"Subject: x\r\n\r\n\xe9\r\n", mail=" ENVID=id+2B7")
    if told:
        [n] = notices(lab, to)
        assert n.about["Original-Envelope-Id"] == "id+7"
        assert n.recipients[0]["Original-Recipient"] == "rfc822; first@old.lab"
    else:
        wait(lambda: queue.events("dropped", to="<%s>" % to), 5, "the line about it")
        assert not received(lab, "back.lab", to.encode())


def test_relayed(lab, queue):
    """R-SMTP-54: the next hop knows no DSN: the notice of success is ours."""
    queue.put("ok@seven.spool.lab NOTIFY=SUCCESS")
    [n] = notices(lab, "ok@seven.spool.lab")
    assert (n.recipients[0]["Action"], n.recipients[0]["Status"]) == ("relayed", "2.1.9")


# ---- disks, clocks, ends ----

def test_killed_and_restarted(lab):
    """Between two tries danelaw dies: the message is still there, and goes out."""
    with Queue(lab, {"retry": "3s"}) as d:
        d.put("a@killed.lab")
        d.tries("a@killed.lab", 1)
        d.child.send_signal(signal.SIGKILL)
        d.child.wait()
        assert not received(lab, "killed.lab")
        d.start()
        wait(lambda: received(lab, "killed.lab"), 9, "delivery after the restart")
    assert len(received(lab, "killed.lab")) == 1


def test_stop_waits_for_the_dot(lab):
    """SIGTERM while a next hop thinks about the final dot: its answer is waited for and stored."""
    with Queue(lab) as d:
        d.put("a@slow-dot.lab")
        wait(lambda: any("C  " in x for c in lab["slow-dot.lab"].receiver.connections
                         for x in c.log), 5, "the final dot")
        d.stop()
        assert d.tries("a@slow-dot.lab")[-1]["status"] == "sent"
        d.start()
        time.sleep(1.5)
    assert len(received(lab, "slow-dot.lab")) == 1


def test_clock_set_back(lab, switches):
    """F-03: what was to be tried again later than any clock will say for long is tried all the
    same."""
    switches.set(wall=10 * DAY)  # the lab's signatures last a month
    with Queue(lab, env=switches.env) as d:
        d.put("a@clock.lab")
        d.tries("a@clock.lab", 1)
        switches.set()
        wait(lambda: received(lab, "clock.lab"), 9, "delivery by the right clock")


def test_clock_set_forward(lab, switches):
    """F-03, R-SMTP-65: a machine that learns the right time gives nothing up for it."""
    switches.set()
    with Queue(lab, {"retry": "10s"}, env=switches.env) as d:
        d.put("a@step.lab")
        d.tries("a@step.lab", 1)
        switches.set(wall=10 * DAY)
        assert d.tries("a@step.lab", 2)[-1]["status"] == "deferred"
        switches.set(wall=10 * DAY + 60)
        wait(lambda: received(lab, "step.lab"), 8, "delivery")
    assert not d.events("expired") and not d.events("bounce")
    switches.set()


def test_slow_disk(lab, switches):
    """An fsync that takes its time holds up nobody's SMTP."""
    switches.set()
    with Queue(lab, env=switches.env) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<%s>" % SENDER, 250)
            c("RCPT TO:<a-slow-disk@back.lab>", 250)
            switches.set(fsync=3000)
            c("DATA", 354)
            start = time.monotonic()
            c.raw(stuff(MESSAGE))
            with Smtp(d.server) as other:
                other("NOOP", 250)
            assert time.monotonic() - start < 2
            time.sleep(1)  # the first fsync has begun, and no other one is slow
            switches.set()
            c.reply(250)
            assert time.monotonic() - start > 2.5, "the disk was not slow"
        d.tries("a-slow-disk@back.lab", 1)
    switches.set()


@pytest.mark.parametrize("octet", [1, 100000], ids=["open", "body"])
def test_disk_gives_errors(lab, switches, octet):
    """F-02, R-SMTP-65: a message that cannot be read now stays, and goes out when it can be, once."""
    name = "unread-%d@unread.lab" % octet
    switches.set()
    with Queue(lab, {"retry": "4s 1s"}, env=switches.env) as d:
        d.put(name, b"Subject: %s\r\n\r\n" % name.encode() + b"long\r\n" * 50000)
        assert d.tries(name, 1)[0]["status"] == "deferred"
        switches.set(unreadable=octet)
        wait(lambda: "Input/output error" in d.log, 8, "an error of the disk")
        time.sleep(0.2)
        assert not received(lab, "unread.lab", name.encode())
        switches.set()
        wait(lambda: received(lab, "unread.lab", name.encode()), 9, "delivery once it can be read")
        time.sleep(0.2)
    assert "damaged" not in d.log
    [m] = received(lab, "unread.lab", name.encode())
    assert len(m.data) > 300000 and d.tries(name)[-1]["status"] == "sent"


def remount_read_only(path):
    """Busy while a process of the killed danelaw still has a file of it open."""
    command = ["mount", "-o", "remount,ro", path]
    wait(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0, 9,
         path + " read-only")


def test_read_only_disk(lab):
    """F-02, R-SMTP-65: where nothing can be written, nothing is taken and nothing is tried; what waits
    goes out once the disk is mended."""
    d = Queue(lab, {"retry": "3s"})
    os.makedirs(d.state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", d.state], check=True)
    try:
        with d:
            d.put("a@still.lab")
            d.tries("a@still.lab", 1)
            tried = time.monotonic()
            d.child.send_signal(signal.SIGKILL)
            d.child.wait()
            remount_read_only(d.state)
            d.start()
            with Smtp(d.server) as c:
                c("MAIL FROM:<%s>" % SENDER, 250)
                c("RCPT TO:<b@still.lab>")
                assert c("DATA").code // 100 in (4, 5)
            time.sleep(max(0.2, tried + 3.2 - time.monotonic()))  # the next try would be due
            assert not received(lab, "still.lab")
            d.stop()
            subprocess.run(["mount", "-o", "remount,rw", d.state], check=True)
            d.start()
            wait(lambda: received(lab, "still.lab"), 9, "delivery")
            time.sleep(0.5)
        assert [m.recipients for m in received(lab, "still.lab")] == [["a@still.lab"]]
        assert not os.path.exists(d.state + "/spool/damaged")
    finally:
        subprocess.run(["umount", "-l", d.state], check=True)


def test_full_disk_keeps_the_notice_owed(lab, switches):
    """F-02: no room for a notice: the failure is kept, and told when there is room again."""
    switches.set()
    d = Queue(lab, {"retry": "3h", "lifetime": "3h"}, env=switches.env)
    state = d.conf and re.search("state_dir = (.*)", open(d.conf).read()).group(1)
    os.makedirs(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", state], check=True)
    try:
        with d:
            d.put("full@stale-for-ever.lab")
            d.tries("full@stale-for-ever.lab", 1)
            with open(state + "/ballast", "wb") as f:
                try:
                    while True:
                        f.write(b"x" * 65536)
                        f.flush()
                except OSError:
                    pass
            switches.set(wall=6 * DAY)
            wait(lambda: "cannot be written into the spool" in d.log, 8, "no room for the notice")
            os.unlink(state + "/ballast")
            switches.set(wall=6 * DAY + 600)
            [n] = notices(lab, "full@stale-for-ever.lab")
            assert n.recipients[0]["Status"] == "5.4.7"
    finally:
        switches.set()
        subprocess.run(["umount", "-l", state], check=True)


def test_unmounted(lab):
    """F-02: a state_dir that is unmounted is no damage: mail is deferred until it is back, and what
    waits there goes out then."""
    disk = lab.new_folder("disk")
    d = Queue(lab)
    os.makedirs(d.state)
    os.chmod(d.state, 0o777)  # so that a new spool could be made below the disk
    os.makedirs(disk)
    mount = ["mount", "--bind", disk, d.state]
    subprocess.run(mount, check=True)
    try:
        with d:
            d.put("a@unmounted.lab")
            d.tries("a@unmounted.lab", 1)
            subprocess.run(["umount", "-l", d.state], check=True)
            wait(lambda: "alarm what=disk state=on" in d.log, 5, "the alarm")
            with Smtp(d.server) as c:
                c("MAIL FROM:<%s>" % SENDER, 250)
                c("RCPT TO:<b@unmounted.lab>")
                assert c("DATA").code // 100 in (4, 5)
            time.sleep(2)
            assert not received(lab, "unmounted.lab") and not os.listdir(d.state)
            subprocess.run(mount, check=True)
            wait(lambda: "alarm what=disk state=off" in d.log, 5, "its end")
            wait(lambda: received(lab, "unmounted.lab"), 9, "delivery")
            d.put("c@unmounted.lab")
            wait(lambda: len(received(lab, "unmounted.lab")) == 2, 5, "a new one")
        assert not os.path.exists(disk + "/spool/damaged") and "damaged" not in d.log
    finally:
        subprocess.run(["umount", "-l", d.state], check=True)
