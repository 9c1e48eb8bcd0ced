"""danelaw tlsa beside openssl, ldns-dane, danetool and hash-slinger's tlsa; what it prints is
loaded and served by NSD, and compared with what the lab's zones and servers have."""
import itertools
import os
import subprocess

import dns.message
import dns.query
import dns.rdatatype
import pytest

from certs import CA, EC, openssl, tlsa
from program import PROGRAM, SANITIZER, ini, settings
from world import STALE
from zones import CORRUPT, SERVERS, UNSIGNED, write

KINDS = list(itertools.product(range(4), range(2), range(3)))
KEYS = {
    "rsa": ("-newkey", "rsa:2048"), "p256": EC,
    "p384": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "ed25519": ("-newkey", "ed25519"),
    "rsa-pss": ("-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"),
}
pytestmark = pytest.mark.usefixtures("lab")
SERVED = ("rsa", "ed25519")  # loaded into a name server
CERTS = {}  # kind of key to a leaf under a CA of the same kind


def declare(lab):
    records = ""
    for key, how in KEYS.items():
        ca = CA(lab.folder + "/certs", key + " CA", key=how)
        CERTS[key] = ca.issue("mx.%s.lab" % key, key=how)
        for kind, form in itertools.product(KINDS, ("plain", "generic")) if key in SERVED else ():
            records += made(CERTS[key].chain, kind, "--name", owner(key, kind, form)[9:],
                            *["--" + form] * (form == "generic")).stdout
    lab.zone("tlsa.plain", records, UNSIGNED)
    lab.domain("tlsa-good.lab", "3 1 1")
    lab.domain("tlsa-unsigned.lab", "3 1 1", UNSIGNED)
    lab.domain("tlsa-stale.lab", STALE)
    lab.domain("tlsa-none.lab")
    lab.domain("tlsa-unusable.lab", "1 1 1")
    lab.domain("tlsa-ranked.lab", ["3 1 1", "3 1 2 " + "5a" * 64])
    lab.domain("tlsa-beside.lab", ["3 1 1", STALE])
    lab.domain("tlsa-bogus.lab", "3 1 1", CORRUPT + " TLSA")
    lab.domain("tlsa-ta.lab", "2 0 1", cert=lab.ca.issue("mx.tlsa-ta.lab"))
    both = [lab.cert("mx.tlsa-both.lab", key=KEYS[key]) for key in ("rsa", "p256")]
    lab.domain("tlsa-both.lab", "3 1 1", cert=both[0], postfix={
        "smtpd_tls_chain_files": ",".join(cert.combined for cert in both)})
    CERTS["both"] = both
    lab.domain("tlsa-clear.lab", cert=None)


def owner(key, kind, form):
    return "_25._tcp.%s-%d%d%d.%s.tlsa.plain" % (key, *kind, form)


def run(*words, **how):
    out = subprocess.run([*how.pop("wrap", ()), PROGRAM, "tlsa", *words], capture_output=True,
                         text=True, timeout=60, stdin=subprocess.DEVNULL, **how)
    assert not SANITIZER.search(out.stderr), out.stderr
    return out


def made(path, kind, *words):
    out = run("--usage", str(kind[0]), "--selector", str(kind[1]), "--matching", str(kind[2]),
              *words, path)
    assert out.returncode == 0, out.stderr
    return out


@pytest.fixture(scope="module")
def conf(lab):
    path = lab.new_folder("tlsa") + ".conf"
    write(path, ini(settings(lab)))
    return path


# ---- records ----

def association(key, kind):
    """By the openssl command alone."""
    cert = CERTS[key] if kind[0] in (1, 3) else CERTS[key].issuer
    data = cert.spki if kind[1] else cert.der
    if kind[2]:
        data = openssl("dgst", "-sha%d" % (256 * kind[2]), "-binary", data=data)
    return "%d %d %d %s" % (*kind, data.hex())


@pytest.mark.parametrize("key", KEYS)
def test_openssl_agrees(key):
    for kind in KINDS:
        out = made(CERTS[key].chain, kind, "--name", "mx.lab")
        assert out.stdout == "_25._tcp.mx.lab. IN TLSA %s\n" % association(key, kind)


