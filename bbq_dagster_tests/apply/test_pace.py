from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.apply.pace import Backoff, Pace, Rate, TokenBucket, in_background

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


def test_a_bucket_goes_on_at_another_rate() -> None:
    bucket = TokenBucket(rate=10)
    bucket.take(0)
    bucket.turn_to(2)

    assert [bucket.take(0), bucket.take(0)] == pytest.approx([0.1, 0.6])


@given(answers=st.lists(st.booleans(), max_size=300), highest=st.floats(0.1, 1000), share=st.floats(0.01, 1))
def test_a_rate_falls_when_refused_and_rises_when_granted_within_its_bounds(
    answers: list[bool], highest: float, share: float
) -> None:
    rate = Rate(highest, max(highest * share, min(1, highest)))
    for granted in answers:
        after = rate.granted() if granted else rate.refused(sent_at_rate=rate.per_second)

        assert min(1, highest) <= after.per_second <= highest
        assert after.per_second >= rate.per_second if granted else after.per_second <= rate.per_second
        rate = after


@given(refusals=st.integers(1, 500), highest=st.floats(10, 1000))
def test_answers_to_what_was_sent_at_one_rate_leave_six_tenths_of_it(refusals: int, highest: float) -> None:
    rate = Rate(highest, highest)
    for _ in range(refusals):
        rate = rate.refused(sent_at_rate=highest)

    assert rate.per_second >= 0.6 * highest


def test_a_late_refusal_of_what_was_sent_at_a_higher_rate_raises_nothing() -> None:
    assert Rate(100, 20).refused(sent_at_rate=100).per_second == 20


def test_a_rate_of_a_third_that_nobody_refuses_is_whole_within_half_a_minute() -> None:
    rate, seconds = Rate(98, 98 / 3), 0.0
    while rate.per_second < 98:
        seconds += 1 / rate.per_second
        rate = rate.granted()

    assert 15 < seconds < 30


@pytest.mark.parametrize(
    ("users", "begin_at", "answer_seconds", "allowed", "least_granted", "most_refused"),
    [
        pytest.param(1, 98, 0.02, 100, 97, 0, id="alone, below what is allowed"),
        pytest.param(1, 98, 0.02, 40, 38, 0.025, id="alone, with less than was thought"),
        pytest.param(3, 98 / 3, 0.02, 100, 95, 0.01, id="three who know of each other"),
        pytest.param(3, 98 / 3, 0.5, 100, 90, 0.02, id="three who know of each other, and slow answers"),
        pytest.param(3, 98, 0.02, 100, 95, 0.02, id="three who do not"),
        pytest.param(8, 98 / 8, 0.02, 100, 90, 0.02, id="eight who know of each other"),
    ],
)
def test_users_of_one_limit_use_it_and_are_rarely_refused(
    users: int, begin_at: float, answer_seconds: float, allowed: float, least_granted: float, most_refused: float
) -> None:
    granted, refused = a_minute_of([Pace(Rate(98, begin_at)) for _ in range(users)], answer_seconds, allowed)

    assert granted / 60 >= least_granted
    assert refused / (granted + refused) <= most_refused


def a_minute_of(paces: list[Pace], answer_seconds: float, allowed: float) -> tuple[int, int]:
    """How many requests a server that allows so many per second grants and refuses. Nobody is ever out of requests."""
    dice, order = random.Random(1), itertools.count()
    server, counts = TokenBucket(rate=allowed, burst=allowed), [0, 0]
    due: list[tuple[float, int, Pace, bool | None, float]] = []
    for pace in paces:
        heapq.heappush(due, (dice.uniform(0, 0.3), next(order), pace, None, 0))
    while due[0][0] < 60:
        now, _, pace, is_granted, rate = heapq.heappop(due)
        if is_granted is not None:
            pace.granted() if is_granted else pace.refused(sent_at_rate=rate)
        elif pace.free_at(now) > now:
            heapq.heappush(due, (pace.free_at(now), next(order), pace, None, 0))
        else:
            pace.take(now)
            is_granted = server.free_at(now) <= now
            if is_granted:
                server.take(now)
            counts[not is_granted] += 1
            answered_at = now + answer_seconds * dice.uniform(0.5, 1.5)
            heapq.heappush(due, (answered_at, next(order), pace, is_granted, pace.per_second))
            heapq.heappush(due, (now, next(order), pace, None, 0))
    return counts[0], counts[1]


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
