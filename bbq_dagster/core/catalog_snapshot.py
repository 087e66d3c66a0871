"""What the snapshots of the catalog are called, and where they are unless the settings say otherwise. Takes none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from bbq_dagster.core.tables import DatasetRef, TableRef

_STAMP = "events_%Y%m%d"


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The events of the catalog as they were on a day (UTC), and the table that has them."""

    table: TableRef
    day: date

    @classmethod
    def of_day(cls, snapshots: DatasetRef, day: date) -> CatalogSnapshot:
        """The one of that day in the dataset ``snapshots``: a day has one."""
        return cls(snapshots.table(f"{day:{_STAMP}}"), day)

    @classmethod
    def found(cls, table: TableRef) -> CatalogSnapshot | None:
        """None where the name is not that of a snapshot."""
        try:
            day = datetime.strptime(table.table, _STAMP).replace(tzinfo=UTC).date()
        except ValueError:
            return None
        return cls(table, day)


def snapshots_of(catalog: DatasetRef, *, named: str | None = None) -> DatasetRef:
    """The dataset with the snapshots, ``named`` or beside the catalog: another one, so that it can have permissions of
    its own."""
    return DatasetRef(catalog.project, named or f"{catalog.dataset}_snapshots")
