"""What became of every message, from what each receiver saw. No IO, no clock.

A receiver keeps little: of each sender the highest number and the numbers that were skipped below it. That is exact,
since a sender's transforms are numbered without holes. What receivers kept is summed into `TransformSightings` and
`OrderSightings`, which add up over receivers and over generators; `settle_transforms` and `settle_order` judge the sum.

Invariant: every expected transform is exactly one of delivered, superseded, refused and lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

JUMP_MAX: Final = 100_000
"""A number that is this far above the highest one is none of ours: it is counted as strange, and nothing is skipped."""

NOTICE_REACH_US: Final = 1_000_000
"""A `rate_limited` notice explains what was sent up to this long before and after it: at most one a second is told."""


class TransformReceipts:
    """What one receiver saw of the transforms in its room."""

    __slots__ = ("duplicates", "highest", "out_of_order", "skipped", "strange")

    def __init__(self, senders: Iterable[str]) -> None:
        self.highest: dict[str, int] = dict.fromkeys(senders, 0)
        self.skipped: dict[str, set[int]] = {}
        self.out_of_order = 0
        self.duplicates = 0
        self.strange = 0

    def receive(self, sender: str, seq: int) -> None:
        """Take note of one transform."""
        highest = self.highest.get(sender)
        if highest == seq - 1:
            # The usual case.
            self.highest[sender] = seq
        elif highest is None or not 0 < seq < highest + JUMP_MAX:
            self.strange += 1
        elif seq > highest:
            if seq > highest + 1:
                self.skipped.setdefault(sender, set()).update(range(highest + 1, seq))
            self.highest[sender] = seq
        elif seq in self.skipped.get(sender, ()):
            self.skipped[sender].remove(seq)
            self.out_of_order += 1
        else:
            self.duplicates += 1

    def copy(self) -> "TransformReceipts":
        """Return the same again, to go on by itself."""
        copy = TransformReceipts(())
        copy.highest = self.highest.copy()
        copy.skipped = {sender: seqs.copy() for sender, seqs in self.skipped.items()}
        copy.out_of_order = self.out_of_order
        copy.duplicates = self.duplicates
        copy.strange = self.strange
        return copy


@dataclass
class TransformSightings:
    """What a number of receivers saw of the transforms, summed."""

    skipped: dict[str, Counter[int]] = field(default_factory=dict)
    """Sender -> number -> how many receivers did not get it, but got a later one."""
    highest: dict[str, Counter[int]] = field(default_factory=dict)
    """Sender -> number -> for how many receivers it is the highest that they got."""
    out_of_order: int = 0
    duplicates: int = 0
    strange: int = 0

    def add(self, receipts: TransformReceipts) -> None:
        """Add what one receiver saw."""
        for sender, seq in receipts.highest.items():
            self.highest.setdefault(sender, Counter())[seq] += 1
        for sender, seqs in receipts.skipped.items():
            self.skipped.setdefault(sender, Counter()).update(seqs)
        self.out_of_order += receipts.out_of_order
        self.duplicates += receipts.duplicates
        self.strange += receipts.strange

    def merge(self, other: "TransformSightings") -> None:
        """Add what other receivers saw."""
        for mine, theirs in ((self.skipped, other.skipped), (self.highest, other.highest)):
            for sender, counts in theirs.items():
                mine.setdefault(sender, Counter()).update(counts)
        self.out_of_order += other.out_of_order
        self.duplicates += other.duplicates
        self.strange += other.strange


@dataclass(frozen=True)
class SenderRecord:
    """What one member sent, and what it was told."""

    first_measured: int
    """Number of the first transform of the measured window."""
    last_sent: int
    """Number of the last transform that was sent; 0 when none was."""
    receivers: int
    """How many members its room has, itself among them."""
    notices_us: tuple[int, ...] = ()
    """When it was told `rate_limited` for transforms, microseconds since the start of the run."""


@dataclass(frozen=True)
class TransformTotals:
    """What became of the transforms of the measured window, for each receiver of each."""

    sent: int = 0
    """Transforms that were sent."""
    expected: int = 0
    """The sum, over the transforms sent, of the members in the sender's room."""
    delivered: int = 0
    superseded: int = 0
    """Not received, but a newer one of the same sender was: the server may merge them."""
    refused: int = 0
    """Received by nobody, and the sender was told `rate_limited` at the time."""
    lost: int = 0
    """Not received, and nothing newer either."""
    out_of_order: int = 0
    """Received after a higher one of the same sender. These are also delivered. Counted over the whole run."""
    duplicates: int = 0
    """Received more than once. Counted over the whole run."""
    strange: int = 0
    """Of nobody in the room, or with an impossible number. Counted over the whole run."""


