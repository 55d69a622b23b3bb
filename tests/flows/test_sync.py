"""The organization's record, read again and again in virtual time: what changed is told once, and one failure is not another's."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from monitor import admin_sync, service
from monitor.admin_line import GIVE_UP_AFTER, Rank
from monitor.admin_record import Summary
from monitor.admin_sync import AdminSync
from monitor.clock import VirtualClock, VirtualTimeLoop
from monitor.domain.changes import ChangeEvent, ChangeKind, ChangeSource
from monitor.domain.coverage import Matched, coverage
from monitor.domain.organization import ItemKind
from monitor.domain.timeline import Window
from monitor.emulator.app import create_app
from monitor.emulator.world import World
from monitor.openai_api.organization import PROJECT_PARTS
from monitor.openai_api.transport import in_process
from monitor.organization_keeper import Loops, OrganizationKeeper, admin_client, opened
from monitor.poller import Poller
from monitor.store import around, changes, meta, queries
from monitor.store.engine import Engine
from monitor.store.organization import DAYS, HOURS, MINUTES
from monitor.store.record import Writer

START = datetime(2026, 11, 23, 3, tzinfo=UTC)
ADMIN = "sk-admin-TEST-bureau-not-a-key-0001"
ORGANIZATION = "org-TEST"
NAMES = ("checkout", "search", "batch")
K, P = ChangeKind, ItemKind


def secret_of(name: str) -> str:
    return f"sk-svcacct-TEST{name}-not-a-key-{name[0]}{len(name)}9"


def toml(folder: Path, more: str = "") -> str:
    head = f"""
[monitor]
database_url = "sqlite:///{folder}/monitor.db"
[[organizations]]
name = "acme"
id = "{ORGANIZATION}"
admin_key = "file:admin.key"
base_url = "http://127.0.0.1:9/v1"
{more}"""
    projects = [
        f"""
[[projects]]
name = "{name}"
project_id = "proj_{name}"
base_url = "http://127.0.0.1:9/v1"
models = ["gpt-4o"]
[[projects.keys]]
label = "backend"
secret = "file:{name}.key"
"""
        for name in NAMES
    ]
    return "\n".join([head, *projects])


class Bureau:
    """An organization of three watched projects and one that nobody watches, and the sync over it."""

    def __init__(self, folder: Path, loop: VirtualTimeLoop, more: str) -> None:
        self.folder = folder
        self.clock = VirtualClock(START, loop)
        self.world = World(lambda: self.clock.now().timestamp())
        for model in ("gpt-4o", "gpt-4.1", "gpt-5-pro"):
            self.world.add_model(model, requests_per_minute=10_000)
        (folder / "admin.key").write_text(ADMIN)
        for name in (*NAMES, "stranger"):
            self.world.add_project(f"proj_{name}", ORGANIZATION, name, created_at=START.timestamp() - 5e6)
            self.world.add_key(secret_of(name), f"proj_{name}", name="backend", created_at=START.timestamp() - 4e6)
            (folder / f"{name}.key").write_text(secret_of(name))
        self.record = self.world.administration
        self.record.add_user(ORGANIZATION, "ada@example.com", "Ada Byrne", "owner", created_at=1.0)
        self.record.add_admin_key(ORGANIZATION, ADMIN, "monitor", ["api.management.read"], created_at=1.0)
        (folder / "monitor.toml").write_text(toml(folder, more))
        self.loaded = service.load(None, {}, folder)
        self.transport = in_process(create_app(self.world))
        self.engine: Engine
        self.sync: AdminSync

    def poller(self) -> Poller:
        """A poller over the same, that need not poll."""
        settings = self.loaded.settings
        client = service.api_client(settings, self.transport)
        writer, salt = Writer(self.engine), meta.salt(self.engine)
        return Poller(settings, self.loaded.secrets, clock=self.clock, client=client, writer=writer, salt=salt)

    def opened(self) -> AbstractAsyncContextManager[AdminSync]:
        """A sync, as after a start."""
        [settings] = self.loaded.settings.organizations
        client = admin_client(self.loaded.secrets, self.transport)
        return opened(settings, client, self.engine, self.clock, lambda: self.loaded.settings, self.loaded.secrets)

    async def wait(self, **length: float) -> None:
        await asyncio.sleep(timedelta(**length).total_seconds())

    async def round(self, **later: float) -> list[ChangeEvent]:
        """Some time later: the log, then a round; what they told."""
        await self.wait(**(later or {"minutes": 30}))
        told = await self.sync.read_log()
        return [*told, *(await self.sync.round()).changes]

    def told(self, *kinds: ChangeKind) -> list[ChangeEvent]:
        """What is stored, oldest first."""
        ever = Window(START - timedelta(days=900), START + timedelta(days=900))
        found = [each for each in reversed(changes.find(self.engine, ever)) if each.source is not ChangeSource.CONFIGURATION]
        return [each for each in found if not kinds or each.kind in kinds]

    def items(self, kind: ItemKind, project: str | None = None) -> list[str]:
        found = queries.organization(self.engine, "acme", kinds=[kind], project=project)
        return sorted(item.id for item in found.of(kind))

    def gaps(self) -> list[tuple[str, str | None, str]]:
        return [(gap.part, gap.project, gap.reason) for gap in queries.organization(self.engine, "acme").gaps]


Scene = Callable[[Bureau], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a scene with a sync that has read everything once; no part of a key may be in the database then."""

    def runner(scene: Scene, more: str = "", *, first: bool = True) -> None:
        async def live() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            bureau = Bureau(tmp_path, loop, more)
            with service.store_of(bureau.loaded.settings) as bureau.engine:
                await bureau.poller().configure()
                async with bureau.opened() as bureau.sync:
                    await bureau.sync.begin()
                    if first:
                        await bureau.sync.round()
                        await bureau.sync.read_log()
                    await scene(bureau)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as loop_runner:
            loop_runner.run(live())
        for file in tmp_path.glob("monitor.db*"):
            content = file.read_bytes()
            assert b"not-a-key" not in content, f"a part of a key is in {file.name}"
            assert b"@example" not in content, f"an address is in {file.name}"

    return runner


# Reading --------------------------------------------------------------------------------------------------------------------------


