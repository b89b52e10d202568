"""The seam between the engine and a kind of room.

The engine (`room.py`) knows members, order, rates, blocks, replay and timers; rules know what the messages
of their kind mean, who is told of comings and goings, and what a newcomer is shown. A new kind is one file of
rules, its messages, its tests, and a line in `kinds.py`; docs/kinds.md walks through one.

Rules keep no state of their own: what belongs to a member or to the room lies in `Member.state` and
`RoomServices.state`, is stored by the engine, and survives a change of worker.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

from msgspec import Struct, msgpack

from common.bus import Person
from common.commands import ChangeBlock, SetFriendship
from common.durable import BoardNote, InboxSeed, Record, Restriction, Thread
from common.errors import ERROR_MEANING, ErrorCode
from common.ids import Epoch, RoomId, Seq, UserId
from common.letters import AnyLetter
from common.messages import ClientMessage, Report, RoomState, ServerEvent
from common.messages import Member as MemberView
from common.token_bucket import Rate
from common.word_filter import Verdict
from roomworker.history import PastEvent
from roomworker.member import Connection, Member


class Incoming(Struct, frozen=True):
    """A message of a member, or of a caller (see `RoomRules.takes_calls`), with the times that the rules may use.

    `arrived_ms` is when its edge received it, for rates: a worker that paused must not punish the clients.
    """

    member: Member
    connection: Connection
    message: ClientMessage
    """One of `RoomMessage`; which of them a kind takes is its own affair."""
    now_ms: int
    arrived_ms: int


class RoomSeed(Struct, frozen=True):
    """What the durable store has of a room that Redis does not have (any more)."""

    restrictions: list[Restriction]
    content: Thread | InboxSeed | list[BoardNote] | None = None
    """As the kind's rooms have it."""
    owner_id: UserId = UserId("")
    """Whose inbox it is."""


Operation = ChangeBlock | SetFriendship
"""Orders of the application that are a kind's own affair."""


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

    @property
    def is_seeded(self) -> bool:
        """Whether what the durable store has of the room is known; True where the cluster has none."""
        ...

    def forget_seed(self) -> None:
        """Have `RoomRules.seed` called again: the durable store may know more by now than Redis, which lost data."""
        ...

    @property
    def records(self) -> Mapping[str, Any]:
        """Things of the kind, by key. Each is stored by itself; `state` is stored as a whole."""
        ...

    def put_record(self, key: str, value: Any) -> None:
        """Enter or change a record."""
        ...

    def drop_record(self, key: str) -> None:
        """Remove a record, if it is there."""
        ...

    def person(self, user_id: UserId) -> Person:
        """Return what is known of one of `RoomRules.people_needed`; of others nothing is."""
        ...

    def blocks_of(self, member_id: UserId) -> frozenset[UserId]:
        """Return whom a member of this room blocks."""
        ...

    def members(self) -> Iterable[Member]:
        """Return all members, in order of joining."""
        ...

    def is_among_first(self, member: Member, count: int) -> bool:
        """Tell whether a member is one of so many who have been here longest."""
        ...

    def latest_events(self, reader: Member, count: int) -> list[PastEvent]:
        """Return the latest reliable events that the reader may see, at most `count`, oldest first."""
        ...

    def past_event(self, seq: Seq) -> PastEvent | None:
        """Return the reliable event at a place of this epoch, if it is at hand; see `RoomRules.history_needed`."""
        ...

    def past_events(self) -> Iterator[tuple[Seq, PastEvent]]:
        """Return the reliable events that are at hand, newest first."""
        ...

    def redact(self, seq: Seq, instead: ServerEvent) -> None:
        """Put another event in the place of one that is at hand, for everybody who comes later."""
        ...

    def sequence(self, event: ServerEvent, actor: UserId, *also: UserId) -> Seq:
        """Give a reliable event the next place in the order and send it to everybody who may see the actor.

        `also` are others whose doing it shows; who blocks one of them does not see it either.
        """
        ...

    def show(self, event: ServerEvent, actor: UserId) -> None:
        """Send an ephemeral event; of one actor's events of a type the newest wins within a batch."""
        ...

    def touch(self, member: Member) -> None:
        """Store the member's state with this batch."""
        ...

    def touch_later(self, member: Member) -> None:
        """Store the member's state within `ROOMRING_POSITION_STORE_MS`; when a worker dies the change may be lost.

        For what changes many times a second.
        """
        ...

    def touch_room(self) -> None:
        """Store the room's state with this batch."""
        ...

    def set_alarm(self, name: str, at_ms: int) -> None:
        """Have `RoomRules.alarm` called at a time; of each name the last set holds, 0 is none. Survives a takeover."""
        ...

    def alarm_at_ms(self, name: str) -> int:
        """Return when an alarm is due; 0: it is not set."""
        ...

    def admit(self, incoming: Incoming, event_name: str, rate: Rate, *, tell: bool = True, later: bool = False) -> bool:
        """Take from the member's bucket of this name. False: too fast; the member has been told, if `tell`.

        The member is touched by it, with `later` as by `touch_later`.
        """
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

    def screen(self, text: str) -> Verdict:
        """Look for words that operators do not want, and return what to do with the text."""
        ...

    def can_keep(self) -> bool:
        """Tell whether the way to the durable store has room for another message."""
        ...

    def keep(self, record: Record, sender: Connection | None = None) -> None:
        """Store something for good; the sender gets `persisted` then. Nothing where the cluster has no database."""
        ...

    def tell(self, room_id: RoomId, letter: AnyLetter) -> None:
        """Write to another room."""
        ...

    def set_block(self, user_id: UserId, other_id: UserId, *, blocked: bool) -> None:
        """Have the person of this inbox block another everywhere, or end it: stored for good, told to every room."""
        ...

    def set_restricted(self, user_id: UserId, muted_until_ms: int, barred_until_ms: int) -> None:
        """Mute the person of this inbox in direct messages, bar them from the cluster; 0: not, or no longer."""
        ...


