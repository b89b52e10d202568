"""From what a room wants done to what each edge is told. Pure.

Each edge gets the room's events of a batch in one `RoomFrames`, unless a connection enters or leaves in the
middle; many who come or leave together do so at one place. Answers to single connections come last, after the
events that they are about.
"""

from collections.abc import Iterable, Sequence

from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Segment, Shared, Stranger
from common.ids import ConnNumber, EdgeId, Seq, UserId
from roomworker.effects import (
    AnswerOperator,
    AttachConnection,
    DetachConnection,
    RoomTurn,
    Say,
    SayStranger,
    Sequenced,
    ShowMembers,
)
from roomworker.member import ConnRef


class _Told:
    """How far one edge has been told of the room: up to a place, and to how many of the turn's events that is."""

    __slots__ = ("count", "seq")

    def __init__(self, seq: Seq, count: int) -> None:
        self.seq = seq
        self.count = count


def deliveries_of(turn: RoomTurn) -> dict[EdgeId, list[AnyDelivery]]:
    """Return what each edge is told of a room's turn, in order."""
    return _Builder(turn).build()


class _Builder:
    def __init__(self, turn: RoomTurn) -> None:
        self._turn = turn
        self._attached = dict(turn.edges_before)
        self._open = {edge_id: _Told(turn.seq_before, 0) for edge_id in turn.edges_before}
        self._events: list[Sequenced] = []
        self._not_of_members = 0
        """How many events there were when the last one came that does not tell who came or left."""
        self._cut: dict[int, list[Segment]] = {}
        """The segments of the events from an index on, as long as no further event comes."""
        self._deliveries: dict[EdgeId, list[AnyDelivery]] = {}
        self._said: dict[ConnRef, list[bytes]] = {}

    def build(self) -> dict[EdgeId, list[AnyDelivery]]:
        for effect in self._turn.effects:
            match effect:
                case Sequenced():
                    self._events.append(effect)
                    self._cut.clear()
                    if not effect.is_of_members:
                        self._not_of_members = len(self._events)
                case Say():
                    self._said.setdefault(effect.ref, []).extend(effect.messages)
                case SayStranger():
                    # At once: after an attachment it would be untrue.
                    stranger = Stranger(self._turn.room_id, effect.ref.number, effect.messages, effect.again)
                    self._to(effect.ref.edge_id).append(stranger)
                case AttachConnection():
                    self._attach(effect)
                case ShowMembers():
                    self._show_members(effect)
                case DetachConnection():
                    self._detach(effect)
                case AnswerOperator():
                    self._to(effect.edge_id).append(Answer(effect.request, effect.body))
        ephemeral = [Segment(False, group.messages, list(group.hidden_from)) for group in self._turn.ephemeral]
        for edge_id in self._open:
            self._flush(edge_id, ephemeral)
        for ref, messages in self._said.items():
            self._to(ref.edge_id).append(Direct(ref.number, messages))
        return self._deliveries

    def _to(self, edge_id: EdgeId) -> list[AnyDelivery]:
        return self._deliveries.setdefault(edge_id, [])

    def _attach(self, effect: AttachConnection) -> None:
        ref, turn = effect.ref, self._turn
        self._flush(ref.edge_id)
        if effect.new:
            self._attached[ref.edge_id] = self._attached.get(ref.edge_id, 0) + 1
        if ref.edge_id not in self._open:
            self._open[ref.edge_id] = _Told(effect.seq, len(self._events))
        self._to(ref.edge_id).append(
            Attach(turn.room_id, ref.number, turn.epoch, effect.seq, effect.messages, effect.attempt)
        )

    def _show_members(self, effect: ShowMembers) -> None:
        conns: dict[EdgeId, list[ConnNumber]] = {}
        for ref in effect.refs:
            conns.setdefault(ref.edge_id, []).append(ref.number)
        for edge_id, numbers in conns.items():
            self._to(edge_id).append(Shared(self._turn.room_id, numbers, effect.messages))

    def _detach(self, effect: DetachConnection) -> None:
        ref = effect.ref
        messages = [*self._said.pop(ref, ()), *effect.messages]
        is_last = effect.attached and self._attached[ref.edge_id] == 1
        if is_last or (effect.attached and not effect.silent and self._concerns_who_goes(effect)):
            self._flush(ref.edge_id)
        if not effect.silent:
            self._to(ref.edge_id).append(
                Detach(self._turn.room_id, ref.number, messages, effect.close_code, refused=effect.refused)
            )
        if effect.attached:
            self._attached[ref.edge_id] -= 1
            if self._attached[ref.edge_id] == 0:
                del self._attached[ref.edge_id], self._open[ref.edge_id]

    def _concerns_who_goes(self, effect: DetachConnection) -> bool:
        """Tell whether a connection must hear what its edge was not told of yet, before it goes.

        Who leaves need not hear who else came and left in the same moment, so that many who leave do not cut the
        room's events into pieces for all that stay. Who is thrown out must: a place in the order is told with it.
        """
        return effect.close_code is not None or self._not_of_members > self._open[effect.ref.edge_id].count

    def _flush(self, edge_id: EdgeId, ephemeral: Sequence[Segment] = ()) -> None:
        told = self._open.get(edge_id)
        if told is None:
            return
        from_seq, start = told.seq, told.count
        if start == len(self._events) and not ephemeral:
            return
        segments = self._cut.get(start)
        if segments is None:
            segments = self._cut[start] = _segments(self._events[start:])
        if start < len(self._events):
            told.seq, told.count = self._events[-1].seq, len(self._events)
        self._to(edge_id).append(
            RoomFrames(self._turn.room_id, self._turn.epoch, from_seq, told.seq, [*segments, *ephemeral])
        )


def _segments(events: Iterable[Sequenced]) -> list[Segment]:
    segments: list[Segment] = []
    audience: tuple[UserId, ...] | None = None
    for event in events:
        if event.hidden_from != audience:
            audience = event.hidden_from
            segments.append(Segment(True, [], list(audience)))
        segments[-1].messages.append(event.event)
    return segments
