"""Letters to another partition: each is taken once and in order, whoever moves it, how often, and how late.

The store and the engine that receives are the real ones. Movers read and deliver in steps of their own: one whose
lease was taken still delivers what it read, at any time; a reply that was lost is a delivery that comes again.
"""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from common.bus import Acquired, ClusterShape, Commit, ShardCommit
from common.bus_memory import MemoryStore
from common.commands import Tell
from common.ids import Partition, RoomId, Shard, UserId, WorkerId
from common.letters import Unwatch
from common.relay import RelayEntry, batch_of, encode_entry, sender_of
from common.settings import WorkerSettings
from roomworker.engine import Engine
from tests.unit.stage import ADA, START_MS

SHAPE = ClusterShape(shards=4, partitions=2)
HERE, THERE = Partition(0), Partition(1)
SOURCES = (Shard(0), Shard(2))
TARGET = Shard(1)
INBOX = RoomId("user:ada")
LEASE_MS = 10**9

Letter = tuple[int, int, int]
"""Source, how often the source had lost its data, number."""


class Mover:
    """A worker that holds, or held, a source shard's lease."""

    def __init__(self, acquired: Acquired) -> None:
        self.token = acquired.token
        self.version = acquired.version
        self.read_upto = 0
        self.held: list[tuple[int, bytes]] = []
        self.moved_upto = 0


class Post:
    """Two sources, one target, and what became of each letter."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.store = MemoryStore(SHAPE, lambda: self.now_ms)
        self.movers: dict[Shard, list[Mover]] = {shard: [] for shard in SOURCES}
        self.losses = dict.fromkeys(SOURCES, 0)
        self.written: dict[Shard, list[Letter]] = {shard: [] for shard in SOURCES}
        self.taken: list[Letter] = []
        for shard in SOURCES:
            self.take_over(shard)
        self.change_receiver()

    # --- the source ---------------------------------------------------------------------------------------

    def take_over(self, shard: Shard) -> None:
        """Somebody else has the shard from now on; the one before does not know it yet."""
        self.movers[shard].append(Mover(self._acquire(HERE, shard)))

    def write(self, shard: Shard) -> None:
        owner = self.movers[shard][-1]
        letter = (shard, self.losses[shard], len(self.written[shard]))
        told = Tell(INBOX, Unwatch(ADA, UserId(json.dumps(letter))))
        entry = encode_entry(RelayEntry(TARGET, owner.token, self.now_ms, [told]))
        self._commit(shard, owner, relays={THERE: [entry]})
        self.written[shard].append(letter)

    def read(self, shard: Shard, mover: Mover, count: int) -> None:
        for entry in self.store.relays_after(THERE, {shard: mover.read_upto}, count):
            mover.held.append((entry.position, entry.data))
            mover.read_upto = entry.position

    def deliver(self, shard: Shard, mover: Mover, *, answered: bool) -> None:
        """All that it holds, or nothing of it: what `append_relayed` promises."""
        for position, data in mover.held:
            self.store.append_input(*batch_of(shard, position, data))
        if answered and mover.held:
            mover.moved_upto = mover.held[-1][0]
            mover.held.clear()

    def move(self, shard: Shard) -> None:
        """The present owner does all of it, as mostly."""
        self.read(shard, self.movers[shard][-1], 10)
        self.deliver(shard, self.movers[shard][-1], answered=True)
        self.take(10)

    def trim(self, shard: Shard, mover: Mover) -> None:
        """Only the present owner's commit is written."""
        if mover is self.movers[shard][-1]:
            self._commit(shard, mover, relays_upto={THERE: mover.moved_upto})

    def lose_source(self) -> None:
        self.store.flush_partition(HERE)
        # Redis was away for a moment at least.
        self.now_ms += 1
        for shard in SOURCES:
            self.losses[shard] += 1
            self.take_over(shard)

    # --- the target ---------------------------------------------------------------------------------------

    def change_receiver(self) -> None:
        acquired = self._acquire(THERE, TARGET)
        self.version = acquired.version
        self.engine = Engine(WorkerSettings(shards=4, partitions=2), _fails)
        self.engine.add_shard(TARGET, acquired)

    def take(self, count: int) -> None:
        cursors = self.engine.cursors(THERE)
        plan = self.engine.plan(THERE, self.store.inputs_after(cursors, count), self.now_ms)
        if plan.is_empty():
            return
        for room_plan in plan.rooms.values():
            for task in room_plan.tasks:
                assert isinstance(task.work, Tell)
                assert isinstance(task.work.letter, Unwatch)
                shard, losses, number = json.loads(task.work.letter.watcher_id)
                self.taken.append((shard, losses, number))
        plan.rooms.clear()
        turns, _ = self.engine.run(plan, self.now_ms, {})
        answer = self.store.commit(THERE, self.engine.commit_of(THERE, turns, WorkerId("w"), self.now_ms))
        assert answer.done
        self.engine.settle(turns)

    def _acquire(self, partition: Partition, shard: Shard) -> Acquired:
        answer = self.store.acquire(partition, WorkerId("w"), LEASE_MS, [shard])[shard]
        assert isinstance(answer, Acquired)
        return answer

    def _commit(self, shard: Shard, owner: Mover, **relay: Any) -> None:
        part = ShardCommit(shard, owner.token, owner.version, 0, {}, [], [], **relay)
        assert self.store.commit(HERE, Commit([part], {})).done
        owner.version += 1

    # --- the end ------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The present owners move the rest; the late ones come last."""
        for shard in SOURCES:
            owner = self.movers[shard][-1]
            self.read(shard, owner, 10_000)
            self.deliver(shard, owner, answered=True)
        for shard, movers in self.movers.items():
            for mover in movers:
                self.deliver(shard, mover, answered=True)
        self.take(10_000)


