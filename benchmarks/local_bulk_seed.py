"""Seconds and memory to make 100,000 tables with 1,000,000 partitions on the embedded BigQuery.

In memory and with a folder, there with the restart that reads all of it back. Targets: 60 s, 2 GiB.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._figure import print_figure
from benchmarks._many import DATASET, DAYS, TABLES, make_many
from benchmarks._server import largest_server_bytes, running

TARGET_SECONDS, TARGET_BYTES = 60, 2 * 2**30


def main() -> None:
    in_memory = _seconds(None)
    with TemporaryDirectory() as folder:
        in_folder = _seconds(Path(folder))
        began = time.perf_counter()
        with running(Path(folder)) as admin:
            restart = time.perf_counter() - began
            last = admin.client().get_table(f"{DATASET}.t_{TABLES - 1}")
            assert last._properties["numPartitions"] == str(DAYS)
    print(f"{in_memory:.1f} s in memory, {in_folder:.1f} s in a folder, {restart:.1f} s to read it back")
    print_figure("local_bulk_seed in memory", in_memory, "s", target=TARGET_SECONDS)
    print_figure("local_bulk_seed in a folder", in_folder, "s", target=TARGET_SECONDS)
    print_figure("local_bulk_seed memory", largest_server_bytes(), "bytes", target=TARGET_BYTES)


def _seconds(folder: Path | None) -> float:
    with running(folder) as admin:
        began = time.perf_counter()
        make_many(admin)
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
