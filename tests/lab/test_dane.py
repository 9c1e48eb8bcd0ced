"""What must be proven before MAIL is sent, and what happens where it is not: DANE (RFC 7672, group
R-DANE), TLS (group R-TLSSEC), the levels, and the hostile servers of catalogue rows T-01 to T-28.

Most scenarios are one row of CASES: a domain, a server, and what must be seen on the wire, by the
client, and in the log.
"""
import re
import ssl
import time
from types import SimpleNamespace

import pytest

from certs import CA, make, tlsa
from program import Danelaw
from smtp import Smtp, send
from world import STALE, rdata
from zones import CORRUPT, SIGNED, UNSIGNED, wait, write

VERIFIED = dict(policy="dane", tls="verified", mx_dnssec="secure", status="sent", reason="-")
HALF = dict(policy="half-dane", tls="encrypted", mx_dnssec="insecure", status="sent", reason="-")
UNUSABLE = dict(policy="dane-unusable", tls="encrypted", tlsa="-", status="sent", reason="-")
MAY = dict(policy="may", tls="encrypted", tlsa="-", status="sent", reason="-", would_refuse="-")
CLEAR = dict(MAY, tls="cleartext", protocol="-", cipher="-")

CASES = {}


def case(name, expect, tlsa=None, *, cert=None, fake=None, how=SIGNED, records="", conf=None,
         plain=False, tlsa_log=None):
    """`expect`: the log of a delivery, or "451 4.7.5 reason" of a refusal. `cert` makes the server's
    from (lab, host name); NO_TLS for none. `plain`: mail goes to an unsigned domain whose MX names
    this host. `tlsa_log`: how the record that matched begins in the log."""
    CASES[name] = dict(expect=expect, tlsa=tlsa, cert=cert, fake=fake or {}, how=how, plain=plain,
                       records=records, conf=conf, tlsa_log=tlsa_log)


# ---- certificates ----

def NO_TLS(lab, mx):
    return None


def own(**how):
    return lambda lab, mx: lab.cert(mx, **how)


def named(*names, **how):
    """Self-signed for other names than the host's; {d} is the domain."""
    return lambda lab, mx: lab.cert(*[n.format(d=mx[3:]) for n in names], **how)


def issued(*names, **how):
    """By the lab's CA, which is sent along."""
    return lambda lab, mx: lab.ca.issue(*[n.format(d=mx[3:]) for n in names or (mx,)], **how)


def nameless(lab, mx):
    return make(lab.folder + "/certs", "", ())


def common_name_only(lab, mx):
    return make(lab.folder + "/certs", mx, (), issuer=lab.ca)


def leaf_only(issue):
    """The issuer is not sent."""
    def cert(lab, mx):
        c = issue(lab, mx)
        with open(c.pem) as f:
            write(c.chain, f.read())
        return c
    return cert


def under(**how):
    """By an intermediate CA with such peculiarities; the TLSA record is about the lab's CA."""
    def cert(lab, mx):
        c = CA(lab.ca.folder, "intermediate of " + mx, lab.ca, **how).issue(mx)
        c.issuer = lab.ca
        return c
    return cert


def by_no_ca(lab, mx):
    return make(lab.ca.folder, mx, (mx,), issuer=lab.ca.issue("not-a-ca.lab"))


