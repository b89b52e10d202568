"""Whether letters arrive: what threads gave a place, against what inboxes gave one, read from the commits."""

import json
from collections import Counter

from msgspec import msgpack

from common.ids import RoomId, Seq, UserId, inbox_of, kind_of, thread_pair
from roomworker.history import PastEvent

_decoder = msgpack.Decoder(PastEvent)


class LetterBook:
    """Messages of threads, and how often each inbox was told of each, since data was lost last."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[RoomId, str]] = {}
        self._texts: Counter[str] = Counter()
        self._told: dict[RoomId, list[str]] = {}
        self._was_lost = False

    def data_lost(self) -> None:
        """What was under way may be gone, or come again: only what is said from now on counts."""
        self._said.clear()
        self._was_lost = True

    def sequenced(self, room_id: RoomId, seq: Seq, stored: bytes) -> None:
        """An event got its place, by a commit that was written."""
        kind = kind_of(room_id)
        if kind not in ("dm", "user"):
            return
        event = json.loads(_decoder.decode(stored).event)
        message_id = event["payload"].get("messageId")
        if kind == "dm" and event["t"] == "chat_broadcast":
            self._said[message_id] = room_id, event["payload"]["text"]
            self._texts[event["payload"]["text"]] += 1
        elif kind == "user" and event["t"] == "direct_message":
            self._told.setdefault(room_id, []).append(message_id)

    def count(self) -> int:
        """Return how many messages count."""
        return len(self._said)

    def problems(self, acked: set[str]) -> list[str]:
        """Compare, when all letters have arrived.

        Args:
            acked: texts that their author was told were taken.
        """
        found: list[str] = []
        if not self._was_lost:
            found += [f"{text} took effect {count} times" for text, count in self._texts.items() if count > 1]
            found += [f"{text} was acknowledged and is in no thread" for text in sorted(acked - self._texts.keys())]
        for inbox in sorted({inbox_of(person) for thread, _ in self._said.values() for person in _pair(thread)}):
            expected = [each for each, (thread, _) in self._said.items() if inbox in map(inbox_of, _pair(thread))]
            told = [each for each in self._told.get(inbox, []) if each in self._said]
            times = Counter(told)
            for each in expected:
                if times[each] != 1:
                    found.append(f"{inbox} was told {times[each]} times of {self._said[each][1]}")
            for thread in {self._said[each][0] for each in told}:
                # Each once from here on: the first time counts.
                of_thread = [each for each in dict.fromkeys(told) if self._said[each][0] == thread]
                if of_thread != [each for each in expected if self._said[each][0] == thread and times[each]]:
                    found.append(f"{inbox} was told of {thread} in another order")
        return found


def _pair(thread: RoomId) -> tuple[UserId, UserId]:
    pair = thread_pair(thread)
    assert pair is not None, thread
    return pair
