"""`bbq catalog`: make the catalog, read what happened, compare it with the copies, mend it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import click

from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, datasets_option, reading_catalog, stack_of
from bbq_dagster.cli.output import say, show_json, show_table, waiting_for
from bbq_dagster.core.catalog import COLUMNS, EventKind
from bbq_dagster.core.drift import Drift, Finding, render_drift, render_repair
from bbq_dagster.core.original import AdoptionPlan, render_adoption
from bbq_dagster.core.rebuild import RebuildPlan, render_rebuild
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.wording import counted

_LINES_OF_A_LIST = 12

all_option = click.option("--all", "show_all", is_flag=True, help=f"Every line, not {_LINES_OF_A_LIST} of each list.")
approve_option = click.option("--approve", "approved", metavar="DIGEST", help="Do what was shown under this digest.")


@click.group()
def catalog() -> None:
    """The record of all versions, in BigQuery tables of the backup project."""


@catalog.command()
@as_json
@click.pass_obj
def init(config: Path | None, as_json: bool) -> None:
    """Create what is missing of the catalog; a backup does it as well."""
    stack = stack_of(config)
    with waiting_for("creating what is missing of the catalog"):
        stack.catalog.prepare()
    dataset = DatasetRef(stack.settings.backup_project, stack.settings.catalog.dataset)
    location = stack.settings.catalog.location
    if as_json:
        show_json({"dataset": dataset, "location": location})
    else:
        say(f"{dataset} is ready, in {location}")


@catalog.command()
@as_json
def columns(as_json: bool) -> None:
    """Say what the columns of the events table mean."""
    if as_json:
        show_json(COLUMNS)
        return
    show_table("events", ("column", "type", "meaning"), ((c.name, c.type, c.description) for c in COLUMNS))


@catalog.command()
@datasets_option
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice([kind.value for kind in EventKind]),
    help="Only this kind of event; repeatable.",
)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@as_json
@click.pass_obj
def history(config: Path | None, datasets: tuple[str, ...], kinds: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what was recorded, newest first."""
    chosen = [DatasetRef.parse(dataset) for dataset in datasets]
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        events = stack.catalog.history(chosen or None, limit=limit, kinds=[EventKind(kind) for kind in kinds] or None)
    if as_json:
        show_json([event.as_row() for event in events])
        return
    show_table(
        "History",
        ("recorded at", "event", "what", "version", "reason", "error"),
        ((e.recorded_at, e.event, e.subject, e.version_id, e.reason, e.error) for e in events),
        empty="nothing is on record" + (f" of {', '.join((*datasets, *kinds))}" if datasets or kinds else " yet"),
    )


@catalog.command()
@all_option
@as_json
@click.pass_obj
def check(config: Path | None, show_all: bool, as_json: bool) -> None:
    """Compare the catalog with the copies; change nothing.

    Ends with exit code 1 where they disagree, or where something could not be looked at.
    """
    stack = stack_of(config)
    with waiting_for("looking at the copies"):
        drift = stack.check_catalog()
    if as_json:
        show_json(_drift_fields(drift))
    else:
        say(render_drift(drift, limit=None if show_all else _LINES_OF_A_LIST))
        if drift.remedies:
            say("HINT: what can be done about it: bbq catalog repair", err=True)
    if not drift.is_none:
        end_with(ExitCode.PARTLY_DONE)


@catalog.command()
@approve_option
@all_option
@as_json
@click.pass_obj
def repair(config: Path | None, approved: str | None, show_all: bool, as_json: bool) -> None:
    """Adopt copies without a record, record lost ones, remove expirations; without --approve only show it.

    No data is deleted. Ends with exit code 1 where a copy still expires.
    """
    stack = stack_of(config)
    if approved is None:
        with waiting_for("looking at the copies"):
            drift = stack.check_catalog()
        _show_repair(drift, show_all, as_json)
        return
    with waiting_for("repairing"):
        report = stack.repair_catalog(approved=approved, run_id=f"cli-{uuid4()}")
    if as_json:
        show_json(
            {
                "run_id": report.run_id,
                "ok": report.ok,
                "adopted": [version.version_id for version in report.adopted],
                "lost": [version.version_id for version in report.lost],
                "let_live": report.let_live,
                "failures": [{"table": table, "error": error} for table, error in report.failures.items()],
            }
        )
    else:
        say(str(report))
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


@catalog.command()
@approve_option
@all_option
@as_json
@click.pass_obj
def rebuild(config: Path | None, approved: str | None, show_all: bool, as_json: bool) -> None:
    """Record anew what the backup project holds and no record tells of; without --approve only show it.

    What is rebuilt is held: retention deletes nothing of it until the holds are released.
    """
    stack = stack_of(config)
    if approved is None:
        with waiting_for("looking at the copies"):
            planned = stack.plan_rebuild()
        _show_rebuild(planned, show_all, as_json)
        return
    with waiting_for("rebuilding"):
        report = stack.rebuild_catalog(approved=approved, run_id=f"cli-{uuid4()}")
    if as_json:
        show_json(
            {
                "run_id": report.run_id,
                "versions": [version.version_id for version in report.versions],
                "held": report.held,
            }
        )
        return
    say(str(report))
    if report.held:
        say("HINT: once you have looked: bbq hold list, and bbq hold release HOLD_ID for each", err=True)


