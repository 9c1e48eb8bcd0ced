"""danelaw may be killed at any instruction, and what it answers for lies in its spool: messages to
several domains, in fan-out and from the queue. What a client was told 250 for arrives everywhere,
twice at most where the next hop's last word had not been written down yet."""
import bisect
import os
import random
import re
import threading
import time

import pytest

from program import Danelaw
from senders import FanoutSender, key_of
from zones import wait

KILLS, SECONDS, LONGEST = 250, 38, 160  # of each; both at once; the longest on a slow machine
TEST_SECONDS = 240
CLIENTS = 4
ID = re.compile(r"[0-9a-f]{14}-[0-9a-f]{12}$")

# Seconds from a next hop's last word to the disk, on a busy machine; some lives are longer.
DIGESTION, LONG_LIFE, ONE_IN = 2.5, 4, 60
LAG = 1  # the receiver looks at its clock when it has thought about a message that it has whole

DOMAINS = ("spool-one.lab", "spool-two.lab", "spool-clear.lab")


def declare(lab):
    lab.storm = threading.Event()
    for name in DOMAINS:
        lab.domain(name, None if "clear" in name else "3 1 1",
                   fake={"replies": {".": lambda c, text: unhurried(lab, c)}},
                   **({"cert": None} if "clear" in name else {}))


def unhurried(lab, c):
    """The receiver thinks about it, and during the storm sometimes says: later."""
    c.stall(random.choice((0, 0, 0.003, 0.01)))
    if lab.storm.is_set() and random.random() < 0.1:
        return "451 4.3.0 not this time"
    return "250 2.0.0 taken"


def kill_again_and_again(danelaw, is_over):
    """Dies at a moment of a life that is seldom longer than a tenth of a second."""
    rand = random.Random(danelaw.server[1])
    while not is_over(danelaw):
        danelaw.start()
        is_long = len(danelaw.kills) % ONE_IN == ONE_IN - 1
        time.sleep(rand.uniform(0, 0.08) + is_long * LONG_LIFE)
        danelaw.child.kill()
        danelaw.kills.append(time.time())
        danelaw.child.wait()
        danelaw.child = None


def has_enough(danelaw, senders):
    """Deaths, and mail between them."""
    confirmed = sum(len(s.confirmed) for s in senders if s.name.startswith(danelaw.mode))
    return len(danelaw.kills) >= KILLS // 3 and confirmed > len(danelaw.kills) // 4


def storm(lab, proxies):
    stopping, begin = threading.Event(), time.monotonic()
    lab.storm.set()

    def is_over(danelaw):
        took = time.monotonic() - begin
        return took > LONGEST or has_enough(danelaw, senders) and (
            took > SECONDS or len(danelaw.kills) >= KILLS)
    senders = [FanoutSender("%s%d" % (d.mode, n), d.server, DOMAINS, stopping)
               for d in proxies for n in range(CLIENTS)]
    killers = [threading.Thread(target=kill_again_and_again, args=(d, is_over)) for d in proxies]
    try:
        for k in killers:
            k.start()
        for k in killers:
            k.join(LONGEST + 10)
    finally:
        stopping.set()
        for s in senders:
            s.thread.join(10)
        lab.storm.clear()
    return senders


def arrivals(lab):
    """{(key, domain): [time, ...]}"""
    found = {}
    for name in DOMAINS:
        for message in lab[name].receiver.messages:
            found.setdefault((key_of(message), name), []).append(message.time)
    return found


def waiting(danelaw):
    return [f for f in os.listdir(danelaw.state + "/spool") if ID.match(f)]


def unexplained(found, proxies):
    """Second copies that no death of their danelaw accounts for."""
    kills = {d.mode: d.kills for d in proxies}
    for (key, domain), times in found.items():
        times.sort()
        for first, second in zip(times, times[1:]):
            deaths = kills[re.match("[a-z]+", key)[0]]
            i = bisect.bisect_left(deaths, first - LAG)
            if i == len(deaths) or deaths[i] > min(second, first + DIGESTION):
                yield key, domain, second - first


@pytest.fixture
def proxies(lab):
    found = []
    for mode, port in (("fanout", 2560), ("queue", 2561)):
        state = lab.new_folder("state")
        d = Danelaw(lab, {"server": {"state_dir": state},
                          "listener smarthost": {"listen": "127.0.0.1:%d" % port,
                                                 "delivery": mode},
                          "spool": {"retry": "200ms"}, "log": {"level": "info"}})
        d.mode, d.state, d.kills = mode, state, []
        found.append(d)
    yield found
    for d in found:
        if d.child:
            d.child.kill()
            d.child.wait()


def test_killed_with_a_spool(lab, proxies):
    """F-04, R-SMTP-65, R-SMTP-68: kill -9 at 500 random moments of fan-out and queue work."""
    senders = storm(lab, proxies)
    confirmed = {(key, d) for s in senders for key, taken in s.confirmed.items() for d in taken}
    for d in proxies:
        d.start()
        wait(lambda: not waiting(d), 20, "%s: the spool is worked off" % d.mode)
        d.stop()
    found = arrivals(lab)
    assert confirmed - set(found) == set()
    assert list(unexplained(found, proxies)) == []
    assert [s.surprises[0] for s in senders if s.surprises] == []
    for d in proxies:
        assert "damaged" not in d.log and " error spool: " not in d.log
        assert has_enough(d, senders), (d.mode, len(d.kills), [len(s.confirmed) for s in senders])
