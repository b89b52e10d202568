"""The seam between the scenarios of load tests and the harness that runs them. No IO.

A scenario is a module in `loadtest/scenarios/` with a constant `SCENARIO`. It says which options it takes, plays its
people, and returns `Findings`. The harness (`run.py`) starts the cluster, parses the options, measures processes,
Redis and metrics, shows the progress, and writes the reports; a scenario prints and writes nothing.

`list` imports all of these modules, so a scenario module imports whatever is heavy (the generator, aiohttp, numpy)
inside of its functions. A test holds them to that.
"""

import argparse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from common.errors import RoomringError, SettingsError
from loadtest.usage import Trace, Window

if TYPE_CHECKING:
    from loadtest.histogram import Histogram

T = TypeVar("T")

MODULES: Final[Mapping[str, str]] = {
    "space": "loadtest.scenarios.space",
    "large-room": "loadtest.scenarios.large_room",
    "many-rooms": "loadtest.scenarios.many_rooms",
    "broadcast-burst": "loadtest.scenarios.broadcast_burst",
    "catch-up-burst": "loadtest.scenarios.catch_up_burst",
    "reconnect-storm": "loadtest.scenarios.reconnect_storm",
    "idle-connections": "loadtest.scenarios.idle_connections",
    "redis-reset": "loadtest.scenarios.redis_reset",
    "soak": "loadtest.scenarios.soak",
}
"""Name of a scenario -> its module, in the order in which `list` shows them."""


class BadScenario(SettingsError):
    """There is no such scenario, or it does not take this option or value. One line that says what to write."""


class CannotRun(RoomringError):
    """A scenario cannot do its work here: nobody could join, or it needs a cluster of its own. One line."""


@dataclass(frozen=True)
class Option(Generic[T]):
    """Something that may be set for a scenario: `--set name=value`."""

    name: str
    """As users write it: one word, or several with `-` between."""
    parse: Callable[[str], T]
    """Takes the text; raises `argparse.ArgumentTypeError` with a text that says what the value must be."""
    default: T
    help: str
    """What it is, with its unit; begins with a lower-case letter and ends without a full stop."""


class Values:
    """The values of a scenario's options, looked up by the option itself: `values[MEMBERS]` is an int."""

    def __init__(self, options: Sequence[Option[Any]], given: Mapping[str, object] | None = None) -> None:
        """Take the defaults of `options`, with `given` (name -> parsed value) in place of some."""
        self._values: dict[str, Any] = {option.name: option.default for option in options} | dict(given or {})

    def __getitem__(self, option: Option[T]) -> T:
        value: T = self._values[option.name]
        return value

    def as_dict(self) -> dict[str, Any]:
        """Return all the values by name."""
        return dict(self._values)


# --- what a scenario gets -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """The servers that a scenario puts its load on, and what is known about them."""

    urls: tuple[str, ...]
    """Base URL of each edge, http://HOST:PORT, without a slash at its end."""
    dialect: str = "roomring"
    """How these servers are spoken to."""
    label: str = "roomring"
    """What the reports call them."""
    metrics_urls: Mapping[str, str] = field(default_factory=dict)
    """Name of a server process ("edge-1") -> URL of its Prometheus page; empty where not known."""
    internal_urls: tuple[str, ...] = ()
    """Base URL of each edge's internal listener, which has the administration API; empty where not known."""
    admin_key: str = ""
    """Empty where not known."""
    redis_url: str = ""
    """Empty where not known."""
    pids: Callable[[], Mapping[str, Sequence[int]]] = dict
    """Gives the process ids now, by kind ("edge", "worker", "valkey", "postgres"); none where not known."""
    restart_redis: Callable[[], None] | None = None
    """Ends Redis at once, starts it again without its data, and returns when it answers. Blocks. None: not ours."""

    @property
    def is_own(self) -> bool:
        """Whether it is a cluster that the harness started, and may break."""
        return self.restart_redis is not None


class Interruption(Protocol):
    """Whether somebody wants the run to end. An `asyncio.Event` is one."""

    def is_set(self) -> bool:
        """Tell whether they do."""
        ...

    async def wait(self) -> object:
        """Wait until they do. Safe to cancel."""
        ...


class Stage(Protocol):
    """What the harness gives a scenario for one run."""

    @property
    def target(self) -> Target:
        """The servers."""
        ...

    @property
    def values(self) -> Values:
        """The values of the scenario's options."""
        ...

    @property
    def interrupted(self) -> Interruption:
        """Set by Ctrl-C. The scenario then ends its work in order and returns what it has, within a few seconds; a
        second Ctrl-C cancels it. The harness itself says in the report that the run was interrupted."""
        ...

    @property
    def traces(self) -> Sequence[Trace]:
        """CPU and memory of each process, sampled once a second since the begin of the run; those of the generator
        have the kind "generator". They grow while one looks."""
        ...

    def progress(self, text: str) -> None:
        """Show what is going on now, in one line without a line feed; it replaces the text before. Cheap."""
        ...

    async def sleep_until(self, monotonic_s: float) -> bool:
        """Wait for a time of `time.monotonic()`. Returns: False as soon as the run is interrupted, else True."""
        ...

    def window(self, name: str = "", *, begin_s: float | None = None) -> AbstractAsyncContextManager[Window]:
        """Measure what the servers and the generator use until the end of the `async with`.

        Its begin and its end each read processes, Redis and metrics, which takes some milliseconds; the CPU of the
        processes is read last at the begin and first at the end, so that the reading is not in it. Windows may follow
        each other (give each a name then), but not overlap. The reports show all of them. Set `window.work`, at any
        time before the scenario returns, for the CPU of each.

        Args:
            begin_s: when it begins, in `time.monotonic()`: enter it some 0.2 s before, and what takes time is done
                when that comes. None: as soon as it can.
        """
        ...

    async def restart_redis(self) -> None:
        """End Redis at once, and start it again without its data; return when it answers.

        Raises:
            CannotRun: the cluster is not ours.
        """
        ...


