"""Processes to break: real ones, each forked from one that has loaded everything, so that it starts in no time.

What runs in them is what a user runs: the command `bbq` with its arguments, or a run of Dagster on the definitions.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

PRELOADED = [
    "bbq_dagster.cli.backups",
    "bbq_dagster.cli.catalog",
    "bbq_dagster.cli.restore",
    "bbq_dagster.cli.retention",
    "bbq_dagster.cli.verify",
    "bbq_dagster.definitions",
    "bbq_dagster_tests.trust.dagster_side",
]
KILLED = -9


def nursery() -> ForkServerContext:
    """Where processes come from. One per interpreter: loading takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@dataclass(frozen=True, slots=True)
class Running:
    """A process under test; what it says is in a file."""

    process: ForkServerProcess
    said_in: Path

    def kill(self) -> None:
        """With signal 9, as nothing can be done about it."""
        self.process.kill()
        self.process.join()

    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def end(self, *, seconds: float) -> int:
        """Wait for its exit code; a process that takes longer is killed, and that is its code."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def said(self) -> str:
        return self.said_in.read_text(errors="replace")


def start(main: Callable[..., None], *arguments: object, environment: Mapping[str, str], said_in: Path) -> Running:
    """Run ``main`` with its arguments in a process of its own."""
    process = nursery().Process(target=_alone, args=(main, arguments, dict(environment), str(said_in)), daemon=True)
    process.start()
    return Running(process, said_in)


def run_bbq(*arguments: str) -> None:
    """`bbq` with these arguments; ends the process with its exit code."""
    from bbq_dagster.cli import main

    sys.argv = ["bbq", *arguments]
    main()


def _alone(
    main: Callable[..., None], arguments: tuple[object, ...], environment: Mapping[str, str], said_in: str
) -> None:
    said = os.open(said_in, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ.update(environment)
    main(*arguments)
