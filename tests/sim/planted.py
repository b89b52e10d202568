"""Bugs to plant, one at a time, to see that the simulation finds them. Each patches the code until it is left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any
from unittest.mock import patch

from common.bus import ShardCommit
from common.bus_memory import MemoryStore
from common.commands import InputBatch
from common.deliveries import Attach, Direct, OutputBatch, RoomFrames, decode_output, encode_output
from common.errors import BusUnavailable
from common.ids import EdgeId
from edge.hub import Hub
from roomworker.idempotency import Answers
from roomworker.room import Room
from roomworker.space import SpaceRules
from roomworker.worker import Worker
from tests.sim.wire import Wire


@contextmanager
def no_fence() -> Iterator[None]:
    """A commit is written whoever owns the shard."""

    def accept(self: MemoryStore, parts: Sequence[ShardCommit], *, moved: bool) -> None:
        return None

    with patch.object(MemoryStore, "_refusal", accept):
        yield


@contextmanager
def acknowledge_before_the_commit() -> Iterator[None]:
    """Answers leave with what the worker last read, before the batch is written."""
    commit = Worker._commit

    async def hasty(self: Worker, partition: Any, turns: Any, server: Any) -> Any:
        store = self._bus._network.store  # type: ignore[attr-defined]
        whole = self._engine.commit_of(partition, turns, self.worker_id, self._clock.now_ms()) if turns else None
        if whole is not None:
            for edge_id, data in whole.outputs.items():
                batch = decode_output(data)
                acks = [delivery for delivery in batch.deliveries if isinstance(delivery, Direct)]
                stream = store._output((partition, edge_id))
                if acks and stream is not None and not self._bus._process.is_dead:  # type: ignore[attr-defined]
                    stream.append(encode_output(OutputBatch(self.worker_id, acks)))
                    store._notify(("out", partition, edge_id))
        return await commit(self, partition, turns, server)

    with patch.object(Worker, "_commit", hasty):
        yield


@contextmanager
def trim_unread_input() -> Iterator[None]:
    """A commit trims one entry of its input more than it has taken."""
    commit = MemoryStore.commit

    def greedy(self: MemoryStore, partition: Any, batch: Any, *, moved: bool) -> Any:
        answer = commit(self, partition, batch, moved=moved)
        if answer.done and not answer.already:
            for part in batch.shards:
                if part.shard in self._inputs:
                    self._inputs[part.shard].trim(part.cursor + 1)
        return answer

    with patch.object(MemoryStore, "commit", greedy):
        yield


def _replaying(change: Callable[[list[bytes]], list[bytes]]) -> Any:
    replay = Room._replay

    def changed(self: Room, member: Any, after: Any) -> list[bytes]:
        return change(replay(self, member, after))

    return patch.object(Room, "_replay", changed)


@contextmanager
def drop_a_replayed_event() -> Iterator[None]:
    """Of several missed events the second is left out."""
    with _replaying(lambda missed: missed[:1] + missed[2:]):
        yield


@contextmanager
def replay_one_twice() -> Iterator[None]:
    """The last missed event comes twice."""
    with _replaying(lambda missed: missed + missed[-1:]):
        yield


@contextmanager
def forget_answers_over_a_takeover() -> Iterator[None]:
    """A room that is loaded knows nothing of the messages that it has taken."""
    with patch.object(Answers, "restore", lambda self, key, data: None):
        yield


@contextmanager
def keep_the_epoch_after_a_loss() -> Iterator[None]:
    """A shard whose newest commits the store lost goes on as if nothing had happened."""
    with patch.object(Room, "begin_epoch", lambda self, now_ms, beginning: None):
        yield


@contextmanager
def deliver_before_the_attachment() -> Iterator[None]:
    """A connection hears what happens in a room from its asking on, not from where its state stands."""
    frames = Hub._room_frames

    def eager(self: Hub, delivery: RoomFrames) -> None:
        room = self._rooms.get(delivery.room_id)
        if room is not None:
            for number, listener in self.listeners.items():
                if number not in room.listeners and delivery.room_id in listener.rooms_wanted():
                    room.listeners[number] = listener
        frames(self, delivery)

    with patch.object(Hub, "_room_frames", eager):
        yield


@contextmanager
def apply_old_movements() -> Iterator[None]:
    """A movement is shown also when its number is older than the newest."""
    move = SpaceRules._move

    def forgetful(self: SpaceRules, room: Any, incoming: Any, message: Any) -> None:
        pose = incoming.member.state
        before, pose.seq = pose.seq, 0
        move(self, room, incoming, message)
        pose.seq = max(pose.seq, before)

    with patch.object(SpaceRules, "_move", forgetful):
        yield


@contextmanager
def ignore_a_hole() -> Iterator[None]:
    """An edge whose room does not stand where a delivery begins goes on all the same."""
    frames, attach = Hub._room_frames, Hub._attach

    def unaware(self: Hub, delivery: RoomFrames) -> None:
        room = self._rooms.get(delivery.room_id)
        if room is not None:
            room.epoch, room.seq = delivery.epoch, delivery.from_seq
        frames(self, delivery)

    def trusting(self: Hub, delivery: Attach) -> None:
        room = self._rooms.get(delivery.room_id)
        if room is not None:
            room.epoch, room.seq = delivery.epoch, delivery.seq
        attach(self, delivery)

    with (
        patch.object(Hub, "_room_frames", unaware),
        patch.object(Hub, "_attach", trusting),
        patch.object(Hub, "repair_all", lambda self: None),
    ):
        yield


@contextmanager
def take_letters_again() -> Iterator[None]:
    """What comes from another partition is taken as often as it is moved."""
    numbers = count()
    with patch("common.relay.sender_of", lambda shard: EdgeId(f"relay:{shard}/{next(numbers)}")):
        yield


@contextmanager
def trust_that_letters_are_moved() -> Iterator[None]:
    """A relay is trimmed also where nobody answered that the letters are in their inputs."""

    async def hopeful(self: Wire, *args: Any) -> None:
        with suppress(BusUnavailable):
            await self._network.call(self._process, "append_relayed", args)

    with patch.object(Wire, "append_relayed", hopeful, create=True):
        yield


@contextmanager
def count_letters_without_a_generation() -> Iterator[None]:
    """A relay that begins anew is compared with what its shard told before."""
    with patch.object(InputBatch, "mark", property(lambda self: self.number)):
        yield


@contextmanager
def keep_what_dead_edges_had() -> Iterator[None]:
    """An edge that died is not looked for, so its connections stay in their rooms."""

    async def blind(self: Worker) -> None:
        return None

    with patch.object(Worker, "_find_gone_edges", blind):
        yield


PLANTED: dict[str, Callable[[], Any]] = {
    bug.__name__: bug
    for bug in (
        no_fence,
        acknowledge_before_the_commit,
        trim_unread_input,
        drop_a_replayed_event,
        replay_one_twice,
        forget_answers_over_a_takeover,
        keep_the_epoch_after_a_loss,
        deliver_before_the_attachment,
        apply_old_movements,
        ignore_a_hole,
        take_letters_again,
        trust_that_letters_are_moved,
        count_letters_without_a_generation,
        keep_what_dead_edges_had,
    )
}
