"""What changed, in words: differences between two readings of the record, and dates that came. Pure.

What every event of a kind has, whoever tells it: `subject` is OpenAI's id of what changed (of a hosted tool its name, of a rate
limit `rl-…` as it is in every project), `key` and `project` are our names where the key or project is configured here, `actor` is
who did it where the audit log tells.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from monitor.domain.changes import LOGGED, ONCE, ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.coverage import kept
from monitor.domain.organization import Difference, Item, ItemKind
from monitor.domain.redact import clean, redact
from monitor.domain.timeline import to_ms

_K = ChangeKind
MOST_LIMITS = 8
"""Of one project that moved the same way are told one by one."""
MOST_MODELS = 50
"""Of one list that changed are told one by one."""


@dataclass(frozen=True, slots=True)
class Names:
    """What things are called here, and what is known of them."""

    projects: Mapping[str, str] = field(default_factory=dict)
    """Our names by OpenAI's project ids."""
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Our project and label by OpenAI's key ids."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The models that must be usable, by OpenAI's project ids."""
    known: Mapping[str, Item] = field(default_factory=dict)
    """Items by their ids, as they were read last: those that an audit event names. Also those that are gone."""

    def who(self, number: str | None) -> str | None:
        """The name of a person, service account or key; its id where it has none here."""
        if number is None:
            return None
        item = self.known.get(number)
        return item.name if item is not None else number

    def project_of(self, number: str | None, project_id: str | None) -> str | None:
        """Our name of the project that a key (or anything else) belongs to."""
        if number is not None and number in self.keys:
            return self.keys[number][0]
        return self.projects.get(project_id or "")

    def label_of(self, number: str | None) -> str | None:
        """Our label of a key."""
        return self.keys[number][1] if number is not None and number in self.keys else None

    def key(self, number: str | None, facts: Mapping[str, Any]) -> str:
        """A key as a sentence begins with it: `Key “backend” (sk-…4f2c)`."""
        name = self.label_of(number) or facts.get("name")
        seen = kept(facts.get("redacted_value"))
        return f"Key “{name}”{f' ({seen})' if seen else ''}" if name else f"Key {seen or number or 'without a name'}"

    def project(self, number: str | None, facts: Mapping[str, Any]) -> str:
        """A project as a sentence begins with it."""
        name = self.projects.get(number or "") or facts.get("name")
        return f"Project “{name}”" if name else f"Project {number or 'without a name'}"


@dataclass(frozen=True, slots=True)
class Saying:
    """What an event says, before it gets its time and its source."""

    kind: ChangeKind
    text: str
    subject: str | None = None
    model: str | None = None
    key: str | None = None
    """OpenAI's id of the key that it concerns."""


# Differences ----------------------------------------------------------------------------------------------------------------------


def told(differences: Iterable[Difference], at: datetime, after: datetime, names: Names) -> Iterator[ChangeEvent]:
    """What the differences between the readings of one part at `after` and `at` mean; some mean nothing."""
    sayings = [(each.project, one) for each in differences for one in _DIFFERENCES[each.kind](each, names)]
    for number, (project_id, one) in enumerate(_together(sayings)):
        event = ChangeEvent(
            at=at,
            kind=one.kind,
            source=ChangeSource.SYNC,
            text=shown(one.text),
            project_id=project_id,
            project=names.project_of(one.key, project_id),
            subject=one.subject,
            key=names.label_of(one.key),
            model=one.model,
            after=after,
        )
        yield replace(event, dedup=sign(event, f"{to_ms(at)} {number}"))


def _together(sayings: list[tuple[str | None, Saying]]) -> Iterator[tuple[str | None, Saying]]:
    """Many limits of a project that moved the same way are one event: OpenAI gave the organization another tier."""
    moved = Counter((project, one.kind) for project, one in sayings if one.kind in _LIMIT_VERBS)
    texts: dict[tuple[str | None, ChangeKind], list[str]] = defaultdict(list)
    for project, one in sayings:
        if moved[project, one.kind] > MOST_LIMITS:
            texts[project, one.kind].append(one.text.partition(": ")[2].rstrip("."))
        else:
            yield project, one
    for (project, kind), those in texts.items():
        text = f"The limits of {len(those):,} models were {_LIMIT_VERBS[kind]}, such as {those[0]}."
        yield project, Saying(kind, text, "rl-*")


