"""What the clients of a chaos run saw: their observations, on disk, and the pace of each room, in memory.

Long runs see millions of events, so observations leave the memory every few seconds.
"""

from collections import defaultdict
from pathlib import Path

from msgspec import json

from loadtest.observations import AnyObservation


class Log:
    """The observations of one client. Not for two writers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new: list[AnyObservation] = []
        self._encoder = json.Encoder()

    def add(self, observation: AnyObservation) -> None:
        """Write down one observation."""
        self._new.append(observation)

    def flush(self) -> None:
        """Put on disk what is new."""
        with self.path.open("ab") as file:
            file.write(b"".join(self._encoder.encode(each) + b"\n" for each in self._new))
        self._new.clear()


class Pace:
    """When the events of each room were sequenced and seen, and how long what was sent took to come back.

    All times are milliseconds of the wall clock of this machine, which its processes share.
    """

    def __init__(self) -> None:
        self._events: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """Room -> (sequenced, first seen), each place of the order once, as first seen."""
        self._waits: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """Room -> (sent, waited)."""
        self._tops: dict[str, tuple[int, int]] = {}

    def event(self, room: str, place: tuple[int, int], sequenced_ms: float, now_ms: float) -> None:
        """Take note of an event. Places that are not above all earlier ones were seen before."""
        if place > self._tops.get(room, (0, 0)):
            self._tops[room] = place
            self._events[room].append((sequenced_ms, now_ms))

    def wait(self, room: str, sent_ms: float, now_ms: float) -> None:
        """Take note that what was sent came back."""
        self._waits[room].append((sent_ms, now_ms - sent_ms))

    def pause_ms(self, room: str, since_ms: float) -> float | None:
        """Return the time from a moment to the first sight of an event sequenced after it; None: none yet."""
        for sequenced_ms, seen_ms in reversed(self._events[room]):
            if sequenced_ms <= since_ms:
                break
            found = seen_ms
        else:
            return self._events[room][0][1] - since_ms if self._events[room] else None
        return found - since_ms if self._events[room][-1][0] > since_ms else None

    def longest_wait_ms(self, room: str, begin_ms: float, end_ms: float) -> float | None:
        """Return how long the slowest of what was sent within a window was under way; None: nothing was sent."""
        waits = [waited for sent, waited in self._waits[room] if begin_ms <= sent <= end_ms]
        return max(waits, default=None)

    def all_waits_ms(self) -> list[float]:
        """Return all the times under way of the run."""
        return [waited for waits in self._waits.values() for _, waited in waits]
