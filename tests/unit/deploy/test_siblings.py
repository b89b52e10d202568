"""A parent and its processes: real ones, that do next to nothing and say what happens to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Each says `<number> <pid>` when it can be told to end, and ends as `ends` says; the clock stands at `now`.
PROGRAM = """
import os, signal, sys
from common.log import configure
from deploy.siblings import Siblings

def say(line):
    # In one piece: three write to the same pipe.
    os.write(1, (line + "\\n").encode())

def main(number):
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)
    say(f"{number} {os.getpid()}")
    signal.sigwait(told)
    say(f"ended {number}")
    return {ends}

configure("json", "info")
sys.exit(Siblings(3, main, clock_s=lambda: next(now)).run())
"""


class Family:
    """A parent with three processes, and what they say."""

    def __init__(self, *, ends: str = "0", ages_s: str = "iter(range(0, 1000, 20))") -> None:
        program = f"now = {ages_s}\n" + PROGRAM.replace("{ends}", ends)
        self.parent = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.pids: dict[int, int] = {}

    def read(self, count: int) -> list[int]:
        """Read the numbers of so many processes that have started."""
        assert self.parent.stdout is not None
        started: list[int] = []
        while len(started) < count:
            number, pid = self.parent.stdout.readline().split()
            self.pids[int(number)] = int(pid)
            started.append(int(number))
        return started

    def ended(self) -> tuple[int, list[str], str]:
        """Wait for the end; returns the exit status, what was said until then, and what the log says."""
        out, log = self.parent.communicate(timeout=20)
        return self.parent.returncode, sorted(out.splitlines()), log

    def started(self) -> list[int]:
        return sorted(self.read(3))


@pytest.fixture
def family() -> Iterator[Any]:
    families: list[Family] = []

    def make(**options: str) -> Family:
        families.append(Family(**options))
        return families[-1]

    yield make
    for made in families:
        made.parent.kill()
        made.parent.communicate()


ALL_ENDED = ["ended 0", "ended 1", "ended 2"]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_all_end_when_the_parent_is_told_to(family: Any, told: signal.Signals) -> None:
    these = family()
    assert these.started() == [0, 1, 2]
    these.parent.send_signal(told)
    assert these.ended()[:2] == (0, ALL_ENDED)


def test_who_is_killed_is_started_again_alone(family: Any) -> None:
    these = family()
    these.started()
    before = dict(these.pids)
    os.kill(before[1], signal.SIGKILL)
    assert these.read(1) == [1]
    assert these.pids[1] != before[1]
    these.parent.terminate()
    status, said, log = these.ended()
    assert (status, said) == (0, ALL_ENDED)
    assert "started again" in log


def test_who_was_told_to_end_alone_is_followed_by_another(family: Any) -> None:
    these = family(ages_s="iter([0] * 1000)")
    these.started()
    os.kill(these.pids[2], signal.SIGTERM)
    assert these.parent.stdout is not None
    assert these.parent.stdout.readline() == "ended 2\n"
    assert these.read(1) == [2]
    these.parent.terminate()
    assert these.ended()[:2] == (0, ALL_ENDED)


def test_where_one_cannot_live_all_end(family: Any) -> None:
    these = family(ends="3 if number == 1 else 0", ages_s="iter([0] * 1000)")
    these.started()
    os.kill(these.pids[1], signal.SIGTERM)
    status, said, log = these.ended()
    assert (status, said) == (3, ALL_ENDED)
    assert "process failed" in log


def test_one_that_is_killed_young_counts_as_one_that_cannot_live(family: Any) -> None:
    these = family(ages_s="iter([0] * 1000)")
    these.started()
    os.kill(these.pids[0], signal.SIGKILL)
    assert these.ended()[:2] == (1, ["ended 1", "ended 2"])


def test_a_bad_end_is_told_by_the_status(family: Any) -> None:
    these = family(ends="number")
    these.started()
    these.parent.terminate()
    status, said, _ = these.ended()
    assert status in (1, 2)
    assert said == ALL_ENDED


def test_when_the_parent_is_killed_all_are_told_to_end(family: Any) -> None:
    these = family()
    these.started()
    these.parent.kill()
    # The pipe ends when the last of them has.
    status, said, _ = these.ended()
    assert (status, said) == (-signal.SIGKILL, ALL_ENDED)
