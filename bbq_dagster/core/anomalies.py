"""Which changes are so large that somebody should look before older versions go: the anomaly gate.

``find_anomalies`` decides, from what a scan saw and what is on record. What is flagged is backed up like everything
else. It is a hold on the unit that keeps its older versions, until somebody releases it: what a hold protects, shows
and survives is known already, and retention needs no rule of its own.

Not looked at: whole tables that vanished (they have their grace), and units that were never backed up.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from bbq_dagster.core.anomaly_policy import AnomalyPolicy
from bbq_dagster.core.changes import Change, DatasetChanges, Verdict
from bbq_dagster.core.holds import Hold, is_pattern, is_version_id
from bbq_dagster.core.inventory import SourceTable
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.versions import DatasetRecord, Version
from bbq_dagster.core.wording import counted, size
from bbq_dagster.errors import Refused

GATE = "anomaly gate"
"""The owner of the holds that the gate places."""

MOST_UNITS = 20
"""Where more units of a table are flagged at once, the table is held as a whole."""

PolicyOf = Callable[[TableRef], AnomalyPolicy]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What is flagged, and why. ``target`` is a unit, or a table as a whole.

    ``cause`` is the same each time that the same loss is seen: by the scan, by the run that copies, by a run that is
    tried again. So it is one hold, and one that was released stays released.
    """

    target: Unit
    reason: str
    cause: str

    def hold(self, *, since: datetime) -> Hold:
        """The hold that keeps every version of ``target``."""
        facts = "\n".join([GATE, str(self.target), self.cause])
        given_id = hashlib.sha256(facts.encode()).hexdigest()[:12]
        return Hold(str(self.target), GATE, self.reason, since, given_id=given_id)


def find_anomalies(datasets: Iterable[tuple[DatasetChanges, DatasetRecord]], policy_of: PolicyOf) -> list[Anomaly]:
    """The anomalies of these datasets, table by table.

    * A unit that is to be copied, or was emptied, and has lost more than a share of its newest version's rows or bytes.
    * A unit that is to be copied, of a table whose schema is not that of its newest version.
    * A partitioned table that is there, and whose vanished partitions held more than a share of its rows. Not where
      partitions expire by themselves.

    What the warehouse does not say of a source, or the record of a version, is no reason.
    """
    return [anomaly for changes, record in datasets for anomaly in _of_dataset(changes, record, policy_of)]


def is_of_gate(hold: Hold) -> bool:
    """Whether the gate placed it. Somebody who uses its name may hold what it never does: a version, a pattern."""
    return hold.owner == GATE and not is_version_id(hold.target) and not is_pattern(hold.target)


def chosen_anomalies(flagged: Iterable[Hold], names: Iterable[str]) -> list[Hold]:
    """Those that the names stand for: ids, or what is flagged, a table standing for its partitions.

    Raises ``Refused`` where nothing is named, and with every name that is of nothing flagged.
    """
    flagged = list(flagged)
    chosen = {name: [hold for hold in flagged if _is_named(hold, name)] for name in names}
    unknown = sorted(name for name, found in chosen.items() if not found)
    if unknown or not chosen:
        what = ", ".join(unknown) or "nothing"
        raise Refused(f"{what}: not flagged, nothing was released", hint="`bbq anomaly list` shows what is")
    return list({hold.hold_id: hold for found in chosen.values() for hold in found}.values())


def _is_named(hold: Hold, name: str) -> bool:
    return name in (hold.hold_id, hold.target, hold.target.partition("$")[0])


def _of_dataset(changes: DatasetChanges, record: DatasetRecord, policy_of: PolicyOf) -> Iterator[Anomaly]:
    compared = [change for change in changes.changes if change.last is not None and _is_news(change)]
    moved = {change.unit.table for change in compared}
    tables = {table.ref: table for table in changes.inventory.tables if table.ref in moved}
    in_order = sorted(compared, key=lambda change: change.unit.sort_key)
    for ref, of_table in groupby(in_order, key=lambda change: change.unit.table):
        policy = policy_of(ref)
        judged = (_of_unit(change, tables[ref], policy) for change in of_table)
        yield from _of_table(tables[ref], [flagged for flagged in judged if flagged is not None])
    yield from _of_vanished(changes, record, policy_of)


