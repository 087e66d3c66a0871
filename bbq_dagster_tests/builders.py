"""Values for tests: each builder makes a whole one, and a test names only what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from bbq_dagster.core.inventory import SourceTable, State
from bbq_dagster.core.plan import BackupPlan, TableBackup
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy, PlannedUnit, Version

NOW = datetime(2026, 1, 31, 2, 15, tzinfo=UTC)
LOCATION = "EU"
SALES = DatasetRef("acme-shop", "sales")
ORDERS = SALES.table("orders")
EVENTS = SALES.table("events")
BACKUPS = DatasetRef("acme-backup", "bbq_acme_shop__sales__eu")
CREATED_AT = NOW - timedelta(days=100)


def a_state(rows: int = 3, *, modified_at: datetime = NOW - timedelta(hours=1)) -> State:
    return State(rows, rows * 10, modified_at)


def a_table(ref: TableRef = ORDERS, *, partitioned: bool = False, **overrides: Any) -> SourceTable:
    """A table of two columns; with ``partitioned``, by day on a column ``day``."""
    table = SourceTable(ref, "BASE TABLE", CREATED_AT, 2, a_state())
    if partitioned:
        table = replace(table, partition_column="day", partition_type="DATE")
    return replace(table, **overrides)


def a_version(unit: Unit | None = None, **overrides: Any) -> Version:
    """A version of ``orders`` that was captured a day ago."""
    unit = ORDERS.unit() if unit is None else unit
    version = Version(
        version_id=f"version of {unit}",
        unit=unit,
        backup=BACKUPS.table(f"{unit.table.table}-1").unit(unit.partition),
        location=LOCATION,
        captured_at=NOW - timedelta(days=1),
        rows=3,
        size_bytes=30,
        source=a_state(modified_at=NOW - timedelta(days=2)),
        source_created_at=CREATED_AT,
        job_id="bbq_job_1",
        reason="never backed up",
    )
    return replace(version, **overrides)


def a_planned_unit(unit: Unit, *, rows: int = 3) -> PlannedUnit:
    return PlannedUnit(unit, a_state(rows), "never backed up")


def a_copy(source: Unit | None = None, *, units: Iterable[PlannedUnit] = (), **overrides: Any) -> Copy:
    """A copy of ``source`` into its place in ``BACKUPS``; of one unit, the source itself, unless told otherwise."""
    source = ORDERS.unit() if source is None else source
    held = tuple(units) or (a_planned_unit(source),)
    copy = Copy(
        source=source,
        destination=BACKUPS.table(f"{source.table.table}-1").unit(source.partition),
        location=LOCATION,
        source_created_at=CREATED_AT,
        units=held,
        partitioned=any(unit.unit.partition is not None for unit in held),
    )
    return replace(copy, **overrides)


def a_plan(*units: Unit, **overrides: Any) -> BackupPlan:
    """A plan that copies these units, a copy job each; of each table into one backup table."""
    in_order = sorted(units, key=lambda unit: unit.sort_key)
    backups = [
        _table_backup(table, tuple(a_copy(unit) for unit in of_table))
        for table, of_table in groupby(in_order, lambda unit: unit.table)
    ]
    return replace(BackupPlan(planned_at=NOW, backups=tuple(backups)), **overrides)


def _table_backup(source: TableRef, copies: tuple[Copy, ...]) -> TableBackup:
    return TableBackup(
        source=source,
        destination=copies[0].destination.table,
        location=LOCATION,
        copies=copies,
        why_so="a copy job each",
    )
