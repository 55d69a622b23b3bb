"""`make bench`: every figure as one JSON line; the names of suites as arguments choose among them.

store      recording beside plain SQLite, and the pages' queries, with 2,000 projects             a minute
month      bytes of a check over a month, and a year's rollups                                    four minutes
history    the queries of every page after one month and after thirteen                           ten minutes, later one
poller     what a check costs on the whole road                                                   three minutes
pages      the first screen and moving on in Chromium, with 200 and 2,000 projects                after `history` four minutes
viewers    how many people one core serves                                                        after `history` five minutes
takeover   one of three pollers is killed (needs PostgreSQL)                                      a minute
postgres   recording and reading there                                                            a minute
"""

import importlib
import json
import sys

SUITES = ("store", "month", "history", "poller", "pages", "hygiene", "viewers", "takeover", "postgres", "sync")

if __name__ == "__main__":
    for suite in sys.argv[1:] or SUITES:
        for figure in importlib.import_module(f"tests.benchmarks.{suite}").figures():
            print(json.dumps({"suite": suite, **figure}), flush=True)
