"""danelaw check and danelaw explain: what they say of a destination is what mail gets there, and a
person who reads it knows what is wrong, who must mend it, and how.

The destinations are those of test_dane.py, where the same table says what `danelaw serve` does.
"""
import json
import os
import re
import stat
import subprocess
import threading
import time

import jsonschema
import pytest

import test_dane
from certs import make
from check import check, check_json, command, configure
from program import HERE, Danelaw
from smtp import Smtp
from test_dane import CASES, HOSTS, domain
from zones import UNSIGNED, wait, write

WIDTH = 80
REFUSED = [name for name, c in CASES.items() if isinstance(c["expect"], str)]


def some(names, each=3):
    """A few for each expectation."""
    wanted = [CASES[name]["expect"] for name in names]
    return [name for i, name in enumerate(names) if wanted[:i].count(wanted[i]) < each]


ODD = "\033[2J\033]0;owned\007\x9b31m\r"  # clears a screen, renames a window, turns text red


class Crowd:
    """A server's view of how many talk to it at once."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def count(self, step):
        with self.lock:
            self.now += step
            self.most = max(self.most, self.now)

    def script(self, c):
        self.count(1)
        try:
            c.say("220 crowd")
            time.sleep(0.05)
            while (verb := c.hear()[:4]) != "QUIT":
                c.say("250 crowd" if verb == "EHLO" else "500 what?")
        finally:
            self.count(-1)
        c.say("221 bye")


CROWD = Crowd()


def declare(lab):
    test_dane.declare(lab)
    declare_hostile(lab)
    declare_bulk(lab)
    v4, v6 = lab.address(), lab.address6()
    cert = lab.cert("mx.families.lab")
    for address in v4, v6:
        lab.fake(address, cert)
    lab.zone("families.lab", "@ MX 10 mx\nmx A %s\nmx AAAA %s\n_25._tcp.mx TLSA %s\n" % (
        v4, v6, test_dane.tlsa(cert)))
    lab.domain("kept.plain", how=UNSIGNED, cert=lab.ca.issue("mx.kept.plain"), sts="enforce", fake={})
    lab.zone("null.lab", "@ MX 0 .")
    lab.zone("private.lab", "@ MX 10 mx\nmx A 10.1.2.3")


def declare_hostile(lab):
    """Servers and zones whose texts would take over a terminal."""
    octets = ODD.encode("latin-1")
    cert = make(lab.folder + "/certs", "\033[31mred \u202e", ("mx.odd-cert.plain", "a" * 60 + ".plain"))
    lab.domain("odd-cert.plain", how=UNSIGNED, cert=cert, fake={})
    for name, replies in {
            "odd-greeting.lab": {"": b"554 " + octets + b"\r\n"},
            "odd-ehlo.lab": {"EHLO": b"250-" + octets + b"\r\n250 " + octets + b"\r\n"},
            "odd-starttls.lab": {"STARTTLS": b"454 " + octets + b"\r\n"}}.items():
        lab.domain(name, "3 1 1", fake={"replies": as_bytes(replies)})
    text = "".join("\\%03d" % b for b in octets)
    lab.domain("odd-txt.plain", how=UNSIGNED, fake={}, records=(
        '_mta-sts TXT "v=STSv1; id=1; x=%s"\n_smtp._tls TXT "v=TLSRPTv1; rua=%s"\n' % (text, text)))
    lab.zone("odd-mx.plain", "@ MX 10 \\027[31m.odd-mx.plain.\n", UNSIGNED)
    lab.domain("silent.lab", "3 1 1", fake={"script": lambda c: c.stall()})


def as_bytes(replies):
    """FakeMx says text of its own replies; these hold octets, and come from a function."""
    def saying(reply):
        def say(c, *rest):
            c.say(reply)
            c.hear()
            return "221 bye"
        return say
    return {verb: reply if not verb else saying(reply) for verb, reply in replies.items()}


def declare_bulk(lab):
    address = lab.address()
    lab.fake(address, script=CROWD.script)
    records = "mx A %s\n" % address
    lab.zone("bulk.plain", records + "".join("d%d MX 10 mx\n" % n for n in range(200)), UNSIGNED)


def changes():
    """Every case's own settings, with waits that suit hosts which never answer."""
    sections = {"domain " + domain(name): c["conf"] for name, c in CASES.items() if c["conf"]}
    return {"timeouts": {"handshake": "3s", "greeting": "2s"}, **sections}


