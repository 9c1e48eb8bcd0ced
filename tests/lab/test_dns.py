"""What DNS may say, and what it may not: requirements R-DNS and catalogue rows D-01 to D-26, through
the whole program.

Domains of one zone each have a twist or a fault; most of the others share the zone dns.lab.
"""
import threading
import time
from types import SimpleNamespace

import dns.flags
import dns.rcode
import dns.rrset
import pytest

from certs import tlsa
from dnsrelay import (DnsRelay, deny, drop, fail, forge_ad, honest, qtype, silent, strip_signatures,
                      truncate)
from program import Danelaw
from smtp import Smtp, send
from world import RESOLVER, STALE
from zones import BOGUS_DS, CORRUPT, EXPIRED, ISLAND, NSEC3, SIGNED, UNSIGNED, wait, write

VERIFIED = dict(policy="dane", tls="verified", mx_dnssec="secure", status="sent")
MAY = dict(policy="may", tls="encrypted", tlsa="-", status="sent", reason="-")
INSECURE = dict(MAY, mx_dnssec="insecure")
BOGUS, FAILED = "451 4.4.3 dns-bogus", "451 4.4.3 dns-failed"

# Whole zones: how they are made or twisted, the TLSA record, and what must come of it.
ZONES = {
    "signed": (SIGNED, None, "3 1 1", VERIFIED),
    "nsec3": (NSEC3, None, "3 1 1", VERIFIED),
    "nsec3-wrong": (NSEC3, None, STALE, "451 4.7.5 dane-mismatch"),
    "nsec3-absent": (NSEC3, None, None, dict(MAY, mx_dnssec="secure")),  # R-DNS-04
    "unsigned": (UNSIGNED, None, STALE, INSECURE),  # R-DNS-08
    "island": (ISLAND, None, STALE, INSECURE),  # R-DNS-03
    "expired": (EXPIRED, None, "3 1 1", BOGUS),  # D-01, R-DNS-05
    "bogus-ds": (BOGUS_DS, None, "3 1 1", BOGUS),
    "corrupt-mx": (CORRUPT + " MX", None, "3 1 1", BOGUS),
    "corrupt-a": (CORRUPT + " A", None, "3 1 1", BOGUS),
    "corrupt-tlsa": (CORRUPT + " TLSA", None, "3 1 1", BOGUS),  # R-DNS-07
    "corrupt-nsec": (CORRUPT + " NSEC", None, None, BOGUS),  # D-02: no proof that there is no TLSA
    "stripped": (SIGNED, strip_signatures, "3 1 1", BOGUS),  # D-05, R-DNS-36
    "deny-tlsa": (SIGNED, deny("TLSA"), "3 1 1", BOGUS),  # D-02
    "deny-mx": (SIGNED, deny("MX"), "3 1 1", BOGUS),  # R-DNS-23: forged NXDOMAIN is no bounce
    "servfail-tlsa": (SIGNED, fail("SERVFAIL", "TLSA"), "3 1 1", FAILED),
    "refused-tlsa": (SIGNED, fail("REFUSED", "TLSA"), "3 1 1", FAILED),
    "notimp-tlsa": (SIGNED, fail("NOTIMP", "TLSA"), "3 1 1", FAILED),
    "formerr-tlsa": (SIGNED, fail("FORMERR", "TLSA"), "3 1 1", FAILED),
    "drop-tlsa": (SIGNED, drop("TLSA"), "3 1 1", FAILED),  # D-03
    "truncate-tlsa": (SIGNED, truncate("TLSA"), "3 1 1", VERIFIED),
    "servfail-mx": (UNSIGNED, fail("SERVFAIL", "MX"), None, FAILED),
    "refused-all": (UNSIGNED, fail("REFUSED"), None, FAILED),
    "silent": (UNSIGNED, silent, None, FAILED),  # D-20
    "servfail-aaaa": (SIGNED, fail("SERVFAIL", "AAAA"), "3 1 1", VERIFIED),  # R-DNS-10
    "servfail-aaaa-wrong": (SIGNED, fail("SERVFAIL", "AAAA"), STALE, "451 4.7.5 dane-mismatch"),
    "drop-aaaa": (SIGNED, drop("AAAA"), STALE, "451 4.7.5 dane-mismatch"),
    "servfail-addresses": (SIGNED, fail("SERVFAIL", "A", "AAAA"), "3 1 1", FAILED),
    # D-04, R-DNS-08: what an unsigned zone does with TLSA queries does not matter
    "unsigned-deny": (UNSIGNED, deny("TLSA"), STALE, INSECURE),
    "unsigned-drop": (UNSIGNED, drop("TLSA"), STALE, INSECURE),
    "unsigned-servfail": (UNSIGNED, fail("SERVFAIL", "TLSA"), STALE, INSECURE),
    "unsigned-notimp": (UNSIGNED, fail("NOTIMP", "TLSA"), STALE, INSECURE),
    "unsigned-forged-ad": (UNSIGNED, forge_ad, STALE, INSECURE),  # D-06
}


