"""What `danelaw check` tells the owner of a destination: a destination for every finding, and each
finding only where it belongs. Schemas describe what programs get, of check and of explain."""
import json
import os
import re
import subprocess

import jsonschema
import pytest

from certs import EC, tlsa
from program import HERE, PROGRAM, SANITIZER, ini, settings
from world import STALE
from zones import UNSIGNED, write

SCHEMAS = {command: os.path.join(HERE, "../../packaging/%s.schema.json" % command)
           for command in ("check", "explain")}
RSA = ("-newkey", "rsa:2048")
FOUND = {  # domain: its findings, all of them
    "f-clean.plain": [],
    "f-unusable.lab": ["tlsa-unusable"],
    "f-no-tlsa.lab": ["signed-no-tlsa"],
    "f-mismatch.lab": ["mismatch"],
    "f-unsigned.plain": ["unsigned-tlsa"],
    "f-one.lab": ["one-record"],
    "f-two.lab": ["several-records"],
    "f-expiry.lab": ["one-record", "selector-0-expiry"],
    "f-expiry-spki.lab": ["one-record"],
    "f-ca-sent.lab": ["one-record"],
    "f-ca-not-sent.lab": ["ca-not-sent", "several-records"],
    "f-both-keys.lab": ["key-without-record", "one-record"],
    "f-both-records.lab": ["several-records"],
    "f-sts.plain": [],
    "f-sts-mx.plain": ["sts-mx"],
    "f-sts-step.plain": ["sts-out-of-step"],
    "f-sts-alone.plain": ["sts-mx", "sts-out-of-step"],
    "f-sts-cert.plain": ["sts-certificate"],
    "f-sts-testing.plain": ["sts-testing"],
    "f-sts-fetch.plain": ["sts-fetch"],
    "f-sts-text.plain": ["sts-policy-invalid"],
    "f-half-mx.plain": ["one-record", "unsigned-mx"],
    "f-half-host.lab": ["unsigned-host"],
}
EXIT = {  # 0: authenticated, 1: delivered, 2: refused
    0: ["f-one.lab", "f-two.lab", "f-expiry.lab", "f-expiry-spki.lab", "f-ca-sent.lab",
        "f-ca-not-sent.lab", "f-both-records.lab", "f-sts.plain", "f-sts-step.plain"],
    1: ["f-clean.plain", "f-no-tlsa.lab", "f-unsigned.plain", "f-sts-testing.plain",
        "f-sts-fetch.plain", "f-sts-text.plain", "f-half-mx.plain", "f-half-host.lab",
        "f-unusable.lab"],
    2: ["f-mismatch.lab", "f-sts-alone.plain", "f-sts-cert.plain"],
}


def declare(lab):
    lab.domain("f-clean.plain", how=UNSIGNED)
    lab.domain("f-no-tlsa.lab")
    lab.domain("f-mismatch.lab", STALE)
    lab.domain("f-unusable.lab", "1 1 1")
    lab.domain("f-unsigned.plain", "3 1 1", UNSIGNED)
    lab.domain("f-one.lab", "3 1 1")
    lab.domain("f-two.lab", ["3 1 1", STALE])
    lab.domain("f-expiry.lab", "3 0 1", cert=lab.cert("mx.f-expiry.lab", days=5))
    lab.domain("f-expiry-spki.lab", "3 1 1", cert=lab.cert("mx.f-expiry-spki.lab", days=5))
    lab.domain("f-ca-sent.lab", "2 0 1", cert=lab.ca.issue("mx.f-ca-sent.lab"))
    declare_leaf_alone(lab)
    declare_two_keys(lab)
    declare_sts(lab)
    lab.zone("f-half-mx.plain", "@ MX 10 mx.f-one.lab.", UNSIGNED)
    lab.zone("f-half-host.lab", "@ MX 10 mx.f-clean.plain.")


