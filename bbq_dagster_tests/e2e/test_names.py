"""Names that are hard, and names that collided in the original BBQ (its faults W2, W3): each table its own backup."""

from __future__ import annotations

import pytest

from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster_tests.e2e.house import SHOP, House, made

HARD = {
    "Unicode": "Kundenauftrag_äöü_注文",
    "dashes and spaces": "order - items",
    "1,024 bytes of ASCII": "t" * 1024,
    "1,024 bytes of three-byte letters": "注" * 341 + "x",
}

COLLIDING = {
    "the border of dataset and table": ((f"{SHOP}.a", "b_c"), (f"{SHOP}.a_b", "c")),
    "a table that is named like a partition": ((f"{SHOP}.a", "t_partition_x"), (f"{SHOP}.a", "t")),
    "names that differ outside ASCII": ((f"{SHOP}.a", "été"), (f"{SHOP}.a", "ete")),
    "a date shard and a day": ((f"{SHOP}.a", "events_20260101"), (f"{SHOP}.a", "events")),
}


@pytest.mark.parametrize("name", HARD.values(), ids=HARD)
def test_a_table_with_a_hard_name_is_copied_and_found_again(house: House, name: str) -> None:
    table = TableRef(SHOP, "sales", name)
    house.sql(f"CREATE TABLE `{table}` AS SELECT 1 AS n")

    report = house.back_up()

    assert made(report) == [name]
    found = house.stack.catalog.versions([table])
    assert [version.unit for version in found] == [Unit(table)]
    assert house.rows_of(str(found[0].backup), location="EU") == ['{"n":1}']


@pytest.mark.parametrize("pair", COLLIDING.values(), ids=COLLIDING)
def test_two_tables_never_share_a_backup(house: House, pair: tuple[tuple[str, str], tuple[str, str]]) -> None:
    for number, (dataset, name) in enumerate(pair):
        if dataset not in [f"{SHOP}.{item.dataset_id}" for item in house.bigquery.client(SHOP).list_datasets()]:
            house.add_dataset(dataset, location="EU")
        house.sql(f"CREATE TABLE `{dataset}.{name}` AS SELECT {number} AS n")

    report = house.back_up()

    backups = [outcome.version.backup for outcome in report.versions]
    assert len(set(backups)) == 2
    assert sorted(house.sql(f"SELECT n FROM `{backup}`")[0][0] for backup in backups) == [0, 1]
