"""`bbq restore`: plan what comes back and where to, apply that plan, and see how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import click

from bbq_dagster.apply.restore import RestoreReport
from bbq_dagster.cli.exits import ExitCode, end_with
from bbq_dagster.cli.options import as_json, reading_catalog, stack_of
from bbq_dagster.cli.output import progress_bar, say, show_json, show_table, waiting_for
from bbq_dagster.core.json_values import to_json
from bbq_dagster.core.plan import Quota
from bbq_dagster.core.restore import RestorePlan, copy_jobs_fault
from bbq_dagster.core.restore_record import ItemState, ItemStatus
from bbq_dagster.core.restore_render import read_plan, render_restore, write_plan
from bbq_dagster.core.restore_request import (
    Create,
    OnExisting,
    Partitions,
    RestoreRequest,
    Scope,
    Target,
    VersionWish,
    instant_of,
    read_version_list,
)
from bbq_dagster.errors import Refused

_LINES_OF_A_LIST = 12
_EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def restore() -> None:
    """Bring versions back: plan, look at the plan, apply it, see how far it is."""


@restore.command()
@click.argument("what", nargs=-1)
@click.option("--as-of", metavar="TIME", help="As it was then, such as 2026-01-31T12:00+01:00. Default: the latest.")
@click.option("--partition", "ids", multiple=True, help="Only this partition of partitioned tables; repeatable.")
@click.option("--from-partition", "first", help="Only partitions from this one on, such as 20260101.")
@click.option("--to-partition", "last", help="Only partitions up to this one, included.")
@click.option("--last-days", type=int, help="Only partitions of so many days, the day of --as-of included.")
@click.option("--version", "versions", multiple=True, help="This version, by its id; repeatable.")
@click.option("--list", "listed", type=_EXISTING_FILE, help="Versions by a JSON or CSV file: version, table.")
@click.option("--into-project", help="A restore project of the settings. Default: where each version came from.")
@click.option("--into-dataset", help="Another dataset. Default: the same name.")
@click.option("--prefix", default="", help="Put before the names of the tables.")
@click.option("--suffix", default="", help="Put after the names of the tables.")
@click.option("--rename", "names", multiple=True, metavar="OLD=NEW", help="Restore a table as another; repeatable.")
@click.option(
    "--on-existing",
    type=click.Choice([choice.value for choice in OnExisting]),
    default=OnExisting.FAIL.value,
    show_default=True,
    help="What happens where a table or partition has rows already.",
)
@click.option(
    "--create",
    type=click.Choice([choice.value for choice in Create]),
    default=Create.IF_NEEDED.value,
    show_default=True,
    help="Whether missing datasets and tables are created.",
)
@click.option("--keep-partition-expiration", is_flag=True, help="Give new tables the partition expiration of then.")
@click.option("--even-if-bad", is_flag=True, help="Versions too that were found to differ from what was copied.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan there, to apply.")
@click.option("--all", "show_all", is_flag=True, help=f"Every line, not {_LINES_OF_A_LIST} of each list.")
@as_json
@click.pass_obj
def plan(
    config: Path | None,
    what: tuple[str, ...],
    as_of: str | None,
    ids: tuple[str, ...],
    first: str | None,
    last: str | None,
    last_days: int | None,
    versions: tuple[str, ...],
    listed: Path | None,
    into_project: str | None,
    into_dataset: str | None,
    prefix: str,
    suffix: str,
    names: tuple[str, ...],
    on_existing: str,
    create: str,
    keep_partition_expiration: bool,
    even_if_bad: bool,
    output: Path | None,
    show_all: bool,
    as_json: bool,
) -> None:
    """Show what a restore of WHAT would do and what stands against it; change nothing.

    WHAT is project.dataset, a table, a pattern such as project.dataset.sales_*, or 'project.dataset.table$20240131'.
    Ends with exit code 2 where something stands against it; then no plan is written.

    \b
    a dataset as it was, beside the present one:
      bbq restore plan acme-shop.sales --as-of 2026-01-31T12:00 --into-project acme-lab -o plan.json
    three partitions in place:
      bbq restore plan acme-shop.sales.events --as-of 2026-01-30 --from-partition 20260127 \\
          --to-partition 20260129 --on-existing replace -o plan.json
    versions by their ids (bbq versions TABLE lists them):
      bbq restore plan --version 3kq7zr5n2v6w4hxa --suffix _then -o plan.json
    """
    request = RestoreRequest(
        what=tuple(map(Scope.parse, what)),
        versions=(*map(VersionWish, versions), *(read_version_list(_text_of(listed)) if listed else ())),
        partitions=Partitions(ids, first, last, last_days),
        as_of=None if as_of is None else instant_of(as_of),
        target=Target(into_project, into_dataset, prefix, suffix, tuple(map(_pair, names))),
        on_existing=OnExisting(on_existing),
        create=Create(create),
        keep_partition_expiration=keep_partition_expiration,
        even_if_bad=even_if_bad,
    )
    stack = stack_of(config)
    now = stack.clock()
    with waiting_for("looking at the catalog and the targets"), reading_catalog(stack):
        planned = stack.plan_restore(request, now=now)
        quota = stack.copy_job_quota(now=now)
    _show_plan(planned, quota, limit=None if show_all else _LINES_OF_A_LIST, as_json=as_json)
    if planned.conflicts:
        if output is not None and output.exists():
            say(f"nothing was written: {output} is an older plan, not this one", err=True)
        end_with(ExitCode.NOT_DONE)
    elif output is not None:
        output.write_text(write_plan(planned), "utf-8")
        say(f"written to {output}; to do it: bbq restore apply {output}", err=True)


@restore.command()
@click.argument("plan_file", type=_EXISTING_FILE)
@as_json
@click.pass_obj
def apply(config: Path | None, plan_file: Path, as_json: bool) -> None:
    """Do what PLAN_FILE says, if nothing has moved since; run again, finish what is left of it.

    Ends with exit code 1 where an item failed or is unfinished: the same command again does the rest, nothing twice.

    \b
    bbq restore apply plan.json
    """
    planned = read_plan(_text_of(plan_file), name=str(plan_file))
    stack = stack_of(config)
    with progress_bar("restoring", len(planned.items), hidden=not planned.items) as bar, reading_catalog(stack):
        report = stack.apply_restore(planned, run_id=f"cli-{uuid4()}", on_progress=bar.update)
    if as_json:
        show_json(_report_as_json(report))
    else:
        say(str(report))
        if report.done_before and not report.done:
            say("HINT: this plan was done before; to restore the same once more, make a new plan", err=True)
    if not report.ok:
        end_with(ExitCode.PARTLY_DONE)


@restore.command()
@click.argument("restore_id")
@click.option("--failed", is_flag=True, help="Only the items that failed.")
@click.option("--all", "show_all", is_flag=True, help=f"Every item, not {_LINES_OF_A_LIST} of those in each state.")
@as_json
@click.pass_obj
def status(config: Path | None, restore_id: str, failed: bool, show_all: bool, as_json: bool) -> None:
    """Show how far a restore is, item by item; those that failed first.

    Ends with exit code 1 while something is failed, pending or in progress.

    \b
    bbq restore status restore_20260201T091500Z_3f9c2a7d11e0
    bbq restore status restore_20260201T091500Z_3f9c2a7d11e0 --failed --json
    """
    stack = stack_of(config)
    with waiting_for("reading the catalog"), reading_catalog(stack):
        items = stack.restore_status(restore_id)
    counts = Counter(item.state for item in items)
    shown = _to_show(
        items, [ItemState.FAILED] if failed else _URGENT_FIRST, None if show_all or as_json else _LINES_OF_A_LIST
    )
    if as_json:
        show_json(
            {
                "restore_id": restore_id,
                "done": counts[ItemState.DONE] == len(items),
                "counts": {state.value: counts[state] for state in ItemState},
                "items": [_item_as_json(item) for item in shown],
            }
        )
    else:
        show_table(
            restore_id,
            ("target", "state", "rows", "since", "from", "message"),
            ((item.target, item.state, item.rows, item.at, item.backup, item.message) for item in shown),
            numbers=("rows",),
            empty="no item failed",
        )
        say(", ".join(f"{counts[state]:,} {state}" for state in ItemState))
        if not failed and len(shown) < len(items):
            say(f"{len(shown):,} of {len(items):,} items are shown; --all shows every one")
    if counts[ItemState.DONE] != len(items):
        end_with(ExitCode.PARTLY_DONE)


_URGENT_FIRST = (ItemState.FAILED, ItemState.IN_PROGRESS, ItemState.PENDING, ItemState.DONE)


def _to_show(items: Sequence[ItemStatus], states: Sequence[ItemState], limit: int | None) -> list[ItemStatus]:
    """The items in these states, in the order of the states, ``limit`` of each at most (None: all)."""
    return [item for state in states for item in [item for item in items if item.state is state][:limit]]


def _text_of(file: Path) -> str:
    """Of UTF-8, with or without the mark that Excel puts first."""
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is not UTF-8: {error}: nothing was done") from error


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise Refused(f"not a pair of names: {text!r}", hint="write it as --rename OLD=NEW")
    return old, new


def _show_plan(planned: RestorePlan, quota: Quota, *, limit: int | None, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "restore_id": planned.restore_id,
                "digest": planned.digest,
                "copy_jobs": len(planned.items),
                "copy_jobs_left": quota.copy_jobs_left,
                "plan": to_json(planned),
            }
        )
        return
    say(render_restore(planned, limit=limit, quota=quota))
    if fault := copy_jobs_fault(planned, quota):
        say(f"WARNING: {fault}", err=True)


def _report_as_json(report: RestoreReport) -> dict[str, object]:
    return {
        "restore_id": report.restore_id,
        "ok": report.ok,
        "done": report.done,
        "failed": report.failed,
        "unfinished": report.unfinished,
        "done_before": report.done_before,
        "seconds": round(report.seconds, 3),
    }


def _item_as_json(item: ItemStatus) -> dict[str, object]:
    return {
        "target": item.target,
        "backup": item.backup,
        "state": item.state,
        "rows": item.rows,
        "at": item.at,
        "message": item.message,
    }
