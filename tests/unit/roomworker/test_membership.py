"""Who counts when shards are shared out, by what the registry shows and when."""

from hypothesis import given
from hypothesis import strategies as st

from common.ids import WorkerId
from roomworker.membership import Membership

ME, W2, W3, W4 = (WorkerId(f"w{number}") for number in (1, 2, 3, 4))
SETTLE_MS, SETTLE_MS_MAX, SILENCE_MS, GRACE_MS = 300, 1_000, 1_200, 400


def membership() -> Membership:
    return Membership(ME, settle_ms=SETTLE_MS, settle_ms_max=SETTLE_MS_MAX, silence_ms=SILENCE_MS, grace_ms=GRACE_MS)


def test_what_is_seen_first_counts_at_once_and_oneself_always() -> None:
    assert membership().observe({W2}, 0) == {ME, W2}


def test_who_goes_counts_no_more_at_once() -> None:
    view = membership()
    view.observe({ME, W2, W3}, 0)
    assert view.observe({ME, W3}, 100) == {ME, W3}


def test_who_comes_counts_when_nobody_else_has_come_for_a_while() -> None:
    view = membership()
    view.observe({ME}, 0)
    assert view.observe({ME, W2}, 100) == {ME}
    assert view.observe({ME, W2, W3}, 300) == {ME}
    assert view.observe({ME, W2, W3}, 599) == {ME}
    assert view.observe({ME, W2, W3}, 600) == {ME, W2, W3}


def test_who_comes_does_not_wait_for_ever_for_others_to_stop_coming() -> None:
    view = membership()
    view.observe({ME}, 0)
    coming = {ME, W2}
    for at_ms in range(100, 1_100, 200):
        coming ^= {W3}
        assert view.observe(coming | {W2}, at_ms) == {ME}
    assert W2 in view.observe({ME, W2}, 1_100)


def test_who_comes_counts_at_once_where_shards_move_anyway() -> None:
    view = membership()
    view.observe({ME, W2}, 0)
    assert view.observe({ME, W2, W3}, 100) == {ME, W2}
    assert view.observe({ME, W3}, 200) == {ME, W3}


def test_who_comes_and_goes_before_it_counts_moves_nothing() -> None:
    view = membership()
    view.observe({ME, W2}, 0)
    seen = [view.observe(present, at_ms) for at_ms, present in enumerate([{ME, W2, W3}, {ME, W2}, {ME, W2}])]
    assert seen == [{ME, W2}] * 3


def test_after_an_outage_the_others_have_time_to_come_back() -> None:
    # The first that announced itself again saw itself alone, and took everything.
    view = membership()
    view.observe({ME, W2, W3}, 0)
    assert view.observe({ME}, 5_000) == {ME, W2, W3}
    assert view.observe({ME, W2}, 5_000 + GRACE_MS - 1) == {ME, W2, W3}
    assert view.observe({ME, W2}, 5_000 + GRACE_MS) == {ME, W2}


def test_a_registry_that_forgot_this_worker_may_have_forgotten_others() -> None:
    view = membership()
    view.observe({ME, W2}, 0)
    assert view.observe(set(), 100) == {ME, W2}
    assert view.observe({ME}, 499) == {ME, W2}
    assert view.observe({ME}, 500) == {ME}


def test_so_does_being_told_that_it_was_forgotten() -> None:
    view = membership()
    view.observe({ME, W2}, 0)
    view.forgotten(50)
    assert view.observe({ME}, 100) == {ME, W2}
    assert view.observe({ME}, 450) == {ME}


looks = st.lists(st.tuples(st.integers(10, 150), st.sets(st.sampled_from([ME, W2, W3, W4]))), max_size=60)


@given(looks)
def test_a_registry_that_stays_as_it_is_counts_soon_and_then_nothing_changes(
    course: list[tuple[int, set[WorkerId]]],
) -> None:
    view, now_ms = membership(), 0
    for wait_ms, present in course:
        now_ms += wait_ms
        counted = view.observe(present, now_ms)
        assert ME in counted
    final = {ME, W3}
    for _ in range(0, max(GRACE_MS, SETTLE_MS) + 200, 100):
        now_ms += 100
        counted = view.observe(final, now_ms)
    assert counted == final
    assert view.observe(final, now_ms + 100) == final


@given(looks)
def test_who_is_there_and_counted_once_counts_as_long_as_it_is_there(course: list[tuple[int, set[WorkerId]]]) -> None:
    view, now_ms = membership(), 0
    counted: frozenset[WorkerId] = frozenset()
    for wait_ms, present in course:
        now_ms += wait_ms
        before, counted = counted, view.observe(present, now_ms)
        assert before & present <= counted
