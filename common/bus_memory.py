"""The seam to Redis in memory: complete, for tests and simulation. common/bus.py is the specification.

`MemoryStore` is what Redis holds: a plain state machine, no asyncio, time by a callable, so that a simulation
can drive it step by step. `MemoryBus` is the shell around it: the asynchronous calls, and the waiting of
blocking reads. Where the seam leaves a choice, this does what common/bus_redis does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from common.bus import (
    NO_VERSIONS,
    Acquired,
    ClusterShape,
    Commit,
    CommitAnswer,
    Held,
    InputEntries,
    Node,
    Person,
    Renewed,
    Role,
    RoomPatch,
    ShardCommit,
    ShardEntry,
    ShardStatus,
    StreamEntry,
)
from common.errors import ClusterMismatch
from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, UserId, WorkerId
from common.ring import partition_of_person, partition_of_shard, shard_of

WANT_TTL_MS: Final = 3_000
"""How long a wish for a held shard is remembered."""

WAKE_TTL_MS: Final = 10_000
"""A wake that nobody read by then was for a worker that is gone."""

InputTopic = tuple[str, Shard]
OutputTopic = tuple[str, Partition, EdgeId]
WakeTopic = tuple[str, Partition, WorkerId]
Topic = InputTopic | OutputTopic | WakeTopic
"""What a reader waits for."""


class MemoryStore:
    """What one Redis holds for one cluster. Every method takes effect at once and as a whole.

    `watch` tells readers when there may be something new for them.
    """

    def __init__(
        self,
        shape: ClusterShape,
        now_ms: Callable[[], int],
        *,
        history_events_max: int = 1_000,
        output_entries_max: int = 10_000,
        output_ttl_ms: int = 60_000,
        dead_letters_max: int = 1_000,
    ) -> None:
        self.shape = shape
        self._now_ms = now_ms
        self._history_events_max = history_events_max
        self._output_entries_max = output_entries_max
        self._output_ttl_ms = output_ttl_ms
        self._dead_letters_max = dead_letters_max
        self.server = 1
        """Number of the server process that holds it all; see `change_server`."""
        self._watchers: dict[Topic, dict[Callable[[], None], None]] = {}
        # In order of their coming: a simulation must go the same way each time.
        self.flush()

    def change_server(self) -> None:
        """Go on in another process, as after a restart, or at a replica that took over."""
        self.server += 1

    def flush(self) -> None:
        """Lose everything, as by `FLUSHALL`."""
        self._cluster: ClusterShape | None = None
        self._nodes: dict[Role, dict[str, tuple[bytes, int]]] = {"edge": {}, "worker": {}}
        self._shards: dict[Shard, _Lease] = {}
        self._inputs: dict[Shard, _Stream] = {}
        self._outboxes: dict[Shard, _Stream] = {}
        self._relays: dict[tuple[Shard, Partition], _Stream] = {}
        self._dead: dict[Shard, _DeadStream] = {}
        self._outputs: dict[tuple[Partition, EdgeId], _Stream] = {}
        self._output_until_ms: dict[tuple[Partition, EdgeId], int] = {}
        self._wakes: dict[tuple[Partition, WorkerId], _Wake] = {}
        self._active: dict[Shard, set[RoomId]] = {}
        self._rooms: dict[RoomId, dict[str, bytes]] = {}
        self._room_until_ms: dict[RoomId, int] = {}
        self._logs: dict[RoomId, _Log] = {}
        self._log_until_ms: dict[RoomId, int] = {}
        self._people: dict[UserId, _PersonFields] = {}

    def flush_partition(self, partition: Partition) -> None:
        """Lose what one partition holds, as one server of several does; the registry is in the first."""
        shape = self.shape
        kept = vars(self).copy()
        self.flush()

        def here(shard: Shard) -> bool:
            return partition_of_shard(shard, shape.partitions) == partition

        def keep(name: str, is_lost: Callable[[Any], bool]) -> None:
            setattr(self, name, {place: held for place, held in kept[name].items() if not is_lost(place)})

        for name in ("_shards", "_inputs", "_outboxes", "_dead", "_active"):
            keep(name, here)
        for name in ("_rooms", "_room_until_ms", "_logs", "_log_until_ms"):
            keep(name, lambda room_id: here(shard_of(room_id, shape.shards)))
        for name in ("_outputs", "_output_until_ms", "_wakes"):
            keep(name, lambda place: place[0] == partition)
        keep("_relays", lambda place: here(place[0]))
        keep("_people", lambda user_id: partition_of_person(user_id, shape.shards, shape.partitions) == partition)
        if partition != 0:
            self._cluster, self._nodes = kept["_cluster"], kept["_nodes"]

    def watch(self, topics: Iterable[Topic], notify: Callable[[], None]) -> Callable[[], None]:
        """Call `notify` whenever there may be something new in a topic. Returns what ends it."""
        watched = list(topics)
        for topic in watched:
            self._watchers.setdefault(topic, {})[notify] = None

        def end() -> None:
            for topic in watched:
                watchers = self._watchers.get(topic)
                if watchers is not None:
                    watchers.pop(notify, None)
                    if not watchers:
                        del self._watchers[topic]

        return end

    # Registry

    def open_cluster(self, shape: ClusterShape) -> None:
        """See `Registry.open_cluster`."""
        if self._cluster is None:
            self._cluster = shape
        elif self._cluster != shape:
            raise ClusterMismatch(
                f"the cluster has {_shape_text(self._cluster)}, this process has {_shape_text(shape)}; "
                "set ROOMRING_SHARDS and ROOMRING_PARTITIONS to the cluster's, or another ROOMRING_NAMESPACE"
            )

    def announce(self, role: Role, node_id: str, info: bytes, ttl_ms: int) -> bool:
        """See `Registry.announce`. Also False where an edge's stream had to be made anew."""
        now_ms = self._now_ms()
        nodes = self._nodes[role]
        known = node_id in nodes and nodes[node_id][1] > now_ms
        nodes[node_id] = (info, now_ms + ttl_ms)
        for dead in [other for other, (_, until_ms) in nodes.items() if until_ms <= now_ms]:
            del nodes[dead]
        if role == "edge":
            for number in range(self.shape.partitions):
                place = (Partition(number), EdgeId(node_id))
                if self._output(place) is None:
                    self._outputs[place] = _Stream()
                    known = False
                self._output_until_ms[place] = now_ms + self._output_ttl_ms
        return known

    def withdraw(self, role: Role, node_id: str) -> None:
        """See `Registry.withdraw`."""
        self._nodes[role].pop(node_id, None)
        for number in range(self.shape.partitions):
            if role == "edge":
                self._outputs.pop((Partition(number), EdgeId(node_id)), None)
                self._output_until_ms.pop((Partition(number), EdgeId(node_id)), None)
            else:
                self._wakes.pop((Partition(number), WorkerId(node_id)), None)

    def nodes(self, role: Role) -> list[Node]:
        """See `Registry.nodes`."""
        now_ms = self._now_ms()
        return [
            Node(node_id, info) for node_id, (info, until_ms) in sorted(self._nodes[role].items()) if until_ms > now_ms
        ]

    def shard_status(self) -> list[ShardStatus]:
        """See `Registry.shard_status`."""
        now_ms = self._now_ms()
        found: list[ShardStatus] = []
        for number in range(self.shape.shards):
            lease = self._shards.get(Shard(number), _NO_LEASE)
            owner = lease.owner if lease.until_ms > now_ms else None
            backlog = self.input_length(Shard(number))
            found.append(ShardStatus(Shard(number), owner, LeaseToken(lease.token), lease.version, backlog))
        return found

    # Blocks

    def people(self, user_ids: Sequence[UserId]) -> dict[UserId, Person]:
        """See `People.people`."""
        return {user_id: self._people.get(user_id, _NO_FIELDS).person() for user_id in user_ids}

    def fill_in(self, stored: Mapping[UserId, Person]) -> None:
        """See `People.fill_in`."""
        for user_id, person in stored.items():
            fields = self._people.setdefault(user_id, _PersonFields())
            for other_id in person.blocks:
                fields.blocks.setdefault(other_id, True)
            if fields.muted_until_ms is None and person.muted_until_ms:
                fields.muted_until_ms = person.muted_until_ms
            if fields.barred_until_ms is None and person.barred_until_ms:
                fields.barred_until_ms = person.barred_until_ms
            fields.filled = True

    # Edge

    def append_input(self, shard: Shard, data: bytes) -> int:
        """Append one batch and return the stream's length after it."""
        stream = self._inputs.setdefault(shard, _Stream())
        stream.append(data)
        self._notify(("in", shard))
        return len(stream)

    def input_length(self, shard: Shard) -> int:
        """Return how many batches wait in a shard."""
        stream = self._inputs.get(shard)
        return 0 if stream is None else len(stream)

    def output_after(self, partition: Partition, edge_id: EdgeId, after: int) -> list[StreamEntry]:
        """Return the entries after a position."""
        stream = self._output((partition, edge_id))
        if stream is None:
            return []
        return [StreamEntry(position, data) for position, data in stream.after(after)]

    def output_stream(self, partition: Partition, edge_id: EdgeId) -> object | None:
        """Return something that is the same as long as an edge's stream is; None where there is no stream."""
        return self._output((partition, edge_id))

    def output_last(self, partition: Partition, edge_id: EdgeId) -> int:
        """Return the last position of an edge's stream; 0 where there is no stream."""
        stream = self._output((partition, edge_id))
        return 0 if stream is None else stream.last

    def trim_output(self, partition: Partition, edge_id: EdgeId, upto: int) -> None:
        """See `EdgeBus.trim_output`."""
        stream = self._output((partition, edge_id))
        if stream is not None and upto <= stream.last:
            stream.trim(upto)

    # Worker

    def acquire(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, shards: Sequence[Shard]
    ) -> dict[Shard, Acquired | Held]:
        """See `WorkerBus.acquire`. A worker that holds a lease itself gets it again, with a new token."""
        now_ms = self._now_ms()
        found: dict[Shard, Acquired | Held] = {}
        for shard in shards:
            lease = self._shards.setdefault(shard, _Lease())
            if lease.owner is not None and lease.owner != worker_id and lease.until_ms > now_ms:
                lease.want, lease.want_until_ms = worker_id, now_ms + WANT_TTL_MS
                found[shard] = Held(lease.owner, lease.until_ms - now_ms)
                self.wake(partition, lease.owner, lease_news=True)
                continue
            lease.owner, lease.until_ms = worker_id, now_ms + ttl_ms
            lease.token = max(lease.token + 1, now_ms)
            if lease.want == worker_id:
                lease.want = None
            if lease.server != self.server:
                lease.server, lease.generation = self.server, max(lease.generation + 1, now_ms)
            found[shard] = Acquired(
                LeaseToken(lease.token), lease.version, lease.cursor, dict(lease.marks), lease.generation, now_ms
            )
        return found

    def renew(
        self, worker_id: WorkerId, ttl_ms: int, tokens: Mapping[Shard, LeaseToken]
    ) -> dict[Shard, Renewed | None]:
        """See `WorkerBus.renew`."""
        now_ms = self._now_ms()
        found: dict[Shard, Renewed | None] = {}
        for shard, token in tokens.items():
            lease = self._shards.get(shard, _NO_LEASE)
            is_proven = lease.server == self.server
            if lease.owner == worker_id and lease.token == token and (is_proven or lease.until_ms > now_ms):
                lease.until_ms = now_ms + ttl_ms
                found[shard] = Renewed(lease.wanted_by(now_ms), is_proven, now_ms)
            else:
                found[shard] = None
        return found

    def release(
        self,
        partition: Partition,
        worker_id: WorkerId,
        tokens: Mapping[Shard, LeaseToken],
        versions: Mapping[Shard, int] = NO_VERSIONS,
    ) -> None:
        """See `WorkerBus.release`. The token grows, so that a commit with the old one is fenced at once."""
        now_ms = self._now_ms()
        for shard, token in tokens.items():
            lease = self._shards.get(shard, _NO_LEASE)
            if lease.owner == worker_id and lease.token == token:
                if versions.get(shard) == lease.version and lease.until_ms > now_ms:
                    lease.server = self.server
                lease.owner, lease.until_ms = None, 0
                lease.token += 1
                wanted_by = lease.wanted_by(now_ms)
                if wanted_by is not None:
                    self.wake(partition, wanted_by, lease_news=True)

    def inputs_after(self, cursors: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """Return at most `count` entries after the cursor of each shard."""
        entries: list[ShardEntry] = []
        for shard, cursor in cursors.items():
            stream = self._inputs.get(shard)
            if stream is not None:
                entries += [ShardEntry(shard, position, data) for position, data in stream.after(cursor, count)]
        return entries

    def outbox_after(self, after: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """See `WorkerBus.read_outbox`."""
        return [
            ShardEntry(shard, position, data)
            for shard, seen in after.items()
            if shard in self._outboxes
            for position, data in self._outboxes[shard].after(seen, count)
        ]

    def append_outbox(self, shard: Shard, data: bytes) -> None:
        """Append an entry outside of any commit: what no worker of ours does."""
        self._outboxes.setdefault(shard, _Stream()).append(data)

    def outbox_length(self, shard: Shard) -> int:
        """Return how many entries wait in an outbox."""
        return len(self._outboxes[shard]) if shard in self._outboxes else 0

    def relay_lengths(self, shard: Shard) -> dict[Partition, int]:
        """See `Relays.relay_lengths`."""
        here = partition_of_shard(shard, self.shape.partitions)
        others = [Partition(number) for number in range(self.shape.partitions) if number != here]
        return {to: len(self._relays[shard, to]) if (shard, to) in self._relays else 0 for to in others}

    def relays_after(self, to: Partition, after: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """See `Relays.read_relays`."""
        return [
            ShardEntry(shard, position, data)
            for shard, seen in after.items()
            if (shard, to) in self._relays
            for position, data in self._relays[shard, to].after(seen, count)
        ]

    def dead_letters(self, shards: Sequence[Shard], count: int) -> list[ShardEntry]:
        """See `DeadLetters.dead_letters`."""
        return [
            ShardEntry(shard, position, data)
            for shard in shards
            if shard in self._dead
            for position, data in islice(self._dead[shard].letters.items(), count)
        ]

    def dead_letter_count(self, shard: Shard) -> int:
        """Return how many dead letters lie in a shard."""
        return len(self._dead[shard].letters) if shard in self._dead else 0

    def dead_letter(self, shard: Shard, position: int) -> bytes | None:
        """See `DeadLetters.dead_letter`."""
        return self._dead[shard].letters.get(position) if shard in self._dead else None

    def take_dead_letter(self, shard: Shard, position: int, batch: bytes | None) -> bool:
        """See `DeadLetters.drop_dead_letter` and, where there is a batch, `DeadLetters.retry_dead_letter`."""
        if shard not in self._dead or self._dead[shard].letters.pop(position, None) is None:
            return False
        if batch is not None:
            self.append_input(shard, batch)
        return True

    def wake(self, partition: Partition, worker_id: WorkerId, *, lease_news: bool = False) -> None:
        """See `WorkerBus.wake`. `lease_news`: see `InputEntries`."""
        now_ms = self._now_ms()
        self._wakes = {place: wake for place, wake in self._wakes.items() if wake.until_ms > now_ms}
        unread = self._wakes.get((partition, worker_id))
        lease_news = lease_news or (unread is not None and unread.lease_news)
        self._wakes[(partition, worker_id)] = _Wake(now_ms + WAKE_TTL_MS, lease_news)
        self._notify(("wake", partition, worker_id))

    def take_wake(self, partition: Partition, worker_id: WorkerId) -> "_Wake | None":
        """Return the wake of a worker since the last call, if there was one."""
        wake = self._wakes.pop((partition, worker_id), None)
        return wake if wake is not None and wake.until_ms > self._now_ms() else None

    def active_rooms(self, shard: Shard) -> list[RoomId]:
        """See `WorkerBus.active_rooms`. In order of their ids."""
        return sorted(self._active.get(shard, ()))

    def load_rooms(self, room_ids: Sequence[RoomId]) -> dict[RoomId, dict[str, bytes]]:
        """See `WorkerBus.load_rooms`."""
        for room_id in room_ids:
            self._expire(room_id)
        return {room_id: dict(self._rooms.get(room_id, {})) for room_id in room_ids}

    def load_history(self, room_id: RoomId, epoch: Epoch, after: Seq) -> list[tuple[Seq, bytes]]:
        """See `WorkerBus.load_history`."""
        self._expire(room_id)
        log = self._logs.get(room_id, _NO_LOG)
        return [(seq, event) for of, seq, event in log.events if of == epoch and seq > after]

    def commit(self, partition: Partition, commit: Commit, *, moved: bool = False) -> CommitAnswer:
        """See `WorkerBus.commit`.

        Args:
            moved: the batch was read from another server than this one.
        """
        assert commit.shards, "a commit without a shard has no fence"
        assert all(partition_of_shard(part.shard, self.shape.partitions) == partition for part in commit.shards)
        refusal = self._refusal(commit.shards, moved=moved)
        if refusal is not None:
            return refusal
        for part in commit.shards:
            self._write_part(part)
        for shard, data in commit.inputs.items():
            self.append_input(shard, data)
        for edge_id, data in commit.outputs.items():
            stream = self._output((partition, edge_id))
            if stream is not None:
                stream.append(data)
                stream.trim(stream.last - self._output_entries_max)
                self._notify(("out", partition, edge_id))
        return CommitAnswer(done=True)

    def _refusal(self, parts: Sequence[ShardCommit], *, moved: bool) -> CommitAnswer | None:
        """Return how the commit ends without a write; None where it may be written."""
        unread: list[Shard] = []
        fenced: list[Shard] = []
        fresh: list[Shard] = []
        written: list[Shard] = []
        stale: list[Shard] = []
        for part in parts:
            lease = self._shards.get(part.shard, _NO_LEASE)
            is_fresh = lease.version == part.version
            is_written = lease.version == part.version + 1 and lease.cursor == part.cursor
            # At another server it is only known that nothing was lost if nobody else can have had the shard meanwhile.
            is_whole = not moved or lease.until_ms > self._now_ms()
            if lease.token != part.token:
                fenced.append(part.shard)
            elif is_fresh and is_whole:
                (unread if moved and lease.cursor != part.cursor else fresh).append(part.shard)
            elif is_written and is_whole:
                written.append(part.shard)
            else:
                stale.append(part.shard)
                if is_fresh or is_written or lease.version < part.version:
                    lease.server = 0
        if moved:
            for shard in (*fresh, *unread, *written):
                self._shards[shard].server = self.server
        if len(fresh) == len(parts):
            return None
        if len(written) == len(parts):
            return CommitAnswer(done=True, already=True)
        if fresh or unread:
            # Beside a fenced shard a written one says that the batch was written before that shard was lost:
            # it is neither, and repeating the rest answers `already`. Beside a fresh one it cannot be.
            stale += written
            for shard in written:
                self._shards[shard].server = 0
        return CommitAnswer(
            done=False, fenced=tuple(sorted(fenced)), stale=tuple(sorted(stale)), unread=tuple(sorted(unread))
        )

    def _write_part(self, part: ShardCommit) -> None:
        lease = self._shards[part.shard]
        lease.version, lease.cursor = part.version + 1, part.cursor
        if part.is_proof:
            lease.server = self.server
        lease.marks.update(part.marks)
        for edge_id in part.forget_marks:
            lease.marks.pop(edge_id, None)
        if part.shard in self._inputs:
            self._inputs[part.shard].trim(part.cursor)
        self._outboxes.setdefault(part.shard, _Stream()).move_on(part.outbox, part.outbox_upto)
        for to in {**part.relays, **part.relays_upto}:
            relay = self._relays.setdefault((part.shard, to), _Stream())
            relay.move_on(part.relays.get(to, []), part.relays_upto.get(to, 0))
        if part.dead:
            dead = self._dead.setdefault(part.shard, _DeadStream())
            for data in part.dead:
                dead.append(data, self._dead_letters_max)
        for patch in part.rooms:
            self._patch_room(part.shard, patch)
        for person in part.people:
            fields = self._people.setdefault(person.user_id, _PersonFields())
            fields.blocks.update(person.blocks)
            if person.muted_until_ms is not None:
                fields.muted_until_ms = person.muted_until_ms
            if person.barred_until_ms is not None:
                fields.barred_until_ms = person.barred_until_ms

    def _patch_room(self, shard: Shard, patch: RoomPatch) -> None:
        room_id = patch.room_id
        self._expire(room_id)
        if patch.active is True:
            self._active.setdefault(shard, set()).add(room_id)
        elif patch.active is False:
            self._active.get(shard, set()).discard(room_id)
        if patch.set_fields:
            self._rooms.setdefault(room_id, {}).update(patch.set_fields)
        fields = self._rooms.get(room_id)
        if fields is not None:
            for field in patch.delete_fields:
                fields.pop(field, None)
            if not fields:
                # Redis drops an empty hash, and its expiry with it.
                del self._rooms[room_id]
                self._room_until_ms.pop(room_id, None)
        if patch.history:
            self._append_history(patch)
        if patch.redacted and room_id in self._logs:
            log = self._logs[room_id]
            log.events = deque(
                entry for entry in log.events if entry[0] != patch.epoch or entry[1] not in patch.redacted
            )
        if patch.ttl_ms is not None:
            for stored, until in ((self._rooms, self._room_until_ms), (self._logs, self._log_until_ms)):
                if room_id in stored and patch.ttl_ms:
                    until[room_id] = self._now_ms() + patch.ttl_ms
                else:
                    until.pop(room_id, None)

    def _append_history(self, patch: RoomPatch) -> None:
        log = self._logs.setdefault(patch.room_id, _Log())
        for seq, event in patch.history:
            if log.top >= (patch.epoch, seq):
                # The log is left over from a state that the store lost.
                log.events.clear()
            log.events.append((patch.epoch, seq, event))
            log.top = (patch.epoch, seq)
        while len(log.events) > self._history_events_max:
            log.events.popleft()

    def _expire(self, room_id: RoomId) -> None:
        now_ms = self._now_ms()
        if self._room_until_ms.get(room_id, now_ms + 1) <= now_ms:
            del self._rooms[room_id], self._room_until_ms[room_id]
        if self._log_until_ms.get(room_id, now_ms + 1) <= now_ms:
            del self._logs[room_id], self._log_until_ms[room_id]

    def _output(self, place: tuple[Partition, EdgeId]) -> "_Stream | None":
        if self._output_until_ms.get(place, 0) <= self._now_ms():
            self._outputs.pop(place, None)
            self._output_until_ms.pop(place, None)
        return self._outputs.get(place)

    def _notify(self, topic: Topic) -> None:
        for notify in tuple(self._watchers.get(topic, ())):
            notify()


class MemoryBus:
    """`EdgeBus` and `WorkerBus` over a store. One object may serve every process of a test, or each its own.

    Each call lets other tasks run once, as a call to Redis would. Waiting uses the loop's clock.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self._servers: dict[Partition, str] = {}
        """Where the last commit was, or the first acquisition."""
        self._read_streams: dict[tuple[Partition, EdgeId], object] = {}

    async def open_cluster(self, shape: ClusterShape) -> None:
        """See `Registry.open_cluster`."""
        await asyncio.sleep(0)
        self.store.open_cluster(shape)

    async def announce(self, role: Role, node_id: str, info: bytes, ttl_ms: int) -> bool:
        """See `Registry.announce`."""
        await asyncio.sleep(0)
        return self.store.announce(role, node_id, info, ttl_ms)

    async def withdraw(self, role: Role, node_id: str) -> None:
        """See `Registry.withdraw`."""
        await asyncio.sleep(0)
        self.store.withdraw(role, node_id)

    async def nodes(self, role: Role) -> list[Node]:
        """See `Registry.nodes`."""
        await asyncio.sleep(0)
        return self.store.nodes(role)

    async def shard_status(self) -> list[ShardStatus]:
        """See `Registry.shard_status`."""
        await asyncio.sleep(0)
        return self.store.shard_status()

    async def ping_ms(self) -> float:
        """See `Registry.ping_ms`. Always 0."""
        await asyncio.sleep(0)
        return 0.0

    async def people(self, user_ids: Sequence[UserId]) -> dict[UserId, Person]:
        """See `People.people`."""
        await asyncio.sleep(0)
        return self.store.people(user_ids)

    async def fill_in(self, stored: Mapping[UserId, Person]) -> None:
        """See `People.fill_in`."""
        await asyncio.sleep(0)
        self.store.fill_in(stored)

    async def append_inputs(self, appends: Sequence[tuple[Shard, bytes]]) -> list[int]:
        """See `EdgeBus.append_inputs`."""
        await asyncio.sleep(0)
        return [self.store.append_input(shard, data) for shard, data in appends]

    async def input_lengths(self, shards: Sequence[Shard]) -> list[int]:
        """See `EdgeBus.input_lengths`."""
        await asyncio.sleep(0)
        return [self.store.input_length(shard) for shard in shards]

    async def read_output(self, partition: Partition, edge_id: EdgeId, after: int, block_ms: int) -> list[StreamEntry]:
        """See `EdgeBus.read_output`."""
        await asyncio.sleep(0)
        entries: list[StreamEntry] = []
        place = (partition, edge_id)

        def look() -> bool:
            nonlocal entries
            stream = self.store.output_stream(partition, edge_id)
            # Of a stream that was made anew all that it holds counts, also where it has passed `after` by now.
            is_anew = stream is not self._read_streams.get(place, stream)
            start = 0 if is_anew or self.store.output_last(partition, edge_id) < after else after
            entries = self.store.output_after(partition, edge_id, start)
            if entries:
                self._read_streams[place] = stream
            return bool(entries)

        await self._wait([("out", partition, edge_id)], look, block_ms)
        return entries

    async def trim_output(self, partition: Partition, edge_id: EdgeId, upto: int) -> None:
        """See `EdgeBus.trim_output`."""
        await asyncio.sleep(0)
        self.store.trim_output(partition, edge_id, upto)

    async def acquire(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, shards: Sequence[Shard]
    ) -> dict[Shard, Acquired | Held]:
        """See `WorkerBus.acquire`."""
        await asyncio.sleep(0)
        if shards:
            self._servers.setdefault(partition, str(self.store.server))
        return self.store.acquire(partition, worker_id, ttl_ms, shards)

    async def renew(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, tokens: Mapping[Shard, LeaseToken]
    ) -> dict[Shard, Renewed | None]:
        """See `WorkerBus.renew`."""
        await asyncio.sleep(0)
        return self.store.renew(worker_id, ttl_ms, tokens)

    async def release(
        self,
        partition: Partition,
        worker_id: WorkerId,
        tokens: Mapping[Shard, LeaseToken],
        versions: Mapping[Shard, int] = NO_VERSIONS,
    ) -> None:
        """See `WorkerBus.release`."""
        await asyncio.sleep(0)
        self.store.release(partition, worker_id, tokens, versions)

    async def read_inputs(
        self,
        partition: Partition,
        worker_id: WorkerId,
        cursors: Mapping[Shard, int],
        count: int,
        block_ms: int,
    ) -> InputEntries:
        """See `WorkerBus.read_inputs`."""
        await asyncio.sleep(0)
        entries = InputEntries(server=self._servers.get(partition, ""))

        def look() -> bool:
            entries[:] = self.store.inputs_after(cursors, count)
            wake = self.store.take_wake(partition, worker_id)
            entries.lease_news = wake is not None and wake.lease_news
            return wake is not None or bool(entries)

        topics: list[Topic] = [("in", shard) for shard in cursors]
        await self._wait([*topics, ("wake", partition, worker_id)], look, block_ms)
        return entries

    async def read_outbox(self, partition: Partition, after: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """See `WorkerBus.read_outbox`."""
        await asyncio.sleep(0)
        return self.store.outbox_after(after, count)

    async def outbox_lengths(self, partition: Partition, shards: Sequence[Shard]) -> list[int]:
        """See `WorkerBus.outbox_lengths`."""
        await asyncio.sleep(0)
        return [self.store.outbox_length(shard) for shard in shards]

    async def relay_lengths(self, shard: Shard) -> dict[Partition, int]:
        """See `Relays.relay_lengths`."""
        await asyncio.sleep(0)
        return self.store.relay_lengths(shard)

    async def read_relays(
        self, partition: Partition, to: Partition, after: Mapping[Shard, int], count: int
    ) -> list[ShardEntry]:
        """See `Relays.read_relays`."""
        await asyncio.sleep(0)
        return self.store.relays_after(to, after, count)

    async def append_relayed(self, partition: Partition, appends: Sequence[tuple[Shard, bytes]]) -> None:
        """See `Relays.append_relayed`."""
        await asyncio.sleep(0)
        for shard, data in appends:
            self.store.append_input(shard, data)

    async def dead_letter_counts(self, shards: Sequence[Shard]) -> list[int]:
        """See `DeadLetters.dead_letter_counts`."""
        await asyncio.sleep(0)
        return [self.store.dead_letter_count(shard) for shard in shards]

    async def dead_letters(self, shards: Sequence[Shard], count: int) -> list[ShardEntry]:
        """See `DeadLetters.dead_letters`."""
        await asyncio.sleep(0)
        return self.store.dead_letters(shards, count)

    async def dead_letter(self, shard: Shard, position: int) -> bytes | None:
        """See `DeadLetters.dead_letter`."""
        await asyncio.sleep(0)
        return self.store.dead_letter(shard, position)

    async def drop_dead_letter(self, shard: Shard, position: int) -> bool:
        """See `DeadLetters.drop_dead_letter`."""
        await asyncio.sleep(0)
        return self.store.take_dead_letter(shard, position, None)

    async def retry_dead_letter(self, shard: Shard, position: int, batch: bytes) -> bool:
        """See `DeadLetters.retry_dead_letter`."""
        await asyncio.sleep(0)
        return self.store.take_dead_letter(shard, position, batch)

    async def wake(self, partition: Partition, worker_id: WorkerId) -> None:
        """See `WorkerBus.wake`."""
        await asyncio.sleep(0)
        self.store.wake(partition, worker_id)

    async def active_rooms(self, shard: Shard) -> list[RoomId]:
        """See `WorkerBus.active_rooms`."""
        await asyncio.sleep(0)
        return self.store.active_rooms(shard)

    async def load_rooms(self, partition: Partition, room_ids: Sequence[RoomId]) -> dict[RoomId, dict[str, bytes]]:
        """See `WorkerBus.load_rooms`."""
        await asyncio.sleep(0)
        return self.store.load_rooms(room_ids)

    async def load_history(
        self, partition: Partition, room_id: RoomId, epoch: Epoch, after: Seq
    ) -> list[tuple[Seq, bytes]]:
        """See `WorkerBus.load_history`."""
        await asyncio.sleep(0)
        return self.store.load_history(room_id, epoch, after)

    async def commit(self, partition: Partition, commit: Commit) -> CommitAnswer:
        """See `WorkerBus.commit`."""
        await asyncio.sleep(0)
        before, now = commit.server or self._servers.get(partition), str(self.store.server)
        self._servers[partition] = now
        return self.store.commit(partition, commit, moved=before != now)

    async def close(self) -> None:
        """See `WorkerBus.close`. The store stays for others."""
        await asyncio.sleep(0)

    async def _wait(self, topics: Iterable[Topic], look: Callable[[], bool], block_ms: int) -> None:
        """Look until there is something, at most for `block_ms`."""
        if look() or block_ms <= 0:
            return
        news = asyncio.Event()
        end = self.store.watch(topics, news.set)
        try:
            async with asyncio.timeout(block_ms / 1000):
                while True:
                    await news.wait()
                    news.clear()
                    if look():
                        return
        except TimeoutError:
            return
        finally:
            end()


class _Wake(NamedTuple):
    """That a worker was woken, and whether for news of leases."""

    until_ms: int
    lease_news: bool


class _Lease:
    """A shard's lease, and how far it is."""

    __slots__ = (
        "cursor",
        "generation",
        "marks",
        "owner",
        "server",
        "token",
        "until_ms",
        "version",
        "want",
        "want_until_ms",
    )

    def __init__(self) -> None:
        self.owner: WorkerId | None = None
        self.token = 0
        self.until_ms = 0
        self.want: WorkerId | None = None
        self.want_until_ms = 0
        self.version = 0
        self.cursor = 0
        self.server = self.generation = 0
        self.marks: dict[EdgeId, int] = {}

    def wanted_by(self, now_ms: int) -> WorkerId | None:
        """Return who asked for the shard lately."""
        return self.want if self.want_until_ms > now_ms else None


class _PersonFields:
    """A person's fields; a block that was ended stays as False, a mute or ban as 0. None: nothing was said."""

    __slots__ = ("barred_until_ms", "blocks", "filled", "muted_until_ms")

    def __init__(self) -> None:
        self.blocks: dict[UserId, bool] = {}
        self.muted_until_ms: int | None = None
        self.barred_until_ms: int | None = None
        self.filled = False

    def person(self) -> Person:
        blocks = frozenset(other_id for other_id, blocked in self.blocks.items() if blocked)
        return Person(blocks, self.muted_until_ms or 0, self.barred_until_ms or 0, self.filled)


_NO_FIELDS: Final = _PersonFields()
"""Stands for a person of whom nothing is known. Never changed."""

_NO_LEASE: Final = _Lease()
"""Stands for a shard that nobody acquired yet. Never changed: it has no owner."""


class _Stream:
    """Entries at contiguous positions from 1; the oldest may be gone."""

    __slots__ = ("_entries", "last")

    def __init__(self) -> None:
        self._entries: deque[bytes] = deque()
        self.last = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, data: bytes) -> None:
        self._entries.append(data)
        self.last += 1

    def move_on(self, entries: Iterable[bytes], upto: int) -> None:
        """Append entries, and drop those up to a position."""
        for data in entries:
            self.append(data)
        self.trim(upto)

    def trim(self, upto: int) -> None:
        """Drop the entries up to and including a position."""
        while self._entries and self.last - len(self._entries) < upto:
            self._entries.popleft()

    def after(self, position: int, count: int | None = None) -> list[tuple[int, bytes]]:
        """Return at most `count` entries after a position."""
        before = self.last - len(self._entries)
        start = max(position - before, 0)
        stop = None if count is None else start + count
        return [(before + start + n, data) for n, data in enumerate(islice(self._entries, start, stop), start=1)]


class _Log:
    """A room's history. `top` is the last place that was given out, also where that event was redacted since."""

    __slots__ = ("events", "top")

    def __init__(self) -> None:
        self.events: deque[tuple[Epoch, Seq, bytes]] = deque()
        self.top: tuple[int, int] = (0, 0)


_NO_LOG: Final = _Log()
"""Stands for a room without a history. Never changed."""


class _DeadStream:
    """Dead letters by position, in order; any may be gone."""

    __slots__ = ("last", "letters")

    def __init__(self) -> None:
        self.letters: dict[int, bytes] = {}
        self.last = 0

    def append(self, data: bytes, letters_max: int) -> None:
        """Add a letter; the oldest go where there are more than `letters_max`."""
        self.last += 1
        self.letters[self.last] = data
        while len(self.letters) > letters_max:
            del self.letters[next(iter(self.letters))]


def _shape_text(shape: ClusterShape) -> str:
    return f"{shape.shards} shards in {shape.partitions} partitions"
