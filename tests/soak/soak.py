"""soak.py MINUTES: an hour of a hostile world, and the books afterwards. Inside the lab: see run.

Three danelaws take mail of clients that speak to them by fan-out, through a queue and by LMTP. One is
killed -9 again and again, one loses a worker now and then and reads its settings again, one lives
through it all, and must not have grown. At the end every
recipient that was confirmed has the message once, or its sender a notice; a second copy has its
reason: a next hop's reply was lost, which the log says, or danelaw died before it could write down
what it had heard.
"""
import bisect
import collections
import os
import re
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, HERE + "/../lab"]

import chaos  # noqa: E402
from conftest import keep_logs  # noqa: E402
from program import Danelaw  # noqa: E402
from outbox import CONFIRMED, END, OURS, REFUSED, Sender  # noqa: E402
from world import World  # noqa: E402
from zones import wait  # noqa: E402

CLIENTS = 2  # of each listener
BACKLOG = 200  # messages in a spool with which its clients wait: it must be worked off at the end
WARM_UP, QUIET = 0.3, 6  # share of the time; seconds until idle connections are gone
SPOOL_EMPTY = 180  # seconds; libunbound believes for 60 that a zone is bogus (val-bogus-ttl)
DIGESTION = 3.0  # from a next hop's last word to the disk, on a busy machine
LAG = 2.8  # a slow next hop has thought about a message for so long when it looks at its clock
FLAGGED = re.compile(r"outcome-unknown|status=unknown|possible duplicate|closed before|vanished")

SETTINGS = {
    "timeouts": {"rcpt": "6s", "connect": "1s", "greeting": "1s", "handshake": "1s", "command": "1s",
                 "data_start": "1s", "data_block": "1s", "data_end": "2s", "idle_client": "20s"},
    "limits": {"connection_idle": "1s"},
    "spool": {"retry": "300ms 1s"},
    "dns": {"timeout": "1s", "total": "3s"},
    "log": {"level": "info"},
}


class Subject:
    """One danelaw with its clients. The first listener's section is the lab's own."""

    def __init__(self, lab, name, port, stopping, workers=1):
        listeners = (("fanout", "smarthost", {"delivery": "fanout"}),
                     ("queue", "queue", {"delivery": "queue"}),
                     ("lmtp", "lmtp", {"protocol": "lmtp"}))
        changes = {section: dict(keys) for section, keys in SETTINGS.items()}
        changes["server"] = {"state_dir": lab.new_folder("state"), "workers": str(workers)}
        self.senders, self.full = [], threading.Event()
        for i, (mode, section, keys) in enumerate(listeners):
            changes["listener " + section] = {"listen": "127.0.0.1:%d" % (port + i),
                                              "clients": "127.0.0.0/8", **keys}
            self.senders += [Sender("%s%s%d" % (name, mode, n), ("127.0.0.1", port + i), stopping,
                                    self.full, lmtp=mode == "lmtp") for n in range(CLIENTS)]
        self.name, self.state = name, changes["server"]["state_dir"]
        self.danelaw = Danelaw(lab, changes)
        self.killer = None

    def look_at_backlog(self):
        if len(self.spooled()) > BACKLOG:
            self.full.set()
        else:
            self.full.clear()

    def spooled(self):
        folder = self.state + "/spool"
        return [f for f in os.listdir(folder) if re.match(r"[0-9a-f]{14}-[0-9a-f]{12}$", f)]


class Books:
    """What arrived where; taken from the hops as they go, so that an hour of mail needs no memory."""

    def __init__(self, lab):
        self.lab = lab
        self.arrivals = collections.defaultdict(list)
        self.notices = set()
        self.broken = []

    def enter(self):
        for name in chaos.DOMAINS + (chaos.BACK,):
            mx = self.lab[name].receiver
            while mx.messages:
                self.enter_one(name, mx.messages.pop(0))
            mx.connections[:] = [c for c in mx.connections if c.sock.fileno() >= 0]

    def enter_one(self, name, message):
        if name == chaos.BACK:
            text = message.data.decode(errors="replace")
            self.notices.update(re.findall(r"(?mi)^Final-Recipient: rfc822; *(\S+?)\r?$", text))
        elif not message.data.endswith(END):
            self.broken.append(message.data[:300])
        else:
            for to in message.recipients:
                self.arrivals[to].append(message.time)


# ---- the storm ----

def rest(subject, senders):
    """The clients pause and what is idle ends; then what danelaw holds can be compared."""
    for s in senders:
        s.pause.set()
    for s in senders:
        s.paused.wait(20)
    time.sleep(QUIET)
    held = chaos.holdings(subject.danelaw)
    for s in senders:
        s.pause.clear()
    return held


def storm(lab, subjects, books, seconds, stopping):
    steady, mortal, herd = subjects
    end = time.monotonic() + seconds
    lab.storm.set()
    flipper = chaos.Flipper(lab, stopping)
    mortal.killer = chaos.Killer(mortal.danelaw, stopping)
    herd.killer = chaos.Culler(herd.danelaw, stopping)
    threads = [flipper, mortal.killer, herd.killer] + [s for x in subjects for s in x.senders]
    for t in threads:
        t.start()
    warm = None
    while time.monotonic() < end:
        time.sleep(0.5)
        books.enter()
        for s in subjects:
            s.look_at_backlog()
        if not warm and time.monotonic() > end - seconds * (1 - WARM_UP):
            warm = rest(steady, steady.senders)
    stopping.set()
    for t in threads:
        t.join(30)
    lab.storm.clear()
    return flipper, warm


