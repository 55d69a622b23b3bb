"""`make drill`: every scenario against the emulator in simulated time, a line each, and a month of noise.

python -m tests.drill [WORD …]                  only scenarios whose name holds a word
python -m tests.drill noise --defaults [DAYS]   a few projects at the default intervals, 90 days unless told: about half an hour
"""

import json
import statistics
import sys
from collections.abc import Iterator

from tests.drill.scenarios import SCENARIOS
from tests.drill.score import Score, noise, run

A_FEW = ("a00", "a01", "b00", "b01")
"""Whose noise is listened to at the default intervals: both organizations, both hosts."""


def main(words: list[str]) -> int:
    """Run; gives the number of scenarios that went wrong."""
    if words[:2] == ["noise", "--defaults"]:
        heard = noise(int(words[2]) if len(words) > 2 else 90, None, A_FEW)
        print(json.dumps({"scenario": "noise", **heard}))
        return int(heard["messages"])
    scores = [_told(run(scenario)) for scenario in SCENARIOS if not words or any(word in scenario.name for word in words)]
    named = [seconds for score in scores for seconds in score.seconds_to_name]
    wrong = [score.name for score in scores if not score.right]
    if not words:
        print(json.dumps({"scenario": "noise", **noise(days=90)}))
    print(json.dumps(dict(_summary(scores, named, wrong))))
    return len(wrong)


def _told(score: Score) -> Score:
    print(json.dumps(score.line()), flush=True)
    return score


def _summary(scores: list[Score], named: list[float], wrong: list[str]) -> Iterator[tuple[str, object]]:
    yield "scenarios", len(scores)
    yield "right", len(scores) - len(wrong)
    yield "wrong", wrong
    if named:
        yield "seconds_to_name_median", statistics.median(named)
        yield "seconds_to_name_worst", max(named)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
