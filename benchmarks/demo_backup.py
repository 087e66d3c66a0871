"""Units per second of the demo's first backup, and where the time goes: Dagster, the client, the server.

Everything of the full sample is backed up by the sensors' runs on SQLite, as in `make demo`. Dagster's share is what is
left of the wall time beside planning and applying, and the time in which events are written; the server's share is its
CPU time; the rest of planning and applying is the client's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bbq_dagster.cli.demo import Days
from bbq_dagster.cli.sandbox import sandbox
from bbq_dagster.local.sample import seed
from benchmarks._figure import print_figure
from benchmarks._spent import Spent


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with TemporaryDirectory() as folder, sandbox(Path(folder), port=0) as made, Spent.measured() as spent:
        seed(made.url)
        days = Days.open(made)
        server_before, began = cpu_seconds(made.server_pid), time.perf_counter()
        days.tick()
        wall, server = time.perf_counter() - began, cpu_seconds(made.server_pid) - server_before
        units = sum(status.units for status in days.stack.status())
    dagster = spent.in_dagster(wall)
    client = spent.in_stack - spent.telling - server
    print(f"{units} units in {wall:.2f} s")
    for name, seconds in (("Dagster", dagster), ("client", client), ("server", server)):
        print(f"{name:8} {seconds:6.2f} s  {seconds / wall:4.0%}  {seconds / units * 1000:6.2f} ms per unit")
    print_figure("demo_backup", units / wall, "units/s", target=None)


if __name__ == "__main__":
    main()
