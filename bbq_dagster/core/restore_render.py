"""A restore plan in words and as a file. Text only, decides nothing.

The file is JSON for programs and people. It carries a digest of all that is in it: an edited file is refused, as nobody
has checked what it says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from bbq_dagster.core.json_values import from_json, to_json
from bbq_dagster.core.plan import Quota
from bbq_dagster.core.restore import RestorePlan, TableRestore
from bbq_dagster.core.restore_choice import NotRestored
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.wording import counted, cut, section, size
from bbq_dagster.errors import Refused

_SHOWN = 12
_CREATIONS_PER_SECOND = 9
_COPIES_INTO_A_TABLE_PER_SECOND = 4
_SECONDS_PER_COPY = 10
FORMAT = 1


def render_restore(
    plan: RestorePlan, *, limit: int | None = _SHOWN, quota: Quota | None = None, jobs_per_second: float = 90
) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    left = (
        [] if quota is None else [f"{quota.copy_jobs_left:,} copy jobs are left of {quota.copy_jobs_per_day:,} a day"]
    )
    facts = _facts(plan, jobs_per_second)
    return "\n".join(
        [
            f"{plan.restore_id}: {facts[0]}",
            *(f"  {fact}" for fact in (*facts[1:], *left)),
            *section("conflicts: nothing of this plan can be restored", plan.conflicts, limit=limit),
            *section("datasets to create", (f"{d} in {location}" for d, location in plan.new_datasets), limit=limit),
            *section("restore", (_table(table, plan.planned_at, limit) for table in plan.tables), limit=limit),
            *section("left out", _left_out(plan.left_out), limit=limit),
        ]
    )


def summary(plan: RestorePlan, *, jobs_per_second: float = 90) -> str:
    """One line: what is restored as of when, by how many jobs, and how long it takes, roughly."""
    return f"{plan.restore_id}: {'; '.join(_facts(plan, jobs_per_second))}"


def _facts(plan: RestorePlan, jobs_per_second: float) -> tuple[str, ...]:
    rows = sum(unit.rows or 0 for unit in plan.units)
    size_bytes = sum(unit.size_bytes or 0 for unit in plan.units)
    as_of = plan.request.as_of or plan.planned_at
    which = f"{len(plan.request.versions):,} versions by id" if plan.request.versions else f"as of {_at(as_of)} UTC"
    created = sum(table.create_like is not None for table in plan.tables)
    overwritten = sum(table.overwritten_rows for table in plan.tables)
    return (
        which,
        f"{counted(len(plan.tables), 'table')} ({created:,} to create),"
        f" {counted(len(plan.units), 'unit')} by {counted(len(plan.items), 'copy job')},"
        f" {counted(rows, 'row')}, {size(size_bytes)}",
        f"{counted(overwritten, 'row')} overwritten, {len(plan.left_out):,} left out,"
        f" {counted(len(plan.conflicts), 'conflict')}",
        f"about {estimated_time(plan, jobs_per_second=jobs_per_second)}",
    )


def estimated_time(plan: RestorePlan, *, jobs_per_second: float) -> timedelta:
    """A guess for people: jobs are started, tables created and changed at their pace; the last copy takes a while."""
    created = sum(table.create_like is not None and not table.is_made_by_copy for table in plan.tables)
    steps = 1 + any(item.follows for item in plan.items)
    most = max((len(table.items) for table in plan.tables), default=0)
    paces = (len(plan.items) / jobs_per_second, created / _CREATIONS_PER_SECOND, most / _COPIES_INTO_A_TABLE_PER_SECOND)
    seconds = max(paces) + _SECONDS_PER_COPY * steps
    return timedelta(seconds=round(seconds))


def write_plan(plan: RestorePlan) -> str:
    """The text of a plan file."""
    content = {"format": FORMAT, "restore_id": plan.restore_id, "digest": plan.digest, "plan": to_json(plan)}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_plan(text: str, *, name: str) -> RestorePlan:
    """The plan of a file. Raises ``Refused`` where it is none, or is not as it was written."""
    content = _parsed(text, name)
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise Refused(f"{name} is no restore plan of this bbq: nothing was done", hint=_ANEW)
    try:
        plan = from_json(RestorePlan, content.get("plan"))
    except Refused as error:
        raise Refused(f"{name} was changed after it was written: {error}: nothing was done", hint=_ANEW) from error
    if (plan.digest, plan.restore_id) != (content.get("digest"), content.get("restore_id")):
        raise Refused(f"{name} was changed after it was written: nothing was done", hint=_ANEW)
    return plan


_ANEW = "make it again by `bbq restore plan … -o FILE`, with the options that say what you want"


def _parsed(text: str, name: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        raise Refused(f"{name} is no JSON: {error}: nothing was done", hint=_ANEW) from error


def _table(table: TableRestore, now: datetime, limit: int | None) -> str:
    verb = "create" if table.create_like is not None else "write into"
    rows = counted(sum(unit.rows or 0 for unit in table.units), "row")
    lines = [
        *_versions(table, now),
        *([f"overwrites {table.overwritten_rows:,} rows of {len(table.overwritten):,}"] if table.overwritten else []),
        *(f"left alone: {left.unit.key}: {left.reason}" for left in table.left_alone),
        *table.notes,
    ]
    head = f"{table.source} -> {table.target}: {verb}, {rows}, {table.how}"
    return "\n    ".join([head, *cut(lines, limit)])


def _left_out(items: Iterable[NotRestored]) -> Iterator[str]:
    """A line for each table and reason."""
    together: dict[tuple[TableRef, str], list[Unit]] = {}
    for item in items:
        together.setdefault((item.unit.table, item.reason), []).append(item.unit)
    for (_, reason), units in together.items():
        more = f" … {units[-1].key} ({len(units):,})" if len(units) > 1 else ""
        yield f"{units[0]}{more}: {reason}"


def _versions(table: TableRestore, now: datetime) -> Iterable[str]:
    """The versions of the table, those that one backup run made together."""
    by_age: dict[str, list[str]] = {}
    for unit in sorted(table.units, key=lambda unit: (unit.captured_at, unit.unit)):
        by_age.setdefault(f"captured {_at(unit.captured_at)}, {_age(now - unit.captured_at)} ago", []).append(
            unit.unit.key
        )
    for age, keys in by_age.items():
        names = ", ".join(keys) if len(keys) <= 3 else f"{keys[0]} … {keys[-1]} ({len(keys):,})"
        yield f"{names}: {age}"


def _age(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return (
        f"{hours // 24:,} d {hours % 24} h" if hours >= 24 else f"{hours} h {int(age.total_seconds() // 60) % 60} min"
    )


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}"
