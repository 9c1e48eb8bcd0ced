"""danelaw may be killed at any instruction: what a client was told 250 for is at the receiver."""
import itertools
import random
import socket
import threading
import time

from program import Danelaw
from smtp import Smtp, stuff

KILLS, SECONDS = 200, 40
PROXIES, CLIENTS = 2, 4  # CLIENTS for each of the PROXIES
END = b"the end\r\n"


def declare(lab):
    for name in ("crash-one.lab", "crash-two.lab"):
        lab.domain(name, "3 1 1", fake={"replies": {".": unhurried}})
    lab.domain("crash-clear.lab", cert=None, fake={"replies": {".": unhurried}})


DOMAINS = ("crash-one.lab", "crash-two.lab", "crash-clear.lab")


def unhurried(c, text):
    """The receiver thinks about it, and sometimes says no: whoever says 250 early is caught."""
    c.stall(random.choice((0, 0, 0.003, 0.01, 0.02)))
    return "451 4.3.0 not this time" if random.random() < 0.1 else "250 2.0.0 taken"


class Sender:
    """Sends one message after the other until it is told to stop, and notes what was confirmed."""

    def __init__(self, name, port, stopping):
        self.name, self.server, self.stopping = name, ("127.0.0.1", port), stopping
        self.confirmed, self.begun = set(), 0
        self.surprises = []
        self.numbers = itertools.count()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                with Smtp(self.server, timeout=5) as c:
                    while not self.stopping.is_set():
                        self.message(c)
            except (OSError, AssertionError) as e:
                if "wanted" in str(e):
                    self.surprises.append(str(e))
                time.sleep(0.005)

    def message(self, c):
        key = b"%s-%d" % (self.name.encode(), next(self.numbers))
        size = random.choice((1, 1, 1, 20, 2000))
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % random.choice(DOMAINS), 250)
        c("DATA", 354)
        self.begun += 1
        text = b"Subject: %s\r\n\r\n" % key + b"0123456789abcdef" * 4 * size + b"\r\n" + END
        c.raw(stuff(text))
        if c.reply(250, 451).code == 250:
            self.confirmed.add(key)


def kill_again_and_again(danelaw, kills, end):
    """Dies at a moment of a life that is between a breath and a fifth of a second long."""
    rand = random.Random(danelaw.server[1])
    for _ in range(kills):
        if time.monotonic() > end:
            break
        danelaw.start()
        time.sleep(rand.uniform(0, 0.15))
        danelaw.child.kill()
        danelaw.child.wait()
        danelaw.child = None
        danelaw.killed += 1


def test_killed_under_load(lab):
    """F-04, R-SMTP-57, R-SMTP-69: kill -9 at random moments, eight clients; nothing confirmed is
    missing."""
    stopping, end = threading.Event(), time.monotonic() + SECONDS
    proxies, senders, killers = [], [], []
    for i in range(PROXIES):
        d = Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.1:%d" % (2550 + i)},
                          "log": {"level": "warning"}})
        d.killed = 0
        proxies.append(d)
        senders += [Sender("m%d%d" % (i, n), 2550 + i, stopping) for n in range(CLIENTS)]
        killers.append(threading.Thread(target=kill_again_and_again, args=(d, KILLS // PROXIES, end)))
    try:
        for k in killers:
            k.start()
        for k in killers:
            k.join(SECONDS + 20)
    finally:
        stopping.set()
        for s in senders:
            s.thread.join(10)
    time.sleep(0.3)  # what has been sent whole is still being taken
    received = {}
    for name in DOMAINS:
        for message in lab[name].receiver.messages:
            assert message.data.endswith(END), "a part of a message was taken for one"
            key = message.data.split(b"\r\nSubject: ", 1)[1].split(b"\r\n", 1)[0]
            received.setdefault(key, []).append(message)
    confirmed = set().union(*(s.confirmed for s in senders))
    assert confirmed - set(received) == set()
    begun = sum(s.begun for s in senders)
    assert [s.surprises[0] for s in senders if s.surprises] == []
    assert sum(d.killed for d in proxies) >= KILLS // 2, "enough deaths"
    assert len(confirmed) > KILLS and begun - len(confirmed) > KILLS // 4, (begun, len(confirmed))