@catalog.command()
@as_json
@click.pass_obj
def snapshot(config: Path | None, as_json: bool) -> None:
    """Keep the catalog as it is now, for catalog.snapshots_kept_days. A day has one snapshot: the first."""
    stack = stack_of(config)
    with waiting_for("taking a snapshot"), reading_catalog(stack):
        taken = stack.take_catalog_snapshot()
    if as_json:
        show_json({"table": taken.table})
    else:
        say(f"the catalog of {taken.day} is kept in {taken.table}")


@catalog.command()
@as_json
@click.pass_obj
def snapshots(config: Path | None, as_json: bool) -> None:
    """List the snapshots of the catalog, newest first."""
    found = stack_of(config).catalog.snapshots()
    if as_json:
        show_json([{"name": one.table.table, "table": one.table} for one in found])
        return
    rows = ((one.table.table, str(one.day), one.table) for one in found)
    show_table("Snapshots", ("snapshot", "day", "table"), rows, empty="there is no snapshot")


@catalog.command("restore")
@click.argument("name", metavar="SNAPSHOT")
@as_json
@click.pass_obj
def restore_command(config: Path | None, name: str, as_json: bool) -> None:
    """Have the events of SNAPSHOT again, besides those that are there; nothing is lost or doubled by it."""
    stack = stack_of(config)
    with waiting_for("restoring the catalog"):
        back = stack.restore_catalog(name)
    if as_json:
        show_json({"restored": back.table})
        return
    say(f"the catalog has all that {back.table} has")
    say("HINT: what was copied since: bbq catalog rebuild; then bbq catalog check", err=True)


@catalog.command("adopt-bbq")
@click.option("--from", "project", metavar="PROJECT", help="Where its copies are. Without it: the backup project.")
@click.option("--export", metavar="PROJECT.DATASET", help="Its Datastore export, such as my-bbq.datastore_export.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    help="A source dataset that there was, as project.dataset; repeatable. Name all of them: a copy whose name can be"
    " read in several ways is then taken for one of theirs.",
)
@approve_option
@all_option
@as_json
@click.pass_obj
def adopt_bbq(
    config: Path | None,
    project: str | None,
    export: str | None,
    datasets: tuple[str, ...],
    approved: str | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Take over the copies of the original BBQ (ocadotechnology/bbq); without --approve only show them.

    No data is moved. Copies of which it is not clear what they are of are listed and left alone.
    """
    stack = stack_of(config)
    with waiting_for("looking at the copies"):
        planned = stack.plan_adoption(
            project=project,
            export=None if export is None else DatasetRef.parse(export),
            datasets=[DatasetRef.parse(dataset) for dataset in datasets],
        )
    if approved is None:
        _show_adoption(planned, show_all, as_json)
        return
    run_id = f"cli-{uuid4()}"
    with waiting_for("adopting"):
        versions = stack.adopt(planned, approved=approved, run_id=run_id)
    if as_json:
        show_json({"run_id": run_id, "versions": [version.version_id for version in versions]})
    else:
        say(f"run {run_id}: {counted(len(versions), 'version')} adopted")


def _show_adoption(planned: AdoptionPlan, show_all: bool, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "digest": planned.digest,
                "known": planned.known,
                "versions": planned.versions,
                "unclear": [{"table": table, "reason": why} for table, why in planned.unclear],
                "not_looked_at": _unseen_fields(planned.unseen),
            }
        )
        return
    say(render_adoption(planned, limit=None if show_all else _LINES_OF_A_LIST))
    if planned.versions:
        say(f"HINT: to do this and nothing else: the same command with --approve {planned.digest}", err=True)


def _show_repair(drift: Drift, show_all: bool, as_json: bool) -> None:
    if as_json:
        show_json(_drift_fields(drift))
        return
    say(render_repair(drift, limit=None if show_all else _LINES_OF_A_LIST))
    if drift.remedies:
        say(f"HINT: to do this and nothing else: bbq catalog repair --approve {drift.digest}", err=True)


def _show_rebuild(planned: RebuildPlan, show_all: bool, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "digest": planned.digest,
                "known": planned.known,
                "versions": planned.versions,
                "left_out": [_finding_fields(finding) for finding in planned.left_out],
                "not_looked_at": _unseen_fields(planned.unseen),
            }
        )
        return
    say(render_rebuild(planned, limit=None if show_all else _LINES_OF_A_LIST))
    if planned.versions:
        say(f"HINT: to do this and nothing else: bbq catalog rebuild --approve {planned.digest}", err=True)


def _drift_fields(drift: Drift) -> dict[str, object]:
    return {
        "agrees": drift.is_none,
        "digest": drift.digest,
        "versions": drift.versions,
        "tables": drift.tables,
        "findings": [_finding_fields(finding) for finding in drift.findings],
        "not_looked_at": _unseen_fields(drift.unseen),
    }


def _unseen_fields(unseen: Mapping[DatasetRef, str]) -> list[dict[str, object]]:
    return [{"dataset": ref, "message": why} for ref, why in unseen.items()]


def _finding_fields(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "words": finding.words,
        "source": finding.source,
        "can_be_repaired": finding.remedy is not None,
    }
