"""Decides from what clients wrote down whether the promises held. Pure: observations in, a verdict out.

What is looked at, each under the name of its violation:

- `order`: a place (epoch, seq) of a room holds the same event for everybody; `replay_differs` where one came as replay.
- `gap`, `repeated`, `unannounced`, `went_back`: each client gets the places one after the other, beginning where its
  `room_state` says. Only a `room_state` with `recovered` false (with a `resync` before it, or without) leaves any out.
- `replay`: `recovered` brings what was missed: all of it, once, before anything else, in the epoch that was asked for.
- `duplicate`: within an epoch a message takes effect once, whatever it was sent over.
- `lost`, `answer`, `refused`: an acknowledged message is in the order where the `ack` says; a second answer equals the
  first; what was refused and not sent again is not there.
- `fifo`, `causal`: what one client sent stands in the order of sending; what was sent after another message was
  acknowledged stands behind it, whoever sent it.
- `moved_back`: no movement comes after a later one of the same join.
- `behind`: where the run ended in peace, everybody who is still connected stands at the end.

A later epoch begins only where the store lost data. What was acknowledged in an earlier one and seen by nobody, or
took effect again in a later one, is counted and is no violation. So is what was sent before anybody had begun the epoch
that took it, where all were told to begin behind it. Blocks hide events, so a run has none.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct, field

from loadtest.observations import (
    Acked,
    AnyObservation,
    Closed,
    Moved,
    Opened,
    Received,
    Refused,
    Resynced,
    Sent,
    State,
)

VIOLATIONS_MAX: Final = 1_000
"""More of one kind are counted, and not described."""

Place = tuple[int, int]
"""(epoch, seq)."""


_EITHER: Final = -1
"""Stands for the epoch of an answer that may be of the one before or of the one after."""


class Violation(Struct, frozen=True):
    """A promise that did not hold: which, for whom, and what shows it."""

    kind: str
    room: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.room}: {self.evidence}"


class Counts(Struct):
    """What a run consisted of, and what went wrong in it."""

    observations: int = 0
    events: int = 0
    """Places of all orders that somebody saw."""
    received: int = 0
    replayed: int = 0
    moved: int = 0
    sent: int = 0
    acks: int = 0
    lost_acknowledged: int = 0
    lost_with_data: int = 0
    """Acknowledged in an order that ended since the store lost data, or may have, and seen by nobody."""
    duplicates: int = 0
    again_in_later_epoch: int = 0
    silent_gaps: int = 0
    resyncs: int = 0
    resumed: int = 0
    epochs: int = 0
    violations: int = 0


class Verdict(Struct):
    """What the checker says. `violations` holds at most `VIOLATIONS_MAX`, `counts.violations` counts all."""

    counts: Counts = field(default_factory=Counts)
    violations: list[Violation] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every promise held."""
        return self.counts.violations == 0

    def add(self, kind: str, room: str, evidence: str) -> None:
        """Enter a violation."""
        self.counts.violations += 1
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(kind, room, evidence))


def check(logs: Iterable[Sequence[AnyObservation]], *, settled: bool = False) -> Verdict:
    """Look at the lists of all clients of a run.

    Args:
        settled: the run ended in peace: nothing was sent at the end, and everybody had time to receive.
    """
    verdict = Verdict()
    run = _Run(verdict, settled=settled)
    readers = [_Reader(log, run) for log in logs]
    for reader in readers:
        reader.read()
    run.check_messages()
    if settled:
        for reader in readers:
            reader.check_end()
    counts = verdict.counts
    counts.events = sum(map(len, run.orders.values()))
    counts.epochs = len(run.orders)
    return verdict


class _Message(Struct):
    """One message with an id: how often it left, and what came of it."""

    client: str
    room: str
    text: str
    first_sent_at_ms: float
    sent_count: int = 0
    refused: bool = False
    acks: list[tuple[float, int, int]] = field(default_factory=list)
    """(at_ms, epoch of the newest state there, seq). An answer has no epoch of its own: where the next thing that the
    client hears of the room is a new one, it may be of either (`_EITHER`)."""


