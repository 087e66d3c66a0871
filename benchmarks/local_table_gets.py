"""tables.get per second on the embedded BigQuery, by Google's client and by raw HTTP.

Targets: 400 by the client, 2,000 raw.
"""

from __future__ import annotations

from benchmarks import _raw
from benchmarks._figure import print_figure
from benchmarks._server import PROJECT, client_of, running, seconds_for

BY_CLIENT, RAW = 2_000, 20_000
CLIENT_TARGET, RAW_TARGET = 400, 2_000


def main() -> None:
    with running() as admin:
        client = client_of(admin)
        client.create_dataset(f"{PROJECT}.sales")
        client.load_table_from_json([{"a": 1}], f"{PROJECT}.sales.t").result()
        by_client = BY_CLIENT / seconds_for(lambda _: client.get_table(f"{PROJECT}.sales.t", timeout=60), BY_CLIENT)
        asked = _raw.request("GET", f"/bigquery/v2/projects/{PROJECT}/datasets/sales/tables/t")
        raw = RAW / _raw.seconds_for(admin.url, (asked for _ in range(RAW)))
    print(f"{by_client:,.0f} tables.get/s by the client, {raw:,.0f} raw")
    print_figure("local_table_gets, client", by_client, "requests/s", target=CLIENT_TARGET, at_most=False)
    print_figure("local_table_gets, raw", raw, "requests/s", target=RAW_TARGET, at_most=False)


if __name__ == "__main__":
    main()
