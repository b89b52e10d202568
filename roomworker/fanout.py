"""From what a room wants done to what each edge is told. Pure.

Each edge gets the room's events of a batch in one `RoomFrames`, unless a connection enters or leaves in the
middle. Answers to single connections come last, after the events that they are about.
"""

from collections.abc import Iterable, Sequence

from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Segment, Stranger
from common.ids import EdgeId, Seq, UserId
from roomworker.effects import (
    AnswerOperator,
    AttachConnection,
    DetachConnection,
    RoomTurn,
    Say,
    SayStranger,
    Sequenced,
)
from roomworker.member import ConnRef


class _Frames:
    """Events that one edge has not been told of yet."""

    __slots__ = ("events", "from_seq")

    def __init__(self, from_seq: Seq) -> None:
        self.from_seq = from_seq
        self.events: list[Sequenced] = []


def deliveries_of(turn: RoomTurn) -> dict[EdgeId, list[AnyDelivery]]:
    """Return what each edge is told of a room's turn, in order."""
    return _Builder(turn).build()


class _Builder:
    def __init__(self, turn: RoomTurn) -> None:
        self._turn = turn
        self._attached = dict(turn.edges_before)
        self._open = {edge_id: _Frames(turn.seq_before) for edge_id in turn.edges_before}
        self._deliveries: dict[EdgeId, list[AnyDelivery]] = {}
        self._said: dict[ConnRef, list[bytes]] = {}

    def build(self) -> dict[EdgeId, list[AnyDelivery]]:
        for effect in self._turn.effects:
            match effect:
                case Sequenced():
                    for frames in self._open.values():
                        frames.events.append(effect)
                case Say():
                    self._said.setdefault(effect.ref, []).extend(effect.messages)
                case SayStranger():
                    # At once: after an attachment it would be untrue.
                    stranger = Stranger(self._turn.room_id, effect.ref.number, effect.messages, effect.again)
                    self._to(effect.ref.edge_id).append(stranger)
                case AttachConnection():
                    self._attach(effect)
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
            self._open[ref.edge_id] = _Frames(effect.seq)
        self._to(ref.edge_id).append(
            Attach(turn.room_id, ref.number, turn.epoch, effect.seq, effect.messages, effect.attempt)
        )

    def _detach(self, effect: DetachConnection) -> None:
        ref = effect.ref
        messages = [*self._said.pop(ref, ()), *effect.messages]
        self._flush(ref.edge_id)
        if not effect.silent:
            self._to(ref.edge_id).append(
                Detach(self._turn.room_id, ref.number, messages, effect.close_code, refused=effect.refused)
            )
        if effect.attached:
            self._attached[ref.edge_id] -= 1
            if self._attached[ref.edge_id] == 0:
                del self._attached[ref.edge_id], self._open[ref.edge_id]

    def _flush(self, edge_id: EdgeId, ephemeral: Sequence[Segment] = ()) -> None:
        frames = self._open.get(edge_id)
        if frames is None or not (frames.events or ephemeral):
            return
        to_seq = frames.events[-1].seq if frames.events else frames.from_seq
        self._to(edge_id).append(
            RoomFrames(
                self._turn.room_id,
                self._turn.epoch,
                frames.from_seq,
                to_seq,
                [*_segments(frames.events), *ephemeral],
            )
        )
        frames.from_seq = to_seq
        frames.events = []


def _segments(events: Iterable[Sequenced]) -> list[Segment]:
    segments: list[Segment] = []
    audience: tuple[UserId, ...] | None = None
    for event in events:
        if event.hidden_from != audience:
            audience = event.hidden_from
            segments.append(Segment(True, [], list(audience)))
        segments[-1].messages.append(event.event)
    return segments
