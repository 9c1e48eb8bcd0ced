"""danelaw itself, as the tests start, read and stop it.

    with Danelaw(lab, {"policy": {"fallback": "encrypt"}, "domain x.lab": {"level": "may"}}) as d:
        ...
        d.deliveries()[-1]["tls"]

The program is $DANELAW, else build/danelaw. Leaving the block stops it with SIGTERM: it must exit
with 0, in time, and a sanitizer must have found nothing.
"""
import os
import re
import signal
import subprocess

import smtp
from netlab import HERE as THIS_HOST
from zones import wait, write

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.abspath(os.environ.get("DANELAW") or HERE + "/../../build/danelaw")
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")
FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


def is_built():
    return os.access(PROGRAM, os.X_OK)


def settings(lab, changes=None):
    """The lab's configuration: {section: {key: value}}; a change to None removes the key."""
    sections = {
        "server": {"hostname": "danelaw.lab", "state_dir": lab.folder + "/state", "workers": "1"},
        "listener smarthost": {"listen": "127.0.0.1:2525", "clients": "127.0.0.0/8 198.18.0.0/15"},
        "dns": {"root_hints": lab.dns.root_hints, "trust_anchor": lab.dns.trust_anchor},
        "policy": {"allow_addresses": "198.18.0.0/15 2001:db8:25::/48"},
        "tls": {"ca_file": lab.ca.pem},
        "mta-sts": {"fetch_timeout": "4s"},
        "log": {"level": "debug"},
    }
    for section, keys in (changes or {}).items():
        sections.setdefault(section, {}).update(keys)
    return sections


def ini(sections):
    text = ""
    for section, keys in sections.items():
        text += "[%s]\n" % section
        text += "".join("%s = %s\n" % item for item in keys.items() if item[1] is not None)
    return text


class Danelaw:
    of_test = []  # those that the present test has started, or found running

    def __init__(self, lab, changes=None, options=(), env=None, wrap=(), host=THIS_HOST):
        """`wrap`: what starts it, as ["setpriv", ...]. `host`: where (netlab.py)."""
        self.folder = lab.new_folder("danelaw")
        os.makedirs(self.folder)
        self.conf, self.log_file = self.folder + "/danelaw.conf", self.folder + "/log"
        sections = settings(lab, changes)
        write(self.conf, ini(sections))
        address, port = sections["listener smarthost"]["listen"].split()[0].rsplit(":", 1)
        self.server = (address.strip("[]"), int(port))  # of the first address
        self.options, self.wrap, self.host = options, wrap, host
        self.program = PROGRAM
        self.env = dict(os.environ, **(env or {}))
        self.child = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *rest):
        self.stop()

    def start(self):
        self.launch()
        self.expect_greeting()

    def launch(self):
        """Starts it, and waits for nothing."""
        if self not in self.of_test:
            self.of_test.append(self)
        command = [*self.host.wrap, *self.wrap, self.program, "serve", "-c", self.conf, *self.options]
        with open(self.log_file, "ab") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.env)

    def expect_greeting(self):
        wait(self._greets, 15, "danelaw serves")

    def stop(self):
        """Ends it and asserts that it ended well. The log stays readable."""
        if not self.child:
            return
        child, self.child = self.child, None
        child.send_signal(signal.SIGTERM)
        try:
            status = child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise AssertionError("danelaw does not stop\n" + self.tail())
        found = SANITIZER.search(self.log)
        assert not found, self.log[found.start():][:6000]
        assert status == 0, "exit status %s\n%s" % (status, self.tail())

    @property
    def workers(self):
        """The processes that serve mail; the child itself is the supervisor."""
        pid = self.child.pid
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(c) for c in f.read().split() if comm(c) == "danelaw-worker"]

    @property
    def worker(self):
        [pid] = self.workers
        return pid

    @property
    def log(self):
        with open(self.log_file, errors="backslashreplace") as f:
            return f.read()

    def tail(self, lines=40):
        return "\n".join(self.log.splitlines()[-lines:])

    def deliveries(self, **wanted):
        """The `delivery` lines as dictionaries, those that have all the wanted values."""
        found = [fields(line) for line in self.log.splitlines() if " status=" in line]
        return [d for d in found if all(d.get(k) == v for k, v in wanted.items())]

    def delivery_to(self, recipient, seconds=5):
        """The last delivery line about this recipient; it may be written after the reply."""
        def about():
            return [d for d in self.deliveries() if "<%s>" % recipient in d.get("to", "")]
        wait(about, seconds, "a delivery line for %s\n%s" % (recipient, self.tail()))
        return about()[-1]

    def _greets(self):
        assert self.child.poll() is None, "danelaw ended at start\n" + self.tail()
        try:
            with self.host.inside():
                with smtp.Smtp(self.server, ehlo=None, timeout=5) as c:
                    c.reply(220)
            return True
        except OSError:
            return False


def comm(pid):
    """A process's name; "" when it is gone."""
    try:
        with open("/proc/%s/comm" % pid) as f:
            return f.read().strip()
    except OSError:
        return ""


def fields(line):
    return {k: v[1:-1] if v[:1] == '"' else v for k, v in FIELD.findall(line)}
