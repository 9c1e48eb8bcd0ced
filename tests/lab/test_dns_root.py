"""Where all proofs begin: the root's key, how it is kept up (RFC 5011), and the clock.

danelaw keeps up the distribution's root key alone. Here each danelaw finds the lab's root key in
that file, in a mount namespace of its own.
"""
import calendar
import glob
import os
import re
import signal
import time
from types import SimpleNamespace

import pytest

from dnsrelay import silent
from program import Danelaw, comm
from smtp import Smtp, send
from test_dns import BOGUS, FAILED
from zones import UNSIGNED, wait, write

ANOTHER = ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n"
LAB = SimpleNamespace()


def declare(lab):
    cert = lab.cert("mx.root.lab")
    lab.domain("root-signed.lab", "3 1 1", cert=cert, fake={})
    lab.domain("root-unsigned.lab", how=UNSIGNED, cert=cert, fake={})
    LAB.silent_root = lab.relay(silent).address


class Keeping(Danelaw):
    """A danelaw that finds this seed in the distribution's file."""

    def __init__(self, lab, state, seed=None, dns=None, **how):
        self.seed = lab.new_folder("seed")
        if seed is None:
            with open(lab.dns.trust_anchor) as f:
                seed = f.read()
        write(self.seed, seed)
        here = ["unshare", "-m", "sh", "-c",
                'mount --bind "$0" /usr/share/dns/root.key && exec "$@"', self.seed]
        changes = {"server": {"state_dir": state, "user": "root"},
                   "listener smarthost": {"listen": how.pop("listen", "127.0.0.5:2525")},
                   "timeouts": {"idle_client": "2h"},
                   "dns": {"trust_anchor": None, "timeout": "1s", "total": "4s", **(dns or {})}}
        super().__init__(lab, changes, wrap=[*how.pop("wrap", ()), *here], **how)

    def says(self, text, seconds=5):
        wait(lambda: re.search(text, self.log), seconds, "%s\n%s" % (text, self.tail()))


def state_folder(lab):
    folder = lab.new_folder("root-state")
    os.makedirs(folder)
    return folder


def read(path):
    with open(path) as f:
        return f.read()


def flows(d, user):
    """Mail flows, proven by the lab's root."""
    reply = send(user + "@root-signed.lab", server=d.server)
    assert reply.code == 250, reply
    assert d.delivery_to(user + "@root-signed.lab")["tls"] == "verified"


# ---- RFC 5011 ----

def test_copy_is_kept_up(lab):
    """R-DNS-39: it appears, survives a restart, and a second process leaves it alone."""
    state = state_folder(lab)
    with Keeping(lab, state) as d:
        d.says("trust-anchor .*source=%s/root.key" % state)
        flows(d, "first")
        kept = read(state + "/root.key")
        assert "VALID" in kept and "DNSKEY" in kept
        assert read(state + "/root.key.seed") == read(d.seed)
        before = os.stat(state + "/root.key")
        with Keeping(lab, state, listen="127.0.0.6:2525") as second:
            second.says("another process keeps")
            second.says("trust-anchor .*source=%s/root.key" % state)
            flows(second, "second")
        after = os.stat(state + "/root.key")
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    kept = sorted(f for f in os.listdir(state) if f.startswith("root.key"))
    assert kept == ["root.key", "root.key.lock", "root.key.seed"]
    with Keeping(lab, state) as d:
        assert "source=%s/root.key" % state in d.log  # at once, not only after a refresh
        flows(d, "again")
        assert "begins with" not in d.log


def test_seed_that_changed(lab):
    """R-DNS-39: keys that grew from another seed are worth nothing."""
    state = state_folder(lab)
    with Keeping(lab, state, ANOTHER, dns={"dnssec_probe": "off"}) as d:
        d.says("root.key begins with the root keys of /usr/share/dns/root.key")
        d.says("not refreshed|cannot keep up the root anchor", 10)
        assert send("b@root-signed.lab", server=d.server).startswith(BOGUS)
    with Keeping(lab, state) as d:
        d.says("root.key begins with the root keys of /usr/share/dns/root.key")
        flows(d, "anew")
        d.says("trust-anchor .*source=%s/root.key" % state)
    assert "VALID" in read(state + "/root.key")


@pytest.mark.parametrize("damage", ["", "nonsense\n", ";;REVOKED\n"])
def test_damaged_copy(lab, damage):
    """D-23: never "no anchor, so all is insecure"; it begins anew with the seed."""
    state = state_folder(lab)
    write(state + "/root.key", damage)
    with open(lab.dns.trust_anchor) as f:
        write(state + "/root.key.seed", f.read())
    with Keeping(lab, state) as d:
        flows(d, "damaged")
        d.says("trust-anchor .*source=%s/root.key" % state)
    assert "VALID" in read(state + "/root.key")