def long_chain(octets):
    """A good leaf, followed by so many octets of certificates."""
    def cert(lab, mx):
        c = lab.cert(mx)
        with open(c.chain, "a") as f:
            f.write(open(lab.ca.pem).read() * (octets // len(lab.ca.der) + 1))
        return c
    return cert


SHA512_STALE = "3 1 2 " + "5a" * 64
WEAK = {"tls": {"ciphers": "DEFAULT:@SECLEVEL=0"}}
OLD = {"tls": {"ciphers": "ALL:@SECLEVEL=0", "minimum_version": ssl.TLSVersion.TLSv1,
               "maximum_version": ssl.TLSVersion.TLSv1_1}}
ANONYMOUS = {"tls": {"ciphers": "AECDH:@SECLEVEL=0", "maximum_version": ssl.TLSVersion.TLSv1_2}}
TLS12 = {"tls": {"maximum_version": ssl.TLSVersion.TLSv1_2}}

# ---- DANE-EE: the leaf alone counts (R-DANE-09, T-07) ----

for _record in ("3 1 1", "3 0 1", "3 1 2", "3 0 2", "3 1 0", "3 0 0"):
    case("ee-" + _record.replace(" ", ""), VERIFIED, _record, tlsa_log=_record)
case("ee-tls12", VERIFIED, "3 1 1", fake=TLS12)
case("t07-expired", VERIFIED, "3 1 1", cert=own(days=-1))
case("t07-wrong-name", VERIFIED, "3 1 1", cert=named("elsewhere.lab"))
case("t07-no-name", VERIFIED, "3 1 1", cert=nameless)
case("t07-untrusted-chain", VERIFIED, "3 1 1", cert=by_no_ca)
case("t28-rsa-1024", VERIFIED, "3 1 1", cert=own(key=("-newkey", "rsa:1024")), fake=WEAK)
case("ee-roll-over", VERIFIED, [STALE, "3 1 1"], tlsa_log="3 1 1")
case("t06-mismatch", "451 4.7.5 dane-mismatch", STALE)
case("t06-mismatch-512", "451 4.7.5 dane-mismatch", SHA512_STALE)
case("t08-web-pki-is-no-help", "451 4.7.5 dane-mismatch", STALE, cert=issued())

# ---- sets of records (R-DANE-02, -04, -05, -06, -08, -16) ----

case("mixed-selector", VERIFIED, ["3 2 1 " + "5a" * 32, "3 1 1"], tlsa_log="3 1 1")
case("mixed-usage-4", VERIFIED, ["4 1 1 " + "5a" * 32, "3 1 1"], tlsa_log="3 1 1")
case("mixed-but-wrong", "451 4.7.5 dane-mismatch", ["3 2 1 " + "5a" * 32, STALE])
case("pkix-records-do-not-prove", "451 4.7.5 dane-mismatch", ["1 1 1", "0 0 1", STALE], cert=issued())
case("t16-usage-1-and-2", VERIFIED, ["1 1 1", "2 0 1"], cert=issued(), tlsa_log="2 0 1")
case("t16-usage-1-and-wrong-2", "451 4.7.5 dane-mismatch", ["1 1 1", "2 0 1 " + "5a" * 32],
     cert=issued())
case("t18-short-512-and-good-256", VERIFIED, ["3 1 2 " + "5a" * 63, "3 1 1"], tlsa_log="3 1 1")
case("t19-agility", "451 4.7.5 dane-mismatch", [SHA512_STALE, "3 1 1"])
case("agility-per-selector", VERIFIED, [SHA512_STALE, "3 0 1"], tlsa_log="3 0 1")
case("agility-spares-full", VERIFIED, [SHA512_STALE, "3 1 0"], tlsa_log="3 1 0")
case("t17-tiny-and-good", VERIFIED, ["3 1 1", "3 0 0 30", "3 1 1 30"],
     tlsa_log="3 1 1")
case("t17-garbage-and-good", VERIFIED, ["3 1 1", "3 0 0 " + "30" * 30000],
     tlsa_log="3 1 1")

UNUSABLE_SETS = {
    "usage-0": "0 0 1", "usage-1": "1 1 1", "usage-255": "255 1 1 " + "5a" * 32,
    "selector-2": "3 2 1 " + "5a" * 32, "selector-255": "3 255 1 " + "5a" * 32,
    "matching-7": "3 1 7 " + "5a" * 32, "matching-255": "3 1 255 " + "5a" * 32,
    "31-octets": "3 1 1 " + "5a" * 31, "33-octets": "3 1 1 " + "5a" * 33, "1-octet": "3 1 1 5a",
    "full-garbage": "3 0 0 " + "5a" * 40, "spki-garbage": "3 1 0 " + "5a" * 40,
}
for _name, _record in UNUSABLE_SETS.items():
    case("t17-" + _name, UNUSABLE, _record, cert=issued())
case("t15-all-unusable", UNUSABLE, ["0 0 1", "1 1 1", "3 1 7 5a5a"], cert=issued())
case("r-dane-02-no-starttls", "451 4.7.4 dane-no-starttls", "3 1 7 5a5a", cert=NO_TLS)
case("r-dane-02-handshake", "451 4.7.5 tls-handshake", "3 1 7 5a5a", fake=OLD)
case("r-dane-02-anonymous", "451 4.7.5 tls-handshake", "3 1 7 5a5a", fake=ANONYMOUS)

# ---- DANE-TA: chain, dates and names count (R-DANE-10..15, T-11..T-14) ----

case("ta-chain", VERIFIED, "2 0 1", cert=issued(), tlsa_log="2 0 1")
case("ta-key", VERIFIED, "2 1 2", cert=issued(), tlsa_log="2 1 2")
case("ta-above-intermediate", VERIFIED, "2 0 1", cert=under())
case("t11-digest-not-sent", "451 4.7.5 dane-mismatch", "2 0 1", cert=leaf_only(issued()))
case("t11-full-not-sent", VERIFIED, "2 0 0", cert=leaf_only(issued()), tlsa_log="2 0 0")
case("t11-full-key-not-sent", VERIFIED, "2 1 0", cert=leaf_only(issued()), tlsa_log="2 1 0")
case("t12-next-hop-name", VERIFIED, "2 0 1", cert=issued("{d}"))
case("t12-next-hop-name-insecure-mx", "451 4.7.5 dane-name", "2 0 1", plain=True,
     cert=issued("t12-next-hop-name-insecure-mx.dane.plain"))
case("t12-host-name-insecure-mx", HALF, "2 0 1", cert=issued(), plain=True)
case("ta-wildcard", VERIFIED, "2 0 1", cert=issued("*.{d}"))
case("ta-common-name", VERIFIED, "2 0 1", cert=common_name_only)
case("t13-partial-wildcard", "451 4.7.5 dane-name", "2 0 1", cert=issued("m*.{d}"))
case("t13-tail-wildcard", "451 4.7.5 dane-name", "2 0 1", cert=issued("*x.{d}"))
case("t13-star", "451 4.7.5 dane-name", "2 0 1", cert=issued("*"))
case("t13-star-com", "451 4.7.5 dane-name", "2 0 1", cert=issued("*.lab"))
case("t13-inner-star", "451 4.7.5 dane-name", "2 0 1", cert=issued("mx.*.dane.lab"))
case("t13-common-name-beside-san", "451 4.7.5 dane-name", "2 0 1",
     cert=lambda lab, mx: make(lab.ca.folder, mx, ("elsewhere.lab",), issuer=lab.ca))
case("t13-other-name", "451 4.7.5 dane-name", "2 0 1", cert=issued("elsewhere.lab"))
case("t13-below", "451 4.7.5 dane-name", "2 0 1", cert=issued("a.mx.{d}"))
case("ta-expired", "451 4.7.5 dane-expired", "2 0 1", cert=issued(days=-1))
case("r-dane-14-leaf-is-no-ta", "451 4.7.5 dane-mismatch", [],
     cert=issued(), records="LEAF")  # a 2 1 1 record of the leaf
case("t14-no-ca", "451 4.7.5 dane-chain", "2 0 1", cert=by_no_ca)
case("t14-sha1", "451 4.7.5 dane-chain", "2 0 1", cert=issued(digest="sha1"), fake=WEAK)
case("t14-name-constraint", "451 4.7.5 dane-chain", "2 0 1",
     cert=under(more=("nameConstraints=critical,excluded;DNS:dane.lab",)))
case("t14-key-usage", "451 4.7.5 dane-chain", "2 0 1", cert=under(more=("keyUsage=cRLSign",)))
case("r-dane-32-100-kib", "451 4.7.5 tls-handshake", "3 1 1", cert=long_chain(102400))
case("t22-90-kib", VERIFIED, "3 1 1", cert=long_chain(80000))

# ---- STARTTLS and the handshake (R-DANE-19..22, T-01..T-05, T-09, T-10, T-23) ----


def injected_next_segment(c, line):
    """Octets between the 220 and the ServerHello."""
    c.say("220 2.0.0 go")
    time.sleep(0.05)
    c.say("250-fake", "250 X")
    time.sleep(0.3)
    return "250 again"


def injected_before(c, line):
    """The answer to a STARTTLS that has not been sent yet, behind the answer to EHLO."""
    c.say("250-fake", "250 STARTTLS", "220 2.0.0 go", "250 fake")


def stall(c, line):
    c.say("220 2.0.0 go")
    c.stall()


def stall_after_server_hello(c, line):
    context = c.mx.context(c.mx.cert)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    c.say("220 2.0.0 go")
    incoming.write(c.sock.recv(65536))
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    c.sock.sendall(outgoing.read()[:120])
    c.stall()


def close_in_handshake(c, line):
    c.say("220 2.0.0 go")
    c.sock.recv(1)
    c.close()


case("t01-stripped", "451 4.7.4 dane-no-starttls", STALE, cert=NO_TLS)
case("t02-ehlo-refused", "451 4.7.4 dane-no-starttls", "3 1 1", fake={"replies": {"EHLO": "502 what?"}})
case("t02-ehlo-later", "451 4.7.4 dane-no-starttls", "3 1 1", fake={"replies": {"EHLO": "421 later"}})
for _name, _reply in {"454": "454 4.7.0 later", "500": "500 what?", "250": "250 ok", "354": "354 go",
                      "221": "221 220 go"}.items():
    case("t03-" + _name, "451 4.7.4 dane-no-starttls", "3 1 1", fake={"replies": {"STARTTLS": _reply}})
case("t03-two-lines", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"replies": {"STARTTLS": "220-go\r\n220 on\r\ngarbage"}})
case("t03-one-reply-of-two-lines", VERIFIED, "3 1 1", fake={"replies": {"STARTTLS": "220-go\r\n220 on"}})
case("t04-same-segment", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"inject": b"250-fake\r\n250 STARTTLS\r\n"})
case("t04-half-a-line", "451 4.7.5 tls-handshake", "3 1 1", fake={"inject": b"2"})
case("t05-next-segment", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"replies": {"STARTTLS": injected_next_segment}})
case("t05-before-starttls", "451 4.7.4 dane-no-starttls", "3 1 1",
     fake={"replies": {"EHLO": injected_before}})
