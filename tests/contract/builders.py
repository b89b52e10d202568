"""Short ways to write commits."""

from collections.abc import Mapping

from common.bus import Acquired, ClusterShape, Commit, PersonPatch, RoomPatch, ShardCommit, WorkerBus
from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, WorkerId

SHAPE = ClusterShape(shards=12, partitions=3)
P0 = Partition(0)
S0, S1, S2, S3 = (Shard(number * SHAPE.partitions) for number in range(4))
"""All in partition 0, since one call is about one partition. Calls over several have tests of their own."""
W1, W2, W3 = WorkerId("w1"), WorkerId("w2"), WorkerId("w3")
E1, E2 = EdgeId("e1"), EdgeId("e2")
ROOM = RoomId("room")
LONG_MS = 60_000


async def take(
    bus: WorkerBus, shard: Shard, worker: WorkerId = W1, ttl_ms: int = LONG_MS, partition: Partition = P0
) -> Acquired:
    """Acquire one shard that must be free."""
    answer = (await bus.acquire(partition, worker, ttl_ms, [shard]))[shard]
    assert isinstance(answer, Acquired), answer
    return answer


def part(
    shard: Shard,
    lease: Acquired | int,
    version: int = 0,
    cursor: int = 0,
    *,
    rooms: list[RoomPatch] | None = None,
    marks: Mapping[EdgeId, int] | None = None,
    forget: list[EdgeId] | None = None,
    outbox: list[bytes] | None = None,
    outbox_upto: int = 0,
    people: list[PersonPatch] | None = None,
    dead: list[bytes] | None = None,
    relays: dict[Partition, list[bytes]] | None = None,
    relays_upto: dict[Partition, int] | None = None,
) -> ShardCommit:
    """Make a shard's part of a commit."""
    token = lease if isinstance(lease, int) else lease.token
    return ShardCommit(
        shard,
        LeaseToken(token),
        version,
        cursor,
        dict(marks or {}),
        forget or [],
        rooms or [],
        outbox or [],
        outbox_upto,
        people or [],
        dead or [],
        relays or {},
        relays_upto or {},
    )


def commit(
    *parts: ShardCommit, outputs: Mapping[EdgeId, bytes] | None = None, inputs: Mapping[Shard, bytes] | None = None
) -> Commit:
    """Make a commit."""
    return Commit(list(parts), dict(outputs or {}), dict(inputs or {}))


def patch(
    room: str = ROOM,
    *,
    epoch: int = 1,
    fields: Mapping[str, bytes] | None = None,
    delete: list[str] | None = None,
    seqs: range | None = None,
    active: bool | None = None,
    ttl_ms: int | None = None,
    redacted: list[int] | None = None,
) -> RoomPatch:
    """Make a room's patch; event n is `b"<epoch>.<n>"`."""
    history = [(Seq(seq), b"%d.%d" % (epoch, seq)) for seq in seqs or ()]
    return RoomPatch(
        RoomId(room),
        Epoch(epoch),
        dict(fields or {}),
        delete or [],
        history,
        active,
        ttl_ms,
        [Seq(seq) for seq in redacted or ()],
    )
