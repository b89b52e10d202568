"""Answers already given, so that a message with an `id` takes effect once, and its second answer equals the first."""

from typing import Final

from msgspec import Struct, msgpack

from common.ids import UserId


class GivenAnswer(Struct, array_like=True, frozen=True):
    """An encoded answer, and when it was given. `number` grows with each, since many are given in one millisecond."""

    at_ms: int
    answer: bytes
    number: int = 0


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(GivenAnswer)


class Answers:
    """The remembered answers of one room, oldest first; bounded in time and number.

    Answers that are too old leave when new ones come, so an idle room changes nothing in its store.
    """

    def __init__(self, window_ms: int, answers_max: int) -> None:
        self._window_ms = window_ms
        self._answers_max = answers_max
        self._given: dict[str, GivenAnswer] = {}
        self._set: dict[str, bytes] = {}
        self._deleted: list[str] = []
        self._sorted = True
        self._last_number = 0

    def get(self, user_id: UserId, message_id: str, now_ms: int) -> bytes | None:
        """Return the answer that this message got before, within the window."""
        given = self._given.get(_key(user_id, message_id))
        if given is None or given.at_ms + self._window_ms < now_ms:
            return None
        return given.answer

    def remember(self, user_id: UserId, message_id: str, now_ms: int, answer: bytes) -> None:
        """Remember an answer, and let go of those that are too old or too many."""
        if not self._sorted:
            self._given = dict(sorted(self._given.items(), key=lambda item: (item[1].number, item[1].at_ms)))
            self._sorted = True
        key = _key(user_id, message_id)
        self._given.pop(key, None)
        self._last_number += 1
        given = self._given[key] = GivenAnswer(now_ms, answer, self._last_number)
        self._set["d:" + key] = _encoder.encode(given)
        while self._given:
            oldest = next(iter(self._given))
            if self._given[oldest].at_ms + self._window_ms >= now_ms and len(self._given) <= self._answers_max:
                break
            del self._given[oldest]
            self._deleted.append("d:" + oldest)

    def restore(self, key: str, data: bytes) -> None:
        """Take a stored answer; `key` is the field's name without its prefix."""
        given = self._given[key] = _decoder.decode(data)
        self._last_number = max(self._last_number, given.number)
        self._sorted = False

    def take(self) -> tuple[dict[str, bytes], list[str]]:
        """Return the fields to set and to delete since the last call."""
        deleted = self._deleted
        changed = {name: data for name, data in self._set.items() if name[2:] in self._given}
        self._set, self._deleted = {}, []
        return changed, deleted


def _key(user_id: UserId, message_id: str) -> str:
    return f"{user_id}\0{message_id}"
