"""All rooms of a worker: from a batch of input to one commit. No IO.

A turn has these steps, and the shell (`worker.py`) does the reads between them:

    plan = engine.plan(entries, ...)       what to do, and which rooms to load first
    engine.add_room(...)                   for each of plan.rooms_to_load
    needs = engine.needs(rooms)            people, history and seeds that the commands depend on
    turns, broken = engine.run(plan, ...)  the rooms decide; a room that failed is dropped and planned again,
                                           and what it fails at each time becomes a dead letter
    commit = commit_of(turns, ...)         written as one
    engine.settle(turns)                   after the commit is done

Nothing that `run` did may leave the process before the commit; when the commit is refused for a shard, the
shard's memory is dropped.
"""

import heapq
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import UNSET, DecodeError, Struct, UnsetType, field, json

from common.bus import Acquired, Commit, Person, ShardCommit, ShardEntry
from common.codec import encode_event
from common.commands import (
    AnyCommand,
    AnyRoomCommand,
    BlockChanged,
    Call,
    ChangeBlock,
    DeleteMessage,
    EdgeClosed,
    InputBatch,
    Inspect,
    Join,
    Leave,
    LiftRestrictions,
    Moderate,
    Post,
    SetFriendship,
    Tell,
    decode_batch,
    encode_batch,
)
from common.dead_letters import DeadLetter, dead_command, dead_entry, encode_dead_letter
from common.deliveries import Answer, AnyDelivery, Detach, Direct, OutputBatch, encode_output
from common.durable import BoardNote, ChatMessage, NoteRemoved
from common.errors import ErrorCode, RoomringError
from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, UserId, WorkerId, kind_of
from common.messages import Persisted, refusal
from common.outbox import OutboxEntry
from common.relay import RelayEntry, encode_entry, is_relay
from common.ring import partition_of_shard, shard_of
from common.settings import WorkerSettings
from common.word_filter import NO_FILTER, WordFilter
from roomworker.effects import RoomTurn
from roomworker.fanout import deliveries_of
from roomworker.kinds import KINDS
from roomworker.room import Beginning, Room
from roomworker.rules import RoomRules

_json: Final = json.Encoder()

TRIES_MAX: Final = 3
"""How often a room tries a task, each time from its stored state, before the task is set aside."""

RELAY_STOPS_AT: Final = 2
"""At so many times its bound a relay stops the shard's input. Up to the bound itself nothing is refused, and between
the two only what persons ask for; what comes of it that a connection comes or goes is still written."""

FAILED_TIMER_REST_MS: Final = 10_000
"""How long a room's timers rest after they failed: they would be due again at once, for ever."""


class RoomUnreadable(RoomringError):
    """What is stored of a room cannot be made a room of: written by another release, or spoilt."""


class DropEdge(Struct, frozen=True):
    """The registry no longer knows an edge: its connections are lost. From the shell, not from a stream."""


class RunTimers(Struct, frozen=True):
    """A room's timer is due."""


RoomWork = AnyRoomCommand | BlockChanged | EdgeClosed | DropEdge | RunTimers


class Kept(Struct, frozen=True):
    """Entries of a shard's outbox, up to a position, are in the durable store. From the shell's writer.

    `refused` are not, since the store would never take them.
    """

    shard: Shard
    token: LeaseToken
    upto: int
    entries: list[OutboxEntry]
    refused: Sequence[DeadLetter] = ()


class Relayed(Struct, frozen=True):
    """Entries of a shard's relay to a partition, up to a position, are there. From the shell.

    `dead` are not, since they cannot be read.
    """

    shard: Shard
    token: LeaseToken
    to: Partition
    upto: int
    count: int
    dead: Sequence[DeadLetter] = ()


class MovedUpto(Struct, frozen=True):
    """How far an outbox or a relay was moved on, and how many entries that are since the last time."""

    position: int
    count: int


NOTHING_MOVED: Final = MovedUpto(0, 0)


NO_EDGES: Final[Mapping[EdgeId, Mapping[Shard, int]]] = {}
NO_RELAYS: Final[Mapping[Partition, int]] = {}


class Task(Struct, frozen=True):
    """One thing for one room to do, from an edge (or about one)."""

    edge_id: EdgeId
    work: RoomWork
    arrived_ms: int


class RoomPlan(Struct):
    """What one room has to do in this turn.

    `failures` counts by task (its `id`) how often the room failed at it, `poisoned` are the tasks that it was given up
    for.
    """

    shard: Shard
    room_id: RoomId
    tasks: list[Task] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    poisoned: list[Task] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)


