"""The token buckets of persons who are not in the room: who left, and who sends to it from outside.

Stored fields: `t:<user>`. Who comes (back) finds what was left in them, whichever worker has the room then. They
stay for so long that they are full again in any case; after that a new one is the same.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import msgpack

from common.ids import UserId
from common.token_bucket import TokenBucket
from roomworker.field_changes import FieldChanges

FILL_MS: Final = 30_000
"""Every rate of a room fills its bucket within it, but for chat, which has a setting."""

REST_MS_MAX: Final = 3_600_000
"""Also where a setting makes chat refill more slowly."""

SWEPT_AT_ONCE: Final = 16
"""Looking at all of a full room takes a millisecond; so it is done for so many new ones at a time."""

_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(dict[str, TokenBucket])


class RestingBuckets:
    """The resting buckets of one room, by person and name of the event; bounded in time and number.

    Old ones leave when new ones come, so that an idle room changes nothing in its store. Where there are too many,
    those go that were drawn from longest ago.
    """

    def __init__(self, changes: FieldChanges, *, rest_ms: float, persons_max: int) -> None:
        self._changes = changes
        self._rest_ms = min(rest_ms, REST_MS_MAX)
        self._persons_max = persons_max
        self._resting: dict[UserId, dict[str, TokenBucket]] = {}

    def of(self, user_id: UserId) -> dict[str, TokenBucket] | None:
        """Return the buckets of a person, to be drawn from; None where none rest."""
        return self._resting.get(user_id)

    def put(self, user_id: UserId, buckets: dict[str, TokenBucket], now_ms: int) -> None:
        """Let buckets rest, or store what was drawn from resting ones."""
        if _drawn_at_ms(buckets) + self._rest_ms <= now_ms:
            return
        if user_id not in self._resting:
            self._make_room(now_ms)
        self._resting[user_id] = buckets
        self._changes.put("t:" + user_id, _encoder.encode(buckets))

    def take(self, user_id: UserId) -> dict[str, TokenBucket] | None:
        """Return a person's buckets, which are the caller's to store from now on; None where none rest."""
        buckets = self._resting.pop(user_id, None)
        if buckets is not None:
            self._changes.drop("t:" + user_id)
        return buckets

    def restore(self, user_id: str, data: bytes) -> None:
        """Take a stored field; `user_id` is its name without the prefix."""
        self._resting[UserId(user_id)] = _decoder.decode(data)

    def _make_room(self, now_ms: int) -> None:
        count = len(self._resting)
        if count < self._persons_max and count % SWEPT_AT_ONCE:
            return
        oldest_first = sorted(self._resting, key=lambda user_id: (_drawn_at_ms(self._resting[user_id]), user_id))
        too_many = min(SWEPT_AT_ONCE, count) if count >= self._persons_max else 0
        for number, user_id in enumerate(oldest_first):
            if number >= too_many and _drawn_at_ms(self._resting[user_id]) + self._rest_ms > now_ms:
                break
            self.take(user_id)


def _drawn_at_ms(buckets: Mapping[str, TokenBucket]) -> int:
    return max((bucket.counted_at_ms for bucket in buckets.values()), default=0)