case("t09-anonymous", "451 4.7.5 tls-handshake", "3 1 1", fake=ANONYMOUS)
case("t10-tls11", "451 4.7.5 tls-handshake", "3 1 1", fake=OLD)
case("t10-min-tls-is-no-help", "451 4.7.5 tls-handshake", "3 1 1", fake=OLD, conf={"min_tls": "1.0"})
case("t23-stall", "451 4.7.5 tls-handshake", "3 1 1", fake={"replies": {"STARTTLS": stall}})
case("t23-stall-after-hello", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"replies": {"STARTTLS": stall_after_server_hello}})
case("handshake-closed", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"replies": {"STARTTLS": close_in_handshake}})
case("cbc-only", "451 4.7.5 tls-handshake", "3 1 1",
     fake={"tls": {"ciphers": "ECDHE+AES:!AESGCM:!AESCCM:@SECLEVEL=0",
                   "maximum_version": ssl.TLSVersion.TLSv1_2}})

# ---- unsigned MX, signed host (R-DANE-25) ----

case("half", HALF, "3 1 1", plain=True, tlsa_log="3 1 1")
case("half-wrong", "451 4.7.5 dane-mismatch", STALE, plain=True)
case("half-no-starttls", "451 4.7.4 dane-no-starttls", STALE, plain=True, cert=NO_TLS)
case("half-unusable", dict(UNUSABLE, mx_dnssec="insecure"), "3 1 7 5a5a", plain=True)
case("half-encrypt", dict(HALF, tlsa="-"), STALE, plain=True, conf={"insecure_mx": "encrypt"})
case("half-encrypt-no-starttls", "451 4.7.4 dane-no-starttls", STALE, plain=True, cert=NO_TLS,
     conf={"insecure_mx": "encrypt"})
case("half-may", dict(HALF, tlsa="-"), STALE, plain=True, conf={"insecure_mx": "may"})
case("half-may-clear", dict(HALF, tls="cleartext", tlsa="-"), STALE, plain=True, cert=NO_TLS,
     conf={"insecure_mx": "may"})
case("half-may-fallback-encrypt", "451 4.7.4 dane-no-starttls", STALE, plain=True, cert=NO_TLS,
     conf={"insecure_mx": "may", "fallback": "encrypt"})

# ---- levels ----

ONLY = {"level": "dane-only"}
case("only-good", dict(VERIFIED, policy="dane-only"), "3 1 1", conf=ONLY, tlsa_log="3 1 1")
case("only-insecure-mx", "451 4.7.5 dane-required", "3 1 1", plain=True, conf=ONLY)
case("only-no-tlsa", "451 4.7.5 dane-required", conf=ONLY)
case("only-unusable", "451 4.7.5 dane-required", "3 1 7 5a5a", conf=ONLY)
case("only-unsigned", "451 4.7.5 dane-required", "3 1 1", how=UNSIGNED, conf=ONLY)
case("only-wrong", "451 4.7.5 dane-mismatch", STALE, conf=ONLY)
case("only-not-enforced", "451 4.7.5 dane-required", conf={"level": "dane-only", "enforce": "no"})
case("only-wrong-not-enforced", "451 4.7.5 dane-mismatch", STALE,
     conf={"level": "dane-only", "enforce": "no"})

