"""The DSN extension (RFC 3461): offered, checked, passed on, and what is owed where it ends."""
import email
import email.policy

import pytest

from nexthop import commands
from program import Danelaw
from smtp import MESSAGE, Smtp, send
from zones import UNSIGNED, wait

PLAIN = {"how": UNSIGNED, "cert": None}
ASKED = " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+20Smith@old.example"


def declare(lab):
    lab.domain("knows.plain", **PLAIN, fake={"ehlo": ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN")})
    lab.domain("ignorant.plain", **PLAIN, fake={"ehlo": ("PIPELINING", "8BITMIME", "SMTPUTF8")})
    lab.domain("refuses.plain", **PLAIN, fake={"ehlo": (), "replies": {".": "550 5.7.1 no"}})
    lab.domain("asker.plain", **PLAIN, fake={})


def mail(domain, mail_text, rcpt_text, code=250):
    with Smtp() as c:
        c("MAIL FROM:<boss@asker.plain>" + mail_text, 250)
        c("RCPT TO:<b@%s>%s" % (domain, rcpt_text), 250)
        c.data(MESSAGE, code)


def lines(mx, verb):
    return [line for line in commands(mx) if line.startswith(verb)]


def test_offered(danelaw):
    with Smtp() as c:
        assert "DSN" in c.extensions


def test_passed_on_unchanged(lab, danelaw):
    """R-SMTP-53."""
    mail("knows.plain", " RET=HDRS ENVID=QQ+2B314159", ASKED)
    mx = lab["knows.plain"].receiver
    assert lines(mx, "MAIL")[-1] == "MAIL FROM:<boss@asker.plain> RET=HDRS ENVID=QQ+2B314159"
    assert lines(mx, "RCPT")[-1] == "RCPT TO:<b@knows.plain>" + ASKED
    longest = " ORCPT=rfc822;" + "x" * 493
    mail("knows.plain", " ENVID=" + "y" * 100, longest)
    assert b"RCPT TO:<b@knows.plain>" + longest.encode() + b"\r\n" in mx.clear
    mail("knows.plain", "", "")
    assert lines(mx, "RCPT")[-1] == "RCPT TO:<b@knows.plain>"
    mail("knows.plain", " SMTPUTF8", " ORCPT=utf-8;gr\u00fcn@old.example")
    assert lines(mx, "RCPT")[-1].endswith(" ORCPT=utf-8;gr\u00fcn@old.example")


def test_nobody_waits_for_a_notice_that_nobody_owes(lab, danelaw):
    """R-SMTP-53: where the next hop knows DSN it is its duty; and nothing is owed unasked."""
    before, asker = len(danelaw.log), lab["asker.plain"].receiver
    heard = len(commands(asker))
    mail("knows.plain", "", ASKED)
    mail("ignorant.plain", "", " NOTIFY=FAILURE")
    mail("ignorant.plain", "", "")
    mail("refuses.plain", "", ASKED, 550)
    danelaw.delivery_to("b@refuses.plain")
    assert " relayed " not in danelaw.log[before:] and len(commands(asker)) == heard


def test_relayed(lab, danelaw):
    """R-SMTP-54: the next hop knows no DSN, so the sender hears it from us, once, from <>."""
    asker = lab["asker.plain"].receiver
    mail("ignorant.plain", " RET=FULL ENVID=QQ314159", ASKED)
    mx = lab["ignorant.plain"].receiver
    assert lines(mx, "MAIL")[-1] == "MAIL FROM:<boss@asker.plain>"
    assert lines(mx, "RCPT")[-1] == "RCPT TO:<b@ignorant.plain>"
    wait(lambda: b"\r\n.\r\n" in asker.clear, 8, "the notice arrives\n" + danelaw.tail())
    assert lines(asker, "MAIL")[-1].startswith("MAIL FROM:<>")
    text = asker.clear[asker.clear.rindex(b"DATA\r\n") + 6:].split(b"\r\n.\r\n")[0]
    notice = email.message_from_bytes(text, policy=email.policy.default)
    assert notice.get_content_type() == "multipart/report"
    report = {part.get_content_type(): part for part in notice.walk()}["message/delivery-status"]
    fields = "\n".join(str(part) for part in report.get_payload())
    assert "Action: relayed" in fields and "Original-Envelope-Id: QQ314159" in fields, fields
    assert "Final-Recipient: rfc822;b@ignorant.plain" in fields.replace("; ", ";"), fields


def test_null_sender_gets_none(lab, danelaw):
    before = len(danelaw.log)
    assert send("b@ignorant.plain", sender="").code == 250
    with Smtp() as c:
        c("MAIL FROM:<>", 250)
        c("RCPT TO:<b@ignorant.plain> NOTIFY=SUCCESS", 250)
        c.data(MESSAGE, 250)
    danelaw.delivery_to("b@ignorant.plain")
    assert " relayed " not in danelaw.log[before:]


@pytest.mark.parametrize("line", ["MAIL FROM:<> RET=FULL", "MAIL FROM:<> ENVID=+"])
def test_not_offered_to_helo(danelaw, line):
    """R-SMTP-52."""
    with Smtp(ehlo=None) as c:
        c.reply(220)
        c("HELO client.lab", 250)
        assert "5.5.4" in c(line, 555)
        c("MAIL FROM:<a@client.lab>", 250)
        assert "5.5.4" in c("RCPT TO:<b@knows.plain> NOTIFY=NEVER", 555)


def test_not_offered_where_a_second_domain_is_deferred(lab):
    """R-SMTP-52: nothing of such a message is ever ours."""
    listener = {"listen": "127.0.0.1:2526", "delivery": "defer"}
    with Danelaw(lab, {"listener smarthost": listener}) as d, Smtp(d.server) as c:
        assert "DSN" not in c.extensions
        assert "5.5.4" in c("MAIL FROM:<a@client.lab> RET=FULL", 555)
