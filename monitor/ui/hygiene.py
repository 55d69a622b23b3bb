"""Pieces of pages about scorecards, rotations and the migration. Texts from outside are escaped here, as in `blocks`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import pandas as pd

from monitor.domain.assessment import Assessment, RuleCount, worst_first
from monitor.domain.health import Health
from monitor.domain.hygiene import GRADES, UNGRADED, Evidence, Finding, Scorecard, why_not
from monitor.domain.hygiene import grade as letter_of
from monitor.domain.hygiene_facts import KeyFacts
from monitor.domain.hygiene_rules import KEY_RULES, Assessed
from monitor.domain.migration import Migration, Progress, Stage
from monitor.domain.organization import NO_ADMIN_KEY
from monitor.domain.rotation import Light, Rotation
from monitor.domain.timeline import Window
from monitor.domain.words import capital
from monitor.ui import blocks
from monitor.ui.blocks import dash, inline, lamp
from monitor.ui.format import MISSING, age, clock, escape, link, local, number, plural, words
from monitor.ui.theme import look

LIGHTS = {
    Light.SAFE: (Health.HEALTHY, "safe to delete"),
    Light.WAIT: (Health.DEGRADED, "not yet"),
    Light.UNKNOWN: (Health.UNKNOWN, "unknown"),
    Light.DELETED: (Health.PAUSED, "old key deleted"),
}
_SIGNS = {
    "configured": "another secret is configured here",
    "record": "OpenAI has a newer key of the same name or account",
    "use": "use moved",
}
KEY_RULE_IDS = frozenset(rule.id for rule in KEY_RULES)
OWNERS = {"user": "a person", "service_account": "service account", None: "unknown"}
HOW = (
    "A score is 100 less the share that the broken rules have of the weight of all rules that could be judged. "
    "What cannot be judged counts for nobody. "
    + ", ".join(f"{letter} from {least}" for letter, least in GRADES if least)
    + ", F below."
)


def grade(card: Scorecard | None, href: str = "") -> str:
    """The letter of a scorecard with its score; with `href`, from `link`, it leads there."""
    return badge(card.score if card else None, href)


def badge(score: int | None, href: str = "") -> str:
    """The letter of a score."""
    letter = letter_of(score)
    tip = "not judged" if score is None else f"{score} of 100"
    shown = f'<span class="grade {letter if score is not None else ""}" title="{tip}">{letter}</span>'
    return f'<a href="{href}" target="_self">{shown}</a>' if href else shown


def key_address(key: KeyFacts) -> str:
    """Where one key's story is."""
    return link("keys", project=key.project.name, key=key.label or key.api_key)


def finding_address(finding: Finding) -> str:
    """Where what a finding is about is shown: a key's story, or the project's scorecard."""
    if finding.key is None:
        return link("hygiene", project=finding.project)
    name = finding.key if "/" in finding.subject else finding.subject.removeprefix("key:")
    return link("keys", project=finding.project, key=name)


def findings(found: Sequence[Finding], now: datetime, zone: tzinfo, *, named: bool = False) -> None:
    """A card for each broken rule, the heaviest first."""
    blocks.show("".join(_card(each, now, zone, named=named) for each in found))


def _card(finding: Finding, now: datetime, zone: tzinfo, *, named: bool) -> str:
    health = Health.FAILING if finding.weight >= 25 else Health.DEGRADED
    where = f"<span>{escape(finding.title)}</span><span>weight {finding.weight}</span>"
    if named:
        place = "/".join(part for part in (finding.project, finding.key) if part)
        where = f'<a href="{finding_address(finding)}" target="_self"><b>{escape(place)}</b></a>' + where
    told = "".join(f"<li>{_evidence(each, now, zone)}</li>" for each in finding.evidence)
    return (
        f'<div class="card" style="--c:var(--{look(health).css})"><div class="where"><span class="{look(health).css}">'
        f"{look(health).shape}</span>{where}</div><h3>{escape(finding.reason)}</h3><dl>"
        f'<dt>Next step</dt><dd class="do">{inline(finding.remedy)}</dd>'
        f"<dt>Evidence</dt><dd><ul>{told or '<li>none was kept</li>'}</ul></dd></dl></div>"
    )


def _evidence(each: Evidence, now: datetime, zone: tzinfo) -> str:
    at = f' <span class="nw">({escape(clock(each.at, now, zone))})</span>' if each.at else ""
    return f"{escape(capital(each.text))}{at}"


