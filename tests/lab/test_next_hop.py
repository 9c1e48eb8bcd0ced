"""What a next hop says: every reply that it can break, at every stage (catalogue U-01..U-13)."""
import select
import threading
import time

import pytest

import fakemx
from nexthop import (STAGES, Slots, at, attempt, check_clean, closes, commands, has_dot, listen,
                     resets, says, says_and_closes, transcript, verbs, wait_lost, wait_over)
from program import Danelaw
from smtp import MESSAGE, Smtp, stuff
from zones import wait

ZONE = "nh.lab"


def declare(lab):
    lab.next_hop_slots = Slots(lab, ZONE, plain=330, tls=90, pair=20)


@pytest.fixture(scope="module")
def danelaw(lab):
    with Danelaw(lab, {"limits": {"connection_idle": "60s"}}) as d:  # what ends has another reason
        yield d


@pytest.fixture
def hop(lab):
    with lab.next_hop_slots.hops() as hop:
        yield hop


# What the client hears when the next hop fails at a stage.
LOST = {"greeting": "451 4.4.1 connect-failed", "EHLO": "451 4.4.1 connect-failed",
        "STARTTLS": "451 4.7.4 dane-no-starttls", "EHLO+": "451 4.4.1 connect-failed",
        "MAIL": "451 4.4.2 connection-lost", "RCPT": "451 4.4.2 connection-lost",
        "DATA": "451 4.4.2 connection-lost", "body": "451 4.4.2 connection-lost",
        ".": "451 4.4.2 outcome-unknown"}


def fail_at(danelaw, hop, stage, act, wanted):
    """One message to a next hop that fails at the stage: what the client and the log say of it."""
    kind, how = at(stage, act)
    h = hop(kind, **how)

    pause = (lambda: wait_lost(danelaw, h)) if stage == "body" else None
    reply = attempt(h.domain, between=pause)
    assert reply.startswith(wanted), "%s\n%s" % (reply, transcript(h.mx))
    line = danelaw.delivery_to("b@" + h.domain)
    assert line["reason"] == wanted.split()[2]
    assert line["status"] == ("unknown" if "outcome-unknown" in wanted else "deferred")
    assert line["reply"].startswith(reply.split("\n")[0])
    assert has_dot(h.mx) == (stage == ".")
    if stage in ("STARTTLS", "EHLO+"):
        assert b"MAIL" not in h.mx.clear + h.mx.secret
    return h, reply


BROKEN = {
    "two codes": b"250-x\r\n550 y\r\n",
    "first code good": b"354-x\r\n250 y\r\n",
    "code 999": b"999 x\r\n",
    "code 600": b"600 x\r\n",
    "code 160": b"150 wait\r\n",
    "code 290": b"290 x\r\n",
    "blank in code": b"2 50 x\r\n",
    "no blank": b"250x\r\n",
    "no code": b"\r\n",
    "two digits": b"25\r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "lines without end": b"250-x\r\n" * 20000,
    "line of 1 MiB": b"250 " + b"x" * (1 << 20) + b"\r\n",
    "line of 2049 octets": b"250 " + b"x" * 2043 + b"\r\n",
    "NUL": b"250 a\0b\r\n",
    "bare LF": b"250 a\n250 b\n",
    "bare LF in text": b"250 a\n550 b\r\n",
    "CR at the start": b"\r250 a\r\n",
    "binary": bytes(range(0x80, 0x100)) + b"\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", BROKEN)
def test_u01_broken_replies(danelaw, hop, stage, kind):
    """U-01, R-SMTP-19: what is no reply is a broken conversation and 451, at each stage."""
    def act(c):
        try:
            says(BROKEN[kind])(c)
        except BrokenPipeError:
            closes(c)

    _, reply = fail_at(danelaw, hop, stage, act, LOST[stage])
    assert reply.isascii() and reply.isprintable() and len(reply) <= 512


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", [closes, resets, says_and_closes(b"250 2.0"),
                                 says_and_closes(b"250-2.0 and\r\n"),
                                 says_and_closes(b"250 ok\r")],
                         ids=["FIN", "RST", "half a line", "half a reply", "half a line's end"])
def test_u07_connection_lost(danelaw, hop, stage, how):
    """U-07, R-SMTP-59, -73, R-TLSSEC-12: an end of the connection is never an end of a reply; after
    the dot the outcome is unknown."""
    # In TLS 1.3 a server that refuses our handshake is heard of only after it.
    wanted = "451 4.7.5 tls-handshake" if stage == "EHLO+" else LOST[stage]
    h, reply = fail_at(danelaw, hop, stage, how, wanted)
    if stage == ".":
        assert "duplicate" in reply


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("code", [421, 221])
@pytest.mark.parametrize("then", [says, says_and_closes], ids=["stays", "closes"])
def test_u03_going_away(danelaw, hop, stage, code, then):
    """U-03: 421 and 221 at any place are 451 for the client, and the connection is not used again."""
    wanted = LOST[stage].replace("outcome-unknown", "connection-lost")
    h, reply = fail_at(danelaw, hop, stage, then("%d 4.3.2 going down for repairs" % code), wanted)
    assert "going down for repairs" in reply
    wait_over(h.mx, 1)