@pytest.fixture(scope="module")
def conf(lab):
    return configure(lab, changes())


@pytest.fixture(scope="module")
def results(lab, conf):
    """All cases in one run, by name."""
    done = command(lab, ["check", "--json", *map(domain, CASES)], conf=conf, seconds=110)
    found = json.loads(done.out)["results"]
    assert [r["name"] for r in found] == list(map(domain, CASES))
    return dict(zip(CASES, found))


@pytest.fixture(scope="module")
def pages(lab, conf):
    """The same for people: {name: lines}."""
    done = command(lab, ["check", *map(domain, CASES)], conf=conf, seconds=110)
    starts = [done.lines.index(line) for line in done.lines for name in CASES
              if line.startswith(domain(name) + ": ")]
    assert len(starts) == len(CASES)
    return {name: done.lines[a:b] for name, a, b in zip(CASES, starts, starts[1:] + [None])}


@pytest.fixture(scope="module")
def serving(lab):
    with Danelaw(lab, changes()) as d:
        yield d


# ---- the verdict is what mail gets ----

@pytest.mark.parametrize("name", CASES)
def test_verdict(results, name):
    verdict, expect = results[name]["verdict"], CASES[name]["expect"]
    if isinstance(expect, str):
        assert verdict["result"] == "refused" and verdict["reason"] == expect.split()[2], verdict
        return
    would_refuse = expect.get("would_refuse", "-")
    assert (verdict["would_refuse"] or "-") == would_refuse
    if would_refuse == "-":
        wanted = "authenticated" if expect["tls"] == "verified" else "not-authenticated"
        assert (verdict["result"], verdict["policy"]) == (wanted, expect["policy"])
        assert verdict["encrypted"] == (expect["tls"] != "cleartext")


def reply_of(serving, name):
    with Smtp(serving.server) as c:
        c("MAIL FROM:<a@client.lab>", 250)
        return c("RCPT TO:<b@%s>" % domain(name))


@pytest.mark.parametrize("name", some(REFUSED))
def test_serve_and_explain_agree(lab, conf, serving, results, name):
    """The reply that a client got is the one that explain foretells, and check's verdict."""
    got = reply_of(serving, name)
    done = command(lab, ["explain", "--json", "b@" + domain(name)], conf=conf)
    told = json.loads(done.out)
    foretold = re.sub("[^ -~]", "?", told["reply"])
    assert got.replace("\n", " ").startswith(foretold[:400]), (got, told)
    assert (told["result"], done.code) == ("refused", 2)
    assert told["reason"] == results[name]["verdict"]["reason"]


@pytest.mark.parametrize("name, code", [("ee-311", 0), ("half", 1), ("absent-clear", 1),
                                        ("report-wrong", 1), ("secure-below", 0), ("t06-mismatch", 2)])
def test_exit_code(lab, conf, name, code):
    for words in ["check", domain(name)], ["explain", "b@" + domain(name)]:
        assert command(lab, words, conf=conf).code == code


# ---- beside another program's opinion ----

TRUST = {"Verified": "authenticated", "Untrusted": "refused"}
SAME = [name for name, c in CASES.items() if not c["conf"] and not c["plain"] and name.split("-")[0] in (
    "ee", "ta", "t06", "t07", "t08", "t11", "t12", "t13", "t14", "t19", "agility", "mixed")]