def test_state_that_cannot_be_written(lab):
    """F-02, R-DNS-39: an error that says so; mail flows by the seed."""
    state = state_folder(lab)
    wrap = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none "$0" && exec "$@"', state]
    with Keeping(lab, state, wrap=wrap) as d:
        d.says(" error alarm what=anchor state=on why=\"cannot keep up .*Read-only file system")
        flows(d, "read-only")


def children(pid):
    """The keeper's; the writer of the MTA-STS cache is another child."""
    every = [int(c) for c in read("/proc/%d/task/%d/children" % (pid, pid)).split()]
    return [c for c in every if comm(c) == "danelaw-anchor"]


def sockets(pid):
    found = set()
    for fd in glob.glob("/proc/%d/fd/*" % pid):
        try:
            target = os.readlink(fd)
        except FileNotFoundError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def faketime():
    [library] = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": "verify_asan_link_order=0"}


def test_child_holds_nothing_open(lab):
    """The keeper's child lives for as long as a silent root lets it; connections that end meanwhile
    end. It is seen at the refresh an hour after a failed one, when clients are there."""
    clock, hints = lab.new_folder("clock"), lab.new_folder("hints")
    write(clock, "+0\n")
    write(hints, ". 3600000 NS ns.\nns. 3600000 A %s\n" % LAB.silent_root)
    env = dict(faketime(), FAKETIME_TIMESTAMP_FILE=clock, FAKETIME_NO_CACHE="1")
    dns = {"root_hints": hints, "dnssec_probe": "off"}
    with Keeping(lab, state_folder(lab), dns=dns, env=env) as d:
        wait(lambda: children(d.worker), 5, "the first child")
        os.kill(children(d.worker)[0], signal.SIGKILL)
        d.says("alarm what=anchor state=on why=\"cannot keep up the root anchor")
        with Smtp(d.server) as c:
            assert not children(d.worker) and len(sockets(d.worker)) >= 2
            write(clock, "+3602\n")
            c("NOOP", 250)  # the loop looks at its clock
            wait(lambda: children(d.worker), 5, "a child after an hour")
            [child] = children(d.worker)
            wait(lambda: sockets(child) and not sockets(child) & sockets(d.worker), 3,
                 "no socket is shared")
            c("QUIT", 221)
            assert c.is_closed()
            assert children(d.worker) == [child]


# ---- a root that cannot be proven (R-DNS-37) ----

def wrong_anchor(lab):
    path = lab.new_folder("wrong-anchor")
    right = read(lab.dns.trust_anchor).strip()
    write(path, right[:-8] + "%08x" % (int(right[-8:], 16) ^ 1) + "\n")
    return path


def unproven(lab, **how):
    return Danelaw(lab, {
        "listener smarthost": {"listen": "127.0.0.4:2525"},
        "domain root-unsigned.lab": {"level": "may"},
        "dns": {"timeout": "500ms", "total": "2s", **how.pop("dns", {})}}, **how)


def test_wrong_root_key(lab):
    """D-23: the first mail waits for the verdict, then is deferred, with the reason."""
    with unproven(lab, dns={"trust_anchor": wrong_anchor(lab), "timeout": "1s", "total": "4s"}) as d:
        reply = send("b@root-signed.lab", server=d.server, timeout=20)
        assert reply.startswith(FAILED + ": DNSSEC does not work on this proxy"), reply
        assert 0 < d.log.find("< RCPT TO:<b@root-signed.lab>") < d.log.find("error DNSSEC does not work")
        assert "check the network, [dns] forward, [dns] trust_anchor and the clock" in d.log
        assert send("b@root-unsigned.lab", server=d.server).startswith(BOGUS)  # level may


@pytest.mark.parametrize("clock", ["-1y", "+1y"])
def test_wrong_clock(lab, clock):
    """D-24: nothing can be proven, so nothing is sent; neither signed nor unsigned, at no level."""
    names = ("root-signed.lab", "root-unsigned.lab")
    before = {name: len(lab[name].receiver.connections) for name in names}
    with unproven(lab, env=dict(faketime(), FAKETIME=clock, DONT_FAKE_MONOTONIC="1")) as d:
        for name in names:
            reply = send("b@" + name, server=d.server)
            assert reply.startswith("451 4.4.3 "), reply
            assert len(lab[name].receiver.connections) == before[name]
        says = calendar.timegm(time.strptime(d.log[:19], "%Y-%m-%dT%H:%M:%S"))
        assert abs(says - time.time() - int(clock[:2]) * 365 * 86400) < 2 * 86400
        assert "error DNSSEC does not work" in d.log
        assert d.deliveries(status="sent") == []
