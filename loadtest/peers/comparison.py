"""What the rounds say of one server beside another. No IO, no clock.

Each round measures all servers one after the other, so that a machine that is slower for a while is slower for all of
them. Servers are therefore compared within a round, and the median is taken of the rounds' ratios, never the ratio of
two medians.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from loadtest.peers.batching import Batching


@dataclass(frozen=True)
class Measured:
    """One run of one server."""

    server: str
    """Name in the catalogue."""
    members: int
    window_s: float
    updates: int
    """Updates that arrived within the window, summed over the receivers."""
    expected: int
    delivered: int
    superseded: int
    lost: int
    out_of_order: int
    duplicates: int
    """What became of the updates that were sent within the window."""
    p50_ms: float | None
    p99_ms: float | None
    """Of what was sent within the window; None where nothing of it arrived."""
    cpu_s: Mapping[str, float]
    """User and system time within the window by kind of process."""
    generator_cores: float
    others_cores: float = 0.0
    """What other programs used of the machine."""
    invalid: tuple[str, ...] = ()
    """Why the numbers do not hold; empty when they do."""
    failures: tuple[str, ...] = ()
    """What the server did wrong."""
    batching: Batching | None = None

    @property
    def cpu_us(self) -> float:
        """Time of all server processes for each delivered update, microseconds."""
        return sum(self.cpu_s.values()) / self.updates * 1e6 if self.updates else 0.0

    def cpu_us_of(self, kind: str) -> float:
        """Time of one kind of process for each delivered update, microseconds."""
        return self.cpu_s.get(kind, 0.0) / self.updates * 1e6 if self.updates else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**asdict(self), "cpu_us": self.cpu_us}


@dataclass(frozen=True)
class FloorMeasured:
    """One run of the floor program."""

    sockets: int
    updates: int
    cpu_s: float
    window_s: float
    asked: Batching
    got: Batching

    @property
    def cpu_us(self) -> float:
        """Time of the writing process for each update, microseconds."""
        return self.cpu_s / self.updates * 1e6 if self.updates else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {**asdict(self), "cpu_us": self.cpu_us}


@dataclass
class Round:
    """All servers once, one after the other, in a room of one size."""

    number: int
    members: int
    measured: dict[str, Measured] = field(default_factory=dict)
    """By server; one that failed is not there."""
    floor: FloorMeasured | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "number": self.number,
            "members": self.members,
            "measured": [one.to_json() for one in self.measured.values()],
            "floor": self.floor.to_json() if self.floor else None,
        }


@dataclass(frozen=True)
class Spread:
    """The median of some values, and how far they lie apart."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Return median and range; None where there are no values."""
    return Spread(median(values), min(values), max(values), len(values)) if values else None


Figure = Callable[[Measured], float | None]

FIGURES: Final[Mapping[str, Figure]] = {
    "cpu_us": lambda one: one.cpu_us if one.updates else None,
    "p50_ms": lambda one: one.p50_ms,
    "p99_ms": lambda one: one.p99_ms,
}
"""What servers are compared by; less is better in each. None where a run says nothing of it."""


def values_of(rounds: Sequence[Round], server: str, figure: str) -> list[float]:
    """Return a server's values, a round after the other; rounds that say nothing of it are left out."""
    found = [FIGURES[figure](one.measured[server]) for one in rounds if server in one.measured]
    return [value for value in found if value is not None]


def ratios_of(rounds: Sequence[Round], server: str, base: str, figure: str) -> list[float]:
    """Return how many times the base's value a server has, in each round that has both."""
    found = []
    for one in rounds:
        if server in one.measured and base in one.measured:
            value, of_base = FIGURES[figure](one.measured[server]), FIGURES[figure](one.measured[base])
            if value is not None and of_base:
                found.append(value / of_base)
    return found


def floor_ratios(rounds: Sequence[Round], base: str, kind: str) -> list[float]:
    """Return how many times the floor's CPU for each update one kind of the base's processes took, in each round."""
    return [
        one.measured[base].cpu_us_of(kind) / one.floor.cpu_us
        for one in rounds
        if one.floor is not None and one.floor.cpu_us > 0 and base in one.measured and one.measured[base].updates
    ]


def order_of(servers: Sequence[str], number: int) -> list[str]:
    """Return in which order a round takes the servers: each round begins with another, and every second goes back.

    So none is always the one after the same neighbour, whose leavings (closed sockets, warm caches) it would get.
    """
    begin = number // 2 % len(servers)
    turned = [*servers[begin:], *servers[:begin]]
    return turned[::-1] if number % 2 else turned


@dataclass(frozen=True)
class Sustained:
    """The largest room that a server sustained, as the scenario `large-room` found it."""

    server: str
    members: int
    """0 when not even the first size held."""
    updates_per_second: float
    p99_ms: float
    cpu_us: float
    """These three at that size; 0 where there is none."""
    broken_members: int | None
    """The smallest size that did not hold; None when all sizes did."""
    broken_by: str
    """Why it did not; empty when all sizes held."""
    invalid: tuple[str, ...] = ()
    """Why the numbers do not hold; empty when they do."""


@dataclass
class Comparison:
    """Everything that a comparison measured."""

    host: Mapping[str, object]
    """Facts of the machine that bear on the numbers; not its name."""
    started_at: str
    """UTC, ISO 8601."""
    servers: tuple[str, ...]
    """That were to be measured, Roomring first."""
    rate: float
    """Transforms a second of each member."""
    seconds: float
    """Measured time of each run."""
    rounds: list[Round] = field(default_factory=list)
    fan_out: list[Round] = field(default_factory=list)
    """Roomring alone beside the floor, in a room in which much more is heard than said."""
    versions: dict[str, str] = field(default_factory=dict)
    """Peer -> what it ran with."""
    missing: dict[str, str] = field(default_factory=dict)
    """Server -> why it could not be installed or started."""
    failed: list[str] = field(default_factory=list)
    """Runs that came to nothing, with the reason."""
    sustained: list[Sustained] = field(default_factory=list)
    interrupted: bool = False

    def of_size(self, members: int) -> list[Round]:
        """Return the rounds in rooms of one size."""
        return [one for one in self.rounds if one.members == members]

    @property
    def sizes(self) -> list[int]:
        """The sizes of rooms that were measured, in this order."""
        return list(dict.fromkeys(one.members for one in self.rounds))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "format": FORMAT,
            "host": dict(self.host),
            "started_at": self.started_at,
            "servers": list(self.servers),
            "rate": self.rate,
            "seconds": self.seconds,
            "rounds": [one.to_json() for one in self.rounds],
            "ratios": [self._ratios_json(members, server) for members in self.sizes for server in self.servers],
            "fan_out": [one.to_json() for one in self.fan_out],
            "versions": self.versions,
            "missing": self.missing,
            "failed": self.failed,
            "sustained": [asdict(one) for one in self.sustained],
            "interrupted": self.interrupted,
        }

    def _ratios_json(self, members: int, server: str) -> dict[str, Any]:
        rounds = self.of_size(members)
        found: dict[str, Any] = {"members": members, "server": server}
        for figure in FIGURES:
            of_ratios = spread(ratios_of(rounds, server, self.servers[0], figure))
            found[figure] = asdict(of_ratios) if of_ratios else None
        return found


FORMAT: Final = "roomring peers 1"
"""First field of each JSON file; the number changes when older readers would misunderstand."""