class Plan(Struct):
    """What one batch asks for, by room, and how far it takes each shard."""

    rooms: dict[RoomId, RoomPlan] = field(default_factory=dict)
    cursors: dict[Shard, int] = field(default_factory=dict)
    marks: dict[Shard, dict[EdgeId, int]] = field(default_factory=dict)
    forget: dict[Shard, list[EdgeId]] = field(default_factory=dict)
    rooms_to_load: list[RoomId] = field(default_factory=list)
    kept: dict[Shard, MovedUpto] = field(default_factory=dict)
    relayed: dict[Shard, dict[Partition, MovedUpto]] = field(default_factory=dict)
    proofs: list[Shard] = field(default_factory=list)
    """Shards that are to be committed even if nothing happened in them."""
    replies: dict[Shard, list[tuple[EdgeId, AnyDelivery]]] = field(default_factory=dict)
    """What is said to connections without asking a room."""
    dead: dict[Shard, list[DeadLetter]] = field(default_factory=dict)
    """What is set aside without asking a room."""
    commands: int = 0
    repeated_batches: int = 0
    bad_entries: int = 0

    def is_empty(self) -> bool:
        """Tell whether there is nothing to do."""
        return not (self.cursors or self.rooms or self.forget or self.kept or self.relayed or self.proofs)


class Needs(Struct, frozen=True):
    """What the stores must be asked before a plan can run."""

    people: list[UserId]
    history: list[tuple[RoomId, Epoch, Seq]]
    seeds: dict[RoomId, tuple[UserId, ...]]
    """Rooms of which the durable store may know more than Redis; of a thread its two persons, where they are known."""