@pytest.fixture(scope="module")
def postfix_settings(lab):
    folder = lab.new_folder("posttls-finger")
    os.makedirs(folder)
    write(folder + "/main.cf", "compatibility_level = 3.7\ninet_protocols = ipv4\n")
    return folder


@pytest.mark.parametrize("name", SAME)
def test_posttls_finger_agrees(postfix_settings, results, name):
    """Postfix's own tool, with the lab's validating resolver, where it knows the same rules."""
    said = subprocess.run(["posttls-finger", "-c", "-l", "dane", "-t", "30", domain(name)],
                          capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, MAIL_CONFIG=postfix_settings)).stdout
    words = [word for word in TRUST if word + " TLS connection established" in said]
    assert words and results[name]["verdict"]["result"] == TRUST[words[0]], said


# ---- what a person reads ----

@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_can_be_understood(pages, name):
    """Before anything else: the reason, the host or name in question, who must act, and how."""
    lines = pages[name]
    reason = CASES[name]["expect"].split()[2]
    assert lines[0] == "%s: HELD, not sent (%s)" % (domain(name), reason) or len(lines[0]) > 60
    head = " ".join(line.strip() for line in lines[:lines.index("")])
    assert reason in head
    assert HOSTS[name].mx in head or "The MX lookup of " + domain(name) in head, head
    assert re.search("owner|operator", head) and re.search("must|should", head), head
    assert "mail waits at the client or in danelaw's spool and is tried again" in head


HEADS = {  # what the first lines of a page must say
    "t06-mismatch": ["wants 3 1 1 5a5a5a5a.. The", "must read the key on the host itself, not from here",
                     "somebody stands between", "(TTL 300)", "If the key on the host is another one"],
    "t01-stripped": ["must turn STARTTLS on"],
    "t03-454": ["(only 220 begins TLS)", "key or certificate that cannot be loaded"],
    "t13-other-name": ["names elsewhere.lab; it must name mx.t13-other-name.dane.lab or t13-other-name.dane.lab"],
}


@pytest.mark.parametrize("name", HEADS)
def test_advice_follows_what_was_seen(pages, name):
    lines = pages[name]
    head = " ".join(line.strip() for line in lines[:lines.index("")])
    for words in HEADS[name]:
        assert words in head, head
    if name != "t01-stripped":
        assert "turn STARTTLS on" not in head


def test_no_block_repeats_the_head(pages):
    """The records stand alone: the title and the text of the finding would say the same once more."""
    assert not [line for line in pages["t06-mismatch"] if line.startswith("  fault:")]


@pytest.mark.parametrize("name", REFUSED)
def test_no_hint_beside_a_refusal(pages, name):
    assert not [line for line in pages[name] if line.startswith("  hint:")]


@pytest.mark.parametrize("name", CASES)
def test_width(pages, name):
    """80 columns, but for an owner name that is longer than them."""
    assert not [line for line in pages[name] if len(line) > WIDTH and " IN TLSA " not in line]


def test_wrong_and_right_record(pages):
    """A mismatch shows both records, as a zone file may hold them."""
    text = " ".join(pages["t06-mismatch"])
    wrong, right = "5a" * 32, test_dane.tlsa(HOSTS["t06-mismatch"].cert).split()[3]
    assert re.search(r"fits nothing:.* IN TLSA 3 1 1 \( +%s \)" % wrong, text)
    assert re.search(r"to be published, if .*: .* IN TLSA 3 1 1 \( +%s \)" % right, text)


def test_colours(lab, conf):
    name = domain("t06-mismatch")
    assert "\033" not in check(lab, name, conf=conf).out
    assert check(lab, "--color=always", name, conf=conf).out.startswith("\033[1;31m" + name)
    assert "\033" not in check(lab, "--color=never", name, conf=conf).out


