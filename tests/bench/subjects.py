"""The subjects: each starts an MTA as an outbound relay with DANE and tells where it listens.

A subject runs in a cgroup of its own, so that CPU and memory count every
process it forks.  All run inside the namespace that `run` makes.
"""
import os
import resource
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def cgroup_root():
    for p in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.exists(p + "/cgroup.procs"):
            return p
    raise SystemExit("bench: no cgroup v2")


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


class Subject:
    name = "?"
    dane = "yes"
    queue = False           # answers before the next hop has the message
    forks = False           # a process per client
    max_idle = 100000
    host, port = "127.0.0.1", 2500

    def __init__(self, run_dir, disk_dir):
        self.dir = os.path.join(run_dir, self.name)
        self.disk = os.path.join(disk_dir, self.name)
        self.cg = None
        self.program = self.anchor = None   # danelaw's; run fills them in

    # -- process control
    def spawn(self, argv, **kw):
        self.cg = "%s/%s-%s" % (cgroup_root(), os.environ["BENCH_TAG"], self.name)
        os.makedirs(self.cg, exist_ok=True)
        procs = self.cg + "/cgroup.procs"

        def enter():
            with open(procs, "w") as f:
                f.write("0")
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        out = open(os.path.join(self.dir, "out.log"), "ab")
        return subprocess.Popen(argv, preexec_fn=enter, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                start_new_session=True, **kw)

    def start(self):
        raise NotImplementedError

    def ready(self, secs=15):
        end = time.time() + secs
        while time.time() < end:
            try:
                s = socket.create_connection((self.host, self.port), 1)
                s.settimeout(2)
                if s.recv(512).startswith(b"220"):
                    s.sendall(b"QUIT\r\n")
                    s.recv(512)
                    s.close()
                    return
                s.close()
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("%s does not answer; see %s/out.log" % (self.name, self.dir))

    def pids(self):
        try:
            with open(self.cg + "/cgroup.procs") as f:
                return [int(x) for x in f.read().split() if x != "0"]
        except (OSError, TypeError):
            return []

    def stop(self):
        end = time.time() + 10
        while time.time() < end:
            p = self.pids()
            if not p:
                break
            for pid in p:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)
        for _ in range(20):
            try:
                os.rmdir(self.cg)
                break
            except (OSError, TypeError):
                time.sleep(0.05)
        shutil.rmtree(self.disk, ignore_errors=True)

    # -- measures
    def cpu(self):
        d = {}
        with open(self.cg + "/cpu.stat") as f:
            for line in f:
                k, v = line.split()
                d[k] = int(v) / 1e6
        return d["user_usec"], d["system_usec"]

    def pss(self):
        """(processes, sum of PSS in KiB)"""
        kb = n = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    for line in f:
                        if line.startswith("Pss:"):
                            kb += int(line.split()[1])
                            n += 1
                            break
            except OSError:
                pass
        return n, kb


class Danelaw(Subject):
    name = "danelaw"
    limits = "connection_messages = 100000"    # as many as Postfix may send; the default is 100
    workers = None          # None: the default

    def start(self):
        workers = "workers = %d\n" % self.workers if self.workers else ""
        write(self.dir + "/danelaw.conf", f"""
[server]
hostname = relay.bench
state_dir = {self.dir}/state
{workers}[limits]
{self.limits}
[listener bench]
listen = 127.0.0.1:{self.port}
max_sessions = 60000
max_sessions_per_client = 60000
[dns]
forward = 127.0.0.53
trust_anchor = {self.anchor}
dnssec_probe = bench SOA
[unbound]
do-not-query-localhost = no
[policy]
level = dane-only
allow_addresses = 127.0.0.0/8
[log]
level = warning
""")
        self.spawn([self.program, "-c", self.dir + "/danelaw.conf"])
        self.ready()


class Pooled(Danelaw):
    """Next-hop connections stay for as long as they are looked at ..."""
    name = "pooled"
    limits = "connection_idle = 300s"


class Unpooled(Danelaw):
    """... and here go at once, so that the difference is what they hold."""
    name = "unpooled"
    limits = "connection_idle = 0s"


class Base(Danelaw):
    """Another build of danelaw, for a comparison of the two."""
    name = "base"


