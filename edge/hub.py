"""The rooms that this edge serves: who listens, and where each room stands. No IO.

Applies deliveries in their order. What a socket gets while one batch is applied is gathered and written once
(`flush`). A delivery that does not follow the room's position means that something was missed: the room's
listeners are set aside, and each is joined again from where it stood, as a repair; until the worker answers,
they receive nothing of the room, so nobody sees a gap or an old event after a newer one.
"""

from collections.abc import Iterable
from typing import Final, Protocol, assert_never

from common.commands import AnyRoomCommand, CatchUp, Disconnect
from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Segment, Shared, Stranger
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId
from edge.frames import text_frames

REFRESH_INTERVAL_MS: Final = 10_000
"""How often a reader that was slow is shown a room anew: the state of a large room is what makes it slow again."""


class Listener(Protocol):
    """A connection, as the hub needs it."""

    @property
    def user_id(self) -> UserId | None:
        """Who it is."""
        ...

    def push(self, reliable: bytes, everything: bytes) -> bool:
        """Queue frames for the next `flush`: everything, or only what is reliable where the socket is slow.

        Returns: whether it took everything.
        """
        ...

    def is_slow(self) -> bool:
        """Whether more is unsent than movements are worth."""
        ...

    def flush(self) -> None:
        """Write what is queued."""
        ...

    def attached(self, room_id: RoomId, attempt: int) -> bool:
        """See `Connection.attached`."""
        ...

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        """See `Connection.detached`."""
        ...

    def is_joined(self, room_id: RoomId) -> bool:
        """See `Connection.is_joined`."""
        ...

    def close(self, code: CloseCode, reason: str) -> None:
        """End it after what is queued."""
        ...

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        """See `Connection.rejoin`."""
        ...

    def rooms_wanted(self) -> Iterable[RoomId]:
        """Return the rooms that it is in, or asked to be in."""
        ...


class _Room:
    """A room with listeners here, at (`epoch`, `seq`)."""

    __slots__ = ("epoch", "listeners", "seq")

    def __init__(self, epoch: Epoch, seq: Seq) -> None:
        self.epoch = epoch
        self.seq = seq
        self.listeners: dict[ConnNumber, Listener] = {}


class HubPort(Protocol):
    """What the hub needs of the edge around it."""

    def forward(self, command: AnyRoomCommand) -> None:
        """Pass a command to a worker, also while the cluster is busy."""
        ...

    def answered(self, request: int, body: bytes) -> None:
        """A worker answered an operator."""
        ...

    def repairing(self, room_id: RoomId, listeners: int) -> None:
        """A room's order had a hole here; for the log and the numbers."""
        ...


