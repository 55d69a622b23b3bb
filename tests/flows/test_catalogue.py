"""The list of models, from the emulator through the poller into the store."""

from datetime import date, timedelta

from monitor.domain.changes import ChangeKind
from monitor.domain.timeline import Window
from monitor.store import queries
from tests.flows.conftest import CAST, House, Play, secret_of


def changes(house: House) -> list[tuple[ChangeKind, str]]:
    now = house.clock.now()
    window = Window(now - timedelta(days=2), now + timedelta(seconds=1))
    return [(each.kind, each.text) for each in reversed(queries.changes(house.engine, window))]


def test_the_list_is_read_once_an_hour_and_a_change_told_once(play: Play) -> None:
    async def scene(house: House) -> None:
        await house.live(minutes=2)
        known = queries.catalogues(house.engine)
        assert known.keys() == set(CAST)
        assert known["checkout"].models == {"gpt-4o": None, "gpt-5-pro": None}
        house.world.do("announce_shutdown", {"model": "gpt-4o", "date": "2027-06-01"})
        house.world.add_model("gpt-6")
        await house.live(minutes=40)
        assert changes(house) == []
        await house.live(minutes=22)
        assert changes(house) == [
            (
                ChangeKind.MODEL_SHUTDOWN,
                "OpenAI announced the shutdown of gpt-4o for 2027-06-01: seen by 4 projects (batch, checkout, legacy and 1 more).",
            ),
            (ChangeKind.MODEL_LISTED, "OpenAI lists gpt-6 now: seen by 4 projects (batch, checkout, legacy and 1 more)."),
        ]
        assert queries.catalogues(house.engine)["search"].shutdown("gpt-4o") == date(2027, 6, 1)
        (one,) = queries.deadlines(house.engine, house.clock.now()).deadlines
        assert one.title == "model gpt-4o is shut down"
        assert set(one.projects) == set(CAST)

    play(scene)


def test_a_key_that_is_refused_is_listed_nothing_until_it_works(play: Play) -> None:
    async def scene(house: House) -> None:
        house.world.revoke(secret_of("legacy"))
        await house.live(minutes=3)
        assert queries.catalogues(house.engine).keys() == set(CAST) - {"legacy"}
        house.world.restore(secret_of("legacy"))
        await house.live(minutes=3)
        assert queries.catalogues(house.engine).keys() == set(CAST)

    play(scene)
