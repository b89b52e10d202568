"""What clients saw of the reliable events of a room, through lost connections and resumes, and what to make of it.

A client notes little: where it stands, and each breach of the order on the way there. That is exact, since places are
contiguous within an epoch: who stands at a place, and had no gap, has seen everything up to it. What stands at each
place is noted once for all clients of a room. `judge` sums up. No IO, no clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Place = tuple[int, int]
"""(epoch, seq)."""

NOWHERE: Final[Place] = (0, 0)


class Following:
    """What one client saw of its room."""

    __slots__ = (
        "duplicates",
        "epoch",
        "epoch_changes",
        "is_asking",
        "not_recovered",
        "out_of_order",
        "received",
        "replayed",
        "resyncs",
        "seq",
        "skipped",
    )

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0
        """The last place seen; (0, 0) before the first `room_state`."""
        self.is_asking = False
        """A `join_room` with `resume` has no answer yet."""
        self.received = 0
        """Reliable events, those that were replayed among them."""
        self.replayed = 0
        self.skipped: set[Place] = set()
        """Places that were left out, and did not come later."""
        self.out_of_order = 0
        self.duplicates = 0
        self.epoch_changes = 0
        """Events of another epoch than the client was told."""
        self.not_recovered = 0
        """Resumes that were answered by a new state, and no replay."""
        self.resyncs = 0
        """Told resets."""

    def receive(self, epoch: int, seq: int, *, replay: bool) -> None:
        """Take note of one reliable event."""
        self.received += 1
        if replay:
            self.replayed += 1
        if seq == self.seq + 1 and epoch == self.epoch:
            self.seq = seq
        elif epoch != self.epoch:
            self.epoch_changes += 1
            self.epoch, self.seq = epoch, seq
        elif seq > self.seq:
            self.skipped.update((epoch, missed) for missed in range(self.seq + 1, seq))
            self.seq = seq
        elif (epoch, seq) in self.skipped:
            self.skipped.remove((epoch, seq))
            self.out_of_order += 1
        else:
            self.duplicates += 1

    def receive_run(self, epoch: int, first: int, last: int, *, replay: bool) -> bool:
        """Take note of the reliable events from one place to another.

        Returns: whether they follow on what was seen; else nothing is noted, and they are to be taken one by one.
        """
        if first != self.seq + 1 or epoch != self.epoch:
            return False
        self.seq = last
        self.received += last - first + 1
        if replay:
            self.replayed += last - first + 1
        return True

    def begin(self, epoch: int, seq: int, *, recovered: bool) -> None:
        """Take a `room_state`. Where it says `recovered`, what was missed follows, and the place stays as it is."""
        if recovered:
            if epoch != self.epoch:
                self.epoch_changes += 1
        else:
            self.not_recovered += self.is_asking
            self.epoch, self.seq = epoch, seq
        self.is_asking = False


@dataclass
class RoomRecord:
    """What stands where in one room, as all its clients saw it, and what they were acknowledged."""

    events: dict[Place, str] = field(default_factory=dict)
    """What the event at a place is."""
    places: dict[str, Place] = field(default_factory=dict)
    """Id of a message of ours -> where it stands; in the last epoch that has it."""
    acked: dict[str, Place] = field(default_factory=dict)
    """Id of a message of ours -> the epoch in which the sender was, and the `seq` that it was told."""
    begins: dict[int, int] = field(default_factory=dict)
    """Epoch -> the lowest `seq` at which anybody began it."""
    mismatches: int = 0
    """Places with two events, and messages that stand elsewhere than their sender was told."""
    doubled: int = 0
    """Messages at two places of one epoch."""
    again: int = 0
    """Messages in two epochs: sent again after the first was lost."""

    def see(self, place: Place, event: str, message_id: str = "") -> None:
        """Note what a client found at a place. The same again changes nothing."""
        if self.events.setdefault(place, event) != event:
            self.mismatches += 1
        if not message_id:
            return
        before = self.places.setdefault(message_id, place)
        if before != place:
            self.places[message_id] = max(before, place)
            if before[0] == place[0]:
                self.doubled += 1
            else:
                self.again += 1

    def acknowledge(self, message_id: str, place: Place) -> None:
        """Note an `ack`. A second one of the same epoch must name the same place."""
        before = self.acked.setdefault(message_id, place)
        if before[0] != place[0]:
            self.acked[message_id] = max(before, place)
        elif before != place:
            self.mismatches += 1

    def begin(self, place: Place) -> None:
        """Note where a client begins anew: it hears what comes behind it."""
        epoch, seq = place
        self.begins[epoch] = min(seq, self.begins.get(epoch, seq))

    @property
    def end(self) -> Place:
        """The last place that anybody saw."""
        return max(self.events, default=NOWHERE)

    def lost(self) -> list[tuple[str, Place]]:
        """Return the messages that were acknowledged, and stand at no place that anybody saw."""
        return [(message_id, place) for message_id, place in self.acked.items() if message_id not in self.places]

    def told_otherwise(self) -> int:
        """Count the messages that stand elsewhere than their sender was told, in the same epoch."""
        return sum(
            told[0] == self.places[message_id][0] and told[1] != self.places[message_id][1]
            for message_id, told in self.acked.items()
            if message_id in self.places
        )


@dataclass(frozen=True)
class Verdict:
    """What became of the reliable events of a run. All are counts."""

    acked: int = 0
    received: int = 0
    """Summed over the clients."""
    replayed: int = 0
    lost: int = 0
    """Acknowledged, and seen by nobody."""
    gone: int = 0
    """Likewise, but in an epoch that ended meanwhile: the store lost it."""
    unheard: int = 0
    """Likewise, but it stands before the place at which everybody began the epoch, so nobody was to hear it."""
    missing: int = 0
    """Events that are known, summed over the clients that have not got them in the end."""
    gaps: int = 0
    """Events that a client did not get though it got a later one."""
    out_of_order: int = 0
    duplicates: int = 0
    """Events that a client got twice."""
    doubled: int = 0
    """Messages that took effect twice in one epoch."""
    again: int = 0
    """Messages that took effect in two epochs."""
    mismatches: int = 0
    """Places that are not the same event for everybody, senders included."""
    epoch_changes: int = 0
    """Events of an epoch that the client was not told of."""
    not_recovered: int = 0
    """Resumes that were answered by a new state."""
    resyncs: int = 0

    def failures(self, *, store_may_lose: bool = False, ended: bool = True) -> list[str]:
        """Return what must not have happened, by name, a line each.

        Args:
            store_may_lose: Redis lost data. Then what was acknowledged before may be gone, be there again in the new
                epoch, or stand where all begin behind it, and a resume need not be recovered (docs/guarantees.md).
            ended: nothing was under way any more.
        """
        counted = [
            (self.lost * ended, "acknowledged messages lost"),
            (self.missing * ended, "events missing at the end"),
            (self.gaps, "gaps that were not told"),
            (self.out_of_order, "events out of order"),
            (self.duplicates, "events received twice"),
            (self.doubled, "messages that took effect twice"),
            (self.mismatches, "places that are not the same for everybody"),
            (self.epoch_changes, "events of an epoch that was not told"),
        ]
        if not store_may_lose:
            counted += [
                (self.gone, "acknowledged messages gone with their epoch"),
                (self.unheard, "acknowledged messages that nobody was to hear"),
                (self.again, "messages that took effect in two epochs"),
                (self.not_recovered, "resumes not recovered"),
            ]
        return [f"{count:,} {what}" for count, what in counted if count]


def judge(records: Mapping[str, RoomRecord], followings: Iterable[tuple[str, Following]]) -> Verdict:
    """Sum up.

    Args:
        records: by room id.
        followings: of all clients that are in their room at the end, each with the id of the room.
    """
    lost = gone = unheard = received = replayed = missing = gaps = out_of_order = duplicates = 0
    epoch_changes = not_recovered = resyncs = 0
    ends = {room_id: record.end for room_id, record in records.items()}
    for room_id, record in records.items():
        for _, (epoch, seq) in record.lost():
            if epoch < ends[room_id][0]:
                gone += 1
            elif seq <= record.begins.get(epoch, 0):
                unheard += 1
            else:
                lost += 1
    for room_id, following in followings:
        epoch, seq = ends.get(room_id, NOWHERE)
        missing += max(0, seq - following.seq) if epoch == following.epoch else seq * (epoch > following.epoch)
        received += following.received
        replayed += following.replayed
        gaps += len(following.skipped)
        out_of_order += following.out_of_order
        duplicates += following.duplicates
        epoch_changes += following.epoch_changes
        not_recovered += following.not_recovered
        resyncs += following.resyncs
    return Verdict(
        acked=sum(len(record.acked) for record in records.values()),
        received=received,
        replayed=replayed,
        lost=lost,
        gone=gone,
        unheard=unheard,
        missing=missing,
        gaps=gaps,
        out_of_order=out_of_order,
        duplicates=duplicates,
        doubled=sum(record.doubled for record in records.values()),
        again=sum(record.again for record in records.values()),
        mismatches=sum(record.mismatches + record.told_otherwise() for record in records.values()),
        epoch_changes=epoch_changes,
        not_recovered=not_recovered,
        resyncs=resyncs,
    )