case("none-with-starttls", dict(CLEAR, policy="none"), STALE, conf={"level": "none"})
case("may-with-stale-tlsa", MAY, STALE, conf={"level": "may"})
case("may-clear", CLEAR, STALE, cert=NO_TLS, conf={"level": "may"})
case("may-failing-tls", CLEAR, STALE, fake=OLD, conf={"level": "may"})
case("may-old-tls", dict(MAY, protocol="TLSv1.1"), fake=OLD, conf={"level": "may", "min_tls": "1.0"})
case("encrypt-with-stale-tlsa", dict(MAY, policy="encrypt"), STALE, conf={"level": "encrypt"})
case("encrypt-no-starttls", "451 4.7.4 tls-not-offered", cert=NO_TLS, conf={"level": "encrypt"})
case("encrypt-454", "451 4.7.4 tls-not-offered", fake={"replies": {"STARTTLS": "454 later"}},
     conf={"level": "encrypt"})
case("encrypt-ehlo-refused", "451 4.7.4 tls-not-offered", fake={"replies": {"EHLO": "502 what?"}},
     conf={"level": "encrypt"})
case("encrypt-failing-tls", "451 4.7.5 tls-handshake", fake=OLD, conf={"level": "encrypt"})
case("encrypt-injection", "451 4.7.5 tls-handshake", fake={"inject": b"250 fake\r\n"},
     conf={"level": "encrypt"})

SECURE = {"level": "secure"}
case("secure-domain", dict(VERIFIED, policy="secure", tlsa="-"), STALE, cert=issued("{d}"), conf=SECURE)
case("secure-below", dict(VERIFIED, policy="secure", tlsa="-"), cert=issued("a.b.{d}"), conf=SECURE)
case("secure-host-secure-mx", dict(VERIFIED, policy="secure"), cert=issued(), conf=SECURE)
case("secure-host-insecure-mx", "451 4.7.5 certificate", plain=True, cert=issued(), conf=SECURE)
case("secure-domain-insecure-mx", dict(VERIFIED, policy="secure", mx_dnssec="insecure"), plain=True,
     cert=issued("secure-domain-insecure-mx.dane.plain"), conf=SECURE)
case("secure-common-name", "451 4.7.5 certificate", cert=common_name_only, conf=SECURE)
case("secure-expired", "451 4.7.5 certificate", cert=issued(days=-1), conf=SECURE)
case("secure-wrong-name", "451 4.7.5 certificate", cert=issued("elsewhere.lab"), conf=SECURE)
case("secure-self-signed", "451 4.7.5 certificate", conf=SECURE)
case("secure-partial-wildcard", "451 4.7.5 certificate", cert=issued("m*.dane.lab"), conf=SECURE)
case("secure-no-starttls", "451 4.7.4 tls-not-offered", cert=NO_TLS, conf=SECURE)
case("secure-anonymous", "451 4.7.5 tls-handshake", cert=issued(), fake=ANONYMOUS, conf=SECURE)
case("secure-tlsa-is-no-help", "451 4.7.5 certificate", "3 1 1", conf=SECURE)

# ---- nothing published (R-DANE-03, D4, R-TLSSEC-15, R-TLSSEC-17) ----

case("absent", dict(MAY, mx_dnssec="secure"))
case("absent-unsigned", dict(MAY, mx_dnssec="insecure"), how=UNSIGNED)
case("absent-unsigned-with-tlsa", MAY, STALE, how=UNSIGNED)
case("absent-clear", CLEAR, cert=NO_TLS)
case("absent-failing-tls", CLEAR, fake=OLD)
case("absent-454", CLEAR, fake={"replies": {"STARTTLS": "454 4.7.0 later"}})
case("absent-injection", CLEAR, fake={"inject": b"250 fake\r\n"})
case("absent-stall", CLEAR, fake={"replies": {"STARTTLS": stall}})
case("absent-ehlo-refused", CLEAR, fake={"replies": {"EHLO": "502 what?"}})
case("absent-any-certificate", MAY, cert=named("elsewhere.lab", days=-1))
case("fallback-encrypt", dict(MAY, policy="encrypt"), conf={"fallback": "encrypt"})
case("fallback-encrypt-clear", "451 4.7.4 tls-not-offered", cert=NO_TLS, conf={"fallback": "encrypt"})
case("fallback-encrypt-failing", "451 4.7.5 tls-handshake", fake=OLD, conf={"fallback": "encrypt"})

# ---- enforce = no (R-DANE-27) ----

REPORT = {"enforce": "no"}
case("report-wrong", dict(MAY, would_refuse="dane-mismatch"), STALE, conf=REPORT)
case("report-no-starttls", dict(CLEAR, would_refuse="dane-no-starttls"), STALE, cert=NO_TLS,
     conf=REPORT)
case("report-handshake", dict(CLEAR, would_refuse="tls-handshake"), "3 1 1", fake=OLD, conf=REPORT)
case("report-good", VERIFIED, "3 1 1", conf=REPORT)
case("report-secure", dict(MAY, would_refuse="certificate"), conf={"enforce": "no", "level": "secure"})
case("report-bogus", "451 4.4.3 dns-bogus", "3 1 1", how=CORRUPT + " TLSA", conf=REPORT)

# ---- exceptions with an end ----

TOMORROW, YESTERDAY = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + d * 86400)) for d in (1, -1))
case("until-tomorrow", MAY, STALE, conf={"level": "may", "until": TOMORROW, "reason": "ticket 4711"})
case("until-yesterday", "451 4.7.5 dane-mismatch", STALE,
     conf={"level": "may", "until": YESTERDAY, "reason": "ticket 4712"})

# Several hosts: (preference, TLSA or None, FakeMx arguments).
MANY = {
    "bad-then-good": [(10, STALE, {}), (20, "3 1 1", {})],
    "all-bad": [(10, STALE, {}), (20, STALE, {"replies": {"STARTTLS": "454 later"}})],
    "plain-then-dane": [(10, None, {}), (20, "3 1 1", {})],
    "stripped-then-plain": [(10, "3 1 1", {"ehlo": (), "replies": {"EHLO": "250 no starttls"}}),
                            (20, None, {"replies": {"EHLO": "250 no starttls"}})],
    "bad-then-gone": [(10, STALE, {}), (20, "3 1 1", {"replies": {"": "554 no"}})],
    "report-many": [(10, STALE, {}), (20, "3 1 1", {})],
}

