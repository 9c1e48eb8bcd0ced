"""The package as an administrator meets it: installed by apt in a clean system, which systemd runs
with the unit as it is, in the lab's network. tests/lab/package/run prepares the system."""
import contextlib
import os
import re
import subprocess
import time

import pytest

from smtp import Smtp, send
from zones import wait

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "../../../build/package")
CONF = "/etc/danelaw/danelaw.conf"
SERVER = ("127.0.0.1", 2525)
CAP_NET_RAW = 13


def declare(lab):
    lab.domain("package.lab", "3 1 1")
    lab.domain("package-silent.lab", "3 1 1", fake={"replies": {"MAIL": "451 4.3.0 not now"}})


class Machine:
    """The installed system, from its first process on."""

    def __init__(self, folder):
        self.folder = folder
        self.group = None

    def start(self):
        self._make_group()
        self.child = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"', "sh", self.group,
             "unshare", "-m", "-p", "-u", "-C", "-f", "--kill-child",
             HERE + "/boot", BUILD + "/root", self.folder + "/tree"])
        wait(self._is_up, 40, "systemd has started everything")

    def stop(self):
        self.child.kill()
        self.child.wait(10)
        wait(self._remove_group, 10, "all processes of the system are gone")

    def run(self, *words, status=0, **how):
        """Both outputs of a command inside, which must end with this status."""
        done = subprocess.run([*self.enter(), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=180, **how)
        assert done.returncode == status, "%s\n%s\n%s" % (" ".join(words), done.stdout,
                                                          self.tail())
        return done.stdout

    def tail(self):
        return subprocess.run(self.enter() + ["journalctl", "--no-pager", "-n", "30"],
                              capture_output=True, text=True, timeout=20).stdout

    def enter(self):
        return ["nsenter", "-t", self.first, "-m", "-p", "-u", "-C", "-r", "-w", "--"]

    def restart(self):
        """The manager's limit of starts is meant for others than tests."""
        self.run("systemctl", "reset-failed", "danelaw")
        self.run("systemctl", "restart", "danelaw")
        wait(greets, 10, "danelaw serves\n" + self.tail())

    def journal(self):
        """With all that was said until now."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "danelaw")

    def configure(self, **settings):
        """As with an editor: takes the # away and writes a value behind the =."""
        text = self.run("cat", CONF)
        for key, value in settings.items():
            text, count = re.subn("^#?%s =.*" % key, "%s = %s" % (key, value), text, count=1, flags=re.M)
            assert count == 1
        self.run("tee", CONF, input=text)

    @property
    def first(self):
        with open("/proc/%d/task/%d/children" % (self.child.pid, self.child.pid)) as f:
            return f.read().split()[0]

    def _is_up(self):
        with contextlib.suppress(IndexError, AssertionError, OSError):
            return self.run("systemctl", "is-system-running") == "running\n"

    def _make_group(self):
        """A control group of its own, which the system takes for the whole tree."""
        mount = self.folder + "/cgroup"
        os.makedirs(mount)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", mount], check=True)
        self.group = "%s/danelaw-lab-%d" % (mount, time.time_ns())
        os.mkdir(self.group)

    def _remove_group(self):
        subprocess.run(["find", self.group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"],
                       stderr=subprocess.DEVNULL)
        return not os.path.exists(self.group)


def greets(server=SERVER):
    with contextlib.suppress(OSError), Smtp(server, ehlo=None) as c:
        return c.reply(220)


@pytest.fixture(scope="module")
def machine(lab):
    m = Machine(lab.new_folder("machine"))
    m.start()
    for path, name in ((lab.dns.root_hints, "hints"), (lab.dns.trust_anchor, "anchor")):
        with open(path) as f:
            m.run("tee", "/etc/lab." + name, input=f.read())
    yield m
    m.stop()


def readme():
    """The commands of its section about the service that follow the installation."""
    with open(HERE + "/../../../README.md") as f:
        section = f.read().split("### As a service\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.split("#")[0].replace("sudo ", "").strip()
             for line in re.findall("^    (.*)$", section, re.M)]
    assert lines[0] == "make deb" and lines[1].startswith("apt install ./build/deb/danelaw_")
    return lines[2:]


def test_it_serves_as_installed(machine):
    """Nothing was configured, and it was started at boot."""
    assert machine.run("systemctl", "is-enabled", "danelaw") == "enabled\n"
    wait(greets, 5, "it serves")
    machine.run("danelaw", "-t")
    assert machine.run("dpkg", "-V", "danelaw") == ""


def test_the_readme_s_path_to_a_first_mail(lab, machine):
    """Edited where the README says so; the rest is done by its own commands."""
    for command in readme():
        if command.startswith("sudoedit"):
            machine.configure(hostname="danelaw.lab", root_hints="/etc/lab.hints",
                              trust_anchor="/etc/lab.anchor",
                              allow_addresses="198.18.0.0/15")
        else:
            machine.run("sh", "-c", command)
    wait(greets, 5, "it serves")
    wait(lambda: send("someone@package.lab").code == 250, 10, "the mail is delivered")
    assert lab["package.lab"].delivered("someone")
    line = [x for x in machine.journal().splitlines() if " status=sent" in x][-1]
    assert "policy=dane mx_dnssec=secure tls=verified" in line


def processes(machine):
    group = machine.run("systemctl", "show", "-P", "ControlGroup", "danelaw").strip()
    return machine.run("cat", "/sys/fs/cgroup%s/cgroup.procs" % group).split()


def statuses(machine):
    """What the kernel says of each; one that ends meanwhile is none of them."""
    each = 'for pid in "$@"; do cat "/proc/$pid/status" 2>/dev/null && echo; done; :'
    return machine.run("sh", "-c", each, "sh", *processes(machine)).strip().split("\n\n")


def rights(machine):
    """The capabilities that any process of the service has; all run as the unprivileged user."""
    uid = machine.run("id", "-u", "danelaw").strip()
    found, running = 0, statuses(machine)
    assert running
    for status in running:
        assert re.search(r"^Uid:\s+%s\s+%s\s+%s\s+%s$" % ((uid,) * 4), status, re.M)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert re.search(r"^Seccomp:\s+2$", status, re.M)
        for kind in ("Prm", "Eff", "Amb"):
            found |= int(re.search(r"^Cap%s:\s+(\w+)$" % kind, status, re.M)[1], 16)
    return found


def test_R_NET_14_no_process_has_rights(machine):
    assert rights(machine) == 0


def test_R_NET_14_tproxy_keeps_one(machine):
    """With which connections to mail hosts are marked; it would not start without."""
    before = machine.run("cat", CONF)
    machine.run("tee", "-a", CONF, input="\n[listener taken]\nlisten = 127.0.0.8:2526\n"
                "intercept = tproxy\nclients = 192.0.2.0/24\n")
    machine.restart()
    assert rights(machine) == 1 << CAP_NET_RAW
    machine.run("tee", CONF, input=before)
    machine.restart()


def test_a_privileged_port(machine):
    machine.configure(listen="127.0.0.1:25 127.0.0.1:2525")
    machine.restart()
    assert greets(("127.0.0.1", 25))


def test_reload(machine):
    """What is wrong is refused, and the service goes on; what is right applies, in the same process."""
    first = machine.run("systemctl", "show", "-P", "MainPID", "danelaw")
    before = machine.run("cat", CONF)
    machine.configure(level="strongest")
    machine.run("systemctl", "reload", "danelaw", status=1)
    assert "strongest is not one of" in machine.journal() and greets()
    machine.run("tee", CONF, input=before)
    machine.configure(greeting_name="reloaded.lab")
    machine.run("systemctl", "reload", "danelaw")
    wait(lambda: "reloaded.lab" in (greets() or ""), 10, "the new settings apply")
    assert machine.run("systemctl", "show", "-P", "MainPID", "danelaw") == first


def test_an_upgrade_in_place(machine):
    """SIGUSR2 within the unit's limits: another image, the same process for systemd, no right more."""
    first = machine.run("systemctl", "show", "-P", "MainPID", "danelaw")
    before = machine.journal().count(" starts\n")
    machine.run("systemctl", "kill", "--kill-whom=main", "-s", "SIGUSR2", "danelaw")
    wait(lambda: machine.journal().count(" starts\n") > before, 10, "the new image starts")
    wait(greets, 5, "it serves")
    assert machine.run("systemctl", "show", "-P", "MainPID", "danelaw") == first
    assert machine.run("systemctl", "is-active", "danelaw") == "active\n"
    assert rights(machine) == 0


def test_a_socket_of_systemd(machine):
    """packaging/examples/danelaw.socket: nobody is refused while danelaw does not run."""
    with open(HERE + "/../../../packaging/examples/danelaw.socket") as f:
        unit = f.read().replace("10.0.0.5:25", "127.0.0.9:25")
    machine.run("tee", "/etc/systemd/system/danelaw.socket", input=unit)
    machine.configure(listen="127.0.0.1:2525 127.0.0.9:25")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "stop", "danelaw")
    machine.run("systemctl", "start", "danelaw.socket")
    assert greets(("127.0.0.9", 25)), "the first client starts it"
    assert greets()
    machine.run("systemctl", "stop", "danelaw.socket", "danelaw")
    machine.run("rm", "/etc/systemd/system/danelaw.socket")
    machine.run("systemctl", "daemon-reload")
    machine.restart()


def test_a_wrong_configuration_is_not_tried_for_ever(machine):
    before = machine.run("cat", CONF)
    machine.configure(level="strongest")
    machine.run("systemctl", "restart", "danelaw", status=1)
    assert machine.run("systemctl", "show", "-P", "ActiveState", "danelaw") == "failed\n"
    assert CONF + ":" in machine.journal()
    machine.run("tee", CONF, input=before)
    machine.restart()


def test_purge_keeps_what_was_promised(machine):
    """Mail that waits outlives the package, and is told of; it is there again with it."""
    machine.configure(delivery="queue")
    machine.restart()
    wait(lambda: send("someone@package-silent.lab").code == 250, 10, "the mail is queued")
    assert "1 undelivered message" in machine.run("apt-get", "-y", "remove", "danelaw")
    said = machine.run("dpkg", "--purge", "danelaw")
    assert "1 message" in said and "/var/lib/danelaw/spool" in said
    machine.run("dpkg", "-i", "/root/danelaw.deb")
    assert "someone@package-silent.lab" in machine.run("danelaw", "queue")
    machine.give_up = re.search(r"give them up: (rm .*)", said)[1]


def test_purge_removes_what_install_made(machine):
    """Of files, directories, links and accounts nothing is left, once the mail is given
    up in the way that the last purge named."""
    machine.run("dpkg", "--purge", "danelaw")
    machine.run("sh", "-c", machine.give_up)
    machine.run("dpkg", "-i", "/root/danelaw.deb")
    wait(greets, 5, "it serves")
    machine.run("dpkg", "--purge", "danelaw")
    left = machine.run("find", "/etc", "/usr", "/lib", "/var", "-xdev", "-name", "*danelaw*")
    assert not left
    assert "danelaw" not in machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow")
