"""Whatever is done, all versions of the seam give the same answers.

Only what depends on the clock or on approximate trimming is left out: lives are long and bounds are large.
"""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bus import Acquired, ClusterShape, Commit, Person, PersonPatch, RoomPatch, ShardCommit
from common.bus_memory import MemoryBus, MemoryStore
from common.bus_redis import RedisBus
from common.ids import EdgeId, Epoch, LeaseToken, RoomId, Seq, Shard, UserId, WorkerId
from common.ring import partition_of_person, partition_of_shard
from loadtest.redis_groups import RedisGroup
from tests.contract.builders import LONG_MS

SHAPE = ClusterShape(shards=6, partitions=3)
DEAD_LETTERS_MAX = 4

_namespaces = itertools.count(1)

shards = st.integers(0, SHAPE.shards - 1)
workers = st.sampled_from(["w1", "w2"])
edges = st.sampled_from(["e1", "e2"])
rooms = st.sampled_from(["r1", "r2", "r3"])
fields = st.sampled_from(["a", "b", "c"])

patches = st.builds(
    lambda room, epoch, sets, deletes, first, count, active, ttl, redacted: (
        room,
        epoch,
        sets,
        deletes,
        first,
        count,
        active,
        ttl,
        redacted,
    ),
    rooms,
    st.integers(1, 3),
    st.dictionaries(fields, st.binary(max_size=3), max_size=3),
    st.lists(fields, max_size=2, unique=True),
    st.integers(1, 6),
    st.integers(0, 3),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, 0, LONG_MS]),
    st.lists(st.integers(1, 6), max_size=2, unique=True),
)
parts = st.tuples(
    shards,
    st.sampled_from([0, 0, 0, 0, -1, 1]),  # distance of the version from the right one
    st.integers(0, 6),  # cursor
    st.dictionaries(edges, st.integers(1, 9), max_size=2),
    st.lists(edges, max_size=1),
    st.lists(patches, max_size=2),
    st.dictionaries(
        st.sampled_from("xyz"),
        st.tuples(st.dictionaries(st.sampled_from("xyz"), st.booleans(), max_size=2), st.sampled_from([0, 7])),
        max_size=2,
    ),
    st.lists(st.binary(max_size=3), max_size=3),  # dead letters
    st.lists(st.binary(max_size=3), max_size=3),  # for the other partition
    st.integers(0, 4),  # how far what was for it is moved
)
steps = st.one_of(
    st.tuples(st.just("append"), shards, st.binary(max_size=4)),
    st.tuples(st.just("acquire"), workers, shards),
    st.tuples(st.just("renew"), workers, shards),
    st.tuples(st.just("release"), workers, shards),
    st.tuples(
        st.just("commit"),
        workers,
        st.lists(parts, min_size=1, max_size=2),
        st.dictionaries(edges, st.binary()),
        st.dictionaries(shards, st.binary(), max_size=2),
    ),
    st.tuples(st.just("repeat")),
    st.tuples(st.just("moved"), st.lists(st.tuples(shards, st.binary(max_size=4)), max_size=4)),
    st.tuples(st.just("announce"), edges),
    st.tuples(st.just("withdraw"), edges),
    st.tuples(st.just("read"), shards, st.integers(0, 6), st.integers(1, 3)),
    st.tuples(st.just("listen"), edges, st.integers(0, 8)),
    st.tuples(st.just("trim"), edges, st.integers(0, 8)),
    st.tuples(st.just("drop_dead"), shards, st.integers(1, 4)),
    st.tuples(st.just("retry_dead"), shards, st.integers(1, 4), st.binary(max_size=4)),
    st.tuples(st.just("fill"), st.sampled_from("xyz"), st.sets(st.sampled_from("xyz"))),
)