def shown(text: str) -> str:
    """A text as it may be stored and shown."""
    return clean(redact(text), 500)


def sign(event: ChangeEvent, otherwise: str) -> str:
    """What happens once only is the same however it was learned; the rest is told apart by when, or by the log's id alone: what
    its words are depends on what was known when it was read.
    """
    if event.kind in ONCE and event.subject:
        return f"{event.kind.value} {event.subject}"
    if event.source is ChangeSource.AUDIT_LOG:
        return f"{LOGGED}{otherwise}"
    return f"{event.kind.value} {event.project_id or ''} {event.subject or ''} {event.model or ''} {otherwise}"


def _facts(difference: Difference) -> Mapping[str, Any]:
    """The newest there are."""
    item = difference.after or difference.before
    return item.facts if item is not None else {}


def _project(difference: Difference, names: Names) -> Iterator[Saying]:
    was, now = difference.before, difference.after
    title, number = names.project(difference.id, _facts(difference)), difference.id
    if was is None:
        yield Saying(_K.PROJECT_CREATED, f"{title} was created.", number)
    elif now is None:
        yield Saying(_K.PROJECT_ARCHIVED, f"{title} is no longer among the organization's projects.", number)
    else:
        if (was.facts.get("status") == "archived") is not (now.facts.get("status") == "archived"):
            gone = now.facts.get("status") == "archived"
            kind = _K.PROJECT_ARCHIVED if gone else _K.PROJECT_CHANGED
            yield Saying(kind, f"{title} was archived." if gone else f"{title} is active again.", number)
        if was.facts.get("name") != now.facts.get("name"):
            yield Saying(_K.PROJECT_CHANGED, f"{names.project(number, was.facts)} is now called “{now.name}” at OpenAI.", number)


def _api_key(difference: Difference, names: Names) -> Iterator[Saying]:
    was, now, number = difference.before, difference.after, difference.id
    title = names.key(number, _facts(difference))
    if was is None:
        assert now is not None  # noqa: S101 - a difference has one of the two
        yield Saying(_K.KEY_CREATED, f"{title}{_of_owner(now.facts)} was created.", number, key=number)
    elif now is None:
        yield Saying(_K.KEY_DELETED, f"{title} was deleted.", number, key=number)
    else:
        access = (was.facts.get("owner_project_access"), now.facts.get("owner_project_access"))
        if "inactive" in access and access[0] != access[1]:
            owner = now.facts.get("owner_name") or now.facts.get("owner_id") or "whose name is not told"
            lost = access[1] == "inactive"
            told = f"lost access to the project: {title} is refused" if lost else f"has access to the project again: {title} works"
            yield Saying(_K.MEMBER_CHANGED, f"{owner}, who owns it, {told}.", number, key=number)
        if words := [_key_fact(name, was, now) for name in _KEY_FACTS if was.facts.get(name) != now.facts.get(name)]:
            yield Saying(_K.KEY_CHANGED, f"{title} was changed: {'; '.join(words)}.", number, key=number)


_KEY_FACTS = ("name", "expires_at", "owner_id", "owner_role")


def _key_fact(name: str, was: Item, now: Item) -> str:
    if name == "expires_at":
        return f"it expires {_day(now.time(name))}, before {_day(was.time(name))}"
    if name == "owner_id":
        return f"its owner is {_owner(now.facts)}, before {_owner(was.facts)}"
    word = "at OpenAI it is called" if name == "name" else "the role of its owner is"
    return f"{word} {now.facts.get(name) or 'nothing'}, before {was.facts.get(name) or 'nothing'}"


def _owner(facts: Mapping[str, Any]) -> str:
    return str(facts.get("owner_name") or facts.get("owner_id") or "nobody")


