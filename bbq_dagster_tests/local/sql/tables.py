"""Tables that the SQL tests are about."""

from typing import Any

import pyarrow as pa

from bbq_dagster.local.model import Table, TableRef
from bbq_dagster.local.store import Store


def ref(table: str, dataset: str = "sales", project: str = "shop") -> TableRef:
    return TableRef(project, dataset, table)


def a_table(
    store: Store, name: str, fields: dict[str, str], rows: dict[str, list[Any]] | None = None, **more: Any
) -> Table:
    """A table with columns by name and type (``ARRAY<t>`` repeats), and rows by column."""
    schema = {"fields": [_field(column, kind) for column, kind in fields.items()]}
    table = store.create_table(ref(name), {"schema": schema, **more})
    if rows is not None:
        store.append_rows(ref(name), pa.table(rows))
    return store.get_table(table.ref)


def orders(store: Store) -> Table:
    """Three orders in an unpartitioned table."""
    return a_table(store, "orders", {"id": "INT64", "item": "STRING"}, {"id": [1, 2, 3], "item": ["pen", "ink", "nib"]})


def events(store: Store, **more: Any) -> Table:
    """Three rows in the partitions 20240101, 20240102 and __NULL__ of a column-partitioned table."""
    days = pa.array(["2024-01-01", "2024-01-02", None]).cast(pa.date32())
    by_day = {"timePartitioning": {"type": "DAY", "field": "day"}}
    return a_table(store, "events", {"id": "INT64", "day": "DATE"}, {"id": [1, 2, 3], "day": days}, **by_day, **more)


def _field(name: str, kind: str) -> dict[str, Any]:
    if kind.startswith("ARRAY<"):
        return {"name": name, "type": kind[6:-1], "mode": "REPEATED"}
    return {"name": name, "type": kind}
