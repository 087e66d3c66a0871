"""Look at a source project: its datasets, what they hold, and what the catalog says of them.

Gathers and decides nothing: scope, changes and reasons are the core's. A day without changes costs one listing of
datasets, one query per location, one query per dataset, and one query of the catalog, whatever the number of tables.

A dataset that cannot be looked at is named in ``failures`` and stops no other one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from bbq_dagster.core.changes import STREAMING_WAIT, DatasetChanges, detect_changes, needs_partition_list
from bbq_dagster.core.inventory import Dataset, State, take_inventory
from bbq_dagster.core.plan import DatasetFailure
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import DatasetRecord
from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.warehouse.port import Catalog, Warehouse


@dataclass(frozen=True, slots=True)
class Scope:
    """What is left out: the reason for a dataset or a table, None where it is looked at.

    ``streaming_wait``: how long rows of a table in the streaming buffer may keep a copy waiting.
    """

    excluded_dataset: Callable[[DatasetRef], str | None] = lambda _: None
    excluded_table: Callable[[TableRef], str | None] = lambda _: None
    streaming_wait: Callable[[TableRef], timedelta] = lambda _: STREAMING_WAIT


class ScannedDataset(NamedTuple):
    """A dataset compared with its record, as ``plan_backup`` takes it."""

    changes: DatasetChanges
    record: DatasetRecord


@dataclass(frozen=True, slots=True)
class ProjectScan:
    """The datasets of a project, each looked at, failed or skipped. ``skipped`` has the reason of each."""

    datasets: tuple[ScannedDataset, ...] = ()
    failures: tuple[DatasetFailure, ...] = ()
    skipped: tuple[tuple[DatasetRef, str], ...] = ()


def scan_project(
    warehouse: Warehouse,
    catalog: Catalog,
    project: str,
    *,
    now: datetime,
    backup_project: str,
    select: Scope | None = None,
    only: Collection[DatasetRef] | None = None,
    list_all_partitions_of: Collection[TableRef] = (),
    threads: int = 8,
) -> ProjectScan:
    """Look at the datasets of ``project``, or of these ``only``.

    * Partitions are listed of the tables that moved since all of theirs were protected, and of those asked for in
      ``list_all_partitions_of``.
    * A dataset of ``only`` that is not there is a failure: it may be gone, or we may not be allowed to see it.

    Raises what the warehouse raises where the datasets of the project cannot be listed, what the catalog raises, and
    ``Refused`` for the backup project, whose backups need no backup.
    """
    if project == backup_project:
        raise Refused(f"{project} is the backup project", hint="name another project as source")
    scope = Scope() if select is None else select
    listed = sorted(warehouse.list_datasets(project), key=lambda dataset: dataset.ref)
    chosen, skipped = _choose(listed, scope, only)
    records = catalog.records([dataset.ref for dataset in chosen]) if chosen else {}
    look = partial(
        _scan_dataset, warehouse, scope=scope, now=now, list_all_partitions_of=frozenset(list_all_partitions_of)
    )
    with ThreadPoolExecutor(threads) as pool:
        locations = sorted({dataset.location for dataset in chosen})
        states = dict(zip(locations, pool.map(partial(_table_states, warehouse, project), locations), strict=True))
        scans = list(pool.map(lambda dataset: look(dataset, states[dataset.location], records[dataset.ref]), chosen))
    return ProjectScan(
        datasets=tuple(scan for scan in scans if isinstance(scan, ScannedDataset)),
        failures=(*_not_listed(listed, only), *(scan for scan in scans if isinstance(scan, DatasetFailure))),
        skipped=tuple(skipped),
    )


def _choose(
    listed: Iterable[Dataset], scope: Scope, only: Collection[DatasetRef] | None
) -> tuple[list[Dataset], list[tuple[DatasetRef, str]]]:
    chosen, skipped = [], []
    for dataset in listed:
        if only is not None and dataset.ref not in only:
            continue
        if (reason := scope.excluded_dataset(dataset.ref)) is not None:
            skipped.append((dataset.ref, reason))
        else:
            chosen.append(dataset)
    return chosen, skipped


def _not_listed(listed: Iterable[Dataset], only: Collection[DatasetRef] | None) -> list[DatasetFailure]:
    missing = set(only or ()) - {dataset.ref for dataset in listed}
    message = "it is not among the datasets of its project: it is gone, or we may not see it"
    return [DatasetFailure(ref, message) for ref in sorted(missing)]


def _table_states(warehouse: Warehouse, project: str, location: str) -> Mapping[TableRef, State] | BbqError:
    """The error as a value: it is one of every dataset in this location, and of no other one."""
    try:
        return warehouse.table_states(project, location)
    except BbqError as error:
        return error


def _scan_dataset(
    warehouse: Warehouse,
    dataset: Dataset,
    states: Mapping[TableRef, State] | BbqError,
    record: DatasetRecord,
    *,
    scope: Scope,
    now: datetime,
    list_all_partitions_of: frozenset[TableRef],
) -> ScannedDataset | DatasetFailure:
    if isinstance(states, BbqError):
        return DatasetFailure(dataset.ref, str(states))
    try:
        tables = warehouse.list_tables(dataset, states)
        inventory = take_inventory(dataset, tables, exclusion=scope.excluded_table)
        asked = _forget_settlement(record, list_all_partitions_of)
        to_list = [table.ref for table in inventory.tables if needs_partition_list(table, asked)]
        partitions = warehouse.list_partitions(dataset, to_list) if to_list else ()
        changes = detect_changes(inventory, partitions, asked, now=now, streaming_wait=scope.streaming_wait)
    except BbqError as error:
        return DatasetFailure(dataset.ref, str(error))
    return ScannedDataset(changes, record)


def _forget_settlement(record: DatasetRecord, tables: frozenset[TableRef]) -> DatasetRecord:
    """Only tables that are not settled get their partitions listed."""
    return replace(record, settled={ref: at for ref, at in record.settled.items() if ref not in tables})
