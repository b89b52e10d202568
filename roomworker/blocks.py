"""Whom the members of a room block, and so from whom each event is hidden. Stored fields: `b:<user>`."""

from typing import Final

from msgspec import msgpack

from common.ids import UserId
from roomworker.field_changes import FieldChanges

NOBODY: Final[frozenset[UserId]] = frozenset()

_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(list[UserId])


class Blocks:
    """The blocks of one room's members."""

    def __init__(self, changes: FieldChanges) -> None:
        self._changes = changes
        self._blocks: dict[UserId, frozenset[UserId]] = {}
        self._hidden_from: dict[UserId, tuple[UserId, ...]] = {}

    def __bool__(self) -> bool:
        """Whether any member blocks anybody."""
        return bool(self._blocks)

    def of(self, user_id: UserId) -> frozenset[UserId]:
        """Return whom a member blocks."""
        return self._blocks.get(user_id, NOBODY)

    def put(self, user_id: UserId, blocks: frozenset[UserId]) -> None:
        """Enter whom a member blocks; nobody, where the member leaves."""
        if blocks:
            self._blocks[user_id] = blocks
            self._changes.put("b:" + user_id, _encoder.encode(sorted(blocks)))
            self._hidden_from.clear()
        elif self._blocks.pop(user_id, None) is not None:
            self._changes.drop("b:" + user_id)
            self._hidden_from.clear()

    def hidden_from(self, actor: UserId, *also: UserId) -> tuple[UserId, ...]:
        """Return the members who must not see what these persons do, in order."""
        if not self._blocks:
            return ()
        if also:
            return tuple(sorted({user for one in (actor, *also) for user in self.hidden_from(one)}))
        hidden = self._hidden_from.get(actor)
        if hidden is None:
            hidden = tuple(sorted(user for user, blocked in self._blocks.items() if actor in blocked))
            self._hidden_from[actor] = hidden
        return hidden

    def restore(self, user_id: str, data: bytes) -> None:
        """Take a stored field; `user_id` is its name without the prefix."""
        self._blocks[UserId(user_id)] = frozenset(_decoder.decode(data))
