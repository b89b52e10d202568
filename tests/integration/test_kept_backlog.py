"""What waits for the database after a long outage, through a worker on the seams in memory."""

import asyncio
from collections.abc import Sequence

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.clock import SystemClock
from common.durable import ChatMessage
from common.durable_memory import MemoryDurableStore
from common.errors import StoreUnavailable
from common.ids import ConnNumber, EdgeId, Epoch, RoomId, Seq, Shard, UserId, WorkerId
from common.outbox import OutboxEntry, encode_entry
from common.settings import WorkerSettings, load
from roomworker.metrics import WorkerMetrics
from roomworker.worker import Worker
from tests.contract.builders import P0, W1, commit, part, take

SHARDS = 64
EACH = 500
AT_ONCE = 2_000


class SlowStore(MemoryDurableStore):
    """Takes so long for many messages that the call's time runs out, as a real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = 0

    async def append(self, messages: Sequence[ChatMessage]) -> None:
        await asyncio.sleep(0)
        if len(messages) > AT_ONCE:
            raise StoreUnavailable(f"{len(messages)} messages took too long")
        await super().append(messages)
        self.stored += len(messages)


async def test_a_backlog_of_all_shards_is_stored_in_parts() -> None:
    """All shards' entries went into one statement, which grew with the number of shards. Past the deadline of a
    call it was repeated as it was, for ever, and nothing was stored any more."""
    clock = SystemClock()
    bus = MemoryBus(MemoryStore(ClusterShape(SHARDS, 1), clock.now_ms))
    for shard in range(SHARDS):
        lease = await take(bus, shard, W1)
        await bus.commit(P0, commit(part(shard, lease, outbox=[_entry(shard, seq) for seq in range(1, EACH + 1)])))
        await bus.release(P0, W1, {Shard(shard): lease.token})
    store = SlowStore()
    worker = Worker(WorkerId("w2"), load(WorkerSettings, {}), bus, clock, WorkerMetrics(), store)
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(20):
            while sum(await bus.outbox_lengths(P0, [Shard(shard) for shard in range(SHARDS)])):
                assert not running.done()
                await asyncio.sleep(0.01)
    finally:
        worker.stop()
        await running
    assert store.stored == SHARDS * EACH
    for shard in (0, SHARDS - 1):
        newest = await store.page(RoomId(f"lobby:{shard}"), limit=1)
        assert [message.seq for message in newest.messages] == [EACH]


def _entry(shard: int, seq: int) -> bytes:
    message = ChatMessage(
        RoomId(f"lobby:{shard}"), Epoch(1), Seq(seq), f"m{shard}-{seq}", UserId("ann"), "Ann", f"word {seq}", 1_000
    )
    return encode_entry(OutboxEntry(message, EdgeId("gone"), ConnNumber(1)))
