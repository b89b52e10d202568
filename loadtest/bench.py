"""`roomring bench`: puts a known load on a cluster and tells what became of every message.

`options.py` declares the options, `run` does the run. Starting a cluster, where no --url is given, is the
caller's part; it passes the process ids of that cluster as `options.pids`, so that their CPU can be told.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop

from loadtest.dialect import JoinError
from loadtest.generator import Generator, GeneratorResult
from loadtest.generator_process import GeneratorProcess
from loadtest.plan import Plan
from loadtest.processes import KindUsage, difference, read_machine, snapshot
from loadtest.report import Report

WARMUP_S: Final = 2.0
"""For the first flushes, allocations and TCP windows; they are no part of a steady load."""

DRAIN_S: Final = 2.0
"""What has not arrived so long after the last send is lost: about a thousand times the usual latency."""

START_DELAY_S: Final = 0.3
"""From the last join to the start: time to tell all generators."""

CHATS_PER_SECOND: Final = 1.0
"""In each room: enough to see the reliable order, too few to weigh in the CPU."""

PROGRESS_S: Final = 0.5


def run(options: argparse.Namespace) -> int:
    """Do one run and print its report.

    Args:
        options: as `options.add_arguments` declares them, with at least one `url`. An attribute `pids` (kind of
            process -> process ids) may be set beside them; without it the report has no CPU of the server.

    Returns: 0 when the run is valid and nothing went wrong, otherwise 1. Must be called in the main thread.
    """
    urls = tuple(url.rstrip("/") for url in options.url)
    if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
        sys.stderr.write("bench: give at least one --url that begins with http:// or https://\n")
        return 1
    plan = Plan(
        run_id=secrets.token_hex(4),
        urls=urls,
        rooms=options.rooms,
        members_per_room=options.members,
        rate=options.rate,
        seconds=options.seconds,
        warmup_s=WARMUP_S,
        drain_s=DRAIN_S,
        chats_per_second=CHATS_PER_SECOND,
        generators=min(options.generators, options.rooms * options.members),
    )
    bench = _Bench(plan, getattr(options, "pids", None) or {})
    try:
        report = uvloop.run(bench.run())
    except JoinError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted before there was anything to tell\n")
        return 1
    sys.stdout.write(report.render(colours=sys.stdout.isatty()))
    if options.json:
        Path(options.json).write_text(json.dumps(report.to_json(), indent=1) + "\n")
    return report.exit_status


class _Bench:
    """One run over all its generators."""

    def __init__(self, plan: Plan, pids: Mapping[str, Sequence[int]]) -> None:
        self._plan = plan
        self._pids = pids
        self._generators: list[Generator] | list[GeneratorProcess] = []
        self._start_s = 0.0
        self._stopped = asyncio.Event()
        self._usage: dict[str, KindUsage] = {}
        self._machine_cpu_s: float | None = None

    async def run(self) -> Report:
        plan = self._plan
        loop = asyncio.get_running_loop()
        if plan.generators == 1:
            self._generators = [Generator(plan)]
        else:
            self._generators = [GeneratorProcess(replace(plan, generator=index)) for index in range(plan.generators)]
        progress = asyncio.create_task(self._show_progress())
        try:
            await asyncio.gather(*(generator.join() for generator in self._generators))
            # Until here Ctrl-C ends the program; from here on it ends the sending.
            loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
            self._start_s = time.monotonic() + START_DELAY_S
            await asyncio.gather(
                self._measure_usage(), *(generator.run(self._start_s) for generator in self._generators)
            )
            merged = GeneratorResult()
            for generator in self._generators:
                merged.merge(generator.result())
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            progress.cancel()
            await asyncio.gather(progress, *(one.close() for one in self._generators), return_exceptions=True)
        return Report.of(
            plan, host_facts(), merged, self._usage, self._machine_cpu_s, interrupted=self._stopped.is_set()
        )

    def _on_interrupt(self) -> None:
        # A second Ctrl-C does not wait for the drain.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        self._stopped.set()
        for generator in self._generators:
            generator.stop()

    async def _measure_usage(self) -> None:
        """Read the CPU of the cluster's processes at both ends of the measured window."""
        if await self._sleep_until(self._plan.warmup_s):
            begin, busy_s = snapshot(self._pids), read_machine()
            await self._sleep_until(self._plan.warmup_s + self._plan.seconds)
            self._usage, busy_end_s = difference(begin, snapshot(self._pids)), read_machine()
            if busy_s is not None and busy_end_s is not None:
                self._machine_cpu_s = busy_end_s - busy_s

    async def _sleep_until(self, at_s: float) -> bool:
        """Wait for a time of the run; return False as soon as it is interrupted."""
        try:
            async with asyncio.timeout(max(0.0, self._start_s + at_s - time.monotonic())):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    async def _show_progress(self) -> None:
        """Keep one line on the terminal up to date; nothing where standard error is no terminal."""
        if not sys.stderr.isatty():
            return
        received_before, at_before = 0, time.monotonic()
        try:
            while True:
                await asyncio.sleep(PROGRESS_S)
                now = time.monotonic()
                received = sum(generator.received for generator in self._generators)
                rate = (received - received_before) / (now - at_before)
                received_before, at_before = received, now
                sys.stderr.write(f"\r\x1b[K{self._progress_line(now, rate)}")
                sys.stderr.flush()
        finally:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _progress_line(self, now: float, rate: float) -> str:
        sockets = f"{sum(generator.open_sockets for generator in self._generators):,} of {self._plan.members:,} sockets"
        if not self._start_s:
            return f"joining: {sockets}"
        elapsed_s = now - self._start_s
        match elapsed_s - self._plan.warmup_s:
            case before if before < 0:
                phase = "warming up"
            case measured if measured < self._plan.seconds and not self._stopped.is_set():
                phase = f"measuring {measured:.0f} of {self._plan.seconds:g} s"
            case _:
                phase = "waiting for the last"
        p99_ms = max(generator.latency.percentile(99) for generator in self._generators) / 1000
        return f"{phase}: {sockets}, {rate:,.0f} updates/s" + (f", p99 {p99_ms:.1f} ms" if p99_ms else "")


def host_facts() -> dict[str, object]:
    """Return the facts of this machine that bear on the numbers, without its name."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": version("numpy"),
        "uvloop": version("uvloop"),
    }
