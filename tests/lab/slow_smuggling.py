"""SMTP smuggling as a product (catalogue P-01, P-02), through the real program to a real Postfix and a
real Exim: every sequence of up to six of CR, LF, dot and a letter before the end of the data, and two
thousand more cut at random into segments. What a receiver has stored is what the client meant, octet
by octet, or nothing, and nobody has a message that nobody sent. Not part of `make check`: two minutes.
"""
import itertools
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from program import Danelaw
from smtp import Smtp
from world import World
from zones import UNSIGNED, wait

ALPHABET = (b"\r", b"\n", b".", b"a")
SEQUENCES = [b"".join(p) for n in range(1, 7) for p in itertools.product(ALPHABET, repeat=n)]
SPLITS = 2000
SEED = 20240101
PARTS, CLIENTS = 8, 8
END = b"\r\n.\r\n"
MODES = {"reject": ("127.0.0.1", 2525), "normalize": ("127.0.0.1", 2526)}


def declare(lab: World):
    lab.domain("smug-postfix.plain", how=UNSIGNED, cert=None)
    lab.domain("smug-exim.plain", how=UNSIGNED, cert=lab.cert("mx.smug-exim.plain"), exim=True)


@pytest.fixture(scope="module")
def danelaw(lab):
    with Danelaw(lab, {
            "listener normalizing": {"listen": "127.0.0.1:2526", "clients": "127.0.0.0/8",
                                     "bare_newline": "normalize"},
            "limits": {"connection_messages": "100000"}, "log": {"level": "warning"}}) as d:
        yield d


# ---- what the client means: RFC 5321 sections 2.3.8 and 4.5.2, with the whole text at hand ----

def meant(wire, mode):
    """(content or None where it must be refused, what is left behind the end)."""
    end = (b"\r\n" + wire).index(END)
    text, left = wire[:end], wire[end + 3:]
    bare = text.replace(b"\r\n", b"")
    if b"\r" in bare or (b"\n" in bare and mode == "reject"):
        return None, left
    lines = text.split(b"\r\n")
    content = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), left


# ---- one sequence ----

class Client:
    """Keeps its connection as long as danelaw does."""

    def __init__(self, server, recipient):
        self.server, self.recipient, self.smtp = server, recipient, None

    def begin(self):
        if not self.smtp:
            self.smtp = Smtp(self.server)
        self.smtp.raw(b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<%s>\r\nDATA\r\n" % self.recipient.encode())
        self.smtp.reply(250)
        self.smtp.reply(250)
        self.smtp.reply(354)

    def end(self):
        if self.smtp:
            self.smtp.close()
        self.smtp = None

    def send(self, key, sequence, mode, cuts=()):
        """The content that the receiver must have, or None."""
        wire = sequence + END
        content, left = meant(wire, mode)
        self.begin()
        wire = b"X-Key: %s\r\n\r\n" % key + wire
        for a, b in itertools.pairwise([0, *cuts, len(wire)]):
            self.smtp.raw(wire[a:b])
            if cuts:
                time.sleep(0.001)
        reply = self.smtp.reply(*([250] if content is not None else [550]))
        assert content is not None or reply.startswith("550 5.5.2 bare-newline"), (sequence, reply)
        if content is None:
            assert self.smtp.is_closed()
        if content is None or left:
            self.end()  # what is left are no commands that anybody means
        return content


def work(recipient, mode, cases):
    """{key: content} of what must have arrived."""
    client, wanted = Client(MODES[mode], recipient), {}
    try:
        for key, sequence, cuts in cases:
            content = client.send(key, sequence, mode, cuts)
            if content is not None:
                wanted[key] = content
    finally:
        client.end()
    return wanted


def cases_of(mode):
    rand = random.Random(SEED)
    cases = [(b"%s-%d" % (mode.encode(), n), s, ()) for n, s in enumerate(SEQUENCES)]
    for n in range(SPLITS):
        sequence = rand.choice(SEQUENCES)
        size = len(b"X-Key: \r\n\r\n") + len(sequence + END)
        cuts = sorted(rand.sample(range(1, size + 8), rand.randint(1, 6)))
        cases.append((b"%s-cut-%d" % (mode.encode(), n), sequence, cuts))
    return cases


def stored(receiver, recipient):
    """{key: content} of all that the receiver has for this recipient; a key twice is a failure."""
    found = {}
    for text in receiver.maildir.messages(recipient):
        key, content = text.split(b"\r\nX-Key: ", 1)[1].split(b"\r\n\r\n", 1)
        assert key not in found, key
        found[key] = content
    return found


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("domain", ["smug-postfix.plain", "smug-exim.plain"])
def test_every_sequence(lab, danelaw, domain, mode, part):
    """P-01, P-02, R-SMTP-21..26"""
    receiver, recipient = lab[domain].receiver, "to-%s%d@%s" % (mode, part, domain)
    cases = cases_of(mode)[part::PARTS]
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = pool.map(lambda n: work(recipient, mode, cases[n::CLIENTS]), range(CLIENTS))
        wanted = {key: content for p in parts for key, content in p.items()}
    assert len(wanted) > 20
    while (count := len(receiver.maildir.messages(recipient))) < len(wanted):
        wait(lambda: len(receiver.maildir.messages(recipient)) > count, 10, "all that was accepted")
    assert stored(receiver, recipient) == wanted