def lying_additional(query, fetch):
    """D-18, R-DNS-21: an address and a better MX that nobody asked for."""
    answer = fetch()
    if qtype(query) == "MX":
        answer.answer.append(dns.rrset.from_text("elsewhere.lab.", 300, "IN", "MX", "0 evil.lab."))
        answer.additional.append(dns.rrset.from_text("mx.additional.z.lab.", 300, "IN", "A",
                                                     "198.18.255.1"))
    return answer


# Names in dns.lab (signed) and in dns.plain (unsigned): {good} is a host that greets, {key} is its
# 3 1 1 record, {stale} fits nothing. Each domain, its records, and what must come of it.
RECORDS = """
; aliases of MX hosts (R-DNS-11, -14, -15, -46, D-07, D-08)
end                 A     {good}
_25._tcp.end        TLSA  {key}
bare                A     {good}
to-end              CNAME end
_25._tcp.to-end     TLSA  {stale}
to-bare             CNAME bare
_25._tcp.to-bare    TLSA  {key}
hop1                CNAME hop2
hop2                CNAME hop3
hop3                A     {good}
_25._tcp.hop1       TLSA  {stale}
_25._tcp.hop2       TLSA  {stale}
_25._tcp.hop3       TLSA  {key}
way1                CNAME way2
way2                CNAME bare
_25._tcp.way2       TLSA  {stale}
to-plain            CNAME host.dns.plain.
_25._tcp.to-plain   TLSA  {key}
to-plain-wrong      CNAME host.dns.plain.
_25._tcp.to-plain-wrong TLSA {stale}
to-plain-absent     CNAME host.dns.plain.
to-failing          CNAME mx.servfail-tlsa.z.lab.
_25._tcp.to-failing TLSA  {key}
; aliases of TLSA records (R-DNS-16, -17, D-09)
owner               A     {good}
_25._tcp.owner      CNAME records.dns.lab.
records             TLSA  {key}
owner-wrong         A     {good}
_25._tcp.owner-wrong CNAME wrong.dns.lab.
wrong               TLSA  {stale}
owner-plain         A     {good}
_25._tcp.owner-plain CNAME records.dns.plain.
owner-ta            A     {ta}
_25._tcp.owner-ta   CNAME authority.dns.lab.
authority           TLSA  {ca}
; DNAME (R-DNS-19), endless aliases (D-10)
old                 DNAME new.dns.lab.
mx.new              A     {good}
_25._tcp.mx.new     TLSA  {key}
round1              CNAME round2
round2              CNAME round1
endless             DNAME x.endless.dns.lab.
; hosts
dead                A     {dead}
host-of-any         A     {good}
"""
ALIASES = {
    "to-end": VERIFIED, "to-bare": VERIFIED, "hop1": VERIFIED, "way1": MAY, "to-plain": VERIFIED,
    "to-plain-wrong": "451 4.7.5 dane-mismatch", "to-plain-absent": MAY, "to-failing": FAILED,
    "owner": VERIFIED, "owner-wrong": "451 4.7.5 dane-mismatch", "owner-plain": MAY,
    "owner-ta": VERIFIED, "mx.old": VERIFIED, "round1": FAILED, "mx.endless": BOGUS, "chain0": FAILED,
}
DOMAINS = {  # (records of the domain itself, what must come of it)
    "null": ("MX 0 .", "556 5.1.10 null-mx"),
    "null-and-more": (["MX 0 .", "MX 10 end"], VERIFIED),  # D-12
    "nothing": ("TXT x", "550 5.1.2 no-mail-host"),
    "only-a": ("A {good}", MAY),
    "mx-without-address": ("MX 10 nothing", "451 4.4.4 no-address"),
    "mx-nowhere": ("MX 10 does-not-exist", "451 4.4.4 no-address"),
    "mx-dead-a-good": (["MX 10 dead", "A {good}"], "451 4.4.1 connect-failed"),  # R-DNS-24
    "mx-nowhere-a-good": (["MX 10 nothing", "A {good}"], "451 4.4.4 no-address"),
    "mx-local-a-good": (["MX 10 localhost.", "A {good}"], "451 4.4.4 no-address"),
    "null-among-bad": (["MX 0 .", "MX 1 localhost.", "A {good}"], "451 4.4.4 no-address"),
    "bad-names": (["MX 0 1.2.3.4.", "MX 1 localhost.", "MX 2 single.", "MX 3 a\\032b.dns.lab.",
                   "MX 4 a\\000b.dns.lab.", "MX 5 a\\.b.dns.lab.", "MX 9 end"], VERIFIED),  # D-11
    "sentinel": ("MX 10 root-key-sentinel-not-ta-12345.dns.lab.", "451 4.4.4 no-address"),  # D-26
    "bogus-then-good": (["MX 10 mx.corrupt-a.z.lab.", "MX 20 end"], VERIFIED),  # R-DNS-06
    "failing-then-good": (["MX 10 mx.servfail-tlsa.z.lab.", "MX 20 end"], VERIFIED),  # R-DNS-07
    "bogus-then-dead": (["MX 10 mx.corrupt-a.z.lab.", "MX 20 dead"], BOGUS),
    "good-then-silent": (["MX 10 end", "MX 20 mx.silent.z.lab."], VERIFIED),
    "alias-of-domain": ("CNAME mx-of-alias", VERIFIED),  # R-DNS-22
    "mx-of-alias": ("MX 10 end", VERIFIED),
    "alias-of-null": ("CNAME null", "556 5.1.10 null-mx"),
    "alias-of-nowhere": ("CNAME does-not-exist", "550 5.1.2 no-such-domain"),
    "alias-of-bogus": ("CNAME corrupt-mx.z.lab.", BOGUS),
    "does-not-exist": ([], "550 5.1.2 no-such-domain"),
    "many-mx": (["MX %d dead" % (100 - i) for i in range(60)] + ["MX 1 end"], VERIFIED),
    "xn--bcher-kva": ("MX 10 end", VERIFIED),
    # D-13, D-14, R-DNS-28, -29; the lab's own ranges are in allow_addresses
    **{"at-" + str(i): ("MX 10 host-" + str(i), "451 4.4.4 no-address") for i in range(17)},
    "self": ("MX 10 host-self", "554 5.4.6 mx-loop"),
    "self-behind-dead": (["MX 10 dead", "MX 20 host-self", "MX 30 end"], "451 4.4.1 connect-failed"),
    "self-before-good": (["MX 10 host-self", "MX 20 end"], "554 5.4.6 mx-loop"),
    "good-before-self": (["MX 10 end", "MX 20 host-self"], VERIFIED),
    "self-among-addresses": ("MX 10 host-self-too", "554 5.4.6 mx-loop"),
    "same-address-other-port": ("MX 10 host-neighbour", MAY),
}
SPECIAL = ("A 127.0.0.1", "A 127.9.9.9", "A 0.0.0.0", "A 0.1.2.3", "A 169.254.1.1", "A 224.0.0.1",
           "A 255.255.255.255", "A 10.1.2.3", "A 172.16.0.1", "A 192.168.1.1", "A 100.64.0.1",
           "AAAA ::1", "AAAA ::", "AAAA ::ffff:127.0.0.1", "AAAA fe80::1", "AAAA fd00::1",
           "AAAA ff02::1")
