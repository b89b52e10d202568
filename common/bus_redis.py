"""The seam to Redis on a real Redis 7+ or Valkey 8+. common/bus.py is the specification.

Owns the commands and scripts, and how a value is laid out in a key. Connections are common/redis_link.py,
names common/keys.py; which server has a partition is common/redis_topology.py. Every change that must be atomic is
one script of common/scripts; a command touches keys of one partition only. Calls are packed by hand and replies
read raw, since a worker makes two calls for each batch and an edge two for each flush.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, Self

from redis.exceptions import NoScriptError, ResponseError

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
    PersonPatch,
    Renewed,
    Role,
    RoomPatch,
    ShardCommit,
    ShardEntry,
    ShardStatus,
    StreamEntry,
)
from common.errors import BusUnavailable, ClusterMismatch, SettingsError
from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, UserId, WorkerId
from common.keys import Keys
from common.redis_link import Packable, RedisLinks, is_authentication_failure, pack, pack_list
from common.redis_topology import RedisTopology
from common.ring import partition_of_person, partition_of_shard

FORMAT: Final = 1
"""Layout of the stored data. A release that cannot read an older one raises it."""

WANT_TTL_MS: Final = 3_000
"""How long a wish for a held shard is remembered; the worker that wants it repeats it while it does."""

WAKE_TTL_MS: Final = 10_000
"""A wake that nobody read by then was for a worker that is gone."""

WAKE_ENTRIES_MAX: Final = 8
"""The newest of each of the two meanings would do."""

ARGUMENTS_MAX: Final = 2_000
"""Arguments of one command inside a script. Lua's stack holds 8,000."""

P0: Final = Partition(0)
"""That of the registry."""

_Send = Callable[[RedisLinks, bytes, int], Awaitable[list[Any]]]

_FIELD: Final = b"d"
_LEASE_NEWS: Final = b"l"
_MARK: Final = b"e:"
_BLOCK: Final = b"b:"
_MUTED: Final = b"m"
_BARRED: Final = b"out"
_FILLED: Final = b"filled"


class _Script:
    """One file of common/scripts; with a run id, of a text that only the server of that id is given."""

    def __init__(self, name: str, run_id: str = "") -> None:
        self.text = (Path(__file__).parent / "scripts" / f"{name}.lua").read_bytes()
        if run_id:
            self.text += f"-- {run_id}\n".encode()
        self.sha = sha1(self.text, usedforsecurity=False).hexdigest()


_ACQUIRE: Final = _Script("acquire")
_ANNOUNCE: Final = _Script("announce")
_APPEND_RELAYED: Final = _Script("append_relayed")
_KEEP_OUTPUT: Final = _Script("keep_output")
_NODES: Final = _Script("nodes")
_OPEN_CLUSTER: Final = _Script("open_cluster")
_RELEASE: Final = _Script("release")
_RENEW: Final = _Script("renew")
_RETRY_DEAD_LETTER: Final = _Script("retry_dead_letter")
_SHARD_STATUS: Final = _Script("shard_status")
_TRIM_OUTPUT: Final = _Script("trim_output")
_VOUCH: Final = _Script("vouch")
_SCRIPTS: Final = (
    _ACQUIRE,
    _ANNOUNCE,
    _APPEND_RELAYED,
    _KEEP_OUTPUT,
    _NODES,
    _OPEN_CLUSTER,
    _RELEASE,
    _RENEW,
    _RETRY_DEAD_LETTER,
    _SHARD_STATUS,
    _TRIM_OUTPUT,
    _VOUCH,
)