# --- what a scenario returns --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One number that a run is about, and by which runs are compared."""

    name: str
    """The same in every run of the scenario, whatever its options: "latency p99"."""
    value: float | None
    """None where this run could not measure it."""
    unit: str = ""
    """ "ms", "µs", "1/s", "MiB", "cores"; empty for a plain count."""
    better: str = ""
    """ "lower" or "higher"; empty where neither is better."""
    main: bool = True
    """Whether the report on the terminal shows it on top; False where one of its tables does."""


Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table of the report. Whole numbers are shown with separators, others with three significant digits or more,
    None as "-"."""

    title: str
    """Above the first column."""
    columns: tuple[str, ...]
    """Above the others; with units: "p99, ms"."""
    rows: list[tuple[Cell, ...]]
    """The first cell of each names the row. A row may be shorter."""


@dataclass(frozen=True)
class Seconds:
    """Latencies by second, for the plots of latency and throughput over time."""

    name: str
    """What arrived: "transforms"."""
    begin_s: float
    """Begin of the first second, in `time.monotonic()`."""
    histograms: "list[Histogram]"
    """One for each second: what was intended to be sent in it."""


@dataclass(frozen=True)
class Series:
    """Any other value over time, for a plot of its own. Series with the same unit share one."""

    name: str
    unit: str
    points: list[tuple[float, float]]
    """(time in `time.monotonic()`, value), in the order of time."""


@dataclass
class Findings:
    """What a scenario found out."""

    figures: list[Figure] = field(default_factory=list)
    """The main ones first."""
    tables: list[Table] = field(default_factory=list)
    """In the order of the report."""
    histograms: "dict[str, Histogram]" = field(default_factory=dict)
    """Name -> latencies of the whole run, microseconds; for the table and the plot by percentile."""
    seconds: list[Seconds] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """Lines that help to read the numbers, and are no fault."""
    failures: list[str] = field(default_factory=list)
    """What the servers did wrong: "4 transforms lost". Any makes the run FAILED."""
    invalid: list[str] = field(default_factory=list)
    """Why the numbers do not hold. Any makes the run INVALID."""
    details: dict[str, Any] = field(default_factory=dict)
    """Further values for the JSON file; JSON types only."""


# --- the scenario -------------------------------------------------------------------------------------------


def _no_settings(_: Values) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Scenario:
    """One kind of load test."""

    name: str
    """As users write it."""
    summary: str
    """What it measures, in one line without a full stop."""
    options: tuple[Option[Any], ...]
    """In the order of `list`."""
    run: Callable[[Stage], Awaitable[Findings]]
    """Does it. Called once for each run.

    Raises:
        CannotRun: there is nothing to measure.
    """
    settings: Callable[[Values], Mapping[str, str]] = _no_settings
    """Gives the settings (ROOMRING_...) that an own cluster needs for it; those of the environment win."""
    edges: int = 2
    """Edges of an own cluster where the user says nothing."""
    workers: int = 2
    needs_own_cluster: bool = False
    """Whether it breaks things: then it is refused with --against."""


def load(name: str) -> Scenario:
    """Return a scenario by its name.

    Raises:
        BadScenario: there is none of this name.
    """
    if name not in MODULES:
        raise BadScenario(f"there is no scenario {name!r}; it is one of {', '.join(MODULES)}")
    scenario = import_module(MODULES[name]).SCENARIO
    assert isinstance(scenario, Scenario)
    assert scenario.name == name
    return scenario


def load_all() -> list[Scenario]:
    """Return all scenarios, in the order in which they are listed."""
    return [load(name) for name in MODULES]


def parse_values(scenario: Scenario, settings: Sequence[str]) -> Values:
    """Return the values of a scenario's options.

    Args:
        settings: "name=value" each, as they follow --set; of two for one name the last counts.

    Raises:
        BadScenario: one has another form, or the scenario takes no such option or value.
    """
    options = {option.name: option for option in scenario.options}
    given: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise BadScenario(f"--set {setting!r} must be NAME=VALUE, for example {_example(scenario)}")
        if name not in options:
            known = ", ".join(options) or "none"
            raise BadScenario(f"the scenario {scenario.name} has no option {name!r}; it has {known}")
        try:
            given[name] = options[name].parse(text)
        except argparse.ArgumentTypeError as error:
            raise BadScenario(f"--set {name}: {error}") from None
    return Values(scenario.options, given)


def _example(scenario: Scenario) -> str:
    return f"--set {scenario.options[0].name}={scenario.options[0].default}" if scenario.options else "--set members=40"
