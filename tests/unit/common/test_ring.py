"""Shards of rooms, and the proposal of owners."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import RoomId, Shard, UserId, WorkerId
from common.ring import partition_of_person, partition_of_shard, propose_owners, shard_of

workers_of_a_cluster = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=12, unique=True).map(
    lambda names: [WorkerId(name) for name in names]
)


def named(count: int) -> list[WorkerId]:
    return [WorkerId(f"worker-{number}") for number in range(count)]


def moved(before: dict[Shard, WorkerId], after: dict[Shard, WorkerId]) -> set[Shard]:
    return {shard for shard in before if before[shard] != after[shard]}


@pytest.mark.parametrize(("room_id", "shard"), [("hall", 23), ("lobby:main", 40), ("a", 47)])
def test_the_shard_of_a_room_never_changes(room_id: str, shard: int) -> None:
    # Stored rooms and streams are found by this number; another hash would lose all of them.
    assert shard_of(RoomId(room_id), 64) == shard


@given(st.text(max_size=128), st.integers(1, 1024))
def test_every_room_has_a_shard_of_the_cluster(room_id: str, shards: int) -> None:
    assert 0 <= shard_of(RoomId(room_id), shards) < shards


def test_rooms_spread_over_the_shards() -> None:
    load = Counter(shard_of(RoomId(f"room-{number}"), 64) for number in range(6_400))
    assert len(load) == 64
    assert max(load.values()) < 160


@given(st.integers(0, 1023), st.text(max_size=40), st.integers(1, 64))
def test_partitions_are_those_of_the_cluster(shard: int, user_id: str, partitions: int) -> None:
    assert 0 <= partition_of_shard(Shard(shard), partitions) < partitions
    assert 0 <= partition_of_person(UserId(user_id), 64, partitions) < partitions


def test_every_partition_has_shards() -> None:
    assert Counter(partition_of_shard(Shard(shard), 4) for shard in range(64)) == dict.fromkeys(range(4), 16)


def test_without_workers_nobody_owns_anything() -> None:
    assert propose_owners(64, []) == {}


@given(st.integers(1, 96), workers_of_a_cluster)
def test_every_shard_has_one_owner_and_the_shares_differ_by_at_most_one(shards: int, workers: list[WorkerId]) -> None:
    owners = propose_owners(shards, workers)
    assert sorted(owners) == list(range(shards))
    load = Counter(owners.values())
    shares = [load[worker] for worker in workers]
    assert sum(shares) == shards
    assert set(shares) <= {shards // len(workers), -(-shards // len(workers))}


@given(st.integers(1, 96), workers_of_a_cluster, st.randoms(use_true_random=False))
def test_the_order_of_the_workers_does_not_matter(shards: int, workers: list[WorkerId], rng: object) -> None:
    shuffled = [*workers, workers[0]]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert propose_owners(shards, shuffled) == propose_owners(shards, workers)


@pytest.mark.parametrize(("shards", "count"), [(64, 8), (128, 8), (256, 8), (64, 3), (64, 1)])
def test_few_shards_move_when_a_worker_comes_or_goes(shards: int, count: int) -> None:
    fewer, more = propose_owners(shards, named(count)), propose_owners(shards, named(count + 1))
    least = shards // (count + 1)
    # The new one's share must move; the capacity moves some more (docs/decisions/0002-shards-and-ownership.md).
    assert least <= len(moved(fewer, more)) <= 2 * least + 2
    newcomer = named(count + 1)[-1]
    assert {shard for shard, owner in more.items() if owner == newcomer} <= moved(fewer, more)


@given(st.integers(1, 64), st.integers(2, 9), st.data())
def test_a_worker_that_leaves_gives_all_and_the_others_keep_most(shards: int, count: int, data: st.DataObject) -> None:
    workers = named(count)
    leaver = data.draw(st.sampled_from(workers))
    before = propose_owners(shards, workers)
    after = propose_owners(shards, [worker for worker in workers if worker != leaver])
    assert leaver not in after.values()
    others = moved(before, after) - {shard for shard, owner in before.items() if owner == leaver}
    # Measured over all shapes up to here: never more than three beyond the mean share.
    assert len(others) <= shards // count + 3
