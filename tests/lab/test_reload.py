"""Settings and program are replaced while danelaw serves; and what the service manager sees of it."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from program import PROGRAM, Danelaw, comm, ini, settings
from smtp import MESSAGE, Smtp, send, stuff
from test_admin import get
from world import STALE
from zones import wait, write

ADDRESS = "127.0.0.31"
WORKERS = 2


LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 4200


def declare(lab):
    lab.domain("reload.lab", "3 1 1", fake={})
    lab.domain("stale.reload.lab", STALE, fake={"replies": {"STARTTLS": hesitates}})
    mx = lab["stale.reload.lab"].receiver
    mx.is_asked, mx.goes_on = threading.Event(), threading.Event()


def hesitates(c, line):
    """Between the 220 and its half of the handshake."""
    shake_hands = c.start_tls

    def start_tls():
        c.mx.is_asked.set()
        c.mx.goes_on.wait(20)
        shake_hands()
    c.start_tls = start_tls
    return "220 2.0.0 go"


def changed(**sections):
    """The settings of these tests, with more of them: server={...}, smarthost={...}."""
    names = {"smarthost": "listener smarthost", "other": "listener other"}
    wanted = {"server": {"workers": str(WORKERS)}, "admin": {"listen": ADDRESS + ":9125"},
              "listener smarthost": {"listen": ADDRESS + ":2525"}}
    for section, keys in sections.items():
        wanted.setdefault(names.get(section, section), {}).update(keys)
    return wanted


class Reloading(Danelaw):
    """`program`: a copy that can be replaced, and that the user danelaw can reach."""

    def __init__(self, lab, changes=None, **how):
        super().__init__(lab, changed(**(changes or {})), **how)
        self.lab = lab
        self.program = self.folder + "/danelaw"
        shutil.copy(PROGRAM, self.program)

    def start(self):
        super().start()
        self.wait_for_workers(1)

    def wait_for_workers(self, starts):
        wait(lambda: self.log.count("trust-anchor keys=") >= starts * WORKERS
             and len(self.workers) == WORKERS, 20, self.tail())
        wait(lambda: get("/readyz", host=ADDRESS)[0] == 200, 5, "ready")

    def reload(self, **sections):
        """To these settings; returns when they are in force, or refused."""
        write(self.conf, ini(settings(self.lab, changed(**sections))))
        return self.signal(signal.SIGHUP, "new workers with the present settings serve|"
                                          "reload is refused")

    def upgrade(self, **sections):
        write(self.conf, ini(settings(self.lab, changed(**sections))))
        return self.signal(signal.SIGUSR2, "new workers with the present settings serve|"
                                           "upgrade is refused")

    def signal(self, number, words):
        """Whether it went well."""
        before = len(re.findall(words, self.log))
        self.child.send_signal(number)
        wait(lambda: len(re.findall(words, self.log)) > before, 20, self.tail())
        return "refused" not in re.findall(words, self.log)[-1]


@pytest.fixture
def served(lab):
    with Reloading(lab) as d:
        yield d


def name(d, port=2525):
    with Smtp((ADDRESS, port), ehlo=None) as c:
        return c.reply(220).split()[1]


def becomes(d, wanted):
    """For a moment workers of before may still accept, each at a socket of its own."""
    wait(lambda: all(name(d) == wanted for _ in range(8)), 5, d.tail())
    return True


def in_data(d, to="b@reload.lab"):
    c = Smtp(d.server)
    c("MAIL FROM:<a@client.lab>", 250)
    c("RCPT TO:<%s>" % to, 250)
    c("DATA", 354)
    return c


# ---- SIGHUP ----

def test_new_sessions_get_new_settings(served):
    """F-08: a session under way ends with the settings that it began with, however long it goes on
    within [timeouts] shutdown; the workers of before end with their last session."""
    before = served.workers
    with in_data(served) as c:
        assert served.reload(server={"greeting_name": "second.lab"})
        assert becomes(served, "second.lab")
        c.raw(stuff(MESSAGE))
        c.reply(250)
        assert c("EHLO client.lab", 250).lines[0].startswith("danelaw.danelaw.lab")
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@reload.lab>", 250)
        assert c.data(MESSAGE).code == 250
        c("QUIT", 221)
    wait(lambda: not set(before) & set(served.workers), 5, served.tail())
    assert len(served.workers) == WORKERS and send("b@reload.lab", server=served.server).code == 250


def test_reload_in_the_middle_of_a_body(lab):
    """F-08: half of it is sent when the settings change: that message ends as it began, and the next session
    has the new ones."""
    with Reloading(lab) as d:
        with in_data(d) as c:
            c.raw(stuff(LARGE)[:30000])
            assert d.reload(limits={"message_size": "64K"}, smarthost={"bare_newline": "normalize"},
                            server={"greeting_name": "second.lab"})
            c.raw(stuff(LARGE)[30000:])
            c.reply(250)
            assert lab["reload.lab"].receiver.messages[-1].data.endswith(LARGE)
            c("MAIL FROM:<a@client.lab> SIZE=70000", 250)
            c("RCPT TO:<b@reload.lab>", 250)
            c("DATA", 354)
            c.raw(b"Subject: x\r\n\r\na bare\nline\r\n.\r\n")
            assert "bare-newline" in c.reply(550)
        becomes(d, "second.lab")
        with Smtp(d.server) as c:
            assert "SIZE 65536" in c.extensions
            assert "too-large" in c("MAIL FROM:<a@client.lab> SIZE=70000", 552)
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<b@reload.lab>", 250)
            assert c.data(b"Subject: x\r\n\r\na bare\nline\r\n", 250)


@pytest.mark.parametrize("old, new", [({}, {"level": "may"}), ({"level": "may"}, {})])
def test_reload_in_the_middle_of_a_handshake(lab, old, new):
    """F-08, R-DANE-01: what must be proven is what the settings said when the recipient was named; neither is a
    stricter rule loosened nor the other way round, until the next session."""
    outcomes = {True: 250, False: 451}
    mx, to = lab["stale.reload.lab"].receiver, "b@stale.reload.lab"
    mx.is_asked.clear(), mx.goes_on.clear()
    with Reloading(lab, {"domain stale.reload.lab": old} if old else None) as d, Smtp(d.server) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c.raw(b"RCPT TO:<%s>\r\n" % to.encode())
        assert mx.is_asked.wait(10)
        assert d.reload(**({"domain stale.reload.lab": new} if new else {}))
        mx.goes_on.set()
        assert c.reply().code == outcomes[bool(old)]
        assert new or c.data(MESSAGE).code == 250
        c("QUIT", 221)
        wait(lambda: send(to, server=d.server).code == outcomes[bool(new)], 5, d.tail())


WRONG = [
    ({"policy": {"level": "strong"}}, r"danelaw.conf:\d+: level"),
    ({"server": {"user": "nsd"}}, "user takes a restart"),
    ({"server": {"state_dir": "/var/lab/elsewhere"}}, "state_dir takes a restart"),
    ({"smarthost": {"listen": ADDRESS + ":2525 192.0.2.7:2525"}}, "does not have that address"),
    ({"smarthost": {"listen": ADDRESS + ":2525 " + ADDRESS + ":26"}}, "ports below 1024 need root"),
    ({"unbound": {"no-such-thing": "yes"}}, "no-such-thing"),
    ({"dns": {"trust_anchor": "/nonexistent"}}, "trust_anchor"),
    ({"smarthost": {"tls_certificate": "/nonexistent", "tls_key": "/nonexistent"}}, "nonexistent"),
    ({"admin": {"listen": "192.0.2.7:9125"}}, "cannot bind"),
]


def test_a_wrong_file_changes_nothing(served):
    """Each is refused as a whole, with what is wrong in the log."""
    before = served.workers
    for sections, complaint in WRONG:
        server = {"greeting_name": "wrong.lab", **sections.get("server", {})}
        assert not served.reload(**{**sections, "server": server})
        assert re.search(complaint, served.log), served.tail()
        assert name(served) == "danelaw.danelaw.lab"
        wait(lambda: served.workers == before, 5, served.tail())
        assert get("/readyz", host=ADDRESS)[0] == 200
    assert is_refused(26)


def test_listeners_come_and_go(served):
    """A new one is served, a removed one is closed, and its sessions end well."""
    both = ADDRESS + ":2525 " + ADDRESS + ":2526"
    assert served.reload(smarthost={"listen": both})
    with Smtp((ADDRESS, 2526)) as c:
        assert served.reload()
        wait(lambda: is_refused(2526), 5, "the removed port is closed")
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@reload.lab>", 250)
        assert c.data(MESSAGE).code == 250
    assert name(served) == "danelaw.danelaw.lab"


def is_refused(port):
    try:
        socket.create_connection((ADDRESS, port), 1).close()
        return False
    except ConnectionRefusedError:
        return True


def test_metrics_while_stopping(lab):
    """Workers of before may be the last to end: the settings in force are gone then."""
    ends = {"domain ends.lab": {"level": "may", "until": "2099-01-01"}}
    with Reloading(lab, ends, env={"MALLOC_PERTURB_": "165"}) as d:  # what is freed cannot be read
        assert "ends.lab" in get("/metrics", host=ADDRESS)[1]
        before = d.workers
        with in_data(d) as c:
            assert d.reload(**ends, server={"greeting_name": "second.lab"})
            d.child.send_signal(signal.SIGTERM)
            wait(lambda: d.workers and set(d.workers) < set(before), 5, d.tail())
            status, page = get("/metrics", host=ADDRESS)
            assert status == 200 and "ends.lab" not in page and "danelaw_sessions 1\n" in page
            c.raw(stuff(MESSAGE))
            c.reply(250)


def test_more_and_fewer_workers(served):
    for count in (3, 1, 2):
        assert served.reload(server={"workers": str(count)})
        wait(lambda: len(served.workers) == count, 5, served.tail())
        for _ in range(8):
            assert name(served) == "danelaw.danelaw.lab"


def test_a_certificate_of_root(lab):
    """One that only root may read stays as it was loaded; a new one must be readable."""
    folder = lab.new_folder("certificate")
    os.mkdir(folder, 0o700)
    cert = lab.ca.issue("danelaw.lab")
    paths = {"tls_certificate": folder + "/cert.pem", "tls_key": folder + "/key.pem"}
    shutil.copy(cert.chain, paths["tls_certificate"])
    shutil.copy(cert.key, paths["tls_key"])
    with Reloading(lab, {"smarthost": paths}) as d:
        assert d.reload(smarthost=paths, server={"greeting_name": "second.lab"})
        wait(lambda: "the certificate that was loaded before stays in use" in d.log, 5, d.tail())
        becomes(d, "second.lab")
        with Smtp(d.server) as c:
            assert "STARTTLS" in c.extensions
        other = {**paths, "tls_key": folder + "/other.pem"}
        assert not d.reload(smarthost=other)


def test_a_renewed_certificate(lab):
    """One that the service's user may read is read again."""
    folder = lab.new_folder("renewed")
    os.mkdir(folder, 0o755)
    paths = {"tls_certificate": folder + "/cert.pem", "tls_key": folder + "/key.pem"}

    def renew():
        cert = lab.ca.issue("danelaw.lab")
        for source, path in zip((cert.chain, cert.key), paths.values()):
            shutil.copy(source, path)
            os.chmod(path, 0o644)
        return cert.der

    def presents(d):
        with Smtp(d.server) as c:
            c("STARTTLS", 220)
            context = ssl._create_unverified_context()
            with context.wrap_socket(c.sock, server_hostname="danelaw.lab") as tls:
                return tls.getpeercert(True)
    first = renew()
    with Reloading(lab, {"smarthost": paths}) as d:
        assert presents(d) == first
        second = renew()
        assert presents(d) == first != second
        assert d.reload(smarthost=paths)
        wait(lambda: presents(d) == second, 5, d.tail())


