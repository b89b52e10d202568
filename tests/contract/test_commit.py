"""The commit: its fence, that it is all or nothing, and what it writes into rooms."""

from common.bus import CommitAnswer
from common.ids import Epoch, Partition, RoomId, Seq, Shard
from tests.contract.builders import E1, LONG_MS, P0, ROOM, S1, S2, W1, W2, commit, part, patch, take
from tests.contract.conftest import HISTORY_EVENTS_MAX, Bus, MakeWorld, World

DONE = CommitAnswer(done=True)
ALREADY = CommitAnswer(done=True, already=True)


async def fields_of(bus: Bus, room: str = ROOM) -> dict[str, bytes]:
    return (await bus.load_rooms(P0, [RoomId(room)]))[RoomId(room)]


async def seqs_of(bus: Bus, epoch: int = 1, after: int = 0) -> list[int]:
    return [seq for seq, _ in await bus.load_history(P0, ROOM, Epoch(epoch), Seq(after))]


async def test_fields_are_set_and_deleted(bus: Bus) -> None:
    lease = await take(bus, S1)
    assert await fields_of(bus) == {}
    assert await bus.commit(P0, commit(part(S1, lease, rooms=[patch(fields={"a": b"1", "b": b"2"})]))) == DONE
    await bus.commit(P0, commit(part(S1, lease, 1, rooms=[patch(fields={"b": b"3", "c": b"\x00"}, delete=["a", "z"])])))
    assert await fields_of(bus) == {"b": b"3", "c": b"\x00"}
    await bus.commit(P0, commit(part(S1, lease, 2, rooms=[patch(delete=["b", "c"])])))
    assert await bus.load_rooms(P0, [ROOM, RoomId("none")]) == {ROOM: {}, RoomId("none"): {}}
    assert await bus.load_rooms(P0, []) == {}


async def test_thousands_of_fields_fit_into_one_commit(bus: Bus) -> None:
    lease = await take(bus, S1)
    fields = {f"field{number}": b"%d" % number for number in range(9_001)}
    big = patch(fields=fields, seqs=range(1, 3_001))
    assert await bus.commit(P0, commit(part(S1, lease, rooms=[big]))) == DONE
    assert await fields_of(bus) == fields
    await bus.commit(P0, commit(part(S1, lease, 1, rooms=[patch(delete=list(fields))])))
    assert await fields_of(bus) == {}


async def test_repeating_a_commit_says_that_it_was_written_and_writes_nothing_twice(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.announce("edge", E1, b"", LONG_MS)
    batch = commit(part(S1, lease, 0, 4, rooms=[patch(fields={"a": b"1"}, seqs=range(1, 3))]), outputs={E1: b"o"})
    assert await bus.commit(P0, batch) == DONE
    assert await bus.commit(P0, batch) == ALREADY
    assert len(await bus.read_output(P0, E1, 0, 0)) == 1
    assert await seqs_of(bus) == [1, 2]
    assert (await bus.shard_status())[S1].version == 1


async def test_another_owners_commit_is_fenced_and_nothing_is_written(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, W1, 20)
    await bus.announce("edge", E1, b"", LONG_MS)
    await world.pass_ms(20)
    await take(bus, S1, W2)
    await bus.append_inputs([(S1, b"a")])
    batch = commit(
        part(S1, lease, 0, 1, rooms=[patch(fields={"a": b"1"}, seqs=range(1, 2), active=True)]), outputs={E1: b"o"}
    )
    assert await bus.commit(P0, batch) == CommitAnswer(done=False, fenced=(S1,))
    assert await fields_of(bus) == {}
    assert await seqs_of(bus) == []
    assert await bus.active_rooms(S1) == []
    assert await bus.read_output(P0, E1, 0, 0) == []
    assert await bus.input_lengths([S1]) == [1]
    assert (await bus.shard_status())[S1].version == 0


async def test_a_lease_that_ran_out_may_still_write_until_somebody_takes_it(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, W1, 20)
    await world.pass_ms(20)
    assert await bus.commit(P0, commit(part(S1, lease))) == DONE


async def test_an_unknown_shard_is_fenced(bus: Bus) -> None:
    assert await bus.commit(P0, commit(part(S1, 77))) == CommitAnswer(done=False, fenced=(S1,))


async def test_a_version_that_is_not_the_stores_is_stale(bus: Bus) -> None:
    lease = await take(bus, S1)
    assert await bus.commit(P0, commit(part(S1, lease, 5))) == CommitAnswer(done=False, stale=(S1,))
    await bus.commit(P0, commit(part(S1, lease, 0, 2)))
    # One higher, but with another cursor: not this commit.
    assert await bus.commit(P0, commit(part(S1, lease, 0, 3))) == CommitAnswer(done=False, stale=(S1,))


async def test_after_a_data_loss_the_old_owner_is_fenced(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease)))
    await world.flush()
    assert await bus.commit(P0, commit(part(S1, lease, 1))) == CommitAnswer(done=False, fenced=(S1,))
    again = await take(bus, S1)
    assert again.version == 0


