"""Which shards a worker asks for and which it gives."""

from collections.abc import Collection, Mapping

from hypothesis import given
from hypothesis import strategies as st

from common.ids import Shard, WorkerId
from common.ring import propose_owners
from roomworker.ownership import Asking, OwnershipPlan, plan_leaving, plan_ownership

W1, W2, W3 = (WorkerId(f"w{number}") for number in (1, 2, 3))
NOBODY: Mapping[Shard, WorkerId] = {}
ids = st.sampled_from([W1, W2, W3, WorkerId("w4")])
some_shards = st.sets(st.integers(0, 30).map(Shard))


def mine(worker: WorkerId, *workers: WorkerId, shards: int = 12) -> list[Shard]:
    return sorted(shard for shard, owner in propose_owners(shards, workers).items() if owner == worker)


def plan(
    workers: Collection[WorkerId], owned: Collection[Shard], wanted: Mapping[Shard, WorkerId], at_once: int = 12
) -> OwnershipPlan:
    return plan_ownership(W1, 12, workers, owned, wanted, at_once)


def shards(*numbers: int) -> list[Shard]:
    return [Shard(number) for number in numbers]


def test_the_only_worker_takes_everything() -> None:
    assert plan([W1], [], NOBODY) == OwnershipPlan(shards(*range(12)), [])


def test_a_worker_that_the_registry_lost_still_counts_itself() -> None:
    assert plan([W2], [], NOBODY).acquire == mine(W1, W1, W2)


def test_nothing_is_given_before_it_is_asked_for() -> None:
    owned = shards(*range(12))
    assert plan([W1, W2], owned, NOBODY).release == []
    others = mine(W2, W1, W2)
    assert plan([W1, W2], owned, {others[0]: W2}) == OwnershipPlan([], [others[0]])


def test_nothing_is_given_to_who_should_not_have_it() -> None:
    owned = shards(*range(12))
    assert plan([W1, W2], owned, dict.fromkeys(owned, W3)).release == []


def test_few_are_given_at_once_to_each() -> None:
    owned = shards(*range(12))
    wanted = propose_owners(12, [W1, W2, W3])
    release = plan([W1, W2, W3], owned, wanted, at_once=2).release
    assert sorted(wanted[shard] for shard in release) == [W2, W2, W3, W3]


def test_who_leaves_gives_few_at_once_to_whoever_asks_and_is_alive() -> None:
    wanted = dict(zip(shards(*range(6)), [W2, W3, W2, W2, W3, W2], strict=True))
    assert plan_leaving({W2}, shards(*range(8)), wanted, 2) == shards(0, 2)
    assert plan_leaving({W2, W3}, shards(*range(8)), wanted, 2) == shards(0, 1, 2, 4)
    assert plan_leaving({W3}, shards(5, 6), wanted, 2) == []


def test_who_leaves_alone_lets_all_go() -> None:
    assert plan_leaving(set(), shards(3, 1), {Shard(3): W2}, 1) == shards(1, 3)


@given(st.integers(1, 40), st.sets(ids), ids, st.integers(1, 5), st.data())
def test_a_plan_takes_only_its_own_and_gives_only_what_others_want(
    count: int, workers: set[WorkerId], me: WorkerId, at_once: int, data: st.DataObject
) -> None:
    every = shards(*range(count))
    owned = data.draw(st.sets(st.sampled_from(every)))
    wanted = data.draw(st.dictionaries(st.sampled_from(every), ids))
    plan = plan_ownership(me, count, workers, owned, wanted, at_once)
    proposal = propose_owners(count, {*workers, me})
    assert set(plan.acquire) == {shard for shard in every if proposal[shard] == me} - owned
    assert set(plan.release) <= owned
    assert all(proposal[shard] != me and wanted[shard] == proposal[shard] for shard in plan.release)
    receivers = [wanted[shard] for shard in plan.release]
    assert all(receivers.count(receiver) <= at_once for receiver in receivers)


@given(st.integers(1, 40), st.sets(ids, min_size=1))
def test_workers_that_see_the_same_registry_share_the_shards_without_strife(count: int, workers: set[WorkerId]) -> None:
    taken = [shard for me in workers for shard in plan_ownership(me, count, workers, [], NOBODY, 4).acquire]
    assert sorted(taken) == list(range(count))


@given(some_shards, some_shards, st.integers(1, 5))
def test_a_round_of_asking_gets_all_that_is_free_or_waits_for_as_many_as_it_may(
    lacking: set[Shard], elsewhere: set[Shard], held_max: int
) -> None:
    asking = Asking(held_max)
    asked = asking.begin(sorted(lacking))
    waits_for: set[Shard] = set()
    got: set[Shard] = set()
    while asked:
        assert not got & {*asked}
        assert {*asked} <= lacking
        waits_for.update(elsewhere.intersection(asked))
        got.update(set(asked) - elsewhere)
        asked = asking.heard(elsewhere.intersection(asked), set(asked) - elsewhere)
    assert got == lacking - elsewhere or len(waits_for) >= min(held_max, len(lacking & elsewhere))
    # The wishes are told again, and nothing else until they are granted.
    if len(waits_for) >= held_max:
        assert asking.begin(sorted(lacking - got)) == sorted(waits_for)


def test_few_are_asked_for_first_and_more_when_nobody_holds_them() -> None:
    asking = Asking(2)
    asked = asking.begin(shards(*range(20)))
    assert asked == shards(0, 1)
    asked = asking.heard([], asked)
    assert asked == shards(2, 3, 4, 5)
    assert asking.heard([], asked) == shards(*range(6, 14))


def test_who_waits_asks_for_more_when_it_got_something() -> None:
    asking = Asking(3)
    asked = asking.begin(shards(0, 1, 2, 3, 4))
    assert asking.heard(asked, []) == []
    assert asking.begin(shards(0, 1, 2, 3, 4)) == shards(0, 1, 2)
    assert asking.heard(shards(1), shards(0, 2)) == shards(3, 4)
