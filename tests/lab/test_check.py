"""danelaw check: what it says of a destination is what mail gets there, and a person who reads it
knows what is wrong, who must mend it, and how.

The destinations are those of test_dane.py, where the same table says what `danelaw serve` does.
"""
import json
import subprocess

import pytest

import test_dane
from check import check, check_json, command, configure
from program import Danelaw
from smtp import send
from test_dane import CASES, domain
from zones import write

declare = test_dane.declare


@pytest.fixture(scope="module")
def conf(lab):
    """Every case's own settings, with waits that suit hosts which never answer."""
    sections = {"domain " + domain(name): c["conf"] for name, c in CASES.items() if c["conf"]}
    return configure(lab, {"timeouts": {"handshake": "1s", "greeting": "1s"}, **sections})


@pytest.fixture(scope="module")
def results(lab, conf):
    """All of them in one run, by name of the case."""
    done = command(lab, ["check", "--json", *map(domain, CASES)], conf=conf, seconds=110)
    found = json.loads(done.out)["results"]
    assert [r["name"] for r in found] == list(map(domain, CASES))
    return dict(zip(CASES, found))


@pytest.mark.parametrize("name", CASES)
def test_verdict_is_what_mail_gets(results, name):
    """Of each destination of test_dane.py, where serve refuses, and where it delivers how."""
    verdict, expect = results[name]["verdict"], CASES[name]["expect"]
    if isinstance(expect, str):
        assert verdict["result"] == "refused" and verdict["reason"] == expect.split()[2], verdict
        assert verdict["text"] and verdict["advice"]
        return
    assert verdict["policy"] == expect["policy"] or expect.get("would_refuse", "-") != "-", verdict
    assert (verdict["would_refuse"] or "-") == expect.get("would_refuse", "-")
    if verdict["would_refuse"]:
        assert verdict["result"] == "not-authenticated"
        return
    assert verdict["result"] == {"verified": "authenticated"}.get(expect["tls"], "not-authenticated")
    assert verdict["encrypted"] == (expect["tls"] != "cleartext")
