"""The seam to Redis: streams, leases, rooms and the registry of nodes. The comments here are the specification.

Two versions keep it: `common.bus_memory` (complete, for tests and simulation) and `common.bus_redis`.
tests/contract runs one suite on both.

What holds for every call: it may raise `BusUnavailable`, after which the call may or may not have taken
effect, and repeating it is safe. Cancelling a call is the same as `BusUnavailable`. Two callers may run at
once unless a call says otherwise.

Cursors and stream positions are the `n` of ids `0-<n>`, contiguous from 1; 0 stands before the first.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, UserId, WorkerId

Role = Literal["edge", "worker"]


class ClusterShape(Struct, frozen=True):
    """Fixed when a cluster is created; every process must agree."""

    shards: int
    partitions: int


class StreamEntry(Struct, frozen=True):
    """One entry of a stream."""

    position: int
    data: bytes


class ShardEntry(Struct, frozen=True):
    """One entry of a shard's input stream or outbox."""

    shard: Shard
    position: int
    data: bytes


class InputEntries(list[ShardEntry]):
    """What a read of inputs brought.

    `lease_news`: another worker asked for a shard, or gave one that was asked for. `server` is for the commit of
    what comes of the entries.
    """

    def __init__(self, entries: Iterable[ShardEntry] = (), *, server: str = "") -> None:
        super().__init__(entries)
        self.server = server
        self.lease_news = False


class Acquired(Struct, frozen=True):
    """The caller owns the shard now.

    `version` counts the commits of the shard, `cursor` is the last input taken, `marks` the `InputBatch.mark` of
    the last batch taken from each edge, and from each relay. `generation` is another one, and a greater one, whenever
    Redis may have lost commits of the shard since the acquisition before: rooms of an earlier one must begin a new
    epoch. `now_ms` is Redis's clock.
    """

    token: LeaseToken
    version: int
    cursor: int
    marks: dict[EdgeId, int]
    generation: int
    now_ms: int


class Held(Struct, frozen=True):
    """Another worker owns the shard for `remaining_ms` more, unless it renews."""

    owner: WorkerId
    remaining_ms: int


class Renewed(Struct, frozen=True):
    """The caller still owns the shard.

    `wanted_by` names a worker that asked for it, if one did lately. Not `is_proven`: Redis is another server than the
    one at which the shard was last known to be whole (it restarted, or a replica took over). Only a commit of the
    caller can tell that nothing was lost; until then another owner would have to assume that something was. `now_ms` is
    Redis's clock.
    """

    wanted_by: WorkerId | None
    is_proven: bool
    now_ms: int


class Person(Struct, frozen=True):
    """What every room must know of a person.

    `filled`: what the durable store has is in it. A cluster's Redis begins without them.
    """

    blocks: frozenset[UserId] = frozenset()
    muted_until_ms: int = 0
    """In direct messages, by a moderator."""
    barred_until_ms: int = 0
    """From the whole cluster, by a moderator."""
    filled: bool = False


NOBODY_KNOWN: Final = Person()


class PersonPatch(Struct):
    """What a batch changed of a person; None leaves as it is."""

    user_id: UserId
    blocks: dict[UserId, bool]
    muted_until_ms: int | None = None
    barred_until_ms: int | None = None


class RoomPatch(Struct):
    """What a batch changed in one room.

    `history` holds (seq, stored event) in order; the log keeps the newest `history_events_max`. `active`
    enters or removes the room from the shard's set of active rooms; `ttl_ms` sets when the stored room
    expires (0: never); None leaves either as it is. `redacted` events leave the log; their places stay empty.
    """

    room_id: RoomId
    epoch: Epoch
    set_fields: dict[str, bytes]
    delete_fields: list[str]
    history: list[tuple[Seq, bytes]]
    active: bool | None = None
    ttl_ms: int | None = None
    redacted: list[Seq] = []


class ShardCommit(Struct):
    """The part of a commit that belongs to one shard: its fence, and what to write."""

    shard: Shard
    token: LeaseToken
    version: int
    """Version that the caller knows; the commit makes it one higher."""
    cursor: int
    marks: dict[EdgeId, int]
    forget_marks: list[EdgeId]
    rooms: list[RoomPatch]
    outbox: list[bytes] = []
    """Entries for the durable store, in order."""
    outbox_upto: int = 0
    """Position up to which the outbox is in the durable store, and is trimmed; 0: nothing new."""
    people: list[PersonPatch] = []
    dead: list[bytes] = []
    """Dead letters, in order; the stream keeps the newest `dead_letters_max`."""
    relays: dict[Partition, list[bytes]] = {}
    """What rooms tell rooms of another partition, in order; `inputs` does not reach them."""
    relays_upto: dict[Partition, int] = {}
    """Position up to which the relay to a partition was moved there, and is trimmed."""
    is_proof: bool = False
    """Whether to write down that the shard is whole at this server, as the version shows; see `Renewed.is_proven`."""