class Hub:
    """All connections of this edge, and the rooms that they listen to."""

    def __init__(self, port: HubPort) -> None:
        self.listeners: dict[ConnNumber, Listener] = {}
        self.delivered = 0
        """Messages given to sockets so far."""
        self.skipped = 0
        """Movements left out for slow readers so far."""
        self._port = port
        self._rooms: dict[RoomId, _Room] = {}
        self._dirty: dict[ConnNumber, Listener] = {}
        self._lagging: set[tuple[RoomId, ConnNumber]] = set()
        """Slow readers for whom movements were left out, in which room."""
        self._refresh_from_ms: dict[tuple[RoomId, ConnNumber], float] = {}
        """When they may be shown the room anew; who is not in it may be at once."""

    @property
    def room_count(self) -> int:
        """Rooms with listeners."""
        return len(self._rooms)

    def add(self, number: ConnNumber, listener: Listener) -> None:
        """A connection opened."""
        self.listeners[number] = listener

    def remove(self, number: ConnNumber) -> None:
        """A connection is gone; its rooms have been unsubscribed."""
        self.listeners.pop(number, None)
        self._dirty.pop(number, None)

    def unsubscribe(self, number: ConnNumber, room_id: RoomId) -> None:
        """A connection is no longer in a room; idempotent."""
        room = self._rooms.get(room_id)
        if room is not None:
            room.listeners.pop(number, None)
            self._lagging.discard((room_id, number))
            self._refresh_from_ms.pop((room_id, number), None)
            if not room.listeners:
                del self._rooms[room_id]

    def position(self, room_id: RoomId) -> tuple[Epoch, Seq] | None:
        """Where a room stands here."""
        room = self._rooms.get(room_id)
        return None if room is None else (room.epoch, room.seq)

    def apply(self, deliveries: Iterable[AnyDelivery]) -> None:
        """Apply the deliveries of one batch, in order. Call `flush` after it."""
        for delivery in deliveries:
            match delivery:
                case RoomFrames():
                    self._room_frames(delivery)
                case Direct():
                    self._direct(delivery.conn, delivery.messages)
                case Attach():
                    self._attach(delivery)
                case Shared():
                    self._shared(delivery)
                case Detach():
                    self._detach(delivery)
                case Stranger():
                    self._stranger(delivery)
                case Answer():
                    self._port.answered(delivery.request, delivery.body)
                case _:
                    assert_never(delivery)

    def flush(self) -> None:
        """Write to each socket what `apply` queued for it, in one write each."""
        dirty, self._dirty = self._dirty, {}
        for listener in dirty.values():
            listener.flush()

    def repair_all(self) -> None:
        """Entries of this edge's stream were lost: bring every connection up to date in every room."""
        positions = {room_id: (room.epoch, room.seq) for room_id, room in self._rooms.items()}
        self._rooms.clear()
        for listener in self.listeners.values():
            for room_id in listener.rooms_wanted():
                self._rejoin(listener, room_id, positions.get(room_id))

    def refresh_recovered(self, now_ms: float) -> None:
        """Ask for the whole state of rooms for readers that were slow and have caught up since. Monotonic time."""
        for room_id, number in list(self._lagging):
            room = self._rooms.get(room_id)
            listener = None if room is None else room.listeners.get(number)
            if room is None or listener is None:
                self._lagging.discard((room_id, number))
            elif not listener.is_slow() and now_ms >= self._refresh_from_ms.get((room_id, number), now_ms):
                self._refresh_from_ms[room_id, number] = now_ms + REFRESH_INTERVAL_MS
                self._lagging.discard((room_id, number))
                self._port.forward(CatchUp(room_id, number, room.epoch, room.seq, skipped=True))

    # --- helpers ------------------------------------------------------------------------------------------

    def _room_frames(self, delivery: RoomFrames) -> None:
        room = self._rooms.get(delivery.room_id)
        if room is None:
            return
        if room.epoch != delivery.epoch or room.seq != delivery.from_seq:
            self._repair(delivery.room_id, room)
            return
        room.seq = delivery.to_seq
        segments = delivery.segments
        if any(segment.hidden_from for segment in segments):
            self._push_filtered(delivery.room_id, room, segments)
            return
        everything, reliable = _frames_of(segments)
        count = sum(len(segment.messages) for segment in segments)
        for number, listener in room.listeners.items():
            self._dirty[number] = listener
            if not listener.push(reliable, everything):
                self._lagging.add((delivery.room_id, number))
                self.skipped += 1
        self.delivered += count * len(room.listeners)

    def _push_filtered(self, room_id: RoomId, room: _Room, segments: list[Segment]) -> None:
        """Like the plain case, with a selection of segments for each person from whom something is hidden."""
        selections: dict[tuple[int, ...], tuple[bytes, bytes, int]] = {}
        for number, listener in room.listeners.items():
            chosen = tuple(
                index for index, segment in enumerate(segments) if listener.user_id not in segment.hidden_from
            )
            if not chosen:
                continue
            if chosen not in selections:
                visible = [segments[index] for index in chosen]
                selections[chosen] = (*_frames_of(visible), sum(len(segment.messages) for segment in visible))
            everything, reliable, count = selections[chosen]
            self._dirty[number] = listener
            self.delivered += count
            if not listener.push(reliable, everything):
                self._lagging.add((room_id, number))
                self.skipped += 1

    def _direct(self, number: ConnNumber, messages: list[bytes]) -> None:
        listener = self.listeners.get(number)
        if listener is not None and messages:
            frames = text_frames(messages)
            listener.push(frames, frames)
            self._dirty[number] = listener
            self.delivered += len(messages)

    def _shared(self, delivery: Shared) -> None:
        """Messages for some of a room's listeners; one whose attachment was not taken gets none of them."""
        room = self._rooms.get(delivery.room_id)
        if room is None:
            return
        frames = text_frames(delivery.messages)
        for number in delivery.conns:
            listener = room.listeners.get(number)
            if listener is not None:
                listener.push(frames, frames)
                self._dirty[number] = listener
                self.delivered += len(delivery.messages)

    def _attach(self, delivery: Attach) -> None:
        listener = self.listeners.get(delivery.conn)
        if listener is None:
            # The room may not know that it ended: a store that came back older has lost what was said of it.
            self._port.forward(Disconnect(delivery.room_id, delivery.conn))
            return
        if not listener.attached(delivery.room_id, delivery.attempt):
            return
        room = self._rooms.get(delivery.room_id)
        if room is not None and (room.epoch, room.seq) != (delivery.epoch, delivery.seq):
            room.listeners.pop(delivery.conn, None)
            self._repair(delivery.room_id, room)
            room = None
        if room is None:
            room = self._rooms[delivery.room_id] = _Room(delivery.epoch, delivery.seq)
        room.listeners[delivery.conn] = listener
        self._direct(delivery.conn, delivery.messages)

    def _detach(self, delivery: Detach) -> None:
        listener = self.listeners.get(delivery.conn)
        if listener is None:
            return
        self.unsubscribe(delivery.conn, delivery.room_id)
        listener.detached(delivery.room_id, refused=delivery.refused)
        self._direct(delivery.conn, delivery.messages)
        if delivery.close_code is not None:
            listener.close(CloseCode(delivery.close_code), "ended by the room")

    def _stranger(self, delivery: Stranger) -> None:
        """A room does not know a connection; where that is news to it, it is joined again."""
        room_id, number = delivery.room_id, delivery.conn
        listener = self.listeners.get(number)
        if listener is None or not listener.is_joined(room_id):
            self._direct(number, delivery.messages)
            return
        self._direct(number, delivery.again)
        room = self._rooms.get(room_id)
        # Else that is under way.
        if room is not None and number in room.listeners:
            self.unsubscribe(number, room_id)
            self._port.repairing(room_id, 1)
            self._rejoin(listener, room_id, (room.epoch, room.seq))

    def _repair(self, room_id: RoomId, room: _Room) -> None:
        del self._rooms[room_id]
        self._port.repairing(room_id, len(room.listeners))
        for listener in room.listeners.values():
            self._rejoin(listener, room_id, (room.epoch, room.seq))

    def _rejoin(self, listener: Listener, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> None:
        command = listener.rejoin(room_id, position)
        if command is not None:
            self._port.forward(command)


def answers_of(deliveries: Iterable[AnyDelivery]) -> list[AnyDelivery]:
    """Return those that do no harm when they come again, and are missed when they do not come."""
    return [delivery for delivery in deliveries if isinstance(delivery, Direct | Stranger | Answer)]


def _frames_of(segments: list[Segment]) -> tuple[bytes, bytes]:
    """Return the frames of all messages, and of the reliable ones only."""
    everything = text_frames(message for segment in segments for message in segment.messages)
    if all(segment.reliable for segment in segments):
        return everything, everything
    return everything, text_frames(m for segment in segments if segment.reliable for m in segment.messages)
