"""The manual pages and the completion say what the program itself says: its help, command by command,
its settings with their defaults and ranges, its reason codes."""
import os
import re
import subprocess

import pytest

from program import HERE, PROGRAM

ROOT = os.path.join(HERE, "../..")
MANUAL = os.path.join(ROOT, "packaging/danelaw.8")
SETTINGS = os.path.join(ROOT, "packaging/danelaw.conf.5")
SAMPLE = os.path.join(ROOT, "packaging/danelaw.conf")
COMPLETION = os.path.join(ROOT, "packaging/danelaw.bash")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")
EVERYWHERE = {"-c", "-o", "-h", "--help"}


def output(*words):
    out = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return out.stdout


def help_of(*command):
    """Without the other programs of a pipe, which have options, too."""
    return re.sub(r" \| .*", "", output(PROGRAM, *command, "--help"))


def commands():
    """Those of the first column of danelaw --help."""
    named = re.findall(r"^  danelaw (?:\[(\w+)\]|(\w+))", help_of(), re.M)
    return sorted({a or b for a, b in named})


def rendered(page):
    return re.sub(r".\x08", "", output("mandoc", "-Tascii", "-O", "width=200", page))


@pytest.fixture(scope="module")
def manual():
    return rendered(MANUAL)


def section(manual, command):
    """From the command's heading to the next heading."""
    found = re.search(r"^   danelaw %s\n(.*?)^ {0,3}\S" % command, manual, re.M | re.S)
    assert found, "the manual has no section for danelaw " + command
    return found.group(1)


def tags(text):
    """Options that have an entry of their own."""
    return {option for line in re.findall(r"^     (-.*)$", text, re.M)
            for option in OPTION.findall(re.split(r" {2,}", line)[0])}


@pytest.mark.parametrize("page", [MANUAL, SETTINGS], ids=os.path.basename)
def test_lint(page):
    """Which other manuals this machine has is no matter."""
    out = subprocess.run(["mandoc", "-Tlint", page], capture_output=True, text=True)
    said = [line for line in out.stdout.splitlines() if "referenced manual not found" not in line]
    assert not said


def test_commands(manual):
    assert commands() == sorted(re.findall(r"^   danelaw (\w+)$", manual, re.M))
    synopsis = manual.split("SYNOPSIS\n", 1)[1].split("DESCRIPTION\n", 1)[0]
    for command in commands():
        assert re.search(r"danelaw \[?%s\b" % command, synopsis)


def test_options_everywhere(manual):
    before = manual.split("   danelaw serve\n", 1)[0]
    assert set(OPTION.findall(help_of())) - {"-t"} == tags(before)


@pytest.mark.parametrize("command", commands())
def test_options(manual, command):
    wanted = set(OPTION.findall(help_of(command))) - EVERYWHERE
    assert tags(section(manual, command)) == wanted


@pytest.mark.parametrize("command", commands())
def test_example(manual, command):
    """A display of its own, indented deeper than text."""
    assert re.search(r"^ {10,12}danelaw %s " % command, section(manual, command), re.M)


def test_exit_codes(manual):
    """Each number that a help text names."""
    listed = set(re.findall(r"^     (\d+) ", manual.split("EXIT STATUS\n", 1)[1], re.M))
    for command in [()] + [(c,) for c in commands()]:
        for line in help_of(*command).split("exit:")[1:]:
            assert set(re.findall(r"\b\d\d?\b", line)) <= listed


def test_installed():
    commands = output("make", "-n", "install")
    for path in ("man8/danelaw.8", "man5/danelaw.conf.5", "bash-completion/completions/danelaw"):
        assert path in commands


def test_reason_codes(manual):
    """Each is explained, with its reply."""
    with open(ROOT + "/policy/reason.c") as f:
        rows = re.findall(r'\{ "([a-z0-9-]{2,})", +(\d+), "([\d.]*)" \}', f.read())
    assert len(rows) > 40
    listed = manual.split("DIAGNOSTICS\n", 1)[1].split("\nSEE ALSO", 1)[0]
    for code, reply, status in rows:
        shown = "%s %s" % (reply, status) if reply != "0" else "In the log"
        assert re.search(r"^     %s +.*\b%s\b" % (code, shown), listed, re.M), code
    assert len(re.findall(r"^     [a-z][\w-]+ +(?:\d{3} |In )", listed, re.M)) == len(rows)


