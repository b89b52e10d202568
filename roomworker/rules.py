"""The seam between the engine and a kind of room.

The engine (`room.py`) knows members, order, rates, blocks, replay and timers; rules know what the messages
of their kind mean, who is told of comings and goings, and what a newcomer is shown. A new kind is one file of
rules, its messages, its tests, and a line in `kinds.py`; docs/kinds.md walks through one.

Rules keep no state of their own: what belongs to a member or to the room lies in `Member.state` and
`RoomServices.state`, is stored by the engine, and survives a change of worker.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from common.durable import ChatMessage
from common.ids import Epoch, RoomId, Seq, UserId
from common.messages import Ack, ClientMessage, ErrorEvent, RoomState, ServerEvent
from common.token_bucket import Rate
from roomworker.history import PastEvent
from roomworker.member import Connection, Member


class Incoming(Struct, frozen=True):
    """A message of a member, with the times that the rules may use.

    `arrived_ms` is when its edge received it, for rates: a worker that paused must not punish the clients.
    """

    member: Member
    connection: Connection
    message: ClientMessage
    """One of `RoomMessage`; which of them a kind takes is its own affair."""
    now_ms: int
    arrived_ms: int


class RoomServices(Protocol):
    """What the engine offers to rules."""

    @property
    def room_id(self) -> RoomId:
        """Which room this is."""
        ...

    @property
    def epoch(self) -> Epoch:
        """The order that places count in."""
        ...

    @property
    def seq(self) -> Seq:
        """Place of the newest reliable event."""
        ...

    @property
    def now_ms(self) -> int:
        """The worker's time, the same for everything in one command."""
        ...

    @property
    def state(self) -> Any:
        """The kind's state of the room, from `RoomRules.new_room_state`. After a change call `touch_room`."""
        ...

    @property
    def member_count(self) -> int:
        """How many members, the ones away included."""
        ...

    def members_seen_by(self, reader: Member) -> Iterable[Member]:
        """Return the members in order of joining, without those that the reader blocks."""
        ...

    def latest_events(self, reader: Member, count: int) -> list[PastEvent]:
        """Return the latest reliable events that the reader may see, at most `count`, oldest first."""
        ...

    def sequence(self, event: ServerEvent, actor: UserId) -> Seq:
        """Give a reliable event the next place in the order and send it to everybody who may see the actor."""
        ...

    def show(self, event: ServerEvent, actor: UserId) -> None:
        """Send an ephemeral event, newest of the actor wins within a batch."""
        ...

    def touch(self, member: Member) -> None:
        """Store the member's state with this batch."""
        ...

    def touch_room(self) -> None:
        """Store the room's state with this batch."""
        ...

    def set_alarm(self, at_ms: int) -> None:
        """Have `RoomRules.alarm` called at a time; one alarm a room, the last set holds. It survives a takeover."""
        ...

    def admit(self, incoming: Incoming, event_name: str, rate: Rate) -> bool:
        """Take from the member's bucket of this name. False: too fast; the member has been told."""
        ...

    def message_id(self, seq: Seq) -> str:
        """Return the id of the message at a place, unique in the cluster."""
        ...

    def next_seq(self) -> Seq:
        """Return the place that the next sequenced event will take."""
        ...

    def is_muted(self, user_id: UserId, now_ms: int) -> bool:
        """Tell whether a moderator muted the person here."""
        ...

    def can_keep(self) -> bool:
        """Tell whether the way to the durable store has room for another message."""
        ...

    def keep(self, message: ChatMessage, sender: Connection) -> None:
        """Store a message for good; the sender gets `persisted` then. Nothing where the cluster has no database."""
        ...


class RoomRules(Protocol):
    """What a kind of room decides."""

    kind: ClassVar[str]

    reconnect_window_ms: int
    """How long a member without connection stays."""

    latest_count: int
    """How many of the latest events `snapshot` asks for; the engine has them at hand then."""

    def new_room_state(self) -> Any:
        """Return the kind's part of a new room; None where it has none, then it is not stored either."""
        ...

    def encode_room_state(self, state: Any) -> bytes:
        """Encode it for the store."""
        ...

    def decode_room_state(self, data: bytes) -> Any:
        """Decode it."""
        ...

    def new_state(self) -> Any:
        """Return the kind's part of a new member."""
        ...

    def encode_state(self, state: Any) -> bytes:
        """Encode it for the store."""
        ...

    def decode_state(self, data: bytes) -> Any:
        """Decode it."""
        ...

    def entered(self, room: RoomServices, member: Member) -> None:
        """A person came in; tell whom it concerns."""
        ...

    def renamed(self, room: RoomServices, member: Member) -> None:
        """A member changed the name or avatar to show."""
        ...

    def left(self, room: RoomServices, member: Member) -> None:
        """A member left, was removed, or did not come back in time. The member is still counted."""
        ...

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """Return what a connection is shown that comes in, or starts anew."""
        ...

    def alarm(self, room: RoomServices) -> None:
        """The time set with `set_alarm` has come."""
        ...

    def handle(self, room: RoomServices, incoming: Incoming) -> Ack | ErrorEvent | None:
        """Decide about a message; the answer goes to its sender.

        An `Ack` is remembered under the message's `id`. An error must not have changed anything. A message
        that the kind does not take is answered with `not_allowed`.
        """
        ...


class PlainRules:
    """The usual answers, for kinds to start from: no state, nobody is told, five seconds to come back."""

    latest_count: int = 0
    reconnect_window_ms: int = 5_000

    def new_room_state(self) -> Any:
        """See `RoomRules.new_room_state`."""
        return None

    def encode_room_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_room_state`."""
        raise NotImplementedError

    def decode_room_state(self, data: bytes) -> Any:
        """See `RoomRules.decode_room_state`."""
        raise NotImplementedError

    def new_state(self) -> Any:
        """See `RoomRules.new_state`."""
        return None

    def encode_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_state`."""
        return b""

    def decode_state(self, data: bytes) -> Any:
        """See `RoomRules.decode_state`."""
        return None

    def entered(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.entered`."""

    def renamed(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.renamed`."""

    def left(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.left`."""

    def alarm(self, room: RoomServices) -> None:
        """See `RoomRules.alarm`."""
