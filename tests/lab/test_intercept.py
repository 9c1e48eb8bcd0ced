"""Connections that were meant for others, in both modes and both families: danelaw on the router
between a client and the internet (netlab.py). The rules here are the least that hands them over."""
import contextlib
import os
import pwd
import subprocess

import pytest

import netlab
from program import PROGRAM, Danelaw, ini, settings
from smtp import Smtp, send
from switches import Switches
from test_fanout import SENDER, leave_after_dot, message, when_told
from test_start import status
from zones import BOGUS_DS, UNSIGNED, wait, write

PORT = 2526
CLIENTS = "192.0.2.0/24 2001:db8:c::/64 203.0.113.0/24 2001:db8:d::/64 127.0.0.0/8 ::1"
MARK = "0x2ed"
CAP_NET_RAW = 1 << 13

REDIRECT = """
table inet trap {
	chain in {
		type nat hook prerouting priority dstnat
		iifname "inside" tcp dport 25 redirect to :%d
	}
}
""" % PORT
# Besides what is handed over: what belongs to a socket of danelaw's already, also with an address
# that is not this host's.
TPROXY = """
table inet trap {
	chain in {
		type filter hook prerouting priority mangle
		meta l4proto tcp socket transparent 1 meta mark set 1 accept
		iifname "inside" meta nfproto ipv4 tcp dport 25 tproxy ip to :%d meta mark set 1 accept
		iifname "inside" meta nfproto ipv6 tcp dport 25 tproxy ip6 to :%d meta mark set 1 accept
	}
}
""" % (PORT, PORT)
# Wrong on purpose: what this host itself sends is caught, too.
CATCHES_ITSELF = """
table inet trap {
	chain out {
		type nat hook output priority -100
		tcp dport 25 redirect to :%d
	}
}
""" % PORT


def declare(lab):
    lab.domain("trap.lab", "3 1 1")
    lab.domain("other-trap.lab", "3 1 1")
    lab.domain("plain-trap.plain", how=UNSIGNED, fake={})
    lab.two = [lab.fake(lab.address(), lab.cert("mx.two-trap.lab")) for _ in range(3)]
    lab.zone("two-trap.lab", "@ MX 10 mx\n" + "".join("mx A %s\n" % mx.address for mx in lab.two))
    lab.best, lab.backup = (lab.fake(lab.address(), lab.cert(n + ".pref-trap.lab"))
                            for n in ("best", "backup"))
    lab.zone("pref-trap.lab", "@ MX 10 best\n@ MX 20 backup\nbest A %s\nbackup A %s\n"
             % (lab.best.address, lab.backup.address))
    lab.zone("bogus-trap.lab", "mx A %s\n" % lab.address(), BOGUS_DS)
    lab.zone("torn-trap.lab", "@ MX 10 mx\n@ MX 20 mx.bogus-trap.lab.\nmx A %s\n" % lab.address())
    lab.smarthost = lab.fake(lab.address(), port=25)
    lab.refusing = lab.fake(lab.address(), script=lambda c: c.say("554 5.7.1 go away"))
    lab.zone("refusing-trap.plain", "@ MX 10 mx\nmx A %s\n" % lab.refusing.address, UNSIGNED)
    lab.six = lab.fake(lab.address6(), lab.cert("mx.six-trap.plain"))
    lab.zone("six-trap.plain", "@ MX 10 mx\nmx AAAA %s\n" % lab.six.address, UNSIGNED)


@contextlib.contextmanager
def rules(host, text, routing=False):
    write("/var/lab/rules.nft", text)
    host.run("nft", "-f", "/var/lab/rules.nft")
    for family in ("-4", "-6") if routing else ():
        host.run("ip", family, "rule", "add", "fwmark", "1", "lookup", "100")
        host.run("ip", family, "route", "replace", "local", "default", "dev", "lo", "table", "100")
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "inet", "trap")
        for family in ("-4", "-6") if routing else ():
            host.run("ip", family, "rule", "del", "fwmark", "1", "lookup", "100")


def changes(lab, mode, listener=None, **others):
    trap = {"listen": "0.0.0.0:%d [::]:%d" % (PORT, PORT), "clients": CLIENTS, "intercept": mode}
    return {"listener smarthost": {"listen": "127.0.0.1:2525"},
            "listener trap": {**trap, **(listener or {})}, **others}


@contextlib.contextmanager
def trap(lab, network, mode, listener=None, **others):
    text = REDIRECT if mode == "redirect" else TPROXY
    with rules(network.router, text, mode == "tproxy"):
        with Danelaw(lab, changes(lab, mode, listener, **others), host=network.router) as d:
            yield d


def client_sends(network, to, server, **how):
    with network.client.inside():
        return send(to, server=(server, 25), **how)


