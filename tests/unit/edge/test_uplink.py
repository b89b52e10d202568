"""From connections to the input streams: in order, each once, within bounds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from common.commands import AnyRoomCommand, Disconnect, EdgeClosed, InputBatch, decode_batch
from common.errors import BusUnavailable
from common.ids import ConnNumber, RoomId, Shard
from common.ring import shard_of
from edge.uplink import (
    BUSY_POLL_MS,
    COMMANDS_PER_BATCH_MAX,
    PAUSE_MS_MIN,
    READ_LEAD_MS,
    READ_LEAD_SHARE,
    READ_NEWS_MS,
    RETRY_MS,
    TOGETHER_MS,
    Uplink,
)
from tests.unit.clock import LoopClock, drive, turns
from tests.unit.stage import E1, HALL, START_MS, chat

SHARDS = 4
HERE = shard_of(HALL, SHARDS)
YARD = next(RoomId(f"yard{n}") for n in range(20) if shard_of(RoomId(f"yard{n}"), SHARDS) != HERE)
THERE = shard_of(YARD, SHARDS)


class Bus:
    """The two calls that an uplink makes, on streams that nobody reads unless told."""

    def __init__(self) -> None:
        self.streams: dict[Shard, list[bytes]] = {Shard(shard): [] for shard in range(SHARDS)}
        self.calls: list[list[tuple[Shard, bytes]]] = []
        self.down = 0
        """So many calls fail from now on."""
        self.loses_replies = False
        """Those that fail have taken effect all the same."""
        self.gate = asyncio.Event()
        self.gate.set()

    async def append_inputs(self, appends: Sequence[tuple[Shard, bytes]]) -> list[int]:
        await self.gate.wait()
        self.calls.append(list(appends))
        failing, self.down = self.down > 0, max(0, self.down - 1)
        if not failing or self.loses_replies:
            for shard, data in appends:
                self.streams[shard].append(data)
        if failing:
            raise BusUnavailable("no answer")
        return [len(self.streams[shard]) for shard, _ in appends]

    async def input_lengths(self, shards: Sequence[Shard]) -> list[int]:
        if self.down:
            self.down -= 1
            raise BusUnavailable("no answer")
        return [len(self.streams[shard]) for shard in shards]

    def batches(self, shard: Shard = HERE) -> list[InputBatch]:
        return [decode_batch(data) for data in self.streams[shard]]


class Line:
    """An uplink under way."""

    def __init__(self, *, commands_max: int = 1_000, batches_max: int = 1_000) -> None:
        self.bus = Bus()
        self.trouble: list[BusUnavailable] = []
        self.uplink = Uplink(
            E1,
            self.bus,  # type: ignore[arg-type]
            LoopClock(),
            shards=SHARDS,
            commands_max=commands_max,
            batches_max=batches_max,
            on_trouble=self.trouble.append,
        )

    def offer(self, number: int = 1, room: RoomId = HALL, *, must: bool = False) -> bool:
        return self.uplink.offer(room, lost(number, room), must=must)

    def expect_read(self, rooms: list[RoomId], pause_ms: float) -> None:
        self.uplink.expect_read(rooms, LoopClock().monotonic_ms() + pause_ms, pause_ms)

    async def emptied(self) -> None:
        """Wait until nothing waits here, without asking for it; to a tenth of a ms."""
        while self.uplink.pending_count:  # noqa: ASYNC110 - on a loop whose time jumps
            await asyncio.sleep(0.0001)

    def taken(self, shard: Shard = HERE) -> list[int]:
        """Return the connections named in what is in a stream, each batch once, in order."""
        seen: dict[int, list[int]] = {}
        for batch in self.bus.batches(shard):
            seen.setdefault(batch.number, [command.conn for command in batch.commands])  # type: ignore[union-attr]
        assert list(seen) == sorted(seen) == list(range(1, len(seen) + 1))
        return [number for numbers in seen.values() for number in numbers]


def lost(number: int, room: RoomId = HALL) -> AnyRoomCommand:
    return Disconnect(room, ConnNumber(number))


def lead_ms(pause_ms: float) -> float:
    return READ_LEAD_MS + READ_LEAD_SHARE * pause_ms


def run(course: Callable[[Line], Awaitable[None]], **bounds: int) -> None:
    """Run a course beside an uplink."""

    async def beside() -> None:
        line = Line(**bounds)
        task = asyncio.create_task(line.uplink.run())
        try:
            await course(line)
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    drive(beside())


def test_what_comes_in_one_turn_of_the_loop_is_one_batch() -> None:
    async def course(line: Line) -> None:
        assert line.uplink.offer(HALL, chat(1), must=False)
        assert line.offer(2)
        await line.uplink.sent()
        (batch,) = line.bus.batches()
        assert batch == InputBatch(E1, 1, START_MS, [chat(1), lost(2)])
        assert (line.uplink.batches, line.uplink.commands, line.uplink.pending_count) == (1, 2, 0)

    run(course)


def test_each_shard_has_its_batch_and_its_numbers() -> None:
    async def course(line: Line) -> None:
        line.offer(1)
        line.offer(2, YARD)
        await line.uplink.sent()
        line.offer(3)
        await line.uplink.sent()
        assert [batch.number for batch in line.bus.batches()] == [1, 2]
        assert [batch.number for batch in line.bus.batches(THERE)] == [1]
        assert [len(call) for call in line.bus.calls] == [2, 1]
        assert sorted(line.uplink.used_shards) == sorted([HERE, THERE])

    run(course)


def test_what_comes_during_a_flush_gathers_for_the_next_in_order() -> None:
    async def course(line: Line) -> None:
        line.bus.gate.clear()
        line.offer(1)
        await turns()
        for number in range(2, 50):
            line.offer(number)
            await asyncio.sleep(0)
        line.bus.gate.set()
        await line.uplink.sent()
        assert len(line.bus.calls) == 2
        assert line.taken() == list(range(1, 50))

    run(course)


def test_a_batch_has_a_greatest_size() -> None:
    async def course(line: Line) -> None:
        count = 2 * COMMANDS_PER_BATCH_MAX + 1
        for number in range(1, count + 1):
            line.offer(number, must=True)
        await line.uplink.sent()
        assert [len(batch.commands) for batch in line.bus.batches()] == [COMMANDS_PER_BATCH_MAX] * 2 + [1]
        assert line.taken() == list(range(1, count + 1))

    run(course)


@pytest.mark.parametrize("loses_replies", [False, True])
def test_a_flush_without_an_answer_is_repeated_with_the_same_numbers_before_anything_later(loses_replies: bool) -> None:
    async def course(line: Line) -> None:
        line.bus.down, line.bus.loses_replies = 3, loses_replies
        line.offer(1)
        line.offer(2, YARD)
        await turns()
        line.offer(3)
        began_ms = LoopClock().monotonic_ms()
        await line.uplink.sent()
        first, *again, later = line.bus.calls
        assert again == [first] * 3
        assert [decode_batch(data).number for _, data in later] == [2]
        assert line.taken() == [1, 3]
        assert len(line.trouble) == 3
        assert LoopClock().monotonic_ms() - began_ms >= 3 * RETRY_MS

    run(course)


def test_waiting_for_sent_covers_what_was_taken_before_and_no_more() -> None:
    async def course(line: Line) -> None:
        await line.uplink.sent()
        line.offer(1)
        first = asyncio.create_task(line.uplink.sent())
        await turns(1)
        line.bus.gate.clear()
        await turns()
        line.offer(2)
        second = asyncio.create_task(line.uplink.sent())
        await turns()
        assert (first.done(), second.done()) == (False, False)
        line.bus.gate.set()
        await second
        assert first.done()

    run(course)


def test_who_stops_waiting_for_sent_harms_nobody() -> None:
    async def course(line: Line) -> None:
        line.bus.gate.clear()
        line.offer(1)
        impatient = asyncio.create_task(line.uplink.sent())
        patient = asyncio.create_task(line.uplink.sent())
        await turns()
        impatient.cancel()
        await turns()
        line.bus.gate.set()
        await patient

    run(course)


# --- bounds -----------------------------------------------------------------------------------------------


def test_past_the_bound_of_waiting_commands_only_what_must_be_is_taken() -> None:
    async def course(line: Line) -> None:
        line.bus.gate.clear()
        assert [line.offer(number) for number in range(1, 6)] == [True, True, True, False, False]
        await turns()
        # What is on its way still counts, or an edge without Redis would take without end.
        assert not line.offer(6)
        assert line.offer(7, must=True)
        line.bus.gate.set()
        await line.uplink.sent()
        assert line.offer(8)
        await line.uplink.sent()
        assert line.taken() == [1, 2, 3, 7, 8]

    run(course, commands_max=3)


def test_a_shard_with_a_long_stream_is_busy_until_it_is_half_empty() -> None:
    async def course(line: Line) -> None:
        for number in range(1, 5):
            assert line.offer(number)
            await line.uplink.sent()
        assert not line.offer(5)
        assert line.offer(6, YARD)
        assert line.offer(7, must=True)
        await line.uplink.sent()
        line.bus.streams[HERE] = line.bus.streams[HERE][-3:]
        await asyncio.sleep(2 * BUSY_POLL_MS / 1000)
        assert not line.offer(8)
        line.bus.streams[HERE] = line.bus.streams[HERE][-2:]
        await asyncio.sleep(2 * BUSY_POLL_MS / 1000)
        assert line.offer(9)

    run(course, batches_max=4)


def test_a_shard_that_may_hold_one_batch_is_free_again_when_it_is_empty() -> None:
    # Less than half of one is less than nothing: with a bound of 1 a shard stayed busy for ever.
    async def course(line: Line) -> None:
        assert line.offer(1)
        await line.uplink.sent()
        assert not line.offer(2)
        line.bus.streams[HERE] = []
        await asyncio.sleep(2 * BUSY_POLL_MS / 1000)
        assert line.offer(3)

    run(course, batches_max=1)


def test_a_question_without_an_answer_does_not_end_the_watch() -> None:
    async def course(line: Line) -> None:
        assert line.offer(1)
        await line.uplink.sent()
        assert not line.offer(2)
        line.bus.streams[HERE] = []
        line.bus.down = 3
        await asyncio.sleep(3.5 * BUSY_POLL_MS / 1000)
        assert not line.offer(3)
        await asyncio.sleep(BUSY_POLL_MS / 1000)
        assert line.offer(4)

    run(course, batches_max=1)


def test_under_load_commands_are_gathered_and_when_it_is_over_no_more() -> None:
    async def course(line: Line) -> None:
        async def delay_ms() -> float:
            began_ms = LoopClock().monotonic_ms()
            line.offer(1)
            await line.emptied()
            return LoopClock().monotonic_ms() - began_ms

        assert await delay_ms() < 0.2
        for _ in range(300):
            line.offer(1)
            await asyncio.sleep(0.001)
        assert 1 < await delay_ms() <= 5
        assert len(line.bus.batches()) < 150
        for _ in range(20):
            await asyncio.sleep(0.2)
            last_ms = await delay_ms()
        assert last_ms < 0.2

    run(course)


def test_commands_leave_shortly_before_their_worker_reads() -> None:
    async def course(line: Line) -> None:
        clock = LoopClock()
        began_ms = clock.monotonic_ms()
        line.expect_read([HALL], 10)
        line.offer(1)
        line.offer(2, YARD)
        await turns()
        # Nobody said when the other shard is read.
        assert (line.taken(), line.taken(THERE)) == ([], [2])
        await asyncio.sleep(0.005)
        line.offer(3)
        await line.emptied()
        assert line.taken() == [1, 3]
        assert clock.monotonic_ms() - began_ms == pytest.approx(10 - lead_ms(10), abs=0.2)
        # It reads, and will soon say when it does again; or not, if it has nothing to say.
        line.offer(4)
        await turns()
        assert line.taken() == [1, 3]
        await line.emptied()
        assert line.taken() == [1, 3, 4]
        assert clock.monotonic_ms() - began_ms == pytest.approx(10 + READ_NEWS_MS, abs=0.2)
        line.offer(5)
        await turns()
        assert line.taken() == [1, 3, 4, 5]

    run(course)


def test_what_waits_for_news_of_the_next_read_leaves_before_it() -> None:
    async def course(line: Line) -> None:
        clock = LoopClock()
        began_ms = clock.monotonic_ms()
        line.expect_read([HALL], 10)
        await asyncio.sleep(0.009)
        line.offer(1)
        await asyncio.sleep(0.003)
        line.expect_read([HALL], 10)
        line.offer(2)
        await line.emptied()
        assert clock.monotonic_ms() - began_ms == pytest.approx(12 + 10 - lead_ms(10), abs=0.2)
        assert [len(batch.commands) for batch in line.bus.batches()] == [2]

    run(course)


def test_who_waits_for_sent_waits_for_no_read_and_for_all_that_was_taken_before() -> None:
    async def course(line: Line) -> None:
        clock = LoopClock()
        began_ms = clock.monotonic_ms()
        line.expect_read([HALL], 20)
        line.offer(1)
        line.bus.gate.clear()
        line.offer(2, YARD)
        await turns()
        waiting = asyncio.create_task(line.uplink.sent())
        await turns()
        line.offer(3, YARD)
        line.bus.gate.set()
        await waiting
        assert (line.taken(), line.taken(THERE)[:1]) == ([1], [2])
        assert clock.monotonic_ms() == began_ms

    run(course)


def test_a_short_rest_is_not_waited_for() -> None:
    async def course(line: Line) -> None:
        line.expect_read([HALL], PAUSE_MS_MIN / 2)
        line.offer(1)
        await turns()
        assert line.taken() == [1]

    run(course)


def test_shards_that_are_read_at_nearly_the_same_time_share_a_flush() -> None:
    async def course(line: Line) -> None:
        line.expect_read([HALL], 10)
        line.expect_read([YARD], 10 + TOGETHER_MS / 2)
        line.offer(1)
        line.offer(2, YARD)
        await line.emptied()
        assert [len(call) for call in line.bus.calls] == [2]

    run(course)


def test_a_shard_that_is_read_sooner_is_not_kept_waiting_by_another() -> None:
    async def course(line: Line) -> None:
        clock = LoopClock()
        began_ms = clock.monotonic_ms()
        line.expect_read([HALL], 20)
        line.expect_read([YARD], 8)
        line.offer(1)
        line.offer(2, YARD)
        await asyncio.sleep(0.0075)
        assert (line.taken(), line.taken(THERE)) == ([], [2])
        await line.emptied()
        assert line.taken() == [1]
        assert clock.monotonic_ms() - began_ms == pytest.approx(20 - lead_ms(20), abs=0.2)

    run(course)


def test_commands_to_a_whole_shard_keep_their_place() -> None:
    async def course(line: Line) -> None:
        line.offer(1)
        line.uplink.put(HERE, EdgeClosed())
        await line.uplink.sent()
        assert line.bus.batches()[0].commands == [lost(1), EdgeClosed()]

    run(course)
