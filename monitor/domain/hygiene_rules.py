"""The rules of key hygiene: what each asks, how much it weighs, why it matters, and the exact next step where it is broken.

Identifiers are stored, exported and shown: never rename one. A rule says `NotKnown` rather than guess, and None where it does not
concern the key or project. Weights: from 25 on an open door or an outage to come; from 10 on a habit that will hurt; less is order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.domain.binding import Tried
from monitor.domain.hygiene import Broken, Evidence, Fine, HygienePolicy, Judgement, NotKnown, Scorecard, scorecard, together
from monitor.domain.hygiene_facts import NO_USAGE, UNBOUND, Gathered, KeyFacts, ProjectFacts, assembled
from monitor.domain.inventory import KeyKind
from monitor.domain.organization import ItemKind
from monitor.domain.words import duration

_NO_ENVIRONMENT = "the configuration does not say which environment the project is: add environment"
_PLATFORM = "platform.openai.com → Settings"
USAGE_STEPS = (90, 60, 30)
"""Days without use that are told apart, the longest first."""
_PROBE_TOKENS = 20
"""Our own calls send fewer input tokens than that; nobody's work does on average."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One question asked of every key."""

    id: str
    weight: int
    title: str
    judge: Callable[[KeyFacts, HygienePolicy, datetime], Judgement]


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """One question asked of every project."""

    id: str
    weight: int
    title: str
    judge: Callable[[ProjectFacts, HygienePolicy, datetime], Judgement]


def project_page(facts: ProjectFacts, page: str) -> str:
    """Where one clicks: the project's settings are under its name at OpenAI, where that is known."""
    name = facts.record.name if facts.record else facts.name
    return f"{_PLATFORM} → Project “{name}” → {page}"


def service_account_step(key: KeyFacts) -> str:
    """How a person's key becomes a service account's."""
    where = key.source or "the secret store of its service"
    return (
        f"Create a service account in {project_page(key.project, 'Members → Service accounts')}, put its secret into {where} "
        "and into the service, watch the use move, then delete this key."
    )


# Keys ----------------------------------------------------------------------------------------------------------------------------


def _legacy_key(key: KeyFacts, _: HygienePolicy, now: datetime) -> Judgement:
    if key.record is not None:  # only keys of a project are in its list
        return Fine()
    if key.kind is KeyKind.UNKNOWN:
        return NotKnown("its secret cannot be read, or does not begin like any kind of key" if key.label else "")
    if key.kind not in UNBOUND:
        return Fine()
    said = (
        "It is a legacy user key: it works wherever its user may, in every project, and goes when the user goes."
        if key.kind is KeyKind.USER_LEGACY
        else "It is a user's key without a project: it works wherever its user may, and its use cannot be told apart."
    )
    return Broken(said, service_account_step(key), (Evidence(f"the secret begins like a {_KINDS[key.kind]}", now),))


_KINDS = {KeyKind.USER_LEGACY: "legacy user key (sk-…)", KeyKind.USER_UNSCOPED: "user key without project (sk-None-…)"}


def _user_owned(key: KeyFacts, policy: HygienePolicy, now: datetime) -> Judgement:
    environment = key.project.project.environment
    production = policy.serves_customers(environment)
    if production is False:
        return None
    if key.owner_type is None:
        return NotKnown(_no_record(key))
    if key.owner_type == "service_account":
        return Fine()
    if production is None:
        return NotKnown(_NO_ENVIRONMENT)
    facts = key.record.facts if key.record else {}
    who = f" ({facts['owner_name']})" if facts.get("owner_name") else ""
    evidence = [Evidence(f"the project's environment is {environment}")]
    if facts.get("owner_type") == "user":
        evidence.append(Evidence(f"OpenAI says that a user owns it{who}", key.record_reading.at))
    else:
        evidence.append(Evidence(f"the secret begins like a user's key; OpenAI's own word is missing: {_no_record(key)}", now))
    said = f"A person owns this key of production{who}: it stops on the day that person leaves the project."
    return Broken(said, service_account_step(key), tuple(evidence))


def _owner_inactive(key: KeyFacts, _: HygienePolicy, __: datetime) -> Judgement:
    if key.record is None:
        return NotKnown(_no_record(key))
    if key.owner_gone is not None:
        owner = key.record.facts.get("owner_name") or key.record.facts.get("owner_id")
        evidence = (Evidence(f"{key.owner_gone}{f': {owner}' if owner else ''}", key.record_reading.at),)
        return Broken(
            f"The key's owner is gone: {key.owner_gone}. It may be refused at any moment.", service_account_step(key), evidence
        )
    if key.record.facts.get("owner_project_access") == "active" or key.record.facts.get("owner_id"):
        return Fine()
    return NotKnown("OpenAI does not say who owns it")