async def test_one_fenced_shard_stops_the_whole_commit(bus: Bus, world: World) -> None:
    kept = await take(bus, S1)
    lost = await take(bus, S2, W1, 20)
    await world.pass_ms(20)
    await take(bus, S2, W2)
    batch = commit(
        part(S1, kept, rooms=[patch("one", fields={"a": b"1"})]),
        part(S2, lost, rooms=[patch("two", fields={"a": b"1"})]),
    )
    assert await bus.commit(P0, batch) == CommitAnswer(done=False, fenced=(S2,))
    assert await fields_of(bus, "one") == {}
    assert await fields_of(bus, "two") == {}
    assert await bus.commit(P0, commit(batch.shards[0])) == DONE
    assert await fields_of(bus, "one") == {"a": b"1"}


async def test_fenced_and_stale_shards_are_both_named(bus: Bus) -> None:
    own = await take(bus, S1)
    answer = await bus.commit(P0, commit(part(S2, 9), part(S1, own, 3)))
    assert answer == CommitAnswer(done=False, fenced=(S2,), stale=(S1,))


async def test_a_written_batch_that_lost_a_shard_since_is_recognised_for_the_rest(bus: Bus, world: World) -> None:
    """The reply was lost and one shard was taken; calling the other stale would begin a new epoch for nothing."""
    kept = await take(bus, S1)
    lost = await take(bus, S2, W1, 20)
    batch = commit(part(S1, kept, 0, 1), part(S2, lost, 0, 1))
    assert await bus.commit(P0, batch) == DONE
    await world.pass_ms(20)
    await take(bus, S2, W2)
    assert await bus.commit(P0, batch) == CommitAnswer(done=False, fenced=(S2,))
    assert await bus.commit(P0, commit(batch.shards[0])) == ALREADY


async def test_history_keeps_the_newest_and_is_read_by_epoch_and_place(bus: Bus) -> None:
    lease = await take(bus, S1)
    # Redis trims whole nodes of at most 100 events, so it may keep that many more.
    total = HISTORY_EVENTS_MAX + 250
    for version in range(total // 10):
        events = range(version * 10 + 1, version * 10 + 11)
        await bus.commit(P0, commit(part(S1, lease, version, rooms=[patch(seqs=events)])))
    kept = await seqs_of(bus)
    assert kept == list(range(total - len(kept) + 1, total + 1))
    assert HISTORY_EVENTS_MAX <= len(kept) <= HISTORY_EVENTS_MAX + 100
    assert await bus.load_history(P0, ROOM, Epoch(1), Seq(total - 2)) == [
        (total - 1, b"1.%d" % (total - 1)),
        (total, b"1.%d" % total),
    ]
    assert await seqs_of(bus, after=total) == []
    assert await seqs_of(bus, epoch=2) == []


async def test_what_is_redacted_leaves_the_history_and_its_place_stays_empty(bus: Bus) -> None:
    lease = await take(bus, S1)
    assert (await bus.commit(P0, commit(part(S1, lease, rooms=[patch(seqs=range(1, 6))])))).done
    gone = patch(seqs=range(6, 8), redacted=[2, 4, 6, 99])
    assert (await bus.commit(P0, commit(part(S1, lease, 1, rooms=[gone])))).done
    assert await seqs_of(bus) == [1, 3, 5, 7]
    other = patch(epoch=2, redacted=[1])
    assert (await bus.commit(P0, commit(part(S1, lease, 2, rooms=[other])))).done
    assert await seqs_of(bus) == [1, 3, 5, 7]


async def test_a_new_epoch_starts_beside_the_old_one(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, rooms=[patch(epoch=5, seqs=range(1, 4))])))
    await bus.commit(P0, commit(part(S1, lease, 1, rooms=[patch(epoch=6, seqs=range(1, 3))])))
    assert await seqs_of(bus, epoch=5, after=1) == [2, 3]
    assert await seqs_of(bus, epoch=6) == [1, 2]


