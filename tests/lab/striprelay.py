"""A man in the middle of a TCP connection who takes STARTTLS out of the EHLO reply."""
import socket
import threading


class StripRelay:
    """Listens where the MX host should be, and relays to the real receiver."""

    def __init__(self, address, target):
        self.target = target
        self.clear = bytearray()  # what clients have sent through it
        self.listener = socket.create_server((address, 25))
        self.listener.settimeout(0.1)
        self.stopping = threading.Event()
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def stop(self):
        self.stopping.set()
        self.acceptor.join(5)
        self.listener.close()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                client, _ = self.listener.accept()
            except socket.timeout:
                continue
            client.settimeout(None)
            server = socket.create_connection((self.target, 25), 10)
            server.settimeout(None)
            for pair in ((client, server, self._listen), (server, client, strip)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    def _listen(self, data):
        self.clear += data
        return data


def strip(data):
    return data.replace(b"250-STARTTLS\r\n", b"")


def copy(source, sink, change):
    try:
        while data := source.recv(65536):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()
