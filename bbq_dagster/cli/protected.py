"""`bbq status` and `bbq versions`: what the catalog says is protected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbq_dagster.cli.anomalies import flag_fields
from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, projects_option, reading_catalog, stack_of
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.status import TableStatus
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import size

if TYPE_CHECKING:
    from bbq_dagster.settings import Settings


@click.command()
@projects_option
@as_json
@click.pass_obj
def status(config: Path | None, projects: tuple[str, ...], as_json: bool) -> None:
    """Show what is protected, since when, and what failed."""
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        statuses = stack.status(projects or None)
        flagged = stack.anomalies(projects or None)
    # A project that is no source any more still has its backups; one that has neither is a slip of the pen.
    for project in set(projects) - {status.table.project for status in statuses}:
        stack.settings.source(project)
    if as_json:
        flags = _by_table(flagged)
        show_json([{**_fields(status), "flagged": flags.get(status.table, [])} for status in statuses])
        return
    show_table(
        "Protected tables",
        (
            *("table", "units", "rows", "size", "newest version", "oldest version", "last looked at"),
            *("last proven", "gone", "failed", "unfinished", "bad"),
        ),
        (
            (
                *(s.table, s.units, s.rows, size(s.size_bytes), s.newest_at, s.oldest_at, s.looked_at),
                *(s.proven_at, s.gone, s.failed, s.unfinished, s.bad),
            )
            for s in statuses
        ),
        numbers=("units", "rows", "size", "gone", "failed", "unfinished", "bad"),
        empty="nothing is protected yet\nHINT: `bbq plan` shows what a backup would copy",
    )
    if statuses:
        say(_sum(statuses))
    if flagged:
        say(f"{len(flagged):,} flagged, older versions are held: `bbq anomaly list`")


@click.command()
@click.argument("table")
@as_json
@click.pass_obj
def versions(config: Path | None, table: str, as_json: bool) -> None:
    """List the versions of TABLE, or of one partition of it, newest first.

    A table is written project.dataset.table, a partition project.dataset.table$20240131.
    Ends with exit code 1 where there are none.
    """
    unit = Unit.parse(table)
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        of_table = stack.catalog.versions([unit.table])
    found = [version for version in of_table if unit.partition is None or version.unit == unit]
    if as_json:
        show_json(found)
    else:
        show_table(
            f"Versions of {unit}",
            ("unit", "captured at", "rows", "size", "version", "why", "backup table"),
            ((v.unit.key, v.captured_at, v.rows, size(v.size_bytes), v.version_id, v.reason, v.backup) for v in found),
            numbers=("rows", "size"),
            empty=f"{unit} has no versions: {_why_none(unit, of_table, stack.settings)}",
        )
    if not found:
        end_with(ExitCode.PARTLY_DONE)


def _fields(status: TableStatus) -> dict[str, object]:
    return {field.name: getattr(status, field.name) for field in fields(status)}


def _by_table(flagged: Iterable[Hold]) -> dict[TableRef, list[dict[str, object]]]:
    grouped: dict[TableRef, list[dict[str, object]]] = {}
    for hold in flagged:
        grouped.setdefault(Unit.parse(hold.target).table, []).append(flag_fields(hold))
    return grouped


def _sum(statuses: Sequence[TableStatus]) -> str:
    total = (
        f"{len(statuses):,} tables, {sum(s.units for s in statuses):,} units, {sum(s.rows for s in statuses):,} rows,"
        f" {size(sum(s.size_bytes for s in statuses))} in the newest versions"
    )
    failing = sum(s.failed > 0 for s in statuses)
    return f"{total}; {failing:,} with failures: `bbq catalog history` has the errors" if failing else total


def _why_none(unit: Unit, of_table: Sequence[Version], settings: Settings) -> str:
    if of_table:
        return f"the {len({version.unit for version in of_table}):,} units of its table that have some are others"
    if unit.table.project not in {source.project for source in settings.sources}:
        return f"{unit.table.project} is not a source in {settings.path}"
    if (reason := settings.exclusion(unit.table)) is not None:
        return f"it is {reason}"
    return f"it was never backed up\nHINT: `bbq plan '{unit}'` says what a backup would do with it, or why nothing"
