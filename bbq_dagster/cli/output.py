"""How answers are shown: a table for people, JSON for programs. Decides no content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from bbq_dagster.apply.copying import Progress as CopyProgress

_NO_FOLDING = 100_000
"""Columns of a pipe: wider than any row."""


def show_json(value: object) -> None:
    """Dataclasses become objects, references and times become text."""
    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False))


def jsonable(value: object) -> object:
    """``value`` in the types of JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        if type(value).__str__ is not object.__str__:
            return str(value)
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [jsonable(item) for item in value]
    if isinstance(value, Enum | Path):
        return str(value)
    return value


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    empty: str = "nothing",
) -> None:
    """Columns that are named in ``numbers`` are set to the right; times are shown to the second, in UTC.

    Where there are no rows, the sentence ``empty`` stands in place of the table.
    """
    table = Table(title=title or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        is_number = column in numbers
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    if not table.row_count:
        click.echo(empty)
        return
    to_stdout = console()
    with to_stdout.capture() as drawn:
        to_stdout.print(table)
    # By click, which is told when the reader of a pipe goes away; rich would end the process.
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def console() -> Console:
    """To standard output. A pipe has no width: rows are then not folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_NO_FOLDING)


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Say on a terminal what is under way; elsewhere say nothing."""
    to_stderr = Console(stderr=True)
    if not to_stderr.is_terminal:
        yield
        return
    with to_stderr.status(f"{what} …"):
        yield


@contextmanager
def progress_bar(title: str, total: int, *, hidden: bool) -> Iterator[Bar]:
    """A bar on standard error while the copy jobs run; a line every 10 s where there is no terminal."""
    if hidden:
        yield Bar(None)
        return
    to_stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=to_stderr, disable=not to_stderr.is_terminal) as progress:
        yield Bar(progress, title, total)


class Bar:
    """Follows the copy engine; without a terminal it writes lines."""

    def __init__(self, progress: Progress | None, title: str = "", total: int = 0) -> None:
        self._progress = progress
        self._title = title
        self._total = total
        self._task = progress.add_task(title, total=total) if progress is not None else None

    def update(self, now: CopyProgress) -> None:
        if self._progress is None or self._task is None:
            return
        if self._progress.disable:
            click.echo(f"{self._title}: {now}", err=True)
        else:
            self._progress.update(self._task, completed=now.done + now.failed)


def size(count: int | None) -> str:
    """Bytes for people: ``1.5 MiB``."""
    if count is None:
        return "?"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
