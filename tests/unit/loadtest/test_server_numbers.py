"""What Redis and the servers say of themselves."""

import pytest
from prometheus_client import generate_latest

from edge.metrics import EdgeMetrics
from loadtest.redis_usage import RedisCounters, parse_info, usage_between
from loadtest.server_metrics import parse_counters

INFO = {
    "run_id": "abc",
    "total_commands_processed": 100,
    "total_net_input_bytes": 5_000,
    "total_net_output_bytes": 7_000,
    "cmdstat_xadd": {"calls": 60, "usec": 600, "usec_per_call": 10.0},
    "cmdstat_info": {"calls": 3, "usec": 9, "usec_per_call": 3.0},
}


def test_counters_are_taken_from_info() -> None:
    counters = parse_info(INFO)
    assert (counters.run_id, counters.commands, counters.bytes_in, counters.bytes_out) == ("abc", 100, 5_000, 7_000)
    assert counters.calls == {"xadd": 60, "info": 3}
    with pytest.raises(ValueError, match="run_id"):
        parse_info({})


def test_the_difference_has_what_was_called_the_most_called_first() -> None:
    begin = parse_info(INFO)
    calls = {"xadd": 70, "evalsha": 25, "info": 4, "ping": 0}
    end = RedisCounters("abc", 150, 6_000, 9_000, calls, {"xadd": 700, "evalsha": 50, "info": 12, "ping": 0})
    usage = usage_between(begin, end)
    assert (usage.commands, usage.bytes_in, usage.bytes_out, usage.restarted) == (50, 1_000, 2_000, False)
    assert list(usage.calls.items()) == [("evalsha", 25), ("xadd", 10)]
    assert usage.command_us == {"evalsha": 50, "xadd": 100}


def test_a_server_that_was_started_again_counts_from_its_start() -> None:
    usage = usage_between(parse_info(INFO), RedisCounters("other", 20, 200, 300, {"xadd": 5}, {"xadd": 50}))
    assert (usage.commands, usage.bytes_in, usage.calls, usage.restarted) == (20, 200, {"xadd": 5}, True)


def test_counters_and_sums_of_histograms_are_taken_from_a_page() -> None:
    metrics = EdgeMetrics()
    metrics.messages_in.inc(3)
    metrics.refused.labels("busy").inc()
    metrics.connections.set(9)
    metrics.apply_seconds.observe(0.25)
    counters = parse_counters(generate_latest(metrics.registry).decode())
    assert counters["roomring_edge_messages_in_total"] == 3.0
    assert counters['roomring_edge_connections_refused_total{reason="busy"}'] == 1.0
    assert counters["roomring_edge_apply_seconds_sum"] == 0.25
    assert counters["roomring_edge_apply_seconds_count"] == 1.0
    assert not [
        name for name in counters if name.endswith(("_created", "_bucket")) or name == "roomring_edge_connections"
    ]
