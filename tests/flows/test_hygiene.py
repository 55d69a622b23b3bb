"""The keeper of the scorecards beside a polling monitor: bindings tried on the emulator, scores kept, all in virtual time."""

from datetime import timedelta
from typing import Any

from monitor.domain.binding import Tried
from monitor.domain.hygiene import HygienePolicy
from monitor.domain.timeline import Window
from monitor.hygiene_keeper import HygieneKeeper
from monitor.store import bindings, queries
from monitor.store.engine import reading
from tests.flows.conftest import CAST, House, Play, secret_of, table

SELDOM = '[monitor.intervals]\ncontrol = "30m"\nauth = "30m"\nmodel_access = "30m"\ninference = "30m"\n'
"""For a whole day in which nothing but the passing of time matters."""


def tried(house: House) -> dict[tuple[str, str], Tried]:
    with reading(house.engine) as connection:
        return {place: trial.tried for place, trial in bindings.read(connection).items()}


def keeper(house: House) -> HygieneKeeper:
    return HygieneKeeper(house.engine, house.engine, house.clock)


def score(house: House, subject: str = "organization") -> Any:
    window = Window(house.clock.now() - timedelta(days=30), house.clock.now() + timedelta(minutes=1))
    return queries.score_trend(house.engine, subject, window)


def test_each_well_key_is_tried_once_a_day_and_refused_under_another_id(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=3)
        mine = keeper(house)
        for expected in range(1, len(CAST) + 1):
            assert await mine.try_bindings(house.poller) == 1
            assert len(tried(house)) == expected
        assert set(tried(house).values()) == {Tried.REFUSED}
        assert await mine.try_bindings(house.poller) == 0
        await house.live(hours=24)
        assert await mine.try_bindings(house.poller) == 1
        assert house.project("checkout").health == "healthy"  # what was tried moves no health

    play(scene, monitor=SELDOM)


def judged(house: House) -> dict[str, tuple[set[str], str]]:
    """Of each project's key the rules that it breaks, and what is not known of its binding."""
    found = queries.hygiene(house.engine, house.clock.now(), HygienePolicy())
    return {
        one.name: (set(card.rules), " ".join(each.why for each in card.unknown if each.rule == "not_bound"))
        for one in found.projects
        for card in one.key_cards
    }


def test_a_key_that_is_not_refused_as_the_others_are_is_not_held_to_its_project(play: Play) -> None:
    async def scene(house: House) -> None:
        house.world.unbind(secret_of("checkout"))
        await house.live(minutes=3)
        mine = keeper(house)
        for _ in CAST:
            await mine.try_bindings(house.poller)
        assert {name: each for (name, _), each in tried(house).items()} == {
            name: Tried.NOT_REFUSED if name == "checkout" else Tried.REFUSED for name in CAST
        }
        assert {name for name, (rules, _) in judged(house).items() if "not_bound" in rules} == {"checkout"}
        house.world.bind(secret_of("checkout"))
        await house.live(hours=24)
        for _ in CAST:
            await mine.try_bindings(house.poller)
        assert not any("not_bound" in rules for rules, _ in judged(house).values())

    play(scene, monitor=SELDOM)


def test_where_no_key_is_refused_nothing_is_concluded(play: Play) -> None:
    async def scene(house: House) -> None:
        for name in CAST:
            house.world.unbind(secret_of(name))
        await house.live(minutes=3)
        mine = keeper(house)
        for _ in CAST:
            await mine.try_bindings(house.poller)
        assert set(tried(house).values()) == {Tried.NOT_REFUSED}
        for rules, why in judged(house).values():
            assert "not_bound" not in rules
            assert "no key has ever been refused there" in why

    play(scene)


def test_a_key_that_is_refused_anyhow_is_not_tried(play: Play) -> None:
    async def scene(house: House) -> None:
        house.write_secret("checkout", "sk-svcacct-TEST-mistyped-not-a-key-0001")
        await house.live(minutes=3)
        mine = keeper(house)
        assert sum([await mine.try_bindings(house.poller) for _ in range(6)]) == len(CAST) - 1
        assert ("checkout", "backend") not in tried(house)

    play(scene)


def test_a_project_alone_has_no_other_id_to_be_tried_under(play: Play) -> None:
    async def alone(house: House) -> None:
        await house.live(minutes=3)
        assert await keeper(house).try_bindings(house.poller) == 0
        assert tried(house) == {}

    play(alone, tables=[table("checkout")])


def test_scores_are_kept_every_hour_and_when_the_rules_say_something_else(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=3)
        mine = keeper(house)
        await mine.look(house.poller)
        assert len(score(house)) == 1
        assert mine.judge(HygienePolicy()) is None
        house.configure(
            *(table(name, environment='"production"') for name in CAST), table("extra").replace('project_id = "proj_extra"\n', "")
        )
        house.write_secret("extra", "sk-TEST-legacy-not-a-key-0001")
        await house.live(minutes=61)
        await mine.look(house.poller)
        found = score(house)
        assert len(found) == 2
        assert "no_project_id" in found["rules"].iloc[-1]
        assert score(house, "project:extra")["score"].iloc[-1] < 50

    play(scene)


def test_who_wants_no_trials_has_none(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=3)
        await keeper(house).look(house.poller)
        assert tried(house) == {}

    play(scene, monitor="[monitor.hygiene]\ntry_binding = false")
