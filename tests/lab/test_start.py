"""The first minute: the command line, what a start needs, what it says if that is missing, the end.

Nothing here goes further than danelaw's first words but for the tests with a lab of mail hosts."""
import ctypes
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from program import PROGRAM, Danelaw
from smtp import Smtp, send
from zones import wait, write

NOBODY = ["setpriv", "--reuid", "9999", "--regid", "9999", "--clear-groups"]
DEFAULT = "/etc/danelaw/danelaw.conf"


def declare(lab):
    lab.domain("start.lab", "3 1 1", fake={})
    lab.domain("start-literal.lab", "3 1 1", fake={})
    lab.domain("start-secure.lab", fake={})
    lab.domain("start-slow.lab", "3 1 1", fake={"replies": {".": slowly}})


def slowly(c, text):
    """The final reply comes a moment after the dot; by subject also never."""
    c.stall(600 if b"never" in text else 0.7)
    return "250 2.0.0 taken at last"


@pytest.fixture(scope="module", autouse=True)
def offline(lab):
    """A danelaw without network, from the first test on: what it finds out takes it ten seconds."""
    with Serving(lab, wrap=isolated()) as d:
        yield d.ready()


def run(*words, wrap=(), seconds=30, **env):
    """Runs it to its end: exit status, stdout, stderr."""
    done = subprocess.run([*wrap, PROGRAM, *words], capture_output=True, text=True,
                          timeout=seconds, env={**os.environ, **env}, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


class Serving:
    """A danelaw without the lab's configuration, alive within the block."""

    def __init__(self, lab, *words, wrap=(), env=None):
        self.log_file = lab.new_folder("start-log")
        self.command = [*wrap, PROGRAM, *words]
        self.env = {**os.environ, **(env or {})}

    def __enter__(self):
        with open(self.log_file, "ab") as log:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env=self.env)
        return self

    def __exit__(self, *exc):
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(30) == 0, self.log

    @property
    def log(self):
        with open(self.log_file) as f:
            return f.read()

    def says(self, text, seconds=5):
        wait(lambda: re.search(text, self.log) or self.child.poll() is not None, seconds,
             "%s\n%s" % (text, self.log))
        assert re.search(text, self.log), self.log

    def ready(self):
        self.says("listening on .127.0.0.1.:2525", 10)
        return self


