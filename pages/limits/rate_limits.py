"""429s over time, and what remains of the limits."""

import math
from datetime import timedelta

import pandas as pd
import streamlit as st

from monitor.domain.postmortem import WHO_MENDS
from monitor.domain.taxonomy import KINDS, FailureKind, Lane
from monitor.domain.words import capital
from monitor.ui import blocks, charts, data, filters
from monitor.ui.blocks import dash
from monitor.ui.format import age, csv_of, escape, number, plural, span, title, viewer_zone
from monitor.ui.theme import kind_colour

blocks.guard()
blocks.renew()
now, zone = data.now(), viewer_zone()
window, chosen = filters.window(now), filters.window_name()
place = st.container()
with st.container(width=320):
    project = filters.project(now, every="All projects")
trend, limits = data.rate_limit_trend(window, project), data.limits_now(project)


def is_quota(kind: str) -> bool:
    """Whether waiting does not help, only money or a raised limit."""
    return kind.startswith(Lane.QUOTA.value)


quota = int(trend.loc[trend["failure"].map(is_quota).astype(bool), "count"].sum()) if len(trend) else 0
total = int(trend["count"].sum())
with place:
    if data.check_counts(window, project).empty:
        said, css, then = (
            f"Nothing is known: no check in the last {chosen}.",
            "unknown",
            "Choose a longer window, or start the poller.",
        )
    elif not total:
        said, css = f"No 429 in the last {chosen}.", "ok" if not data.silent(now) else "unknown"
        then = "No check was turned away for its rate or for money."
    else:
        hit = trend["project"].nunique()
        said, css = f"{plural(total, 'check')} turned away with 429 in the last {chosen}.", "failing" if quota else "degraded"
        parts = [f"{plural(total - quota, 'rate limit')}, which waiting heals"] if total > quota else []
        parts += [f"{number(quota)} for money, which waiting does not heal"] if quota else []
        then = f"{', and '.join(parts)}; in {plural(hit, 'project')}."
    blocks.show(f'<div class="verdict"><span class="{css}">{escape(said)}</span><span class="then">{escape(then)}</span></div>')

if total:
    blocks.heading("429s by kind", "of the monitor's own checks; the services' calls are not seen here")
    step = data.bars(window)
    st.plotly_chart(charts.rate_limits(trend, window, step, zone), config=charts.CONFIG, key="trend")
    blocks.heading("Who was turned away", f"last {chosen}")
    sums = trend.groupby(["project", "failure"])["count"].sum().sort_values(ascending=False).reset_index()
    newest = trend.groupby(["project", "failure"])["start"].max()
    rows = []
    box = st.container()
    for row in sums.iloc[filters.rows(len(sums))].to_dict("records"):
        kind = FailureKind(row["failure"])
        last = newest[row["project"], row["failure"]].to_pydatetime() + step
        rows.append(
            (
                blocks.project_link(row["project"], chosen),
                f'<span style="color:{kind_colour(kind)}">■</span> {escape(title(kind))}',
                f"{row['count']:,}",
                escape(f"within {span(step.total_seconds())}" if last > now else age(last, now)),
                "yes" if KINDS[kind].retry_helps else "<b>no</b>",
                escape(capital(WHO_MENDS[KINDS[kind].owner])),
                blocks.raw_answers(chosen, project=row["project"], failure=kind.value),
            )
        )
    columns = [
        ("Project", "nw"),
        ("Kind", ""),
        ("429s", "r"),
        ("Last", "nw"),
        ("Waiting helps", ""),
        ("Who mends it", ""),
        ("", "r nw"),
    ]
    with box:
        blocks.table(columns, rows)

blocks.heading("Headroom now", "as OpenAI's headers said with the last answer; unknown is neither zero nor endless")
if limits.empty:
    blocks.empty(
        "Nothing is known of any limit.",
        "Limits are told with answers to inference checks: name <code>models</code> of a project, "
        "and leave <code>inference</code> on.",
    )
else:
    limits = limits.assign(share=limits["remaining"] / limits["limit"]).sort_values(
        ["share", "project", "model"], na_position="last"
    )
    most = 40 if project is None else 400
    lines = []
    for row in limits.head(most).to_dict("records"):
        share, known = row["share"], pd.notna(row["share"])
        level = "out" if known and share < 0.02 else "low" if known and share < 0.2 else ""
        meter = (
            f'<span class="meter"><i class="{level}" style="width:{max(0.03, min(1.0, share)):.0%}"></i></span>' if known else ""
        )
        unknown = '<span class="soft">unknown</span>'
        every = f" / {span(row['window'])}" if pd.notna(row["window"]) else ""
        lines.append(
            (
                blocks.project_link(row["project"], chosen),
                dash(row["key"]),
                f'<span class="mono">{dash(row["model"])}</span>',
                escape(row["bucket"]),
                f'<span class="share">{math.floor(share * 100)}%</span>{meter}' if known else unknown,
                number(row["remaining"]) if pd.notna(row["remaining"]) else unknown,
                number(row["limit"]) + escape(every) if pd.notna(row["limit"]) else unknown,
                escape(span(row["reset"])) if pd.notna(row["reset"]) else unknown,
                escape(age(row["at"].to_pydatetime(), now)),
            )
        )
    columns = [
        ("Project", "nw"),
        ("Key", "nw less"),
        ("Model", ""),
        ("Limit of", ""),
        ("Left", "nw"),
        ("Remaining", "r nw"),
        ("Limit", "r nw"),
    ]
    blocks.table([*columns, ("Full again in", "r nw"), ("Said", "r nw")], lines)
    if len(limits) > most:
        blocks.show(
            f'<span class="soft">and {plural(len(limits) - most, "limit")} with more headroom: choose a project to see them.</span>'
        )
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button("Download CSV", lambda: csv_of(limits), "headroom.csv", "text/csv", on_click="ignore")
    stale = (pd.Timestamp(now) - limits["at"]).max()
    if stale > timedelta(hours=1):
        blocks.show('<div class="note">Some of these were said more than an hour ago and may have changed since.</div>')
