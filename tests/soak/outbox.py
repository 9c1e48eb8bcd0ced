"""Clients of a soak: mail servers that keep what was not confirmed and bring it again.

Every recipient is the message's own ("m3-17@one.soak.lab"), so that the log of danelaw, its notices
and the next hops all say which message they speak of.
"""
import itertools
import random
import threading
import time

from chaos import DOMAINS
from smtp import Smtp, stuff

END = b"the end\r\n"
SIZES = (1, 1, 1, 20, 2000)
KEEP = 6  # messages that wait to be brought again; older ones are given up
PATIENCE = 5  # seconds before what was not heard of is brought again: no mail server is quicker

CONFIRMED, REFUSED, OURS = "confirmed", "refused", "still with its client"


class Message:
    def __init__(self, key):
        self.key = key
        domains = random.sample(DOMAINS, random.choice((1, 1, 2, 3)))
        self.fates = {"%s@%s" % (key, d): OURS for d in domains}
        head = "From: <%s@back.lab>\r\nMessage-ID: <%s@client.lab>\r\nSubject: %s\r\n\r\n"
        self.text = (head % (key, key, key)).encode()
        self.text += b"0123456789abcdef" * 4 * random.choice(SIZES) + b"\r\n" + END
        self.unheard = []  # when a reply to the final dot got lost, by whomever

    def left(self):
        return [to for to, fate in self.fates.items() if fate == OURS]


class Sender(threading.Thread):
    """`vanishes`: leaves after some final dots without hearing the reply. While `full` is set it has
    nothing to send."""

    def __init__(self, name, server, stopping, full, lmtp=False, vanishes=0.03):
        super().__init__(daemon=True)
        self.prefix, self.server, self.stopping, self.full = name, server, stopping, full
        self.lmtp, self.vanishes = lmtp, vanishes
        self.messages, self.waiting, self.surprises = [], [], []
        self.tries = 0
        self.numbers = itertools.count()
        self.pause, self.paused = threading.Event(), threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                with Smtp(self.server, ehlo=None, timeout=12) as c:
                    c.reply(220)
                    c("%s client.lab" % ("LHLO" if self.lmtp else "EHLO"), 250)
                    while not self.stopping.is_set() and not self.pause.is_set():
                        if self.full.is_set():
                            time.sleep(0.05)
                        else:
                            self.try_one(c)
                    c("QUIT", 221)
            except (OSError, AssertionError) as e:
                if "wanted" in str(e) and "421" not in str(e):
                    self.surprises.append(str(e))
                time.sleep(0.01)
            while self.pause.is_set() and not self.stopping.is_set():
                self.paused.set()
                time.sleep(0.05)
            self.paused.clear()

    def next_message(self):
        due = [m for m in self.waiting if not m.unheard or m.unheard[-1] + PATIENCE < time.time()]
        if due and random.random() < 0.5:
            self.waiting.remove(due[0])
            return due[0]
        message = Message("%s-%d" % (self.prefix, next(self.numbers)))
        self.messages.append(message)
        return message

    def try_one(self, c):
        message = self.next_message()
        try:
            self.send(c, message)
        finally:
            if message.left():
                self.waiting = (self.waiting + [message])[-KEEP:]

    def send(self, c, message):
        self.tries += 1
        if c("MAIL FROM:<%s@back.lab>" % message.key, 250, 421).code != 250:
            raise OSError("leaving")
        taken = []
        for to in message.left():
            reply = c("RCPT TO:<%s>" % to)
            if reply.code // 100 == 5:
                message.fates[to] = REFUSED
            elif reply.code == 250:
                taken.append(to)
        reply = c("DATA") if taken else c("RSET", 250)
        if reply.code == 354:
            self.send_text(c, message, taken)
        elif taken:
            c("RSET", 250)

    def send_text(self, c, message, taken):
        try:
            c.raw(stuff(message.text))
            if random.random() < self.vanishes:
                raise OSError("the client vanishes")
            for some in [[to] for to in taken] if self.lmtp else [taken]:
                self.note(message, some, c.reply().code)
        except (OSError, AssertionError):
            message.unheard.append(time.time())
            raise

    def note(self, message, recipients, code):
        for to in recipients:
            if code == 250:
                message.fates[to] = CONFIRMED
            elif code // 100 == 5:
                message.fates[to] = REFUSED
