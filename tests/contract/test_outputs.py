"""Output streams: what a commit puts there, bounds, gaps, trimming."""

import asyncio
import time

import pytest

from common.bus import StreamEntry
from tests.contract.builders import E1, E2, LONG_MS, P0, S1, commit, part, take
from tests.contract.conftest import OUTPUT_ENTRIES_MAX, Bus, World


async def test_a_commit_puts_one_entry_into_each_edges_stream(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    await bus.announce("edge", E2, b"", LONG_MS)
    await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"a", E2: b"b"}))
    await bus.commit(P0, commit(part(S1, lease, 1), outputs={E1: b"c"}))
    assert await bus.read_output(P0, E1, 0, 0) == [StreamEntry(1, b"a"), StreamEntry(2, b"c")]
    assert await bus.read_output(P0, E1, 1, 0) == [StreamEntry(2, b"c")]
    assert await bus.read_output(P0, E2, 0, 0) == [StreamEntry(1, b"b")]


async def test_an_entry_for_a_stream_that_is_not_there_is_dropped(bus: Bus) -> None:
    lease = await take(bus, S1)
    answer = await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"lost"}))
    assert answer.done
    assert await bus.read_output(P0, E1, 0, 0) == []
    await bus.announce("edge", E1, b"", LONG_MS)
    assert await bus.read_output(P0, E1, 0, 0) == []


async def test_a_waiting_read_gets_what_comes_and_waits_no_longer_than_told(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    began = time.monotonic()
    assert await bus.read_output(P0, E1, 0, 30) == []
    assert 0.025 < time.monotonic() - began < 1.0
    waiting = asyncio.create_task(bus.read_output(P0, E1, 0, 5_000))
    await asyncio.sleep(0.01)
    await world.bus().commit(P0, commit(part(S1, lease), outputs={E1: b"now"}))
    assert await asyncio.wait_for(waiting, 1) == [StreamEntry(1, b"now")]


async def test_cancelling_a_waiting_read_leaves_the_bus_usable(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    waiting = asyncio.create_task(bus.read_output(P0, E1, 0, 5_000))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"a"}))
    assert await bus.read_output(P0, E1, 0, 1_000) == [StreamEntry(1, b"a")]


async def test_past_the_bound_the_oldest_go_and_the_reader_sees_the_gap(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    # Redis trims whole nodes of at most 100 entries, so it may keep that many more.
    total = OUTPUT_ENTRIES_MAX + 250
    for version in range(total):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"%d" % version}))
    entries = await bus.read_output(P0, E1, 0, 0)
    assert entries[0].position > 1
    assert [entry.position for entry in entries] == list(range(total - len(entries) + 1, total + 1))
    assert OUTPUT_ENTRIES_MAX <= len(entries) <= OUTPUT_ENTRIES_MAX + 100


async def test_trimming_drops_what_was_applied(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    for version in range(5):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"x"}))
    await bus.trim_output(P0, E1, 3)
    assert [entry.position for entry in await bus.read_output(P0, E1, 0, 0)] == [4, 5]
    await bus.trim_output(P0, E1, 5)
    assert await bus.read_output(P0, E1, 5, 0) == []
    await bus.commit(P0, commit(part(S1, lease, 5), outputs={E1: b"x"}))
    assert [entry.position for entry in await bus.read_output(P0, E1, 5, 0)] == [6]
    await bus.trim_output(P0, E2, 3)


async def test_trimming_spares_a_stream_that_was_made_anew(bus: Bus) -> None:
    """After a flush an idle edge trimmed up to its old position, and so dropped the answers to its own repairs.

    Its clients then waited for ever in rooms that had forgotten them.
    """
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    for version in range(2):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"x"}))
    await bus.trim_output(P0, E1, 40)
    assert [entry.position for entry in await bus.read_output(P0, E1, 40, 0)] == [1, 2]


async def test_a_waiting_read_past_the_end_of_a_new_stream_gets_what_comes(bus: Bus, world: World) -> None:
    """An edge that waited with its old position never heard of entries of the stream made anew."""
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    waiting = asyncio.create_task(bus.read_output(P0, E1, 40, 5_000))
    await asyncio.sleep(0.01)
    await world.bus().commit(P0, commit(part(S1, lease), outputs={E1: b"first"}))
    assert await asyncio.wait_for(waiting, 1) == [StreamEntry(1, b"first")]


async def test_a_new_stream_that_passes_the_old_position_at_once_is_read_from_its_beginning(bus: Bus) -> None:
    """The entry that the edge waited for came, so it noticed nothing: its clients never heard of their rooms again."""
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    for version in range(3):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"old"}))
    assert len(await bus.read_output(P0, E1, 0, 0)) == 3
    await bus.withdraw("edge", E1)
    waiting = asyncio.create_task(bus.read_output(P0, E1, 3, 1_000))
    await asyncio.sleep(0.01)
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    for version in range(3, 8):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"new"}))
    found = await asyncio.wait_for(waiting, 2)
    found += await bus.read_output(P0, E1, found[-1].position, 0)
    assert [entry.position for entry in found] == [1, 2, 3, 4, 5]
