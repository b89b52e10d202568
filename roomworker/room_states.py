"""The room as it is shown to who comes: its members, encoded once for all who are shown the same. Pure.

A state that would be too large for one frame comes in parts: the first is the `room_state`, which each connection gets
for itself; the others are the same bytes for all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw, Struct, UnsetType, field, json, structs

from common.codec import encode_event
from common.ids import UserId
from common.messages import Member as MemberView
from common.messages import RoomMembers, RoomState
from roomworker.member import ConnRef, Member

ENVELOPE_BYTES_MAX: Final = 1_024
"""What a frame has beside the members: the ids in it are short."""

_json: Final = json.Encoder()


class MemberViews:
    """What others see of each member, encoded when first needed, and kept until it changes."""

    def __init__(self, view: Callable[[Member], MemberView]) -> None:
        self._view = view
        self._encoded: dict[UserId, bytes] = {}

    def changed(self, user_id: UserId) -> None:
        """A member is seen differently from now on, or is gone."""
        self._encoded.pop(user_id, None)

    def of(self, member: Member) -> bytes:
        """Return what others see of a member."""
        encoded = self._encoded.get(member.user_id)
        if encoded is None:
            encoded = self._encoded[member.user_id] = _json.encode(self._view(member))
        return encoded


class Crowd(Struct):
    """Members that some connections are shown, in parts. `rest` are the events after the first part, for `readers`."""

    count: int
    first: bytes
    in_first: frozenset[UserId] | None
    """None: all are."""
    rest: list[bytes]
    readers: list[ConnRef] = field(default_factory=list)


class RoomStates:
    """States of one moment, for one reader after the other."""

    def __init__(self, views: MemberViews, members: Mapping[UserId, Member], bytes_max: int, now_ms: int) -> None:
        self._views = views
        self._members = members
        self._bytes_max = bytes_max - ENVELOPE_BYTES_MAX
        self._now_ms = now_ms
        self._crowds: dict[frozenset[UserId], Crowd] = {}

    def encode(
        self, state: RoomState, ref: ConnRef, reader: Member, unseen: frozenset[UserId], re: str | UnsetType
    ) -> bytes:
        """Return the event `room_state` with its members put in, without those that the reader blocks.

        Where it is not all, the connection is among the readers of one of `crowds`.
        """
        hidden = frozenset(user_id for user_id in unseen if user_id in self._members)
        crowd = self._crowds.get(hidden)
        if crowd is None:
            crowd = self._crowds[hidden] = self._crowd(state, hidden)
        members = crowd.first
        if crowd.in_first is not None:
            crowd.readers.append(ref)
            state = structs.replace(state, parts=len(crowd.rest) + 1, memberCount=crowd.count)
            if reader.user_id not in crowd.in_first:
                members = b"%b,%b" % (members, self._views.of(reader))
        return encode_event(structs.replace(state, members=_listed(members)), self._now_ms, re=re)

    def crowds(self) -> list[Crowd]:
        """Return what is to be told after the states, and to whom."""
        return [crowd for crowd in self._crowds.values() if crowd.rest]

    def _crowd(self, state: RoomState, hidden: frozenset[UserId]) -> Crowd:
        seen = [member for user_id, member in self._members.items() if user_id not in hidden]
        encoded = [self._views.of(member) for member in seen]
        if sum(map(len, encoded)) + len(encoded) <= self._bytes_max:
            return Crowd(len(seen), b",".join(encoded), None, [])
        # The first part has room for one more, the reader.
        reader_bytes = max(map(len, encoded)) + 1
        pieces = pieces_of([len(one) for one in encoded], self._bytes_max - reader_bytes, self._bytes_max)
        rest = [
            RoomMembers(
                state.roomId,
                state.epoch,
                state.seq,
                number,
                len(pieces),
                _listed(b",".join(encoded[piece])),
            )
            for number, piece in enumerate(pieces[1:], start=2)
        ]
        return Crowd(
            len(seen),
            b",".join(encoded[pieces[0]]),
            frozenset(member.user_id for member in seen[pieces[0]]),
            [encode_event(event, self._now_ms) for event in rest],
        )


def pieces_of(sizes: Sequence[int], first_max: int, others_max: int) -> list[slice]:
    """Cut a list of things with these sizes into pieces within a bound; a thing that is larger makes a piece alone."""
    pieces: list[slice] = []
    start = used = 0
    for index, size in enumerate(sizes):
        bytes_max = others_max if pieces else first_max
        if index > start and used + size + 1 > bytes_max:
            pieces.append(slice(start, index))
            start, used = index, 0
        used += size + 1
    pieces.append(slice(start, len(sizes)))
    return pieces


def _listed(members: bytes) -> Any:
    """Return encoded members as the list that an event has; it is not encoded again."""
    return Raw(b"[%b]" % members)