NONSENSE = [("greeting", "250 x"), ("greeting", "354 x"), ("greeting", "334 x"), ("EHLO", "354 x"),
            ("EHLO", "220 x"), ("STARTTLS", "250 x"), ("STARTTLS", "354 x"), ("STARTTLS", "454 x"),
            ("STARTTLS", "500 x"), ("EHLO+", "354 x"), ("EHLO+", "500 x"), ("MAIL", "334 x"),
            ("MAIL", "354 x"), ("RCPT", "354 x"), ("RCPT", "334 x"), ("DATA", "250 x"),
            ("DATA", "334 x"), ("DATA", "220 x"), ("body", "354 x"), ("body", "250 x"),
            ("body", "220 x"), (".", "354 x"), (".", "334 x")]


@pytest.mark.parametrize("stage, reply", NONSENSE)
def test_u04_replies_that_mean_nothing_there(danelaw, hop, stage, reply):
    """U-04, R-SMTP-77: a well formed reply that nobody may give at this point."""
    fail_at(danelaw, hop, stage, says(reply), LOST[stage])


@pytest.mark.parametrize("code", ["251", "252", "259"])
def test_r_smtp_77_any_2xx_at_the_dot_is_250(danelaw, hop, code):
    h = hop(replies={".": lambda c, text: code + " 2.0.0 taken"})
    assert attempt(h.domain) == "250 2.0.0 taken"
    assert danelaw.delivery_to("b@" + h.domain)["status"] == "sent"


@pytest.mark.parametrize("code, wanted", [("450", "deferred"), ("554", "refused"), ("552", "refused")])
@pytest.mark.parametrize("stage", ["DATA", "."])
def test_final_refusals_pass(danelaw, hop, stage, code, wanted):
    """R-SMTP-57: DATA and the dot get the next hop's own code and words; the connection lives on."""
    text = code + " %s.6.0 not this one" % code[0]
    h = hop(replies={stage: lambda c, rest: text})
    assert attempt(h.domain) == text
    line = danelaw.delivery_to("b@" + h.domain)
    assert (line["status"], line["reason"]) == (wanted, "-")
    assert attempt(h.domain) == text
    # The reply to the dot ends the transaction; one to DATA does not.
    assert len(h.mx.connections) == 1 and ("RSET" in verbs(h.mx)) == (stage == "DATA")


# ---- U-02: words ----

def test_u02_control_characters(danelaw, hop):
    """U-02, R-SMTP-20: nothing of a reply can act on the client, a terminal or the log."""
    raw = b"550 5.7.1 \x1b[31mred\x07 \r250 injected\x7f\x9b\t \xc2\x85\xff end\r\n"
    h = hop(replies={"RCPT": lambda c, line: raw})
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        reply = check_clean(c("RCPT TO:<b@%s>" % h.domain, 550))
        assert reply == "550 5.7.1 ?[31mred? ?250 injected??? ??? end"
        c("QUIT", 221)
    log = danelaw.log
    assert "\x1b" not in log and "\x9b" not in log and "\x07" not in log
    line = danelaw.delivery_to("b@" + h.domain)
    assert line["status"] == "refused" and "injected" in line["reply"]


@pytest.mark.parametrize("stage", ["greeting", "STARTTLS", "MAIL", "DATA", "."])
def test_u02_words_of_every_stage_are_filtered(danelaw, hop, stage):
    raw = b"550 5.0.0 \x1b]0;evil\x07 \r\x00"[:-1] + b" \"quoted\\ k=v status=sent\r\n"
    kind, how = at(stage, says(raw))
    h = hop(kind, **how)
    reply = attempt(h.domain)
    assert reply.code in (451, 550) and "\x1b" not in reply
    assert "\x1b" not in danelaw.log
    assert danelaw.delivery_to("b@" + h.domain)["status"] in ("deferred", "refused")


def test_u02_utf8_words_only_under_smtputf8(danelaw, hop):
    """R-SMTP-18: octets above 127 reach only clients that asked for SMTPUTF8."""
    h = hop(replies={"RCPT": "550 5.1.1 gr\u00fc\u00dfe"})
    assert attempt(h.domain) == "550 5.1.1 gr????e"
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab> SMTPUTF8", 250)
        reply = c("RCPT TO:<b@%s>" % h.domain, 550)
        assert reply.encode("utf-8", "surrogateescape") == "550 5.1.1 gr\u00fc\u00dfe".encode()