def _key_shared(key: KeyFacts, _: HygienePolicy, now: datetime) -> Judgement:
    if key.label is None:
        return None
    if key.fingerprint is None and key.record is None:
        return NotKnown("its secret cannot be read")
    elsewhere = [place for place in key.same_secret if place.partition("/")[0] != key.project.name]
    if not elsewhere:
        return Fine()
    others = ", ".join(elsewhere)
    return Broken(
        f"The same secret is configured for {others}: their limits, costs and outages cannot be told apart.",
        f"Create a key for each project in {project_page(key.project, 'API keys')}, and put this project's own into {key.source}.",
        (Evidence(f"the secret of {others} (…{key.tail}) is in {key.source} too", now),),
    )


def _several_workloads(key: KeyFacts, _: HygienePolicy, now: datetime) -> Judgement:
    if key.label is None:
        return None
    here = [place for place in key.same_secret if place.partition("/")[0] == key.project.name]
    services = key.project.project.services
    remedy = f"Create a service account for each service in {project_page(key.project, 'Members → Service accounts')}."
    models = key.use.models if key.use else ()
    used = (Evidence(f"in 30 days it called {', '.join(models)}", key.use.until),) if key.use and len(models) > 1 else ()
    if here:
        said = f"Several labels hold this one secret ({', '.join(here)} too): which of them fails or spends cannot be told."
        return Broken(said, remedy, (Evidence(f"the same fingerprint (…{key.tail})", now), *used))
    if not services:
        return NotKnown("the configuration does not say which services use the project: add services")
    if len(services) == 1:
        return Fine()
    if key.only_key:
        said = f"{len(services)} services share this one key: which of them fails or spends cannot be told, and all stop together."
        return Broken(said, remedy, (Evidence(f"the project names the services {', '.join(services)} and one key"), *used))
    return NotKnown("the project has several services and several keys, and nothing says which uses which")


def _key_unused(key: KeyFacts, policy: HygienePolicy, now: datetime) -> Judgement:
    record, use = key.record, key.use
    if record is None:
        return NotKnown(_no_record(key))
    remedy = f"Ask its owner; if nobody misses it, delete it in {project_page(key.project, 'API keys')}" + (
        " and take it out of the configuration." if key.label else "."
    )
    used_at, created = record.time("last_used_at"), record.time("created_at")
    if used_at is not None and now - used_at >= policy.unused_after:
        said = f"Nobody has used it for {_days(now - used_at)}."
        return Broken(said, remedy, (Evidence("OpenAI saw it used last", used_at),))
    if created is not None and now - created < policy.unused_after:
        return Fine()  # too young to be called unused
    if use is None:
        # Our own checks use what we watch: a late `last_used_at` proves nobody else.
        return Fine() if key.label is None and used_at else NotKnown(NO_USAGE)
    known = [days for days in USAGE_STEPS if days <= use.days() and timedelta(days=days) >= policy.unused_after]
    if not known:
        return Fine() if key.label is None and used_at else NotKnown(f"its use is known for {use.days()} days only")
    for days in known:
        if use.quiet(days):
            return Broken(
                f"OpenAI counted no call of it in {days} days.",
                remedy,
                (Evidence(f"no usage since {use.until - timedelta(days=days):%Y-%m-%d}", use.until),),
            )
    return _only_we(key, use.requests, remedy) if policy.unused_after <= timedelta(days=30) else Fine()


def _only_we(key: KeyFacts, requests: int, remedy: str) -> Judgement:
    """Whether the calls of a month may all be our own."""
    use, own = key.use, key.own_requests
    if use is None or key.label is None or requests > own:
        return Fine()
    if use.input_tokens > requests * _PROBE_TOKENS:
        return Fine()
    said = f"Only this monitor uses it: all {requests:,} calls of the last 30 days are as small and as few as its own."
    evidence = Evidence(f"{requests:,} calls with {use.input_tokens:,} tokens; the monitor itself made up to {own:,}", use.until)
    return Broken(said, remedy, (evidence,))