def test_explain_for_people(lab, conf):
    """Lookups in order, with state, TTL and time, and a command for each that does what it says."""
    done = command(lab, ["explain", "b@" + domain("t06-mismatch")], conf=conf)
    mx = HOSTS["t06-mismatch"].mx
    assert not [line for line in done.lines if len(line) > WIDTH]
    assert re.search(r" 1\. MX t06-mismatch\.dane\.lab: secure, TTL 300, \d+ ms", done.out)
    assert re.search(r" \d+\. TLSA _25\._tcp\.%s: secure, TTL 300, \d+ ms\n    3 1 1 5a5a5a5a\.\."
                     % re.escape(mx), done.out)
    assert "$ delv _25._tcp.%s TLSA" % mx in done.out
    shell = done.out.split("The connection, repeated:\n    $ ")[1].replace("-starttls", "-brief -starttls")
    ran = subprocess.run(shell, shell=True, input="QUIT\n", capture_output=True, text=True, timeout=20)
    assert "verify error:num=65" in ran.stderr, ran.stderr


@pytest.mark.parametrize("address", [
    "b@" + domain(name) for name in ("ee-311", "half", "t06-mismatch", "report-wrong", "until-tomorrow",
                                     "secure-below", "report-bogus", "none-with-starttls")
] + ["b@null.lab", "b@[198.18.0.9]", "b@-x.lab", "kept.plain", "odd-txt.plain"])
def test_explain_by_its_schema(lab, conf, address):
    with open(os.path.join(HERE, "../../packaging/explain.schema.json")) as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    told = json.loads(command(lab, ["explain", "--json", address], conf=conf).out)
    jsonschema.Draft202012Validator(schema).validate(told)


def test_explain_names_the_exception(lab, conf):
    done = command(lab, ["explain", "b@" + domain("until-tomorrow")], conf=conf)
    assert re.search(r"exception +\[domain until-tomorrow\.dane\.lab\], until %s, reason: +ticket 4711"
                     % test_dane.TOMORROW, done.out.replace("\n", " "))
    assert "level may" in done.out and done.code == 1


@pytest.mark.parametrize("address, reply", [
    ("b@null.lab", "556 5.1.10 null-mx: "), ("b@no-such.lab", "550 5.1.2 no-such-domain: "),
    ("b@private.lab", "451 4.4.4 no-address: "), ("b@[198.18.0.9]", "550 5.1.2 address-literal: "),
    ("b@-x.lab", "501 5.1.3 bad-address: "), ("a b@null.lab", "501 5.1.3 bad-address: ")])
def test_explain_other_refusals(lab, conf, address, reply):
    done = command(lab, ["explain", "--json", address], conf=conf)
    assert json.loads(done.out)["reply"].startswith(reply), done.out
    assert done.code == 2


# ---- strangers' texts ----

@pytest.mark.parametrize("name", ["odd-cert.plain", "odd-greeting.lab", "odd-ehlo.lab", "odd-starttls.lab",
                                  "odd-txt.plain", "odd-mx.plain", "silent.lab"])
def test_terminals_are_safe(lab, conf, name):
    """R-SMTP-20: command() asserts that no output holds a control; the text is there all the same."""
    for words in (["check"], ["check", "--json"], ["check", "--nagios"], ["explain"], ["explain", "--json"]):
        done = command(lab, [*words, name], conf=conf)
        assert name in done.out and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out + done.err)
    shown = check(lab, name, conf=conf)
    assert not [line for line in shown.lines if len(line) > WIDTH]
    if name in ("odd-cert.plain", "odd-txt.plain"):
        assert "\\x1b[" in shown.out or "\\1b[" in shown.out.lower(), shown.out


def test_given_names_are_safe(lab, conf):
    done = check(lab, "\033[31mred", "x" * 300 + ".lab", "\u202egood.lab", conf=conf)
    assert done.code == 2 and len(re.findall(r"REFUSED\s+\(bad-address\)", done.out)) == 3


# ---- lists ----

