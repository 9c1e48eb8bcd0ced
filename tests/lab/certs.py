"""Certificates for the lab, made by the openssl command, and the TLSA records that go with them.

    ca = CA(folder, "lab CA")
    cert = ca.issue("mx.good.lab")                  # leaf under the CA; the chain file holds both
    cert = self_signed(folder, "mx.good.lab", days=-1)        # expired
    tlsa(cert, 3, 1, 1)                             # "3 1 1 ab12..." for a zone file
"""
import hashlib
import itertools
import os
import subprocess

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
_serial = itertools.count(1)


def openssl(*args, data=None):
    return subprocess.run(("openssl",) + args, input=data, check=True, capture_output=True).stdout


class Cert:
    """A key and a certificate; `chain` is what a server sends, `combined` is key and chain."""

    def __init__(self, stem, issuer=None):
        self.key, self.pem, self.chain, self.combined = (
            stem + end for end in (".key", ".pem", ".chain", ".both"))
        self.issuer = issuer
        chain = [read(self.pem)]
        while issuer:
            chain.append(read(issuer.pem))
            issuer = issuer.issuer
        write(self.chain, "".join(chain))
        write(self.combined, read(self.key) + "".join(chain))
        os.chmod(self.combined, 0o644)
        os.chmod(self.key, 0o644)  # Exim reads it as its own user

    @property
    def der(self):
        return openssl("x509", "-in", self.pem, "-outform", "DER")

    @property
    def spki(self):
        pem = openssl("x509", "-in", self.pem, "-noout", "-pubkey")
        return openssl("pkey", "-pubin", "-outform", "DER", data=pem)


def make(folder, subject, names=(), issuer=None, days=30, is_ca=False, key=EC, digest="sha256",
         more=()):
    """`days` may be negative: a certificate that has expired. `more`: extensions."""
    stem = os.path.join(folder, "%d-%s" % (next(_serial), subject.replace("*", "star") or "empty"))
    extensions = ["basicConstraints=critical,CA:" + ("TRUE" if is_ca else "FALSE"), *more]
    if names:
        extensions.append("subjectAltName=" + ",".join("DNS:" + n for n in names))
    request = ["req", "-new", *key, "-nodes", "-keyout", stem + ".key", "-out", stem + ".csr",
               "-subj", "/CN=" + subject if subject else "/"]
    for e in extensions:
        request += ["-addext", e]
    openssl(*request)
    signer = ("-CA", issuer.pem, "-CAkey", issuer.key) if issuer else ("-key", stem + ".key")
    openssl("x509", "-req", "-in", stem + ".csr", "-copy_extensions", "copyall", "-days", str(days),
            "-" + digest, *signer, "-out", stem + ".pem")
    return Cert(stem, issuer)


def self_signed(folder, *names, days=30, key=EC):
    return make(folder, names[0] if names else "", names, days=days, key=key)


class CA(Cert):
    def __init__(self, folder, name, issuer=None, **how):
        made = make(folder, name, issuer=issuer, days=60, is_ca=True, **how)
        super().__init__(made.pem[: -len(".pem")], issuer)
        self.folder = folder

    def issue(self, *names, days=30, **how):
        return make(self.folder, names[0], names, issuer=self, days=days, **how)


def tlsa(cert, usage=3, selector=1, matching=1):
    data = cert.spki if selector == 1 else cert.der
    if matching:
        data = {1: hashlib.sha256, 2: hashlib.sha512}[matching](data).digest()
    return "%d %d %d %s" % (usage, selector, matching, data.hex())


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
