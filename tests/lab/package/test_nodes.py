"""packaging/examples: two nodes behind HAProxy and behind keepalived, of which one dies while mail runs
through it. Nothing that was confirmed is lost, and its clients go on with the other."""
import os
import re
import subprocess
import threading
import time

import pytest

from netlab import HERE as THIS_HOST
from netlab import Host
from program import Danelaw
from smtp import Smtp
from zones import wait, write

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../packaging/examples/")
DOMAIN = "nodes.lab"


def declare(lab):
    lab.domain(DOMAIN, "3 1 1")


def example(name, addresses):
    """The file as it is, but for its addresses: {there: here}."""
    with open(EXAMPLES + name) as f:
        text = f.read()
    assert all(there in text for there in addresses)
    return re.sub("|".join(map(re.escape, addresses)), lambda m: addresses[m[0]], text)


class Clients:
    """Senders that keep a message until it was confirmed, each with the next one at once."""

    def __init__(self, server, name, host=THIS_HOST, count=4):
        self.server, self.name, self.host = server, name, host
        self.confirmed, self.ends = [], False
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """The messages that were confirmed."""
        self.ends = True
        for thread in self.threads:
            thread.join(40)
            assert not thread.is_alive()
        return self.confirmed

    def wait_for(self, more):
        wanted = len(self.confirmed) + more
        wait(lambda: len(self.confirmed) >= wanted, 30, "%d more messages" % more)

    def _work(self, n):
        number = 0
        with self.host.inside():
            while not self.ends:
                number += 1
                self._deliver("%s-%d-%d" % (self.name, n, number))

    def _deliver(self, subject):
        for _ in range(300):
            if self._try(subject):
                self.confirmed.append(subject)
                return
            time.sleep(0.1)
        raise AssertionError("%s is not delivered" % subject)

    def _try(self, subject):
        try:
            with Smtp(self.server, timeout=10) as c:
                c("MAIL FROM:<a@client.lab>", 250)
                c("RCPT TO:<%s@%s>" % (self.name, DOMAIN), 250)
                return c.data(b"Subject: %s\r\n\r\nHello.\r\n" % subject.encode()).code == 250
        except (OSError, AssertionError):  # no connection, none any more, or a refusal
            return False


def arrived(lab, name):
    """Subjects of what the recipient's server has."""
    messages = lab[DOMAIN].receiver.maildir.messages("%s@%s" % (name, DOMAIN))
    return re.findall(r"^Subject: (\S+)", b"\n".join(messages).decode(), re.M)


def check_arrival(lab, clients, failed):
    """All that was confirmed is there; what is there twice was in flight when the node died."""
    confirmed = clients.stop()
    wait(lambda: set(confirmed) <= set(arrived(lab, clients.name)), 10, "all have arrived")
    got = arrived(lab, clients.name)
    assert set(got) == set(confirmed)
    assert len(got) - len(set(got)) <= failed


def kill(node):
    """As a power failure would; nothing of it may go on."""
    subprocess.run(["pkill", "-KILL", "-f", "serve -c %s" % node.conf], check=True)
    node.child.wait(20)
    node.child = None


# ---- HAProxy ----

NODES = {"one": "198.18.250.11", "two": "198.18.250.12"}
BALANCER = "198.18.250.10"


def balanced(lab, name):
    address = NODES[name]
    return Danelaw(lab, {
        "server": {"hostname": name + ".danelaw.lab", "state_dir": "%s/state-%s" % (lab.folder, name)},
        "listener smarthost": {"listen": address + ":2527", "clients": "198.18.0.0/15",
                               "proxy_protocol": BALANCER},
        "admin": {"listen": address + ":9125"}})


@pytest.fixture
def haproxy(lab):
    folder = lab.new_folder("haproxy")
    os.makedirs(folder)
    text = example("haproxy.cfg", {"10.0.0.10": BALANCER, "10.0.0.11": NODES["one"],
                                   "10.0.0.12": NODES["two"]})
    write(folder + "/haproxy.cfg", "defaults\n\tsource %s\n\n%s" % (BALANCER, text))
    with open(folder + "/haproxy-log", "w") as log:
        child = subprocess.Popen(["haproxy", "-db", "-f", folder + "/haproxy.cfg"], stdout=log,
                                 stderr=log)
    yield child
    assert child.poll() is None
    child.kill()
    child.wait(20)


