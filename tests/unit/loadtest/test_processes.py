import os
from pathlib import Path

import pytest

from loadtest.processes import (
    Memory,
    Stat,
    children_of,
    parse_machine,
    parse_stat,
    parse_status,
    read_usage,
    snapshot,
)
from loadtest.usage import Trace, Usage, grown, sum_over, usage_between

# The name holds a space and a parenthesis, which a split on spaces would fall over.
STAT = "4242 (valkey (srv) 1) S 17 4242 4242 0 -1 4194560 900 0 2 0 731 269 11 13 20 0 5 0 100 90000000 1500 184467\n"
STATUS = (
    "Name:\tvalkey\nVmPeak:\t   90000 kB\nVmRSS:\t   12345 kB\nRssAnon:\t   12000 kB\nRssFile:\t     300 kB\n"
    "RssShmem:\t      45 kB\nThreads:\t5\n"
)
KIB = 1024


def test_stat_gives_user_and_system_time_with_that_of_children_that_ended() -> None:
    assert parse_stat(STAT, 100) == Stat(parent=17, user_s=pytest.approx(7.42), system_s=pytest.approx(2.82))


@pytest.mark.parametrize("text", ["", "1 (x", "1 (x) S 1 2", "1 (x) " + "y " * 20])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_stat(text, 100)


def test_the_machine_is_busy_with_everything_but_idling_and_waiting() -> None:
    text = "cpu  100 10 50 5000 700 1 2 37 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert parse_machine(text, 100) == pytest.approx(2.0)
    with pytest.raises(ValueError):
        parse_machine("intr 5\n", 100)


def test_status_gives_private_and_shared_memory_and_none_for_a_zombie() -> None:
    assert parse_status(STATUS) == Memory(12_000 * KIB, 345 * KIB)
    assert parse_status("Name:\tgone\nState:\tZ (zombie)\n") == Memory(0, 0)


def put_process(
    proc: Path, pid: int, *, user: int, system: int = 0, private_kib: int = 100, shared_kib: int = 0, parent: int = 1
) -> None:
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    times = f"{user * os.sysconf('SC_CLK_TCK')} {system * os.sysconf('SC_CLK_TCK')}"
    (folder / "stat").write_text(f"{pid} (x) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 0 0 20 0\n")
    (folder / "status").write_text(f"RssAnon:\t{private_kib} kB\nRssFile:\t{shared_kib} kB\nRssShmem:\t0 kB\n")


def test_the_difference_sums_a_kind_and_names_the_vanished(tmp_path: Path) -> None:
    for pid in (1, 2, 3):
        put_process(tmp_path, pid, user=1, parent=0)
    pids = {"edge": [1, 2], "worker": [3, 4]}
    begin = snapshot(pids, tmp_path)
    put_process(tmp_path, 1, user=3, private_kib=200, parent=0)
    put_process(tmp_path, 2, user=1, system=4, private_kib=300, parent=0)
    (tmp_path / "3" / "stat").unlink()
    usage = usage_between(begin, snapshot(pids, tmp_path))
    assert (usage["edge"].user_s, usage["edge"].system_s, usage["edge"].cpu_s) == (2.0, 4.0, 6.0)
    assert (usage["edge"].processes, usage["edge"].rss_bytes, usage["edge"].vanished) == (2, 500 * KIB, ())
    assert (usage["worker"].cpu_s, usage["worker"].rss_bytes, usage["worker"].vanished) == (0.0, 0, (3, 4))


def test_a_process_that_began_in_between_counts_from_its_start() -> None:
    begin = {"valkey": {7: Usage(5.0, 5.0, 10)}}
    end = {"valkey": {8: Usage(1.0, 0.5, 20)}}
    usage = usage_between(begin, end)["valkey"]
    assert (usage.cpu_s, usage.rss_bytes, usage.vanished) == (1.5, 20, (7,))


def test_children_count_with_their_parent_and_what_they_share_once(tmp_path: Path) -> None:
    put_process(tmp_path, 1, user=1, private_kib=10, shared_kib=500, parent=0)
    put_process(tmp_path, 2, user=2, private_kib=20, shared_kib=400, parent=1)
    put_process(tmp_path, 3, user=4, private_kib=30, shared_kib=600, parent=2)
    put_process(tmp_path, 4, user=8, parent=9)
    assert children_of([1, 4], tmp_path) == {1: [2, 3], 4: []}
    usage = snapshot({"postgres": [1]}, tmp_path)["postgres"][1]
    assert usage == Usage(7.0, 0.0, (10 + 20 + 30 + 600) * KIB, 60 * KIB)


def test_a_child_that_has_ended_is_left_out(tmp_path: Path) -> None:
    put_process(tmp_path, 1, user=1)
    assert read_usage((1, 2), tmp_path) == Usage(1.0, 0.0, 100 * KIB, 100 * KIB)
    assert read_usage((2, 1), tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_this_process_can_be_read() -> None:
    usage = read_usage((os.getpid(),))
    assert usage is not None
    assert usage.cpu_s >= 0
    assert usage.rss_bytes >= usage.private_bytes > 1_000_000


def test_a_trace_tells_the_cores_of_each_interval_also_over_a_new_start() -> None:
    trace = Trace("valkey", "valkey", [10.0, 11.0, 13.0], [Usage(1.0, 1.0, 0), Usage(1.5, 1.0, 0), Usage(0.1, 0.0, 0)])
    assert trace.cores() == [(11.0, 0.5), (13.0, 0.0)]


def test_counters_that_fell_belong_to_a_new_process_and_those_that_stood_are_left_out() -> None:
    before = {"edge-1": {"a": 5.0, "b": 7.0, "c": 1.0}, "edge-2": {"a": 1.0}}
    after = {"edge-1": {"a": 8.0, "b": 2.0, "c": 1.0, "d": 4.0}, "edge-3": {"a": 9.0}}
    assert grown(before, after) == {"edge-1": {"a": 3.0, "b": 2.0, "d": 4.0}}
    assert sum_over({"x": {'a{p="1"}': 1.0}, "y": {'a{p="2"}': 2.0}}) == {"a": 3.0}