OWN, NEIGHBOUR = "198.18.250.1", "198.18.250.2"
LAB = SimpleNamespace()


def via(host):
    return "via-" + host.replace(".", "-")


def declare(lab):
    cert = lab.cert("end.dns.lab")
    for name, (how, twist, record, _) in ZONES.items():
        lab.domain(name + ".z.lab", record, how, cert=cert, fake={}, twist=twist)
    LAB.good = lab.fake(lab.address(), cert)
    LAB.ta = lab.fake(lab.address(), lab.ca.issue("owner-ta.dns.lab"))
    LAB.neighbour = lab.fake(NEIGHBOUR, cert)
    words = dict(good=LAB.good.address, key=tlsa(cert), stale=STALE, ta=LAB.ta.address,
                 ca=tlsa(lab.ca, 2, 0, 1), dead=lab.address())
    text = RECORDS.format(**words)
    for host in ALIASES:
        text += "%s MX 10 %s\n" % (via(host), host)
    for name, (records, _) in DOMAINS.items():
        for record in [records] if isinstance(records, str) else records:
            text += "%s %s\n" % (name, record.format(**words))
    for i in range(200):
        text += "chain%d CNAME chain%d\n" % (i, i + 1)
    text += "chain200 A %s\n" % LAB.good.address
    for i, record in enumerate(SPECIAL):
        text += "host-%d %s\n" % (i, record)
    text += "host-self A %s\nhost-self-too A %s\nhost-self-too A %s\nhost-neighbour A %s\n" % (
        OWN, LAB.good.address, OWN, NEIGHBOUR)
    lab.zone("dns.lab", text)
    lab.zone("dns.plain", "host A %s\n_25._tcp.host TLSA %s\nrecords TLSA %s\n"
             "to-secure MX 10 alias\nalias CNAME bad.dns-bad.lab.\n_25._tcp.alias TLSA %s\n" % (
                 LAB.good.address, STALE, STALE, STALE), UNSIGNED)
    lab.zone("dns-bad.lab", "bad A %s\n_25._tcp.bad TLSA %s\n" % (LAB.good.address, STALE))
    many = ["3 1 1 %064x" % i for i in range(200)]
    lab.domain("tlsa-100.z.lab", many[:99] + ["3 1 1"], cert=cert, fake={})
    lab.domain("tlsa-101.z.lab", many[:100] + ["3 1 1"], cert=cert, fake={})
    lab.domain("tlsa-60k.z.lab", ["3 0 0 %04x%s" % (i, "5a" * 1000) for i in range(60)] + ["3 1 1"],
               cert=cert, fake={})
    LAB.additional = lab.domain("additional.z.lab", how=UNSIGNED, cert=cert, fake={},
                                twist=lying_additional)
    lab.domain("hosts-file.z.lab", "3 1 1", cert=cert, fake={})
    lab.zone("hosts-only.z.lab", "@ MX 10 mx\n")
    # Forwarders before the lab's Unbound.
    LAB.forwarders = {}
    for name, twist in {"liar": forge_ad, "stripping": strip_signatures, "denying": deny("TLSA"),
                        "dead": lambda query, fetch: LAB.dead(query, fetch)}.items():
        lab.last_relay += 1
        relay = DnsRelay("198.19.0.%d" % lab.last_relay, twist, RESOLVER)
        lab.stops.append(relay)
        LAB.forwarders[name] = relay.address
    LAB.dead = honest


