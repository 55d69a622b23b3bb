"""The state of the emulated platform, the verbs that change it, and the order in which a request is judged."""

import functools
import inspect
import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as calendar_day
from typing import Any, TypeVar

from monitor.emulator.administration import ADMINISTRATION_VERBS, Administration
from monitor.emulator.answers import REFUSALS, Answer, Ask, limited, too_large
from monitor.emulator.limits import Bucket, Traffic, nobody

T = TypeVar("T")


@dataclass
class Model:
    """A model that the platform has, with the limits that an organization gets for it."""

    name: str
    family: str = "chat"
    """`chat` (also served by responses), `responses` (by that alone) or `embeddings`."""
    requests_per_minute: int = 10_000
    tokens_per_minute: int = 2_000_000
    latency: float = 0.45
    """Seconds of a typical small call."""
    price: tuple[float, float] = (1.0, 4.0)
    """US dollars for a million tokens of input and of output."""
    retired: bool = False
    shutdown_date: str | None = None
    """The announced day, `2027-03-31`."""


@dataclass
class Key:
    """A key of a project. `scopes` None is an unrestricted key."""

    secret: str
    project: str
    revoked: bool = False
    scopes: frozenset[str] | None = None
    bound: bool = True
    """Whether it is refused under another project's id, as keys of a project are."""


@dataclass
class Project:
    """A project of an organization."""

    id: str
    organization: str
    name: str = ""
    allowed: frozenset[str] | None = None
    """Models it may use; None is all of the organization's."""
    denied: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trouble:
    """Something broken on purpose: for requests that it matches, in `share` of the cases."""

    failure: str
    organization: str | None = None
    project: str | None = None
    model: str | None = None
    secret: str | None = None
    endpoint: str | None = None
    share: float = 1.0
    until: float | None = None
    detail: tuple[tuple[str, Any], ...] = ()

    def hits(self, ask: Ask, now: float, *, known: bool) -> bool:
        """Whether it concerns the request, if chance wills."""
        mine = (
            (self.organization, ask.organization),
            (self.project, ask.project),
            (self.model, ask.model),
            (self.secret, ask.secret),
        )
        if self.until is not None and now >= self.until:
            return False
        if not known and (self.organization or self.project or self.secret):
            return False
        return all(want is None or want == have for want, have in mine) and (
            self.endpoint is None or ask.endpoint.startswith(self.endpoint)
        )


@dataclass(frozen=True)
class Slowness:
    """Requests of `project` (or all) take `seconds` longer."""

    seconds: float
    project: str | None = None
    until: float | None = None


SCOPES = {"/v1/models": "api.model.read", "/v1/chat/completions": "model.request", "/v1/embeddings": "model.request"}
"""What a restricted key needs for an endpoint; the look-up of one model needs what the list needs."""


