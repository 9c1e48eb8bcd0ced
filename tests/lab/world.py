"""The lab's little internet, declared in a few lines and brought up once.

    lab = World()
    lab.domain("good.lab", "3 1 1")                     # signed, Postfix with this TLSA
    lab.domain("stale.lab", STALE)                      # TLSA that fits nothing
    lab.domain("clear.lab", how=UNSIGNED, cert=None)    # no STARTTLS, no DNSSEC
    lab.domain("hostile.lab", "3 1 1", fake={"replies": {"STARTTLS": "454 4.7.0 later"}})
    lab.domain("sts.lab", cert=lab.ca.issue("mx.sts.lab"), sts="enforce")
    lab.zone("alias.lab", "@ MX 10 mx.good.lab.")       # any records
    lab.start() ... lab.stop()

A domain NAME has one MX host mx.NAME with one address. Test files declare theirs in a function
declare(lab), which conftest.py calls before the world starts.
"""
import os
import subprocess

import dns.exception
import dns.flags
import dns.message
import dns.query

from certs import CA, self_signed, tlsa
from dnsrelay import DnsRelay
from exim import EximReceiver
from fakemx import FakeMx
from nginx import Nginx, policy
from postfix import PostfixReceiver
from striprelay import StripRelay
from zones import SIGNED, UNSIGNED, Zones, end, wait, write

FOLDER = "/var/lab"
RESOLVER = "198.18.0.53"
STALE = "3 1 1 " + "5a" * 32  # well formed, and the digest of nothing
OWN = object()  # "a certificate of its own, self-signed"


class Domain:
    """`receiver` is the Postfix or Exim that delivers for it, or its FakeMx."""

    def __init__(self, name, mx, address, cert, receiver):
        self.name, self.mx, self.address, self.cert = name, mx, address, cert
        self.receiver = receiver

    def delivered(self, user, count=1):
        """Waits for messages that Postfix or Exim has delivered to user@ here."""
        return self.receiver.maildir.wait_for("%s@%s" % (user, self.name), count)