class RoomRules(Protocol):
    """What a kind of room decides."""

    kind: ClassVar[str]

    reconnect_window_ms: int
    """How long a member without connection stays."""

    latest_count: int
    """How many of the latest events `snapshot` asks for; the engine has them at hand then."""

    connections_max: int | None
    """Connections of one member, where it is not `ROOMRING_CONNECTIONS_PER_MEMBER_MAX`. Over it the oldest is detached,
    and no further one is brought in quietly."""

    joinable: bool
    """Whether connections come in; otherwise they only call."""

    takes_calls: bool
    """Whether people who are not in the room may send messages to it."""

    writes_letters: bool
    """Whether messages may make it write to other rooms; they are refused while the way to those is full."""

    idle_ttl_ms: int | None
    """How long an empty room stays stored; 0: for ever. None: as `ROOMRING_ROOM_IDLE_TTL_MS` says."""

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
        """Return what a connection is shown that comes in, or starts anew; without members where `lists_members`."""
        ...

    lists_members: bool
    """Whether everybody is shown the members: each as `view` says, without those that the reader blocks."""

    def view(self, member: Member) -> MemberView:
        """Return what others see of a member. It changes only where the member is touched, or renamed."""
        ...

    def alarm(self, room: RoomServices, name: str) -> None:
        """The time set with `set_alarm` has come."""
        ...

    def encode_record(self, key: str, value: Any) -> bytes:
        """Encode a record for the store."""
        ...

    def decode_record(self, key: str, data: bytes) -> Any:
        """Decode it."""
        ...

    def seed(self, room: RoomServices, seed: RoomSeed) -> None:
        """Take what the durable store has, at the room's beginning."""
        ...

    def epoch_began(self, room: RoomServices) -> None:
        """The room's order begins anew, since the store lost part of the old one."""
        ...

    def people_needed(self, room: RoomServices, sender: UserId, message: ClientMessage) -> Iterable[UserId]:
        """Return of whom `RoomServices.person` will be asked for a call."""
        ...

    def letter_people(self, letter: AnyLetter) -> Iterable[UserId]:
        """Return of whom `RoomServices.person` will be asked for a letter."""
        ...

    looks_back: frozenset[type]
    """Types of messages that ask for past events."""

    def history_needed(self, message: ClientMessage | AnyLetter) -> Seq | None:
        """Return after which place of this epoch `past_event` will be asked; None: not at all."""
        ...

    def receive(self, room: RoomServices, letter: AnyLetter) -> None:
        """Take a letter of another room."""
        ...

    def operate(self, room: RoomServices, operation: Operation) -> dict[str, Any]:
        """Carry an order of the application out; return the JSON to answer with, `error` in it where it is refused."""
        ...

    def active(self, room: RoomServices, member: Member) -> None:
        """A member of an inbox did something somewhere."""
        ...

    def blocks_changed(self, room: RoomServices, member: Member, other_id: UserId, *, blocked: bool) -> bool:
        """A member blocks somebody, or no longer. True: have the member's connections start anew."""
        ...

    def restricted(self, room: RoomServices, user_id: UserId, muted_until_ms: int, barred_until_ms: int) -> None:
        """A moderator restricted a person here, or lifted it."""
        ...

    def message_deleted(self, room: RoomServices, author_id: UserId, message_id: str, epoch: Epoch, seq: Seq) -> None:
        """A moderator deleted a message of this room."""
        ...

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """Decide about a message; the answer goes to its sender.

        An `Ack` is remembered under the message's `id`. Any other answer must not have changed anything. A message
        that the kind does not take is answered with `not_allowed`.
        """
        ...


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder()