class World:
    """Organizations, projects, keys, models and limits at one moment, and a story that changes them."""

    def __init__(self, clock: Callable[[], float] = time.time, seed: int = 7) -> None:
        """`clock` gives seconds since the epoch: the emulator's own time."""
        self.clock = clock
        self.models: dict[str, Model] = {}
        self.projects: dict[str, Project] = {}
        self.keys: dict[str, Key] = {}
        self.slugs: dict[str, str] = {}
        """The slug that an organization has in headers, by its id."""
        self.latency_factor = 1.0
        self.stream_limits = True
        """Whether streamed responses carry the headers of limits: they mostly do since May 2026."""
        self.broken_streams = 0.0
        """The share of streamed responses that fail inside a 200."""
        self.administration = Administration(self)
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._troubles: list[Trouble] = []
        self._slow: list[Slowness] = []
        self._cut: list[Trouble] = []
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._limits: dict[tuple[str, str], dict[str, int]] = {}
        self._traffic: dict[tuple[str, str, str], Traffic] = {}
        self._story: list[tuple[float, int, str, dict[str, Any]]] = []

    # What there is --------------------------------------------------------------------------------------------------------------

    def add_model(self, name: str, **facts: Any) -> None:
        """Add a model to the platform."""
        self.models[name] = Model(name, **facts)

    def add_project(
        self,
        id: str,  # noqa: A002 - OpenAI's word
        organization: str,
        name: str = "",
        slug: str | None = None,
        created_at: float | None = None,
    ) -> None:
        """Add a project to an organization, which need not exist before."""
        self.projects[id] = Project(id, organization, name)
        self.slugs.setdefault(organization, slug or organization.removeprefix("org-").lower())
        self.administration.project_added(self.projects[id], created_at)

    def add_key(self, secret: str, project: str, scopes: list[str] | None = None, **record: Any) -> None:
        """Add a key to a project. `record`: name, owner, created_at and expires_at, as the Administration API tells them."""
        key = Key(secret, self.find_project(project).id, scopes=frozenset(scopes) if scopes is not None else None)
        self.keys[secret] = key
        self.administration.key_added(key, **record)

    # Verbs: what may happen -----------------------------------------------------------------------------------------------------

    def create_project(self, id: str, organization: str, name: str = "") -> None:  # noqa: A002 - OpenAI's word
        """Somebody makes a project."""
        if id in self.projects:
            raise ValueError(f"there is a project {id}")
        self.add_project(id, organization, name)
        self.administration.note("project.created", {"id": id, "data": {"name": name, "title": name}}, id)

    def create_key(
        self,
        secret: str,
        project: str,
        name: str = "",
        owner: str | None = None,
        scopes: list[str] | None = None,
        expires_at: float | None = None,
        by: str | None = None,
    ) -> None:
        """Somebody makes a key. `owner` is a person's e-mail or the name of a service account."""
        if secret in self.keys and not self.keys[secret].revoked:
            raise ValueError("there is such a key")
        self.add_key(secret, project, scopes, name=name, owner=owner, expires_at=expires_at)
        self.administration.key_created(self.keys[secret], by)

    def revoke(self, secret: str, by: str | None = None) -> None:
        """The key is deleted."""
        key = self._key(secret)
        if not key.revoked:
            key.revoked = True
            self.administration.key_deleted(key, by)

    def restore(self, secret: str, by: str | None = None) -> None:
        """A key that works again: on the record it is a new one."""
        key = self._key(secret)
        if key.revoked:
            key.revoked = False
            self.administration.key_restored(key, by)

    def rotate(self, secret: str, new: str, grace: float = 0.0, by: str | None = None) -> None:
        """A new key replaces the old one, which is deleted `grace` seconds later."""
        old = self._key(secret)
        if old.revoked:
            raise ValueError(f"that key is deleted: …{secret[-4:]}")
        self.keys[new] = Key(new, old.project, scopes=old.scopes)
        self.administration.key_replaced(old, self.keys[new], by)
        if grace > 0:
            self.at(self.clock() + grace, "revoke", secret=secret, by=by)
        else:
            self.revoke(secret, by)

    def restrict(self, secret: str, scopes: list[str] | None = None, by: str | None = None) -> None:
        """The key keeps only these scopes; without `scopes` all."""
        key = self._key(secret)
        key.scopes = frozenset(scopes) if scopes is not None else None
        self.administration.key_restricted(key, by)

    def unbind(self, secret: str) -> None:
        """The key works under any project's id: it is held to none."""
        self._key(secret).bound = False

    def bind(self, secret: str) -> None:
        """The key is held to its project again."""
        self._key(secret).bound = True

    def deny_model(self, project: str, model: str) -> None:
        """The project may no longer use the model."""
        found = self.find_project(project)
        found.denied |= {model}
        self.administration.reckon(found.id)

    def allow_model(self, project: str, model: str) -> None:
        """The project may use the model again."""
        found = self.find_project(project)
        found.denied -= {model}
        if found.allowed is not None:
            found.allowed |= {model}
        self.administration.reckon(found.id)

    def allow_only(self, project: str, models: list[str] | None = None) -> None:
        """The project may use these models and no others; without `models` all but the denied."""
        found = self.find_project(project)
        found.allowed = frozenset(models) if models is not None else None
        self.administration.reckon(found.id)

    def retire_model(self, model: str, announced: str | None = None) -> None:
        """The model is shut down; with `announced` only if that is still the day that the list tells."""
        found = self._model(model)
        if announced is None or found.shutdown_date == announced:
            found.retired = True
            self._judge_traffic()

    def revive_model(self, model: str) -> None:
        """The model is back."""
        self._model(model).retired = False
        self._judge_traffic()

    def announce_shutdown(self, model: str, date: str | None = None) -> None:
        """The list tells on which day (UTC) the model will be shut down, and so it is; without `date` that it will not be."""
        day = calendar_day.fromisoformat(date) if date is not None else None
        self._model(model).shutdown_date = date
        if day is not None:
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
            self.at(midnight, "retire_model", model=model, announced=date)

    def throttle(
        self,
        whose: str,
        model: str,
        requests: int | None = None,
        tokens: int | None = None,
        by: str | None = None,
    ) -> None:
        """Set the limits per minute of a project or organization for a model; without numbers, what the platform gives."""
        wanted = {name: value for name, value in (("requests", requests), ("tokens", tokens)) if value is not None}
        self._limits[whose, self._model(model).name] = wanted
        for metric in ("requests", "tokens"):
            self._buckets.pop((whose, model, metric), None)
        self.administration.limited(whose, model, wanted, by)

    def traffic(
        self,
        whose: str,
        model: str,
        requests: float | Traffic = 0.0,
        tokens: float | Traffic = 0.0,
        secret: str | None = None,
    ) -> None:
        """Other traffic, units a minute, that uses the same limits: of a project, or of an organization.

        A project's is what its key `secret`, or its first, uses: what of it is accepted shows in usage. An organization's belongs
        to no project: it only uses up limits.
        """
        used = {}
        for metric, value in (("requests", requests), ("tokens", tokens)):
            used[metric] = self._traffic[whose, model, metric] = value if callable(value) else _steady(float(value))
            self._buckets.pop((whose, model, metric), None)
        if whose in self.projects:
            self.administration.traffic_set(whose, self._model(model).name, used["requests"], used["tokens"], secret)

    def trouble(
        self,
        failure: str,
        organization: str | None = None,
        project: str | None = None,
        model: str | None = None,
        secret: str | None = None,
        endpoint: str | None = None,
        share: float = 1.0,
        seconds: float | None = None,
        **detail: Any,
    ) -> None:
        """Any failure of the taxonomy for requests that match, in `share` of the cases, for `seconds` or until healed."""
        if failure not in REFUSALS:
            raise ValueError(f"no such failure: {failure}; there are {', '.join(REFUSALS)}")
        until = None if seconds is None else self.clock() + seconds
        self._troubles.append(
            Trouble(failure, organization, project, model, secret, endpoint, share, until, tuple(sorted(detail.items())))
        )

    def heal(self, failure: str | None = None, project: str | None = None, organization: str | None = None) -> None:
        """End the troubles that match, all of them where nothing is named, and slowness and cuts with them."""

        def ends(trouble: Trouble) -> bool:
            named = ((failure, trouble.failure), (project, trouble.project), (organization, trouble.organization))
            return all(want is None or want == have for want, have in named)

        self._troubles = [trouble for trouble in self._troubles if not ends(trouble)]
        if failure is None:
            self._slow = [slow for slow in self._slow if project is not None and slow.project != project]
            self._cut = [cut for cut in self._cut if not ends(cut)]
            if project is None and organization is None:
                self.administration.heal_administration()

    def exhaust_credit(self, organization: str) -> None:
        """The organization's prepaid credit is gone."""
        self.trouble("quota.credits", organization=organization)

    def add_credit(self, organization: str) -> None:
        """Somebody paid."""
        self.heal("quota.credits", organization=organization)

    def slow_down(self, seconds: float, project: str | None = None, lasting: float | None = None) -> None:
        """Answers take longer, for one project or for all."""
        self._slow.append(Slowness(seconds, project, None if lasting is None else self.clock() + lasting))

    def cut(self, project: str | None = None, share: float = 1.0, seconds: float | None = None) -> None:
        """Connections break in the middle of an answer."""
        self._cut.append(Trouble("cut", project=project, share=share, until=None if seconds is None else self.clock() + seconds))

    def distrust(self, project: str | None = None, seconds: float | None = None) -> None:
        """TLS fails: the certificate is none to trust. In process only: a server of plain HTTP cuts the connection instead."""
        self._cut.append(Trouble("tls", project=project, until=None if seconds is None else self.clock() + seconds))

    def region(self, project: str, host: str) -> None:
        """The project has data residency: it answers at `host` only."""
        self.trouble("auth.wrong_region_host", project=project, host=host)

    def break_streams(self, share: float = 1.0) -> None:
        """Streamed responses begin with a 200 and fail inside."""
        self.broken_streams = share

    def breaks(self) -> bool:
        """Whether this stream fails inside."""
        return self._random.random() < self.broken_streams

    def at(self, moment: float, verb: str, **arguments: Any) -> None:
        """Let `verb` happen at `moment` (seconds since the epoch)."""
        inspect.signature(VERBS[verb]).bind(self, **arguments)
        self._story.append((moment, next(self._numbers), verb, arguments))
        self._story.sort(key=lambda event: event[:2])

    def do(self, verb: str, arguments: dict[str, Any]) -> None:
        """Carry out a verb by its name. Raises ValueError where verb, arguments or names are wrong."""
        if verb not in VERBS:
            raise ValueError(f"no such verb: {verb}; there are {', '.join(VERBS)}")
        try:
            inspect.signature(VERBS[verb]).bind(self, **arguments)
            VERBS[verb](self, **arguments)
        except TypeError as wrong:
            raise ValueError(f"{verb}: {wrong}") from None

    def advance(self) -> None:
        """Let happen what the story holds up to now."""
        now = self.clock()
        while self._story and self._story[0][0] <= now:
            moment, _, verb, arguments = self._story.pop(0)
            clock, self.clock = self.clock, _stopped(moment)  # a trouble of an hour that began two hours ago is over
            try:
                VERBS[verb](self, **arguments)
            finally:
                self.clock = clock

    # How a request is judged ----------------------------------------------------------------------------------------------------

    def request_id(self) -> str:
        """A new id in the form that the API's have."""
        return f"req_{self._random.getrandbits(128):032x}"

    def find_key(self, secret: str) -> tuple[Key, Project] | None:
        """The key with its project, unless it is unknown, deleted or expired, or its owner or project gone."""
        key = self.keys.get(secret)
        if key is None or key.revoked or not self.administration.accepts(key):
            return None
        return key, self.projects[key.project]

    def find_project(self, name: str) -> Project:
        """The project with the id or name. Raises ValueError where there is none."""
        if name in self.projects:
            return self.projects[name]
        named = next((project for project in self.projects.values() if project.name == name), None)
        return named or _known(self.projects, name, "project")

    def may_use(self, project: Project, model: str) -> bool:
        """Whether there is the model, and the project's list has nothing against it."""
        found = self.models.get(model)
        if found is None or found.retired or model in project.denied:
            return False
        return project.allowed is None or model in project.allowed

    def limit(self, project: Project, model: str, metric: str) -> int:
        """The limit per minute that a project has for a model: its own, its organization's, or what the platform gives."""
        given = self.models[model]
        platform = given.requests_per_minute if metric == "requests" else given.tokens_per_minute
        return self._limits.get((project.id, model), {}).get(
            metric, self._limits.get((project.organization, model), {}).get(metric, platform)
        )

    def suffers(self, failure: str, whose: str) -> bool:
        """Whether a project or organization as a whole has this trouble now."""
        now = self.clock()
        return any(
            trouble.failure == failure
            and whose in (trouble.project, trouble.organization)
            and trouble.model is None
            and trouble.secret is None
            and (trouble.until is None or now < trouble.until)
            for trouble in self._troubles
        )

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()

    def refuse(self, failures: tuple[str, ...], ask: Ask, *, known: bool = True) -> Answer | None:
        """The answer of the first trouble of these families that concerns the request."""
        now = self.clock()
        for trouble in self._troubles:
            if (
                trouble.failure.startswith(failures)
                and trouble.hits(ask, now, known=known)
                and self._random.random() < trouble.share
            ):
                told = Ask(ask.secret, ask.project, ask.organization, ask.model, ask.endpoint, dict(trouble.detail))
                return REFUSALS[trouble.failure](told)
        return None

    def is_cut(self, ask: Ask) -> str | None:
        """How this connection breaks, `cut` or `tls`; None where it holds."""
        now = self.clock()
        hits = (cut.failure for cut in self._cut if cut.hits(ask, now, known=True) and self._random.random() < cut.share)
        return next(hits, None)

    def latency(self, base: float, project: str | None) -> float:
        """Seconds that an answer takes: long-tailed as in life, slower on working days around noon, and by what is slow now."""
        now = self.clock()
        slow = sum(s.seconds for s in self._slow if s.project in (None, project) and (s.until is None or now < s.until))
        hour = now / 3600 % 24
        busy = 1.0 + 0.35 * max(0.0, 1 - abs(hour - 15) / 7)
        return self.latency_factor * base * busy * self._random.lognormvariate(0.0, 0.28) + slow

    def take(self, ask: Ask, tokens: int) -> tuple[Answer | None, dict[str, str]]:
        """Charge a request to its limits: the refusal, if one is reached, and the headers that show the limits."""
        now = self.clock()
        model = self.models[ask.model]
        given = {"requests": model.requests_per_minute, "tokens": model.tokens_per_minute}
        headers: dict[str, str] = {}
        for whose, prefix in ((ask.organization, ""), (ask.project, "project-")):
            own = self._limits.get((whose, ask.model), {})
            for metric, wanted in (("requests", 1), ("tokens", tokens)):
                if prefix and metric not in own:
                    continue
                bucket = self._bucket(whose, ask.model, metric, own.get(metric, given[metric]))
                wait = bucket.take(wanted, now)
                left = bucket.remaining(now)
                headers[f"x-ratelimit-limit-{prefix}{metric}"] = str(bucket.limit)
                headers[f"x-ratelimit-remaining-{prefix}{metric}"] = str(left)
                headers[f"x-ratelimit-reset-{prefix}{metric}"] = bucket.reset(now)
                if metric == "tokens" and 0 < bucket.limit < wanted:
                    return too_large(ask, bucket.limit, wanted), headers
                if wait:
                    refusal = limited(ask, metric, "min", bucket.limit, bucket.limit - left, wanted, wait, project=bool(prefix))
                    return refusal, headers
        return None, headers

    def visible(self) -> list[Model]:
        """The models that the list shows."""
        return [model for model in self.models.values() if not model.retired]

    # Parts ----------------------------------------------------------------------------------------------------------------------

    def _bucket(self, whose: str, model: str, metric: str, limit: int) -> Bucket:
        found = self._buckets.get((whose, model, metric))
        if found is None:
            found = self._buckets[whose, model, metric] = Bucket(limit, traffic=self._traffic.get((whose, model, metric), nobody))
        return found

    def _key(self, secret: str) -> Key:
        return _known(self.keys, secret, "key")

    def _judge_traffic(self) -> None:
        for project in self.projects:
            self.administration.reckon(project)

    def _model(self, name: str) -> Model:
        return _known(self.models, name, "model")

    def __iter__(self) -> Iterator[Project]:
        return iter(self.projects.values())


def _known(things: dict[str, T], name: str, what: str) -> T:
    if name not in things:
        raise ValueError(f"no such {what}: {name if what != 'key' else '…' + name[-4:]}")
    return things[name]


def _steady(value: float) -> Traffic:
    return lambda _: value


def _stopped(moment: float) -> Callable[[], float]:
    return lambda: moment


def _of_the_record(verb: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(verb)
    def told(world: World, *given: Any, **arguments: Any) -> None:
        verb(world.administration, *given, **arguments)

    return told


VERBS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        World.create_project, World.create_key, World.allow_only,
        World.revoke, World.restore, World.rotate, World.restrict, World.deny_model, World.allow_model, World.retire_model,
        World.unbind, World.bind, World.revive_model, World.announce_shutdown, World.throttle, World.traffic, World.trouble,
        World.heal,
        World.exhaust_credit, World.add_credit, World.slow_down, World.cut, World.distrust, World.region, World.break_streams,
    )
} | {verb.__name__: _of_the_record(verb) for verb in ADMINISTRATION_VERBS}  # fmt: skip
"""What may happen, by name: in Python, in a story, and as `POST /_emulator/{verb}` with the arguments as JSON."""
