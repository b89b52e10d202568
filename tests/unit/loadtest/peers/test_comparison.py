import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.peers.comparison import (
    Round,
    floor_ratios,
    order_of,
    ratios_of,
    spread,
    values_of,
)
from tests.unit.loadtest.peers.figures import floor_of, measured


def rounds_of(*pairs):
    """Make a round for each pair of CPU seconds (ours, theirs); None: that one was not measured."""
    rounds = []
    for number, (ours, theirs) in enumerate(pairs):
        one = Round(number, 40)
        if ours is not None:
            one.measured["roomring"] = measured("roomring", cpu_s=ours)
        if theirs is not None:
            one.measured["nats"] = measured("nats", cpu_s=theirs)
        rounds.append(one)
    return rounds


def test_the_cost_of_an_update_is_that_of_all_processes():
    one = measured("roomring", cpu_s=2.0, updates=500_000)
    assert one.cpu_us == pytest.approx(4.0)
    assert one.cpu_us_of("edge") == pytest.approx(2.0)
    assert one.cpu_us_of("postgres") == 0.0
    assert measured("roomring", updates=0).cpu_us == 0.0


def test_the_median_of_ratios_is_not_the_ratio_of_medians():
    rounds = rounds_of((1.0, 4.0), (10.0, 20.0), (2.0, 10.0))
    ratios = ratios_of(rounds, "nats", "roomring", "cpu_us")
    assert ratios == pytest.approx([4.0, 2.0, 5.0])
    found = spread(ratios)
    assert (found.median, found.low, found.high, found.count) == pytest.approx((4.0, 2.0, 5.0, 3))
    ours, theirs = (spread(values_of(rounds, name, "cpu_us")).median for name in ("roomring", "nats"))
    assert theirs / ours == pytest.approx(5.0)


def test_only_rounds_that_measured_both_are_compared():
    rounds = rounds_of((1.0, 3.0), (None, 9.0), (1.0, None))
    assert ratios_of(rounds, "nats", "roomring", "cpu_us") == pytest.approx([3.0])
    assert len(values_of(rounds, "nats", "cpu_us")) == 2


def test_a_latency_that_nobody_saw_is_no_latency_of_zero():
    rounds = rounds_of((1.0, 3.0), (1.0, 3.0))
    rounds[0].measured["nats"] = measured("nats", p50_ms=None, p99_ms=None)
    assert values_of(rounds, "nats", "p99_ms") == [5.0]
    assert ratios_of(rounds, "nats", "roomring", "p99_ms") == [1.0]
    assert len(ratios_of(rounds, "nats", "roomring", "cpu_us")) == 2


def test_a_round_in_which_nothing_arrived_counts_for_nothing():
    (one,) = rounds_of((1.0, 3.0))
    one.measured["nats"] = measured("nats", updates=0)
    assert ratios_of([one], "nats", "roomring", "cpu_us") == []
    assert values_of([one], "nats", "cpu_us") == []
    assert spread([]) is None


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=9))
def test_a_machine_that_is_slower_in_some_rounds_changes_no_ratio(pairs):
    slower = [(ours * factor, theirs * factor) for factor, (ours, theirs) in enumerate(pairs, 1)]
    before, after = (ratios_of(rounds_of(*each), "nats", "roomring", "cpu_us") for each in (pairs, slower))
    assert after == pytest.approx(before)
    found = spread(before)
    assert found.low <= found.median <= found.high


def test_the_edges_are_set_beside_the_floor_of_their_round():
    rounds = rounds_of((2.0, None), (4.0, None), (1.0, None))
    for one, cpu_s in zip(rounds, (0.5, 2.0, None), strict=True):
        if cpu_s is not None:
            one.floor = floor_of(cpu_s)
    assert floor_ratios(rounds, "roomring", "edge") == pytest.approx([2.0, 1.0])


def test_no_server_always_follows_the_same_one():
    servers = ["roomring", "socketio", "nats"]
    orders = [order_of(servers, number) for number in range(6)]
    assert all(sorted(order) == sorted(servers) for order in orders)
    for server in servers:
        assert len({order[order.index(server) - 1] if order.index(server) else None for order in orders}) > 1
    assert {order[0] for order in orders} == set(servers)


def test_what_is_written_down_holds_the_cost():
    one = rounds_of((1.0, 3.0))[0].to_json()
    assert [each["server"] for each in one["measured"]] == ["roomring", "nats"]
    assert one["measured"][1]["cpu_us"] == pytest.approx(3.0)