class World:
    def __init__(self, folder=FOLDER):
        self.folder = folder
        for sub in ("certs", "unbound", "state"):
            os.makedirs("%s/%s" % (folder, sub))
        self.dns = Zones(folder + "/dns")
        self.dns.zone("lab.", "")
        self.dns.zone("plain.", "", UNSIGNED)
        self.ca = CA(folder + "/certs", "lab CA")
        self.postfix = PostfixReceiver(folder + "/postfix")
        self.servers = [self.postfix]  # what start() starts
        self.web = None  # the policy host of MTA-STS
        self.stops = []  # what stop() stops, last first
        self.domains = {}
        self.last_address = self.last_folder = self.last_relay = 0

    def __getitem__(self, name):
        return self.domains[name]

    # ---- declaring ----

    def address(self):
        """A free address for a server; address6() is its IPv6 twin."""
        self.last_address += 1
        return "198.18.%d.%d" % (1 + self.last_address // 250, 1 + self.last_address % 250)

    def new_folder(self, name):
        self.last_folder += 1
        return "%s/%s-%d" % (self.folder, name, self.last_folder)

    def address6(self):
        self.last_address += 1
        return "2001:db8:25::1:%x" % self.last_address

    def zone(self, name, records, how=SIGNED, twist=None, ttl=300):
        """Any records; with a twist (dnsrelay.py) a misbehaving server stands before them."""
        relay = self.relay(twist) if twist else None
        self.dns.zone(name, records, how, relay and relay.address, ttl)
        return relay

    def relay(self, twist):
        self.last_relay += 1
        relay = DnsRelay("198.19.0.%d" % self.last_relay, twist)
        self.stops.append(relay)
        return relay

    def cert(self, *names, **how):
        """Self-signed; lab.ca.issue(...) makes one under the lab's CA."""
        return self_signed(self.folder + "/certs", *names, **how)

    def domain(self, name, tlsa=None, how=SIGNED, *, cert=OWN, records="", twist=None, postfix=None,
               exim=False, fake=None, stripped=False, sts=None, ttl=300):
        """`tlsa`: "3 1 1" (of the certificate; 2 x x: of its issuer), or whole rdata, or a list.
        `cert`: None for no STARTTLS. `postfix`: settings of its smtpd. `fake`: FakeMx arguments.
        `stripped`: somebody on the way to Postfix takes STARTTLS away. `sts`: the mode of an
        MTA-STS policy that lists the host, or the arguments of sts() below."""
        mx, address = "mx." + name, self.address()
        cert = self.cert(mx) if cert is OWN else cert
        if fake is not None:
            receiver = self.fake(address, cert, **fake)
        elif exim:
            receiver = self.exim(address, mx, cert)
        else:
            receiver = self.postfix
            behind = self.address() if stripped else address
            receiver.service(behind, mx, cert, **(postfix or {}))
            if stripped:
                self.stops.append(StripRelay(address, behind))
        text = "@ MX 10 mx\nmx A %s\n" % address
        for record in [tlsa] if isinstance(tlsa, str) else tlsa or []:
            text += "_25._tcp.mx TLSA %s\n" % rdata(record, cert)
        if sts:
            text += self.sts(name, **({"mode": sts} if isinstance(sts, str) else sts))
        relay = self.zone(name, text + records, how, twist, ttl)
        d = self.domains[name] = Domain(name, mx, address, cert, receiver)
        d.relay = relay
        d.stripper = self.stops[-1] if stripped and not twist else None
        return d

    def sts(self, name, mode="enforce", mx=None, max_age=86400, *, id="1", txt=None, text=None,
            host=None, **how):
        """The records of an MTA-STS policy, which nginx serves. `mx`: patterns in place of the MX
        host. `txt`: whole records. `text`: a whole policy. `host`: the address of another policy
        host. `how`: see Nginx.host()."""
        if not self.web:
            self.web = Nginx(self.new_folder("nginx"), self.address(), self.ca)
            self.servers.append(self.web)
        if not host:
            listed = [mx] if isinstance(mx, str) else mx or ["mx." + name]
            self.web.host(name, text or policy(mode, *listed, max_age=max_age), **how)
        lines = ["_mta-sts TXT " + t for t in txt or ['"v=STSv1; id=%s;"' % id]]
        return "\n".join(lines + ["mta-sts A " + (host or self.web.address)]) + "\n"

    def fake(self, address, cert=None, **how):
        mx = FakeMx(address, cert, **how)
        self.stops.append(mx)
        return mx

    def exim(self, address, name, cert):
        receiver = EximReceiver(self.new_folder("exim"), address, name, cert)
        self.servers.append(receiver)
        return receiver

    # ---- up and down ----

    def start(self):
        self.dns.start()
        self.stops.insert(0, self.dns)
        for server in self.servers:
            server.start()
            self.stops.append(server)
        self._start_unbound()

    def stop(self):
        while self.stops:
            self.stops.pop().stop()

    def resolve(self, name, rdtype):
        """The answer of the lab's validating Unbound, an independent opinion; .is_secure is AD."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        answer = dns.query.tcp(query, RESOLVER, timeout=30)
        answer.is_secure = bool(answer.flags & dns.flags.AD)
        return answer

    def _start_unbound(self):
        conf = self.folder + "/unbound/unbound.conf"
        write(conf, UNBOUND % (RESOLVER, self.dns.root_hints, self.dns.trust_anchor))
        unbound = Process(["unbound", "-d", "-c", conf], self.folder + "/unbound/log")
        self.stops.append(unbound)
        wait(self._resolves, 10, "Unbound validates the root")

    def _resolves(self):
        try:
            return self.resolve(".", "SOA").is_secure
        except (OSError, EOFError, dns.exception.DNSException):
            return False


UNBOUND = """
server:
  interface: %s
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "/"
  pidfile: ""
  use-syslog: no
  do-ip6: no
  val-log-level: 2
  module-config: "validator iterator"
  root-hints: "%s"
  trust-anchor-file: "%s"
remote-control:
  control-enable: no
"""


class Process:
    """A child that ends with the lab."""

    def __init__(self, command, log):
        with open(log, "ab") as f:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f)

    def stop(self):
        end(self.child)


def rdata(record, cert):
    if len(record.split()) == 4:
        return record
    usage, selector, matching = map(int, record.split())
    return tlsa(cert.issuer if usage in (0, 2) else cert, usage, selector, matching)