@contextmanager
def network_of(pid):
    """Sockets made inside belong to that process's network (of this thread alone)."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path):
        with open(path) as f:
            assert libc.setns(f.fileno(), 0x40000000) == 0, os.strerror(ctypes.get_errno())
    own = "/proc/self/task/%d/ns/net" % threading.get_native_id()
    with open(own) as home:
        enter("/proc/%d/ns/net" % pid)
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0x40000000) == 0


def isolated(setup="true"):
    """A network of its own, in which nothing answers."""
    return ["unshare", "-n", "sh", "-c", setup + '; ip link set lo up; exec "$@"', "sh"]


def is_port_free(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 1).close()
        return False
    except ConnectionRefusedError:
        return True


# ---- the command line ----

def test_version_and_help():
    code, out, err = run("-V")
    assert (code, err) == (0, "") and out == run("--version")[1]
    for library in ("danelaw 0.", "OpenSSL 3.", "libunbound 1.", "libev 4.", "libcurl 7.",
                    "SQLite 3."):
        assert library in out
    code, out, err = run("-h")
    assert (code, err) == (0, "") and out == run("--help")[1]
    lines = out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100, "one screen"
    for word in ("-t", "-V", "-c FILE", "-o section.key=value", "64", "69", "70", "78"):
        assert word in out


@pytest.mark.parametrize("words", [
    ["dance"], ["serve", "more"], ["-x"], ["-o"], ["-c"], ["--verbose"], ["", "x"], ["-t", "serve", "-q"],
])
def test_usage(words):
    """Exit 64, a word about help, and nothing on stdout."""
    code, out, err = run(*words)
    assert code == 64 and out == "" and "try: danelaw" in err and "--help" in err


# ---- the configuration ----

MISTAKES = """[nonsense]
x = 1
[policy]
level = strong
colour = blue
min_tls = 1.2
min_tls = 1.3
[limits]
recipients = 3
[server]
user = no-such-user-here
[listener open]
listen = 0.0.0.0:2525
[timeouts]
rcpt = 301s
[dns]
trust_anchor = /nonexistent/anchor
forward = not-an-address
"""


@pytest.mark.parametrize("words", [["-t"], [], ["serve"]], ids=["-t", "bare", "serve"])
def test_every_mistake_is_named(tmp_path, words):
    """R-NET-01, N-08, R-SMTP-39: 78, each mistake with FILE:LINE, once; nothing is started."""
    conf = str(tmp_path / "mistakes.conf")
    write(conf, MISTAKES)
    code, out, err = run(*words, "-c", conf)
    assert code == 78 and out == ""
    named = [int(n) for n in re.findall(r"^%s:(\d+): " % re.escape(conf), err, re.M)]
    assert sorted(named) == [1, 4, 5, 7, 9, 11, 13, 15, 17, 18], err
    assert len(err.splitlines()) == len(named), err
    assert "starts" not in err and is_port_free(2525)


@pytest.mark.parametrize("text, line", [
    (b"[policy]\nlevel = dane\n[policy\n", 3),
    (b"[policy]\nlevel = dane\nlevel\n", 3),
    (b"level = dane\n", 1),
    (b"[policy]\nlevel = da\0ne\n", 2),
    (b"[policy]\n\n; c\nnext_hop = " + b"x" * 9000 + b"\n", 4),
    (b"[domain a..b]\nlevel = may\n", 1),
])
def test_broken_files(tmp_path, text, line):
    """Syntax too is told with its line."""
    conf = tmp_path / "broken.conf"
    conf.write_bytes(text)
    code, _, err = run("-t", "-c", str(conf))
    assert code == 78 and "%s:%d: " % (conf, line) in err, err


def test_missing_file(tmp_path):
    """A file that was named must be there; the default one need not."""
    for path, why in ((str(tmp_path / "none.conf"), "No such file"), (str(tmp_path), "")):
        for words in (["-t"], []):
            code, _, err = run(*words, "-c", path)
            assert code == 78 and path in err and why in err and len(err.splitlines()) == 1
    assert not os.path.exists(DEFAULT)
    code, out, err = run("-t")
    assert (code, out) == (0, "") and "built-in defaults" in err and len(err.splitlines()) == 1


def test_good_file_and_options(tmp_path):
    """-o replaces what the file says, the last wins, and its mistakes are told as such."""
    conf = str(tmp_path / "good.conf")
    write(conf, "[timeouts]\nrcpt = 400s\n")
    good, bad = ("-o", "timeouts.rcpt=200s"), ("-o", "timeouts.rcpt=301s")
    assert run("-t", "-c", conf)[0] == 78
    assert run("-t", "-c", conf, *good) == run("-t", "-c", conf, *bad, *good) == (0, "", "")
    code, _, err = run("-t", "-c", conf, *good, *bad)
    assert code == 78 and "-o timeouts.rcpt" in err and "good.conf" not in err
    assert run("-t", "-o", "domain .example.org.level=may")[:2] == (0, "")
    for bad in ("policy.=may", "nosection.level=may"):
        code, _, err = run("-t", "-o", bad)
        assert code == 78 and len(err.splitlines()) == 1, (bad, err)
    for bad in ("policy.level", "level=may", "=", ""):
        code, _, err = run("-t", "-o", bad)
        assert code == 64 and "section.key=value" in err and "danelaw --help" in err, (bad, err)


def complaints(err):
    """Without what a start says first, and its warnings: how many descriptors a machine has is its own."""
    return [line for line in err.splitlines() if not re.search(": (info|warning) ", line)]


@pytest.mark.parametrize("words", [["-t"], []], ids=["-t", "serve"])
@pytest.mark.parametrize("content", [None, b"", b"\n; nothing\n", b"garbage\n", b"\0\xff\0",
                                     b". IN DS 20326 8 2 00\n", "folder"])
def test_unusable_trust_anchor(lab, content, words):
    """R-DNS-38, D-23: without a usable anchor everything would look insecure: 78, and one line."""
    anchor = lab.new_folder("anchor")
    if content == "folder":
        os.mkdir(anchor)
    elif content is not None:
        with open(anchor, "wb") as f:
            f.write(content)
    code, _, err = run(*words, "-o", "dns.trust_anchor=" + anchor)
    assert code == 78 and len(complaints(err)) == 1 and "trust_anchor" in complaints(err)[0], err
    assert "listening" not in err and "Permission denied" not in err


@pytest.mark.parametrize("option", ["unbound.no-such-thing=yes", "unbound.num-queries-per-thread=many",
                                    "unbound.module-config=iterator", "server.user=no-such-user"])
@pytest.mark.parametrize("words", [["-t"], []], ids=["-t", "serve"])
def test_settings_that_others_judge(option, words):
    """What libunbound or the user database refuses is found by -t as it is by serve."""
    code, _, err = run(*words, "-o", option)
    assert code == 78 and option.split(".")[1].split("=")[0] in err and "listening" not in err


# ---- ports ----

def test_port_taken(lab):
    """69 and one line that says what to do; an address bound before it is given back."""
    with socket.create_server(("127.0.0.1", 2526)):
        code, _, err = run("-o", "listener a.listen=127.0.0.1:2525 127.0.0.1:2526")
        assert code == 69 and len(complaints(err)) == 1, err
        assert "127.0.0.1]:2526" in err and "another program has this port" in complaints(err)[0]
        assert is_port_free(2525)


def test_low_port_without_root():
    code, _, err = run("-o", "listener a.listen=127.0.0.1:25", wrap=NOBODY)
    assert code == 69 and "CAP_NET_BIND_SERVICE" in err.splitlines()[-1]


def test_foreign_address():
    """An address that was written must be there; only the default one of a family may be absent."""
    code, _, err = run("-o", "listener a.listen=192.0.2.1:2525", "-o", "listener a.clients=::1")
    assert code == 69 and "does not have that address" in err.splitlines()[-1]


# ---- what may be missing ----

def test_defaults(lab):
    """Without any file: both loopbacks, greeted by a name that is not the host's, state kept."""
    with Serving(lab) as d:
        d.ready().says(r"listening on \[::1\]:2525")
        with Smtp(("::1", 2525)) as c:
            assert c.transcript[0].startswith("S: 220 danelaw.client.lab ESMTP")
        assert os.stat("/var/lib/danelaw").st_uid == pwd.getpwnam("danelaw").pw_uid
        wait(lambda: os.path.exists("/var/lib/danelaw/root.key"), 5, "RFC 5011 state")


