"""Prints "PASSED FAILED" of a junit file. A skipped test has failed, unless its reason begins with
"cannot run here:" and tells what this machine lacks; it counts as neither then."""
import sys
import xml.etree.ElementTree

passed = failed = 0
for case in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"):
    skipped = case.find("skipped")
    if case.find("failure") is not None or case.find("error") is not None:
        failed += 1
    elif skipped is None:
        passed += 1
    elif not skipped.get("message", "").startswith("cannot run here:"):
        failed += 1
print(passed, failed)
