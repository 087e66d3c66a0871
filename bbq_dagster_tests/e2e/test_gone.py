"""A dataset that is dropped as a whole, one that is hidden, and a project that cannot be listed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, House, made, units_of

SALES = DatasetRef(SHOP, "sales")
DAY = timedelta(days=1)


@pytest.fixture
def shop(house: House) -> House:
    """With a table in each of two projects, backed up; the settled state is on record."""
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    house.sql(f"CREATE TABLE `{SHOP}.sales.events` PARTITION BY day AS SELECT 1 AS n, DATE '2026-01-01' AS day")
    house.sql(f"CREATE TABLE `{CLIMATE}.weather.rain` AS SELECT 1 AS n", location="US")
    house.back_up("first")
    return house


def drop_sales(house: House) -> None:
    house.client_of(SHOP).delete_dataset(str(SALES), delete_contents=True)
    house.later(DAY)


def hide(house: House, call: str, **match: str) -> None:
    action = {"http_error": {"reason": "accessDenied", "message": "denied (or it may not exist)"}}
    house.bigquery.fault(match={"call": call, **match}, action=action)


def test_a_dropped_dataset_is_recorded_as_vanished_with_all_its_units(shop: House) -> None:
    drop_sales(shop)
    plan = shop.plan()
    report = shop.back_up("second")

    assert units_of(plan.vanished) == ["events$20260101", "orders"]
    assert {gone.reason for gone in plan.vanished} == {"its dataset is gone"}
    assert report.ok
    assert {status.table.table: status.gone for status in shop.stack.status([SHOP])} == {"orders": 1, "events": 1}
    assert shop.plan().vanished == ()


def test_the_retention_of_a_dropped_dataset_goes_on_for_as_long_as_it_is_looked_for(shop: House) -> None:
    drop_sales(shop)
    shop.back_up("second")
    shop.later(10 * DAY)
    shop.back_up("third")

    frozen = shop.stack.plan_retention(now=shop.now, datasets=[SALES]).frozen

    assert not frozen


def test_a_restore_as_of_a_time_after_the_drop_has_nothing_to_restore(shop: House) -> None:
    before = shop.now
    drop_sales(shop)
    shop.back_up("second")
    shop.later(DAY)

    pasts = shop.stack.catalog.pasts([SALES])[SALES]

    assert {gone.unit.key for gone in pasts.absences} == {"orders", "events$20260101"}
    assert all(gone.at > before for gone in pasts.absences)


def test_a_hidden_dataset_is_a_failure_and_not_called_gone(shop: House) -> None:
    drop_sales(shop)
    hide(shop, "datasets.get", dataset="sales")

    plan = shop.plan()

    assert plan.vanished == ()
    assert [failure.dataset for failure in plan.failures] == [SALES]
    assert "or we may not see it" in plan.failures[0].message


def test_a_project_that_cannot_be_listed_is_named_and_stops_no_other_one(shop: House) -> None:
    shop.sql(f"INSERT INTO `{CLIMATE}.weather.rain` (n) VALUES (2)", location="US")
    hide(shop, "datasets.list", project=SHOP)

    report = shop.back_up("second")

    assert made(report) == ["rain"]
    assert [failed.project for failed in report.projects_failed] == [SHOP]
    assert not report.ok
    assert f"  {SHOP}: listing the datasets of {SHOP}" in str(report)