def _of_owner(facts: Mapping[str, Any]) -> str:
    return f" of {_owner(facts)}" if facts.get("owner_name") or facts.get("owner_id") else ""


def _day(at: datetime | None) -> str:
    return f"on {at:%Y-%m-%d}" if at is not None else "never"


def _somebody(
    created: ChangeKind, changed: ChangeKind, gone: ChangeKind, title: Callable[[Item], str], came: str, left: str
) -> Callable[[Difference, Names], Iterator[Saying]]:
    """Of what has a name and a role: it came, went, or changed."""

    def tell(difference: Difference, _: Names) -> Iterator[Saying]:
        was, now = difference.before, difference.after
        subject = difference.id.rpartition("/")[2]
        if was is None and now is not None:
            role = f" as {now.facts['role']}" if now.facts.get("role") else ""
            yield Saying(created, f"{title(now)} {came}{role}.", subject)
        elif now is None and was is not None:
            yield Saying(gone, f"{title(was)} {left}.", subject)
        elif was is not None and now is not None:
            words = [
                f"{word} {now.facts.get(fact) or 'none'}, before {was.facts.get(fact) or 'none'}"
                for fact, word in (("role", "the role is"), ("name", "the name is"))
                if was.facts.get(fact) != now.facts.get(fact)
            ]
            if words:
                yield Saying(changed, f"{title(now)} was changed: {'; '.join(words)}.", subject)

    return tell


_service_account = _somebody(
    _K.SERVICE_ACCOUNT_CREATED, _K.SERVICE_ACCOUNT_CHANGED, _K.SERVICE_ACCOUNT_DELETED,
    lambda item: f"Service account “{item.name}”", "was created", "was deleted",
)  # fmt: skip
_member = _somebody(
    _K.MEMBER_ADDED, _K.MEMBER_CHANGED, _K.MEMBER_REMOVED,
    lambda item: _person(item), "joined the project", "left the project",  # noqa: PLW0108 - it is defined below
)  # fmt: skip
_user = _somebody(
    _K.MEMBER_ADDED, _K.MEMBER_CHANGED, _K.MEMBER_REMOVED,
    lambda item: _person(item), "joined the organization", "left the organization",  # noqa: PLW0108 - it is defined below
)  # fmt: skip


def _person(item: Item) -> str:
    return str(item.facts.get("name") or item.id.rpartition("/")[2])


# Limits


_UNITS = {
    "max_requests_per_1_minute": "requests a minute",
    "max_tokens_per_1_minute": "tokens a minute",
    "max_requests_per_1_day": "requests a day",
    "max_tokens_per_1_day": "tokens a day",
    "max_images_per_1_minute": "images a minute",
    "max_audio_megabytes_per_1_minute": "MB of audio a minute",
    "batch_1_day_max_input_tokens": "input tokens in batches a day",
}


def _unit(name: str) -> str:
    return _UNITS.get(name) or name.removeprefix("max_").replace("_", " ")


def _is_limit(name: str, value: object) -> bool:
    return name.startswith(("max_", "batch_")) and isinstance(value, int) and not isinstance(value, bool)


def limit_words(facts: Mapping[str, Any]) -> list[str]:
    """Limits as they are: `500 requests a minute`."""
    return [f"{value:,} {_unit(name)}" for name, value in sorted(facts.items()) if _is_limit(name, value)]


def _rate_limit(difference: Difference, _: Names) -> Iterator[Saying]:
    """A limit that is new or gone is no news of a project: OpenAI offers another model, and the catalogue tells it once."""
    was, now = difference.before, difference.after
    if was is None or now is None:
        return
    told = limit_change(str(now.facts.get("model") or now.id), was.facts, now.facts)
    if told is not None:
        yield replace(told, subject=difference.id.rpartition("/")[2])


