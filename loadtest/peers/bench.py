"""Measures Roomring and its peers in turn, round after round.

One server runs at a time. What fails is told, and the others go on. How a server is installed and measured is given to
it: see `measuring.py` and `installing.py`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import RoomringError
from loadtest.peers.batching import Batching
from loadtest.peers.catalogue import PEERS, ROOMRING
from loadtest.peers.comparison import (
    Comparison,
    FloorMeasured,
    Measured,
    Round,
    Sustained,
    order_of,
)
from loadtest.peers.comparison_text import title_of


@dataclass(frozen=True)
class Means:
    """What a comparison does its work with. Each may raise `RoomringError` or `OSError`."""

    install: Callable[[str], str]
    """Takes a peer's name, and returns its versions."""
    measure: Callable[[str, int], Measured]
    """Takes a server's name and the members of the room. A `KeyboardInterrupt` ends the comparison."""
    measure_floor: Callable[[int, Batching], FloorMeasured] | None
    """Takes the number of sockets and the batching; None: without the floor."""
    measure_fan_out: Callable[[], Measured] | None
    """Measures Roomring in a room in which much more is heard than said; None, as without the floor: not at all."""
    find_largest: Callable[[str], Sustained] | None
    """Takes a server's name, and finds the largest room that it sustains; None: this is not looked for. Interrupted as
    `measure`."""
    say: Callable[[str], None]
    """Takes a line for the user, who waits."""


class Bench:
    """One comparison."""

    def __init__(self, comparison: Comparison, means: Means, *, sizes: Sequence[int], rounds: int) -> None:
        """Prepare a comparison.

        Args:
            comparison: gets what is measured.
            sizes: members of the rooms; may be empty.
        """
        self.comparison = comparison
        self._means = means
        self._sizes = tuple(sizes)
        self._rounds = rounds
        self._begin_s = time.monotonic()

    def expected_s(self, run_s: float, floor_s: float, search_s: float) -> float:
        """Return about how long `run` takes.

        Args:
            run_s: of one run, with the start and the end of the server.
            floor_s: of one run of the floor.
            search_s: of the search for the largest room of one server, at most.
        """
        floors_s = floor_s if self._means.measure_floor else 0.0
        in_rounds_s = len(self._sizes) * self._rounds * (len(self._servers) * run_s + floors_s)
        in_rounds_s += self._rounds * (run_s + floors_s) if self._means.measure_fan_out else 0.0
        return in_rounds_s + (len(self._servers) * search_s if self._means.find_largest else 0.0)

    def install(self) -> None:
        """Install the peers; those that cannot be had are left out of what follows.

        Raises:
            KeyboardInterrupt: the user has interrupted it.
        """
        for name in self.comparison.servers:
            if name in PEERS:
                self._say(f"installing what {title_of(name)} needs, unless it is there")
                try:
                    self.comparison.versions[name] = self._means.install(name)
                except (RoomringError, OSError) as error:
                    self.comparison.missing[name] = str(error)
                    self._say(f"{title_of(name)} is left out: {error}")

    def run(self) -> Comparison:
        """Do all rounds, and the searches. Ends early, with what there is, when the user interrupts."""
        try:
            for members in self._sizes:
                for number in range(self._rounds):
                    self._do_round(Round(number, members))
            for number in range(self._rounds):
                self._measure_fan_out(number)
            for server in self._servers:
                self._find_largest(server)
        except KeyboardInterrupt:
            self.comparison.interrupted = True
        return self.comparison

    # --- rounds -----------------------------------------------------------------------------------------------

    @property
    def _servers(self) -> list[str]:
        return [name for name in self.comparison.servers if name not in self.comparison.missing]

    def _do_round(self, one: Round) -> None:
        self.comparison.rounds.append(one)
        for server in order_of(self._servers, one.number):
            measured = self._measure(server, one.members, f"round {one.number + 1} of {self._rounds}")
            if measured is None:
                continue
            one.measured[server] = measured
            if server == ROOMRING and measured.batching is not None:
                self._measure_floor(one, measured.batching)

    def _measure(self, server: str, members: int, step: str) -> Measured | None:
        return self._try(f"{title_of(server)}, {members} members, {step}", lambda: self._means.measure(server, members))

    def _measure_fan_out(self, number: int) -> None:
        if self._means.measure_fan_out is None:
            return
        step = f"round {number + 1} of {self._rounds}"
        measured = self._try(f"{title_of(ROOMRING)}, fan-out, {step}", self._means.measure_fan_out)
        if measured is not None and measured.batching is not None:
            one = Round(number, measured.members, {ROOMRING: measured})
            self.comparison.fan_out.append(one)
            self._measure_floor(one, measured.batching)

    def _try(self, where: str, measure: Callable[[], Measured]) -> Measured | None:
        """Measure something. Returns: None where that came to nothing, which is written down."""
        try:
            measured = measure()
        except (RoomringError, OSError) as error:
            self._fail(where, error)
            return None
        self._say(f"{where}: {_in_words(measured)}")
        return measured

    def _measure_floor(self, one: Round, batching: Batching) -> None:
        if self._means.measure_floor is None:
            return
        where = f"floor, {one.members} sockets, round {one.number + 1} of {self._rounds}"
        try:
            one.floor = self._means.measure_floor(one.members, batching)
        except (RoomringError, OSError) as error:
            self._fail(where, error)
        else:
            self._say(f"{where}: {one.floor.cpu_us:.2f} µs")

    def _fail(self, where: str, error: Exception) -> None:
        self.comparison.failed.append(f"{where}: {error}")
        self._say(f"{where}: came to nothing: {error}")

    def _find_largest(self, server: str) -> None:
        if self._means.find_largest is None:
            return
        where = f"{title_of(server)}, largest room"
        try:
            found = self._means.find_largest(server)
        except (RoomringError, OSError) as error:
            self._fail(where, error)
        else:
            self.comparison.sustained.append(found)
            self._say(f"{where}: {found.members} members, {found.updates_per_second:,.0f} updates/s")

    def _say(self, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._begin_s), 60)
        self._means.say(f"{minutes}:{seconds:02} {text}")


def _in_words(measured: Measured) -> str:
    words = f"{measured.cpu_us:.2f} µs, p50 {_ms(measured.p50_ms)}, p99 {_ms(measured.p99_ms)}"
    return f"{words}; not sound" if measured.invalid or measured.failures else words


def _ms(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:.1f} ms"