def events(d, name):
    return [line for line in d.log.splitlines() if " %s session=" % name in line]


def test_strict(lab, network):
    """R-NET-09: deferred where the client was told a wrong host, and only there."""
    with trap(lab, network, "redirect", {"original_destination": "strict"}) as d:
        reply = client_sends(network, "s@trap.lab", lab["other-trap.lab"].address)
        assert reply.startswith("451 4.7.1 hint-mismatch: ") and "trap.lab" in reply
        assert lab["other-trap.lab"].address in reply
        assert d.delivery_to("s@trap.lab")["reason"] == "hint-mismatch"
        assert client_sends(network, "s2@trap.lab", lab["trap.lab"].address).code == 250
        assert client_sends(network, "s3@pref-trap.lab", lab.backup.address).code == 250
        assert lab.best.address in d.delivery_to("s3@pref-trap.lab")["mx"]
        assert client_sends(network, "s@absent.lab", lab.backup.address).code == 550
        reply = client_sends(network, "s@torn-trap.lab", lab.backup.address)
        assert reply.startswith("451 4.4.3 dns-bogus: ") and "mx.bogus-trap.lab" in reply


def test_passthrough(lab, network):
    """R-NET-10: one next hop, whatever the recipients; [domain ADDRESS], or else [policy],
    says what it must prove."""
    host = lab.smarthost
    with trap(lab, network, "redirect", {"passthrough": host.address}) as d:
        recipients = ["pt@trap.lab", "pt@other-trap.lab", "postmaster"]
        assert client_sends(network, recipients, host.address).code == 250
        assert host.messages[-1].recipients == recipients
        line = d.delivery_to("pt@trap.lab")
        assert "[%s]:25" % host.address in line["mx"] and line["policy"] == "may"
        assert client_sends(network, "pt2@trap.lab", lab["trap.lab"].address).code == 250
        assert d.delivery_to("pt2@trap.lab")["tls"] == "verified"
        assert not events(d, "hint-mismatch")
    own = {"domain " + host.address: {"level": "encrypt", "reason": "has none yet"}}
    with trap(lab, network, "redirect", {"passthrough": host.address}, **own) as d:
        reply = client_sends(network, "pt@trap.lab", host.address)
        assert reply.startswith("451 4.7.4 tls-not-offered")
        assert client_sends(network, "pt3@trap.lab", lab["trap.lab"].address).code == 250
        assert d.delivery_to("pt3@trap.lab")["policy"] == "dane"
    own["domain " + host.address]["enforce"] = "no"
    with trap(lab, network, "redirect", {"passthrough": host.address}, **own) as d:
        assert client_sends(network, "pt4@trap.lab", host.address).code == 250
        assert d.delivery_to("pt4@trap.lab")["would_refuse"] == "tls-not-offered"
        assert "has none yet" in d.log
    strict = {"passthrough": host.address, "original_destination": "strict"}
    with trap(lab, network, "redirect", strict, policy={"fallback": "encrypt"}):
        reply = client_sends(network, "pt@trap.lab", host.address)
        assert reply.startswith("451 4.7.4 tls-not-offered")


def test_source_is_preserved(lab, network):
    """R-NET-11: the receiver sees the client, by address and name; and nobody else's connection."""
    with trap(lab, network, "tproxy", {"preserve_source": "yes"}) as d:
        for n in (1, 2):
            assert client_sends(network, "ps%d@trap.lab" % n, lab["trap.lab"].address).code == 250
            top = lab["trap.lab"].delivered("ps%d" % n)[0]
            assert b"from client.lab (" in top.split(b"\r\n\r\n")[0]
            assert b"[%s]" % netlab.CLIENT.encode() in top
        assert d.delivery_to("ps2@trap.lab")["reused"] == "yes"
        with network.client.inside(), Smtp((lab["trap.lab"].address, 25), ehlo="else.lab") as c:
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<ps3@trap.lab>", 250)
            c.data(b"Subject: x\r\n\r\nx\r\n", 250)
        assert d.delivery_to("ps3@trap.lab")["reused"] == "no"
        assert b"from else.lab (" in lab["trap.lab"].delivered("ps3")[0]
        assert client_sends(network, "ps@six-trap.plain", lab.six.address).code == 250
        assert lab.six.connections[-1].peer == netlab.CLIENT6
        reply = client_sends(network, "ps@trap.lab", lab.six.address)
        assert reply.startswith("451 4.4.4 no-address") and "IPv6" in reply


