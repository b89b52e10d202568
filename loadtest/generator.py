"""Plays the members of one generator process: joins them, sends at the planned times, waits for the rest, sums up.

What it returns adds up over generators (`GeneratorResult.merge`), so a run may have several.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import aiohttp

from common.clock import SystemClock
from common.timer import Timer
from loadtest.accounting import OrderSightings, SenderRecord, TransformSightings
from loadtest.dialect import Dialect, JoinError, first_of, load_dialect
from loadtest.histogram import Histogram
from loadtest.member import Member, SharedCounts
from loadtest.plan import US, MemberNumber, Plan

JOINS_AT_ONCE: Final = 32
"""Enough to fill a room of 40 in a moment; few enough not to overflow a listen queue."""

WAKE_SPACING_US: Final = 200
"""At more than 5,000 messages a second they go out in small batches: a wake-up costs about as much as a send."""

HTTP_TIMEOUT_S: Final = 10.0

SETTLE_S: Final = 0.05
"""How often reads are counted. So little comes together in it that counting takes well below a millisecond."""

SETTLE_ALL_S: Final = 5.0
"""Every tape is settled so often at least. Settling one takes 100 µs however little there is, so that waits for it."""

SETTLE_READS_MIN: Final = 500
"""A tape with so many reads is settled with the next turn."""


@dataclass(frozen=True)
class ClosedSocket:
    """A socket that closed in the middle of the run."""

    user_id: str
    code: int
    reason: str


@dataclass
class GeneratorResult:
    """What one or more generators saw."""

    senders: dict[str, SenderRecord] = field(default_factory=dict)
    member_of: dict[str, MemberNumber] = field(default_factory=dict)
    transforms: TransformSightings = field(default_factory=TransformSightings)
    order: OrderSightings = field(default_factory=OrderSightings)
    transform_latency: Histogram = field(default_factory=Histogram)
    """From the intended time of sending; of what was to be sent in the measured window."""
    second_latency: dict[int, Histogram] = field(default_factory=dict)
    """Second since the start of the run -> latency of what was to be sent in it, the warm-up's as well."""
    chat_latency: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    """How much later than intended a transform was sent."""
    window_received: int = 0
    """Transforms that arrived between the begin and the end of the measured window."""
    window_s: float = 0.0
    """Length of the measured window as it was; shorter than planned when the run was interrupted."""
    cpu_s: list[float] = field(default_factory=list)
    """User and system time of each generator over the window."""
    closed: list[ClosedSocket] = field(default_factory=list)
    error_codes: Counter[str] = field(default_factory=Counter)
    rate_limited: Counter[str] = field(default_factory=Counter)
    bad_frames: int = 0
    window_reads: int = 0
    """Reads from sockets in the window, each of which gave some bytes."""
    window_frames: int = 0
    """Messages of the server in the window, of any kind."""
    window_bytes: int = 0
    """Received in the window, with the heads of frames, as they came from the sockets."""

    def merge(self, other: "GeneratorResult") -> None:
        """Add what another generator saw."""
        self.senders.update(other.senders)
        self.member_of.update(other.member_of)
        self.transforms.merge(other.transforms)
        self.order.merge(other.order)
        self.transform_latency.merge(other.transform_latency)
        for second, histogram in other.second_latency.items():
            self.second_latency.setdefault(second, Histogram()).merge(histogram)
        self.chat_latency.merge(other.chat_latency)
        self.lag.merge(other.lag)
        self.window_received += other.window_received
        self.window_s = max(self.window_s, other.window_s)
        self.cpu_s += other.cpu_s
        self.closed += other.closed
        self.error_codes.update(other.error_codes)
        self.rate_limited.update(other.rate_limited)
        self.bad_frames += other.bad_frames
        self.window_reads += other.window_reads
        self.window_frames += other.window_frames
        self.window_bytes += other.window_bytes


