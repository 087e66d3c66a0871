"""``backup_now``: back up tables by name, whether or not they changed, across datasets and projects."""

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase
from functools import cache

import dagster as dg
from pydantic import Field

from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.defs.assets import POOL
from bbq_dagster.defs.backups import BackupRun
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.errors import Refused

_WILDCARDS = frozenset("*?[")
"""None of them can be in the name of a table."""


class BackupNowConfig(dg.Config):
    """What ``backup_now`` backs up."""

    tables: list[str] = Field(
        description="Tables as project.dataset.table, partitions as project.dataset.table$partition, or patterns such"
        " as project.dataset.sales_* (* any text, ? one character, [ab] a set). A table stands for all its partitions."
    )
    only_changed: bool = Field(
        default=False, description="Back up those alone that changed since their last backup. Without it: all of them."
    )


@dg.op(pool=POOL)
def backup_tables(context: dg.OpExecutionContext, config: BackupNowConfig, bbq: BbqResource) -> None:
    """Back up the named tables; where one of them cannot be had, all such are named and nothing is copied."""
    run = BackupRun.of(context, bbq)
    with run.failing(()):
        asked = expand_names(config.tables, run.tables_in)
    plan = run.plan_units(asked, only_changed=config.only_changed)
    run.finish(asked, plan, run.apply(plan))


@dg.job(
    description="Backs up the tables and partitions that its config names, at once and whether or not they changed."
)
def backup_now() -> None:
    backup_tables()


def expand_names(names: Iterable[str], tables_in: Callable[[DatasetRef], Collection[TableRef]]) -> tuple[Unit, ...]:
    """The units that the names stand for. ``tables_in`` is asked for the datasets of patterns, once for each.

    Raises ``Refused`` with every name that is none, and every pattern that matches nothing.
    """
    tables_in = cache(tables_in)
    units: set[Unit] = set()
    faults: list[str] = []
    for name in names:
        try:
            units.update(_expand(name, tables_in) if _WILDCARDS & set(name) else [Unit.parse(name)])
        except Refused as error:
            faults.append(f"  {name}: {str(error).replace(chr(10), ' ')}")
    if faults or not units:
        raise Refused("\n".join(["cannot be backed up, nothing was done:", *(faults or ["  no table is named"])]))
    return tuple(sorted(units))


def _expand(pattern: str, tables_in: Callable[[DatasetRef], Collection[TableRef]]) -> list[Unit]:
    dataset, _, tables = pattern.rpartition(".")
    if "$" in tables:
        raise Refused("a pattern is for tables", hint="name the partitions of one table each")
    found = [table.unit() for table in tables_in(DatasetRef.parse(dataset)) if fnmatchcase(table.table, tables)]
    if not found:
        raise Refused("it matches no table that can be backed up")
    return found
