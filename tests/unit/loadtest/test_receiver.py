"""However bytes are cut and whoever reads first: the account is that of a plain loop over what was sent to each."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.accounting import TransformReceipts
from loadtest.dialect import Units, Update
from loadtest.frames import BINARY, CLOSE, PING, TEXT
from loadtest.histogram import Histogram
from loadtest.latency import LatencyCounts
from loadtest.plan import WRAP_US
from loadtest.receiver import Receiver
from loadtest.tape import Known, Tally, Tape

SENDERS = ("ann", "bob", "cyd")
WARMUP_US = 40_000
WINDOW_US = (210_000, 240_000)


def frame(payload, opcode=TEXT):
    assert len(payload) < 126
    return bytes([0x80 | opcode, len(payload)]) + payload


class Plain:
    """A unit is `!` and text, or words `sender:seq:time` for the updates in it."""

    units = Units.MESSAGES

    def read(self, unit):
        if unit.startswith(b"!"):
            return None
        words = [word.split(":") for word in unit.decode().split()]
        return [Update(sender, int(seq), int(time)) for sender, seq, time in words]


class Lines(Plain):
    """The same with a line feed behind each unit; frames are cut anywhere."""

    units = Units.STREAM

    def unit_end(self, stream, start):
        return stream.find(b"\n", start) + 1 or -1


@dataclass
class Owner:
    own: list = field(default_factory=list)
    bad: int = 0

    def control(self, unit):
        if unit.startswith(b"!bad"):
            raise ValueError
        self.own.append(unit.strip())

    def other_frame(self, opcode, payload):
        self.own.append((opcode, payload))

    def bad_unit(self):
        self.bad += 1


def unit_of(*updates):
    return b" ".join(b"%s:%d:%d" % (sender.encode(), seq, us % WRAP_US) for sender, seq, us in updates)


class Room:
    """Receivers of one room, and what a plain loop makes of the same bytes."""

    def __init__(self, receivers, *, dialect=None, lag_bytes_max=10_000, units_max=1_000):
        self.tally = Tally(LatencyCounts(WARMUP_US), *WINDOW_US)
        self.tape = Tape(SENDERS, self.tally, lag_bytes_max)
        known = Known(units_max)
        self.owners = [Owner() for _ in range(receivers)]
        self.receivers = [
            Receiver(dialect or Plain(), SENDERS, known, self.tally, self.tape, owner) for owner in self.owners
        ]

    def settle(self):
        self.tape.settle()
        self.tally.settle()


def contents(receipts):
    skipped = {sender: seqs for sender, seqs in receipts.skipped.items() if seqs}
    return (receipts.highest, skipped, receipts.out_of_order, receipts.duplicates, receipts.strange)


# --- the law ------------------------------------------------------------------------------------------------------

updates = st.tuples(st.sampled_from(SENDERS), st.integers(1, 6), st.integers(0, 100_000))
shared_units = st.lists(st.lists(updates, min_size=1, max_size=3).map(lambda each: unit_of(*each)), max_size=12)
faults = st.sampled_from(["keep"] * 12 + ["lose", "double", "late", "own", "own", "other"])


@st.composite
def streams(draw):
    """Return what is sent to each receiver: the same units but for planted faults and its own ones in between."""
    units = draw(shared_units)
    sent = []
    for _ in range(draw(st.integers(1, 4))):
        mine, held = [], []
        for unit in units:
            match draw(faults):
                case "keep":
                    mine.append(unit)
                case "double":
                    mine += [unit, unit]
                case "late":
                    held.append(unit)
                case "own":
                    mine += [b"!" + unit, unit]
                case "other":
                    mine.append(unit_of(draw(updates)))
            if held and draw(st.booleans()):
                mine.append(held.pop())
        sent.append(mine + held)
    return sent


@dataclass
class Expected:
    """What a plain loop makes of the units of one receiver."""

    receipts: TransformReceipts
    own: list
    latencies: list
    units: int


def expected_of(units, read_times_us):
    """`read_times_us` says for each unit when its last byte was read."""
    expected = Expected(TransformReceipts(SENDERS), [], [], len(units))
    for unit, now_us in zip(units, read_times_us, strict=True):
        if unit.startswith(b"!"):
            expected.own.append(unit)
            continue
        for sender, seq, time_us in Plain().read(unit):
            expected.receipts.receive(sender, seq)
            expected.latencies.append((time_us, now_us - time_us))
    return expected


def wire_of(units, dialect, cuts):
    """Return the bytes for the units, and for each unit where it ends in them."""
    if dialect.units is Units.MESSAGES:
        frames = [frame(unit) for unit in units]
        return b"".join(frames), [sum(map(len, frames[: index + 1])) for index in range(len(frames))]
    # One stream, in frames that begin and end anywhere.
    text = b"".join(unit + b"\n" for unit in units)
    edges = sorted({0, len(text), *range(0, len(text), 120), *(cut % (len(text) + 1) for cut in cuts)})
    wire, place_of = b"", {}
    for begin, end in pairwise(edges):
        wire += frame(text[begin:end], BINARY)
        # A frame is read when it is all there, and all of its bytes with it.
        place_of.update(dict.fromkeys(range(begin + 1, end + 1), len(wire)))
    ends, at = [], 0
    for unit in units:
        at += len(unit) + 1
        ends.append(place_of[at])
    return wire, ends


@pytest.mark.parametrize("dialect", [Plain(), Lines()], ids=["messages", "stream"])
@given(data=st.data(), sent=streams())
def test_every_way_to_cut_and_interleave_gives_the_account_of_a_plain_loop(dialect, data, sent):
    lag_bytes_max = data.draw(st.sampled_from([30, 10_000]), label="lag")
    room = Room(len(sent), dialect=dialect, lag_bytes_max=lag_bytes_max, units_max=data.draw(st.sampled_from([2, 99])))
    cuts = data.draw(st.lists(st.integers(0, 1_000), max_size=8), label="frames")
    wires = [wire_of(units, dialect, cuts) for units in sent]
    places = [0] * len(sent)
    read_times_us = [[0] * len(units) for units in sent]
    now_us, reads = 200_000, []
    while any(place < len(wire) for place, (wire, _) in zip(places, wires, strict=True)):
        index = data.draw(st.sampled_from([n for n in range(len(sent)) if places[n] < len(wires[n][0])]))
        wire, ends = wires[index]
        size = data.draw(st.one_of(st.integers(1, 8), st.integers(1, 300)))
        begin, end = places[index], min(places[index] + size, len(wire))
        now_us += data.draw(st.integers(0, 5_000))
        reads.append((now_us, end - begin))
        room.receivers[index].feed(wire[begin:end], now_us)
        for unit, unit_end in enumerate(ends):
            if begin < unit_end <= end:
                read_times_us[index][unit] = now_us
        places[index] = end
        if data.draw(st.integers(0, 5)) == 0:
            room.settle()
    room.settle()

    all_expected = [expected_of(units, times) for units, times in zip(sent, read_times_us, strict=True)]
    for receiver, owner, expected in zip(room.receivers, room.owners, all_expected, strict=True):
        assert contents(receiver.receipts()) == contents(expected.receipts)
        assert owner.own == expected.own
    latencies = [latency for expected in all_expected for latency in expected.latencies]
    whole, seconds = Histogram(), {}
    for intended_us, latency_us in latencies:
        seconds.setdefault(intended_us // 1_000_000, Histogram()).record(latency_us)
        if intended_us >= WARMUP_US:
            whole.record(latency_us)
    counted = room.tally.latency.whole()
    assert (counted.sparse(), counted.max_us) == (whole.sparse(), whole.max_us)
    assert {second: one.sparse() for second, one in room.tally.latency.seconds().items()} == {
        second: one.sparse() for second, one in seconds.items()
    }
    for traffic, is_inside in ((room.tally.inside, True), (room.tally.outside, False)):
        at = [(us, size) for us, size in reads if (WINDOW_US[0] <= us < WINDOW_US[1]) is is_inside]
        assert (traffic.reads, traffic.bytes) == (len(at), sum(size for _, size in at))
        in_time = [us for times in read_times_us for us in times if (WINDOW_US[0] <= us < WINDOW_US[1]) is is_inside]
        assert traffic.units == len(in_time)
    assert room.tally.updates == len(latencies)


# --- who is a reader ----------------------------------------------------------------------------------------------


def run_of(first, last):
    return [unit_of((sender, seq, seq * 1_000)) for seq in range(first, last + 1) for sender in SENDERS]


def joined(units):
    return b"".join(frame(unit) for unit in units)


@pytest.mark.parametrize("size", [1, 7, 40, 1_000])
def test_receivers_of_equal_updates_stay_readers_whatever_is_their_own(size):
    room = Room(3)
    for index, receiver in enumerate(room.receivers):
        units = run_of(1, 4)
        units.insert(3 * index, b"!own")
        wire = joined(units)
        for at in range(0, len(wire), size + index):
            receiver.feed(wire[at : at + size + index], 50_000)
    room.settle()
    assert [receiver.is_reader for receiver in room.receivers] == [True] * 3
    assert [owner.own for owner in room.owners] == [[b"!own"]] * 3
    assert room.tally.updates == 3 * 12


def test_one_that_misses_an_update_is_counted_by_itself_and_the_others_go_on():
    room = Room(3)
    for receiver in room.receivers[:2]:
        receiver.feed(joined(run_of(1, 4)), 50_000)
    faulty = run_of(1, 4)
    del faulty[4]
    room.receivers[2].feed(joined(faulty), 50_000)
    room.settle()
    for receiver in room.receivers:
        receiver.feed(joined(run_of(5, 6)), 60_000)
    room.settle()
    assert [receiver.is_reader for receiver in room.receivers] == [True, True, False]
    assert [receiver.receipts().skipped for receiver in room.receivers] == [{}, {}, {"bob": {2}}]
    assert room.tally.updates == 3 * 18 - 1


def test_what_all_receive_twice_counts_for_each():
    room = Room(2)
    units = [*run_of(1, 2), *run_of(2, 2)]
    for receiver in room.receivers:
        receiver.feed(joined(units), 50_000)
    room.settle()
    assert [receiver.receipts().duplicates for receiver in room.receivers] == [3, 3]


def test_more_than_is_counted_at_once_is_counted():
    room = Room(3, lag_bytes_max=10_000_000, units_max=10_000)
    wire = joined(run_of(1, 3_000))
    sizes = (len(wire), 70_001, 1_000)
    for receiver, size in zip(room.receivers, sizes, strict=True):
        for at in range(0, len(wire), size):
            receiver.feed(wire[at : at + size], 10_000_000)
    room.settle()
    expected = Histogram()
    for seq in range(1, 3_001):
        for _ in range(3 * len(SENDERS)):
            if seq * 1_000 >= WARMUP_US:
                expected.record(10_000_000 - seq * 1_000)
    assert room.tally.updates == 3 * 9_000
    assert room.tally.latency.whole().counts == expected.counts


def test_who_comes_later_is_no_reader_and_missed_what_was_before():
    room = Room(1)
    room.receivers[0].feed(joined(run_of(1, 3)), 50_000)
    room.settle()
    late = Receiver(Plain(), SENDERS, Known(), room.tally, room.tape, Owner())
    late.feed(joined(run_of(3, 3)), 50_000)
    assert not late.is_reader
    assert late.receipts().skipped == {sender: {1, 2} for sender in SENDERS}


def test_a_reader_that_falls_back_does_not_hold_the_tape():
    room = Room(2, lag_bytes_max=100)
    wire = joined(run_of(1, 20))
    room.receivers[1].feed(wire[:25], 50_000)
    room.receivers[0].feed(wire, 50_000)
    room.settle()
    assert len(room.tape.text) == 0
    room.receivers[1].feed(wire[25:], 60_000)
    room.settle()
    assert contents(room.receivers[0].receipts()) == contents(room.receivers[1].receipts())
    assert room.tally.updates == 120


def test_who_left_for_good_keeps_what_it_saw():
    room = Room(2)
    wire = joined(run_of(1, 4))
    room.receivers[0].feed(wire, 50_000)
    room.receivers[1].feed(wire[:-1], 50_000)
    room.receivers[1].leave_tape()
    room.settle()
    assert room.receivers[0].receipts().highest == dict.fromkeys(SENDERS, 4)
    assert room.receivers[1].receipts().highest == {"ann": 4, "bob": 4, "cyd": 3}


def test_the_rest_of_an_own_unit_may_look_like_the_tape():
    room = Room(2, dialect=Lines())
    update = unit_of(("ann", 1, 1_000)) + b"\n"
    room.receivers[0].feed(frame(update), 50_000)
    for part in (b"!", update):
        room.receivers[1].feed(frame(part), 60_000)
    room.settle()
    assert room.owners[1].own == [b"!" + update.strip()]
    assert room.tally.updates == 1
    room.receivers[1].feed(frame(update), 70_000)
    room.settle()
    assert room.receivers[1].is_reader
    assert room.tally.updates == 2


# --- what is no update --------------------------------------------------------------------------------------------


def test_frames_that_are_no_messages_go_to_the_owner():
    room = Room(1)
    closing = (1012).to_bytes(2, "big") + b"later"
    room.receivers[0].feed(frame(b"hello", PING) + joined(run_of(1, 1)) + frame(closing, CLOSE), 50_000)
    assert room.owners[0].own == [(PING, b"hello"), (CLOSE, closing)]


@pytest.mark.parametrize("unit", [b"!bad", b"nonsense", b"\xff\xfe"])
def test_what_cannot_be_read_is_told_and_the_rest_goes_on(unit):
    room = Room(1)
    room.receivers[0].feed(frame(unit) + joined(run_of(1, 1)), 50_000)
    room.settle()
    assert room.owners[0].bad == 1
    assert room.tally.updates == 3


def test_the_time_in_an_update_may_have_wrapped():
    room = Room(1)
    sent_us = 3 * WRAP_US - 10
    room.receivers[0].feed(joined([unit_of(("ann", 1, sent_us))]), sent_us + 700.0)
    room.settle()
    assert list(room.tally.latency.seconds()) == [sent_us // 1_000_000]
    assert room.tally.latency.seconds()[sent_us // 1_000_000].max_us == 700


def test_known_units_are_forgotten_in_the_end():
    known = Known(units_max=2)
    for number in range(10):
        known.put(b"%d" % number, [])
    remembered = Counter(known.get(b"%d" % number) is not None for number in range(10))
    assert 2 <= remembered[True] <= 4
