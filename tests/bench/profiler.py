"""Where danelaw's CPU goes (run --suite profile; `make bench-profile`): its processes are sampled by
`perf` under loads that are rows of the table of figures, each sample is counted for one part, and the
shares are written to build/bench/profile.md. libc's inner functions have names where libc6-dbg is installed.
"""
import bisect
import collections
import os
import re
import signal
import subprocess
import time

from full import machine

PERF = "/usr/bin/perf"

# name, source's arguments, recipients of a message
LOADS = [("1 kB", ["-c", "20", "-s", "1000"], 1),
         ("10 kB", ["-c", "20", "-s", "10000"], 1),
         ("100 kB", ["-c", "20", "-s", "100000"], 1),
         ("5 MB", ["-c", "4", "-s", "5000000"], 1),
         ("1 kB, 50 domains", ["-c", "20", "-s", "1000", "-D", "50"], 1),
         ("one message to 50 domains", ["-c", "10", "-s", "1000", "-D", "50", "-R", "50"], 50)]

PARTS = ["kernel: sending", "kernel: receiving", "kernel: waiting and task switches", "kernel: other calls, interrupts",
         "OpenSSL", "libc: memory", "libc: copying", "libc: other", "libev", "other libraries",
         "danelaw: proxy/smtp", "danelaw: proxy", "danelaw: policy", "danelaw: tls", "danelaw: conf", "danelaw: dnsval",
         "danelaw: proxy/spool", "danelaw: calls of libraries"]
SHORT = {x: "danelaw's own code" for x in PARTS if x.startswith("danelaw")}
SHORT.update(dict.fromkeys(["libc: copying", "libc: other", "libev", "other libraries"], "libc but memory, other libraries"))

# A call chain names the system call; what lies above it is that call's, such as the receiver's side of a loopback.
SWITCH = re.compile(r"^(__)?schedule|^preempt_schedule|exit_to_user_mode|^__x64_sys_(epoll_p?wait2?|p?poll|p?select|futex|clock_nanosleep)")
SEND = re.compile(r"^(__x64_sys|__sys|ksys)_(send(to|msg|mmsg)|writev?)$")
RECEIVE = re.compile(r"^(__x64_sys|__sys|ksys)_(recv(from|msg|mmsg)|readv?)$")
NO_SOCKET = re.compile(r"^generic_(file|perform)_|^(shmem|ext4|xfs|btrfs|ovl|filemap)_|^(pipe|anon_pipe|fifo_pipe|eventfd|signalfd|timerfd)_")
FOLDER = re.compile(r".*/(proxy/smtp|proxy/spool|proxy|policy|tls|conf|dnsval)/")    # ccache may have objects of other trees
MEMORY = re.compile(r"alloc|free|memalign|^_int_|unlink_chunk|consolidate|sysmalloc|systrim|tcache|memset|bzero|brk")
COPYING = re.compile(r"mem(p?cpy|move)")
LIBRARIES = [("libssl", "OpenSSL"), ("libcrypto", "OpenSSL"), ("libev.", "libev")]


class Program:
    """Where each address of danelaw's code was written."""

    def __init__(self, path):
        self.path, self.starts, self.parts = os.path.realpath(path), [], []
        lines = subprocess.run(["nm", "-nl", "--defined-only", path], capture_output=True, text=True, check=True).stdout.splitlines()
        for line in lines:
            address, kind, rest = line.split(" ", 2)
            if kind in "tTwW":
                source = FOLDER.match(rest.partition("\t")[2])
                self.starts.append(int(address, 16))
                self.parts.append("danelaw: " + (source.group(1) if source else "calls of libraries"))

    def part(self, address):
        assert self.starts[0] <= address <= self.starts[-1], "perf's addresses are those of the file"
        return self.parts[bisect.bisect_right(self.starts, address) - 1]


def check_perf():
    if not os.access(PERF, os.X_OK):
        raise SystemExit("bench: --suite profile needs %s, of the package linux-perf" % PERF)


