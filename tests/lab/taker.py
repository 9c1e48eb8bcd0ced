"""A plain listener in danelaw's place: it tells each client whom that has dialled, and nothing else.

    with Taker(network.router, 2526, transparent=True):
        dial(network.client, "198.18.1.1")         # "220 taken for 198.18.1.1:25"
"""
import contextlib
import socket
import struct
import threading

SO_ORIGINAL_DST = 80
IPV6_TRANSPARENT = 75
IP_TRANSPARENT = 19


class Taker:
    def __init__(self, host, port, transparent=False):
        self.transparent = transparent
        with host.inside():
            self.sockets = [self._listen("0.0.0.0", socket.AF_INET, port),
                            self._listen("::", socket.AF_INET6, port)]
        self.threads = [threading.Thread(target=self._serve, args=(s,)) for s in self.sockets]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        for s in self.sockets:
            s.shutdown(socket.SHUT_RDWR)
            s.close()
        for thread in self.threads:
            thread.join(5)

    def _listen(self, address, family, port):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self.transparent and family == socket.AF_INET:
            s.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        if self.transparent and family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        s.bind((address, port))
        s.listen()
        return s

    def _serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                s, _ = listener.accept()
                with s, contextlib.suppress(OSError):
                    s.sendall(b"220 taken for %s:%d\r\n" % self._original(s))

    def _original(self, s):
        if self.transparent:
            address, port = s.getsockname()[:2]
            return address.encode(), port
        if s.family == socket.AF_INET:
            raw = s.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            port, address = struct.unpack("!2xH4s8x", raw)
        else:
            raw = s.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            port, address = struct.unpack("!2xH4x16s4x", raw)
        return socket.inet_ntop(s.family, address).encode(), port


def dial(host, address, port=25, timeout=8):
    """What answers there: its first line, "refused", or "silent"."""
    with host.inside():
        try:
            with socket.create_connection((address, port), timeout) as s:
                return s.makefile("rb").readline().decode().strip()
        except (ConnectionRefusedError, ConnectionResetError):
            return "refused"
        except socket.timeout:
            return "silent"
