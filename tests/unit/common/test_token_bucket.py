"""What a rate with a burst lets through."""

from hypothesis import example, given
from hypothesis import strategies as st

from common.token_bucket import Rate, TokenBucket

rates = st.builds(Rate, st.sampled_from([0.5, 1.0, 5.0, 15.0, 20.0, 200.0]), st.sampled_from([1.0, 2.0, 7.5, 10.0]))
steps = st.lists(st.integers(0, 2_000), max_size=60)


def test_the_burst_at_once_and_then_the_rate() -> None:
    bucket, rate = TokenBucket(), Rate(5.0, 10.0)
    assert [bucket.take(rate, 1_000) for _ in range(11)] == [0] * 10 + [200]
    assert bucket.take(rate, 1_199) == 1
    assert bucket.take(rate, 1_200) == 0
    assert bucket.take(rate, 1_200) == 200


def test_rest_fills_to_the_burst_and_not_further() -> None:
    bucket, rate = TokenBucket(), Rate(5.0, 3.0)
    bucket.take(rate, 0)
    assert [bucket.take(rate, 3_600_000) for _ in range(4)] == [0, 0, 0, 200]


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    bucket, rate = TokenBucket(), Rate(1.0, 1.0)
    assert bucket.take(rate, 10_000) == 0
    # A jump back and forth must not be counted as time that passed.
    assert bucket.take(rate, 2_000) > 0
    assert bucket.take(rate, 10_000) > 0
    assert bucket.take(rate, 10_999) > 0
    assert bucket.take(rate, 11_000) == 0


@given(rates, steps)
def test_no_window_lets_through_more_than_burst_and_rate(rate: Rate, pauses_ms: list[int]) -> None:
    bucket = TokenBucket()
    now_ms, taken = 0, []
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        while bucket.take(rate, now_ms) == 0:
            taken.append(now_ms)
    for first, start_ms in enumerate(taken):
        for last in range(first, len(taken)):
            allowed = rate.burst + (taken[last] - start_ms) * rate.per_second / 1000.0
            assert last - first + 1 <= allowed + 1e-6


@given(rates, steps)
@example(Rate(0.5, 2.0), [0, 356, 0])
def test_after_the_told_wait_there_is_a_token(rate: Rate, pauses_ms: list[int]) -> None:
    # Half a token at a time does not always sum to a whole one: after 356 and 1,644 ms there were
    # 0.9999999999999999 tokens, and who had waited as told was refused once more.
    bucket, now_ms = TokenBucket(), 0
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        wait_ms = bucket.take(rate, now_ms)
        if wait_ms:
            assert bucket.take(rate, now_ms + wait_ms) == 0
            now_ms += wait_ms


@given(rates, st.lists(st.integers(-5_000, 5_000), max_size=80))
def test_whatever_the_clock_does_tokens_stay_within_the_burst(rate: Rate, jumps_ms: list[int]) -> None:
    bucket, now_ms = TokenBucket(), 100_000
    for jump_ms in jumps_ms:
        now_ms += jump_ms
        assert bucket.take(rate, now_ms) >= 0
        assert 0.0 <= bucket.tokens <= rate.burst


def test_who_keeps_to_the_rate_is_never_refused() -> None:
    bucket, rate = TokenBucket(), Rate(20.0, 10.0)
    assert not any(bucket.take(rate, now_ms) for now_ms in range(0, 60_000, 50))


def test_a_clock_that_was_set_far_back_does_not_starve_anybody() -> None:
    # After an hour's jump back nothing was refilled for an hour, and a connection was closed as flooding.
    bucket, rate = TokenBucket(), Rate(1.0, 2.0)
    assert bucket.take(rate, 10_000_000) == 0
    assert bucket.take(rate, 10_000_000 - 3_600_000) == 0
    assert bucket.take(rate, 10_000_000 - 3_600_000) > 0
    assert bucket.take(rate, 10_000_000 - 3_600_000 + 1_000) == 0
