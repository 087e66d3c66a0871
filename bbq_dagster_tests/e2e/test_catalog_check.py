"""Damage to the catalog and to the copies on the embedded BigQuery: each kind is named, repaired or left alone."""

from __future__ import annotations

import pytest

from bbq_dagster.core.drift import Kind
from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House

ORDERS, EVENTS = f"{SHOP}.sales.orders", f"{SHOP}.sales.events"
CATALOG = f"{VAULT}.bbq_catalog"


@pytest.fixture
def shop(house: House) -> House:
    """Two versions of orders, a table, and of each of two partitions of events."""
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT n FROM UNNEST([1, 2, 3]) AS n")
    house.sql(f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day")
    for n in range(2):
        house.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-01', {n}), (DATE '2026-01-02', {n})")
        house.sql(f"INSERT `{ORDERS}` VALUES ({n})")
        assert house.back_up(f"day {n}").ok
    return house


def newest_copy(house: House, source: str) -> TableRef:
    return house.versions(source)[0].backup.table


def kinds(house: House) -> list[Kind]:
    return [finding.kind for finding in house.stack.check_catalog().findings]


def repair(house: House) -> None:
    house.later()
    report = house.stack.repair_catalog(approved=house.stack.check_catalog().digest, run_id="repair")
    assert report.ok


def test_what_nobody_touched_agrees(shop: House) -> None:
    drift = shop.stack.check_catalog()

    assert drift.is_none
    assert (drift.versions, drift.tables) == (6, 4)
    assert str(drift) == "6 versions on record, 4 backup tables found: they agree"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param("DROP TABLE `{orders}`", [Kind.MISSING_COPY], id="a missing copy"),
        pytest.param(
            "DELETE FROM `{events}` WHERE day = DATE '2026-01-01'", [Kind.MISSING_COPY], id="a missing partition"
        ),
        pytest.param("DELETE FROM `{orders}` WHERE n = 1", [Kind.OTHER_ROWS], id="a copy that lost rows"),
        pytest.param("INSERT `{orders}` VALUES (7)", [Kind.OTHER_ROWS], id="a copy that somebody wrote to"),
        pytest.param(
            "UPDATE `{catalog}.events` SET row_count = 99 WHERE backup_table = '{orders_table}' AND event <> 'x'",
            [Kind.OTHER_ROWS],
            id="a record with other rows",
        ),
        pytest.param(
            "UPDATE `{catalog}.events` SET size_bytes = 99 WHERE backup_table = '{orders_table}'",
            [Kind.OTHER_BYTES],
            id="a record with other bytes",
        ),
        pytest.param(
            "UPDATE `{catalog}.events` SET source_table = 'customers' WHERE backup_table = '{orders_table}'",
            [Kind.WRONG_RECORD],
            id="a record of another table",
        ),
        pytest.param(
            "UPDATE `{catalog}.events` SET version_id = 'aaaa' WHERE backup_table = '{orders_table}'",
            [Kind.WRONG_RECORD],
            id="a record with the id of another",
        ),
        pytest.param(
            "INSERT `{catalog}.events` SELECT * FROM `{catalog}.events`"
            " WHERE event = 'version_created' AND backup_table = '{orders_table}'",
            [Kind.REPEATED],
            id="a record that is there twice",
        ),
        pytest.param(
            "INSERT `{catalog}.events` SELECT * REPLACE (row_count + 1 AS row_count, 'other' AS event_id,"
            " TIMESTAMP_SUB(recorded_at, INTERVAL 1 HOUR) AS recorded_at) FROM `{catalog}.events`"
            " WHERE event = 'version_created' AND backup_table = '{orders_table}'",
            [Kind.TOLD_TWICE],
            id="two records that contradict each other",
        ),
        pytest.param(
            "DELETE FROM `{catalog}.events` WHERE backup_table = '{orders_table}'",
            [Kind.UNRECORDED_COPY],
            id="a copy whose record is gone",
        ),
        pytest.param(
            "ALTER TABLE `{orders}` SET OPTIONS (expiration_timestamp = TIMESTAMP '2099-01-01')",
            [Kind.EXPIRES],
            id="a copy that expires",
        ),
        pytest.param(
            "ALTER TABLE `{events}` SET OPTIONS (partition_expiration_days = 9999)",
            [Kind.EXPIRES],
            id="a copy whose partitions expire",
        ),
        pytest.param(
            "ALTER TABLE `{orders}` SET OPTIONS (description = 'Backup of acme-shop.sales.customers')",
            [Kind.WRONG_DESCRIPTION],
            id="a copy that says it is of another table",
        ),
        pytest.param(
            "CREATE TABLE `{backups}.mine` AS SELECT 1 AS n", [Kind.FOREIGN_TABLE], id="a table of somebody else"
        ),
        pytest.param("DROP TABLE `{catalog}.events`", [Kind.CATALOG_GONE], id="a catalog without its events"),
        pytest.param("DROP SCHEMA `{catalog}` CASCADE", [Kind.CATALOG_GONE], id="a catalog that is gone"),
    ],
)
def test_each_kind_of_damage_is_named(shop: House, damage: str, expected: list[Kind]) -> None:
    orders = newest_copy(shop, ORDERS)
    shop.sql(
        damage.format(
            orders=orders,
            orders_table=orders.table,
            events=newest_copy(shop, EVENTS),
            backups=orders.in_dataset,
            catalog=CATALOG,
        ),
        project=VAULT,
    )

    assert kinds(shop) == expected


