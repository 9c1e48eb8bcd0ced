"""A small DNS tree, signed by ldns and served by NSD.

    dns = Zones("/var/lab/dns")
    dns.zone("good.lab", '''
        @            MX   10 mx
        mx           A    198.18.1.1
        _25._tcp.mx  TLSA 3 1 1 ...''')
    dns.zone("old.lab", records, how=EXPIRED)
    dns.start()

SOA, NS, glue and DS are made here. The root, the top level domains and what is below them are
served by an NSD each, on 198.18.0.1, .2 and .3: referrals are then real ones.
"""
import os
import subprocess
import textwrap
import time

import dns.dnssec
import dns.message
import dns.query
import dns.rdata
import dns.rdatatype

SIGNED, UNSIGNED = "signed", "unsigned"
NSEC3 = "nsec3"  # signed; "nsec3 2500": with so many iterations
ISLAND = "island"  # signed, but no DS: insecure
EXPIRED = "expired"  # signatures ended yesterday: bogus
BOGUS_DS = "bogus-ds"  # the DS fits no key: bogus
CORRUPT = "corrupt"  # data's RRSIGs are wrong, the keys' are good; "corrupt TLSA": that type only

SERVERS = ("198.18.0.1", "198.18.0.2", "198.18.0.3")  # by depth: root, TLDs, the rest
DAY = 86400


class Zone:
    def __init__(self, name, records, how, address, ttl):
        self.name = name.rstrip(".") + "."
        self.records = textwrap.dedent(records)
        self.how = how
        self.address = address  # where the delegation points: NSD, or a scripted server before it
        self.ttl = ttl
        self.labels = 0 if self.name == "." else self.name.count(".")
        self.key = None
        self.serial = 1

    @property
    def ns(self):
        return "ns." if self.name == "." else "ns." + self.name

    @property
    def server(self):
        return SERVERS[min(self.labels, 2)]

    def is_above(self, other):
        return other.labels > self.labels and (
            self.name == "." or other.name.endswith("." + self.name))


