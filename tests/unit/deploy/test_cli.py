"""The command line as its users' mistakes meet it: one line, and the right exit status."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import BusUnavailable, ClusterMismatch, SettingsError
from deploy import cli, loadtest, serve
from deploy.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, main
from tests.unit.loadtest.results import result_of

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> tuple[int, str]:
        try:
            status = main(argv)
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            status = ended.code
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["frob"], "invalid choice: 'frob'"),
        (["edge", "--prot", "1"], "unknown argument '--prot'; see `roomring edge --help`"),
        (["--frob"], "unknown argument '--frob'"),
        (["edge", "--port", "abc"], "'abc' must be a port"),
        (["edge", "--port", "70000"], "'70000' must be a port"),
        (["up", "--edges", "0"], "'0' must be a whole number from 1"),
        (["up", "--edges", "x"], "'x' must be a whole number from 1"),
        (["loadtest"], "required: ACTION"),
        (["loadtest", "run"], "required: SCENARIO"),
        (["loadtest", "run", "space", "--against", "10.0.0.5:8080"], "'10.0.0.5:8080' must be a URL"),
        (["loadtest", "run", "space", "--workers", "0"], "'0' must be a whole number from 1"),
        (["loadtest", "run", "space", "--member", "5"], "unknown argument '--member'"),
        (["loadtest", "compare"], "required: RESULT"),
        (["token", "--room", "r"], "required: --user"),
        (["token", "--user", "u", "--room", "r", "--device", "fridge"], "invalid choice: 'fridge'"),
    ],
)
def test_a_wrong_call_is_one_line(run: Run, argv: list[str], part: str) -> None:
    status, error = run(*argv)
    assert status == EXIT_USAGE
    assert error.count("\n") == 1
    assert error.startswith("roomring: ")
    assert part in error
    assert "--help`" in error


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["run", "spaec"], "there is no scenario 'spaec'; it is one of space, "),
        (["list", "spaec"], "there is no scenario 'spaec'"),
        (["run", "space", "--set", "member=5"], "the scenario space has no option 'member'; it has members, "),
        (["run", "space", "--set", "rate=nan"], "--set rate: 'nan' must be a number above 0"),
        (["run", "space", "--seconds", "0"], "--set seconds: '0' must be a number above 0"),
        (["run", "space", "--set", "members"], "must be NAME=VALUE, for example --set members=40"),
        (["run", "space", "--edges", "2", "--against", "http://a"], "leave them or --against out"),
        (["run", "space", "--dialect", "irc", "--against", "http://a"], "there is no dialect 'irc'; it is one of "),
        (["run", "space", "--json", "no/such/result.json"], "there is no folder no/such"),
        (["compare", "none.json"], "none.json cannot be read"),
        (["compare", "none.json", "--by", "members"], "none.json cannot be read"),
        (["compare", "none.json", "--plot", "a.svg"], "--plot needs --by"),
        (["capacity", "--from", "none.json"], "none.json cannot be read"),
    ],
)
def test_a_wrong_load_test_says_in_one_line_what_to_write(run: Run, argv: list[str], part: str) -> None:
    status, error = run("loadtest", *argv)
    assert status == EXIT_USAGE
    assert error.count("\n") == 1
    assert error.startswith("roomring: ")
    assert part in error


def test_capacity_tells_what_a_load_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["loadtest", "capacity", "--rooms", "100", "--members", "20"]) == 0
    assert "100 rooms of 20 at 20 Hz" in capsys.readouterr().out


def test_compare_tells_and_draws_how_cost_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for members in (2, 4):
        result = result_of(values={"members": members, "rate": 20.0}).to_json()
        (tmp_path / f"{members}.json").write_text(json.dumps(result))
    plot = tmp_path / "plot.svg"
    argv = ["loadtest", "compare", str(tmp_path), "--by", "members"]
    assert cli.main([*argv, "--plot", str(plot)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["members", "runs"]
    assert [row.split()[0] for row in rows] == ["2", "4"]
    assert plot.read_text().startswith("<svg ")
    assert cli.main([*argv, "--plot", str(tmp_path / "none" / "plot.svg")]) == EXIT_USAGE
    assert "plot.svg cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["run", "space"], ["capacity"]])
def test_a_load_test_without_its_packages_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    def fail(_: str) -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(loadtest, "import_module", fail)
    status, error = run("loadtest", *argv)
    assert status == EXIT_USAGE
    assert error == 'roomring: load tests need numpy, too: pip install "roomring[loadtest]"\n'


def test_no_command_shows_the_help(run: Run) -> None:
    status, error = run()
    assert status == EXIT_USAGE
    assert "run a whole cluster on this machine" in error


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (SettingsError("set A"), EXIT_USAGE, "roomring: set A\n"),
        (BusUnavailable("no\n  Redis"), EXIT_FAILED, "roomring: no Redis\n"),
        (ClusterMismatch("other shape"), EXIT_FAILED, "roomring: other shape\n"),
        (BusUnavailable(), EXIT_FAILED, "roomring: BusUnavailable\n"),
        (OSError(errno.EADDRINUSE, "Address already in use"), EXIT_FAILED, None),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, ""),
    ],
)
def test_what_fails_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, failure: BaseException, status: int, text: str | None
) -> None:
    def fail(_: Any) -> int:
        raise failure

    monkeypatch.setattr(serve, "run_worker", fail)
    got, error = run("worker")
    assert got == status
    assert error.count("\n") <= 1
    assert text is None or error == text


def test_a_bug_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> int:
        raise OSError(errno.EBADF, "a bug")

    monkeypatch.setattr(serve, "run_worker", fail)
    with pytest.raises(OSError, match="a bug"):
        run("worker")


def test_every_command_has_its_function() -> None:
    for module, function in cli._COMMANDS.values():
        assert callable(getattr(__import__(module, fromlist=[function]), function))
