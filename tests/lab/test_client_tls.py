"""STARTTLS towards clients: who uses it, who cannot, and who sits between."""
import re
import ssl
import subprocess
import time

import pytest

from postfix import PostfixClient
from program import PROGRAM, Danelaw, ini, settings
from smtp import MESSAGE, Smtp, send
from zones import wait, write

SERVER = ("127.0.0.1", 2527)


def declare(lab):
    lab.domain("ctls.lab", "3 1 1")


def changes(certificate, key):
    return {"listener edge": {"listen": "127.0.0.1:2527", "clients": "127.0.0.0/8",
                              "tls_certificate": certificate, "tls_key": key}}


@pytest.fixture(scope="module")
def offering(lab):
    cert = lab.cert("sender.lab")
    with Danelaw(lab, {**changes(cert.chain, cert.key), "timeouts": {"handshake": "2s", "idle_client": "20s"},
                       "server": {"hostname": "sender.lab"}}) as d:
        yield d


def begin_tls(c, **how):
    c("STARTTLS", 220)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for key, value in how.items():
        setattr(context, key, value)
    c.sock = context.wrap_socket(c.sock)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_message_over_tls(lab, offering, version):
    with Smtp(SERVER) as c:
        assert "STARTTLS" in c.extensions
        begin_tls(c, maximum_version=version)
        c("MAIL FROM:<a@client.lab>", 503)  # what was said before is forgotten (RFC 3207 4.2)
        assert "STARTTLS" not in c("EHLO tls.client.lab", 250).lines
        c("STARTTLS", 502)
        user = "v" + version.name
        c("MAIL FROM:<a@client.lab>", 250)
        c("RCPT TO:<%s@ctls.lab>" % user, 250)
        c.data(MESSAGE, 250)
        c("QUIT", 221)
    received = lab["ctls.lab"].delivered(user)[0]
    assert re.search(rb"Received: from tls.client.lab [^;]*with ESMTPS id", received)


def test_clear_text_stays_possible(lab, offering):
    assert send("clear@ctls.lab", server=SERVER).code == 250
    assert b"with ESMTP id" in lab["ctls.lab"].delivered("clear")[0]
    assert "STARTTLS" not in Smtp().extensions  # a listener without certificate


def test_old_versions_are_refused(offering):
    with Smtp(SERVER) as c, pytest.raises((ssl.SSLError, ConnectionError)):
        begin_tls(c, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    wait(lambda: "TLS with the client failed" in offering.log, 5, "the log tells it")


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"EHLO x\r\nMAIL FROM:<evil@client.lab>\r\n", b"x"])
def test_commands_behind_starttls_end_the_session(offering, behind):
    """R-TLSSEC-02, CVE-2011-0411: nothing that was sent in clear is heard under TLS."""
    with Smtp(SERVER) as c:
        c.raw(b"STARTTLS\r\n" + behind)
        assert c.reply(503).startswith("503 5.5.1") and c.is_closed()


def test_commands_in_place_of_the_handshake(offering):
    """R-TLSSEC-02"""
    with Smtp(SERVER) as c:
        c("STARTTLS", 220)
        c.raw(b"MAIL FROM:<a@client.lab>\r\n")
        with pytest.raises((ConnectionError, AssertionError), match="closed|reset"):
            c.reply()  # an alert of TLS may come, which is no line
    with Smtp(SERVER) as c:
        c("STARTTLS now", 501)
        c("MAIL FROM:<a@client.lab>", 250)
        c("STARTTLS", 503)
        c("NOOP", 250)


def test_a_silent_handshake_ends(offering):
    """R-SMTP-38: in its own time, though the patience for the next command began only a moment before."""
    with Smtp(SERVER) as c:
        began = time.monotonic()
        c("STARTTLS", 220)
        assert c.is_closed() and 1.8 < time.monotonic() - began < 9


def test_the_client_leaves_within_the_handshake(offering):
    with Smtp(SERVER) as c:
        c("STARTTLS", 220)
        c.raw(b"\x16\x03\x01\x02\x00\x01")
    assert send("after@ctls.lab", server=SERVER).code == 250


def test_no_ticket_is_given(offering):
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "127.0.0.1:2527",
                           "-ign_eof"], input="QUIT\r\n", capture_output=True, text=True, timeout=20)
    assert "221 2.0.0" in done.stdout and "Session Ticket" not in done.stdout
    assert "Verification error: self-signed certificate" in done.stdout


def test_swaks(lab, offering):
    done = subprocess.run(["swaks", "-s", "127.0.0.1:2527", "-tls", "-f", "a@client.lab",
                           "-t", "swaks@ctls.lab"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "TLS started" in done.stdout, done.stdout
    assert b"with ESMTPS id" in lab["ctls.lab"].delivered("swaks")[0]


def test_postfix_that_insists(lab, offering):
    """And whose full name is danelaw's own: with greeting_name it sees no loop to itself."""
    client = PostfixClient(lab.new_folder("ctls-postfix"), "[127.0.0.1]:2527",
                           smtp_tls_security_level="encrypt")
    client.start()
    try:
        assert send("pf@ctls.lab", server=("127.0.0.1", 2501)).code == 250
        assert b"with ESMTPS id" in lab["ctls.lab"].delivered("pf")[0]
    finally:
        client.stop()


@pytest.mark.parametrize("fault, said", [
    ("missing", "tls_certificate"), ("garbage", "tls_certificate"), ("other-key", "tls_key"),
    ("no-key", "tls_key")])
def test_bad_certificates_are_told(lab, fault, said):
    cert, other = lab.cert("danelaw.lab"), lab.cert("danelaw.lab")
    path = lab.new_folder("cert")
    if fault == "garbage":
        write(path, "-----BEGIN CERTIFICATE-----\nx\n")
    files = {"missing": (path, cert.key), "garbage": (path, cert.key),
             "other-key": (cert.chain, other.key), "no-key": (cert.chain, path)}[fault]
    conf = lab.new_folder("ctls") + ".conf"
    write(conf, ini(settings(lab, changes(*files))))
    for command in (["-t"], ["serve"]):
        done = subprocess.run([PROGRAM, *command, "-c", conf], capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 78 and "[listener edge] %s " % said in done.stderr, done.stderr