# Recipient domains that are aliases of a host without MX: the name in the server's certificate.
ALIASES = {"alias-original": "alias-original.aliased.lab", "alias-end": "end.alias-end.aliased.lab",
           "alias-neither": "aliased.lab"}

ZONES = {SIGNED: "dane.lab", UNSIGNED: "dane.plain", CORRUPT + " TLSA": "dane-bogus.lab"}
HOSTS = {}  # by name of the case: .mx .address .cert .fake


def domain(name, of_recipient=True):
    c = CASES[name]
    return name + "." + ZONES[UNSIGNED if of_recipient and c["plain"] else c["how"]]


def declare(lab):
    """Three zones hold the hosts of all cases: signed, unsigned, and with a bogus TLSA RRset."""
    shared = lab.cert("mx.dane.lab")
    text = {SIGNED: "", UNSIGNED: "", CORRUPT + " TLSA": ""}
    for name, c in CASES.items():
        mx = "mx." + domain(name, False)
        cert = (c["cert"](lab, mx) if c["cert"] else shared)
        HOSTS[name] = host = SimpleNamespace(mx=mx, address=lab.address(), cert=cert)
        host.fake = lab.fake(host.address, cert, **c["fake"])
        records = [c["tlsa"]] if isinstance(c["tlsa"], str) else c["tlsa"] or []
        if c["records"] == "LEAF":
            records = [tlsa(cert, 2, 1, 1)]
        elif c["records"]:
            records = records + [c["records"]]
        text[c["how"]] += "%s MX 10 %s.\n%s. A %s\n" % (name, mx, mx, host.address)
        for record in records:
            text[c["how"]] += "_25._tcp.%s. TYPE52 %s\n" % (mx, generic(rdata(record, cert)))
        if c["plain"]:
            text[UNSIGNED] += "%s MX 10 %s.\n" % (name, mx)
    for how, zone in ZONES.items():
        lab.zone(zone, text[how], how)
    declare_others(lab)


def declare_others(lab):
    """Domains with several hosts, and those whose records or servers change."""
    for name, hosts in MANY.items():
        records = ""
        for i, (preference, record, fake) in enumerate(hosts):
            mx = "mx%d.%s.lab" % (i + 1, name)
            cert = lab.cert(mx)
            HOSTS["%s-%d" % (name, i + 1)] = host = SimpleNamespace(
                mx=mx, address=lab.address(), cert=cert)
            host.fake = lab.fake(host.address, cert, **fake)
            records += "@ MX %d %s.\n%s. A %s\n" % (preference, mx, mx, host.address)
            if record:
                records += "_25._tcp.%s. TLSA %s\n" % (mx, rdata(record, cert))
        lab.zone(name + ".lab", records)
    lab.domain("roll-over.lab", "3 1 1", fake={"tickets": True}, ttl=1)
    lab.domain("same-session.lab", "3 1 1", fake={}, ttl=1)
    lab.domain("tls-server-lists.lab", "3 1 1", fake={
        "ehlo": ("SIZE 10", "8BITMIME", "SMTPUTF8"), "ehlo_tls": ("STARTTLS", "SIZE 1000000")})
    lab.domain("not-smtp.lab", "3 1 1", fake={"replies": {"": "HTTP/1.1 400 Bad Request"}})
    lab.domain("client-certificate.lab", fake={"tls": {"verify_mode": ssl.CERT_REQUIRED}})
    lab.domain("port.lab", fake={"port": 2500}, records="", cert=lab.cert("mx.port.lab"))
    cert = lab["port.lab"].cert
    lab.zone("ported.lab", "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n_2500._tcp.mx TLSA %s\n" % (
        lab["port.lab"].address, STALE, tlsa(cert)))
    records = ""
    for alias, name in ALIASES.items():
        HOSTS[alias] = host = SimpleNamespace(fake=lab.fake(lab.address(), lab.ca.issue(name)))
        records += "{0} CNAME end.{0}\nend.{0} A {1}\n_25._tcp.end.{0} TLSA {2}\n".format(
            alias, host.fake.address, tlsa(lab.ca, 2, 0, 1))
    lab.zone("aliased.lab", records)
    hostile_ca = CA(lab.folder + "/certs", "hostile CA")
    HOSTS["hostile-ca"] = hostile_ca
    lab.domain("trusts-hostile.lab", cert=hostile_ca.issue("mx.trusts-hostile.lab"), fake={})
    lab.domain("trusts-lab.lab", cert=lab.ca.issue("mx.trusts-lab.lab"), fake={})
    lab.domain("env-tls12.lab", "3 1 1", fake=dict(TLS12))
    lab.domain("env-old.lab", "3 1 1", fake=dict(OLD))
    lab.domain("env-rsa.lab", "3 1 1", cert=lab.cert("x.lab", key=("-newkey", "rsa:1024")), fake=dict(WEAK))
    lab.domain("env-may.lab", fake={})


def generic(record):
    """TLSA rdata in the form for unknown types, which name servers do not judge."""
    usage, selector, matching, octets = record.split()
    return "\\# %d %02x%02x%02x%s" % (3 + len(octets) // 2, int(usage), int(selector), int(matching),
                                     octets)


@pytest.fixture(scope="module")
def danelaw(lab):
    changes = {"timeouts": {"handshake": "2s"},
               "domain ported.lab": {"next_hop": "ported.lab:2500"},
               "domain report-many.lab": {"enforce": "no"}}
    for name, c in CASES.items():
        if c["conf"]:
            changes["domain " + domain(name)] = c["conf"]
    with Danelaw(lab, changes) as d:
        yield d


# ---- what every scenario must show ----

def assert_nothing_sent(mx):
    """R-DANE-22, R-TLSSEC-05: a host that has proven nothing hears EHLO, STARTTLS, QUIT, no more."""
    verbs = {line.split(" ")[1].strip("b'") for c in mx.connections for line in c.log
             if line.startswith("C: ")}
    assert verbs <= {"EHLO", "STARTTLS", "QUIT"}, verbs
    assert b"MAIL" not in mx.secret.upper() and not mx.messages


