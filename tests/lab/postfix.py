"""Real Postfix: one instance that receives at many addresses, another that sends through danelaw.

    mx = PostfixReceiver("/var/lab/postfix")
    mx.service("198.18.1.1", "mx.good.lab", cert)
    mx.service("198.18.1.2", "mx.small.lab", cert, message_size_limit=100000)
    mx.start()
    mx.maildir.wait_for("b@good.lab")         # its messages
"""
import json
import os
import shutil

from maildir import Maildir
from netlab import HERE
from zones import write

BASE = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/maillog
maillog_file_prefixes = /
inet_protocols = all
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8 198.18.0.0/15 [2001:db8:25::]/48
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
in_flow_delay = 0
default_process_limit = 50
enable_long_queue_ids = yes
"""

SERVICES = """
pickup     unix       n - n 60    1 pickup
cleanup    unix       n - n -     0 cleanup
qmgr       unix       n - n 300   1 qmgr
tlsmgr     unix       - - n 1000? 1 tlsmgr
rewrite    unix       - - n -     - trivial-rewrite
bounce     unix       - - n -     0 bounce
defer      unix       - - n -     0 bounce
trace      unix       - - n -     0 bounce
verify     unix       - - n -     1 verify
flush      unix       n - n 1000? 0 flush
proxymap   unix       - - n -     - proxymap
proxywrite unix       - - n -     1 proxymap
smtp       unix       - - n -     - smtp
relay      unix       - - n -     - smtp
showq      unix       n - n -     - showq
error      unix       - - n -     - error
retry      unix       - - n -     - error
discard    unix       - - n -     - discard
virtual    unix       - n n -     - virtual
anvil      unix       - - n -     1 anvil
scache     unix       - - n -     1 scache
postlog    unix-dgram n - n -     1 postlogd
"""


class Postfix:
    def __init__(self, folder, host=HERE):
        self.folder, self.host = folder, host
        self.settings, self.services = BASE.format(folder=folder), SERVICES
        for sub in ("conf", "queue", "data", "mail"):
            os.makedirs("%s/%s" % (folder, sub))
        for sub in ("data", "mail"):
            shutil.chown("%s/%s" % (folder, sub), "postfix", "postfix")
        for name in ("post-install", "postfix-files", "postfix-script"):
            shutil.copy("/etc/postfix/" + name, folder + "/conf")
        shutil.copy("/usr/share/postfix/dynamicmaps.cf", folder + "/conf")

    def command(self, *words):
        return self.host.run(words[0], "-c", self.folder + "/conf", *words[1:])

    def start(self):
        write(self.folder + "/conf/main.cf", self.settings)
        write(self.folder + "/conf/master.cf", self.services)
        self.command("postfix", "start")

    def stop(self):
        self.command("postfix", "stop")

    @property
    def maillog(self):
        with open(self.folder + "/maillog") as f:
            return f.read()


class PostfixReceiver(Postfix):
    """Accepts every recipient, but reject*@ (550) and later*@ (451)."""

    def __init__(self, folder):
        super().__init__(folder)
        self.maildir = Maildir(folder + "/mail/all", "Delivered-To")
        write(folder + "/conf/recipients", "/^reject/ 550 5.1.1 no such user\n"
              "/^later/ 451 4.2.1 mailbox is being moved\n")
        self.settings += """
inet_interfaces = all
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {0}/mail
virtual_uid_maps = static:9101
virtual_gid_maps = static:9101
smtpd_relay_restrictions =
smtpd_recipient_restrictions = check_recipient_access regexp:{0}/conf/recipients,
  reject_unauth_destination, permit
smtpd_tls_received_header = yes
local_header_rewrite_clients =
""".format(folder)

    def service(self, address, name, cert=None, **settings):
        options = {"myhostname": name, "syslog_name": "mx/" + name}
        if cert:
            options.update(smtpd_tls_security_level="may", smtpd_tls_chain_files=cert.combined)
        options.update(settings)
        where = "[%s]" % address if ":" in address else address
        self.services += "%s:25 inet n - n - - smtpd\n" % where
        for key, value in options.items():
            self.services += "  -o { %s = %s }\n" % (key, value)


class PostfixClient(Postfix):
    """A stock sender: everything goes to danelaw as its smarthost; takes mail on port 2501.
    `smarthost=""`: to the recipients' mail hosts, by its own lookups."""

    port = 2501

    def __init__(self, folder, smarthost="[127.0.0.1]:2525", host=HERE, **settings):
        super().__init__(folder, host)
        options = dict(myhostname="sender.lab", inet_interfaces="127.0.0.1", relayhost=smarthost,
                       minimal_backoff_time="300s", **settings)
        self.settings += "".join("%s = %s\n" % item for item in options.items())
        self.services += "127.0.0.1:%d inet n - n - - smtpd\n" % self.port

    def queue(self):
        """Deferred and active messages as postqueue -j describes them."""
        return [json.loads(line) for line in self.command("postqueue", "-j").splitlines()]

    def flush(self):
        self.command("postqueue", "-f")
