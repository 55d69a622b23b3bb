"""Colours, shapes and where the style sheet is. A state is always a colour, a shape and a word."""

from dataclasses import dataclass
from pathlib import Path

from monitor.domain.health import Health
from monitor.domain.taxonomy import FailureKind, Lane


@dataclass(frozen=True, slots=True)
class Look:
    """How a health is shown."""

    css: str
    colour: str
    """For charts: seen on light and on dark ground, and told apart by the colour-blind."""
    shape: str
    word: str


LOOKS: dict[Health, Look] = {
    Health.HEALTHY: Look("ok", "#12967a", "●", "healthy"),
    Health.DEGRADED: Look("degraded", "#d9940a", "▲", "degraded"),
    Health.FAILING: Look("failing", "#d5451b", "✖", "failing"),
    Health.RESTRICTED: Look("restricted", "#6c63d9", "◐", "restricted"),
    Health.UNKNOWN: Look("unknown", "#8a929c", "○", "unknown"),
    Health.PAUSED: Look("paused", "#8a929c", "‖", "paused"),
}

SERIES = {"main": "#3b78b8", "second": "#d9940a", "third": "#d5451b", "quiet": "#8a929c", "good": "#4aa893"}

_FAMILIES: dict[Lane, tuple[str, ...]] = {
    Lane.AUTH: ("#d5451b", "#a8330f", "#e8744f", "#82270b", "#f09a7d"),
    Lane.ACCESS: ("#6c63d9", "#4a42ad", "#928bea", "#353089", "#b5b0f2"),
    Lane.RATE: ("#d9940a", "#b27505", "#ecb548", "#8a5a02", "#f3cc7f"),
    Lane.QUOTA: ("#b5437f", "#8d2f61", "#cf72a3", "#6e2049", "#e0a0c2"),
    Lane.SERVER: ("#3b78b8", "#7aa7d6"),
    Lane.NETWORK: ("#4f8f9c", "#2f6874", "#7db3be", "#a9cfd6"),
    Lane.CLIENT: ("#7b6a58", "#a39282"),
    Lane.UNKNOWN: ("#8a929c",),
}


def kind_colour(kind: FailureKind | str) -> str:
    """The colour of a kind of failure: shades of its family, the same in every chart and after every restart."""
    try:
        kind = FailureKind(kind)
    except ValueError:
        return _FAMILIES[Lane.UNKNOWN][0]
    siblings = [each for each in FailureKind if each.lane is kind.lane]
    shades = _FAMILIES[kind.lane]
    return shades[siblings.index(kind) % len(shades)]


def look(health: Health | str | None) -> Look:
    """How that health is shown."""
    return LOOKS[Health(health)] if health else LOOKS[Health.UNKNOWN]


STYLE = Path(__file__).with_name("style.css")
