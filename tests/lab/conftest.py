"""One world for the whole run, inside one namespace: tests/lab/inside pytest tests/lab.

A test file declares its part of the world in declare(lab). Every test is bounded by an alarm.
"""
import glob
import os
import re
import shutil
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from exim import EximClient  # noqa: E402
from netlab import Network  # noqa: E402
from postfix import PostfixClient  # noqa: E402
from program import PROGRAM, Danelaw, is_built  # noqa: E402
from world import World  # noqa: E402

TEST_SECONDS = 120
CATALOGUE = re.compile(r"(?<![\w-])[DTSPUNF]-\d\d")  # rows of attacks and faults; see tests/coverage
ROW_CASE = re.compile(r"(\[|^test_)[dtspunf]\d\d(?!\d)")


def pytest_configure(config):
    if os.environ.get("DANELAW_LAB") != "inside":
        pytest.exit("the lab tests run inside a namespace: tests/lab/inside pytest tests/lab", 2)


def pytest_collection_modifyitems(config, items):
    """junit.xml gets each test's docstring, for tests/coverage. $DANELAW_ONLY = catalogue: only tests
    that show a row of it."""
    for item in items:
        item.user_properties.append(("shows", item.function.__doc__ or ""))
    if os.environ.get("DANELAW_ONLY") == "catalogue":
        left = [item for item in items if not is_of_catalogue(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def is_of_catalogue(item):
    return CATALOGUE.search(item.function.__doc__ or "") or ROW_CASE.search(item.name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with the last words of each danelaw of its test: CI keeps nothing else of it."""
    report = (yield).get_result()
    for d in Danelaw.of_test if report.failed else []:
        report.sections.append(("%s:%d logged last" % d.server, d.tail(30)))


@pytest.fixture(scope="session")
def lab(request):
    world = World()
    for module in dict.fromkeys(item.module for item in request.session.items):
        if hasattr(module, "declare"):
            module.declare(world)
    world.start()
    yield world
    world.stop()
    keep_logs(world)


def keep_logs(world):
    """The namespace's files end with it; tests/run says where their logs are wanted."""
    wanted = os.environ.get("DANELAW_LOGS")
    for path in filter(os.path.isfile, glob.glob(world.folder + "/*/*log") if wanted else []):
        shutil.copy(path, os.path.join(wanted, path[len(world.folder) + 1:].replace("/", ".")))


@pytest.fixture(scope="session")
def network(lab):
    """Hosts with networks of their own, for the tests that need them."""
    made = Network()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def danelaw(lab):
    """One danelaw with the lab's settings for the tests of a file; its stop is checked too."""
    assert is_built(), "no program at %s" % PROGRAM
    with Danelaw(lab) as d:
        yield d


@pytest.fixture
def deferring(lab):
    """Another one beside it, which takes one recipient domain at a time (D1)."""
    with Danelaw(lab, {"listener smarthost": {"listen": "127.0.0.7:2525", "delivery": "defer"}}) as d:
        yield d


@pytest.fixture(scope="module")
def postfix_client(lab):
    client = PostfixClient(lab.new_folder("postfix-client"))
    client.start()
    yield client
    client.stop()


@pytest.fixture(scope="module")
def exim_client(lab):
    client = EximClient(lab.new_folder("exim-client"))
    client.start()
    yield client
    client.stop()


@pytest.fixture(autouse=True)
def bounded(request):
    """A module's own TEST_SECONDS counts in place of ours."""
    seconds = getattr(request.module, "TEST_SECONDS", TEST_SECONDS)

    def expired(number, frame):
        raise TimeoutError("a test took longer than %d s" % seconds)
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    Danelaw.of_test[:] = [d for d in Danelaw.of_test if d.child]