class _Server:
    """A Redis process, known by its run id, with the commit script as only it is given it."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.commit = _Script("commit", run_id)


_NO_SERVER: Final = _Server("none")
"""Before the first acquisition. No server has its script."""

_ANOTHER_SERVER: Final = 3
"""Answer of the commit script: the server was exchanged since its run id was read."""


class RedisBus:
    """`EdgeBus` and `WorkerBus` on Redis or Valkey. One object for each process and cluster.

    Keeps a small pool of connections to each server, and one more for each stream or worker that is read blocking.
    Connects when needed and again after a failure.
    """

    def __init__(
        self,
        url: str,
        namespace: str,
        shape: ClusterShape,
        *,
        history_events_max: int = 1_000,
        output_entries_max: int = 10_000,
        output_ttl_ms: int = 60_000,
        dead_letters_max: int = 1_000,
        call_timeout_ms: int = 2_000,
        connections_max: int = 8,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            call_timeout_ms: how long Redis may take for a call (blocking reads: beyond `block_ms`).

        Raises:
            SettingsError: the URL is wrong. One line that says what to do.
        """
        self._shape = shape
        self._history_events_max = history_events_max
        self._output_entries_max = output_entries_max
        self._output_ttl_ms = output_ttl_ms
        self._dead_letters_max = dead_letters_max
        self._partitions = [Partition(number) for number in range(shape.partitions)]
        self._keys = [Keys(namespace, partition) for partition in self._partitions]
        self._topology = RedisTopology(url, [keys.cluster() for keys in self._keys], connections_max, call_timeout_ms)
        self._partition_of = [partition_of_shard(Shard(number), shape.partitions) for number in range(shape.shards)]
        self._input_keys: dict[Shard, bytes] = {}
        self._outbox_keys: dict[Shard, bytes] = {}
        self._dead_keys: dict[Shard, bytes] = {}
        self._relay_keys: dict[tuple[Shard, Partition], bytes] = {}
        self._shard_keys: dict[Shard, bytes] = {}
        for number in range(shape.shards):
            shard = Shard(number)
            keys = self._keys[self._partition_of[shard]]
            self._input_keys[shard] = keys.input(shard).encode()
            self._outbox_keys[shard] = keys.outbox(shard).encode()
            self._dead_keys[shard] = keys.dead(shard).encode()
            self._shard_keys[shard] = keys.shard(shard).encode()
            for to in self._partitions:
                if to != partition_of_shard(shard, shape.partitions):
                    self._relay_keys[shard, to] = keys.relay(shard, to).encode()
        self._shard_of_input = {key: shard for shard, key in self._input_keys.items()}
        self._shard_of_outbox = {key: shard for shard, key in self._outbox_keys.items()}
        self._servers: dict[Partition, _Server] = {}
        """Where the last commit was, or the first acquisition."""
        self._wake_seen: dict[tuple[Partition, WorkerId], bytes] = {}
        self._wishes: dict[Shard, WorkerId] = {}
        """By the last renewal."""
        self._output_checked: set[tuple[Partition, EdgeId]] = set()
        self._output_anew: set[tuple[Partition, EdgeId]] = set()
        self._output_read: set[tuple[Partition, EdgeId]] = set()

    @classmethod
    async def connect(cls, url: str, namespace: str, shape: ClusterShape, **options: int) -> Self:
        """Make a bus and see that Redis answers.

        Raises:
            SettingsError: the URL is wrong, or Redis refuses its user or password.
            BusUnavailable: Redis does not answer.
        """
        bus = cls(url, namespace, shape, **options)
        try:
            await bus.check()
        except (BusUnavailable, SettingsError):
            await bus.close()
            raise
        return bus

    async def check(self) -> None:
        """See that Redis answers.

        Raises:
            SettingsError: Redis refuses its user or password.
            BusUnavailable: Redis does not answer. Says where it should be.
        """
        try:
            await self.ping_ms()
        except BusUnavailable as error:
            if is_authentication_failure(error):
                raise SettingsError(
                    "Redis refused the user or password; write them into ROOMRING_REDIS_URL as "
                    "redis://user:password@host:6379/0"
                ) from error
            raise BusUnavailable(f"{self._topology.url}: {error}") from error

    async def vouch(self, run_id: str) -> int:
        """Say that each server at hand has all that the one of a run id had, so that rooms keep their epoch.

        Only who stopped that one in order can know. Nobody may work meanwhile. Returns: how many shards that concerns.
        """
        count = 0
        for partition in self._partitions:
            keys = [self._shard_keys[shard] for shard in self._shard_keys if self._partition_of[shard] == partition]
            if keys:
                count += await self._run(partition, _VOUCH, keys, [run_id])
        return count

    # Registry

    async def open_cluster(self, shape: ClusterShape) -> None:
        """See `Registry.open_cluster`."""
        ours = (shape.shards, shape.partitions, FORMAT)
        stored = await self._run(P0, _OPEN_CLUSTER, [self._keys[0].cluster()], ours)
        theirs = tuple(int(value) for value in stored)
        if theirs != ours:
            raise ClusterMismatch(
                f"the cluster has {_shape_text(theirs)}, this process has {_shape_text(ours)}; "
                "set ROOMRING_SHARDS and ROOMRING_PARTITIONS to the cluster's, or another ROOMRING_NAMESPACE"
            )

    async def announce(self, role: Role, node_id: str, info: bytes, ttl_ms: int) -> bool:
        """See `Registry.announce`.

        Also False where an edge's stream had to be made anew: it may have missed entries. It need not change
        its positions, see `read_output`.
        """
        keys = self._keys[0]
        places = [(partition, EdgeId(node_id)) for partition in self._partitions] if role == "edge" else []
        calls = [
            (partition, _evalsha(_KEEP_OUTPUT, [self._keys[partition].output(edge_id)], [self._output_ttl_ms]))
            for partition, edge_id in places
        ]
        calls.append((P0, _evalsha(_ANNOUNCE, [keys.nodes(role), keys.node_info(role)], [node_id, info, ttl_ms])))
        *were_there, known = await self._call_each(calls, _run_packed)
        made = {place for place, was_there in zip(places, were_there, strict=True) if not was_there}
        self._output_anew |= made & self._output_read
        return bool(known) and all(were_there)

    async def withdraw(self, role: Role, node_id: str) -> None:
        """See `Registry.withdraw`."""
        keys = self._keys[0]
        calls = [(P0, pack("ZREM", keys.nodes(role), node_id)), (P0, pack("HDEL", keys.node_info(role), node_id))]
        for partition in self._partitions:
            name = self._keys[partition]
            own = name.output(EdgeId(node_id)) if role == "edge" else name.wake(WorkerId(node_id))
            calls.append((partition, pack("DEL", own)))
        await self._call_each(calls)

    async def nodes(self, role: Role) -> list[Node]:
        """See `Registry.nodes`."""
        keys = self._keys[0]
        flat = await self._run(P0, _NODES, [keys.nodes(role), keys.node_info(role)], [])
        return sorted((Node(node_id.decode(), info) for node_id, info in _pairs(flat)), key=lambda node: node.node_id)

    async def shard_status(self) -> list[ShardStatus]:
        """See `Registry.shard_status`."""
        found: list[ShardStatus] = []
        for partition in self._partitions:
            shards = [shard for shard in self._shard_keys if self._partition_of[shard] == partition]
            if not shards:
                continue
            keys = [key for shard in shards for key in (self._shard_keys[shard], self._input_keys[shard])]
            flat = await self._run(partition, _SHARD_STATUS, keys, [])
            for index, shard in enumerate(shards):
                owner, token, version, backlog = flat[4 * index : 4 * index + 4]
                owner_id = None if owner is None else WorkerId(owner.decode())
                found.append(ShardStatus(shard, owner_id, LeaseToken(token), version, backlog))
        return sorted(found, key=lambda status: status.shard)

    async def ping_ms(self) -> float:
        """See `Registry.ping_ms`. Of several servers all answer."""
        began = time.perf_counter()
        await asyncio.gather(*(links.call(pack("PING"), 1) for links in await self._topology.all_links()))
        return (time.perf_counter() - began) * 1000.0

    # People

    async def people(self, user_ids: Sequence[UserId]) -> dict[UserId, Person]:
        """See `People.people`."""
        if not user_ids:
            return {}
        answers = await self._call_each([self._of_person(user_id, "HGETALL") for user_id in user_ids])
        return {user_id: _person(flat) for user_id, flat in zip(user_ids, answers, strict=True)}

    async def fill_in(self, stored: Mapping[UserId, Person]) -> None:
        """See `People.fill_in`."""
        calls: list[tuple[Partition, bytes]] = []
        for user_id, person in stored.items():
            blocks = [_BLOCK + other_id.encode() for other_id in sorted(person.blocks)]
            calls += [self._of_person(user_id, "HSETNX", block, 1) for block in blocks]
            for field, until_ms in ((_MUTED, person.muted_until_ms), (_BARRED, person.barred_until_ms)):
                if until_ms:
                    calls.append(self._of_person(user_id, "HSETNX", field, until_ms))
            calls.append(self._of_person(user_id, "HSET", _FILLED, 1))
        await self._call_each(calls)

    # Edge

    async def append_inputs(self, appends: Sequence[tuple[Shard, bytes]]) -> list[int]:
        """See `EdgeBus.append_inputs`. One round trip to each server."""
        calls: list[tuple[Partition, bytes]] = []
        for shard, data in appends:
            partition, key = self._partition_of[shard], self._input_keys[shard]
            calls.append((partition, pack("XADD", key, "0-*", _FIELD, data)))
            calls.append((partition, pack("XLEN", key)))
        return (await self._call_each(calls))[1::2]

    async def input_lengths(self, shards: Sequence[Shard]) -> list[int]:
        """See `EdgeBus.input_lengths`."""
        return await self._call_each([self._of_shard(shard, "XLEN", self._input_keys) for shard in shards])

    async def read_output(self, partition: Partition, edge_id: EdgeId, after: int, block_ms: int) -> list[StreamEntry]:
        """See `EdgeBus.read_output`.

        When the stream ends before `after` (it expired and was made anew, or Redis lost data), all that it
        holds is read; the positions show the break, and an entry may be one that the edge had before. This
        is looked up on a new connection and after each wait that brought nothing: no cost under load. A stream
        that this bus made anew since it read is read from its beginning, also where it has passed `after` by now.
        """
        key = self._keys[partition].output(edge_id)
        place = (partition, edge_id)
        links = await self._topology.links(partition)
        is_anew = place in self._output_anew
        if is_anew:
            after = 0
        elif place not in self._output_checked or not links.is_reading(place):
            if await _stream_top(links, place, key) < after:
                after = 0
            self._output_checked.add(place)
        block = ("BLOCK", block_ms) if block_ms > 0 else ()
        reply = await links.read(place, pack("XREAD", *block, "STREAMS", key, b"0-%d" % after), block_ms)
        if place in self._output_anew and not is_anew:
            # While this waited for what follows in the old one.
            return await self.read_output(partition, edge_id, 0, 0)
        if not reply:
            self._output_checked.discard(place)
            return []
        self._output_anew.discard(place)
        self._output_read.add(place)
        return [StreamEntry(int(entry_id[2:]), fields[1]) for entry_id, fields in reply[0][1]]

    async def trim_output(self, partition: Partition, edge_id: EdgeId, upto: int) -> None:
        """See `EdgeBus.trim_output`."""
        await self._run(partition, _TRIM_OUTPUT, [self._keys[partition].output(edge_id)], [upto])

    # Worker

    async def acquire(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, shards: Sequence[Shard]
    ) -> dict[Shard, Acquired | Held]:
        """See `WorkerBus.acquire`. A worker that holds a lease itself gets it again, with a new token."""
        if not shards:
            return {}
        keys = [self._shard_keys[shard] for shard in shards]
        run_id, now_ms, *answers = await self._run(partition, _ACQUIRE, keys, [worker_id, ttl_ms, WANT_TTL_MS])
        if partition not in self._servers:
            self._servers[partition] = _Server(run_id.decode())
        found: dict[Shard, Acquired | Held] = {}
        owners: set[WorkerId] = set()
        for shard, (taken, *rest) in zip(shards, answers, strict=True):
            if taken:
                found[shard] = _acquired(rest, now_ms)
            else:
                owner = WorkerId(rest[0].decode())
                owners.add(owner)
                found[shard] = Held(owner, rest[1])
        await self._wake_all(partition, owners, _LEASE_NEWS)
        return found

    async def renew(
        self, partition: Partition, worker_id: WorkerId, ttl_ms: int, tokens: Mapping[Shard, LeaseToken]
    ) -> dict[Shard, Renewed | None]:
        """See `WorkerBus.renew`."""
        if not tokens:
            return {}
        keys = [self._shard_keys[shard] for shard in tokens]
        now_ms, *answers = await self._run(partition, _RENEW, keys, [worker_id, ttl_ms, *tokens.values()])
        found: dict[Shard, Renewed | None] = {}
        for shard, answer in zip(tokens, answers, strict=True):
            self._wishes.pop(shard, None)
            if answer is None:
                found[shard] = None
                continue
            wanted_by = WorkerId(answer[0].decode()) if answer[0] else None
            if wanted_by is not None:
                self._wishes[shard] = wanted_by
            found[shard] = Renewed(wanted_by, bool(answer[1]), now_ms)
        return found

    async def release(
        self,
        partition: Partition,
        worker_id: WorkerId,
        tokens: Mapping[Shard, LeaseToken],
        versions: Mapping[Shard, int] = NO_VERSIONS,
    ) -> None:
        """See `WorkerBus.release`.

        Those whose wish is known already are woken in the same round trip; one wake too many does no harm.
        """
        if not tokens:
            return
        keys = [self._shard_keys[shard] for shard in tokens]
        held: list[Packable] = []
        for shard, token in tokens.items():
            held += (token, versions.get(shard, b""))
        known = {self._wishes[shard] for shard in tokens if shard in self._wishes}
        calls = [_evalsha(_RELEASE, keys, [worker_id, *held]), *self._wakes(partition, known, _LEASE_NEWS)]
        wanting, *_ = await _run_packed(await self._topology.links(partition), b"".join(calls), len(calls))
        for shard in tokens:
            self._wishes.pop(shard, None)
        await self._wake_all(partition, {WorkerId(worker.decode()) for worker in wanting} - known, _LEASE_NEWS)

    async def read_inputs(
        self,
        partition: Partition,
        worker_id: WorkerId,
        cursors: Mapping[Shard, int],
        count: int,
        block_ms: int,
    ) -> InputEntries:
        """See `WorkerBus.read_inputs`. One XREAD over the inputs and the worker's wake stream."""
        place = (partition, worker_id)
        wake_key = self._keys[partition].wake(worker_id)
        keys = self._input_keys
        block = ("BLOCK", block_ms) if block_ms > 0 else ()
        packed = pack(
            "XREAD",
            "COUNT",
            count,
            *block,
            "STREAMS",
            *[keys[shard] for shard in cursors],
            wake_key,
            *[b"0-%d" % cursor for cursor in cursors.values()],
            self._wake_seen.get(place, b"0"),
        )
        server = self._servers.get(partition, _NO_SERVER).run_id
        reply = await (await self._topology.links(partition)).read(place, packed, block_ms)
        entries = InputEntries(server=server)
        for key, items in reply or ():
            shard = self._shard_of_input.get(key)
            if shard is None:
                self._wake_seen[place] = items[-1][0]
                entries.lease_news = any(fields[1] == _LEASE_NEWS for _, fields in items)
            else:
                entries += [ShardEntry(shard, int(entry_id[2:]), fields[1]) for entry_id, fields in items]
        return entries

    async def read_outbox(self, partition: Partition, after: Mapping[Shard, int], count: int) -> list[ShardEntry]:
        """See `WorkerBus.read_outbox`."""
        if not after:
            return []
        keys = [self._outbox_keys[shard] for shard in after]
        positions = [b"0-%d" % position for position in after.values()]
        (reply,) = await self._call(partition, pack("XREAD", "COUNT", count, "STREAMS", *keys, *positions), 1)
        return [
            ShardEntry(self._shard_of_outbox[key], int(entry_id[2:]), fields[1])
            for key, items in reply or ()
            for entry_id, fields in items
        ]

    async def outbox_lengths(self, partition: Partition, shards: Sequence[Shard]) -> list[int]:
        """See `WorkerBus.outbox_lengths`."""
        return await self._call_each([self._of_shard(shard, "XLEN", self._outbox_keys) for shard in shards])

    async def relay_lengths(self, shard: Shard) -> dict[Partition, int]:
        """See `Relays.relay_lengths`."""
        keys = {to: key for (of, to), key in self._relay_keys.items() if of == shard}
        if not keys:
            return {}
        packed = b"".join([pack("XLEN", key) for key in keys.values()])
        lengths = await self._call(self._partition_of[shard], packed, len(keys))
        return {to: int(length) for to, length in zip(keys, lengths, strict=True)}

    async def read_relays(
        self, partition: Partition, to: Partition, after: Mapping[Shard, int], count: int
    ) -> list[ShardEntry]:
        """See `Relays.read_relays`."""
        if not after:
            return []
        shards = {self._relay_keys[shard, to]: shard for shard in after}
        positions = [b"0-%d" % position for position in after.values()]
        (reply,) = await self._call(partition, pack("XREAD", "COUNT", count, "STREAMS", *shards, *positions), 1)
        return [
            ShardEntry(shards[key], int(entry_id[2:]), fields[1])
            for key, items in reply or ()
            for entry_id, fields in items
        ]

    async def append_relayed(self, partition: Partition, appends: Sequence[tuple[Shard, bytes]]) -> None:
        """See `Relays.append_relayed`."""
        if not appends:
            return
        numbers = {shard: number for number, shard in enumerate(dict.fromkeys(shard for shard, _ in appends), start=1)}
        arguments: list[Packable] = []
        for shard, data in appends:
            arguments += (numbers[shard], data)
        await self._run(partition, _APPEND_RELAYED, [self._input_keys[shard] for shard in numbers], arguments)

    async def dead_letter_counts(self, shards: Sequence[Shard]) -> list[int]:
        """See `DeadLetters.dead_letter_counts`."""
        return await self._call_each([self._of_shard(shard, "XLEN", self._dead_keys) for shard in shards])

    async def dead_letters(self, shards: Sequence[Shard], count: int) -> list[ShardEntry]:
        """See `DeadLetters.dead_letters`. One round trip to each server."""
        range_of = ("-", "+", "COUNT", count)
        answers = await self._call_each(
            [self._of_shard(shard, "XRANGE", self._dead_keys, *range_of) for shard in shards]
        )
        return [
            ShardEntry(shard, int(entry_id[2:]), fields[1])
            for shard, items in zip(shards, answers, strict=True)
            for entry_id, fields in items
        ]

    async def dead_letter(self, shard: Shard, position: int) -> bytes | None:
        """See `DeadLetters.dead_letter`."""
        place = b"0-%d" % position
        (items,) = await self._call_each([self._of_shard(shard, "XRANGE", self._dead_keys, place, place)])
        return items[0][1][1] if items else None

    async def drop_dead_letter(self, shard: Shard, position: int) -> bool:
        """See `DeadLetters.drop_dead_letter`."""
        (removed,) = await self._call_each([self._of_shard(shard, "XDEL", self._dead_keys, b"0-%d" % position)])
        return bool(removed)

    async def retry_dead_letter(self, shard: Shard, position: int, batch: bytes) -> bool:
        """See `DeadLetters.retry_dead_letter`."""
        keys = [self._dead_keys[shard], self._input_keys[shard]]
        return bool(await self._run(self._partition_of[shard], _RETRY_DEAD_LETTER, keys, [position, batch]))

    async def wake(self, partition: Partition, worker_id: WorkerId) -> None:
        """See `WorkerBus.wake`."""
        await self._wake_all(partition, {worker_id}, b"")

    async def active_rooms(self, shard: Shard) -> list[RoomId]:
        """See `WorkerBus.active_rooms`. In order of their ids."""
        partition = self._partition_of[shard]
        (members,) = await self._call(partition, pack("SMEMBERS", self._keys[partition].active_rooms(shard)), 1)
        return sorted(RoomId(member.decode()) for member in members)

    async def load_rooms(self, partition: Partition, room_ids: Sequence[RoomId]) -> dict[RoomId, dict[str, bytes]]:
        """See `WorkerBus.load_rooms`."""
        if not room_ids:
            return {}
        keys = self._keys[partition]
        packed = b"".join([pack("HGETALL", keys.room(room_id)) for room_id in room_ids])
        answers = await self._call(partition, packed, len(room_ids))
        return {
            room_id: {field.decode(): value for field, value in _pairs(flat)}
            for room_id, flat in zip(room_ids, answers, strict=True)
        }

    async def load_history(
        self, partition: Partition, room_id: RoomId, epoch: Epoch, after: Seq
    ) -> list[tuple[Seq, bytes]]:
        """See `WorkerBus.load_history`."""
        key = self._keys[partition].history(room_id)
        (items,) = await self._call(partition, pack("XRANGE", key, f"({epoch}-{after}", str(epoch)), 1)
        return [(Seq(int(entry_id.partition(b"-")[2])), fields[1]) for entry_id, fields in items]

    async def commit(self, partition: Partition, commit: Commit) -> CommitAnswer:
        """See `WorkerBus.commit`.

        A history place that is not above the log's top starts the log anew: that log belonged to a state
        that the store lost.
        """
        server = self._servers.get(partition, _NO_SERVER)
        if commit.server and commit.server != server.run_id:
            # Another commit found a new server since this one's input was read.
            server = _Server(commit.server)
        try:
            answer = await self._run_commit(partition, commit, server)
        except NoScriptError:
            answer = await self._commit_elsewhere(partition, commit, server)
        if answer == 1:
            return CommitAnswer(done=True)
        if answer == 2:
            return CommitAnswer(done=True, already=True)
        fenced, stale, unread = (
            tuple(sorted(commit.shards[index - 1].shard for index in indexes)) for indexes in answer
        )
        return CommitAnswer(done=False, fenced=fenced, stale=stale, unread=unread)

    async def _run_commit(self, partition: Partition, commit: Commit, server: "_Server", moved_to: str = "") -> Any:
        names, arguments = self._commit_arguments(self._keys[partition], commit, server.run_id, moved_to)
        (answer,) = await self._call(partition, _evalsha(server.commit, names, arguments), 1)
        return answer

    async def _commit_elsewhere(self, partition: Partition, commit: Commit, before: "_Server") -> Any:
        """Commit at a server that does not know the script: the one that we know forgot it, or another took its place.

        What is left in the buffers of blocking readers is of the old server, so they connect anew.
        """
        (info,) = await self._call(partition, pack("INFO", "server"), 1)
        run_id = re.search(rb"run_id:(\w+)", info)
        assert run_id is not None, "a server without a run id"
        server = _Server(run_id[1].decode())
        await self._call(partition, pack("SCRIPT", "LOAD", server.commit.text), 1)
        has_moved = server.run_id != before.run_id
        if has_moved:
            links = await self._topology.links(partition)
            await links.close_readers(lambda reader: reader[0] == partition)
        try:
            answer = await self._run_commit(partition, commit, server, server.run_id if has_moved else "")
        except NoScriptError as error:
            raise BusUnavailable("Redis: lost its scripts twice in a row") from error
        if answer == _ANOTHER_SERVER:
            raise BusUnavailable("Redis: was exchanged twice in a row")
        self._servers[partition] = server
        return answer

    async def close(self) -> None:
        """See `WorkerBus.close`. A blocking read that is under way ends with `BusUnavailable`."""
        await self._topology.close()

    def _commit_arguments(
        self, keys: Keys, commit: Commit, run_id: str, moved_to: str
    ) -> tuple[list[Packable], list[Packable]]:
        """Return KEYS and ARGV of scripts/commit.lua."""
        shards = commit.shards
        assert shards, "a commit without a shard has no fence"
        names: list[Packable] = [self._shard_keys[part.shard] for part in shards]
        arguments: list[Packable] = [len(shards), self._history_events_max, moved_to]
        for part in shards:
            arguments += (part.token, part.version, part.version + 1, part.cursor)
        for number, part in enumerate(shards, start=1):
            fields: list[Packable] = ["version", part.version + 1, "cursor", part.cursor]
            if part.is_proof:
                fields += ("server", run_id)
            for edge_id, mark in part.marks.items():
                fields += ("e:" + edge_id, mark)
            _add(arguments, "HSET", number, fields)
            if part.forget_marks:
                _add(arguments, "HDEL", number, ["e:" + edge_id for edge_id in part.forget_marks])
            self._add_streams(names, arguments, part)
            names.append(keys.active_rooms(part.shard))
            active_number = len(names)
            for patch in part.rooms:
                if patch.active is not None:
                    arguments += ("SADD" if patch.active else "SREM", active_number, 1, patch.room_id)
                _add_room(names, arguments, keys, patch)
            for person in part.people:
                _add_person(names, arguments, keys, person)
        for shard, data in commit.inputs.items():
            names.append(self._input_keys[shard])
            arguments += ("XADD", len(names), 3, "0-*", "d", data)
        for edge_id, data in commit.outputs.items():
            names.append(keys.output(edge_id))
            arguments += (
                "XADD",
                len(names),
                7,
                "NOMKSTREAM",
                "MAXLEN",
                "~",
                self._output_entries_max,
                "0-*",
                "d",
                data,
            )
        return names, arguments

    def _add_streams(self, names: list[Packable], arguments: list[Packable], part: ShardCommit) -> None:
        """Add what a commit does to a shard's input, outbox, relays and dead letters."""
        names.append(self._input_keys[part.shard])
        arguments += ("XTRIM", len(names), 3, "MINID", "=", b"0-%d" % (part.cursor + 1))
        if part.outbox or part.outbox_upto:
            names.append(self._outbox_keys[part.shard])
            _add_queue(arguments, len(names), part.outbox, part.outbox_upto)
        for to in {**part.relays, **part.relays_upto}:
            names.append(self._relay_keys[part.shard, to])
            _add_queue(arguments, len(names), part.relays.get(to, []), part.relays_upto.get(to, 0))
        if part.dead:
            names.append(self._dead_keys[part.shard])
            for data in part.dead:
                arguments += ("XADD", len(names), 6, "MAXLEN", "=", self._dead_letters_max, "0-*", "d", data)

    async def _call(self, partition: Partition, packed: bytes, replies: int) -> list[Any]:
        """Send packed commands about keys of one partition over one connection, in order."""
        return await (await self._topology.links(partition)).call(packed, replies)

    async def _call_each(self, calls: Sequence[tuple[Partition, bytes]], send: _Send = RedisLinks.call) -> list[Any]:
        """Send packed commands of one reply each, those of one server together and in order. Answers are in that order.

        Raises:
            BusUnavailable: a server did not answer. The others were asked all the same, and have answered by then.
        """
        if not calls:
            return []
        if self._topology.only is not None:
            return await send(self._topology.only, b"".join([packed for _, packed in calls]), len(calls))
        links_of = {
            partition: await self._topology.links(partition) for partition in {partition for partition, _ in calls}
        }
        by_server: dict[RedisLinks, list[int]] = {}
        for number, (partition, _) in enumerate(calls):
            by_server.setdefault(links_of[partition], []).append(number)
        shares = await asyncio.gather(
            *(
                send(links, b"".join([calls[number][1] for number in numbers]), len(numbers))
                for links, numbers in by_server.items()
            ),
            return_exceptions=True,
        )
        answers: list[Any] = [None] * len(calls)
        for numbers, share in zip(by_server.values(), shares, strict=True):
            if isinstance(share, BaseException):
                raise share
            for number, answer in zip(numbers, share, strict=True):
                answers[number] = answer
        return answers

    async def _run(
        self, partition: Partition, script: _Script, keys: Sequence[Packable], arguments: Iterable[Packable]
    ) -> Any:
        packed = _evalsha(script, keys, arguments)
        (answer,) = await _run_packed(await self._topology.links(partition), packed, 1)
        return answer

    def _of_shard(
        self, shard: Shard, command: str, keys: Mapping[Shard, bytes], *arguments: Packable
    ) -> tuple[Partition, bytes]:
        return self._partition_of[shard], pack(command, keys[shard], *arguments)

    def _of_person(self, user_id: UserId, command: str, *arguments: Packable) -> tuple[Partition, bytes]:
        partition = partition_of_person(user_id, self._shape.shards, self._shape.partitions)
        return partition, pack(command, self._keys[partition].person(user_id), *arguments)

    async def _wake_all(self, partition: Partition, workers: set[WorkerId], news: bytes) -> None:
        calls = self._wakes(partition, workers, news)
        if calls:
            await self._call(partition, b"".join(calls), len(calls))

    def _wakes(self, partition: Partition, workers: Iterable[WorkerId], news: bytes) -> list[bytes]:
        calls: list[bytes] = []
        for worker_id in workers:
            key = self._keys[partition].wake(worker_id)
            # The id is of Redis's clock: it grows also after the stream expired, so no wake is overlooked.
            calls.append(pack("XADD", key, "MAXLEN", WAKE_ENTRIES_MAX, "*", _FIELD, news))
            calls.append(pack("PEXPIRE", key, WAKE_TTL_MS))
        return calls


