"""What became of members who move and talk, in one run of generators or in several. No IO.

For scenarios whose people send transforms at a rate; `play.py` lets them do it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

from loadtest.accounting import OrderTotals, TransformTotals, settle_order, settle_transforms
from loadtest.generator import GeneratorResult
from loadtest.histogram import Histogram
from loadtest.plan import Plan
from loadtest.scenario import Cell, Figure, Findings, Seconds, Table
from loadtest.usage import Window

CLOSED_SHOWN_MAX: Final = 5

WINDOW_SHARE_MIN: Final = 0.9
"""Of the generators' window. A shorter one means that the machine had no time to measure when it should have."""

LOST: Final = "transforms lost"
CLOSED: Final = "closed sockets"
"""These two mean that servers could not bear the load; the other failures mean that they are wrong."""


@dataclass(frozen=True)
class Moved:
    """One run of generators, settled."""

    plan: Plan
    result: GeneratorResult
    """Of all generators, merged."""
    start_s: float
    """Where the plan's times count from, in `time.monotonic()`; 0 where it did not begin."""
    window: Window | None
    """None where the run was interrupted before the measured window."""
    transforms: TransformTotals
    order: OrderTotals

    @classmethod
    def of(cls, plan: Plan, result: GeneratorResult, start_s: float, window: Window | None) -> "Moved":
        """Settle what the generators saw."""
        transforms = settle_transforms(
            result.senders, result.transforms, lambda user_id, seq: plan.transform_us(result.member_of[user_id], seq)
        )
        return cls(plan, result, start_s, window, transforms, settle_order(result.order))

    @property
    def lost_share(self) -> float:
        """Share of the expected updates that were lost, 0 to 1."""
        return self.transforms.lost / self.transforms.expected if self.transforms.expected else 0.0

    @property
    def superseded_share(self) -> float:
        """Share of the expected updates that a newer one replaced, 0 to 1."""
        return self.transforms.superseded / self.transforms.expected if self.transforms.expected else 0.0

    def too_short(self) -> list[str]:
        """Return that the servers were measured for a much shorter time than they were under load, where it is so."""
        if self.window is None or self.window.seconds >= WINDOW_SHARE_MIN * self.result.window_s:
            return []
        place = f" ({self.window.name})" if self.window.name else ""
        return [f"the servers were measured for {self.window.seconds:.1f} of {self.result.window_s:.1f} s{place}"]

    def seconds(self) -> Seconds:
        """Return the latencies by second, those of the warm-up too; without a last second that was not full."""
        found = self.result.second_latency
        # The window ends some milliseconds early or late.
        full_s = int(self.plan.warmup_s + self.result.window_s + 0.05)
        last = max(found, default=-1)
        return Seconds(
            "transforms",
            self.start_s,
            [found.get(second, Histogram()) for second in range(min(last + 1, full_s) if full_s else last + 1)],
        )

    def failures(self) -> Counter[str]:
        """Return what the servers did wrong -> how often; empty when nothing."""
        transforms, order = self.transforms, self.order
        return +Counter(
            {
                LOST: transforms.lost,
                "transforms out of order": transforms.out_of_order,
                "transforms delivered twice": transforms.duplicates,
                "transforms of nobody in the room": transforms.strange,
                "chat messages without an answer": order.chats_unanswered,
                "reliable events missing in the order": order.gaps,
                "reliable events out of order": order.out_of_order,
                "reliable events delivered twice": order.duplicates,
                "changes of epoch that were not told": order.epoch_changes,
                "places in the order that differ between receivers": order.mismatches,
                "acknowledged messages not delivered": order.acked_missing,
                CLOSED: len(self.result.closed),
                "frames that are no server event": self.result.bad_frames,
            }
        )


def complete(window: Window, result: GeneratorResult, generators: int) -> None:
    """Write into a window what only the generators know: their work, their lag, their CPU.

    Each generator has a window of its own, which begins and ends some milliseconds beside this one, and farther off
    where the generator was stuck; so the rates are taken from there, and not the sums.
    """
    scale = window.seconds / result.window_s if result.window_s else 0.0
    window.work = round(result.window_received * scale)
    window.lag = result.lag
    if generators > 1:
        window.generator_cpu_s = [cpu_s * scale for cpu_s in result.cpu_s]


def findings_of(runs: Sequence[Moved]) -> Findings:
    """Return what one run of generators found, or several with the same plan that followed each other, as one."""
    merged = GeneratorResult()
    for run in runs:
        merged.merge(run.result)
    transforms = _sum_transforms([run.transforms for run in runs])
    order = _sum_orders([run.order for run in runs])
    windows = [run.window for run in runs if run.window is not None]
    findings = Findings(
        figures=_figures(merged, transforms, windows),
        tables=[_updates(transforms), _order(order), _received(runs)],
        histograms={"transforms": merged.transform_latency, "chat": merged.chat_latency},
        seconds=[run.seconds() for run in runs],
        remarks=_remarks(merged, order),
        failures=told(sum((run.failures() for run in runs), Counter())),
        details={
            "transforms": asdict(transforms),
            "reliable": asdict(order) | {"errors": order.errors},
            "updatesReceivedInWindows": sum(window.work for window in windows),
            "errorCodes": dict(merged.error_codes),
            "rateLimited": dict(merged.rate_limited),
            "closedSockets": [asdict(socket) for socket in merged.closed],
            "badFrames": merged.bad_frames,
            "readsInWindows": merged.window_reads,
            "messagesInWindows": merged.window_frames,
            "bytesInWindows": merged.window_bytes,
        },
    )
    if transforms.expected == 0:
        findings.invalid.append("nothing was measured")
    for run in runs:
        findings.invalid += run.too_short()
    return findings