class Commit(Struct):
    """Everything that one worker batch writes in one partition, all or nothing."""

    shards: list[ShardCommit]
    outputs: dict[EdgeId, bytes]
    inputs: dict[Shard, bytes] = {}
    """Batches for shards of the same partition: what rooms tell other rooms. The others: `ShardCommit.relays`."""
    server: str = ""
    """That of the `InputEntries` whose cursors are written; empty where none were read."""


class CommitAnswer(Struct, frozen=True):
    """How a commit ended.

    - `done`: written, now or (`already`) by an earlier call of the same commit whose reply was lost. After a
      lost reply and a lost shard together, the written shards are in neither list; repeated without the lost
      one, the commit answers `already`.
    - otherwise nothing was written, for any shard. `fenced` shards belong to another worker: drop their memory,
      send nothing. `stale` shards are still the caller's, but the store is not where the caller thinks
      (it lost data): drop their memory and acquire them again; the answer will have a new generation. `unread`
      shards lost nothing, but Redis is another server than the one that their input was read from, and may hold other
      input there: drop their memory, acquire them again, and read again from the stored cursor.
    """

    done: bool
    already: bool = False
    fenced: tuple[Shard, ...] = ()
    stale: tuple[Shard, ...] = ()
    unread: tuple[Shard, ...] = ()


class ShardStatus(Struct, frozen=True):
    """A shard as an operator sees it. `owner` is None where no lease is running."""

    shard: Shard
    owner: WorkerId | None
    token: LeaseToken
    version: int
    backlog: int


class Node(Struct, frozen=True):
    """A live process. `info` is what it said of itself."""

    node_id: str
    info: bytes


NO_VERSIONS: Final[Mapping[Shard, int]] = {}
"""For who releases a shard and knows no version of it."""


class Registry(Protocol):
    """Who is alive. The clock is Redis's."""

    async def open_cluster(self, shape: ClusterShape) -> None:
        """Create the cluster with this shape, or check that it was created with it. Idempotent.

        Raises:
            ClusterMismatch: the cluster exists with another shape. The text names both.
        """
        ...

    async def announce(self, role: Role, node_id: str, info: bytes, ttl_ms: int) -> bool:
        """Say that the node lives for `ttl_ms` more. False: it was not known (first call, or forgotten).

        For an edge this also creates its output streams where they are missing, and keeps them; False as well
        where one had to be made anew, since it may have missed entries.
        """
        ...

    async def withdraw(self, role: Role, node_id: str) -> None:
        """Forget the node and what belongs to it alone. Idempotent."""
        ...

    async def nodes(self, role: Role) -> list[Node]:
        """Return the live nodes of a role, in order of their ids."""
        ...

    async def shard_status(self) -> list[ShardStatus]:
        """Return all shards in order, with owner and backlog. For status pages; not atomic across partitions."""
        ...

    async def ping_ms(self) -> float:
        """Return how long an empty round trip took."""
        ...


class Outboxes(Protocol):
    """What waits for the durable store."""

    async def outbox_lengths(self, partition: Partition, shards: Sequence[Shard]) -> list[int]:
        """Return how many entries wait in these outboxes.

        An entry is counted from the commit that sequenced its message until a commit after the store had it.
        """
        ...


class Relays(Protocol):
    """What waits for another partition: written and trimmed by the commits of a shard, moved by its owner.

    A shard has a relay for each other partition, so that one that does not answer holds up no other.
    """

    async def relay_lengths(self, shard: Shard) -> dict[Partition, int]:
        """Return how many entries wait in the shard's relays."""
        ...

    async def read_relays(
        self, partition: Partition, to: Partition, after: Mapping[Shard, int], count: int
    ) -> list[ShardEntry]:
        """Return entries of the relays from these shards to a partition, after each position.

        At most `count` for each shard, in order. Does not wait.
        """
        ...

    async def append_relayed(self, partition: Partition, appends: Sequence[tuple[Shard, bytes]]) -> None:
        """Append batches to inputs of one partition, in order: all, or none.

        That no later batch comes in without an earlier one is what lets the receiver compare numbers. After
        `BusUnavailable` they may be there, or get there later; repeat them before later ones.
        """
        ...


class People(Protocol):
    """What every room must know of a person. Written by the commits of the person's inbox."""

    async def people(self, user_ids: Sequence[UserId]) -> dict[UserId, Person]:
        """Return what is known of these persons."""
        ...

    async def fill_in(self, stored: Mapping[UserId, Person]) -> None:
        """Enter what the durable store has of persons; what a commit said before holds. Idempotent."""
        ...


