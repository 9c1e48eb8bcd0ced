"""The whole table of figures (run --suite full; `make bench-full`): each row measured by pairs that
lie next to each other in time, since other work on the machine changes its speed within a minute.

Prints the table, writes build/bench/full.md, full.json and full.svg, which README shows.
"""
import json
import os
import platform
import subprocess
import time

import plot
from figures import Figure, table

PEERS = ["postfix", "exim-cut"]
SIZES = [1000, 10000, 100000, 5000000]
NAMES = {1000: "1 kB", 10000: "10 kB", 100000: "100 kB", 5000000: "5 MB"}
POOLED = 900        # connections; below the most that one process keeps
MANY = 50000        # idle sessions; a process has 20,000 descriptors on the machine that this is for


class Full:
    def __init__(self, rig, options, tools):
        self.rig, self.tools = rig, tools
        self.only = [x for x in (options.rows or "").split(",") if x]
        self.few = options.rounds or 5
        self.steady = max(5, self.few)  # where the peers' messages/s count
        self.many = 3 * self.few        # pairs, where the interval counts
        self.secs = str(options.secs or 1)
        self.peers = list(rig.sub)
        self.disturbed = []
        self.figures, self.plots = [], {"cpu": {}, "memory": {}}
        if self.only:
            self.keep_others()

    def keep_others(self):
        """With --rows the other rows are those of the run before."""
        try:
            with open(self.tools.WORK + "/full.json") as f:
                before = json.load(f)
        except OSError:
            return
        self.plots = before["plots"]
        self.figures = [Figure(*x["row"], x["values"], **x["how"]) for x in before["figures"]]

    # ---- measuring ----

    def add(self, name, must, aim, values, **how):
        figure = Figure(name, must, aim, values, **how)
        names = [x.name for x in self.figures]
        if name in names:
            self.figures[names.index(name)] = figure
        else:
            self.figures.append(figure)
        print(figure.row(), flush=True)
        return figure

    def add_rate(self, name, must, aim, rounds, other):
        """danelaw's messages/s over another's, and what the machine's limit would be over it."""
        limits = [(self.tools.limit(r["plain"], r["tls"]), r[other]["rate"]) for r in rounds if other in r]
        limits = [limit / rate for limit, rate in limits if limit and rate]
        return self.add(name, must, aim, ratios(rounds, "danelaw", other, "rate"), more=True, limit=limits)

    def load(self, size, domains=1, conns=None):
        conns = conns or (20 if size <= 100000 else 4)
        return ["-c", str(conns), "-d", self.secs, "-P", "-D", str(domains), "-s", str(size)]

    def rounds(self, argv, names, count):
        rounds = [{n: self.rig.measure(n, argv) for n in names} for _ in range(count)]
        self.disturbed += [r[n]["others"] / r[n]["busy"] for r in rounds for n in ("plain", "tls")]
        return rounds

    def start(self, name, **settings):
        """A fresh one, that nothing has happened to."""
        subject = self.rig.add(name)
        for key, value in settings.items():
            setattr(subject, key, value)
        self.rig.start(only=name)
        return self.rig.sub.get(name)

    def stop(self, *names):
        for n in names:
            if n in self.rig.sub:
                self.rig.sub.pop(n).stop()

    def settle(self, subject, seconds=5):
        """What went before is over: it computes no more."""
        end, last = time.time() + seconds, -1
        while time.time() < end:
            now = sum(subject.cpu())
            if now - last < 0.002:
                return
            last = now
            time.sleep(0.25)

    # ---- rows ----

    def message_path(self):
        alone, beside = ["plain", "tls", "danelaw"], [p for p in PEERS if p in self.rig.sub]
        for size in SIZES:
            rounds = self.rounds(self.load(size), alone + beside, self.steady if size == 1000 else self.few)
            close = size >= 100000
            if close:
                rounds += self.rounds(self.load(size), alone, self.many - self.few)
            self.compare(size, rounds, close)
        rounds = self.rounds(self.load(1000, 50), alone + beside, self.steady)
        if "postfix" in beside:
            self.add_rate("messages/s over Postfix's, 1 kB, 50 domains", 20, 28, rounds, "postfix")
        self.add("handshakes per message, 50 domains", 0.05, 0.05, [r["danelaw"]["hs"] / r["danelaw"]["n"] for r in rounds])

    def compare(self, size, rounds, close):
        name = NAMES[size]
        must, aim = {1000: (2.0, 1.4), 10000: (1.8, 1.3), 100000: (1.3, 1.0), 5000000: (1.2, 0.9)}[size]
        self.add("CPU per message over the floor, " + name, must, aim,
                 [r["danelaw"]["cpu"] / (r["plain"]["sink_cpu"] + r["tls"]["cpu"]) for r in rounds], close=close)
        rate = {1000: (0.4, 0.5), 100000: (0.65, 0.8), 5000000: (0.75, 0.95)}.get(size)
        if rate:
            self.add_rate("messages/s over the direct TLS path's, " + name, *rate, rounds, "tls")
        cpu = {1000: (16, 25), 100000: (15, 20), 5000000: (10, 14)}.get(size)
        if cpu and "postfix" in self.rig.sub:
            self.add("Postfix's CPU per message over danelaw's, " + name, *cpu, ratios(rounds, "postfix", "danelaw", "cpu"), more=True)
        if size == 1000:
            for peer, must, aim in (("postfix", 12, 18), ("exim-cut", 35, 50)):
                if peer in self.rig.sub:
                    self.add_rate("messages/s over %s's, 1 kB" % self.title(peer), must, aim, rounds, peer)
            self.add("handshakes per message, 1 domain", 0.005, 0.005, [r["danelaw"]["hs"] / r["danelaw"]["n"] for r in rounds])
        self.plots["cpu"][name] = {self.title(n): self.tools.med([r[n]["cpu"] for r in rounds if n in r])
                                   for n in ["danelaw"] + PEERS if n in self.rig.sub}

    def latency(self):
        rounds = self.rounds(self.load(1000, conns=1), ["plain", "tls", "danelaw"], self.many)
        self.add("latency of one client: MAIL to final 250 over (plain + TLS direct)", 1.3, 1.1,
                 [r["danelaw"]["lat50"] / (r["plain"]["lat50"] + r["tls"]["lat50"]) for r in rounds], close=True)

    def fan_out(self):
        one = ["-c", "10", "-n", "10000", "-P", "-s", "1000", "-D", "50"]
        fan = ["-c", "10", "-n", "200", "-P", "-s", "1000", "-R", "50", "-D", "50"]
        self.rig.measure("danelaw", fan, nrcpt=50)
        pairs = [(self.rig.measure("tls", one), self.rig.measure("danelaw", fan, nrcpt=50)) for _ in range(self.many)]
        self.add("one message to 50 domains: CPU over 50 direct TLS envelopes", 2.5, 1.5,
                 [d["cpu"] / (50 * t["cpu"]) for t, d in pairs])

    def many_domains(self):
        for _ in range(20):     # decisions are cached, and each worker has its connections
            warm = self.rig.measure("danelaw", self.load(1000, 1000))
            if warm["hs"] < 0.01 * warm["n"]:
                break
        pairs = [[self.rig.measure("danelaw", self.load(1000, d)) for d in (1, 1000)] for _ in range(self.many)]
        self.add("CPU per message with 1,000 domains (cached) over 1", 1.5, 1.1, [b["cpu"] / a["cpu"] for a, b in pairs], close=True)

    def stalled_next_hop(self):
        subject, pairs = self.rig.sub["danelaw"], []
        for _ in range(self.many):
            without = self.rig.measure("danelaw", self.load(1000))
            stuck = subprocess.Popen([self.tools.WORK + "/source", "-h", subject.host, "-p", str(subject.port), "-c", "10", "-d", "60", "-P",
                                      "-F", "s%d.bench", "-s", "5000000"], stdout=subprocess.DEVNULL)
            self.settle(subject)
            pairs.append((without, self.rig.measure("danelaw", self.load(1000))))
            stuck.kill()
            stuck.wait()
            time.sleep(0.2)
        for name, key in (("CPU per message", "cpu"), ("median latency", "lat50")):
            self.add("a stalled next hop: %s to others over without" % name, 1.1, 1.03, [b[key] / a[key] for a, b in pairs], close=True)

    def crowd(self):
        pairs = []
        for _ in range(self.many):
            without = self.rig.measure("danelaw", self.load(1000))
            clients, _ = self.tools.hold(self.rig.sub["danelaw"], 10000)
            self.settle(self.rig.sub["danelaw"])
            pairs.append((without, self.rig.measure("danelaw", self.load(1000))))
            self.tools.release(clients)
            self.settle(self.rig.sub["danelaw"])        # their ends are not the next measure's
        self.add("CPU per message with 10,000 idle clients over without", 1.1, 1.03, [b["cpu"] / a["cpu"] for a, b in pairs], close=True)

    # ---- memory ----

    def per_client(self, name, clients):
        """Octets by which the sum of PSS grows for each idle client, and how many were held."""
        subject = self.start(name)
        if not subject:
            return None
        self.rig.measure(name, ["-c", "2", "-n", "20", "-P"])
        time.sleep(0.5)
        before = subject.pss()[1]
        held, line = self.tools.hold(subject, clients)
        time.sleep(1)
        grown = (subject.pss()[1] - before) * 1024 / max(1, line["held"])
        self.tools.release(held)
        self.stop(name)
        return grown if line["held"] >= clients / 2 else None

    def idle_clients(self):
        values = [self.per_client("danelaw", 10000) for _ in range(3)]
        figure = self.add("user memory per idle client, 10,000 held", 1024, 512, values, unit="B")
        of = {"danelaw": figure.median if figure.values else None}
        for peer in [p for p in PEERS if p in self.peers]:
            of[self.title(peer)] = self.per_client(peer, 300)      # a process each
        self.plots["memory"].setdefault("idle client", {}).update(of)

    def pooled_connections(self):
        """The peer's chain is of two; no tickets, since kept sessions are a cache of their own."""
        self.rig.restart_sink("chain", ["-n", "0"])
        values = []
        for _ in range(3):
            pss = {}
            for name in ("pooled", "unpooled"):
                subject = self.start(name)
                self.rig.measure(name, ["-c", "10", "-n", str(POOLED), "-P", "-D", str(POOLED), "-s", "1000"])
                time.sleep(1)
                pss[name], held = subject.pss()[1], self.rig.stats()["open"]
                if name == "pooled":
                    connections = held
                self.stop(name)
            values.append((pss["pooled"] - pss["unpooled"]) / max(1, connections))
        self.rig.restart_sink(self.rig.o.cert)
        figure = self.add("memory per pooled TLS connection, chain of two", 24, 20, values, unit="kB")
        self.plots["memory"]["pooled TLS connection"] = {"danelaw": figure.median * 1024}

    def many_clients(self):
        subject, values = self.start("danelaw", workers=4), []
        if subject:
            time.sleep(0.5)
            before = subject.pss()[1]
            held, line = self.tools.hold(subject, MANY)
            time.sleep(1)
            if line["held"] == MANY:
                values = [(subject.pss()[1] - before) / 1024]
            else:
                print("# only %d of %d clients were held" % (line["held"], MANY))
            self.tools.release(held)
            self.stop("danelaw")
        self.add("50,000 idle sessions over 4 workers, above base", 50, 25, values, unit="MiB")

    # ---- all of it ----

    def title(self, name):
        return {"postfix": "Postfix", "exim-cut": "Exim"}.get(name, name)

    def run(self):
        self.rig.start()
        self.tools.suite_check(self.rig, self.rig.o)
        for n in list(self.rig.sub):        # warm: caches, processes
            self.rig.measure(n, ["-c", "20", "-d", "1", "-P", "-D", "50"])
        self.each(self.message_path)
        self.stop(*PEERS)
        self.each(self.latency, self.fan_out, self.many_domains, self.stalled_next_hop, self.crowd)
        self.stop("danelaw")
        if self.disturbed:
            print("# other programs had %.0f %% of the CPU that the references' rounds took, at most %.0f %%" % (
                100 * self.tools.med(self.disturbed), 100 * max(self.disturbed)))
        self.each(self.idle_clients, self.pooled_connections, self.many_clients)
        print("# danelaw said 250 for %d recipients: %d did not arrive, %d more arrived than that" % (
            self.rig.told, self.rig.lost, self.rig.surplus))
        print(open(self.tools.WORK + "/full.md").read())

    def each(self, *suites):
        """What one of them lacks must not cost the others."""
        for suite in suites:
            if self.only and suite.__name__ not in self.only:
                continue
            try:
                suite()
            except (AttributeError, KeyError, OSError, ValueError, subprocess.SubprocessError) as e:
                print("# %s: %s: %s" % (suite.__name__, type(e).__name__, e))
            print("# %4.0f s: %s" % (time.time() - self.tools.T0, suite.__name__), flush=True)
            self.write()

    def write(self):
        out, date = self.tools.WORK + "/full", time.strftime("%Y-%m-%d")
        with open(out + ".md", "w") as f:
            f.write(table(self.figures, machine(), date))
        with open(out + ".json", "w") as f:
            json.dump({"date": date, "machine": machine(), "plots": self.plots,
                       "figures": [x.plain() for x in self.figures]}, f, indent=1)
        if self.plots["cpu"] and self.plots["memory"]:
            draw(out + ".svg", self.plots, "%s, %s" % (date, machine()))


def ratios(rounds, over, under, key):
    return [r[over][key] / r[under][key] for r in rounds if over in r and under in r and r[under][key]]


def draw(path, plots, caption):
    plot.bars(path, [
        ("CPU per message, microseconds, by its size", list(plots["cpu"].items()), "{:,.0f}".format),
        ("Memory held", list(plots["memory"].items()), octets),
    ], ["danelaw", "Postfix", "Exim"], caption)


def octets(value):
    return "%.0f B" % value if value < 1000 else "%.0f kB" % (value / 1000) if value < 1e6 else "%.2f MB" % (value / 1e6)


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((x.split(":")[1].strip() for x in f if x.startswith("model name")), platform.machine())
    return "%d CPUs (%s), Linux %s" % (os.cpu_count(), model, platform.release().split("-")[0])