@pytest.fixture(scope="module")
def danelaw(lab):
    changes = {"listener smarthost": {"listen": "127.0.0.1:2525 %s:25 %s:2525" % (OWN, NEIGHBOUR)},
               "dns": {"timeout": "2s", "total": "4s"},
               "domain next-is-us.z.lab": {"next_hop": "[127.0.0.1]:2525"}}
    with Danelaw(lab, changes) as d:
        yield d


def assert_outcome(danelaw, recipient, expect):
    reply = send(recipient)
    log = danelaw.delivery_to(recipient)
    if isinstance(expect, str):
        assert reply.startswith(expect + ": "), reply
        assert log["reason"] == expect.split()[2] and log["reply"] == reply
        assert log["status"] == ("deferred" if expect[0] == "4" else "refused")
    else:
        assert reply.code == 250, reply
        assert {k: log[k] for k in expect} == expect
    return log


@pytest.mark.parametrize("name", ZONES)
def test_zones(lab, danelaw, name):
    """R-DNS-02, -05, -07, -08, -10: the table above; nothing is connected to where DNS failed."""
    d, expect = lab[name + ".z.lab"], ZONES[name][3]
    started = time.monotonic()
    assert_outcome(danelaw, "b@%s.z.lab" % name, expect)
    assert time.monotonic() - started < 7  # R-DNS-43: 4 s, and a slow machine
    if expect in (BOGUS, FAILED):
        assert not d.receiver.connections
    if ZONES[name][0] in (UNSIGNED, ISLAND):
        assert not [line for line in danelaw.log.splitlines()
                    if "lookup" in line and "_25._tcp.mx.%s.z.lab" % name in line]
        assert not d.relay or not d.relay.asked("TLSA")


