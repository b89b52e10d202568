"""The order of runs, and what becomes of those that fail; with servers that are measured at once."""

from dataclasses import replace

import pytest

from common.errors import RoomringError
from loadtest.peers import __main__ as command
from loadtest.peers.batching import Batching
from loadtest.peers.bench import Bench, Means
from loadtest.peers.comparison import Comparison, Sustained
from loadtest.peers.comparison_text import render
from tests.unit.loadtest.peers.figures import floor_of, measured


class Servers:
    """Keeps what was asked of it; each server sustains so many members, and some fail."""

    def __init__(self, *, sustained=None, absent=(), failing=(), interrupted_at=None):
        self.runs = []
        self.floors = []
        self.said = []
        self._sustained = sustained or {}
        self._absent = absent
        self._failing = failing
        self._interrupted_at = interrupted_at

    def means(self, *, floor=True, search=False, fan_out=False):
        return Means(
            self.install,
            self.measure,
            self.measure_floor if floor else None,
            (lambda: self.measure("roomring", 200)) if fan_out else None,
            self.find_largest if search else None,
            self.said.append,
        )

    def install(self, name):
        if name in self._absent:
            raise RoomringError("there is no npm on PATH")
        return f"{name} 1.2.3"

    def measure(self, server, members):
        if len(self.runs) == self._interrupted_at:
            raise KeyboardInterrupt
        self.runs.append((server, members))
        if server in self._failing:
            raise RoomringError("nobody could come in")
        batching = Batching(5.0, 100.0) if server == "roomring" else None
        cpu_s = {"roomring": 1.0, "roomring-alone": 0.5, "nats": 3.0, "socketio": 8.0}[server]
        return measured(server, members=members, cpu_s=cpu_s, batching=batching)

    def find_largest(self, server):
        if server in self._failing:
            raise RoomringError("nobody could come in")
        members = self._sustained[server]
        return Sustained(server, members, 20.0 * members**2, 50.0, 1.0, members + 1, "p99 500 ms")

    def measure_floor(self, sockets, batching):
        self.floors.append((sockets, batching))
        return floor_of(0.2, sockets)


def run(servers, *, peers=("nats", "socketio"), sizes=(40,), rounds=2, search=False, floor=True):
    comparison = Comparison({}, "2026-01-01T00:00:00+00:00", ("roomring", *peers), 20.0, 8.0)
    bench = Bench(comparison, servers.means(floor=floor, search=search), sizes=sizes, rounds=rounds)
    bench.install()
    return bench.run()


def test_each_round_measures_every_server_once():
    servers = Servers()
    comparison = run(servers, sizes=(40, 100), rounds=3)
    assert [(one.members, one.number) for one in comparison.rounds] == [(n, i) for n in (40, 100) for i in range(3)]
    for number, one in enumerate(comparison.rounds):
        assert one.measured.keys() == {"roomring", "nats", "socketio"}
        assert {name for name, _ in servers.runs[number * 3 : number * 3 + 3]} == one.measured.keys()
    assert servers.floors == [(one.members, Batching(5.0, 100.0)) for one in comparison.rounds]


def test_a_peer_that_cannot_be_installed_is_told_and_the_others_go_on():
    comparison = run(Servers(absent=("socketio",)))
    assert comparison.missing == {"socketio": "there is no npm on PATH"}
    assert all(one.measured.keys() == {"roomring", "nats"} for one in comparison.rounds)
    assert "Not measured: Socket.IO: there is no npm on PATH" in render(comparison)


def test_a_run_that_fails_is_told_and_the_others_go_on():
    comparison = run(Servers(failing=("nats",)), rounds=1)
    assert comparison.rounds[0].measured.keys() == {"roomring", "socketio"}
    assert comparison.failed == ["NATS over WebSocket, 40 members, round 1 of 1: nobody could come in"]
    assert comparison.failed[0] in render(comparison)


def test_an_interruption_leaves_what_there_was():
    servers = Servers(interrupted_at=4)
    comparison = run(servers, rounds=5)
    assert comparison.interrupted
    assert [len(one.measured) for one in comparison.rounds] == [3, 1]
    assert "Interrupted" in render(comparison)