def test_what_keeps_the_source_is_never_ours(lab, network):
    """R-NET-11: what danelaw kept would leave later with its own address: one domain at a time,
    and no DSN, which would make it the one who answers for the mail."""
    with trap(lab, network, "tproxy", {"preserve_source": "yes", "delivery": "fanout"}) as d:
        with network.client.inside(), Smtp((lab["trap.lab"].address, 25)) as c:
            assert "DSN" not in c.extensions
            assert any(x.endswith(" RCPTDOMAINMAX=1") for x in c.extensions)
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<kept1@trap.lab>", 250)
            assert c("RCPT TO:<kept1@other-trap.lab>").startswith("452 4.5.3 one-domain")
            c.data(b"Subject: x\r\n\r\nx\r\n", 250)
        assert d.delivery_to("kept1@trap.lab")["status"] == "sent"


def test_failures_under_a_source_are_its_own(lab, network):
    """R-SMTP-34, R-NET-11: the next hop may refuse one client and serve the others."""
    mx, other = lab.refusing, "192.0.2.11"
    with trap(lab, network, "tproxy", {"preserve_source": "yes"}) as d:
        for n in (1, 2):
            reply = client_sends(network, "set%d@refusing-trap.plain" % n, mx.address)
            assert reply.startswith("451 4.4.1 connect-failed: ")
        assert [c.peer for c in mx.connections] == [netlab.CLIENT]
        network.client.address("eth0", other + "/24")
        try:
            with network.client.inside(), Smtp((mx.address, 25), source=(other, 0)) as c:
                c("MAIL FROM:<a@client.lab>", 250)
                c("RCPT TO:<set3@refusing-trap.plain>", 451)
        finally:
            network.client.run("ip", "address", "del", other + "/24", "dev", "eth0")
        assert [c.peer for c in mx.connections] == [netlab.CLIENT, other]
        assert d.delivery_to("set3@refusing-trap.plain")["status"] == "deferred"


def test_passthrough_keeps_nothing(lab, network):
    """R-NET-10: danelaw would bring what it kept to the recipient's own host. So there is one
    conversation for all recipients, whoever of them may have had the message before."""
    host, text = lab.smarthost, message("kept")
    to = ["kept@trap.lab", "kept@other-trap.lab"]
    with trap(lab, network, "redirect", {"passthrough": host.address}) as d, network.client.inside():
        host.replies.update(when_told("250 2.0.0 taken"))
        leave_after_dot(d, to[:1], text, [host], server=(host.address, 25))
        d.delivery_to(to[0])
        host.replies.clear()
        with Smtp((host.address, 25)) as c:
            assert "DSN" not in c.extensions and "RCPTDOMAINMAX" not in " ".join(c.extensions)
            c("MAIL FROM:<%s>" % SENDER, 250)
            for r in to:
                c("RCPT TO:<%s>" % r, 250)
            c.data(text, 250)
        assert host.messages[-1].recipients == to
        assert " spooled session=" not in d.log


def serve(lab, network, mode, listener=None, env=None):
    """Runs danelaw to its end; returns its exit status and what it said."""
    folder = lab.new_folder("trap")
    write(folder + ".conf", ini(settings(lab, changes(lab, mode, listener))))
    done = subprocess.run([*network.router.wrap, PROGRAM, "serve", "-c", folder + ".conf"],
                          capture_output=True, text=True, timeout=20,
                          env=dict(os.environ, **(env or {})))
    return done.returncode, done.stderr


def test_rules_that_catch_danelaw_itself_end_it(lab, network):
    """N-04, R-NET-05: the self-test at start."""
    with rules(network.router, CATCHES_ITSELF):
        code, said = serve(lab, network, "redirect")
    assert code == 69 and "was handed back to listener trap" in said


def test_a_loop_that_comes_later_is_cut(lab, network):
    """N-04, R-NET-06: mail stays with the client, and there is one connection, not a storm of
    them."""
    with Danelaw(lab, changes(lab, "redirect"), host=network.router) as d:
        wait(lambda: "our own connections are not intercepted" in d.log, 5, "the self-test is over")
        with rules(network.router, CATCHES_ITSELF), network.router.inside():
            reply = send("loop@trap.lab")
        assert reply.startswith("451 4.4.1 connect-failed")
        wait(lambda: "was handed back to listener trap" in d.log, 5, "it is told")
        assert d.log.count("was handed back to listener trap") == 1


