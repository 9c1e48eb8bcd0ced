"""What each process of a serving danelaw may do, as the kernel tells it.

What the sandbox forbids, and that it kills, is tried by tests/unit/test_sandbox.c.
"""
import os
import re
import signal
import socket

from program import PROGRAM, Danelaw
from smtp import send
from zones import wait, write

SILENT_ROOT = "198.18.200.53"
ANCHOR, DISK, STORE = "danelaw-anchor", "danelaw-spool", "danelaw-store"


def declare(lab):
    lab.domain("sandbox.lab", "3 1 1", fake={})


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def family(pid):
    """The process and all its descendants: {pid: name}."""
    found = {pid: read("/proc/%d/comm" % pid).strip()}
    for child in read("/proc/%d/task/%d/children" % (pid, pid)).split():
        found.update(family(int(child)))
    return found


def pid_of(d, name):
    return wait(lambda: [pid for pid, n in family(d.child.pid).items() if n == name], 5, name)[0]


def status(pid):
    return dict(line.split(":\t", 1) for line in read("/proc/%d/status" % pid).splitlines())


def filters(pid):
    return int(status(pid).get("Seccomp_filters", -1))


def has_filter():
    """A sanitizer's build has none."""
    with open(PROGRAM, "rb") as f:
        return b"__asan_init" not in f.read()


def is_shut_in(pid, seccomp):
    """Its status, once it has come so far."""
    s = status(pid)
    return s.get("Seccomp") == seccomp and s


def silent_hints(lab):
    path = lab.new_folder("hints")
    write(path, ". 3600000 NS ns.\nns. 3600000 A %s\n" % SILENT_ROOT)
    return path


def test_every_process(lab):
    """R-NET-14: no root, no capability, no way to get one, one thread, and a filter."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as root:
        root.bind((SILENT_ROOT, 53))  # the keeper's process waits for it
        with Danelaw(lab, {"dns": {"root_hints": silent_hints(lab), "trust_anchor": None}}) as d:
            for name in (ANCHOR, DISK, STORE):
                pid_of(d, name)
            wait(lambda: re.search(" info sandbox: system calls ", d.log), 5, d.tail())
            seccomp = "2" if has_filter() else "0"
            for pid, name in family(d.child.pid).items():
                s = wait(lambda: is_shut_in(pid, seccomp), 5, "%s: %s" % (name, status(pid)))
                assert set(s["Uid"].split()) == {"9106"} and s["Groups"].strip() == "", name
                for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                    assert int(s[kind], 16) == 0, (name, kind)
                assert (s["NoNewPrivs"], s["Threads"]) == ("1", "1"), name


def test_a_later_disk_process(lab):
    """Begun by a process in its sandbox, it enters a smaller one, and works as the first did."""
    with Danelaw(lab, {"listener smarthost": {"delivery": "queue"}}) as d:
        assert send("one@sandbox.lab", server=d.server).code == 250
        first = pid_of(d, DISK)  # it has worked: it is in its sandbox
        of_first = filters(first)
        os.kill(first, signal.SIGKILL)
        wait(lambda: first not in family(d.child.pid), 5, "its end")
        smaller = of_first + (1 if has_filter() else 0)
        wait(lambda: filters(pid_of(d, DISK)) == smaller, 5, "its successor is shut in")
        assert send("two@sandbox.lab", server=d.server).code == 250
        both = {"one@sandbox.lab", "two@sandbox.lab"}
        wait(lambda: {m.recipients[0] for m in lab["sandbox.lab"].receiver.messages} == both, 5, "both")


def test_a_death_by_the_sandbox_is_called_so(lab):
    """The kernel's log has the rest; whoever dies of it is replaced."""
    with Danelaw(lab) as d:
        os.kill(pid_of(d, DISK), signal.SIGSYS)
        wait(lambda: re.search(r"error spool: the disk process was killed by the sandbox", d.log), 5,
             "the worker says it")
        worker = d.worker
        os.kill(worker, signal.SIGSYS)
        wait(lambda: re.search(r"%d.* was killed by the sandbox .*journalctl -k" % worker, d.log), 5,
             "the supervisor says it")
        wait(lambda: d.workers and d.workers != [worker], 9, "another one")
        wait(lambda: d._greets(), 9, "it serves")
