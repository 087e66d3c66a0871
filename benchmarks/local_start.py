"""Seconds from starting the process of an embedded BigQuery to its first answer, and its memory then.

The median of several starts, empty and in memory. Target: 2 s.
"""

from __future__ import annotations

import statistics
import time

from benchmarks._figure import print_figure
from benchmarks._server import largest_server_bytes, running

STARTS, TARGET_SECONDS = 10, 2.0


def main() -> None:
    seconds = [_seconds() for _ in range(STARTS)]
    print(f"{min(seconds):.2f} to {max(seconds):.2f} s")
    print_figure("local_start memory", largest_server_bytes(), "bytes", target=None)
    print_figure("local_start", statistics.median(seconds), "s", target=TARGET_SECONDS)


def _seconds() -> float:
    began = time.perf_counter()
    with running():
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