def settle_transforms(
    senders: Mapping[str, SenderRecord],
    sightings: TransformSightings,
    transform_us: Callable[[str, int], int],
) -> TransformTotals:
    """Judge every transform of the measured window.

    Args:
        senders: all members of the run, by user id.
        sightings: of all receivers of the run, also of those whose socket closed.
        transform_us: when a sender was to send a number, microseconds since the start of the run.
    """
    sent = expected = superseded = refused = lost = 0
    for user_id, sender in senders.items():
        first, last = sender.first_measured, sender.last_sent
        if last < first:
            continue
        sent += last - first + 1
        expected += (last - first + 1) * sender.receivers
        skipped = sightings.skipped.get(user_id, Counter())
        highest = sightings.highest.get(user_id, Counter())
        # Receivers that nothing is known of (their generator died) got nothing.
        unknown = sender.receivers - highest.total()
        behind = Counter(highest)
        behind[0] += unknown
        trailing: Counter[int] = Counter()
        for seq, receivers in behind.items():
            for missed in range(max(seq + 1, first), last + 1):
                trailing[missed] += receivers
        for seq in range(first, last + 1):
            below, above = skipped[seq], trailing[seq]
            if not (below or above):
                continue
            if below + above == sender.receivers and _is_told(sender, transform_us(user_id, seq)):
                refused += below + above
            else:
                superseded += below
                lost += above
    return TransformTotals(
        sent=sent,
        expected=expected,
        delivered=expected - superseded - refused - lost,
        superseded=superseded,
        refused=refused,
        lost=lost,
        out_of_order=sightings.out_of_order,
        duplicates=sightings.duplicates,
        strange=sightings.strange,
    )


def _is_told(sender: SenderRecord, sent_us: int) -> bool:
    return any(abs(told_us - sent_us) <= NOTICE_REACH_US for told_us in sender.notices_us)


# --- the reliable order -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderTotals:
    """What became of the reliable events, over the whole run."""

    chats_sent: int = 0
    chats_acked: int = 0
    chats_refused: int = 0
    """Answered by `error`, so without effect."""
    chats_unanswered: int = 0
    """Neither acknowledged nor refused, though the sender's socket stayed open."""
    received: int = 0
    """Reliable events, summed over the receivers."""
    gaps: int = 0
    """Events that a receiver did not get though it got a later one."""
    out_of_order: int = 0
    """Events that a receiver got after a later one."""
    duplicates: int = 0
    """Events that a receiver got more than once."""
    epoch_changes: int = 0
    """Events of another epoch than the receiver was told by `room_state`."""
    mismatches: int = 0
    """Places that hold different events for different receivers, or for a receiver and the acknowledged sender."""
    acked_missing: int = 0
    """Acknowledged messages, for each open receiver that did not get it."""
    resyncs: int = 0
    """Told resets. No error in themselves: what they hide shows as `acked_missing`."""

    @property
    def errors(self) -> int:
        """The sum of what must not happen."""
        return (
            self.chats_unanswered
            + self.gaps
            + self.out_of_order
            + self.duplicates
            + self.epoch_changes
            + self.mismatches
            + self.acked_missing
        )


class OrderReceipts:
    """What one receiver saw of the reliable events of its room."""

    __slots__ = ("duplicates", "epoch", "epoch_changes", "highest", "messages", "out_of_order", "received", "skipped")

    def __init__(self) -> None:
        self.epoch = 0
        self.highest = 0
        self.skipped: set[tuple[int, int]] = set()
        self.messages: set[str] = set()
        self.received = 0
        self.out_of_order = 0
        self.duplicates = 0
        self.epoch_changes = 0

    def start_from(self, epoch: int, seq: int) -> None:
        """Take a `room_state`: the next event is `seq` + 1 of `epoch`."""
        self.epoch, self.highest = epoch, seq

    def receive(self, epoch: int, seq: int, message_id: str = "") -> None:
        """Take note of one reliable event.

        Args:
            message_id: of a chat message; empty for other events.
        """
        self.received += 1
        if message_id:
            self.messages.add(message_id)
        if epoch != self.epoch:
            self.epoch_changes += 1
            self.start_from(epoch, seq)
        elif seq > self.highest:
            if seq < self.highest + JUMP_MAX:
                self.skipped.update((epoch, missed) for missed in range(self.highest + 1, seq))
            self.highest = seq
        elif (epoch, seq) in self.skipped:
            self.skipped.remove((epoch, seq))
            self.out_of_order += 1
        else:
            self.duplicates += 1


