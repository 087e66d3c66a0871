"""`bbq retention`, `bbq hold` and `bbq undelete`: what is deleted and why, what must not be, and what comes back."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from bbq_dagster.apply.expiry import RetentionReport
from bbq_dagster.apply.undelete import UndeleteReport
from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, datasets_option, projects_option, reading_catalog, stack_of
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.core.catalog import version_of
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.retention import RetentionPlan
from bbq_dagster.core.retention_text import render_retention, retention_as_json
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.undelete import UndeletePlan, render_undelete
from bbq_dagster.errors import Refused

if TYPE_CHECKING:
    from bbq_dagster.stack import Stack

_LINES_OF_A_LIST = 12


@click.group()
def retention() -> None:
    """Show which versions go and why, and delete them."""


@retention.command("plan")
@projects_option
@datasets_option
@click.option("--all", "show_all", is_flag=True, help=f"Every line, not {_LINES_OF_A_LIST} of each list.")
@as_json
@click.pass_obj
def plan_command(
    config: Path | None, projects: tuple[str, ...], datasets: tuple[str, ...], show_all: bool, as_json: bool
) -> None:
    """Show which versions would be deleted, which are kept, and why; change nothing."""
    planned = _plan(stack_of(config), projects, datasets)
    if as_json:
        show_json(retention_as_json(planned))
    else:
        say(render_retention(planned, limit=None if show_all else _LINES_OF_A_LIST))
        if planned.deletions:
            say(f"HINT: to do this and nothing else: bbq retention apply --approve {planned.digest}", err=True)


@retention.command("apply")
@projects_option
@datasets_option
@click.option("--approve", "approved", metavar="DIGEST", help="Only the plan of this digest, even if it is large.")
@as_json
@click.pass_obj
def apply_command(
    config: Path | None, projects: tuple[str, ...], datasets: tuple[str, ...], approved: str | None, as_json: bool
) -> None:
    """Delete the versions that no rule keeps, after marking them in the catalog."""
    stack = stack_of(config)
    planned = _plan(stack, projects, datasets)
    with waiting_for("deleting"):
        report = stack.apply_retention(planned, run_id=f"cli-{uuid4()}", approved=approved)
    if as_json:
        show_json(_report_fields(report))
    else:
        say(str(report))
        if report.deleted:
            say(f"HINT: for 7 days it can be undone: bbq undelete --run {report.run_id}", err=True)
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


@click.group()
def hold() -> None:
    """Forbid the deletion of versions, list such holds, release them."""


@hold.command()
@click.argument("target")
@click.option("--reason", required=True, help="Why, in words.")
@click.option("--owner", default=getpass.getuser, show_default="you", help="Whose hold it is.")
@click.option("--until", help="When it ends by itself, such as 2026-12-31 or 2026-12-31T18:00, in UTC.")
@as_json
@click.pass_obj
def add(config: Path | None, target: str, reason: str, owner: str, until: str | None, as_json: bool) -> None:
    """Forbid the deletion of TARGET.

    TARGET is the id of a version, a table project.dataset.table, a partition project.dataset.table$20240131, or a
    pattern for tables such as 'project.dataset.sales_*'.
    """
    end = None if until is None else _instant(until)
    placed = stack_of(config).hold(target, owner=owner, reason=reason, until=end, run_id=f"cli-{uuid4()}")
    _show_hold(placed, as_json)


@hold.command()
@click.argument("hold_id")
@as_json
@click.pass_obj
def release(config: Path | None, hold_id: str, as_json: bool) -> None:
    """Release a hold; what it protected is up to the rules again."""
    given_up = stack_of(config).release(hold_id, run_id=f"cli-{uuid4()}")
    if as_json:
        show_json({"released": given_up.hold_id})
    else:
        say(f"{given_up.hold_id} is released: {given_up.target}")


@hold.command("list")
@as_json
@click.pass_obj
def list_command(config: Path | None, as_json: bool) -> None:
    """List the holds that were not released."""
    stack = stack_of(config)
    with reading_catalog(stack):
        holds = stack.holds()
    if as_json:
        show_json([_hold_fields(hold) for hold in holds])
        return
    show_table(
        "Holds",
        ("hold", "what", "owner", "reason", "since", "until"),
        ((h.hold_id, h.target, h.owner, h.reason, h.since, h.until) for h in holds),
        empty="nothing is held",
    )


@click.command()
@click.argument("versions", nargs=-1)
@click.option("--run", "deleted_by", metavar="RUN_ID", help="All that this run of retention deleted.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="NAME",
    help="All that was deleted of this table, partition or pattern such as 'project.dataset.sales_*'; repeatable."
    " Together with --run: what that run deleted of it.",
)
@click.option("--dry-run", is_flag=True, help="Show what would come back and what cannot; change nothing.")
@as_json
@click.pass_obj
def undelete(
    config: Path | None,
    versions: tuple[str, ...],
    deleted_by: str | None,
    tables: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring deleted VERSIONS back, within BigQuery's time travel of 7 days.

    VERSIONS are ids: `bbq catalog history --event version_deleted` has those of what was deleted.
    Ends with exit code 1 where some of them cannot come back.
    """
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        planned = stack.plan_undelete(now=stack.clock(), version_ids=versions, run_id=deleted_by, tables=tables)
    if dry_run:
        _show_undelete_plan(planned, as_json)
        return
    with waiting_for("copying it back"):
        report = stack.apply_undelete(planned, run_id=f"cli-{uuid4()}")
    if as_json:
        show_json({"run_id": report.run_id, "ok": report.ok, "back": report.back, **_not_back(report)})
    else:
        say(str(report))
        if report.back:
            say("HINT: retention decides on it anew; to keep it: bbq hold add VERSION_OR_TABLE --reason …", err=True)
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


