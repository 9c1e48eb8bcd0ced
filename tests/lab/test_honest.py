"""What is said is true: to the client, in the log; and nobody pays for another's faults.

Each test is a way in which a proxy between two conversations can end up saying what did not happen.
"""
import re
import signal
import threading
import time

import pytest

from program import Danelaw
from smtp import MESSAGE, Smtp, send, stuff
from world import STALE
from zones import UNSIGNED, wait

FORGED = ('554 delivery session=zz-1 from=<a@client.lab> to=<b@forged.plain> policy=dane tls=verified '
          'status=sent reason=-')


def refuse_bad(c, line):
    return "550 5.1.1 no such user" if "bad" in line else None


def refuse_late(c, text):
    time.sleep(0.7)
    return "550 5.7.1 content refused"


def accept_late(c, text):
    time.sleep(0.7)
    return "250 2.0.0 taken"


def reads_late(c):
    """A next hop that takes nothing of the message for 3.5 s."""
    c.say("220 slow")
    for verb, reply in (("EHLO", "250 8BITMIME"), ("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
        c.expect(verb)
        c.say(reply)
    c.stall(3.5)
    c.hear_data()
    c.say("250 2.0.0 taken")
    c.stall()


def declare(lab):
    plain = {"how": UNSIGNED, "cert": None}
    lab.domain("picky.plain", **plain, fake={"replies": {"RCPT": refuse_bad}})
    lab.domain("late-no.plain", **plain, fake={"replies": {".": refuse_late}})
    lab.domain("late-yes.plain", **plain, fake={"replies": {".": accept_late}})
    lab.domain("reads-late.plain", **plain, fake={"script": reads_late})
    lab.domain("forged.plain", **plain, fake={"replies": {"": FORGED}})
    lab.domain("stale-honest.lab", STALE, fake={})
    for name, count in (("twenty.lab", 20), ("forty.lab", 40)):
        addresses = [lab.address() for _ in range(count)]
        for a in addresses:
            lab.fake(a, None)
        lab.zone(name, "@ MX 10 mx\n" + "".join("mx A %s\n" % a for a in addresses)
                 + "_25._tcp.mx TLSA %s\n" % STALE)
    addresses = [lab.address() for _ in range(40)]
    for a in addresses:
        lab.fake(a, None)
    records = "".join("mx%d A %s\n" % (k, a) for k, a in enumerate(addresses))
    lab.zone("many.plain", records + "".join("d%d MX 10 mx%d\n" % (n, n % 40) for n in range(400)), UNSIGNED)


@pytest.fixture
def danelaw(lab):
    """One for each test: others here start their own on the same port."""
    with Danelaw(lab) as d:
        yield d


@pytest.mark.parametrize("other", ["late-no.plain", "late-yes.plain"])
def test_one_live_domain_even_after_a_refused_one(lab, deferring, other):
    """R-SMTP-61, R-SMTP-68: a domain that was all refused does not come back beside another one."""
    with Smtp(deferring.server) as c:
        c("MAIL FROM:<s@client.lab>", 250)
        c("RCPT TO:<bad@picky.plain>", 550)
        c("RCPT TO:<good@%s>" % other, 250)
        assert c("RCPT TO:<good@picky.plain>").startswith("452 4.5.3 one-domain")
        final = c.data(MESSAGE)
    assert final.code == (550 if other == "late-no.plain" else 250)
    assert not [m for m in lab["picky.plain"].receiver.messages if "good@picky.plain" in str(m.recipients)]
    assert deferring.delivery_to("good@" + other)["status"] == ("refused" if final.code == 550 else "sent")


def test_no_message_is_no_delivery(danelaw):
    """An accepted recipient of a transaction without a message was sent nothing."""
    with Smtp() as c:
        c("MAIL FROM:<s@client.lab>", 250)
        c("RCPT TO:<fine-but-unused@picky.plain>", 250)
        c("RCPT TO:<bad-one@picky.plain>", 550)
        c("QUIT", 221)
    line = danelaw.delivery_to("bad-one@picky.plain")
    assert line["status"] == "refused" and line["to"] == "<bad-one@picky.plain>"
    assert not danelaw.deliveries(to="<fine-but-unused@picky.plain>")


def test_refusals_without_a_next_hop_are_logged(deferring):
    """Interface section 4: one line for each refused recipient domain, whoever refused it."""
    with Smtp(deferring.server) as c:
        c("MAIL FROM:<s@client.lab>", 250)
        c("RCPT TO:<x@[198.18.0.9]>", 550)
        c("RCPT TO:<one@picky.plain>", 250)
        c("RCPT TO:<two@late-yes.plain>", 452)
        c("RCPT TO:<three@late-yes.plain>", 452)
        c("RSET", 250)
    wait(lambda: deferring.deliveries(to="<two@late-yes.plain>,<three@late-yes.plain>", reason="one-domain"),
         2, deferring.tail())
    assert deferring.deliveries(reason="address-literal")


def test_a_greeting_cannot_forge_a_line(danelaw):
    """R-SMTP-20: a next hop's words are one quoted value, wherever they appear."""
    assert send("b@forged.plain").code == 451
    danelaw.delivery_to("b@forged.plain")
    assert not danelaw.deliveries(status="sent", to="<b@forged.plain>")
    assert not re.search(r"^[^\"]* tls=verified", "\n".join(
        x for x in danelaw.log.splitlines() if "zz-1" in x and " debug " not in x), re.M)


def test_a_quoted_local_part_is_one_recipient(danelaw):
    """What separates recipients in to= is escaped inside of one."""
    address = '"bad>,<victim@other.lab>:sent,<y"@picky.plain'
    with Smtp() as c:
        c("MAIL FROM:<s@client.lab>", 250)
        c("RCPT TO:<%s>" % address, 550)
        c("QUIT", 221)
    wait(lambda: "victim@other.lab" in danelaw.log, 2, danelaw.tail())
    assert not danelaw.deliveries() or all("<victim@other.lab>" not in d["to"] for d in danelaw.deliveries())


def test_long_lists_at_level_warning(lab):
    """The rest of a refused list is as important as its beginning."""
    names = ["recipient-number-%03d@stale-honest.lab" % n for n in range(90)]
    with Danelaw(lab, {"log": {"level": "warning"}}) as d:
        assert send(names).startswith("451 4.7.5")
        wait(lambda: all("<%s>" % n in d.log for n in names), 2, "all recipients in the log")
        assert all("status=deferred" in x for x in d.log.splitlines() if "delivery-more" in x)


def test_a_slow_next_hop_is_not_the_clients_fault(lab):
    """R-SMTP-37: while our own buffers wait for the next hop, the client is not idle."""
    lines = b"Subject: x\r\n\r\n" + (b"z" * 70 + b"\r\n") * 60000 + b".\r\n"
    with Danelaw(lab, {"timeouts": {"idle_client": "1500ms"}}):
        with Smtp(timeout=20) as c:
            c("MAIL FROM:<s@client.lab>", 250)
            c("RCPT TO:<x@reads-late.plain>", 250)
            c("DATA", 354)
            sender = threading.Thread(target=lambda: ignore_reset(c.sock.sendall, lines), daemon=True)
            sender.start()
            assert c.reply().code == 250
            sender.join(5)


def ignore_reset(call, *arguments):
    try:
        call(*arguments)
    except OSError:
        pass


def test_report_only_with_many_addresses(lab):
    """R-DANE-27: the second round may look at all addresses again."""
    with Danelaw(lab, {"policy": {"enforce": "no"}}) as d:
        for name in "twenty.lab", "forty.lab":
            assert send("b@" + name).code == 250
            assert d.delivery_to("b@" + name)["would_refuse"] == "dane-no-starttls"


def test_hangup_ends_nothing(lab):
    """F-08: a closed terminal is no reason to lose the outcome of a message."""
    with Danelaw(lab) as d:
        with Smtp() as c:
            c("MAIL FROM:<s@client.lab>", 250)
            c("RCPT TO:<x@late-yes.plain>", 250)
            c("DATA", 354)
            c.raw(stuff(MESSAGE))
            d.child.send_signal(signal.SIGHUP)
            assert c.reply().code == 250


def test_idle_connections_leave_descriptors(lab):
    """One client that writes to many domains must not take the sockets that DNS needs."""
    with Danelaw(lab, wrap=["prlimit", "--nofile=400"]) as d:
        with Smtp(timeout=60) as c:
            for n in range(400):
                c("MAIL FROM:<s@client.lab>", 250)
                c("RCPT TO:<x@d%d.many.plain>" % n, 250)
                assert c.data(MESSAGE).code == 250
        assert send("b@picky.plain").code == 250
        assert "out of descriptors" not in d.log


def test_received_without_a_host_name(lab):
    """RFC 5321 section 4.4: the address that the client reached, not the one in the settings."""
    short = ["unshare", "-u", "sh", "-c", "hostname short; exec \"$@\"", "sh"]
    with Danelaw(lab, {"server": {"hostname": None}, "listener smarthost": {"listen": "0.0.0.0:2525"}},
                 wrap=short):
        assert send("named@picky.plain", server=("198.18.0.1", 2525)).code == 250
    data = [m.data for m in lab["picky.plain"].receiver.messages if "named@" in str(m.recipients)][-1]
    assert b"by [198.18.0.1] (danelaw)" in data
