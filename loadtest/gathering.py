"""What the scenarios with followers have in common: who comes, signs of life meanwhile, and the verdict at the end."""

import asyncio
import contextlib
import gc
import random
import resource
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final

from loadtest.follower import Company, Follower
from loadtest.following import Verdict
from loadtest.histogram import Histogram
from loadtest.scenario import CannotRun, Cell, Figure, Findings, Stage, Table

BUSY_MAX: Final = 0.85
"""Share of a core that this process may use while it takes what is measured; above it the times are its own."""

EXCUSED_ERRORS: Final = frozenset({"busy", "not_joined"})
"""Told while a store is away, and tried again by a good client."""


POLL_S: Final = 0.01

FILES_BESIDE: Final = 100
"""Open files of this process beside its connections."""


def company_of(stage: Stage, members_by_room: Sequence[int]) -> Company:
    """Return those who will come: so many in each room, by turns on each edge. Nobody is connected yet.

    Raises:
        CannotRun: this process may not have so many connections.
    """
    urls = stage.target.urls
    members = sum(members_by_room)
    allow_files(members + FILES_BESIDE)
    company = Company(f"f{secrets.token_hex(4)}", urls, random.Random())  # noqa: S311 - jitter only
    for room, count in enumerate(members_by_room):
        room_id = f"{company.run_id}-{room}"
        for number in range(count):
            company.add(room_id, (room + number) % len(urls))
    return company


def allow_files(needed: int) -> None:
    """Let this process open so many files.

    Raises:
        CannotRun: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise CannotRun(
            f"this process may have {hard:,} open files and needs {needed:,}; raise the hard limit (`ulimit -Hn`)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@contextlib.asynccontextmanager
async def living(company: Company, *others: Awaitable[None]) -> AsyncIterator[None]:
    """Send signs of life, and do what else is given, until the end of the `async with`.

    The garbage collector rests meanwhile: its pauses would count as the server's.
    """
    interval_s = min(follower.heartbeat_s for follower in company.followers)
    tasks = [asyncio.ensure_future(one) for one in (company.live(interval_s), *others)]
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def until(is_so: Callable[[], bool], within_s: float, stage: Stage) -> bool:
    """Wait for something that the followers bring about.

    Returns: whether it is so; False where the time ran out, or the run is interrupted.
    """
    deadline_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() >= deadline_s or stage.interrupted.is_set():
            return False
        await asyncio.sleep(POLL_S)
    return True


async def settled(company: Company, stage: Stage, within_s: float = 30.0) -> bool:
    """Wait until all of each room stand at the same place, and everything sent is answered. Returns: see `until`."""
    rooms: dict[str, list[Follower]] = {}
    for follower in company.followers:
        rooms.setdefault(follower.room_id, []).append(follower)

    def is_settled() -> bool:
        return all(
            len({(one.following.epoch, one.following.seq) for one in members}) == 1
            and not any(one.unanswered or not one.is_joined for one in members)
            for members in rooms.values()
        )

    return await until(is_settled, within_s, stage)


def times(name: str, histogram: Histogram, percents: Iterable[float] = (50, 95, 99)) -> list[Figure]:
    """Return the percentiles and the maximum of a histogram as figures in ms; without values where it is empty."""
    values: list[tuple[str, int]] = [(f"p{percent:g}", histogram.percentile(percent)) for percent in percents]
    is_empty = not histogram.total
    return [
        Figure(f"{name} {what}", None if is_empty else value_us / 1000, "ms", "lower")
        for what, value_us in [*values, ("max", histogram.max_us)]
    ]


def histogram_of(values_us: Iterable[int]) -> Histogram:
    """Return the histogram of some times, microseconds."""
    histogram = Histogram()
    for value_us in values_us:
        histogram.record(value_us)
    return histogram


def order_table(verdict: Verdict) -> Table:
    """Return what became of the reliable events, as a table."""
    rows: list[tuple[Cell, ...]] = [
        ("received", verdict.received),
        ("of them replayed", verdict.replayed),
        ("messages acknowledged", verdict.acked),
        ("acknowledged and lost", verdict.lost),
        ("gone with their epoch", verdict.gone),
        ("acknowledged, for nobody to hear", verdict.unheard),
        ("missing at the end", verdict.missing),
        ("gaps", verdict.gaps),
        ("out of order", verdict.out_of_order),
        ("received twice", verdict.duplicates),
        ("took effect twice", verdict.doubled),
        ("took effect in two epochs", verdict.again),
        ("not the same for everybody", verdict.mismatches),
        ("of an epoch that was not told", verdict.epoch_changes),
        ("resumes not recovered", verdict.not_recovered),
        ("told resync", verdict.resyncs),
    ]
    return Table("reliable events", ("count",), rows)


def conclude(
    stage: Stage,
    findings: Findings,
    company: Company,
    *,
    store_may_lose: bool = False,
    may_break: bool = False,
) -> Verdict:
    """Add the verdict on the order, and whatever else must not have happened.

    Args:
        store_may_lose: see `Verdict.failures`.
        may_break: the scenario broke connections, or the store, so that closes and refusals are part of it.
    """
    verdict = company.verdict()
    findings.tables.append(order_table(verdict))
    # Where it was interrupted, what was under way is no fault.
    ended = not stage.interrupted.is_set()
    findings.failures += verdict.failures(store_may_lose=store_may_lose, ended=ended)
    away = sum(not follower.is_joined for follower in company.followers) * ended
    unanswered = sum(follower.unanswered for follower in company.followers) * ended
    errors = {code: count for code, count in company.errors.items() if not (may_break and code in EXCUSED_ERRORS)}
    closed = {} if may_break else company.closed
    findings.failures += [
        *([f"{away:,} clients are not in their room at the end"] if away else []),
        *([f"{unanswered:,} messages have no answer"] if unanswered else []),
        *([f"{company.bad_frames:,} frames are no events"] if company.bad_frames else []),
        *(f"{count:,} times refused with {code}" for code, count in sorted(errors.items())),
        *(f"{count:,} connections closed with {code}" for code, count in sorted(closed.items())),
    ]
    findings.details |= {
        "errors": dict(company.errors),
        "closed": {str(code): count for code, count in company.closed.items()},
        "refused": {str(status): count for status, count in company.refused.items()},
        "resyncs": dict(company.resyncs),
        "sent again": company.resent,
        "failed attempts": company.failed_attempts,
        "frames received": company.frames,
    }
    return verdict


def too_busy(cpu_s: float, seconds: float, while_what: str) -> list[str]:
    """Return why the numbers do not hold, where this process was the narrow place."""
    if seconds <= 0 or cpu_s / seconds <= BUSY_MAX:
        return []
    return [f"the clients' process was busy for {cpu_s / seconds:.0%} of the time {while_what}: the times are its own"]
