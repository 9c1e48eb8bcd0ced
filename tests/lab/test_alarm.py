"""What the operator must act upon: danelaw_alarm, and a line at error for each beginning and end.

F-02, F-10, R-DNS-39 and interface section 5; none of them changes what becomes of mail.
"""
import contextlib
import os
import re
import shutil
import subprocess
import time

from program import Danelaw, fields
from smtp import send
from test_admin import get
from test_dns_root import Keeping, state_folder
from zones import UNSIGNED, wait

ADMIN = {"admin": {"listen": "127.0.0.1:9127"}, "listener smarthost": {"listen": "127.0.0.1:2540"},
         "limits": {"connection_idle": "0s"}}
SECURE = ["alarm-secure1.lab", "alarm-secure2.lab"]
HOSTS = ["strip%d.alarm.plain" % n for n in range(6)]


class Stripper:
    """Next hops' STARTTLS, as long as nothing takes it out."""
    is_on = False

    @classmethod
    def ehlo(cls, c, line):
        return "250 fake offers nothing" if cls.is_on else None


def declare(lab):
    lab.domain("alarm.lab", "3 1 1", fake={})
    for name in SECURE:
        lab.domain(name, cert=lab.ca.issue("mx." + name), fake={})
    for name in HOSTS:
        lab.domain(name, how=UNSIGNED, fake={"replies": {"EHLO": Stripper.ehlo}})


def alarms(d):
    """{what: is on}, as /metrics has it."""
    text = get("/metrics", port=9127)[1]
    return {what: value == "1"
            for what, value in re.findall(r'danelaw_alarm\{what="([\w-]+)"\} ([01])', text)}


def told(d, what):
    """Its lines of the log, in order."""
    return [fields(x) for x in d.log.splitlines() if " error alarm what=%s " % what in x]


def await_alarm(d, what, is_on, seconds=5):
    wait(lambda: alarms(d).get(what) == is_on and told(d, what)
         and told(d, what)[-1]["state"] == ("on" if is_on else "off"), seconds,
         "alarm %s %s\n%s" % (what, is_on, d.tail()))
    return told(d, what)


def test_quiet(lab):
    """Where all is well there is none, and all four are shown."""
    with Danelaw(lab, ADMIN) as d:
        assert send("b@alarm.lab", server=d.server).code == 250
        assert alarms(d) == {"ca-missing": False, "middlebox": False, "disk": False, "anchor": False}
        assert " alarm " not in d.log


def test_ca_file_comes_and_goes(lab):
    """F-10: what needs it waits until it is there, and needs no restart; what was read stays in use."""
    ca = lab.new_folder("ca") + ".pem"
    secure = {"domain " + name: {"level": "secure"} for name in SECURE}
    with Danelaw(lab, {**ADMIN, **secure, "tls": {"ca_file": ca}}) as d:
        [line] = await_alarm(d, "ca-missing", True)
        assert ca in line["why"] and "No such file" in line["why"] and "until it is there" in line["why"]
        assert send("b@" + SECURE[0], server=d.server).startswith("451 4.7.5 certificate: ")
        assert send("b@alarm.lab", server=d.server).code == 250  # DANE goes on
        shutil.copy(lab.ca.pem, ca + ".new")
        os.rename(ca + ".new", ca)
        await_alarm(d, "ca-missing", False)
        assert send("b@" + SECURE[1], server=d.server).code == 250
        os.unlink(ca)
        assert "stays in use" in await_alarm(d, "ca-missing", True)[-1]["why"]
        assert send("c@" + SECURE[1], server=d.server).code == 250
        shutil.copy(lab.ca.pem, ca + ".new")
        os.rename(ca + ".new", ca)
        assert len(await_alarm(d, "ca-missing", False)) == 4


def test_another_ca_file_proves_anew(lab):
    """R-SMTP-81: a kept connection is one under the key of R-TLSSEC-06, which has the CA store."""
    ca = lab.new_folder("ca") + ".pem"
    shutil.copy(lab.ca.pem, ca)
    kept = {"domain " + SECURE[0]: {"level": "secure"}, "limits": {"connection_idle": "30s"}}
    with Danelaw(lab, {**ADMIN, **kept, "tls": {"ca_file": ca}}) as d:
        def is_reused(user):
            assert send("%s@%s" % (user, SECURE[0]), server=d.server).code == 250
            return d.delivery_to("%s@%s" % (user, SECURE[0]))["reused"] == "yes"
        assert [is_reused("k%d" % n) for n in range(3)] == [False, True, True]
        with open(ca, "a") as f:
            f.write("another\n")
        users = iter(range(80))  # below [limits] connection_messages
        wait(lambda: time.sleep(0.1) or not is_reused("l%d" % next(users)), 5, "the connection is another")


def test_middlebox(lab):
    """Several destinations that are known to offer STARTTLS do not any more: told with their names,
    and over when they do again."""
    def mail():
        for name in HOSTS:
            assert send("b@" + name, server=d.server).code == 250
    Stripper.is_on = False
    with Danelaw(lab, ADMIN) as d:
        mail()
        Stripper.is_on = True
        mail()
        [line] = await_alarm(d, "middlebox", True)
        assert line["reason"] == "middlebox" and "6 of 6 MX hosts" in line["why"]
        assert line["hosts"].startswith("mx.strip5.alarm.plain, mx.strip4.alarm.plain, ")
        assert line["hosts"].endswith("and 1 more")
        assert get("/readyz", port=9127)[0] == 200  # no node beside us would do better
        Stripper.is_on = False
        mail()
        assert len(await_alarm(d, "middlebox", False)) == 2


def test_disk(lab):
    """F-02: read-only at the start, full later; over as soon as that is mended."""
    state = lab.new_folder("alarm-state")
    os.makedirs(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,ro", "tmpfs", state], check=True)
    try:
        with Danelaw(lab, {**ADMIN, "server": {"state_dir": state, "user": "root"}}) as d:
            assert "Read-only file system" in await_alarm(d, "disk", True)[-1]["why"]
            subprocess.run(["mount", "-o", "remount,rw", state], check=True)
            assert len(await_alarm(d, "disk", False)) == 2
            with open(state + "/ballast", "wb", buffering=0) as f, contextlib.suppress(OSError):
                while True:
                    f.write(b"x" * 65536)
            assert "is full" in await_alarm(d, "disk", True)[-1]["why"]
            assert send("b@alarm.lab", server=d.server).code == 250
            os.unlink(state + "/ballast")
            assert len(await_alarm(d, "disk", False)) == 4
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_anchor(lab):
    """R-DNS-39: the copy of the root key cannot be written, and then it can."""
    state = state_folder(lab)
    os.makedirs(state + "/root.key.lock")  # where a file should be
    d = Keeping(lab, state, listen="127.0.0.1:2541")
    with open(d.conf, "a") as f:
        f.write("[admin]\nlisten = 127.0.0.1:9127\n")
    with d:
        assert "Is a directory" in await_alarm(d, "anchor", True)[-1]["why"]
        os.rmdir(state + "/root.key.lock")
        assert len(await_alarm(d, "anchor", False, 14)) == 2
    assert os.path.exists(state + "/root.key")
