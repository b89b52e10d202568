import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.compare import BadResult, read, render
from loadtest.scenario import Figure
from tests.unit.loadtest.results import findings_of, result_of


def write(path: Path, *values: float | None, names: tuple[str, ...] = ("latency p99",), **changes: Any) -> Path:
    figures = [Figure(name, value, "ms", "lower") for name, value in zip(names, values, strict=True)]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result_of(findings=findings_of(figures=figures), **changes).to_json()))
    return path


def rows(*paths: Path) -> list[list[str]]:
    return [line.split() for line in render([read(path) for path in paths]).splitlines()]


def test_figures_stand_side_by_side_with_the_ratio_to_the_first(tmp_path: Path) -> None:
    before, after = write(tmp_path / "a.json", 10.0), write(tmp_path / "b.json", 15.0)
    head, figure = rows(before, after)
    assert head == ["space", str(before), str(after), "ratio"]
    assert figure == ["latency", "p99,", "ms", "10.0", "15.0", "1.50"]


def test_servers_with_names_of_their_own_go_by_them(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.json", 1.0, label="before"), write(tmp_path / "b.json", 1.0, label="after")
    assert rows(first, second)[0] == ["space", "before", "after", "ratio"]


def test_of_several_runs_the_median_and_the_range_are_told(tmp_path: Path) -> None:
    for number, value in enumerate((4.0, 100.0, 2.0)):
        write(tmp_path / "before" / f"{number}.json", value)
    text = render([read(tmp_path / "before"), read(write(tmp_path / "after.json", 2.0))])
    head, figure, *remarks = text.splitlines()
    assert f"{tmp_path / 'before'}, 3 runs" in head
    assert figure.split() == ["latency", "p99,", "ms", "4.00", "(2.00", "to", "100)", "2.00", "0.50"]
    assert "Medians" in remarks[1]


def test_what_a_run_has_not_is_left_open(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", None, 0.0, names=("a", "zero"))
    second = write(tmp_path / "b.json", 1.0, 1.0, 1.0, names=("a", "b", "zero"))
    _, a, zero, b = rows(first, second)
    assert (a, zero, b) == (
        ["a,", "ms", "-", "1.00", "-"],
        ["zero,", "ms", "0.00", "1.00", "-"],
        ["b,", "ms", "-", "1.00", "-"],
    )


def test_other_options_and_bad_runs_are_pointed_out(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", 1.0)
    second = write(tmp_path / "b.json", 1.0, values={"members": 3, "rate": 20.0}, workers=4, interrupted=True)
    text = render([read(first), read(second)])
    assert f"{second} ran with members=3 (not 2), workers=4 (not 1)" in text
    assert f"{second}: 1 of 1 runs FAILED or INVALID" in text


def test_other_scenarios_are_not_compared(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.json", 1.0), write(tmp_path / "b.json", 1.0, scenario="soak")
    with pytest.raises(BadResult, match="only runs of one scenario can be compared"):
        render([read(first), read(second)])
    with pytest.raises(BadResult, match="results of several scenarios: soak, space"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nonsense", "is no JSON"),
        ("[]", "is no result of a load test"),
        ('{"format": "x"}', "is no result of a load test"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadResult, match=part):
        read(tmp_path / "a.json")


def test_a_missing_file_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadResult, match="cannot be read: No such file"):
        read(tmp_path / "none.json")
    with pytest.raises(BadResult, match="has no results"):
        read(tmp_path)