@pytest.mark.parametrize("key", KEYS)
def test_forms_of_a_key(lab, key):
    """Public and private, PEM and DER, give the record of the certificate."""
    cert, stem = CERTS[key], lab.folder + "/form-" + key
    wanted = "_25._tcp IN TLSA %s\n" % association(key, (3, 1, 1))
    forms = [("pkey",), ("pkey", "-outform", "DER"), ("pkey", "-pubout"),
             ("pkey", "-pubout", "-outform", "DER")]
    if key in ("rsa", "p256", "p384"):
        forms += [("pkey", "-traditional"), ("pkey", "-traditional", "-outform", "DER")]
    if key == "rsa":
        forms += [("rsa", "-RSAPublicKey_out"), ("rsa", "-RSAPublicKey_out", "-outform", "DER")]
    for n, form in enumerate(forms):
        path = "%s-%d" % (stem, n)
        openssl(*form, "-in", cert.key, "-out", path)
        assert run(path).stdout == wanted, form
    assert run(cert.combined).stdout == wanted
    assert run(cert.pem).stdout == wanted


def served(name):
    answer = dns.query.tcp(dns.message.make_query(name, "TLSA"), SERVERS[2], timeout=20)
    assert len(answer.answer) == 1 and len(answer.answer[0]) == 1, answer
    r = answer.answer[0][0]
    return "%d %d %d %s" % (r.usage, r.selector, r.mtype, r.cert.hex())


@pytest.mark.parametrize("key", SERVED)
def test_nsd_serves_both_forms(lab, key):
    """RFC 3597: what was loaded as TYPE52 is the same record."""
    for kind in KINDS:
        wanted = association(key, kind)
        assert served(owner(key, kind, "plain")) == wanted
        assert served(owner(key, kind, "generic")) == wanted