def part_of(chain, program):
    """chain: [(address, symbol, object)], the innermost first"""
    address, symbol, where = chain[0]
    if address >> 63:
        return "kernel: " + kernel_part([symbol for _, symbol, _ in chain])
    if where == program.path:
        return program.part(address)
    name = os.path.basename(where)
    if name.startswith("libc.so") or name.startswith("[vdso"):
        return "libc: " + ("copying" if COPYING.search(symbol) else "memory" if MEMORY.search(symbol) else "other")
    return next((part for start, part in LIBRARIES if name.startswith(start)), "other libraries")


def kernel_part(symbols):
    has = lambda pattern: any(pattern.search(x) for x in symbols)
    if has(SWITCH):
        return "waiting and task switches"
    if has(SEND) and not has(NO_SOCKET):
        return "sending"
    if has(RECEIVE) and not has(NO_SOCKET):
        return "receiving"
    return "other calls, interrupts"


def samples(data):
    """The call chains of a recording."""
    out = subprocess.run([PERF, "script", "-i", data, "-F", "comm,ip,sym,dso", "--no-inline"], capture_output=True, text=True, check=True).stdout
    frame = re.compile(r"^\s+([0-9a-f]+) (.*) \((.*)\)$", re.M)
    chains = [[(int(a, 16), s, o) for a, s, o in frame.findall(sample)] for sample in out.split("\n\n")]
    return [x for x in chains if x]


class Profile:
    def __init__(self, rig, options, tools):
        self.rig, self.seconds, self.work = rig, options.secs or 4, tools.WORK
        self.program = Program(options.danelaw)

    def run(self):
        self.rig.start()
        if "danelaw" not in self.rig.sub:
            raise SystemExit("bench: danelaw did not start")
        columns = [self.profile(*load) for load in LOADS]
        text = table(columns)
        with open(self.work + "/profile.md", "w") as f:
            f.write(text)
        print(text, flush=True)

    def profile(self, name, argv, recipients):
        self.rig.measure("danelaw", argv + ["-P", "-d", "1"], recipients)      # connections, decisions
        data = self.work + "/run/perf.data"
        perf = self.record(self.rig.sub["danelaw"].pids(), data)
        result = self.rig.measure("danelaw", argv + ["-P", "-d", str(self.seconds)], recipients)
        perf.send_signal(signal.SIGINT)
        perf.wait(30)
        counts = collections.Counter(part_of(x, self.program) for x in samples(data))
        assert set(counts) <= set(PARTS), counts
        print("# %s: %d samples, %d messages" % (name, sum(counts.values()), result["n"]), flush=True)
        return name, counts, result["cpu"]

    def record(self, pids, data):
        perf = subprocess.Popen([PERF, "record", "-q", "-N", "-e", "cpu-clock", "-F", "2000", "-g",
                                 "-o", data, "-p", ",".join(map(str, pids))])
        time.sleep(0.5)         # it has attached; danelaw computes nothing yet
        return perf


def table(columns):
    """Percent of danelaw's CPU by part: in short, as README has it, and in full."""
    short = [(name, brief(counts), cpu) for name, counts, cpu in columns]
    head = "Measured on %s, %s; `make bench-profile`.\n\n" % (time.strftime("%Y-%m-%d"), machine())
    return head + rows(short, dict.fromkeys(SHORT.get(x, x) for x in PARTS), "%.0f") + "\n" + rows(columns, PARTS, "%.1f") + amounts(columns)


def brief(counts):
    out = collections.Counter()
    for part, count in counts.items():
        out[SHORT.get(part, part)] += count
    return out


def rows(columns, parts, digits):
    lines = [["of danelaw's CPU, %"] + [name for name, _, _ in columns], ["---"] + ["---:"] * len(columns)]
    for part in parts:
        lines.append([part] + [digits % (100 * counts[part] / max(1, sum(counts.values()))) for _, counts, _ in columns])
    return "".join(map(line, lines))


def amounts(columns):
    return line(["samples"] + ["{:,}".format(sum(counts.values())) for _, counts, _ in columns]) + \
        line(["CPU per message, µs, with `perf` beside it"] + ["{:,.0f}".format(cpu) for _, _, cpu in columns])


def line(cells):
    return "| %s |\n" % " | ".join(cells)