@pytest.mark.parametrize("host", ALIASES)
def test_aliased_hosts(lab, danelaw, host):
    """R-DNS-11..19, D-07..D-10; the log names the host of the MX record (R-DNS-46)."""
    log = assert_outcome(danelaw, "b@%s.dns.lab" % via(host), ALIASES[host])
    if not isinstance(ALIASES[host], str):
        assert log["mx"].startswith("%s.dns.lab[" % host)


def test_names_between_are_not_asked(danelaw):
    """R-DNS-14: only the ends of a chain; R-DNS-15: an error at its end is final."""
    for host in ("hop1", "way1", "to-failing"):
        send("asked@via-%s.dns.lab" % host)
    asked = [line for line in danelaw.log.splitlines() if "lookup" in line and "type=TLSA" in line]
    for between in ("hop2.dns.lab", "way2.dns.lab", "to-failing.dns.lab", "host.dns.plain"):
        assert not [line for line in asked if "_25._tcp.%s " % between in line], between
    assert [line for line in asked if "_25._tcp.hop3.dns.lab " in line]


@pytest.mark.parametrize("host, base", [("to-end", "end"), ("to-bare", "to-bare"), ("hop1", "hop3"),
                                        ("to-plain", "to-plain"), ("owner", "owner")])
def test_sni_is_the_base_domain(danelaw, host, base):
    """R-DNS-16, R-DANE-18: where the records were found, not where they are kept."""
    send("sni@via-%s.dns.lab" % host)
    assert base + ".dns.lab" in LAB.good.snis


def test_insecure_alias_of_a_secure_host(danelaw):
    """R-DNS-11: the alias could lead anywhere; a TLSA record at its end says nothing about it."""
    assert_outcome(danelaw, "b@to-secure.dns.plain", INSECURE)


@pytest.mark.parametrize("name", DOMAINS)
def test_domains(lab, danelaw, name):
    """R-DNS-06, D-11..14, D-26, R-DNS-22..26, -28..30: MX, null MX, implicit MX, special addresses,
    ourselves."""
    if name == "xn--bcher-kva":
        return  # below
    before = len(LAB.good.messages)
    started = time.monotonic()
    assert_outcome(danelaw, "b@%s.dns.lab" % name, DOMAINS[name][1])
    if isinstance(DOMAINS[name][1], str):
        assert len(LAB.good.messages) == before
    if name == "good-then-silent":
        assert time.monotonic() - started < 2


def test_international_domain(danelaw):
    """R-DNS-31: looked up, logged and sent on as A-labels or as written, in any spelling."""
    for name in ("b\u00fccher.dns.lab", "B\u00dcCHER.dns.lab", "XN--BCHER-KVA.dns.lab"):
        assert send("b@" + name, mail="SMTPUTF8").code == 250
    assert any("name=xn--bcher-kva.dns.lab " in line for line in danelaw.log.splitlines())


@pytest.mark.parametrize("name", ["a..b.lab", ".dns.lab", "a" * 64 + ".lab", ".".join(["a" * 60] * 5),
                                  "-a.lab", "a-.lab", "a b.lab", "xn--\u00fc.lab", "xn--a-ecp.lab",
                                  "xn--.lab", "a\\.lab", "a\0.lab", "\u2100.\u0000.lab", "x\u200b..lab"])