def _is_news(change: Change) -> bool:
    return change.needs_copy or change.verdict is Verdict.EMPTIED


def _of_unit(change: Change, table: SourceTable, policy: AnomalyPolicy) -> Anomaly | None:
    """None where nothing was lost."""
    last = change.last
    assert last is not None, "without a version there is nothing to compare with"
    found = (_rows_lost(change, last, policy), _bytes_lost(change, last, policy), _other_schema(table, last, policy))
    reason = "; ".join(words for words in found if words)
    return Anomaly(change.unit, f"{reason} than {_named(last)}", last.version_id) if reason else None


def _named(version: Version) -> str:
    return f"the version of {version.captured_at:%Y-%m-%d %H:%M}"


def _of_table(table: SourceTable, flagged: Sequence[Anomaly]) -> Iterable[Anomaly]:
    if len(flagged) <= MOST_UNITS:
        return flagged
    first = flagged[0]
    reason = f"{len(flagged):,} partitions at once, first {first.target.partition}: {first.reason}"
    return [Anomaly(table.ref.unit(), reason, f"as of {table.state.modified_at}")]


def _of_vanished(changes: DatasetChanges, record: DatasetRecord, policy_of: PolicyOf) -> Iterator[Anomaly]:
    if not changes.vanished:
        return
    lasting = {t.ref for t in changes.inventory.tables if t.options.partition_expiration_days is None}
    units = sorted(gone.unit for gone in changes.vanished if gone.unit.table in lasting)
    gone = {table: list(of_table) for table, of_table in groupby(units, key=lambda unit: unit.table)}
    had: Counter[TableRef] = Counter()
    for unit, version in record.latest.items() if gone else ():
        if unit.table in gone and unit not in record.absent:
            had[unit.table] += version.rows or 0
    for table, of_table in gone.items():
        yield from _of_partitions(table, [record.latest[unit] for unit in of_table], had[table], policy_of(table))


def _of_partitions(table: TableRef, gone: Sequence[Version], had: int, policy: AnomalyPolicy) -> Iterator[Anomaly]:
    lost = sum(version.rows or 0 for version in gone)
    if had >= policy.smallest_rows and lost > policy.rows_lost_share * had:
        reason = f"{counted(len(gone), 'partition')} gone, with {lost:,} of {had:,} rows"
        yield Anomaly(table.unit(), reason, f"without {gone[0].version_id}")


def _rows_lost(change: Change, last: Version, policy: AnomalyPolicy) -> str | None:
    left, had = change.state.rows, last.rows
    if left is None or had is None or not _is_lost(left, had, policy.rows_lost_share, last, policy):
        return None
    return f"{left:,} rows, {_share_lost(left, had)} fewer"


def _bytes_lost(change: Change, last: Version, policy: AnomalyPolicy) -> str | None:
    left, had = change.state.size_bytes, last.size_bytes
    if left is None or had is None or not _is_lost(left, had, policy.bytes_lost_share, last, policy):
        return None
    return f"{size(left)}, {_share_lost(left, had)} less"


def _is_lost(left: int, had: int, share: float, last: Version, policy: AnomalyPolicy) -> bool:
    is_large = last.rows is not None and last.rows >= policy.smallest_rows
    return is_large and had - left > share * had


def _share_lost(left: int, had: int) -> str:
    return f"{1 - left / had:.0%}"


def _other_schema(table: SourceTable, last: Version, policy: AnomalyPolicy) -> str | None:
    if not policy.schema_change or table.schema is None or last.schema is None or table.schema == last.schema:
        return None
    return "another schema"
