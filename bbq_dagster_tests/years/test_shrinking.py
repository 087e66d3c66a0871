"""What is left of a failing list of days."""

from __future__ import annotations

from collections.abc import Sequence

from bbq_dagster.core.tables import TableRef
from bbq_dagster_tests.years.actions import Truncate
from bbq_dagster_tests.years.driver import Day, draw_days
from bbq_dagster_tests.years.shrinking import shrink, without_chunks


def test_only_what_is_needed_to_fail_is_left() -> None:
    left = without_chunks(range(100), lambda some: {13, 77} <= set(some))

    assert left == [13, 77]


def test_days_lose_all_that_does_not_make_them_fail() -> None:
    culprit = Truncate(TableRef("shop", "sales", "orders"))
    days = draw_days(1, days=20, tables=3)
    days[9] = Day(9, morning=(*days[9].morning, culprit), streams=days[9].streams, again=True)

    def fails(some: Sequence[Day]) -> bool:
        return any(culprit in day.morning and day.again for day in some)

    left = shrink(days, fails)

    assert left == [Day(9, morning=(culprit,), again=True)]


def test_what_cannot_be_tried_any_more_is_left() -> None:
    days = draw_days(1, days=5, tables=3)

    assert shrink(days, lambda some: False) == days
