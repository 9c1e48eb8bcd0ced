"""`danelaw nft`: its rules and its routing script loaded as printed, with a plain listener in danelaw's
place: what is taken, what is left alone, what happens while nobody listens. R-NET-05, both families."""
import contextlib
import inspect
import os
import pwd
import re
import socket
import struct
import subprocess
import sys

import pytest

import netlab
from program import PROGRAM, ini
from taker import Taker, dial
from zones import UNSIGNED, wait, write

NAME, SIX = "nft.plain", "nft6.plain"
CLIENTS = "192.0.2.0/24 2001:db8:c::/64"
MODES = ("redirect", "tproxy")
PORT = 2526


def declare(lab):
    lab.domain(NAME, how=UNSIGNED)
    lab.nft_six = lab.address6()
    lab.zone(SIX, "@ MX 10 mx\nmx AAAA %s\n" % lab.nft_six, UNSIGNED)
    lab.postfix.service(lab.nft_six, "mx." + SIX)


@pytest.fixture
def addresses(lab):
    return lab[NAME].address, lab.nft_six


def danelaw_nft(folder, mode, *options, listen=("0.0.0.0", "[::]"), clients=CLIENTS, user=None,
                passthrough=None, conf=None):
    path = folder / "nft.conf"
    listener = {"listen": " ".join("%s:%d" % (a, PORT) for a in listen), "intercept": mode,
                "clients": clients, "passthrough": passthrough}
    write(path, ini(conf or {"server": {"user": user}, "listener taken": listener}))
    return subprocess.run([PROGRAM, "nft", "-c", path, *options], capture_output=True, text=True)


def load(host, folder, mode, *options, warning=None, **how):
    """Both as an administrator would: the rules into nft, the script into sh."""
    rules = danelaw_nft(folder, mode, *options, **how)
    assert rules.returncode == 0 and (warning in rules.stderr if warning else not rules.stderr), rules
    host.run("nft", "-f", "-", input=rules.stdout)
    host.run("sh", input=danelaw_nft(folder, mode, "--routing", **how).stdout)


@contextlib.contextmanager
def unloading(host, folder, mode):
    try:
        yield
    finally:
        host.run("nft", "delete", "table", "inet", "danelaw")
        host.run("sh", "-s", "undo", input=danelaw_nft(folder, mode, "--routing").stdout)


@pytest.fixture(params=MODES)
def mode(request, network, tmp_path):
    """Rules loaded on the router, and removed afterwards."""
    load(network.router, tmp_path, request.param)
    with unloading(network.router, tmp_path, request.param):
        yield request.param


def taker(network, mode):
    return Taker(network.router, PORT, mode == "tproxy")


def is_direct(banner):
    return banner.startswith("220 mx.nft")


def taken(address):
    return "220 taken for %s:25" % address


def test_clients_are_taken_and_the_destination_is_known(network, mode, addresses):
    with taker(network, mode):
        for address in addresses:
            assert dial(network.client, address) == taken(address)


def test_refused_while_nobody_listens(network, mode, addresses):
    for address in addresses:
        assert dial(network.client, address) == "refused"


def test_only_port_25(network, mode, addresses):
    with taker(network, mode):
        for address in addresses:
            assert dial(network.client, address, 26) == "refused"


def test_the_router_itself_and_the_neighbours_are_left_alone(network, mode):
    with taker(network, mode), Taker(network.lan, 25, True):
        for address in (netlab.INSIDE, netlab.INSIDE6):
            assert dial(network.client, address) == "refused"
        for address in (netlab.LAN, netlab.LAN6):  # answers as itself: it was dialled
            assert dial(network.client, address) == taken(address)
        counters = network.router.run("nft", "list", "table", "inet", "danelaw")
        assert not re.search(r"packets [1-9]", counters)


WAYS_OUT = ("2002:c633:640a::1", "2001:0:c633:640a::1", "192.88.99.1", "100.64.0.1", "198.51.100.9",
            "64:ff9b::c633:640a")  # 6to4, Teredo, its relays, the provider's NAT, documentation, NAT64


def test_what_a_forged_answer_may_name_is_taken(network, mode):
    """None of them is the client's LAN, and some lead to any host of the internet."""
    with taker(network, mode):
        for address in WAYS_OUT:
            assert dial(network.client, address) == taken(address)
    for address in WAYS_OUT:
        assert dial(network.client, address) == "refused"


