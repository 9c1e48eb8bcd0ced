"""Mail servers that know nothing of danelaw, behind a router that has it and the rules that it prints:
stock Postfix and Exim with MX lookups of their own, over a resolver that does not validate and lies.
Both modes, both families; danelaw stopped; nothing in a circle."""
import re

import pytest

import netlab
from certs import tlsa
from check import check_json, command
from exim import DNSLOOKUP, EximClient
from gateway import Gateway
from postfix import PostfixClient
from siteresolver import SITE_RESOLVER, SiteResolver
from smtp import Smtp, send
from taker import dial
from world import STALE
from zones import UNSIGNED, wait

MODES = ("redirect", "tproxy")
VICTIM, THIEF = "tr-victim.lab", "tr-thief.plain"
GOOD, OUTDATED, SIX = "tr-right.lab", "tr-stale.lab", "tr-six.lab"
LOOPBACK = {"listen": "127.0.0.1:2526 [::1]:2526"}
LIES = ["%s. MX 10 mx.%s." % (VICTIM, THIEF)]


def declare(lab):
    lab.domain(GOOD, "3 1 1", postfix={"smtpd_tls_loglevel": "1"})
    lab.domain(OUTDATED, STALE)
    lab.domain(VICTIM, "3 1 1")
    lab.domain(THIEF, how=UNSIGNED)
    lab.tr_six, mx = lab.address6(), "mx." + SIX
    cert = lab.cert(mx)
    lab.zone(SIX, "@ MX 10 mx\nmx AAAA %s\n_25._tcp.mx TLSA %s\n" % (lab.tr_six, tlsa(cert)))
    lab.postfix.service(lab.tr_six, mx, cert)


@pytest.fixture(scope="module")
def senders(lab, network):
    """{name: a stock sender on the client host}; what they ask does not validate, and lies."""
    resolver = SiteResolver(lab, LIES)
    network.client.resolve_with(SITE_RESOLVER)
    made = {"postfix": PostfixClient(lab.new_folder("tr-postfix"), "", network.client),
            "exim": EximClient(lab.new_folder("tr-exim"), DNSLOOKUP, network.client)}
    for sender in made.values():
        sender.start()
    yield made
    for sender in made.values():
        sender.stop()
    resolver.stop()


def submit(sender, recipient):
    """Gives the sender a message, as a program of its own host does."""
    with sender.host.inside():
        reply = send(recipient, server=("127.0.0.1", sender.port))
    assert reply.code == 250, reply


def log_of(sender):
    return sender.maillog if isinstance(sender, PostfixClient) else sender.mainlog


def test_strict_refuses_what_the_liar_said(lab, network, senders):
    recipient = "strict@" + VICTIM
    with Gateway(lab, network, "redirect", {"original_destination": "strict"}):
        submit(senders["postfix"], recipient)
        wait(lambda: "451 4.7.1 hint-mismatch: " in senders["postfix"].maillog, 10, "refused")
    assert not lab.postfix.maildir.messages(recipient)


def test_the_source_is_seen_by_the_receiver(lab, network, senders):
    """R-NET-11, with the printed rules bringing the answers back: address and name, both families."""
    with Gateway(lab, network, "tproxy", {"preserve_source": "yes", **LOOPBACK}) as d:
        for name in senders:
            for domain, client in ((GOOD, netlab.CLIENT), (SIX, netlab.CLIENT6)):
                recipient = "source-%s@%s" % (name, domain)
                submit(senders[name], recipient)
                top = lab.postfix.maildir.wait_for(recipient)[0].decode()
                assert re.search(r"from sender\.lab \(unknown \[(IPv6:)?%s\]\)" % client, top), top
                assert d.delivery_to(recipient)["tls"] == "verified"
        wait(lambda: "connect from unknown[%s]" % netlab.CLIENT6 in lab.postfix.maillog, 5, "Postfix logs it")


def greeting(lab, network, domain=GOOD):
    return dial(network.client, lab[domain].address)


@pytest.mark.parametrize("mode", MODES)
def test_stopped_it_fails_closed(lab, network, senders, mode):
    with Gateway(lab, network, mode) as d:
        assert "danelaw." in greeting(lab, network)
        d.stop()
        assert greeting(lab, network) == dial(network.client, lab.tr_six) == "refused"
        d.start()
        assert "danelaw." in greeting(lab, network)
        d.child.kill()  # no farewell
        d.child.wait()
        wait(lambda: greeting(lab, network) == "refused", 5, "its workers end with it")
        d.child = None


@pytest.mark.parametrize("mode", MODES)
def test_stopped_it_fails_open_where_told(lab, network, senders, mode):
    with Gateway(lab, network, mode, fail="open") as d:
        assert "danelaw." in greeting(lab, network)
        d.stop()
        assert greeting(lab, network).startswith("220 mx." + GOOD)
        assert dial(network.client, lab.tr_six).startswith("220 mx." + SIX)
        d.start()
        wait(lambda: "danelaw." in greeting(lab, network), 8, "taken again")


