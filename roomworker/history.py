"""The recent reliable events of a room in one epoch, for resume and catch-up.

Holds a contiguous tail of the order, at most `events_max` long. After a takeover it begins empty; what the
store still has is put in front of it when somebody needs it, as far back as that one needs.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, msgpack

from common.ids import Seq, UserId


class PastEvent(Struct, array_like=True, frozen=True):
    """A reliable event as it was sent, and who caused it (whose blockers must not see it).

    `also` names others whose doing is in it.
    """

    actor: UserId
    event: bytes
    also: tuple[UserId, ...] = ()

    def is_seen_past(self, blocks: frozenset[UserId]) -> bool:
        """Tell whether somebody with these blocks may see it."""
        return self.actor not in blocks and blocks.isdisjoint(self.also)


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(PastEvent)


def encode_past(event: PastEvent) -> bytes:
    """Encode for the store."""
    return _encoder.encode(event)


class History:
    """The tail of one epoch's order."""

    def __init__(self, events_max: int, position: Seq) -> None:
        """Begin empty at a position: the next event is `position` + 1."""
        self._events: deque[PastEvent] = deque(maxlen=events_max)
        self._last = position
        self._asked_after = position
        """Down to here the store has been asked, or need not be."""

    def append(self, event: PastEvent) -> None:
        """Add the next event."""
        self._events.append(event)
        self._last = Seq(self._last + 1)

    def covers(self, after: Seq) -> bool:
        """Tell whether every event after a place is here. True for the newest place, False beyond it."""
        return self._last - len(self._events) <= after <= self._last

    def lacks(self, after: Seq) -> bool:
        """Tell whether the store should be asked for events after a place."""
        return after < min(self._asked_after, self._last - len(self._events))

    def since(self, after: Seq) -> list[PastEvent]:
        """Return all events after a place that is covered, in order."""
        assert self.covers(after)
        count = self._last - after
        return list(itertools.islice(self._events, len(self._events) - count, None))

    def latest(self, count: int) -> list[PastEvent]:
        """Return the newest events that are here, at most `count`, oldest first."""
        return list(self._events)[-count:] if count else []

    def at(self, seq: Seq) -> PastEvent | None:
        """Return the event at a place; None where it is not here."""
        index = seq - (self._last - len(self._events)) - 1
        return self._events[index] if 0 <= index < len(self._events) else None

    def items(self) -> Iterator[tuple[Seq, PastEvent]]:
        """Return places and events, newest first."""
        for index, event in enumerate(reversed(self._events)):
            yield Seq(self._last - index), event

    def replace(self, seq: Seq, event: PastEvent) -> None:
        """Put another event in the place of one that is here."""
        self._events[seq - (self._last - len(self._events)) - 1] = event

    def prepend(self, after: Seq, stored: list[tuple[Seq, bytes]], instead: Mapping[Seq, PastEvent]) -> None:
        """Put in front what the store has after a place. What does not adjoin, or has no room, is left out.

        Args:
            instead: what stands in the place of events that were deleted.
        """
        self._asked_after = min(self._asked_after, after)
        first = self._last - len(self._events) + 1
        for seq, data in _with_replacements(after, stored, instead):
            if seq >= first:
                continue
            if seq != first - 1 or len(self._events) == self._events.maxlen:
                break
            self._events.appendleft(data if isinstance(data, PastEvent) else _decoder.decode(data))
            first = seq


def decode_past(data: bytes) -> PastEvent:
    """Decode what `encode_past` made."""
    return _decoder.decode(data)


def _with_replacements(
    after: Seq, stored: list[tuple[Seq, bytes]], instead: Mapping[Seq, PastEvent]
) -> list[tuple[Seq, bytes | PastEvent]]:
    """Return all of both after a place, newest first."""
    if not instead:
        return [*reversed(stored)]
    events: dict[Seq, bytes | PastEvent] = dict(stored)
    events.update({seq: past for seq, past in instead.items() if seq > after})
    return sorted(events.items(), key=lambda item: item[0], reverse=True)