# ---- SIGUSR2 ----

def counted():
    found = re.search(r"^danelaw_sessions_total (\d+)$", get("/metrics", host=ADDRESS)[1], re.M)
    return int(found.group(1))


def test_upgrade(served):
    """The same process id, other workers; nobody is refused, a session under way ends well, and the
    counters go on."""
    before, total = served.workers, counted()
    with in_data(served) as c:
        assert served.upgrade()
        assert send("b@reload.lab", server=served.server).code == 250
        c.raw(stuff(MESSAGE))
        c.reply(250)
        c("QUIT", 221)
    wait(lambda: not set(before) & set(served.workers), 5, served.tail())
    assert len(served.workers) == WORKERS and counted() >= total + 2
    assert comm(served.child.pid) == "danelaw"
    assert "taking over from the program that ran before" in served.log
    assert served.reload(server={"greeting_name": "after.lab"}) and becomes(served, "after.lab")
    assert served.upgrade(server={"greeting_name": "after.lab"}) and becomes(served, "after.lab")


def test_upgrade_refused(served):
    """What the new program says against it is logged; the old one goes on."""
    before = served.workers
    for program, complaint in (
            ("#!/bin/sh\necho 'new.conf:7: no such thing' >&2\nexit 78\n", "new.conf:7: no such thing"),
            ("not a program", "Exec format error"), (None, "No such file")):
        os.remove(served.program)
        if program:
            write(served.program, program)
            os.chmod(served.program, 0o755)
        assert not served.upgrade()
        assert re.search(complaint, served.log), served.tail()
        assert name(served) == "danelaw.danelaw.lab" and served.workers == before


