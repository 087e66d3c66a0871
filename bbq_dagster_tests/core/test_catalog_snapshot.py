"""The names of the catalog's snapshots, both ways."""

from __future__ import annotations

from datetime import date

import pytest

from bbq_dagster.core.catalog_snapshot import CatalogSnapshot, snapshots_of
from bbq_dagster.core.tables import DatasetRef

CATALOG = DatasetRef("acme-backups", "bbq_catalog")
SNAPSHOTS = DatasetRef("acme-backups", "bbq_catalog_snapshots")


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        pytest.param(None, SNAPSHOTS, id="beside the catalog"),
        pytest.param("elsewhere", DatasetRef("acme-backups", "elsewhere"), id="as the settings say"),
    ],
)
def test_snapshots_are_in_a_dataset_of_the_project_of_the_catalog(named: str | None, expected: DatasetRef) -> None:
    assert snapshots_of(CATALOG, named=named) == expected


def test_a_snapshot_is_of_a_day() -> None:
    snapshot = CatalogSnapshot.of_day(SNAPSHOTS, date(2026, 2, 1))

    assert snapshot == CatalogSnapshot(SNAPSHOTS.table("events_20260201"), date(2026, 2, 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("events_20260201", date(2026, 2, 1), id="a day"),
        pytest.param("events", None, id="no day"),
        pytest.param("events_20260230", None, id="no day of the calendar"),
        pytest.param("events_20260201_old", None, id="more than a day"),
        pytest.param("orders_20260201", None, id="another table"),
    ],
)
def test_a_snapshot_is_found_by_its_name(name: str, expected: date | None) -> None:
    found = CatalogSnapshot.found(SNAPSHOTS.table(name))

    assert found == (None if expected is None else CatalogSnapshot(SNAPSHOTS.table(name), expected))
