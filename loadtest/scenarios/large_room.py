"""`large-room`: one room grows until latency or loss breaks.

A size is good where the p99 of the latency, the share lost and the share superseded are within their limits and no
socket was closed. A size that is not is tried once more, in another room, before it counts as bad: on a machine that
does other work too, one bad moment is no end. After the first bad size the gap to the last good one is halved until
it is small.

The generator must not be what breaks. Latency counts from the intended time, so a late generator makes a size look
worse, never better: a good size is good. Where the generator did not keep up at the least bad size, the result says
that the servers may bear more, and is invalid.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from common.arguments import count, positive
from loadtest.growth import Growth
from loadtest.options import share
from loadtest.own_cluster import let_in, let_move
from loadtest.scenario import Cell, Figure, Findings, Option, Scenario, Stage, Table, Values

if TYPE_CHECKING:
    from loadtest.moving import Moved

FROM: Final = Option("from", count, 50, "members that the room has first")
STEP: Final = Option("step", count, 50, "members that each step adds")
TO: Final = Option("to", count, 1_000, "members at most")
PRECISION: Final = Option("precision", count, 10, "gap between good and bad at which the search ends, members")
P99: Final = Option("p99", positive, 100.0, "latency up to which a size is good, p99, ms")
LOSS: Final = Option("loss", share, 0.0, "share of updates that may be lost, 0 to 1")
SUPERSEDED: Final = Option("superseded", share, 0.05, "share of updates that a newer one may replace, 0 to 1")
RATE: Final = Option("rate", positive, 20.0, "transforms a second for each member")
SECONDS: Final = Option("seconds", positive, 6.0, "measured time of each step, after two seconds to warm up")
CHATS: Final = Option("chats", positive, 1.0, "chat messages a second in the room; its members take turns")
GENERATORS: Final = Option("generators", count, 1, "processes that make the load")
TRIES: Final = Option("tries", count, 2, "how often a size is tried before it is bad")

COLUMNS: Final = (
    "updates/s",
    "p50, ms",
    "p99, ms",
    "lost, %",
    "superseded, %",
    "servers, cores",
    "µs per update",
    "generator, cores",
    "lag p99, ms",
    "verdict",
)


async def run(stage: Stage) -> Findings:
    """See `Scenario.run`."""
    from loadtest.play import plan_of, play
    from loadtest.scenario import CannotRun

    values = stage.values
    growth = Growth(values[FROM], values[STEP], max(values[TO], values[FROM]), values[PRECISION])
    search = Search(values)
    for size in growth:
        verdict = ""
        for attempt in range(1, values[TRIES] + 1):
            plan = plan_of(
                stage,
                rooms=1,
                members=size,
                rate=values[RATE],
                seconds=values[SECONDS],
                chats=values[CHATS],
                generators=values[GENERATORS],
            )
            name = f"{size} members" if attempt == 1 else f"{size} members, again"
            try:
                moved = await play(stage, plan, name)
            except CannotRun as error:
                if not search.steps:
                    raise
                verdict = search.add_closed(name, str(error))
                break
            if stage.interrupted.is_set():
                return search.findings(growth)
            verdict = search.add(name, size, moved)
            if not verdict:
                break
        growth.tell(size, good=not verdict)
    return search.findings(growth)


class Search:
    """Judges the steps, and sums them up."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._rows: list[tuple[Cell, ...]] = []
        self._best: Moved | None = None
        self._generator_fault: dict[int, str] = {}
        """Bad size -> what was wrong with the generator at it, the last time."""
        self.steps: list[Moved] = []

    def add(self, name: str, size: int, moved: "Moved") -> str:
        """Take a step. Returns: why its size is bad; empty where it is good."""
        from loadtest.result import generator_faults

        window = moved.window
        assert window is not None
        self.steps.append(moved)
        faults = generator_faults(replace(window, name=""))
        # A step that is too much for the generator is the end of the search, not of the run's worth.
        window.judged = False
        verdict = why_bad(moved, self._values)
        self._generator_fault.pop(size, None)
        if verdict and faults:
            self._generator_fault[size] = faults[0]
            verdict += f"; {faults[0]}"
        if not verdict and (self._best is None or moved.plan.members > self._best.plan.members):
            self._best = moved
        self._rows.append(_row(name, moved, verdict))
        return verdict

    def add_closed(self, name: str, reason: str) -> str:
        """Take a step that nobody could join. Returns: why its size is bad."""
        self._rows.append((name, *[None] * (len(COLUMNS) - 1), reason))
        return reason

    def findings(self, growth: Growth) -> Findings:
        """Sum up."""
        from collections import Counter

        from loadtest.moving import CLOSED, LOST, findings_of, latency_figures, told

        # A step that is too much may lose updates and slow readers; nothing excuses a wrong order.
        wrong: Counter[str] = Counter()
        for step in self.steps:
            wrong.update({what: count for what, count in step.failures().items() if what not in (LOST, CLOSED)})
        findings = Findings(failures=told(wrong))
        best, values = self._best, self._values
        if best is None:
            findings.figures = [Figure("last good size", 0, "members", "higher")]
            if growth.first_bad is not None and growth.first_bad not in self._generator_fault:
                findings.failures.append(f"{growth.first_bad} members, the first size, were too many already")
        else:
            assert best.window is not None
            of_best = findings_of([best])
            findings.histograms = of_best.histograms
            findings.figures = [
                Figure("last good size", best.plan.members, "members", "higher"),
                Figure("updates received at it", best.window.work / best.window.seconds, "1/s", "higher"),
                *latency_figures("latency at it", best.result.transform_latency),
                Figure("server CPU per update at it", best.window.cpu_us_each(), "µs", "lower"),
            ]
            if growth.first_bad is None and growth.last_good >= growth.most:
                findings.remarks.append(f"no size up to {growth.most} was bad; set to= higher to find the end")
        findings.tables = [Table("Steps", COLUMNS, self._rows)]
        findings.seconds = [seconds for step in self.steps for seconds in findings_of([step]).seconds]
        fault = self._generator_fault.get(growth.first_bad or 0)
        if fault is not None:
            findings.invalid.append(f"at {growth.first_bad} members {fault}: the servers may bear more")
        findings.details = {
            "limits": {"p99Ms": values[P99], "lossShare": values[LOSS], "supersededShare": values[SUPERSEDED]},
            "firstBad": growth.first_bad,
        }
        return findings