def test_upgrade_refuses_what_a_reload_would(served):
    """The test of the new program binds nothing: a start that would fail is refused all the same."""
    before = served.workers
    with socket.create_server((ADDRESS, 2527)), in_data(served) as c:
        for sections, complaint in (
                ({"smarthost": {"listen": ADDRESS + ":2525 " + ADDRESS + ":2527"}}, "cannot bind .*2527"),
                ({"smarthost": {"listen": ADDRESS + ":2525 " + ADDRESS + ":26"}}, "below 1024 need root"),
                ({"admin": {"listen": ADDRESS + ":2527"}}, "cannot bind .*2527"),
                ({"server": {"state_dir": "/var/lab/elsewhere"}}, "state_dir takes a restart")):
            assert not served.upgrade(**sections)
            assert re.search("the upgrade is refused: .*" + complaint, served.log), served.tail()
            assert name(served) == "danelaw.danelaw.lab" and served.workers == before
        c.raw(stuff(MESSAGE))
        c.reply(250)
    assert served.upgrade()


def test_upgrade_with_new_addresses(served):
    """What was bound for the new program goes along with it; what it does not need is closed."""
    both = ADDRESS + ":2525 " + ADDRESS + ":2526"
    assert served.upgrade(smarthost={"listen": both}, admin={"listen": ADDRESS + ":9126"})
    assert name(served, 2526) == "danelaw.danelaw.lab"
    assert get("/healthz", host=ADDRESS, port=9126)[0] == 200
    wait(lambda: is_refused(9125), 5, "the admin port of before is closed")
    assert served.upgrade()
    wait(lambda: is_refused(2526) and is_refused(9126), 5, "they are closed again")