def assert_sent(mx, log):
    is_tls = log["tls"] != "cleartext"
    assert [m.is_tls for m in mx.messages] == [is_tls], mx.connections[-1].log
    if is_tls:
        assert b"MAIL" not in mx.clear.upper()


def assert_log(log, wanted):
    assert {k: log[k] for k in wanted} == wanted


@pytest.mark.parametrize("name", CASES)
def test_case(lab, danelaw, name):
    """R-DANE-01..06, -08..11, -13..16, -19..22, -25..28, -32, R-TLSSEC-01, -04, -05, -10, -15, -17: the
    table above, and the row that the name of a case begins with."""
    c, mx, recipient = CASES[name], HOSTS[name].fake, "b@" + domain(name)
    reply = send(recipient)
    log = danelaw.delivery_to(recipient)
    if isinstance(c["expect"], str):
        assert reply.startswith(c["expect"] + ": "), reply
        assert_log(log, {"status": "deferred", "reason": c["expect"].split()[2], "reply": str(reply)})
        assert_nothing_sent(mx)
    else:
        assert reply.code == 250, reply
        assert_log(log, c["expect"])
        assert_sent(mx, log)
        if c["tlsa_log"]:
            assert log["tlsa"].startswith(c["tlsa_log"] + " ")


# ---- the words of refusals (interface, section 3) ----

WORDS = {
    "t06-mismatch": "451 4.7.5 dane-mismatch: {host} presented key sha256 {key}.., {owner} wants "
                    "3 1 1 5a5a5a5a..",
    "t19-agility": "451 4.7.5 dane-mismatch: {host} presented key sha256 {key}.., {owner} wants "
                   "3 1 2 5a5a5a5a..",
    "t11-digest-not-sent": "451 4.7.5 dane-mismatch: {host} presented key sha256 {key}.., {owner} "
                           "wants 2 0 1 {ca}.. as an authority above it, sent in its chain",
    "t13-other-name": "451 4.7.5 dane-name: {host} presented a certificate (key sha256 {key}..) "
                      "without the name that {owner} 2 0 1 {ca}.. wants: {mx} or {domain}",
    "t12-next-hop-name-insecure-mx":
        "451 4.7.5 dane-name: {host} presented a certificate (key sha256 {key}..) without the name "
        "that {owner} 2 0 1 {ca}.. wants: {mx}",
    "t01-stripped": "451 4.7.4 dane-no-starttls: {host} does not offer STARTTLS, but its TLSA records "
                    "({owner}) require TLS",
    "t03-454": "451 4.7.4 dane-no-starttls: {host} answered STARTTLS with 454 4.7.0 later (only "
               "220 begins TLS), but its TLSA records ({owner}) require TLS",
    "encrypt-no-starttls": "451 4.7.4 tls-not-offered: {host} does not offer STARTTLS, and policy "
                           "encrypt requires TLS",
    "t10-tls11": "451 4.7.5 tls-handshake: TLS handshake with {host} failed: tlsv1 alert protocol "
                 "version",
    "t23-stall": "451 4.7.5 tls-handshake: TLS handshake with {host} failed: no reply to handshake "
                 "within 2 s",
    "only-no-tlsa": "451 4.7.5 dane-required: {mx} has no secure TLSA record ({owner}), which level "
                    "dane-only requires",
    "only-insecure-mx": "451 4.7.5 dane-required: the MX lookup of {domain} is not secured by DNSSEC, "
                        "which level dane-only requires",
}


@pytest.mark.parametrize("name", WORDS)
def test_words_of_refusals(lab, danelaw, name):
    """R-TLSSEC-13: each refusal in the words of its own failure."""
    h = HOSTS[name]
    wanted = WORDS[name].format(
        host="%s[%s]:25" % (h.mx, h.address), owner="_25._tcp." + h.mx, mx=h.mx, domain=domain(name),
        key=h.cert and tlsa(h.cert, 3, 1, 1).split()[3][:8], ca=tlsa(lab.ca, 2, 0, 1).split()[3][:8])
    assert send("words@" + domain(name)) == wanted
    assert danelaw.delivery_to("words@" + domain(name))["reply"] == wanted


# ---- log levels, exceptions ----

def lines(danelaw, *words):
    return [line for line in danelaw.log.splitlines() if all(w in line for w in words)]


def test_exceptions_are_logged_at_each_use(lab, danelaw):
    """An exception in use tells its reason and its end; one that has ended does not apply."""
    for count in (1, 2):
        assert send("use%d@%s" % (count, domain("until-tomorrow"))).code == 250
    wait(lambda: len(lines(danelaw, "exception", domain("until-tomorrow"))) >= 2, 2, "two uses")
    found = lines(danelaw, "exception", domain("until-tomorrow"))[-1]
    assert 'reason="ticket 4711"' in found and "until=" + TOMORROW in found and "level=may" in found
    assert "warning" in found.split("exception")[0]
    assert not lines(danelaw, "exception ", domain("until-yesterday"))
    assert lines(danelaw, "until-yesterday", "ended")  # at start


def test_what_is_weakened_is_a_warning(lab, danelaw):
    """R-DANE-27, R-TLSSEC-17: clear text, reported refusals and refusals are warnings, good mail is
    not."""
    for name, level in {"absent-clear": "warning", "report-wrong": "warning", "t06-mismatch": "warning",
                        "ee-311": "info", "absent": "info"}.items():
        send("level@" + domain(name))
        danelaw.delivery_to("level@" + domain(name))
        assert level in lines(danelaw, "delivery session=", "<level@%s>" % domain(name))[0].split(
            "delivery ")[0], name


