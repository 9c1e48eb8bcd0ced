"""Name servers that misbehave: relays that stand before NSD and change, drop or delay answers.

    relay = DnsRelay("198.18.0.100", drop("TLSA"))
    dns.zone("drops.lab", records, address=relay.address)
    relay.asked("TLSA")          # the names that were asked for, to prove what was not

A twist gets the query (dns.message) and a function that fetches the honest answer; it returns the
answer to send, or None for silence. Twists are combined by writing a function.
"""
import socket
import socketserver
import struct
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

NSD = "198.18.0.3"
SIGNATURES = tuple(map(dns.rdatatype.from_text, ("RRSIG", "DNSKEY", "NSEC", "NSEC3", "DS")))


def honest(query, fetch):
    return fetch()


def silent(query, fetch):
    return None


def drop(*types):
    return lambda query, fetch: None if qtype(query) in types else fetch()


def slow(seconds, *types):
    def twist(query, fetch):
        if not types or qtype(query) in types:
            time.sleep(seconds)
        return fetch()
    return twist


def fail(rcode, *types):
    """Answers SERVFAIL, REFUSED, NOTIMP... for these types, or for all."""
    def twist(query, fetch):
        if types and qtype(query) not in types:
            return fetch()
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.from_text(rcode))
        return answer
    return twist


def strip_signatures(query, fetch):
    """A middlebox that knows no DNSSEC."""
    answer = fetch()
    for section in (answer.answer, answer.authority, answer.additional):
        section[:] = [rrset for rrset in section if rrset.rdtype not in SIGNATURES]
    return answer


def forge_ad(query, fetch):
    answer = fetch()
    answer.flags |= dns.flags.AD
    return answer


def deny(*types):
    """Forged NXDOMAIN for these types: no proof comes with it."""
    def twist(query, fetch):
        if qtype(query) not in types:
            return fetch()
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA
        answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
    return twist


def truncate(*types):
    """UDP answers are cut; the same answer over TCP is whole."""
    def twist(query, fetch):
        if query.lab_is_tcp or (types and qtype(query) not in types):
            return fetch()
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer
    return twist


def qtype(query):
    return dns.rdatatype.to_text(query.question[0].rdtype)


class DnsRelay:
    def __init__(self, address, twist=honest, upstream=NSD):
        self.address, self.twist, self.upstream = address, twist, upstream
        self.queries = []  # (name, type)
        self.servers = [server(self, address) for server in (UdpServer, TcpServer)]
        for s in self.servers:
            threading.Thread(target=s.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()

    def asked(self, rdtype):
        return [name for name, asked_type in self.queries if asked_type == rdtype]

    def answer(self, wire, is_tcp):
        query = dns.message.from_wire(wire)
        query.lab_is_tcp = is_tcp
        question = query.question[0]
        self.queries.append((question.name.to_text().lower(), qtype(query)))
        ask = dns.query.tcp if is_tcp else dns.query.udp
        reply = self.twist(query, lambda: ask(query, self.upstream, timeout=5))
        return reply and reply.to_wire(max_size=65535)


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads, allow_reuse_address, max_packet_size = True, True, 65535

    def __init__(self, relay, address):
        self.relay = relay
        super().__init__((address, 53), UdpHandler)


class UdpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        wire, sock = self.request
        reply = self.server.relay.answer(wire, False)
        if reply:
            sock.sendto(reply, self.client_address)


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address = True, True

    def __init__(self, relay, address):
        self.relay = relay
        super().__init__((address, 53), TcpHandler)


class TcpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        while head := self.request.recv(2, socket.MSG_WAITALL):
            wire = self.request.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
            reply = self.server.relay.answer(wire, True)
            if reply is None:
                time.sleep(30)  # silent: the connection stays open
                return
            self.request.sendall(struct.pack("!H", len(reply)) + reply)
