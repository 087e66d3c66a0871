"""Where load and query jobs put their rows: a table that is made, widened or replaced as the job asks.

Both jobs have the same configuration for it (REST JobConfigurationLoad and JobConfigurationQuery).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bbq_dagster.local.errors import invalid, not_found
from bbq_dagster.local.model import Decorated, Fields, Table, parse_decorated
from bbq_dagster.local.schema import type_name
from bbq_dagster.local.store import Store

_DEFINING = ("timePartitioning", "rangePartitioning", "clustering")
_TABLE_PROPERTIES = ("description", "friendlyName", "labels", "expirationTime")


def write_rows(
    store: Store, configuration: Mapping[str, Any], fields: Fields, rows: pa.Table, disposition: str
) -> None:
    """Write the rows to the configuration's ``destinationTable``.

    Args:
        configuration: A ``load`` or ``query`` configuration.
        fields: The schema of the rows, which a new or replaced table gets.
        disposition: The write disposition where the configuration has none.
    """
    destination = named_table(configuration["destinationTable"])
    disposition = configuration.get("writeDisposition") or disposition
    with store.transaction():
        table = store.find_table(destination.ref)
        if table is None:
            table = _created(store, configuration, destination, fields)
        elif not table.holds_rows or table.kind == "SNAPSHOT":
            raise invalid(f"{destination.ref} is not allowed for this operation because of its type")
        elif disposition == "WRITE_TRUNCATE" and destination.partition is None:
            _replace_schema(store, table, fields)
        else:
            _widen(store, table, fields, configuration.get("schemaUpdateOptions") or ())
        store.append_rows(destination.ref, rows, destination.partition, disposition)


def named_table(reference: Mapping[str, Any]) -> Decorated:
    """The table of a REST table reference, with its decorator."""
    try:
        return parse_decorated(reference["projectId"], reference["datasetId"], reference["tableId"])
    except (KeyError, TypeError) as error:
        raise invalid("A table reference needs projectId, datasetId and tableId") from error


def _created(store: Store, configuration: Mapping[str, Any], destination: Decorated, fields: Fields) -> Table:
    if configuration.get("createDisposition") == "CREATE_NEVER":
        store.get_dataset(destination.ref.project, destination.ref.dataset)
        raise not_found("Table", destination.ref)
    properties = configuration.get("destinationTableProperties") or {}
    resource = {k: configuration[k] for k in _DEFINING if k in configuration}
    resource |= {k: properties[k] for k in _TABLE_PROPERTIES if k in properties}
    if destination.partition is not None and not resource.keys() & {"timePartitioning", "rangePartitioning"}:
        resource["timePartitioning"] = {"type": "DAY"}
    return store.create_table(destination.ref, resource | {"schema": {"fields": list(fields)}})


def _replace_schema(store: Store, table: Table, fields: Fields) -> None:
    """WRITE_TRUNCATE of a whole table brings the schema of the new rows."""
    if [_column(f) for f in fields] != [_column(f) for f in table.fields]:
        store.write_parts(table.ref, dict.fromkeys(table.parts), fields=fields)


def _widen(store: Store, table: Table, fields: Fields, options: Sequence[str]) -> None:
    known = {f["name"].lower() for f in table.fields}
    added = [f for f in fields if f["name"].lower() not in known]
    if not table.fields and fields:
        store.patch_table(table.ref, {"schema": {"fields": list(fields)}})
    elif added and "ALLOW_FIELD_ADDITION" not in options:
        raise invalid(
            f"Provided Schema does not match Table {table.ref}. Cannot add fields (field: {added[0]['name']})"
        )
    elif added:
        store.patch_table(table.ref, {"schema": {"fields": [*table.fields, *added]}})


def _column(field: Mapping[str, Any]) -> tuple[str, str, str]:
    return (field["name"], type_name(field), str(field.get("mode") or "NULLABLE"))