class DeadLetters(Protocol):
    """What was set aside, by shard, until an operator deals with it. Written by the shards' commits.

    Positions grow, and are not used twice.
    """

    async def dead_letter_counts(self, shards: Sequence[Shard]) -> list[int]:
        """Return how many dead letters lie in these shards."""
        ...

    async def dead_letters(self, shards: Sequence[Shard], count: int) -> list[ShardEntry]:
        """Return the dead letters of these shards in order, the oldest `count` of each."""
        ...

    async def dead_letter(self, shard: Shard, position: int) -> bytes | None:
        """Return one dead letter; None where there is none."""
        ...

    async def drop_dead_letter(self, shard: Shard, position: int) -> bool:
        """Remove one. False: there was none, or an earlier call removed it and its reply was lost."""
        ...

    async def retry_dead_letter(self, shard: Shard, position: int, batch: bytes) -> bool:
        """Remove one and append a batch to the shard's input, both or neither. False: as for `drop_dead_letter`."""
        ...


class EdgeBus(Registry, People, Outboxes, Protocol):
    """What an edge needs."""

    async def append_inputs(self, appends: Sequence[tuple[Shard, bytes]]) -> list[int]:
        """Append batches to input streams, in order, and return each stream's length after it.

        Not atomic: after `BusUnavailable` any of them may be there. Repeat the same appends, in the same
        order, before later ones; the batch number inside lets the worker drop what it has seen.
        """
        ...

    async def input_lengths(self, shards: Sequence[Shard]) -> list[int]:
        """Return how many batches wait in these shards."""
        ...

    async def read_output(self, partition: Partition, edge_id: EdgeId, after: int, block_ms: int) -> list[StreamEntry]:
        """Wait up to `block_ms` for entries after a position; empty when none came.

        A first entry that does not follow `after` means that entries were lost. Where the stream ends before
        `after` (it was made anew), all that it holds is returned. One caller at a time for each partition.
        """
        ...

    async def trim_output(self, partition: Partition, edge_id: EdgeId, upto: int) -> None:
        """Drop the entries up to and including a position that the edge has applied.

        Nothing is dropped of a stream that ends before it: that one was made anew since, and what it holds was
        not applied.
        """
        ...


class WorkerBus(Registry, People, Outboxes, Relays, DeadLetters, Protocol):
    """What a room worker needs."""

    async def acquire(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, shards: Sequence[Shard]
    ) -> dict[Shard, Acquired | Held]:
        """Take the leases of shards that nobody holds, or whose lease ran out.

        Each acquisition gives a token greater than all before, also after the store lost its data. Where
        another worker holds the lease, the wish is noted for it (see `Renewed.wanted_by`) and it is woken. A
        worker that holds the lease itself gets it again, with a new token: its reply may have been lost.
        """
        ...

    async def renew(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, tokens: Mapping[Shard, LeaseToken]
    ) -> dict[Shard, Renewed | None]:
        """Extend leases. None: lost.

        A lease that ran out but that nobody took is extended too, unless the shard is not proven: then somebody may
        have had it, and that got lost.
        """
        ...

    async def release(
        self,
        partition: Partition,
        worker_id: WorkerId,
        tokens: Mapping[Shard, LeaseToken],
        versions: Mapping[Shard, int] = NO_VERSIONS,
    ) -> None:
        """Give up leases; who wants one of them is woken.

        Those no longer the caller's are left alone. Call it only between commits.

        Args:
            versions: what the caller knows; as good a proof as a commit where it is the stored one.
        """
        ...

    async def read_inputs(
        self,
        partition: Partition,
        worker_id: WorkerId,
        cursors: Mapping[Shard, int],
        count: int,
        block_ms: int,
    ) -> InputEntries:
        """Wait up to `block_ms` for entries after each shard's cursor; at most `count` for each shard.

        Entries of one shard are in order. Returns early, and maybe empty, when the worker is woken; `lease_news` tells
        whether by `acquire` or `release` of another. One caller at a time for each partition.
        """
        ...

    async def read_outbox(self, partition: Partition, after: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """Return entries of the outboxes after each position, at most `count` for each shard. Does not wait."""
        ...

    async def wake(self, partition: Partition, worker_id: WorkerId) -> None:
        """Wake a worker from `read_inputs`. Lost if the worker does not exist."""
        ...

    async def active_rooms(self, shard: Shard) -> list[RoomId]:
        """Return the rooms of the shard that have members."""
        ...

    async def load_rooms(self, partition: Partition, room_ids: Sequence[RoomId]) -> dict[RoomId, dict[str, bytes]]:
        """Return the stored fields of rooms; empty for a room that is not stored."""
        ...

    async def load_history(
        self, partition: Partition, room_id: RoomId, epoch: Epoch, after: Seq
    ) -> list[tuple[Seq, bytes]]:
        """Return the kept events of an epoch after a place, in order. The first may be later than `after` + 1."""
        ...

    async def commit(self, partition: Partition, commit: Commit) -> CommitAnswer:
        """Write a batch, all or nothing: check each shard's token and version, then write.

        In the same step: the rooms' fields and history, the marks, cursor and version of each shard, the
        trim of its input up to the cursor, its outbox, its relays, its dead letters, persons, one entry for each edge
        (dropped where the edge's stream is gone), and one for each shard in `inputs`. May be repeated after
        `BusUnavailable`: the version tells that it was written.
        """
        ...

    async def close(self) -> None:
        """Close the connections. Nothing may be called after it."""
        ...
