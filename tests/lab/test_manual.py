"""The manual page says what the program's own help says, command by command, and is well formed."""
import os
import re
import subprocess

import pytest

from program import HERE, PROGRAM

ROOT = os.path.join(HERE, "../..")
MANUAL = os.path.join(ROOT, "packaging/danelaw.8")
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")
EVERYWHERE = {"-c", "-o", "-h", "--help"}


def output(*words):
    out = subprocess.run(words, capture_output=True, text=True, timeout=30, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    return out.stdout


def help_of(*command):
    """Without the other programs of a pipe, which have options, too."""
    return re.sub(r" \| .*", "", output(PROGRAM, *command, "--help"))


def commands():
    """Those of the first column of danelaw --help."""
    named = re.findall(r"^  danelaw (?:\[(\w+)\]|(\w+))", help_of(), re.M)
    return sorted({a or b for a, b in named})


@pytest.fixture(scope="module")
def manual():
    text = output("mandoc", "-Tascii", "-O", "width=200", MANUAL)
    return re.sub(r".\x08", "", text)


def section(manual, command):
    """From the command's heading to the next heading."""
    found = re.search(r"^   danelaw %s\n(.*?)^ {0,3}\S" % command, manual, re.M | re.S)
    assert found, "the manual has no section for danelaw " + command
    return found.group(1)


def tags(text):
    """Options that have an entry of their own."""
    return {option for line in re.findall(r"^     (-.*)$", text, re.M)
            for option in OPTION.findall(re.split(r" {2,}", line)[0])}


def test_lint():
    """Which other manuals this machine has is no matter."""
    out = subprocess.run(["mandoc", "-Tlint", MANUAL], capture_output=True, text=True)
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
    assert "man8/danelaw.8" in output("make", "-n", "install")