class Player:
    """Plays steps on one bus and tells the answers, with tokens left out."""

    def __init__(self, bus: MemoryBus | RedisBus) -> None:
        self.bus = bus
        self.leases: dict[tuple[str, int], Acquired] = {}
        self.versions: dict[int, int] = {}
        self.last: tuple[int, Commit] | None = None

    async def play(self, step: tuple[Any, ...]) -> Any:
        bus = self.bus
        match step:
            case ("append", shard, data):
                return await bus.append_inputs([(shard, data)])
            case ("acquire", worker, shard):
                answer = (await bus.acquire(_partition(shard), WorkerId(worker), LONG_MS, [Shard(shard)]))[Shard(shard)]
                if not isinstance(answer, Acquired):
                    return answer.owner
                known = [lease.token for (_, of), lease in self.leases.items() if of == shard]
                assert all(token < answer.token for token in known)
                self.leases[worker, shard] = answer
                return answer.version, answer.cursor, answer.marks
            case ("renew", worker, shard):
                tokens = {Shard(shard): self._token(worker, shard)}
                renewed = (await bus.renew(_partition(shard), WorkerId(worker), LONG_MS, tokens))[Shard(shard)]
                return renewed and (renewed.wanted_by, renewed.is_proven)
            case ("release", worker, shard):
                tokens = {Shard(shard): self._token(worker, shard)}
                return await bus.release(_partition(shard), WorkerId(worker), tokens)
            case ("commit", worker, batch, outputs, inputs):
                partition = _partition(batch[0][0])
                batch = [one for one in batch if _partition(one[0]) == partition]
                unique = {one[0]: one for one in batch}.values()
                made = [self._part(worker, *one) for one in unique]
                told = {Shard(shard): data for shard, data in inputs.items() if _partition(shard) == partition}
                self.last = (partition, Commit(made, {EdgeId(edge): data for edge, data in outputs.items()}, told))
                return await self._commit()
            case ("repeat",):
                return await self._commit() if self.last else None
            case ("moved", appends):
                for partition in _partitions():
                    here = [(Shard(shard), data) for shard, data in appends if _partition(shard) == partition]
                    await bus.append_relayed(partition, here)
                return None
            case ("announce", edge):
                return await bus.announce("edge", edge, b"i", LONG_MS)
            case ("withdraw", edge):
                return await bus.withdraw("edge", edge)
            case ("read", shard, cursor, count):
                cursors = {Shard(shard): cursor}
                return await bus.read_inputs(_partition(shard), WorkerId("reader"), cursors, count, 0)
            case ("listen", edge, after):
                return [await bus.read_output(partition, EdgeId(edge), after, 0) for partition in _partitions()]
            case ("trim", edge, upto):
                for partition in _partitions():
                    await bus.trim_output(partition, EdgeId(edge), upto)
                return None
            case ("drop_dead", shard, position):
                return await bus.drop_dead_letter(Shard(shard), position)
            case ("retry_dead", shard, position, data):
                return await bus.retry_dead_letter(Shard(shard), position, data)
            case ("fill", user, others):
                blocks = frozenset(UserId(other) for other in others)
                return await bus.fill_in({UserId(user): Person(blocks, len(others), 2 * len(others))})
        raise AssertionError(step)

    async def state(self) -> list[Any]:
        """Return all that can be read."""
        bus = self.bus
        names = [RoomId(name) for name in ("r1", "r2", "r3")]
        found: list[Any] = [
            [(status.shard, status.owner, status.version, status.backlog) for status in await bus.shard_status()],
            await bus.nodes("edge"),
            await bus.people([UserId(user) for user in "xyz"]),
            [await bus.active_rooms(Shard(shard)) for shard in range(SHAPE.shards)],
            await bus.dead_letters([Shard(shard) for shard in range(SHAPE.shards)], 100),
        ]
        for partition in _partitions():
            here = {Shard(shard): 0 for shard in range(SHAPE.shards) if _partition(shard) == partition}
            for to in _partitions():
                if to != partition:
                    found.append(sorted(map(repr, await bus.read_relays(partition, to, here, 100))))
            found.append([await bus.relay_lengths(shard) for shard in here])
            found.append(await bus.load_rooms(partition, names))
            found += [
                await bus.load_history(partition, name, Epoch(epoch), Seq(0)) for name in names for epoch in (1, 2, 3)
            ]
        return found

    async def _commit(self) -> Any:
        assert self.last is not None
        partition, batch = self.last
        answer = await self.bus.commit(_partition(partition), batch)
        if answer.done and not answer.already:
            for one in batch.shards:
                self.versions[one.shard] = one.version + 1
        return answer

    def _token(self, worker: str, shard: int) -> LeaseToken:
        lease = self.leases.get((worker, shard))
        return LeaseToken(1) if lease is None else lease.token

    def _part(
        self,
        worker: str,
        shard: int,
        distance: int,
        cursor: int,
        marks: dict[str, int],
        forget: list[str],
        changes: list[tuple[Any, ...]],
        people: dict[str, tuple[dict[str, bool], int]],
        dead: list[bytes],
        told: list[bytes],
        moved_upto: int,
    ) -> ShardCommit:
        version = max(self.versions.get(shard, 0) + distance, 0)
        # A room belongs to one shard for ever, so its name carries it here.
        made = [_patch(*change) for change in changes if _shard_of(change[0]) == shard]
        entered = {EdgeId(edge): mark for edge, mark in marks.items()}
        # A person belongs to one partition.
        known = [
            PersonPatch(
                UserId(user),
                {UserId(other): blocked for other, blocked in blocks.items()},
                muted_until_ms,
                muted_until_ms,
            )
            for user, (blocks, muted_until_ms) in people.items()
            if partition_of_person(UserId(user), SHAPE.shards, SHAPE.partitions) == _partition(shard)
        ]
        return ShardCommit(
            Shard(shard),
            self._token(worker, shard),
            version,
            cursor,
            entered,
            [EdgeId(e) for e in forget],
            made,
            people=known,
            dead=dead,
            relays={other: told for other in _partitions() if other != _partition(shard)} if told else {},
            relays_upto={other: moved_upto for other in _partitions() if other != _partition(shard)},
        )


