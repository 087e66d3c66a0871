"""Where load and query jobs put their rows: a table that is made, widened or replaced as the job asks.

Both jobs have the same configuration for it (REST JobConfigurationLoad and JobConfigurationQuery).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from bbq_dagster.local.errors import invalid, not_found
from bbq_dagster.local.model import (
    Decorated,
    Fields,
    Table,
    TableRef,
    parse_decorated,
    parse_partitioning,
    partition_rows,
)
from bbq_dagster.local.schema import Field, is_repeated, type_name
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
        if store.limits:
            _count(store, configuration, destination, table, rows)
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
    resource = _defining(configuration, destination) | {k: properties[k] for k in _TABLE_PROPERTIES if k in properties}
    return store.create_table(destination.ref, resource | {"schema": {"fields": list(fields)}})


def _defining(configuration: Mapping[str, Any], destination: Decorated) -> dict[str, Any]:
    resource = {k: configuration[k] for k in _DEFINING if k in configuration}
    if destination.partition is not None and not resource.keys() & {"timePartitioning", "rangePartitioning"}:
        resource["timePartitioning"] = {"type": "DAY"}
    return resource


def _count(
    store: Store, configuration: Mapping[str, Any], destination: Decorated, table: Table | None, rows: pa.Table
) -> None:
    """Take what the job writes from the limits, before it writes anything."""
    partitioning = parse_partitioning(_defining(configuration, destination)) if table is None else table.partitioning
    if not store.limits:
        return
    one = destination.partition is not None or not partitioning.is_partitioned
    partitions = 1 if one else len(partition_rows(partitioning, rows, store.now_ms()))
    store.limits.check("partitions_per_job", partitions)
    store.count_write(destination.ref, partitioning, partitions)


def _replace_schema(store: Store, table: Table, fields: Fields) -> None:
    """WRITE_TRUNCATE of a whole table brings the schema of the new rows."""
    if [_column(f) for f in fields] != [_column(f) for f in table.fields]:
        store.write_parts(table.ref, dict.fromkeys(table.parts), fields=fields)


def _widen(store: Store, table: Table, fields: Fields, options: Sequence[str]) -> None:
    """Add the columns, nested ones too, that the rows have and the table has not; only where the job asks for it."""
    widened = _with_added(table.ref, table.fields, fields)
    if widened == list(table.fields):
        return
    if table.fields and "ALLOW_FIELD_ADDITION" not in options:
        added = next(f for f in widened if f not in table.fields)
        raise invalid(f"Provided Schema does not match Table {table.ref}. Cannot add fields (field: {added['name']})")
    store.patch_table(table.ref, {"schema": {"fields": widened}})


def _with_added(ref: TableRef, held: Fields, fields: Fields) -> list[Field]:
    by_name = {f["name"].lower(): f for f in fields}
    known = {f["name"].lower() for f in held}
    kept = [_with_added_inside(ref, f, by_name.get(f["name"].lower(), f)) for f in held]
    return kept + [f for f in fields if f["name"].lower() not in known]


def _with_added_inside(ref: TableRef, held: Field, field: Field) -> Field:
    if type_name(held) != type_name(field) or is_repeated(held) != is_repeated(field):
        kinds = f"from {type_name(held)} to {type_name(field)}"
        raise invalid(f"Provided Schema does not match Table {ref}. Field {held['name']} has changed type {kinds}")
    if type_name(held) != "RECORD":
        return held
    return {**held, "fields": _with_added(ref, held["fields"], field["fields"])}


def _column(field: Mapping[str, Any]) -> tuple[str, str, str]:
    return (field["name"], type_name(field), str(field.get("mode") or "NULLABLE"))
