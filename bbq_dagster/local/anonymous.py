"""The anonymous table that holds the rows of a query without a destination: its name, and how the API shows it.

https://cloud.google.com/bigquery/docs/writing-results#temporary_and_permanent_tables. It can be read with tables.get
and tabledata.list as long as the rows are kept; SQL and copies do not see it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa

from bbq_dagster.local.model import Fields, Job, TableRef

_KEPT_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows that a query left, and when it was done."""

    fields: Fields
    rows: pa.Table
    ended_ms: int


def anonymous_table(job: Job) -> TableRef:
    """A hidden dataset per project and location, and in it a table per job."""
    dataset, table = (sha256(text.encode()).hexdigest()[:40] for text in (f"{job.project}.{job.location}", str(job)))
    return TableRef(job.project, f"_{dataset}", f"anon{table}")


def anonymous_resource(ref: TableRef, kept: Kept) -> Mapping[str, Any]:
    """tables.get of it. It expires a day after its query."""
    return {
        "kind": "bigquery#table",
        "id": str(ref),
        "etag": ref.table,
        "type": "TABLE",
        "tableReference": ref.as_json(),
        "schema": {"fields": list(kept.fields)},
        "numRows": str(kept.rows.num_rows),
        "numBytes": str(kept.rows.nbytes),
        "creationTime": str(kept.ended_ms),
        "lastModifiedTime": str(kept.ended_ms),
        "expirationTime": str(kept.ended_ms + _KEPT_MS),
    }