def _patch(
    room: str,
    epoch: int,
    sets: dict[str, bytes],
    deletes: list[str],
    first: int,
    count: int,
    active: bool | None,
    ttl_ms: int | None,
    redacted: list[int],
) -> RoomPatch:
    history = [(Seq(seq), b"%d" % seq) for seq in range(first, first + count)]
    return RoomPatch(RoomId(room), Epoch(epoch), sets, deletes, history, active, ttl_ms, [Seq(seq) for seq in redacted])


def _shard_of(room: str) -> int:
    return int(room[1:]) % 2


def _partition(number: int) -> Any:
    return partition_of_shard(Shard(number), SHAPE.partitions)


def _partitions() -> list[Any]:
    return list(range(SHAPE.partitions))


@pytest.fixture(scope="session", params=["valkey", "redis", "redis_cluster"])
def group(request: pytest.FixtureRequest) -> RedisGroup:
    found: RedisGroup = request.getfixturevalue(request.param)
    return found


@settings(max_examples=60, deadline=None)
@given(script=st.lists(steps, max_size=60))
def test_all_versions_give_the_same_answers(group: RedisGroup, script: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        now_ms = itertools.count(1_000_000)
        memory = Player(MemoryBus(MemoryStore(SHAPE, lambda: next(now_ms), dead_letters_max=DEAD_LETTERS_MAX)))
        redis = Player(RedisBus(group.url, f"same{next(_namespaces)}", SHAPE, dead_letters_max=DEAD_LETTERS_MAX))
        try:
            for number, step in enumerate(script):
                assert await memory.play(step) == await redis.play(step), (number, step)
            assert await memory.state() == await redis.state()
        finally:
            await redis.bus.close()

    asyncio.run(run())
