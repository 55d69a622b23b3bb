"""How pollers divide the work: always all of it, never one part twice, and nobody takes from those that live."""

import random
from datetime import timedelta

from monitor.domain.inventory import ProbeKind, Target
from monitor.domain.sharing import LEADER, SHARDS, Lease, Rhythm, divide, fair_share, shard_of

ALL = [LEADER, *range(SHARDS)]


def leases(holders: dict[int, str] | None = None, ran_out: frozenset[str] = frozenset()) -> list[Lease]:
    """Every lease with its holder."""
    held = holders or {}
    return [Lease(shard, held.get(shard), held.get(shard) in ran_out) for shard in ALL]


def test_a_project_is_one_shard_and_many_projects_are_many() -> None:
    one = {shard_of(Target(probe, "checkout", key, model)) for probe in ProbeKind for key in "ab" for model in ("x", None)}
    assert len(one) == 1
    many = [shard_of(Target(ProbeKind.AUTH, f"project-{number}", "k")) for number in range(2000)]
    assert set(many) == set(range(SHARDS))
    assert max(many.count(shard) for shard in range(SHARDS)) < 3 * 2000 / SHARDS
    assert shard_of(Target(ProbeKind.CONTROL, host="https://a")) in range(SHARDS)
    assert shard_of(Target(ProbeKind.AUTH, "\ud800", "k")) in range(SHARDS)


def test_these_shards_are_for_ever() -> None:
    assert [shard_of(Target(ProbeKind.AUTH, name, "k")) for name in ("checkout", "search", "batch")] == [46, 13, 41]


def test_the_first_poller_takes_everything() -> None:
    moves = divide(leases(), "a", 1, (), (), settled=False)
    assert moves.take == frozenset(ALL)
    assert (moves.keep, moves.release, moves.leave) == (frozenset(), frozenset(), frozenset())


def test_a_second_poller_waits_until_the_first_hands_over() -> None:
    held = dict.fromkeys(ALL, "a")
    assert divide(leases(held), "b", 2, (), (), settled=True).take == frozenset()
    first = divide(leases(held), "a", 2, (), (), settled=True)
    assert (first.keep, first.release, len(first.leave)) == (frozenset(ALL), frozenset(), SHARDS // 2)
    some = frozenset(sorted(first.leave)[:5])
    then = divide(leases(held), "a", 2, first.leave, some, settled=True)
    assert (then.release, then.leave, then.keep) == (some, first.leave - some, frozenset(ALL) - some)
    free = {shard: holder for shard, holder in held.items() if shard not in some}
    assert divide(leases(free), "b", 2, (), (), settled=False).take == some


def test_what_ran_out_is_taken_only_by_one_that_was_there_all_the_time() -> None:
    held = dict.fromkeys(ALL, "dead")
    gone = frozenset({"dead"})
    assert divide(leases(held, gone), "b", 1, (), (), settled=False).take == frozenset()
    assert divide(leases(held, gone), "b", 1, (), (), settled=True).take == frozenset(ALL)
    assert divide(leases(held), "b", 1, (), (), settled=True).take == frozenset()


def test_what_ran_out_and_nobody_took_is_still_ours() -> None:
    held = dict.fromkeys(ALL, "a")
    assert divide(leases(held, frozenset({"a"})), "a", 1, (), (), settled=False).keep == frozenset(ALL)


def test_pollers_that_come_and_go_always_end_with_everything_divided_fairly() -> None:
    chance = random.Random(7)
    names = [f"p{number}" for number in range(5)]
    for _ in range(60):
        alive = chance.sample(names, chance.randint(1, 5))
        held = {shard: chance.choice([*names, None]) for shard in ALL}
        leaving: dict[str, frozenset[int]] = dict.fromkeys(alive, frozenset())
        for _ in range(12):
            for name in chance.sample(alive, len(alive)):
                now = [Lease(shard, held[shard], held[shard] not in alive) for shard in ALL]
                moves = divide(now, name, len(alive), leaving[name], leaving[name], settled=True)
                mine = {shard for shard, holder in held.items() if holder == name}
                assert moves.keep | moves.release == mine
                assert not moves.keep & moves.release
                assert moves.leave <= moves.keep
                assert all(held[shard] is None or held[shard] not in alive for shard in moves.take)
                leaving[name] = moves.leave
                for shard in moves.take:
                    held[shard] = name
                for shard in moves.release:
                    held[shard] = None
        counts = {name: sum(holder == name and shard != LEADER for shard, holder in held.items()) for name in alive}
        assert sum(counts.values()) == SHARDS
        assert max(counts.values()) <= fair_share(len(alive))
        assert held[LEADER] in alive


def test_a_dead_pollers_leases_are_seen_to_have_run_out_within_the_lease() -> None:
    for seconds in (2, 15, 300):
        lease = timedelta(seconds=seconds)
        rhythm = Rhythm.of(lease)
        assert rhythm.term + rhythm.round < lease
        assert rhythm.trust < rhythm.term
        assert rhythm.round + rhythm.hang < rhythm.trust
