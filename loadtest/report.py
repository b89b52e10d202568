"""The result of a run: the verdict, the text for people and the values for programs. No IO."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtest.accounting import OrderTotals, TransformTotals, settle_order, settle_transforms
from loadtest.generator import GeneratorResult
from loadtest.histogram import Histogram
from loadtest.plan import Plan
from loadtest.processes import KindUsage
from loadtest.table import render_table

LAG_P99_MAX_US: Final = 10_000
"""A generator that sends later than this measures itself: a room of 40 is to stay below it altogether."""

GENERATOR_CORES_MAX: Final = 0.9
"""A generator near one core reads late, and its own queueing would count as the server's latency."""

CLOSED_SHOWN_MAX: Final = 5
_PERCENTILES: Final = (50.0, 95.0, 99.0)


@dataclass(frozen=True)
class Report:
    """One run, judged."""

    plan: Plan
    host: Mapping[str, object]
    """Facts of the machine that bear on the numbers; not its name."""
    result: GeneratorResult
    usage: Mapping[str, KindUsage]
    """By kind of process; empty when the caller gave no process ids."""
    machine_cpu_s: float | None
    """Busy time of all cores over the measured window, whoever used them; None where it is not known."""
    interrupted: bool
    transforms: TransformTotals
    order: OrderTotals

    @classmethod
    def of(
        cls,
        plan: Plan,
        host: Mapping[str, object],
        result: GeneratorResult,
        usage: Mapping[str, KindUsage],
        machine_cpu_s: float | None,
        *,
        interrupted: bool,
    ) -> "Report":
        """Judge the merged result of all generators."""
        transforms = settle_transforms(
            result.senders, result.transforms, lambda user_id, seq: plan.transform_us(result.member_of[user_id], seq)
        )
        return cls(plan, host, result, usage, machine_cpu_s, interrupted, transforms, settle_order(result.order))

    def failures(self) -> list[str]:
        """Return what the server did wrong; empty when nothing."""
        transforms, order = self.transforms, self.order
        found = (
            (transforms.lost, "transforms lost"),
            (transforms.out_of_order, "transforms out of order"),
            (transforms.duplicates, "transforms delivered twice"),
            (transforms.strange, "transforms of nobody in the room"),
            (order.chats_unanswered, "chat messages without an answer"),
            (order.gaps, "reliable events missing in the order"),
            (order.out_of_order, "reliable events out of order"),
            (order.duplicates, "reliable events delivered twice"),
            (order.epoch_changes, "changes of epoch that were not told"),
            (order.mismatches, "places in the order that differ between receivers"),
            (order.acked_missing, "acknowledged messages not delivered"),
            (len(self.result.closed), "closed sockets"),
            (self.result.bad_frames, "frames that are no server event"),
        )
        return [f"{count:,} {what}" for count, what in found if count]

    def invalid(self) -> list[str]:
        """Return why the numbers do not hold; empty when they do."""
        reasons = []
        if self.interrupted:
            reasons.append(f"interrupted after {self.result.window_s:.1f} of {self.plan.seconds:g} measured seconds")
        if self.transforms.expected == 0:
            reasons.append("nothing was measured")
        lag_us = self.result.lag.percentile(99)
        if lag_us > LAG_P99_MAX_US:
            reasons.append(f"the generator sent {lag_us / 1000:.1f} ms late (p99, at most {LAG_P99_MAX_US // 1000})")
        cores = max(self._generator_cores(), default=0.0)
        if cores > GENERATOR_CORES_MAX:
            reasons.append(
                f"the generator used {cores:.2f} of a core (at most {GENERATOR_CORES_MAX}); use more generators"
            )
        return reasons

    @property
    def exit_status(self) -> int:
        """0 when the run is valid and nothing went wrong, otherwise 1."""
        return 1 if self.failures() or self.invalid() else 0

    # --- text -----------------------------------------------------------------------------------------------

    def render(self, *, colours: bool = False) -> str:
        """Return the report as text with a line feed at its end."""
        plan = self.plan
        lines = [
            f"Roomring load test: {_count(plan.rooms, 'room')} of {_count(plan.members_per_room, 'member')}, "
            f"{plan.rate:g} transforms/s each, {self.result.window_s:.1f} s, {_count(len(plan.urls), 'edge')}",
            "",
            *self._update_lines(),
            "",
            *self._latency_lines(),
            "",
            *self._order_lines(),
            "",
            *self._cpu_lines(),
            *self._remarks(),
            "",
            self._verdict(colours=colours),
        ]
        return "\n".join(lines) + "\n"

    def _update_lines(self) -> list[str]:
        totals = self.transforms
        names = ("expected", "delivered", "superseded", "refused", "lost", "out of order", "duplicates")
        values = (
            totals.expected,
            totals.delivered,
            totals.superseded,
            totals.refused,
            totals.lost,
            totals.out_of_order,
            totals.duplicates,
        )
        rows = [["Updates", *names], ["number", *(f"{value:,}" for value in values)]]
        if totals.expected:
            # The last two are no part of what was expected.
            rows.append(["share", *(f"{100 * value / totals.expected:.2f} %" for value in values[:5])])
        return render_table(rows)

    def _latency_lines(self) -> list[str]:
        rows = [["Latency, ms", "p50", "p95", "p99", "max", "samples"]]
        for name, histogram in (("transforms", self.result.transform_latency), ("chat", self.result.chat_latency)):
            rows.append([name, *_milliseconds(histogram), f"{histogram.total:,}"])
        rows.append(["generator lag", *_milliseconds(self.result.lag), f"{self.result.lag.total:,}"])
        return render_table(rows)

    def _order_lines(self) -> list[str]:
        order = self.order
        head = ["Reliable order", "sent", "acked", "received", "gaps", "out of order", "duplicates", "differing"]
        values = (
            order.chats_sent,
            order.chats_acked,
            order.received,
            order.gaps,
            order.out_of_order,
            order.duplicates,
            order.mismatches,
        )
        row = ["number", *(f"{value:,}" for value in values)]
        return render_table([[*head, "acked, missing"], [*row, f"{order.acked_missing:,}"]])

    def _cpu_lines(self) -> list[str]:
        rows = [["CPU", "processes", "cores", "µs per update", "RSS, MiB"]]
        for kind, usage in self.usage.items():
            rows.append(
                [
                    kind,
                    str(usage.processes),
                    self._cores(usage.cpu_s),
                    self._each(usage.cpu_s),
                    f"{usage.rss_bytes / 2**20:.1f}",
                ]
            )
        if self.usage:
            cpu_s = sum(usage.cpu_s for usage in self.usage.values())
            rss_bytes = sum(usage.rss_bytes for usage in self.usage.values())
            processes = sum(usage.processes for usage in self.usage.values())
            rows.append(["sum", str(processes), self._cores(cpu_s), self._each(cpu_s), f"{rss_bytes / 2**20:.1f}"])
        cpu_s = sum(self.result.cpu_s)
        rows.append(["generator", str(self.plan.generators), self._cores(cpu_s), self._each(cpu_s)])
        if self.machine_cpu_s is not None:
            # Far above the sum, it shows that others use the machine, and why a generator was late.
            rows.append([f"machine of {self.host.get('cores', '?')} cores", "", self._cores(self.machine_cpu_s)])
        return render_table(rows)

    def _remarks(self) -> list[str]:
        remarks = [f"refused: {event}, told {count:,} times" for event, count in self.result.rate_limited.items()]
        remarks += [f"error {code}: {count:,}" for code, count in self.result.error_codes.items()]
        if self.order.resyncs:
            remarks.append(f"resync: told {self.order.resyncs:,} times")
        closed = self.result.closed
        remarks += [
            f"socket of {socket.user_id} closed: {socket.code} {socket.reason}".rstrip()
            for socket in closed[:CLOSED_SHOWN_MAX]
        ]
        if len(closed) > CLOSED_SHOWN_MAX:
            remarks.append(f"and {len(closed) - CLOSED_SHOWN_MAX:,} more sockets closed")
        for kind, usage in self.usage.items():
            remarks += [f"{kind} process {pid} could not be read; its CPU is missing" for pid in usage.vanished]
        return ["", *(f"  {remark}" for remark in remarks)] if remarks else []

    def _verdict(self, *, colours: bool) -> str:
        invalid, failures = self.invalid(), self.failures()
        words = []
        if failures:
            words.append("FAILED: " + "; ".join(failures) + ".")
        if invalid:
            words.append("INVALID: " + "; ".join(invalid) + ".")
        text = "  " + " ".join(words or ["PASSED: nothing lost, everything in order."])
        if not colours:
            return text
        return f"\x1b[{31 if failures else 33 if invalid else 32}m{text}\x1b[0m"

    # --- values ---------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; times in microseconds unless the name says otherwise."""
        result = self.result
        return {
            "parameters": _parameters(self.plan),
            "host": dict(self.host),
            "passed": self.exit_status == 0,
            "failures": self.failures(),
            "invalid": self.invalid(),
            "windowSeconds": result.window_s,
            "transforms": asdict(self.transforms),
            "reliable": asdict(self.order) | {"errors": self.order.errors},
            "latencyUs": {
                "transforms": _histogram_json(result.transform_latency),
                "chat": _histogram_json(result.chat_latency),
                "generatorLag": _histogram_json(result.lag),
            },
            "updatesReceivedInWindow": result.window_received,
            "cpu": {
                "kinds": {
                    kind: asdict(usage)
                    | {"cores": usage.cpu_s / (result.window_s or 1), "usPerUpdate": self._us(usage.cpu_s)}
                    for kind, usage in self.usage.items()
                },
                "sumUsPerUpdate": self._us(sum(usage.cpu_s for usage in self.usage.values())) if self.usage else None,
                "machineCores": None
                if self.machine_cpu_s is None or not result.window_s
                else self.machine_cpu_s / result.window_s,
                "generator": {"cores": self._generator_cores(), "usPerUpdate": self._us(sum(result.cpu_s))},
            },
            "closedSockets": [asdict(socket) for socket in result.closed],
            "errorCodes": dict(result.error_codes),
            "rateLimited": dict(result.rate_limited),
            "badFrames": result.bad_frames,
        }

    def _generator_cores(self) -> list[float]:
        return [cpu_s / self.result.window_s for cpu_s in self.result.cpu_s] if self.result.window_s else []

    def _us(self, cpu_s: float) -> float | None:
        return cpu_s * 1e6 / self.result.window_received if self.result.window_received else None

    def _each(self, cpu_s: float) -> str:
        us = self._us(cpu_s)
        return "-" if us is None else f"{us:.2f}"

    def _cores(self, cpu_s: float) -> str:
        return f"{cpu_s / self.result.window_s:.2f}" if self.result.window_s else "-"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _milliseconds(histogram: Histogram) -> list[str]:
    if not histogram.total:
        return ["-"] * (len(_PERCENTILES) + 1)
    values = [*(histogram.percentile(percent) for percent in _PERCENTILES), histogram.max_us]
    return [f"{value / 1000:.2f}" for value in values]


def _histogram_json(histogram: Histogram) -> dict[str, Any]:
    return {
        **{f"p{percent:g}": histogram.percentile(percent) for percent in _PERCENTILES},
        "max": histogram.max_us,
        "samples": histogram.total,
        "buckets": histogram.sparse(),
    }


def _parameters(plan: Plan) -> dict[str, Any]:
    values = asdict(plan)
    del values["generator"]
    return values
