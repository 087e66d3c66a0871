"""Days of a house with retention, as several tests tell them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bbq_dagster.core.policy import Policy
from bbq_dagster.core.retention import RetentionPlan
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster_tests.e2e.house import SHOP, House

DAY = timedelta(days=1)
ORDERS, EVENTS = f"{SHOP}.sales.orders", f"{SHOP}.sales.events"


def with_retention(house: House, rules: RetentionRules, **limits: object) -> House:
    settings = replace(house.stack.settings, defaults=Policy(retention=rules))
    wide = {"retention_share_of_versions": 1.0, "retention_share_of_bytes": 1.0, **limits}
    settings = replace(settings, limits=replace(settings.limits, **wide))  # type: ignore[arg-type]
    house.stack = replace(house.stack, settings=settings)
    return house


def five_days(house: House) -> House:
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
    (dataset,) = {version.backup.table.in_dataset for version in house.versions(ORDERS, EVENTS)}
    tables = house.sql(
        f"SELECT table_name, partition_id FROM `{dataset.project}.{dataset.dataset}`.INFORMATION_SCHEMA.PARTITIONS"
        " WHERE total_rows > 0"
    )
    return {table if partition in (None, "NULL") else f"{table}${partition}" for table, partition in tables}  # type: ignore[misc]


def on_record(house: House) -> set[str]:
    return {version.backup.key for version in house.versions(ORDERS, EVENTS)}
