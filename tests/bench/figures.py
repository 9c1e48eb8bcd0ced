"""The table of figures that danelaw is measured by: what must be reached, what is aimed at, what was
measured. Each is the median of ratios, each ratio of measures that were taken next to each other in
one run; its 95 % interval is that of the median by order statistics (the sign test), which asks
nothing of the distribution.
"""
import math
import statistics


def interval(values):
    """(low, high) of the median at 95 %; with fewer than six values their whole range."""
    v, n = sorted(values), len(values)
    k = 0
    while k + 1 <= n // 2 and 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n <= 0.05:
        k += 1
    k = max(k, 1)
    return v[k - 1], v[n - k]


class Figure:
    """`more`: the higher the better. `close`: asks for less than 1.3, which only the interval of many
    pairs can tell. `limit`: what the values would be if all CPUs did nothing but what no proxy can avoid."""

    def __init__(self, name, must, aim, values, unit="", more=False, close=False, limit=()):
        self.name, self.must, self.aim = name, must, aim
        self.values, self.limit = [x for x in values if x is not None], list(limit)
        self.unit, self.more, self.close = unit, more, close

    def plain(self):
        return {"row": [self.name, self.must, self.aim], "values": self.values,
                "how": {"unit": self.unit, "more": self.more, "close": self.close, "limit": self.limit}}

    @property
    def median(self):
        return statistics.median(self.values)

    def reaches(self, wanted):
        low, high = interval(self.values)
        if not self.close or high > 1.3 * low:      # too wide to tell: the median does
            low = high = self.median
        return high >= wanted if self.more else low <= wanted

    def row(self):
        if not self.values:
            return "| %s | %s | %s | not measured | - | |" % (self.name, self.text(self.must), self.text(self.aim))
        low, high = interval(self.values)
        verdict = "aim" if self.reaches(self.aim) else "must" if self.reaches(self.must) else "missed"
        return "| %s | %s | %s | **%s** (%s to %s, n = %d) | %s | %s |" % (
            self.name, self.text(self.must), self.text(self.aim), self.text(self.median), self.text(low), self.text(high),
            len(self.values), self.text(statistics.median(self.limit)) if self.limit else "-", verdict)

    def text(self, value):
        if value is None:
            return ""
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
        return ("{:,.%df}" % digits).format(value) + (" " + self.unit if self.unit else "")


def table(figures, machine, date):
    lines = ["Measured on %s, %s; `make bench-full`. Ratios within one run: the median, and its 95 %% interval." % (date, machine),
             "", "| figure | must | aim | measured | limit of the machine | reached |",
             "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join(lines + [f.row() for f in figures]) + "\n"