def test_multi_line_replies_pass(danelaw, hop):
    """R-SMTP-59: text kept, line by line."""
    lines = ["550-5.7.1 first", "550-5.7.1 ", "550-", "550 5.7.1 last"]
    h = hop(replies={"RCPT": "\r\n".join(lines)})
    reply = attempt(h.domain)
    assert [line.rstrip() for line in reply.lines if line.strip()] == ["5.7.1 first", "5.7.1",
                                                                    "5.7.1 last"]
    many = "\r\n".join(["550-line %d" % n for n in range(99)] + ["550 end"])
    h = hop(replies={"RCPT": many})
    assert attempt(h.domain).lines[0] == "line 0"
    long = "550 5.7.1 " + "word " * 390
    h = hop(replies={"RCPT": long})
    assert attempt(h.domain).startswith("550-5.7.1 word word")


def test_longest_legal_reply(danelaw, hop):
    """R-SMTP-19, R-TLSSEC-14: as much as is buffered, and more: then 451 at once."""
    line = b"x" * (512 - 6)
    raw = b"".join(b"550-%s\r\n" % line for _ in range(60)) + b"550 %s\r\n" % line
    h = hop(replies={"RCPT": lambda c, rest: raw})
    assert attempt(h.domain).code == 550
    h = hop("tls", replies={"RCPT": lambda c, rest: raw})
    assert attempt(h.domain).code == 550
    line = danelaw.delivery_to("b@" + h.domain)
    assert (line["status"], line["tls"]) == ("refused", "verified")
    h = hop(replies={"RCPT": lambda c, rest: says(raw.replace(b"550 ", b"550-") * 2)(c)})
    assert "reply too long" in attempt(h.domain)


def test_a_reply_without_text_and_with_code_only(danelaw, hop):
    h = hop(replies={"RCPT": "550", "": "220"})
    assert attempt(h.domain).code == 550


def test_replies_in_segments_of_one_octet(danelaw, hop):
    """A reply is a reply wherever TCP cuts it."""
    def slowly(text):
        def act(c, rest):
            for i in range(len(text) - 1):
                c.say(text[i:i + 1])
            return text[-1:]
        return act
    h = hop(replies={"RCPT": slowly(b"250-2.1.5 a\r\n250 2.1.5 b\r\n"),
                     "DATA": slowly(b"452 4.3.1 full\r\n")})
    assert attempt(h.domain) == "452 4.3.1 full"


# ---- envelope ----

@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
@pytest.mark.parametrize("then", ["goes on", "closes"])
@pytest.mark.parametrize("code", ["550", "450", "552"])
def test_r_smtp_58_mail_refusal_is_given_to_each_recipient(danelaw, hop, pipelining, then, code):
    """Code kept, words prefixed, and so even where the next hop hangs up at once."""
    text = "%s %s.7.1 bad sender" % (code, code[0])
    act = (lambda c, line: text) if then == "goes on" else (
        lambda c, line: says_and_closes(text)(c))
    h = hop(replies={"MAIL": act, "RCPT": "503 5.5.1 no MAIL"},
            ehlo=("PIPELINING",) if pipelining else ())
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        for user in ("b", "c"):
            reply = check_clean(c("RCPT TO:<%s@%s>" % (user, h.domain), int(code)))
            assert reply.startswith("%s %s.7.1 MAIL refused by mx1." % (code, code[0]))
            assert reply.endswith("bad sender")
        c("DATA", 503, 554)
        c("QUIT", 221)
    line = danelaw.delivery_to("c@" + h.domain)
    assert line["status"] == ("deferred" if code == "450" else "refused") and not h.mx.messages


def test_refused_mail_but_accepted_recipient(danelaw, hop):
    """A next hop that contradicts itself has accepted nothing."""
    h = hop(replies={"MAIL": "550 5.7.1 no"})
    reply = attempt(h.domain)
    assert reply.code in (550, 451)
    assert "DATA" not in verbs(h.mx)