def limit_change(model: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Saying | None:
    """How a limit changed; None where nothing of it did."""
    words, ways = [], set()
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name), now.get(name)
        if old == new or not (_is_limit(name, old) or _is_limit(name, new)):
            continue
        if isinstance(old, int) and isinstance(new, int):
            ways.add(_K.RATE_LIMIT_LOWERED if new < old else _K.RATE_LIMIT_RAISED)
            words.append(f"{old:,} → {new:,} {_unit(name)}")
        else:
            ways.add(_K.RATE_LIMIT_CHANGED)
            words.append(f"{'unset' if old is None else f'{old:,}'} → {'unset' if new is None else f'{new:,}'} {_unit(name)}")
    if not words:
        return None
    kind = ways.pop() if len(ways) == 1 else _K.RATE_LIMIT_CHANGED
    return Saying(kind, f"The limit of {model} was {_LIMIT_VERBS[kind]}: {'; '.join(words)}.", model=model)


_LIMIT_VERBS = {_K.RATE_LIMIT_LOWERED: "lowered", _K.RATE_LIMIT_RAISED: "raised", _K.RATE_LIMIT_CHANGED: "changed"}


# Models and tools


_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$", re.ASCII)
_MODES = {"allow_list": "allow list", "deny_list": "deny list"}


@dataclass(frozen=True, slots=True)
class _Allowed:
    """Which models a project may use, as its permissions say it."""

    mode: str | None
    """None where there are none: every model is allowed."""
    models: frozenset[str]

    @classmethod
    def of(cls, item: Item | None) -> "_Allowed":
        listed = item.facts.get("model_ids") if item is not None else None
        mode = item.facts.get("mode") if item is not None else None
        return cls(str(mode) if mode else None, frozenset(map(str, listed)) if isinstance(listed, list) else frozenset())

    def has(self, model: str) -> bool:
        listed = model in self.models or _SNAPSHOT.sub("", model) in self.models
        return listed if self.mode == "allow_list" else not listed

    def why(self) -> str:
        return f" ({_MODES[self.mode]})" if self.mode in _MODES else ""


def _model_permissions(difference: Difference, names: Names) -> Iterator[Saying]:
    """One event for each model that is allowed or refused from now on: those of the lists, and those that are needed here."""
    was, now = _Allowed.of(difference.before), _Allowed.of(difference.after)
    number = difference.id
    closed, opened = now.mode == "allow_list" != was.mode, was.mode == "allow_list" != now.mode
    if closed:
        only = f"only {_listed(now.models)} may be used" if now.models else "no model may be used"
        yield Saying(_K.MODEL_REMOVED, f"An allow list restricts models from now on: {only}.", number)
    elif opened:
        rest = f"every model but {_listed(now.models)}" if now.models else "every model"
        yield Saying(_K.MODEL_ADDED, f"No allow list restricts models any more: {rest} may be used.", number)
    needed = names.models.get(difference.project or "", ())
    moved = [
        model for model in sorted({*was.models, *now.models, *needed}) if was.has(model) is not now.has(model)
        and (not (closed or opened) or model in needed or model in now.models)
    ]  # fmt: skip
    for model in moved[:MOST_MODELS]:
        if now.has(model):
            yield Saying(_K.MODEL_ADDED, f"{model} is allowed{now.why() if now.mode == 'allow_list' else ' again'}.", number, model)
        else:
            yield Saying(_K.MODEL_REMOVED, f"{model} is no longer allowed{now.why()}.", number, model)
    for kind, verb in ((_K.MODEL_ADDED, "allowed"), (_K.MODEL_REMOVED, "no longer allowed")):
        more = [model for model in moved[MOST_MODELS:] if now.has(model) is (kind is _K.MODEL_ADDED)]
        if more:
            yield Saying(kind, f"{len(more):,} more models are {verb}{now.why()}: {_listed(more)}.", number)
    if was.mode == now.mode and now.mode in _MODES:
        yield from _by_alias(number, was, now)


