"""Input streams: order, positions, lengths, waiting, trimming."""

import asyncio
import time

import pytest

from common.bus import ShardEntry
from tests.contract.builders import P0, S1, S2, S3, W1, W2, commit, part, take
from tests.contract.conftest import Bus, World


async def test_appends_are_in_order_with_contiguous_positions(bus: Bus, world: World) -> None:
    assert await bus.append_inputs([(S1, b"a"), (S2, b"b"), (S1, b"c")]) == [1, 1, 2]
    assert await world.bus().append_inputs([(S1, b"d")]) == [3]
    assert await bus.append_inputs([]) == []
    assert await bus.read_inputs(P0, W1, {S1: 0, S2: 0, S3: 0}, 10, 0) == [
        ShardEntry(S1, 1, b"a"),
        ShardEntry(S1, 2, b"c"),
        ShardEntry(S1, 3, b"d"),
        ShardEntry(S2, 1, b"b"),
    ]


async def test_lengths_are_those_of_the_waiting_batches(bus: Bus) -> None:
    await bus.append_inputs([(S1, b"a"), (S1, b"b"), (S2, b"c")])
    assert await bus.input_lengths([S2, S1, S3]) == [1, 2, 0]
    assert await bus.input_lengths([]) == []


async def test_reading_starts_after_each_cursor_and_takes_count_of_each_shard(bus: Bus) -> None:
    await bus.append_inputs([(shard, b"%d" % number) for number in range(1, 6) for shard in (S1, S2)])
    entries = await bus.read_inputs(P0, W1, {S1: 0, S2: 3}, 2, 0)
    assert [(entry.shard, entry.position) for entry in entries] == [(S1, 1), (S1, 2), (S2, 4), (S2, 5)]
    assert await bus.read_inputs(P0, W1, {S1: 5}, 2, 0) == []


async def test_a_read_waits_as_long_as_told_and_no_longer(bus: Bus) -> None:
    began = time.monotonic()
    assert await bus.read_inputs(P0, W1, {S1: 0}, 10, 30) == []
    assert 0.025 < time.monotonic() - began < 1.0


async def test_a_waiting_read_gets_what_comes(bus: Bus, world: World) -> None:
    waiting = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0, S2: 0}, 10, 5_000))
    await asyncio.sleep(0.01)
    await world.bus().append_inputs([(S2, b"now")])
    assert await asyncio.wait_for(waiting, 1) == [ShardEntry(S2, 1, b"now")]


async def test_a_wake_ends_a_read_now_or_the_next_one_but_only_once(bus: Bus, world: World) -> None:
    waiting = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000))
    await asyncio.sleep(0.01)
    await world.bus().wake(P0, W1)
    assert await asyncio.wait_for(waiting, 1) == []
    await bus.wake(P0, W1)
    assert await asyncio.wait_for(bus.read_inputs(P0, W1, {}, 10, 5_000), 1) == []
    began = time.monotonic()
    assert await bus.read_inputs(P0, W1, {S1: 0}, 10, 30) == []
    assert time.monotonic() - began > 0.025


async def test_a_wake_is_for_one_worker(bus: Bus, world: World) -> None:
    await bus.wake(P0, W2)
    began = time.monotonic()
    assert await bus.read_inputs(P0, W1, {}, 10, 30) == []
    assert time.monotonic() - began > 0.025
    assert await asyncio.wait_for(world.bus().read_inputs(P0, W2, {}, 10, 5_000), 1) == []


async def test_a_wake_does_not_hide_entries(bus: Bus) -> None:
    await bus.append_inputs([(S1, b"a")])
    await bus.wake(P0, W1)
    assert await bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000) == [ShardEntry(S1, 1, b"a")]


async def test_cancelling_a_waiting_read_leaves_the_bus_usable(bus: Bus) -> None:
    waiting = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await bus.append_inputs([(S1, b"a")])
    assert await bus.read_inputs(P0, W1, {S1: 0}, 10, 1_000) == [ShardEntry(S1, 1, b"a")]


async def test_a_commit_trims_what_was_taken_and_nothing_else(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"%d" % number) for number in range(1, 6)])
    await bus.append_inputs([(S2, b"other")])
    await bus.commit(P0, commit(part(S1, lease, 0, 3)))
    assert await bus.input_lengths([S1, S2]) == [2, 1]
    assert [entry.position for entry in await bus.read_inputs(P0, W1, {S1: 0}, 10, 0)] == [4, 5]
    await bus.commit(P0, commit(part(S1, lease, 1, 5)))
    assert await bus.input_lengths([S1]) == [0]
    # Positions go on, also where the stream was emptied.
    await bus.append_inputs([(S1, b"6")])
    assert await bus.read_inputs(P0, W1, {S1: 5}, 10, 0) == [ShardEntry(S1, 6, b"6")]
