"""`soak`: people move and talk for a longer time, and memory is to stay flat.

All leave and come back after each round, so that what a join leaves behind shows as well. Each process is sampled once
a second: its private memory (RssAnon), since pages of files and shared ones come and go without a leak.
`loadtest/flatness.py` has the rule by which one grows. What happens before the end of `warm-up` does not
count: caches, pools and the history of the rooms fill then.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.own_cluster import let_in, let_move
from loadtest.scenario import Cell, Figure, Findings, Option, Scenario, Stage, Table, Values
from loadtest.usage import Trace

if TYPE_CHECKING:
    from loadtest.flatness import Trend
    from loadtest.moving import Moved

SECONDS: Final = Option("seconds", positive, 600.0, "time of the whole run, warm-up and coming back included")
ROUND: Final = Option("round", positive, 60.0, "measured time after which all leave and come back, seconds")
WARM_UP: Final = Option("warm-up", positive, 120.0, "time at the begin in which memory may grow, seconds")
GROWTH: Final = Option("growth", positive, 20.0, "growth of one server process up to which it is flat, MiB an hour")
MEMBERS: Final = Option("members", count, 40, "members of each room")
ROOMS: Final = Option("rooms", count, 1, "rooms")
RATE: Final = Option("rate", positive, 20.0, "transforms a second for each member")
CHATS: Final = Option("chats", positive, 5.0, "chat messages a second in each room; its members take turns")
GENERATORS: Final = Option("generators", count, 1, "processes that make the load")

_MIB: Final = 2**20
_ROUND_MIN_S: Final = 1.0


async def run(stage: Stage) -> Findings:
    """See `Scenario.run`."""
    from loadtest.moving import findings_of
    from loadtest.play import plan_of, play
    from loadtest.result import generator_faults

    values = stage.values
    begin_s = time.monotonic()
    runs: list[Moved] = []
    while not stage.interrupted.is_set():
        left_s = begin_s + values[SECONDS] - time.monotonic()
        if runs and left_s < _ROUND_MIN_S:
            break
        plan = plan_of(
            stage,
            rooms=values[ROOMS],
            members=values[MEMBERS],
            rate=values[RATE],
            seconds=max(_ROUND_MIN_S, min(values[ROUND], left_s)),
            chats=values[CHATS],
            generators=values[GENERATORS],
        )
        # The same people come back to the same rooms: new ones would have to be remembered, for an hour.
        plan = replace(plan, run_id=runs[0].plan.run_id) if runs else plan
        runs.append(await play(stage, plan, f"round {len(runs) + 1}"))
    findings = findings_of(runs)
    for window in (run.window for run in runs if run.window is not None):
        # Memory is what this is about; a stall of the machine in all the time must not spoil it.
        findings.remarks += [f"{fault}: the latencies are not the servers' alone" for fault in generator_faults(window)]
        window.judged = False
    servers = [trace for trace in stage.traces if trace.kind != "generator"]
    add_memory(findings, servers, begin_s + values[WARM_UP], values[GROWTH])
    return findings


def add_memory(findings: Findings, traces: Sequence[Trace], from_s: float, growth_mib: float) -> None:
    """Judge the memory of processes, and add what was found.

    Args:
        from_s: end of the warm-up, in `time.monotonic()`.
        growth_mib: growth of a process up to which it is flat, MiB an hour.
    """
    from loadtest.flatness import trend_of

    rows: list[tuple[Cell, ...]] = []
    trends: dict[str, Trend] = {}
    for trace in traces:
        samples = [
            (at_s, usage.private_bytes / _MIB)
            for at_s, usage in zip(trace.at_s, trace.usage, strict=True)
            if at_s >= from_s
        ]
        trend = trends[trace.name] = trend_of(samples, growth_mib)
        first, last = (samples[0][1], samples[-1][1]) if samples else (None, None)
        rows.append((trace.name, first, last, trend.per_hour, trend.rise, trend.noise, trend.state))
    columns = ("after warm-up, MiB", "at the end", "slope, MiB/h", "rise, MiB", "noise, MiB", "state")
    findings.tables.insert(0, Table("Private memory", columns, rows))
    findings.failures += [
        f"{name} grows by {trend.per_hour:.1f} MiB an hour (at most {growth_mib:g})"
        for name, trend in trends.items()
        if trend.state == "grows"
    ]
    unclear = [name for name, trend in trends.items() if trend.state == "unclear"]
    if unclear:
        findings.invalid.append(f"too short to say whether memory grows ({', '.join(unclear)}); set seconds= higher")
    if trends:
        steepest = max(trend.per_hour for trend in trends.values())
        findings.figures.insert(0, Figure("steepest growth of a process", steepest, "MiB/h", "lower"))
    else:
        findings.invalid.append("memory is not known: the processes are not ours")


def _settings(values: Values) -> Mapping[str, str]:
    rounds = 1 + int(values[SECONDS] / values[ROUND])
    remembered_ms = max(1_000, int(values[WARM_UP] * 1000 / 2))
    return {
        **let_in(rounds * values[ROOMS] * values[MEMBERS]),
        **let_move(values[RATE]),
        # What rooms keep by count or by time is full before the warm-up ends; by default it takes longer.
        "ROOMRING_HISTORY_EVENTS_MAX": str(max(1, int(values[CHATS] * values[WARM_UP] / 2))),
        "ROOMRING_IDEMPOTENCY_WINDOW_MS": str(remembered_ms),
    }


SCENARIO: Final = Scenario(
    name="soak",
    summary="people move, talk, leave and come back for some time: whether memory stays flat",
    options=(SECONDS, ROUND, WARM_UP, GROWTH, MEMBERS, ROOMS, RATE, CHATS, GENERATORS),
    run=run,
    settings=_settings,
)
