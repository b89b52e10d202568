"""What moves letters on: in order, as far as it gets, with what cannot be read set aside."""

from collections.abc import Sequence

import pytest

from common.bus import ClusterShape, Commit, ShardCommit
from common.bus_memory import MemoryBus, MemoryStore
from common.commands import BlockChanged, decode_batch
from common.errors import BusUnavailable
from common.ids import LeaseToken, Partition, Shard, UserId, WorkerId
from common.relay import RelayEntry, encode_entry
from roomworker.relay import BATCHES_AT_ONCE, ENTRIES_AT_ONCE, Relay
from tests.unit.clock import LoopClock, drive
from tests.unit.stage import START_MS

HERE, THERE = Partition(0), Partition(1)
S0, S2, TARGET = Shard(0), Shard(2), Shard(1)
SOURCES = (S0, S2, Shard(4), Shard(6))


class Bus(MemoryBus):
    calls_left = 10**9

    async def append_relayed(self, partition: Partition, appends: Sequence[tuple[Shard, bytes]]) -> None:
        if not self.calls_left:
            raise BusUnavailable("not reached")
        self.calls_left -= 1
        await super().append_relayed(partition, appends)


class Scene:
    """Relays that were filled, and who moves them."""

    def __init__(self) -> None:
        self.bus = Bus(MemoryStore(ClusterShape(8, 2), lambda: START_MS))
        answers = self.bus.store.acquire(HERE, WorkerId("w"), 10**9, SOURCES)
        self.tokens: dict[Shard, LeaseToken] = {shard: answer.token for shard, answer in answers.items()}  # type: ignore[union-attr]
        self.relay = Relay(self.bus, LoopClock(), HERE, THERE)
        self._versions = dict.fromkeys(SOURCES, 0)

    def write(self, shard: Shard, *entries: bytes) -> None:
        part = ShardCommit(shard, self.tokens[shard], self._versions[shard], 0, {}, [], [], relays={THERE: [*entries]})
        assert self.bus.store.commit(HERE, Commit([part], {})).done
        self._versions[shard] += 1

    def arrived(self) -> list[tuple[str, int, str]]:
        found = [decode_batch(entry.data) for entry in self.bus.store.inputs_after({TARGET: 0}, 10_000)]
        return [(batch.edge_id, batch.number, batch.commands[0].user_id) for batch in found]  # type: ignore[union-attr]


def letter(name: str) -> bytes:
    told = BlockChanged(UserId(name), UserId("x"), blocked=True)
    return encode_entry(RelayEntry(TARGET, LeaseToken(1), START_MS, [told]))


def test_each_shard_goes_on_from_where_it_was() -> None:
    async def course() -> None:
        scene = Scene()
        scene.write(S0, letter("a"), letter("b"))
        scene.write(S2, letter("c"))
        relayed = await scene.relay.move(scene.tokens)
        assert [(each.shard, each.token, each.to, each.upto, each.count) for each in relayed] == [
            (S0, scene.tokens[S0], THERE, 2, 2),
            (S2, scene.tokens[S2], THERE, 1, 1),
        ]
        assert await scene.relay.move(scene.tokens) == []
        scene.write(S0, letter("d"))
        assert [(each.upto, each.count) for each in await scene.relay.move(scene.tokens)] == [(3, 1)]
        assert scene.arrived() == [("relay:0", 1, "a"), ("relay:0", 2, "b"), ("relay:2", 1, "c"), ("relay:0", 3, "d")]

    drive(course())


def test_a_new_lease_begins_at_the_oldest_that_is_there() -> None:
    async def course() -> None:
        scene = Scene()
        scene.write(S0, letter("a"))
        await scene.relay.move(scene.tokens)
        scene.tokens[S0] = LeaseToken(scene.tokens[S0] + 1)
        assert [(each.token, each.upto) for each in await scene.relay.move(scene.tokens)] == [(scene.tokens[S0], 1)]
        assert scene.arrived() == [("relay:0", 1, "a")] * 2

    drive(course())


def test_where_it_fails_in_the_middle_all_comes_again_in_order() -> None:
    async def course() -> None:
        scene = Scene()
        assert len(SOURCES) * ENTRIES_AT_ONCE > BATCHES_AT_ONCE
        names = [f"n{number}" for number in range(ENTRIES_AT_ONCE + 1)]
        for shard in SOURCES:
            scene.write(shard, *map(letter, names))
        scene.bus.calls_left = 1
        with pytest.raises(BusUnavailable):
            await scene.relay.move(scene.tokens)
        assert len(scene.arrived()) == BATCHES_AT_ONCE
        scene.bus.calls_left = 10**9
        assert [each.upto for each in await scene.relay.move(scene.tokens)] == [ENTRIES_AT_ONCE] * len(SOURCES)
        assert [each.count for each in await scene.relay.move(scene.tokens)] == [1] * len(SOURCES)
        for shard in SOURCES:
            came = [name for edge, _, name in scene.arrived() if edge == f"relay:{shard}"]
            assert list(dict.fromkeys(came)) == names

    drive(course())


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on() -> None:
    async def course() -> None:
        scene = Scene()
        scene.write(S0, letter("a"), b"\xc1", letter("b"))
        (relayed,) = await scene.relay.move(scene.tokens)
        assert (relayed.upto, relayed.count) == (3, 3)
        assert [(dead.kind, dead.what, dead.content) for dead in relayed.dead] == [("entry", "RelayEntry", b"\xc1")]
        assert scene.arrived() == [("relay:0", 1, "a"), ("relay:0", 3, "b")]

    drive(course())
