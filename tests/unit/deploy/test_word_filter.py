"""`roomring word-filter check`, and the worker that refuses a wrong list."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from common.settings import WorkerSettings
from deploy.cli import EXIT_OK, EXIT_USAGE, main
from roomworker.main import run as run_worker


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.toml"
    path.write_text('reject = ["one"]\nmask = ["two"]\n')
    return path


def test_verdicts(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["word-filter", "check", str(words), "zero", "a TWO", "one two", "\udcff"]) == EXIT_OK
    assert capsys.readouterr().out.splitlines() == [
        "reject 1, queue 0, mask 1, allow 0",
        "pass    zero",
        "mask    a ***   (two)",
        "reject  one ***   (one, two)",
        "pass    \\udcff",
    ]


def test_a_wrong_list_is_one_line(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words.write_text("mask = 1")
    assert main(["word-filter", "check", str(words)]) == EXIT_USAGE
    error = capsys.readouterr().err
    assert error.startswith("roomring: word list ")
    assert error.count("\n") == 1


def test_a_worker_does_not_start_with_a_wrong_list(words: Path) -> None:
    words.write_text("mask = 1")
    with pytest.raises(SettingsError, match="mask is no list"):
        run_worker(WorkerSettings(word_list_file=str(words)))
