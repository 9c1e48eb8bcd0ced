"""F-09: the network goes away in the middle of mail, on either side, and comes back. danelaw stands on a
router (netlab.py); what is cut is its link to the next hops, or the one to its client.
"""
import contextlib
import threading
import time

import pytest

import netlab
from fakemx import Gone
from nexthop import Slots, has_dot, wait_over
from program import Danelaw
from smtp import MESSAGE, Smtp, stuff
from zones import wait

SERVER = (netlab.INSIDE, 2525)
TIMERS = ("connect", "greeting", "handshake", "command", "data_start", "data_block", "data_end")
# Behind a cut TCP tries again after 0.2, 0.6, 1.4 and 3 s.
SHORT = {"timeouts": {"rcpt": "9s", "idle_client": "3s", **{t: "3s" for t in TIMERS},
                      "data_block": "5s", "data_end": "5s"},
         "dns": {"timeout": "2s", "total": "3s"}, "limits": {"connection_idle": "0s"}}
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 2000


def declare(lab):
    lab.cuts = Slots(lab, "cut.lab", tls=48)


@pytest.fixture(scope="module")
def danelaw(lab, network):
    network.router.sysctl("ipv4/tcp_wmem", "'4096 16384 65536'")  # less than LARGE
    listener = {"listen": "%s:%d" % SERVER, "clients": "192.0.2.0/24"}
    with Danelaw(lab, {**SHORT, "listener smarthost": listener}, host=network.router) as d:
        yield d


@pytest.fixture
def hop(lab):
    with lab.cuts.hops() as hop:
        yield hop


# ---- cuts: of a link of the router ----

DROP = """table inet cut {
	chain in { type filter hook input priority 0; iifname "%s" drop; }
	chain out { type filter hook output priority 0; oifname "%s" drop; }
}"""


@contextlib.contextmanager
def dropped(router, link):
    """Silence, as behind a switch that has lost its power."""
    router.run("nft", "-f", "-", input=DROP % (link, link))
    yield
    router.run("nft", "delete", "table", "inet", "cut")


@contextlib.contextmanager
def unreachable(router, link):
    """No way to the next hops; what they send still arrives."""
    router.run("ip", "route", "add", "unreachable", "198.18.0.0/15")
    yield
    router.run("ip", "route", "delete", "unreachable", "198.18.0.0/15")


@contextlib.contextmanager
def down(router, link):
    """The cable is out; the kernel forgets the routes, and the addresses of IPv6."""
    router.run("ip", "link", "set", link, "down")
    yield
    router.run("sh", "-ec", "ip link set %s up; ip address add %s/64 dev %s nodad; ip route add default via %s;"
               "ip route add ::/0 via %s" % (link, netlab.ROUTER6, link, "203.0.113.1", "2001:db8:d::1"))


CUTS = (dropped, unreachable, down)


# ---- next hops that wait at a stage until the network is gone ----

def held(stage):
    """FakeMx arguments; mx.is_reached says that the stage is, mx.go_on lets it go on."""
    def act(c, rest):
        if stage == "STARTTLS":
            c.say("220 2.0.0 go")
        c.mx.is_reached.set()
        c.mx.go_on.wait(20)
        if stage == "STARTTLS":
            raise Gone("never shook hands")
        return "250 2.0.0 late" if stage == "." else None
    return {"replies": {stage: act}}


def hold(hop, stage):
    h = hop("tls", **held(stage))
    h.mx.is_reached, h.mx.go_on = threading.Event(), threading.Event()
    return h