def rcpt_by_user(c, line):
    user = line.split("<")[1].split("@")[0]
    return {"good": None, "never": "550 5.1.1 no such user", "later": "450 4.2.1 later",
            "full": "552 5.2.2 too many", "moved": "251 2.1.5 moved",
            "gone": "421 4.3.2 stop"}[user]


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelining", "one by one"])
def test_r_smtp_67_each_recipient_gets_its_own_reply(danelaw, hop, pipelining):
    """R-SMTP-59, -67: 552 becomes 452, everything else passes; the rest is delivered."""
    h = hop(replies={"RCPT": rcpt_by_user}, ehlo=("PIPELINING",) if pipelining else ())
    wanted = {"never": 550, "good": 250, "later": 450, "full": 452, "moved": 251}
    with Smtp() as c:
        c.raw(b"MAIL FROM:<a@client.lab>\r\n" + b"".join(
            b"RCPT TO:<%s@%s>\r\n" % (u.encode(), h.domain.encode()) for u in wanted))
        c.reply(250)
        replies = {user: check_clean(c.reply()) for user in wanted}
        assert {user: r.code for user, r in replies.items()} == wanted
        assert replies["full"] == "452 4.2.2 too many"
        assert c.data(MESSAGE).code == 250
    assert [m.recipients for m in h.mx.messages] == [["good@" + h.domain]]
    line = danelaw.delivery_to("good@" + h.domain)
    assert line["status"] == "sent"
    assert line["to"] == "<never@{0}>:refused,<good@{0}>,<later@{0}>:deferred,<full@{0}>:deferred," \
        "<moved@{0}>".format(h.domain)


def test_u03_421_to_a_later_recipient(danelaw, hop):
    """The recipient gets 451; what was accepted before is not delivered behind its back."""
    def rcpt(c, line):
        reply = rcpt_by_user(c, line)
        if reply and reply.startswith("421"):
            says_and_closes(reply)(c)
        return reply
    h = hop(replies={"RCPT": rcpt})
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<good@%s>" % h.domain, 250)
        assert "connection-lost" in c("RCPT TO:<gone@%s>" % h.domain, 451)
        assert c("DATA").startswith("451 4.4.2 connection-lost")
        c("NOOP", 250)
    assert not h.mx.messages


def test_r_smtp_30_no_pipelining_where_it_is_not_offered(danelaw, hop):
    """One command at a time; DATA only after all replies to RCPT."""
    early = []

    def alone(reply):
        def act(c, line):
            if c.buffer:
                early.append((line, c.buffer))
            ready, _, _ = select.select([c.sock], [], [], 0.05)
            if ready:
                early.append((line, "more"))
            return reply
        return act

    h = hop(ehlo=(), replies={"EHLO": alone(None), "MAIL": alone(None), "RCPT": alone(None)})
    with Smtp() as c:
        c.raw(b"MAIL FROM:<a@client.lab>\r\n" + b"".join(
            b"RCPT TO:<u%d@%s>\r\n" % (n, h.domain.encode()) for n in range(3)) + b"DATA\r\n")
        for _ in range(4):
            c.reply(250)
        c.reply(354)
        c.raw(stuff(MESSAGE))
        c.reply(250)
    assert not early
    assert verbs(h.mx)[:6] == ["EHLO", "MAIL", "RCPT", "RCPT", "RCPT", "DATA"]


def test_r_smtp_30_pipelining_where_it_is_offered(danelaw, hop):
    """MAIL and RCPT come together: the next hop does not answer MAIL before it has seen RCPT."""
    def wait_for_rcpt(c, line):
        while b"RCPT TO" not in c.buffer:
            c.buffer += c._read()
    h = hop(replies={"MAIL": wait_for_rcpt})
    assert attempt(h.domain).code == 250


def group(c, domain, users=("b",)):
    """A client that pipelines: the envelope and DATA in one segment."""
    c.raw(b"MAIL FROM:<a@client.lab>\r\n" + b"".join(
        b"RCPT TO:<%s@%s>\r\n" % (user.encode(), domain.encode()) for user in users) + b"DATA\r\n")


def test_r_smtp_30_data_leaves_with_the_envelope(danelaw, hop):
    """Where the client has said DATA already it costs no round trip of its own. Neither does the
    client's 250 for MAIL."""
    seen = []
    h = hop(replies={"MAIL": lambda c, line: seen.append(c.buffer)})
    with Smtp() as c:
        for _ in range(2):
            group(c, h.domain, ("b", "c"))
            c.reply(250)
            assert b"250 2.1.5 ok\r\n" in c.buffer  # they came together
            for code in (250, 250, 354):
                c.reply(code)
            c.raw(stuff(MESSAGE))
            c.reply(250)
    rest = "RCPT TO:<b@{0}>\r\nRCPT TO:<c@{0}>\r\nDATA\r\n".format(h.domain).encode()
    assert seen == [rest, rest]
    assert len(h.mx.connections) == 1 and "RSET" not in verbs(h.mx)


def test_r_smtp_30_data_waits_for_the_clients(danelaw, hop):
    """A client that has not said DATA may still change its mind."""
    h = hop()
    with Smtp() as c:
        c.raw(b"MAIL FROM:<a@client.lab>\r\nRCPT TO:<b@%s>\r\n" % h.domain.encode())
        c.reply(250)
        c.reply(250)
        time.sleep(0.05)
        assert verbs(h.mx)[-1] == "RCPT"
        c("QUIT", 221)
    assert "DATA" not in verbs(h.mx)


