"""A table that lost most of its rows: backed up, flagged, its older versions kept until somebody releases them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bbq_dagster.core.anomaly_policy import AnomalyRules
from bbq_dagster.core.policy import Policy
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.e2e.house import House
from bbq_dagster_tests.e2e.retaining import DAY, ORDERS, plan, with_retention


@pytest.fixture
def house(bigquery: LocalBigQuery, tmp_path: Path) -> House:
    """``orders`` with 100 rows, backed up; retention keeps the newest version alone."""
    house = with_retention(House.build(bigquery, tmp_path), RetentionRules(keep_last=1))
    policy = Policy(retention=RetentionRules(keep_last=1), anomaly=AnomalyRules(smallest_rows=100, schema_change=True))
    house.stack = replace(house.stack, settings=replace(house.stack.settings, defaults=policy))
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 100)) AS n")
    house.later(DAY)
    assert house.back_up().ok
    house.later(DAY)
    return house


def test_what_lost_its_rows_is_backed_up_and_flagged_and_older_versions_stay(house: House) -> None:
    house.sql(f"DELETE `{ORDERS}` WHERE n > 10")
    house.later(DAY)

    assert house.back_up().ok

    (hold,) = house.stack.anomalies()
    newest, oldest = house.versions(ORDERS)
    assert hold.target == ORDERS
    assert hold.reason.startswith("10 rows, 90% fewer")
    assert "flagged: 10 rows, 90% fewer" in newest.reason
    assert (newest.rows, oldest.rows) == (10, 100)
    assert [fate.version.version_id for fate in plan(house).expired] == []


def test_what_was_released_expires_and_is_not_flagged_again(house: House) -> None:
    house.sql(f"DELETE `{ORDERS}` WHERE n > 10")
    house.later(DAY)
    house.stack.record_scan(house.plan(), run_id="sensor")
    (hold,) = house.stack.anomalies()
    house.stack.release(hold.hold_id, run_id="cli")

    assert house.back_up().ok

    assert house.stack.anomalies() == []
    assert [fate.version.rows for fate in plan(house).expired] == [100]


def test_another_schema_is_flagged(house: House) -> None:
    house.sql(f"ALTER TABLE `{ORDERS}` ADD COLUMN note STRING")
    house.sql(f"INSERT `{ORDERS}` (n) VALUES (101)")
    house.later(DAY)

    assert house.back_up().ok

    (hold,) = house.stack.anomalies()
    assert hold.reason.startswith("another schema than the version of ")


def test_an_everyday_change_is_not_flagged(house: House) -> None:
    house.sql(f"INSERT `{ORDERS}` (n) VALUES (101)")
    house.later(DAY)

    assert house.back_up().ok

    assert house.stack.anomalies() == []
