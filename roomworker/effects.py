"""What a room wants done: plain values that the engine turns into deliveries and a patch.

The order of effects is the order in which connections see them.
"""

from msgspec import Struct, field

from common.bus import PersonPatch, RoomPatch
from common.commands import AnyRoomCommand, BlockChanged
from common.ids import EdgeId, Epoch, RoomId, Seq, UserId
from roomworker.member import ConnRef


class Sequenced(Struct, frozen=True):
    """A reliable event took its place; everybody attached receives it, except who must not see its actor.

    `is_of_members`: it tells who came or left.
    """

    seq: Seq
    event: bytes
    hidden_from: tuple[UserId, ...]
    is_of_members: bool = False


class Say(Struct, frozen=True):
    """Messages for one connection."""

    ref: ConnRef
    messages: list[bytes]


class SayStranger(Struct, frozen=True):
    """Messages for a connection that the room does not know; `again` where its edge takes it for joined."""

    ref: ConnRef
    messages: list[bytes]
    again: list[bytes]


class AttachConnection(Struct, frozen=True):
    """A connection receives the room from `seq` on, after `messages`. `new`: it was not attached before.

    `attempt`: see `Join`.
    """

    ref: ConnRef
    seq: Seq
    messages: list[bytes]
    new: bool
    attempt: int = 0


class ShowMembers(Struct, frozen=True):
    """Further parts of the state that these connections were attached with."""

    refs: list[ConnRef]
    messages: list[bytes]


class DetachConnection(Struct, frozen=True):
    """A connection receives the room no more.

    `attached`: it did until now. `refused`: this answers a join that did not succeed. `silent`: its edge
    knows already.
    """

    ref: ConnRef
    messages: list[bytes]
    attached: bool
    close_code: int | None = None
    silent: bool = False
    refused: bool = False


class AnswerOperator(Struct, frozen=True):
    """JSON answer to an operator's command that came over an edge."""

    edge_id: EdgeId
    request: int
    body: bytes


Effect = Sequenced | Say | SayStranger | AttachConnection | ShowMembers | DetachConnection | AnswerOperator


class EphemeralGroup(Struct, frozen=True):
    """Newest movements with the same audience."""

    messages: list[bytes]
    hidden_from: tuple[UserId, ...]


class RoomTurn(Struct, frozen=True):
    """Everything that one batch did to one room.

    `edges_before` counts the attached connections of each edge when the batch began, at `seq_before`.
    """

    room_id: RoomId
    epoch: Epoch
    seq_before: Seq
    edges_before: dict[EdgeId, int]
    effects: list[Effect]
    ephemeral: list[EphemeralGroup]
    patch: RoomPatch
    rate_notices: list[tuple[UserId, str]]
    """Who was told that events of a name came too fast; for the log."""
    outbox: list[bytes] = field(default_factory=list)
    """Entries for the durable store, in order."""
    tells: list[AnyRoomCommand] = field(default_factory=list)
    """For other rooms, in order."""
    people: list[PersonPatch] = field(default_factory=list)
    broadcasts: list[BlockChanged] = field(default_factory=list)
    """For every shard."""
