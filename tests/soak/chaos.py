"""What goes wrong during a soak: next hops with moods, name servers that flip, deaths of danelaw.

All of it ends with `lab.storm`: once that is cleared everybody does what he should.
"""
import contextlib
import os
import random
import signal
import threading
import time
from types import SimpleNamespace

from dnsrelay import deny, fail, honest, silent, strip_signatures
from fakemx import Gone, polite

MOODY, FLIPPING, BACK = ("one", "two", "three"), ("flip", "flap"), "back.lab"
CLEAR = "clear.lab"  # neither DNSSEC nor TLS
DOMAINS = tuple(name + ".soak.lab" for name in MOODY + FLIPPING) + (CLEAR,)
TTL = 2
FLIP_EVERY, REST = (0.5, 4), 0.5


def declare(lab):
    """Each domain has one scripted host; the flipping ones a name server in danelaw's way as well."""
    lab.storm = threading.Event()
    lab.wrong = lab.cert("wrong.soak.lab")
    for name in DOMAINS[:-1]:
        twist = honest if name.split(".")[0] in FLIPPING else None
        lab.domain(name, "3 1 1", twist=twist, ttl=TTL,
                   fake={"script": lambda c: moody(lab, c),
                         "replies": {"RCPT": lambda c, line: rcpt(lab, c), ".": final_of(lab)}})
    lab.domain(CLEAR, how="unsigned", cert=None, ttl=TTL,
               fake={"script": lambda c: moody(lab, c),
                     "replies": {"RCPT": lambda c, line: rcpt(lab, c), ".": final_of(lab)}})
    lab.domain(BACK, "3 1 1", fake={})


# ---- next hops: one mood for each connection ----

MOODS = {"good": 60, "late": 4, "refuses": 4, "wrong key": 4, "silent": 2, "shy": 3, "dies at mail": 3,
         "stalls in body": 3, "lost after dot": 4, "dies at dot": 4, "slow at dot": 4, "unknown user": 5}


def moody(lab, c):
    moods = MOODS if lab.storm.is_set() else {"good": 1}
    c.mood = random.choices(list(moods), moods.values())[0]
    if c.mood == "silent":
        c.stall(3)
        raise Gone(c.mood)
    if c.mood == "shy":
        c.say("421 4.3.2 not now")
        raise Gone(c.mood)
    if c.mood == "wrong key" and c.mx.cert:
        c.mx = SimpleNamespace(**{**vars(c.mx), "cert": lab.wrong, "context": c.mx.context})
    polite(c)


def rcpt(lab, c):
    if not lab.storm.is_set() or c.mood in ("good", "wrong key"):
        return None
    if c.mood == "dies at mail":
        raise Gone(c.mood)
    if c.mood == "unknown user" and random.random() < 0.5:
        return "550 5.1.1 nobody of that name"
    if c.mood == "late" and random.random() < 0.5:
        return "450 4.2.1 later"
    return None


def final_of(lab):
    def final(c, text):
        if not lab.storm.is_set() or c.mood == "good":
            return "250 2.0.0 taken"
        if c.mood == "refuses":
            return random.choice(("451 4.3.0 not this time", "554 5.6.0 never"))
        if c.mood == "dies at dot":
            raise Gone(c.mood)
        if c.mood == "stalls in body":
            c.stall(3)
            raise Gone(c.mood)
        if c.mood == "slow at dot":
            c.stall(random.uniform(0.2, 2.5))
        if c.mood == "lost after dot":  # taken, and nobody hears of it
            c.sock.shutdown(2)
        return "250 2.0.0 taken"
    return final


# ---- DNS ----

TWISTS = (honest, honest, silent, strip_signatures, fail("SERVFAIL"), deny("TLSA"), deny("MX"))


class Flipper(threading.Thread):
    """Right, wrong and silent answers in turn."""

    def __init__(self, lab, stopping):
        super().__init__(daemon=True)
        self.relays = [lab[name].relay for name in DOMAINS if lab[name].relay]
        self.stopping, self.flips = stopping, 0

    def run(self):
        while not self.stopping.wait(random.uniform(*FLIP_EVERY)):
            random.choice(self.relays).twist = random.choice(TWISTS)
            self.flips += 1
        for relay in self.relays:
            relay.twist = honest


# ---- deaths ----

LIVES = ((0.01, 0.3),) * 24 + ((1.5, 3),)  # seconds; most end while it starts, or before the first message does


class Killer(threading.Thread):
    """kill -9 at random moments, of its start too, and a start at once; `deaths` are their times."""

    def __init__(self, danelaw, stopping):
        super().__init__(daemon=True)
        self.danelaw, self.stopping = danelaw, stopping
        self.deaths, self.trouble = [], []

    def run(self):
        while not self.stopping.is_set():
            life = random.choice(LIVES)
            if life[0] > 1:
                self.expect_service()
            self.stopping.wait(random.uniform(*life))
            if self.danelaw.child.poll() is not None:
                self.trouble.append("ended by itself: " + self.danelaw.tail(3))
            self.danelaw.child.kill()
            self.deaths.append(time.time())
            self.danelaw.child.wait()
            self.danelaw.launch()
        self.expect_service()

    def expect_service(self):
        """However often it has died: it serves within moments, and has not ended by itself."""
        try:
            self.danelaw.expect_greeting()
        except Exception as e:
            self.trouble.append(str(e)[-2000:])


class Culler(threading.Thread):
    """Kills workers of one that goes on, and has it read its settings again."""

    def __init__(self, danelaw, stopping):
        super().__init__(daemon=True)
        self.danelaw, self.stopping = danelaw, stopping
        self.deaths, self.trouble, self.reloads = [], [], 0

    def run(self):
        while not self.stopping.wait(random.uniform(2, 6)):
            if random.random() < 0.3:
                self.danelaw.child.send_signal(signal.SIGHUP)
                self.reloads += 1
                continue
            workers = self.danelaw.workers
            if workers:
                os.kill(random.choice(workers), signal.SIGKILL)
                self.deaths.append(time.time())


# ---- what a process has ----

def family(pid):
    """It and its descendants."""
    found = [pid]
    for child in children(pid):
        found += family(child)
    return found


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(word) for word in f.read().split()]
    except OSError:
        return []


def holdings(danelaw):
    """Descriptors, sockets among them, and resident KiB of all its processes."""
    have = SimpleNamespace(descriptors=0, sockets=0, memory=0)
    for pid in family(danelaw.child.pid):
        with contextlib.suppress(OSError):  # ended meanwhile
            add_holdings(pid, have)
    return have


def add_holdings(pid, have):
    folder = "/proc/%d/fd/" % pid
    for fd in os.listdir(folder):
        with contextlib.suppress(OSError):
            have.sockets += os.readlink(folder + fd).startswith("socket:")
            have.descriptors += 1
    with open("/proc/%d/status" % pid) as f:
        have.memory += sum(int(x.split()[1]) for x in f if x.startswith("VmRSS:"))
