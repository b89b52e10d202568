"""Judges what is kept: compares what talkers wrote down with what the database has at the end. No IO.

`loadtest/checker.py` judges the orders of lobbies, boards and inboxes, as of all rooms. What is looked at here:

- a direct message that was acknowledged is in the inboxes of both persons, and in the database once, at its place;
- kept chat that was acknowledged or seen is in the database once, at the place where it was seen;
- the revisions of a note follow each other, as they were seen and in the database, and what was acknowledged is there.

What was acknowledged, or seen, before the store lost its data may be gone; it is counted and is no violation.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from common.ids import RoomId, inbox_of, kind_of, thread_pair
from loadtest.chaos.losses import Finding
from loadtest.observations import Acked, AnyObservation, Received, Refused, Sent, State

Place = tuple[int, int]


class StoredMessage(Struct, frozen=True):
    """A row of `messages`."""

    room: str
    epoch: int
    seq: int
    text: str


class StoredRevision(Struct, frozen=True):
    """A row of `note_revisions`."""

    room: str
    note: str
    revision: int
    text: str


class Kept(Struct, frozen=True):
    """What the database has of the rooms of a run."""

    messages: list[StoredMessage] = []
    revisions: list[StoredRevision] = []


@dataclass
class Conversations:
    """What was found."""

    direct: int = 0
    """Direct messages that were acknowledged."""
    chats: int = 0
    """Kept chat that was acknowledged."""
    notes: int = 0
    """Changes of notes that were acknowledged."""
    conflicts: int = 0
    stored: int = 0
    """Messages and revisions in the database."""
    lost: list[Finding] = field(default_factory=list)
    """Acknowledged, or seen, and not where it must be."""
    lost_with_the_store: int = 0
    doubles: list[Finding] = field(default_factory=list)
    """In the database, or in an inbox, more than once."""
    doubles_with_the_store: int = 0
    misplaced: list[Finding] = field(default_factory=list)
    """Stored at another place than it was seen or acknowledged at; revisions with a hole."""

    @property
    def findings(self) -> list[Finding]:
        """All that must not be."""
        return [*self.lost, *self.doubles, *self.misplaced]


def without_threads(log: Iterable[AnyObservation]) -> list[AnyObservation]:
    """Leave out what was sent to threads: nobody is in a thread, so there is no order of it to look at."""
    return [each for each in log if not (each.room and _kind(each.room) == "dm")]


def judge(logs: Sequence[Sequence[AnyObservation]], kept: Kept, flushes_ms: Sequence[float]) -> Conversations:
    """Compare the logs of all talkers with what is kept.

    Args:
        flushes_ms: when the store lost its data.
    """
    return _Judge(logs, kept, flushes_ms).look()


MOMENT_MS: Final = 100.0
"""For what was on its way to a client."""


class _Judge:
    def __init__(self, logs: Sequence[Sequence[AnyObservation]], kept: Kept, flushes_ms: Sequence[float]) -> None:
        self._found = Conversations(stored=len(kept.messages) + len(kept.revisions))
        self._kept = kept
        self._last_flush_ms = max(flushes_ms, default=float("-inf"))
        self._acks: dict[tuple[str, str], Acked] = {}
        """(room, text) -> the first answer."""
        self._seen: dict[str, dict[str, dict[Place, Received]]] = defaultdict(lambda: defaultdict(dict))
        """Room -> text -> where it was seen, by whom first."""
        self._begun: dict[tuple[str, int], tuple[int, float]] = {}
        """(room, epoch) -> the first place behind which somebody was to get all, and when the first was told so."""
        for log in logs:
            for each in log:
                match each:
                    case State() if not each.recovered:
                        seq, at_ms = self._begun.get((each.room, each.epoch), (each.seq, each.at_ms))
                        self._begun[each.room, each.epoch] = min(seq, each.seq), min(at_ms, each.at_ms)
                    case Acked():
                        self._acks.setdefault((each.room, each.id), each)
                    case Received() if each.text:
                        self._seen[each.room][each.text].setdefault((each.epoch, each.seq), each)
                    case Refused() if each.code == "note_conflict":
                        self._found.conflicts += 1
                    case Sent() | _:
                        pass

    def look(self) -> Conversations:
        stored: dict[tuple[str, str], list[Place]] = defaultdict(list)
        for row in self._kept.messages:
            stored[row.room, row.text].append((row.epoch, row.seq))
        written = {(row.room, row.text) for row in self._kept.revisions}
        for (room, text), ack in self._acks.items():
            match _kind(room):
                case "dm":
                    self._found.direct += 1
                    self._look_into_inboxes(room, text, ack)
                    self._is_stored(ack, text, stored[room, text])
                case "lobby":
                    self._found.chats += 1
                    self._is_stored(ack, text, stored[room, text])
                case "notes":
                    self._found.notes += 1
                    if (room, text) not in written:
                        self._lost(
                            ack.at_ms, f"the acknowledged change {text} of {room} is no revision of the database"
                        )
        for (room, text), places in stored.items():
            self._count(f"{text} of {room} is in the database", places)
        for room in [room for room in self._seen if _kind(room) == "lobby"]:
            self._look_at_lobby(room, stored)
        self._look_at_revisions()
        return self._found

    def _look_into_inboxes(self, room: str, text: str, ack: Acked) -> None:
        pair = thread_pair(RoomId(room))
        assert pair is not None
        for person in pair:
            places = sorted(self._seen[inbox_of(person)].get(text, {}))
            if not places and self._is_before_all(inbox_of(person), ack.at_ms):
                self._found.lost_with_the_store += 1
            elif not places:
                self._lost(ack.at_ms, f"{text} of {room} was acknowledged, and {person} has never heard it")
            self._count(f"{text} of {room} is in the inbox of {person}", places)

    def _is_stored(self, ack: Acked, text: str, places: list[Place]) -> None:
        if not places:
            self._lost(ack.at_ms, f"{text} of {ack.room} was acknowledged, and is not in the database")
        elif all(seq != ack.seq for _, seq in places) and not self._was_flushed(ack.at_ms):
            found = f"{text} of {ack.room} was acknowledged at {ack.seq}, and is stored at {places}"
            self._found.misplaced.append(Finding(ack.at_ms, found))

    def _look_at_lobby(self, room: str, stored: dict[tuple[str, str], list[Place]]) -> None:
        for text, places in self._seen[room].items():
            for place, seen in places.items():
                if place not in stored[room, text]:
                    self._lost(
                        seen.at_ms, f"{text} was seen at {place} of {room}, and is stored at {stored[room, text]}"
                    )

    def _look_at_revisions(self) -> None:
        for room in [room for room in self._seen if _kind(room) == "notes"]:
            events = sorted((place, seen) for places in self._seen[room].values() for place, seen in places.items())
            last_epoch, last = 0, 0
            for (epoch, seq), seen in events:
                # A board that lost its last writes goes on from an earlier revision; never from a later one, but for
                # those that it took in its new epoch before it had told anybody of it.
                unheard, _ = self._begun.get((room, epoch), (0, 0.0))
                follows = seen.revision == last + 1 if epoch == last_epoch else seen.revision <= last + 1 + unheard
                if last and not follows:
                    found = f"revision {seen.revision} after {last} at {(epoch, seq)} of {room}"
                    self._found.misplaced.append(Finding(seen.at_ms, found))
                last_epoch, last = epoch, seen.revision
        revisions: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row in self._kept.revisions:
            revisions[row.room, row.note].append(row.revision)
        for (room, note), numbers in revisions.items():
            if sorted(numbers) != list(range(1, len(numbers) + 1)):
                found = f"revisions of {note} of {room} in the database have a hole: {sorted(numbers)[-5:]}"
                self._found.misplaced.append(Finding(0.0, found))

    def _count(self, what: str, places: Sequence[Place]) -> None:
        if len(places) <= 1:
            return
        if len({epoch for epoch, _ in places}) == len(places) and self._last_flush_ms > 0:
            self._found.doubles_with_the_store += 1
        else:
            self._found.doubles.append(Finding(0.0, f"{what} at {places}"))

    def _lost(self, at_ms: float, text: str) -> None:
        if self._was_flushed(at_ms):
            self._found.lost_with_the_store += 1
        else:
            self._found.lost.append(Finding(at_ms, text))

    def _is_before_all(self, room: str, at_ms: float) -> bool:
        """Whether a room, after the store lost its data, told of an epoch only then, and had taken something in it."""
        return any(
            of == room and seq > 0 and told_ms > self._last_flush_ms and at_ms <= told_ms + MOMENT_MS
            for (of, _), (seq, told_ms) in self._begun.items()
        )

    def _was_flushed(self, at_ms: float) -> bool:
        """Whether the store lost its data after that. A moment is allowed for what was on its way to a client."""
        return at_ms <= self._last_flush_ms + MOMENT_MS


def _kind(room: str) -> str:
    return kind_of(RoomId(room))
