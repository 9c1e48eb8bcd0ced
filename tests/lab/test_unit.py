"""packaging/danelaw.service: what the service manager would do with it, and how it fits the program.
What the packages say that building needs, and their version, are the Makefile's."""
import os
import re
import subprocess

import pytest

from program import HERE, PROGRAM
from zones import write

PACKAGING = os.path.join(HERE, "../../packaging/")
SPAN = {"s": 1, "m": 60, "h": 3600}


def read(name):
    with open(PACKAGING + name) as f:
        return f.read()


@pytest.fixture(scope="module")
def unit(tmp_path_factory):
    """The unit as it is installed, with this program in it: its path."""
    path = str(tmp_path_factory.mktemp("unit") / "danelaw.service")
    write(path, read("danelaw.service").replace("/usr/local/sbin/danelaw", PROGRAM))
    return path


@pytest.fixture(scope="module")
def service():
    """Its [Service] section: {key: [values]}."""
    section = read("danelaw.service").split("[Service]\n")[1].split("\n[")[0]
    keys = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", section, re.M):
        keys.setdefault(key, []).append(value)
    return keys


def seconds(text):
    number, span = re.fullmatch(r"(\d+)([smh])", text).groups()
    return int(number) * SPAN[span]


def test_exposure(unit):
    """Below 2.0 on systemd's scale from 0 (safe) to 10; the command fails from the threshold on."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           "--threshold=19", unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_well_formed(unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_patience(service):
    """Whoever is in the middle of a message may finish it before the service manager kills."""
    shutdown = re.search(r"^#shutdown = (\w+)$", read("danelaw.conf"), re.M)[1]
    assert seconds(service["TimeoutStopSec"][0]) > seconds(shutdown)


def test_R_NET_14_capabilities(service):
    """Never root, and no more than what privileges.c keeps or needs to bind."""
    assert service["User"] == ["danelaw"]
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert service[key] == ["CAP_NET_BIND_SERVICE CAP_NET_RAW"]
    assert read("danelaw.sysusers").startswith("u danelaw - ")


def test_exit_codes(service):
    """What a restart cannot mend ends the service; a port that is still taken does not."""
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == ["64 78"]
    done = subprocess.run([PROGRAM, "-o", "policy.level=x"], capture_output=True, timeout=60)
    assert done.returncode == 78


def test_packages_agree_with_the_makefile():
    makefile = read("../Makefile")
    version = re.search(r"^VERSION := (.*)$", makefile, re.M)[1]
    needed = re.search(r"^BUILD_PACKAGES := ((?:.*\\\n)*.*)$", makefile, re.M)[1]
    needed = set(needed.replace("\\", "").split())
    control = read("debian/control").split("Build-Depends:")[1].split("\nStandards")[0]
    named = {x.split()[0] for x in control.split(",")}
    assert {x for x in named if not x.startswith(("debhelper", "dh-"))} == needed
    assert read("debian/changelog").startswith("danelaw (%s-" % version)
    spec = read("rpm/danelaw.spec")
    assert re.search(r"^Version: +%s$" % re.escape(version), spec, re.M)
    asked = " ".join(re.findall(r"^BuildRequires: +(.*)$", spec, re.M)).split()
    libraries = [x for x in needed if x.endswith("-dev")]  # another's names are longer or shorter
    assert len([x for x in asked if x.endswith("-devel")]) == len(libraries)
