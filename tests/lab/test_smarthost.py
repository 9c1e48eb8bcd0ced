"""Stock senders with danelaw as their smarthost, configured as README.md's table says, to the letter.

One message to recipients in twenty domains, DANE, MTA-STS and unsigned: once each, at once; what
danelaw refuses stays in the sender's queue, with danelaw's reason in the sender's log."""
import os
import re
import shutil
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
STS = ("sh4.plain", "sh8.plain")
REFUSED = {"sh-stale.lab": "dane-mismatch", "sh-bogus.lab": "dns-bogus", "sh-dead.lab": "connect-failed"}
BOUNCED = {"sh-no.plain": "550 5.1.1 no such user", "sh-null.lab": "null-mx"}


def declare(lab):
    for n, name in enumerate(DOMAINS):
        fake = None if n % 5 == 0 else {}  # Postfix, or a FakeMx
        sts = {"cert": lab.ca.issue("mx." + name), "sts": "enforce"} if name in STS else {}
        lab.domain(name, "3 1 1" if n % 2 else None, *([] if n % 2 else [UNSIGNED]), fake=fake, **sts)
    lab.domain("sh-stale.lab", STALE, fake={})
    lab.domain("sh-bogus.lab", "3 1 1", CORRUPT, fake={})
    lab.zone("sh-dead.lab", "@ MX 10 mx\nmx A %s\n" % lab.address())
    lab.zone("sh-null.lab", "@ MX 0 .\n")
    lab.domain("sh-no.plain", None, UNSIGNED, fake={"replies": {"RCPT": "550 5.1.1 no such user"}})


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
        assert len(wanted) == 1 and wanted[0].startswith("relayhost")
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
        assert "self = send" in settings and not any("max_rcpt" in x for x in settings)
        host = next(re.search("'(.*)'", x).group(1) for x in settings if x.startswith("dc_smarthost="))
        return ["route_list = * %s byname" % host, "host_find_failed = ignore",
                "same_domain_copy_routing = yes", "self = send"], ["multi_domain"]


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
    """D1, R-SMTP-65: nothing but the smarthost is set, and all domains are served at once; what is
    refused for now waits at the sender, what is refused for good bounces there."""
    user = type(sender).__name__
    good = ["%s@%s" % (user, name) for name in DOMAINS] + ["second-%s@%s" % (user, DOMAINS[3])]
    bad = {"%s@%s" % (user, name): why for name, why in REFUSED.items()}
    gone = ["%s@%s" % (user, name) for name in BOUNCED]
    back = "back-%s@%s" % (user, DOMAINS[1])
    with Smtp(("127.0.0.1", sender.port)) as c:
        c("MAIL FROM:<%s>" % back, 250)
        for recipient in [*good[:5], *bad, *gone, *good[5:]]:
            c("RCPT TO:<%s>" % recipient, 250)
        c.data(MESSAGE, 250)
    wait(lambda: all(received(lab, r) for r in good), 20, "delivery to all\n" + danelaw.tail())
    wait(lambda: sender.waiting()[0] == set(bad), 5, "only the refused ones wait")
    wait(lambda: received(lab, back), 5, "the sender's bounce")
    log = sender.waiting()[1]
    for recipient, why in bad.items():
        lines = [x for x in log.splitlines() if recipient in x]
        assert any("451 4." in x and why in x for x in lines), "\n".join(lines)
    for recipient, why in zip(gone, BOUNCED.values()):
        lines = [x for x in log.splitlines() if recipient in x]
        assert any(why in x for x in lines), "\n".join(lines)
    time.sleep(0.5)
    assert all(len(received(lab, r)) == 1 for r in good), "exactly once"
    for name in ("sh-stale.lab", "sh-bogus.lab"):
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
    code, said = swaks("--to", ",".join("swaks20@" + name for name in DOMAINS))
    assert code == 0, said
    wait(lambda: all(len(received(lab, "swaks20@" + name)) == 1 for name in DOMAINS), 5, said)
    code, said = swaks("--to", "swaks@sh-stale.lab")
    assert code == 24 and "451 4.7.5 dane-mismatch: mx.sh-stale.lab[" in said, said
    code, said = swaks("--to", "swaks@sh1.lab", "--auth-user", "x", "--auth-password", "y")
    assert code == 28 and "Host did not advertise authentication" in said, said
    code, said = swaks("--to", "swaks@sh1.lab", "--tls")
    assert code == 29 and "STARTTLS" in said, said


def test_msmtp(lab, danelaw):
    """msmtp: recipients of several domains; the reason of a refusal comes through."""
    conf = lab.new_folder("msmtp") + ".conf"
    write(conf, "account default\nfrom a@client.lab\n" + "\n".join(row("msmtp")) + "\n")

    def msmtp(*recipients):
        done = subprocess.run(["msmtp", "-C", conf, *recipients], input=MESSAGE.decode(), text=True,
                              capture_output=True, timeout=30)
        return done.returncode, done.stderr
    os.chmod(conf, 0o600)
    everybody = ["m1@sh3.lab"] + ["msmtp@" + name for name in DOMAINS]
    assert msmtp(*everybody) == (0, "")
    wait(lambda: all(len(received(lab, r)) == 1 for r in everybody), 5, "delivery to all, once")
    code, said = msmtp("m@sh-bogus.lab")
    assert code != 0 and "451 4.4.3 dns-bogus" in said


def test_nullmailer(lab, danelaw):
    """nullmailer: its queue of files, and one transaction for all recipients."""
    for folder in ("queue", "tmp", "failed"):
        os.makedirs("/var/spool/nullmailer/" + folder)
    os.makedirs("/etc/nullmailer")
    os.mkfifo("/var/spool/nullmailer/trigger")
    for name in ("queue", "tmp", "failed", "trigger"):
        shutil.chown("/var/spool/nullmailer/" + name, "mail", "mail")
    write("/etc/mailname", "client.lab\n")
    write("/etc/nullmailer/remotes", row("nullmailer")[1] + "\n")
    everybody = ["nullmailer@" + name for name in DOMAINS]
    subprocess.run(["nullmailer-inject", "-f", "a@client.lab", *everybody], check=True,
                   input=MESSAGE.replace(b"\r\n", b"\n"), timeout=30)
    sender = subprocess.Popen(["setpriv", "--reuid=mail", "--regid=mail", "--clear-groups", "nullmailer-send"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: all(len(received(lab, r)) == 1 for r in everybody), 10, "delivery to all, once")
        wait(lambda: not os.listdir("/var/spool/nullmailer/queue"), 5, "nullmailer has heard of it")
    finally:
        sender.terminate()
        sender.wait(10)