class _Run:
    """What all lists say together."""

    def __init__(self, verdict: Verdict, *, settled: bool) -> None:
        self.verdict = verdict
        self.settled = settled
        self.orders: dict[tuple[str, int], dict[int, Received]] = {}
        self.newest: dict[str, Place] = {}
        self.messages: dict[tuple[str, str, str], _Message] = {}
        self.begun: dict[tuple[str, int], tuple[int, float]] = {}
        """(room, epoch) -> the first place from which somebody was to get all, and when the first was told so."""

    def begins(self, seen: State, start: int) -> None:
        """Somebody is to get all of a room after a place."""
        key = (seen.room, seen.epoch)
        seq, at_ms = self.begun.get(key, (start, seen.at_ms))
        self.begun[key] = min(seq, start), min(at_ms, seen.at_ms)

    def stands(self, room: str, place: Place) -> None:
        """Somebody was told that a room stands at a place."""
        if place > self.newest.get(room, (0, -1)):
            self.newest[room] = place

    def check_messages(self) -> None:
        """Look at what was sent and answered, now that the orders are known."""
        places = self._places()
        by_room: dict[str, list[_Message]] = {}
        for message in self.messages.values():
            by_room.setdefault(message.room, []).append(message)
        for room, messages in by_room.items():
            of_room = places.get(room, {})
            acked = [place for message in messages for place in self._acknowledged(message, of_room)]
            self._check_causal(messages, acked, of_room)
            self._check_fifo(messages, of_room)

    def _places(self) -> dict[str, dict[str, list[Place]]]:
        """Return where each text stands, by room; and see that it stands once in an epoch."""
        places: dict[str, dict[str, list[Place]]] = {}
        for (room, epoch), order in self.orders.items():
            of_room = places.setdefault(room, {})
            for seq, event in order.items():
                if not event.text:
                    continue
                known = of_room.setdefault(event.text, [])
                for other_epoch, other_seq in known:
                    if other_epoch == epoch:
                        self.verdict.counts.duplicates += 1
                        self.verdict.add(
                            "duplicate", room, f"{event.text!r} of {event.actor} at {epoch}/{other_seq} and {seq}"
                        )
                    else:
                        self.verdict.counts.again_in_later_epoch += 1
                known.append((epoch, seq))
        return places

    def _acknowledged(self, message: _Message, places: dict[str, list[Place]]) -> list[tuple[float, Place]]:
        """Check the answers to a message; return when it was acknowledged, and where it stands."""
        found: list[tuple[float, Place]] = []
        stands = places.get(message.text, []) if message.text else []
        if message.refused and message.sent_count == 1 and not message.acks and stands:
            self._add("refused", message, f"was refused, and stands at {stands}")
        for at_ms, epoch, seq in message.acks:
            if epoch != _EITHER and any(other != seq and of == epoch for _, of, other in message.acks):
                self._add("answer", message, f"was answered differently: {[ack[1:] for ack in message.acks]}")
                break
            if not message.text:
                continue
            here = [place for place in stands if place[1] == seq]
            if here:
                found.append((at_ms, min(here)))
            elif (
                epoch < self.newest.get(message.room, (0, 0))[0]
                or self._has_epochs(message.room)
                or self._is_before_all(message, epoch, seq)
                or self._is_of_an_earlier_epoch(message, epoch, seq)
            ):
                self.verdict.counts.lost_with_data += 1
            else:
                self.verdict.counts.lost_acknowledged += 1
                self._add("lost", message, f"acknowledged at {epoch}/{seq}; seen at {stands or 'no place'}")
        return found

    def _is_before_all(self, message: _Message, epoch: int, seq: int) -> bool:
        """Whether a message stands where everybody began its epoch or before, and was sent before anybody did."""
        begun_seq, begun_ms = self.begun.get((message.room, epoch), (0, 0.0))
        return seq <= begun_seq and message.first_sent_at_ms < begun_ms

    def _is_of_an_earlier_epoch(self, message: _Message, epoch: int, seq: int) -> bool:
        """Whether something else or nothing stands there, and it was sent before anybody was told of that epoch.

        It took effect in one that ended before anybody heard of it there; sent again, it gets the same answer.
        """
        is_other = seq in self.orders.get((message.room, epoch), {})
        is_beyond = self.settled and (epoch, seq) > self.newest.get(message.room, (0, 0))
        _, begun_ms = self.begun.get((message.room, epoch), (0, 0.0))
        had_others = any(room == message.room and other < epoch for room, other in self.begun)
        return (is_other or is_beyond) and message.first_sent_at_ms < begun_ms and had_others

    def _has_epochs(self, room: str) -> bool:
        return sum(of == room for of, _ in self.orders) > 1

    def _check_causal(
        self, messages: list[_Message], acked: list[tuple[float, Place]], places: dict[str, list[Place]]
    ) -> None:
        acked.sort()
        index, latest = 0, (0, -1)
        for message in sorted(messages, key=lambda each: each.first_sent_at_ms):
            while index < len(acked) and acked[index][0] < message.first_sent_at_ms:
                latest = max(latest, acked[index][1])
                index += 1
            stands = places.get(message.text, []) if message.text else []
            if stands and max(stands) < latest:
                self._add("causal", message, f"stands at {max(stands)}, though {latest} was acknowledged before")

    def _check_fifo(self, messages: list[_Message], places: dict[str, list[Place]]) -> None:
        """Only what was sent once: of two that were sent again, the first may have been refused unseen."""
        latest: dict[str, tuple[Place, str]] = {}
        for message in messages:
            stands = places.get(message.text, []) if message.text else []
            if message.sent_count != 1 or message.refused or len(stands) != 1:
                continue
            before, text = latest.get(message.client, ((0, -1), ""))
            if stands[0] < before:
                self._add("fifo", message, f"stands at {stands[0]}, and {text!r}, sent before it, at {before}")
            else:
                latest[message.client] = stands[0], message.text

    def _add(self, kind: str, message: _Message, evidence: str) -> None:
        self.verdict.add(kind, message.room, f"{message.text!r} of {message.client} {evidence}")


