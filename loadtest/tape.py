"""What all members of a room receive, kept once: so that what they received can be counted by comparing bytes. No IO.

A server sends the same updates to all members of a room. A `Tape` holds them in the order in which one member after
another received them first. A member that has received exactly the tape up to some place is a *reader* of it; all that
is noted of a read is from where to where, and when. `settle` then counts the latencies of all reads together, and what
is true of the tape's updates up to a place (numbers skipped, repeated, out of order) is true of every reader at that
place: it is found out once, not for each.

That is exact as long as nobody is called a reader who received anything else. So a receiver whose bytes differ from the
tape by an update stops being a reader there (`receipts_at`), and is counted update by update from then on; see
loadtest/receiver.py.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from loadtest.accounting import TransformReceipts
from loadtest.latency import LatencyCounts

LAG_BYTES_MAX: Final = 4 << 20
"""How much of the tape is kept for its slowest reader: some seconds of a full room. Who falls back further is no reader
any more, which costs time but no truth."""

BLOCK_UPDATES_MAX: Final = 8_192
"""Updates that are counted at once. Arrays of this size stay in the cache and in the heap; greater ones are mapped anew
each time, which makes counting three times as dear."""

KNOWN_UNITS_MAX: Final = 4_000
"""Units that are looked up instead of read again: more than a second of a full room, twice (see `Known`)."""


Arrival = tuple[str, int, float]
"""One update as it was read: sender, seq, and the intended time, unwrapped (microseconds of the run)."""


class Known:
    """The updates of units that were read before, so that each is decoded once. Bounded: the oldest are forgotten."""

    def __init__(self, units_max: int = KNOWN_UNITS_MAX) -> None:
        self._units_max = units_max
        self.young: dict[bytes, Sequence[Arrival]] = {}
        """The youngest of them: what is looked up here first needs no call of `get`."""
        self._old: dict[bytes, Sequence[Arrival]] = {}

    def get(self, unit: bytes) -> Sequence[Arrival] | None:
        """Return the updates of a unit, or None where it is not known."""
        arrivals = self.young.get(unit)
        return self._old.get(unit) if arrivals is None else arrivals

    def put(self, unit: bytes, arrivals: Sequence[Arrival]) -> None:
        """Remember a unit."""
        if len(self.young) >= self._units_max:
            self._old, self.young = self.young, {}
        self.young[unit] = arrivals


@dataclass
class Traffic:
    """How much was received."""

    updates: int = 0
    units: int = 0
    reads: int = 0
    bytes: int = 0


class Tally:
    """What all the receivers of a generator add to. What readers received counts when their tape is settled."""

    def __init__(self, latency: LatencyCounts, begin_us: int = 0, end_us: int = 0) -> None:
        """Begin with nothing.

        Args:
            begin_us: beginning of the measured window, since the start of the run.
            end_us: its end; what comes then is outside.
        """
        self.latency = latency
        self.begin_us = begin_us
        self.end_us = end_us
        self.inside = Traffic()
        """Received in the window."""
        self.outside = Traffic()
        self.single_intended_us: list[float] = []
        """The updates of receivers that are no readers, since the last `settle`; `arrived` says when they came."""
        self._single_counts: list[int] = []
        self._single_us: list[float] = []

    @property
    def updates(self) -> int:
        """Updates received, in the window or not."""
        return self.inside.updates + self.outside.updates

    def at(self, now_us: float) -> Traffic:
        """Return what counts what is received at that time."""
        return self.inside if self.begin_us <= now_us < self.end_us else self.outside

    def arrived(self, units: int, updates: int, now_us: float) -> None:
        """Count a read of a receiver that is no reader; its updates are the last of `single_intended_us`."""
        traffic = self.at(now_us)
        traffic.units += units
        traffic.updates += updates
        self._single_counts.append(updates)
        self._single_us.append(now_us)

    def settle(self) -> None:
        """Count the latencies of `arrived`."""
        intended_us = np.array(self.single_intended_us)
        latencies_us = np.repeat(np.array(self._single_us), np.array(self._single_counts, np.int64)) - intended_us
        for at in range(0, len(intended_us), BLOCK_UPDATES_MAX):
            block = slice(at, at + BLOCK_UPDATES_MAX)
            self.latency.record(latencies_us[block], intended_us[block])
        self.single_intended_us.clear()
        self._single_counts.clear()
        self._single_us.clear()


class Reader(Protocol):
    """A receiver, as a tape needs it."""

    place: int
    """How many bytes of the tape it has received."""

    def leave_tape(self) -> None:
        """Stop being a reader, taking `receipts_at` its place along."""
        ...


class Tape:
    """The updates of a room as members received them, from the last that some reader has not got yet.

    `text`, `base` and the three lists of reads are public for the hot path of a receiver.
    """

    __slots__ = (
        "_account",
        "_ends",
        "_intended_us",
        "_known_to",
        "_lag_bytes_max",
        "_readers",
        "_senders",
        "_seqs",
        "_tally",
        "base",
        "read_from",
        "read_to",
        "read_us",
        "text",
    )

    def __init__(self, senders: Iterable[str], tally: Tally, lag_bytes_max: int = LAG_BYTES_MAX) -> None:
        self._lag_bytes_max = lag_bytes_max
        self.text = bytearray()
        self.base = 0
        """Place of the first byte of `text`; always the beginning of a unit."""
        self.read_from: list[int] = []
        self.read_to: list[int] = []
        self.read_us: list[float] = []
        self._tally = tally
        self._account = TransformReceipts(senders)
        """Of who has received everything before `base`."""
        # One for each unit in `text`: where it ends, and how many updates there are up to there.
        self._ends: list[int] = []
        self._known_to: list[int] = []
        # One for each update in `text`.
        self._senders: list[str] = []
        self._seqs: list[int] = []
        self._intended_us: list[float] = []
        self._readers: set[Reader] = set()

    @property
    def end(self) -> int:
        """The place behind its last byte."""
        return self.base + len(self.text)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was ever written: only then may a receiver that has got nothing become a reader."""
        return self.end == 0

    def add_reader(self, reader: Reader) -> None:
        """Take a reader that has received nothing yet, while the tape is blank."""
        assert self.is_blank, "a reader must have received all of the tape"
        self._readers.add(reader)

    def remove_reader(self, reader: Reader) -> TransformReceipts:
        """Let a reader go; return what it saw until now."""
        self._readers.remove(reader)
        return self.receipts_at(reader.place)

    def append(self, unit: bytes, arrivals: Sequence[Arrival]) -> None:
        """Write what a reader at the end received next."""
        self.text += unit
        for sender, seq, intended_us in arrivals:
            self._senders.append(sender)
            self._seqs.append(seq)
            self._intended_us.append(intended_us)
        self._ends.append(self.end)
        self._known_to.append(len(self._seqs))

    def note(self, begin: int, end: int, now_us: float) -> None:
        """Note that a reader received from `begin` to `end`."""
        self.read_from.append(begin)
        self.read_to.append(end)
        self.read_us.append(now_us)

    def unit_begin(self, place: int) -> int:
        """Return where the unit begins that `place` is in; `place` itself where it is between two units."""
        index = bisect_right(self._ends, place)
        return self._ends[index - 1] if index else self.base

    def begun_unit(self, place: int) -> bytes:
        """Return what stands between `unit_begin` and `place`."""
        return bytes(self.text[self.unit_begin(place) - self.base : place - self.base])

    def receipts_at(self, place: int) -> TransformReceipts:
        """Return what a receiver saw that has received exactly the tape up to `place`."""
        receipts = self._account.copy()
        units = bisect_right(self._ends, place)
        for index in range(self._known_to[units - 1] if units else 0):
            receipts.receive(self._senders[index], self._seqs[index])
        return receipts

    def settle(self) -> None:
        """Count all the noted reads, and forget what every reader has received."""
        self._count_reads()
        for reader in [reader for reader in self._readers if self.end - reader.place > self._lag_bytes_max]:
            reader.leave_tape()
        self._forget(min((reader.place for reader in self._readers), default=self.end))

    def _count_reads(self) -> None:
        if not self.read_us:
            return
        begins, ends = np.array(self.read_from, np.int64), np.array(self.read_to, np.int64)
        times_us = np.array(self.read_us)
        unit_ends = np.array(self._ends, np.int64)
        # A read got the units that end in it, wherever they began.
        first_unit = np.searchsorted(unit_ends, begins, side="right")
        units_to = np.searchsorted(unit_ends, ends, side="right")
        known_to = np.array([0, *self._known_to], np.int64)
        first, counts = known_to[first_unit], known_to[units_to] - known_to[first_unit]
        received_to = np.cumsum(counts)
        all_intended_us = np.array(self._intended_us)
        tally = self._tally
        at = 0
        while at < len(counts):
            received = int(received_to[at - 1]) if at else 0
            to = max(at + 1, int(np.searchsorted(received_to, received + BLOCK_UPDATES_MAX, side="right")))
            block = counts[at:to]
            # The numbers of the updates, read by read: first, first + 1, ... of each.
            begins_at = received_to[at:to] - block - received
            numbers = np.arange(int(block.sum())) + np.repeat(first[at:to] - begins_at, block)
            intended_us = all_intended_us[numbers]
            tally.latency.record(np.repeat(times_us[at:to], block) - intended_us, intended_us)
            at = to
        is_inside = (times_us >= tally.begin_us) & (times_us < tally.end_us)
        for traffic, chosen in ((tally.inside, is_inside), (tally.outside, ~is_inside)):
            traffic.updates += int(counts[chosen].sum())
            traffic.units += int((units_to - first_unit)[chosen].sum())
            traffic.reads += int(chosen.sum())
            traffic.bytes += int((ends - begins)[chosen].sum())
        self.read_from.clear()
        self.read_to.clear()
        self.read_us.clear()

    def _forget(self, place: int) -> None:
        units = bisect_right(self._ends, place)
        if not units:
            return
        known, end = self._known_to[units - 1], self._ends[units - 1]
        for sender, seq in zip(self._senders[:known], self._seqs[:known], strict=True):
            self._account.receive(sender, seq)
        del self._senders[:known], self._seqs[:known], self._intended_us[:known], self._ends[:units]
        self._known_to = [number - known for number in self._known_to[units:]]
        del self.text[: end - self.base]
        self.base = end
