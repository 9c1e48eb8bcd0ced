"""Policy hosts of MTA-STS: a real nginx, and a scripted one for what nginx will not do.

    web = Nginx("/var/lab/nginx", "198.18.1.1", ca)
    web.host("good.lab", policy("enforce", "mx.good.lab"))
    web.host("moved.lab", policy("enforce", "mx.moved.lab"), status=301)
    web.start()
    web.publish("good.lab", policy("none"))     # another text from now on; None: 404
    web.fetches("good.lab")                     # statuses of the requests so far: ["200", ...]

    chatty = ScriptedHost("198.18.1.2", endless, cert)

Each host is https://mta-sts.NAME/.well-known/mta-sts.txt.
"""
import os
import socket
import ssl
import subprocess
import threading

from zones import end, wait, write

PATH = "/.well-known/mta-sts.txt"

CONF = """
daemon off;
master_process off;
pid {0}/pid;
error_log {0}/error.log;
events {{ worker_connections 4096; }}
http {{
  log_format short "$host $status $request_method $request_uri $http_user_agent";
  access_log {0}/access.log short;
  server_names_hash_bucket_size 512;
  client_body_temp_path {0}/tmp; proxy_temp_path {0}/tmp; fastcgi_temp_path {0}/tmp;
  uwsgi_temp_path {0}/tmp; scgi_temp_path {0}/tmp;
  server {{ listen {1}:443 ssl default_server; ssl_reject_handshake on; }}
"""

HOST = """
  server {{
    listen {address}:443 ssl;
    server_name mta-sts.{name};
    ssl_certificate {cert.chain};
    ssl_certificate_key {cert.key};
    location = {path} {{ root {folder}; types {{ }} default_type "{type}"; {more} }}
  }}
"""


def policy(mode, *mx, max_age=86400):
    """The text that RFC 8461 3.2 wants; lines end in CRLF, as its ABNF says."""
    lines = ["version: STSv1", "mode: " + mode, *["mx: " + m for m in mx], "max_age: %d" % max_age]
    return "".join(line + "\r\n" for line in lines)


class Nginx:
    def __init__(self, folder, address, ca):
        self.folder, self.address, self.ca = folder, address, ca
        self.conf = CONF.format(folder, address)
        self.process = None
        os.makedirs(folder + "/tmp")

    def host(self, name, text, *, cert=None, status=200, type="text/plain", gzip=False, rate=None):
        """`cert`: another than a good one of the lab's CA. `status`: in place of the text. `rate`:
        octets a second. `gzip`: compressed, whatever the client accepts."""
        more = "return %d%s;" % (status, " https://%s%s" % (self.address, PATH)
                                 if status in (301, 302) else "") if status != 200 else ""
        more += " limit_rate %d;" % rate if rate else ""
        more += " gzip_static always;" if gzip else ""
        self.conf += HOST.format(
            address=self.address, name=name, path=PATH, folder="%s/%s" % (self.folder, name),
            cert=cert or self.ca.issue("mta-sts." + name), type=type, more=more)
        self.publish(name, text)
        if gzip:
            subprocess.run(["gzip", self._file(name)], check=True)

    def publish(self, name, text):
        os.makedirs(os.path.dirname(self._file(name)), exist_ok=True)
        if text is None:
            os.remove(self._file(name))
            return
        with open(self._file(name) + ".new", "w", newline="") as f:
            f.write(text)
        os.rename(self._file(name) + ".new", self._file(name))

    def start(self):
        conf = self.folder + "/nginx.conf"
        write(conf, self.conf + "}\n")
        with open(self.folder + "/log", "ab") as log:
            self.process = subprocess.Popen(["nginx", "-p", self.folder, "-c", conf],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait(self._listens, 10, "nginx serves policies")

    def stop(self):
        end(self.process)

    def fetches(self, name, count=0):
        """Once there are so many: nginx logs a request when it has answered it."""
        def found():
            with open(self.folder + "/access.log") as f:
                requests = [line.split(" ") for line in f if line.endswith("\n")]
            assert all(r[2:4] == ["GET", PATH] for r in requests), requests
            return [r[1] for r in requests if r[0] == "mta-sts." + name]
        wait(lambda: len(found()) >= count, 5, "%d fetches for %s" % (count, name))
        return found()

    def _file(self, name):
        return "%s/%s%s" % (self.folder, name, PATH)

    def _listens(self):
        assert self.process.poll() is None, open(self.folder + "/error.log").read()
        try:
            socket.create_connection((self.address, 443), 1).close()
            return True
        except OSError:
            return False


class ScriptedHost:
    """Does what the script says, after TLS and a request where it has a certificate.

    .most: connections at a time, so far."""

    def __init__(self, address, script, cert=None):
        self.address, self.script, self.cert = address, script, cert
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.open = self.most = 0
        self.listener = socket.create_server((address, 443), backlog=1024)
        self.listener.settimeout(0.1)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def stop(self):
        self.stopping.set()
        self.acceptor.join(5)
        self.listener.close()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, peer = self.listener.accept()
            except socket.timeout:
                continue
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        self._count(1)
        try:
            sock.settimeout(60)
            with self._tls(sock) as stream:
                self.script(self, stream)
        except OSError:
            pass  # the client has gone, as it should with these scripts
        finally:
            self._count(-1)

    def _tls(self, sock):
        if not self.cert:
            return sock
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert.chain, self.cert.key)
        stream = context.wrap_socket(sock, server_side=True)
        stream.recv(65536)
        return stream

    def _count(self, change):
        with self.lock:
            self.open += change
            self.most = max(self.most, self.open)


def stall(host, stream):
    """Until the client leaves, or the lab ends."""
    stream.settimeout(0.2)
    while not host.stopping.is_set():
        try:
            if not stream.recv(65536):
                return
        except socket.timeout:
            pass


def endless(host, stream):
    """A body in chunks that never ends."""
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n")
    while not host.stopping.is_set():
        stream.sendall(b"10\r\nversion: STSv1\r\n\r\n" * 100)