def not_judged(cards: Iterable[Scorecard], most: int = 40) -> None:
    """What cannot be judged, and what it would need."""
    told = why_not(cards)
    if not told:
        blocks.show('<span class="soft">Every rule could be judged.</span>')
        return
    rows = [(escape(capital(why)), escape(capital(", ".join(titles))), number(count)) for why, titles, count in told[:most]]
    blocks.table([("Why nobody can tell", ""), ("Rules", ""), ("Judgements", "r")], rows)
    if any(why == NO_ADMIN_KEY for why, _, _ in told):
        blocks.show(
            '<span class="soft">An admin key that only reads is named in <code>monitor.toml</code> under '
            "<code>[[organizations]]</code>; <code>python -m monitor sync</code> says how.</span>"
        )
    if len(told) > most:
        blocks.show(f'<span class="soft">and {plural(len(told) - most, "more reason")}</span>')


def distribution(cards: Iterable[Scorecard], what: str, page: str) -> str:
    """How many have which grade, as a bar whose parts lead to them."""
    counts = Counter(card.grade for card in cards)
    parts = []
    for letter in [*(letter for letter, _ in GRADES), UNGRADED]:
        if counts[letter]:
            css = letter if letter != UNGRADED else "none"
            name = letter if letter != UNGRADED else "not judged"
            address = link(page, grade=letter if letter != UNGRADED else None)
            parts.append(
                f'<a class="{css}" style="flex:{counts[letter]}" href="{address}" target="_self" '
                f'title="{plural(counts[letter], what)} with {name}">{name} {counts[letter]:,}</a>'
            )
    return f'<div class="grades">{"".join(parts)}</div>' if parts else ""


# --- the organization ------------------------------------------------------------------------------------------------------


def rule_table(counted: Sequence[RuleCount], window: str) -> None:
    """Every broken rule, the costliest first, with where to look."""
    rows = []
    for each in counted:
        if not each.broken:
            continue
        page = "keys" if each.rule in KEY_RULE_IDS else "hygiene"
        where = ", ".join(each.projects[:3]) + (f" and {len(each.projects) - 3:,} more" if len(each.projects) > 3 else "")
        rows.append(
            (
                f'<a href="{link(page, rule=each.rule, window=window)}" target="_self"><b>{escape(capital(each.title))}</b></a>',
                str(each.weight),
                number(each.broken),
                number(each.unknown) if each.unknown else dash(None),
                escape(where),
            )
        )
    columns = [("Rule", ""), ("Weight", "r"), ("Broken", "r"), ("Not known", "r"), ("Projects", "")]
    blocks.table(columns, rows)


def project_table(shown: Sequence[Assessed]) -> None:
    """One row a project with what weighs most."""
    rows = []
    for each in shown:
        project = each.facts.project
        about = " · ".join(escape(part) for part in (project.environment, project.owner) if part)
        address = link("hygiene", project=each.name)
        tags = Counter(finding.title for finding in each.card.findings)
        told = "".join(
            f'<span class="tag flag">{escape(title)}{f" ×{count}" if count > 1 else ""}</span>'
            for title, count in list(tags.items())[:4]
        )
        more = f'<span class="soft">and {len(tags) - 4} more</span>' if len(tags) > 4 else ""
        rows.append(
            (
                f'<a href="{address}" target="_self"><b>{escape(each.name)}</b></a><small>{about}</small>',
                grade(each.card, address),
                "" if each.card.score is None else str(each.card.score),
                told + more or '<span class="soft">nothing is broken</span>',
                str(len(each.keys)),
                str(len(each.card.unknown)) if each.card.unknown else dash(None),
            )
        )
    columns = [
        ("Project", "name"),
        ("Grade", ""),
        ("Score", "r"),
        ("Broken, the heaviest first", ""),
        ("Keys", "r"),
        ("Not known", "r"),
    ]
    blocks.table(columns, rows)


def owner_table(projects: Iterable[Assessed], window: str, most: int = 12) -> None:
    """Whose projects are kept worst."""
    owned: dict[str, list[Assessed]] = {}
    for each in projects:
        owned.setdefault(each.facts.project.owner or "", []).append(each)
    rows = []
    for owner, mine in owned.items():
        broken, known = sum(one.card.broken for one in mine), sum(one.card.knowable for one in mine)
        score = 100 * (known - broken) // known if known else None
        rows.append((101 if score is None else score, owner, score, mine, broken))
    rows.sort(key=lambda row: (row[0], -row[4], row[1]))
    blocks.table(
        [("Owner", ""), ("Score", "r"), ("Projects", "r"), ("Worst of them", "")],
        [
            (
                f'<a href="{link("hygiene", owner=owner, window=window)}" target="_self">{escape(owner)}</a>'
                if owner
                else dash(None),
                MISSING if score is None else str(score),
                number(len(mine)),
                ", ".join(
                    f'<a href="{link("hygiene", project=one.name)}" target="_self">{escape(one.name)}</a> {grade(one.card)}'
                    for one in sorted(mine, key=worst_first)[:2]
                ),
            )
            for _, owner, score, mine, _ in rows[:most]
        ],
    )
    if len(rows) > most:
        blocks.show(f'<span class="soft">and {plural(len(rows) - most, "owner")} better kept</span>')


