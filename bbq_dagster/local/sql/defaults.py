"""Default values of columns, as rows that leave the column out get them.

https://cloud.google.com/bigquery/docs/default-values#insert_default_values: also by tabledata.insertAll. What is an
explicit null stays one. INSERT has its own way, in ``dml``, since it may say DEFAULT.
"""

from typing import Any

from bbq_dagster.local.model import Fields
from bbq_dagster.local.sql.constants import evaluate
from bbq_dagster.local.sql.parsing import parse_expression
from bbq_dagster.local.sql.types import duckdb_type
from bbq_dagster.local.values import encode_value


def default_values(fields: Fields, now_ms: int) -> dict[str, Any]:
    """The values of scalar columns with a default, in JSON as insertAll takes them, by column."""
    defaults = {f["name"]: (f, parse_expression(f["defaultValueExpression"])) for f in fields if _has_default(f)}
    values = {name: (f, evaluate(e, now_ms * 1000, {}, duckdb_type(f))) for name, (f, e) in defaults.items()}
    return {name: encode_value(field, value) for name, (field, value) in values.items() if value is not None}


def _has_default(field: Any) -> bool:
    return bool(field.get("defaultValueExpression")) and field.get("mode") != "REPEATED" and field["type"] != "RECORD"
