"""Proves the hosts of netlab.py with danelaw nowhere near: names, routes, both families, addresses."""
import socket

import pytest

import netlab
from exim import DNSLOOKUP, EximClient
from postfix import PostfixClient
from siteresolver import SITE_RESOLVER, SiteResolver
from smtp import Smtp, send
from zones import UNSIGNED

SIX = "netlab6.plain"


def declare(lab):
    lab.domain("netlab.plain", how=UNSIGNED)
    six = lab.address6()
    lab.zone(SIX, "@ MX 10 mx\nmx AAAA %s\n" % six, UNSIGNED)
    lab.postfix.service(six, "mx." + SIX, lab.cert("mx." + SIX))
    lab.netlab_six = six


@pytest.fixture(scope="module")
def resolver(lab, network):
    lying = SiteResolver(lab, ["netlab-lie.plain. MX 10 mx.netlab.plain."])
    network.client.resolve_with(SITE_RESOLVER)
    yield lying
    lying.stop()


def test_the_client_reaches_the_internet_and_is_seen_by_its_address(lab, network):
    for server, name, address in ((lab["netlab.plain"].address, "netlab.plain", netlab.CLIENT),
                                  (lab.netlab_six, SIX, netlab.CLIENT6)):
        with network.client.inside():
            assert send("b@" + name, server=(server, 25)).code == 250
        top = lab.postfix.maildir.wait_for("b@" + name)[0]
        assert ("[%s]" % address if ":" not in address else "[IPv6:%s]" % address).encode() in top


def test_a_thread_comes_back_from_another_host(lab, network):
    with network.client.inside():
        pass
    Smtp((lab["netlab.plain"].address, 25)).close()


def test_the_neighbour_is_reached_over_the_router(network):
    for address in (netlab.LAN, netlab.LAN6):
        with network.client.inside(), pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, 25), 5)


def test_the_site_resolver_lies_where_told(network, resolver):
    assert "mx.netlab.plain." in resolver.ask("netlab.plain", "MX")[0].to_text()
    with network.client.inside():
        assert "mx.netlab.plain." in resolver.ask("netlab-lie.plain", "MX")[0].to_text()


def test_stock_senders_find_their_way(lab, network, resolver):
    senders = [PostfixClient(lab.new_folder("netlab-postfix"), "", network.client),
               EximClient(lab.new_folder("netlab-exim"), DNSLOOKUP, network.client)]
    for n, sender in enumerate(senders, 1):
        sender.start()
        try:
            with network.client.inside():
                assert send("p%d@netlab.plain" % n, server=("127.0.0.1", 2500 + n)).code == 250
            lab["netlab.plain"].delivered("p%d" % n)
        finally:
            sender.stop()