def declare_leaf_alone(lab):
    cert = lab.ca.issue("mx.f-ca-not-sent.lab")
    lab.domain("f-ca-not-sent.lab", ["2 0 1", "3 1 1"], cert=cert, postfix={
        "smtpd_tls_chain_files": cert.key + "," + cert.pem})


def declare_two_keys(lab):
    for name, count in ("f-both-keys.lab", 1), ("f-both-records.lab", 2):
        certs = [lab.cert("mx." + name, key=key) for key in (EC, RSA)]
        lab.domain(name, [tlsa(cert) for cert in certs[:count]], cert=certs[0], postfix={
            "smtpd_tls_chain_files": ",".join(cert.combined for cert in certs)})
        lab[name].certs = certs


def declare_sts(lab):
    def domain(name, sts, **more):
        lab.domain(name, how=UNSIGNED, sts=sts,
                   **{"cert": lab.ca.issue("mx." + name, "mx2." + name), **more})

    domain("f-sts.plain", "enforce")
    domain("f-sts-mx.plain", "enforce", records="@ MX 20 mx2\nmx2 A " + lab.address())
    domain("f-sts-alone.plain", {"mx": ["old.f-sts-alone.plain"]})
    domain("f-sts-step.plain", {"mx": ["mx.f-sts-step.plain", "old.f-sts-step.plain"]})
    domain("f-sts-cert.plain", "enforce", cert=lab.cert("mx.f-sts-cert.plain"))
    domain("f-sts-testing.plain", "testing")
    domain("f-sts-fetch.plain", {"status": 404})
    domain("f-sts-text.plain", {"text": "version: STSv1\nmode: enforced\n"})


def run(command, *words, conf):
    out = subprocess.run([PROGRAM, command, "-c", conf, *words], capture_output=True, text=True,
                         timeout=100, stdin=subprocess.DEVNULL)
    assert not SANITIZER.search(out.stderr), out.stderr
    return out


@pytest.fixture(scope="module")
def conf(lab):
    path = lab.new_folder("findings") + ".conf"
    write(path, ini(settings(lab, {"server": {"state_dir": lab.new_folder("findings-state")},
                                   "timeouts": {"connect": "1s"}})))
    return path


@pytest.fixture(scope="module")
def document(conf):
    return json.loads(run("check", "--json", *FOUND, conf=conf).stdout)


@pytest.fixture(scope="module")
def results(document):
    return {r["name"]: r for r in document["results"]}


def findings(result, code):
    return [f for f in result["findings"] if f["code"] == code]


# ---- each finding, and no other ----

@pytest.mark.parametrize("name", FOUND)
def test_findings(results, name):
    assert sorted(f["code"] for f in results[name]["findings"]) == FOUND[name], json.dumps(
        results[name]["findings"], indent=1)


@pytest.mark.parametrize("code", sorted({code for codes in FOUND.values() for code in codes}))
def test_people_see_them(conf, code):
    """The most urgent lines stand before what was merely seen; 80 columns are enough."""
    name = next(name for name, codes in FOUND.items() if code in codes)
    lines = run("check", name, conf=conf).stdout.splitlines()
    assert any(code in line for line in lines), lines
    long = [line for line in lines if len(line) > 80 and " IN TLSA " not in line]
    assert not long


@pytest.mark.parametrize("code, name", [(c, n) for c in EXIT for n in EXIT[c]])
def test_exit_codes(conf, results, code, name):
    result = ("authenticated", "not-authenticated", "refused")[code]
    assert results[name]["verdict"]["result"] == result
    assert run("check", "--json", name, conf=conf).returncode == code


def test_the_highest_exit_code_counts(document):
    assert document["exit_code"] == 2


def head(conf, name):
    """The lines before the first gap, as one."""
    return " ".join(run("check", name, conf=conf).stdout.split("\n\n")[0].split())


def test_self_signed_in_words(conf):
    """The cause in words first; which policy; who must install what."""
    text = head(conf, "f-sts-cert.plain")
    assert re.search(r"certificate of mx\.f-sts-cert\.plain\[.*\) is self-signed\. The MTA-STS policy of "
                     r"f-sts-cert\.plain \((fetched now|kept from before)\)", text), text
    assert "X509_V_ERR" not in text and "must install" in text


