from __future__ import annotations

import random
import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.apply.pace import Backoff, TokenBucket, in_background

ROUNDING = 1e-6
"""What rounding may shift an instant by."""


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=60),
    window=st.floats(0.01, 20),
)
def test_no_window_sees_more_than_burst_and_rate(rate: float, burst: int, gaps: list[float], window: float) -> None:
    bucket, now, used = TokenBucket(rate=rate, burst=burst), 0.0, []
    for gap in gaps:
        now += gap
        used.append(bucket.take(now))

    for start in used:
        assert sum(start <= at <= start + window for at in used) <= burst + rate * (window + ROUNDING)


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 50), takes=st.integers(1, 200))
def test_who_is_always_there_loses_nothing(rate: float, burst: int, takes: int) -> None:
    bucket, now = TokenBucket(rate=rate, burst=burst), 0.0
    for _ in range(takes):
        now = bucket.take(now)

    assert now == pytest.approx(max(0, takes - burst) / rate)


@pytest.mark.parametrize(
    ("count", "at_once"),
    [pytest.param(5, 1, id="a plain table"), pytest.param(50, 10, id="a partitioned table")],
)
def test_within_is_a_limit_for_any_ten_seconds(count: int, at_once: int) -> None:
    bucket, now, used = TokenBucket.within(count, seconds=10), 0.0, []
    for _ in range(4 * count):
        now = bucket.take(now)
        used.append(now)

    assert used.count(0.0) == at_once
    assert max(sum(start <= at < start + 10 for at in used) for start in used) <= count


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_bucket_that_lets_nobody_through_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="nobody"):
        TokenBucket(rate=rate, burst=burst)


@pytest.mark.parametrize(
    ("failures", "longest"),
    [
        pytest.param(1, 1, id="the first wait is short"),
        pytest.param(3, 4, id="it doubles"),
        pytest.param(7, 60, id="it has a limit"),
        pytest.param(10_000, 60, id="however often"),
    ],
)
def test_delays_grow_up_to_a_limit(failures: int, longest: float) -> None:
    backoff = Backoff(first=1, longest=60, dice=random.Random(1))
    delays = [backoff.delay(failures) for _ in range(500)]

    assert max(delays) <= longest
    assert max(delays) > 0.9 * longest
    assert min(delays) < 0.1 * longest


def test_the_same_seed_gives_the_same_delays() -> None:
    first, second = (Backoff(dice=random.Random(7)) for _ in range(2))

    assert [first.delay(n) for n in range(1, 6)] == [second.delay(n) for n in range(1, 6)]


def test_turns_in_the_background_come_in_order() -> None:
    assert list(in_background(number for number in range(1000))) == list(range(1000))


def test_an_error_in_the_background_is_raised_after_the_turns_before_it() -> None:
    def turns() -> Generator[int, None, None]:
        yield 1
        raise KeyboardInterrupt("stop")

    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt, match="stop"):
        seen.extend(in_background(turns()))

    assert seen == [1]


def test_closing_ends_the_thread_and_closes_the_turns() -> None:
    closed = threading.Event()

    def turns() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = in_background(turns())
    next(ahead)
    ahead.close()

    assert closed.is_set()
    assert "turns" not in {thread.name for thread in threading.enumerate()}
