"""Retention on the embedded BigQuery: days of changes, what is deleted of them, and what is held."""

from __future__ import annotations

import pytest

from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import House
from bbq_dagster_tests.e2e.retaining import DAY, EVENTS, ORDERS, backups, on_record, plan, with_retention


@pytest.fixture
def shop(house_of_five_days: House) -> House:
    return house_of_five_days


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


@pytest.mark.parametrize(
    ("change", "unit"),
    [
        pytest.param([f"DROP TABLE `{ORDERS}`"], ORDERS, id="a table that was dropped"),
        pytest.param(
            [f"DROP TABLE `{ORDERS}`", f"CREATE VIEW `{ORDERS}` AS SELECT 1 AS n"], ORDERS, id="a view in its place"
        ),
        pytest.param(
            [
                f"DROP TABLE `{ORDERS}`",
                f"CREATE TABLE `{ORDERS}` (day DATE) PARTITION BY day",
                f"INSERT `{ORDERS}` VALUES (DATE '2026-03-01')",
            ],
            ORDERS,
            id="a partitioned table in place of a plain one",
        ),
        pytest.param(
            [f"DROP TABLE `{EVENTS}`", f"CREATE TABLE `{EVENTS}` AS SELECT 1 AS n"],
            f"{EVENTS}$20260101",
            id="a plain table in place of a partitioned one",
        ),
        pytest.param(
            [f"DELETE FROM `{EVENTS}` WHERE day = DATE '2026-01-01'"],
            f"{EVENTS}$20260101",
            id="a partition of a table that lives on",
        ),
    ],
)
def test_what_is_not_there_any_more_counts_as_deleted_and_what_has_its_name_now_does_not(
    shop: House, change: list[str], unit: str
) -> None:
    with_retention(shop, RetentionRules(keep_last=9, grace_after_source_deleted=DAY))
    for statement in change:
        shop.sql(statement)
    shop.back_up("gone")
    within_the_grace = plan(shop)
    shop.later(DAY)
    shop.back_up("gone for a day")
    report = shop.stack.apply_retention(plan(shop), run_id="r")
    left = {str(version.unit) for version in shop.versions(ORDERS, EVENTS)}

    assert within_the_grace.deletions == ()
    assert report.ok
    assert unit in {str(version.unit) for version in report.deleted}
    assert unit not in left
    assert left, "everything else stays"
    assert backups(shop) == on_record(shop)
