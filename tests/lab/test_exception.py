"""Exceptions that end: [domain] sections with a lowered level are looked at once a day, and the log
says which is needed no longer (interface section 2)."""
import os
import re
import time

import pytest

from program import Danelaw, fields
from switches import Switches
from world import STALE
from zones import UNSIGNED, wait

MINUTE, HOUR, DAY = 60, 3600, 86400


def day(n):
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + n * DAY))


IN_TWO_DAYS, YESTERDAY = day(2), day(-1)  # though the day may end meanwhile


def declare(lab):
    lab.domain("review-mended.lab", "3 1 1", fake={})
    lab.domain("review-stale.lab", STALE, fake={})
    lab.domain("review-unsigned.plain", how=UNSIGNED, fake={})
    lab.domain("review-sts.lab", cert=lab.ca.issue("mx.review-sts.lab"), sts="enforce", fake={})
    lab.domain("review-dead.lab", "3 1 1", fake={"replies": {"": "421 4.3.2 not now"}})
    lab.domain("review-below.lab", "3 1 1", fake={})
    lab.domain("review-dane.lab", "3 1 1", fake={})
    lab.domain("review-over.lab", "3 1 1", fake={})


MAY = {"level": "may"}
SECTIONS = {
    "domain review-mended.lab": dict(MAY, until=IN_TWO_DAYS, reason="ticket 4711"),
    "domain review-stale.lab": dict(MAY, reason="ticket 4712"),
    "domain review-unsigned.plain": {"level": "none"},
    "domain review-sts.lab": {"mta_sts": "no"},
    "domain review-dead.lab": {"level": "encrypt"},
    "domain .review-below.lab": MAY,
    "domain review-dane.lab": {"level": "dane-only"},
    "domain review-over.lab": dict(MAY, until=YESTERDAY),
}


@pytest.fixture(scope="module")
def switches(lab):
    folder = lab.new_folder("exception-switches")
    os.makedirs(folder)
    return Switches(folder)


def reviews(d):
    """The lines that say whether one is needed, in order."""
    return [fields(x) for x in d.log.splitlines() if " exception session=- " in x]


def test_daily_review(lab, switches):
    """Each section that asks less is tried as if it were not there, up to MAIL, and told."""
    switches.set()
    changes = {"listener smarthost": {"listen": "127.0.0.1:2550"}, **SECTIONS}
    with Danelaw(lab, changes, env=switches.env) as d:
        time.sleep(1)
        assert not reviews(d)  # not at once: restarts would be probes
        switches.set(wall=20 * MINUTE)
        wait(lambda: len(reviews(d)) == 5, 9, "five reviews")
        found = {r["domain"]: r for r in reviews(d)}
        assert {k: v["needed"] for k, v in found.items()} == {
            "review-mended.lab": "no", "review-stale.lab": "yes", "review-unsigned.plain": "no",
            "review-sts.lab": "no", "review-dead.lab": "unknown"}
        mended = found["review-mended.lab"]
        assert mended["level"] == "may" and mended["reason"] == "ticket 4711"
        assert mended["until"] == IN_TWO_DAYS and "policy=dane, verified" in mended["why"]
        assert "mx.review-mended.lab[" in mended["why"] and "can be removed" in mended["why"]
        assert found["review-stale.lab"]["why"].startswith("dane-mismatch: mx.review-stale.lab[")
        assert "policy=sts:enforce, verified" in found["review-sts.lab"]["why"]
        assert "nothing is published" in found["review-unsigned.plain"]["why"]
        assert found["review-dead.lab"]["why"].startswith("connect-failed: ")
        text = [x for x in d.log.splitlines() if " exception session=- " in x]
        assert all((" warning " in x.split("exception")[0]) == ("needed=no" in x) for x in text)
        assert re.search(r"warning \[domain review-mended.lab\] ends on " + IN_TWO_DAYS, d.log)
        assert re.search(r"warning \[domain review-over.lab\] ended on " + YESTERDAY, d.log)
        switches.set(wall=20 * MINUTE + 2 * HOUR)  # what could not be found out is asked sooner
        wait(lambda: len(reviews(d)) == 6, 9, "one more review")
        assert reviews(d)[-1]["domain"] == "review-dead.lab"
        switches.set(wall=25 * HOUR + 30 * MINUTE)
        wait(lambda: len(reviews(d)) == 11, 9, "five more reviews")
    for name in SECTIONS:
        for c in lab[name.split()[-1].lstrip(".")].receiver.connections:
            assert not [x for x in c.log if "MAIL" in x.upper()], name
    assert not lab["review-below.lab"].receiver.connections
    assert not lab["review-dane.lab"].receiver.connections
    assert not lab["review-over.lab"].receiver.connections
    assert any("QUIT" in x for c in lab["review-mended.lab"].receiver.connections for x in c.log)
    switches.set()
