"""What the snapshots of the catalog are called, and how long they are kept. Takes none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from bbq_dagster.core.tables import DatasetRef, TableRef

KEPT = timedelta(days=30)
"""Then BigQuery deletes a snapshot by itself."""

_STAMP = "events_%Y%m%d"


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The events of the catalog as they were on a day (UTC), and the table that has them."""

    table: TableRef
    day: date

    @classmethod
    def of_day(cls, catalog: DatasetRef, day: date) -> CatalogSnapshot:
        """The one of that day: a day has one."""
        return cls(snapshots_of(catalog).table(f"{day:{_STAMP}}"), day)

    @classmethod
    def found(cls, table: TableRef) -> CatalogSnapshot | None:
        """None where the name is not that of a snapshot."""
        try:
            day = datetime.strptime(table.table, _STAMP).replace(tzinfo=UTC).date()
        except ValueError:
            return None
        return cls(table, day)


def snapshots_of(catalog: DatasetRef) -> DatasetRef:
    """The dataset with the snapshots: beside the catalog, so that it can have other permissions."""
    return DatasetRef(catalog.project, f"{catalog.dataset}_snapshots")
