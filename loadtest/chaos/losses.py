"""Counts what a room's clients lost, saw twice or missed, each with its time, so that it can be laid at a fault's door.

`loadtest/checker.py` is the judge; this tells in which minute to look. It reads the observations of one room at a
time. No IO.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from loadtest.observations import Acked, AnyObservation, Closed, Received, Resynced, Sent, State

Place = tuple[int, int]

REPLICATION_LAG_MS: Final = 1_000.0
"""What was acknowledged so long before a primary was killed must have reached its replica."""


@dataclass(frozen=True)
class Finding:
    """Something that must not be. `at_ms` is on the clock of the observations."""

    at_ms: float
    text: str


@dataclass
class Losses:
    """What was found in one room, or in all."""

    sent: int = 0
    acknowledged: int = 0
    lost: list[Finding] = field(default_factory=list)
    """Acknowledged, and seen by nobody."""
    lost_with_the_store: int = 0
    """The same, in an epoch that ended because the store lost its data, or just before a failover; or in the next one,
    where everybody began behind it, and was told to."""
    duplicates: list[Finding] = field(default_factory=list)
    """At two places of the order."""
    duplicates_with_the_store: int = 0
    """The same, where the ids that were remembered went with the store's data."""
    gaps: list[Finding] = field(default_factory=list)
    """Places that a client did not get, and of which it was not told."""
    forks: list[Finding] = field(default_factory=list)
    """Places at which two events were seen, or one was seen and another acknowledged: two writers in one epoch."""

    def add(self, other: "Losses") -> None:
        """Add what was found elsewhere."""
        self.sent += other.sent
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.lost_with_the_store += other.lost_with_the_store
        self.duplicates += other.duplicates
        self.duplicates_with_the_store += other.duplicates_with_the_store
        self.gaps += other.gaps
        self.forks += other.forks

    @property
    def findings(self) -> list[Finding]:
        """All that must not be."""
        return [*self.lost, *self.duplicates, *self.gaps, *self.forks]


def find_losses(
    logs: Sequence[Iterable[AnyObservation]], flushes_ms: Sequence[float], failovers_ms: Sequence[float] = ()
) -> Losses:
    """Look through the logs of all clients of a room.

    Args:
        flushes_ms: when the store lost its data.
        failovers_ms: when it may have lost what a replica did not have yet.
    """
    return _Room(flushes_ms, failovers_ms).look(logs)


class _Room:
    def __init__(self, flushes_ms: Sequence[float], failovers_ms: Sequence[float]) -> None:
        self._losses = Losses()
        self._flushes_ms = flushes_ms
        self._failovers_ms = failovers_ms
        self._events: dict[Place, tuple[str, str, str]] = {}
        self._places: dict[str, set[Place]] = {}
        self._acks: dict[str, tuple[Place, float]] = {}
        self._first_seen_ms: dict[int, float] = {}
        self._begun_at: dict[int, int] = {}
        """Epoch -> the first place from which a client was to get all."""
        self._sent: set[str] = set()

    def look(self, logs: Sequence[Iterable[AnyObservation]]) -> Losses:
        for log in logs:
            self._look_at(log)
        losses = self._losses
        losses.sent, losses.acknowledged = len(self._sent), len(self._acks)
        for message_id, (place, at_ms) in self._acks.items():
            if message_id not in self._places:
                ended = self._was_ended(place[0], self._flushes_ms) or self._is_before_failover(at_ms)
                if ended or self._is_before_all(place):
                    losses.lost_with_the_store += 1
                else:
                    losses.lost.append(Finding(at_ms, f"{message_id} was acknowledged at {place}, and nobody saw it"))
            elif self._is_of_another(message_id, place):
                losses.forks.append(Finding(at_ms, f"{message_id} was acknowledged at the place of another: {place}"))
        for text, places in self._places.items():
            self._count_places(text, sorted(places))
        return losses

    def _count_places(self, text: str, places: list[Place]) -> None:
        for earlier, later in pairwise(places):
            ends_ms = [*self._flushes_ms, *self._failovers_ms]
            if earlier[0] != later[0] and self._was_ended(earlier[0], ends_ms):
                self._losses.duplicates_with_the_store += 1
            else:
                at_ms = self._first_seen_ms.get(later[0], 0.0)
                self._losses.duplicates.append(Finding(at_ms, f"{text} stands at {earlier} and at {later}"))

    def _was_ended(self, epoch: int, losses_ms: Sequence[float]) -> bool:
        """Whether an epoch had begun before a loss of the store's data, which has ended it."""
        begun_ms = self._first_seen_ms.get(epoch, 0.0)
        return any(begun_ms <= loss_ms for loss_ms in losses_ms)

    def _is_of_another(self, message_id: str, place: Place) -> bool:
        """Whether something else stands where a message was acknowledged.

        An answer has no epoch: one that came again after a failover, or for a message that was sent again, may be
        of the epoch in which the message was heard, when the client stands in a later one already.
        """
        epoch, seq = place
        is_earlier = any(of < epoch and at == seq for of, at in self._places[message_id])
        return place in self._events and self._events[place][2] != message_id and not is_earlier

    def _is_before_failover(self, acked_ms: float) -> bool:
        return any(abs(acked_ms - failover_ms) <= REPLICATION_LAG_MS for failover_ms in self._failovers_ms)

    def _is_before_all(self, place: Place) -> bool:
        """Whether every client began an epoch at that place or behind it: then nobody was to hear of it."""
        return place[1] <= self._begun_at.get(place[0], 0)

    def _look_at(self, log: Iterable[AnyObservation]) -> None:
        at: Place | None = None
        must_hear_state = True
        for each in log:
            match each:
                case Sent():
                    self._sent.add(each.id)
                case State():
                    self._first_seen(each.epoch, each.at_ms)
                    at = (each.resumed_from or at) if each.recovered else (each.epoch, each.seq)
                    if at is not None:
                        self._begun_at[at[0]] = min(at[1], self._begun_at.get(at[0], at[1]))
                    must_hear_state = False
                case Acked() if at is not None:
                    self._acks[each.id] = ((at[0], each.seq), each.at_ms)
                case Resynced() | Closed():
                    must_hear_state = True
                case Received():
                    at = self._received(each, at, must_hear_state)
                case _:
                    pass

    def _received(self, event: Received, at: Place | None, must_hear_state: bool) -> Place | None:
        place = (event.epoch, event.seq)
        content = (event.name, event.actor, event.text)
        self._first_seen(event.epoch, event.at_ms)
        if self._events.setdefault(place, content) != content:
            found = f"{event.client} saw {content} at {place}, others {self._events[place]}"
            self._losses.forks.append(Finding(event.at_ms, found))
        if event.name == "chat_broadcast":
            self._places.setdefault(event.text, set()).add(place)
        if must_hear_state or at is None:
            found = f"{event.client} received {place} without knowing where it stands"
            self._losses.gaps.append(Finding(event.at_ms, found))
        elif event.epoch != at[0] or event.seq > at[1] + 1:
            self._losses.gaps.append(Finding(event.at_ms, f"{event.client} received {place} after {at}"))
        elif event.seq <= at[1]:
            self._losses.duplicates.append(Finding(event.at_ms, f"{event.client} received {place} after {at}"))
            return at
        return place

    def _first_seen(self, epoch: int, at_ms: float) -> None:
        self._first_seen_ms[epoch] = min(at_ms, self._first_seen_ms.get(epoch, at_ms))
