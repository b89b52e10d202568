"""From connections to the input streams: many commands packed in one entry for each shard.

What comes in one turn of the loop goes at once. Where the worker of a shard said when it will read again, commands
wait until shortly before, since nobody would read them earlier; so all edges send in step with the worker, and a
batch of it costs each of them one entry. Under load on several shards, what comes within some ms goes together.
While one flush is under way, what comes gathers for the next. A flush whose reply was lost is repeated with
the same batch numbers, before anything later, so the workers see each batch once and in order.

Bounds: commands that wait here, and batches that wait in a shard. Past either, what a client could send
again is refused; what must not be lost (leaving, disconnecting, repairs) is taken all the same, since its
number is bounded by the connections.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Final

from common.bus import EdgeBus
from common.clock import Clock
from common.commands import AnyCommand, InputBatch, encode_batch
from common.errors import BusUnavailable
from common.ids import EdgeId, RoomId, Shard
from common.ring import shard_of
from common.timer import Timer

COMMANDS_PER_BATCH_MAX: Final = 512
BUSY_POLL_MS: Final = 100
RETRY_MS: Final = 100

GATHER_COMMANDS_PER_S: Final = 300.0
"""Above so many commands a second a flush waits for `GATHER_MS`, so that fewer entries carry them."""

GATHER_MS: Final = 4.0

READ_LEAD_MS: Final = 0.6
"""So long before a worker reads, commands leave here: what it takes to wake and to bring them, and the quickest way
of the news, by which the reading is earlier than it seems from here (edge/read_times.py)."""

READ_LEAD_SHARE: Final = 0.04
"""And earlier by this share of the rest: after a long one there is more to bring, and more that is in the way."""

READ_NEWS_MS: Final = 4.0
"""So long after a worker read, at most, it says when it reads again; what comes meanwhile waits for that."""

PAUSE_MS_MIN: Final = 2.0
"""A shorter rest of a worker is not worth waiting for."""

TOGETHER_MS: Final = 1.0
"""What would be due so soon after a flush goes with it."""


class Uplink:
    """The commands of one edge on their way. Call `run` once."""

    def __init__(
        self,
        edge_id: EdgeId,
        bus: EdgeBus,
        clock: Clock,
        *,
        shards: int,
        commands_max: int,
        batches_max: int,
        on_trouble: Callable[[BusUnavailable], None],
    ) -> None:
        """Prepare.

        Args:
            commands_max: commands that may wait here, before clients are told `busy`.
            batches_max: batches that may wait in a shard's stream, before clients are told `busy`.
        """
        self._edge_id = edge_id
        self._bus = bus
        self._clock = clock
        self._shards = shards
        self._commands_max = commands_max
        self._batches_max = batches_max
        self._on_trouble = on_trouble
        self._pending: dict[Shard, list[AnyCommand]] = {}
        self._due_ms: dict[Shard, float] = {}
        """When what is pending for a shard should leave, in monotonic time. Of each pending shard."""
        self._leave_at_ms: dict[Shard, float] = {}
        """When what a shard's worker reads next should leave, where it said when it reads."""
        self._news_by_ms: dict[Shard, float] = {}
        """Until when what comes too late for that waits for the worker to say when it reads again."""
        self._commands_per_s = 0.0
        self._pending_count = 0
        self._numbers: dict[Shard, int] = {}
        self._busy: set[Shard] = set()
        self._is_due = asyncio.Event()
        self._timer: Timer | None = None
        """There from the first rest of a worker on."""
        self._timer_ms = math.inf
        """When it rings."""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.batches = 0
        self.commands = 0

    @property
    def pending_count(self) -> int:
        """Commands that wait here."""
        return self._pending_count

    @property
    def used_shards(self) -> list[Shard]:
        """Shards that this edge has sent to."""
        return list(self._numbers)

    def offer(self, room_id: RoomId, command: AnyCommand, *, must: bool) -> bool:
        """Take a command to a room; False where the cluster is busy (never with `must`)."""
        shard = shard_of(room_id, self._shards)
        if not must and (shard in self._busy or self._pending_count >= self._commands_max):
            return False
        self.put(shard, command)
        return True

    def put(self, shard: Shard, command: AnyCommand) -> None:
        """Take a command to a shard, whatever the load."""
        commands = self._pending.get(shard)
        if commands is None:
            self._pending[shard] = [command]
            self._schedule(shard)
        else:
            commands.append(command)
        self._pending_count += 1

    def expect_read(self, room_ids: Iterable[RoomId], reads_at_ms: float, pause_ms: float) -> None:
        """The worker of these rooms rests for so long, until a monotonic time, and then reads their input."""
        if pause_ms < PAUSE_MS_MIN:
            return
        leave_at_ms = reads_at_ms - READ_LEAD_MS - READ_LEAD_SHARE * pause_ms
        for shard in {shard_of(room_id, self._shards) for room_id in room_ids}:
            self._leave_at_ms[shard] = leave_at_ms
            self._news_by_ms[shard] = reads_at_ms + READ_NEWS_MS
            if shard in self._due_ms:
                self._due_ms[shard] = leave_at_ms
        if self._due_ms:
            self._wake_at_first()

    async def sent(self) -> None:
        """Wait until everything that was taken before this call is in its stream; nothing of it waits for a read."""
        if self._pending_count:
            if self._pending:
                self._due_ms = dict.fromkeys(self._pending, self._clock.monotonic_ms())
                self._is_due.set()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self.commands + self._pending_count, future))
            await future

    async def run(self) -> None:
        """Carry commands until cancelled."""
        watch = asyncio.create_task(self._watch_busy())
        last_flush_ms = self._clock.monotonic_ms()
        try:
            while True:
                await self._is_due.wait()
                # What else arrives in this turn of the loop goes with it.
                await asyncio.sleep(0)
                self._is_due.clear()
                taken = self._take_due()
                if not taken:
                    continue
                count = sum(map(len, taken.values()))
                await self._append(self._batches(taken))
                self._pending_count -= count
                self.commands += count
                self._tell_sent()
                now_ms = self._clock.monotonic_ms()
                passed_ms = max(0.1, now_ms - last_flush_ms)
                self._commands_per_s += min(1.0, passed_ms / 250.0) * (
                    count * 1000.0 / passed_ms - self._commands_per_s
                )
                last_flush_ms = now_ms
        finally:
            watch.cancel()
            if self._timer is not None:
                self._timer.close()
                self._timer = None
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    def _schedule(self, shard: Shard) -> None:
        """Set when the first command to a shard since its last flush leaves."""
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._leave_at_ms.get(shard, -math.inf):
            due_ms = self._leave_at_ms[shard]
        elif now_ms < self._news_by_ms.get(shard, -math.inf):
            due_ms = self._news_by_ms[shard]
        else:
            due_ms = now_ms + (GATHER_MS if self._commands_per_s > GATHER_COMMANDS_PER_S else 0.0)
        self._due_ms[shard] = due_ms
        if due_ms <= now_ms:
            self._is_due.set()
        elif due_ms < self._timer_ms:
            self._wake_at_first()

    def _wake_at_first(self) -> None:
        """Have the first of what is pending waked for, and nothing before it."""
        first_ms = min(self._due_ms.values())
        if first_ms == self._timer_ms:
            return
        if self._timer is None:
            self._timer = self._clock.timer(self._timer_rang)
        self._timer.set(first_ms)
        self._timer_ms = first_ms

    def _timer_rang(self) -> None:
        self._timer_ms = math.inf
        self._is_due.set()

    def _take_due(self) -> dict[Shard, list[AnyCommand]]:
        """Take what is due now, or nearly; have the rest waked for."""
        now_ms = self._clock.monotonic_ms()
        taken: dict[Shard, list[AnyCommand]] = {}
        for shard, due_ms in list(self._due_ms.items()):
            if due_ms <= now_ms + TOGETHER_MS:
                taken[shard] = self._pending.pop(shard)
                del self._due_ms[shard]
        if self._due_ms:
            self._wake_at_first()
        return taken

    def _batches(self, taken: dict[Shard, list[AnyCommand]]) -> list[tuple[Shard, bytes]]:
        at_ms = self._clock.now_ms()
        appends: list[tuple[Shard, bytes]] = []
        for shard, commands in taken.items():
            for start in range(0, len(commands), COMMANDS_PER_BATCH_MAX):
                number = self._numbers[shard] = self._numbers.get(shard, 0) + 1
                part = commands[start : start + COMMANDS_PER_BATCH_MAX]
                appends.append((shard, encode_batch(InputBatch(self._edge_id, number, at_ms, part))))
        return appends

    async def _append(self, appends: list[tuple[Shard, bytes]]) -> None:
        while True:
            try:
                lengths = await self._bus.append_inputs(appends)
                break
            except BusUnavailable as error:
                self._on_trouble(error)
                await asyncio.sleep(RETRY_MS / 1000.0)
        self.batches += len(appends)
        for (shard, _), length in zip(appends, lengths, strict=True):
            if length >= self._batches_max:
                self._busy.add(shard)

    def _tell_sent(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.commands:
            _, future = self._waiting.pop(0)
            if not future.done():
                future.set_result(None)

    async def _watch_busy(self) -> None:
        """A busy shard gets nothing appended that would tell its length; ask."""
        while True:
            await asyncio.sleep(BUSY_POLL_MS / 1000.0)
            if not self._busy:
                continue
            shards = list(self._busy)
            with contextlib.suppress(BusUnavailable):
                for shard, length in zip(shards, await self._bus.input_lengths(shards), strict=True):
                    if length <= self._batches_max // 2:
                        self._busy.discard(shard)