def why_bad(moved: "Moved", values: Values) -> str:
    """Return why the servers did not bear a step; empty where they did."""
    p99_ms = moved.result.transform_latency.percentile(99) / 1000
    reasons = []
    if p99_ms > values[P99]:
        reasons.append(f"p99 {p99_ms:.0f} ms")
    if moved.lost_share > values[LOSS]:
        reasons.append(f"{100 * moved.lost_share:.2g} % lost")
    if moved.superseded_share > values[SUPERSEDED]:
        reasons.append(f"{100 * moved.superseded_share:.2g} % superseded")
    if moved.result.closed:
        reasons.append(f"{len(moved.result.closed)} sockets closed")
    if not moved.transforms.expected:
        reasons.append("nothing was measured")
    return ", ".join(reasons)


def _row(name: str, moved: "Moved", verdict: str) -> tuple[Cell, ...]:
    window, latency = moved.window, moved.result.transform_latency
    assert window is not None
    seconds = window.seconds or 1.0
    return (
        name,
        window.work / seconds,
        latency.percentile(50) / 1000,
        latency.percentile(99) / 1000,
        100 * moved.lost_share,
        100 * moved.superseded_share,
        window.server_cpu_s() / seconds if window.usage else None,
        window.cpu_us_each(),
        sum(window.generator_cpu_s) / seconds,
        moved.result.lag.percentile(99) / 1000,
        verdict or "good",
    )


def _settings(values: Values) -> Mapping[str, str]:
    return {**let_in(20 * values[TO]), **let_move(values[RATE])}


SCENARIO: Final = Scenario(
    name="large-room",
    summary="one room grows until latency or loss breaks: the last size that was good",
    options=(FROM, STEP, TO, PRECISION, P99, LOSS, SUPERSEDED, RATE, SECONDS, CHATS, GENERATORS, TRIES),
    run=run,
    settings=_settings,
)