SETTLED = "#!/bin/sh\ncase \"$*\" in *-t*) exit 0;; esac\n"


def replace(d, script):
    """By a script in which PROGRAM is the program of before, where the user danelaw can reach it."""
    before = d.program + ".before"
    os.rename(d.program, before)
    write(d.program, script.replace("PROGRAM", before))
    os.chmod(d.program, 0o755)


def test_upgrade_that_cannot_take_over(lab):
    """Sessions end well, and only then the service does, with the reason and code of the failure."""
    for wrong in ({"smarthost": {"listen": "192.0.2.7:2525"}}, {"unbound": {"no-such-thing": "yes"}}):
        with Reloading(lab) as d:
            write(d.folder + "/wrong.conf", ini(settings(lab, changed(**wrong))))
            replace(d, SETTLED + "exec PROGRAM serve -c %s/wrong.conf\n" % d.folder)
            with in_data(d) as c:
                d.child.send_signal(signal.SIGUSR2)
                wait(lambda: "taking over" in d.log, 5, d.tail())
                time.sleep(1)
                c.raw(stuff(MESSAGE))
                assert "421" not in c.reply(250)
            assert d.child.wait(20) in (69, 78), d.tail()
            d.child = None
            assert "cannot bind" in d.log or "no-such-thing" in d.log


def test_upgrade_that_is_dropped(served):
    """Each request is answered, also while another one is tested."""
    go_on = served.folder + "/go-on"  # the test lasts until it is there
    replace(served, "#!/bin/sh\ncase \"$*\" in *-t*) for n in $(seq 100); do [ -e %s ] && exit; "
            "sleep 0.1; done; exit;; esac\nexec PROGRAM \"$@\"\n" % go_on)
    served.child.send_signal(signal.SIGUSR2)
    wait(lambda: "is tested" in served.log, 5, served.tail())
    assert not served.upgrade()
    assert "the upgrade is refused: one that was asked for before is being tested" in served.log
    write(go_on, "")
    wait(lambda: "new workers with the present settings serve" in served.log, 5, served.tail())