def test_no_ipv6(lab):
    setup = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
    with Serving(lab, wrap=isolated(setup)) as d:
        d.ready()
        assert "::1" not in d.log
        with network_of(d.child.pid), Smtp():
            pass
    code, _, err = run("-o", "listener a.listen=[::1]:2525", wrap=isolated(setup))
    assert code == 69 and "::1" in err.splitlines()[-1]


def test_short_host_name(lab):
    """R-SMTP-49: a host without full name is said so, and never named to others by half of it."""
    with Danelaw(lab, {"server": {"hostname": None}},
                 wrap=["unshare", "-u", "sh", "-c", 'hostname shorty; exec "$@"', "sh"]) as d:
        assert re.search("warning this host has no full name", d.log)
        with Smtp() as c:
            assert c.transcript[0] == "S: 220 danelaw ESMTP"
        assert send("b@start-literal.lab").code == 250
    mx = lab["start-literal.lab"].receiver
    said = bytes(mx.clear + mx.secret)
    assert b"shorty" not in said
    names = re.findall(rb"^EHLO (.*)\r$", said, re.M)
    assert len(names) == 2 and all(re.fullmatch(rb"\[[0-9.]+\]", n) for n in names), names
    assert b"by [127.0.0.1]" in mx.messages[-1].data


