"""How answers are shown: a table for people, JSON for programs. Decides no content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bbq_dagster.apply.telling import now_and_then
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.wording import printable, printable_lines

if TYPE_CHECKING:
    from bbq_dagster.apply.copying import Progress as CopyProgress

_NO_FOLDING = 100_000
"""Width of a pipe, in characters: more than any row."""
_FOLDED = 19
"""As wide as a time, which is then not broken."""
_BETWEEN = 3
"""What rich puts between two columns."""


def say(text: str = "", *, err: bool = False) -> None:
    """Write text for people. What does not show is escaped: names, reasons and messages in it are anybody's."""
    click.echo(printable_lines(text), err=err)


def show_json(value: object) -> None:
    """Dataclasses become objects, references and times become text, sets are sorted; what does not show is escaped."""
    say(json.dumps(jsonable(value), indent=2, ensure_ascii=False))


def jsonable(value: object) -> object:
    """``value`` in the types of JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, DatasetRef | TableRef | Unit | Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(map(str, value))
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, Enum) else value


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    empty: str = "nothing",
) -> None:
    """Columns that are named in ``numbers`` are set to the right; times are shown to the second, in UTC.

    Where there are no rows, the sentence ``empty`` stands in place of the table. On a terminal that is too narrow for
    the columns, each row becomes a paragraph under its first cell.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    to_stdout = console()
    if not cells:
        say(empty)
    elif _needed_width(columns, cells, numbers) > to_stdout.width:
        say("\n\n".join(filter(None, [title, *(_paragraph(columns, row) for row in cells)])))
    else:
        click.echo(_drawn(_table(title, columns, cells, numbers), to_stdout))


def _table(title: str, columns: Sequence[str], cells: Sequence[Sequence[str]], numbers: Sequence[str]) -> Table:
    table = Table(title=title or None, title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for column in columns:
        is_number = column in numbers
        table.add_column(column, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in cells:
        table.add_row(*map(escape, row))
    return table


def _drawn(table: Table, to_stdout: Console) -> str:
    """As text, to be written by click: it is told when the reader of a pipe goes away; rich would end the process."""
    with to_stdout.capture() as drawn:
        to_stdout.print(table)
    return "\n".join(line.rstrip() for line in drawn.get().splitlines())


def _needed_width(columns: Sequence[str], cells: Sequence[Sequence[str]], numbers: Sequence[str]) -> int:
    """Numbers and short texts stay on one line, longer texts are folded to lines of ``_FOLDED`` at least."""
    widest = [max(cell_len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    kept = [width if name in numbers else min(width, _FOLDED) for name, width in zip(columns, widest, strict=True)]
    return sum(kept) + _BETWEEN * len(columns)


def _paragraph(columns: Sequence[str], row: Sequence[str]) -> str:
    label = max(map(len, columns))
    return "\n".join([row[0], *(f"  {name:<{label}}  {text}" for name, text in zip(columns[1:], row[1:], strict=True))])


def console() -> Console:
    """To standard output. A pipe has no width: rows are then not folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_NO_FOLDING)


@contextmanager
def waiting_for(what: str) -> Iterator[Callable[[object], None]]:
    """Say on a terminal what is under way. The caller gets a function to say how far it is.

    Elsewhere only that is said, as a line every 10 s.
    """
    to_stderr = Console(stderr=True)
    if not to_stderr.is_terminal:
        yield now_and_then(lambda progress: say(f"{what}: {progress}", err=True))
        return
    with to_stderr.status(f"{what} …") as status:
        yield lambda progress: status.update(f"{what}: {progress} …")


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
            say(f"{self._title}: {now}", err=True)
        else:
            self._progress.update(self._task, completed=now.done + now.failed)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))
