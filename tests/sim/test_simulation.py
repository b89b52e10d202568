"""A few seeds of the simulation; `make sim SEEDS=1000` runs many."""

import pytest

from tests.sim.simulation import HARMLESS, LOSES_DATA, simulate

SEEDS = 60
"""About a quarter of a second each."""


@pytest.mark.parametrize("block", range(6))
def test_seeds(block: int) -> None:
    for seed in range(block * SEEDS // 6, (block + 1) * SEEDS // 6):
        outcome = simulate(seed)
        assert not outcome.problems, f"seed {seed}\n{outcome.timeline}\n" + "\n".join(outcome.problems[:10])


def test_a_seed_goes_the_same_way_each_time() -> None:
    first, again, other = simulate(3), simulate(3), simulate(4)
    assert first == again
    assert first.digest != other.digest


def test_a_seed_does_something() -> None:
    outcomes = [simulate(seed) for seed in range(5)]
    assert all(outcome.commits > 20 and outcome.counts.acks > 20 for outcome in outcomes)
    assert {kind for outcome in outcomes for kind in outcome.faults} <= {*HARMLESS, *LOSES_DATA}
    assert sum(sum(outcome.faults.values()) for outcome in outcomes) > 20
