"""Stock senders with danelaw as their smarthost, configured as README.md's table says, to the letter.

One message to recipients in twenty domains, DANE and unsigned: once each, at once; what danelaw
refuses stays in the sender's queue, with danelaw's reason in the sender's log."""
import os
import re
import subprocess
import time

import pytest

from exim import Exim
from postfix import Postfix
from smtp import MESSAGE, Smtp
from world import STALE
from zones import CORRUPT, UNSIGNED, wait, write

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../README.md")
DOMAINS = ["sh%d.%s" % (n, "lab" if n % 2 else "plain") for n in range(20)]
REFUSED = {"sh-stale.lab": "dane-mismatch", "sh-bogus.lab": "dns-bogus"}


def declare(lab):
    for n, name in enumerate(DOMAINS):
        fake = None if n % 5 == 0 else {}  # Postfix, or a FakeMx
        lab.domain(name, "3 1 1" if n % 2 else None, *([] if n % 2 else [UNSIGNED]), fake=fake)
    lab.domain("sh-stale.lab", STALE, fake={})
    lab.domain("sh-bogus.lab", "3 1 1", CORRUPT, fake={})


def row(sender):
    """The `settings` of one row of README's table of senders."""
    with open(README) as f:
        line = next(x for x in f if x.startswith("| %s |" % sender))
    return re.findall(r"`([^`]+)`", line.split("|")[2])


class PostfixSender(Postfix):
    port = 2511

    def __init__(self, lab):
        super().__init__(lab.new_folder("postfix-sender"))
        self.settings += "myhostname = sender.lab\ninet_interfaces = 127.0.0.1\n"
        wanted = [x for x in row("Postfix") if " = " in x]
        assert any(x.startswith("relayhost") for x in wanted) and len(wanted) >= 3
        self.settings += "\n".join(wanted) + "\n"
        self.services += "127.0.0.1:%d inet n - n - - smtpd\n" % self.port

    def waiting(self):
        """Who waits, and why, as the sender's own log and queue have it."""
        lines = self.command("postqueue", "-p")
        return set(re.findall(r"^ +(\S+@\S+)$", lines, re.M)), self.maillog


EXIM = """
tls_advertise_hosts =

begin routers
smarthost:
  driver = manualroute
  transport = smtp
  {router}

begin transports
smtp:
  driver = smtp
  {transport}

begin retry
* * F,1h,5m
"""


class EximSender(Exim):
    port = 2512

    def __init__(self, lab):
        router, transport = self.options()
        super().__init__(lab.new_folder("exim-sender"), "127.0.0.1", self.port, "sender.lab", EXIM,
                         router="\n  ".join(router), transport="\n  ".join(transport))

    def options(self):
        settings = [x for x in row("Exim") if " =" in x]
        router = [x for x in settings if x.startswith(("route_list", "self"))]
        transport = [x for x in settings if x not in router]
        assert len(router) == 2 and any(x.startswith("port") for x in transport)
        return router, transport

    def waiting(self):
        blocks = self.command("-bp")
        return set(re.findall(r"^ {10}(\S+@\S+)$", blocks, re.M)), self.mainlog


class DebianEximSender(EximSender):
    """The router and transport of Debian's exim4-config, and what README says to put into them."""
    port = 2513

    def options(self):
        settings = row("Exim, Debian's way")
        assert "self = send" in settings and "max_rcpt = 1" in settings
        host = next(re.search("'(.*)'", x).group(1) for x in settings if x.startswith("dc_smarthost="))
        return ["route_list = * %s byname" % host, "host_find_failed = ignore",
                "same_domain_copy_routing = yes", "self = send"], ["multi_domain", "max_rcpt = 1"]


@pytest.fixture(params=[PostfixSender, EximSender, DebianEximSender], ids=["postfix", "exim", "debian"])
def sender(lab, request):
    s = request.param(lab)
    s.start()
    yield s
    s.stop()


def received(lab, recipient):
    """The subjects of all messages for it."""
    receiver = lab[recipient.split("@")[1]].receiver
    if hasattr(receiver, "maildir"):
        found = receiver.maildir.messages(recipient)
    else:
        found = [m.data for m in receiver.messages for r in m.recipients if r == recipient]
    return [re.search(rb"^Subject: (.*)\r$", data, re.M).group(1) for data in found]


def test_twenty_domains_at_once(lab, danelaw, sender):
    """D1, R-SMTP-61: README's settings deliver to all domains at once, and keep what is refused."""
    user = type(sender).__name__
    good = ["%s@%s" % (user, name) for name in DOMAINS] + ["second-%s@%s" % (user, DOMAINS[3])]
    bad = {"%s@%s" % (user, name): why for name, why in REFUSED.items()}
    with Smtp(("127.0.0.1", sender.port)) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        for recipient in [*good[:5], *bad, *good[5:]]:
            c("RCPT TO:<%s>" % recipient, 250)
        c.data(MESSAGE, 250)
    started = time.monotonic()
    wait(lambda: all(received(lab, r) for r in good), 20, "delivery to all\n" + danelaw.tail())
    assert time.monotonic() - started < 10
    wait(lambda: sender.waiting()[0] == set(bad), 5, "only the refused ones wait")
    log = sender.waiting()[1]
    for recipient, why in bad.items():
        lines = [x for x in log.splitlines() if recipient in x]
        assert any("451 4." in x and why in x for x in lines), "\n".join(lines)
    time.sleep(0.5)
    assert all(len(received(lab, r)) == 1 for r in good), "exactly once"
    for name in REFUSED:
        assert b"MAIL" not in lab[name].receiver.secret + lab[name].receiver.clear


# ---- clients of one message ----

def swaks(*words):
    done = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", "2525", "--from", "a@client.lab",
                           *words], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_swaks(lab, danelaw):
    """The first try of most people: it works, and a refusal is read at once."""
    code, said = swaks("--to", "swaks@sh1.lab", "--body", "a\n.\nb")
    assert code == 0, said
    assert received(lab, "swaks@sh1.lab")
    code, said = swaks("--to", "swaks@sh1.lab", "--pipeline", "--ehlo", "pipe.lab")
    assert code == 0 and len(received(lab, "swaks@sh1.lab")) == 2, said
    code, said = swaks("--to", "swaks@sh-stale.lab")
    assert code == 24 and "451 4.7.5 dane-mismatch: mx.sh-stale.lab[" in said, said
    code, said = swaks("--to", "swaks@sh1.lab", "--auth-user", "x", "--auth-password", "y")
    assert code == 28 and "Host did not advertise authentication" in said, said
    code, said = swaks("--to", "swaks@sh1.lab", "--tls")
    assert code == 29 and "STARTTLS" in said, said


def test_msmtp(lab, danelaw):
    """msmtp: several recipients of one domain; the reason of a refusal comes through."""
    conf = lab.new_folder("msmtp") + ".conf"
    write(conf, "account default\nhost 127.0.0.1\nport 2525\nfrom a@client.lab\ntls off\nauth off\n")

    def msmtp(*recipients):
        done = subprocess.run(["msmtp", "-C", conf, *recipients], input=MESSAGE.decode(), text=True,
                              capture_output=True, timeout=30)
        return done.returncode, done.stderr
    os.chmod(conf, 0o600)
    assert msmtp("m1@sh3.lab", "m2@sh3.lab") == (0, "")
    for r in ("m1@sh3.lab", "m2@sh3.lab"):
        assert len(received(lab, r)) == 1
    code, said = msmtp("m@sh-bogus.lab")
    assert code != 0 and "451 4.4.3 dns-bogus" in said
