"""Too many, too fast, too long: what clients that mean no good can take from those that do."""
import multiprocessing
import os
import re
import socket
import time

import pytest

from program import PROGRAM, Danelaw
from smtp import Smtp, send
from switches import Switches
from zones import wait

GREEDY, OTHER, THIRD = "127.0.0.66", "127.0.0.67", "127.0.0.68"
NARROW = ("127.0.0.1", 2551)
LONGEST = 30  # seconds of a flood, which ends when others were served


def declare(lab):
    lab.domain("calm.lab", "3 1 1", fake={})
    lab.domain("endless.lab", "3 1 1", fake={"replies": {"RCPT": endless}})


def endless(c, line):
    """A reply that does not end."""
    for _ in range(3000):
        c.say("\r\n".join(["250-" + "x" * 500] * 10))
    return "250 at last"


@pytest.fixture(scope="module")
def switches(lab):
    folder = lab.new_folder("switches")
    os.makedirs(folder)
    return Switches(folder)


@pytest.fixture(scope="module")
def danelaw(lab, switches):
    listeners = {"listener smarthost": {"max_sessions": 200, "max_sessions_per_client": 40},
                 "listener narrow": {"listen": "%s:%d" % NARROW, "max_sessions": 20,
                                     "max_sessions_per_client": 20}}
    with Danelaw(lab, {**listeners, "log": {"level": "info"}}, env=switches.env) as d:
        yield d


def rss(d):
    """Resident KiB."""
    with open("/proc/%d/statm" % d.worker) as f:
        return int(f.read().split()[1]) * 4


def bound(kib):
    """A sanitizer keeps freed memory for a while, up to 256 MiB."""
    with open(PROGRAM, "rb") as f:
        return 300 * 1024 if b"__asan_init" in f.read() else kib


def is_served(c):
    return c.reply(220, 421).code == 220


def seats(count, source):
    """Of so many connections from there, those that were greeted; the others are closed."""
    held = []
    for _ in range(count):
        c = Smtp(NARROW, ehlo=None, source=(source, 0))
        held.append(c) if is_served(c) else c.close()
    return held


def test_the_last_seats_are_for_others(danelaw):
    """R-NET-13, N-10: a client that may have all seats does not get the last tenth of them."""
    greedy = seats(25, GREEDY)
    other, third = seats(2, OTHER), seats(2, THIRD)
    try:
        assert (len(greedy), len(other), len(third)) == (18, 1, 1)
    finally:
        for c in greedy + other + third:
            c.close()
    wait(lambda: seats(1, OTHER), 3, "room again")
    assert re.search(r"client=%s refused by listener narrow: max_sessions_per_client" % OTHER,
                     danelaw.log)


def flood(until, is_over):
    """As fast as it goes: connections of which some are held, and some go at once."""
    held = []
    while time.monotonic() < until and not is_over.is_set():
        sock = socket.socket()
        sock.bind((GREEDY, 0))
        try:
            sock.connect(("127.0.0.1", 2525))
        except OSError:
            continue
        held.append(sock)
        if len(held) > 100:
            held.pop(0).close()


def test_a_flood_starves_nobody(danelaw):
    """R-NET-13, N-10: its caps hold; others are accepted and served; the log is not the victim."""
    before, is_over = len(danelaw.log), multiprocessing.Event()
    attacker = multiprocessing.Process(target=flood, args=(time.monotonic() + LONGEST, is_over))
    took, begun = [], time.monotonic()
    attacker.start()
    while len(took) < 4 or time.monotonic() - begun < 3:
        started = time.monotonic()
        assert send("b@calm.lab").code == 250
        took.append(time.monotonic() - started)
        time.sleep(0.05)
    assert attacker.is_alive(), "the flood was longer than all of this: %s" % took
    is_over.set()
    attacker.join(10)
    refused = danelaw.log.count("client=%s refused" % GREEDY, before)
    assert 0 < refused <= 21 + time.monotonic() - begun, "20 lines at once, then one a second"
    wait(lambda: seats(1, GREEDY), 5, "the attacker is a client again")


def test_hostile_peers_cost_little_memory(danelaw):
    """R-SMTP-76, P-05, P-06: never reading, never ending, one octet at a time; on both sides."""
    send("b@calm.lab")
    held, before = [], rss(danelaw)
    for i in range(40):
        c = Smtp(source=("127.0.0.%d" % (70 + i % 4), 0))
        held.append(c)
        c.sock.setblocking(False)
        words = [b"HELP\r\n" * 4000,  # replies that are not read
                 b"x" * 200000,  # a line that does not end
                 b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<b@calm.lab>\r\nDATA\r\n",
                 b"MAIL FROM:<a@client.lab>\r\n"
                 + b"".join(b"RCPT TO:<b@d%d.lab>\r\n" % n for n in range(3000)),
                 b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<b@endless.lab>\r\n"][i % 5]
        push(c.sock, words)
    most = 0
    until = time.monotonic() + 3
    while time.monotonic() < until:
        for c in held[2::5]:
            push(c.sock, b"X-Header: " + b"y" * 4000)  # a header that does not end
        most = max(most, rss(danelaw))
        time.sleep(0.05)
    assert send("b@calm.lab").code == 250, "and others are served"
    for c in held:
        c.close()
    assert most - before < bound(40 * 256), "KiB: 256 for a session (R-SMTP-76)"


def push(sock, data):
    try:
        sock.send(data)
    except OSError:
        pass


def test_idle_clients_when_seats_are_scarce(danelaw, switches):
    """R-SMTP-38: five minutes, but one where more than three quarters of the seats are taken, also
    for those that were there before."""
    early = seats(10, GREEDY)
    switches.set(steady=100)
    seats(1, OTHER)[0].close()  # what time it is, is asked when something happens
    assert not any(c.is_closed(0.02) for c in early)
    switches.set(steady=150)
    late = seats(7, OTHER)
    switches.set(steady=165)
    seats(1, THIRD)[0].close()
    for c in early:
        assert c.reply(421).startswith("421 4.4.2 idle")
        c.close()
    for c in late:
        c("NOOP", 250)
        c.close()
    switches.set()