def test_the_largest_room_of_each_is_looked_for():
    servers = Servers(sustained={"roomring": 400, "nats": 90}, failing=("socketio",))
    comparison = run(servers, sizes=(), search=True)
    assert [(one.server, one.members) for one in comparison.sustained] == [("roomring", 400), ("nats", 90)]
    assert comparison.failed == ["Socket.IO, largest room: nobody could come in"]
    assert comparison.rounds == []
    assert "91  p99 500 ms" in render(comparison)


def test_the_time_is_told_for_what_will_be_run():
    comparison = Comparison({}, "", ("roomring", "nats", "socketio"), 20.0, 8.0)
    bench = Bench(comparison, Servers().means(), sizes=(40, 100), rounds=5)
    assert bench.expected_s(15.0, 10.0, 200.0) == pytest.approx(2 * 5 * (3 * 15.0 + 10.0))
    comparison.missing["nats"] = "no"
    assert bench.expected_s(15.0, 10.0, 200.0) == pytest.approx(2 * 5 * (2 * 15.0 + 10.0))
    bench = Bench(comparison, Servers().means(floor=False), sizes=(40,), rounds=5)
    assert bench.expected_s(15.0, 10.0, 200.0) == pytest.approx(5 * 2 * 15.0)
    bench = Bench(comparison, Servers().means(search=True), sizes=(), rounds=5)
    assert bench.expected_s(15.0, 10.0, 200.0) == pytest.approx(2 * 200.0)


def test_the_table_has_medians_ratios_and_the_floor():
    text = render(run(Servers(), rounds=3))
    assert "1.00 (1.00-1.00)" in text
    assert "3.0 (3.0-3.0)" in text
    assert "8.0 (8.0-8.0)" in text
    assert "Roomring's edges, which also read, take 2.50 (2.50-2.50) times that." in text
    assert "publish to it (nats 1.2.3)." in text
    assert "Without a second server, one order" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_roomring_on_one_edge_is_a_row_of_its_own_without_a_floor():
    servers = Servers()
    text = render(run(servers, peers=("roomring-alone", "nats"), rounds=1))
    assert len(servers.floors) == 1
    row = next(line for line in text.splitlines() if "Roomring, one edge" in line)
    assert row.split()[3:5] == ["0.50", "0.5"]
    assert "Roomring, one edge: one edge and one worker" in text


def test_fan_out_is_set_beside_the_floor():
    servers = Servers()
    comparison = Comparison({}, "", ("roomring", "nats"), 20.0, 8.0)
    bench = Bench(comparison, servers.means(fan_out=True), sizes=(), rounds=3)
    assert bench.expected_s(15.0, 10.0, 200.0) == pytest.approx(3 * 25.0)
    text = render(bench.run())
    assert [sockets for sockets, _ in servers.floors] == [200, 200, 200]
    assert "Fan-out: 200 members" in text
    assert "0.50 (0.50-0.50) µs for each update, beyond 2 times the floor." in text
    assert len(comparison.to_json()["fan_out"]) == 3


def test_numbers_that_do_not_hold_are_marked():
    comparison = run(Servers(), rounds=1)
    one = comparison.rounds[0]
    one.measured["nats"] = measured("nats", invalid=("the generator was 12 ms late",))
    text = render(comparison)
    assert "Not sound: NATS over WebSocket, 40 members, round 1: the generator was 12 ms late" in text
    assert "0 of 1" in text


def test_a_run_without_a_latency_is_told_and_shown():
    servers = Servers()
    means = servers.means()

    def measure(server, members):
        return measured(server, members=members, p50_ms=None, p99_ms=None)

    comparison = Comparison({}, "", ("roomring", "nats"), 20.0, 8.0)
    text = render(Bench(comparison, replace(means, measure=measure), sizes=(40,), rounds=1).run())
    assert any("p50 -, p99 -" in said for said in servers.said)
    assert "NATS over WebSocket" in text


def test_all_of_it_is_written_down():
    written = run(Servers(), rounds=3).to_json()
    assert written["format"] == "roomring peers 1"
    ratios = {(one["members"], one["server"]): one for one in written["ratios"]}
    assert ratios[40, "socketio"]["cpu_us"] == {"median": 8.0, "low": 8.0, "high": 8.0, "count": 3}
    assert written["rounds"][0]["floor"]["cpu_us"] == pytest.approx(0.2)


def test_an_unknown_peer_is_a_mistake_of_the_user(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--peer", "nobody"])
    assert ended.value.code == 2
    assert "nobody" in capsys.readouterr().err
