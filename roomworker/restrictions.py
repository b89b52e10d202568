"""What moderators imposed on persons in a room: bans, mutes, kicks for a time. Stored fields: `r:<user>`."""

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, msgpack, structs

from common.durable import NO_END_MS
from common.durable import Restriction as StoredRestriction
from common.ids import UserId
from roomworker.field_changes import FieldChanges


class Restriction(Struct, array_like=True, frozen=True):
    """What holds for a person: until when, in ms since 1970; 0: not."""

    barred_until_ms: int = 0
    muted_until_ms: int = 0
    reason: str = ""

    @property
    def ends_at_ms(self) -> int:
        """When the last of it ends."""
        return max(self.barred_until_ms, self.muted_until_ms)


NONE: Final = Restriction()

_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(Restriction)


class Restrictions:
    """The restrictions of one room."""

    def __init__(self, changes: FieldChanges) -> None:
        self._changes = changes
        self._restrictions: dict[UserId, Restriction] = {}

    def __iter__(self) -> Iterator[tuple[UserId, Restriction]]:
        """Return all of them."""
        return iter(self._restrictions.items())

    def of(self, user_id: UserId) -> Restriction:
        """Return what holds for a person."""
        return self._restrictions.get(user_id, NONE)

    def is_barred(self, user_id: UserId, now_ms: int) -> bool:
        """Tell whether the person may not come in."""
        return self.of(user_id).barred_until_ms > now_ms

    def is_muted(self, user_id: UserId, now_ms: int) -> bool:
        """Tell whether the person may not speak."""
        return self.of(user_id).muted_until_ms > now_ms

    def put(self, user_id: UserId, restriction: Restriction) -> None:
        """Impose it in place of what held."""
        self._restrictions[user_id] = restriction
        self._changes.put("r:" + user_id, _encoder.encode(restriction))

    def lift(self, user_id: UserId) -> bool:
        """End all that holds for a person; False where nothing did."""
        if self._restrictions.pop(user_id, None) is None:
            return False
        self._changes.drop("r:" + user_id)
        return True

    def seed(self, stored: Iterable[StoredRestriction]) -> None:
        """Take what the durable store has; what is longer holds."""
        for found in stored:
            now = self.of(found.user_id)
            until_ms = NO_END_MS if found.ends_at_ms is None else found.ends_at_ms
            now = structs.replace(now, reason=now.reason or found.reason)
            if found.kind == "mute":
                now = structs.replace(now, muted_until_ms=max(now.muted_until_ms, until_ms))
            else:
                now = structs.replace(now, barred_until_ms=max(now.barred_until_ms, until_ms))
            self.put(found.user_id, now)

    def restore(self, user_id: str, data: bytes) -> None:
        """Take a stored field; `user_id` is its name without the prefix."""
        self._restrictions[UserId(user_id)] = _decoder.decode(data)