def test_the_first_reading_tells_nothing_and_knows_everything(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        summary = await bureau.sync.once()
        assert (summary.changes, summary.failed, summary.refused) == ([], {}, None)
        assert summary.projects == 4
        assert summary.read[P.API_KEY.value] == 4
        assert bureau.told() == []
        assert bureau.items(P.PROJECT) == ["proj_batch", "proj_checkout", "proj_search", "proj_stranger"]
        assert len(bureau.items(P.API_KEY)) == 4
        assert bureau.gaps() == []
        assert queries.organizations(bureau.engine)["acme"] is not None

    play(scene, first=False)


def test_configured_secrets_are_joined_to_their_records(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        found = queries.key_matches(bureau.engine)
        assert [(each.project, each.matched, each.api_key_project) for each in found] == [
            (name, Matched.ONE, f"proj_{name}") for name in sorted(NAMES)
        ]
        known = queries.organization(bureau.engine, "acme")
        projects = (await inventory(bureau)).projects
        seen = coverage(projects, known, found)
        assert [item.id for item in seen.unwatched_projects] == ["proj_stranger"]
        assert (seen.gone_projects, seen.unknown_keys) == ((), ())
        bureau.record.archive_project("proj_search")
        bureau.world.revoke(secret_of("batch"))
        await bureau.round()
        known = queries.organization(bureau.engine, "acme")
        seen = coverage(projects, known, queries.key_matches(bureau.engine))
        assert [project.name for project in seen.gone_projects] == ["search"]
        assert [(project.name, key.label) for project, key in seen.unknown_keys] == [("batch", "backend")]

    play(scene)


@pytest.mark.parametrize("form", ["documented", "prefixed", "starred"])
def test_however_openai_shows_keys_each_secret_finds_its_record(play: Callable[..., None], form: str) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.redaction(form)
        await bureau.sync.round()
        assert [(each.matched, each.api_key_project) for each in queries.key_matches(bureau.engine)] == [
            (Matched.ONE, f"proj_{name}") for name in sorted(NAMES)
        ]
        assert ours(bureau) == {"monitor": True}
        shown = queries.organization(bureau.engine, "acme", kinds=[P.API_KEY, P.ADMIN_KEY]).items
        assert all(len(item.facts["redacted_value"]) <= len("sk-…0000") for item in shown)

    play(scene, first=False)


def test_a_secret_that_looks_like_two_keys_is_asked_about_and_the_configuration_answers(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        twin = "sk-svcacct-TESTtwin-not-a-key-too-" + secret_of("search")[-4:]
        bureau.world.add_key(twin, "proj_search", name="twin")
        await bureau.round()
        [unsure] = [each for each in queries.key_matches(bureau.engine) if each.project == "search"]
        assert (unsure.matched, unsure.api_key) == (Matched.AMBIGUOUS, None)
        [(_, key, alike)] = queries.covering(bureau.engine).coverage.unproven_keys
        assert (key.label, {item.name for item in alike}) == ("backend", {"backend", "twin"})
        number = bureau.record.keys[secret_of("search")].id
        text = toml(bureau.folder).replace('"file:search.key"', f'"file:search.key"\nkey_id = "{number}"')
        (bureau.folder / "monitor.toml").write_text(text)
        bureau.loaded = service.load(None, {}, bureau.folder)
        await bureau.round()
        [sure] = [each for each in queries.key_matches(bureau.engine) if each.project == "search"]
        assert (sure.matched, sure.api_key, sure.api_key_project) == (Matched.ONE, number, "proj_search")

    play(scene)


async def inventory(bureau: Bureau) -> Any:
    from monitor.config import inventory as made

    return made(bureau.loaded.settings, bureau.loaded.secrets, meta.salt(bureau.engine))


def test_that_a_key_is_nobody_s_is_said_only_when_all_keys_were_read(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.world.revoke(secret_of("batch"))
        bureau.record.administration_trouble("error", "api_keys", project="proj_stranger")
        await bureau.sync.round()
        assert {each.project for each in queries.key_matches(bureau.engine)} == {"checkout", "search"}
        bureau.record.heal_administration()
        await bureau.round()
        found = {each.project: each.matched for each in queries.key_matches(bureau.engine)}
        assert found["batch"] is Matched.NONE

    play(scene, first=False)


def ours(bureau: Bureau) -> dict[str, Any]:
    """Of each admin key by name, whether it is ours, as stored."""
    return {item.name: item.facts.get("ours") for item in queries.organization(bureau.engine, "acme", kinds=[P.ADMIN_KEY]).items}


def test_the_admin_key_that_reads_is_known_and_its_expiry_is_ours(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        assert ours(bureau) == {"monitor": True}
        age, own = queries.covering(bureau.engine).standing["acme"]
        assert own is not None
        assert own.name == "monitor"
        assert (age.parts, age.unread) == (4 * 8, 0)
        ends = (bureau.clock.now() + timedelta(days=6)).timestamp()
        fresh = "sk-admin-TEST-second-not-a-key-0002"
        bureau.record.add_admin_key(ORGANIZATION, fresh, "monitor 2", ["api.management.read"], expires_at=ends)
        await bureau.round()
        assert ours(bureau) == {"monitor": True, "monitor 2": False}
        [one] = [each for each in queries.deadlines(bureau.engine, bureau.clock.now()).deadlines if "admin key" in each.title]
        assert one.title == "admin key “monitor 2” expires"
        told = bureau.told()
        (bureau.folder / "admin.key").write_text(fresh)  # without a restart
        await bureau.round()
        assert ours(bureau) == {"monitor": False, "monitor 2": True}
        [one] = [each for each in queries.deadlines(bureau.engine, bureau.clock.now()).deadlines if "admin key" in each.title]
        assert one.title == "our admin key “monitor 2” expires"
        assert bureau.told() == told  # that it is ours is no change of theirs

    play(scene)


def test_which_admin_key_is_ours_is_not_guessed(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        twin = ADMIN[:12] + "-twin-not-a-key-" + ADMIN[-4:]
        bureau.record.add_admin_key(ORGANIZATION, twin, "twin", expires_at=bureau.clock.now().timestamp() + 9e5)
        await bureau.round()
        assert ours(bureau) == {"monitor": None, "twin": None}
        assert queries.covering(bureau.engine).standing["acme"][1] is None
        [(part, project, reason)] = bureau.gaps()
        assert (part, project) == ("admin_key", None)
        assert "which one is the monitor's own is not certain: several look alike" in reason
        known = queries.deadlines(bureau.engine, bureau.clock.now())
        assert f"Expiry of admin keys: {reason}." in known.open_questions
        [one] = [each for each in known.deadlines if "admin key" in each.title]
        assert "If it is the monitor's own" in one.breaks
        bureau.record.revoke_admin_key(twin)
        await bureau.round()
        assert ours(bureau) == {"monitor": True}
        assert bureau.gaps() == []

    play(scene)


def test_an_admin_key_that_stands_on_no_list_is_said_to_be_none_of_them(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.organizations[ORGANIZATION].admin_keys.get(
            next(key.record.id for key in bureau.record.organizations[ORGANIZATION].admin_keys)
        ).record.redacted = "sk-admin-zzz...zzz"
        summary = await bureau.sync.round()
        assert ours(bureau) == {"monitor": None}
        [(_, _, reason)] = bureau.gaps()
        assert reason.endswith("none on the list looks like it")
        assert summary.failed == {}  # all could be read
        from monitor import sync_words

        assert "admin keys: which one is the monitor's own" in "\n".join(sync_words.told("acme", summary, START))

    play(scene)


# Changes --------------------------------------------------------------------------------------------------------------------------

Act = Callable[[Bureau], None]
HAPPENS: list[tuple[str, Act, Act, ChangeKind, str, dict[str, Any]]] = [
    (
        "key deleted", lambda b: None, lambda b: b.world.revoke(secret_of("checkout"), by="ada@example.com"),
        K.KEY_DELETED, "Key “backend” (sk-…c89) was deleted.",
        {"project": "checkout", "key": "backend", "actor": "Ada Byrne", "source": ChangeSource.AUDIT_LOG},
    ),
    (
        "limit lowered", lambda b: None, lambda b: b.world.throttle("proj_checkout", "gpt-4o", requests=500, by="ada@example.com"),
        K.RATE_LIMIT_LOWERED, "The limit of gpt-4o was lowered: 10,000 → 500 requests a minute.",
        {"project": "checkout", "model": "gpt-4o", "subject": "rl-gpt-4o", "actor": "Ada Byrne", "source": ChangeSource.AUDIT_LOG},
    ),
    (
        "limit raised", lambda b: b.world.throttle("proj_checkout", "gpt-4o", requests=500),
        lambda b: b.world.throttle("proj_checkout", "gpt-4o", requests=900),
        K.RATE_LIMIT_RAISED, "The limit of gpt-4o was raised: 500 → 900 requests a minute.", {"project": "checkout"},
    ),
    (
        "limit reset", lambda b: b.world.throttle("proj_checkout", "gpt-4o", requests=500),
        lambda b: b.world.throttle("proj_checkout", "gpt-4o", requests=None, tokens=None),
        K.RATE_LIMIT_RAISED, "The limit of gpt-4o was raised: 500 → 10,000 requests a minute.", {"project": "checkout"},
    ),
    (
        "model denied", lambda b: None, lambda b: b.world.deny_model("proj_checkout", "gpt-4o"),
        K.MODEL_REMOVED, "gpt-4o is no longer allowed (deny list).",
        {"project": "checkout", "model": "gpt-4o", "actor": None, "source": ChangeSource.SYNC},
    ),
    (
        "model allowed", lambda b: b.world.deny_model("proj_checkout", "gpt-4o"),
        lambda b: b.world.allow_model("proj_checkout", "gpt-4o"),
        K.MODEL_ADDED, "gpt-4o is allowed again.", {"project": "checkout", "model": "gpt-4o"},
    ),
    (
        "tool off", lambda b: None, lambda b: b.record.hosted_tool("proj_search", "web_search", False),
        K.TOOL_DISABLED, "Web search, a tool that OpenAI hosts, is no longer allowed.",
        {"project": "search", "subject": "web_search"},
    ),
    (
        "spend limit reached", lambda b: b.record.spend_limit("proj_search", 50_000),
        lambda b: b.record.reach_spend_limit("proj_search"),
        K.SPEND_LIMIT_REACHED, "The project's spend limit of $500 a month is reached: OpenAI refuses its requests.",
        {"project": "search"},
    ),
    (
        "spend limit lowered", lambda b: b.record.spend_limit("proj_search", 50_000),
        lambda b: b.record.spend_limit("proj_search", 30_050),
        K.SPEND_LIMIT_CHANGED, "The project's spend limit was lowered: $500 a month → $300.50 a month.", {"project": "search"},
    ),
    (
        "spend alert", lambda b: None, lambda b: b.record.spend_alert("proj_search", 9_900, ["ada@example.com"]),
        K.SPEND_ALERT_CHANGED, "The project has a new spend alert at $99 a month.", {"project": "search"},
    ),
    (
        "member added", lambda b: b.record.add_user(ORGANIZATION, "bo@example.com", "Bo Lind", created_at=1.0),
        lambda b: b.record.add_member("proj_search", "bo@example.com", by="ada@example.com"),
        K.MEMBER_ADDED, "Bo Lind joined the project as member.", {"project": "search", "actor": "Ada Byrne"},
    ),
    (
        "service account", lambda b: None, lambda b: b.record.add_service_account("proj_search", "nightly", by="ada@example.com"),
        K.SERVICE_ACCOUNT_CREATED, "Service account “nightly” was created as member.", {"project": "search", "actor": "Ada Byrne"},
    ),
    (
        "project archived", lambda b: None, lambda b: b.record.archive_project("proj_search", by="ada@example.com"),
        K.PROJECT_ARCHIVED, "Project “search” was archived.",
        {"project": "search", "actor": "Ada Byrne", "source": ChangeSource.AUDIT_LOG},
    ),
    (
        "project renamed", lambda b: None, lambda b: b.record.rename_project("proj_search", "seek", by="ada@example.com"),
        K.PROJECT_CHANGED, "Project “search” is now called “seek” at OpenAI.", {"project": "search", "actor": "Ada Byrne"},
    ),
    (
        "project created", lambda b: None, lambda b: b.world.add_project("proj_new", ORGANIZATION, "new"),
        K.PROJECT_CREATED, "Project “new” was created.", {"project": None, "project_id": "proj_new"},
    ),
    (
        "role changed", lambda b: b.record.add_user(ORGANIZATION, "bo@example.com", "Bo Lind", created_at=1.0),
        lambda b: b.record.change_role("bo@example.com", "owner", by="ada@example.com"),
        K.MEMBER_CHANGED, "Bo Lind was changed: the role is owner, before reader.", {"project": None, "actor": "Ada Byrne"},
    ),
    (
        "addresses", lambda b: None,
        lambda b: b.record.ip_allowlist("proj_search", True, ["198.51.100.7/32"], by="ada@example.com"),
        K.IP_ALLOWLIST_CHANGED, "The list of allowed addresses “offices” was created.", {"project": "search", "actor": "Ada Byrne"},
    ),
    (
        "admin key", lambda b: None,
        lambda b: b.record.add_admin_key(ORGANIZATION, "sk-admin-TEST-other-not-a-key-0777", "terraform"),
        K.ADMIN_KEY_CHANGED, "Admin key “terraform” (sk-…777) of Olive Owner was created.", {"project": None},
    ),
    (
        "new word", lambda b: None,
        lambda b: b.record.audit("proj_search", "moon.phase.changed", {"id": "moon_1"}, by="ada@example.com"),
        K.OTHER, "The audit log tells of “moon.phase.changed” (moon_1).", {"project": "search", "actor": "Ada Byrne"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "act", "kind", "text", "facts"), [one[1:] for one in HAPPENS], ids=[one[0] for one in HAPPENS])
def test_what_happens_is_told_once_though_it_is_told_twice(
    play: Callable[..., None], before: Act, act: Act, kind: ChangeKind, text: str, facts: dict[str, Any]
) -> None:
    async def scene(bureau: Bureau) -> None:
        before(bureau)
        await bureau.round()
        known = {event.id for event in bureau.told()}
        await bureau.wait(minutes=5)
        at = bureau.clock.now()
        act(bureau)
        await bureau.round()
        new = [event for event in bureau.told() if event.id not in known]
        [event] = [each for each in new if each.text == text]
        assert event.kind is kind
        assert [each for each in new if each.kind is kind] == [event] or kind is K.IP_ALLOWLIST_CHANGED
        assert {name: getattr(event, name) for name in facts} == facts
        if event.source is ChangeSource.AUDIT_LOG:
            assert event.at == at.replace(microsecond=0)
            assert event.after is None
        else:
            assert event.after is not None
            assert event.after < at <= event.at
        await bureau.round(hours=2)
        await bureau.sync.round()
        assert {event.id for event in bureau.told()} == known | {event.id for event in new}

    play(scene)


def test_what_only_readings_told_gets_its_moment_and_actor_when_the_log_tells_it_later(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        await bureau.wait(minutes=10)
        at = bureau.clock.now()
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=500, by="ada@example.com")
        await bureau.wait(minutes=3)
        await bureau.sync.round()
        [seen] = bureau.told(K.RATE_LIMIT_LOWERED)
        assert (seen.source, seen.actor) == (ChangeSource.SYNC, None)
        await bureau.sync.read_log()
        await bureau.sync.read_log()
        [exact] = bureau.told()
        assert (exact.kind, exact.source, exact.actor, exact.text) == (
            K.RATE_LIMIT_LOWERED, ChangeSource.AUDIT_LOG, "Ada Byrne", seen.text,
        )  # fmt: skip
        assert exact.at == at.replace(microsecond=0)

    play(scene)


def test_the_same_limit_lowered_again_another_day_is_another_change(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        for _ in range(2):
            bureau.world.throttle("proj_checkout", "gpt-4o", requests=500)
            await bureau.round(hours=20)
            bureau.world.throttle("proj_checkout", "gpt-4o", requests=None)
            await bureau.round(hours=20)
        assert [event.kind for event in bureau.told()] == [K.RATE_LIMIT_LOWERED, K.RATE_LIMIT_RAISED] * 2

    play(scene)


def test_lowered_and_raised_between_two_readings_is_told_by_the_log_with_what_was_before(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        await bureau.wait(minutes=5)
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=500)
        await bureau.wait(minutes=5)
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=10_000)
        await bureau.round()
        assert [event.text for event in bureau.told()] == [
            "The limit of gpt-4o was lowered: 10,000 → 500 requests a minute.",
            "The limit of gpt-4o was raised: 500 → 10,000 requests a minute.",
        ]

    play(scene)


def test_the_owner_of_a_key_who_leaves_is_told_with_the_key_that_is_refused_from_then_on(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.add_user(ORGANIZATION, "bo@example.com", "Bo Lind", created_at=1.0)
        secret = "sk-proj-TESTperson-not-a-key-person77"
        bureau.world.add_key(secret, "proj_search", name="notebook", owner="bo@example.com", created_at=1.0)
        (bureau.folder / "search.key").write_text(secret)
        await bureau.round()
        known = {event.id for event in bureau.told()}
        bureau.record.remove_user("bo@example.com", by="ada@example.com")
        await bureau.round()
        new = {event.text: event for event in bureau.told() if event.id not in known}
        lost = new["Bo Lind, who owns it, lost access to the project: Key “backend” (sk-…n77) is refused."]
        assert (lost.kind, lost.project, lost.key) == (K.MEMBER_CHANGED, "search", "backend")
        assert new["Bo Lind left the project."].kind is K.MEMBER_REMOVED
        gone = new["Bo Lind left the organization."]
        assert (gone.actor, gone.project, gone.source) == ("Ada Byrne", None, ChangeSource.AUDIT_LOG)
        assert len(new) == 3

    play(scene)


def test_a_date_that_comes_is_told_at_its_moment_and_once(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        at = bureau.clock.now() + timedelta(hours=3)
        bureau.record.expire_key(secret_of("checkout"), at.timestamp())
        bureau.record.add_certificate(ORGANIZATION, "mtls", 1.0, at.timestamp() + 60, created_at=2.0)
        await bureau.round()
        await bureau.round(hours=4)
        await bureau.sync.tell_dates()
        key, certificate = bureau.told(K.KEY_EXPIRED, K.CERTIFICATE_EXPIRED)
        assert (key.text, key.at) == ("Key “backend” (sk-…c89) expired.", at.replace(microsecond=0))
        assert (key.project, key.key, key.source) == ("checkout", "backend", ChangeSource.CALENDAR)
        assert (certificate.text, certificate.project) == ("Certificate “mtls” expired.", None)
        async with bureau.opened() as again:
            await again.begin()
            await again.tell_dates()
        assert len(bureau.told(K.KEY_EXPIRED)) == 1

    play(scene)


def test_a_key_that_expired_before_the_record_was_kept_is_no_news(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.expire_key(secret_of("checkout"), START.timestamp() - 3600)
        await bureau.sync.round()
        await bureau.sync.tell_dates()
        assert bureau.told(K.KEY_EXPIRED) == []

    play(scene, first=False)


# Failures -------------------------------------------------------------------------------------------------------------------------


def test_a_part_of_one_project_that_fails_keeps_its_state_and_leaves_the_others_alone(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        keys = bureau.items(P.API_KEY)
        bureau.record.administration_trouble("forbidden", "api_keys", project="proj_checkout")
        bureau.world.revoke(secret_of("checkout"))
        bureau.world.revoke(secret_of("search"))
        await bureau.wait(hours=1)
        summary = await bureau.sync.round()
        assert list(summary.failed) == [("api_key", "proj_checkout")]
        assert summary.read[P.API_KEY.value] == 3
        assert len(bureau.items(P.API_KEY)) == len(keys) - 1
        [(part, project, reason)] = bureau.gaps()
        assert (part, project) == ("api_key", "proj_checkout")
        assert "HTTP 403" in reason
        assert [event.project for event in bureau.told(K.KEY_DELETED)] == ["search"]
        bureau.record.heal_administration()
        await bureau.round()
        assert bureau.gaps() == []
        assert [event.project for event in bureau.told(K.KEY_DELETED)] == ["search", "checkout"]

    play(scene)


@pytest.mark.parametrize("trouble", ["same_page", "endless", "not_json", "error"])
def test_answers_that_never_end_or_make_no_sense_hold_nothing_up(play: Callable[..., None], trouble: str) -> None:
    async def scene(bureau: Bureau) -> None:
        before = {kind: bureau.items(kind) for kind in P}
        bureau.record.administration_trouble(trouble, "service_accounts")
        await bureau.wait(hours=1)
        summary = await bureau.sync.round()
        assert {part for part, _ in summary.failed} == {"service_account"}
        assert {kind: bureau.items(kind) for kind in P} == before
        assert bureau.told() == []

    play(scene)


def test_an_endpoint_that_fails_for_everybody_is_given_up_and_the_rest_is_read(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        for number in range(60):
            bureau.world.add_project(f"proj_{number}", ORGANIZATION, f"p{number}", created_at=1.0)
        bureau.record.administration_trouble("error", "api_keys")
        summary = await bureau.sync.round()
        asked = sum(1 for place in summary.failed if place[0] == "api_key")
        assert asked == 64
        assert summary.read[P.MODEL_PERMISSIONS.value] == 64
        # 64 projects were not each asked four times.
        others = sum(summary.read.values())
        assert summary.requests <= others + GIVE_UP_AFTER + admin_sync.AT_ONCE

    play(scene, first=False)


def test_too_many_requests_slow_it_down_and_everything_is_read(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.administration_limit(per_second=3)
        summary = await bureau.sync.round()
        assert summary.failed == {}
        assert bureau.sync.line.pace.now_per_second < 10
        bureau.record.administration_limit()
        bureau.record.administration_trouble("limited", "users", seconds=20)
        began = bureau.clock.now()
        assert await bureau.sync.read_part(admin_sync.ORGANIZATION_PARTS[1], None, Rank.ROUND) is None
        assert bureau.clock.now() - began >= timedelta(seconds=20)

    play(scene, first=False)


@pytest.mark.parametrize(("many", "slower"), [(True, True), (False, False)])
def test_any_answer_of_429_halves_the_pace_whether_or_not_it_says_how_long_to_wait(*, many: bool, slower: bool) -> None:
    async def act() -> float:
        from monitor.admin_line import Line
        from monitor.openai_api.admin import Unreadable

        async def ask(path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
            raise Unreadable("rate limit (HTTP 429)" if many else "gone (HTTP 410)", many=many)

        line = Line(ask, 10)
        with pytest.raises(Unreadable):
            await line.at("users", Rank.ROUND)("users", {})
        return line.pace.now_per_second

    assert asyncio.run(act()) == (5 if slower else 10)


def test_requests_are_spread_evenly_and_never_more_than_agreed(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        loop = asyncio.get_running_loop()
        turns: list[float] = []

        async def many(rank: Rank) -> None:
            for _ in range(10):
                await bureau.sync.line.pace.turn(rank)
                turns.append(loop.time())

        await asyncio.gather(many(Rank.ROUND), many(Rank.TURNS), many(Rank.URGENT))
        assert min(b - a for a, b in pairwise(turns)) >= 0.199

    play(scene, "[organizations.sync]\nrequests_per_second = 5\n", first=False)


def test_the_urgent_is_asked_before_the_rest() -> None:
    async def act() -> list[str]:
        from monitor.admin_line import Pace

        pace, order = Pace(10), []

        async def one(name: str, rank: Rank) -> None:
            await pace.turn(rank)
            order.append(name)

        waiting = [asyncio.create_task(one(f"turn{number}", Rank.TURNS)) for number in range(3)]
        await asyncio.sleep(0.15)
        waiting[2].cancel()
        urgent = asyncio.create_task(one("urgent", Rank.URGENT))
        waiting.append(asyncio.create_task(one("later", Rank.TURNS)))
        await asyncio.gather(*waiting, urgent, return_exceptions=True)
        return order

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(act()) == ["turn0", "turn1", "urgent", "later"]


def test_an_admin_key_that_is_revoked_closes_everything_and_one_that_replaces_it_opens_it_without_a_restart(
    play: Callable[..., None],
) -> None:
    async def scene(bureau: Bureau) -> None:
        loops = asyncio.create_task(Loops(bureau.sync, bureau.clock, bureau.loaded.secrets).run())
        await bureau.wait(minutes=10)
        assert bureau.gaps() == []
        keys = bureau.items(P.API_KEY)
        bureau.record.revoke_admin_key(ADMIN)
        await bureau.wait(hours=2)
        reasons = {(part, project): reason for part, project, reason in bureau.gaps()}
        for part in (P.PROJECT, P.API_KEY, P.RATE_LIMIT, P.MODEL_PERMISSIONS, P.SPEND_LIMIT):
            assert reasons[part.value, None] == "the admin key is refused (HTTP 401)"
        for part in ("audit_log", "usage", "costs"):
            assert (part, None) in reasons
        assert bureau.items(P.API_KEY) == keys
        assert bureau.told() == []
        fresh = "sk-admin-TEST-fresh-not-a-key-0002"
        bureau.record.add_admin_key(ORGANIZATION, fresh, "monitor 2", ["api.management.read"])
        (bureau.folder / "admin.key").write_text(fresh)
        await bureau.wait(minutes=2)
        assert bureau.gaps() == []
        texts = [event.text for event in bureau.told()]
        assert any("monitor" in text for text in texts)
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)

    play(scene)


def test_without_a_usable_admin_key_nothing_is_asked(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        (bureau.folder / "admin.key").write_text(secret_of("checkout"))  # a project's: it opens no record
        summary = await bureau.sync.once()
        assert summary.requests == 0
        assert summary.refused is not None
        assert "is no admin key" in summary.refused
        assert "not-a-key" not in summary.refused

    play(scene, first=False)


def test_a_project_that_is_archived_is_no_gap_and_is_asked_no_more(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.archive_project("proj_search")
        await bureau.wait(minutes=1)
        await bureau.sync.read_part(next(part for part in PROJECT_PARTS if part.kind is P.API_KEY), "proj_search", Rank.ROUND)
        assert [project for _, project, _ in bureau.gaps()] == ["proj_search"]
        summary = (await bureau.round(), bureau.sync.summary)[1]
        assert bureau.gaps() == []
        assert summary.read[P.API_KEY.value] == 3

    play(scene)


# Two logs -------------------------------------------------------------------------------------------------------------------------

OVERAGE = "tenant.billing.overage_limit.updated"


def test_both_logs_are_read_with_one_request_each_and_each_has_its_own_cursor(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        await bureau.wait(minutes=10)
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=500, by="ada@example.com")
        bureau.record.audit(ORGANIZATION, "tenant.policy.updated", {"id": "policy_1", "name": "no eu"}, by="ada@example.com")
        before = bureau.sync.requests
        told = await bureau.sync.read_log()
        assert {event.text for event in told} == {
            "The limit of gpt-4o was lowered: 10,000 → 500 requests a minute.", "Policy “no eu” was changed.",
        }  # fmt: skip
        assert {event.actor for event in told} == {"Ada Byrne"}
        assert bureau.sync.requests - before == 2 + 1  # and the limits, to which the ordinary one leads
        assert all(bureau.sync.state(part).read_until is not None for part in ("audit_log", "tenant_audit_log"))
        before = bureau.sync.requests
        assert await bureau.sync.read_log() == []
        assert bureau.sync.requests - before == 2

    play(scene)


def test_chatter_of_the_tenant_s_log_is_no_change(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        for number in range(150):
            bureau.record.audit(ORGANIZATION, "tenant.workload_identity.access_token.issued", {"id": f"tok_{number}"})
            bureau.record.audit(ORGANIZATION, "tenant.principal_authentication_policy.resolved", {"id": f"user-{number}"})
            bureau.record.audit(ORGANIZATION, "login.succeeded", {"id": f"user-{number}"})
        assert await bureau.sync.read_log() == []
        assert bureau.told() == []

    play(scene)


@pytest.mark.parametrize(("lost", "other"), [("audit_logs", "tenant_audit_logs"), ("tenant_audit_logs", "audit_logs")])
@pytest.mark.parametrize("trouble", ["forbidden", "absent", "error", "not_json", "same_page"])
def test_one_log_that_cannot_be_read_leaves_the_other_alone_and_is_resumed_where_it_was(
    play: Callable[..., None], trouble: str, lost: str, other: str
) -> None:
    def happens(bureau: Bureau, number: int) -> None:
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=500 + number, by="ada@example.com")
        bureau.record.audit(ORGANIZATION, "tenant.policy.updated", {"id": f"policy_{number}"}, by="ada@example.com")

    async def scene(bureau: Bureau) -> None:
        part, whole = lost.removesuffix("s"), other.removesuffix("s")
        bureau.record.administration_trouble(trouble, lost)
        cursor = bureau.sync.state(part).read_until
        assert cursor is not None
        for number in range(3):  # three hours: more than is read twice
            await bureau.wait(hours=1)
            happens(bureau, number)
            await bureau.sync.read_log()
        assert [place[0] for place in bureau.sync.summary.failed] == [part]
        assert [gap[0] for gap in bureau.gaps()] == [part]
        assert bureau.sync.state(part).read_until == cursor
        assert bureau.sync.state(whole).reason is None
        kinds = [K.RATE_LIMIT_LOWERED, K.RATE_LIMIT_RAISED, K.RATE_LIMIT_CHANGED] if part == "audit_log" else [K.POLICY_CHANGED]
        untold = [event for event in bureau.told(*kinds) if event.source is ChangeSource.AUDIT_LOG]
        assert untold == [] or trouble == "same_page"  # of which the first page is good
        assert len([event for event in bureau.told() if event not in untold and event.source is ChangeSource.AUDIT_LOG]) == 3
        await bureau.sync.round()
        assert [gap[0] for gap in bureau.gaps()] == [part]  # a round does not hide it
        bureau.record.heal_administration()
        await bureau.wait(minutes=10)
        async with bureau.opened() as again:  # after a restart
            await again.begin()
            assert again.state(part).read_until == cursor.replace(microsecond=cursor.microsecond // 1000 * 1000)
            await again.read_log()
        assert len([event for event in bureau.told() if event.source is ChangeSource.AUDIT_LOG]) == 6
        assert bureau.gaps() == []

    play(scene)


def test_an_organization_without_the_second_log_is_said_once_and_alarms_nobody(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        from monitor import sync_words

        bureau.record.administration_trouble("absent", "tenant_audit_logs")
        summary = await bureau.sync.once()
        assert summary.refused is None
        lines = [line for line in sync_words.told("acme", summary, bureau.clock.now()) if "not read" in line]
        assert lines == ["  not read: the tenant's audit log: OpenAI knows no such thing (HTTP 404)"]
        assert [gap[0] for gap in bureau.gaps()] == ["tenant_audit_log"]
        assert around.gaps(bureau.engine)[0] == ()

    play(scene, first=False)


@pytest.mark.parametrize("late", ["audit_logs", "tenant_audit_logs"])
def test_what_stands_in_both_logs_is_told_once_whichever_is_read_first(play: Callable[..., None], late: str) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.add_user(ORGANIZATION, "bo@example.com", "Bo Lind", created_at=1.0)
        bureau.record.add_service_account("proj_search", "nightly", by="ada@example.com")
        await bureau.round()
        known = {event.id for event in bureau.told()}
        bureau.record.administration_trouble("error", late)
        bureau.world.create_key("sk-proj-TESTnew-not-a-key-new-new", "proj_search", "new", by="ada@example.com")
        bureau.record.remove_service_account("proj_search", "nightly", by="ada@example.com")
        bureau.record.change_role("bo@example.com", "owner", by="ada@example.com")
        bo = bureau.record._people["bo@example.com"].id
        bureau.record.audit(ORGANIZATION, "tenant.user.updated", {"id": bo, "role": "owner"}, by="ada@example.com")
        await bureau.sync.read_log()
        bureau.record.heal_administration()
        await bureau.wait(minutes=10)
        for _ in range(2):
            await bureau.sync.read_log()
            await bureau.sync.round()
        new = [event for event in bureau.told() if event.id not in known]
        assert sorted(event.kind for event in new) == [K.KEY_CREATED, K.MEMBER_CHANGED, K.SERVICE_ACCOUNT_DELETED]
        assert {event.actor for event in new} == {"Ada Byrne"}
        assert [event.project for event in new if event.kind is not K.MEMBER_CHANGED] == ["search", "search"]

    play(scene)


def test_the_tenant_s_log_leads_to_what_it_tells_of(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.spend_limit(ORGANIZATION, 90_000)
        await bureau.round()
        [account] = bureau.record.projects["proj_search"].service_accounts
        bureau.record.spend_limit(ORGANIZATION, 1_000)
        bureau.record.audit(ORGANIZATION, OVERAGE, by="ada@example.com")
        key = bureau.record.keys.pop(secret_of("search"))  # the token is gone, and the ordinary log says nothing of it
        bureau.record.projects["proj_search"].keys.remove(key.id)
        bureau.record.audit(ORGANIZATION, "tenant.service_account.token.revoked", {"id": account.id}, by="ada@example.com")
        await bureau.wait(minutes=5)
        before = bureau.sync.requests
        await bureau.sync.read_log()
        assert bureau.sync.requests - before == 2 + 2 + 2  # the logs; the organization's money; the project's accounts and keys
        told = {event.text: event for event in bureau.told()}
        assert told["A token of service account “backend” was revoked."].project == "search"
        assert told["Key “backend” (sk-…s69) was deleted."].source is ChangeSource.SYNC
        assert told["The organization's spend limit was lowered: $900 a month → $10 a month."].source is ChangeSource.SYNC
        assert told["The organization's limit of overage was changed."].actor == "Ada Byrne"

    play(scene)


# Time -----------------------------------------------------------------------------------------------------------------------------


def test_after_a_restart_it_goes_on_where_it_was(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        await bureau.wait(minutes=10)
        bureau.world.throttle("proj_checkout", "gpt-4o", requests=500)
        bureau.world.revoke(secret_of("search"))
        async with bureau.opened() as again:
            await again.begin()
            loops = asyncio.create_task(Loops(again, bureau.clock, bureau.loaded.secrets).run())
            await bureau.wait(seconds=30)
            assert {event.kind for event in bureau.told()} == {K.RATE_LIMIT_LOWERED, K.KEY_DELETED}
            read = queries.organization(bureau.engine, "acme")
            assert read.synced_at is not None
            assert read.synced_at < START + timedelta(minutes=5)  # the next round is not yet due
            await bureau.wait(hours=1)
            synced = queries.organizations(bureau.engine)["acme"]
            assert synced is not None
            assert synced > START + timedelta(minutes=50)
            loops.cancel()
            await asyncio.gather(loops, return_exceptions=True)
        assert len(bureau.told()) == 2

    play(scene)


def test_it_stops_promptly_in_the_middle_of_everything(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.administration_trouble("limited", "api_keys")
        loops = asyncio.create_task(Loops(bureau.sync, bureau.clock, bureau.loaded.secrets).run())
        await bureau.wait(seconds=1)
        began = asyncio.get_running_loop().time()
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 0.1

    play(scene, first=False)


def test_of_many_projects_every_part_is_read_in_time_what_decides_first(play: Callable[..., None], monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_sync, "ROUND_MOST", 10.0)  # a hundred questions

    async def scene(bureau: Bureau) -> None:
        for number in range(26):
            bureau.world.add_project(f"proj_{number}", ORGANIZATION, f"p{number}", created_at=1.0)
        summary = await bureau.sync.round(most=10.0)
        assert summary.read[P.API_KEY.value] == summary.read[P.MODEL_PERMISSIONS.value] == 30
        assert 0 < summary.left < 30 * 7
        assert queries.organizations(bureau.engine)["acme"] is not None
        loops = asyncio.create_task(Loops(bureau.sync, bureau.clock, bureau.loaded.secrets).run())
        await bureau.wait(minutes=58)
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)
        known = [bureau.sync.state(part.kind.value, f"proj_{number}").read_at for part in PROJECT_PARTS for number in range(26)]
        assert known.count(None) == 26  # certificates, which the organization has none of

    play(scene, first=False)


async def many(bureau: Bureau, count: int) -> None:
    """So many more projects, there before anybody looked."""
    for number in range(count):
        bureau.world.add_project(f"proj_{number}", ORGANIZATION, f"p{number}", created_at=1.0)


def test_what_was_never_read_is_read_at_full_pace_also_after_a_restart(play: Callable[..., None], monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_sync, "ROUND_MOST", 10.0)

    async def scene(bureau: Bureau) -> None:
        await many(bureau, 96)  # 100 projects have 800 parts: eighty seconds at ten a second
        loops = asyncio.create_task(Loops(bureau.sync, bureau.clock, bureau.loaded.secrets).run())
        await bureau.wait(seconds=40)
        age = bureau.sync.age()
        assert age.parts == 100 * 8
        assert 800 - 400 <= age.unread < 800 - 300
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)
        async with bureau.opened() as again:
            await again.begin()
            assert (again.age().parts, again.age().unread) == (age.parts, age.unread)
            loops = asyncio.create_task(Loops(again, bureau.clock, bureau.loaded.secrets).run())
            await bureau.wait(seconds=60)
            assert again.age().unread == 0
            requests = again.requests
            await bureau.wait(minutes=20)
            assert again.requests - requests < 60  # the log and usage; nothing is read twice
            loops.cancel()
            await asyncio.gather(loops, return_exceptions=True)
        stored, _ = queries.covering(bureau.engine).standing["acme"]
        assert (stored.parts, stored.unread) == (800, 0)

    play(scene, first=False)


def test_nothing_gets_much_older_than_the_interval(play: Callable[..., None], monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_sync, "ROUND_MOST", 10.0)

    async def scene(bureau: Bureau) -> None:
        await many(bureau, 96)
        loops = asyncio.create_task(Loops(bureau.sync, bureau.clock, bureau.loaded.secrets).run())
        worst = timedelta(0)
        for _ in range(4 * 60):
            await bureau.wait(minutes=1)
            if bureau.clock.now() > START + timedelta(hours=1):
                oldest = bureau.sync.age().oldest_at
                assert oldest is not None
                worst = max(worst, bureau.clock.now() - oldest)
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)
        assert timedelta(minutes=55) < worst < timedelta(minutes=70)

    play(scene, first=False)


def test_the_log_leads_to_exactly_the_projects_it_names_however_many(play: Callable[..., None], monkeypatch: Any) -> None:
    monkeypatch.setattr(admin_sync, "AT_A_TIME", 5)

    async def scene(bureau: Bureau) -> None:
        await many(bureau, 40)
        await bureau.round()
        bureau.record.add_user(ORGANIZATION, "bo@example.com", "Bo Lind", created_at=1.0)
        secret = "sk-proj-TESTperson-not-a-key-person77"
        bureau.world.add_key(secret, "proj_39", name="notebook", owner="bo@example.com", created_at=1.0)
        await bureau.round()
        for number in range(20):
            bureau.world.throttle(f"proj_{number}", "gpt-4o", requests=500, by="ada@example.com")
        bureau.record.remove_user("bo@example.com", by="ada@example.com")
        bureau.world.create_project("proj_new", ORGANIZATION, "new")
        await bureau.wait(minutes=5)
        before = bureau.sync.requests
        await bureau.sync.read_log()
        while (await bureau.sync.turn()) == 0.0:  # at full pace
            pass
        # The log, people and projects; 20 limits, members and keys where Bo had some, and all of the new project.
        assert bureau.sync.requests - before <= 3 + 20 + 2 + 8 + 1
        lowered = {f"proj_{number}" for number in range(20)}
        found = queries.organization(bureau.engine, "acme", kinds=[P.RATE_LIMIT])
        limits = {item.project for item in found.items if item.facts.get("max_requests_per_1_minute") == 500}
        assert limits == lowered
        assert bureau.sync.age().unread == 0
        assert bureau.items(P.MEMBER, "proj_39") == []

    play(scene)


def test_an_event_of_an_admin_key_names_no_project_and_still_leads_to_it(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.world.revoke(secret_of("search"))
        for event in bureau.record.organizations[ORGANIZATION].audit:
            event.pop("project", None)
        await bureau.wait(minutes=5)
        await bureau.sync.read_log()
        assert bureau.items(P.API_KEY, "proj_search") == []

    play(scene)


def test_what_changed_is_there_within_seconds_of_what_broke(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        await bureau.wait(minutes=20)
        bureau.world.deny_model("proj_checkout", "gpt-4o")
        bureau.world.revoke(secret_of("search"))
        requests = bureau.sync.requests
        for _ in range(5):  # however often it breaks
            bureau.sync.look_now(["checkout", "nobody"])
        await bureau.wait(seconds=5)
        assert {event.kind for event in bureau.told()} == {K.MODEL_REMOVED, K.KEY_DELETED}
        assert bureau.sync.requests - requests < 15

    play(scene)


def test_of_two_readings_at_once_the_one_that_began_later_counts(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        [tools] = [part for part in PROJECT_PARTS if part.kind is P.HOSTED_TOOLS]
        plain = bureau.sync.line._ask
        held = asyncio.Event()

        async def slow(path: str, parameters: Any) -> Any:
            answer = await plain(path, parameters)
            if not held.is_set():
                held.set()
                await asyncio.sleep(30)
            return answer

        bureau.sync.line._ask = slow
        late = asyncio.create_task(bureau.sync.read_part(tools, "proj_search", Rank.ROUND))
        await held.wait()
        bureau.record.hosted_tool("proj_search", "mcp", False)
        await bureau.sync.read_part(tools, "proj_search", Rank.URGENT)
        await late
        assert [event.kind for event in bureau.told()] == [K.TOOL_DISABLED]

    play(scene)


def test_where_many_break_at_once_not_everything_is_read(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        looked = []

        async def note(projects: list[str]) -> None:
            looked.append(len(projects))

        monkey = pytest.MonkeyPatch()
        monkey.setattr(bureau.sync, "_look", note)
        monkey.setattr(admin_sync, "MOST_LOOKS", 2)
        bureau.sync.look_now(NAMES)
        await bureau.wait(seconds=1)
        monkey.undo()
        assert looked == [2]

    play(scene)


# Usage ----------------------------------------------------------------------------------------------------------------------------


def test_usage_that_comes_late_is_read_again(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.world.traffic("proj_checkout", "gpt-4o", requests=lambda _: 60.0)
        bureau.record.usage_delay(1800)
        await bureau.wait(hours=2)
        await bureau.sync.read_usage(MINUTES)
        ever = Window(START - timedelta(days=1), START + timedelta(days=2))

        def known() -> int:
            found = queries.usage(bureau.engine, ever, MINUTES)
            return 0 if found.empty else int(found["requests"].sum())

        first = known()
        assert first == 60 * 89
        bureau.record.usage_delay(0)
        await bureau.wait(minutes=5)
        await bureau.sync.read_usage(MINUTES)
        assert known() == 60 * 124
        for width in (HOURS, DAYS):
            await bureau.sync.read_usage(width)
            found = queries.usage(bureau.engine, ever, width)
            assert 60 * 124 <= int(found["requests"].sum()) <= 60 * 127  # reading takes a while
            assert set(found["api_key"]) == set(bureau.items(P.API_KEY, "proj_checkout"))
        await bureau.sync.read_costs()
        assert not queries.costs(bureau.engine, Window(START - timedelta(days=1), START + timedelta(days=1))).empty

    play(scene)


def test_one_endpoint_of_usage_that_fails_is_one_gap(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        bureau.record.administration_trouble("forbidden", "usage/embeddings")
        await bureau.sync.read_usage(HOURS)
        [(part, _, reason)] = bureau.gaps()
        assert part == "usage"
        assert reason.startswith("embeddings: ")
        assert bureau.sync.summary.read["usage"] == 5

    play(scene)


# The keeper -----------------------------------------------------------------------------------------------------------------------


def test_the_keeper_follows_the_configuration_and_reads_only_where_it_leads(play: Callable[..., None]) -> None:
    async def scene(bureau: Bureau) -> None:
        poller = bureau.poller()
        await poller.configure()
        keeper = OrganizationKeeper(
            bureau.engine, bureau.clock, bureau.loaded.secrets, admin_client(bureau.loaded.secrets, bureau.transport)
        )
        poller.settings = bureau.loaded.settings.model_copy(update={"organizations": ()})
        running = asyncio.create_task(keeper.run(poller))
        await bureau.wait(minutes=1)
        assert queries.organizations(bureau.engine) == {"acme": None}
        poller.settings = bureau.loaded.settings
        await bureau.wait(minutes=1)
        first = queries.organizations(bureau.engine)["acme"]
        assert first is not None
        keeper.look_now(["checkout"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bureau.wait(hours=3)
        assert queries.organizations(bureau.engine)["acme"] == first

    play(scene, first=False)


def test_a_summary_says_what_was_read_and_what_not_and_why() -> None:
    from monitor import sync_words

    summary = Summary(projects=3, requests=40)
    summary.read.update({"api_key": 2, "project": 1})
    summary.failed = {("api_key", "proj_a"): "HTTP 500"} | {("member", f"proj_{n}"): "the admin key lacks x" for n in range(9)}
    text = "\n".join(sync_words.told("acme", summary, START))
    assert "keys of proj_a: HTTP 500" in text
    assert "members of 9 projects: the admin key lacks x" in text
    assert sync_words.line("acme", summary)["not_read"][1] == {"part": "members", "reason": "the admin key lacks x", "count": 9}
