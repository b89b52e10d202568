"""What a load takes: traffic by the rules of the cluster, costs from runs, and the fewest processes that bear it."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity import (
    BUSY_MAX,
    MEASURED,
    TERMS,
    TURN_MS,
    BadRuns,
    Load,
    Traffic,
    cluster_for,
    cores_of,
    fit,
    load_in,
    traffic_of,
)
from loadtest.capacity_text import TERM_NAMES, render_answer, render_fit
from roomworker.gather import BUSY_PERIOD_MS

COSTS = {
    "edge": {"commands": 40.0, "inputs": 50.0, "outputs": 60.0, "writes": 8.0, "deliveries": 0.2, "edges": 5_000.0},
    "worker": {"commands": 15.0, "turns": 300.0, "room_turns": 50.0, "workers": 6_000.0},
    "valkey": {"inputs": 40.0, "turns": 90.0, "outputs": 30.0, "workers": 7_000.0},
}
SIZES = [(1, 5), (1, 10), (1, 20), (1, 40), (1, 60), (1, 100), (1, 150), (4, 40), (10, 20), (50, 5), (200, 5)]


def result_of(load: Load, costs: Any = COSTS) -> dict[str, Any]:
    cpu = {kind: {"cores": cores} for kind, cores in cores_of(load, costs).items()}
    values = {"rooms": load.rooms, "members": load.members, "rate": load.rate, "movers": 0}
    return {
        "scenario": "space",
        "values": values,
        "edges": load.edges,
        "workers": load.workers,
        "windows": [{"cpu": cpu}],
    }


RUNS = [result_of(Load(rooms, members, 20.0, edges, 2)) for rooms, members in SIZES for edges in (1, 2, 4)]
RUNS += [result_of(Load(4, 40, 20.0, 2, workers)) for workers in (1, 4)]


def test_a_room_of_forty() -> None:
    traffic = traffic_of(Load(1, 40, 20.0, 2, 2))
    assert (traffic.commands, traffic.deliveries) == (800.0, 32_000.0)
    assert traffic.period_ms == pytest.approx(BUSY_PERIOD_MS + TURN_MS)
    # The other worker has no room; both edges hear and are heard in each batch.
    assert traffic.outputs == pytest.approx(2 * traffic.turns)
    assert traffic.inputs == pytest.approx(2 * traffic.turns)
    assert traffic.writes == pytest.approx(40 * traffic.turns)


def test_a_quiet_room_is_not_kept_waiting() -> None:
    traffic = traffic_of(Load(1, 5, 1.0))
    assert traffic.turns == traffic.inputs == traffic.outputs == traffic.commands == 5.0
    assert traffic.writes == traffic.deliveries == 25.0


def test_nothing_gathers_where_it_is_switched_off() -> None:
    traffic = traffic_of(Load(1, 40, 20.0, 1, 1, gather_ms_max=0.0))
    assert traffic.turns == traffic.commands
    assert traffic.writes == traffic.deliveries


@given(
    st.integers(1, 2_000),
    st.integers(1, 500),
    st.floats(0.01, 50.0),
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0.0, 100.0),
)
def test_no_work_is_more_than_what_it_is_for(
    rooms: int, members: int, rate: float, edges: int, workers: int, gather_ms_max: float
) -> None:
    traffic = traffic_of(Load(rooms, members, rate, edges, workers, gather_ms_max))
    assert all(getattr(traffic, field.name) > 0 for field in fields(Traffic))
    slack = 1 + 1e-9
    assert traffic.turns <= traffic.commands * slack
    assert traffic.writes <= traffic.deliveries * slack
    assert traffic.inputs <= traffic.commands * slack
    assert traffic.turns <= traffic.room_turns * slack or rooms < workers
    assert traffic.room_turns <= traffic.commands * slack


def test_costs_are_found_again() -> None:
    found = fit(RUNS)
    for rooms, members in ((2, 30), (30, 8), (1, 200)):
        load = Load(rooms, members, 20.0, 3, 1)
        expected = cores_of(load, COSTS)
        assert cores_of(load, found) == pytest.approx(expected, rel=1e-6)


def test_no_cost_is_below_zero() -> None:
    runs = [result_of(load_in(run), {**COSTS, "edge": {**COSTS["edge"], "writes": -0.5}}) for run in RUNS]
    assert all(us >= 0 for of in fit(runs).values() for us in of.values())


def test_too_few_runs_and_runs_of_something_else_are_refused() -> None:
    with pytest.raises(BadRuns, match="at least 7"):
        fit(RUNS[:6])
    with pytest.raises(BadRuns, match="space and many-rooms"):
        load_in({**RUNS[0], "scenario": "soak"})
    with pytest.raises(BadRuns, match="all members move"):
        load_in({**RUNS[0], "values": {**RUNS[0]["values"], "movers": 2}})
    with pytest.raises(BadRuns, match="--against"):
        load_in({**RUNS[0], "workers": None})
    with pytest.raises(BadRuns, match="edge"):
        fit([{**RUNS[0], "windows": []}, *RUNS])
    silent = {**RUNS[0], "windows": [{"cpu": {"edge": {"cores": 0.1}}}]}
    with pytest.raises(BadRuns, match="worker"):
        fit([silent, *RUNS])


@given(st.integers(1, 3_000), st.integers(1, 60), st.sampled_from([0.5, 5.0, 20.0]))
def test_each_process_has_room_left_where_that_is_possible(rooms: int, members: int, rate: float) -> None:
    load = cluster_for(Load(rooms, members, rate), COSTS)
    cores = cores_of(load, COSTS)
    assert cores["edge"] / load.edges <= BUSY_MAX or load.edges == 1_000
    assert cores["worker"] / load.workers <= BUSY_MAX or load.workers in (rooms, 1_000)


def test_what_there_is_at_least_stays() -> None:
    load = cluster_for(Load(3, 5, 1.0, edges=2, workers=2), COSTS)
    assert (load.edges, load.workers) == (2, 2)


def test_the_answer_says_what_it_takes_and_where_it_ends() -> None:
    text = render_answer(Load(100, 20, 20.0, 2, 2), COSTS)
    assert "100 rooms of 20 at 20 Hz" in text
    assert "800,000" in text
    assert "edge" in text
    assert "A room is on one worker" not in text
    assert "A room is on one worker" in render_answer(Load(1, 3_000, 20.0), COSTS)
    assert "ROOMRING_PARTITIONS" in render_answer(Load(5_000, 40, 20.0), COSTS)


def test_the_fit_shows_how_well_it_explains_each_run() -> None:
    text = render_fit(RUNS[:8], COSTS)
    assert text.count("100%") == 8
    assert "1 x 5 at 20 Hz" in text
    assert all(name in text for name in TERM_NAMES.values())


def test_every_term_has_a_name_and_a_cost_that_was_measured() -> None:
    assert {kind: tuple(of) for kind, of in MEASURED.items()} == dict(TERMS)
    assert {term for terms in TERMS.values() for term in terms} == set(TERM_NAMES)
    assert all(sum(of.values()) > 0 for of in MEASURED.values())


def test_a_larger_period_means_fewer_turns() -> None:
    load = Load(1, 100, 20.0)
    assert traffic_of(load).turns < traffic_of(replace(load, gather_ms_max=10.0)).turns