def test_no_root(lab):
    """An ordinary user can run it; its state goes to its own folder."""
    home = lab.new_folder("home")
    os.mkdir(home)
    os.chown(home, 9999, 9999)
    with Danelaw(lab, {"server": {"state_dir": None}}, wrap=["env", "HOME=" + home, *NOBODY]):
        assert send("b@start.lab").code == 250
    assert os.stat(home + "/.local/state/danelaw").st_uid == 9999


@pytest.mark.parametrize("env, wanted", [
    ({"STATE_DIRECTORY": "%s/a:%s/b"}, "%s/a"), ({"XDG_STATE_HOME": "%s/x"}, "%s/x/danelaw"),
    ({"XDG_STATE_HOME": "relative", "HOME": "%s"}, "%s/.local/state/danelaw"),
])
def test_state_directory(lab, env, wanted):
    top = lab.new_folder("states")
    os.mkdir(top)
    os.chown(top, 9999, 9999)
    env = {k: v.replace("%s", top) for k, v in env.items()}
    with Serving(lab, wrap=NOBODY, env={"HOME": "/nonexistent", **env}) as d:
        d.ready()
        wait(lambda: os.path.exists(wanted.replace("%s", top) + "/root.key"), 5, "state")


def foreign(lab, kind):
    """Something that a mistyped state_dir may name."""
    path = lab.new_folder("foreign")
    os.mkdir(path)
    with open(path + "/file", "w") as f:
        f.write("somebody's")
    if kind == "link":
        os.symlink(path, path + "-link")
    return {"file": path + "/file", "directory": path, "link": path + "-link"}[kind], path


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_root_gives_nothing_away(lab, kind):
    """R-NET-14: the owner of what is not danelaw's own never changes; mail flows without state."""
    named, path = foreign(lab, kind)
    with Serving(lab, "-o", "server.state_dir=" + named) as d:
        d.ready().says("warning .*state_dir")
    assert os.stat(path).st_uid == os.stat(path + "/file").st_uid == 0


def test_an_empty_directory_is_handed_over(lab):
    path = lab.new_folder("empty")
    os.mkdir(path)
    with Serving(lab, "-o", "server.state_dir=" + path) as d:
        d.ready()
        assert os.stat(path).st_uid != 0


@pytest.mark.parametrize("clients", ["::/0", "0.0.0.0/1 128.0.0.0/1"])
def test_an_open_relay_is_called_one(lab, clients):
    out = subprocess.run([PROGRAM, "-t", "-o", "listener a.listen=0.0.0.0:2525",
                          "-o", "listener a.clients=" + clients], capture_output=True, text=True, timeout=30)
    assert out.returncode == 0 and "open relay" in out.stderr


def test_a_relative_state_directory(lab):
    out = subprocess.run([PROGRAM, "-t", "-o", "server.state_dir=var/lib"], capture_output=True,
                         text=True, timeout=30)
    assert out.returncode == 78 and "var/lib is not an absolute path" in out.stderr


def test_state_directory_not_writable(lab):
    """R-DNS-39: it serves, and says what it cannot do."""
    folder = lab.new_folder("locked")
    os.mkdir(folder, 0o755)
    with Serving(lab, "-o", "server.state_dir=" + folder, wrap=NOBODY) as d:
        d.ready().says(": (warning|error) .*%s" % re.escape(folder))
        with Smtp():
            pass


def test_ca_file_missing_is_said_by_the_test():
    """F-10: -t warns; it is no reason not to start."""
    code, out, err = run("-t", "-o", "tls.ca_file=/nonexistent/ca.pem")
    assert code == 0 and out == ""
    assert re.search("^danelaw: warning: CA file /nonexistent/ca.pem: No such file", err, re.M)


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_ca_file_unusable(lab, tmp_path, content):
    """Starts and says so; DANE needs no CA, level secure is refused with a reason."""
    ca = str(tmp_path / "ca.pem")
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    os.chmod(tmp_path, 0o755)
    with Danelaw(lab, {"tls": {"ca_file": ca},
                       "domain start-secure.lab": {"level": "secure"}}) as d:
        assert re.search(r"error alarm what=ca-missing state=on why=.CA file %s: .*level secure are refused" % ca, d.log)
        assert send("b@start.lab").code == 250
        assert send("b@start-secure.lab").startswith("451 4.7.5 ")
    assert b"MAIL" not in lab["start-secure.lab"].receiver.secret