def test_tproxy_needs_its_capability(lab, network):
    folder = lab.new_folder("state")
    write(folder + ".conf", ini(settings(lab, changes(lab, "tproxy", None))))
    drop = ["setpriv", "--reuid=danelaw", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    done = subprocess.run([*network.router.wrap, *drop, PROGRAM, "serve", "-c", folder + ".conf"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 69 and "CAP_NET_RAW" in done.stderr


def test_tproxy_needs_a_kernel_that_lets_it_mark(lab, network):
    """Before Linux 5.17 it would start and then deliver nothing."""
    folder = lab.new_folder("old-kernel")
    os.makedirs(folder)
    switches = Switches(folder)
    switches.set(no_mark=1)
    code, said = serve(lab, network, "tproxy", env=switches.env)
    assert code == 69 and "Linux 5.17 or later" in said


def test_a_self_test_that_proved_nothing_says_so(lab, network):
    """R-NET-05: nothing came back, but nothing had left either."""
    for family in "-4", "-6":
        network.lan.run("ip", family, "route", "del", "default")
    try:
        with Danelaw(lab, changes(lab, "redirect"), host=network.lan) as d:
            wait(lambda: "none could leave this host (" in d.log, 5, "the self-test is over")
            assert "our own connections are not intercepted" not in d.log
    finally:
        network.lan.route("0.0.0.0/0", "10.25.0.1")
        network.lan.route("::/0", "fd25::1")


# ---- both modes ----

@pytest.fixture(scope="module", params=["redirect", "tproxy"])
def trapped(request, lab, network):
    with trap(lab, network, request.param) as d:
        d.mode = request.param
        yield d


def test_it_takes_the_place_of_the_mail_host(lab, network, trapped):
    """R-NET-03, -04: both ways to learn the original destination"""
    user = "a" + trapped.mode
    reply = client_sends(network, user + "@trap.lab", lab["trap.lab"].address)
    assert reply.code == 250
    lab["trap.lab"].delivered(user)
    line = trapped.delivery_to(user + "@trap.lab")
    assert line["tls"] == "verified" and line["client"] == netlab.CLIENT
    assert not events(trapped, "hint-mismatch")


def test_ipv6(lab, network, trapped):
    user = "six" + trapped.mode
    assert client_sends(network, user + "@six-trap.plain", lab.six.address).code == 250
    line = trapped.delivery_to(user + "@six-trap.plain")
    assert line["client"] == netlab.CLIENT6 and lab.six.address in line["mx"]
    assert lab.six.messages[-1].recipients == [user + "@six-trap.plain"]
    assert not [e for e in events(trapped, "hint-mismatch") if "six-trap" in e]


@pytest.mark.parametrize("address", [netlab.INSIDE, netlab.INSIDE6])
def test_direct_connections_are_refused(network, trapped, address):
    """R-NET-03, N-03, R-NET-06: whom they meant cannot be known, or is danelaw itself."""
    for port in (PORT, 25):
        with network.client.inside(), Smtp((address, port), ehlo=None) as c:
            assert c.reply(554).startswith("554 5.7.1 not-allowed")
            assert c.is_closed()
    wait(lambda: "refused by listener trap: it connected to this host itself" in trapped.log, 5, "it is told")


def test_strangers_are_refused(lab, network, trapped):
    with network.lan.inside(), Smtp((netlab.ROUTER, PORT), ehlo=None) as c:
        assert c.reply(554).startswith("554 5.7.1 not-allowed")


def test_hint_comes_first_within_its_host(lab, network, trapped):
    """R-NET-08"""
    for n, mx in enumerate(lab.two):
        user = "h%d%s@two-trap.lab" % (n, trapped.mode)
        assert client_sends(network, user, mx.address).code == 250
        assert mx.address in trapped.delivery_to(user)["mx"]


def test_hint_never_chooses_a_worse_host(lab, network, trapped):
    """N-02, R-NET-08; the backup is an MX host of the domain, so there is no mismatch either."""
    user = "p%s@pref-trap.lab" % trapped.mode
    assert client_sends(network, user, lab.backup.address).code == 250
    assert lab.best.address in trapped.delivery_to(user)["mx"]
    assert not [e for e in events(trapped, "hint-mismatch") if "pref-trap" in e]


def test_lied_to_clients_reach_the_validated_host(lab, network, trapped):
    """N-01, R-NET-07, -09."""
    user = "lie" + trapped.mode
    assert client_sends(network, user + "@trap.lab", lab["other-trap.lab"].address).code == 250
    lab["trap.lab"].delivered(user)
    wait(lambda: events(trapped, "hint-mismatch"), 5, "the mismatch is logged")
    event = events(trapped, "hint-mismatch")[-1]
    assert "domain=trap.lab original=%s validated=%s" % (
        lab["other-trap.lab"].address, lab["trap.lab"].address) in event


def test_capabilities(trapped):
    """R-NET-14."""
    for pid in trapped.child.pid, trapped.worker:
        [effective], [permitted], [inherited], uids = status(pid, "CapEff", "CapPrm", "CapInh",
                                                             "Uid")
        kept = CAP_NET_RAW if trapped.mode == "tproxy" else 0
        assert [int(x, 16) for x in (effective, permitted, inherited)] == [kept, kept, 0]
        assert uids == [str(pwd.getpwnam("danelaw").pw_uid)] * 4