class Generator:
    """One run of one generator. Call `join`, `run` and `result` once each, in this order, then `close`."""

    def __init__(self, plan: Plan, dialect: Dialect | None = None) -> None:
        """Begin with no members.

        Args:
            dialect: instead of the one that the plan names.
        """
        self._plan = plan
        self._dialect = dialect or load_dialect(plan.dialect)
        self._counts = SharedCounts(plan, self._dialect)
        self._members: dict[MemberNumber, Member] = {}
        self._result = GeneratorResult()
        self._transform_schedule = self._planned_transforms()
        self._chat_schedule = self._planned_chats()
        self._next_transform = next(self._transform_schedule)
        self._next_chat = next(self._chat_schedule)
        self._is_sending = False
        self._stop = asyncio.Event()
        self._sent = 0

    @property
    def sent(self) -> int:
        """Transforms sent until now."""
        return self._sent

    @property
    def received(self) -> int:
        """Transforms received until now, but for those of the last moment."""
        return self._counts.tally.updates

    @property
    def open_sockets(self) -> int:
        """Sockets that are open now."""
        return sum(member.is_open for member in self._members.values())

    @property
    def latency(self) -> Histogram:
        """Latency until now, of the measured window."""
        return self._counts.tally.latency.whole()

    async def join(self) -> None:
        """Bring all the members into their rooms.

        Raises:
            JoinError: one of them could not come in. Those that did are still connected; call `close`.
        """
        turns = asyncio.Semaphore(JOINS_AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=HTTP_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:

            async def come_in(number: MemberNumber) -> None:
                async with turns:
                    member = self._members[number] = Member(number, self._counts)
                    await self._dialect.enter(http, self._plan.url_of(number), member)
                    member.entered()

            try:
                async with asyncio.TaskGroup() as group:
                    for number in self._plan.own_members():
                        group.create_task(come_in(number))
            except* JoinError as failures:
                # All failed for the same reason, as a rule; the first says enough.
                raise JoinError(str(first_of(failures))) from failures
        # Now, since it rests in `run`, and before it is told when to start: a large heap takes half a second.
        gc.collect()

    async def run(self, start_s: float) -> None:
        """Send to the end of the plan, or until `stop`; then let arrive what is under way.

        The garbage collector rests meanwhile: its pauses would count as the server's, and nothing here makes cycles.

        Args:
            start_s: where the plan's times count from, in `time.monotonic()`.
        """
        self._counts.start_s = start_s
        for member in self._members.values():
            member.set_start(start_s)
        timer = SystemClock().timer(lambda: self._send_due(timer))
        chores = asyncio.gather(self._send_heartbeats(), self._settle_often())
        gc.disable()
        try:
            self._is_sending = True
            self._send_due(timer)
            if await self._sleep_until(self._plan.warmup_us):
                begin_us, cpu_s, tally = self._counts.now_us(), time.process_time(), self._counts.tally
                await self._sleep_until(self._plan.end_us)
                # Earlier than planned where it was stopped.
                tally.end_us = min(tally.end_us, self._counts.now_us())
                self._result.window_s = (self._counts.now_us() - begin_us) / US
                self._result.cpu_s.append(time.process_time() - cpu_s)
            else:
                self._counts.tally.end_us = 0
            self._is_sending = False
            await asyncio.sleep(self._plan.drain_s)
        finally:
            gc.enable()
            timer.close()
            chores.cancel()
            await asyncio.gather(chores, return_exceptions=True)

    def stop(self) -> None:
        """Send nothing more; `run` returns after the drain."""
        self._stop.set()
        self._is_sending = False

    def result(self) -> GeneratorResult:
        """Sum up. What arrives later is not counted."""
        result, counts = self._result, self._counts
        self._settle()
        for member in self._members.values():
            result.member_of[member.user_id] = member.number
            result.senders[member.user_id] = SenderRecord(
                first_measured=self._plan.first_measured(member.number),
                last_sent=member.last_sent,
                receivers=len(self._plan.members_of(member.room)),
                notices_us=tuple(member.notices_us),
            )
            result.transforms.add(member.receiver.receipts())
            result.order.add(member.room, member.order, is_open=member.is_open)
            result.order.chats_sent += member.chats_sent
            result.order.chats_refused += member.chats_refused
            if member.close_code is None:
                result.order.chats_unanswered += len(member.unanswered)
            else:
                result.closed.append(ClosedSocket(member.user_id, member.close_code, member.close_reason))
        for room, order in counts.orders.items():
            result.order.room(room).merge(order)
        result.order.resyncs = counts.resyncs
        inside = counts.tally.inside
        result.window_received, result.window_reads = inside.updates, inside.reads
        result.window_frames, result.window_bytes = inside.units, inside.bytes
        result.transform_latency = counts.tally.latency.whole()
        result.second_latency = counts.tally.latency.seconds()
        result.chat_latency = counts.chat_latency
        result.error_codes = counts.error_codes
        result.rate_limited = counts.rate_limited
        result.bad_frames = counts.bad_frames
        return result

    async def close(self) -> None:
        """Leave the rooms and close the sockets."""
        for member in self._members.values():
            member.finish()
        # One turn of the loop for the closing frames to leave.
        await asyncio.sleep(0.05)

    # --- counting -----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for tape in self._counts.tapes:
            tape.settle()
        self._counts.tally.settle()

    async def _settle_often(self) -> None:
        """Count what was received, little by little: a long pause would count as the server's."""
        tapes = self._counts.tapes
        turns = round(SETTLE_ALL_S / SETTLE_S)
        for turn in count():
            await asyncio.sleep(SETTLE_S)
            for index, tape in enumerate(tapes):
                if len(tape.read_us) >= SETTLE_READS_MIN or index % turns == turn % turns:
                    tape.settle()
                    # With many rooms there are several a turn: let what has come meanwhile be read between them.
                    await asyncio.sleep(0)
            self._counts.tally.settle()

    # --- the schedule -------------------------------------------------------------------------------------

    def _planned_transforms(self) -> Iterator[tuple[int, MemberNumber, int]]:
        """Yield (intended time, member, seq) in the order of time, without end."""
        own = self._plan.own_movers()
        seq = 1
        while not own:
            yield self._plan.end_us, MemberNumber(0), 0
        while True:
            for member in own:
                yield self._plan.transform_us(member, seq), member, seq
            seq += 1

    def _planned_chats(self) -> Iterator[tuple[int, MemberNumber, int]]:
        """Yield (intended time, member, number) in the order of time, without end: also those of other generators."""
        number = 0
        while not (self._dialect.has_chat and self._plan.chats_per_second):
            yield self._plan.end_us, MemberNumber(0), 0
        while True:
            for room in range(self._plan.rooms):
                yield self._plan.chat_us(room, number), self._plan.chatter(room, number), number
            number += 1

    def _send_due(self, timer: Timer) -> None:
        """Send everything whose time has come, and set the timer for the next.

        After a stall it sends everything that was missed: the intended times stay, so the stall shows as lag and
        latency.
        """
        plan, counts = self._plan, self._counts
        while self._is_sending:
            due_us, number, seq = self._next_transform
            chat_due_us, chatter, chat = self._next_chat
            now_us = counts.now_us()
            if min(due_us, chat_due_us) >= plan.end_us:
                return
            if chat_due_us <= min(due_us, now_us):
                member = self._members.get(chatter)
                if member is not None and member.is_open:
                    member.send_chat(chat, chat_due_us)
                self._next_chat = next(self._chat_schedule)
            elif due_us <= now_us:
                member = self._members[number]
                if member.is_open:
                    member.send_transform(seq, due_us)
                    self._sent += 1
                    if due_us >= plan.warmup_us:
                        self._result.lag.record(counts.now_us() - due_us)
                self._next_transform = next(self._transform_schedule)
            else:
                wake_us = max(min(due_us, chat_due_us), now_us + WAKE_SPACING_US)
                timer.set((counts.start_s + wake_us / US) * 1000.0)
                return

    async def _send_heartbeats(self) -> None:
        """Send each member's heartbeats, spread over the interval that its `welcome` told."""
        tick_s = 0.25
        due = {
            number: time.monotonic() + member.heartbeat_s * (index + 1) / len(self._members)
            for index, (number, member) in enumerate(self._members.items())
        }
        while True:
            await asyncio.sleep(tick_s)
            now_s = time.monotonic()
            for number, member in self._members.items():
                if due[number] <= now_s and member.is_open:
                    member.send_heartbeat()
                    due[number] = now_s + member.heartbeat_s

    async def _sleep_until(self, at_us: int) -> bool:
        """Wait for a time of the run; return False as soon as the run is stopped."""
        try:
            async with asyncio.timeout(max(0.0, (at_us - self._counts.now_us()) / US)):
                await self._stop.wait()
        except TimeoutError:
            return True
        return False