def _by_alias(number: str, was: _Allowed, now: _Allowed) -> Iterator[Saying]:
    """Snapshots that the list names, or names no more, while it names their alias before and after."""
    listed = _MODES[now.mode or ""]
    for model in sorted(each for each in was.models ^ now.models if was.has(each) is now.has(each))[:MOST_MODELS]:
        named, alias = model in now.models, _SNAPSHOT.sub("", model)
        kind = _K.MODEL_ADDED if named is (now.mode == "allow_list") else _K.MODEL_REMOVED
        verb = "is named in" if named else "is no longer named in"
        also = f"which {'also ' if named else ''}names {alias}: whether that stands for it is not documented"
        yield Saying(kind, f"{model} {verb} the {listed}, {also}.", number, model)


def _listed(models: Iterable[str], most: int = 8) -> str:
    names = sorted(models)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


_TOOL_NAMES = {"mcp": "MCP"}


def _hosted_tools(difference: Difference, _: Names) -> Iterator[Saying]:
    """What is not told of either reading is unknown, and no change."""
    if difference.before is None or difference.after is None:
        return
    for tool in difference.changed:
        was, now = difference.before.facts.get(tool), difference.after.facts.get(tool)
        if isinstance(was, bool) and isinstance(now, bool):
            name = _TOOL_NAMES.get(tool) or tool.replace("_", " ").capitalize()
            kind = _K.TOOL_ENABLED if now else _K.TOOL_DISABLED
            yield Saying(kind, f"{name}, a tool that OpenAI hosts, is {'allowed again' if now else 'no longer allowed'}.", tool)


# Money


def _money(facts: Mapping[str, Any]) -> str:
    cents, currency = facts.get("threshold_amount"), str(facts.get("currency") or "USD").upper()
    if not isinstance(cents, int):
        return "an unknown amount"
    amount = f"{cents / 100:,.2f}".removesuffix(".00")
    money = f"${amount}" if currency == "USD" else f"{amount} {currency}"
    return f"{money} a {facts['interval']}" if facts.get("interval") else money


def _spend_limit(difference: Difference, _: Names) -> Iterator[Saying]:
    was, now = difference.before, difference.after
    whose = "project's" if difference.project else "organization's"
    enforced = [each is not None and each.facts.get("enforcement") == "enforcing" for each in (was, now)]
    old, new = (_money(each.facts) if each is not None else None for each in (was, now))
    if old != new:
        text = f"set to {new}" if old is None else f"removed; it was {old}" if new is None else _moved(was, now)
        yield Saying(_K.SPEND_LIMIT_CHANGED, f"The {whose} spend limit was {text}.", difference.id)
    if enforced == [False, True]:
        yield Saying(
            _K.SPEND_LIMIT_REACHED, f"The {whose} spend limit of {new} is reached: OpenAI refuses its requests.", difference.id
        )
    elif enforced == [True, False]:
        yield Saying(_K.SPEND_LIMIT_LIFTED, f"The {whose} spend limit is enforced no more.", difference.id)


def _moved(was: Item | None, now: Item | None) -> str:
    old, new = (each.facts if each is not None else {} for each in (was, now))
    amounts = (old.get("threshold_amount"), new.get("threshold_amount"))
    verb = "changed"
    if isinstance(amounts[0], int) and isinstance(amounts[1], int) and amounts[0] != amounts[1]:
        verb = "lowered" if amounts[1] < amounts[0] else "raised"
    return f"{verb}: {_money(old)} → {_money(new)}"


def _spend_alert(difference: Difference, _: Names) -> Iterator[Saying]:
    was, now = difference.before, difference.after
    whose = "project's" if difference.project else "organization's"
    if was is not None and now is not None:
        if (words := _moved(was, now)) and _money(was.facts) != _money(now.facts):
            yield Saying(_K.SPEND_ALERT_CHANGED, f"A spend alert of the {whose[:-2]} was {words}.", difference.id)
    elif now is not None:
        yield Saying(_K.SPEND_ALERT_CHANGED, f"The {whose[:-2]} has a new spend alert at {_money(now.facts)}.", difference.id)
    elif was is not None:
        yield Saying(_K.SPEND_ALERT_CHANGED, f"The spend alert of the {whose[:-2]} at {_money(was.facts)} is gone.", difference.id)


# Certificates and admin keys


