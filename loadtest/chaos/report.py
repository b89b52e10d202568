"""What a chaos run tells: the table, and the same as JSON. No IO."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from msgspec import structs

from loadtest.chaos.conversations import Conversations
from loadtest.chaos.losses import Finding, Losses
from loadtest.chaos.plan import LOSES_DATA, Fault, percentile
from loadtest.checker import Counts
from loadtest.table import render_table

TAKEOVER_P99_MS: Final = 3_000.0
HANDOFF_P99_MS: Final = 200.0
LAG_P99_MS: Final = 50.0
"""Above it the clients' own process was too busy for its figures to be the server's."""

FINDINGS_SHOWN: Final = 20


@dataclass
class Trial:
    """One fault. Times are milliseconds of the wall clock."""

    fault: Fault
    target: str
    at_ms: float
    rooms: int = 0
    """Rooms concerned."""
    pauses_ms: list[float] = field(default_factory=list)
    """Of each room concerned; where an edge went, of each of its clients."""


@dataclass
class Report:
    """The result of a run."""

    seed: int
    seconds: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    findings: list[Finding] = field(default_factory=list)
    """Everything that must not be, by the checker, by the losses, and by what did not mend in time."""
    conversations: Conversations | None = None
    """Of a run with a database."""
    checked: Counts = field(default_factory=Counts)
    """What the checker counted, over all rooms."""
    resynced: list[tuple[float, str]] = field(default_factory=list)
    """When which client had to begin from a new state."""
    resent: int = 0
    refusals: int = 0
    code_changed: bool = False
    """Of the cluster, during the run: then the figures are of no one version."""
    rooms_compared: int = 0
    """Rooms whose members were compared at the end, after half of the people had left."""
    own_ends: int = 0
    """Processes that ended without having been told: those that start need a Valkey that takes writes."""
    refused_commits: dict[str, int] = field(default_factory=dict)
    """What workers said of commits that were refused: fenced, stale. Those of killed processes are missing."""
    waits_ms: list[float] = field(default_factory=list)
    """From sending to the ack, or to one's own movement, of what was sent once."""
    lags_ms: list[float] = field(default_factory=list)
    cpu_share: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def lines(self) -> list[str]:
        """Return the report for people."""
        header = ("fault", "times", "pause p50", "p99", "max", "lost", "twice", "gaps", "resynced")
        rows = [header, *(self._row(fault) for fault in Fault if any(trial.fault == fault for trial in self.trials))]
        losses = self.losses
        total = ("all", str(len(self.trials)), "", "", "", *(str(n) for n in self._counts(None)))
        return [
            *render_table([*rows, total]),
            "",
            *render_table(self._figures()),
            "",
            *self._conversations(),
            *self._notes(losses),
            *self._verdict(),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything that the report is made of."""
        return {
            "seed": self.seed,
            "ok": self.ok,
            "seconds": self.seconds,
            "faults": {
                fault.value: {
                    "times": sum(trial.fault == fault for trial in self.trials),
                    "pauseMs": _spread(self._pauses(fault)),
                    **dict(zip(("lost", "duplicates", "gaps", "resynced"), self._counts(fault), strict=True)),
                }
                for fault in Fault
            },
            "trials": [asdict(trial) for trial in self.trials],
            "losses": asdict(self.losses),
            "violations": [asdict(finding) for finding in self.findings],
            "conversations": None if self.conversations is None else asdict(self.conversations),
            "checked": structs.asdict(self.checked),
            "resent": self.resent,
            "refusals": self.refusals,
            "codeChanged": self.code_changed,
            "roomsCompared": self.rooms_compared,
            "ownEnds": self.own_ends,
            "refusedCommits": self.refused_commits,
            "waitMs": _spread(self.waits_ms),
            "clients": {"cpuShare": self.cpu_share, "loopLagMs": _spread(self.lags_ms)},
        }

    def _row(self, fault: Fault) -> tuple[str, ...]:
        pauses = self._pauses(fault)
        times = str(sum(trial.fault == fault for trial in self.trials))
        spread = [percentile(pauses, 50), percentile(pauses, 99), max(pauses, default=None)]
        return (fault.value, times, *(_ms(value) for value in spread), *(str(n) for n in self._counts(fault)))

    def _pauses(self, fault: Fault) -> list[float]:
        return [pause for trial in self.trials if trial.fault == fault for pause in trial.pauses_ms]

    def _counts(self, fault: Fault | None) -> tuple[int, int, int, int]:
        """Return what came after faults of a kind and before the next one: lost, twice, gaps, resyncs."""
        losses = self.losses
        return (
            sum(self._is_after(fault, finding.at_ms) for finding in losses.lost),
            sum(self._is_after(fault, finding.at_ms) for finding in losses.duplicates),
            sum(self._is_after(fault, finding.at_ms) for finding in losses.gaps),
            len({client for at_ms, client in self.resynced if self._is_after(fault, at_ms)}),
        )

    def _is_after(self, fault: Fault | None, at_ms: float) -> bool:
        if fault is None:
            return True
        before = [trial for trial in self.trials if trial.at_ms <= at_ms]
        return bool(before) and before[-1].fault == fault

    def _figures(self) -> list[tuple[str, ...]]:
        takeover = percentile(self._pauses(Fault.WORKER_KILL), 99)
        handoff = percentile(self._pauses(Fault.WORKER_DRAIN), 99)
        lag = percentile(self.lags_ms, 99)
        return [
            ("takeover after SIGKILL of a worker, p99", _ms(takeover), _limit(takeover, TAKEOVER_P99_MS)),
            ("hand-off at SIGTERM of a worker, p99", _ms(handoff), _limit(handoff, HANDOFF_P99_MS)),
            ("messages sent", f"{self.losses.sent:,}"),
            ("acknowledged", f"{self.losses.acknowledged:,}"),
            ("acknowledged events lost", f"{len(self.losses.lost):,}"),
            ("duplicates", f"{len(self.losses.duplicates):,}"),
            ("silent gaps", f"{len(self.losses.gaps):,}"),
            ("commits of zombies (two events at one place)", f"{len(self.losses.forks):,}"),
            ("commits refused as fenced, as stale", f"{self._refused('fenced')}, {self._refused('stale')}"),
            ("sent again; refused meanwhile", f"{self.resent:,}; {self.refusals:,}"),
            ("rooms whose members were compared at the end", f"{self.rooms_compared:,}"),
            ("the cluster's code changed during the run", "yes" if self.code_changed else "no"),
            ("processes that ended of themselves", f"{self.own_ends:,}"),
            ("observations checked", f"{self.checked.observations:,}"),
            ("events; resumed without a loss", f"{self.checked.events:,}; {self.checked.resumed:,}"),
            ("way there and back, p50", _ms(percentile(self.waits_ms, 50))),
            ("way there and back, p99", _ms(percentile(self.waits_ms, 99))),
            ("clients' process, share of one core", f"{100 * self.cpu_share:.0f} %"),
            ("its loop's lag, p99", _ms(lag), _limit(lag, LAG_P99_MS)),
        ]

    def _conversations(self) -> list[str]:
        found = self.conversations
        if found is None:
            return []
        rows = [
            ("direct messages acknowledged", f"{found.direct:,}"),
            ("kept chat acknowledged", f"{found.chats:,}"),
            ("changes of notes acknowledged; conflicts", f"{found.notes:,}; {found.conflicts:,}"),
            ("messages and revisions in the database", f"{found.stored:,}"),
            ("acknowledged or seen, and not kept", f"{len(found.lost):,}"),
            ("kept, or in an inbox, twice", f"{len(found.doubles):,}"),
            ("kept elsewhere than seen; revisions with a hole", f"{len(found.misplaced):,}"),
            ("gone, twice, with the store's data", f"{found.lost_with_the_store:,}; {found.doubles_with_the_store:,}"),
        ]
        return [*render_table(rows), ""]

    def _refused(self, reason: str) -> str:
        return f"{self.refused_commits.get(reason, 0):,}"

    def _notes(self, losses: Losses) -> list[str]:
        notes = []
        if any(trial.fault in LOSES_DATA for trial in self.trials):
            notes.append(
                "  FLUSHALL is a loss of the store's data, and at a failover the replica may lack the last of it: new "
                f"epochs, resync. {losses.lost_with_the_store} acknowledged events went with it, and "
                f"{losses.duplicates_with_the_store} that were sent again stand in both epochs; neither is a violation."
            )
        lag = percentile(self.lags_ms, 99)
        if lag is not None and lag > LAG_P99_MS:
            notes.append("  The clients' own process was too busy: the pauses are partly its own.")
        return notes

    def _verdict(self) -> list[str]:
        lines = [f"  violation: {finding.text}" for finding in self.findings[:FINDINGS_SHOWN]]
        if len(self.findings) > FINDINGS_SHOWN:
            lines.append(f"  and {len(self.findings) - FINDINGS_SHOWN} more")
        if self.ok:
            lines.append(f"  no violation ({self.seconds:.0f} s, seed {self.seed})")
        else:
            lines.append(f"  {len(self.findings)} violations ({self.seconds:.0f} s, seed {self.seed})")
        return lines


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _limit(value: float | None, limit: float) -> str:
    if value is None:
        return ""
    return f"within {limit:,.0f} ms" if value <= limit else f"OVER {limit:,.0f} ms"


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "count": len(values),
        "p50": percentile(values, 50),
        "p99": percentile(values, 99),
        "max": max(values, default=None),
    }
