"""Whatever its partitioning, a table is copied by partitions, row for row, and nothing in the copy expires."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, House, made

ROWS = (
    "SELECT n, TIMESTAMP_ADD(TIMESTAMP '2026-02-27 22:30:00', INTERVAL n HOUR) AS at"
    " FROM UNNEST(GENERATE_ARRAY(1, 30)) AS n"
)

TABLES = {
    "unpartitioned": ("", ["t"]),
    "clustered": ("CLUSTER BY n", ["t"]),
    "by hour": (
        "PARTITION BY TIMESTAMP_TRUNC(at, HOUR)",
        [f"t$202602{day:02}{hour:02}" for day, hour in [(27, 23), *((28, hour) for hour in range(24))]]
        + [f"t$20260301{hour:02}" for hour in range(5)],
    ),
    "by day, clustered": ("PARTITION BY DATE(at) CLUSTER BY n", ["t$20260227", "t$20260228", "t$20260301"]),
    "by month": ("PARTITION BY TIMESTAMP_TRUNC(at, MONTH)", ["t$202602", "t$202603"]),
    "by year": ("PARTITION BY TIMESTAMP_TRUNC(at, YEAR)", ["t$2026"]),
    "by range": ("PARTITION BY RANGE_BUCKET(n, GENERATE_ARRAY(0, 20, 10))", ["t$0", "t$10", "t$__UNPARTITIONED__"]),
}


@pytest.mark.parametrize(("shape", "units"), TABLES.values(), ids=TABLES)
@pytest.mark.parametrize(
    ("dataset", "location"), [(f"{SHOP}.sales", "EU"), (f"{CLIMATE}.weather", "US")], ids=["EU", "US"]
)
def test_a_table_is_copied_row_for_row(house: House, dataset: str, location: str, shape: str, units: list[str]) -> None:
    house.sql(f"CREATE TABLE `{dataset}.t` {shape} AS {ROWS}", location=location)

    house.later(timedelta(hours=3))
    report = house.back_up()

    assert report.ok, str(report)
    assert made(report) == sorted(units)
    backup = report.versions[0].version.backup.table
    assert house.rows_of(str(backup), location=location) == house.rows_of(f"{dataset}.t", location=location)


def test_a_table_by_ingestion_time_is_copied_row_for_row(house: House) -> None:
    table = f"{SHOP}.sales.raw"
    house.sql(f"CREATE TABLE `{table}` (n INT64) PARTITION BY _PARTITIONDATE")
    client = house.bigquery.client(SHOP)
    for day in ("20260101", "20260102"):
        client.load_table_from_json([{"n": int(day)}], f"{table}${day}").result()

    report = house.back_up()

    assert made(report) == ["raw$20260101", "raw$20260102"]
    backup = report.versions[0].version.backup.table
    text = "SELECT n, CAST(_PARTITIONTIME AS STRING) FROM `{}` ORDER BY n"
    assert house.sql(text.format(backup)) == house.sql(text.format(table))


def test_rows_without_a_partition_value_are_copied_too(house: House) -> None:
    table = f"{SHOP}.sales.t"
    house.sql(f"CREATE TABLE `{table}` PARTITION BY day AS SELECT 1 AS n, CAST(NULL AS DATE) AS day")

    report = house.back_up()

    assert made(report) == ["t$__NULL__"]
    backup = report.versions[0].version.backup.table
    assert house.rows_of(str(backup), location="EU") == house.rows_of(table, location="EU")


def test_a_table_with_365_partitions_is_one_copy_job(house: House) -> None:
    days = "SELECT day FROM UNNEST(GENERATE_DATE_ARRAY('2025-01-01', '2025-12-31')) AS day"
    house.sql(f"CREATE TABLE `{SHOP}.sales.days` PARTITION BY day AS {days}")
    house.later()
    plan = house.plan()
    house.bigquery.reset_calls()

    report = house.stack.apply(plan, run_id="first")

    copies = [job for job in house.bigquery.client("acme-vault").list_jobs() if job.job_type == "copy"]
    assert len(plan.copies) == len(copies) == 1
    assert len(report.versions) == 365


@pytest.mark.parametrize("only", ["table", "partitions", "dataset"])
def test_nothing_in_a_backup_expires(house: House, only: str) -> None:
    client = house.bigquery.client(SHOP)
    options = {
        "table": "OPTIONS (expiration_timestamp = TIMESTAMP '2026-06-01 00:00:00')",
        "partitions": "OPTIONS (partition_expiration_days = 60)",
        "dataset": "",
    }
    if only == "dataset":
        dataset = client.get_dataset(f"{SHOP}.sales")
        dataset.default_partition_expiration_ms = 60 * 24 * 3600 * 1000
        client.update_dataset(dataset, ["default_partition_expiration_ms"])
    rows = "SELECT DATE '2026-02-01' AS day, 1 AS n UNION ALL SELECT DATE '2026-02-20', 2"
    house.sql(f"CREATE TABLE `{SHOP}.sales.t` PARTITION BY day {options[only]} AS {rows}")

    backup = house.back_up().versions[0].version.backup.table
    house.later(timedelta(days=365))

    kept = house.bigquery.client("acme-vault").get_table(str(backup))
    assert (kept.expires, kept.time_partitioning.expiration_ms) == (None, None)
    assert house.sql(f"SELECT COUNT(*) FROM `{backup}`") == [(2,)]
