from hypothesis import given
from hypothesis import strategies as st

from loadtest.growth import Growth


def search(bound: int, growth: Growth) -> list[int]:
    """Run a search where sizes up to `bound` are good; return the sizes in the order in which they were tried."""
    tried = []
    for size in growth:
        tried.append(size)
        growth.tell(size, good=size <= bound)
    return tried


def test_it_grows_by_steps_and_then_halves_the_gap() -> None:
    growth = Growth(first=50, step=50, most=1_000, precision=10)
    assert search(168, growth) == [50, 100, 150, 200, 175, 162, 168]
    assert (growth.last_good, growth.first_bad) == (168, 175)


def test_it_ends_at_the_greatest_size() -> None:
    growth = Growth(first=50, step=40, most=100, precision=10)
    assert search(10_000, growth) == [50, 90, 100]
    assert (growth.last_good, growth.first_bad) == (100, None)


def test_where_the_first_size_is_bad_nothing_else_is_tried() -> None:
    growth = Growth(first=50, step=50, most=1_000, precision=10)
    assert search(49, growth) == [50]
    assert (growth.last_good, growth.first_bad) == (0, 50)


@given(st.integers(1, 500), st.integers(1, 100), st.integers(1, 100), st.integers(0, 1_000), st.integers(0, 500))
def test_what_is_found_is_the_bound_up_to_the_precision(
    first: int, step: int, precision: int, bound: int, above: int
) -> None:
    growth = Growth(first, step, first + above, precision)
    tried = search(bound, growth)
    assert len(tried) == len(set(tried))
    assert all(first <= size <= growth.most for size in tried)
    if bound < first:
        assert growth.last_good == 0
    elif bound >= growth.most:
        assert growth.last_good == growth.most
    else:
        assert growth.last_good <= bound < growth.last_good + max(precision, 1)
