"""What one member receives: cuts the bytes into units, counts the updates, passes on the rest. No IO.

There are two ways to count, and both give the same account for the same bytes, however they are cut:

- A *reader* of the room's tape compares what comes with the tape, whole reads at once. Units that are the member's own
  (answers, pings) may stand in between. Where the tape ends, the reader writes it on.
- Any other receiver takes its units one by one. A reader becomes such a receiver, for good, with the first update that
  differs from the tape: what it received out of order, twice, or not at all is then its own.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from loadtest.accounting import TransformReceipts
from loadtest.dialect import Dialect, Units, Update
from loadtest.frames import frame_end, is_message, opcode_of, payload_of
from loadtest.latency import LatencyCounts
from loadtest.plan import WRAP_US
from loadtest.tape import Arrival, Known, Tally, Tape

_WRAP: Final = float(WRAP_US)


class Owner(Protocol):
    """Who is told what is no update."""

    def control(self, unit: bytes) -> None:
        """A unit that is no update.

        Raises:
            ValueError: it is nothing that the server should send.
        """
        ...

    def other_frame(self, opcode: int, payload: bytes) -> None:
        """A frame that is no whole message: a close, a ping or a pong, or nothing that the server should send."""
        ...

    def bad_unit(self) -> None:
        """What came is nothing that the server should send."""
        ...


class Receiver:
    """The receiving side of one member. `place` and `leave_tape` are for the tape."""

    __slots__ = (
        "_account",
        "_compared",
        "_dialect",
        "_is_stream",
        "_known",
        "_outer_rest",
        "_owner",
        "_rest",
        "_tally",
        "_tape",
        "place",
    )

    def __init__(
        self, dialect: Dialect, senders: Iterable[str], known: Known, tally: Tally, tape: Tape | None, owner: Owner
    ) -> None:
        """Begin with nothing received.

        Args:
            senders: user ids of the members of the room.
            tape: of those who receive the room's updates in the same order; used only where it is blank.
        """
        self._dialect = dialect
        self._is_stream = dialect.units is Units.STREAM
        self._known = known
        self._tally = tally
        self._owner = owner
        self._account = TransformReceipts(senders)
        """What it saw; that of a reader stands with the tape."""
        self._rest = b""
        """The beginning of a unit that is not all there, and not on the tape."""
        self._outer_rest = b""
        """The beginning of a frame that is not all there; only of a stream."""
        self._tape: Tape | None = None
        self._compared = _BLANK
        """The tape while the next byte has to follow `place`; else one that nothing is equal to."""
        self.place = 0
        if tape is not None and tape.is_blank:
            tape.add_reader(self)
            self._tape = self._compared = tape

    @property
    def is_reader(self) -> bool:
        """Whether the updates that it received are those of the tape, in the same order."""
        return self._tape is not None

    def receipts(self) -> TransformReceipts:
        """Return what it saw until now."""
        return self._account if self._tape is None else self._tape.receipts_at(self.place)

    def leave_tape(self) -> None:
        """Be a reader no more, if it is one; see `tape.Reader`."""
        tape = self._tape
        if tape is None:
            return
        self._account = tape.remove_reader(self)
        self._rest += tape.begun_unit(self.place)
        self._tape, self._compared = None, _BLANK

    def feed(self, data: bytes, now_us: float) -> None:
        """Take what was read from the socket.

        This runs for every read, so its usual case makes no further Python call.

        Args:
            data: at least one byte.
            now_us: when it was read, since the start of the run.

        Raises:
            ValueError: the stream cannot be cut into units. Nothing more can be read of it.
        """
        if self._is_stream:
            data = self._unwrap(data, now_us)
            if not data:
                return
        tape, begin = self._compared, self.place
        if tape.text.startswith(data, begin - tape.base):
            self.place = end = begin + len(data)
            tape.read_from.append(begin)
            tape.read_to.append(end)
            tape.read_us.append(now_us)
        else:
            traffic = self._tally.at(now_us)
            traffic.reads += 1
            traffic.bytes += len(data)
            data, self._rest = self._rest + data, b""
            if self._tape is None:
                self._take_singly(data, now_us)
            else:
                self._take_along(self._tape, data, now_us)

    # --- helpers --------------------------------------------------------------------------------------------------

    def _take_along(self, tape: Tape, data: bytes, now_us: float) -> None:
        """Take units as a reader, to the end or to the first update that differs from the tape."""
        data = tape.begun_unit(self.place) + data
        begin = self.place = tape.unit_begin(self.place)
        at, is_same = 0, True
        try:
            while True:
                if self.place < tape.end:
                    at += self._skip_equal(tape, data, at)
                end = self._end_of_unit(data, at)
                if end < 0:
                    break
                unit = data[at:end]
                is_at_end = self.place == tape.end
                if not is_at_end and tape.text.startswith(unit, self.place - tape.base):
                    self.place += len(unit)
                elif arrivals := self._arrivals_of(unit, now_us):
                    if not is_at_end:
                        is_same = False
                        break
                    tape.append(unit, arrivals)
                    self.place += len(unit)
                at = end
        finally:
            if self.place > begin:
                # What is noted of reads is counted when they are settled.
                tape.note(begin, self.place, now_us)
                traffic = self._tally.at(now_us)
                traffic.reads -= 1
                traffic.bytes -= self.place - begin
        if is_same:
            self._rest = data[at:]
            self._compared = _BLANK if self._rest else tape
        else:
            self.leave_tape()
            self._take_singly(data[at:], now_us)

    def _skip_equal(self, tape: Tape, data: bytes, at: int) -> int:
        """Go along the tape as far as both go, where they are equal so far; return how many bytes that were."""
        size = min(len(data) - at, tape.end - self.place)
        if not tape.text.startswith(data[at : at + size], self.place - tape.base):
            return 0
        self.place += size
        return size

    def _take_singly(self, data: bytes, now_us: float) -> None:
        """Take units one by one.

        This runs for every update of a receiver that is no reader, so its usual case is written out: `Known.get` and
        `TransformReceipts.receive`.
        """
        young, account, intended_us = self._known.young, self._account, self._tally.single_intended_us
        highest = account.highest
        unit_end = self._dialect.unit_end if self._is_stream else frame_end
        at, units, received_before = 0, 0, len(intended_us)
        try:
            while at < len(data) and (end := unit_end(data, at)) >= 0:
                unit = data[at:end]
                arrivals = young.get(unit)
                if arrivals is None:
                    arrivals = self._arrivals_of(unit, now_us)
                at = end
                if arrivals:
                    units += 1
                for sender, seq, sent_us in arrivals:
                    if highest.get(sender) == seq - 1:
                        highest[sender] = seq
                    else:
                        account.receive(sender, seq)
                    intended_us.append(sent_us)
        finally:
            self._tally.arrived(units, len(intended_us) - received_before, now_us)
        self._rest = data[at:]

    def _end_of_unit(self, data: bytes, start: int) -> int:
        if self._is_stream:
            return self._dialect.unit_end(data, start) if start < len(data) else -1
        return frame_end(data, start)

    def _arrivals_of(self, unit: bytes, now_us: float) -> Sequence[Arrival]:
        """Return the updates of a unit; a unit that has none is dealt with."""
        arrivals = self._known.get(unit)
        if arrivals is not None:
            return arrivals
        updates = self._updates_of(unit)
        if not updates:
            self._tally.at(now_us).units += 1
            return ()
        arrivals = [(sender, seq, now_us - (now_us - intended_us) % _WRAP) for sender, seq, intended_us in updates]
        self._known.put(unit, arrivals)
        return arrivals

    def _updates_of(self, unit: bytes) -> Sequence[Update]:
        if not self._is_stream:
            if not is_message(unit):
                self._owner.other_frame(opcode_of(unit), payload_of(unit))
                return ()
            unit = payload_of(unit)
        try:
            updates = self._dialect.read(unit)
            if updates is None:
                self._owner.control(unit)
        except ValueError:
            self._owner.bad_unit()
            return ()
        return updates or ()

    def _unwrap(self, data: bytes, now_us: float) -> bytes:
        """Return the contents of the frames that are all there now."""
        received = len(data)
        data, at = self._outer_rest + data, 0
        contents = []
        while (end := frame_end(data, at)) >= 0:
            frame = data[at:end]
            at = end
            if is_message(frame):
                contents.append(payload_of(frame))
            else:
                self._owner.other_frame(opcode_of(frame), payload_of(frame))
        self._outer_rest = data[at:]
        content = b"".join(contents)
        # The rest is counted with the content.
        traffic = self._tally.at(now_us)
        traffic.bytes += received - len(content)
        traffic.reads += not content
        return content


_BLANK: Final = Tape((), Tally(LatencyCounts(0)))
"""Nobody writes on it, so nothing is equal to what is on it."""