def progress(done: Progress) -> None:
    """How far the keys have moved to service accounts."""
    share = done.share
    if share is None:
        said = "Nobody can tell yet which keys belong to service accounts."
    else:
        said = f"{share} % of the keys whose owner is known belong to service accounts."
    bar = f'<span class="meter wide"><i style="width:{share}%"></i></span>' if share is not None else ""
    blocks.show(f"<b>{escape(said)}</b>{bar}")
    unknown = f"{number(done.expiry_unknown)} not known" if done.expiry_unknown else "of all that are known"
    blocks.figures(
        [
            ("Keys", number(done.keys), "here and at OpenAI, each once"),
            ("Service accounts", number(done.service_accounts), f"{number(done.kind_unknown)} of unknown kind"),
            ("People’s keys", number(done.users), f"{number(done.unbound)} of them bound to no project"),
            ("With an expiry", number(done.expiring), f"{number(done.no_expiry)} without, {unknown}"),
            ("Not watched", number(done.unwatched), "that OpenAI lists and nobody configured"),
        ]
    )


_STAGES = {
    Stage.TO_DO: (Health.DEGRADED, "to do"),
    Stage.MOVING: (Health.RESTRICTED, "moving"),
    Stage.DELETABLE: (Health.HEALTHY, "old key deletable"),
}


def migration_table(shown: Sequence[Migration]) -> None:
    """The checklist: each key with its exact next step; all steps unfold."""
    rows = []
    for each in shown:
        steps = "".join(
            f'<li class="{"done" if step.done else ""}">{"✓ " if step.done else ""}{escape(step.text)}</li>' for step in each.steps
        )
        place = each.key if "/" in each.subject else each.subject.removeprefix("key:")
        address = link("keys", project=each.project, key=place)
        about = escape(each.owner or "owner not known") + (" · production" if each.production else "")
        unfold = f'<details><summary class="soft">all steps</summary><ol class="steps">{steps}</ol></details>'
        named = f'<a href="{address}" target="_self"><b>{escape(f"{each.project}/{each.key}")}</b></a><small>{about}</small>'
        rows.append((named, lamp(*_STAGES[each.stage]), escape(each.next_step) + unfold))
    blocks.table([("Key", ""), ("State", "nw"), ("Next step", "")], rows)


# --- rotations -------------------------------------------------------------------------------------------------------------


def light(one: Rotation | None, key: KeyFacts | None = None) -> str:
    """The light of a rotation, as a lamp; nothing where there is none."""
    if one is None:
        return ""
    health, word = LIGHTS[one.light]
    if key is not None and one.light is not Light.DELETED and _is_new(one, key):
        word = f"new; old: {word}"
    return lamp(health, word, one.summary, href=key_address(key) if key else "")


def _is_new(one: Rotation, key: KeyFacts) -> bool:
    return bool((key.api_key and key.api_key == one.new.api_key) or (key.fingerprint and key.fingerprint == one.new.fingerprint))


def rotation_table(shown: Sequence[Rotation], now: datetime, zone: tzinfo) -> None:
    """Every replacement that goes on or is just over."""
    rows = []
    for each in shown:
        project = blocks.dash(each.project)
        if each.project:
            place = each.label or each.new.api_key
            project = f'<a href="{link("keys", project=each.project, key=place)}" target="_self"><b>{escape(each.project)}</b></a>'
        rows.append(
            (
                f"{project}<small>{escape(each.label or '')}</small>",
                f'{escape(each.old.shown)} <span class="soft">→</span> {escape(each.new.shown)}',
                escape(clock(each.began, now, zone)),
                lamp(*LIGHTS[each.light]),
                escape(local(" ".join(map(capital, each.reasons)), now, zone)),
            )
        )
    columns = [("Project", "nw"), ("Replaced", ""), ("Since", "nw"), ("Delete the old one?", "nw"), ("Because", "")]
    blocks.table(columns, rows, css="stack")


