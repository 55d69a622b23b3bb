"""Days of polling in virtual time: what breaks is found, what heals is noticed, and one hiccup moves nothing."""

import itertools
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.health import Health
from monitor.domain.inventory import ProbeKind
from monitor.domain.observation import Verdict
from monitor.domain.taxonomy import FailureKind, Lane
from monitor.domain.timeline import Window
from monitor.store import queries
from tests.flows.conftest import CAST, House, Play, secret_of, table


def test_everything_is_healthy_soon_after_the_start(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(seconds=20)
        for name in CAST:
            status = house.project(name)
            assert status.health is Health.HEALTHY
            assert {status.lamps[lane].health for lane in (Lane.AUTH, Lane.ACCESS, Lane.RATE, Lane.QUOTA)} == {Health.HEALTHY}
        beat = queries.heartbeat(house.engine)
        assert beat is not None
        assert not beat.late(house.clock.now())

    play(scene)


def test_a_revoked_key_is_named_within_ninety_seconds_and_its_return_is_noticed(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        house.world.revoke(secret_of("legacy"))
        await house.live(seconds=90)
        assert (house.lamp("legacy", Lane.AUTH), house.failure("legacy")) == (Health.FAILING, FailureKind.AUTH_INVALID_KEY)
        assert house.project("checkout").health is Health.HEALTHY
        house.world.restore(secret_of("legacy"))
        await house.live(minutes=4)
        assert house.lamp("legacy", Lane.AUTH) is Health.HEALTHY

    play(scene)


def test_a_rotated_secret_is_read_again_without_a_restart(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        new = secret_of("legacy").replace("0001", "0002")
        house.world.rotate(secret_of("legacy"), new)
        await house.live(minutes=2)
        assert house.project("legacy").health is Health.FAILING
        before = queries.keys(house.engine, house.clock.now(), "legacy")[0].fingerprint
        house.write_secret("legacy", new)
        await house.live(minutes=6)
        assert house.project("legacy").health is Health.HEALTHY
        after = queries.keys(house.engine, house.clock.now(), "legacy")[0].fingerprint
        assert before is not None
        assert after is not None
        assert (before.endswith("0001"), after.endswith("0002")) == (True, True)

    play(scene)


@pytest.mark.parametrize("failure", ["auth.invalid_key", "server.error", "auth.missing_scope", "quota.exhausted"])
def test_one_bad_answer_moves_nothing(play: Play, failure: str) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        start = house.clock.now()
        moved = len(queries.transitions(house.engine, Window(start - timedelta(days=1), start)))
        house.world.trouble(failure, project="proj_checkout", seconds=4)
        while not (house.seen("checkout").verdict == "failed").any():
            await house.live(seconds=5)
            house.world.trouble(failure, project="proj_checkout", seconds=4)
            assert house.clock.now() - start < timedelta(minutes=20)
        house.world.heal()
        await house.live(minutes=3)
        assert house.project("checkout").health is Health.HEALTHY
        assert len(queries.transitions(house.engine, Window(start - timedelta(days=1), house.clock.now()))) == moved

    play(scene)


def test_while_openai_is_down_every_project_says_so_and_no_key_is_blamed(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        house.world.trouble("server.overloaded")
        await house.live(minutes=2)
        for name in CAST:
            assert house.failure(name) is FailureKind.SERVER_OVERLOADED
            assert house.lamp(name, Lane.AUTH) is not Health.FAILING
        control = next(one for one in queries.targets(house.engine, house.clock.now()) if one.target.probe is ProbeKind.CONTROL)
        assert control.failure is FailureKind.SERVER_OVERLOADED

    play(scene)


def test_a_timeout_never_makes_a_key_invalid(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        house.world.slow_down(40.0, project="proj_search")
        await house.live(minutes=4)
        assert house.failure("search") is FailureKind.NETWORK_TIMEOUT
        assert house.lamp("search", Lane.AUTH) is not Health.FAILING

    play(scene)


def test_at_a_limit_and_without_money_the_monitor_asks_less(play: Play) -> None:
    async def scene(house: House) -> None:
        house.world.throttle("proj_batch", "gpt-4o", requests=1)
        house.world.traffic("proj_batch", "gpt-4o", requests=600.0)
        house.world.trouble("quota.project_spend", project="proj_search")
        await house.live(hours=4)
        paid = {name: len(house.seen(name, ProbeKind.INFERENCE)) for name in CAST}
        assert house.lamp("batch", Lane.RATE) is Health.DEGRADED
        assert house.lamp("search", Lane.QUOTA) is Health.FAILING
        assert house.lamp("search", Lane.AUTH) is Health.HEALTHY
        assert paid["checkout"] == pytest.approx(16, abs=1)
        assert paid["batch"] <= 11
        assert paid["search"] <= 11

    play(scene)


def test_a_daily_budget_is_kept_and_begins_anew_with_the_day(play: Play) -> None:
    async def scene(house: House) -> None:
        house.clock._start += timedelta(hours=17)
        await house.live(hours=3)
        assert len(house.seen("checkout", ProbeKind.INFERENCE)) == 5
        await house.live(hours=2)  # past midnight
        assert len(house.seen("checkout", ProbeKind.INFERENCE)) == 9

    play(scene, tables=[table("checkout", budget="{ requests_per_day = 5 }", intervals='{ auth = "1h", model_access = "1h" }')])


def test_a_denied_model_that_is_usable_is_a_finding(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=1)
        assert house.project("checkout").findings == ("denied_model_usable",)
        house.world.deny_model("checkout", "gpt-5-pro")
        await house.live(minutes=40)
        assert house.project("checkout").findings == ()

    play(scene, tables=[table("checkout", denied_models='["gpt-5-pro"]')])


def test_a_project_without_its_secret_is_a_matter_of_configuration_and_the_others_go_on(play: Play) -> None:
    async def scene(house: House) -> None:
        (house.folder / "legacy.key").unlink()
        await house.live(minutes=2)
        assert house.failure("legacy") is FailureKind.CLIENT_CONFIGURATION
        assert house.project("checkout").health is Health.HEALTHY
        house.write_secret("legacy", secret_of("legacy"))
        await house.live(minutes=6)
        assert house.project("legacy").health is Health.HEALTHY

    play(scene)


def test_projects_come_and_go_while_it_runs(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=1)
        house.configure(table("checkout"), table("search"))
        await house.live(minutes=1)
        assert [project.name for project in queries.fleet(house.engine, house.clock.now())] == ["checkout", "search"]
        assert house.project("search").health is Health.HEALTHY
        house.configure(table("search"))
        await house.live(minutes=2)
        assert [project.name for project in queries.fleet(house.engine, house.clock.now())] == ["search"]
        assert len(house.seen("checkout")) > 0  # its history stays
        asked = len(house.seen("checkout"))
        await house.live(minutes=5)
        assert len(house.seen("checkout")) == asked

    play(scene, tables=[table("checkout")])


def test_a_wrong_configuration_is_not_taken_and_said(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=1)
        house.configure(table("checkout"), table("checkout"), table("search", mdoels='["gpt-4o"]'))
        await house.live(minutes=1)
        beat = queries.heartbeat(house.engine)
        assert beat is not None
        assert beat.config_error is not None
        assert "checkout" in beat.config_error
        assert "mdoels" in beat.config_error
        assert house.project("checkout").health is Health.HEALTHY
        house.configure(table("checkout"))
        await house.live(minutes=1)
        beat = queries.heartbeat(house.engine)
        assert beat is not None
        assert beat.config_error is None

    play(scene, tables=[table("checkout")])


def test_a_check_never_runs_twice_at_once(play: Play) -> None:
    async def scene(house: House) -> None:
        house.world.slow_down(9.0)
        await house.live(minutes=3)
        times = sorted(house.seen("checkout", ProbeKind.AUTH)["at"])
        assert len(times) > 10
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= timedelta(seconds=9)

    play(scene, monitor='[monitor.intervals]\nauth = "5s"', tables=[table("checkout")])


def test_answers_wait_in_memory_while_the_store_cannot_take_them(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        before = len(house.seen("checkout"))
        with sqlite3.connect(house.folder / "monitor.db") as other:
            other.execute("ALTER TABLE observations RENAME TO away")
        await house.live(minutes=3)
        assert house.poller.store_error is not None
        assert len(house.poller.pending) > 4
        with sqlite3.connect(house.folder / "monitor.db") as other:
            other.execute("ALTER TABLE away RENAME TO observations")
        await house.live(minutes=1)
        assert house.poller.store_error is None
        assert len(house.poller.pending) == 0
        assert len(house.seen("checkout")) >= before + 3

    play(scene)


def test_what_was_asked_when_it_stops_is_recorded(play: Play, tmp_path: Path) -> None:
    checks = 0

    async def scene(house: House) -> None:
        nonlocal checks
        house.world.slow_down(1.5)
        await house.live(seconds=61)
        while not house.poller.in_flight:
            await house.live(milliseconds=50)
        checks = house.poller.checks + house.poller.in_flight

    play(scene)
    with sqlite3.connect(tmp_path / "monitor.db") as database:
        assert database.execute("SELECT count(*) FROM observations").fetchone()[0] == checks


def test_a_clock_that_is_set_back_neither_stops_the_poller_nor_freezes_the_health(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        house.clock._start -= timedelta(hours=3)
        house.world.revoke(secret_of("legacy"))
        await house.live(minutes=4)
        assert house.failure("legacy") is FailureKind.AUTH_INVALID_KEY
        house.clock._start += timedelta(hours=3)
        house.world.restore(secret_of("legacy"))
        await house.live(minutes=6)
        assert house.project("legacy").health is Health.HEALTHY

    play(scene)


def test_late_data_are_unknown_and_never_green(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=5)
        later = house.clock.now() + timedelta(hours=2)
        status = queries.project(house.engine, "checkout", later)
        assert status is not None
        assert status.health is Health.UNKNOWN

    play(scene)


def test_a_key_that_may_only_infer_is_restricted_and_not_dead(play: Play) -> None:
    async def scene(house: House) -> None:
        house.world.restrict(secret_of("checkout"), ["model.request"])
        await house.live(minutes=6)
        assert house.project("checkout").health is Health.RESTRICTED
        assert house.lamp("checkout", Lane.QUOTA) is Health.HEALTHY

    play(scene)


def test_the_lag_is_small_and_every_interval_is_kept(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=60)
        asked: Any = house.seen("checkout")
        counts = asked.groupby("probe").size().to_dict()
        assert counts["auth"] == pytest.approx(60, abs=2)
        assert counts["model_access"] == pytest.approx(12, abs=1)
        assert counts["inference"] == pytest.approx(4, abs=1)
        lag = house.poller.lag_p99_ms()
        assert lag is not None
        assert lag < 1000
        assert set(asked.verdict) == {Verdict.OK.value}

    play(scene)
