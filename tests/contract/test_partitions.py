"""Calls over several partitions: on a Redis Cluster each part of them goes to another server."""

import asyncio

from common.bus import Person
from common.ids import Partition, Shard, UserId
from tests.contract.builders import E1, LONG_MS, SHAPE, W1, commit, part, take
from tests.contract.conftest import Bus, World

PARTITIONS = [Partition(number) for number in range(SHAPE.partitions)]
SHARDS = [Shard(number) for number in range(SHAPE.shards)]


async def test_appends_keep_their_order_in_each_shard_and_tell_its_length(bus: Bus) -> None:
    appends = [(shard, b"%d" % number) for number in range(3) for shard in reversed(SHARDS)]
    assert await bus.append_inputs(appends) == [1] * 12 + [2] * 12 + [3] * 12
    assert await bus.append_inputs([(SHARDS[4], b"x"), (SHARDS[1], b"y"), (SHARDS[4], b"z")]) == [4, 4, 5]
    assert await bus.input_lengths(SHARDS) == [5 if shard == 4 else 4 if shard == 1 else 3 for shard in SHARDS]
    for partition in PARTITIONS:
        cursors = dict.fromkeys(SHARDS[partition :: SHAPE.partitions], 0)
        found = await bus.read_inputs(partition, W1, cursors, 3, 0)
        for shard in cursors:
            assert [entry.data for entry in found if entry.shard == shard] == [b"0", b"1", b"2"]


async def test_an_edge_has_a_stream_in_each_partition_as_long_as_it_lives(bus: Bus) -> None:
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    assert await bus.announce("edge", E1, b"", LONG_MS)
    leases = {partition: await take(bus, Shard(partition), partition=partition) for partition in PARTITIONS}
    for partition, lease in leases.items():
        assert (await bus.commit(partition, commit(part(Shard(partition), lease), outputs={E1: b"o"}))).done
        assert len(await bus.read_output(partition, E1, 0, 0)) == 1
    await bus.withdraw("edge", E1)
    for partition in PARTITIONS:
        assert await bus.read_output(partition, E1, 0, 0) == []
    assert not await bus.announce("edge", E1, b"", LONG_MS)


async def test_people_of_all_partitions_are_filled_in_and_found_at_once(bus: Bus) -> None:
    users = [UserId(f"user{number}") for number in range(20)]
    stored = {user: Person(frozenset({users[0]}), 7, number) for number, user in enumerate(users)}
    await bus.fill_in(stored)
    assert await bus.people(users) == {
        user: Person(person.blocks, person.muted_until_ms, person.barred_until_ms, filled=True)
        for user, person in stored.items()
    }


async def test_dead_letters_of_all_partitions_are_listed_in_the_order_asked_for(bus: Bus) -> None:
    for partition in PARTITIONS:
        lease = await take(bus, Shard(partition), partition=partition)
        await bus.commit(partition, commit(part(Shard(partition), lease, dead=[b"%d" % partition])))
    asked = [Shard(2), Shard(5), Shard(0), Shard(1)]
    assert await bus.dead_letter_counts(asked) == [1, 0, 1, 1]
    assert [(entry.shard, entry.data) for entry in await bus.dead_letters(asked, 10)] == [
        (2, b"2"),
        (0, b"0"),
        (1, b"1"),
    ]
    for shard in (Shard(0), Shard(1), Shard(2)):
        assert await bus.retry_dead_letter(shard, 1, b"again")
        assert not await bus.drop_dead_letter(shard, 1)
    assert await bus.input_lengths(SHARDS[:4]) == [1, 1, 1, 0]


async def test_readers_of_all_partitions_wait_at_once(bus: Bus, world: World) -> None:
    reads = [
        asyncio.create_task(bus.read_inputs(partition, W1, {Shard(partition): 0}, 10, 5_000))
        for partition in PARTITIONS
    ]
    await asyncio.sleep(0.01)
    await world.bus().append_inputs([(Shard(partition), b"a") for partition in PARTITIONS])
    for partition, read in zip(PARTITIONS, reads, strict=True):
        assert [(entry.shard, entry.data) for entry in await asyncio.wait_for(read, 1)] == [(partition, b"a")]