def calm_down(subjects, books):
    """What was confirmed and has not arrived is in the spools; they are worked off."""
    for s in subjects:
        wait(lambda: not s.spooled(), SPOOL_EMPTY, "%s: the spool is worked off" % s.name)
    time.sleep(QUIET)
    books.enter()


# ---- the books ----

def check(name, wrong):
    print("%-62s %s" % (name, "ok" if not wrong else "FAILED: %d, such as %s"
                        % (len(wrong), wrong[:3])), flush=True)
    return not wrong


def addressed(subject):
    return [(to, m) for s in subject.senders for m in s.messages for to in m.fates]


def recipients(subject, fate):
    return [to for to, m in addressed(subject) if m.fates[to] == fate]


def missing(subject, books):
    return [to for to in recipients(subject, CONFIRMED)
            if to not in books.arrivals and to not in books.notices]


def second_copies(subject, books, flagged):
    """Those that neither the log nor a death accounts for."""
    deaths = subject.killer.deaths if subject.killer else []
    for to, message in addressed(subject):
        times = sorted(books.arrivals.get(to, []))
        for first, second in zip(times, times[1:]):
            if to not in flagged and not (
                    died(deaths, first - LAG, min(second, first + DIGESTION)) or
                    any(died(deaths, t - 1, t + 1) for t in message.unheard)):
                yield "%s at %s; replies lost at %s" % (to, moments(times), moments(message.unheard))


def moments(times):
    return ", ".join(time.strftime("%H:%M:%S", time.gmtime(t)) + "%.3f" % (t % 1) for t in times)


def died(deaths, begin, end):
    return bisect.bisect_left(deaths, begin) < bisect.bisect_right(deaths, end)


def flagged_in(subject):
    found = set()
    for line in subject.danelaw.log.splitlines():
        if FLAGGED.search(line):
            found.update(re.findall(r"<([\w.-]+@[\w.-]+)>", line))
    return found


def refused_and_taken(subject, books, flagged):
    """For good, though the next hop has it: the sender would believe it lost."""
    return [to for to, message in addressed(subject)
            if message.fates[to] == REFUSED and to in books.arrivals
            and to not in flagged and not message.unheard]


def growth(warm, now):
    return ["%s: %d, then %d" % (what, getattr(warm, what), getattr(now, what))
            for what, slack in (("descriptors", 3), ("sockets", 2), ("memory", 8192 + warm.memory // 4))
            if getattr(now, what) > getattr(warm, what) + slack]


def audit(subjects, books, warm, now):
    results = [check("messages are whole", books.broken),
               check("the steady danelaw has not grown", growth(warm, now))]
    for s in subjects:
        flagged = flagged_in(s)
        surprises = [x for sender in s.senders for x in sender.surprises]
        results += [
            check("%s: confirmed mail is delivered or bounced" % s.name, missing(s, books)),
            check("%s: second copies have their reason" % s.name,
                  list(second_copies(s, books, flagged))),
            check("%s: what was refused for good was not taken" % s.name,
                  refused_and_taken(s, books, flagged)),
            check("%s: clients heard what they may expect" % s.name, surprises),
            check("%s: the spool is sound" % s.name,
                  [x for x in s.danelaw.log.splitlines() if "damaged" in x or " error spool: " in x]),
            check("%s: enough mail" % s.name,
                  [] if len(recipients(s, CONFIRMED)) > 20 else ["too little"]),
        ]
    return results


def figures(subjects, books, flipper, warm, now):
    for s in subjects:
        tries = sum(x.tries for x in s.senders)
        twice = sum(len(t) > 1 for to, t in books.arrivals.items() if to.startswith(s.name))
        print("%s: %d tries, %d recipients confirmed, %d refused, %d still with their client, %d twice"
              % (s.name, tries, len(recipients(s, CONFIRMED)), len(recipients(s, REFUSED)),
                 len(recipients(s, OURS)), twice))
    _, mortal, herd = subjects
    print("%d kills -9, %d workers killed, %d reloads, %d flips of DNS, %d notices"
          % (len(mortal.killer.deaths), len(herd.killer.deaths), herd.killer.reloads, flipper.flips,
             len(books.notices)))
    print("steady danelaw: %d descriptors, %d sockets, %d KiB after warming up; %d, %d, %d at the end"
          % (warm.descriptors, warm.sockets, warm.memory, now.descriptors, now.sockets, now.memory))


def main(minutes):
    stopping = threading.Event()
    lab = World()
    chaos.declare(lab)
    lab.start()
    try:
        subjects = [Subject(lab, "steady", 2600, stopping), Subject(lab, "mortal", 2610, stopping),
                    Subject(lab, "herd", 2620, stopping, workers=2)]
        for s in subjects:
            s.danelaw.start()
        books = Books(lab)
        flipper, warm = storm(lab, subjects, books, minutes * 60, stopping)
        results = [check("danelaw started after each death", subjects[1].killer.trouble)]
        calm_down(subjects, books)
        now = chaos.holdings(subjects[0].danelaw)
        for s in subjects:
            s.danelaw.stop()
        results += audit(subjects, books, warm, now)
        figures(subjects, books, flipper, warm, now)
    finally:
        keep_logs(lab)
        lab.stop()
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(float(sys.argv[1])))
