"""Milliseconds of Dagster's own per unit backed up, on SQLite: 10,000 tables in runs of 1,000, and 1,000 in one.

The sensor looks, and the runs that it asks for are executed in this process, on a warehouse in memory. Dagster's share
is what is left of the wall time beside planning and copying: sensor, run, events.
SQLite has no batches: an event is written at a time, and costs what building its statements costs.
A number of units may be given: `python -m benchmarks.dagster_per_unit_sqlite 1000`.
"""

from __future__ import annotations

from benchmarks._dagster import on_sqlite, print_per_unit

TARGET_MS = 20


def main() -> None:
    with on_sqlite() as instance:
        print_per_unit("dagster_per_unit_sqlite", instance, target_ms=TARGET_MS)


if __name__ == "__main__":
    main()
