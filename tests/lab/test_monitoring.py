"""What packaging/examples offers to Prometheus and Grafana: every expression can be parsed, speaks of
metrics and labels that danelaw has, and the alerts come when they should."""
import json
import os
import re
import subprocess

import pytest

from program import Danelaw
from smtp import send
from test_admin import get
from world import STALE
from zones import wait, write

EXAMPLES = os.path.dirname(os.path.abspath(__file__)) + "/../../packaging/examples/"
RULES, DASHBOARD = EXAMPLES + "danelaw.rules.yml", EXAMPLES + "danelaw-grafana.json"
METRIC = re.compile(r"\bdanelaw_\w+")
SAMPLE = re.compile(r"^(danelaw_\w+?)(?:_bucket|_sum|_count)?(\{.*\})? \S+", re.M)

# Series at a time, and the alerts that then fire: (after, series, {alert: a label's value}).
FIRING = [
    ("2m", 'danelaw_alarm{what="middlebox"} 1x60', {"DanelawAlarm": ("what", "middlebox")}),
    ("2m", 'danelaw_alarm{what="disk"} 0x60', {}),
    ("3m", "danelaw_dnssec_working 0x60", {"DanelawDnssecBroken": None}),
    ("3m", "danelaw_dnssec_working 1x60", {}),
    ("50m", 'danelaw_refusals_total{reason="dane-mismatch"} 0+1x60',
     {"DanelawProofFails": ("reason", "dane-mismatch")}),
    ("50m", 'danelaw_refusals_total{reason="not-allowed"} 0+1x60', {}),
    ("1m", 'danelaw_exception_expires_seconds{domain="a.example"} 86400-60x60',
     {"DanelawExceptionEnds": ("domain", "a.example")}),
    ("1m", 'danelaw_exception_expires_seconds{domain="a.example"} -60-60x60',
     {"DanelawExceptionEnded": ("domain", "a.example")}),
    ("1m", 'danelaw_exception_expires_seconds{domain="a.example"} 8640000-60x60', {}),
    ("150m", "danelaw_spool_messages 400+10x200", {"DanelawSpoolGrows": None}),
    ("150m", "danelaw_spool_messages 600-1x200", {}),
]


def declare(lab):
    lab.domain("monitored.lab", "3 1 1", fake={})
    lab.domain("monitored-stale.lab", STALE, fake={})


def promtool(*words):
    done = subprocess.run(["promtool", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def rule_expressions():
    """As promtool reads them: nothing here parses YAML."""
    with open(RULES) as f:
        text = f.read()
    found = re.findall(r"\n +expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", text)
    assert len(found) == text.count("- alert:") == int(
        re.search(r"(\d+) rules found", promtool("check", "rules", RULES)).group(1))
    return [" ".join((folded or line).split()) for folded, line in found]


def panels():
    with open(DASHBOARD) as f:
        return [p for p in json.load(f)["panels"] if p["type"] != "row"]


def panel_expressions():
    return [t["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            for p in panels() for t in p["targets"]]


@pytest.fixture(scope="module")
def page(lab):
    """A real /metrics page, after some mail: {family: its labels, where it has cells}."""
    changes = {"admin": {"listen": "127.0.0.1:9128"},
               "listener smarthost": {"listen": "127.0.0.1:2542"},
               "domain exception.lab": {"level": "may", "until": "2037-12-31"}}
    with Danelaw(lab, changes) as d:
        assert send("b@monitored.lab", server=d.server).code == 250
        assert send("b@monitored-stale.lab", server=d.server).code == 451
        wait(lambda: 'status="sent"' in get("/metrics", port=9128)[1], 3, "it is counted")
        text = get("/metrics", port=9128)[1]
    families = {name: None for name in re.findall(r"^# TYPE (\w+) ", text, re.M)}
    for name, labels in SAMPLE.findall(text):
        assert name in families, name
        families[name] = set(families[name] or ()) | set(re.findall(r'(\w+)="', labels))
    return families


@pytest.mark.parametrize("source", [rule_expressions, panel_expressions])
def test_metrics_exist(page, source):
    """Interface section 5: names and labels of danelaw's own, and Prometheus's `instance`."""
    for expression in source():
        names = [re.sub("_(bucket|sum|count)$", "", n) if n not in page else n
                 for n in METRIC.findall(expression)]
        assert names and not set(names) - set(page), expression
        if any(page[n] is None for n in names):
            continue
        known = set().union(*(page[n] for n in names), {"instance"})
        used = set(re.findall(r"(\w+) ?(?:=~?|!=|!~)\"", expression))
        for group in re.findall(r"by \(([\w, ]+)\)", expression):
            used |= set(group.replace(",", " ").split())
        assert used <= known, (expression, used - known)


def test_dashboard_parses(tmp_path):
    """Each expression goes through promtool; panels have ids of their own and do not overlap."""
    rules = "".join("  - record: panel:%d\n    expr: %s\n" % (n, json.dumps(e))
                    for n, e in enumerate(panel_expressions()))
    write(str(tmp_path / "rules.yml"), "groups:\n- name: panels\n  rules:\n" + rules)
    assert "%d rules found" % len(panel_expressions()) in promtool(
        "check", "rules", str(tmp_path / "rules.yml"))
    ids = [p["id"] for p in panels()]
    assert len(set(ids)) == len(ids)
    taken = set()
    for p in panels():
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken and g["x"] + g["w"] <= 24, p["title"]
        taken |= cells


def test_every_metric_is_shown(page):
    """What danelaw counts can be seen."""
    shown = " ".join(panel_expressions())
    assert not [name for name in page if name not in shown]


def test_alerts_fire(tmp_path):
    """promtool plays the series; each alert comes when it should, and no other does."""
    alerts = re.findall("- alert: (.*)", open(RULES).read())
    tests = ""
    for after, series, firing in FIRING:
        name, values = series.rsplit(" ", 1)
        tests += "- interval: 1m\n  input_series:\n  - series: '%s'\n    values: '%s'\n" % (name, values)
        tests += "  - series: danelaw_build_info\n    values: 1x300\n  promql_expr_test:\n"
        for alert in alerts:
            labels = ""
            if alert in firing:
                extra = ',%s="%s"' % firing[alert] if firing[alert] else ""
                labels = "    - labels: 'ALERTS{alertname=\"%s\",alertstate=\"firing\"%s}'\n      value: 1\n" % (
                    alert, extra)
            tests += ("  - expr: max by (alertname, alertstate%s) (ALERTS{alertname=\"%s\",alertstate=\"firing\"})\n"
                      "    eval_time: %s\n    exp_samples:%s\n"
                      % ("".join(", " + firing[a][0] for a in [alert] if firing.get(a)), alert, after,
                         "\n" + labels.replace("ALERTS", "").rstrip("\n") if labels else " []"))
    write(str(tmp_path / "test.yml"), "rule_files: [%s]\ntests:\n%s" % (os.path.realpath(RULES), tests))
    promtool("test", "rules", str(tmp_path / "test.yml"))