def test_list(lab, conf):
    """200 domains: all told, summed up, a few at a time."""
    names = ["d%d.bulk.plain" % n for n in range(200)]
    path = lab.new_folder("list")
    write(path, "# all\n" + "\n".join(names) + "\n" + names[0].upper() + "\n")
    start = time.monotonic()
    done = check(lab, "-f", path, conf=conf)
    assert time.monotonic() - start < 60
    assert [line.split()[-1] for line in done.lines if line.startswith("unchanged")] == names
    assert re.search("Under level dane, of 200 domains:\n +200 get what they get today", done.out)
    assert 1 < CROWD.most <= 16  # eight, and those whose QUIT is on its way
    assert done.code == 1


def test_mail_log(lab, conf):
    """Under level dane, whatever the settings say, but for [domain] sections."""
    log = "".join("Nov 23 07:00:00 mx postfix/smtp[7]: 4X: to=<a@%s>, relay=none, status=sent\n" % domain(n)
                  for n in ("ee-311", "t06-mismatch", "ee-311", "may-clear", "report-wrong"))
    log += "delivery session=a-1 client=- from=<x@no.lab> to=<b@null.lab>,<c@silent.lab>:refused mx=-\n"
    done = check(lab, "-f", "-", "-o", "policy.fallback=may", conf=conf, stdin=log.encode())
    rows = [line.split() for line in done.lines[:done.lines.index("")]]
    assert rows == [["authenticated", "dane", domain("ee-311")],
                    ["REFUSED", "dane-mismatch", domain("t06-mismatch")],
                    ["unchanged", "in", "clear", domain("may-clear")],
                    ["unchanged", "dane-mismatch", domain("report-wrong")],
                    ["undeliverable", "null-mx", "null.lab"],
                    ["unknown", "connect-failed", "silent.lab"]]
    assert done.code == 3


def test_list_overrides_level(lab, conf):
    name = domain("t06-mismatch")
    assert check(lab, "-o", "policy.level=may", name, conf=conf).code == 1
    path = lab.new_folder("list")
    write(path, name)
    lax = configure(lab, {"policy": {"level": "may", "allow_addresses": "198.18.0.0/15"}})
    assert check(lab, name, conf=lax).code == 1
    assert check(lab, "-f", path, conf=lax).out.startswith("REFUSED        dane-mismatch")


# ---- options ----

def outcomes(done):
    return {a["address"]: a["outcome"] for h in done.result["hosts"] for a in h["addresses"]}


def test_families(lab, conf):
    """Every address of both families, or of one."""
    both = outcomes(check_json(lab, "families.lab", conf=conf))
    assert sorted(both.values()) == ["ready", "ready"] and len({":" in a for a in both}) == 2
    for option, is_v6 in ("-4", False), ("-6", True):
        found = outcomes(check_json(lab, option, "families.lab", conf=conf))
        assert {a for a, o in found.items() if o == "ready"} == {a for a in both if (":" in a) == is_v6}


def test_no_connect(lab, conf):
    before = len(HOSTS["ee-311"].fake.connections)
    done = check_json(lab, "--no-connect", domain("ee-311"), conf=conf)
    assert done.code == 0 and done.result["verdict"]["assumed"]
    assert len(HOSTS["ee-311"].fake.connections) == before


def test_host_and_port(lab, conf):
    done = check_json(lab, "--host", HOSTS["ee-311"].mx, conf=conf)
    assert done.code == 0 and done.result["mx"]["fixed"] and done.result["mta_sts"] is None
    done = check_json(lab, "--port", "2500", "ported.lab", conf=conf)
    assert done.result["hosts"][0]["tlsa"]["owner"] == "_2500._tcp.mx.ported.lab"
    assert done.code == 0, done.out


def test_timeout(lab):
    conf = configure(lab)
    start = time.monotonic()
    done = check(lab, "--timeout", "500ms", "silent.lab", conf=conf)
    assert time.monotonic() - start < 15 and done.code == 3 and "connect-failed" in done.lines[0]