class ShardTurn(Struct):
    """What one batch did to one shard."""

    shard: Shard
    cursor: int
    marks: dict[EdgeId, int]
    forget: list[EdgeId]
    kept: MovedUpto
    relayed: dict[Partition, MovedUpto]
    relays: dict[Partition, list[bytes]] = field(default_factory=dict)
    """What its rooms tell rooms of other partitions, once `Engine.commit_of` has put it together."""
    rooms: list[RoomTurn] = field(default_factory=list)
    outputs: dict[EdgeId, list[AnyDelivery]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Tell whether there is nothing to write."""
        return not (
            self.rooms or self.marks or self.forget or self.outputs or self.dead or self.kept.count or self.relayed
        )

    def outbox(self) -> list[bytes]:
        """Return the entries for the durable store."""
        return [entry for room in self.rooms for entry in room.outbox]


class OwnedShard(Struct):
    """A shard that this worker holds the lease of, with its rooms in memory."""

    shard: Shard
    token: LeaseToken
    version: int
    cursor: int
    marks: dict[EdgeId, int]
    generation: int
    outbox_length: int
    """Entries that wait for the durable store."""
    relay_lengths: dict[Partition, int]
    """Entries that wait for each other partition."""
    epoch_last: int = 0
    """The greatest that a room began with."""
    is_proven: bool = True
    """See `Renewed.is_proven`."""
    rooms: dict[RoomId, Room] = field(default_factory=dict)
    unreadable: set[RoomId] = field(default_factory=set)
    """Rooms that could not be made from what is stored of them, when last tried. Nothing is written of them."""


class FailureHook(Protocol):
    """Told of each failure of a room at a task; called from within the `except` block."""

    def __call__(self, room_id: RoomId, task: Task | None, error: Exception, *, gives_up: bool) -> None:
        """Hear of a failure. `gives_up`: it was the last try, and the task is set aside.

        Without a task: the room itself became unreadable, and is refused until it can be read.
        """
        ...


class Engine:
    """The rooms of one worker, in the shards that it owns."""

    def __init__(self, settings: WorkerSettings, on_failure: FailureHook, word_filter: WordFilter = NO_FILTER) -> None:
        self._settings = settings
        self._word_filter = word_filter
        self._on_failure = on_failure
        self._shards: dict[Shard, OwnedShard] = {}
        self._of_partition: dict[Partition, dict[Shard, OwnedShard]] = {
            Partition(number): {} for number in range(settings.partitions)
        }
        """The same, by partition."""
        self._rules: dict[str, RoomRules] = {kind: make(settings) for kind, make in KINDS.items()}
        self._timers: dict[Partition, list[tuple[int, RoomId]]] = {
            Partition(number): [] for number in range(settings.partitions)
        }
        self._due_ms: dict[RoomId, int] = {}
        self._idle_since_ms: dict[RoomId, int] = {}
        self._timers_rest_until_ms: dict[RoomId, int] = {}

    # --- shards and rooms ---------------------------------------------------------------------------------

    def add_shard(
        self,
        shard: Shard,
        acquired: Acquired,
        *,
        outbox_length: int = 0,
        relay_lengths: Mapping[Partition, int] = NO_RELAYS,
    ) -> None:
        """Take a shard whose lease was acquired. Its rooms of another generation begin a new order when loaded."""
        assert shard not in self._shards
        owned = OwnedShard(
            shard,
            acquired.token,
            acquired.version,
            acquired.cursor,
            dict(acquired.marks),
            acquired.generation,
            outbox_length,
            dict(relay_lengths),
        )
        self._shards[shard] = self._of_partition[self._partition(shard)][shard] = owned

    def drop_shard(self, shard: Shard) -> None:
        """Forget a shard and its rooms; idempotent."""
        self._shards.pop(shard, None)
        self._of_partition[self._partition(shard)].pop(shard, None)

    def hurry(self, shards: Collection[Shard], now_ms: int) -> bool:
        """Have the next turn store what rooms of these shards were to store later. False: there is nothing."""
        hurried = [
            room.room_id
            for shard in shards
            if shard in self._shards
            for room in self._shards[shard].rooms.values()
            if room.hurry()
        ]
        for room_id in hurried:
            self._set_timer(room_id, now_ms)
        return bool(hurried)

    def owns(self, shard: Shard) -> bool:
        """Tell whether the shard is in memory."""
        return shard in self._shards

    def tokens(self, partition: Partition) -> dict[Shard, LeaseToken]:
        """Return the lease tokens of the shards owned in a partition."""
        return {shard: owned.token for shard, owned in self._of_partition[partition].items()}

    def versions(self, partition: Partition) -> dict[Shard, int]:
        """Return how many commits of each owned shard of a partition this worker knows."""
        return {shard: owned.version for shard, owned in self._of_partition[partition].items()}

    def doubt(self, shard: Shard) -> None:
        """Have the next turn commit something for an owned shard, as a proof; see `Renewed.is_proven`."""
        if shard in self._shards:
            self._shards[shard].is_proven = False

    def cursors(self, partition: Partition) -> dict[Shard, int]:
        """Return how far each owned shard of a partition has taken its input, where it may take more.

        It may not where a relay has twice its bound: what it takes might write more letters.
        """
        waiting_max = RELAY_STOPS_AT * self._settings.relay_entries_max
        return {
            shard: owned.cursor
            for shard, owned in self._of_partition[partition].items()
            # With one partition there are no relays; this is asked before each read.
            if not owned.relay_lengths or max(owned.relay_lengths.values()) < waiting_max
        }

    def relay_length(self) -> int:
        """Return how many entries wait in the relays of all owned shards."""
        return sum(sum(owned.relay_lengths.values()) for owned in self._shards.values())

    def add_room(self, room_id: RoomId, stored: Mapping[str, bytes], now_ms: int, store_now_ms: int) -> None:
        """Put a room in memory, from its stored fields. It must belong to an owned shard.

        One that cannot be read stays out, and is tried again when somebody asks it for something.

        Args:
            store_now_ms: Redis's clock, of which new epochs are taken: it goes on when a room moves to another worker.
        """
        owned = self._shards[shard_of(room_id, self._settings.shards)]
        if room_id in owned.rooms:
            return
        epoch = Epoch(max(store_now_ms, owned.epoch_last + 1, owned.generation))
        beginning = Beginning(epoch, owned.generation)
        rules = self._rules[kind_of(room_id)]
        try:
            room = Room(room_id, rules, self._settings, stored, now_ms, self._word_filter, beginning=beginning)
        except Exception as error:
            self._cannot_read(owned, room_id, error)
            return
        owned.unreadable.discard(room_id)
        owned.rooms[room_id] = room
        self._schedule(room)
        if room.generation != owned.generation:
            room.begin_epoch(now_ms, beginning)
            # Nobody asked the room anything; a timer makes it say what it has to say.
            self._set_timer(room_id, now_ms)
        owned.epoch_last = max(owned.epoch_last, room.epoch)

    def room(self, room_id: RoomId) -> Room | None:
        """Return a room in memory."""
        owned = self._shards.get(shard_of(room_id, self._settings.shards))
        return None if owned is None else owned.rooms.get(room_id)

    def rooms(self) -> Iterable[Room]:
        """Return all rooms in memory."""
        for owned in self._shards.values():
            yield from owned.rooms.values()

    def unreadable_count(self) -> int:
        """Return how many rooms could not be read when they were last tried."""
        return sum(len(owned.unreadable) for owned in self._shards.values())

    def known_edges(self) -> set[EdgeId]:
        """Return the edges that some room or some mark knows.

        The mark of an edge that closed in order stays until the registry has forgotten it: its last batches may
        have been appended twice.
        """
        edges = self.attached_edges()
        for owned in self._shards.values():
            edges.update(sender for sender in owned.marks if not is_relay(sender))
        return edges

    def marks_of(self, edge_id: EdgeId) -> dict[Shard, int]:
        """Return the last batch that each owned shard has taken from an edge."""
        return {owned.shard: owned.marks.get(edge_id, 0) for owned in self._shards.values()}

    def attached_edges(self) -> set[EdgeId]:
        """Return the edges that have connections in some room."""
        return {edge_id for room in self.rooms() for edge_id in room.edges}

    def next_due_ms(self, partition: Partition) -> int | None:
        """When the next timer of a partition is due."""
        timers = self._timers[partition]
        return timers[0][0] if timers else None

    def unload_idle(self, partition: Partition, now_ms: int, idle_ms: int) -> None:
        """Drop rooms from memory that have had no members for a while; they come back from the store.

        Not during a turn of the partition.
        """
        for owned in self._of_partition[partition].values():
            for room_id, room in list(owned.rooms.items()):
                if room.member_count:
                    self._idle_since_ms.pop(room_id, None)
                elif now_ms - self._idle_since_ms.setdefault(room_id, now_ms) >= idle_ms:
                    del owned.rooms[room_id], self._idle_since_ms[room_id]

    # --- a turn -------------------------------------------------------------------------------------------

    def plan(
        self,
        partition: Partition,
        entries: Iterable[ShardEntry],
        now_ms: int,
        gone_edges: Mapping[EdgeId, Mapping[Shard, int]] = NO_EDGES,
        kept: Iterable[Kept] = (),
        relayed: Iterable[Relayed] = (),
    ) -> Plan:
        """Sort a batch by room.

        Entries of shards that are no longer owned, and batches that were taken before, are left out.
        Unreadable entries are counted and set aside.

        Args:
            gone_edges: edges that the registry did not know, with their marks from before it was asked. Where an edge
                sent something since, it has come back and joins its rooms again, so it is not dropped there.
        """
        plan = Plan()
        for entry in entries:
            owned = self._shards.get(entry.shard)
            if owned is None or entry.position <= plan.cursors.get(entry.shard, owned.cursor):
                continue
            plan.cursors[entry.shard] = entry.position
            try:
                batch = decode_batch(entry.data)
            except DecodeError as error:
                plan.bad_entries += 1
                plan.dead.setdefault(entry.shard, []).append(dead_entry(entry.data, now_ms, error))
                continue
            if batch.number:
                marks = plan.marks.setdefault(entry.shard, {})
                if batch.mark <= marks.get(batch.edge_id, owned.marks.get(batch.edge_id, 0)):
                    plan.repeated_batches += 1
                    continue
                marks[batch.edge_id] = batch.mark
            self._plan_batch(plan, owned, batch, now_ms)
        for edge_id, marks_before in gone_edges.items():
            self._plan_gone_edge(plan, partition, edge_id, marks_before, now_ms)
        for stored in kept:
            self._plan_kept(plan, stored, now_ms)
        for moved in relayed:
            self._plan_relayed(plan, moved)
        self._plan_timers(plan, partition, now_ms)
        plan.proofs = [shard for shard, owned in self._of_partition[partition].items() if not owned.is_proven]
        plan.rooms_to_load = [room_id for room_id in plan.rooms if self.room(room_id) is None]
        return plan

    def needs(self, rooms: Iterable[RoomPlan]) -> Needs:
        """Return what the stores must be asked for these plans, once their rooms are in memory."""
        users: dict[UserId, None] = {}
        history: dict[RoomId, tuple[Epoch, Seq]] = {}
        seeds: dict[RoomId, tuple[UserId, ...]] = {}
        for room_plan in rooms:
            room = self.room(room_plan.room_id)
            if room is None:
                continue
            for task in room_plan.tasks:
                work = task.work
                if isinstance(work, Post):
                    if room.is_seeded and not room.looks_back(work.message):
                        continue
                elif isinstance(work, BlockChanged | EdgeClosed | DropEdge | RunTimers):
                    continue
                try:
                    users.update(dict.fromkeys(room.people_needed(work)))
                    after = room.wants_history(work)
                    persons = () if room.is_seeded else _persons(work)
                except Exception:  # noqa: S112 - the room will fail at the task as well, and tells of it
                    continue
                if after is not None:
                    _, earlier = history.get(room.room_id, (room.epoch, after))
                    history[room.room_id] = (room.epoch, min(earlier, after))
                if not room.is_seeded:
                    seeds[room.room_id] = seeds.get(room.room_id) or persons
        return Needs(list(users), [(room_id, epoch, after) for room_id, (epoch, after) in history.items()], seeds)

    def run(self, plan: Plan, now_ms: int, people: Mapping[UserId, Person]) -> tuple[list[ShardTurn], list[RoomPlan]]:
        """Let the rooms decide.

        Returns: one turn for each shard that the plan touched, and the plans of rooms that failed. A failed
        room is out of memory, nothing of it is in the turns; load it again, with what it needs, and call `rerun`
        with its plan, before the commit.
        """
        turns: dict[Shard, ShardTurn] = {}
        of_rooms = {room_plan.shard for room_plan in plan.rooms.values()}
        for shard in {*plan.cursors, *plan.forget, *plan.kept, *plan.relayed, *plan.proofs, *of_rooms}:
            turns[shard] = ShardTurn(
                shard,
                plan.cursors.get(shard, self._shards[shard].cursor),
                plan.marks.get(shard, {}),
                plan.forget.get(shard, []),
                plan.kept.get(shard, NOTHING_MOVED),
                plan.relayed.get(shard, {}),
            )
        for shard, letters in plan.dead.items():
            turns[shard].dead += letters
        for shard, replies in plan.replies.items():
            for edge_id, delivery in replies:
                turns[shard].outputs.setdefault(edge_id, []).append(delivery)
        broken = [
            room_plan for room_plan in plan.rooms.values() if not self._run_room(room_plan, turns, now_ms, people)
        ]
        return [*turns.values()], broken

    def rerun(
        self,
        broken: Iterable[RoomPlan],
        turns: Iterable[ShardTurn],
        now_ms: int,
        people: Mapping[UserId, Person],
    ) -> list[RoomPlan]:
        """Run rooms again that failed; returns those that failed again.

        A task is out of it once the room failed at it `TRIES_MAX` times.
        """
        by_shard = {turn.shard: turn for turn in turns}
        return [room_plan for room_plan in broken if not self._run_room(room_plan, by_shard, now_ms, people)]

    def commit_of(
        self,
        partition: Partition,
        turns: Collection[ShardTurn],
        worker_id: WorkerId,
        now_ms: int,
        told_at_ms: float = 0.0,
        pause_ms: float = 0.0,
    ) -> Commit:
        """Put turns of a partition together to the one commit that writes them.

        Args:
            told_at_ms: the monotonic time, see `OutputBatch`.
            pause_ms: how long the worker will rest from now on, see `OutputBatch`.
        """
        shards: list[ShardCommit] = []
        outputs: dict[EdgeId, list[AnyDelivery]] = {}
        inputs: dict[Shard, list[AnyCommand]] = {}
        for turn in turns:
            owned = self._shards[turn.shard]
            turn.relays = {}
            for shard, commands in self._letters(turn).items():
                to = self._partition(shard)
                if to == partition:
                    inputs.setdefault(shard, []).extend(commands)
                else:
                    entry = RelayEntry(shard, owned.token, now_ms, commands)
                    turn.relays.setdefault(to, []).append(encode_entry(entry))
            shards.append(
                ShardCommit(
                    turn.shard,
                    owned.token,
                    owned.version,
                    turn.cursor,
                    turn.marks,
                    turn.forget,
                    [room.patch for room in turn.rooms if _changes(room)],
                    turn.outbox(),
                    turn.kept.position,
                    [person for room in turn.rooms for person in room.people],
                    [encode_dead_letter(letter.by(worker_id)) for letter in turn.dead],
                    turn.relays,
                    {to: moved.position for to, moved in turn.relayed.items()},
                    not owned.is_proven,
                )
            )
            for edge_id, deliveries in turn.outputs.items():
                outputs.setdefault(edge_id, []).extend(deliveries)
        encoded = {
            edge_id: encode_output(OutputBatch(worker_id, deliveries, pause_ms, told_at_ms))
            for edge_id, deliveries in outputs.items()
        }
        told = {shard: encode_batch(InputBatch(EdgeId(""), 0, now_ms, commands)) for shard, commands in inputs.items()}
        return Commit(shards, encoded, told)

    def settle(self, turns: Iterable[ShardTurn]) -> None:
        """The commit of these turns is done: move on."""
        for turn in turns:
            owned = self._shards[turn.shard]
            owned.version += 1
            owned.is_proven = True
            owned.cursor = turn.cursor
            owned.marks.update(turn.marks)
            owned.outbox_length += len(turn.outbox()) - turn.kept.count
            for to, entries in turn.relays.items():
                owned.relay_lengths[to] = owned.relay_lengths.get(to, 0) + len(entries)
            for to, moved in turn.relayed.items():
                owned.relay_lengths[to] -= moved.count
            for edge_id in turn.forget:
                owned.marks.pop(edge_id, None)

    # --- helpers ------------------------------------------------------------------------------------------

    def _partition(self, shard: Shard) -> Partition:
        return partition_of_shard(shard, self._settings.partitions)

    def _letters(self, turn: ShardTurn) -> dict[Shard, list[AnyCommand]]:
        """Return what the rooms of a turn tell other rooms, and all of them, by shard."""
        letters: dict[Shard, list[AnyCommand]] = {}
        for room in turn.rooms:
            for command in room.tells:
                letters.setdefault(shard_of(command.room_id, self._settings.shards), []).append(command)
            for broadcast in room.broadcasts:
                for number in range(self._settings.shards):
                    letters.setdefault(Shard(number), []).append(broadcast)
        return letters

    def _plan_batch(self, plan: Plan, owned: OwnedShard, batch: InputBatch, now_ms: int) -> None:
        arrived_ms = min(max(batch.at_ms, now_ms - CLOCK_SLACK_MS), now_ms)
        plan.commands += len(batch.commands)
        for command in batch.commands:
            task = Task(batch.edge_id, command, arrived_ms)
            if isinstance(command, BlockChanged | EdgeClosed):
                self._plan_shard_wide(plan, owned, task)
            elif kind_of(command.room_id) not in self._rules:
                self._refuse_kind(plan, owned.shard, batch.edge_id, command, now_ms)
            else:
                self._room_plan(plan, owned.shard, command.room_id).tasks.append(task)

    def _plan_shard_wide(self, plan: Plan, owned: OwnedShard, task: Task) -> None:
        """For the rooms that it concerns, and those that earlier commands of this plan may make it concern."""
        for room_plan in plan.rooms.values():
            if room_plan.shard == owned.shard:
                room_plan.tasks.append(task)
        for room in owned.rooms.values():
            if room.room_id not in plan.rooms and _concerns(task, room):
                self._room_plan(plan, owned.shard, room.room_id).tasks.append(task)

    def _plan_gone_edge(
        self, plan: Plan, partition: Partition, edge_id: EdgeId, marks_before: Mapping[Shard, int], now_ms: int
    ) -> None:
        for owned in self._of_partition[partition].values():
            mark = plan.marks.get(owned.shard, owned.marks).get(edge_id, owned.marks.get(edge_id, 0))
            if mark != marks_before.get(owned.shard):
                continue
            self._plan_shard_wide(plan, owned, Task(edge_id, DropEdge(), now_ms))
            if edge_id in owned.marks:
                plan.forget.setdefault(owned.shard, []).append(edge_id)

    def _plan_kept(self, plan: Plan, kept: Kept, now_ms: int) -> None:
        owned = self._shards.get(kept.shard)
        if owned is None or owned.token != kept.token:
            # Another owner writes them again, which changes nothing, and tells the senders.
            return
        count = plan.kept.get(kept.shard, NOTHING_MOVED).count + len(kept.entries) + len(kept.refused)
        plan.kept[kept.shard] = MovedUpto(kept.upto, count)
        if kept.refused:
            plan.dead.setdefault(kept.shard, []).extend(kept.refused)
        replies = plan.replies.setdefault(kept.shard, [])
        for entry in kept.entries:
            record = entry.record
            if not entry.edge_id or not isinstance(record, ChatMessage | BoardNote | NoteRemoved):
                continue
            message_id = record.message_id if isinstance(record, ChatMessage) else UNSET
            event = Persisted(record.room_id, record.epoch, record.seq, message_id)
            replies.append((entry.edge_id, Direct(entry.conn, [encode_event(event, now_ms)])))

    def _plan_relayed(self, plan: Plan, relayed: Relayed) -> None:
        owned = self._shards.get(relayed.shard)
        if owned is None or owned.token != relayed.token:
            # Another owner moves them again, which changes nothing there.
            return
        of_shard = plan.relayed.setdefault(relayed.shard, {})
        count = of_shard.get(relayed.to, NOTHING_MOVED).count + relayed.count
        of_shard[relayed.to] = MovedUpto(relayed.upto, count)
        if relayed.dead:
            plan.dead.setdefault(relayed.shard, []).extend(relayed.dead)

    def _plan_timers(self, plan: Plan, partition: Partition, now_ms: int) -> None:
        timers = self._timers[partition]
        while timers and timers[0][0] <= now_ms:
            due_ms, room_id = heapq.heappop(timers)
            if self._due_ms.get(room_id) != due_ms:
                continue
            del self._due_ms[room_id]
            self._timers_rest_until_ms.pop(room_id, None)
            if self.room(room_id) is None:
                continue
            shard = shard_of(room_id, self._settings.shards)
            self._room_plan(plan, shard, room_id).tasks.append(Task(EdgeId(""), RunTimers(), now_ms))

    def _room_plan(self, plan: Plan, shard: Shard, room_id: RoomId) -> RoomPlan:
        room_plan = plan.rooms.get(room_id)
        if room_plan is None:
            room_plan = plan.rooms[room_id] = RoomPlan(shard, room_id)
        return room_plan

    def _refuse_kind(self, plan: Plan, shard: Shard, edge_id: EdgeId, command: AnyRoomCommand, now_ms: int) -> None:
        """The room id names a kind that this release does not have."""
        delivery = _refusal(command, ErrorCode.UNSUPPORTED_KIND, command.room_id, now_ms)
        if delivery is not None:
            plan.replies.setdefault(shard, []).append((edge_id, delivery))

    def _run_room(
        self,
        room_plan: RoomPlan,
        turns: Mapping[Shard, ShardTurn],
        now_ms: int,
        people: Mapping[UserId, Person],
    ) -> bool:
        owned, room = self._shards[room_plan.shard], self.room(room_plan.room_id)
        if room is None:
            self._refuse_tasks(room_plan, turns[room_plan.shard], now_ms)
            return True
        room.outbox_is_full = owned.outbox_length >= self._settings.outbox_entries_max
        room.relay_is_full = max(owned.relay_lengths.values(), default=0) >= self._settings.relay_entries_max
        task = None
        try:
            for task in room_plan.tasks:
                _perform(room, task, now_ms, people)
            turn = room.take()
            by_edge = deliveries_of(turn)
        except Exception as error:
            del owned.rooms[room_plan.room_id]
            if task is None:
                # It fails at nothing, or at what was read of it: there is no task to go without.
                self._cannot_read(owned, room_plan.room_id, error)
                self._refuse_tasks(room_plan, turns[room_plan.shard], now_ms)
                return True
            # What does not show before the turn is put together is laid on the last task; then on the one before.
            self._room_failed(room_plan, task, error, now_ms)
            return False
        outputs = turns[room_plan.shard].outputs
        for edge_id, deliveries in by_edge.items():
            outputs.setdefault(edge_id, []).extend(deliveries)
        self._tell_of_poisoned(room_plan, turns[room_plan.shard], now_ms)
        turns[room_plan.shard].rooms.append(turn)
        self._schedule(room)
        return True

    def _cannot_read(self, owned: OwnedShard, room_id: RoomId, error: Exception) -> None:
        """Note that a room is unreadable; told of once, however often it is tried."""
        if room_id not in owned.unreadable:
            owned.unreadable.add(room_id)
            self._on_failure(room_id, None, error, gives_up=True)

    def _refuse_tasks(self, room_plan: RoomPlan, turn: ShardTurn, now_ms: int) -> None:
        """The room is unreadable: refuse what it is asked for, and leave what is stored of it as it is."""
        self._tell_of_poisoned(room_plan, turn, now_ms)
        for task in room_plan.tasks:
            work = task.work
            if isinstance(work, Tell):
                # Nobody waits for an answer to it, and what it follows from has been acknowledged.
                error = RoomUnreadable("what is stored of the room cannot be read")
                turn.dead.append(dead_command(work, work.room_id, task.edge_id, task.arrived_ms, now_ms, error, ""))
                continue
            delivery = _refusal(work, ErrorCode.INTERNAL, room_plan.room_id, now_ms)
            if delivery is not None:
                turn.outputs.setdefault(task.edge_id, []).append(delivery)

    def _tell_of_poisoned(self, room_plan: RoomPlan, turn: ShardTurn, now_ms: int) -> None:
        turn.dead += room_plan.dead
        for task in room_plan.poisoned:
            conn = getattr(task.work, "conn", None)
            delivery = _refusal(task.work, ErrorCode.INTERNAL, room_plan.room_id, now_ms)
            if conn is not None and not isinstance(delivery, Answer):
                # The room is as it was before: a connection that was in it still is.
                event = encode_event(refusal(ErrorCode.INTERNAL, room_plan.room_id), now_ms, re=_re(task.work))
                delivery = Direct(conn, [event])
            if delivery is not None:
                turn.outputs.setdefault(task.edge_id, []).append(delivery)

    def _room_failed(self, room_plan: RoomPlan, task: Task, error: Exception, now_ms: int) -> None:
        """Set the task aside at which the room failed too often."""
        failures = room_plan.failures[id(task)] = room_plan.failures.get(id(task), 0) + 1
        gives_up = failures == TRIES_MAX
        self._on_failure(room_plan.room_id, task, error, gives_up=gives_up)
        if not gives_up:
            return
        room_plan.tasks = [other for other in room_plan.tasks if other is not task]
        room_plan.poisoned.append(task)
        work = task.work
        if isinstance(work, RunTimers):
            self._timers_rest_until_ms[room_plan.room_id] = now_ms + FAILED_TIMER_REST_MS
        elif not isinstance(work, DropEdge):
            # Those two come from this worker and come again: there is nothing to keep.
            trace = "".join(traceback.format_exception(error))
            room_plan.dead.append(
                dead_command(work, room_plan.room_id, task.edge_id, task.arrived_ms, now_ms, error, trace)
            )

    def _schedule(self, room: Room) -> None:
        """Keep the timer of a room where it should be."""
        due_ms = room.next_due_ms()
        rest_until_ms = self._timers_rest_until_ms.get(room.room_id)
        if due_ms is not None and rest_until_ms is not None:
            due_ms = max(due_ms, rest_until_ms)
        if due_ms is not None and self._due_ms.get(room.room_id) != due_ms:
            self._set_timer(room.room_id, due_ms)

    def _set_timer(self, room_id: RoomId, due_ms: int) -> None:
        """Give a room its one timer; the one before leaves a stale entry, which is passed over."""
        self._due_ms[room_id] = due_ms
        partition = self._partition(shard_of(room_id, self._settings.shards))
        heapq.heappush(self._timers[partition], (due_ms, room_id))


CLOCK_SLACK_MS: Final = 3_000
"""How far an edge's clock may lie behind this worker's and still be believed for rates. It bounds what a skewed
clock can do: rates refill late by at most so much, once."""


def _concerns(task: Task, room: Room) -> bool:
    work = task.work
    return room.has_member(work.user_id) if isinstance(work, BlockChanged) else task.edge_id in room.edges


def _perform(room: Room, task: Task, now_ms: int, people: Mapping[UserId, Person]) -> None:
    work = task.work
    match work:
        case Post():
            # Nearly all are; the others need not be asked for first.
            room.handle(task.edge_id, work, now_ms, task.arrived_ms, people)
        case BlockChanged():
            room.change_block(work.user_id, work.other_id, now_ms, blocked=work.blocked)
        case EdgeClosed() | DropEdge():
            room.drop_edge(task.edge_id, now_ms)
        case RunTimers():
            room.tick(now_ms)
        case _:
            room.handle(task.edge_id, work, now_ms, task.arrived_ms, people)


def _refusal(work: RoomWork, code: ErrorCode, room_id: RoomId, now_ms: int) -> AnyDelivery | None:
    """Return what refuses a task to who asked for it; None where nobody waits for an answer."""
    event = refusal(code, room_id)
    match work:
        case Moderate() | LiftRestrictions() | Inspect() | DeleteMessage() | ChangeBlock() | SetFriendship():
            body = {"error": {"code": event.code, "message": event.message}}
            return Answer(work.request, _json.encode(body))
        case Join() | Leave():
            is_quiet = isinstance(work, Join) and work.quiet
            told = [] if is_quiet else [encode_event(event, now_ms, re=_re(work))]
            return Detach(room_id, work.conn, told, refused=True)
        case Call() if work.request:
            return Answer(work.request, encode_event(event, now_ms, re=_re(work)))
        case Post() | Call():
            return Direct(work.conn, [encode_event(event, now_ms, re=_re(work))])
        case _:
            return None


def _re(work: object) -> str | UnsetType:
    """Return the id to answer under, where the command has one."""
    if isinstance(work, Post | Call):
        return work.message.id
    re = getattr(work, "re", None)
    return UNSET if re is None else re


def _changes(turn: RoomTurn) -> bool:
    patch = turn.patch
    return bool(
        patch.set_fields
        or patch.delete_fields
        or patch.history
        or patch.redacted
        or patch.active is not None
        or patch.ttl_ms is not None
    )


def _persons(work: AnyRoomCommand) -> tuple[UserId, ...]:
    """Return the person of an inbox, or the two of a thread, as far as a command tells."""
    match work:
        case Join():
            return (work.identity.user_id,)
        case ChangeBlock():
            return (work.user_id,)
        case SetFriendship():
            return (work.user_id, work.other_id)
        case Tell():
            return (work.letter.owner_id,)
        case Call():
            payload = work.message.payload
            other = getattr(payload, "recipientId", UNSET) or getattr(payload, "userId", UNSET)
            return (work.identity.user_id, UserId(other)) if isinstance(other, str) else (work.identity.user_id,)
        case _:
            return ()