def test_who_is_no_client_is_left_alone(network, mode, addresses):
    with taker(network, mode):
        for address in addresses:
            assert is_direct(dial(network.lan, address))


def test_loaded_twice_it_is_the_same(network, mode, addresses, tmp_path):
    before = network.router.run("nft", "list", "ruleset")
    rules = network.router.run("ip", "rule"), network.router.run("ip", "-6", "rule")
    load(network.router, tmp_path, mode)
    assert network.router.run("nft", "list", "ruleset") == before
    assert (network.router.run("ip", "rule"), network.router.run("ip", "-6", "rule")) == rules
    with taker(network, mode):
        assert dial(network.client, addresses[0]) == taken(addresses[0])


def state_of(host):
    """Of the routes those of table 750: the kernel's own come and go while links settle."""
    return [host.run("sh", "-c", command) for command in (
        "nft list ruleset", "ip rule", "ip -6 rule",
        "ip route show table all | grep -w 'table 750' || :")]


@pytest.mark.parametrize("mode", MODES)
def test_removed_nothing_stays(network, mode, addresses, tmp_path):
    def state():
        return state_of(network.router)
    before = state()
    load(network.router, tmp_path, mode)
    with unloading(network.router, tmp_path, mode):
        assert state() != before
    assert state() == before
    for address in addresses:
        assert is_direct(dial(network.client, address))


@pytest.mark.parametrize("mode", MODES)
def test_fail_open_passes_while_nobody_listens(network, mode, addresses, tmp_path):
    load(network.router, tmp_path, mode, "--fail", "open")
    with unloading(network.router, tmp_path, mode):
        for address in addresses:
            assert is_direct(dial(network.client, address))
        with taker(network, mode):
            for address in addresses:
                wait(lambda: dial(network.client, address) == taken(address), 8, "taken again")
        assert is_direct(dial(network.client, addresses[0]))


@pytest.mark.parametrize("mode", MODES)
def test_special_addresses_that_are_asked_for(network, mode, tmp_path):
    load(network.router, tmp_path, mode, passthrough="%s [%s]" % (netlab.LAN, netlab.LAN6))
    with unloading(network.router, tmp_path, mode), taker(network, mode):
        for address in (netlab.LAN, netlab.LAN6):
            assert dial(network.client, address) == taken(address)


# For an account that may not be able to read this checkout.
DIAL = """import contextlib, socket, sys
%s
class Here:
    inside = contextlib.nullcontext
print(dial(Here, sys.argv[1]))""" % inspect.getsource(dial)


def dial_as(host, user, address):
    group = str(pwd.getpwnam(user).pw_gid)
    return host.run("setpriv", "--reuid", user, "--regid", group, "--clear-groups",
                    sys.executable, "-B", "-c", DIAL, address).strip()


def test_programs_of_the_router_are_taken_but_danelaw_is_not(network, addresses, tmp_path):
    own = "%s %s" % (netlab.ROUTER, netlab.ROUTER6)
    for options in ((), ("--fail", "open")):
        load(network.router, tmp_path, "redirect", *options, clients=own)
        with unloading(network.router, tmp_path, "redirect"), taker(network, "redirect"):
            for address in addresses:
                assert dial_as(network.router, "nobody", address) == taken(address)
                assert is_direct(dial_as(network.router, "danelaw", address))


def test_programs_of_the_router_pass_where_it_may_fail_open(network, addresses, tmp_path):
    own = "%s %s" % (netlab.ROUTER, netlab.ROUTER6)
    load(network.router, tmp_path, "redirect", "--fail", "open", clients=own)
    with unloading(network.router, tmp_path, "redirect"):
        for address in addresses:
            assert is_direct(dial(network.router, address))