def test_lower_levels_do_not_ask_for_tlsa(lab, danelaw):
    """Levels none, may, encrypt and secure; and the levels that do ask are seen asking."""
    for name in ("none-with-starttls", "may-with-stale-tlsa", "encrypt-with-stale-tlsa",
                 "secure-tlsa-is-no-help", "ee-311", "half"):
        send("asks@" + domain(name))
        assert bool(lines(danelaw, "lookup", "_25._tcp." + HOSTS[name].mx)) == (
            name in ("ee-311", "half")), name


def test_level_none_never_starts_tls(lab, danelaw):
    assert b"STARTTLS" not in HOSTS["none-with-starttls"].fake.clear
    assert b"MAIL FROM" in HOSTS["none-with-starttls"].fake.clear


@pytest.mark.parametrize("name", ["absent-failing-tls", "absent-454", "absent-injection",
                                  "may-failing-tls", "absent-stall"])
def test_clear_only_on_a_fresh_connection(lab, danelaw, name):
    """D4, R-TLSSEC-15: never on the connection on which TLS has failed."""
    send("fresh@" + domain(name))
    first, second = HOSTS[name].fake.connections[:2]
    assert b"STARTTLS" in first.clear and b"MAIL" not in first.clear + first.secret
    assert b"STARTTLS" not in second.clear and b"MAIL FROM" in second.clear


def test_reported_connections_are_not_kept(lab, danelaw):
    """enforce = no: neither pool nor session cache (interface, section 2)."""
    mx = HOSTS["report-wrong"].fake
    before = len(mx.connections)
    with Smtp() as c:
        for i in range(2):
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<pool%d@%s>" % (i, domain("report-wrong")), 250)
            c.data(b"Subject: x\r\n\r\nx\r\n", 250)
    log = danelaw.delivery_to("pool1@" + domain("report-wrong"))
    assert log["reused"] == "no" and log["would_refuse"] == "dane-mismatch"
    assert len([c for c in mx.connections[before:] if b"MAIL" in c.secret]) == 2


def test_authenticated_connections_are_kept(lab, danelaw):
    """R-SMTP-81, and R-TLSSEC-08: the pool serves the second message; no client certificate."""
    for i in range(2):
        assert send("keep%d@%s" % (i, domain("ee-311"))).code == 250
    log = danelaw.delivery_to("keep1@" + domain("ee-311"))
    assert log["reused"] == "yes" and log["tls"] == "verified" and log["tlsa"].startswith("3 1 1")


# ---- several hosts (R-DANE-23, R-DANE-24) ----

def fakes(name):
    return [HOSTS["%s-%d" % (name, i + 1)] for i in range(len(MANY[name]))]


def test_next_host_after_a_bad_one(lab, danelaw):
    """R-DANE-23: mx10 proves nothing, mx20 does."""
    assert send("b@bad-then-good.lab").code == 250
    bad, good = fakes("bad-then-good")
    assert_nothing_sent(bad.fake)
    assert len(good.fake.messages) == 1
    log = danelaw.delivery_to("b@bad-then-good.lab")
    assert_log(log, dict(VERIFIED, mx="%s[%s]:25" % (good.mx, good.address)))
    assert lines(danelaw, "dane-mismatch", bad.mx)


def test_all_hosts_bad(lab, danelaw):
    """R-DANE-23: 4.7.5 and never 5xx; the reply names the best host, the log all."""
    one, two = fakes("all-bad")
    assert send("b@all-bad.lab").startswith("451 4.7.5 dane-mismatch: " + one.mx)
    for host in (one, two):
        assert_nothing_sent(host.fake)
        assert lines(danelaw, "next-hop-failed", host.mx)


def test_a_better_host_without_tlsa_is_used(lab, danelaw):
    """R-DANE-24: TLSA never changes the order of hosts."""
    assert send("b@plain-then-dane.lab").code == 250
    one, two = fakes("plain-then-dane")
    assert len(one.fake.messages) == 1 and not two.fake.connections
    assert danelaw.delivery_to("b@plain-then-dane.lab")["policy"] == "may"


def test_each_host_has_its_own_decision(lab, danelaw):
    """R-DANE-23: what the first host had to prove is not asked of the second, nor given to it."""
    assert send("b@stripped-then-plain.lab").code == 250
    one, two = fakes("stripped-then-plain")
    assert_nothing_sent(one.fake)
    assert len(two.fake.messages) == 1
    assert_log(danelaw.delivery_to("b@stripped-then-plain.lab"), CLEAR)


def test_bad_and_unreachable(lab, danelaw):
    assert send("b@bad-then-gone.lab").startswith("451 4.7.5 dane-mismatch: mx1.bad-then-gone.lab")


def test_report_tries_all_hosts_first(lab, danelaw):
    """enforce = no: a host that proves itself is better than one to be reported."""
    one, two = fakes("report-many")
    assert send("b@report-many.lab").code == 250
    assert_log(danelaw.delivery_to("b@report-many.lab"), dict(VERIFIED, would_refuse="-"))
    assert not one.fake.messages and len(two.fake.messages) == 1


# ---- names ----

@pytest.mark.parametrize("name", ["ee-311", "half", "t17-31-octets", "absent", "secure-below"])
def test_sni(lab, danelaw, name):
    """R-DANE-18, T-27: the TLSA base domain, without trailing dot; else the MX host."""
    send("sni@" + domain(name))
    assert set(HOSTS[name].fake.snis) == {HOSTS[name].mx}


def test_tlsa_of_the_real_port(lab, danelaw):
    """R-NET-18, R-DNS-18: next_hop with a port; _25._tcp has a record that fits nothing."""
    assert send("b@ported.lab").code == 250
    assert_log(danelaw.delivery_to("b@ported.lab"), VERIFIED)


@pytest.mark.parametrize("alias", ALIASES)
def test_implicit_mx_behind_an_alias(lab, danelaw, alias):
    """R-DANE-12, R-DNS-22: the end of the chain is the base, its beginning a name as good."""
    reply = send("b@%s.aliased.lab" % alias)
    if alias == "alias-neither":
        assert reply.startswith("451 4.7.5 dane-name: ")
        assert reply.endswith("wants: end.alias-neither.aliased.lab or alias-neither.aliased.lab")
        assert_nothing_sent(HOSTS[alias].fake)
    else:
        assert reply.code == 250
        assert_log(danelaw.delivery_to("b@%s.aliased.lab" % alias), VERIFIED)


