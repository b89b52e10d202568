"""`roomring loadtest compare`: the main figures of several results side by side, and their ratios to the first."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from common.errors import SettingsError
from loadtest.report import show
from loadtest.result import FORMAT
from loadtest.table import render_table

RESULTS_MAX: Final = 1_000
"""Files in one folder; more is the wrong folder."""


class BadResult(SettingsError):
    """A file is no result of a load test, or not of the same scenario. One line."""


@dataclass
class Contender:
    """One or more runs of the same thing."""

    name: str
    """Of its file or folder."""
    label: str
    """What the servers are called."""
    scenario: str
    values: Mapping[str, Any]
    """Options of the first run, and how many edges and workers it had."""
    runs: int = 0
    bad_runs: int = 0
    """Those that failed or do not hold."""
    figures: dict[str, list[float]] = field(default_factory=dict)
    """Name of a figure -> its value in each run that has it."""
    units: dict[str, str] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any]) -> None:
        """Add one run."""
        self.runs += 1
        self.bad_runs += not result["passed"]
        for figure in result["figures"]:
            if figure["value"] is not None:
                self.figures.setdefault(figure["name"], []).append(float(figure["value"]))
            self.units.setdefault(figure["name"], figure["unit"])


def run(paths: Sequence[Path]) -> int:
    """Print the comparison of results. Returns: exit status 0.

    Raises:
        BadResult: a file is missing or no result, or they are not of one scenario.
    """
    sys.stdout.write(render([read(path) for path in paths]))
    return 0


def read(path: Path) -> Contender:
    """Read a result, or a folder with results of several runs of the same thing.

    Raises:
        BadResult: see there.
    """
    results = load_results(path)
    scenarios = {result["scenario"] for result in results}
    if len(scenarios) > 1:
        raise BadResult(f"{path} has results of several scenarios: {', '.join(sorted(scenarios))}")
    first = results[0]
    values = {**first["values"], "edges": first["edges"], "workers": first["workers"]}
    contender = Contender(str(path), first["label"], first["scenario"], values)
    for result in results:
        contender.add(result)
    return contender


def load_results(path: Path) -> list[dict[str, Any]]:
    """Return the values of a result file, or of all that are in a folder.

    Raises:
        BadResult: one cannot be read or is something else, or there is none.
    """
    if not path.is_dir():
        return [load_result(path)]
    files = sorted(path.rglob("*.json"))
    if not files:
        raise BadResult(f"{path} has no results; give JSON files that `roomring loadtest run --json FILE` wrote")
    if len(files) > RESULTS_MAX:
        raise BadResult(f"{path} has {len(files):,} JSON files; give the folder of one series of runs")
    return [load_result(file) for file in files]


def load_result(path: Path) -> dict[str, Any]:
    """Return the values of a result file.

    Raises:
        BadResult: it cannot be read, or is something else.
    """
    try:
        result = json.loads(path.read_text())
    except OSError as error:
        raise BadResult(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadResult(f"{path} is no JSON: {error}") from error
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise BadResult(f"{path} is no result of a load test; `roomring loadtest run --json FILE` writes them")
    return result


def render(contenders: Sequence[Contender]) -> str:
    """Return the comparison as text with a line feed at its end.

    Raises:
        BadResult: they are of different scenarios.
    """
    if len({contender.label for contender in contenders}) == len(contenders):
        # Where each has a name of its own, that says more than where it lies.
        contenders = [replace(contender, name=contender.label) for contender in contenders]
    first = contenders[0]
    for other in contenders[1:]:
        if other.scenario != first.scenario:
            raise BadResult(
                f"{first.name} is of the scenario {first.scenario}, {other.name} of {other.scenario}; "
                "only runs of one scenario can be compared"
            )
    names = list(dict.fromkeys(name for contender in contenders for name in contender.units))
    rows = [[first.scenario, *_heads(contenders)]]
    for name in names:
        unit = next(contender.units[name] for contender in contenders if name in contender.units)
        row = [f"{name}, {unit}" if unit else name]
        for number, contender in enumerate(contenders):
            row.append(_value(contender.figures.get(name, [])))
            if number:
                row.append(_ratio(contender.figures.get(name, []), first.figures.get(name, [])))
        rows.append(row)
    lines = render_table(rows)
    remarks = [*_differences(contenders), *_bad_runs(contenders)]
    if any(contender.runs > 1 for contender in contenders):
        remarks.insert(0, "Medians, with the least and the greatest value in parentheses.")
    return "\n".join([*lines, *([""] if remarks else []), *(f"  {remark}" for remark in remarks)]) + "\n"


def _heads(contenders: Sequence[Contender]) -> list[str]:
    heads = []
    for number, contender in enumerate(contenders):
        heads.append(contender.name if contender.runs == 1 else f"{contender.name}, {contender.runs} runs")
        if number:
            heads.append("ratio")
    return heads


def _value(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))} to {show(max(values))})"


def _ratio(values: Sequence[float], first: Sequence[float]) -> str:
    if not values or not first or median(first) == 0:
        return "-"
    return f"{median(values) / median(first):.2f}"


def _differences(contenders: Sequence[Contender]) -> list[str]:
    first = contenders[0]
    found = []
    for other in contenders[1:]:
        names = dict.fromkeys([*first.values, *other.values])
        differing = [name for name in names if first.values.get(name) != other.values.get(name)]
        told = ", ".join(f"{name}={other.values.get(name)} (not {first.values.get(name)})" for name in differing)
        if told:
            found.append(f"{other.name} ran with {told}")
    return found


def _bad_runs(contenders: Sequence[Contender]) -> list[str]:
    return [
        f"{contender.name}: {contender.bad_runs} of {contender.runs} runs FAILED or INVALID"
        for contender in contenders
        if contender.bad_runs
    ]
