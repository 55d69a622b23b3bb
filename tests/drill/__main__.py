"""`make drill`: every scenario against the emulator in simulated time, a line each, and ninety days of noise.

python -m tests.drill [WORD …]                  only scenarios whose name holds a word
python -m tests.drill noise --defaults [DAYS]   a few projects at the default intervals, 90 days unless told: about half an hour
"""

import json
import statistics
import sys
from collections.abc import Iterator

from tests.drill.scenarios import MEDIAN, SCENARIOS, WORST
from tests.drill.score import A_FEW, Score, noise, run


def main(words: list[str]) -> int:
    """Run; gives the number of goals that were missed: scenarios that went wrong, noise that was heard, causes named late."""
    if words[:2] == ["noise", "--defaults"]:
        heard = noise(int(words[2]) if len(words) > 2 else 90, None, A_FEW)
        print(json.dumps({"scenario": "noise", **heard}))
        return int(heard["messages"])
    scores = [_told(run(scenario)) for scenario in SCENARIOS if not words or any(word in scenario.name for word in words)]
    heard = noise(days=90) if not words else {}
    if heard:
        print(json.dumps({"scenario": "noise", **heard}))
    summary = dict(_summary(scores, int(heard.get("messages", 0))))
    print(json.dumps(summary))
    return len(scores) - sum(score.right for score in scores) + (not summary["goals_met"])


def _told(score: Score) -> Score:
    print(json.dumps(score.line()), flush=True)
    return score


def _summary(scores: list[Score], noise_messages: int) -> Iterator[tuple[str, object]]:
    named = [seconds for score in scores for seconds in score.seconds_to_name]
    wrong = [score.name for score in scores if not score.right]
    median, worst = (statistics.median(named), max(named)) if named else (0.0, 0.0)
    yield "scenarios", len(scores)
    yield "right", len(scores) - len(wrong)
    yield "wrong", wrong
    yield "cause_right", sum(score.cause_right for score in scores)
    yield "scope_right", sum(score.scope_right for score in scores)
    yield "told_once", sum(score.told_right and score.incidents == score.wanted for score in scores)
    yield "seconds_to_name_median", round(median, 1)
    yield "seconds_to_name_worst", round(worst, 1)
    yield "noise_messages", noise_messages
    yield "goals_met", not wrong and not noise_messages and median < MEDIAN and worst < WORST


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
