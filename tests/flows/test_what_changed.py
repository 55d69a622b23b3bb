"""What changed just before: in each scenario the right change is first in the incident's list.

Poller, keeper and sync run over the emulator in virtual time, as they do in the service.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor import service
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.incidents import Incident, IncidentRecord
from monitor.domain.postmortem import as_json, markdown
from monitor.domain.taxonomy import FailureKind
from monitor.domain.timeline import Window
from monitor.domain.what_changed import Explanation, Strength, not_known, ranked
from monitor.domain.words import Confidence
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.incident_keeper import IncidentKeeper
from monitor.notify.outbox import Teller
from monitor.openai_api.transport import in_process
from monitor.organization_keeper import OrganizationKeeper, admin_client
from monitor.poller import Poller
from monitor.store import changes, incidents, meta, outbox
from monitor.store.engine import Engine
from monitor.store.record import Writer

START = datetime(2026, 11, 23, 3, tzinfo=UTC)
ADMIN = "sk-admin-TEST-record-not-a-key-0001"
ORGANIZATION = "org-TEST"
NAMES = ("shop", "search", "people", "batch")
BEN = "ben@example.com"
K, F = ChangeKind, FailureKind


def secret_of(name: str, number: int = 1) -> str:
    """The obviously fake key of a project; that of `people` is a person's."""
    return f"sk-{'proj' if name == 'people' else 'svcacct'}-TEST{name}-not-a-key-{name[:2]}{number:02}"


def toml(folder: Path, changed: dict[str, str], *, record: bool) -> str:
    text = f'[monitor]\ndatabase_url = "sqlite:///{folder}/monitor.db"\n'
    text += "[monitor.intervals]\n" + "".join(f'{probe} = "30s"\n' for probe in ("auth", "model_access", "inference", "control"))
    text += '[[channels]]\nname = "team"\nurl = "env:TEAM"\n[[routes]]\nchannel = "team"\n'
    if record:
        text += f'[[organizations]]\nname = "acme"\nid = "{ORGANIZATION}"\nadmin_key = "file:admin.key"\n'
        text += 'base_url = "http://127.0.0.1:9/v1"\n'
    for name in NAMES:
        text += f'[[projects]]\nname = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\nmodels = ["gpt-4o"]\n'
        text += changed.get(name, f'project_id = "proj_{name}"') + "\n"
        text += f'[[projects.keys]]\nlabel = "backend"\nsecret = "file:{name}.key"\n'
    return text


class Town:
    """Four watched projects of one organization, whose record is read."""

    def __init__(self, folder: Path, loop: VirtualTimeLoop, *, record: bool) -> None:
        self.folder, self.record = folder, record
        self.clock = VirtualClock(START, loop)
        self.world = World(lambda: self.clock.now().timestamp())
        self.office = self.world.administration
        for model in ("gpt-4o", "gpt-4.1", "gpt-5"):
            self.world.add_model(model, requests_per_minute=1000)
        for name in NAMES:
            self.world.add_project(f"proj_{name}", ORGANIZATION, name, created_at=START.timestamp() - 5e6)
        self.office.add_user(ORGANIZATION, BEN, "Ben Bauer", created_at=1.0)
        for name in NAMES:
            more = {"owner": BEN} if name == "people" else {"owner": f"{name}-robot"}
            self.world.add_key(secret_of(name), f"proj_{name}", name="backend", created_at=START.timestamp() - 4e6, **more)
            (folder / f"{name}.key").write_text(secret_of(name))
        self.office.spend_limit("proj_batch", 10_000)
        self.office.spend_limit(ORGANIZATION, 90_000)
        self.office.add_certificate(ORGANIZATION, "mtls", 1.0, START.timestamp() + 9e6, created_at=1.0)
        self.office.add_admin_key(ORGANIZATION, ADMIN, "monitor", ["api.management.read"], created_at=1.0)
        (folder / "admin.key").write_text(ADMIN)
        self.configure({})
        self.engine: Engine

    def configure(self, changed: dict[str, str]) -> None:
        """Write `monitor.toml`; `changed` has other lines for some projects."""
        (self.folder / "monitor.toml").write_text(toml(self.folder, changed, record=self.record))

    async def live(self, **length: float) -> None:
        """Let time pass."""
        await asyncio.sleep(timedelta(**length).total_seconds())

    def incidents(self) -> list[Incident]:
        """Every incident there ever was, oldest first."""
        return sorted(incidents.find(self.engine), key=lambda each: each.id or 0)

    def record_of(self, one: Incident) -> IncidentRecord:
        """All that is kept of it."""
        found = incidents.record(self.engine, one.id or 0)
        assert found is not None
        return found

    def told(self, one: Incident) -> tuple[Explanation, ...]:
        """What changed around it, as it is shown."""
        record = self.record_of(one)
        return ranked(record.incident, record.changed)


