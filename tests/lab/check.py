"""danelaw's commands for people, as a person or a script runs them.

    out = check(lab, "good.lab", changes={...})     # .code .out .err
    out = check_json(lab, "good.lab")                # .result of the first name, .document
"""
import json
import re
import subprocess
import unicodedata
from types import SimpleNamespace

from program import PROGRAM, SANITIZER, ini, settings
from zones import write

TERMINAL = re.compile(r"\033\[[0-9;]*m")  # colours, where they were asked for


def configure(lab, changes=None):
    """A file with the lab's settings."""
    path = lab.new_folder("conf") + ".conf"
    write(path, ini(settings(lab, {"log": {"level": "info"}, **(changes or {})})))
    return path


def command(lab, words, conf=None, changes=None, wrap=(), stdin=None, seconds=60):
    """Runs danelaw WORDS; asserts what no run may ever do."""
    conf = conf or configure(lab, changes)
    done = subprocess.run([*wrap, PROGRAM, words[0], "-c", conf, *words[1:]], capture_output=True,
                          input=stdin, timeout=seconds)
    out, err = (x.decode("utf-8", "strict") for x in (done.stdout, done.stderr))
    assert not SANITIZER.search(err), err
    assert_clean(TERMINAL.sub("", out))
    return SimpleNamespace(code=done.returncode, out=out, err=err, lines=out.splitlines())


def assert_clean(text):
    """No control, no mark that a terminal would act on."""
    bad = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    assert not bad, (bad, text)


def check(lab, *words, **how):
    return command(lab, ["check", *words], **how)


def check_json(lab, *words, **how):
    done = check(lab, "--json", *words, **how)
    done.document = json.loads(done.out)
    done.result = done.document["results"][0]
    done.findings = {f["code"]: f for f in done.result["findings"]}
    assert done.document["exit_code"] == done.code, done.out
    return done