class Sender(threading.Thread):
    """One message from the client's host, and the reply that decided about it."""

    def __init__(self, network, to, message=MESSAGE):
        super().__init__(daemon=True)
        self.host, self.to, self.message, self.reply = network.client, to, message, None
        self.is_half_sent, self.may_go_on = threading.Event(), threading.Event()
        self.start()

    def run(self):
        with self.host.inside(), Smtp(SERVER) as c:
            c("MAIL FROM:<a@client.lab>", 250)
            self.reply = c("RCPT TO:<%s>" % self.to)
            if self.reply.code == 250:
                self.reply = c("DATA")
            if self.reply.code == 354:
                self.send_body(c)

    def send_body(self, c):
        wire = stuff(self.message)
        c.raw(wire[:len(wire) // 2])
        self.is_half_sent.set()
        self.may_go_on.wait(20)
        c.raw(wire[len(wire) // 2:])
        self.reply = c.reply()


STAGES = {"STARTTLS": "451 4.7.5 tls-handshake", "MAIL": "451 4.4.2 connection-lost",
          "RCPT": "451 4.4.2 connection-lost", "DATA": "451 4.4.2 connection-lost",
          ".": "451 4.4.2 outcome-unknown", "body": "451 4.4.2 connection-lost"}  # whose client is idle: last


@pytest.mark.parametrize("cut", CUTS)
def test_next_hops_are_cut_off(network, danelaw, hop, cut):
    """F-09, R-SMTP-33..36: whatever is waited for ends by its timer, with the reply of its stage; nothing is
    confirmed; and once the network is back, mail flows over new connections."""
    hops = {stage: hold(hop, stage) for stage in STAGES}
    senders = {}
    for stage, h in hops.items():
        message = LARGE if stage == "body" else MESSAGE
        sender = senders[stage] = Sender(network, "b@" + h.domain, message)
        if stage == "body":
            assert sender.is_half_sent.wait(10)
        else:
            sender.may_go_on.set()
            assert h.mx.is_reached.wait(10), stage
    with cut(network.router, "outside"):
        begun = time.monotonic()
        senders["body"].may_go_on.set()
        for stage, sender in senders.items():
            sender.join(10)
            assert sender.reply and sender.reply.startswith(STAGES[stage]), (stage, sender.reply)
        assert 1 < time.monotonic() - begun < 20
        again = Sender(network, "b@" + hops["RCPT"].domain)
        again.join(10)
        assert again.reply and again.reply.startswith("451 4.4."), again.reply
    for h in hops.values():
        h.mx.go_on.set()
    wait(lambda: arrives(network, hop), 8, danelaw.tail())
    assert [stage for stage, h in hops.items() if h.mx.messages] in ([], ["."])
    line = danelaw.delivery_to("b@" + hops["."].domain)
    assert line["status"] == "unknown"


def arrives(network, hop):
    h = hop("tls")
    sender = Sender(network, "c@" + h.domain)
    sender.may_go_on.set()
    sender.join(10)
    return sender.reply and sender.reply.code == 250 and len(h.mx.messages) == 1


@pytest.mark.parametrize("cut", CUTS)
def test_a_short_cut_costs_nothing(network, danelaw, hop, cut):
    """F-09: shorter than a timer, in the body and before the reply to the final dot: 250, one copy each."""
    hops = [hold(hop, "never"), hold(hop, ".")]
    dot = Sender(network, "b@" + hops[1].domain)
    dot.may_go_on.set()
    assert hops[1].mx.is_reached.wait(10)
    body = Sender(network, "b@" + hops[0].domain, LARGE)
    assert body.is_half_sent.wait(10)
    with cut(network.router, "outside"):
        body.may_go_on.set()
        hops[1].mx.go_on.set()
        time.sleep(0.3)
    for sender, h in ((body, hops[0]), (dot, hops[1])):
        sender.join(10)
        assert sender.reply and sender.reply.code == 250 and len(h.mx.messages) == 1, sender.reply


def test_the_client_is_cut_off(network, danelaw, hop):
    """F-09, R-SMTP-38: in the middle of a body: its session ends by idle_client, and the next hop sees no final
    dot. Behind the final dot: the message is the next hop's, and the log says so."""
    halfway, behind = hold(hop, "never"), hold(hop, ".")
    sender = Sender(network, "b@" + halfway.domain)
    other = Sender(network, "b@" + behind.domain)
    other.may_go_on.set()
    assert sender.is_half_sent.wait(10) and behind.mx.is_reached.wait(10)
    with dropped(network.router, "inside"):
        sender.may_go_on.set()
        behind.mx.go_on.set()
        wait_over(halfway.mx)
        assert danelaw.delivery_to("b@" + behind.domain)["status"] == "sent"
    assert not has_dot(halfway.mx) and not halfway.mx.messages and len(behind.mx.messages) == 1
    wait(lambda: "idle" in danelaw.log, 2, danelaw.tail())
    assert arrives(network, hop)