def rotation_card(one: Rotation, now: datetime, zone: tzinfo) -> None:
    """One rotation with its light, who still uses the old key, and what happened."""
    health, word = LIGHTS[one.light]
    said = capital(_SIGNS[one.signs[0].value]) + "".join(f"; {_SIGNS[sign.value]}" for sign in one.signs[1:]) if one.signs else ""
    reasons = "".join(f"<li>{escape(capital(local(each, now, zone)))}</li>" for each in one.reasons)
    used = "".join(
        f"<li>{escape(each.model or 'a model')}: {each.requests:,} calls, last {escape(age(each.last_at, now))}</li>"
        for each in one.used_by
    )
    told = "".join(f"<li>{escape(clock(at, now, zone))} · {escape(text)}</li>" for at, text in one.events)
    rows = f"<dt>Because</dt><dd><ul>{reasons}</ul></dd><dt>Recognised by</dt><dd>{escape(said)}</dd>"
    if used:
        rows += f"<dt>Old key used by</dt><dd><ul>{used}</ul></dd>"
    if one.holders:
        rows += f"<dt>Held here by</dt><dd>{escape(', '.join(one.holders))}</dd>"
    if one.stragglers:
        rows += f'<dt>Stragglers</dt><dd class="do">{escape(", ".join(one.stragglers))} must be given the new key</dd>'
    blocks.show(
        f'<div class="card" style="--c:var(--{look(health).css})"><div class="where">{lamp(health, word)}'
        f"<span>since {escape(clock(one.began, now, zone))}</span></div>"
        f"<h3>{escape(one.old.shown)} is replaced by {escape(one.new.shown)}</h3><dl>{rows}"
        f"<dt>What happened</dt><dd><ul>{told}</ul></dd></dl></div>"
    )


# --- one key ---------------------------------------------------------------------------------------------------------------


def history_strip(
    changes: pd.DataFrame, health: Health, first_seen: datetime | None, window: Window, now: datetime, zone: tzinfo
) -> None:
    """How a key was over the window: `changes` are its changes of health by the auth check, newest first."""
    rows = changes.to_dict("records")
    edges = [(row["at"].to_pydatetime(), str(row["new"])) for row in reversed(rows)]
    before = str(rows[-1]["old"]) if rows else health.value
    start = max(window.start, first_seen) if first_seen else window.start
    end = min(window.end, now)
    if start >= end:
        return
    parts = (
        [f'<i class="none" style="flex:{(start - window.start).total_seconds():.0f}" title="not watched yet"></i>']
        if start > window.start
        else []
    )
    at, state = start, before
    for moment, new in [*edges, (end, "")]:
        until = min(max(moment, at), end)
        length = (until - at).total_seconds()
        if length >= 1:
            how = look(state if state in set(Health) else None)
            said = f"{clock(at, now, zone)} to {clock(until, now, zone)}: {how.word}"
            css = "ok" if how.css == "ok" else "none" if how.css in ("unknown", "paused") else "bad"
            colour = f";--f:100%;--c:var(--{how.css})" if css == "bad" else ""
            parts.append(f'<i class="{css}" style="flex:{length:.0f}{colour}" title="{escape(said)}"></i>')
        at, state = until, new or state
    form = "%H:%M" if window.length <= timedelta(days=1) else "%d %b"
    ends = "".join(f"<span>{each.astimezone(zone):{form}}</span>" for each in (window.start, window.start + window.length / 2, end))
    blocks.show(f'<div class="strip tall">{"".join(parts)}</div><div class="ends">{ends}</div>')


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values in a line; what is not known is left out."""
    told = "".join(f"<span><b>{escape(name)}</b>{escape(value)}</span>" for name, value in pairs if value not in (None, ""))
    blocks.show(f'<div class="facts">{told}</div>')


def export_rows(found: Assessment, cards: Iterable[tuple[KeyFacts, Scorecard]], known: Mapping[str, Rotation]) -> pd.DataFrame:
    """Keys with their grades, for a spreadsheet."""
    rows = []
    for key, card in cards:
        record, turn = key.record, found.rotation_of(key, known)
        rows.append(
            {
                "project": key.project.name,
                "key": key.name,
                "api key": key.api_key,
                "ends in": key.tail,
                "grade": card.grade,
                "score": card.score,
                "broken": " ".join(card.rules),
                "next step": card.findings[0].remedy if card.findings else "",
                "not known": len(card.unknown),
                "kind": words(key.kind.value),
                "owned by": OWNERS[key.owner_type],
                "owner": record.facts.get("owner_name") if record else None,
                "created": record.time("created_at") if record else None,
                "first seen": key.first_seen,
                "expires": record.time("expires_at") if record else None,
                "last used": record.time("last_used_at") if record else None,
                "rotation": turn.light.value if turn else "",
                "watched": key.label is not None,
                "source": key.source,
            }
        )
    return pd.DataFrame(rows)
