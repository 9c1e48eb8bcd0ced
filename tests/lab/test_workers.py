"""Supervisor and workers: limits over all of them, deaths, what each knows of the other's clients."""
import concurrent.futures
import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

import pytest

from nexthop import has_data
from program import Danelaw
from senders import Sender, check_nothing_is_lost
from smtp import MESSAGE, Smtp, send, stuff
from test_admin import get
from zones import wait

WORKERS = 3
ADDRESS = "127.0.0.21"
SETTINGS = {"server": {"workers": str(WORKERS)}, "listener smarthost": {"listen": ADDRESS + ":2525"},
            "admin": {"listen": ADDRESS + ":9125"}, "limits": {"next_hop_connections": "3"}}


def declare(lab):
    lab.domain("crew.lab", "3 1 1", fake={})
    lab.domain("crew-load.lab", "3 1 1", fake={"replies": {".": unhurried}})
    lab.domain("crew-slow.lab", "3 1 1", fake={"replies": {".": when_client_is_gone}})
    lab.domain("crew-parts.lab", "3 1 1", fake={"replies": {".": unhurried}})
    lab.domain("crew-narrow.lab", "3 1 1", fake={"replies": {".": NARROW.final}})
    for n in range(HOSTS):
        lab.domain("h%d.crew-hoster.lab" % n, fake={"replies": {".": HOSTER.final}})


def unhurried(c, text):
    c.stall(random.choice((0, 0.003, 0.01)))
    return "250 2.0.0 taken"


HOSTS = 8


class AtOnce:
    """How many messages next hops have at a time; the first ones wait until there are so many, all for one
    more than there may be."""

    def __init__(self, wanted):
        self.wanted, self.now, self.most = wanted, 0, 0
        self.lock, self.is_met = threading.Lock(), threading.Event()

    def final(self, c, text):
        self._count(1)
        self.is_met.wait(8)
        c.stall(0.1)
        self._count(-1)
        return "250 2.0.0 taken"

    def _count(self, step):
        with self.lock:
            self.now += step
            self.most = max(self.most, self.now)
            if self.now == self.wanted:
                self.is_met.set()


NARROW, HOSTER = AtOnce(3), AtOnce(3 * 3 + 1)


CLIENT_IS_GONE = threading.Event()


def when_client_is_gone(c, text):
    CLIENT_IS_GONE.wait(60)
    return "250 2.0.0 taken"


@pytest.fixture(scope="module")
def crew(lab):
    with Danelaw(lab, SETTINGS) as d:
        wait(lambda: len(d.workers) == WORKERS and ready(), 20, "all workers serve\n" + d.tail())
        yield d


def ready():
    return get("/readyz", host=ADDRESS) == (200, "ready\n")


def metric(name):
    return float(re.search(r"^danelaw_%s (\d+)$" % name, get("/metrics", host=ADDRESS)[1],
                           re.M).group(1))


def kill(d, pid):
    """Dead, and replaced."""
    os.kill(pid, signal.SIGKILL)
    wait(lambda: pid not in d.workers and len(d.workers) == WORKERS, 5, d.tail())


def holds(pid, client):
    """Whether this process has the other end of a client's connection."""
    with open("/proc/net/tcp") as f:
        port = "%04X" % client.sock.getsockname()[1]
        inodes = {w[9] for w in map(str.split, f) if w[2].endswith(":" + port)} - {"0"}
    return any(target(pid, fd) in {"socket:[%s]" % i for i in inodes} for fd in os.listdir("/proc/%d/fd" % pid))


def target(pid, fd):
    """What a descriptor of it is; "" where it is closed again."""
    try:
        return os.readlink("/proc/%d/fd/%s" % (pid, fd))
    except FileNotFoundError:
        return ""


def sessions_of_all(d):
    """At least one with each worker: {pid: [client]}."""
    found = {pid: [] for pid in d.workers}
    for _ in range(60):
        c = Smtp(d.server)
        [pid] = [pid for pid in found if holds(pid, c)]
        found[pid].append(c)
        if all(found.values()):
            return found
    raise AssertionError("some worker has no client: %s" % found)


def close_all(clients):
    for c in clients:
        c.close()


def test_all_serve(crew):
    """Each accepts some; nothing of them is root's; sessions have ids of their own."""
    clients = sessions_of_all(crew)
    for some in clients.values():
        some[0]("MAIL FROM:<a@client.lab>", 250)
        some[0]("RCPT TO:<b@crew.lab>", 250)
        assert some[0].data(MESSAGE).code == 250
    close_all(sum(clients.values(), []))
    ids = re.findall(r"session=(\S+) from", crew.log)
    assert len(ids) == len(set(ids)) > WORKERS


def test_fellows_go_on(crew):
    """One worker dies: its clients see an end, all others' sessions do not notice."""
    clients = sessions_of_all(crew)
    victim = random.choice(list(clients))
    for some in clients.values():
        some[0]("MAIL FROM:<a@client.lab>", 250)
        some[0]("RCPT TO:<b@crew.lab>", 250)
        some[0]("DATA", 354)
    kill(crew, victim)
    for pid, some in clients.items():
        if pid == victim:
            assert some[0].is_closed()
        else:
            some[0].raw(stuff(MESSAGE))
            some[0].reply(250)
    wait(lambda: re.search(r"error worker \d \(process %d\) was killed by signal 9" % victim, crew.log), 5,
         crew.tail())
    close_all(sum(clients.values(), []))


