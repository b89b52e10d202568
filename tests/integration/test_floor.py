"""The floor program writes what it was asked to, and is measured."""

import pytest

from loadtest.peers.batching import Batching
from loadtest.peers.floor import main, measure_floor


def test_all_sockets_get_the_same_bytes_at_the_given_batching():
    floor = measure_floor(10, Batching(2.5, 40.0), seconds=1.0, warmup_s=0.2)
    assert floor.sockets == 10
    assert floor.updates > 0
    assert floor.got.updates_per_write == 2.5
    assert floor.got.writes_per_second == pytest.approx(floor.updates / 2.5 / 10 / floor.window_s)


def test_it_is_a_command(capsys):
    assert main(["--members", "3", "--per-write", "4", "--writes", "20", "--seconds", "0.5"]) == 0
    told = capsys.readouterr().out
    assert "3 sockets" in told
    assert "µs of CPU" in told


def test_a_result_without_a_batching_is_told_in_one_line(tmp_path, capsys):
    result = tmp_path / "result.json"
    result.write_text('{"rounds": []}')
    assert main(["--from", str(result)]) == 1
    assert capsys.readouterr().err.startswith("floor: ")
