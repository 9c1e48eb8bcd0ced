"""What clients ask that know nothing of DNSSEC: an Unbound that does not validate, and may lie.

    resolver = SiteResolver(lab, ["victim.lab. MX 10 mx.thief.lab."])
    network.client.resolve_with(SITE_RESOLVER)
    ... resolver.stop()
"""
import os

import dns.exception
import dns.message
import dns.query

from world import Process
from zones import wait, write

SITE_RESOLVER = "198.18.0.54"


class SiteResolver(Process):
    def __init__(self, lab, lies=()):
        folder = lab.new_folder("site-resolver")
        os.makedirs(folder)
        conf = folder + "/unbound.conf"
        write(conf, UNBOUND % (SITE_RESOLVER, lab.dns.root_hints, "".join(map(lie, lies))))
        super().__init__(["unbound", "-d", "-c", conf], folder + "/log")
        wait(self._answers, 10, "the site's resolver answers")

    def ask(self, name, rdtype):
        query = dns.message.make_query(name, rdtype)
        return dns.query.tcp(query, SITE_RESOLVER, timeout=10).answer

    def _answers(self):
        try:
            return self.ask(".", "SOA")
        except (OSError, EOFError, dns.exception.DNSException):
            return False


def lie(record):
    return '  local-zone: "%s" typetransparent\n  local-data: "%s"\n' % (record.split()[0], record)


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
  module-config: "iterator"
  root-hints: "%s"
%s
remote-control:
  control-enable: no
"""
