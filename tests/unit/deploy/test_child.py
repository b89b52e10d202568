"""What a supervisor needs of one child, without starting any."""

from pathlib import Path

import pytest

from deploy.child import BoundedLog, Child, describe_exit


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child("edge-1", "edge", ["true"], {}, BoundedLog(tmp_path / "edge-1.log"))


def test_a_log_file_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "x.log"
    log = BoundedLog(path, bytes_max=200)
    for number in range(1000):
        log.write(b"line %d" % number)
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 200
    log.close()
    kept = (path.with_name("x.log.1").read_text() + path.read_text()).splitlines()
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]
    assert len(kept) > 10


def test_a_log_file_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old")
    (tmp_path / "x.log.1").write_text("older")
    BoundedLog(path).close()
    assert [file.name for file in tmp_path.iterdir()] == ["x.log"]
    assert path.read_text() == ""


def test_a_child_that_dies_young_is_started_later_each_time(child: Child) -> None:
    delays = [child.plan_restart(now_s=1.0) for _ in range(8)]
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert child.restart_at_s == 11.0


def test_a_child_that_lived_for_long_is_started_soon(child: Child) -> None:
    for _ in range(5):
        child.plan_restart(now_s=1.0)
    assert child.plan_restart(now_s=60.0) == 0.25


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with status 0"),
        (2, "ended with status 2"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_a_process_ended(status: int, text: str) -> None:
    assert describe_exit(status) == text


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")

    class Full(BoundedLog):
        def __init__(self) -> None:
            self._path = Path("/dev/full")
            self._bytes_max = 100
            self._size = 0
            self._file = self._path.open("wb", buffering=0)

    log = Full()
    log.write(b"lost")
    log.close()
    log.write(b"lost too")
