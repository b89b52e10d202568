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

# Each says `<number> <pid>` when it can be told to end, and ends as `ends` says; each death is at the next of `now`.
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

    def __init__(self, *, ends: str = "0", deaths_s: str = "") -> None:
        program = f"now = iter([{deaths_s}])\n" + PROGRAM.replace("{ends}", ends)
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
    these = family(deaths_s="0")
    these.started()
    before = dict(these.pids)
    os.kill(before[1], signal.SIGKILL)
    assert these.read(1) == [1]
    assert these.pids[1] != before[1]
    these.parent.terminate()
    status, said, log = these.ended()
    assert (status, said) == (0, ALL_ENDED)
    assert log.count("started again") == 1


def test_who_was_told_to_end_alone_is_followed_by_another_as_often_as_you_like(family: Any) -> None:
    these = family()
    these.started()
    for _ in range(5):
        os.kill(these.pids[2], signal.SIGTERM)
        assert these.parent.stdout is not None
        assert these.parent.stdout.readline() == "ended 2\n"
        assert these.read(1) == [2]
    these.parent.terminate()
    assert these.ended()[:2] == (0, ALL_ENDED)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 3), (signal.SIGKILL, 1)])
def test_after_three_deaths_within_ten_seconds_all_end(family: Any, how: signal.Signals, status: int) -> None:
    these = family(ends="3 if number == 1 else 0", deaths_s="0, 10, 15, 19.9")
    these.started()
    for _ in range(3):
        os.kill(these.pids[1], how)
        if how is signal.SIGTERM:
            assert these.parent.stdout.readline() == "ended 1\n"
        assert these.read(1) == [1]
    os.kill(these.pids[1], how)
    told, said, log = these.ended()
    assert told == status
    assert said == (ALL_ENDED if how is signal.SIGTERM else ["ended 0", "ended 2"])
    assert log.count("process failed") == 1


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