def told(failures: Counter[str]) -> list[str]:
    """Return counted failures as texts."""
    return [f"{count:,} {what}" for what, count in failures.items()]


def latency_figures(name: str, histogram: Histogram) -> list[Figure]:
    """Return p50, p95 and p99 of latencies as figures, in ms."""
    return [
        Figure(
            f"{name} p{percent}",
            histogram.percentile(percent) / 1000 if histogram.total else None,
            "ms",
            "lower",
            main=False,
        )
        for percent in (50, 95, 99)
    ]


def cost_figures(windows: Sequence[Window]) -> list[Figure]:
    """Return what a unit of work cost over some windows: CPU of the servers, of kinds of them, and of Redis's calls."""
    work = sum(window.work for window in windows)
    if not work:
        return []
    unit = windows[0].work_unit

    def each_us(*kinds: str) -> float:
        return sum(window.server_cpu_s(*kinds) for window in windows) * 1e6 / work

    figures = []
    if all(window.usage for window in windows):
        figures.append(Figure(f"server CPU per {unit}", each_us(), "µs", "lower", main=False))
        kinds = dict.fromkeys(kind for window in windows for kind in window.usage)
        figures += [Figure(f"{kind} CPU per {unit}", each_us(kind), "µs", "lower", main=False) for kind in kinds]
    generators_s = sum(sum(window.generator_cpu_s) for window in windows)
    figures.append(Figure(f"generator CPU per {unit}", generators_s * 1e6 / work, "µs", main=False))
    return figures


def _figures(merged: GeneratorResult, transforms: TransformTotals, windows: Sequence[Window]) -> list[Figure]:
    seconds = sum(window.seconds for window in windows)
    received = sum(window.work for window in windows)
    expected = transforms.expected
    return [
        *latency_figures("latency", merged.transform_latency),
        Figure("updates received", received / seconds if seconds else None, "1/s", "higher"),
        Figure("lost", 100 * transforms.lost / expected if expected else None, "%", "lower", main=False),
        Figure("superseded", 100 * transforms.superseded / expected if expected else None, "%", "lower", main=False),
        Figure("out of order", transforms.out_of_order, "", "lower", main=False),
        *latency_figures("chat latency", merged.chat_latency),
        *cost_figures(windows),
    ]


def _updates(totals: TransformTotals) -> Table:
    expected = totals.expected
    columns = ("expected", "delivered", "superseded", "refused", "lost", "out of order", "duplicates")
    shared = (expected, totals.delivered, totals.superseded, totals.refused, totals.lost)
    rows: list[tuple[Cell, ...]] = [("number", *shared, totals.out_of_order, totals.duplicates)]
    if expected:
        # The last two are no part of what was expected.
        rows.append(("share", *(f"{100 * value / expected:.2f} %" for value in shared)))
    return Table("Updates", columns, rows)


def _order(order: OrderTotals) -> Table:
    columns = ("sent", "acked", "received", "gaps", "out of order", "duplicates", "differing", "acked, missing")
    values = (
        order.chats_sent,
        order.chats_acked,
        order.received,
        order.gaps,
        order.out_of_order,
        order.duplicates,
        order.mismatches,
        order.acked_missing,
    )
    return Table("Reliable order", columns, [("number", *values)])


def _received(runs: Sequence[Moved]) -> Table:
    """What came out of the sockets: how much the servers put into a message, and into a write."""
    columns = ("updates", "messages", "reads", "MiB", "updates per message", "updates per read")
    results = [run.result for run in runs]
    seconds = sum(result.window_s for result in results)
    if not seconds:
        return Table("Received", columns, [])
    updates = sum(result.window_received for result in results)
    messages = sum(result.window_frames for result in results)
    reads = sum(result.window_reads for result in results)
    mib = sum(result.window_bytes for result in results) / 2**20
    row: tuple[Cell, ...] = (
        "a second",
        *(number / seconds for number in (updates, messages, reads, mib)),
        updates / messages if messages else None,
        updates / reads if reads else None,
    )
    return Table("Received", columns, [row])


def _remarks(result: GeneratorResult, order: OrderTotals) -> list[str]:
    remarks = [f"refused: {event}, told {count:,} times" for event, count in result.rate_limited.items()]
    remarks += [f"error {code}: {count:,}" for code, count in result.error_codes.items()]
    if order.resyncs:
        remarks.append(f"resync: told {order.resyncs:,} times")
    remarks += [
        f"socket of {socket.user_id} closed: {socket.code} {socket.reason}".rstrip()
        for socket in result.closed[:CLOSED_SHOWN_MAX]
    ]
    if len(result.closed) > CLOSED_SHOWN_MAX:
        remarks.append(f"and {len(result.closed) - CLOSED_SHOWN_MAX:,} more sockets closed")
    return remarks


def _sum_transforms(totals: Sequence[TransformTotals]) -> TransformTotals:
    names = [field.name for field in fields(TransformTotals)]
    return TransformTotals(**{name: sum(getattr(one, name) for one in totals) for name in names})


def _sum_orders(totals: Sequence[OrderTotals]) -> OrderTotals:
    names = [field.name for field in fields(OrderTotals)]
    return OrderTotals(**{name: sum(getattr(one, name) for one in totals) for name in names})
