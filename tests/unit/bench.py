"""An engine on the bench: batches in, commits to a store in memory, deliveries out. No loop, time by hand.

Does between the engine's steps what `roomworker/worker.py` does, with the store's answers at once.
"""

import json
from collections.abc import Collection
from typing import Any

from common.bus import Acquired, ClusterShape, CommitAnswer
from common.bus_memory import MemoryStore
from common.commands import AnyCommand, InputBatch, encode_batch
from common.dead_letters import DeadLetter, decode_dead_letter
from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Shared, Stranger, decode_output
from common.ids import EdgeId, Partition, RoomId, Shard, WorkerId
from common.outbox import decode_entry
from common.ring import shard_of
from common.settings import WorkerSettings
from roomworker.engine import Engine, Kept, Plan, Task
from tests.unit.stage import E1, E2, START_MS, Envelope

P0 = Partition(0)
W1, W2 = WorkerId("w1"), WorkerId("w2")
LEASE_MS = 10**9


class Bench:
    """One worker's engine, and the store that it works on."""

    def __init__(self, *, store: MemoryStore | None = None, worker: WorkerId = W1, **settings: Any) -> None:
        self.settings = WorkerSettings(**{"shards": 4, **settings})
        self.now_ms = START_MS
        self.worker = worker
        self.failures: list[tuple[RoomId, str, str]] = []
        self.tries = 0
        self.engine = Engine(self.settings, self._failed)
        shape = ClusterShape(self.settings.shards, self.settings.partitions)
        self.store = store or MemoryStore(
            shape, lambda: self.now_ms, history_events_max=self.settings.history_events_max, output_ttl_ms=LEASE_MS
        )
        self._numbers: dict[tuple[EdgeId, Shard], int] = {}
        self._read: dict[EdgeId, int] = {}
        self.plan = Plan()
        for edge in (E1, E2):
            self.store.announce("edge", edge, b"", LEASE_MS)

    # --- leases -------------------------------------------------------------------------------------------

    def take(self, *shards: int) -> "Bench":
        """Acquire shards (all, where none is named) and load their active rooms."""
        wanted = [Shard(shard) for shard in shards or range(self.settings.shards)]
        for shard, acquired in self.store.acquire(P0, self.worker, LEASE_MS, wanted).items():
            assert isinstance(acquired, Acquired)
            length = self.store.outbox_length(shard)
            relays = self.store.relay_lengths(shard)
            self.engine.add_shard(shard, acquired, outbox_length=length, relay_lengths=relays)
            self._load(self.store.active_rooms(shard))
        return self

    def take_over(self) -> "Bench":
        """Go on as another process would: with nothing but the store."""
        self.engine = Engine(self.settings, self._failed)
        return self.take()

    # --- input --------------------------------------------------------------------------------------------

    def send(
        self, *commands: AnyCommand, edge: EdgeId = E1, shard: int | None = None, at_ms: int | None = None
    ) -> bytes:
        """Append one batch; returns the entry, so that a test can append it again."""
        room_id = next((command.room_id for command in commands if hasattr(command, "room_id")), None)
        to = (
            Shard(shard)
            if room_id is None and shard is not None
            else shard_of(RoomId(str(room_id)), self.settings.shards)
        )
        number = self._numbers[edge, to] = self._numbers.get((edge, to), 0) + 1
        data = encode_batch(InputBatch(edge, number, self.now_ms if at_ms is None else at_ms, list(commands)))
        self.store.append_input(to, data)
        return data

    # --- a turn -------------------------------------------------------------------------------------------

    def turn(self, gone: Collection[EdgeId] = (), kept: Collection[Kept] = ()) -> CommitAnswer | None:
        """Read, plan, run and commit; None where there was nothing to do."""
        entries = self.store.inputs_after(self.engine.cursors(P0), self.settings.batch_entries_max)
        missed = {edge_id: self.engine.marks_of(edge_id) for edge_id in gone}
        plan = self.plan = self.engine.plan(P0, entries, self.now_ms, missed, kept)
        if plan.is_empty():
            return None
        self._load(plan.rooms_to_load)
        needs = self.engine.needs(plan.rooms.values())
        self._history(needs.history)
        people = self.store.people(needs.people)
        turns, broken = self.engine.run(plan, self.now_ms, people)
        while broken:
            self._load([room_plan.room_id for room_plan in broken])
            self._history(self.engine.needs(broken).history)
            broken = self.engine.rerun(broken, turns, self.now_ms, people)
        answer = self.store.commit(P0, self.engine.commit_of(P0, turns, self.worker, self.now_ms))
        if answer.done:
            self.engine.settle(turns)
        return answer

    def store_kept(self) -> list[Kept]:
        """Return what the writer would say after it stored all that waits in the outboxes."""
        found: list[Kept] = []
        for shard, token in self.engine.tokens(P0).items():
            entries = self.store.outbox_after({shard: 0}, 10_000)
            if entries:
                decoded = [decode_entry(entry.data) for entry in entries]
                found.append(Kept(shard, token, entries[-1].position, decoded))
        return found

    # --- output -------------------------------------------------------------------------------------------

    def output(self, edge: EdgeId = E1) -> list[AnyDelivery]:
        """Return what an edge was told since the last call."""
        entries = self.store.output_after(P0, edge, self._read.get(edge, 0))
        if entries:
            self._read[edge] = entries[-1].position
        return [delivery for entry in entries for delivery in decode_output(entry.data).deliveries]

    def told(self, *commands: AnyCommand, edge: EdgeId = E1) -> list[AnyDelivery]:
        """Send a batch, do a turn, and return what its edge was told."""
        self.send(*commands, edge=edge)
        self.turn()
        return self.output(edge)

    def _load(self, room_ids: list[RoomId]) -> None:
        for room_id, stored in self.store.load_rooms(room_ids).items():
            self.engine.add_room(room_id, stored, self.now_ms, self.now_ms)

    def _history(self, needs: list[Any]) -> None:
        for room_id, epoch, after in needs:
            room = self.engine.room(room_id)
            assert room is not None
            room.add_history(after, self.store.load_history(room_id, epoch, after))

    def dead_letters(self) -> list[DeadLetter]:
        """Return what was set aside, by shard and in order."""
        shards = [Shard(number) for number in range(self.settings.shards)]
        return [decode_dead_letter(entry.data) for entry in self.store.dead_letters(shards, 1_000)]

    def _failed(self, room_id: RoomId, task: Task | None, error: Exception, *, gives_up: bool) -> None:
        self.tries += 1
        if gives_up:
            self.failures.append((room_id, "" if task is None else type(task.work).__name__, str(error)))


def messages_of(deliveries: list[AnyDelivery], conn: int | None = None) -> list[Envelope]:
    """Return the messages of deliveries: those to one connection only, or those to everybody in a room."""
    found: list[bytes] = []
    for delivery in deliveries:
        match delivery:
            case RoomFrames():
                if conn is None:
                    found += [message for segment in delivery.segments for message in segment.messages]
            case Attach() | Detach() | Direct() | Stranger():
                if conn == delivery.conn:
                    found += delivery.messages
            case Shared():
                if conn in delivery.conns:
                    found += delivery.messages
            case Answer():
                pass
    return [json.loads(message) for message in found]


def names_of(deliveries: list[AnyDelivery], conn: int | None = None) -> list[str]:
    return [envelope["t"] for envelope in messages_of(deliveries, conn)]