def test_the_routers_own_mail_is_taken_without_a_circle(lab, network):
    """R-NET-05, -06: a mail server on danelaw's own host; danelaw's connections are its user's."""
    own = {"clients": "%s %s" % (netlab.ROUTER, netlab.ROUTER6), **LOOPBACK}
    with Gateway(lab, network, "redirect", own) as d, network.router.inside():
        for address, domain in ((lab[GOOD].address, GOOD), (lab.tr_six, SIX)):
            assert send("own@" + domain, server=(address, 25)).code == 250
            assert d.delivery_to("own@" + domain)["tls"] == "verified"
        assert "handed back" not in d.log


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def test_commands_beside_it_reach_the_host_or_say_that_they_cannot(lab, network):
    """The rules let root's connections pass, by their mark; others meet danelaw, and know it."""
    own = {"clients": "%s %s" % (netlab.ROUTER, netlab.ROUTER6), **LOOPBACK}
    with Gateway(lab, network, "redirect", own) as d:
        root, nobody = network.router.wrap, [*network.router.wrap, *AS_NOBODY]
        assert command(lab, ["check", GOOD], conf=d.conf, wrap=root).code == 0
        told = check_json(lab, GOOD, conf=d.conf, wrap=nobody)
        verdict = told.result["verdict"]
        assert told.code == 3 and verdict["reason"] == "connect-failed", told.out
        assert "danelaw itself answered" in verdict["text"] and "as root" in verdict["advice"]
        assert not {"mismatch", "no-starttls"} & set(told.findings), told.findings
        live = ["tlsa", "--connect", "mx." + GOOD]
        assert command(lab, live, conf=d.conf, wrap=root).code == 0
        refused = command(lab, live, conf=d.conf, wrap=nobody)
        assert refused.code == 69 and "as root" in refused.err and not refused.out


@pytest.mark.parametrize("mode", MODES)
def test_rules_loaded_again_disturb_no_session(lab, network, senders, mode):
    with Gateway(lab, network, mode) as d, network.client.inside():
        with Smtp((lab[GOOD].address, 25)) as c:
            network.router.run("nft", "-f", "-", input=d.printed())
            c("MAIL FROM:<a@client.lab>", 250)
            c("RCPT TO:<again-%s@%s>" % (mode, GOOD), 250)
            c.data(b"Subject: x\r\n\r\nx\r\n", 250)


# ---- both modes ----

@pytest.fixture(scope="module", params=MODES)
def gateway(request, lab, network, senders):
    with Gateway(lab, network, request.param) as d:
        d.mode = request.param
        yield d


def users(gateway, name, what):
    return "%s-%s-%s" % (what, name, gateway.mode)


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_delivered_over_proven_tls(lab, gateway, senders, name):
    """Both families: one destination has IPv4 alone, the other IPv6 alone."""
    for domain, near in ((GOOD, netlab.ROUTER), (SIX, netlab.ROUTER6)):
        recipient = "%s@%s" % (users(gateway, name, "good"), domain)
        submit(senders[name], recipient)
        top = lab.postfix.maildir.wait_for(recipient)[0].split(b"\r\n\r\n")[0].decode()
        line = gateway.delivery_to(recipient)
        assert (line["policy"], line["tls"], line["status"]) == ("dane", "verified", "sent")
        assert near in top and "using TLSv1.3" in top and "by danelaw.lab (danelaw)" in top
    wait(lambda: re.search(r"TLS connection established from unknown\[%s\]: TLSv1.3" % netlab.ROUTER,
                           lab.postfix.maillog), 5, "Postfix logs it")
    assert "hint-mismatch session" not in gateway.log


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_stale_record_keeps_mail_in_the_senders_queue(lab, gateway, senders, name):
    recipient = "%s@%s" % (users(gateway, name, "stale"), OUTDATED)
    reason = "451 4.7.5 dane-mismatch: mx.%s[%s]:25" % (OUTDATED, lab[OUTDATED].address)

    def told():
        return [x for x in log_of(senders[name]).splitlines() if recipient in x and reason in x]
    submit(senders[name], recipient)
    wait(told, 10, "the reason in the sender's log")
    waiting = str(senders[name].command(*(["postqueue", "-p"] if name == "postfix" else ["-bp"])))
    assert recipient in waiting
    assert not lab.postfix.maildir.messages(recipient)


@pytest.mark.parametrize("name", ["postfix", "exim"])
def test_a_lying_resolver_misleads_nobody(lab, gateway, senders, name):
    """N-01, R-NET-07, -09: the sender dials the thief; the mail reaches the validated host all the
    same."""
    recipient = "%s@%s" % (users(gateway, name, "lie"), VICTIM)
    submit(senders[name], recipient)
    top = lab.postfix.maildir.wait_for(recipient)[0].decode()
    assert "by mx.%s (" % VICTIM in top and "mx." + THIEF not in top
    assert gateway.delivery_to(recipient)["tls"] == "verified"
    mismatch = [x for x in gateway.log.splitlines() if "hint-mismatch session" in x][-1]
    assert lab[THIEF].address in mismatch and lab[VICTIM].address in mismatch
