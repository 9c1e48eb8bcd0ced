"""The server's side of TLS with every record made by hand, once the handshake is over.

    c.sock = Records(c.sock, c.mx.context(c.mx.cert))        # shakes hands; c: a Conversation (fakemx.py)
    c.say("250 ok")                                          # one record
    c.sock.send(HANDSHAKE, KEY_UPDATE)
    c.sock.change_key()

OpenSSL shakes hands and reads; what is sent is sealed here with the keys that it has logged (RFC 8446
sections 5 and 7.2, 7.3; RFC 5246 section 6.3, RFC 5288), so that a server may say what no library would.
"""
import hashlib
import hmac
import ssl
import struct
import tempfile

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ALERT, HANDSHAKE, DATA = 21, 22, 23
HELLO_REQUEST = b"\0\0\0\0"
KEY_UPDATE, KEY_UPDATE_REQUESTED = b"\x18\0\0\1\0", b"\x18\0\0\1\1"
TICKET = b"\x04\0\0\x1b" + struct.pack(">IIB8sH", 7200, 1, 8, b"nonce123", 6) + b"ticket\0\0"
SUITES = {"TLS_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"}


def expand_label(secret, label, size):
    """HKDF-Expand-Label with an empty context; all that is wanted fits into one block of SHA-384."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha384).digest()[:size]


def prf(secret, seed, size):
    """P_SHA384 of RFC 5246 section 5."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.new(secret, a, hashlib.sha384).digest()
        out += hmac.new(secret, a + seed, hashlib.sha384).digest()
    return out[:size]


class Records:
    def __init__(self, sock, context):
        context.num_tickets = 0  # they would be records
        self.sock, self.session_reused, self.number = sock, False, 0
        self.incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with tempfile.NamedTemporaryFile("r") as keys:
            context.keylog_filename = keys.name
            self.tls = context.wrap_bio(self.incoming, outgoing, server_side=True)
            hello = self._shake_hands(outgoing)
            logged = dict(line.split(" ", 1) for line in keys if line[0] != "#")
        assert self.tls.cipher()[0] in SUITES, self.tls.cipher()
        if self.tls.version() == "TLSv1.3":
            self._set_secret(bytes.fromhex(logged["SERVER_TRAFFIC_SECRET_0"].split()[1]))
        else:
            self._set_keys(logged["CLIENT_RANDOM"].split(), hello[11:43])

    def _shake_hands(self, outgoing):
        """Returns what was sent; its beginning is the ServerHello."""
        sent = b""
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            ready = outgoing.read()
            self.sock.sendall(ready)
            sent += ready
            if done:
                return sent
            self._receive()

    def _receive(self):
        data = self.sock.recv(65536)
        self.incoming.write(data)
        if not data:
            self.incoming.write_eof()

    # ---- keys ----

    def _set_secret(self, secret):
        self.secret, self.number = secret, 0
        self.key, self.iv = AESGCM(expand_label(secret, b"key", 32)), expand_label(secret, b"iv", 12)

    def change_key(self):
        """What a key update announces (RFC 8446 section 7.2)."""
        self._set_secret(expand_label(self.secret, b"traffic upd", 48))

    def _set_keys(self, logged, server_random):
        """The server's of RFC 5246 section 6.3; one record, its Finished, has been sealed with them."""
        client_random, master = map(bytes.fromhex, logged)
        block = prf(master, b"key expansion" + server_random + client_random, 72)
        self.secret, self.key, self.iv, self.number = None, AESGCM(block[32:64]), block[68:72], 1

    # ---- records ----

    def seal(self, kind, data):
        number, self.number = self.number, self.number + 1
        if self.secret:
            head = struct.pack(">BHH", DATA, 0x303, len(data) + 17)
            nonce = bytes(a ^ b for a, b in zip(self.iv, struct.pack(">4xQ", number)))
            return head + self.key.encrypt(nonce, data + bytes([kind]), head)
        explicit = struct.pack(">Q", number)
        sealed = self.key.encrypt(self.iv + explicit, data,
                                  explicit + struct.pack(">BHH", kind, 0x303, len(data)))
        return struct.pack(">BHH", kind, 0x303, len(sealed) + 8) + explicit + sealed

    def send(self, kind, data):
        self.sock.sendall(self.seal(kind, data))

    # ---- as a socket, for Conversation ----

    def sendall(self, data):
        self.send(DATA, data)

    def recv(self, size):
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self._receive()
            except ssl.SSLError:  # close_notify, or an alert
                return b""

    def __getattr__(self, name):
        return getattr(self.sock, name)
