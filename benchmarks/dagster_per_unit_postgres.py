"""Milliseconds of Dagster's own per unit backed up, on Postgres: 10,000 tables in runs of 1,000, and 1,000 in one.

The sensor looks, and the runs that it asks for are executed in this process, on a warehouse in memory. Dagster's share
is what is left of the wall time beside planning and copying: sensor, run, events.
The server is one of its own on this machine, durable by default; events are written hundreds at a time.
A number of units may be given: `python -m benchmarks.dagster_per_unit_postgres 1000`.
"""

from __future__ import annotations

from benchmarks._dagster import on_postgres, print_per_unit

TARGET_MS = 1.2


def main() -> None:
    with on_postgres() as instance:
        print_per_unit("dagster_per_unit_postgres", instance, target_ms=TARGET_MS)


if __name__ == "__main__":
    main()