# ---- settings: the sample file is compared with the table by tests/unit/test_conf.c ----

def sample():
    """[(section, key, default)] of danelaw.conf."""
    found, section = [], None
    with open(SAMPLE) as f:
        for line in f:
            begins = re.match(r"#?\[(.*)\]$", line)
            setting = re.match(r"#([\w-]+) = ?(.*)$", line)
            if begins:
                section = begins[1]
            elif setting and section != "unbound":
                found.append((section, setting[1], setting[2]))
    return found


def described():
    """{(section, key): (default, text)} of danelaw.conf(5)."""
    found = {}
    for part in re.split(r"^   \[", rendered(SETTINGS), flags=re.M)[1:]:
        section, text = part.split("\n     ", 1)[0].split("]", 1)[0], part.split("\n\nFILES")[0]
        for entry in re.split(r"^     (?=[\w-]+ =)", text, flags=re.M)[1:]:
            key, value, text = re.match(r"([\w-]+) =(?: (\S+(?: \S+)*))?(.*)", entry, re.S).groups()
            found[section, key] = value or "", text
    return found


def kind(section):
    """As the manual heads it."""
    first, *name = section.split()
    return first + {"listener": " NAME", "dns": " DOMAIN", "domain": " DOMAIN"}[first] * bool(name) \
        if name else first


def test_settings():
    """Manual and sample have the same ones, with the same defaults."""
    assert {(kind(s), key): value for s, key, value in sample()} == \
        {place: value for place, (value, text) in described().items()}


def refusal(section, key, value):
    done = subprocess.run([PROGRAM, "-t", "-o", "%s.%s=%s" % (section, key, value)],
                          capture_output=True, text=True, timeout=60)
    return done.stderr


def test_ranges():
    """Where the program refuses with a range or a choice, the manual names it."""
    ranges = choices = 0
    for (section, key), (value, text) in described().items():
        section = section.replace("NAME", "smarthost").replace("DOMAIN", "example.org")
        text = " ".join(text.split())
        for absurd in ("99999999999", "9999d", "9999999G"):
            limits = re.search(r"must be from (\S+ to \w+)", refusal(section, key, absurd))
            if limits:
                assert re.search(r"\((each )?%s\)" % re.escape(limits[1]), text), key
                ranges += 1
                break
        words = re.search(r"is not one of (.*)", refusal(section, key, "?"))
        if words:
            for word in words[1].split():
                assert re.search(r"(^|\s)%s([\s,.:;]|$)" % re.escape(word), text), (key, word)
            choices += 1
    assert ranges > 20 and choices > 10


# ---- bash completion ----

def complete(*words):
    """What bash would offer for the last word, which may be empty."""
    script = """
        source %s
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        compopt() { :; }
        _danelaw
        printf '%%s\\n' "${COMPREPLY[@]}" """ % COMPLETION
    return output("bash", "-c", script, "bash", "danelaw", *words).split()


def test_completion_of_commands():
    assert sorted(complete("")) == commands()
    assert complete("ex") == ["explain"] and complete("-c", "x.conf", "tl") == ["tlsa"]


@pytest.mark.parametrize("command", ["", *commands()])
def test_completion_of_options(command):
    """Those of the help text; the words before the command do not matter."""
    wanted = set(OPTION.findall(help_of(*command.split()))) | (EVERYWHERE if command else set())
    assert set(complete(*command.split(), "-")) == wanted
    if command:
        assert set(complete("-o", "log.level", "=", "debug", command, "-")) == wanted


def test_completion_of_settings():
    wanted = {"%s.%s=" % (s, key) for s, key, _ in sample() if " " not in s}
    assert set(complete("-o", "")) == set(complete("check", "-o", "")) == wanted
    assert complete("-o", "log.") == ["log.target=", "log.format=", "log.level="]