@pytest.mark.parametrize("data", ["354 go on", "503 5.5.1 no recipients", "554 5.5.1 no"])
def test_r_smtp_31_all_refused_and_data_was_sent(danelaw, hop, data):
    """354 to nobody is ended with a lone dot, and the connection serves the next message."""
    def to_nobody(c, line):
        return None if any("<b@" in x for x in c.log) else data

    h = hop(replies={"RCPT": lambda c, line: "550 5.1.1 no" if "bad" in line else None,
                     "DATA": to_nobody})
    with Smtp() as c:
        group(c, h.domain, ("bad1", "bad2"))
        c.reply(250)
        c.reply(550)
        c.reply(550)
        c.reply(503, 554)
        c("RSET", 250)
        if data.startswith("354"):
            wait(lambda: has_dot(h.mx), 5, "the lone dot")
        wait(lambda: "RSET" in verbs(h.mx), 5, "RSET")
        group(c, h.domain)
        c.reply(250)
        c.reply(250)
        c.reply(354)
        c.raw(stuff(MESSAGE))
        c.reply(250)
    assert len(h.mx.connections) == 1 and len(h.mx.messages) == 1


@pytest.mark.parametrize("data", ["354 go on", "554 5.3.0 no", "250 2.0.0 what"])
def test_a_client_leaves_while_data_is_under_way(danelaw, hop, data):
    """Nothing but its reply may follow a DATA: RSET would be taken for the message, or answered
    with DATA's own reply."""
    h = hop(replies={"DATA": lambda c, line: c.mx.go_on.wait(10) and data})
    h.mx.go_on = threading.Event()
    with Smtp() as c:
        group(c, h.domain)
        wait(lambda: verbs(h.mx)[-1:] == ["DATA"], 5, "DATA is under way")
        c.raw(b"NOOP\r\n")
        c.reply(250)
        c.reply(250)
        c.reply(503)
    h.mx.go_on.set()
    wait(lambda: "Gone" in h.mx.connections[0].log[-1], 5, "the end of the connection")
    assert verbs(h.mx)[-1] == "DATA"


def test_r_smtp_31_mail_refused_and_data_was_sent(danelaw, hop):
    h = hop(replies={"MAIL": "550 5.7.1 not you", "RCPT": "503 5.5.1 MAIL first",
                     "DATA": "503 5.5.1 MAIL first"})
    with Smtp() as c:
        group(c, h.domain)
        c.reply(250)
        assert "MAIL refused by" in c.reply(550)
        c.reply(503, 554)
        c("QUIT", 221)
    assert not has_dot(h.mx)


@pytest.mark.parametrize("data, wanted", [("451 4.3.0 not now", 451), ("554 5.3.0 no", 554)])
def test_data_refused_that_was_sent_with_the_envelope(danelaw, hop, data, wanted):
    """Behind accepted recipients it is the message's reply."""
    h = hop(replies={"DATA": data})
    with Smtp() as c:
        group(c, h.domain)
        c.reply(250)
        c.reply(250)
        assert c.reply(wanted) == data
        c("NOOP", 250)


def test_no_dot_where_the_client_leaves_behind_its_data(danelaw, hop):
    """R-SMTP-69: the next hop waits for the message, and none comes."""
    h = hop()
    with Smtp() as c:
        group(c, h.domain)
        for code in (250, 250, 354):
            c.reply(code)
    wait_over(h.mx)
    assert not has_dot(h.mx) and not h.mx.messages


# ---- before and after the dot ----

@pytest.mark.parametrize("tls", ["plain", "tls"])
@pytest.mark.parametrize("raw, wanted", [
    ("552 5.3.4 too large", "552 5.3.4 too large"), ("421 4.3.2 bye", "451 4.4.2 connection-lost"),
    ("451 4.3.0 disk", "451 4.3.0 disk")])
def test_u05_early_reply_in_the_body(danelaw, hop, tls, raw, wanted):
    """U-05, R-SMTP-74: no more is sent, the client is drained, and hears it after its dot."""
    _, how = at("body", says(raw))
    h = hop(tls, **how)
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % h.domain, 250)
        c("DATA", 354)
        c.raw(b"Subject: x\r\n\r\n")
        wait_over(h.mx)
        for _ in range(20):
            c.raw(b"MARK " + b"x" * 70000 + b"\r\n")
        assert not select.select([c.sock], [], [], 0.1)[0], "a reply before the dot"
        c.raw(b".\r\n")
        assert check_clean(c.reply()).startswith(wanted)
        c("NOOP", 250)
    wait_over(h.mx)
    assert b"MARK" not in h.mx.clear + h.mx.secret and not has_dot(h.mx)