class PlainRules:
    """The usual answers, for kinds to start from: no state, nobody is told, five seconds to come back."""

    latest_count: int = 0
    reconnect_window_ms: int = 5_000
    connections_max: int | None = None
    joinable: bool = True
    takes_calls: bool = False
    writes_letters: bool = False
    idle_ttl_ms: int | None = None
    looks_back: frozenset[type] = frozenset({Report})
    lists_members: bool = False

    def view(self, member: Member) -> MemberView:
        """See `RoomRules.view`."""
        return MemberView(member.user_id, member.display_name, member.avatar_id, 0.0, 0.0, 0.0, 0.0, "idle", False)

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

    def alarm(self, room: RoomServices, name: str) -> None:
        """See `RoomRules.alarm`."""

    def encode_record(self, key: str, value: Any) -> bytes:
        """See `RoomRules.encode_record`. For structs, and values of the types that MessagePack has."""
        return _encoder.encode(value)

    def decode_record(self, key: str, data: bytes) -> Any:
        """See `RoomRules.decode_record`."""
        return _decoder.decode(data)

    def seed(self, room: RoomServices, seed: RoomSeed) -> None:
        """See `RoomRules.seed`."""

    def epoch_began(self, room: RoomServices) -> None:
        """See `RoomRules.epoch_began`."""

    def people_needed(self, room: RoomServices, sender: UserId, message: ClientMessage) -> Iterable[UserId]:
        """See `RoomRules.people_needed`."""
        return ()

    def letter_people(self, letter: AnyLetter) -> Iterable[UserId]:
        """See `RoomRules.letter_people`."""
        return ()

    def history_needed(self, message: ClientMessage | AnyLetter) -> Seq | None:
        """See `RoomRules.history_needed`."""
        return Seq(message.payload.seq - 1) if isinstance(message, Report) else None

    def receive(self, room: RoomServices, letter: AnyLetter) -> None:
        """See `RoomRules.receive`."""

    def operate(self, room: RoomServices, operation: Operation) -> dict[str, Any]:
        """See `RoomRules.operate`."""
        return {"error": {"code": ErrorCode.NOT_ALLOWED, "message": ERROR_MEANING[ErrorCode.NOT_ALLOWED]}}

    def active(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.active`."""

    def blocks_changed(self, room: RoomServices, member: Member, other_id: UserId, *, blocked: bool) -> bool:
        """See `RoomRules.blocks_changed`."""
        return True

    def restricted(self, room: RoomServices, user_id: UserId, muted_until_ms: int, barred_until_ms: int) -> None:
        """See `RoomRules.restricted`."""

    def message_deleted(self, room: RoomServices, author_id: UserId, message_id: str, epoch: Epoch, seq: Seq) -> None:
        """See `RoomRules.message_deleted`."""