def _not_back(report: UndeleteReport) -> dict[str, object]:
    return {"failures": report.failures, "refused": report.refused, "back_before": report.back_before}


def _show_undelete_plan(planned: UndeletePlan, as_json: bool) -> None:
    if not as_json:
        say(render_undelete(planned, limit=None))
        return
    back = [(table.at, version_of(event)) for table in planned.tables for event in table.created]
    show_json(
        {
            "planned_at": planned.planned_at,
            "bring_back": [
                {"version_id": v.version_id, "unit": v.unit, "place": v.backup, "as_it_was_at": at} for at, v in back
            ],
            "refused": planned.refused,
            "back_before": planned.back_before,
        }
    )


def _plan(stack: Stack, projects: tuple[str, ...], datasets: tuple[str, ...]) -> RetentionPlan:
    if projects and datasets:
        raise Refused("--project and --dataset were given: nothing was done", hint="give one or the other")
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    with waiting_for("reading the catalog"), reading_catalog(stack):
        return stack.plan_retention(now=stack.clock(), projects=projects or None, datasets=chosen or None)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"not a time: {text!r}", hint="write it as 2026-12-31 or 2026-12-31T18:00") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _show_hold(placed: Hold, as_json: bool) -> None:
    if as_json:
        show_json(_hold_fields(placed))
    else:
        say(f"{placed.hold_id}: {placed.target} is {placed.words}")


def _report_fields(report: RetentionReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "digest": report.digest,
        "ok": report.ok,
        "deleted": [version.version_id for version in report.deleted],
        "bytes_freed": report.bytes_freed,
        "failures": [{"place": item.place, "error": item.error} for item in report.failures],
        "held": [{"place": item.place, "reason": item.error} for item in report.held],
    }


def _hold_fields(placed: Hold) -> dict[str, object]:
    return {
        "hold_id": placed.hold_id,
        "target": placed.target,
        "owner": placed.owner,
        "reason": placed.reason,
        "since": placed.since,
        "until": placed.until,
    }
