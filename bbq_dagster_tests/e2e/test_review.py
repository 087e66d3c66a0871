"""What a sceptic tried: a backup that is called done holds what it should, whatever happened before it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from bbq_dagster.errors import Permanent, Refused
from bbq_dagster.settings import CatalogSettings
from bbq_dagster.stack import open_stack
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House, made

HOUR = timedelta(hours=1)


def test_what_changed_after_an_interrupted_copy_is_backed_up_by_the_run_that_finishes_it(
    house: House,
) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    _lose_versions(house)
    house.later(HOUR)
    house.sql(f"INSERT INTO `{SHOP}.sales.orders` (n) VALUES (2)")
    house.later(HOUR)

    report = house.back_up("next day")

    newest = house.versions(f"{SHOP}.sales.orders")[0]
    assert report.ok
    assert newest.rows == 2
    assert house.plan().is_empty


def test_an_interrupted_copy_of_what_did_not_change_is_not_made_again(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    _lose_versions(house)
    house.later(HOUR)

    report = house.back_up("next day")

    assert made(report) == ["orders"]
    assert house.plan().is_empty


def test_a_table_that_was_renamed_into_the_place_of_a_younger_one_is_backed_up(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.staging` AS SELECT 'new' AS n")
    house.later()
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 'old' AS n")
    house.later()
    house.back_up("first")
    house.later(HOUR)
    house.sql(f"DROP TABLE `{SHOP}.sales.orders`")
    house.sql(f"ALTER TABLE `{SHOP}.sales.staging` RENAME TO `orders`")

    report = house.back_up("second")

    newest = house.versions(f"{SHOP}.sales.orders")[0]
    assert "orders" in made(report)
    assert house.rows_of(str(newest.backup), location="EU") == ['{"n":"new"}']


def test_a_catalog_in_another_location_than_asked_is_refused_and_not_taken_for_none(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` AS SELECT 1 AS n")
    house.back_up()
    moved = replace(house.stack.settings, catalog=CatalogSettings("bbq_catalog", "US"))

    with pytest.raises(Refused, match="is in EU, not in US"):
        open_stack(moved).plan_changed(now=house.now)


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_backup_that_was_deleted_by_hand_keeps_nothing_from_being_backed_up(house: House, partitioned: bool) -> None:
    by_day = "PARTITION BY day" if partitioned else ""
    house.sql(f"CREATE TABLE `{SHOP}.sales.orders` {by_day} AS SELECT 1 AS n, DATE '2026-01-01' AS day")
    house.back_up("first")
    house.client_of(VAULT).delete_dataset(
        f"{VAULT}.{house.versions(f'{SHOP}.sales.orders')[0].backup.table.dataset}", delete_contents=True
    )
    house.later(HOUR)
    house.sql(f"UPDATE `{SHOP}.sales.orders` SET n = 2 WHERE TRUE")

    other_process = open_stack(house.stack.settings)
    report = other_process.apply(other_process.plan_changed(now=house.now), run_id="second")

    assert report.ok
    assert len(made(report)) == 1


def test_two_runs_at_once_copy_every_table_once(house: House) -> None:
    names = [f"t{number}" for number in range(10)]
    house.sql("; ".join(f"CREATE TABLE `{SHOP}.sales.{name}` AS SELECT '{name}' AS n" for name in names))
    house.later()
    plans = [house.plan(), house.plan()]

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(house.stack.apply, plan, run_id=name) for plan, name in zip(plans, "ab", strict=True)]
        reports = [run.result() for run in running]

    house.later()
    assert [made(report) for report in reports] == [names, names]
    assert [version.rows for version in house.versions(*(f"{SHOP}.sales.{name}" for name in names))] == [1] * 10
    assert house.plan().is_empty


def _lose_versions(house: House) -> None:
    """A run whose copies are made, and whose versions cannot be recorded."""
    lost = {"job_error": {"reason": "invalid", "message": "not now"}}
    house.bigquery.fault(match={"job_type": "load"}, action=lost, after=1, times=1)
    with pytest.raises(Permanent, match="not now"):
        house.back_up("interrupted")