def _fails(*args: Any, **kwargs: Any) -> None:
    raise AssertionError(args)


sources = st.sampled_from(SOURCES)
steps = st.one_of(
    st.tuples(st.just("write"), sources),
    st.tuples(st.just("move"), sources),
    st.tuples(st.just("read"), sources, st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("deliver"), sources, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("trim"), sources, st.integers(0, 3)),
    st.tuples(st.just("take"), st.integers(1, 4)),
    st.tuples(st.just("take_over"), sources),
    st.tuples(st.just("change_receiver")),
)
losses = st.tuples(st.just("lose_source"))


def play(script: list[tuple[Any, ...]]) -> Post:
    post = Post()
    for name, *given_ in script:
        if name in ("read", "deliver", "trim"):
            shard, back, *rest = given_
            # The present owner most of the time, and those before it.
            mover = post.movers[shard][-1 - min(back, len(post.movers[shard]) - 1)]
            act: Callable[..., None] = getattr(post, name)
            if name == "deliver":
                act(shard, mover, answered=rest[0])
            else:
                act(shard, mover, *rest)
        else:
            getattr(post, name)(*given_)
    post.settle()
    return post


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=60))
def test_each_letter_is_taken_once_and_in_order(script: list[tuple[Any, ...]]) -> None:
    post = play(script)
    for shard in SOURCES:
        assert [letter for letter in post.taken if letter[0] == shard] == post.written[shard]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(steps, losses), max_size=60))
def test_after_a_loss_nothing_comes_twice_and_what_is_written_then_arrives(script: list[tuple[Any, ...]]) -> None:
    post = play(script)
    for shard in SOURCES:
        taken = [letter for letter in post.taken if letter[0] == shard]
        assert taken == sorted(set(taken), key=lambda letter: letter[2])
        since = [letter for letter in post.written[shard] if letter[1] == post.losses[shard]]
        assert taken[len(taken) - len(since) :] == since


def test_a_receiver_keeps_one_mark_for_each_source() -> None:
    script: list[tuple[Any, ...]] = []
    for _ in range(5):
        script += [("write", shard) for shard in SOURCES]
        script += [("read", shard, 0, 9) for shard in SOURCES] + [("deliver", shard, 0, True) for shard in SOURCES]
        script += [("take", 9), ("lose_source",)]
    post = play(script)
    assert len(post.taken) == 10
    marks = post._acquire(THERE, TARGET).marks
    assert set(marks) == {sender_of(shard) for shard in SOURCES}
    assert post.engine.known_edges() == set()