def test_malformed_domains(danelaw, name):
    """D-21, R-DNS-32: 501 or 553 before any DNS."""
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab> SMTPUTF8", 250)
        before = danelaw.log.count(" lookup ")
        reply = c("RCPT TO:<b@%s>" % name)
        assert reply.code in (500, 501, 553), reply
        assert danelaw.log.count(" lookup ") == before
        assert c("NOOP").code == 250 or c.is_closed()


@pytest.mark.parametrize("name", ["x.test", "x.invalid", "x.onion", "localhost", "x.home.arpa"])
def test_names_that_the_library_answers(danelaw, name):
    """D-22"""
    assert send("b@" + name).startswith("550 5.1.2 ")


def test_many_tlsa_records(lab, danelaw):
    """R-DNS-30, D-15: a hundred are matched, over TCP; of more nothing is believed."""
    assert_outcome(danelaw, "b@tlsa-100.z.lab", VERIFIED)
    assert_outcome(danelaw, "b@tlsa-60k.z.lab", VERIFIED)
    assert_outcome(danelaw, "b@tlsa-101.z.lab", FAILED)


def test_additional_data_is_not_used(lab, danelaw):
    """D-18, R-DNS-20, R-DNS-21"""
    log = assert_outcome(danelaw, "b@additional.z.lab", INSECURE)
    assert log["mx"] == "mx.additional.z.lab[%s]:25" % LAB.additional.address


def test_hosts_file_is_not_read(lab, danelaw):
    """R-DNS-34"""
    with open("/etc/hosts", "a") as f:
        f.write("198.18.255.9 mx.hosts-file.z.lab hosts-file.z.lab\n%s mx.hosts-only.z.lab\n"
                % LAB.good.address)
    log = assert_outcome(danelaw, "b@hosts-file.z.lab", VERIFIED)
    assert log["mx"] == "mx.hosts-file.z.lab[%s]:25" % lab["hosts-file.z.lab"].address
    assert_outcome(danelaw, "b@hosts-only.z.lab", "451 4.4.4 no-address")


def test_next_hop_is_ourselves(danelaw):
    """R-DNS-28: also where the operator wrote it."""
    assert_outcome(danelaw, "b@next-is-us.z.lab", "554 5.4.6 mx-loop")


@pytest.mark.parametrize("literal", ["[127.0.0.1]", "[198.18.0.1]", "[IPv6:::1]"])
def test_address_literals(danelaw, literal):
    """R-DNS-33"""
    assert send("b@" + literal).startswith("550 5.1.2 address-literal: ")


# ---- other resolvers: each has a danelaw of its own ----

def elsewhere(lab, **dns):
    dns = {"timeout": "2s", "total": "4s", **dns}
    view = dns.pop("view", {})
    return Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.4:2525"}, "dns": dns,
                         "domain may.signed.z.lab": {"level": "may"}, **view})


def replies(d, wanted, user="elsewhere"):
    for name, reply in wanted.items():
        got = send("%s@%s" % (user, name), server=d.server)
        assert got.startswith(reply), (name, got)


def test_forwarder(lab):
    """R-DNS-35: forwarded to a real Unbound, validated here."""
    with elsewhere(lab, forward=RESOLVER) as d:
        replies(d, {"signed.z.lab": "250", "nsec3-wrong.z.lab": "451 4.7.5 dane-mismatch",
                    "corrupt-tlsa.z.lab": "451 4.4.3", "expired.z.lab": "451 4.4.3",
                    "island.z.lab": "250",
                    "via-to-plain.dns.lab": "250", "tlsa-100.z.lab": "250",
                    "does-not-exist.dns.lab": "550 5.1.2"})
        assert d.delivery_to("elsewhere@signed.z.lab")["tls"] == "verified"
        assert d.delivery_to("elsewhere@island.z.lab")["mx_dnssec"] == "insecure"


def test_lying_forwarder(lab):
    """D-06, R-DNS-35: AD on everything makes nothing secure."""
    with elsewhere(lab, forward=LAB.forwarders["liar"]) as d:
        replies(d, {"unsigned.z.lab": "250", "signed.z.lab": "250", "corrupt-mx.z.lab": "451 4.4.3"})
        assert d.delivery_to("elsewhere@unsigned.z.lab")["mx_dnssec"] == "insecure"