# ---- changing records (R-DNS-40, R-TLSSEC-06, T-19, T-20, R-DANE-30) ----

def publish(lab, d, record):
    lab.dns.change(d.name, "@ MX 10 mx\nmx A %s\n_25._tcp.mx TLSA %s\n" % (d.address, record))


def mail(c, recipient, *codes):
    c("MAIL FROM:<a@client.lab>", 250)
    reply = c("RCPT TO:<%s>" % recipient, *codes)
    if reply.code == 250:
        return c.data(b"Subject: x\r\n\r\nx\r\n", 250)
    c("RSET", 250)
    return reply


def test_tlsa_swapped_in_one_session(lab, danelaw):
    """R-DNS-40: TTL 1 s; a kept connection does not outlive the decision that it rests on. T-20: a
    roll-over to another record that fits too is a full handshake, never a resumed session."""
    swapped, rolled = lab["same-session.lab"], lab["roll-over.lab"]
    with Smtp() as c:
        for d in (swapped, rolled):
            mail(c, "one@" + d.name, 250)
        publish(lab, swapped, STALE)
        publish(lab, rolled, tlsa(rolled.cert, 3, 0, 1))
        time.sleep(2.1)  # caches count whole seconds
        assert mail(c, "two@" + swapped.name).startswith("451 4.7.5 dane-mismatch")
        mail(c, "two@" + rolled.name, 250)
    assert len(swapped.receiver.messages) == 1
    assert danelaw.delivery_to("one@" + swapped.name)["tls"] == "verified"
    log = danelaw.delivery_to("two@" + rolled.name)
    assert log["tls"] == "verified" and log["tlsa"].startswith("3 0 1") and log["reused"] == "no"
    assert len(rolled.receiver.connections) == 2
    assert not any(c.is_resumed for c in rolled.receiver.connections)


# ---- the conversation around TLS ----

def test_only_the_second_list_counts(lab, danelaw):
    """R-TLSSEC-03, R-TLSSEC-04, T-25: SIZE and 8BITMIME of the clear phase are forgotten, STARTTLS
    inside TLS is ignored."""
    mx = lab["tls-server-lists.lab"].receiver
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab> SIZE=1000", 250)
        c("RCPT TO:<b@tls-server-lists.lab>", 250)
        c.data(b"Subject: x\r\n\r\nx\r\n", 250)
    assert b"SIZE=" in mx.secret and b"STARTTLS" not in mx.secret
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab> BODY=8BITMIME", 250)
        assert c("RCPT TO:<b@tls-server-lists.lab>").startswith("554 5.6.3 no-8bitmime")


def test_a_server_that_is_no_mail_server(lab, danelaw):
    """T-26: nothing is said to it."""
    assert send("b@not-smtp.lab").startswith("451 4.4.1 connect-failed: mx.not-smtp.lab[")
    assert lab["not-smtp.lab"].receiver.clear == b""


def test_a_server_that_wants_a_client_certificate(lab, danelaw):
    """R-TLSSEC-08: we have none. With TLS 1.3 the server's alert comes after our handshake is done;
    for an opportunistic connection that is a TLS failure like any other (D4)."""
    assert send("b@client-certificate.lab").code == 250
    assert_log(danelaw.delivery_to("b@client-certificate.lab"), CLEAR)


# ---- environment and CA file (R-TLSSEC-16, F-10) ----

WEAKENING = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = sys
[sys]
MinProtocol = TLSv1
CipherString = ALL:COMPLEMENTOFALL:@SECLEVEL=0
Options = UnsafeLegacyRenegotiation
VerifyMode = None
"""
BREAKING = WEAKENING.replace("TLSv1", "TLSv1.3").replace("ALL:COMPLEMENTOFALL:@SECLEVEL=0",
                                                         "ECDHE+AESGCM:@SECLEVEL=5")
ELSEWHERE = {"listener smarthost": {"listen": "127.0.0.3:2525"},
             "domain .lab": {"level": "dane"},
             "domain trusts-hostile.lab": {"level": "secure"},
             "domain trusts-lab.lab": {"level": "secure"}}


@pytest.mark.parametrize("text", [WEAKENING, BREAKING], ids=["weakening", "breaking"])
def test_hostile_environment(lab, text):
    """R-TLSSEC-16, S-14: openssl.cnf and SSL_CERT_FILE change nothing."""
    conf = lab.folder + "/hostile.cnf"
    write(conf, text)
    env = {"OPENSSL_CONF": conf, "SSL_CERT_FILE": HOSTS["hostile-ca"].pem,
           "SSL_CERT_DIR": lab.folder + "/certs"}
    wanted = {"env-tls12.lab": "250", "env-rsa.lab": "250", "env-old.lab": "451 4.7.5 tls-handshake",
              "trusts-hostile.lab": "451 4.7.5 certificate", "trusts-lab.lab": "250",
              "env-may.lab": "250"}
    with Danelaw(lab, ELSEWHERE, env=env) as d:
        for name, reply in wanted.items():
            assert send("env@" + name, server=d.server).startswith(reply), name
        assert d.delivery_to("env@trusts-lab.lab")["tls"] == "verified"
        assert d.delivery_to("env@env-may.lab")["tls"] == "encrypted"


def test_missing_ca_file(lab):
    """F-10: level secure waits, told loudly; DANE is unaffected."""
    with Danelaw(lab, dict(ELSEWHERE, tls={"ca_file": lab.folder + "/no-such-file"})) as d:
        assert re.search("error.*no-such-file", d.log)
        reply = send("ca@trusts-lab.lab", server=d.server)
        assert reply.startswith("451 4.7.5 certificate: ") and "no-such-file" in reply
        assert not [m for m in lab["trusts-lab.lab"].receiver.messages if "ca@" in m.recipients[0]]
        assert send("ca@env-tls12.lab", server=d.server).code == 250