async def test_a_log_left_over_from_a_lost_state_is_begun_anew(bus: Bus) -> None:
    """XADD refuses an id below the top; half of a batch would have been written."""
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, rooms=[patch(epoch=9, fields={"a": b"1"}, seqs=range(1, 6))])))
    older = patch(epoch=3, fields={"a": b"2"}, seqs=range(1, 3))
    answer = await bus.commit(P0, commit(part(S1, lease, 1, rooms=[older, patch("next", fields={"b": b"1"})])))
    assert answer == DONE
    assert await seqs_of(bus, epoch=9) == []
    assert await seqs_of(bus, epoch=3) == [1, 2]
    assert await fields_of(bus) == {"a": b"2"}
    assert await fields_of(bus, "next") == {"b": b"1"}


async def test_a_room_expires_with_its_history_when_told_and_stays_when_kept(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    first = [patch(name, fields={"a": b"1"}, seqs=range(1, 3), ttl_ms=40) for name in (ROOM, "kept", "changed")]
    await bus.commit(P0, commit(part(S1, lease, rooms=first)))
    await bus.commit(
        P0, commit(part(S1, lease, 1, rooms=[patch("kept", ttl_ms=0), patch("changed", fields={"a": b"2"})]))
    )
    await world.pass_ms(45)
    assert await fields_of(bus) == {}
    assert await seqs_of(bus) == []
    assert await fields_of(bus, "kept") == {"a": b"1"}
    assert len(await bus.load_history(P0, RoomId("kept"), Epoch(1), Seq(0))) == 2
    # A change alone leaves the expiry as it is.
    assert await fields_of(bus, "changed") == {}


async def test_a_log_begun_anew_keeps_its_expiry(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, rooms=[patch(epoch=9, seqs=range(1, 3), ttl_ms=40)])))
    await bus.commit(P0, commit(part(S1, lease, 1, rooms=[patch(epoch=3, seqs=range(1, 2))])))
    await world.pass_ms(45)
    assert await seqs_of(bus, epoch=3) == []


async def test_active_rooms_belong_to_their_shard(bus: Bus) -> None:
    lease, other = await take(bus, S1), await take(bus, S2)
    await bus.commit(
        P0, commit(part(S1, lease, rooms=[patch("b", active=True), patch("a", active=True)]), part(S2, other))
    )
    assert sorted(await bus.active_rooms(S1)) == ["a", "b"]
    assert await bus.active_rooms(S2) == []
    await bus.commit(P0, commit(part(S1, lease, 1, rooms=[patch("b", active=False), patch("a"), patch("c")])))
    assert await bus.active_rooms(S1) == ["a"]


async def test_every_partition_works_for_itself(make_world: MakeWorld) -> None:
    from common.bus import ClusterShape

    world = await make_world(ClusterShape(shards=7, partitions=3))
    bus = world.bus()
    await bus.open_cluster(ClusterShape(7, 3))
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    assert await bus.announce("edge", E1, b"", LONG_MS)
    await bus.append_inputs([(shard, b"%d" % shard) for shard in map(Shard, range(7))])
    for number in range(3):
        partition = Partition(number)
        shards = [Shard(shard) for shard in range(7) if shard % 3 == number]
        entries = await bus.read_inputs(partition, W1, dict.fromkeys(shards, 0), 10, 100)
        assert [(entry.shard, entry.data) for entry in entries] == [(shard, b"%d" % shard) for shard in shards]
        leases = {shard: await take(bus, shard, partition=partition) for shard in shards}
        rooms = [patch(f"room{number}", fields={"n": b"%d" % number}, seqs=range(1, 3), active=True)]
        parts = [part(shard, lease, 0, 1, rooms=rooms if shard == number else None) for shard, lease in leases.items()]
        assert await bus.commit(partition, commit(*parts, outputs={E1: b"to %d" % number})) == DONE
        assert [entry.data for entry in await bus.read_output(partition, E1, 0, 0)] == [b"to %d" % number]
        room = RoomId(f"room{number}")
        assert await bus.load_rooms(partition, [room]) == {room: {"n": b"%d" % number}}
        assert len(await bus.load_history(partition, room, Epoch(1), Seq(1))) == 1
        assert await bus.active_rooms(Shard(number)) == [room]
        first = Shard(number)
        assert await bus.renew(partition, W2, LONG_MS, {first: leases[first].token}) == {first: None}
        await bus.release(partition, W1, {first: leases[first].token})
    status = await bus.shard_status()
    assert [(found.shard, found.owner, found.version, found.backlog) for found in status] == [
        (shard, None if shard < 3 else W1, 1, 0) for shard in range(7)
    ]
    await bus.withdraw("edge", E1)
