"""A person in a room: the connections, the rates, and the part of the state that belongs to the room's kind."""

from typing import Final, NamedTuple

from msgspec import Struct, field, msgpack

from common.commands import Identity
from common.ids import ConnNumber, EdgeId, UserId
from common.messages import Device
from common.token_bucket import TokenBucket


class ConnRef(NamedTuple):
    """A connection, unique in the cluster."""

    edge_id: EdgeId
    number: ConnNumber


class Connection(Struct, array_like=True, frozen=True):
    """One of a member's connections. `join_number` grows with every join of the member.

    One that `is_quiet` was brought here by its edge: it gets events, and is told nothing of the room itself.
    """

    edge_id: EdgeId
    number: ConnNumber
    device: Device
    join_number: int
    is_quiet: bool = False

    @property
    def ref(self) -> ConnRef:
        """The connection's name."""
        return ConnRef(self.edge_id, self.number)


class MemberRecord(Struct, array_like=True):
    """What is stored of a member when somebody joins, leaves or loses a connection."""

    display_name: str
    avatar_id: str
    roles: tuple[str, ...]
    connections: list[Connection]
    away_until_ms: int
    joins: int
    entry: int
    held_until_ms: int = 0


class LiveRecord(Struct, array_like=True):
    """What is stored of a member when it changes, or a little later: the kind's state, and the rates."""

    state: bytes
    buckets: dict[str, TokenBucket]


class Member(Struct):
    """A person in a room, live.

    `entry` numbers the joinings of the room, and so orders the members. `connections` is in the order
    of joining, newest last. Without connections the member is away until `away_until_ms` and then leaves;
    otherwise that is 0. An edge sent one of the connections away until `held_until_ms`; 0 where none
    is expected.
    """

    user_id: UserId
    display_name: str
    avatar_id: str
    state: object
    entry: int
    roles: tuple[str, ...] = ()
    connections: dict[ConnRef, Connection] = field(default_factory=dict)
    away_until_ms: int = 0
    held_until_ms: int = 0
    joins: int = 0
    buckets: dict[str, TokenBucket] = field(default_factory=dict)
    told_at_ms: dict[str, int] = field(default_factory=dict)
    """When the member was last told of a rate limit, by event name. Not stored: a second notice does no harm."""

    def newest(self) -> Connection | None:
        """Return the connection that joined last."""
        return next(reversed(self.connections.values()), None)

    def describes(self, identity: Identity) -> bool:
        """Tell whether others already know the member by this name and avatar."""
        return self.display_name == identity.display_name and self.avatar_id == identity.avatar_id

    def record(self) -> bytes:
        """Encode the stored part."""
        return _encoder.encode(
            MemberRecord(
                self.display_name,
                self.avatar_id,
                self.roles,
                list(self.connections.values()),
                self.away_until_ms,
                self.joins,
                self.entry,
                self.held_until_ms,
            )
        )

    def live_record(self, state: bytes) -> bytes:
        """Encode the part that changes often, around the kind's encoded state."""
        return _encoder.encode(LiveRecord(state, self.buckets))


def restore_member(user_id: UserId, record: bytes, live: LiveRecord, state: object) -> Member:
    """Rebuild a member from its stored parts."""
    stored = _record_decoder.decode(record)
    return Member(
        user_id=user_id,
        display_name=stored.display_name,
        avatar_id=stored.avatar_id,
        state=state,
        entry=stored.entry,
        roles=stored.roles,
        connections={connection.ref: connection for connection in stored.connections},
        away_until_ms=stored.away_until_ms,
        held_until_ms=stored.held_until_ms,
        joins=stored.joins,
        buckets=live.buckets,
    )


def decode_live(data: bytes) -> LiveRecord:
    """Decode a `live_record`."""
    return _live_decoder.decode(data)


_encoder: Final = msgpack.Encoder()
_record_decoder: Final = msgpack.Decoder(MemberRecord)
_live_decoder: Final = msgpack.Decoder(LiveRecord)
