import math

from hypothesis import given
from hypothesis import strategies as st

from common.settings import EdgeSettings, load
from loadtest.scenarios.catch_up_burst import EACH_AT_ONCE, speakers_needed
from loadtest.scenarios.redis_reset import _at


@given(st.integers(1, 5_000))
def test_speakers_suffice_within_the_burst_that_a_person_may_send(events: int) -> None:
    speakers = speakers_needed(events)
    assert 2 * EACH_AT_ONCE * (speakers - 1) < events <= 2 * EACH_AT_ONCE * speakers
    # Chat and emotes are counted apart, and come by turns.
    chats = math.ceil(events / 2)
    assert math.ceil(chats / speakers) <= load(EdgeSettings, {"ROOMRING_DEV": "1"}).chat_burst


def test_when_a_part_of_the_rooms_flows_again() -> None:
    assert _at([10_000, 20_000, 30_000, 40_000], 50) == 20.0
    assert _at([10_000, 20_000, 30_000, 40_000], 100) == 40.0
    assert _at([10_000], 50) == 10.0
    assert _at([], 100) is None
