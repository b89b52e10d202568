"""Each planted bug is found. `python -m tests.sim --planted` tells from which seed on; here it begins there."""

import pytest

from tests.sim.planted import PLANTED
from tests.sim.simulation import simulate

FIRST_FOUND: dict[str, tuple[int, str]] = {
    "no_fence": (0, "with the old token"),
    "acknowledge_before_the_commit": (229, "answered differently"),
    "trim_unread_input": (50, "positions in"),
    "drop_a_replayed_event": (0, "replay in"),
    "replay_one_twice": (0, "repeated in"),
    "forget_answers_over_a_takeover": (12, "duplicate in"),
    "keep_the_epoch_after_a_loss": (89, "order in"),
    "deliver_before_the_attachment": (0, "unannounced in"),
    "apply_old_movements": (1, "moved_back in"),
    "ignore_a_hole": (75, "unannounced in"),
    "keep_what_dead_edges_had": (0, "knows edges"),
    "take_letters_again": (3, "was told 2 times"),
    "trust_that_letters_are_moved": (16, "was told 0 times"),
    "count_letters_without_a_generation": (169, "was told 0 times"),
}
"""The first seed from 0 on that finds it, and what it says. A change may move it; the search begins here."""

SEEDS_MAX = 1_000


def test_every_planted_bug_is_looked_for() -> None:
    assert FIRST_FOUND.keys() == PLANTED.keys()


@pytest.mark.parametrize("name", FIRST_FOUND)
def test_a_planted_bug_is_found(name: str) -> None:
    first, shows_as = FIRST_FOUND[name]
    with PLANTED[name]():
        found = next(seed for seed in range(first, SEEDS_MAX) if _shows(seed, shows_as))
    assert not simulate(found).problems


def _shows(seed: int, shows_as: str) -> bool:
    return any(shows_as in problem for problem in simulate(seed).problems)