class Zones:
    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        self.zones = {}
        self.processes = []
        self.zone(".", "")

    def zone(self, name, records, how=SIGNED, address=None, ttl=300):
        z = Zone(name, records, how, address, ttl)
        assert z.name not in self.zones, name
        self.zones[z.name] = z
        return z

    def change(self, name, records):
        """Serves other records from now on (caches keep what they have for its TTL). NSD's process of
        before answers beside its successor for a while."""
        z = self.zones[name.rstrip(".") + "."]
        z.records = textwrap.dedent(records)
        z.serial += 1
        self._write(z)
        nsd = self.processes[SERVERS.index(z.server)]
        before = leaves(nsd.pid)
        nsd.send_signal(1)  # SIGHUP: read the changed zone files
        wait(lambda: self._serial(z) == z.serial and not any(map(is_alive, before)), 5,
             "NSD serves the new %s, and nothing else" % name)

    @property
    def root_hints(self):
        return self._file("root.hints")

    @property
    def trust_anchor(self):
        return self._file("root.ds")

    def start(self):
        for z in sorted(self.zones.values(), key=lambda z: -z.labels):
            self._write(z)  # children first: their DS goes into the parent
        write(self.root_hints, ". 3600000 NS ns.\nns. 3600000 A %s\n" % SERVERS[0])
        write(self.trust_anchor, self._ds(self.zones["."]) + "\n")
        for address in SERVERS:
            self.processes.append(self._nsd(address))
        for z in self.zones.values():
            wait(lambda: self._serial(z) == z.serial, 10, "NSD serves " + z.name)

    def stop(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            end(p)

    # ---- zone files ----

    def _file(self, name):
        return os.path.join(self.folder, name)

    def _write(self, z):
        path = self._file("%szone" % (z.name if z.name != "." else "root."))
        write(path, self._text(z))
        z.file = path if z.how == UNSIGNED else self._sign(z, path)

    def _text(self, z):
        lines = ["$ORIGIN %s" % z.name, "$TTL %d" % z.ttl,
                 "@ SOA %s hostmaster.lab. %d 3600 600 86400 60" % (z.ns, z.serial),
                 "@ NS %s" % z.ns, "%s A %s" % (z.ns, z.address or z.server)]
        for child in self.zones.values():
            if self._parent(child) is z:
                lines += self._delegation(child)
        return "\n".join(lines) + "\n" + z.records + "\n"

    def _parent(self, z):
        above = [p for p in self.zones.values() if p.is_above(z)]
        return max(above, key=lambda p: p.labels, default=None)

    def _delegation(self, child):
        lines = ["%s NS %s" % (child.name, child.ns),
                 "%s A %s" % (child.ns, child.address or child.server)]
        if child.how not in (UNSIGNED, ISLAND):
            lines.append(self._ds(child))
        return lines

    def _ds(self, z):
        with open(z.key + ".key") as f:
            rdata = f.read().split("DNSKEY", 1)[1].split(";")[0]
        key = dns.rdata.from_text("IN", "DNSKEY", rdata)
        ds = dns.dnssec.make_ds(z.name, key, "SHA256").to_text()
        if z.how == BOGUS_DS:
            ds = ds[:-8] + "%08x" % (int(ds[-8:], 16) ^ 1)
        return "%s 300 IN DS %s" % (z.name, ds)

    # ---- signing ----

    def _sign(self, z, path):
        if not z.key:
            key = run(self.folder, "ldns-keygen", "-k", "-a", "ECDSAP256SHA256", z.name)
            z.key = self._file(key)
        now = time.time()
        start, end = (-40, -1) if z.how == EXPIRED else (-1, 30)
        options = ["-i", date(now + start * DAY), "-e", date(now + end * DAY)]
        if z.how.startswith(NSEC3):
            options.append("-n")
            options += [x for n in z.how[len(NSEC3):].split() for x in ("-t", n)]
        signed = path + ".signed"
        options += ["-o", z.name, "-f", signed + ".new"]
        run(self.folder, "ldns-signzone", *options, path, z.key)
        if z.how.startswith(CORRUPT):
            corrupt(signed + ".new", z.how[len(CORRUPT):].split())
        os.rename(signed + ".new", signed)
        return signed

    # ---- NSD ----

    def _nsd(self, address):
        conf = self._file("nsd-%s.conf" % address)
        text = """
            server:
              ip-address: %s
              username: ""
              zonesdir: "%s"
              database: ""
              pidfile: ""
              xfrdfile: ""
              zonelistfile: "%s.list"
              xfrdir: "%s"
              logfile: "%s.log"
              reuseport: no
              server-count: 1
              rrl-ratelimit: 0
            remote-control:
              control-enable: no
            """ % (address, self.folder, conf, self.folder, conf)
        for z in self.zones.values():
            if z.server == address:
                text += 'zone:\n  name: "%s"\n  zonefile: "%s"\n' % (z.name, z.file)
        write(conf, textwrap.dedent(text))
        return subprocess.Popen(["nsd", "-d", "-c", conf], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    def _serial(self, z):
        try:
            answer = dns.query.udp(dns.message.make_query(z.name, "SOA"), z.server, timeout=0.5)
        except (OSError, dns.exception.DNSException):
            return None
        return answer.answer[0][0].serial if answer.answer else None


def leaves(pid):
    """Of the processes below this one those that have no other below them."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            below = [int(word) for word in f.read().split()]
    except FileNotFoundError:  # it has ended
        return set()
    return set().union(*map(leaves, below)) if below else {pid}


def is_alive(pid):
    """A process that has ended, and that nobody has asked about yet, has no program."""
    return os.path.exists("/proc/%d/exe" % pid)


def corrupt(path, types):
    """Changes the signatures of these types, or of all but DNSKEY, so that the keys are good."""
    with open(path) as f:
        lines = f.read().split("\n")
    for i, line in enumerate(lines):
        fields = line.split()
        if fields[3:4] == ["RRSIG"] and (fields[4] in types if types else fields[4] != "DNSKEY"):
            signature = fields[12]
            flipped = signature[:10] + ("B" if signature[10] == "A" else "A") + signature[11:]
            lines[i] = line.replace(signature, flipped)
    write(path, "\n".join(lines))


def date(seconds):
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds))


def run(folder, *command):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True,
                          text=True).stdout.strip()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def end(child):
    """Of a server that is not danelaw: how it ends shows nothing."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def wait(condition, seconds, what):
    """Until it holds; returns what it has become. `seconds` are those of a machine at rest: a loaded one
    gets at least ten. How long something may take is for the test to measure."""
    end = time.monotonic() + max(seconds, 10)
    while True:
        is_over = time.monotonic() > end  # before the last look: this process waits its turn, too
        found = condition()
        if found:
            return found
        if is_over:
            raise TimeoutError("not within %g s: %s" % (seconds, what))
        time.sleep(0.02)
