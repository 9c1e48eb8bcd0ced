"""Clients that send one message after the other, and remember what was confirmed."""
import itertools
import random
import threading
import time

from smtp import Smtp, stuff

END = b"the end\r\n"


class Sender:
    """Sends until it is told to stop, and notes what was confirmed."""

    def __init__(self, name, server, domains, stopping):
        self.name, self.server, self.domains, self.stopping = name, server, domains, stopping
        self.confirmed, self.begun = set(), 0
        self.surprises = []
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
        key = b"%s-%d" % (self.name.encode(), next(self.numbers))
        size = random.choice((1, 1, 1, 20, 2000))
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % random.choice(self.domains), 250)
        c("DATA", 354)
        self.begun += 1
        text = b"Subject: %s\r\n\r\n" % key + b"0123456789abcdef" * 4 * size + b"\r\n" + END
        c.raw(stuff(text))
        if c.reply(250, 451).code == 250:
            self.confirmed.add(key)


def check_nothing_is_lost(lab, senders):
    """What was confirmed is at the receivers, whole; returns the keys."""
    time.sleep(0.3)  # what has been sent whole is still being taken
    received = set()
    for name in {domain for s in senders for domain in s.domains}:
        for message in lab[name].receiver.messages:
            assert message.data.endswith(END), "a part of a message was taken for one"
            received.add(message.data.split(b"\r\nSubject: ", 1)[1].split(b"\r\n", 1)[0])
    confirmed = set().union(*(s.confirmed for s in senders))
    assert confirmed - received == set()
    assert [s.surprises[0] for s in senders if s.surprises] == []
    return confirmed
