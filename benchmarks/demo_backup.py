"""Units per second of the demo's first backup, and where the time goes: Dagster, the client, the server.

Everything of the full sample is backed up by the sensors' runs on SQLite, as in `make demo`. Dagster's share is what is
left of the wall time beside planning and applying, and the time in which events are written; the server's share is its
CPU time; the rest of planning and applying is the client's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bbq_dagster.apply.report import BackupReport
from bbq_dagster.cli.demo import Days
from bbq_dagster.cli.sandbox import sandbox
from bbq_dagster.local.sample import seed
from bbq_dagster.stack import Stack
from benchmarks._figure import print_figure


class Spent:
    """Seconds in the methods of ``Stack``, and of these the ones in which Dagster was told."""

    def __init__(self) -> None:
        self.in_stack = self.telling = 0.0

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def measured(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            answer = method(*args, **named)
            self.in_stack += time.perf_counter() - began
            if isinstance(answer, BackupReport):
                self.telling += answer.seconds.on_recorded
            return answer

        return measured


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    spent = Spent()
    for name in ("plan_changed", "plan_units", "apply", "record_scan"):
        setattr(Stack, name, spent.timed(getattr(Stack, name)))
    with TemporaryDirectory() as folder, sandbox(Path(folder), port=0) as made:
        seed(made.url)
        days = Days.open(made)
        server_before, began = cpu_seconds(made.server_pid), time.perf_counter()
        days.tick()
        wall, server = time.perf_counter() - began, cpu_seconds(made.server_pid) - server_before
        units = sum(status.units for status in days.stack.status())
    dagster = wall - spent.in_stack + spent.telling
    client = spent.in_stack - spent.telling - server
    print(f"{units} units in {wall:.2f} s")
    for name, seconds in (("Dagster", dagster), ("client", client), ("server", server)):
        print(f"{name:8} {seconds:6.2f} s  {seconds / wall:4.0%}  {seconds / units * 1000:6.2f} ms per unit")
    print_figure("demo_backup", units / wall, "units/s", target=None)


if __name__ == "__main__":
    main()