# ---- the user ----

def status(pid, *keys):
    with open("/proc/%d/status" % pid) as f:
        found = dict(line.split(":", 1) for line in f)
    return [found[k].split() for k in keys]


@pytest.mark.parametrize("user", [None, "nsd"])
def test_root_is_left(lab, user):
    """Nothing of root stays: ids, groups, capabilities; the state directory changes hands."""
    account = pwd.getpwnam(user or "danelaw")
    uid, gid = str(account.pw_uid), str(account.pw_gid)
    folder = lab.new_folder("state")
    with Danelaw(lab, {"server": {"user": user, "state_dir": folder},
                       "listener smarthost": {"listen": "127.0.0.1:2525 127.0.0.1:24"}}) as d:
        uids, gids, groups, caps, nnp = status(d.child.pid, "Uid", "Gid", "Groups", "CapEff",
                                               "NoNewPrivs")
        assert uids == [uid] * 4 and gids == [gid] * 4 and groups == []
        assert int(caps[0], 16) == 0 and nnp == ["1"]
        assert str(os.stat(folder).st_uid) == uid
        with Smtp(("127.0.0.1", 24)):
            pass
        assert send("b@start.lab").code == 250


def test_no_danelaw_user(lab, tmp_path):
    """nobody, with a warning; a process that is root stays so by no default."""
    passwd = str(tmp_path / "passwd")
    with open("/etc/passwd") as f:
        write(passwd, "".join(line for line in f if not line.startswith("danelaw:")))
    hide = ["unshare", "-m", "sh", "-c", 'mount --bind %s /etc/passwd; exec "$@"' % passwd, "sh"]
    with Serving(lab, wrap=hide) as d:
        d.ready().says("warning there is no user danelaw: running as nobody")
        assert status(d.child.pid, "Uid")[0] == ["65534"] * 4


# ---- descriptors ----

def test_descriptor_limit_is_raised(lab):
    """The soft limit is nobody's decision; what the hard one allows is said."""
    with Serving(lab, "-o", "server.workers=1", "-o", "listener a.listen=127.0.0.1:2525",
                 "-o", "listener a.max_sessions=5000", wrap=["prlimit", "--nofile=256:4096"]) as d:
        d.ready().says("warning max_sessions asks for 5000 sessions, .* allows 315")
        with open("/proc/%d/limits" % d.child.pid) as f:
            assert re.search(r"Max open files +4096 +4096 ", f.read())


# ---- the log ----

KEYS = ("session client from to mx policy mx_dnssec tls tlsa protocol cipher reused size dns_ms tls_ms "
        "total_ms status reason would_refuse reply").split()


def test_log_as_json(lab):
    """Every line parses, also where a peer chose the words; a delivery has its keys in order."""
    with Danelaw(lab, {"log": {"format": "json", "level": "debug"}}) as d:
        assert send("b@start.lab").code == 250
        with Smtp() as c:
            c.raw(b'NOOP "\\\x01\xff{"a":1}\r\n')
            c.reply()
            c.raw("EHLO \u2028\u00e9\r\n".encode())
            c.reply()
            c('MAIL FROM:<"a\\"b"@client.lab>')
            c("RCPT TO:<b@nowhere.lab>", 550)
    lines = [json.loads(line) for line in d.log.splitlines()]
    assert len(lines) > 30 and all(line["level"] and line["time"] for line in lines)
    deliveries = [line for line in lines if line.get("event") == "delivery"]
    assert len(deliveries) == 2
    for line in deliveries:
        assert [k for k in line if k not in ("time", "level", "event")] == KEYS
    assert deliveries[1]["from"] == '<"a\\"b"@client.lab>'