def test_haproxy_and_a_node_that_dies(lab, haproxy):
    with balanced(lab, "one") as one, balanced(lab, "two") as two:
        clients = Clients((BALANCER, 25), "balanced")
        wait(lambda: one.deliveries() and two.deliveries(), 20, "both nodes are at work")
        clients.wait_for(20)
        assert one.deliveries()[-1]["client"] == "198.18.0.1"  # whom HAProxy has introduced
        kill(one)
        before = len(two.deliveries())
        clients.wait_for(40)
        check_arrival(lab, clients, failed=4)
        assert len(two.deliveries()) >= before + 40


def test_haproxy_and_a_node_that_is_stopped(lab, haproxy):
    """Work on a node: nothing arrives twice."""
    with balanced(lab, "one") as one, balanced(lab, "two") as two:
        clients = Clients((BALANCER, 25), "stopped")
        wait(lambda: one.deliveries() and two.deliveries(), 20, "both nodes are at work")
        one.stop()
        clients.wait_for(20)
        check_arrival(lab, clients, failed=0)


# ---- keepalived ----

ADDRESSES = {"one": "10.0.0.11", "two": "10.0.0.12"}
SHARED = "10.0.0.5"


class Site:
    """Nodes and a client on one bridge; the nodes have a link to the internet each."""

    def __init__(self, network):
        self.switch, self.client = Host("switch"), Host("client")
        self.hosts = {name: Host(name) for name in ADDRESSES}
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        self.switch.run("ip", "link", "set", "br0", "up")
        for name, host in {**self.hosts, "client": self.client}.items():
            network.link("to-" + name, self.switch, "eth0", host)
            self.switch.run("ip", "link", "set", "to-" + name, "master", "br0", "up")
            host.address("eth0", ADDRESSES.get(name, "10.0.0.20") + "/24")
        for n, (name, host) in enumerate(self.hosts.items()):
            network.link("up-" + name, THIS_HOST, "wan", host)
            THIS_HOST.address("up-" + name, "203.0.113.%d/30" % (17 + 4 * n))
            host.address("wan", "203.0.113.%d/30" % (18 + 4 * n))
            host.route("0.0.0.0/0", "203.0.113.%d" % (17 + 4 * n))

    def has_address(self, name):
        return SHARED + "/" in self.hosts[name].run("ip", "-4", "address", "show", "eth0")

    def stop(self):
        for host in (self.switch, self.client, *self.hosts.values()):
            host.stop()


@pytest.fixture
def site(network):
    made = Site(network)
    yield made
    made.stop()


def keepalived(lab, host, name):
    folder = lab.new_folder("keepalived-" + name)
    os.makedirs(folder)
    other = {"one": "two", "two": "one"}[name]
    write(folder + "/keepalived.conf", example("keepalived.conf", {
        ADDRESSES["one"]: ADDRESSES[name], ADDRESSES["two"]: ADDRESSES[other]}))
    options = ["-f", folder + "/keepalived.conf", "-p", folder + "/pid", "-r", folder + "/vrrp.pid"]
    with open(folder + "/keepalived-log", "w") as log:
        # As who would run the script: else keepalived 2.2.7 ends itself when it has looked for it.
        subprocess.run([*host.wrap, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                        "keepalived", "-t", *options], check=True, stdout=log, stderr=log)
        return subprocess.Popen([*host.wrap, "keepalived", "-n", "-l", "-D", "-P", *options],
                                stdout=log, stderr=log)


def test_keepalived_and_a_node_that_dies(lab, site):
    def node(name):
        return Danelaw(lab, {
            "server": {"hostname": name + ".danelaw.lab",
                       "state_dir": "%s/state-%s" % (lab.folder, name)},
            "listener smarthost": {"listen": "0.0.0.0:25", "clients": "10.0.0.0/8 127.0.0.0/8"},
            "admin": {"listen": "127.0.0.1:9125"}}, host=site.hosts[name])
    with node("one") as one, node("two") as two:
        nodes = {"one": one, "two": two}
        keepers = [keepalived(lab, site.hosts[name], name) for name in nodes]
        try:
            wait(lambda: any(map(site.has_address, nodes)), 15, "a node has the address")
            active = next(filter(site.has_address, nodes))
            other = ({*nodes} - {active}).pop()
            clients = Clients((SHARED, 25), "moved", site.client)
            clients.wait_for(20)
            kill(nodes[active])
            wait(lambda: site.has_address(other), 15, "the other has the address")
            clients.wait_for(20)
            check_arrival(lab, clients, failed=4)
            assert not site.has_address(active) and len(nodes[other].deliveries()) >= 20
        finally:
            for keeper in keepers:
                keeper.terminate()
                keeper.wait(10)
