"""What every room must know of persons, brought back where Redis lost it."""

from common.bus import ClusterShape, Person
from common.bus_memory import MemoryBus, MemoryStore
from common.durable import NO_END_MS, BlockSet, Record, Restricted
from common.durable_memory import MemoryDurableStore
from common.ids import RoomId, UserId, inbox_of
from common.people import fill_people

ANN, BOB = UserId("ann"), UserId("bob")


def restricted(number: int, kind: str, room: RoomId, until_ms: int | None) -> Restricted:
    return Restricted(f"r{number}", room, ANN, kind, "", "mod", 1, until_ms)  # type: ignore[arg-type]


async def test_mutes_and_bans_of_the_inbox_come_back_with_the_blocks() -> None:
    """Only the blocks came back: after Redis lost its data, who was muted for a thread could write again."""
    store = MemoryDurableStore()
    records: list[Record] = [
        BlockSet(ANN, BOB, True, 1),
        restricted(1, "mute", inbox_of(ANN), 90),
        restricted(2, "ban", inbox_of(ANN), None),
        restricted(3, "mute", RoomId("lobby:a"), None),
        restricted(4, "mute", inbox_of(BOB), None),
    ]
    await store.append(records)
    bus = MemoryBus(MemoryStore(ClusterShape(4, 1), lambda: 0))
    await fill_people(bus, store, [ANN, BOB], 10)
    assert await bus.people([ANN, BOB]) == {
        ANN: Person(frozenset({BOB}), 90, NO_END_MS, filled=True),
        BOB: Person(filled=True),
    }