async def _run_packed(links: RedisLinks, packed: bytes, replies: int) -> list[Any]:
    """Run packed script calls over one connection, and load the scripts where Redis does not know them.

    Repeating all after `NOSCRIPT` is right, since each of them may be repeated.
    """
    try:
        return await links.call(packed, replies)
    except NoScriptError:
        loads = [pack("SCRIPT", "LOAD", script.text) for script in _SCRIPTS]
        await links.call(b"".join(loads), len(loads))
    try:
        return await links.call(packed, replies)
    except NoScriptError as error:
        raise BusUnavailable("Redis: lost its scripts twice in a row") from error


async def _stream_top(links: RedisLinks, reader: tuple[Partition, EdgeId], key: str) -> int:
    """Return the last position that the stream gave out; 0 where there is no stream."""
    try:
        flat = await links.read(reader, pack("XINFO", "STREAM", key), 0)
    except ResponseError as error:
        if "no such key" in str(error):
            return 0
        raise
    last_id = dict(_pairs(flat))[b"last-generated-id"]
    return int(last_id.partition(b"-")[2])


def _evalsha(script: _Script, keys: Sequence[Packable], arguments: Iterable[Packable]) -> bytes:
    return pack_list(["EVALSHA", script.sha, len(keys), *keys, *arguments])


