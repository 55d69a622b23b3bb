"""Incidents from the first bad answer to the last message, on the drill's fleet in virtual time."""

from datetime import timedelta

import pytest

from monitor.domain.incidents import EventKind
from monitor.domain.taxonomy import FailureKind, Owner, Scope
from monitor.incident_keeper import IncidentKeeper
from monitor.store import incidents, intents, silences
from monitor.store.intents import Intent
from monitor.store.record import Writer
from tests.drill.stage import Stage, id_of, perform, secret_of


def url_of(stage: Stage) -> str:
    """The database, as a page knows it."""
    return f"sqlite:///{stage.folder}/drill.db"


def test_it_opens_is_taken_talked_about_silenced_and_resolved() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        stage.world.revoke(secret_of("a01"))
        await stage.live(seconds=100)
        (one,) = stage.incidents()
        assert (one.cause.scope, one.keys, one.owners) == (Scope.KEY, ("a01/web",), ("team-a01",))
        now = stage.clock.now()
        for kind, more in (
            ("acknowledge", {}),
            ("comment", {"text": "rotating <b>now</b>"}),
            ("silence", {"until": now + timedelta(hours=1)}),
        ):
            intents.submit(url_of(stage), Intent(kind=kind, by="Ada", at=now, incident_id=one.id, **more))  # type: ignore[arg-type]
        intents.submit(url_of(stage), Intent(kind="acknowledge", by="Eve", at=now, incident_id=4711))
        await stage.live(seconds=3)
        (one,) = stage.incidents()
        assert one.acknowledged_by == "Ada"
        assert [quiet.by for quiet in silences.active(stage.engine, stage.clock.now())] == ["Ada"]
        stage.world.restore(secret_of("a01"))
        await stage.live(minutes=4)
        record = incidents.record(stage.engine, one.id or 0)
        assert record is not None
        assert record.incident.resolved_at is not None
        kinds = [event.kind for event in record.events]
        for kind in (EventKind.OPENED, EventKind.ACKNOWLEDGED, EventKind.COMMENT, EventKind.SILENCED, EventKind.RESOLVED):
            assert kind in kinds
        assert {event.by for event in record.events} == {None, "Ada"}
        assert record.evidence["last_good"]
        assert record.evidence["first_bad"]
        assert "DRILL-a01" not in repr(record)

    perform(act)


def test_what_a_change_may_explain_is_told_at_once_and_the_network_s_trouble_is_not() -> None:
    async def act(stage: Stage) -> None:
        heard: list[tuple[float, tuple[str, ...]]] = []
        began = stage.clock.now()
        stage.keeper._broke = lambda projects: heard.append(((stage.clock.now() - began).total_seconds(), tuple(projects)))
        await stage.live(minutes=5)
        stage.world.trouble("network.not_openai", project=id_of("b02"), seconds=120)
        await stage.live(minutes=4)
        assert heard == []
        began = stage.clock.now()
        stage.world.revoke(secret_of("a01"))
        await stage.live(seconds=100)
        assert {projects for _, projects in heard} == {("a01",)}
        assert heard[0][0] <= 62  # with the first bad answer, before the incident opens
        assert len(heard) >= 2

    perform(act)


def test_a_new_incident_is_looked_into() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        stage.world.trouble("auth.ip_not_allowed", project=id_of("b02"))
        await stage.live(seconds=110)
        (one,) = stage.incidents()
        record = incidents.record(stage.engine, one.id or 0)
        assert record is not None
        assert EventKind.EXPERIMENT in [event.kind for event in record.events]
        assert len(one.diagnosis.evidence) > 0

    perform(act)


def test_when_all_keys_of_a_project_die_its_admin_is_told_and_the_experiments_agree() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        stage.world.revoke(secret_of("a03"))
        stage.world.revoke(secret_of("a03", "worker"))
        await stage.live(seconds=110)
        (one,) = stage.incidents()
        assert (one.cause.scope, one.keys, one.diagnosis.owner) == (Scope.PROJECT, ("a03/web", "a03/worker"), Owner.PROJECT_ADMIN)
        assert "so it is this project" in one.diagnosis.cause
        (told,) = stage.messages()
        assert "every key of project “a03”" in told.body

    perform(act)


def test_a_refusal_of_everybody_is_not_put_down_to_the_keys_owners() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        stage.world.trouble("auth.invalid_key")
        await stage.live(seconds=110)
        (one,) = stage.incidents()
        assert (one.cause.scope, one.diagnosis.owner) == (Scope.OPENAI, Owner.OPENAI)
        assert "change no key" in one.diagnosis.next_step

    perform(act)


@pytest.mark.parametrize("spent", [False, True])
def test_a_paid_experiment_is_in_the_budget_of_the_project_whose_key_it_uses_or_left_out(spent: bool) -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=16)
        if spent:
            config = stage.folder / "monitor.toml"
            budget = 'budget = { requests_per_day = 1 }\nowner = "team-a00"'
            config.write_text(config.read_text().replace('owner = "team-a00"', budget))
            await stage.live(seconds=10)
        stage.world.trouble("access.policy", project=id_of("a01"))
        await stage.live(minutes=16, seconds=30)
        (one,) = stage.incidents()
        record = incidents.record(stage.engine, one.id or 0)
        assert record is not None
        (event,) = (event for event in record.events if event.kind is EventKind.EXPERIMENT)
        heard = "left out, the budget of the day is spent" if spent else "ok"
        assert event.text == f"Asked to tell causes apart: call elsewhere: {heard}."
        writer, now = Writer(stage.engine), stage.clock.now()
        beside = writer.spent_today("a00", now)[0] - writer.spent_today("a02", now)[0]
        assert spent or beside == 1

    perform(act)


def test_a_restart_finds_everything_as_it_was() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        stage.world.revoke(secret_of("a01"))
        await stage.live(minutes=3)
        before = stage.incidents()
        again = IncidentKeeper(stage.engine, stage.clock)
        await again.look(stage.poller)
        await again.look(stage.poller)
        assert stage.incidents() == before
        assert [one.id for one in again.open_ones] == [before[0].id]

    perform(act)


def test_an_outage_of_everybody_is_one_incident_that_ends_soon_after_it() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=20)
        stage.world.trouble("server.overloaded")
        await stage.live(minutes=10)
        (one,) = stage.incidents()
        assert (one.failure, one.cause.scope, len(one.projects)) == (FailureKind.SERVER_OVERLOADED, Scope.OPENAI, 16)
        stage.world.heal()
        await stage.live(minutes=2)
        (one,) = stage.incidents()
        assert one.resolved_at is not None
        await stage.live(minutes=5)
        assert [row.reason.value for row in stage.messages()] == ["first", "resolved"]

    perform(act)


def test_the_poller_outlives_a_store_that_cannot_take_incidents() -> None:
    async def act(stage: Stage) -> None:
        await stage.live(minutes=5)
        with stage.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE incidents RENAME TO away")
        stage.world.revoke(secret_of("a01"))
        await stage.live(minutes=2)
        with stage.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO incidents")
        await stage.live(minutes=2)
        (one,) = stage.incidents()
        assert one.failure is FailureKind.AUTH_INVALID_KEY

    perform(act)
