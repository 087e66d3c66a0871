"""The preset ``bbq`` against the original: its filters written down once more, as it had them, and its boundaries."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.retention_policy import RetentionPolicy
from bbq_dagster.core.retention_preset import bbq_grace_is_over, bbq_reasons, months_before
from bbq_dagster_tests.builders import NOW
from bbq_dagster_tests.core.retention_cases import days_ago, fates, kept, stored

TODAY = date(2026, 1, 31)
BBQ = RetentionPolicy(preset="bbq")


def original(created: list[date], *, today: date, months: int, count: int) -> set[int]:
    """What filters 1 to 3 keep, as places in ``created`` (newest first): one list after the other, as the original."""
    daily = [place for place, day in enumerate(created) if created.index(day) == place]
    threshold = months_before(today, months)
    young = [place for place in daily if created[place] >= threshold][:count]
    old = [place for place in daily if created[place] < threshold][:1]
    return {*young, *old}


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        pytest.param(date(2026, 1, 31), 7, date(2025, 6, 30), id="a shorter month"),
        pytest.param(date(2026, 3, 31), 1, date(2026, 2, 28), id="February"),
        pytest.param(date(2024, 3, 31), 1, date(2024, 2, 29), id="February of a leap year"),
        pytest.param(date(2024, 2, 29), 12, date(2023, 2, 28), id="the 29th a year ago"),
        pytest.param(date(2026, 1, 15), 1, date(2025, 12, 15), id="over New Year"),
        pytest.param(date(2026, 12, 1), 12, date(2025, 12, 1), id="from December to December"),
    ],
)
def test_months_are_those_of_the_calendar_and_clamped(day: date, months: int, expected: date) -> None:
    assert months_before(day, months) == expected


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        pytest.param(["2025-06-30"], ["bbq: young #1"], id="on the threshold it is young"),
        pytest.param(["2025-06-29"], ["bbq: newest old"], id="the day before it is old"),
        pytest.param(["2026-01-31", "2026-01-31"], ["bbq: young #1", "bbq: not the newest of its day"], id="one a day"),
        pytest.param(
            ["2025-06-29", "2025-06-28"], ["bbq: newest old", "bbq: old, and not the newest old"], id="one old"
        ),
        pytest.param(
            ["2025-06-30", "2025-06-29"], ["bbq: young #1", "bbq: newest old"], id="a young one spares the old one"
        ),
        pytest.param([], [], id="no versions"),
    ],
)
def test_a_filter_keeps(dates: list[str], expected: list[str]) -> None:
    reasons = bbq_reasons([date.fromisoformat(text) for text in dates], today=TODAY, months=7, count=10)

    assert [reason for _, reason in reasons] == expected


def test_ten_young_are_kept_and_the_eleventh_goes() -> None:
    versions = days_ago(*range(12), 300, 301)
    verdicts = fates(versions, BBQ)

    assert kept(verdicts) == [*versions[:10], versions[12]]
    assert verdicts[10].why == "bbq: young, and not among the newest 10"


def test_days_are_those_of_utc() -> None:
    late, early = stored(datetime(2026, 1, 30, 0, 0, tzinfo=UTC)), stored(datetime(2026, 1, 29, 23, 59, tzinfo=UTC))

    assert kept(fates([early, late], BBQ)) == [late, early]


@given(
    ages=st.lists(st.integers(0, 500), max_size=40),
    today=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    months=st.integers(1, 15),
    count=st.integers(1, 12),
)
def test_the_filters_decide_as_the_original_did(ages: list[int], today: date, months: int, count: int) -> None:
    dates = sorted((today - timedelta(days=age) for age in ages), reverse=True)
    reasons = bbq_reasons(dates, today=today, months=months, count=count)

    assert {place for place, (is_kept, _) in enumerate(reasons) if is_kept} == original(
        dates, today=today, months=months, count=count
    )


@pytest.mark.parametrize(
    ("dates", "gone_since", "expected"),
    [
        pytest.param(["2025-06-29"], "2025-06-29", True, id="old, and gone before the threshold"),
        pytest.param(["2025-06-29"], "2025-06-30", False, id="gone on the threshold"),
        pytest.param(["2025-06-30"], "2025-06-29", False, id="nothing old remains"),
        pytest.param(["2026-01-01", "2025-06-29"], "2025-06-01", True, id="then young ones go too"),
    ],
)
def test_filter_4_lets_everything_go(dates: list[str], gone_since: str, expected: bool) -> None:
    over = bbq_grace_is_over(
        [date.fromisoformat(text) for text in dates],
        gone_since=date.fromisoformat(gone_since),
        today=TODAY,
        months=7,
    )

    assert over is expected


def test_the_grace_of_the_preset_ends_with_words() -> None:
    (fate,) = fates(days_ago(400), BBQ, gone_since=NOW - timedelta(days=399))

    assert not fate.is_kept
    assert fate.why == "bbq: the source is gone since 2024-12-28, longer than 7 months"


def test_the_grace_of_the_preset_runs_from_when_the_source_was_gone_not_from_its_last_version() -> None:
    assert kept(fates(days_ago(400), BBQ, gone_since=NOW - timedelta(days=10))) == days_ago(400)


@pytest.mark.parametrize("rows", [pytest.param(0, id="empty"), pytest.param(None, id="not counted")])
def test_a_version_that_is_not_good_pushes_no_good_one_out_of_the_preset(rows: int | None) -> None:
    """Of one day, among the young ones, and as the newest old one; the original made no difference."""
    bad, good = days_ago(*(0.01 + day for day in range(10)), 300, rows=rows), days_ago(*range(10), 301)

    assert set(good) <= set(kept(fates([*bad, *good], BBQ)))


def test_a_grace_that_is_set_counts_before_that_of_the_preset() -> None:
    policy = RetentionPolicy(preset="bbq", grace_after_source_deleted=timedelta(days=1000))

    assert kept(fates(days_ago(400), policy, gone_since=NOW - timedelta(days=399))) == days_ago(400)


def test_other_rules_keep_more_beside_the_preset() -> None:
    versions = days_ago(*range(60))

    assert len(kept(fates(versions, BBQ))) == 10
    assert len(kept(fates(versions, RetentionPolicy(preset="bbq", keep_daily=50)))) == 50
