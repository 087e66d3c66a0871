"""`bbq verify`: what is proven, and what is read next to prove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from bbq_dagster.apply.verification import VerificationReport
from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, reading_catalog, stack_of
from bbq_dagster.cli.output import say, show_json, waiting_for
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.verification import VerificationPlan, render_verification
from bbq_dagster.core.verification_record import Outcome

if TYPE_CHECKING:
    from bbq_dagster.stack import Stack

_LINES_OF_A_LIST = 12

_bytes_option = click.option(
    "--bytes", "size_bytes", type=click.IntRange(min=0), help="Read so many at most, whatever is left of the day's."
)
_drills_option = click.option(
    "--drills/--no-drills", "with_drills", default=True, help="With restore drills, or without."
)


@click.group()
def verify() -> None:
    """Read versions, compare them with what was copied, and restore some of them for trial."""


@verify.command("plan")
@click.argument("tables", nargs=-1)
@_bytes_option
@_drills_option
@click.option("--all", "show_all", is_flag=True, help=f"Every line, not {_LINES_OF_A_LIST} of each list.")
@as_json
@click.pass_obj
def plan_command(
    config: Path | None,
    tables: tuple[str, ...],
    size_bytes: int | None,
    with_drills: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """Show what would be verified now, what that reads, and what waits; read nothing of it.

    With TABLES, all versions of these: project.dataset.table, or project.dataset.table$20240131.
    """
    planned = _plan(stack_of(config), tables, size_bytes, with_drills)
    if as_json:
        show_json(_plan_fields(planned))
    else:
        say(render_verification(planned, limit=None if show_all else _LINES_OF_A_LIST))


@verify.command("run")
@click.argument("tables", nargs=-1)
@_bytes_option
@_drills_option
@as_json
@click.pass_obj
def run_command(
    config: Path | None, tables: tuple[str, ...], size_bytes: int | None, with_drills: bool, as_json: bool
) -> None:
    """Verify what is left of the day's share, or all versions of TABLES.

    Ends with exit code 1 where a version differs from what was copied, or could not be read.

    \b
    bbq verify run
    bbq verify run acme-shop.sales.orders
    bbq verify run --bytes 1099511627776 --no-drills
    """
    stack = stack_of(config)
    planned = _plan(stack, tables, size_bytes, with_drills)
    with waiting_for("verifying") as tell:
        report = stack.apply_verification(planned, run_id=f"cli-{uuid4()}", on_progress=tell)
    if as_json:
        show_json(_report_fields(report))
    else:
        say(str(report))
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


def _plan(stack: Stack, tables: tuple[str, ...], size_bytes: int | None, with_drills: bool) -> VerificationPlan:
    units = [Unit.parse(table) for table in tables]
    with waiting_for("reading the catalog"), reading_catalog(stack):
        return stack.plan_verification(now=stack.clock(), units=units, size_bytes=size_bytes, with_drills=with_drills)


def _plan_fields(planned: VerificationPlan) -> dict[str, object]:
    return {
        "planned_at": planned.planned_at,
        "budget": planned.budget,
        "bytes": planned.cost,
        "live": planned.live,
        "never_proven": planned.never_proven,
        "bad": [{"version_id": v.version_id, "unit": v.unit, "reason": flaw} for v, flaw in planned.bad],
        "verify": [
            {"version_id": c.version.version_id, "unit": c.version.unit, "with_source": c.with_source, "why": c.why}
            for c in planned.checks
        ],
        "drills": [{"version_id": version.version_id, "unit": version.unit} for version in planned.drills],
        "waiting": [
            {"version_id": w.version.version_id, "unit": w.version.unit, "why": w.reason} for w in planned.waiting
        ],
    }


def _report_fields(report: VerificationReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "counts": {outcome.value: len(report.of(outcome)) for outcome in Outcome},
        "bytes_scanned": report.bytes_scanned,
        "found": [
            {
                "version_id": one.version.version_id,
                "unit": one.version.unit,
                "outcome": one.outcome,
                "how": one.how,
                "reason": one.reason,
                "bytes_scanned": one.bytes_scanned,
                "seconds": one.milliseconds / 1000,
            }
            for one in report.found
        ],
        "waiting": [{"version_id": w.version.version_id, "why": w.reason} for w in report.waiting],
    }