def _key_old(key: KeyFacts, policy: HygienePolicy, now: datetime) -> Judgement:
    created = key.record.time("created_at") if key.record else None
    seen = key.first_seen
    born = created or seen
    if born is not None and now - born > policy.max_age:
        what = "OpenAI created it" if created else "this monitor first saw the secret"
        return Broken(
            f"It is {'' if created else 'at least '}{_days(now - born)} old; {_days(policy.max_age)} are allowed.",
            f"Replace it: create a new key in {project_page(key.project, 'API keys')}, put it into "
            f"{key.source or 'the service'}, and delete this one when its page here says that it is safe.",
            (Evidence(what, born),),
        )
    if created is not None:
        return Fine()
    return NotKnown(_no_record(key))


def _no_expiry(key: KeyFacts, _: HygienePolicy, now: datetime) -> Judgement:
    if key.record is None:
        return NotKnown(_no_record(key))
    if key.record.time("expires_at") is not None:
        return Fine()
    return Broken(
        "OpenAI names no day on which it expires: lost, it stays usable until somebody notices.",
        f"With its next replacement choose an expiry in {project_page(key.project, 'API keys')} (a year at most).",
        (Evidence("its record has no expiry", key.record_reading.at or now),),
    )


def _expires_soon(key: KeyFacts, policy: HygienePolicy, now: datetime) -> Judgement:
    if key.record is None:
        return NotKnown(_no_record(key))
    ends = key.record.time("expires_at")
    if ends is None:
        return None
    if ends - now > policy.expiry_notice:
        return Fine()
    when = f"in {_days(ends - now)}" if ends > now else f"{_days(now - ends)} ago"
    return Broken(
        f"It {'expires' if ends > now else 'expired'} {when}: then OpenAI refuses every call with it.",
        f"Create its successor in {project_page(key.project, 'API keys')} and put it into {key.source or 'the service'} before.",
        (Evidence("it expires" if ends > now else "it expired", ends),),
    )


def _not_bound(key: KeyFacts, policy: HygienePolicy, _: datetime) -> Judgement:
    tried = key.binding
    if key.label is None or not policy.try_binding:
        return None
    if tried is None:
        return NotKnown("it has not been tried under another project’s id yet: that is done once a day while the key is well")
    if tried.tried in (Tried.REFUSED, Tried.KEPT):
        return Fine()
    if tried.tried is Tried.UNCLEAR:
        return NotKnown("when it was tried under another project’s id, the answer told nothing")
    evidence = (Evidence(f"listed models under the id of {tried.other}, and was not refused", tried.at),)
    remedy = (
        f"Replace it by a key of {project_page(key.project, 'API keys')}, and let the service send OpenAI-Project "
        f"{key.project.project.project_id or ''}".rstrip()
        + "."
    )
    if tried.tried is Tried.CROSSED:
        return Broken(f"It works in other projects: OpenAI counted a call for {tried.other}.", remedy, evidence)
    if not key.refuses:
        return NotKnown(
            "not refused under another project’s id: either it is not held to its project, or OpenAI does not look at the header "
            "when models are listed; no key has ever been refused there"
        )
    return Broken("It is not refused under another project’s id, as other keys are.", remedy, evidence)


def _key_unwatched(key: KeyFacts, _: HygienePolicy, now: datetime) -> Judgement:
    if key.label is not None:
        return Fine()
    if key.perhaps_watched:
        return NotKnown("it may be a key that is configured here: which of OpenAI’s keys that is could not be told")
    return Broken(
        "Nobody configured it here: when it is refused or runs out, nobody is told.",
        f"Add it under [[projects.keys]] of {key.project.name}, or delete it in {project_page(key.project, 'API keys')}.",
        (Evidence(f"OpenAI lists it as {key.api_key}", key.record_reading.at or now),),
    )


def _no_record(key: KeyFacts) -> str:
    return key.record_reading.why


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _days(length: timedelta) -> str:
    return f"{length.days:,} days" if length.days > 1 else duration(length.total_seconds())


KEY_RULES: tuple[KeyRule, ...] = (
    KeyRule("legacy_key", 30, "legacy or unscoped key", _legacy_key),
    KeyRule("owner_inactive", 25, "owner gone", _owner_inactive),
    KeyRule("user_owned", 20, "user’s key in production", _user_owned),
    KeyRule("key_shared", 20, "key shared by projects", _key_shared),
    KeyRule("expires_soon", 20, "expires soon", _expires_soon),
    KeyRule("key_unused", 10, "unused key", _key_unused),
    KeyRule("key_old", 10, "older than policy", _key_old),
    KeyRule("several_workloads", 8, "several workloads on one key", _several_workloads),
    KeyRule("no_expiry", 5, "no expiry", _no_expiry),
    KeyRule("key_unwatched", 5, "not watched", _key_unwatched),
    KeyRule("not_bound", 5, "not held to its project", _not_bound),
)