def test_denying_forwarder(lab):
    """D-02: who denies TLSA without a proof stops the mail, never the protection."""
    with elsewhere(lab, forward=LAB.forwarders["denying"]) as d:
        replies(d, {"signed.z.lab": "451 4.4.3", "unsigned.z.lab": "250"})


def test_stripping_forwarder(lab):
    """D-05, R-DNS-36: without signatures signed names fail; they do not become insecure."""
    with elsewhere(lab, forward=LAB.forwarders["stripping"], dnssec_probe="off") as d:
        replies(d, {"signed.z.lab": BOGUS, "unsigned.z.lab": BOGUS})


def test_view_without_signatures(lab):
    """[dns NAME] signed = no: insecure by the operator's word, there and below only."""
    view = {"dns corrupt-mx.z.lab": {"forward": "198.18.0.3", "signed": "no"},
            "dns corrupt-nsec.z.lab": {"forward": "198.18.0.3", "signed": "no"}}
    with elsewhere(lab, view=view) as d:
        replies(d, {"corrupt-mx.z.lab": "250", "corrupt-nsec.z.lab": "250", "corrupt-a.z.lab": BOGUS,
                    "signed.z.lab": "250"})
        assert d.delivery_to("elsewhere@corrupt-mx.z.lab")["mx_dnssec"] == "insecure"
        assert d.delivery_to("elsewhere@signed.z.lab")["tls"] == "verified"


# ---- the probe (R-DNS-37, D-23) ----

def root_anchor(lab):
    with open(lab.dns.trust_anchor) as f:
        return f.read()


def test_anchor_with_a_wrong_key(lab):
    """D-23: an anchor that fits no key: bogus everywhere; nothing is delivered at level dane."""
    right = root_anchor(lab).strip()
    anchor = lab.folder + "/wrong.ds"
    write(anchor, right[:-8] + "%08x" % (int(right[-8:], 16) ^ 1) + "\n")
    with elsewhere(lab, trust_anchor=anchor, dnssec_probe="off") as d:
        replies(d, {"signed.z.lab": BOGUS, "unsigned.z.lab": BOGUS})


def test_anchor_that_does_not_reach(lab):
    """R-DNS-37: anchored elsewhere, everything looks insecure: not working, at once."""
    anchor = lab.folder + "/elsewhere.ds"
    write(anchor, root_anchor(lab).replace(".", "anchored-elsewhere.", 1))
    with elsewhere(lab, trust_anchor=anchor) as d:
        started = time.monotonic()
        replies(d, {"signed.z.lab": FAILED, "unsigned.z.lab": FAILED, "may.signed.z.lab": "550 5.1.2"})
        assert time.monotonic() - started < 6
        wait(lambda: "error DNSSEC does not work" in d.log, 2, "an error in the log")
    with elsewhere(lab, trust_anchor=anchor, dnssec_probe="off") as d:  # the operator's word
        replies(d, {"signed.z.lab": "250"})
        assert d.delivery_to("elsewhere@signed.z.lab")["mx_dnssec"] == "insecure"


def test_probe_of_a_bogus_name(lab):
    """R-DNS-37: a resolver that believes what must fail is not working."""
    with elsewhere(lab, dnssec_probe_bogus="mx.corrupt-a.z.lab") as d:
        replies(d, {"signed.z.lab": "250"})
    with elsewhere(lab, dnssec_probe_bogus="mx.signed.z.lab") as d:
        replies(d, {"signed.z.lab": FAILED})


def test_dns_dead_at_start(lab):
    """R-DNS-37: the first mail waits for the probe, and goes when DNS is back."""
    LAB.dead = silent
    try:
        with elsewhere(lab, forward=LAB.forwarders["dead"], timeout="500ms") as d:
            timer = threading.Timer(1, lambda: setattr(LAB, "dead", honest))
            started = time.monotonic()
            timer.start()
            replies(d, {"signed.z.lab": "250"}, "waits")
            assert 0.9 < time.monotonic() - started < 20
            assert d.delivery_to("waits@signed.z.lab")["tls"] == "verified"
            timer.join()
    finally:
        LAB.dead = honest
