"""A plan in words: what would be copied and why, what is left out and why. Text only, decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.plan import BackupPlan, DatasetFailure, ProjectFailure, TableBackup
from bbq_dagster.core.versions import Copy
from bbq_dagster.core.wording import counted, cut, section

_SHOWN = 12


def render_plan(plan: BackupPlan, *, limit: int | None = _SHOWN) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    return "\n".join(
        [
            summary(plan),
            *([] if plan.forecast is None else [str(plan.forecast)]),
            *section("copy", (_backup_text(backup, limit) for backup in plan.backups), limit=limit),
            *section(
                "finish what an earlier run began",
                (f"{copy.source} -> {copy.destination.table}" for copy in plan.unfinished),
                limit=limit,
            ),
            *section("not now", (f"{item.unit}: {item.reason}" for item in plan.postponed), limit=limit),
            *section("flagged", (f"{item.target}: {item.reason}" for item in plan.anomalies), limit=limit),
            *section("emptied", (f"{item.unit}: {item.reason}" for item in plan.emptied), limit=limit),
            *section("vanished", (f"{item.unit}: {item.reason}" for item in plan.vanished), limit=limit),
            *section("left out", (f"{item.table}: {item.reason}" for item in plan.left_out), limit=limit),
            *section("not looked at", not_looked_at(plan.failures, plan.projects_failed), limit=None),
        ]
    )


def summary(plan: BackupPlan) -> str:
    """One line: units, copy jobs, backup tables, and what is not copied."""
    units, jobs, tables = len(plan.units), len(plan.copies), len(plan.backups)
    return (
        f"plan of {plan.planned_at:%Y-%m-%d %H:%M} UTC: {counted(units, 'unit')} by {counted(jobs, 'copy job')}"
        f" into {counted(tables, 'backup table')}; {plan.unchanged:,} unchanged, {len(plan.postponed):,} not now,"
        f" {len(plan.emptied):,} emptied, {len(plan.vanished):,} vanished, {len(plan.left_out):,} left out"
        + (f", {len(plan.anomalies):,} flagged" if plan.anomalies else "")
        + (f", {counted(len(plan.failures), 'dataset')} not looked at" if plan.failures else "")
        + (f", {counted(len(plan.projects_failed), 'project')} not looked at" if plan.projects_failed else "")
        + f"; about {counted(plan.estimated_calls, 'API call')}"
    )


def not_looked_at(datasets: Iterable[DatasetFailure], projects: Iterable[ProjectFailure]) -> Iterator[str]:
    for project in projects:
        yield f"{project.project}: {project.message}"
    for dataset in datasets:
        yield f"{dataset.dataset}: {dataset.message}"


def plan_as_json(plan: BackupPlan) -> dict[str, object]:
    """The plan in the types of JSON: everything, with every reason."""
    return {
        "planned_at": plan.planned_at.isoformat(),
        "units": len(plan.units),
        "copy_jobs": len(plan.copies),
        "estimated_calls": plan.estimated_calls,
        "forecast": None
        if plan.forecast is None
        else {
            "copy_jobs": plan.forecast.copy_jobs,
            "copy_jobs_per_day": plan.forecast.copy_jobs_per_day,
            "days": plan.forecast.days,
        },
        "backups": [
            {
                "source": str(backup.source),
                "destination": str(backup.destination),
                "how": backup.why_so,
                "copies": [_copy_as_json(copy) for copy in backup.copies],
            }
            for backup in plan.backups
        ],
        "unfinished": [_copy_as_json(copy) for copy in plan.unfinished],
        "postponed": [{"unit": str(item.unit), "reason": item.reason} for item in plan.postponed],
        "flagged": [{"target": str(item.target), "reason": item.reason} for item in plan.anomalies],
        "emptied": [{"unit": str(item.unit), "reason": item.reason} for item in plan.emptied],
        "vanished": [{"unit": str(item.unit), "reason": item.reason} for item in plan.vanished],
        "left_out": [{"table": str(item.table), "reason": item.reason} for item in plan.left_out],
        "not_looked_at": [
            *({"project": item.project, "message": item.message} for item in plan.projects_failed),
            *({"dataset": str(item.dataset), "message": item.message} for item in plan.failures),
        ],
        "unchanged": plan.unchanged,
    }


def _copy_as_json(copy: Copy) -> dict[str, object]:
    return {
        "copy_id": copy_id(copy),
        "source": str(copy.source),
        "destination": str(copy.destination),
        "units": [
            {
                "unit": str(unit.unit),
                "reason": unit.reason,
                "rows": unit.state.rows,
                "size_bytes": unit.state.size_bytes,
            }
            for unit in copy.units
        ],
    }


def _backup_text(backup: TableBackup, limit: int | None) -> str:
    if not backup.copies[0].partitioned:
        return f"{backup.source}: {backup.units[0].reason}"
    units = sorted(backup.units, key=lambda unit: (unit.reason, unit.unit.sort_key))
    by_reason = groupby(units, key=lambda unit: unit.reason)
    lines = [_units_with(reason, [unit.unit.key for unit in same]) for reason, same in by_reason]
    return "\n    ".join([f"{backup.source}: {backup.why_so}", *cut(lines, limit)])


def _units_with(reason: str, keys: list[str]) -> str:
    if len(keys) > 3:
        return f"{keys[0]} … {keys[-1]} ({len(keys):,}): {reason}"
    return f"{', '.join(keys)}: {reason}"