@pytest.mark.parametrize("when", ["with 354", "in the body", "before the dot has left"])
@pytest.mark.parametrize("tls", ["plain", "tls"])
def test_u08_eager_acknowledgement(danelaw, hop, when, tls):
    """U-08, R-SMTP-57: 250 before our dot acknowledges nothing."""
    def data(c, line):
        if when == "with 354":
            c.say(b"354 go\r\n250 2.0.0 queued\r\n")
        else:
            c.say("354 go")
            if when == "in the body":
                c._read()
            else:
                c.mx.full.wait(10)
            c.say("250 2.0.0 queued")
        c.stall(1 if when == "before the dot has left" else 0)
        listen(c)

    h = hop(tls, replies={"DATA": data})
    h.mx.full = threading.Event()
    if when != "before the dot has left":
        reply = attempt(h.domain, between=lambda: wait_over(h.mx))
        assert reply.startswith("451 4.4.2 connection-lost")
        assert not has_dot(h.mx)
        return
    # The next hop reads nothing: what it "acknowledges" is still in our hands.
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % h.domain, 250)
        c("DATA", 354)
        line, sent = b"x" * 998 + b"\r\n", 0
        c.sock.settimeout(1.5)
        try:
            for sent in range(40000):
                c.sock.sendall(line)
            raise AssertionError("a stalled next hop took everything")
        except TimeoutError:
            pass
        h.mx.full.set()
        c.sock.settimeout(10)
    line = danelaw.delivery_to("b@" + h.domain)
    assert line["reason"] == "connection-lost" and line["status"] == "deferred"


SURPLUS = {
    "greeting": ("greeting", b"220 hi\r\n250 hi\r\n"),
    "greeting and EHLO": ("greeting", b"220 hi\r\n250-x\r\n250 PIPELINING\r\n"),
    "EHLO": ("EHLO", b"250-x\r\n250 PIPELINING\r\n250 mail\r\n250 rcpt\r\n354 go\r\n250 done\r\n"),
    "EHLO in TLS": ("EHLO+", b"250-x\r\n250 PIPELINING\r\n250 mail\r\n250 rcpt\r\n"),
    "STARTTLS": ("STARTTLS", b"220 go\r\n250-fake\r\n250 X\r\n"),
    "MAIL": ("MAIL", b"250 ok\r\n" * 100),
    "RCPT": ("RCPT", b"250 ok\r\n250 ok\r\n"),
    "RCPT and DATA": ("RCPT", b"250 ok\r\n354 go\r\n"),
    "DATA": ("DATA", b"354 go\r\n354 go\r\n"),
}


@pytest.mark.parametrize("case", SURPLUS)
def test_u11_more_replies_than_commands(danelaw, hop, case):
    """U-11: who answers what nobody asked has its connection closed, and acknowledges nothing."""
    stage, raw = SURPLUS[case]
    kind, how = at(stage, says(raw))
    h = hop(kind, **how)
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        reply = check_clean(c("RCPT TO:<b@%s>" % h.domain))
        if reply.code == 250:
            reply = check_clean(c("DATA"))
        if reply.code == 354:
            c.raw(stuff(MESSAGE))
            reply = check_clean(c.reply())
        assert reply.code == 451 and reply.split()[2] in (
            "connection-lost:", "connect-failed:", "tls-handshake:"), reply
        c("NOOP", 250)
    wait_over(h.mx)
    assert not has_dot(h.mx)
    if case.startswith("EHLO"):
        assert "MAIL" not in verbs(h.mx)


def test_u11_surplus_after_the_final_reply(danelaw, hop):
    """The message was taken; the connection is not trusted with another."""
    h = hop(replies={".": lambda c, text: "250 2.0.0 ok\r\n250 2.0.0 and another"})
    assert attempt(h.domain) == "250 2.0.0 ok"
    assert attempt(h.domain) == "250 2.0.0 ok"
    assert len(h.mx.connections) == 2


def test_unasked_reply_of_an_idle_connection(danelaw, hop):
    """A word on an idle connection ends it, and cannot answer the next message's first command."""
    def final(c, text):
        c.say("250 2.0.0 ok")
        c.stall(0.1)
        c.say("250 2.0.0 for the RSET", "250 2.1.0 for MAIL", "250 2.1.5 for RCPT")
        listen(c)
    h = hop(replies={".": final})
    assert attempt(h.domain).code == 250
    wait_over(h.mx)
    assert attempt(h.domain).code == 250
    assert len(h.mx.connections) == 2


# ---- other hosts ----