class Postfix(Subject):
    name = "postfix"
    queue = True
    forks = True
    max_idle = 3000         # 1.2 MiB and a process each
    on_disk = False
    reuse = "yes"
    nproc = 200
    conc = 10               # best of 5, 10, 20, 50 on two cores
    nsmtp = "20"            # best of 10, 20, 200: more processes only lose TLS reuse

    def start(self, extra=""):
        d = self.dir
        q = (self.disk if self.on_disk else d) + "/queue"
        for p in (q, d + "/data", d + "/conf"):
            os.makedirs(p, exist_ok=True)
        shutil.chown(d + "/data", "postfix", "postfix")
        for p in ("post-install", "postfix-files", "postfix-script"):
            shutil.copy("/etc/postfix/" + p, d + "/conf/" + p)
        shutil.copy("/usr/share/postfix/dynamicmaps.cf", d + "/conf/dynamicmaps.cf")
        write(d + "/conf/main.cf", f"""
compatibility_level = 3.6
queue_directory = {q}
data_directory = {d}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {d}/maillog
maillog_file_prefixes = /
myhostname = relay.bench
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = none
message_size_limit = 0
mailbox_size_limit = 0
in_flow_delay = 0
default_process_limit = {self.nproc}
default_destination_concurrency_limit = {self.conc}
initial_destination_concurrency = {self.conc}
qmgr_message_active_limit = 60000
qmgr_message_recipient_limit = 60000
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane-only
smtp_tls_session_cache_database = btree:$data_directory/smtp_scache
smtp_tls_connection_reuse = {self.reuse}
smtp_connection_cache_on_demand = yes
smtp_connection_reuse_time_limit = 300s
enable_long_queue_ids = yes
{extra}
""")
        write(d + "/conf/master.cf", f"""
{self.port} inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       {self.nsmtp}       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
tlsproxy  unix  -       -       n       -       0       tlsproxy
postlog   unix-dgram n  -       n       -       1       postlogd
""")
        self.spawn(["postfix", "-c", d + "/conf", "start"]).wait()
        self.ready()


class PostfixWide(Postfix):
    """Better from 10 kB up, where a delivery waits more than it computes."""
    name = "postfix-wide"
    conc = 50
    nsmtp = "60"


class PostfixDisk(Postfix):
    name = "postfix-disk"
    on_disk = True


class PostfixNoReuse(Postfix):
    """One TLS connection for each message: the shipped default for TLS."""
    name = "postfix-noreuse"
    reuse = "no"


class Exim(Subject):
    name = "exim"
    queue = True
    cut = False
    forks = True
    on_disk = False
    max_idle = 10000

    def start(self):
        d = self.dir
        spool = (self.disk if self.on_disk else d) + "/spool"
        os.makedirs(spool, exist_ok=True)
        os.makedirs(d + "/log", exist_ok=True)
        for p in (spool, d + "/log"):
            shutil.chown(p, "Debian-exim", "Debian-exim")
        cut = "warn control = cutthrough_delivery/defer=pass\n" if self.cut else ""
        conf = d + "/exim.conf"
        write(conf, f"""
deliver_drop_privilege = true
primary_hostname = relay.bench
spool_directory = {spool}
log_file_path = {d}/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.port}
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept
never_users = root
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
dns_dnssec_ok = 1
split_spool_directory
message_size_limit = 0
smtp_accept_max = 12000
smtp_accept_max_per_connection = 100000
smtp_accept_queue = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 4096
smtp_accept_max_nonmail = 1000
queue_run_max = 20
remote_max_parallel = 50
recipients_max = 10000
log_selector = -all
timeout_frozen_after = 1h
bounce_message_file =

begin acl
acl_rcpt:
{cut}accept hosts = 127.0.0.0/8

begin routers
out:
  driver = dnslookup
  domains = *
  transport = remote
  self = send
  dnssec_request_domains = *
  no_more

begin transports
remote:
  driver = smtp
  hosts_require_dane = *
  dnssec_request_domains = *
  connection_max_messages = 1000
  hosts_try_fastopen =
  hosts_try_prdr =
  max_rcpt = 1000

begin retry
* * F,1h,1s
""")
        os.makedirs("/etc/exim4", exist_ok=True)
        with open("/etc/exim4/trusted_configs", "a") as f:
            f.write(conf + "\n")
        self.spawn(["/usr/sbin/exim4", "-C", conf, "-bdf", "-q1m"])
        self.ready()


class EximDisk(Exim):
    name = "exim-disk"
    on_disk = True


class EximCut(Exim):
    name = "exim-cut"
    queue = False
    cut = True


class EximCutDisk(EximCut):
    name = "exim-cut-disk"
    on_disk = True


ALL = {c.name: c for c in (Danelaw, Pooled, Unpooled, Base, Postfix, PostfixDisk, PostfixNoReuse, PostfixWide, Exim, EximDisk, EximCut, EximCutDisk)}
