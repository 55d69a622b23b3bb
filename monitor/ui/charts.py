"""Frames as figures: pure, without data no line, times in the viewer's zone. Where nothing was measured there is a gap."""

import html
from collections.abc import Sequence
from datetime import timedelta, tzinfo

import pandas as pd
import plotly.graph_objects as go

from monitor.domain.timeline import Window
from monitor.ui.format import title, visible, zone_name
from monitor.ui.theme import SERIES, kind_colour

HEIGHT = 245
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
_GRID = "rgba(128,140,155,.22)"
_INK = "#7a8591"


def failure_trend(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """Failures stacked by kind."""
    return _stacked(frame, window, step, zone, "failures")


def rate_limits(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """429s of all projects of the frame, stacked by kind."""
    return _stacked(frame, window, step, zone, "429s")


def _stacked(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo, what: str) -> go.Figure:
    figure = _figure(window, zone, what)
    totals = frame.groupby("failure")["count"].sum().sort_values(ascending=False)
    for kind in totals.index:
        part = frame[frame["failure"] == kind].groupby("start")["count"].sum().reset_index()
        _bars(figure, part["start"], part["count"], step, zone, title(str(kind)), kind_colour(str(kind)), "%{y:,}")
    figure.update_layout(barmode="stack", showlegend=True)
    return figure


def checks(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """Checks a minute, stacked by verdict. A step without any check has no bar."""
    figure = _figure(window, zone, "checks a minute")
    minutes = step.total_seconds() / 60
    for column, name, colour in (("ok", "ok", "good"), ("failed", "failed", "third"), ("inconclusive", "unclear", "quiet")):
        if frame[column].any():
            _bars(figure, frame["start"], frame[column] / minutes, step, zone, name, SERIES[colour], "%{y:,.1f}")
    figure.update_layout(barmode="stack", showlegend=True)
    return figure


def latency(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """Latency: half of the answers, 95 % and 99 % came within."""
    figure = _figure(window, zone, "milliseconds")
    points = _gapped(frame, step, ("p50", "p95", "p99"))
    for column, name, colour in (("p99", "p99", "third"), ("p95", "p95", "second"), ("p50", "p50", "main")):
        _line(figure, points["start"], points[column], zone, name, SERIES[colour], "%{y:,.0f} ms")
    figure.update_layout(showlegend=True)
    return figure


def remaining(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """What remained of each limit, as a share of it: the least of each step."""
    figure = _figure(window, zone, "% of the limit remaining")
    step = max(step, timedelta(minutes=5))
    known = frame[frame["limit"] > 0]
    colours = ("main", "second", "third", "quiet")
    groups = known.assign(model=known["model"].fillna("")).groupby(["model", "bucket"], sort=True)
    for number, ((model, bucket), part) in enumerate(groups):
        part = part.assign(share=part["remaining"] / part["limit"] * 100)  # noqa: PLW2901
        points = _gapped(part, step, ("share",))
        name = " ".join(str(each) for each in (model, bucket) if each)
        _line(figure, points["start"], points["share"], zone, name, SERIES[colours[number % 4]], "%{y:.0f} %", dash=number >= 4)
    figure.update_yaxes(range=[0, 104])
    figure.update_layout(showlegend=True)
    return figure


def usage(frame: pd.DataFrame, window: Window, zone: tzinfo) -> go.Figure:
    """Calls a day, stacked by model: `start, model, requests`. Days are UTC's, as OpenAI counts."""
    figure = _figure(window, zone, "calls a day")
    totals = frame.groupby("model")["requests"].sum().sort_values(ascending=False)
    colours = list(SERIES.values())
    for number, model in enumerate(totals.index):
        part = frame[frame["model"] == model].groupby("start")["requests"].sum().reset_index()
        colour = colours[number % len(colours)]
        _bars(figure, part["start"], part["requests"], timedelta(days=1), zone, str(model), colour, "%{y:,}")
    figure.update_layout(barmode="stack", showlegend=True)
    return figure


def score(frame: pd.DataFrame, window: Window, zone: tzinfo) -> go.Figure:
    """A score over time: `start, score`; it holds until it changes."""
    figure = _figure(window, zone, "score")
    figure.add_scatter(
        x=_local(frame["start"], zone),
        y=frame["score"].to_numpy(),
        mode="lines",
        line={"color": SERIES["main"], "width": 1.9, "shape": "hv"},
        hovertemplate="%{y}",
        name="score",
    )
    figure.update_yaxes(range=[0, 104])
    figure.update_layout(height=190)
    return figure


def lag(frame: pd.DataFrame, window: Window, step: timedelta, zone: tzinfo) -> go.Figure:
    """How late checks started."""
    figure = _figure(window, zone, "seconds late, 99th percentile")
    points = _gapped(frame, step, ("lag_p99_ms",))
    _line(figure, points["start"], points["lag_p99_ms"] / 1000, zone, "late by", SERIES["main"], "%{y:,.3f} s")
    return figure


def _bars(
    figure: go.Figure,
    at: "pd.Series[pd.Timestamp]",
    values: "pd.Series[float]",
    step: timedelta,
    zone: tzinfo,
    name: str,
    colour: str,
    hover: str,
) -> None:
    figure.add_bar(
        x=_local(at + step / 2, zone),
        y=values.to_numpy(),
        name=_name(name),
        width=step.total_seconds() * 900,
        marker={"color": colour, "line": {"width": 0}},
        hovertemplate=hover,
    )


def _line(
    figure: go.Figure,
    at: "pd.Series[pd.Timestamp]",
    values: "pd.Series[float]",
    zone: tzinfo,
    name: str,
    colour: str,
    hover: str,
    *,
    dash: bool = False,
) -> None:
    known = values.notna()
    # A value with a gap on either side would be a line of no length.
    alone = known & ~known.shift(1, fill_value=False) & ~known.shift(-1, fill_value=False)
    figure.add_scatter(
        x=_local(at, zone),
        y=values.to_numpy(),
        name=_name(name),
        mode="lines+markers" if alone.any() else "lines",
        marker={"size": [5 if one else 0 for one in alone], "color": colour, "line": {"width": 0}},
        line={"color": colour, "width": 1.7, "dash": "dot" if dash else "solid"},
        hovertemplate=hover,
        connectgaps=False,
    )


def _gapped(frame: pd.DataFrame, step: timedelta, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with an empty row wherever more than two usual distances lie between two of its rows: there the line breaks."""
    rows = frame[["start", *columns]].sort_values("start")
    distance = rows["start"].diff().dt.total_seconds()
    usual = float(distance.clip(step.total_seconds(), 3 * step.total_seconds()).median()) if len(rows) > 1 else step.total_seconds()
    breaks = (rows["start"] - timedelta(seconds=usual / 2))[distance > 2 * usual].to_frame()
    return pd.concat([rows, breaks]).sort_values("start", ignore_index=True) if len(breaks) else rows


def _local(at: "pd.Series[pd.Timestamp]", zone: tzinfo) -> "pd.Series[pd.Timestamp]":
    """The wall clock of the viewer: plotly knows no zones."""
    return at.dt.tz_convert(zone).dt.tz_localize(None)


def _name(text: str) -> str:
    """A name for the legend, where plotly would read some HTML."""
    return html.escape(visible(text), quote=False)


def _figure(window: Window, zone: tzinfo, what: str) -> go.Figure:
    start, end = (pd.Timestamp(at).tz_convert(zone).tz_localize(None) for at in (window.start, window.end))
    axis = {"gridcolor": _GRID, "zeroline": False, "tickfont": {"color": _INK, "size": 11}, "linecolor": _GRID}
    return go.Figure(
        layout={
            "template": "none",
            "height": HEIGHT,
            "margin": {"l": 48, "r": 8, "t": 26, "b": 36},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "x unified",
            "hoverlabel": {"font": {"size": 12}},
            "showlegend": False,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}, "title": {"text": ""}},
            "xaxis": axis | {"range": [start, end], "title": {"text": zone_name(zone), "font": {"size": 11, "color": _INK}}},
            "yaxis": axis | {"rangemode": "tozero", "title": {"text": what, "font": {"size": 11, "color": _INK}}},
        }
    )