# Projects ------------------------------------------------------------------------------------------------------------------------


def _denied_model_usable(facts: ProjectFacts, _: HygienePolicy, __: datetime) -> Judgement:
    models = facts.project.denied_models
    if not models:
        return None
    remedy = f"Take it off the list in {project_page(facts, 'Limits → Model usage')}, or out of denied_models in the configuration."
    tried = {each.model: each for each in facts.denied}
    loose = [tried[model] for model in models if model in tried and tried[model].usable]
    if loose:
        names = ", ".join(each.model for each in loose)
        evidence = tuple(Evidence(f"{each.model} answered a call of this project", each.at) for each in loose)
        return Broken(f"{names} must be refused and answers: nothing keeps its cost away.", remedy, evidence)
    untried = [model for model in models if model not in tried]
    reading = facts.reading(ItemKind.MODEL_PERMISSIONS)
    if untried and reading.at is None:
        return NotKnown(f"{', '.join(untried)} has not been tried yet, and the project’s model permissions are not known")
    allowed = [model for model in untried if _allowed(facts, model)]
    if not allowed:
        return Fine()
    mode = str(facts.permissions.facts.get("mode")).replace("_", " ") if facts.permissions else "none, so every model is allowed"
    names = ", ".join(allowed)
    said = f"The project’s model permissions allow {names}, which must be refused."
    return Broken(said, remedy, (Evidence(f"OpenAI’s model permissions of the project: {mode}", reading.at),))


def _allowed(facts: ProjectFacts, model: str) -> bool:
    """Whether the permissions, which are known, let the project use a model."""
    if facts.permissions is None:
        return True
    listed = model in (facts.permissions.facts.get("model_ids") or ())
    return listed is (facts.permissions.facts.get("mode") == "allow_list")


def _no_project_id(facts: ProjectFacts, _: HygienePolicy, __: datetime) -> Judgement:
    if facts.project.project_id is not None:
        return Fine()
    return Broken(
        "No project id is set: calls go wherever the key’s default is, and nothing proves for which project they count.",
        f"Copy the id from {project_page(facts, 'General')} into project_id of {facts.name}, and into the service as "
        "OPENAI_PROJECT_ID.",
        (Evidence("the configuration has no project_id for it"),),
    )


def _default_project(facts: ProjectFacts, policy: HygienePolicy, now: datetime) -> Judgement:
    environment = facts.project.environment
    production = policy.serves_customers(environment)
    if production is False:
        return None
    by_name = facts.record is not None and facts.record.name.strip().casefold() == "default project"
    by_key = facts.project.project_id is None and facts.unbound_keys > 0
    if not by_name and not by_key:
        if facts.record is not None:
            return Fine()
        if facts.project.project_id is None:
            return NotKnown("without a project id nobody can tell in which project its calls are made")
        return NotKnown(facts.reading(ItemKind.PROJECT).why)
    if production is None:
        return NotKnown(_NO_ENVIRONMENT)
    evidence = [Evidence(f"the project’s environment is {environment}")]
    if by_name:
        said = "it is the default project by its name, “Default project”: OpenAI marks it by nothing else"
        evidence.append(Evidence(said, facts.reading(ItemKind.PROJECT).at))
    if by_key:
        evidence.append(Evidence("its key belongs to no project and no project id is sent", now))
    return Broken(
        "Production runs in the default project, where everybody’s trials share its limits and its bill.",
        f"Create a project for it in {_PLATFORM} → Organization → Projects, with keys of its own, and set its project_id.",
        tuple(evidence),
    )


def _no_model_list(facts: ProjectFacts, _: HygienePolicy, __: datetime) -> Judgement:
    reading = facts.reading(ItemKind.MODEL_PERMISSIONS)
    if reading.at is None:
        return NotKnown(reading.why)
    mode = facts.permissions.facts.get("mode") if facts.permissions else None
    if mode == "allow_list":
        return Fine()
    needed = ", ".join(facts.project.models) or "the models it needs"
    said = (
        "It has a list of forbidden models only: every new and dearer model is allowed on the day it appears."
        if mode == "deny_list"
        else "Every model is allowed: a leaked key or a slip in the code can call the dearest one."
    )
    return Broken(
        said,
        f"Allow only {needed} in {project_page(facts, 'Limits → Model usage')}.",
        (Evidence("OpenAI’s model permissions of the project: " + ("a deny list" if mode == "deny_list" else "none"), reading.at),),
    )


