"""A day of changes: what changed is copied, and nothing else, each unit with its reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.cloud import bigquery

from bbq_dagster_tests.e2e.house import SHOP, House, made, reasons_of, units_of

DAYS = f"{SHOP}.sales.days"
ORDERS = f"{SHOP}.sales.orders"

CHANGES = {
    "append to a table": (f"INSERT INTO `{ORDERS}` VALUES (9, 'new')", {"orders": "modified"}),
    "update": (f"UPDATE `{ORDERS}` SET note = 'x' WHERE n = 1", {"orders": "modified"}),
    "delete rows": (f"DELETE FROM `{ORDERS}` WHERE n = 1", {"orders": "modified"}),
    "drop and create anew": (
        f"CREATE OR REPLACE TABLE `{ORDERS}` AS SELECT 1 AS n, 'a' AS note",
        {"orders": "dropped"},
    ),
    "late rows in an old partition": (
        f"INSERT INTO `{DAYS}` VALUES (DATE '2026-01-01', 7)",
        {"days$20260101": "modified"},
    ),
    "a new partition": (f"INSERT INTO `{DAYS}` VALUES (DATE '2026-01-09', 7)", {"days$20260109": "never"}),
    "rows updated in one partition": (
        f"UPDATE `{DAYS}` SET n = 70 WHERE day = '2026-01-02'",
        {"days$20260102": "modified"},
    ),
    "an edited description": (f"ALTER TABLE `{DAYS}` SET OPTIONS (description = 'new words')", {}),
    "nothing": ("SELECT 1", {}),
}


@pytest.fixture
def protected(house: House) -> House:
    """A table and a partitioned table, both backed up."""
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT n, 'a' AS note FROM UNNEST([1, 2, 3]) AS n")
    days = "SELECT DATE_ADD(DATE '2026-01-01', INTERVAL n DAY) AS day, n FROM UNNEST(GENERATE_ARRAY(0, 4)) AS n"
    house.sql(f"CREATE TABLE `{DAYS}` PARTITION BY day AS {days}")
    assert house.back_up("first").ok
    return house


@pytest.mark.parametrize(("sql", "expected"), CHANGES.values(), ids=CHANGES)
def test_exactly_what_changed_is_copied(protected: House, sql: str, expected: dict[str, str]) -> None:
    protected.sql(sql)
    protected.later()

    plan = protected.plan()
    report = protected.stack.apply(plan, run_id="second")

    assert {key: reason.split()[0] for key, reason in reasons_of(plan).items()} == expected
    assert made(report) == sorted(expected)
    assert reasons_of(protected.plan()) == {}


def test_a_copy_of_changed_partitions_holds_them_row_for_row(protected: House) -> None:
    protected.sql(f"UPDATE `{DAYS}` SET n = n * 10 WHERE day IN ('2026-01-02', '2026-01-04')")

    report = protected.back_up()

    backup = report.versions[0].version.backup.table
    assert made(report) == ["days$20260102", "days$20260104"]
    assert protected.sql(f"SELECT n FROM `{backup}` ORDER BY n") == [(10,), (30,)]


def test_a_truncated_table_keeps_its_last_good_version(protected: House) -> None:
    before = protected.versions(ORDERS)
    protected.sql(f"TRUNCATE TABLE `{ORDERS}`")
    protected.later()

    plan = protected.plan()
    protected.stack.apply(plan, run_id="second")

    assert units_of(plan.emptied) == ["orders"]
    assert protected.versions(ORDERS) == before
    assert not protected.plan().emptied, "it is recorded once"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param(f"DROP TABLE `{ORDERS}`", {"orders": "the table is gone"}, id="a dropped table"),
        pytest.param(
            f"DELETE FROM `{DAYS}` WHERE day = '2026-01-01'",
            {"days$20260101": "the partition is gone"},
            id="a partition without rows",
        ),
        pytest.param(
            f"DROP TABLE `{ORDERS}`; CREATE VIEW `{ORDERS}` AS SELECT 1 AS n",
            {"orders": "something else has its name: a view has no data of its own"},
            id="a view in place of a table",
        ),
    ],
)
def test_what_is_gone_is_recorded_once_and_keeps_its_versions(
    protected: House, sql: str, expected: dict[str, str]
) -> None:
    before = protected.versions(ORDERS, DAYS)
    protected.sql(sql)
    protected.later()

    plan = protected.plan()
    protected.stack.apply(plan, run_id="second")

    assert {gone.unit.key: gone.reason for gone in plan.vanished} == expected
    assert protected.versions(ORDERS, DAYS) == before
    assert not protected.plan().vanished


def test_streamed_rows_are_backed_up_once_they_are_out_of_the_buffer(protected: House) -> None:
    client = protected.bigquery.client(SHOP)
    client.insert_rows_json(ORDERS, [{"n": 100, "note": "streamed"}])
    protected.back_up("while in the buffer")
    protected.later(timedelta(hours=2))

    report = protected.back_up("after")

    backup = report.versions[0].version.backup
    assert made(report) == ["orders"]
    assert protected.rows_of(str(backup), location="EU") == protected.rows_of(ORDERS, location="EU")


def test_streamed_rows_of_a_partition_are_backed_up_once_they_are_in_it(protected: House) -> None:
    client = protected.bigquery.client(SHOP)
    client.insert_rows_json(DAYS, [{"day": "2026-01-03", "n": 100}])
    protected.later()
    while_in_the_buffer = protected.plan()
    protected.stack.apply(while_in_the_buffer, run_id="while in the buffer")
    protected.later(timedelta(hours=2))

    report = protected.back_up("after")

    assert units_of(while_in_the_buffer.postponed) == ["days$__UNPARTITIONED__"]
    assert made(report) == ["days$20260103"]


def test_what_cannot_or_need_not_be_copied_is_left_out_with_a_reason(house: House) -> None:
    house.sql(f"CREATE TABLE `{SHOP}.sales.empty` (n INT64)")
    house.sql(f"CREATE VIEW `{SHOP}.sales.view` AS SELECT 1 AS n")
    house.sql(f"CREATE TABLE `{SHOP}.sales.skipped` (n INT64) OPTIONS (labels = [('bbq', 'skip')])")
    client = house.bigquery.client(SHOP)
    external = bigquery.Table(f"{SHOP}.sales.sheet", [bigquery.SchemaField("n", "INT64")])
    config = bigquery.ExternalConfig("CSV")
    config.source_uris = ["gs://acme/sheet.csv"]
    external.external_data_configuration = config
    client.create_table(external)
    client.create_table(bigquery.Table(f"{SHOP}.sales.bare"))

    plan = house.plan()

    assert not plan.copies
    assert {left.table.table: left.reason for left in plan.left_out} == {
        "bare": "it has no schema yet",
        "empty": "empty, and never backed up: nothing to protect yet",
        "sheet": "an external table keeps its data outside BigQuery",
        "skipped": "it has the label bbq: skip",
        "view": "a view has no data of its own",
    }


def test_a_plan_changes_nothing_and_creates_no_catalog(house: House) -> None:
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT 1 AS n")

    plan = house.plan()

    assert units_of(plan.units) == ["orders"]
    assert list(house.bigquery.client("acme-vault").list_datasets()) == []
