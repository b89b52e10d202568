"""The seam between the engine and a kind of room.

The engine (`room.py`) knows members, order, rates, blocks, replay and timers; rules know what the messages
of their kind mean. A new kind is one file of rules, its messages, its tests, and a line in `kinds.py`.
"""

from typing import Any, ClassVar, Protocol

from msgspec import Struct

from common.ids import RoomId, Seq, UserId
from common.messages import Ack, ErrorEvent, RoomMessage, ServerEvent
from common.messages import Member as MemberView
from common.token_bucket import Rate
from roomworker.member import Connection, Member


class Incoming(Struct, frozen=True):
    """A message of a member, with the times that the rules may use.

    `arrived_ms` is when its edge received it, for rates: a worker that paused must not punish the clients.
    """

    member: Member
    connection: Connection
    message: RoomMessage
    now_ms: int
    arrived_ms: int


class RoomServices(Protocol):
    """What the engine offers to rules."""

    @property
    def room_id(self) -> RoomId:
        """Which room this is."""
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


class RoomRules(Protocol):
    """What a kind of room decides."""

    kind: ClassVar[str]

    reconnect_window_ms: int
    """How long a member without connection stays."""

    def new_state(self) -> Any:
        """Return the kind's part of a new member."""
        ...

    def encode_state(self, state: Any) -> bytes:
        """Encode it for the store."""
        ...

    def decode_state(self, data: bytes) -> Any:
        """Decode it."""
        ...

    def joined(self, member: Member, connection: Connection) -> None:
        """A connection joined, or joined again: what counts within one join starts anew."""
        ...

    def view(self, member: Member) -> MemberView:
        """Return how others see the member."""
        ...

    def handle(self, room: RoomServices, incoming: Incoming) -> Ack | ErrorEvent | None:
        """Decide about a message; the answer goes to its sender.

        An `Ack` is remembered under the message's `id`. An error must not have changed anything.
        """
        ...