def _no_rate_limit(facts: ProjectFacts, _: HygienePolicy, __: datetime) -> Judgement:
    reading = facts.reading(ItemKind.RATE_LIMIT)
    if facts.limits is None or reading.at is None:
        return NotKnown(reading.why)
    remedy = f"Set the requests and tokens per minute that it needs in {project_page(facts, 'Limits → Rate limits')}."
    if not facts.limits:
        return Broken("It has no rate limit of its own.", remedy, (Evidence("OpenAI lists no limit of the project", reading.at),))
    compared = {model: values for model, values in facts.limits.items() if model in facts.highest}
    if not compared:
        return NotKnown("no other project has limits to compare them with, and OpenAI does not tell the organization’s own")
    lowered = [model for model, values in compared.items() if values != facts.highest[model]]
    if lowered:
        return Fine()
    return Broken(
        "Its limits are as high as any project’s: alone it can use up what all share.",
        remedy,
        (Evidence(f"for {_counted(len(compared), 'model')} no project has more, and others have the same", reading.at),),
    )


def _no_spend_limit(facts: ProjectFacts, _: HygienePolicy, __: datetime) -> Judgement:
    reading = facts.reading(ItemKind.SPEND_LIMIT)
    if reading.at is None:
        return NotKnown(reading.why)
    if facts.spend_limit is not None:
        return Fine()
    amount = facts.organization_spend_limit.facts.get("threshold_amount") if facts.organization_spend_limit else None
    known = f"only the organization’s limit, {amount / 100:,.0f} a month" if isinstance(amount, int) else "no limit of the project"
    return Broken(
        "It has no spend limit: a runaway loop is stopped by the bill.",
        f"Set a monthly limit in {project_page(facts, 'Limits → Spend limit')}.",
        (Evidence(f"OpenAI knows {known}", reading.at),),
    )


PROJECT_RULES: tuple[ProjectRule, ...] = (
    ProjectRule("denied_model_usable", 25, "denied model usable", _denied_model_usable),
    ProjectRule("no_project_id", 15, "no project id", _no_project_id),
    ProjectRule("default_project", 10, "default project in production", _default_project),
    ProjectRule("no_model_list", 10, "no model allowlist", _no_model_list),
    ProjectRule("no_spend_limit", 10, "no spend limit", _no_spend_limit),
    ProjectRule("no_rate_limit", 5, "no project rate limit", _no_rate_limit),
)
_ALL = [(rule.id, rule.title, rule.weight) for rule in KEY_RULES] + [(rule.id, rule.title, rule.weight) for rule in PROJECT_RULES]
TITLES = {number: title for number, title, _ in _ALL}
WEIGHTS = {number: weight for number, _, weight in _ALL}


# Evaluation -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assessed:
    """One project after the rules: its own card, its keys', and the facts they rest on."""

    facts: ProjectFacts
    keys: tuple[KeyFacts, ...]
    card: Scorecard
    """Of the project with all its keys."""
    key_cards: tuple[Scorecard, ...]
    """In the order of `keys`."""

    @property
    def name(self) -> str:
        """The project's name here."""
        return self.facts.name


def judge_key(key: KeyFacts, policy: HygienePolicy, now: datetime) -> Scorecard:
    """The scorecard of one key."""
    said = ((rule.id, rule.weight, rule.title, rule.judge(key, policy, now)) for rule in KEY_RULES)
    return scorecard(key.subject, said, key.project.name, key.name)


def judge_project(facts: ProjectFacts, keys: tuple[KeyFacts, ...], policy: HygienePolicy, now: datetime) -> Assessed:
    """The scorecards of one project."""
    subject = f"project:{facts.name}"
    said = ((rule.id, rule.weight, rule.title, rule.judge(facts, policy, now)) for rule in PROJECT_RULES)
    own = scorecard(subject, said, facts.name)
    cards = tuple(judge_key(key, policy, now) for key in keys)
    return Assessed(facts, keys, together(subject, (own, *cards), facts.name), cards)


def assess(known: Gathered, policy: HygienePolicy, now: datetime) -> Iterator[Assessed]:
    """Every configured project, in the order given."""
    for facts, keys in assembled(known):
        yield judge_project(facts, keys, policy, now)
