import os
from pathlib import Path

import pytest

from loadtest.processes import (
    KindUsage,
    Usage,
    difference,
    parse_machine,
    parse_stat,
    parse_status_rss,
    read_usage,
    snapshot,
)

# The name holds a space and a parenthesis, which a split on spaces would fall over.
STAT = "4242 (valkey (srv) 1) S 1 4242 4242 0 -1 4194560 900 0 2 0 731 269 11 13 20 0 5 0 100 90000000 1500 184467\n"
STATUS = "Name:\tvalkey\nVmPeak:\t   90000 kB\nVmRSS:\t   12345 kB\nThreads:\t5\n"


def test_stat_gives_user_and_system_time_without_the_childrens():
    assert parse_stat(STAT, 100) == pytest.approx(10.0)


@pytest.mark.parametrize("text", ["", "1 (x", "1 (x) S 1 2", "1 (x) " + "y " * 20])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError):
        parse_stat(text, 100)


def test_the_machine_is_busy_with_everything_but_idling_and_waiting():
    text = "cpu  100 10 50 5000 700 1 2 37 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert parse_machine(text, 100) == pytest.approx(2.0)
    with pytest.raises(ValueError):
        parse_machine("intr 5\n", 100)


def test_status_gives_resident_memory_and_zero_for_a_zombie():
    assert parse_status_rss(STATUS) == 12345 * 1024
    assert parse_status_rss("Name:\tgone\nState:\tZ (zombie)\n") == 0


def put_process(proc, pid, ticks, rss_kib):
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    (folder / "stat").write_text(f"{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0\n")
    (folder / "status").write_text(f"VmRSS:\t{rss_kib} kB\n")


def test_the_difference_sums_a_kind_and_names_the_vanished(tmp_path):
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for pid in (1, 2, 3):
        put_process(tmp_path, pid, ticks_per_s, 100)
    pids = {"edge": [1, 2], "worker": [3, 4]}
    begin = snapshot(pids, tmp_path)
    put_process(tmp_path, 1, 3 * ticks_per_s, 200)
    put_process(tmp_path, 2, 4 * ticks_per_s, 300)
    (tmp_path / "3" / "stat").unlink()
    usage = difference(begin, snapshot(pids, tmp_path))
    assert usage["edge"] == KindUsage(processes=2, cpu_s=5.0, rss_bytes=500 * 1024, vanished=())
    assert usage["worker"] == KindUsage(processes=2, cpu_s=0.0, rss_bytes=0, vanished=(3, 4))


def test_a_process_that_is_not_there_is_none(tmp_path):
    assert read_usage(1, tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_this_process_can_be_read():
    usage = read_usage(os.getpid())
    assert isinstance(usage, Usage)
    assert usage.cpu_s >= 0
    assert usage.rss_bytes > 1_000_000
