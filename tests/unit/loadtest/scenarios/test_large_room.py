import pytest

from loadtest.growth import Growth
from loadtest.scenario import Values
from loadtest.scenarios.large_room import SCENARIO, Search, why_bad
from loadtest.usage import Window
from tests.unit.loadtest.moves import FULL, moved
from tests.unit.loadtest.results import histogram_of, window_of


def values(**given: float) -> Values:
    return Values(SCENARIO.options, given)


def late() -> Window:
    return window_of(lag=histogram_of(30_000), work=40)


@pytest.mark.parametrize(
    ("receivers", "options", "reason"),
    [
        ((FULL, FULL), {}, ""),
        ((FULL, FULL), {"latency_us": 150_000}, "p99 150 ms"),
        ((FULL, range(1, 9)), {}, "10 % lost"),
        ((FULL, [1, 2, 3, 10]), {}, "30 % superseded"),
        ((FULL, FULL), {"closed": 2}, "2 sockets closed"),
        ((), {}, "nothing was measured"),
    ],
)
def test_a_step_is_bad_where_a_limit_breaks(
    receivers: tuple[list[int], ...], options: dict[str, int], reason: str
) -> None:
    assert why_bad(moved(*receivers, **options), values()) == reason


def test_the_limits_are_options() -> None:
    step = moved(FULL, range(1, 9), latency_us=150_000)
    assert why_bad(step, values(p99=160.0, loss=0.1)) == ""


def test_the_last_good_step_is_the_result() -> None:
    search, growth = Search(values()), Growth(2, 1, 9, 1)
    assert search.add("2 members", 2, moved(FULL, FULL)) == ""
    growth.tell(2, good=True)
    assert search.add("3 members", 3, moved(FULL, range(1, 9), closed=1)) != ""
    growth.tell(3, good=False)
    findings = search.findings(growth)
    assert (findings.figures[0].name, findings.figures[0].value) == ("last good size", 2)
    # What breaks a step is no failure: the search looks for it.
    assert (findings.failures, findings.invalid) == ([], [])
    assert [row[0] for row in findings.tables[0].rows] == ["2 members", "3 members"]
    assert findings.tables[0].rows[0][-1] == "good"
    assert not any(step.window.judged for step in search.steps if step.window)


def test_where_the_generator_broke_the_result_is_invalid() -> None:
    search, growth = Search(values()), Growth(2, 1, 9, 1)
    search.add("2 members", 2, moved(FULL, FULL))
    growth.tell(2, good=True)
    verdict = search.add("3 members", 3, moved(FULL, FULL, latency_us=150_000, window=late()))
    assert verdict == "p99 150 ms; the generator was 30.0 ms late (p99, at most 10)"
    growth.tell(3, good=False)
    findings = search.findings(growth)
    assert findings.invalid == [
        "at 3 members the generator was 30.0 ms late (p99, at most 10): the servers may bear more"
    ]
    assert findings.figures[0].value == 2


def test_a_size_that_is_good_although_the_generator_was_late_is_good() -> None:
    search = Search(values())
    assert search.add("2 members", 2, moved(FULL, FULL, window=late())) == ""
    findings = search.findings(Growth(2, 1, 2, 1, last_good=2))
    assert (findings.figures[0].value, findings.invalid) == (2, [])


def test_where_the_generator_kept_up_the_second_time_it_is_forgiven() -> None:
    search, growth = Search(values()), Growth(2, 1, 3, 1)
    search.add("2 members", 2, moved(FULL, FULL))
    growth.tell(2, good=True)
    assert search.add("3 members", 3, moved(FULL, FULL, latency_us=150_000, window=late())) != ""
    assert search.add("3 members, again", 3, moved(FULL, FULL, latency_us=150_000)) == "p99 150 ms"
    growth.tell(3, good=False)
    assert search.findings(growth).invalid == []


def test_a_wrong_order_is_a_failure_at_any_size() -> None:
    search = Search(values())
    search.add("2 members", 2, moved(FULL, [1, 2, 4, 3, *range(5, 11)]))
    assert search.findings(Growth(2, 1, 2, 1, last_good=2)).failures == ["2 transforms out of order"]


def test_where_the_first_size_was_too_much_it_failed() -> None:
    search, growth = Search(values()), Growth(2, 1, 9, 1)
    search.add("2 members", 2, moved(FULL, range(1, 9)))
    growth.tell(2, good=False)
    findings = search.findings(growth)
    assert findings.figures[0].value == 0
    assert findings.failures == ["2 members, the first size, were too many already"]


def test_where_the_first_size_was_too_much_for_the_generator_nothing_is_said_of_the_servers() -> None:
    search, growth = Search(values()), Growth(2, 1, 9, 1)
    search.add("2 members", 2, moved(FULL, range(1, 9), window=late()))
    growth.tell(2, good=False)
    findings = search.findings(growth)
    assert findings.failures == []
    assert len(findings.invalid) == 1
