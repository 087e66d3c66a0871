"""A query: its tables loaded, run by DuckDB, its result under a REST schema."""

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa
from sqlglot import exp

from bbq_dagster.local.errors import invalid_query
from bbq_dagster.local.model import Fields, empty_rows
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.schema import conform
from bbq_dagster.local.sql.dialect import to_duckdb
from bbq_dagster.local.sql.engine import connection
from bbq_dagster.local.sql.names import Context
from bbq_dagster.local.sql.parameters import used_in
from bbq_dagster.local.sql.sources import Sources
from bbq_dagster.local.sql.types import result_field


def run_query(query: exp.Expr, context: Context, *, dry_run: bool = False) -> QueryResult:
    """The rows of a query. A dry run checks names and types, and gives no rows."""
    with connection() as cursor:
        sources = Sources(context, cursor, context.bind(query))
        sources.load(query)
        schema, rows = fetch(query, sources, dry_run=dry_run)
    return QueryResult(
        schema=schema,
        rows=rows,
        total_bytes_processed=sources.bytes,
        referenced=tuple(dict.fromkeys(sources.tables)),
    )


def fetch(query: exp.Expr, sources: Sources, *, dry_run: bool = False) -> tuple[list[dict[str, Any]], pa.Table]:
    """REST fields and rows of a query whose tables are loaded."""
    if isinstance(query, exp.Select) and query.args.get("kind") == "STRUCT":
        query.set("kind", None)
    _name_columns(query)
    text = to_duckdb(query, sources.context.now_us)
    relation = sources.connection.sql(text, params=used_in(text, sources.values))
    schema = _schema(relation)
    return schema, empty_rows(schema) if dry_run else _rows(relation, schema)


def _schema(relation: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    repeated = [name for name, times in Counter(c.lower() for c in relation.columns).items() if times > 1]
    if repeated:
        found = ", ".join(repeated)
        raise invalid_query(f"Duplicate column names in the result are not supported. Found duplicate(s): {found}")
    return [result_field(name, kind) for name, kind in zip(relation.columns, relation.types, strict=True)]


def _rows(relation: duckdb.DuckDBPyRelation, schema: Fields) -> pa.Table:
    return conform(relation.to_arrow_table(), schema)


def _name_columns(query: exp.Expr) -> None:
    """Columns without a name are f0_, f1_, ... in the order they come."""
    while isinstance(query, (exp.SetOperation, exp.Subquery)):
        query = query.this
    unnamed = 0
    for projection in list(query.expressions) if isinstance(query, exp.Select) else ():
        if isinstance(projection, exp.Dot):
            projection.replace(exp.alias_(projection.copy(), projection.name, quoted=True))
        elif not isinstance(projection, (exp.Alias, exp.Column, exp.Star)):
            projection.replace(exp.alias_(projection.copy(), f"f{unnamed}_", quoted=True))
            unnamed += 1