@dataclass
class RoomOrder:
    """What stands where in one room, as its receivers and acknowledged senders saw it."""

    events: dict[tuple[int, int], str] = field(default_factory=dict)
    """(epoch, seq) -> what the event is."""
    acked: dict[str, int] = field(default_factory=dict)
    """Message id -> seq that the sender was told."""
    mismatches: int = 0

    def see(self, epoch: int, seq: int, event: str) -> None:
        """Compare what a receiver found at a place with what the others found there."""
        if self.events.setdefault((epoch, seq), event) != event:
            self.mismatches += 1

    def acknowledge(self, message_id: str, seq: int) -> None:
        """Take an `ack`."""
        if self.acked.setdefault(message_id, seq) != seq:
            self.mismatches += 1

    def merge(self, other: "RoomOrder") -> None:
        """Compare with, and add, what another generator saw of the same room."""
        self.mismatches += other.mismatches
        for (epoch, seq), event in other.events.items():
            self.see(epoch, seq, event)
        for message_id, seq in other.acked.items():
            self.acknowledge(message_id, seq)


CHAT_EVENT: Final = "chat "
"""How the description of a chat event in `RoomOrder.events` begins; its message id follows."""


@dataclass
class OrderSightings:
    """What a number of receivers saw of the reliable events, summed."""

    rooms: dict[int, RoomOrder] = field(default_factory=dict)
    open_receivers: Counter[int] = field(default_factory=Counter)
    """Room -> receivers whose socket stayed open to the end."""
    got: dict[int, Counter[str]] = field(default_factory=dict)
    """Room -> message id -> how many of the open receivers got it."""
    received: int = 0
    gaps: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    epoch_changes: int = 0
    resyncs: int = 0
    chats_sent: int = 0
    chats_refused: int = 0
    chats_unanswered: int = 0

    def room(self, room: int) -> RoomOrder:
        """Return the order of a room."""
        return self.rooms.setdefault(room, RoomOrder())

    def add(self, room: int, receipts: OrderReceipts, *, is_open: bool) -> None:
        """Add what one receiver saw. A closed one is excused from what came after, not from order and gaps before."""
        if is_open:
            self.open_receivers[room] += 1
            self.got.setdefault(room, Counter()).update(receipts.messages)
        self.received += receipts.received
        self.gaps += len(receipts.skipped)
        self.out_of_order += receipts.out_of_order
        self.duplicates += receipts.duplicates
        self.epoch_changes += receipts.epoch_changes

    def merge(self, other: "OrderSightings") -> None:
        """Add what other receivers saw."""
        for room, order in other.rooms.items():
            self.room(room).merge(order)
        self.open_receivers.update(other.open_receivers)
        for room, messages in other.got.items():
            self.got.setdefault(room, Counter()).update(messages)
        self.received += other.received
        self.gaps += other.gaps
        self.out_of_order += other.out_of_order
        self.duplicates += other.duplicates
        self.epoch_changes += other.epoch_changes
        self.resyncs += other.resyncs
        self.chats_sent += other.chats_sent
        self.chats_refused += other.chats_refused
        self.chats_unanswered += other.chats_unanswered


def settle_order(sightings: OrderSightings) -> OrderTotals:
    """Judge the reliable events of all the rooms."""
    mismatches = acked = missing = 0
    for room, order in sightings.rooms.items():
        mismatches += order.mismatches + _told_otherwise(order)
        acked += len(order.acked)
        got = sightings.got.get(room, Counter())
        missing += sum(sightings.open_receivers[room] - got[message_id] for message_id in order.acked)
    return OrderTotals(
        chats_sent=sightings.chats_sent,
        chats_acked=acked,
        chats_refused=sightings.chats_refused,
        chats_unanswered=sightings.chats_unanswered,
        received=sightings.received,
        gaps=sightings.gaps,
        out_of_order=sightings.out_of_order,
        duplicates=sightings.duplicates,
        epoch_changes=sightings.epoch_changes,
        mismatches=mismatches,
        acked_missing=missing,
        resyncs=sightings.resyncs,
    )


def _told_otherwise(order: RoomOrder) -> int:
    """Count chat messages that stand at two places, or elsewhere than their sender was told."""
    wrong = 0
    place: dict[str, tuple[int, int]] = {}
    for (epoch, seq), event in order.events.items():
        if event.startswith(CHAT_EVENT):
            message_id = event.removeprefix(CHAT_EVENT)
            told = order.acked.get(message_id, seq)
            wrong += place.setdefault(message_id, (epoch, seq)) != (epoch, seq) or told != seq
    return wrong
