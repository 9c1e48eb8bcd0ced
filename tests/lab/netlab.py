"""Hosts with networks of their own around the lab: a client, and the router before it, for danelaw.

    client 192.0.2.10 ─── 192.0.2.1 router 203.0.113.2 ─── 203.0.113.1 the lab's internet
    2001:db8:c::10    2001:db8:c::1  |  2001:db8:d::2       (world.py: 198.18/15, 2001:db8:25::/48)
                             10.25.0.1, fd25::1
                                     └── 10.25.0.2, fd25::2 lan, a neighbour of the client

    net = Network()
    net.client.run("swaks", "--server", ...)                 # a command on that host
    with net.client.inside(): Smtp(("198.18.1.1", 25))       # this thread's new sockets, there
    Danelaw(lab, {...}, host=net.router)                     # as are Postfix's and Exim's
    net.client.resolve_with(SITE_RESOLVER)                   # its /etc/resolv.conf
    net.stop()

Each host is a network and a mount namespace, held by a process that ends with the lab. The router
forwards and has the strict reverse path filter that distributions set.
"""
import contextlib
import ctypes
import os
import subprocess

from zones import wait, write

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

CLIENT, CLIENT6 = "192.0.2.10", "2001:db8:c::10"
LAN, LAN6 = "10.25.0.2", "fd25::2"
ROUTER, ROUTER6 = "203.0.113.2", "2001:db8:d::2"  # the side that the internet sees
INSIDE, INSIDE6 = "192.0.2.1", "2001:db8:c::1"  # the side that the client sees


class Here:
    """The lab's own namespaces, for what can run on any host."""

    wrap = ()

    @contextlib.contextmanager
    def inside(self):
        yield

    def run(self, *words, **how):
        """Runs a command that must succeed; returns what it printed."""
        done = subprocess.run([*self.wrap, *words], capture_output=True, text=True, timeout=60,
                              **how)
        assert done.returncode == 0, "%s\n%s%s" % (" ".join(words), done.stdout, done.stderr)
        return done.stdout

    def sysctl(self, path, value):
        self.run("sh", "-c", "echo %s >/proc/sys/net/%s" % (value, path))

    def address(self, link, *addresses):
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", link, *["nodad"] * (":" in address))
        self.run("ip", "link", "set", link, "up")

    def route(self, destination, via):
        self.run("ip", "route", "add", destination, "via", via)


HERE = Here()


class Host(Here):
    def __init__(self, name):
        self.name = name
        self.holder = subprocess.Popen(["unshare", "-n", "-m", "-u", "sleep", "infinity"])
        self.wrap = ("nsenter", "-t", str(self.holder.pid), "-n", "-m", "-u", "-r", "-w",
                     "--")  # -r, -w: where we are in a chroot, so is the host
        mine = os.readlink("/proc/self/ns/uts")  # the last one that unshare leaves
        wait(lambda: os.readlink("/proc/%d/ns/uts" % self.holder.pid) != mine, 5, name + " is up")
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")

    def stop(self):
        self.holder.kill()
        self.holder.wait(10)

    @contextlib.contextmanager
    def inside(self):
        """What this thread opens, and threads that it starts, belong to this host."""
        with open("/proc/thread-self/ns/net") as before:
            setns("/proc/%d/ns/net" % self.holder.pid)
            try:
                yield
            finally:
                setns("/proc/self/fd/%d" % before.fileno())

    def resolve_with(self, server):
        path = "/var/lab/resolv.%s.%s" % (self.name, server)
        write(path, "nameserver %s\noptions timeout:3 attempts:2\n" % server)
        self.run("mount", "--bind", path, "/etc/resolv.conf")


def setns(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if LIBC.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns " + path)
    finally:
        os.close(fd)


class Network:
    def __init__(self):
        self.client, self.router, self.lan = (Host(x) for x in ("client", "router", "lan"))
        for host in (HERE, self.client, self.router, self.lan):
            host.sysctl("ipv6/conf/default/accept_dad", 0)  # addresses are usable at once
        self._forward()
        self.link("internet", HERE, "outside", self.router)
        self.link("inside", self.router, "eth0", self.client)
        self.link("lan", self.router, "eth0", self.lan)
        self._number()

    def stop(self):
        for host in (self.client, self.router, self.lan):
            host.stop()

    def _forward(self):
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/rp_filter",
                    "ipv4/conf/default/rp_filter"):
            self.router.sysctl(key, 1)

    def link(self, here_name, here, there_name, there):
        """A cable between two hosts."""
        here.run("ip", "link", "add", here_name, "type", "veth", "peer", "name", there_name,
                 "netns", str(there.holder.pid))

    def _number(self):
        HERE.address("internet", "203.0.113.1/24", "2001:db8:d::1/64")
        self.router.address("outside", ROUTER + "/24", ROUTER6 + "/64")
        self.router.address("inside", INSIDE + "/24", INSIDE6 + "/64")
        self.router.address("lan", "10.25.0.1/24", "fd25::1/64")
        self.client.address("eth0", CLIENT + "/24", CLIENT6 + "/64")
        self.lan.address("eth0", LAN + "/24", LAN6 + "/64")
        for host, *gateways in ((self.router, "203.0.113.1", "2001:db8:d::1"),
                                (self.client, INSIDE, INSIDE6), (self.lan, "10.25.0.1", "fd25::1")):
            for gateway in gateways:
                host.route("::/0" if ":" in gateway else "0.0.0.0/0", gateway)
        for network in ("192.0.2.0/24", "10.25.0.0/24"):
            HERE.route(network, ROUTER)
        for network in ("2001:db8:c::/64", "fd25::/64"):
            HERE.route(network, ROUTER6)
