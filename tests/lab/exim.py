"""Real Exim (with GnuTLS): a receiver, and a sender whose smarthost is danelaw."""
import os
import shutil
import socket
import subprocess

from maildir import Maildir
from netlab import HERE
from zones import end, wait, write

BASE = """
primary_hostname = {name}
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
local_interfaces = {address}
daemon_smtp_ports = {port}
acl_smtp_rcpt = accept
acl_smtp_data = accept
never_users = root
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = 60M
accept_8bitmime = true
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
split_spool_directory = false
tls_require_ciphers = NORMAL
"""

RECEIVER = """
tls_advertise_hosts = *
tls_certificate = {cert.chain}
tls_privatekey = {cert.key}

begin routers
all:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory
  user = Debian-exim
  group = Debian-exim
  envelope_to_add
  return_path_add
"""

SENDER = """
tls_advertise_hosts =

begin routers
outbound:
  {router}
  transport = smtp

begin transports
smtp:
  driver = smtp
  hosts_try_fastopen =

begin retry
* * F,1h,5m
"""

SMARTHOST = """driver = manualroute
  route_list = * 127.0.0.1::2525
  self = send"""

DNSLOOKUP = """driver = dnslookup"""


class Exim:
    def __init__(self, folder, address, port, name, text, host=HERE, **values):
        self.folder, self.address, self.port, self.host = folder, address, port, host
        self.conf = folder + "/exim.conf"
        for sub in ("spool", "log", "mail"):
            os.makedirs("%s/%s" % (folder, sub))
            shutil.chown("%s/%s" % (folder, sub), "Debian-exim", "Debian-exim")
        write(self.conf, (BASE + text).format(folder=folder, address=address, port=port, name=name,
                                              **values))
        os.makedirs("/etc/exim4", exist_ok=True)
        with open("/etc/exim4/trusted_configs", "a") as f:
            f.write(self.conf + "\n")
        self.process = None

    def start(self):
        command = [*self.host.wrap, "exim4", "-C", self.conf, "-bdf", "-q10m"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait(self._answers, 10, "Exim on %s:%d" % (self.address, self.port))

    def stop(self):
        end(self.process)

    def command(self, *words):
        return self.host.run("exim4", "-C", self.conf, *words)

    @property
    def mainlog(self):
        with open(self.folder + "/log/mainlog") as f:
            return f.read()

    def _answers(self):
        try:
            with self.host.inside(), socket.create_connection((self.address, self.port), 1):
                return True
        except OSError:
            return False


class EximReceiver(Exim):
    def __init__(self, folder, address, name, cert):
        super().__init__(folder, address, 25, name, RECEIVER, cert=cert)
        self.maildir = Maildir(folder + "/mail", "Envelope-to")


class EximClient(Exim):
    """A stock sender: everything goes to danelaw as its smarthost; takes mail on port 2502.
    `router=DNSLOOKUP`: to the recipients' mail hosts, by its own lookups."""

    port = 2502

    def __init__(self, folder, router=SMARTHOST, host=HERE):
        super().__init__(folder, "127.0.0.1", self.port, "sender.lab", SENDER, host, router=router)

    def queue(self):
        """The ids of the messages that wait."""
        listing = self.command("-bp").splitlines()
        return [line.split()[2] for line in listing if "<" in line]
