"""The tail of one order, and what the store puts in front of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import Seq, UserId
from roomworker.history import History, PastEvent, encode_past


def event(number: int) -> PastEvent:
    return PastEvent(UserId("ada"), b"%d" % number)


def history(first: int, last: int, *, events_max: int = 5, began_at: int | None = None) -> History:
    """Return a history that began at a position and has lived through some events."""
    made = History(events_max, Seq(first - 1 if began_at is None else began_at))
    for number in range(first, last + 1):
        made.append(event(number))
    return made


def stored(first: int, last: int) -> list[tuple[Seq, bytes]]:
    return [(Seq(number), encode_past(event(number))) for number in range(first, last + 1)]


def numbers(events: list[PastEvent]) -> list[int]:
    return [int(past.event) for past in events]


def test_it_covers_what_it_has_and_no_more() -> None:
    made = history(1, 3)
    assert [made.covers(Seq(after)) for after in range(5)] == [True, True, True, True, False]
    assert numbers(made.since(Seq(1))) == [2, 3]
    assert made.since(Seq(3)) == []


def test_an_empty_one_covers_its_own_position() -> None:
    made = History(5, Seq(7))
    assert [made.covers(Seq(after)) for after in (6, 7, 8)] == [False, True, False]


def test_past_the_bound_the_oldest_go() -> None:
    made = history(1, 7)
    assert not made.covers(Seq(1))
    assert numbers(made.since(Seq(2))) == [3, 4, 5, 6, 7]
    assert not made.lacks(Seq(1))


def test_asking_beyond_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        history(3, 4).since(Seq(1))


def test_after_a_takeover_the_store_is_asked_for_what_is_older_and_only_for_that() -> None:
    made = history(8, 9)
    assert [after for after in range(12) if made.lacks(Seq(after))] == list(range(7))
    made.prepend(Seq(5), stored(6, 7), {})
    assert numbers(made.since(Seq(5))) == [6, 7, 8, 9]
    assert [after for after in range(12) if made.lacks(Seq(after))] == list(range(5))


def test_what_the_store_has_of_the_tail_itself_is_passed_over() -> None:
    made = history(8, 9)
    made.prepend(Seq(6), stored(7, 9), {})
    assert numbers(made.since(Seq(6))) == [7, 8, 9]


def test_what_does_not_adjoin_is_left_out() -> None:
    made = history(8, 9)
    made.prepend(Seq(3), [*stored(4, 5), *stored(7, 7)], {})
    assert made.covers(Seq(6))
    assert not made.covers(Seq(5))
    made = history(8, 9)
    made.prepend(Seq(3), stored(4, 6), {})
    assert not made.covers(Seq(6))


def test_there_is_no_room_for_more_than_the_bound() -> None:
    made = history(8, 10)
    made.prepend(Seq(1), stored(2, 7), {})
    assert numbers(made.since(Seq(5))) == [6, 7, 8, 9, 10]
    assert not made.covers(Seq(4))


@given(
    st.integers(1, 8),
    st.lists(st.one_of(st.just("live"), st.just("takeover"), st.integers(-1, 12)), min_size=5, max_size=60),
)
def test_a_history_that_asks_the_store_is_as_good_as_one_that_lived_on(events_max: int, course: list[object]) -> None:
    """Whatever was asked before, and whenever the room was taken over."""
    last = 0
    made = History(events_max, Seq(0))
    for step in course:
        if step == "live":
            last += 1
            made.append(event(last))
        elif step == "takeover":
            made = History(events_max, Seq(last))
        else:
            assert isinstance(step, int)
            after = Seq(max(0, last - step))
            if made.lacks(after):
                kept_from = max(1, last - events_max + 1)
                made.prepend(after, stored(max(kept_from, after + 1), last), {})
            assert made.covers(after) == (last - events_max <= after <= last)
            if made.covers(after):
                assert numbers(made.since(after)) == list(range(after + 1, last + 1))