@pytest.mark.parametrize("level, absent, present", [
    ("error", ["warning", "info", "debug"], []),
    ("warning", ["info", "debug"], ["warning"]),
    ("info", ["debug"], ["info", "warning"]),
    ("debug", [], ["info", "warning", "debug"]),
])
def test_log_levels(lab, level, absent, present):
    with Danelaw(lab, {"log": {"level": level}}) as d:
        send("b@nowhere.lab")
        send("b@start.lab")
    for word in absent:
        assert " danelaw: %s " % word not in d.log
    for word in present:
        assert " danelaw: %s " % word in d.log


# ---- the end ----

def test_stop_while_idle(lab):
    """SIGTERM: exit 0 at once, idle clients hear 421."""
    with Danelaw(lab) as d:
        with Smtp() as c:
            started = time.monotonic()
            d.stop()
            assert time.monotonic() - started < 9
            assert c.reply(421).startswith("421 4.3.2 shutdown") and c.is_closed()
    assert is_port_free(2525)


def begin(to, subject, ehlo="client.lab"):
    c = Smtp(ehlo=ehlo)
    c("MAIL FROM:<a@client.lab>", 250)
    c("RCPT TO:<%s>" % to, 250)
    c("DATA", 354)
    c.raw(b"Subject: %s\r\n\r\n" % subject)
    return c


def test_stop_while_busy(lab):
    """R-SMTP-82: messages under way end well, in the body and after the dot; then exit 0."""
    with Danelaw(lab) as d:
        writing, waiting, between = begin("b@start.lab", b"w"), begin("b@start-slow.lab", b"x"), Smtp()
        between("MAIL FROM:<a@client.lab>", 250)
        waiting.raw(b".\r\n")
        wait(lambda: " data -> " in d.log or "final" in d.log, 2, "the dot is passed on")
        d.child.send_signal(signal.SIGTERM)
        assert between.reply(421).startswith("421 4.3.2 shutdown")
        wait(lambda: is_port_free(2525), 2, "nobody is accepted any more")
        writing.raw(b"late\r\n.\r\n")
        writing.reply(250)
        assert waiting.reply(250) == "250 2.0.0 taken at last"
        assert d.child.wait(20) == 0
        d.child = None
    assert {f["status"] for f in d.deliveries()} == {"sent"} and len(d.deliveries()) == 2
    assert lab["start.lab"].receiver.messages[-1].data.endswith(b"late\r\n")


@pytest.mark.parametrize("how", ["timeout", "second signal"])
def test_stop_is_bounded(lab, how):
    """What does not end is cut: outcome-unknown after the dot, refused before it."""
    with Danelaw(lab, {"timeouts": {"shutdown": "300ms" if how == "timeout" else "90s"}}) as d:
        final, body = begin("b@start-slow.lab", b"never"), begin("b@start.lab", b"half")
        count = len(lab["start.lab"].receiver.messages)
        final.raw(b".\r\n")
        wait(lambda: "data end" in d.log or "final" in d.log, 2, "the dot is passed on")
        started = time.monotonic()
        d.child.send_signal(signal.SIGTERM)
        if how != "timeout":
            wait(lambda: "stopping:" in d.log, 2, "the first signal is heard")
            d.child.send_signal(signal.SIGTERM)
        assert final.reply().startswith("451 4.4.2 outcome-unknown")
        assert body.reply().startswith("421 4.3.2 shutdown")
        assert d.child.wait(20) == 0 and time.monotonic() - started < 10
        d.child = None
    assert d.delivery_to("b@start-slow.lab")["reason"] == "outcome-unknown"
    assert d.delivery_to("b@start.lab")["status"] == "deferred"
    assert len(lab["start.lab"].receiver.messages) == count


# ---- after ten seconds ----

def test_no_network(offline):
    """R-DNS-37: no network, no DNS: listens, says so, and answers 451; no riddle and no 5xx."""
    offline.says("DNSSEC does not work: .*; destinations under dane are deferred", 14)
    with network_of(offline.child.pid):
        for name in ("start.lab", "start.plain"):
            assert send("b@" + name).startswith("451 4.4.3 dns-failed")