def output(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("key", ["rsa", "p256", "p384", "ed25519"])
def test_danetool_agrees(key):
    """It knows digests alone."""
    for usage, selector, matching in itertools.product(range(4), range(2), (1, 2)):
        cert = CERTS[key] if usage in (1, 3) else CERTS[key].issuer
        words = ["danetool", "--tlsa-rr", "--host", "mx.lab", "--port", "25", "--load-certificate",
                 cert.pem, "--hash", "sha256" if matching == 1 else "sha512"]
        words += ["--x509"] * (selector == 0) + ["--no-domain"] * (usage < 2)
        words += ["--ca"] * (usage in (0, 2))
        fields = output(*words).split("(", 1)[1].split(")")[0].split()
        ours = made(CERTS[key].chain, (usage, selector, matching)).stdout.split()[3:]
        assert [int(f, 16) for f in fields] == [int(f, 16) for f in ours]


@pytest.mark.parametrize("n, key", enumerate(["rsa", "p256", "p384", "ed25519"]))
def test_hash_slinger_agrees(n, key):
    """Each kind once, as it takes its time; of RSA-PSS it makes a key for any use of RSA."""
    for kind in KINDS[n::4]:
        cert = CERTS[key] if kind[0] in (1, 3) else CERTS[key].issuer
        line = output("tlsa", "--create", "--certificate", cert.pem, "--port", "25", "--usage",
                      str(kind[0]), "--selector", str(kind[1]), "--mtype", str(kind[2]), "mx.lab")
        line = line.splitlines()[-1]  # before it: what its PKIX validation says
        assert line.split()[3:] == association(key, kind).split(), line


@pytest.mark.parametrize("key", KEYS)
def test_ldns_dane_agrees(key):
    cert = CERTS[key]
    for kind in KINDS:
        line = output("ldns-dane", "-n", "-d", "-f", cert.issuer.pem, "-c", cert.chain, "create",
                      "mx.lab", "25", *map(str, kind))
        assert line.split()[4:] == association(key, kind).split(), line


def test_nsupdate_takes_the_script():
    """Every line is understood; `show` stands for `send`, as NSD takes no updates."""
    for more in [], ["--generic"], ["--ttl", "60", "--matching", "0"]:
        out = run("--nsupdate", "--name", "mx.lab.", *more, CERTS["rsa"].chain,
                  CERTS["p256"].chain)
        assert out.stdout.endswith("\nsend\n")
        shown = subprocess.run(["nsupdate"], input=out.stdout.replace("send", "show"), text=True,
                               capture_output=True, timeout=60)
        assert shown.returncode == 0 and not shown.stderr, shown.stderr
        assert shown.stdout.count("_25._tcp.mx.lab.") == 2
        assert "\t%s\tIN\tTLSA\t3 1 " % ("60" if "--ttl" in more else "3600") in shown.stdout
        assert "delete" not in out.stdout


def test_names_and_numbers():
    path = CERTS["rsa"].pem
    assert run("--name", "MX.Lab.", "--port", "587", "--ttl", "300", path).stdout.startswith(
        "_587._tcp.mx.lab. 300 IN TLSA 3 1 1 ")
    assert run("--name", "m\u00fcx.lab", path).stdout.startswith("_25._tcp.xn--mx-xka.lab. IN ")


# ---- warnings and mistakes ----

def test_warnings():
    """On stderr, where senders would not use the record; none for what is right."""
    for kind in KINDS:
        heard = made(CERTS["rsa"].chain, kind).stderr
        assert ("usage %d as unusable" % kind[0] in heard) == (kind[0] < 2)
        assert ("matching type 0" in heard) == (kind[2] == 0)
        assert (heard == "") == (kind[0] >= 2 and kind[2] > 0)
    assert "no CA" in made(CERTS["rsa"].pem, (2, 1, 1)).stderr
    assert "bare key" in made(CERTS["rsa"].key, (2, 1, 1)).stderr


@pytest.mark.parametrize("code, words, said", [
    (64, [], "give a FILE"), (64, ["--usage", "4", "x"], "0 to 3"),
    (64, ["--usage", "-1", "x"], "0 to 3"), (64, ["--selector", "2", "x"], "0 or 1"),
    (64, ["--matching", "3", "x"], "0, 1 or 2"), (64, ["--port", "0", "x"], "65535"),
    (64, ["--ttl", "0", "x"], "seconds"), (64, ["--ttl", "99999999999999999999", "x"], "seconds"),
    (64, ["--name", "a b", "x"], "no host name"), (64, ["--name", "", "x"], "no host name"),
    (64, ["--connect", "a:b"], "HOST:PORT"), (64, ["--connect", ":25"], "HOST:PORT"),
    (64, ["--nsupdate", "x"], "needs --name"), (64, ["--verify", "x"], "needs --name"),
    (64, ["--verify", "--generic", "--name", "mx.lab", "x"], "--generic"),
    (64, ["--verify", "--ttl", "9", "--name", "mx.lab", "x"], "--ttl"),
    (64, ["--name", ".".join(["a" * 62] * 4), "x"], "too long"),
    (64, ["--nonsense", "x"], "unrecognized"), (69, ["/nonexistent"], "No such file"),
    (69, ["/"], "not a regular file"), (69, ["/dev/zero"], "not a regular file"),
    (69, ["/etc/passwd"], "neither a certificate nor a key"),
])
def test_mistakes(code, words, said):
    out = run(*words)
    assert (out.returncode, out.stdout) == (code, "") and said in out.stderr, out.stderr


def test_files_that_are_none(lab):
    folder = lab.new_folder("tlsa-files")
    os.makedirs(folder)
    os.mkfifo(folder + "/fifo")
    with open(folder + "/huge", "wb") as f:
        f.truncate(1 << 40)
    write(folder + "/cut", open(CERTS["rsa"].pem).read()[:700])
    encrypted = folder + "/encrypted"
    openssl("pkcs8", "-topk8", "-in", CERTS["rsa"].key, "-out", encrypted, "-passout", "pass:x")
    for path, said in {"/fifo": "regular", "/huge": "larger", "/cut": "damaged",
                       "/encrypted": "encrypted private key"}.items():
        out = run(CERTS["rsa"].pem, folder + path)
        assert (out.returncode, out.stdout) == (69, "") and said in out.stderr, out.stderr
        assert out.stderr.count("\n") == 1


def test_key_without_certificate():
    out = run("--selector", "0", CERTS["rsa"].key)
    assert (out.returncode, out.stdout) == (64, "") and "only --selector 1" in out.stderr


def test_output_that_does_not_arrive():
    with open("/dev/full", "w") as full:
        out = subprocess.run([PROGRAM, "tlsa", CERTS["rsa"].pem], stdout=full, text=True,
                             stderr=subprocess.PIPE)
    assert out.returncode == 69 and "No space left" in out.stderr


def test_an_ordinary_user_without_configuration(lab):
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    out = run(CERTS["rsa"].pem, wrap=nobody, env={"PATH": os.environ["PATH"]}, cwd="/")
    assert out.returncode == 0 and out.stdout and not out.stderr, out.stderr


# ---- a roll-over ----

def test_roll_over():
    out = run("--name", "mx.lab", "--ttl", "600", CERTS["rsa"].pem, CERTS["p256"].pem)
    wanted = ["_25._tcp.mx.lab. 600 IN TLSA " + association(key, (3, 1, 1))
              for key in ("rsa", "p256")]
    assert out.stdout.splitlines() == wanted
    steps = out.stderr
    assert "1200 s" in steps and steps.count("\n; ") >= 4
    assert steps.rstrip().endswith(association("rsa", (3, 1, 1)))
    assert "wait" not in out.stdout


def test_roll_over_of_a_certificate_with_the_same_key():
    out = run(CERTS["rsa"].pem, CERTS["rsa"].key)
    assert out.stdout.count("\n") == 1 and "stay the same" in out.stderr


# ---- what DNS has ----

def verify(conf, name, *files):
    out = run("--verify", "--name", "mx." + name, "-c", conf, *files)
    return out.returncode, out.stdout + out.stderr


@pytest.mark.parametrize("name, code, said", [
    ("tlsa-good.lab", 0, "published, signed and matching"),
    ("tlsa-ta.lab", 0, "published, signed and matching"),
    ("tlsa-beside.lab", 0, "stale"),
    ("tlsa-unsigned.lab", 1, "not signed"),
    ("tlsa-none.lab", 1, "no TLSA record"),
    ("tlsa-unusable.lab", 1, "no record that SMTP can use"),
    ("tlsa-stale.lab", 2, "refuses"),
    ("tlsa-ranked.lab", 2, "ignored"),
    ("tlsa-bogus.lab", 3, "fails validation"),
])
def test_verify(lab, conf, name, code, said):
    """R-DANE-16 among them: a SHA-512 record that is wrong makes a right SHA-256 one useless."""
    found, text = verify(conf, name, lab[name].cert.chain)
    assert (found, said in text) == (code, True), text


def test_verify_shows_each_record(lab, conf):
    d = lab["tlsa-beside.lab"]
    text = verify(conf, d.name, d.cert.pem)[1]
    assert "  secure, TTL " in text
    assert "  match     TLSA %s (%s)\n" % (tlsa(d.cert), d.cert.pem) in text
    assert "  stale     TLSA %s\n" % STALE in text


def test_verify_without_the_chain(lab, conf):
    """Whether a CA fits that nobody gave cannot be told; that a key does not, can."""
    d = lab["tlsa-ta.lab"]
    for path in d.cert.pem, d.cert.key:
        code, text = verify(conf, d.name, path)
        assert code == 3 and "give the whole chain" in text and "  unknown   TLSA 2 0 1" in text


def test_verify_before_a_roll_over(lab, conf):
    d = lab["tlsa-good.lab"]
    code, text = verify(conf, d.name, d.cert.pem, CERTS["p256"].pem)
    assert code == 1 and "what comes next is not yet" in text
    assert "  missing   TLSA " + association("p256", (3, 1, 1)) in text


# ---- what a server shows ----

def test_connect(lab, conf):
    d = lab["tlsa-good.lab"]
    for host in d.mx, d.mx + ":25", d.mx + ".":
        out = run("--connect", host, "-c", conf)
        assert out.returncode == 0, out.stderr
        assert out.stdout == "_25._tcp.%s. IN TLSA %s\n" % (d.mx, tlsa(d.cert))
    out = run("--connect", d.address, "-c", conf)
    assert out.stdout == "_25._tcp IN TLSA %s\n" % tlsa(d.cert)


def test_connect_sees_the_chain(lab, conf):
    out = run("--connect", "mx.tlsa-ta.lab", "--usage", "2", "-c", conf)
    assert out.stdout.split(" TLSA ")[1] == tlsa(lab.ca, 2) + "\n"


def test_connect_sees_both_keys(lab, conf):
    """A record for one of them only would be refused by who is shown the other."""
    out = run("--connect", "mx.tlsa-both.lab", "-c", conf)
    assert sorted(line.split(" TLSA ")[1] for line in out.stdout.splitlines()) == sorted(
        tlsa(cert) for cert in CERTS["both"])
    assert "Roll-over" not in out.stderr
    out = run("--connect", "mx.tlsa-both.lab", "--verify", "-c", conf)
    assert out.returncode == 1 and "not all certificates of the server" in out.stdout


def test_connect_and_verify(lab, conf):
    for name, code in (("tlsa-good.lab", 0), ("tlsa-stale.lab", 2), ("tlsa-none.lab", 1)):
        assert run("--connect", "mx." + name, "--verify", "-c", conf).returncode == code


def test_connect_with_what_comes_next(lab, conf):
    d = lab["tlsa-good.lab"]
    out = run("--connect", d.mx, "-c", conf, CERTS["p256"].pem)
    assert [line.split(" TLSA ")[1] for line in out.stdout.splitlines()] == [
        tlsa(d.cert), association("p256", (3, 1, 1))]
    assert tlsa(d.cert) in out.stderr


@pytest.mark.parametrize("host, said", [
    ("mx.tlsa-clear.lab", "STARTTLS"), ("mx.tlsa-good.lab:9", "refused"),
    ("nothing.tlsa-good.lab", "no address"),
])
def test_connect_fails(conf, host, said):
    out = run("--connect", host, "-c", conf)
    assert (out.returncode, out.stdout) == (69, "") and said in out.stderr, out.stderr
