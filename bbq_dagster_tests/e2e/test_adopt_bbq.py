"""The copies of an original BBQ installation are taken over: restorable, under retention, and not made again."""

from __future__ import annotations

import pytest

from bbq_dagster.core.original import ADOPTED
from bbq_dagster.core.restore_request import RestoreRequest, Scope
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House
from bbq_dagster_tests.e2e.retaining import DAY, EVENTS, ORDERS, plan, with_retention

BACKUPS = f"{VAULT}.2026_10_EU_acme_shop"
EXPORT = f"{VAULT}.datastore_export"
UNCLEAR = f"{BACKUPS}.20260302_120900_acme_shop_sales_old_orders"


@pytest.fixture
def shop(house: House) -> House:
    """Twelve days of orders and two partitions of events, as the original left them, and a copy that is unclear."""
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT 1 AS n")
    house.sql(f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day")
    house.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-01', 1), (DATE '2026-01-02', 2)")
    house.add_dataset(BACKUPS, location="EU")
    for n in range(12):
        house.later(DAY)
        house.sql(f"INSERT `{ORDERS}` VALUES ({n})")
        house.later()
        house.sql(
            f"CREATE TABLE `{BACKUPS}.{house.now:%Y%m%d_%H%M%S}_acme_shop_sales_orders` COPY `{ORDERS}`", project=VAULT
        )
    for day in (1, 2):
        name = f"{BACKUPS}.{house.now:%Y%m%d_%H%M%S}_acme_shop_sales_events_partition_2026010{day}"
        house.sql(f"CREATE TABLE `{name}` (day DATE, n INT64) PARTITION BY day", project=VAULT)
        house.sql(f"INSERT `{name}` VALUES (DATE '2026-01-0{day}', {day})", project=VAULT)
    house.sql(f"CREATE TABLE `{UNCLEAR}` AS SELECT 1 AS n", project=VAULT)
    house.later()
    return house


def adopt(house: House, **how: object) -> int:
    planned = house.stack.plan_adoption(**how)  # type: ignore[arg-type]
    return len(house.stack.adopt(planned, approved=planned.digest, run_id="adopt"))


def test_every_copy_that_is_clear_becomes_a_version(shop: House) -> None:
    planned = shop.stack.plan_adoption()
    count = adopt(shop)
    versions = shop.versions(ORDERS, EVENTS)

    assert (count, len(versions)) == (14, 14)
    assert {version.reason for version in versions} == {ADOPTED}
    assert [(str(table), why) for table, why in planned.unclear] == [
        (UNCLEAR, "its name can be that of sales.old_orders or sales_old.orders")
    ]
    assert shop.stack.check_catalog().is_none


def test_nothing_that_was_not_written_since_is_copied_again(shop: House) -> None:
    adopt(shop)

    assert shop.plan().is_empty


def test_what_was_adopted_is_restored(shop: House) -> None:
    expected = {table: shop.rows_of(table, location="EU") for table in (ORDERS, EVENTS)}
    adopt(shop)
    shop.sql(f"DROP TABLE `{ORDERS}`")
    shop.sql(f"DROP TABLE `{EVENTS}`")
    shop.later()
    restore = shop.stack.plan_restore(RestoreRequest((Scope.parse(f"{SHOP}.sales"),)), now=shop.now)

    assert shop.stack.apply_restore(restore, run_id="restore").ok
    assert {table: shop.rows_of(table, location="EU") for table in (ORDERS, EVENTS)} == expected


def test_it_is_under_retention_as_the_original_had_it(shop: House) -> None:
    adopt(shop)
    with_retention(shop, RetentionRules(preset="bbq"))
    shop.back_up("scan")
    report = shop.stack.apply_retention(plan(shop), run_id="r")

    assert report.ok
    assert len(report.deleted) == 2
    assert len(shop.versions(ORDERS)) == 10
    assert len(shop.versions(EVENTS)) == 2
    assert shop.stack.check_catalog().is_none


def test_twice_is_once(shop: House) -> None:
    adopt(shop)
    shop.later()

    assert adopt(shop) == 0


def test_a_dataset_that_is_named_makes_a_copy_clear(shop: House) -> None:
    assert adopt(shop, datasets=[DatasetRef(SHOP, "sales")]) == 15
    assert len(shop.versions(f"{SHOP}.sales.old_orders")) == 1


def test_its_export_tells_what_a_copy_is_of_and_when_it_was_made(shop: House) -> None:
    key, (dataset, name) = "STRUCT<path STRING, id INT64>", UNCLEAR.split(".")[1:]
    shop.add_dataset(EXPORT, location="EU")
    shop.sql(
        f"CREATE TABLE `{EXPORT}.Table_20260314` AS SELECT {key}('\"Table\", 12', 12) AS __key__,"
        " 'acme-shop' AS project_id, 'sales_old' AS dataset_id, 'orders' AS table_id,"
        " CAST(NULL AS STRING) AS partition_id",
        project=VAULT,
    )
    shop.sql(
        f'CREATE TABLE `{EXPORT}.Backup_20260314` AS SELECT {key}(\'"Table", 12, "Backup", 34\', 34) AS __key__,'
        f" '{dataset}' AS dataset_id, '{name}' AS table_id, TIMESTAMP '2026-03-02 12:09:30+00' AS last_modified,"
        " CAST(NULL AS TIMESTAMP) AS deleted",
        project=VAULT,
    )
    adopt(shop, export=DatasetRef.parse(EXPORT))
    (version,) = shop.versions(f"{SHOP}.sales_old.orders")

    assert f"{version.captured_at:%Y-%m-%d %H:%M:%S}" == "2026-03-02 12:09:30"


def test_a_dataset_without_an_export_is_refused(shop: House) -> None:
    with pytest.raises(Refused, match="has no export of the original BBQ"):
        shop.stack.plan_adoption(export=DatasetRef(VAULT, "nothing"))
