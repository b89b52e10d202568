"""What edges tell room workers: the entries of the input streams. Internal, never seen by a client.

Structs are encoded as arrays (MessagePack), so fields are added at the end and with a default only. One
entry of a stream is one `InputBatch`: everything that one edge had for one shard at one moment.
"""

from typing import Final

from msgspec import Struct, msgpack

from common.ids import ConnNumber, EdgeId, Epoch, RoomId, Seq, UserId
from common.letters import AnyLetter
from common.messages import Device, ModerationType, RoomMessage


class Identity(Struct, array_like=True, frozen=True):
    """A person as the token names them; never as the client claims."""

    user_id: UserId
    display_name: str
    avatar_id: str
    roles: tuple[str, ...] = ()


class Command(Struct, array_like=True, frozen=True, tag=True):
    """Base of the commands."""


class RoomCommand(Command, frozen=True):
    """A command to one room."""

    room_id: RoomId


class Join(RoomCommand, frozen=True):
    """A connection with a good token wants into the room, or is there and joins again.

    `repair` is set where the edge, not the client, asks: the edge lost its place in the room's order and
    needs the connection brought up to date from (`resume_epoch`, `resume_seq`). `quiet` too: the edge brings a person's
    connection to the person's inbox, and the client, which did not ask, is told nothing of it. `attempt` numbers the
    repairs of a connection in a room from 1, and comes back in the answer; 0 is no repair.
    """

    conn: ConnNumber
    identity: Identity
    device: Device
    resume_epoch: Epoch | None = None
    resume_seq: Seq = Seq(0)
    re: str | None = None
    repair: bool = False
    quiet: bool = False
    attempt: int = 0


class Leave(RoomCommand, frozen=True):
    """The client said `leave_room`."""

    conn: ConnNumber
    re: str | None = None


class Disconnect(RoomCommand, frozen=True):
    """The connection ended without leaving; the reconnection window begins.

    `hold_ms`: the edge asked the client to stay away for so long; the window begins after it.
    """

    conn: ConnNumber
    hold_ms: int = 0


class Post(RoomCommand, frozen=True):
    """A message of a connection for the room's rules."""

    conn: ConnNumber
    message: RoomMessage


class Call(RoomCommand, frozen=True):
    """A message of a person who need not be in the room: to a thread, or over HTTP.

    With `request` it is answered by an `Answer`, otherwise to the connection.
    """

    conn: ConnNumber
    identity: Identity
    device: Device
    message: RoomMessage
    request: int = 0


class Active(RoomCommand, frozen=True):
    """The person of an inbox did something on this connection. Edges say it now and then only."""

    conn: ConnNumber


class Tell(RoomCommand, frozen=True):
    """A letter from another room, written by the commit of that room."""

    letter: AnyLetter


class CatchUp(RoomCommand, frozen=True):
    """A heartbeat said that the client saw nothing after (`epoch`, `last_seq`), and the room is further.

    `skipped`: the client read too slowly and movements were left out for it; it needs the room's whole state.
    """

    conn: ConnNumber
    epoch: Epoch
    last_seq: Seq
    skipped: bool = False


class Moderate(RoomCommand, frozen=True):
    """A moderator acts on a person. Answered by an `Answer` with the same `request`."""

    request: int
    user_id: UserId
    action: ModerationType
    reason: str
    duration_ms: int | None
    by: str = "operator"


class LiftRestrictions(RoomCommand, frozen=True):
    """A moderator ends a person's ban and mute. Answered by an `Answer` with the same `request`."""

    request: int
    user_id: UserId
    by: str = "operator"


class Inspect(RoomCommand, frozen=True):
    """An operator asks for the room's members, position and counters. Answered by an `Answer`."""

    request: int


class ChangeBlock(RoomCommand, frozen=True):
    """The application has the person of this inbox block another, or end it. Answered by an `Answer`."""

    request: int
    user_id: UserId
    other_id: UserId
    blocked: bool


class SetFriendship(RoomCommand, frozen=True):
    """The application makes the two persons of this thread friends, or ends it. Answered by an `Answer`."""

    request: int
    user_id: UserId
    other_id: UserId
    friends: bool


class DeleteMessage(RoomCommand, frozen=True):
    """A moderator deletes a message of this room or thread. Answered by an `Answer`."""

    request: int
    epoch: Epoch
    seq: Seq
    message_id: str
    by: str


class BlockChanged(Command, frozen=True):
    """`user_id` no longer sees `other_id`, or does again.

    Goes to every shard, since no index of a person's rooms exists.
    """

    user_id: UserId
    other_id: UserId
    blocked: bool


class EdgeClosed(Command, frozen=True):
    """The sending edge ends in order; all its connections in this shard end with it."""


AnyRoomCommand = (
    Join
    | Leave
    | Disconnect
    | Post
    | Call
    | Active
    | Tell
    | CatchUp
    | Moderate
    | LiftRestrictions
    | Inspect
    | ChangeBlock
    | SetFriendship
    | DeleteMessage
)
AnyCommand = AnyRoomCommand | BlockChanged | EdgeClosed


class InputBatch(Struct, array_like=True, frozen=True):
    """One entry of a shard's input stream.

    `number` counts the batches of this edge for this shard from 1, so that an append that was repeated after
    a lost reply is recognised. The number 0 is not compared: a batch that a worker's commit wrote (`edge_id` is
    empty) is written once, and so is a dead letter that an operator retries. `at_ms` is the edge's wall time when the
    batch was closed. Of a batch from another partition (common/relay.py) `number` and `generation` are those of its
    entry in the relay.
    """

    edge_id: EdgeId
    number: int
    at_ms: int
    commands: list[AnyCommand]
    generation: int = 0

    @property
    def mark(self) -> int:
        """Place in what its sender ever sent to this shard: by generation, then by number. Grows, with holes."""
        return self.generation << 64 | self.number


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(InputBatch)


def encode_batch(batch: InputBatch) -> bytes:
    """Encode a batch for the stream."""
    return _encoder.encode(batch)


def decode_batch(data: bytes) -> InputBatch:
    """Decode an entry of an input stream.

    Raises:
        msgspec.DecodeError: the entry was not written by an edge of a compatible release.
    """
    return _decoder.decode(data)