def _add(arguments: list[Packable], command: str, key_number: int, values: list[Packable] | list[str]) -> None:
    """Add an operation of scripts/commit.lua, as several where it has too many arguments."""
    for at in range(0, len(values), ARGUMENTS_MAX):
        chunk = values[at : at + ARGUMENTS_MAX]
        arguments += (command, key_number, len(chunk))
        arguments += chunk


def _add_queue(arguments: list[Packable], key_number: int, entries: list[bytes], upto: int) -> None:
    """Add entries to a stream, and the trim up to a position."""
    for data in entries:
        arguments += ("XADD", key_number, 3, "0-*", "d", data)
    if upto:
        arguments += ("XTRIM", key_number, 3, "MINID", "=", b"0-%d" % (upto + 1))


def _add_room(names: list[Packable], arguments: list[Packable], keys: Keys, patch: RoomPatch) -> None:
    room_number = history_number = 0
    if patch.set_fields or patch.delete_fields or patch.ttl_ms is not None:
        names.append(keys.room(patch.room_id))
        room_number = len(names)
    if patch.history or patch.redacted or patch.ttl_ms is not None:
        names.append(keys.history(patch.room_id))
        history_number = len(names)
    if patch.set_fields:
        fields: list[Packable] = []
        for field, value in patch.set_fields.items():
            fields += (field, value)
        _add(arguments, "HSET", room_number, fields)
    if patch.delete_fields:
        _add(arguments, "HDEL", room_number, patch.delete_fields)
    if patch.history:
        arguments += ("LOG", history_number, 2 * len(patch.history))
        for seq, event in patch.history:
            arguments += (b"%d-%d" % (patch.epoch, seq), event)
    if patch.redacted:
        _add(arguments, "XDEL", history_number, [f"{patch.epoch}-{seq}" for seq in patch.redacted])
    if patch.ttl_ms is not None:
        for number in (room_number, history_number):
            arguments += ("PEXPIRE", number, 1, patch.ttl_ms) if patch.ttl_ms else ("PERSIST", number, 0)


