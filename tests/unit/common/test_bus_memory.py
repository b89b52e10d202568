"""What the store in memory has of its own: its clock, its bounds, and telling those who wait."""

import asyncio

import pytest

from common.bus import Acquired, ClusterShape, Held
from common.bus_memory import WAKE_TTL_MS, WANT_TTL_MS, MemoryBus, MemoryStore
from common.ids import Epoch, Seq, Shard
from tests.contract.builders import E1, P0, ROOM, W1, W2, commit, part, patch

S1 = Shard(1)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_ms = 5_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def store(clock: Hand) -> MemoryStore:
    return MemoryStore(
        ClusterShape(4, 1), clock, history_events_max=3, output_entries_max=2, output_ttl_ms=WANT_TTL_MS * 10
    )


def take(store: MemoryStore, ttl_ms: int = 100) -> Acquired:
    answer = store.acquire(P0, W1, ttl_ms, [S1])[S1]
    assert isinstance(answer, Acquired)
    return answer


def test_a_lease_ends_at_its_very_millisecond(store: MemoryStore, clock: Hand) -> None:
    take(store)
    clock.now_ms += 99
    assert store.acquire(P0, W2, 100, [S1]) == {S1: Held(W1, 1)}
    clock.now_ms += 1
    assert isinstance(store.acquire(P0, W2, 100, [S1])[S1], Acquired)


def test_a_wish_is_forgotten_after_a_while(store: MemoryStore, clock: Hand) -> None:
    lease = take(store, WANT_TTL_MS * 3)
    store.acquire(P0, W2, 100, [S1])
    clock.now_ms += WANT_TTL_MS - 1
    renewed = store.renew(W1, WANT_TTL_MS * 3, {S1: lease.token})[S1]
    assert renewed is not None
    assert renewed.wanted_by == W2
    clock.now_ms += 1
    renewed = store.renew(W1, 100, {S1: lease.token})[S1]
    assert renewed is not None
    assert renewed.wanted_by is None


def test_a_wake_that_nobody_takes_is_dropped(store: MemoryStore, clock: Hand) -> None:
    store.wake(P0, W1)
    clock.now_ms += WAKE_TTL_MS
    assert not store.take_wake(P0, W1)
    store.wake(P0, W1)
    assert store.take_wake(P0, W1)
    assert not store.take_wake(P0, W1)


def test_history_and_outputs_are_bounded_exactly(store: MemoryStore) -> None:
    lease = take(store)
    store.announce("edge", E1, b"", 100)
    for version in range(5):
        events = [patch(seqs=range(version + 1, version + 2))]
        store.commit(P0, commit(part(1, lease, version, rooms=events), outputs={E1: b"o"}))
    assert [seq for seq, _ in store.load_history(ROOM, Epoch(1), Seq(0))] == [3, 4, 5]
    assert [entry.position for entry in store.output_after(P0, E1, 0)] == [4, 5]


def test_what_was_loaded_does_not_change_the_store(store: MemoryStore) -> None:
    lease = take(store)
    store.commit(P0, commit(part(1, lease, rooms=[patch(fields={"a": b"1"})], marks={E1: 1})))
    store.load_rooms([ROOM])[ROOM]["a"] = b"2"
    again = take(store)
    again.marks[E1] = 9
    assert store.load_rooms([ROOM]) == {ROOM: {"a": b"1"}}
    assert take(store).marks == {E1: 1}


def test_watchers_are_told_of_their_topics_until_they_end(store: MemoryStore) -> None:
    told: list[str] = []
    end = store.watch([("in", S1), ("wake", P0, W1)], lambda: told.append("first"))
    store.watch([("in", S1)], lambda: told.append("second"))()
    store.append_input(S1, b"a")
    store.append_input(Shard(2), b"b")
    store.wake(P0, W1)
    store.wake(P0, W2)
    end()
    end()
    store.append_input(S1, b"c")
    assert told == ["first", "first"]


def test_a_commit_of_another_partition_is_a_bug(clock: Hand) -> None:
    store = MemoryStore(ClusterShape(4, 2), clock)
    with pytest.raises(AssertionError):
        store.commit(P0, commit(part(1, 1)))


async def test_many_readers_wait_at_once_and_leave_no_trace(store: MemoryStore) -> None:
    buses = [MemoryBus(store) for _ in range(20)]
    waits = [asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000)) for bus in buses]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.append_input(S1, b"a")
    assert all([len(await wait) == 1 for wait in waits])
    assert not store._watchers
