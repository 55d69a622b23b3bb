"""Rows as data frames: the same columns and types whether there are rows or not."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_TIMES = frozenset({"start", "at"})
_COUNTS = frozenset(
    {
        "cell",
        "ok",
        "failed",
        "inconclusive",
        "count",
        "checks",
        "requests",
        "tokens",
        "in_flight",
        "target_id",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "score",
    }
)
_NUMBERS = frozenset(
    {
        "p50",
        "p95",
        "p99",
        "limit",
        "remaining",
        "reset",
        "window",
        "latency_ms",
        "processing_ms",
        "retry_after",
        "lag_p99_ms",
        "amount",
    }
)

_NO_TIME = -(2**63)
"""What pandas reads as NaT."""


def frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> "pd.DataFrame":
    """A frame of these columns. Times are given in milliseconds since the epoch and come out aware, UTC; an absent time is
    NaT, an absent number NaN, an absent text None.
    """
    import pandas as pd  # half a second and 50 MB, which the poller does not need

    data = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pd.DataFrame({name: _series(name, values) for name, values in zip(columns, data, strict=True)}, columns=list(columns))


def _series(name: str, values: Sequence[Any]) -> "pd.Series[Any]":
    import pandas as pd

    if name in _TIMES:
        numbers = [_NO_TIME if at is None else at for at in values]
        return pd.Series(numbers, dtype="int64").astype("datetime64[ms]").dt.tz_localize("UTC")
    if name in _COUNTS:
        return pd.Series(values, dtype="int64")
    if name in _NUMBERS:
        return pd.Series(values, dtype="float64")
    if name == "status":
        return pd.Series(values, dtype="Int64")
    return pd.Series(values, dtype="object")