def test_unlisted_host_in_words(conf):
    """The line to add, where, and then the id; never to remove the only MX (RFC 5321 5.1)."""
    text = head(conf, "f-sts-alone.plain")
    for words in ("`mx: mx.f-sts-alone.plain`", "https://mta-sts.f-sts-alone.plain/.well-known/mta-sts.txt",
                  "then change the id of the TXT record _mta-sts.f-sts-alone.plain"):
        assert words in text, text
    assert "remove" not in text


# ---- the records that they propose ----

def line(d, cert, *kind):
    return "_25._tcp.%s. IN TLSA %s" % (d.mx, tlsa(cert, *kind))


def test_record_to_publish(lab, results):
    d = lab["f-no-tlsa.lab"]
    assert findings(results[d.name], "signed-no-tlsa")[0]["right"] == [line(d, d.cert)]


def test_wrong_and_right_record(lab, results):
    d = lab["f-mismatch.lab"]
    found = findings(results[d.name], "mismatch")[0]
    assert found["wrong"] == ["_25._tcp.%s. IN TLSA %s" % (d.mx, STALE)]
    assert found["right"] == [line(d, d.cert)]


def test_record_in_place_of_an_unusable_one(lab, results):
    d = lab["f-unusable.lab"]
    found = findings(results[d.name], "tlsa-unusable")[0]
    assert found["right"] == [line(d, d.cert)] and found["wrong"] == [line(d, d.cert, 1)]
    assert "of usage 1" in found["text"]


def test_record_of_the_other_key(lab, results):
    d = lab["f-both-keys.lab"]
    assert findings(results[d.name], "key-without-record")[0]["right"] == [line(d, d.certs[1])]


def test_which_record_is_live(lab, results):
    d = lab["f-two.lab"]
    text = findings(results[d.name], "several-records")[0]["text"]
    live, idle = text.split("not in use")
    assert tlsa(d.cert)[:14] in live and STALE[:14] in idle and STALE[:14] not in live


# ---- for programs ----

def validator(command):
    with open(SCHEMAS[command]) as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def is_untouched(lab, d):
    """Other tests count what is asked of policy hosts and of servers that misbehave."""
    return not d.relay and "_mta-sts" not in lab.dns.zones[d.name + "."].records


def test_schema(document):
    validator("check").validate(document)


def test_schema_for_all_destinations(lab, conf):
    """Whatever the lab has, at least as far as DNS goes."""
    names = [d.name for d in lab.domains.values() if is_untouched(lab, d)]
    out = run("check", "--json", "--no-connect", "--timeout", "2s", *names, conf=conf)
    document = json.loads(out.stdout)
    assert len(document["results"]) == len(names)
    validator("check").validate(document)


@pytest.mark.parametrize("command", SCHEMAS)
@pytest.mark.parametrize("name", [
    "mx.f-one.lab", "nobody@f-one.lab", "no-such-domain.lab", "a..b", "[192.0.2.1]", "\u00fc.lab"])
def test_schema_for_other_names(conf, command, name):
    validator(command).validate(json.loads(run(command, "--json", name, conf=conf).stdout))


@pytest.mark.parametrize("name", FOUND)
def test_schema_of_explanations(conf, name):
    out = run("explain", "--json", "user@" + name, conf=conf)
    validator("explain").validate(json.loads(out.stdout))


@pytest.mark.parametrize("command", SCHEMAS)
def test_schema_knows_every_key(command):
    """Nothing is printed that it does not describe, and nothing described may be left out."""
    def walk(schema):
        if isinstance(schema, dict):
            if schema.get("type") == "object" or "properties" in schema:
                assert schema["additionalProperties"] is False
                assert sorted(schema["required"]) == sorted(schema["properties"])
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    with open(SCHEMAS[command]) as f:
        walk(json.load(f))
