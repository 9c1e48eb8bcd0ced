"""danelaw queue beside a danelaw that runs, and beside one that does not.

What lies in the spool here is a "relayed" notice (test_dsn.py) for a sender whose own mail host is
busy until a test lets it be.
"""
import contextlib
import json
import os
import subprocess

import pytest

from program import PROGRAM, Danelaw
from smtp import MESSAGE, Smtp
from zones import UNSIGNED, wait

PLAIN = {"how": UNSIGNED, "cert": None}
busy = {"yes": True}


def refuse_while_busy(c, line):
    return "451 4.2.1 \x1b[31mbusy\x1b[0m just now" if busy["yes"] else None


def declare(lab):
    lab.domain("queue-taker.plain", **PLAIN, fake={"ehlo": ("PIPELINING",)})
    lab.domain("queue-busy.plain", **PLAIN, fake={"replies": {"RCPT": refuse_while_busy}})


def run(d, *words, user=None):
    command = [PROGRAM, "queue", "-c", d.conf, *words]
    if user:
        command = ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def queue(d, *words, code=0):
    done = run(d, *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert all(c == "\n" or c.isprintable() for c in done.stdout + done.stderr), repr(done.stdout)
    return done.stdout + done.stderr


def listed(d):
    return json.loads(queue(d, "--json"))["messages"]


def spool_one(d):
    """A notice that has been tried and must wait; its id."""
    busy["yes"] = True
    with Smtp(d.server) as c:
        c("MAIL FROM:<boss@queue-busy.plain>", 250)
        c("RCPT TO:<b@queue-taker.plain> NOTIFY=SUCCESS", 250)
        c.data(MESSAGE, 250)
    wait(lambda: any(m["recipients"][0]["tries"] for m in listed(d)), 8, "a try\n" + d.tail())
    return listed(d)[-1]["id"]


@pytest.fixture()
def kept(lab):
    folder = lab.new_folder("queue-state")
    with Danelaw(lab, {"server": {"state_dir": folder}, "spool": {"retry": "1h"}}) as d:
        d.state = folder
        yield d


def test_empty(kept):
    assert queue(kept) == "the spool is empty (%s/spool)\n" % kept.state
    assert "no message" in queue(kept, "show", "0641c3b5d2a91f-5f0c2d7e91aa", code=69)


def test_list_and_show(kept):
    """People see what was said, how often, and what comes next; the peer's controls are words."""
    id = spool_one(kept)
    text = queue(kept)
    assert id in text and "to <boss@queue-busy.plain>: next try in " in text
    assert "1 message, 1 recipient\n" in text and max(map(len, text.splitlines())) <= 80
    text = queue(kept, "show", id)
    assert "Origin        a notice of danelaw's own" in text and "tried 1 time" in text
    assert "mx.queue-busy.plain[198.18." in text and "451 4.2.1" in text and "\nSubject: " in text
    shown = json.loads(queue(kept, "show", id, "--json"))
    assert shown["is_notice"] and shown["recipients"][0]["reply"].startswith("451 4.2.1")
    assert shown["recipients"][0]["state"] == "waiting" and "Subject: " in shown["headers"]


@pytest.mark.parametrize("order", ["ID", "queue-busy.plain", "--all"])
def test_retry_while_it_runs(kept, order):
    id = spool_one(kept)
    busy["yes"] = False
    assert "1 recipient will be tried now" in queue(kept, "retry", id if order == "ID" else order)
    wait(lambda: not listed(kept), 8, "it was delivered\n" + kept.tail())
    assert "boss@queue-busy.plain" in "".join(d["to"] for d in kept.deliveries(status="sent"))


def test_bounce_while_it_runs(kept):
    """A notice is answered by no notice: it goes."""
    id = spool_one(kept)
    assert "1 recipient will be given up" in queue(kept, "bounce", id)
    wait(lambda: not listed(kept), 8, "it is gone\n" + kept.tail())


def test_while_it_is_stopped(kept):
    """The same, and the order is taken up at the next start."""
    id = spool_one(kept)
    kept.stop()
    assert [m["id"] for m in listed(kept)] == [id]
    assert "1 recipient will be tried now" in queue(kept, "retry", id)
    busy["yes"] = False
    kept.start()
    wait(lambda: not listed(kept), 8, "it was delivered\n" + kept.tail())


def test_root_leaves_nothing_behind(kept):
    """What root looked at and ordered stays the service's own."""
    id = spool_one(kept)
    spool = kept.state + "/spool"
    owner = os.stat(spool).st_uid
    queue(kept)
    queue(kept, "retry", id)
    owners = set()
    for name in os.listdir(spool):
        with contextlib.suppress(FileNotFoundError):  # danelaw goes on
            owners.add(os.stat(spool + "/" + name).st_uid)
    assert owner and owners == {owner}


def test_others_are_told_who_may(kept):
    spool_one(kept)
    os.chmod(kept.state, 0o700)
    done = run(kept, user="games")
    assert done.returncode == 69 and "permission denied; be root or " in done.stderr, done
    assert not done.stdout