class _Standing:
    """How far a client is in a room."""

    __slots__ = ("attached", "epoch", "heartbeats", "is_repair", "last", "latest_acks", "repeating", "replay_to")

    def __init__(self) -> None:
        self.is_repair = False
        """The newest state came without the client's asking, and nothing after it."""
        self.attached = False
        self.epoch = 0
        self.last = 0
        self.replay_to = 0
        """Up to here a recovery must bring the events."""
        self.heartbeats: list[int] = []
        """What came after these numbers may come again, once for each."""
        self.repeating = 0
        """The last place that came again for a heartbeat."""
        self.latest_acks: list[tuple[_Message, int]] = []
        """The answers since the last event or state: the message, and which of its answers."""


class _Reader:
    """One client's list."""

    def __init__(self, log: Sequence[AnyObservation], run: _Run) -> None:
        self._log = log
        self._run = run
        self._verdict = run.verdict
        self._counts = run.verdict.counts
        self._rooms: dict[str, _Standing] = {}
        self._moves: dict[tuple[str, str], tuple[int, int, int]] = {}
        self._is_open = False

    def read(self) -> None:
        """Go through the list."""
        for seen in self._log:
            match seen:
                case Received():
                    self._received(seen)
                case Moved():
                    self._moved(seen)
                case Sent():
                    self._sent(seen)
                case Acked():
                    self._acked(seen)
                case Refused():
                    message = self._run.messages.get((seen.user, seen.room, seen.id))
                    if message is not None:
                        message.refused = True
                case State():
                    self._state(seen)
                case Resynced():
                    self._counts.resyncs += 1
                    # A store that came back older has the rooms read some input again.
                    self._moves = {key: moved for key, moved in self._moves.items() if key[0] != seen.room}
                case Opened() | Closed():
                    self._is_open = isinstance(seen, Opened)
                    self._moves.clear()
                    for standing in self._rooms.values():
                        standing.attached = False
                        standing.heartbeats.clear()
        self._counts.observations += len(self._log)

    def check_end(self) -> None:
        """See that a client that is still there stands at the end."""
        if not self._is_open or not self._log:
            return
        client = self._log[-1].client
        for room, standing in self._rooms.items():
            if standing.attached and (standing.epoch, standing.last) != self._run.newest[room]:
                self._verdict.add(
                    "behind", room, f"{client} ended at {standing.epoch}/{standing.last}, not {self._run.newest[room]}"
                )

    def _state(self, seen: State) -> None:
        room = self._rooms.get(seen.room)
        known = room is not None
        if room is None:
            room = self._rooms[seen.room] = _Standing()
        if known and (seen.epoch, seen.seq) < (room.epoch, room.last):
            self._add("went_back", seen, f"room_state at {seen.epoch}/{seen.seq} after {room.epoch}/{room.last}")
        self._finish_replay(room, seen, "room_state")
        start = seen.seq
        if seen.recovered:
            self._counts.resumed += 1
            # Without the client's asking it is the edge that asked, for what it missed itself.
            asked = seen.resumed_from or ((room.epoch, room.last) if known else None)
            if asked is None or asked[0] != seen.epoch or asked[1] > seen.seq:
                self._add("replay", seen, f"recovered at {seen.epoch}/{seen.seq}, from {asked}")
            else:
                start = asked[1]
        if seen.epoch != room.epoch:
            for message, number in room.latest_acks:
                at_ms, _, seq = message.acks[number]
                message.acks[number] = at_ms, _EITHER, seq
        room.latest_acks.clear()
        room.attached = True
        room.is_repair = seen.recovered and seen.resumed_from is None
        room.epoch, room.last, room.replay_to = seen.epoch, start, seen.seq
        room.repeating = 0
        self._run.stands(seen.room, (seen.epoch, seen.seq))
        self._run.begins(seen, start)

    def _received(self, seen: Received) -> None:
        self._counts.received += 1
        room = self._rooms.get(seen.room)
        self._enter(seen)
        if room is None or not room.attached or room.epoch != seen.epoch:
            where = "no room_state" if room is None or not room.attached else f"epoch {room.epoch}"
            self._add("unannounced", seen, f"{seen.name} at {seen.epoch}/{seen.seq} after {where}")
            return
        room.latest_acks.clear()
        seq = seen.seq
        if seen.replay:
            self._counts.replayed += 1
            if room.is_repair and seq <= room.last:
                # The edge asked from where it stood itself; an answer to the client may have come in between.
                room.last = seq - 1
            room.is_repair = False
            if seq <= room.last and self._is_asked_for(room, seq):
                return
        else:
            self._finish_replay(room, seen, f"live {seq}")
        if seq == room.last + 1:
            room.last = seq
        elif room.last < room.replay_to:
            self._add("replay", seen, f"{seq} where {room.last + 1} should follow, up to {room.replay_to}")
            room.last = max(seq, room.last)
        elif seq <= room.last:
            self._add("repeated", seen, f"{'replayed' if seen.replay else 'live'} {seq} after {room.last}")
        else:
            self._counts.silent_gaps += 1
            self._add("gap", seen, f"{room.epoch}/{seq} after {room.last}")
            room.last = seq

    def _enter(self, seen: Received) -> None:
        """Enter an event in its order, or compare it with what others saw there."""
        order = self._run.orders.get((seen.room, seen.epoch))
        if order is None:
            order = self._run.orders[seen.room, seen.epoch] = {}
        known = order.setdefault(seen.seq, seen)
        if known is seen:
            self._run.stands(seen.room, (seen.epoch, seen.seq))
        elif known.text != seen.text or known.name != seen.name or known.actor != seen.actor:
            kind = "replay_differs" if seen.replay or known.replay else "order"
            there = f"{known.client} had {known.name} {known.text!r} of {known.actor}"
            self._add(kind, seen, f"{seen.epoch}/{seen.seq} is {seen.name} {seen.text!r} of {seen.actor}; {there}")

    @staticmethod
    def _is_asked_for(room: _Standing, seq: int) -> bool:
        """Tell whether an event that was here already comes again because a heartbeat said so."""
        if room.repeating and seq == room.repeating + 1:
            room.repeating = seq
            return True
        if seq - 1 not in room.heartbeats:
            return False
        room.heartbeats.remove(seq - 1)
        room.repeating = seq
        return True

    def _finish_replay(self, room: _Standing, seen: State | Received, what: str) -> None:
        if room.attached and room.last < room.replay_to:
            self._add("replay", seen, f"{what} came after {room.last}, before the rest up to {room.replay_to}")
            room.last = room.replay_to

    def _moved(self, seen: Moved) -> None:
        self._counts.moved += 1
        before = self._moves.get((seen.room, seen.actor))
        now = (seen.join, seen.step, seen.number)
        if before is not None and before[0] == seen.join and (seen.step <= before[1] or seen.number <= before[2]):
            self._add(
                "moved_back", seen, f"{seen.actor} at step {seen.step} ({seen.number}) after {before[1]} ({before[2]})"
            )
        self._moves[seen.room, seen.actor] = now

    def _sent(self, seen: Sent) -> None:
        if seen.name == "heartbeat":
            room = self._rooms.get(seen.room)
            if room is not None and seen.text:
                room.heartbeats.append(int(seen.text))
            return
        self._counts.sent += 1
        if not seen.id:
            return
        key = (seen.user, seen.room, seen.id)
        message = self._run.messages.get(key)
        if message is None:
            message = self._run.messages[key] = _Message(seen.client, seen.room, seen.text, seen.at_ms)
        message.first_sent_at_ms = min(message.first_sent_at_ms, seen.at_ms)
        message.sent_count += 1

    def _acked(self, seen: Acked) -> None:
        self._counts.acks += 1
        message = self._run.messages.get((seen.user, seen.room, seen.id))
        if message is None:
            self._add("answer", seen, f"ack for {seen.id}, which was not sent")
            return
        room = self._rooms.get(seen.room)
        message.acks.append((seen.at_ms, 0 if room is None else room.epoch, seen.seq))
        if room is not None:
            room.latest_acks.append((message, len(message.acks) - 1))

    def _add(self, kind: str, seen: AnyObservation, evidence: str) -> None:
        self._verdict.add(kind, seen.room, f"{seen.client} at {seen.at_ms:.0f} ms: {evidence}")
