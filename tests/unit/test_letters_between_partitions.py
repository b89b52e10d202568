"""Letters between rooms of three partitions: a thread in one, the inboxes of its two persons in the others."""

import asyncio
from typing import Any

from common.ids import Partition, Shard, inbox_of, thread_of
from common.ring import partition_of_shard, shard_of
from tests.unit import town as towns
from tests.unit.stage import ADA, CY
from tests.unit.town import SHARDS, Person, Town, settle

THREAD = thread_of(ADA, CY)
PARTITIONS = 3
OF_THREAD, OF_ADA, OF_CY = (
    partition_of_shard(shard_of(room, SHARDS), PARTITIONS) for room in (THREAD, inbox_of(ADA), inbox_of(CY))
)


def run(course: Any, **options: Any) -> None:
    towns.run(course, partitions=PARTITIONS, **options)


async def friends(town: Town) -> tuple[Person, Person]:
    ada, cy = town.person(ADA).join(), town.person(CY, 1).join("elsewhere")
    await town.befriend(ADA, CY)
    await settle()
    return ada, cy


def write(person: Person, to: str, text: str) -> None:
    person.send("direct_send", {"recipientId": to, "text": text}, id=text)


def texts(person: Person) -> list[str]:
    person.read()
    return [event["payload"]["text"] for event in person.heard if event["t"] == "direct_message"]


def acked(person: Person) -> list[str]:
    person.read()
    return [event["re"] for event in person.heard if event["t"] == "ack"]


def waiting(town: Town) -> int:
    return sum(sum(town.store.relay_lengths(Shard(shard)).values()) for shard in range(SHARDS))


def test_the_three_rooms_are_in_three_partitions() -> None:
    assert {OF_THREAD, OF_ADA, OF_CY} == {Partition(0), Partition(1), Partition(2)}


def test_a_worker_that_dies_after_the_commit_leaves_the_letters_to_the_next() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        town.line.unreachable |= {OF_ADA, OF_CY}
        write(ada, CY, "last words")
        await settle()
        assert acked(ada) == ["last words"]
        assert (texts(ada), texts(cy)) == ([], [])
        await town.lose_worker()
        assert (texts(ada), texts(cy)) == (["last words"], ["last words"])

    run(course)


def test_what_was_moved_before_its_trim_is_moved_again_and_taken_once() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        await asyncio.sleep(2)
        assert waiting(town) == 0
        write(ada, CY, "once")
        await settle()
        assert texts(cy) == ["once"]
        assert waiting(town) == 2
        await town.lose_worker()
        assert waiting(town) == 0
        assert (texts(ada), texts(cy)) == (["once"], ["once"])

    run(course)


def test_lost_replies_double_nothing() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        town.line.relay_replies_lost = 5
        for number in range(3):
            write(ada, CY, f"m{number}")
        await asyncio.sleep(2)
        assert town.line.relay_replies_lost == 0
        assert texts(ada) == texts(cy) == ["m0", "m1", "m2"]

    run(course)


def test_a_partition_that_does_not_answer_holds_up_no_other() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        town.line.unreachable.add(OF_CY)
        for number in range(3):
            write(ada, CY, f"m{number}")
        await asyncio.sleep(2)
        assert (texts(ada), texts(cy)) == (["m0", "m1", "m2"], [])
        town.line.unreachable.clear()
        await settle()
        await asyncio.sleep(0.2)
        assert texts(cy) == ["m0", "m1", "m2"]

    run(course)


def test_past_the_bound_who_writes_hears_busy_and_may_again_when_there_is_room() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        await asyncio.sleep(2)
        town.line.unreachable.add(OF_CY)
        for text in ("m0", "m1", "late"):
            write(ada, CY, text)
            await settle()
        assert acked(ada) == ["m0", "m1"]
        assert (ada.last("error")["re"], ada.last("error")["payload"]["code"]) == ("late", "busy")
        # A space writes no letters, wherever it is.
        ada.chat("hello", id="c")
        await settle()
        assert acked(ada) == ["m0", "m1", "c"]
        await town.lose_worker()
        write(ada, CY, "late")
        await settle()
        assert acked(ada) == ["m0", "m1", "c", "late"]
        assert texts(ada) == texts(cy) == ["m0", "m1", "late"]

    run(course, relay_entries_max=2)


def test_letters_arrive_after_the_partition_of_their_writer_lost_its_data() -> None:
    async def course(town: Town) -> None:
        ada, cy = await friends(town)
        for number in range(5):
            write(ada, CY, f"m{number}")
        await asyncio.sleep(2)
        town.store.flush_partition(OF_THREAD)
        await asyncio.sleep(3)
        # Its relays begin at 1 again, below what the inboxes have taken.
        await town.befriend(ADA, CY)
        write(ada, CY, "after")
        await asyncio.sleep(2)
        assert acked(ada)[-1] == "after"
        assert texts(cy) == ["m0", "m1", "m2", "m3", "m4", "after"]

    run(course)


def test_a_block_reaches_rooms_of_every_partition() -> None:
    async def course(town: Town) -> None:
        rooms = [f"room{number}" for number in range(12)]
        ada, cy = await friends(town)
        for room in rooms:
            ada.join(room), cy.join(room)
        await settle()
        for blocked in (False, True):
            await town.block(CY, ADA, blocked=blocked)
            await settle()
            for room in rooms:
                ada.send("local_chat", {"roomId": room, "text": room, "mode": "local"}, id=f"{room}/{blocked}")
            await asyncio.sleep(0.2)
            assert cy.count("chat_broadcast") == len(rooms)
        assert len(acked(ada)) == 2 * len(rooms)
        assert {partition_of_shard(shard_of(room, SHARDS), PARTITIONS) for room in rooms} == {0, 1, 2}  # type: ignore[arg-type]

    run(course)


def test_what_waits_is_counted_also_by_the_next_owner_and_trimmed() -> None:
    async def course(town: Town) -> None:
        ada, _ = await friends(town)
        await asyncio.sleep(2)
        town.line.unreachable.add(OF_CY)
        write(ada, CY, "m")
        await asyncio.sleep(2)
        gauge = town.worker.metrics.relay_waiting
        assert waiting(town) == 1
        assert gauge._value.get() == 1
        await town.change_worker()
        await asyncio.sleep(2)
        assert waiting(town) == 0
        assert town.worker.metrics.relay_waiting._value.get() == 0

    run(course)
