"""The file that an extract job writes of a table's rows: CSV, newline-delimited JSON, Avro or Parquet.

https://cloud.google.com/bigquery/docs/exporting-data. A table gives one file; where it goes is ``buckets``' work.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from bbq_dagster.local.avro import write_avro
from bbq_dagster.local.errors import invalid, not_implemented
from bbq_dagster.local.model import Fields
from bbq_dagster.local.schema import Field, is_repeated, type_name
from bbq_dagster.local.values import encode_value

Writer = Callable[[Mapping[str, Any], Fields, pa.Table], bytes]


def file_of(configuration: Mapping[str, Any], fields: Fields, rows: pa.Table) -> bytes:
    """The content of the file, compressed as the ``extract`` configuration asks."""
    kind = str(configuration.get("destinationFormat") or "CSV").upper()
    if kind not in _WRITERS:
        raise not_implemented(f"extracting to {kind}")
    content = _WRITERS[kind](configuration, fields, rows)
    compression = str(configuration.get("compression") or "NONE").upper()
    if compression == "NONE" or kind in ("PARQUET", "AVRO"):
        return content
    if compression != "GZIP":
        raise invalid(f"Compression {compression} is not supported for {kind}")
    return gzip.compress(content, mtime=0)


def _csv(configuration: Mapping[str, Any], fields: Fields, rows: pa.Table) -> bytes:
    for field in fields:
        if is_repeated(field) or type_name(field) == "RECORD":
            raise invalid(f"Operation cannot be performed on a nested schema. Field: {field['name']}")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=configuration.get("fieldDelimiter") or ",", lineterminator="\n")
    if configuration.get("printHeader", True):
        writer.writerow([field["name"] for field in fields])
    columns = [[_text(field, value) for value in rows.column(field["name"]).to_pylist()] for field in fields]
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _json(_: Mapping[str, Any], fields: Fields, rows: pa.Table) -> bytes:
    lines = (json.dumps(_object(fields, row), separators=(",", ":"), ensure_ascii=False) for row in rows.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode()


def _parquet(configuration: Mapping[str, Any], _: Fields, rows: pa.Table) -> bytes:
    content, compression = io.BytesIO(), str(configuration.get("compression") or "NONE").upper()
    if compression not in ("NONE", "GZIP", "SNAPPY", "ZSTD"):
        raise invalid(f"Compression {compression} is not supported for PARQUET")
    pa.parquet.write_table(rows, content, compression=compression)
    return content.getvalue()


def _avro(configuration: Mapping[str, Any], fields: Fields, rows: pa.Table) -> bytes:
    logical = str(configuration.get("useAvroLogicalTypes")).lower() == "true"
    compression = str(configuration.get("compression") or "NONE").upper()
    return write_avro(fields, rows, logical=logical, compression=compression)


_WRITERS: Mapping[str, Writer] = {
    "CSV": _csv,
    "NEWLINE_DELIMITED_JSON": _json,
    "PARQUET": _parquet,
    "AVRO": _avro,
}


def _object(fields: Fields, row: Mapping[str, Any]) -> dict[str, Any]:
    """INT64 and NUMERIC are strings, so that no reader loses digits; what is NULL is left out."""
    return {f["name"]: _json_value(f, row[f["name"]]) for f in fields if row[f["name"]] is not None}


def _json_value(field: Field, value: Any) -> Any:
    if is_repeated(field):
        element = {**field, "mode": "NULLABLE"}
        return [_json_value(element, item) for item in value]
    if type_name(field) == "RECORD":
        return _object(field["fields"], value)
    if type_name(field) in ("BOOLEAN", "FLOAT"):
        return value
    return json.loads(value) if type_name(field) == "JSON" else _text(field, value)


def _text(field: Field, value: Any) -> str | None:
    if value is None:
        return None
    if type_name(field) == "TIMESTAMP":
        return f"{_clock(value.replace(tzinfo=None))} UTC"
    return str(encode_value(field, value))


def _clock(value: datetime) -> str:
    return value.isoformat(" ").rstrip("0").rstrip(".") if value.microsecond else value.isoformat(" ")