Act = Callable[[Town], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs an act while poller, keeper and sync run; no part of a key, address or browser may be in the database then."""

    def runner(act: Act, *, record: bool = True) -> None:
        async def live() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            town = Town(tmp_path, loop, record=record)
            loaded, network = service.load(None, {"TEAM": "json://127.0.0.1:9"}, tmp_path), in_process(create_app(town.world))
            with service.store_of(loaded.settings) as engine:
                town.engine = engine
                async with service.api_client(loaded.settings, network) as client:
                    keeping = OrganizationKeeper(engine, town.clock, loaded.secrets, admin_client(loaded.secrets, network))
                    teller = Teller(engine, loaded.settings)
                    keeper = IncidentKeeper(engine, town.clock, teller.tell, teller.forget, keeping.look_now)
                    poller = Poller(
                        loaded.settings, loaded.secrets, clock=town.clock, client=client, writer=Writer(engine),
                        salt=meta.salt(engine), reload=loaded.reloader(), watch=keeper.note,
                    )  # fmt: skip
                    stop = asyncio.Event()
                    polling = asyncio.create_task(poller.run(stop))
                    others = [asyncio.create_task(keeper.run(poller)), asyncio.create_task(keeping.run(poller))]
                    try:
                        await town.live(minutes=3)
                        assert town.incidents() == []
                        await act(town)
                    finally:
                        for task in others:
                            task.cancel()
                        stop.set()
                        await asyncio.gather(polling, *others, return_exceptions=True)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop_runner:
            loop_runner.run(live())
        for file in tmp_path.glob("monitor.db*"):
            kept = file.read_bytes()
            for private in (b"TEST", b"203.0.113.", b"198.51.100.", b"Mozilla", b"user_agent", BEN.encode()):
                assert private not in kept.replace(ORGANIZATION.encode(), b""), f"{private!r} is in {file.name}"

    return runner


@dataclass(frozen=True)
class Scenario:
    """Something is done, something breaks, and this change is first in its list."""

    name: str
    do: Callable[[Town], object]
    kind: ChangeKind
    failure: FailureKind
    project: str | None = "shop"
    """Whose change it is; None for the whole organization's."""
    key: str | None = None
    model: str | None = None
    confidence: Confidence = Confidence.CERTAIN
    hit: str = "shop"
    """A project that is hit."""
    strength: Strength = Strength.PROOF


def config(line: str) -> Callable[[Town], object]:
    return lambda town: town.configure({"shop": line})


def secret(value: str) -> Callable[[Town], object]:
    return lambda town: (town.folder / "shop.key").write_text(value)


def lowered(town: Town) -> None:
    town.world.traffic("proj_shop", "gpt-4o", requests=100.0)
    town.world.throttle("proj_shop", "gpt-4o", requests=20, by=BEN)


def spend_lowered(town: Town) -> None:
    town.office.spend_limit("proj_shop", 5_000)
    town.office.reach_spend_limit("proj_shop")


def straggler(town: Town) -> None:
    """Another key takes its place, the old one is deleted, and this monitor still has the old one."""
    town.world.rotate(secret_of("shop"), secret_of("shop", 2), by=BEN)


def retired(town: Town) -> None:
    """What the reading of the list of models tells; it is no part of the organization's record."""
    town.world.retire_model("gpt-4o")
    event = ChangeEvent(
        at=town.clock.now(), kind=K.MODEL_DELISTED, source=ChangeSource.CATALOGUE, model="gpt-4o",
        text="gpt-4o is no longer in OpenAI's list of models.", subject="gpt-4o", dedup="delisted gpt-4o",
    )  # fmt: skip
    changes.record(town.engine, [event])


SCENARIOS = [
    Scenario("limit lowered", lowered, K.RATE_LIMIT_LOWERED, F.RATE_REQUESTS, model="gpt-4o", strength=Strength.STRONG),
    Scenario(
        "model removed from the allow list",
        lambda town: town.world.allow_only("proj_shop", ["gpt-4.1"]),
        K.MODEL_REMOVED, F.ACCESS_MODEL_NOT_ALLOWED, model="gpt-4o",
    ),
    Scenario(
        "model denied", lambda town: town.world.deny_model("proj_shop", "gpt-4o"),
        K.MODEL_REMOVED, F.ACCESS_MODEL_NOT_ALLOWED, model="gpt-4o",
    ),
    Scenario(
        "key deleted", lambda town: town.world.revoke(secret_of("shop"), by=BEN), K.KEY_DELETED, F.AUTH_INVALID_KEY, key="backend"
    ),
    Scenario(
        "key expired", lambda town: town.office.expire_key(secret_of("shop"), town.clock.now().timestamp() + 20, by=BEN),
        K.KEY_EXPIRED, F.AUTH_INVALID_KEY, key="backend",
    ),
    Scenario(
        "key scopes narrowed", lambda town: town.world.restrict(secret_of("shop"), ["api.model.read"], by=BEN),
        K.KEY_CHANGED, F.AUTH_MISSING_SCOPE, key="backend", confidence=Confidence.LIKELY, strength=Strength.STRONG,
    ),
    Scenario(
        "owner removed from the project", lambda town: town.office.remove_member("proj_people", BEN),
        K.MEMBER_CHANGED, F.AUTH_INVALID_KEY, "people", key="backend", hit="people",
    ),
    Scenario(
        "owner left the organization", lambda town: town.office.remove_user(BEN),
        K.MEMBER_CHANGED, F.AUTH_INVALID_KEY, "people", key="backend", hit="people",
    ),
    Scenario(
        "service account deleted", lambda town: town.office.remove_service_account("proj_shop", "shop-robot"),
        K.SERVICE_ACCOUNT_DELETED, F.AUTH_INVALID_KEY,
    ),
    Scenario(
        "project spend limit reached", lambda town: town.office.reach_spend_limit("proj_batch"),
        K.SPEND_LIMIT_REACHED, F.QUOTA_PROJECT_SPEND, "batch", hit="batch",
    ),
    Scenario(
        "organization spend limit reached", lambda town: town.office.reach_spend_limit(ORGANIZATION),
        K.SPEND_LIMIT_REACHED, F.QUOTA_ORGANIZATION_SPEND, None,
    ),
    Scenario("spend limit lowered", spend_lowered, K.SPEND_LIMIT_CHANGED, F.QUOTA_PROJECT_SPEND),
    Scenario(
        "project archived", lambda town: town.office.archive_project("proj_shop", by=BEN), K.PROJECT_ARCHIVED, F.AUTH_INVALID_KEY
    ),
    Scenario(
        "IP allowlist of the project", lambda town: town.office.ip_allowlist("proj_shop", True, ["198.51.100.0/24"], by=BEN),
        K.IP_ALLOWLIST_CHANGED, F.AUTH_IP_NOT_ALLOWED, strength=Strength.STRONG,
    ),
    Scenario(
        "IP allowlist of the organization", lambda town: town.office.ip_allowlist(ORGANIZATION, True, ["198.51.100.0/24"]),
        K.IP_ALLOWLIST_CHANGED, F.AUTH_IP_NOT_ALLOWED, None, strength=Strength.STRONG,
    ),
    Scenario("key rotated with a straggler", straggler, K.KEY_DELETED, F.AUTH_INVALID_KEY, key="backend"),
    Scenario(
        "a wrong project id is configured", config('project_id = "proj_search"'),
        K.CONFIG_CHANGED, F.AUTH_WRONG_PROJECT, strength=Strength.STRONG,
    ),
    Scenario(
        "a wrong secret is deployed", secret("sk-svcacct-TESTshop-not-a-key-wrong"),
        K.KEY_ROTATED, F.AUTH_INVALID_KEY, key="backend", confidence=Confidence.LIKELY, strength=Strength.STRONG,
    ),
    Scenario(
        "another project's secret is deployed", secret(secret_of("search")),
        K.KEY_ROTATED, F.AUTH_WRONG_PROJECT, key="backend", strength=Strength.STRONG,
    ),
    Scenario("model retired", retired, K.MODEL_DELISTED, F.ACCESS_MODEL_RETIRED, None, model="gpt-4o"),
]  # fmt: skip


def noise(town: Town) -> None:
    """Much that has nothing to do with it, in the same project and everywhere."""
    town.office.add_user(ORGANIZATION, "new@example.com", "New Person")
    town.office.add_member("proj_shop", "new@example.com")
    town.office.add_service_account("proj_shop", "another-robot")
    for name in ("shop", "search"):
        for number in range(3, 6):
            town.world.create_key(secret_of(name, number), f"proj_{name}", f"spare {number}", owner=f"spare-{number}", by=BEN)
        town.world.revoke(secret_of(name, 5), by=BEN)
        town.world.throttle(f"proj_{name}", "gpt-5", requests=3, by=BEN)
        town.world.deny_model(f"proj_{name}", "gpt-4.1")
        town.office.hosted_tool(f"proj_{name}", "web_search", False)
        town.office.spend_alert(f"proj_{name}", 9_900, ["a@example.com"])
    town.office.activate_certificate("mtls", "proj_search")
    town.office.rename_project("proj_batch", "batch 2", by=BEN)
    town.office.audit(ORGANIZATION, "something.new", {"id": "x"})


def judge(town: Town, wanted: Scenario) -> IncidentRecord:
    """The incident of the project that is hit, with the right change first; and its diagnosis says so."""
    found = [each for each in town.incidents() if wanted.hit in each.projects and each.failure is wanted.failure]
    assert found, [(each.title, each.failure) for each in town.incidents()]
    one, listed = found[0], town.told(found[0])
    shown = [(each.event.kind.value, each.strength.name, each.score, each.text) for each in listed]
    assert listed, "nothing changed"
    first = listed[0]
    assert first.event.kind is wanted.kind, shown
    assert (first.event.project, first.event.key, first.event.model) == (wanted.project, wanted.key, wanted.model), shown
    assert first.strength >= wanted.strength, shown
    assert one.diagnosis.changed == first.text
    assert one.diagnosis.confidence is wanted.confidence, (one.diagnosis, shown)
    return town.record_of(one)


@pytest.mark.parametrize("wanted", SCENARIOS, ids=lambda each: each.name)
def test_the_right_change_is_first(play: Play, wanted: Scenario) -> None:
    async def act(town: Town) -> None:
        wanted.do(town)
        await town.live(minutes=3)
        judge(town, wanted)

    play(act)


@pytest.mark.parametrize("name", ["key deleted", "model denied", "project spend limit reached", "a wrong secret is deployed"])
def test_it_is_first_among_many_unrelated_changes(play: Play, name: str) -> None:
    wanted = next(each for each in SCENARIOS if each.name == name)

    async def act(town: Town) -> None:
        noise(town)
        await town.live(seconds=20)
        wanted.do(town)
        await town.live(minutes=3)
        record = judge(town, wanted)
        if wanted.hit == "shop":
            assert len(record.changed) > 8

    play(act)


@pytest.mark.parametrize(
    "do",
    [
        lambda town: town.world.rotate(secret_of("batch"), secret_of("batch", 2), grace=300),
        lambda town: town.office.hosted_tool("proj_shop", "web_search", False),
        lambda town: town.office.add_certificate(ORGANIZATION, "next", 1.0, START.timestamp() + 9e7),
        noise,
    ],
    ids=["key rotated without stragglers", "hosted tool", "certificate", "many"],
)
def test_what_breaks_nothing_is_kept_and_opens_nothing(play: Play, do: Callable[[Town], object]) -> None:
    async def act(town: Town) -> None:
        do(town)
        (town.folder / "batch.key").write_text(secret_of("batch", 2 if secret_of("batch", 2) in town.world.keys else 1))
        await town.live(minutes=65)
        assert town.incidents() == []
        told = changes.find(town.engine, Window(START, town.clock.now()))
        assert [each for each in told if each.source is not ChangeSource.CONFIGURATION]

    play(act)


def test_the_message_the_document_and_the_json_say_who_and_how_long_before(play: Play) -> None:
    async def act(town: Town) -> None:
        town.world.revoke(secret_of("shop"), by=BEN)
        await town.live(minutes=3)
        (one,) = town.incidents()
        said = one.diagnosis.changed or ""
        assert said.startswith("Key “backend” (sk-")
        assert "was deleted by Ben Bauer" in said
        assert said.endswith("before the first 401.")
        body = [row.body for row in outbox.log(town.engine, one.id, 10) if row.body]
        assert any(f"Changed just before: {said}" in text for text in body)
        record = town.record_of(one)
        assert "| explains it | Key “backend”" in markdown(record)
        assert '"explains": "proof"' in as_json(record)
        assert [event.text for event in record.events].count(f"Changed just before: {said}") == 1

    play(act)


def test_without_an_admin_key_it_says_that_it_does_not_know(play: Play) -> None:
    async def act(town: Town) -> None:
        town.world.revoke(secret_of("shop"), by=BEN)
        await town.live(minutes=3)
        (one,) = town.incidents()
        record = town.record_of(one)
        assert ranked(record.incident, record.changed) == ()
        assert one.diagnosis.changed is None
        assert not_known(record) == ("What changed at OpenAI is not known: no admin key is configured.",)

    play(act, record=False)


def test_a_log_that_cannot_be_read_is_said_and_the_difference_still_explains_it(play: Play) -> None:
    async def act(town: Town) -> None:
        town.office.administration_trouble("forbidden", "audit_logs")
        await town.live(minutes=6)
        town.world.revoke(secret_of("shop"), by=BEN)
        await town.live(minutes=3)
        wanted = next(each for each in SCENARIOS if each.name == "key deleted")
        record = judge(town, wanted)
        assert town.told(record.incident)[0].event.after is not None
        assert any(line.startswith("Audit log could not be read since ") for line in not_known(record))

    play(act)


def test_a_change_that_is_learned_later_sharpens_what_is_open(play: Play) -> None:
    async def act(town: Town) -> None:
        town.office.administration_trouble("forbidden")
        town.world.revoke(secret_of("shop"), by=BEN)
        await town.live(minutes=3)
        (one,) = town.incidents()
        assert one.diagnosis.changed is None
        town.office.heal_administration()
        await town.live(minutes=70)
        wanted = next(each for each in SCENARIOS if each.name == "key deleted")
        record = judge(town, wanted)
        assert record.incident.diagnosis.plain is not None
        assert replace(record.incident.diagnosis.plain, confidence=one.diagnosis.confidence).summary == one.diagnosis.summary

    play(act)