def test_a_copy_without_record_is_adopted_and_can_be_restored(shop: House) -> None:
    orders = newest_copy(shop, ORDERS)
    before = shop.versions(ORDERS)
    shop.sql(f"DELETE FROM `{CATALOG}.events` WHERE backup_table = '{orders.table}'", project=VAULT)
    repair(shop)
    after = shop.versions(ORDERS)

    assert kinds(shop) == []
    assert [version.version_id for version in after] == [version.version_id for version in before]
    assert after[0].reason == "adopted: found without a record"
    assert (after[0].rows, after[0].size_bytes) == (before[0].rows, before[0].size_bytes)


def test_a_record_without_copy_is_lost_and_the_unit_is_copied_again(shop: House) -> None:
    shop.sql(f"DROP TABLE `{newest_copy(shop, ORDERS)}`", project=VAULT)
    repair(shop)
    report = shop.back_up("after")

    assert [str(outcome.version.unit) for outcome in report.versions] == [ORDERS]
    assert kinds(shop) == []


def test_an_expiration_is_removed(shop: House) -> None:
    orders = newest_copy(shop, ORDERS)
    option = "expiration_timestamp = TIMESTAMP '2099-01-01'"
    shop.sql(f"ALTER TABLE `{orders}` SET OPTIONS ({option})", project=VAULT)
    repair(shop)

    assert kinds(shop) == []
    assert shop.client_of(VAULT).get_table(str(orders)).expires is None


def test_what_moved_since_it_was_shown_is_not_repaired(shop: House) -> None:
    shown = shop.stack.check_catalog().digest
    shop.sql(f"DROP TABLE `{newest_copy(shop, ORDERS)}`", project=VAULT)
    with pytest.raises(Refused, match="nothing was changed"):
        shop.stack.repair_catalog(approved=shown, run_id="r")

    assert kinds(shop) == [Kind.MISSING_COPY]


def test_other_rows_are_left_to_people(shop: House) -> None:
    shop.sql(f"DELETE FROM `{newest_copy(shop, ORDERS)}` WHERE n = 1", project=VAULT)
    repair(shop)

    assert kinds(shop) == [Kind.OTHER_ROWS]


def test_a_copy_that_failed_its_check_is_not_adopted(shop: House) -> None:
    orders = newest_copy(shop, ORDERS)
    shop.sql(
        f"UPDATE `{CATALOG}.events` SET event = 'copy_failed'"
        f" WHERE event = 'version_created' AND backup_table = '{orders.table}'",
        project=VAULT,
    )

    assert kinds(shop) == [Kind.FAILED_COPY]


def test_a_dataset_that_cannot_be_looked_at_is_named_and_judged_by_nobody(shop: House) -> None:
    denied = {"http_error": {"reason": "accessDenied"}}
    shop.bigquery.fault(match={"call": "jobs.query", "sql": "TABLE_OPTIONS"}, action=denied, times=1)
    drift = shop.stack.check_catalog()

    assert drift.findings == ()
    assert [str(ref) for ref in drift.unseen] == [f"{VAULT}.bbq_acme_shop__sales__eu"]
    assert not drift.is_none
