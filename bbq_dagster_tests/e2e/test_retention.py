"""Retention on the embedded BigQuery: days of changes, what is deleted of them, what is held, what comes back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bbq_dagster.core.policy import Policy
from bbq_dagster.core.retention import RetentionPlan
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import SHOP, House

DAY = timedelta(days=1)
ORDERS, EVENTS = f"{SHOP}.sales.orders", f"{SHOP}.sales.events"


def with_retention(house: House, rules: RetentionRules, **limits: object) -> House:
    settings = replace(house.stack.settings, defaults=Policy(retention=rules))
    wide = {"retention_share_of_versions": 1.0, "retention_share_of_bytes": 1.0, **limits}
    settings = replace(settings, limits=replace(settings.limits, **wide))  # type: ignore[arg-type]
    house.stack = replace(house.stack, settings=settings)
    return house


@pytest.fixture
def shop(house: House) -> House:
    """Five days: orders grow every day, and one of three partitions of events is written to."""
    house.sql(f"CREATE TABLE `{ORDERS}` (n INT64)")
    house.sql(f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day")
    for partition in (1, 2, 3):
        house.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-0{partition}', 0)")
    for day in range(5):
        house.sql(f"INSERT `{ORDERS}` VALUES ({day})")
        house.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-0{day % 3 + 1}', {day})")
        assert house.back_up(f"day {day}").ok
        house.later(DAY)
    return house


def plan(house: House) -> RetentionPlan:
    return house.stack.plan_retention(now=house.now)


def backups(house: House) -> set[str]:
    """Every table in the backup dataset, with the partitions that it holds."""
    (dataset,) = {version.backup.table.in_dataset for version in house.versions(ORDERS)}
    tables = house.sql(
        f"SELECT table_name, partition_id FROM `{dataset.project}.{dataset.dataset}`.INFORMATION_SCHEMA.PARTITIONS"
        " WHERE total_rows > 0"
    )
    return {table if partition in (None, "NULL") else f"{table}${partition}" for table, partition in tables}  # type: ignore[misc]


def on_record(house: House) -> set[str]:
    return {version.backup.key for version in house.versions(ORDERS, EVENTS)}


def test_without_retention_nothing_is_deleted(shop: House) -> None:
    before = backups(shop)

    assert shop.stack.apply_retention(plan(shop), run_id="r").deleted == ()
    assert backups(shop) == before == on_record(shop)


def test_what_no_rule_keeps_is_gone_from_bigquery_and_from_the_record(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1))
    report = shop.stack.apply_retention(plan(shop), run_id="r")

    assert report.ok
    assert len(shop.versions(ORDERS)) == 1
    assert len(shop.versions(EVENTS)) == 3
    assert backups(shop) == on_record(shop)
    assert plan(shop).deletions == ()
    assert shop.plan().is_empty, "nothing is backed up again for it"


def test_a_source_that_was_deleted_loses_its_versions_after_the_grace(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=9, grace_after_source_deleted=3 * DAY))
    shop.sql(f"DROP TABLE `{ORDERS}`")
    shop.back_up("gone")
    shop.later(2 * DAY)
    shop.back_up("still gone")
    early = plan(shop)
    shop.later(DAY)
    shop.back_up("long gone")

    assert early.deletions == ()
    assert shop.stack.apply_retention(plan(shop), run_id="r").ok
    assert shop.versions(ORDERS) == []
    assert len({version.unit for version in shop.versions(EVENTS)}) == 3


def test_a_dataset_that_cannot_be_listed_any_more_loses_nothing(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1))
    shop.bigquery.fault(
        match={"call": "jobs.query", "sql": "INFORMATION_SCHEMA"}, action={"http_error": {"reason": "accessDenied"}}
    )
    shop.later(3 * DAY)
    made = plan(shop)

    assert made.deletions == ()
    assert "more than 48 hours ago" in str(made)


def test_a_held_table_stays_until_it_is_released(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1))
    placed = shop.stack.hold(ORDERS, owner="ada", reason="audit", until=None, run_id="r")
    shop.stack.apply_retention(plan(shop), run_id="r1")
    held = len(shop.versions(ORDERS))
    shop.later()
    shop.stack.release(placed.hold_id, run_id="r")
    shop.stack.apply_retention(plan(shop), run_id="r2")

    assert held == 5
    assert len(shop.versions(ORDERS)) == 1
    assert shop.stack.holds() == []


def test_more_than_the_share_needs_the_digest(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1), retention_share_of_versions=0.1)
    made = plan(shop)
    with pytest.raises(Refused, match="nothing was deleted"):
        shop.stack.apply_retention(made, run_id="r")

    assert shop.stack.apply_retention(made, run_id="r", approved=made.digest).ok


def test_what_bigquery_does_not_let_us_delete_is_deleted_by_the_next_run(shop: House) -> None:
    with_retention(shop, RetentionRules(keep_last=1))
    denied = {"http_error": {"reason": "accessDenied"}}
    shop.bigquery.fault(match={"call": "tables.delete"}, action=denied, times=1)
    first = shop.stack.apply_retention(plan(shop), run_id="r1")
    shop.later()
    second = shop.stack.apply_retention(plan(shop), run_id="r2")

    assert len(first.failures) == 1
    assert "bigquery.tables.delete" in first.failures[0].error
    assert second.ok
    assert backups(shop) == on_record(shop)


def test_a_deleted_version_comes_back_as_it_was(shop: House) -> None:
    oldest = shop.versions(ORDERS)[-1]
    with_retention(shop, RetentionRules(keep_last=1))
    shop.stack.apply_retention(plan(shop), run_id="r")
    shop.later(DAY)
    back = shop.stack.undelete(oldest.version_id, run_id="undelete")

    assert back.backup == oldest.backup
    assert shop.rows_of(str(oldest.backup.table), location="EU") == ['{"n":0}']
    assert [version.captured_at for version in shop.versions(ORDERS)][-1] == oldest.captured_at
    assert backups(shop) == on_record(shop)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        pytest.param("nobody", "there was never a version nobody", id="unknown"),
        pytest.param("live", "is not deleted", id="not deleted"),
        pytest.param("partition", "is a partition", id="a partition"),
    ],
)
def test_what_cannot_come_back_is_refused(shop: House, which: str, expected: str) -> None:
    partition = next(v for v in reversed(shop.versions(EVENTS)))
    with_retention(shop, RetentionRules(keep_last=1))
    shop.stack.apply_retention(plan(shop), run_id="r")
    live = shop.versions(ORDERS)[0]
    version_id = {"nobody": "nobody", "live": live.version_id, "partition": partition.version_id}[which]

    with pytest.raises(Refused, match=expected):
        shop.stack.undelete(version_id, run_id="r")


def test_after_time_travel_nothing_comes_back(shop: House) -> None:
    oldest = shop.versions(ORDERS)[-1]
    with_retention(shop, RetentionRules(keep_last=1))
    shop.stack.apply_retention(plan(shop), run_id="r")
    shop.later(8 * DAY)

    with pytest.raises(Refused, match="time travel reaches back 7 days"):
        shop.stack.undelete(oldest.version_id, run_id="r")
