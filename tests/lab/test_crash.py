"""danelaw may be killed at any instruction: what a client was told 250 for is at the receiver."""
import random
import threading
import time

from program import Danelaw
from senders import Sender, check_nothing_is_lost

KILLS, SECONDS, LONGEST = 200, 40, 180  # it goes on for LONGEST where a slow machine has not shown enough
TEST_SECONDS = 240
PROXIES, CLIENTS = 2, 4  # CLIENTS for each of the PROXIES


def declare(lab):
    for name in ("crash-one.lab", "crash-two.lab"):
        lab.domain(name, "3 1 1", fake={"replies": {".": unhurried}})
    lab.domain("crash-clear.lab", cert=None, fake={"replies": {".": unhurried}})


DOMAINS = ("crash-one.lab", "crash-two.lab", "crash-clear.lab")


def unhurried(c, text):
    """The receiver thinks about it, and sometimes says no: whoever says 250 early is caught."""
    c.stall(random.choice((0, 0, 0.003, 0.01, 0.02)))
    return "451 4.3.0 not this time" if random.random() < 0.1 else "250 2.0.0 taken"


def kill_again_and_again(danelaw, is_over):
    """Dies at a moment of a life that is between a breath and a fifth of a second long."""
    rand = random.Random(danelaw.server[1])
    while not is_over(danelaw):
        danelaw.start()
        time.sleep(rand.uniform(0, 0.15))
        danelaw.child.kill()
        danelaw.child.wait()
        danelaw.child = None
        danelaw.killed += 1


def test_killed_under_load(lab):
    """F-04, R-SMTP-57, R-SMTP-69: kill -9 at random moments, eight clients; nothing confirmed is
    missing."""
    stopping, begin = threading.Event(), time.monotonic()
    proxies, senders, killers = [], [], []

    def has_enough():
        confirmed = sum(len(s.confirmed) for s in senders)
        return sum(d.killed for d in proxies) >= KILLS // 2 and confirmed > KILLS and \
            sum(s.begun for s in senders) - confirmed > KILLS // 4

    def is_over(danelaw):
        took = time.monotonic() - begin
        return took > LONGEST or has_enough() and (took > SECONDS or danelaw.killed >= KILLS // PROXIES)
    for i in range(PROXIES):
        d = Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.1:%d" % (2550 + i)},
                          "log": {"level": "warning"}})
        d.killed = 0
        proxies.append(d)
        senders += [Sender("m%d%d" % (i, n), ("127.0.0.1", 2550 + i), DOMAINS, stopping) for n in range(CLIENTS)]
        killers.append(threading.Thread(target=kill_again_and_again, args=(d, is_over)))
    try:
        for k in killers:
            k.start()
        for k in killers:
            k.join(LONGEST + 10)
    finally:
        stopping.set()
        for s in senders:
            s.thread.join(10)
    check_nothing_is_lost(lab, senders)
    assert has_enough(), ([d.killed for d in proxies], [(s.begun, len(s.confirmed)) for s in senders])
