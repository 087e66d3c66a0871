"""The DDL that would create a table or dataset, as INFORMATION_SCHEMA.TABLES.ddl and SCHEMATA.ddl print it."""

from collections.abc import Iterable

from bbq_dagster.local.model import Dataset, Partitioning, Table
from bbq_dagster.local.schema import Field, is_required, type_name
from bbq_dagster.local.sql.options import DATASET_OPTIONS, TABLE_OPTIONS, Option, Resource, quoted, shown
from bbq_dagster.local.sql.types import sql_type

_VERBS = {
    "TABLE": "TABLE",
    "CLONE": "TABLE",
    "SNAPSHOT": "SNAPSHOT TABLE",
    "VIEW": "VIEW",
    "MATERIALIZED_VIEW": "MATERIALIZED VIEW",
    "EXTERNAL": "EXTERNAL TABLE",
}


def table_ddl(table: Table) -> str:
    name = f"`{table.ref.project}.{table.ref.dataset}.{table.ref.table}`"
    lines = [f"CREATE {_VERBS[table.kind]} {name}", *_columns(table), *_partition_by(table), *_cluster_by(table)]
    lines += _options(TABLE_OPTIONS, table.resource)
    definition = table.resource.get("view") or table.resource.get("materializedView")
    if definition:
        lines.append(f"AS {definition['query']}")
    return "\n".join(lines) + ";"


def dataset_ddl(dataset: Dataset) -> str:
    lines = [f"CREATE SCHEMA `{dataset.project}.{dataset.dataset}`"]
    lines += _options(DATASET_OPTIONS, dataset.resource, [f"location={quoted(dataset.location)}"])
    return "\n".join(lines) + ";"


def _columns(table: Table) -> list[str]:
    if not table.fields or table.kind not in ("TABLE", "CLONE", "EXTERNAL"):
        return []
    return ["(", ",\n".join(f"  {_column(field)}" for field in table.fields), ")"]


def _column(field: Field) -> str:
    parts = [field["name"], sql_type(field)]
    if field.get("defaultValueExpression"):
        parts.append(f"DEFAULT {field['defaultValueExpression']}")
    if is_required(field):
        parts.append("NOT NULL")
    if field.get("description"):
        parts.append(f"OPTIONS(description={quoted(field['description'])})")
    return " ".join(parts)


def _partition_by(table: Table) -> list[str]:
    spec = table.partitioning
    if not spec.is_partitioned:
        return []
    return [f"PARTITION BY {_partition_expression(table, spec)}"]


def _partition_expression(table: Table, spec: Partitioning) -> str:
    if spec.is_range:
        return f"RANGE_BUCKET({spec.column}, GENERATE_ARRAY({spec.start}, {spec.end}, {spec.interval}))"
    if spec.column is None:
        daily = spec.unit == "DAY"
        return "_PARTITIONDATE" if daily else f"TIMESTAMP_TRUNC(_PARTITIONTIME, {spec.unit})"
    kind = next(type_name(f) for f in table.fields if f["name"].lower() == str(spec.column).lower())
    if spec.unit == "DAY":
        return spec.column if kind == "DATE" else f"DATE({spec.column})"
    return f"{kind}_TRUNC({spec.column}, {spec.unit})"


def _cluster_by(table: Table) -> list[str]:
    return [f"CLUSTER BY {', '.join(table.clustering)}"] if table.clustering else []


def _options(options: Iterable[Option], resource: Resource, more: Iterable[str] = ()) -> list[str]:
    texts = [*(f"{row.name}={_in_ddl(row.value)}" for row in shown(tuple(options), resource)), *more]
    return ["OPTIONS(\n  " + ",\n  ".join(texts) + "\n)"] if texts else []


def _in_ddl(value: str) -> str:
    """Labels are structs in TABLE_OPTIONS and pairs in DDL."""
    return value.replace("STRUCT(", "(") if value.startswith("[STRUCT(") else value