def forge_syn(host, source, destination, sequence):
    """A SYN with an address that nobody has: who answers it hears nothing."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    tcp = struct.pack("!HHIIBBHHH", 44444, 25, sequence, 0, 5 << 4, 2, 65535, 0, 0)
    total = sum(struct.unpack("!16H", ends + struct.pack("!HH", 6, len(tcp)) + tcp))
    total = (total & 0xffff) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", 0xffff & ~(total + (total >> 16))) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0) + ends  # the kernel sums it
    with host.inside(), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(ip + tcp, (destination, 0))


def test_forged_packets_do_not_make_danelaw_absent(network, addresses, tmp_path):
    """A second SYN while a connection opens is answered by RST, ACK and sequence number 0 (RFC 9293)."""
    load(network.router, tmp_path, "redirect", "--fail", "open")
    with unloading(network.router, tmp_path, "redirect"), taker(network, "redirect"):
        for i in range(8):
            forge_syn(network.client, "192.0.2.77", addresses[0], 1000 + 100 * i)  # within the window
        assert re.search(r"dport 25 counter packets [1-9].* redirect", network.router.run(
            "nft", "list", "table", "inet", "danelaw"))
        for _ in range(3):
            assert dial(network.client, addresses[0]) == taken(addresses[0])


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_routed_connections_without_an_address_for_them(network, addresses, tmp_path, fail):
    """To loopback nothing is routed from elsewhere."""
    load(network.router, tmp_path, "redirect", "--fail", fail, listen=("127.0.0.1", "[::1]"),
         warning="only loopback in listen")
    with unloading(network.router, tmp_path, "redirect"), taker(network, "redirect"):
        for address in addresses:
            answer = dial(network.client, address)
            assert answer == "refused" if fail == "closed" else is_direct(answer)


@pytest.mark.parametrize("mode", MODES)
def test_a_family_without_an_address_is_refused(network, mode, addresses, tmp_path):
    load(network.router, tmp_path, mode, listen=("0.0.0.0",), warning="no such address in listen")
    with unloading(network.router, tmp_path, mode), taker(network, mode):
        assert dial(network.client, addresses[0]) == taken(addresses[0])
        assert dial(network.client, addresses[1]) == "refused"


@pytest.mark.parametrize("fail", ["closed", "open"])
def test_tproxy_does_not_take_programs_of_the_router(network, addresses, tmp_path, fail):
    own = "%s %s" % (netlab.ROUTER, netlab.ROUTER6)
    with network.router.inside():
        done = danelaw_nft(tmp_path, "tproxy", "--fail", fail, clients=own)
    assert "tproxy takes no connections of programs of this host" in done.stderr
    network.router.run("nft", "-f", "-", input=done.stdout)
    with unloading(network.router, tmp_path, "tproxy"), taker(network, "tproxy"):
        for address in addresses:
            answer = dial_as(network.router, "nobody", address)
            assert answer == "refused" if fail == "closed" else is_direct(answer)
            assert is_direct(dial_as(network.router, "danelaw", address))


def test_other_peoples_bits_of_the_mark_survive(network, addresses, tmp_path):
    network.router.run("nft", "-f", "-", input="""table inet others {
        chain first { type filter hook prerouting priority raw; meta mark set 0x54003; }
        chain last { type filter hook input priority filter;
            tcp dport 25 meta mark 0x542ee counter comment "kept"; }
    }""")
    load(network.router, tmp_path, "tproxy")
    with unloading(network.router, tmp_path, "tproxy"), taker(network, "tproxy"):
        for address in addresses:
            assert dial(network.client, address) == taken(address)
        assert re.search(r'packets [1-9].*"kept"', network.router.run(
            "nft", "list", "table", "inet", "others"))
    network.router.run("nft", "delete", "table", "inet", "others")


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_user_whom_others_share_is_told(tmp_path, user):
    done = danelaw_nft(tmp_path, "redirect", user=user)
    assert done.returncode == 0 and "danelaw runs as %s" % user in done.stderr
    assert "skuid %d accept  # %s" % (pwd.getpwnam(user).pw_uid, user) in done.stdout


def test_nothing_to_print_is_a_mistake_of_the_configuration(tmp_path):
    none = {"listener plain": {"listen": "127.0.0.1:2525"}}
    for option in ((), ("--routing",)):
        done = danelaw_nft(tmp_path, None, *option, conf=none)
        assert done.returncode == 78 and not done.stdout
        assert "intercept = redirect" in done.stderr and "clients = " in done.stderr


@pytest.mark.parametrize("options", [("--fail", "ajar"), ("--fail",), ("x",), ("--fast",)])
def test_usage(tmp_path, options):
    assert danelaw_nft(tmp_path, "redirect", *options).returncode == 64


def test_a_family_without_clients_is_told(tmp_path):
    done = danelaw_nft(tmp_path, "redirect", clients="192.0.2.0/24")
    assert done.returncode == 0 and "IPv6 has no clients" in done.stderr


# ---- what packaging/ has for it ----

PACKAGING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/")


def packaged(name):
    with open(PACKAGING + name) as f:
        return f.read()


def unit_command(key, path):
    """What the service manager would run, with this program and folder for its own."""
    line = re.search(r"^%s=/bin/sh (-e?c) '(.*)'$" % key, packaged("danelaw-nft.service"), re.M)
    script = line[2].replace("danelaw nft ", "%s nft -c %s/nft.conf " % (PROGRAM, path))
    script = script.replace("/usr/local/share/danelaw/", PACKAGING)
    return ["sh", line[1], script.replace("/run/danelaw-nft", str(path))]


@pytest.mark.parametrize("mode", MODES)
def test_the_unit_sets_up_reloads_and_undoes(network, mode, addresses, tmp_path):
    def state():
        return state_of(network.router)
    before = state()
    danelaw_nft(tmp_path, mode)  # leaves the configuration there
    network.router.run(*unit_command("ExecStart", tmp_path))
    network.router.run(*unit_command("ExecReload", tmp_path))
    with taker(network, mode):
        for address in addresses:
            assert dial(network.client, address) == taken(address)
    network.router.run(*unit_command("ExecStop", tmp_path))
    assert state() == before


def run_unit(host, key, path):
    return subprocess.run([*host.wrap, *unit_command(key, path)], capture_output=True, text=True)


def test_the_unit_fails_closed(network, addresses, tmp_path):
    """At boot and after a flush by nftables.service; rules that are loaded stay."""
    def break_it():
        danelaw_nft(tmp_path, None, conf={"listener plain": {"listen": "127.0.0.1:2525"}})

    def is_closed(key):
        done = run_unit(network.router, key, tmp_path)
        assert "<3>danelaw-nft: port 25 is closed" in done.stderr
        for address in addresses:
            assert dial(network.client, address) == dial(network.router, address) == "refused"
        with Taker(network.lan, 25, True):
            assert dial(network.client, netlab.LAN) == taken(netlab.LAN)
        return done.returncode
    break_it()
    with unloading(network.router, tmp_path, "redirect"), taker(network, "redirect"):
        assert is_closed("ExecStart") == 0  # active: it is reloaded with nftables.service
        danelaw_nft(tmp_path, "redirect")
        assert run_unit(network.router, "ExecReload", tmp_path).returncode == 0
        assert dial(network.client, addresses[0]) == taken(addresses[0])
        break_it()
        assert run_unit(network.router, "ExecReload", tmp_path).returncode == 1
        assert dial(network.client, addresses[0]) == taken(addresses[0])
        network.router.run("nft", "flush", "ruleset")
        assert is_closed("ExecReload") == 1


def test_a_flush_that_includes_the_rules_leaves_no_gap(network, addresses, tmp_path):
    flush = 'flush ruleset\ninclude "%s/*.nft"\n' % tmp_path
    network.router.run("nft", "-f", "-", input=flush)  # at boot there are none yet
    danelaw_nft(tmp_path, "redirect")
    with unloading(network.router, tmp_path, "redirect"), taker(network, "redirect"):
        assert run_unit(network.router, "ExecStart", tmp_path).returncode == 0
        network.router.run("nft", "-f", "-", input=flush)
        assert dial(network.client, addresses[0]) == taken(addresses[0])


@pytest.fixture(params=[0, 1], ids=["bridge", "br_netfilter"])
def bridged(request, network):
    """guest ── bridge ── router: one network, the bridge with an address in it; without and with
    br_netfilter, by which the rules see bridged packets, too."""
    bridge, guest = netlab.Host("bridge"), netlab.Host("guest")
    for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        bridge.sysctl(key, 1)
    for host in (bridge, guest):
        host.sysctl("ipv6/conf/default/accept_dad", 0)
    for key in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
        bridge.sysctl("bridge/" + key, request.param)
    bridge.br_netfilter = request.param
    network.link("far", network.router, "p2", bridge)
    network.link("p1", bridge, "eth0", guest)
    bridge.run("ip", "link", "add", "br0", "address", "02:25:00:00:00:01", "type", "bridge")
    for port in ("p1", "p2"):
        bridge.run("ip", "link", "set", port, "master", "br0", "up")
    network.router.address("far", "198.51.100.1/24", "2001:db8:e::1/64")
    bridge.address("br0", "198.51.100.2/24", "2001:db8:e::2/64")
    guest.address("eth0", "198.51.100.10/24", "2001:db8:e::10/64")
    for host in (bridge, guest):
        host.route("0.0.0.0/0", "198.51.100.1")
        host.route("::/0", "2001:db8:e::1")
    netlab.HERE.route("198.51.100.0/24", netlab.ROUTER)
    netlab.HERE.route("2001:db8:e::/64", netlab.ROUTER6)
    yield bridge, guest
    netlab.HERE.run("ip", "route", "del", "198.51.100.0/24")
    netlab.HERE.run("ip", "route", "del", "2001:db8:e::/64")
    guest.stop()
    bridge.stop()
    wait(lambda: "far" not in network.router.run("ip", "link"), 5, "the cable is gone")


@pytest.mark.parametrize("mode", MODES)
def test_on_a_bridge(network, bridged, mode, addresses, tmp_path):
    bridge, guest = bridged
    clients = "198.51.100.10 2001:db8:e::10"
    load(bridge, tmp_path, mode, clients=clients)
    for address in addresses if not bridge.br_netfilter else ():  # not before it is handed up
        assert is_direct(dial(guest, address))
    bridge.run("nft", "-f", "-", input=packaged("danelaw-bridge.nft"))
    with Taker(bridge, PORT, mode == "tproxy"):
        if bridge.br_netfilter and mode == "tproxy":  # as the guide says: not both; it fails closed
            assert dial(guest, addresses[0], timeout=1) == "silent"
            return
        for address in addresses:
            assert dial(guest, address) == taken(address)
            assert dial(guest, address, 26) == "refused"
    for address in addresses:
        assert dial(guest, address) == "refused"
    bridge.run("nft", "delete", "table", "bridge", "danelaw")
    bridge.run("nft", "delete", "table", "inet", "danelaw")
    for address in addresses:
        assert is_direct(dial(guest, address))


MARKER = 0x25da4e1a
ALL_FRAMES = socket.htons(3)


def tagged_syn(source_mac, target_mac, port, six, tags):
    """In so many VLANs, its sequence number MARKER; checksums are nothing to a bridge."""
    tcp = struct.pack("!HHIIBBHHH", 44444, port, MARKER, 0, 5 << 4, 2, 65535, 0, 0)
    tag = struct.pack("!HH", 0x8100, 5) * tags + struct.pack("!H", 0x86dd if six else 0x0800)
    if six:
        ip = struct.pack("!IHBB", 6 << 28, len(tcp), 6, 64) + b"".join(
            socket.inet_pton(socket.AF_INET6, "2001:db8:f::%d" % i) for i in (10, 1))
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, 6, 0)
        ends = socket.inet_aton("198.51.101.10") + socket.inet_aton("198.51.101.1")
        total = sum(struct.unpack("!10H", head + ends))  # a bridge looks at this one
        ip = head[:10] + struct.pack("!H", 0xffff & ~((total & 0xffff) + (total >> 16))) + ends
    return target_mac + source_mac + tag + ip + tcp


def passes_tagged(network, guest, port, six, tags):
    with network.router.inside():
        far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, ALL_FRAMES)
    with guest.inside():
        near = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with far, near:
        far.bind(("far", 3))
        far.settimeout(0.5)
        near.bind(("eth0", 0))
        near.send(tagged_syn(near.getsockname()[4], far.getsockname()[4], port, six,
                             tags))
        with contextlib.suppress(socket.timeout):
            for _ in range(100):
                if struct.pack("!I", MARKER) in far.recv(2048):
                    return True
    return False


def test_tagged_frames_do_not_pass_the_bridge(network, bridged):
    bridge, guest = bridged
    kinds = [(six, tags) for six in (False, True) for tags in (1, 2)]
    for kind in kinds:
        assert passes_tagged(network, guest, 25, *kind)
    bridge.run("nft", "-f", "-", input=packaged("danelaw-bridge.nft"))
    for kind in kinds:
        assert not passes_tagged(network, guest, 25, *kind)
        assert passes_tagged(network, guest, 26, *kind)


def test_the_guide_has_the_commands_that_are_tested():
    for command in ("danelaw nft | nft -f -", "danelaw nft --routing | sh", "sh -s undo",
                    "nft delete table inet danelaw", "nft delete table bridge danelaw"):
        assert command in packaged("TRANSPARENT.md"), command
