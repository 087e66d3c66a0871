"""The rows in a file: newline-delimited JSON, CSV, Avro, Parquet or ORC, under a given, a detected or its own schema.

https://cloud.google.com/bigquery/docs/batch-loading-data. Writing them is ``destination``'s work.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.orc
import pyarrow.parquet

from bbq_dagster.local.avro import read_avro
from bbq_dagster.local.decimals import check_decimals, fields_with_decimals, wanted_types
from bbq_dagster.local.errors import invalid, not_implemented
from bbq_dagster.local.model import Fields, conform, rest_fields
from bbq_dagster.local.schema import is_repeated, type_name
from bbq_dagster.local.values import BadValue, decode_column, decode_rows

# Types that Arrow's CSV reader parses as BigQuery does; the others are read as text and decoded.
_CSV_NATIVE = {"STRING": pa.string(), "INTEGER": pa.int64(), "FLOAT": pa.float64(), "BOOLEAN": pa.bool_()}
_NOT_MODELLED = (
    *("hivePartitioningOptions", "referenceFileSchemaUri", "jsonExtension", "schemaInline", "timeZone"),
    *("dateFormat", "datetimeFormat", "timeFormat", "timestampFormat"),
)
_LOOKS_LIKE = (
    ("DATE", re.compile(r"\d{4}-\d{2}-\d{2}")),
    ("TIMESTAMP", re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?( ?(Z|UTC|[+-]\d{2}:\d{2}))")),
    ("DATETIME", re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?")),
)


def read_file(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    """The rows of a file and their schema, which is ``fields`` unless that is None.

    Args:
        configuration: The ``load`` configuration of the job.
        content: The whole file.
        fields: The schema of the configuration or of the existing table.
    """
    kind = str(configuration.get("sourceFormat") or "CSV").upper()
    if kind not in _READERS:
        raise not_implemented(f"loading from {kind}")
    _refuse_not_modelled(configuration)
    try:
        return _READERS[kind](configuration, _unzipped(content), fields)
    except BadValue as error:
        raise invalid(f"Error while reading data, error message: {error} Field: {error.location}") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise invalid(f"Error while reading data, error message: {error}") from error


def describes_itself(configuration: Mapping[str, Any]) -> bool:
    """Whether files of the format carry their schema, so that none needs to be given."""
    return str(configuration.get("sourceFormat")).upper() in ("AVRO", "PARQUET", "ORC")


def _refuse_not_modelled(configuration: Mapping[str, Any]) -> None:
    """Options that would change what the rows are; those that only forgive bad files are let pass, and unheeded."""
    for name in _NOT_MODELLED:
        if configuration.get(name):
            raise not_implemented(f"{name} of load jobs")


def _unzipped(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _read_json(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    rows = [_json_object(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    fields = _detected(rows) if fields is None else fields
    return fields, decode_rows(fields, rows, ignore_unknown=bool(configuration.get("ignoreUnknownValues")))


def _json_object(number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise invalid(
            f"Error while reading data, error message: JSON parsing error in row {number}: {error}"
        ) from error
    if not isinstance(row, dict):
        raise invalid(f"Error while reading data, error message: JSON row {number} is not an object")
    return row


def _detected(rows: list[dict[str, Any]]) -> Fields:
    """A schema by autodetection: types as JSON has them, and texts that all look like dates or times."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise invalid("Schema has no fields.")
    return [_detected_field(name, [row[name] for row in rows if row.get(name) is not None]) for name in names]


def _detected_field(name: str, values: list[Any]) -> dict[str, Any]:
    if values and all(isinstance(v, list) for v in values):
        return _detected_field(name, [inner for v in values for inner in v]) | {"mode": "REPEATED"}
    if values and all(isinstance(v, dict) for v in values):
        return {"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": _detected(values)}
    return {"name": name, "type": _detected_type(values), "mode": "NULLABLE"}


def _detected_type(values: list[Any]) -> str:
    for name, kinds in (("BOOLEAN", bool), ("INTEGER", int), ("FLOAT", (int, float))):
        if values and all(isinstance(v, kinds) and (kinds is bool or not isinstance(v, bool)) for v in values):
            return name
    for name, pattern in _LOOKS_LIKE:
        if values and all(isinstance(v, str) and pattern.fullmatch(v) for v in values):
            return name
    return "STRING"


def _read_csv(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    parse = pa.csv.ParseOptions(
        delimiter=configuration.get("fieldDelimiter") or ",",
        quote_char=configuration.get("quote", '"') or False,
        newlines_in_values=bool(configuration.get("allowQuotedNewlines")),
    )
    skip = int(configuration.get("skipLeadingRows") or 0)
    if fields is None:
        read = pa.csv.ReadOptions(skip_rows=max(skip - 1, 0))
        rows = pa.csv.read_csv(io.BytesIO(content), read, parse)
        return rest_fields(rows.schema), conform(rows, rest_fields(rows.schema))
    names = [f["name"] for f in fields]
    read = pa.csv.ReadOptions(skip_rows=skip, column_names=names)
    marker = configuration.get("nullMarker") or ""
    convert = pa.csv.ConvertOptions(
        column_types={f["name"]: _CSV_NATIVE.get(type_name(f), pa.string()) for f in fields},
        null_values=[marker],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    if not content.strip():
        return fields, conform(pa.table({}), fields)
    rows = pa.csv.read_csv(io.BytesIO(content), read, parse, convert)
    return fields, pa.Table.from_arrays([_csv_column(f, rows.column(f["name"]), marker) for f in fields], names=names)


def _csv_column(field: Mapping[str, Any], column: pa.ChunkedArray, marker: str) -> Any:
    if is_repeated(field) or type_name(field) == "RECORD":
        raise invalid(f"CSV cannot hold nested or repeated field {field['name']}")
    if type_name(field) in _CSV_NATIVE:
        return column
    texts = pc.if_else(pc.equal(column, marker), None, column) if marker == "" else column
    return decode_column(field, texts.to_pylist())


def _read_parquet(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    return _read_arrow(configuration, pa.parquet.read_table(io.BytesIO(content)), fields)


def _read_orc(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    return _read_arrow(configuration, pa.orc.read_table(io.BytesIO(content)), fields)


def _read_arrow(configuration: Mapping[str, Any], rows: pa.Table, fields: Fields | None) -> tuple[Fields, pa.Table]:
    own = fields_with_decimals(rows.schema, wanted_types(configuration))
    wanted = _with_own(fields, own)
    check_decimals(rows, wanted)
    return wanted, conform(rows, wanted)


def _read_avro(configuration: Mapping[str, Any], content: bytes, fields: Fields | None) -> tuple[Fields, pa.Table]:
    logical = str(configuration.get("useAvroLogicalTypes")).lower() == "true"
    own, rows = read_avro(content, logical=logical, decimals=wanted_types(configuration))
    wanted = _with_own(fields, own)
    return wanted, conform(rows, wanted)


def _with_own(fields: Fields | None, own: Fields) -> Fields:
    """The columns that are wanted, and those that only the file has."""
    known = {field["name"].lower() for field in fields or ()}
    return [*(fields or ()), *(field for field in own if field["name"].lower() not in known)]


_READERS: Mapping[str, Callable[[Mapping[str, Any], bytes, Fields | None], tuple[Fields, pa.Table]]] = {
    "CSV": _read_csv,
    "NEWLINE_DELIMITED_JSON": _read_json,
    "PARQUET": _read_parquet,
    "ORC": _read_orc,
    "AVRO": _read_avro,
}
