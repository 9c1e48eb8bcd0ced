"""Clients that send one message after the other, and remember what was confirmed."""
import itertools
import random
import threading
import time

from smtp import Smtp, stuff

END = b"the end\r\n"


class Sender:
    """Sends until it is told to stop, and notes what was confirmed."""
    final = 250, 451  # replies to a whole message

    def __init__(self, name, server, domains, stopping):
        self.name, self.server, self.domains, self.stopping = name, server, domains, stopping
        self.confirmed, self.begun, self.surprises = {}, 0, []  # confirmed: {key: [domain, ...]}
        self.numbers = itertools.count()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopping.is_set():
            try:
                with Smtp(self.server, timeout=5) as c:
                    while not self.stopping.is_set():
                        self.message(c)
            except (OSError, AssertionError) as e:
                if "wanted" in str(e):
                    self.surprises.append(str(e))
                time.sleep(0.005)

    def message(self, c):
        domain = random.choice(self.domains)
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % domain, 250)
        c("DATA", 354)
        self.begun += 1
        self.body(c, [domain], random.choice((1, 1, 1, 20, 2000)))

    def body(self, c, domains, size):
        key = "%s-%d" % (self.name, next(self.numbers))
        text = b"Subject: %s\r\n\r\n" % key.encode() + b"0123456789abcdef" * 4 * size + b"\r\n" + END
        c.raw(stuff(text))
        if c.reply(*self.final).code == 250:
            self.confirmed[key] = domains


class FanoutSender(Sender):
    """The same with messages to several domains, some of which may be deferred."""
    final = 250, 451, 452

    def message(self, c):
        domains = random.sample(self.domains, random.choice((1, 2, 3)))
        c("MAIL FROM:<a@client.lab>", 250)
        taken = [d for d in domains if c("RCPT TO:<b@%s>" % d, 250, 451, 452).code == 250]
        if not taken:
            c("RSET", 250)
            return
        self.begun += 1
        if c("DATA", 354, 451, 452).code != 354:
            c("RSET", 250)
            return
        self.body(c, taken, random.choice((1, 1, 20, 1000)))


def key_of(message):
    """Of one that has arrived."""
    assert message.data.endswith(END), "a part of a message was taken for one"
    return message.data.split(b"\r\nSubject: ", 1)[1].split(b"\r\n", 1)[0].decode()


def check_nothing_is_lost(lab, senders):
    """What was confirmed is at the receivers, whole; returns the keys."""
    time.sleep(0.3)  # what has been sent whole is still being taken
    received = set()
    for name in {domain for s in senders for domain in s.domains}:
        received.update(map(key_of, lab[name].receiver.messages))
    confirmed = set().union(*(s.confirmed for s in senders))
    assert confirmed - received == set()
    assert [s.surprises[0] for s in senders if s.surprises] == []
    return confirmed