@pytest.mark.parametrize("names, code, begin", [
    (["ee-311"], 0, "DANE OK - ee-311.dane.lab: AUTHENTICATED"),
    (["absent"], 1, "DANE WARNING - absent.dane.lab: DELIVERED over TLS"),
    (["ee-311", "t06-mismatch"], 2, "DANE CRITICAL - t06-mismatch.dane.lab: HELD, not sent (dane-mismatch)")])
def test_nagios(lab, conf, names, code, begin):
    done = check(lab, "--nagios", *map(domain, names), conf=conf)
    assert done.code == code and len(done.lines) == 1 and done.out.startswith(begin)


def test_highest_exit_code(lab, conf):
    assert check(lab, domain("t06-mismatch"), domain("ee-311"), conf=conf).code == 2


@pytest.mark.parametrize("words", [["check"], ["check", "--port", "0", "x.lab"], ["check", "-f", "/no/such"],
                                   ["check", "--color=blue", "x.lab"], ["check", "--timeout", "soon", "x.lab"],
                                   ["check", "--verbose", "x.lab"], ["explain"], ["explain", "a", "b"],
                                   ["explain", "--color=x", "a@x.lab"]])
def test_usage(lab, conf, words):
    done = command(lab, words, conf=conf)
    assert done.code == 64 and done.out == "" and done.err, done


@pytest.mark.parametrize("word", ["check", "explain"])
def test_help_and_settings(lab, word):
    done = command(lab, [word, "--help"])
    assert done.code == 0 and done.out.startswith("danelaw " + word)
    assert not [line for line in done.lines if len(line) > WIDTH]
    assert command(lab, [word, "x@y.lab"], changes={"policy": {"level": "loud"}}).code == 78


# ---- anybody may run them, and they leave no trace ----

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def snapshot(folder):
    found = {}
    for path, _, files in os.walk(folder):
        for name in [path, *(os.path.join(path, f) for f in files)]:
            s = os.lstat(name)
            found[name] = (s.st_ino, s.st_size, s.st_mtime_ns, stat.S_IMODE(s.st_mode))
    return found


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_ordinary_user(lab, mode):
    state = lab.new_folder("state")
    os.makedirs(state)
    os.chmod(state, mode)
    conf = configure(lab, {"server": {"hostname": "danelaw.lab", "state_dir": state}})
    for words in ["check", domain("ee-311")], ["explain", "b@" + domain("ee-311")]:
        done = command(lab, words, conf=conf, wrap=NOBODY)
        assert (done.code, done.err) == (0, ""), done
    assert os.listdir(state) == []


def test_the_policy_store_is_read_and_left_alone(lab):
    """A cached policy counts as it does for mail, though its host is gone; root leaves no file."""
    state = lab.new_folder("state")
    os.makedirs(state)
    how = {"server": {"hostname": "danelaw.lab", "state_dir": state},
           "listener smarthost": {"listen": "127.0.0.1:2526", "clients": "127.0.0.0/8"}}
    with Danelaw(lab, how) as d:
        with Smtp(d.server) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<b@kept.plain>", 250)
    lab.web.publish("kept.plain", None)
    before = snapshot(state)
    conf = configure(lab, how)
    for words in ["check", "kept.plain"], ["explain", "b@kept.plain"]:
        done = command(lab, words, conf=conf)
        assert (done.code, done.err) == (0, "") and "sts:enforce" in done.out, done
    assert snapshot(state) == before


def test_no_mail(lab, conf):
    """The conversation ends before MAIL."""
    fake = HOSTS["ee-tls12"].fake
    before = fake.secret.count(b"QUIT")
    check(lab, domain("ee-tls12"), conf=conf)
    command(lab, ["explain", domain("ee-tls12")], conf=conf)
    wait(lambda: fake.secret.count(b"QUIT") >= before + 2, 5, "both have left")
    assert not re.search(b"MAIL|RCPT|DATA", fake.clear + fake.secret)