def test_counters_survive(crew):
    """What a dead worker had counted stays; what it had is gone."""
    clients = sessions_of_all(crew)
    total = metric("sessions_total")
    wait(lambda: metric("sessions") == sum(map(len, clients.values())), 3, "those of before left")
    victim = random.choice(list(clients))
    kill(crew, victim)
    rest = sum(len(some) for pid, some in clients.items() if pid != victim)
    wait(lambda: metric("sessions") == rest, 3, "its sessions are gone")
    assert metric("sessions_total") == total
    close_all(sum(clients.values(), []))
    wait(lambda: metric("sessions") == 0, 3, "all are gone")


def test_killed_under_load(crew, lab):
    """F-04: whatever a worker was doing, nothing that was confirmed is lost, and it is replaced."""
    stopping = threading.Event()
    senders = [Sender("w%d" % n, crew.server, ("crew-load.lab",), stopping) for n in range(6)]

    def confirmed():
        return sum(len(s.confirmed) for s in senders)
    try:
        for _ in range(15):
            time.sleep(random.uniform(0.05, 0.3))
            os.kill(random.choice(wait(lambda: crew.workers, 10, "somebody serves\n" + crew.tail())), signal.SIGKILL)
        wait(lambda: confirmed() > 15, 20, "enough mail\n" + crew.tail())
    finally:
        stopping.set()
        for s in senders:
            s.thread.join(15)
    wait(lambda: len(crew.workers) == WORKERS, 15, crew.tail())
    check_nothing_is_lost(lab, senders)
    wait(lambda: metric("sessions") == 0, 3, "no session is counted that nobody has")


def send_at_once(server, recipients):
    results = []
    threads = [threading.Thread(target=lambda to=to: results.append(send(to, server=server).code))
               for to in recipients]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    return results


def test_next_hop_limit(crew, lab):
    """[limits] next_hop_connections is one limit over all workers, and whoever waits gets room that
    another worker makes."""
    assert send_at_once(crew.server, ["b@crew-narrow.lab"] * 24) == [250] * 24
    assert NARROW.most == 3


def test_poor_workers_get_on(crew, lab):
    """R-SMTP-81: a worker whose clients keep all connections of a next hop busy, and which waits for none, makes
    room for workers that have none, for as long as it goes on."""
    found, stopping, begun = sessions_of_all(crew), threading.Event(), threading.Semaphore(0)
    rich, *poor = found.values()
    while len(rich) < 3:
        more = sessions_of_all(crew)
        rich += more.pop(next(iter(found)))
        close_all(sum(more.values(), []))

    def send_one(client):
        client("MAIL FROM:<a@client.lab>", 250)
        client("RCPT TO:<b@crew-parts.lab>", 250)
        client.data(MESSAGE, 250)
        begun.release()

    def keep_busy(client):
        while not stopping.is_set():
            send_one(client)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        busy = [pool.submit(keep_busy, c) for c in rich[:3]]
        try:
            for _ in range(30):
                assert begun.acquire(timeout=20), crew.tail()
            others = [pool.submit(lambda c=some[0]: [send_one(c) for _ in range(20)]) for some in poor]
            for one in others:
                one.result(60)
        finally:
            stopping.set()
        for one in busy:
            one.result(30)
    close_all(sum(found.values(), []))


def test_provider_limit(crew, lab):
    """R-NET-13: so is that of a provider, for all its hosts together: five times as many."""
    recipients = ["b@h%d.crew-hoster.lab" % (n % HOSTS) for n in range(3 * HOSTS)] * 2
    assert send_at_once(crew.server, recipients) == [250] * 6 * HOSTS
    assert 3 * 3 < HOSTER.most <= 5 * 3


def test_idle_elsewhere(crew):
    """R-SMTP-81: what other workers keep idle takes no room from a message that has a next hop already."""
    clients = sessions_of_all(crew)
    one, *others = [some[0] for some in clients.values()]
    with contextlib.ExitStack() as together:
        for c in others:  # both at once, so that neither has the other's connection
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<kept@crew.lab>", 250)
            together.callback(c.data, MESSAGE, 250)
    one("MAIL FROM:<a@client.lab>", 250)
    one("RCPT TO:<first@crew-narrow.lab>", 250)
    assert "busy" not in one("RCPT TO:<further@crew.lab>", 250)
    one.data(MESSAGE, 250)
    close_all(sum(clients.values(), []))
    assert crew.delivery_to("further@crew.lab")["status"] == "sent"


