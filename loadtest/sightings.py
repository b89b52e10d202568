"""Reliable events as many receivers got them: each text of bytes is decoded once, and looked up by the others.

So is what was read at once (`Run`). Arrivals are only noted; `Sightings.settle` counts them, when the load is over.
No IO.
"""

from typing import Final

import numpy as np

from loadtest.latency import Integers, LatencyCounts

MEMO_FRAMES_MAX: Final = 20_000
"""Frames that are kept decoded. Who gets one later than so many others decodes it again."""

NEVER_US: Final = 1 << 62


class Sighting:
    """A reliable event that came as one text of bytes, and when it was received."""

    __slots__ = ("arrivals_us", "epoch", "intended_us", "last_us", "message_id", "receivers", "replay", "seq")

    def __init__(self, epoch: int, seq: int, message_id: str, intended_us: int, *, replay: bool) -> None:
        self.epoch = epoch
        self.seq = seq
        self.message_id = message_id
        """Of ours; empty for others."""
        self.intended_us = intended_us
        """When it was to be sent, microseconds since the start of the run; -1 where it does not say."""
        self.replay = replay
        self.arrivals_us: list[int] = []
        """Those that are not settled yet."""
        self.receivers = 0
        """How many received it, as far as it is settled."""
        self.last_us = 0
        """When the last of them did."""


class Run:
    """Reliable events that follow each other, and came in one read."""

    __slots__ = ("arrivals_us", "epoch", "events", "first", "intended_us", "last", "replay")

    def __init__(self, events: list[Sighting]) -> None:
        self.events = events
        self.epoch = events[0].epoch
        self.replay = events[0].replay
        self.first = events[0].seq
        self.last = events[-1].seq
        self.intended_us = max(event.intended_us for event in events)
        """When the last of them was to be sent; -1 where none says so."""
        self.arrivals_us: list[int] = []
        """When those received it who knew it from others, as far as it is not settled yet."""

    @staticmethod
    def is_one(events: list[Sighting]) -> bool:
        """Whether these follow each other without a gap."""
        first = events[0]
        return all(
            event.seq == first.seq + number and event.epoch == first.epoch and event.replay == first.replay
            for number, event in enumerate(events)
        )


class Sightings:
    """All that was received, by its bytes."""

    def __init__(self, frames_max: int = MEMO_FRAMES_MAX) -> None:
        self._frames_max = frames_max
        self._events: dict[bytes, Sighting] = {}
        self._runs: dict[bytes, Run] = {}
        self._settled: list[tuple[Integers, Integers]] = []
        """(intended, arrival) of chat that was received as it was said, microseconds."""

    def find(self, frame: bytes) -> Sighting | None:
        """Return the event that came as a frame before."""
        return self._events.get(frame)

    def keep(self, frame: bytes, event: Sighting) -> None:
        """Keep an event, for the others who get the same frame."""
        if len(self._events) >= self._frames_max:
            self._forget()
        self._events[frame] = event

    def kept(self) -> list[Sighting]:
        """Return the events, settled; the earliest are missing where there were very many."""
        self.settle()
        return list(self._events.values())

    def run_of(self, data: bytes) -> Run | None:
        """Return what was read by somebody else before."""
        return self._runs.get(data)

    def keep_run(self, data: bytes, events: list[Sighting]) -> None:
        """Keep what was read, for the others."""
        if Run.is_one(events):
            if len(self._runs) >= self._frames_max:
                self._forget()
            self._runs[data] = Run(events)

    def settle(self) -> None:
        """Count what was received until now. Takes a while after much."""
        # An event may be forgotten as a frame, and stand in a run that was kept right after.
        events = set(self._events.values())
        for run in self._runs.values():
            if run.arrivals_us:
                events.update(run.events)
                for event in run.events:
                    event.arrivals_us += run.arrivals_us
                run.arrivals_us = []
        intended_us: list[int] = []
        counts: list[int] = []
        arrivals_us: list[int] = []
        for event in events:
            if not event.arrivals_us:
                continue
            event.receivers += len(event.arrivals_us)
            event.last_us = max(event.last_us, *event.arrivals_us)
            if event.intended_us >= 0 and not event.replay:
                intended_us.append(event.intended_us)
                counts.append(len(event.arrivals_us))
                arrivals_us += event.arrivals_us
            event.arrivals_us = []
        if arrivals_us:
            self._settled.append((np.repeat(np.array(intended_us), counts), np.array(arrivals_us)))

    def latencies(self, begin_us: int = 0, end_us: int = NEVER_US) -> LatencyCounts:
        """Return the latencies of chat that was received as it was said: of what was to be said from one time to
        another, from then on. Their seconds count from `begin_us`."""
        self.settle()
        found = LatencyCounts(0)
        for intended_us, arrivals_us in self._settled:
            chosen = (intended_us >= begin_us) & (intended_us < end_us)
            latencies_us = (arrivals_us - intended_us)[chosen].astype(np.float64)
            found.record(latencies_us, (intended_us[chosen] - begin_us).astype(np.float64))
        return found

    def _forget(self) -> None:
        self.settle()
        self._events.clear()
        self._runs.clear()
