"""An SMTP client for tests: commands with expected codes, raw octets, and a transcript.

    with Smtp() as c:                       # connects to danelaw, reads the 220, says EHLO
        c("MAIL FROM:<a@client.lab>", 250)
        reply = c("RCPT TO:<b@good.lab>", 250)
        c.raw(b"DATA\\r\\n", split=3)         # octets in segments of three
        c.reply(354)

    reply = send("b@good.lab", b"Subject: x\\r\\n\\r\\ntext\\r\\n")     # a whole message

A reply is a string with `.code` and `.lines`; an unexpected one fails with the transcript.
"""
import socket
import time

DANELAW = ("127.0.0.1", 2525)
MESSAGE = b"From: a@client.lab\r\nSubject: lab\r\n\r\nHello.\r\n"


class Reply(str):
    @property
    def code(self):
        return int(self[:3])

    @property
    def lines(self):
        return [line[4:] for line in self.split("\n")]


class Smtp:
    def __init__(self, server=DANELAW, ehlo="client.lab", timeout=30, source=None):
        self.transcript = []
        self.extensions = []
        self.buffer = b""
        self.sock = socket.create_connection(server, timeout, source_address=source)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ehlo:
            self.reply(220)
            self.extensions = self("EHLO " + ehlo, 250).lines[1:]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __call__(self, line, *codes):
        """Sends one command and returns its reply, which must have one of the codes, if any."""
        self.raw(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply(*codes)

    def raw(self, data, split=None):
        self.transcript.append("C: %r" % data[:120])
        if not split:
            self.sock.sendall(data)
            return
        for i in range(0, len(data), split):
            self.sock.sendall(data[i:i + split])
            time.sleep(0.002)

    def reply(self, *codes):
        lines = []
        while not lines or lines[-1][3:4] == "-":
            lines.append(self._line())
        reply = Reply("\n".join(lines))
        self.transcript.append("S: " + reply)
        assert not codes or reply.code in codes, "wanted %s\n%s" % (codes, self)
        return reply

    def data(self, message, *codes):
        """DATA, the message dot-stuffed, and the final reply."""
        self("DATA", 354)
        self.raw(stuff(message))
        return self.reply(*codes)

    def is_closed(self, seconds=10):
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.sock.close()

    def __str__(self):
        return "\n".join(self.transcript[-40:])

    def _line(self):
        while b"\r\n" not in self.buffer:
            data = self.sock.recv(4096)
            assert data, "connection closed\n%s" % self
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("utf-8", "surrogateescape")


def stuff(message):
    """As on the wire: dots doubled, final dot added. `message` is empty or ends with CRLF."""
    text = message.replace(b"\r\n.", b"\r\n..")
    return (b"." if text.startswith(b".") else b"") + text + b".\r\n"


def send(recipients, message=MESSAGE, sender="a@client.lab", mail="", server=DANELAW, timeout=60):
    """Sends a message and returns the reply that decided about it: of RCPT, or of the final dot."""
    if isinstance(recipients, str):
        recipients = [recipients]
    with Smtp(server, timeout=timeout) as c:
        reply = c("MAIL FROM:<%s>%s" % (sender, mail and " " + mail))
        if reply.code != 250:
            return reply
        replies = [c("RCPT TO:<%s>" % r) for r in recipients]
        if not any(r.code == 250 for r in replies):
            return replies[0]
        reply = c.data(message)
        c("QUIT", 221)
        return reply
