"""Many connections to one edge that do nothing but live: what each costs, first without a room and then in one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.scenario import CannotRun, Figure, Findings, Option, Scenario, Stage, Table, Values
from loadtest.usage import Window

if TYPE_CHECKING:
    from loadtest.follower import Company

CONNECTIONS: Final = Option("connections", count, 5000, "connections, all to the first edge")
SECONDS: Final = Option("seconds", positive, 15.0, "seconds measured without a room, and again in the rooms")
MEMBERS: Final = Option("members", count, 50, "members of each room that they join")
PER_SECOND: Final = Option("per-second", positive, 500.0, "connections opened, and rooms joined, a second")

BASELINE_S: Final = 3.0
"""At most: how long the processes are measured without connections."""

SETTLE_S: Final = 1.0
"""From the last who came in to the measuring: what they caused is over then."""

FILES_BESIDE: Final = 100
KIB: Final = 1024


def _settings(values: Values) -> Mapping[str, str]:
    connections, per_second = values[CONNECTIONS], values[PER_SECOND]
    return {
        "ROOMRING_CONNECTIONS_MAX": str(max(20_000, connections)),
        "ROOMRING_CONNECTS_PER_SECOND_MAX": f"{2 * per_second:g}",
        "ROOMRING_CONNECTS_BURST": str(max(500, round(per_second))),
        "ROOMRING_TOKEN_TTL_MS": "3600000",
    }


@dataclass(frozen=True)
class Cost:
    """What connections cost one kind of process, beyond what it takes without any."""

    memory_bytes: float
    """Of each connection."""
    cores: float
    """CPU time a second, of all of them."""
    heartbeat_us: float | None
    """CPU time of each sign of life; None where there was none."""


def cost_between(without: Window, having: Window, kind: str, connections: int) -> Cost | None:
    """Compare a window without connections with one that had them; None where the processes are not known.

    A window with `work` heartbeats has their cost; what the process does anyhow is taken off.
    """
    before, after = without.usage.get(kind), having.usage.get(kind)
    if before is None or after is None or without.seconds <= 0 or having.seconds <= 0:
        return None
    cores = after.cpu_s / having.seconds - before.cpu_s / without.seconds
    return Cost(
        memory_bytes=(after.rss_bytes - before.rss_bytes) / connections,
        cores=cores,
        heartbeat_us=cores * having.seconds * 1e6 / having.work if having.work else None,
    )


def files_allowed(limits: str) -> int | None:
    """Return how many files a process may open, from the text of /proc/<pid>/limits; None where it does not say."""
    for line in limits.splitlines():
        if line.startswith("Max open files"):
            word = line.removeprefix("Max open files").split()[0]
            return int(word) if word.isdecimal() else None
    return None


async def _run(stage: Stage) -> Findings:
    from loadtest.gathering import company_of, conclude, living, settled, times

    values = stage.values
    connections, members = values[CONNECTIONS], values[MEMBERS]
    rooms = max(1, connections // members)
    _check_files(stage.target.pids().get("edge", ()), connections)
    company = company_of(stage, [connections // rooms + (room < connections % rooms) for room in range(rooms)])
    for follower in company.followers:
        follower.edge = 0
    findings = Findings()
    try:
        stage.progress("tokens")
        await company.fetch_tokens()
        await stage.sleep_until(time.monotonic() + SETTLE_S)
        stage.progress("without connections")
        async with stage.window("no connections") as nothing:
            await stage.sleep_until(time.monotonic() + min(BASELINE_S, values[SECONDS]))
        stage.progress(f"{connections:,} connect")
        await company.enter(values[PER_SECOND], join=False)
        async with living(company):
            connected = await _measure(stage, company, "connected", values[SECONDS])
            stage.progress(f"{connections:,} join {rooms:,} rooms")
            await _join(company, values[PER_SECOND])
            await settled(company, stage)
            joined = await _measure(stage, company, "in rooms", values[SECONDS])
            verdict = conclude(stage, findings, company)
        findings.tables.insert(0, _table(nothing, [connected, joined], connections))
        findings.histograms = {"heartbeat": company.heartbeat_latency}
        idle, in_room = (cost_between(nothing, window, "edge", connections) for window in (connected, joined))
        findings.figures = [
            Figure("edge memory, connected", idle.memory_bytes / KIB if idle else None, "KiB", "lower"),
            Figure("edge memory, in a room", in_room.memory_bytes / KIB if in_room else None, "KiB", "lower"),
            Figure("edge CPU of heartbeats", in_room.cores if in_room else None, "cores", "lower"),
            Figure("edge CPU of a heartbeat", in_room.heartbeat_us if in_room else None, "µs", "lower"),
            *times("heartbeat", company.heartbeat_latency, (50, 99)),
            Figure("connections", float(sum(follower.is_open for follower in company.followers))),
            Figure("lost", float(verdict.lost + verdict.missing), "", "lower"),
        ]
        findings.remarks.append(
            "memory is what processes have resident; buffers of the kernel for each socket are not in it"
        )
    finally:
        await company.close()
    return findings


def _check_files(pids: Sequence[int], connections: int) -> None:
    for pid in pids[:1]:
        try:
            allowed = files_allowed(Path(f"/proc/{pid}/limits").read_text())
        except OSError:
            return
        if allowed is not None and allowed < connections + FILES_BESIDE:
            raise CannotRun(
                f"the edge may have {allowed:,} open files, too few for {connections:,} connections; "
                "raise its limit (`ulimit -n`, LimitNOFILE)"
            )


async def _measure(stage: Stage, company: "Company", name: str, seconds: float) -> Window:
    await stage.sleep_until(time.monotonic() + SETTLE_S)
    stage.progress(name)
    async with stage.window(name) as window:
        answered = company.heartbeats_answered
        await stage.sleep_until(time.monotonic() + seconds)
        window.work, window.work_unit = company.heartbeats_answered - answered, "heartbeat"
    return window


async def _join(company: "Company", per_second: float) -> None:
    """Let all join their rooms, so many a second."""
    import asyncio

    from loadtest.light_socket import Unreachable

    begin_s = time.monotonic()
    answers: list[asyncio.Future[None]] = []
    for number, follower in enumerate(company.followers):
        await asyncio.sleep(max(0.0, begin_s + number / per_second - time.monotonic()))
        if follower.is_open:
            answers.append(follower.join(with_token=False))
    try:
        async with asyncio.timeout(30.0):
            await asyncio.gather(*answers)
    except (Unreachable, TimeoutError) as error:
        raise CannotRun(f"not everybody can join: {error or 'no answer'}") from error


def _table(nothing: Window, windows: Sequence[Window], connections: int) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for window in windows:
        for kind in window.usage:
            cost = cost_between(nothing, window, kind, connections)
            if cost is not None:
                rows.append((f"{window.name}: {kind}", cost.memory_bytes / KIB, cost.cores, cost.heartbeat_us))
    return Table("beyond no connections", ("KiB each", "cores", "µs a heartbeat"), rows)


SCENARIO: Final = Scenario(
    name="idle-connections",
    summary="many connections that do nothing but live: memory and CPU of each",
    options=(CONNECTIONS, SECONDS, MEMBERS, PER_SECOND),
    run=_run,
    settings=_settings,
    edges=1,
    workers=1,
)
