"""A receiver that does what a test tells it, in threads, and remembers every octet.

    mx = FakeMx("198.18.9.1", cert)                       # polite: STARTTLS, accepts everything
    mx = FakeMx("198.18.9.1", cert, replies={"STARTTLS": "454 4.7.0 later"})
    mx = FakeMx("198.18.9.1", cert, script=my_script)     # def my_script(c): c.say("220 hi") ...

    mx.messages          what was accepted: .sender .recipients .data (as on the wire, dots removed)
    mx.clear, mx.secret  all octets received before and after TLS, of all connections
    mx.connections       each with .peer, an address, and .log, a list of lines "C: ..." and "S: ...",
                         in TLS "C+ ..."
"""
import socket
import ssl
import threading
import time
from types import SimpleNamespace

EHLO = ("PIPELINING", "SIZE 60000000", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8")


class Gone(Exception):
    """The client has closed, or the server is being stopped."""


class FakeMx:
    def __init__(self, address, cert=None, *, port=25, ehlo=EHLO, ehlo_tls=None, replies=None,
                 inject=b"", tls=None, script=None, tickets=False):
        """`replies` answers a verb otherwise: text, or a function of (conversation, line).
        `inject` follows the 220 to STARTTLS in the same segment. `tls` sets attributes of the
        SSLContext, with `ciphers` for set_ciphers. `ehlo_tls`: EHLO list inside TLS. `tickets`:
        it knows the TLS sessions of its earlier connections."""
        self.address, self.cert, self.ehlo, self.inject = address, cert, ehlo, inject
        self.ehlo_tls = ehlo if ehlo_tls is None else ehlo_tls
        self.replies = replies or {}
        self.tls = tls or {}
        self.kept_context = None if tickets else False
        self.script = script or polite
        self.connections, self.messages, self.snis = [], [], []
        self.stopping = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family, backlog=128)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    @property
    def clear(self):
        return b"".join(c.clear for c in self.connections)

    @property
    def secret(self):
        return b"".join(c.secret for c in self.connections)

    def stop(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.acceptor.join(5)
        self.listener.close()
        for c in self.connections:
            c.close()

    def context(self, cert):
        if self.kept_context is False:
            return self.new_context(cert)
        if self.kept_context is None:
            self.kept_context = self.new_context(cert)
        return self.kept_context

    def new_context(self, cert):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, value in self.tls.items():
            if name == "ciphers":
                context.set_ciphers(value)
            else:
                setattr(context, name, value)
        context.load_cert_chain(cert.chain, cert.key)
        context.sni_callback = lambda sock, name, ctx: self.snis.append(name)
        return context

    def _accept(self):
        while True:
            try:
                sock, peer = self.listener.accept()
            except OSError:  # stop() has shut it
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            c = Conversation(self, sock, peer[0])
            self.connections.append(c)
            threading.Thread(target=c.run, daemon=True).start()


class Conversation:
    def __init__(self, mx, sock, peer):
        self.mx, self.sock, self.peer = mx, sock, peer
        sock.settimeout(60)
        self.is_tls = self.is_resumed = False
        self.log, self.clear, self.secret, self.buffer = [], bytearray(), bytearray(), b""

    def run(self):
        try:
            self.mx.script(self)
        except (Gone, OSError) as e:
            self.log.append("-- %s: %s" % (type(e).__name__, e))
        finally:
            self.close()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    # ---- what scripts use ----

    def say(self, *lines):
        """Sends whole lines; strings get CRLF, bytes go as they are."""
        data = b"".join(x if isinstance(x, bytes) else x.encode("utf-8") + b"\r\n" for x in lines)
        self.log.append(("S+ %r" if self.is_tls else "S: %r") % data[:200])
        self.sock.sendall(data)

    def hear(self):
        """One line without its CRLF."""
        while b"\r\n" not in self.buffer:
            self.buffer += self._read()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        self.log.append(("C+ %r" if self.is_tls else "C: %r") % line[:200])
        return line.decode("utf-8", "surrogateescape")

    def expect(self, verb):
        line = self.hear()
        if not line.upper().startswith(verb):
            self.log.append("-- expected %s" % verb)
            raise Gone("expected %s, heard %r" % (verb, line))
        return line

    def hear_data(self):
        """Octets up to the final dot, dots removed."""
        text, self.buffer, searched = bytearray(b"\r\n" + self.buffer), b"", 0
        while (end := text.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(text) - 4)
            text += self._read(1 << 20)
        self.buffer = bytes(text[end + 5:])
        self.log.append("C  %d octets of data" % end)
        return bytes(text[:end + 2]).replace(b"\r\n.", b"\r\n")[2:]

    def start_tls(self, cert=None):
        """Call after the 220. What came in clear after STARTTLS is kept, as a bad server would."""
        self.sock = self.mx.context(cert or self.mx.cert).wrap_socket(self.sock, server_side=True)
        self.is_tls, self.is_resumed = True, self.sock.session_reused
        self.log.append("-- %s %s" % (self.sock.version(), (self.sock.cipher() or "-")[0]))

    def stall(self, seconds=600):
        self.mx.stopping.wait(seconds)

    def _read(self, size=65536):
        data = self.sock.recv(size)
        if not data:
            raise Gone("closed by the client")
        heard = self.secret if self.is_tls else self.clear
        if len(heard) < 1 << 20:
            heard += data
        return data


def polite(c):
    """An ordinary receiver, with the exceptions that the test asked for."""
    c.say(c.mx.replies.get("", "220 %s ESMTP fake" % c.mx.address))
    serve(c)


def serve(c):
    envelope = SimpleNamespace(sender=None, recipients=[])
    while True:
        line = c.hear()
        verb = line.split(" ")[0].upper()
        reply = c.mx.replies.get(verb) or c.mx.replies.get(verb + "+" if c.is_tls else verb)
        if callable(reply):
            reply = reply(c, line)
        if reply:
            c.say(reply)
            if not (verb == "STARTTLS" and reply.startswith("220")):
                continue
        if verb == "QUIT":
            c.say("221 2.0.0 bye")
            return
        ANSWERS.get(verb, unknown)(c, line, envelope)


def ehlo(c, line, envelope):
    words = list(c.mx.ehlo_tls if c.is_tls else c.mx.ehlo)
    if c.mx.cert and not c.is_tls:
        words.append("STARTTLS")
    lines = ["fake greets you"] + words
    c.say(*["250-" + w for w in lines[:-1]], "250 " + lines[-1])


def starttls(c, line, envelope):
    if "STARTTLS" not in c.mx.replies:
        c.say(b"220 2.0.0 go\r\n" + c.mx.inject)
    c.start_tls()


def mail(c, line, envelope):
    envelope.sender, envelope.recipients = path(line), []
    c.say("250 2.1.0 ok")


def rcpt(c, line, envelope):
    envelope.recipients.append(path(line))
    c.say("250 2.1.5 ok")


def data(c, line, envelope):
    if not envelope.recipients:
        c.say("503 5.5.1 no recipients")
        return
    c.say("354 go on")
    text = c.hear_data()
    final = c.mx.replies.get(".", "250 2.0.0 queued as fake-%d" % (len(c.mx.messages) + 1))
    if callable(final):
        final = final(c, text)
    if final.startswith("250"):
        c.mx.messages.append(SimpleNamespace(sender=envelope.sender, data=text, time=time.time(),
                                             recipients=list(envelope.recipients), is_tls=c.is_tls))
    envelope.recipients = []
    c.say(final)


def rset(c, line, envelope):
    envelope.sender, envelope.recipients = None, []
    c.say("250 2.0.0 ok")


def unknown(c, line, envelope):
    c.say("500 5.5.2 what?")


def path(line):
    return line[line.index("<") + 1:line.index(">")]


ANSWERS = {"EHLO": ehlo, "HELO": lambda c, line, e: c.say("250 fake"), "STARTTLS": starttls,
           "MAIL": mail, "RCPT": rcpt, "DATA": data, "RSET": rset,
           "NOOP": lambda c, line, e: c.say("250 2.0.0 ok")}
