"""What a scenario stands on during a run: it measures the servers and the generator, and passes on Ctrl-C.

See `Stage` in `scenario.py` for what scenarios may do with it.
"""

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Self

import aiohttp

from loadtest import redis_usage
from loadtest.histogram import Histogram
from loadtest.processes import children_of, read_machine, read_usage, snapshot
from loadtest.progress import Progress
from loadtest.redis_usage import RedisReader
from loadtest.scenario import CannotRun, Target, Values
from loadtest.server_metrics import read_counters
from loadtest.usage import Trace, Usage, Window, grown, usage_between

SAMPLE_S: Final = 1.0

_LAG_PROBE_S: Final = 0.02
"""Often enough to meet a stall of the event loop, rarely enough to cost nothing."""

GENERATOR: Final = "generator"
_ORDER: Final = (GENERATOR, "edge", "worker", "valkey", "postgres")


class RunStage:
    """The stage of one run. Use it in `async with`; it samples the processes meanwhile."""

    def __init__(self, target: Target, values: Values, progress: Progress) -> None:
        self.target = target
        self.values = values
        self.interrupted = asyncio.Event()
        self.windows: list[Window] = []
        """In the order in which they began."""
        self.begin_s = time.monotonic()
        self._progress = progress
        self._traces: dict[str, Trace] = {}
        self._children: Mapping[int, Sequence[int]] = {}
        self._unseen: dict[int, tuple[float, float]] = {}
        """Process -> user and system time that its children had used when they were found."""
        self._in_window = False
        self._redis = RedisReader(target.redis_url)
        self._http: aiohttp.ClientSession | None = None
        self._sampler: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        self._find_children()
        self._sampler = asyncio.create_task(self._sample_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        assert self._sampler is not None
        self._sampler.cancel()
        await asyncio.gather(self._sampler, return_exceptions=True)
        await self._http.close()
        await self._redis.close()
        self._progress.clear()

    @property
    def traces(self) -> list[Trace]:
        """All processes over the run, in the order in which a message meets them."""
        return sorted(self._traces.values(), key=lambda trace: _place(trace.kind))

    # --- what scenarios call ------------------------------------------------------------------------------------

    def progress(self, text: str) -> None:
        """See `Stage.progress`."""
        self._progress.show(text)

    async def sleep_until(self, monotonic_s: float) -> bool:
        """See `Stage.sleep_until`."""
        try:
            async with asyncio.timeout(max(0.0, monotonic_s - time.monotonic())):
                await self.interrupted.wait()
        except TimeoutError:
            return True
        return False

    @contextlib.asynccontextmanager
    async def window(self, name: str = "", *, begin_s: float | None = None) -> AsyncIterator[Window]:
        """See `Stage.window`."""
        assert self._http is not None
        assert not self._in_window, "windows may not overlap"
        self._in_window = True
        self._find_children()
        counters = await read_counters(self._http, self.target.metrics_urls)
        if begin_s is not None:
            await self.sleep_until(begin_s)
        redis = await self._redis.read()
        probe = asyncio.create_task(_probe_lag(lag := Histogram()))
        window = Window(name, lag=lag)
        self.windows.append(window)
        before, machine_s, own_s = snapshot(self.target.pids()), read_machine(), time.process_time()
        window.begin_s = window.end_s = time.monotonic()
        try:
            yield window
        finally:
            window.end_s = time.monotonic()
            after, machine_end_s = snapshot(self.target.pids()), read_machine()
            window.generator_cpu_s = window.generator_cpu_s or [time.process_time() - own_s]
            window.usage = usage_between(before, after)
            if machine_s is not None and machine_end_s is not None:
                window.machine_cpu_s = machine_end_s - machine_s
            probe.cancel()
            redis_after = await self._redis.read()
            if redis is not None and redis_after is not None:
                window.redis = redis_usage.usage_between(redis, redis_after)
            window.counters = grown(counters, await read_counters(self._http, self.target.metrics_urls))
            window.silent = tuple(name for name in self.target.metrics_urls if name not in window.counters)
            self._in_window = False

    async def restart_redis(self) -> None:
        """See `Stage.restart_redis`."""
        if self.target.restart_redis is None:
            raise CannotRun("Redis is not ours to restart; run this scenario without --against")
        await asyncio.to_thread(self.target.restart_redis)

    # --- what it measures meanwhile -----------------------------------------------------------------------------

    def _find_children(self) -> None:
        pids = [pid for pids in self.target.pids().values() for pid in pids]
        found = children_of(pids)
        for pid in pids:
            known = self._children.get(pid, ())
            if set(known) != set(found[pid]):
                # What a child had used before it was found is no use of this moment.
                before, after = read_usage((pid, *known)), read_usage((pid, *found[pid]))
                if before is not None and after is not None:
                    user_s, system_s = self._unseen.get(pid, (0.0, 0.0))
                    self._unseen[pid] = (
                        user_s + after.user_s - before.user_s,
                        system_s + after.system_s - before.system_s,
                    )
        self._children = found

    async def _sample_all(self) -> None:
        due_s = self.begin_s
        while True:
            self._sample()
            self._progress.processes(self._cores_by_kind())
            # After a stall, no two samples at once.
            due_s = max(due_s + SAMPLE_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    def _sample(self) -> None:
        for kind, pids in self.target.pids().items():
            for number, pid in enumerate(pids, 1):
                name = f"{kind}-{number}"
                is_only = len(pids) == 1 and name not in self.target.metrics_urls
                self._add(kind if is_only else name, kind, self._usage(pid))
        own = read_usage((os.getpid(),))
        if own is not None:
            # Without the children that have ended: those are servers, as a rule.
            times = os.times()
            self._add(GENERATOR, GENERATOR, Usage(times.user, times.system, own.rss_bytes, own.private_bytes))
        for number, child in enumerate(multiprocessing.active_children(), 2):
            self._add(f"{GENERATOR}-{number}", GENERATOR, read_usage((child.pid or 0,)))

    def _usage(self, pid: int) -> Usage | None:
        usage = read_usage((pid, *self._children.get(pid, ())))
        user_s, system_s = self._unseen.get(pid, (0.0, 0.0))
        if usage is None:
            return None
        return replace(usage, user_s=usage.user_s - user_s, system_s=usage.system_s - system_s)

    def _add(self, name: str, kind: str, usage: Usage | None) -> None:
        if usage is not None:
            trace = self._traces.setdefault(name, Trace(name, kind))
            trace.at_s.append(time.monotonic())
            trace.usage.append(usage)

    def _cores_by_kind(self) -> dict[str, float]:
        """Return the cores that each kind used in the last interval."""
        found: dict[str, float] = {}
        for trace in self._traces.values():
            if len(trace.at_s) > 1:
                found[trace.kind] = found.get(trace.kind, 0.0) + trace.cores_before(-1)
        return found


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


async def _probe_lag(lag: Histogram) -> None:
    while True:
        due_s = time.monotonic() + _LAG_PROBE_S
        await asyncio.sleep(_LAG_PROBE_S)
        lag.record(max(0, round((time.monotonic() - due_s) * 1e6)))