def _certificate(difference: Difference, _: Names) -> Iterator[Saying]:
    was, now, subject = difference.before, difference.after, difference.id.rpartition("/")[2]
    where = " for the project" if difference.project else ""
    item = now or was
    title = f"Certificate “{item.name if item else subject}”"
    if was is None:
        yield Saying(_K.CERTIFICATE_CHANGED, f"{title} {'is demanded' + where if where else 'was uploaded'}.", subject)
    elif now is None:
        yield Saying(_K.CERTIFICATE_CHANGED, f"{title} {'is no longer demanded' + where if where else 'was deleted'}.", subject)
    else:
        if was.facts.get("active") != now.facts.get("active"):
            verb = "is active" if now.facts.get("active") else "is active no more"
            yield Saying(_K.CERTIFICATE_CHANGED, f"{title} {verb}{where}.", subject)
        if words := [_key_fact(name, was, now) for name in ("name", "expires_at") if was.facts.get(name) != now.facts.get(name)]:
            yield Saying(_K.CERTIFICATE_CHANGED, f"{title} was changed: {'; '.join(words)}.", subject)


def _admin_key(difference: Difference, _: Names) -> Iterator[Saying]:
    was, now = difference.before, difference.after
    item = now or was
    facts = item.facts if item is not None else {}
    seen = kept(facts.get("redacted_value"))
    title = f"Admin key “{facts.get('name') or difference.id}”{f' ({seen})' if seen else ''}"
    if was is None:
        yield Saying(_K.ADMIN_KEY_CHANGED, f"{title}{_of_owner(facts)} was created.", difference.id)
    elif now is None:
        yield Saying(_K.ADMIN_KEY_CHANGED, f"{title} was deleted.", difference.id)
    elif words := [_key_fact(name, was, now) for name in ("name", "expires_at", "owner_id") if name in difference.changed]:
        yield Saying(_K.ADMIN_KEY_CHANGED, f"{title} was changed: {'; '.join(words)}.", difference.id)


_DIFFERENCES: Mapping[ItemKind, Callable[[Difference, Names], Iterator[Saying]]] = {
    ItemKind.PROJECT: _project,
    ItemKind.API_KEY: _api_key,
    ItemKind.SERVICE_ACCOUNT: _service_account,
    ItemKind.MEMBER: _member,
    ItemKind.USER: _user,
    ItemKind.RATE_LIMIT: _rate_limit,
    ItemKind.MODEL_PERMISSIONS: _model_permissions,
    ItemKind.HOSTED_TOOLS: _hosted_tools,
    ItemKind.SPEND_LIMIT: _spend_limit,
    ItemKind.SPEND_ALERT: _spend_alert,
    ItemKind.CERTIFICATE: _certificate,
    ItemKind.ADMIN_KEY: _admin_key,
}


# Dates that came ------------------------------------------------------------------------------------------------------------------


def expired(items: Iterable[Item], since: datetime, until: datetime, names: Names) -> Iterator[ChangeEvent]:
    """Keys and certificates whose last moment lies in (since, until]. The same date is told once, however often it is looked at."""
    for item in items:
        at = item.time("expires_at")
        if at is None or not since < at <= until or item.kind not in (ItemKind.API_KEY, ItemKind.ADMIN_KEY, ItemKind.CERTIFICATE):
            continue
        number = item.id.rpartition("/")[2]
        if item.kind is ItemKind.CERTIFICATE:
            kind, text = _K.CERTIFICATE_EXPIRED, f"Certificate “{item.name}” expired."
        else:
            title = names.key(number, item.facts)
            if item.kind is ItemKind.ADMIN_KEY:
                title = title.replace("Key", "Our admin key" if item.facts.get("ours") is True else "Admin key", 1)
            kind, text = _K.KEY_EXPIRED, f"{title} expired."
        yield ChangeEvent(
            at=at,
            kind=kind,
            source=ChangeSource.CALENDAR,
            text=shown(text),
            project_id=item.project,
            project=names.project_of(number, item.project),
            subject=number,
            key=names.label_of(number),
            dedup=f"{kind.value} {item.project or ''} {number} {to_ms(at)}",
        )