@pytest.mark.parametrize("stage", ["greeting", "EHLO", "nothing"])
@pytest.mark.parametrize("text", ["554 5.3.2 no mail here", "421 4.3.2 busy", "450 x"])
def test_r_smtp_79_refusing_host_means_next_host(danelaw, hop, stage, text):
    """5xx in greeting or EHLO is a failure of that host only."""
    replies = {"EHLO": text, "HELO": text}
    bad = {"script": says(text)} if stage == "greeting" else {"replies": replies}
    h = hop("pair", None if stage == "nothing" else bad, {})
    assert attempt(h.domain).code == 250
    assert len(h.mxs[1].messages) == 1
    assert danelaw.delivery_to("b@" + h.domain)["mx"].startswith("mx2.")


def test_u12_all_hosts_greet_with_554(danelaw, hop):
    """U-12: 4xx for the client, and the words of the best host."""
    h = hop("pair", {"script": says("554 5.3.2 first")}, {"script": says("554 5.3.2 second")})
    reply = attempt(h.domain)
    assert reply.startswith("451 4.4.1 connect-failed") and "554 5.3.2 first" in reply
    assert len(h.mxs[1].connections) == 1


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "body", "."])
def test_r_smtp_78_no_other_host_after_a_session_began(danelaw, hop, stage):
    """R-SMTP-72, -78: from the envelope on a failure is reported, not tried elsewhere."""
    _, how = at(stage, closes)
    h = hop("pair", how, {})
    assert attempt(h.domain, between=(lambda: wait_lost(danelaw, h)) if stage == "body" else None
                   ).startswith(LOST[stage])
    assert not h.mxs[1].connections


# ---- what it offers ----

def test_r_smtp_41_8bit_where_it_is_not_taken(danelaw, hop):
    """U-10, R-SMTP-41: declared: 554 5.6.3 at RCPT. Undeclared: at the dot, and none upstream."""
    h = hop(ehlo=("PIPELINING",))
    assert attempt(h.domain, mail="BODY=8BITMIME").startswith("554 5.6.3 no-8bitmime")
    assert "MAIL" not in verbs(h.mx)
    assert attempt(h.domain, b"Subject: x\r\n\r\n\xe4\r\n").startswith("554 5.6.3 no-8bitmime")
    assert not has_dot(h.mx) and not h.mx.messages
    assert attempt(h.domain, mail="BODY=7BIT").code == 250
    assert "BODY" not in " ".join(commands(h.mx))
    assert danelaw.delivery_to("b@" + h.domain)["status"] == "sent"


def test_r_smtp_41_8bit_where_it_is_taken(danelaw, hop):
    """R-SMTP-43: passed as it is, header and body, declared or not."""
    h = hop()
    text = b"Subject: gr\xfc\xdfe\r\n\r\n\xe4\xff\xfe\r\n"
    assert attempt(h.domain, text, mail="BODY=8BITMIME").code == 250
    assert attempt(h.domain, text).code == 250
    assert [m.data.endswith(text) for m in h.mx.messages] == [True, True]
    mails = [line for line in commands(h.mx) if line.startswith("MAIL")]
    assert [" BODY=8BITMIME" in line for line in mails] == [True, False]


def test_r_smtp_42_smtputf8_mismatch(danelaw, hop):
    h = hop(ehlo=("PIPELINING", "8BITMIME"))
    assert attempt(h.domain, mail="SMTPUTF8").startswith("550 5.6.7 no-smtputf8")
    assert "MAIL" not in verbs(h.mx)
    h = hop()
    assert attempt(h.domain, mail="SMTPUTF8 BODY=8BITMIME", users=("gr\u00fc\u00df",)).code == 250
    assert h.mx.messages[0].recipients[0].startswith("gr\u00fc\u00df@")


@pytest.mark.parametrize("size, limit, wanted", [
    (1000, "SIZE 10000", "SIZE=3048"), (10001, "SIZE 10000", "552 5.3.4 too-large"),
    (9000, "SIZE 10000", "SIZE=10000"), (10000, "SIZE 10000", "SIZE=10000"),
    (1000, "SIZE", "SIZE=3048"), (1000, "SIZE 0", "SIZE=3048"), (1000, "8BITMIME", None),
    (1000, "SIZE 99999999999999999999999", "SIZE=3048"), (1000, "SIZE -5", "SIZE=3048"),
    (1000, "size 500", "552 5.3.4 too-large")])
def test_r_smtp_17_size(danelaw, hop, size, limit, wanted):
    """Told on, with room for our Received field; refused at RCPT where it cannot fit."""
    h = hop(ehlo=("PIPELINING", limit))
    reply = attempt(h.domain, mail="SIZE=%d" % size)
    mails = [line for line in commands(h.mx) if line.startswith("MAIL")]
    if wanted and wanted.startswith("552"):
        assert reply.startswith(wanted) and not mails
        return
    assert reply.code == 250
    assert ("SIZE" in mails[0]) == bool(wanted)
    assert not wanted or mails[0].endswith(wanted)


