"""Which shards a worker asks for and which it gives."""

from hypothesis import given
from hypothesis import strategies as st

from common.ids import Shard, WorkerId
from common.ring import propose_owners
from roomworker.ownership import plan_ownership

W1, W2, W3 = (WorkerId(f"w{number}") for number in (1, 2, 3))
ids = st.sampled_from([W1, W2, W3, WorkerId("w4")])


def mine(worker: WorkerId, *workers: WorkerId, shards: int = 12) -> list[Shard]:
    return sorted(shard for shard, owner in propose_owners(shards, workers).items() if owner == worker)


def test_the_only_worker_takes_everything() -> None:
    plan = plan_ownership(W1, 12, [W1], [], {}, 4)
    assert plan.acquire == list(range(12))
    assert plan.release == []


def test_a_worker_that_the_registry_lost_still_counts_itself() -> None:
    assert plan_ownership(W1, 12, [W2], [], {}).acquire == mine(W1, W1, W2, 4)


def test_nothing_is_given_before_it_is_asked_for() -> None:
    owned = [Shard(number) for number in range(12)]
    assert plan_ownership(W1, 12, [W1, W2], owned, {}, 4).release == []
    others = mine(W2, W1, W2)
    plan = plan_ownership(W1, 12, [W1, W2], owned, {others[0]: W2}, 4)
    assert (plan.acquire, plan.release) == ([], [others[0]])


def test_nothing_is_given_to_who_should_not_have_it() -> None:
    owned = [Shard(number) for number in range(12)]
    wanted = dict.fromkeys(owned, W3)
    assert plan_ownership(W1, 12, [W1, W2], owned, wanted, 4).release == []


@given(st.integers(1, 40), st.sets(ids), ids, st.data())
def test_a_plan_takes_only_its_own_and_gives_only_what_others_want(
    shards: int, workers: set[WorkerId], me: WorkerId, data: st.DataObject
) -> None:
    every = [Shard(number) for number in range(shards)]
    owned = data.draw(st.sets(st.sampled_from(every)))
    wanted = data.draw(st.dictionaries(st.sampled_from(every), ids))
    plan = plan_ownership(me, shards, workers, owned, wanted)
    proposal = propose_owners(shards, {*workers, me})
    assert set(plan.acquire) == {shard for shard in every if proposal[shard] == me} - owned
    assert set(plan.release) <= owned
    assert all(proposal[shard] != me and wanted[shard] == proposal[shard] for shard in plan.release)


@given(st.integers(1, 40), st.sets(ids, min_size=1))
def test_workers_that_see_the_same_registry_share_the_shards_without_strife(
    shards: int, workers: set[WorkerId]
) -> None:
    taken = [shard for me in workers for shard in plan_ownership(me, shards, workers, [], {}).acquire]
    assert sorted(taken) == list(range(shards))
