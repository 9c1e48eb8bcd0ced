"""A minute of 200 messages a second each, while settings and program are replaced again and again, and
while workers are killed. `make check-slow` runs it: `make check` has no minutes to spare."""
import collections
import multiprocessing
import os
import random
import re
import signal
import threading
import time

from smtp import Smtp, send, stuff
from test_reload import WORKERS, Reloading
from zones import wait

RATE, SECONDS = 200, 60
TEST_SECONDS = 280  # of a test: a slow machine has its time, and what it does under it is the same
PROCESSES, THREADS = 2, 6
SHARE = RATE * SECONDS // (PROCESSES * THREADS)  # messages of each thread
MESSAGES_A_SESSION = 5


def declare(lab):
    for domain in DOMAINS:
        lab.domain(domain, "3 1 1", fake={})


DOMAINS = ("slow-one.lab", "slow-two.lab", "slow-three.lab")


# ---- the senders ----

class Client(threading.Thread):
    """Sends its share, each message when it is due; a session has a few."""

    def __init__(self, server, name):
        super().__init__()
        self.server, self.name_ = server, name
        self.begun, self.confirmed, self.failures = 0, [], []

    def run(self):
        started = time.monotonic()
        pace = PROCESSES * THREADS / RATE
        while self.begun < SHARE:
            try:
                with Smtp(self.server, timeout=20) as c:
                    for _ in range(random.randint(1, MESSAGES_A_SESSION)):
                        time.sleep(max(0, started + self.begun * pace - time.monotonic()))
                        if self.begun < SHARE:
                            self.message(c)
                    c("QUIT", 221)
            except (OSError, AssertionError) as e:
                self.failures.append("%s: %s" % (type(e).__name__, str(e)[-600:]))
                time.sleep(0.02)

    def message(self, c):
        key = "%s-%d" % (self.name_, self.begun)
        self.begun += 1
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % random.choice(DOMAINS), 250)
        c("DATA", 354)
        c.raw(stuff(b"Subject: %s\r\n\r\nThe text.\r\n" % key.encode()))
        c.reply(250)
        self.confirmed.append(key)


def run_clients(server, number, results):
    clients = [Client(server, "%d.%d" % (number, i)) for i in range(THREADS)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    results.put((sum((c.confirmed for c in clients), []), sum((c.failures for c in clients), [])))


class Load:
    """Begins within the block, which may do what it likes meanwhile; ends with it."""

    def __init__(self, server):
        self.results = multiprocessing.Queue()
        self.processes = [multiprocessing.Process(target=run_clients, args=(server, i, self.results))
                          for i in range(PROCESSES)]
        self.confirmed, self.failures = [], []

    def __enter__(self):
        for p in self.processes:
            p.start()
        return self

    def __exit__(self, *exc):
        for _ in self.processes:
            confirmed, failures = self.results.get(timeout=120)
            self.confirmed += confirmed
            self.failures += failures
        for p in self.processes:
            p.join(10)

    def is_under_way(self):
        return self.results.empty()


def received(lab, already):
    """How often each message has arrived since then."""
    found = collections.Counter()
    for domain in DOMAINS:
        for m in lab[domain].receiver.messages[already[domain]:]:
            found[re.search(rb"\r\nSubject: (\S+)\r\n", m.data).group(1).decode()] += 1
    return found


def arrived(lab):
    return {domain: len(lab[domain].receiver.messages) for domain in DOMAINS}


def under_load(lab, deed, pause):
    """Does it again and again while the load lasts: how often, the load, and what has arrived."""
    already, count = arrived(lab), 0
    with Reloading(lab, {"log": {"level": "info"}}) as d:
        began = time.monotonic()
        with Load(d.server) as load:
            while load.is_under_way() and time.monotonic() - began < 200:
                time.sleep(pause)
                deed(d)
                count += 1
        took = time.monotonic() - began
    print("%d times in %.0f s, %d messages confirmed, %d sessions failed" % (
        count, took, len(load.confirmed), len(load.failures)))
    assert took < 3 * SECONDS, "too slow to be a load"
    return count, load, received(lab, already)


# ---- what must not be noticed ----

def nobody_noticed(load, found):
    assert load.failures == []
    assert len(load.confirmed) == RATE * SECONDS
    assert found == collections.Counter(load.confirmed), "lost or twice"


def test_reload_under_load(lab):
    """F-08: no session fails, nothing is lost, nothing arrives twice."""
    names = iter(range(1000000))

    def reload(d):
        assert d.reload(server={"greeting_name": "name-%d.lab" % next(names)}, log={"level": "info"})
    count, load, found = under_load(lab, reload, 3)
    assert count > 5
    nobody_noticed(load, found)


def test_upgrade_under_load(lab):
    """The same of a program that is replaced."""
    def upgrade(d):
        assert d.upgrade()
    count, load, found = under_load(lab, upgrade, 3)
    assert count > 5
    nobody_noticed(load, found)


def test_workers_killed_under_load(lab):
    """F-04: nothing that was confirmed is lost."""
    def kill(d):
        workers = d.workers
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
        wait(lambda: len(d.workers) == WORKERS, 15, d.tail())
    count, load, found = under_load(lab, kill, 2)
    assert count > 5 and load.failures
    assert set(load.confirmed) - set(found) == set()
    assert len(load.confirmed) > RATE * SECONDS / 2


def test_a_worker_hangs(lab):
    """Nothing that it does tells so: its loop does not turn any more. It is killed and replaced, its fellow
    goes on meanwhile, and the service is not restarted."""
    with Reloading(lab) as d:
        stuck = d.workers[0]
        os.kill(stuck, signal.SIGSTOP)
        wait(lambda: stuck not in d.workers and len(d.workers) == WORKERS, 50, d.tail())
        assert "has not moved for 25 s and is killed\n" in d.log
        assert "has not moved for 30 s and is killed for certain\n" in d.log
        wait(lambda: send("b@" + DOMAINS[0], server=d.server).code == 250, 5, d.tail())
