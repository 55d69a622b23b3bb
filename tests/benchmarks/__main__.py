"""`make bench`: every figure as one JSON line; the names of suites as arguments choose among them."""

import importlib
import json
import sys

SUITES = ("store", "poller", "pages", "viewers", "takeover", "postgres", "sync")

if __name__ == "__main__":
    for suite in sys.argv[1:] or SUITES:
        for figure in importlib.import_module(f"tests.benchmarks.{suite}").figures():
            print(json.dumps({"suite": suite, **figure}), flush=True)