def test_no_size_where_none_was_declared(danelaw, hop):
    h = hop()
    assert attempt(h.domain).code == 250
    assert "SIZE" not in " ".join(commands(h.mx))


@pytest.mark.parametrize("code", ["500", "502", "550"])
def test_helo_only_server(danelaw, hop, code):
    """RFC 5321 3.2: a server from before extensions gets mail without any."""
    h = hop(replies={"EHLO": code + " what?"})
    assert attempt(h.domain, mail="SIZE=1000 BODY=7BIT").code == 250
    assert verbs(h.mx)[:2] == ["EHLO", "HELO"]
    assert "MAIL FROM:<a@client.lab>" in commands(h.mx)
    assert attempt(h.domain, mail="BODY=8BITMIME").startswith("554 5.6.3")


def test_u10_the_second_ehlo_rules(danelaw, hop):
    """U-10, R-TLSSEC-03: what was offered in clear is forgotten."""
    h = hop("tls", ehlo=("PIPELINING", "SIZE 100000", "8BITMIME", "SMTPUTF8"), ehlo_tls=())
    assert attempt(h.domain, mail="SMTPUTF8").startswith("550 5.6.7")
    assert attempt(h.domain, mail="BODY=8BITMIME").startswith("554 5.6.3")
    assert attempt(h.domain, mail="SIZE=200000").code == 250
    assert "MAIL FROM:<a@client.lab>" in commands(h.mx)
    h = hop("tls", ehlo=("SIZE 10",), ehlo_tls=("8BITMIME", "SMTPUTF8", "STARTTLS", "SIZE 100000"))
    assert attempt(h.domain, mail="SIZE=2000 SMTPUTF8 BODY=8BITMIME").code == 250
    assert verbs(h.mx).count("STARTTLS") == 1


def test_r_smtp_49_our_name(danelaw, hop):
    """EHLO and HELO say [server] hostname, in clear and in TLS."""
    h = hop("tls")
    assert attempt(h.domain).code == 250
    assert [x for x in commands(h.mx) if x.startswith("EHLO")] == ["EHLO danelaw.lab"] * 2


def test_r_smtp_57_nothing_is_acknowledged_before_the_next_hop_does(danelaw, hop):
    h = hop(replies={".": lambda c, text: c.mx.gate.wait(10) and "250 2.0.0 now"})
    h.mx.gate = threading.Event()
    with Smtp() as c:
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<b@%s>" % h.domain, 250)
        c("DATA", 354)
        c.raw(stuff(MESSAGE))
        assert not select.select([c.sock], [], [], 0.3)[0]
        h.mx.gate.set()
        assert c.reply(250) == "250 2.0.0 now"


@pytest.mark.parametrize("how", ["whole", "cut"])
def test_t24_no_close_notify_after_the_final_reply(danelaw, hop, how):
    """T-24, R-TLSSEC-12: a whole reply counts however the connection ends; a cut one never."""
    def final(c, text):
        c.say(b"250 2.0.0 taken\r\n" if how == "whole" else b"250 2.0.0 tak")
        closes(c)  # shuts the socket down beneath TLS
    h = hop("tls", replies={".": final})
    reply = attempt(h.domain)
    if how == "whole":
        assert reply == "250 2.0.0 taken"
    else:
        assert reply.startswith("451 4.4.2 outcome-unknown")
    assert danelaw.delivery_to("b@" + h.domain)["status"] == ("sent" if how == "whole" else "unknown")


def test_r_tlssec_14_many_replies_in_one_record(danelaw, hop):
    """All that one TLS record held is worked off, though the socket has nothing more to tell."""
    users = ["u%d" % n for n in range(60)]

    def rcpt(c, line):
        c.held = getattr(c, "held", 0) + 1
        if c.held < len(users):
            return None
        c.say(b"250 2.1.5 ok\r\n" * len(users))
        return None
    h = hop("tls", replies={"RCPT": rcpt})
    # The polite answer would come too: this next hop only remembers the recipient.
    original = fakemx.ANSWERS["RCPT"]
    fakemx.ANSWERS["RCPT"] = lambda c, line, e: (
        e.recipients.append(fakemx.path(line)) if hasattr(c, "held") else original(c, line, e))
    try:
        with Smtp() as c:
            c.raw(b"MAIL FROM:<a@client.lab>\r\n" + b"".join(
                b"RCPT TO:<%s@%s>\r\n" % (u.encode(), h.domain.encode()) for u in users))
            for _ in range(len(users) + 1):
                c.reply(250)
            assert c.data(MESSAGE).code == 250
    finally:
        fakemx.ANSWERS["RCPT"] = original
    assert len(h.mx.messages[0].recipients) == len(users)
