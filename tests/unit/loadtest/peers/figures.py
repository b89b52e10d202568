"""Measured runs for the tests of what is made of them."""

from loadtest.peers.batching import Batching
from loadtest.peers.comparison import FloorMeasured, Measured


def measured(server, *, members=40, cpu_s=1.0, updates=1_000_000, p50_ms=2.0, p99_ms=5.0, lost=0, **more):
    return Measured(
        server=server,
        members=members,
        window_s=8.0,
        updates=updates,
        expected=updates,
        delivered=updates - lost,
        superseded=0,
        lost=lost,
        out_of_order=0,
        duplicates=0,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        cpu_s={"edge": cpu_s / 2, "worker": cpu_s / 4, "valkey": cpu_s / 4},
        generator_cores=0.4,
        **more,
    )


def floor_of(cpu_s, sockets=40):
    batching = Batching(5.0, 100.0)
    return FloorMeasured(sockets, 1_000_000, cpu_s, 8.0, batching, batching)