def _add_person(names: list[Packable], arguments: list[Packable], keys: Keys, patch: PersonPatch) -> None:
    fields: list[Packable] = []
    for other_id, blocked in patch.blocks.items():
        # An ended block stays as a mark: what the durable store says later must not bring it back.
        fields += (_BLOCK + other_id.encode(), int(blocked))
    if patch.muted_until_ms is not None:
        fields += (_MUTED, patch.muted_until_ms)
    if patch.barred_until_ms is not None:
        fields += (_BARRED, patch.barred_until_ms)
    names.append(keys.person(patch.user_id))
    _add(arguments, "HSET", len(names), fields)


def _person(flat: list[bytes]) -> Person:
    blocks: list[UserId] = []
    others: dict[bytes, bytes] = {}
    for field, value in _pairs(flat):
        if field.startswith(_BLOCK):
            if value == b"1":
                blocks.append(UserId(field[len(_BLOCK) :].decode()))
        else:
            others[field] = value
    return Person(frozenset(blocks), int(others.get(_MUTED, 0)), int(others.get(_BARRED, 0)), _FILLED in others)


def _acquired(flat: list[bytes], now_ms: int) -> Acquired:
    marks: dict[EdgeId, int] = {}
    values: dict[bytes, bytes] = {}
    for field, value in _pairs(flat):
        if field.startswith(_MARK):
            marks[EdgeId(field[len(_MARK) :].decode())] = int(value)
        else:
            values[field] = value
    return Acquired(
        LeaseToken(int(values[b"token"])),
        int(values[b"version"]),
        int(values[b"cursor"]),
        marks,
        int(values[b"generation"]),
        now_ms,
    )


def _pairs(flat: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _shape_text(values: tuple[int, ...]) -> str:
    shards, partitions, layout = values
    return f"{shards} shards in {partitions} partitions (format {layout})"
