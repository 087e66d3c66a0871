"""Copy jobs per second on the embedded BigQuery: by Google's client, by raw HTTP, in memory and with a folder.

A job is one jobs.insert of a table with one row to a new name. Targets: 400 by the client, 2,000 raw.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQueryAdmin
from benchmarks import _raw
from benchmarks._figure import print_figure
from benchmarks._server import PROJECT, client_of, running, seconds_for

BY_CLIENT, RAW = 2_000, 10_000
CLIENT_TARGET, RAW_TARGET = 400, 2_000


def main() -> None:
    with TemporaryDirectory() as folder:
        for where, kept_in in (("memory", None), ("a folder", Path(folder))):
            with running(kept_in) as admin:
                by_client, raw = _rates(admin)
            print(f"in {where}: {by_client:,.0f} jobs/s by the client, {raw:,.0f} raw")
            name = f"local_copy_jobs in {where}"
            print_figure(f"{name}, client", by_client, "jobs/s", target=CLIENT_TARGET, at_most=False)
            print_figure(f"{name}, raw", raw, "jobs/s", target=RAW_TARGET, at_most=False)


def _rates(admin: LocalBigQueryAdmin) -> tuple[float, float]:
    client = client_of(admin)
    client.create_dataset(f"{PROJECT}.sales")
    client.load_table_from_json([{"a": 1}], f"{PROJECT}.sales.t").result()
    by_client = BY_CLIENT / seconds_for(lambda i: _copy(client, i), BY_CLIENT)
    raw = RAW / _raw.seconds_for(admin.url, (_request(i) for i in range(RAW)))
    return by_client, raw


def _copy(client: bq.Client, number: int) -> None:
    job = client.copy_table(f"{PROJECT}.sales.t", f"{PROJECT}.sales.client_{number}", timeout=60)
    assert job.error_result is None


def _request(number: int) -> bytes:
    copy = {"sourceTable": _reference("t"), "destinationTable": _reference(f"raw_{number}")}
    body: dict[str, Any] = {
        "jobReference": {"projectId": PROJECT, "jobId": f"raw_{number}", "location": "EU"},
        "configuration": {"copy": copy},
    }
    return _raw.request("POST", f"/bigquery/v2/projects/{PROJECT}/jobs", body)


def _reference(table: str) -> dict[str, str]:
    return {"projectId": PROJECT, "datasetId": "sales", "tableId": table}


if __name__ == "__main__":
    main()
