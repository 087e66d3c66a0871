"""The first page of a query's rows as one Arrow record batch, for clients that ask jobs.query for it.

REST jobs.query: queryResultsFormat and arrowSerializationOptions. More rows than a page are only with the Storage Read
API, which is not here. Which type of BigQuery a column has that Arrow does not know stands in the field's metadata:
https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details
"""

import base64
import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from bbq_dagster.local.errors import invalid
from bbq_dagster.local.model import Fields
from bbq_dagster.local.schema import type_name

_EXTENSIONS = {
    "DATETIME": {"ARROW:extension:name": "google:sqlType:datetime"},
    "GEOGRAPHY": {
        "ARROW:extension:name": "google:sqlType:geography",
        "ARROW:extension:metadata": '{"encoding": "WKT"}',
    },
    "JSON": {"ARROW:extension:name": "google:sqlType:json"},
}
_CODECS = {"COMPRESSION_UNSPECIFIED": None, "LZ4_FRAME": "lz4", "ZSTD": "zstd"}


def arrow_page(options: Mapping[str, Any], fields: Fields, rows: pa.Table) -> dict[str, Any]:
    """The schema and the rows, serialized. ``options`` are the request's ``arrowSerializationOptions``."""
    codec = str(options.get("bufferCompression") or "COMPRESSION_UNSPECIFIED")
    if codec not in _CODECS:
        raise invalid(f"Invalid value for bufferCompression: {codec}")
    schema = pa.schema(
        [field.with_metadata(_EXTENSIONS.get(type_name(f))) for field, f in zip(rows.schema, fields, strict=True)]
    )
    whole = rows.cast(schema).combine_chunks()
    batches = whole.to_batches() or [pa.RecordBatch.from_pylist([], schema)]
    batch = _serialized(batches[0], pa.ipc.IpcWriteOptions(compression=_CODECS[codec]))
    return {
        "arrowSchema": {"serializedSchema": _text(schema.serialize())},
        "arrowRecordBatch": {"serializedRecordBatch": _text(batch)},
    }


def _serialized(batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions) -> pa.Buffer:
    """The message of the batch alone: what a stream has after the message of its schema."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as stream:
        stream.write_batch(batch)
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    messages.read_next_message()
    return messages.read_next_message().serialize()


def _text(content: pa.Buffer) -> str:
    return base64.b64encode(content.to_pybytes()).decode()
