"""The monitor itself: whether it runs, on time, with what, and what it costs."""

from datetime import timedelta

import plotly
import streamlit as st

from monitor import __version__
from monitor.domain.sharing import SHARDS
from monitor.domain.timeline import Window
from monitor.ui import blocks, charts, coverage, data, filters, panels
from monitor.ui.format import age, clock, escape, milliseconds, number, span, viewer_zone

MONTH = timedelta(days=30)

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
window, chosen = filters.window(now), filters.window_name()
beat, config, sharing = data.heartbeat(), data.effective_config(), data.sharing()

if beat is None:
    first, css = "The poller has never run.", "failing"
elif beat.late(now):
    first, css = f"The poller has been silent for {span((now - beat.at).total_seconds())}.", "failing"
elif sharing.unattended:
    first, css = f"{sharing.unattended} of {SHARDS} parts of the targets are checked by no poller.", "failing"
elif beat.config_error:
    first, css = "The poller runs with an older configuration.", "degraded"
elif beat.lag_p99_ms is not None and beat.lag_p99_ms > 5_000:
    first, css = f"The poller runs, but its checks start {milliseconds(beat.lag_p99_ms)} late.", "degraded"
else:
    first, css = "The poller runs and is on time.", "ok"
blocks.show(f'<div class="verdict"><span class="{css}">{first}</span></div>')
if beat is not None:
    blocks.figures(
        [
            ("Last sign of life", age(beat.at, now), f"on {beat.host}, process {beat.pid}"),
            ("Running for", span((beat.at - beat.started_at).total_seconds()), f"since {clock(beat.started_at, now, zone)}"),
            ("Checks since then", number(beat.checks), f"{beat.in_flight} under way"),
            ("Checks start late by", milliseconds(beat.lag_p99_ms), "99 of 100 start sooner"),
            ("Version", beat.version, "of the poller"),
        ]
    )
if sharing.pollers:
    blocks.heading("Who checks what", f"the targets in {SHARDS} parts; a poller's part goes on with the others when it dies")
    blocks.table(
        [("Poller", "nw"), ("Parts", "r"), ("", "")],
        [(escape(each.name), number(each.shards), "leads: keeps the incidents" if each.leads else "") for each in sharing.pollers],
    )

step = data.bars(window)
left, right = st.columns(2)
with left:
    blocks.heading("Checks a minute", f"last {chosen}; a gap is a time without any check")
    counts = data.check_counts(window)
    if counts.empty:
        blocks.empty("No check in this window.", "Choose a longer window, or start the poller.")
    else:
        st.plotly_chart(charts.checks(counts, window, step, zone), config=charts.CONFIG, key="checks")
with right:
    blocks.heading("How late checks start", "the worst of each step; seconds here mean an overloaded machine")
    lags = data.lag_trend(window)
    if lags.empty:
        blocks.empty("No sign of life in this window.", "Choose a longer window, or start the poller.")
    else:
        st.plotly_chart(charts.lag(lags, window, data.points(window), zone), config=charts.CONFIG, key="lag")

blocks.heading("What probing costs", "requests and tokens of the monitor itself")
length = max(timedelta(days=1), min(MONTH, window.length))
spent = data.probe_cost(Window.last(length, now, timedelta(hours=1)))
if spent.empty:
    blocks.empty("Nothing was spent yet.", "Only inference checks cost anything; listing and looking up models is free.")
else:
    # Whole UTC days are counted: the days that the window touches, as far as they have passed.
    began = (now - length).replace(hour=0, minute=0, second=0, microsecond=0)
    days = max((now - began) / timedelta(days=1), 0.1)
    sums = spent.groupby("project")[["requests", "tokens"]].sum()
    paid = spent[spent["probe"].isin(["inference", "denied_model"])].groupby("project")["requests"].sum()
    sums = sums.assign(paid=paid.reindex(sums.index).fillna(0)).sort_values(["tokens", "requests"], ascending=False)
    monthly = sums * (30 / days)
    total = monthly.sum()
    blocks.figures(
        [
            ("Requests a month", number(total["requests"]), "as of now, all projects"),
            ("Paid requests a month", number(total["paid"]), "inference and denied-model checks"),
            ("Tokens a month", number(total["tokens"]), "input and output"),
            ("At $1 for a million tokens", f"${total['tokens'] / 1e6:,.2f}", "a month; multiply by your model's price"),
        ]
    )
    most = 50
    rows = [
        (
            blocks.project_link(row["project"], chosen),
            number(row["requests"]),
            number(row["paid"]),
            number(row["tokens"]),
            number(row["paid"] * 30 / days),
            number(row["tokens"] * 30 / days),
        )
        for row in sums.head(most).reset_index().to_dict("records")
    ]
    over = f"{length.days} d" if length.days > 1 else "24 h"
    columns = [("Project", "nw"), (f"Requests, {over}", "r"), ("of them paid", "r"), ("Tokens", "r")]
    blocks.table([*columns, ("Paid requests a month", "r"), ("Tokens a month", "r")], rows)
    if len(sums) > most:
        blocks.show(f'<span class="soft">and {len(sums) - most:,} projects that cost less.</span>')

coverage.section(now, zone, chosen)

left, right = st.columns(2)
with left:
    blocks.heading("What it runs with", "without secrets")
    if config is None:
        blocks.empty("No configuration was stored yet.", "The poller stores it when it starts.")
    else:
        blocks.show(f'<span class="soft">from <b>{escape(config.source)}</b>, taken {escape(age(config.at, now))}</span>')
        panels.settings(config.text)
with right:
    blocks.heading("Where things are")
    here = [
        ("Database", data.shown_url()),
        ("Dashboard", __version__),
        ("Streamlit", st.__version__),
        ("plotly", plotly.__version__),
    ]
    blocks.show(panels.tree(here))