def test_session_limits(lab):
    """R-NET-13: max_sessions and max_sessions_per_client over all workers; a dead worker's share ends
    with it."""
    changes = {"server": {"workers": str(WORKERS)},
               "listener smarthost": {"listen": "127.0.0.22:2525", "max_sessions": "6",
                                      "max_sessions_per_client": "4"}}
    with Danelaw(lab, changes) as d:
        wait(lambda: d.log.count("trust-anchor keys=") == WORKERS, 20, d.tail())

        def session(source):
            c = Smtp(d.server, ehlo=None, source=(source, 0))
            return c, c.reply().code
        held = [session("127.0.1.1") for _ in range(4)]
        assert [code for _, code in held] == [220] * 4
        for _ in range(12):
            assert session("127.0.1.1")[1] == 421
        held += [session("127.0.1.2") for _ in range(2)]
        assert [code for _, code in held] == [220] * 6
        for _ in range(12):
            assert session("127.0.1.3")[1] == 421
        victim = next(pid for pid in d.workers if holds(pid, held[0][0]))
        kill(d, victim)
        assert session("127.0.1.3")[1] == 220
        for c, _ in held:
            c.close()


def test_duplicates(crew, lab):
    """R-SMTP-64: the client vanished behind its dot; whichever worker its retry meets knows, that the next hop
    has not answered yet (nothing sets out a second time) and what it did answer."""
    mx = lab["crew-slow.lab"].receiver
    text = b"Message-ID: <crew@client.lab>\r\nSubject: once\r\n\r\nx\r\n"
    with Smtp(crew.server) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<once@crew-slow.lab>", 250)
        c("DATA", 354)
        [first] = [pid for pid in crew.workers if holds(pid, c)]
        c.raw(stuff(text))
        wait(lambda: has_data(mx), 10, "the next hop has it\n" + crew.tail())
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    session = re.findall(r"session=(\S+) < RCPT TO:<once@", crew.log)[-1]
    left = "session=%s closed: connection reset by peer" % session
    wait(lambda: left in crew.log, 5, "the worker has seen it leave\n" + crew.tail())
    clients = sessions_of_all(crew)
    for eager, *_ in clients.values():
        eager("MAIL FROM:<a@client.lab>", 250)
        eager("RCPT TO:<once@crew-slow.lab>", 250)
        assert "4.3.2 busy: the same message is on its way" in eager.data(text, 451)
    close_all(sum(clients.values(), []))
    CLIENT_IS_GONE.set()
    wait(lambda: crew.deliveries(to="<once@crew-slow.lab>", status="sent"), 5, crew.tail())
    clients = sessions_of_all(crew)
    [another] = random.sample([some[0] for pid, some in clients.items() if pid != first], 1)
    another("MAIL FROM:<a@client.lab>", 250)
    another("RCPT TO:<once@crew-slow.lab>", 250)
    assert another.data(text, 250).startswith("250 2.0.0 duplicate: ")
    close_all(sum(clients.values(), []))
    assert len([m for m in mx.messages if b"crew@client.lab" in m.data]) == 1


class Unawaited(Danelaw):
    def _greets(self):
        return True


def test_first_dies_before_all_serve(lab):
    """F-04: it is replaced while others still start: no place gets a second worker."""
    changes = {"server": {"workers": str(WORKERS)}, "listener smarthost": {"listen": "127.0.0.25:2525"}}
    with Unawaited(lab, changes) as d:
        wait(lambda: len(d.workers) > 1, 10, d.tail())
        first, second = d.workers[:2]
        os.kill(second, signal.SIGSTOP)
        wait(lambda: len(d.workers) == WORKERS, 5, d.tail())
        kill(d, first)
        time.sleep(1.5)  # it serves again
        assert len(d.workers) == WORKERS and second in d.workers, d.tail()
        os.kill(second, signal.SIGCONT)
        wait(lambda: d.log.count("trust-anchor keys=") == WORKERS + 1, 5, d.tail())
        assert len(d.workers) == WORKERS


def test_supervisor_killed(lab):
    """Its workers hold the ports no longer than it: a new one can start at once."""
    changes = {"server": {"workers": str(WORKERS)}, "listener smarthost": {"listen": "127.0.0.23:2525"}}
    with Danelaw(lab, changes) as d:
        for _ in range(3):
            workers = wait(lambda: len(d.workers) == WORKERS and d.workers, 20, d.tail())
            d.child.kill()
            d.child.wait()
            wait(lambda: not any(os.path.exists("/proc/%d/fd/0" % pid) for pid in workers), 2,
                 "workers live on")
            d.start()
        assert send("b@crew.lab", server=d.server).code == 250


def test_stop(lab):
    """SIGTERM to every process, as a service manager sends it: a message under way ends well."""
    changes = {"server": {"workers": str(WORKERS)}, "listener smarthost": {"listen": "127.0.0.24:2525"}}
    with Danelaw(lab, changes) as d:
        wait(lambda: len(d.workers) == WORKERS, 20, d.tail())
        with Smtp(d.server) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<b@crew.lab>", 250)
            c("DATA", 354)
            for pid in [d.child.pid, *d.workers]:
                with contextlib.suppress(ProcessLookupError):  # who is idle has heard it from the first
                    os.kill(pid, signal.SIGTERM)
            wait(lambda: d.log.count(" info stopping: ") == WORKERS, 5, d.tail())
            c.raw(stuff(MESSAGE))
            c.reply(250)
            assert d.child.wait(20) == 0
            d.child = None