def test_workers_of_before_are_given_their_time(lab):
    """What [timeouts] shutdown gave them goes with the program."""
    with Reloading(lab, {"timeouts": {"shutdown": "7s"}}) as d:
        replace(d, SETTLED + "echo handed over: $DANELAW_HANDOVER >&2\nexec PROGRAM \"$@\"\n")
        assert d.upgrade(timeouts={"shutdown": "3s"})
        assert re.search("handed over: .* shutdown=7 ", d.log), d.tail()


@pytest.mark.parametrize("text", ["", "1 shared=0 bell=1 socket=2", "%d shared=0 socket=0 worker=1:1",
                                  "%d shared=999 bell=x worker=1:99999 socket=-1"])
def test_a_forged_handover(lab, text):
    """The variable is believed by the process that it names alone, and what it holds is checked."""
    wrap = ["sh", "-c", 'DANELAW_HANDOVER=$(printf "$0" $$) exec "$@"', text]
    with Reloading(lab, wrap=wrap) as d:
        assert name(d) == "danelaw.danelaw.lab"


# ---- the service manager ----

class Manager:
    """What sd_notify says."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.said = []

    def hears(self, words, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                self.said.append(self.socket.recv(4096).decode())
            except socket.timeout:
                break
            if re.search(words, self.said[-1]):
                return self.said[-1]
        return None


def test_notifications(lab):
    """READY once all workers serve, RELOADING with its time, READY, STOPPING; and the watchdog is fed
    only while the workers turn."""
    path = lab.new_folder("notify")
    manager = Manager(path)
    with Reloading(lab, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1600000"}) as d:
        assert "STATUS=2 workers serve mail" in manager.hears("READY=1")
        assert manager.hears("WATCHDOG=1")
        assert d.reload(server={"greeting_name": "second.lab"})
        assert re.search(r"MONOTONIC_USEC=\d+", manager.hears("RELOADING=1"))
        assert manager.hears("READY=1")
        assert not d.reload(policy={"level": "strong"})
        assert "refused" in manager.hears("READY=1.*")
        wait(lambda: len(d.workers) == WORKERS, 5, d.tail())
        os.kill(d.workers[0], signal.SIGSTOP)
        # One may be on its way, or due by what the workers said last.
        assert not all(manager.hears("WATCHDOG=1", 2.5) for _ in range(3)), "a worker hangs"
        os.kill(d.workers[0], signal.SIGCONT)
        assert manager.hears("WATCHDOG=1")
        d.stop()
        assert manager.hears("STOPPING=1")


def run_with_sockets(d, sockets):
    """Starts it as systemd does, with these from descriptor 3 on."""
    wrap = 'LISTEN_FDS=%d LISTEN_PID=$$ exec "$@"' % len(sockets)
    places = [s.fileno() for s in sockets]
    for s in sockets:
        os.set_inheritable(s.fileno(), True)
    moves = " ".join("%d<&%d" % (3 + i, fd) for i, fd in enumerate(places))
    with open(d.log_file, "ab") as log:
        return subprocess.Popen(["bash", "-c", "exec %s; %s" % (moves, wrap), "bash", d.program,
                                 "serve", "-c", d.conf],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=places)


def test_sockets_of_the_manager(lab):
    """Matched by their address; served by all workers; kept over reload and upgrade."""
    d = Reloading(lab)
    with socket.create_server((ADDRESS, 2525)) as one, socket.create_server((ADDRESS, 9125)) as two:
        d.child = run_with_sockets(d, [one, two])
        try:
            d.wait_for_workers(1)
            assert name(d) == "danelaw.danelaw.lab"
            assert d.reload(server={"greeting_name": "second.lab"}) and becomes(d, "second.lab")
            assert d.upgrade(server={"greeting_name": "second.lab"}) and becomes(d, "second.lab")
            for _ in range(6):
                assert send("b@reload.lab", server=d.server).code == 250
        finally:
            d.stop()


def test_a_socket_that_nobody_serves(lab):
    """A start that would leave clients waiting is refused."""
    d = Reloading(lab)
    with socket.create_server((ADDRESS, 2599)) as stray:
        assert run_with_sockets(d, [stray]).wait(20) == 78
    assert "the service manager listens on [%s]:2599, which no `listen` names" % ADDRESS in d.log
