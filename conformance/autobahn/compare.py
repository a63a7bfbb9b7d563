"""Compares reports of Autobahn's suite with what is expected.

    compare.py expected.json CASES index.json...

A case passes when both its behavior and its way of closing are as expected: OK, unless expected.json names
another result for it and says why. A case that is missing fails, and so does one that became better than
expected, so that the file stays true.
"""

import fnmatch
import json
import sys


def results(path):
    """Case -> (behavior, closing), of the only agent of a report."""
    with open(path, encoding="utf-8") as file:
        (agent,) = json.load(file).values()
    return {case: (result["behavior"], result["behaviorClose"]) for case, result in agent.items()}


def main(expected_path, cases, *report_paths):
    with open(expected_path, encoding="utf-8") as file:
        expected = json.load(file)
    exceptions = {case: tuple(entry["result"]) for case, entry in expected["exceptions"].items()}
    found = {case: result for path in report_paths for case, result in results(path).items()}
    failures = []
    for case, result in found.items():
        wanted = exceptions.get(case, ("OK", "OK"))
        if result != wanted:
            failures.append(f"{case}: {'/'.join(result)}, expected {'/'.join(wanted)}")
    if cases == "*" and len(found) != expected["cases"]:
        failures.append(f"{len(found)} cases were played, expected {expected['cases']}")
    for case in exceptions:
        if fnmatch.fnmatch(case, cases) and case not in found:
            failures.append(f"{case}: not played")
    for failure in failures:
        print(failure)
    print(f"{len(found) - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main(*sys.argv[1:]))
