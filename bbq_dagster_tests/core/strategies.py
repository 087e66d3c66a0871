"""Values for the tests of the core: builders with a name for what a test is about, and Hypothesis strategies.

The strategies make what BigQuery allows, with the awkward cases drawn often: names that begin or end with underscores,
scripts and marks beyond ASCII, ids of 1,024 bytes, states that are not known, tables that came and went.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from bbq_dagster.core.catalog import Event, copy_planned, emptied, vanished, version_created
from bbq_dagster.core.changes import DatasetChanges, detect_changes
from bbq_dagster.core.inventory import Dataset, SourceTable, State, UnitState, take_inventory
from bbq_dagster.core.naming import backup_dataset
from bbq_dagster.core.plan import BackupPlan, Quota, plan_backup
from bbq_dagster.core.tables import NULL_PARTITION, UNPARTITIONED, DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Absence, Copy, DatasetRecord, PlannedUnit, Version

SALES = DatasetRef("acme-shop", "sales")
ORDERS = SALES.table("orders")
EVENTS = SALES.table("events")
BACKUPS = "acme-backups"

CREATED = datetime(2025, 6, 1, 8, 0, tzinfo=UTC)
CAPTURED = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
NOW = datetime(2026, 2, 1, 2, 15, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)

PLENTY = Quota(10_000, 10_000)


def a_state(
    rows: int | None = 10, size_bytes: int | None = 100, modified_at: datetime | None = CAPTURED - HOUR
) -> State:
    """By default what ``a_version`` holds, written before it was captured: unchanged."""
    return State(rows, size_bytes, modified_at)


EMPTY = a_state(rows=0, size_bytes=0)


def a_dataset(ref: DatasetRef = SALES, *, location: str = "EU", labels: dict[str, str] | None = None) -> Dataset:
    return Dataset(ref, location, labels or {})


def a_table(
    ref: TableRef = ORDERS,
    state: State | None = None,
    *,
    kind: str = "BASE TABLE",
    created_at: datetime = CREATED,
    columns: int = 3,
    labels: dict[str, str] | None = None,
) -> SourceTable:
    return SourceTable(ref, kind, created_at, columns, state=a_state() if state is None else state, labels=labels or {})


def a_partitioned_table(
    ref: TableRef = EVENTS,
    state: State | None = None,
    *,
    column: str = "day",
    column_type: str = "DATE",
    created_at: datetime = CREATED,
) -> SourceTable:
    return replace(a_table(ref, state, created_at=created_at), partition_column=column, partition_type=column_type)


def a_version(
    unit: Unit,
    *,
    captured_at: datetime = CAPTURED,
    rows: int | None = 10,
    size_bytes: int | None = 100,
    source: State | None = None,
    source_created_at: datetime = CREATED,
) -> Version:
    return Version(
        version_id=f"version of {unit} at {captured_at.isoformat()}",
        unit=unit,
        backup=backup_dataset(unit.table.in_dataset, location="EU", into=BACKUPS)
        .table(f"{unit.table.table}-earlier")
        .unit(unit.partition),
        location="EU",
        captured_at=captured_at,
        rows=rows,
        size_bytes=size_bytes,
        source=a_state() if source is None else source,
        source_created_at=source_created_at,
        job_id="bbq_earlier_1_1",
        reason="never backed up",
    )


def a_record(
    *versions: Version,
    absent: dict[Unit, Absence] | None = None,
    settled: dict[TableRef, tuple[datetime, State]] | None = None,
    unfinished: Sequence[Copy] = (),
    failures: dict[Unit, int] | None = None,
) -> DatasetRecord:
    latest = {version.unit: version for version in versions}
    return DatasetRecord(latest, absent or {}, settled or {}, tuple(unfinished), failures or {})


def a_copy(
    unit: Unit,
    *,
    whole_table_of: Sequence[Unit] = (),
    attempt: int = 1,
    partitioned: bool = False,
    state: State | None = None,
) -> Copy:
    """A copy of ``unit``; with ``whole_table_of``, one of its whole table that holds these units."""
    held = whole_table_of or (unit,)
    place = None if whole_table_of else unit.partition
    backup = backup_dataset(unit.table.in_dataset, location="EU", into=BACKUPS).table(f"{unit.table.table}-planned")
    return Copy(
        source=unit.table.unit(place),
        destination=backup.unit(place),
        location="EU",
        source_created_at=CREATED,
        units=tuple(PlannedUnit(one, state or a_state(), "never backed up") for one in held),
        attempt=attempt,
        partitioned=partitioned or any(one.partition is not None for one in held),
    )


def days(count: int, *, table: TableRef = EVENTS) -> list[Unit]:
    """``count`` daily partitions of ``table``, the oldest first."""
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return [table.unit(f"{first + timedelta(days=day):%Y%m%d}") for day in range(count)]


@dataclass(frozen=True, slots=True)
class Scan:
    """One look at a dataset and what is on record of it: all that ``detect_changes`` and ``plan_backup`` take."""

    dataset: Dataset
    tables: tuple[SourceTable, ...]
    partitions: tuple[UnitState, ...] = ()
    record: DatasetRecord = field(default_factory=DatasetRecord)
    excluded: frozenset[TableRef] = frozenset()

    def changes(self, *, now: datetime = NOW) -> DatasetChanges:
        def exclusion(table: TableRef) -> str | None:
            return "excluded by 'tmp_*'" if table in self.excluded else None

        inventory = take_inventory(self.dataset, self.tables, exclusion=exclusion)
        return detect_changes(inventory, self.partitions, self.record, now=now)


def a_scan(
    *tables: SourceTable,
    partitions: Iterable[UnitState] = (),
    record: DatasetRecord | None = None,
    excluded: Iterable[TableRef] = (),
    dataset: Dataset | None = None,
) -> Scan:
    return Scan(
        a_dataset() if dataset is None else dataset,
        tables,
        tuple(partitions),
        DatasetRecord() if record is None else record,
        frozenset(excluded),
    )


def planned(*scans: Scan, quota: Quota = PLENTY, now: datetime = NOW) -> BackupPlan:
    return plan_backup([(scan.changes(now=now), scan.record) for scan in scans], into=BACKUPS, now=now, quota=quota)


def events_of(plan: BackupPlan, *, at: datetime) -> list[Event]:
    """What a run that carried the whole plan out at ``at`` has recorded: every copy as large as what was seen."""
    done = at + timedelta(minutes=1)
    return [
        *(emptied(change, at=at, run_id="run") for change in plan.emptied),
        *(vanished(gone, at=at, run_id="run") for gone in plan.vanished),
        *(event for copy in plan.copies for event in copy_planned(copy, at=at, run_id="run")),
        *(
            version_created(
                copy,
                unit,
                job_id="job",
                captured_at=at,
                rows=unit.state.rows,
                size_bytes=unit.state.size_bytes,
                at=done,
                run_id="run",
            )
            for copy in plan.copies
            for unit in copy.units
        ),
    ]


# Names

_PLAIN_PROJECTS = st.from_regex(r"[a-z]([a-z0-9]|-{1,2}[a-z0-9]){2,20}", fullmatch=True)
_DOMAINS = st.sampled_from(["example.com", "a-b.co.uk", "x.y"])
projects = st.one_of(_PLAIN_PROJECTS, st.builds("{}:{}".format, _DOMAINS, _PLAIN_PROJECTS))
"""``acme-shop``, ``a--b``, ``example.com:shop``: they begin with a letter and never end with a dash (Google's rule)."""

datasets = st.one_of(
    st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True),
    st.from_regex(r"_{0,3}[a-zA-Z]{1,3}_{0,3}", fullmatch=True),
    st.from_regex(r"[a-c]{1,2}__(eu|us|b)(__eu)?", fullmatch=True),
    st.from_regex(r"[a-c]{0,2}__CUT_[a-z2-7]{16}", fullmatch=True),
    st.integers(min_value=980, max_value=1024).map(lambda length: "d" * length),
)

locations = st.sampled_from(["EU", "US", "us-central1", "europe-west10", "aws-us-east-1"])

_IN_NAMES = st.characters(categories=["L", "M", "N", "Pc", "Pd", "Zs"])
_SHORT_TABLE_IDS = st.one_of(st.text(_IN_NAMES, min_size=1, max_size=20), st.from_regex(r"[ab_-]{1,5}", fullmatch=True))


@st.composite
def _long_table_ids(draw: st.DrawFn) -> str:
    """Of 900 to 1,024 bytes, with characters of up to four of them."""
    room = draw(st.integers(min_value=900, max_value=1024))
    pattern = draw(st.text(_IN_NAMES, min_size=1, max_size=8))
    return (pattern * room).encode()[:room].decode(errors="ignore")


table_ids = st.one_of(_SHORT_TABLE_IDS, _long_table_ids())
partition_ids = st.one_of(
    st.sampled_from([NULL_PARTITION, UNPARTITIONED, "2026", "202601", "20260131", "2026013123", "0", "100"])
)
table_refs = st.builds(TableRef, projects, datasets, table_ids)
units = st.builds(Unit, table_refs, st.none() | partition_ids)

# States

instants = st.integers(min_value=0, max_value=10**12).map(
    lambda milliseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
"""The years 2000 to 2031, in milliseconds as BigQuery shows them."""

states = st.builds(
    State,
    st.none() | st.integers(min_value=0, max_value=2**63 - 1),
    st.none() | st.integers(min_value=0, max_value=2**63 - 1),
    st.none() | instants,
)

# Scans

_PARTITIONS = ("20260101", "20260102", "20260103", NULL_PARTITION, UNPARTITIONED)


def _near(instant: datetime) -> st.SearchStrategy[datetime]:
    return st.sampled_from([instant - HOUR, instant - MILLISECOND, instant])


@st.composite
def _seen_states(draw: st.DrawFn, *, before: datetime, known: bool) -> State:
    """States of which many are alike, so that units often come out unchanged; ``known``: nothing is None."""
    nothing: st.SearchStrategy[None] = st.nothing() if known else st.none()
    rows = draw(nothing | st.sampled_from([0, 10, 11]))
    size_bytes = 0 if rows == 0 else draw(nothing | st.sampled_from([100, 101]))
    return State(rows, size_bytes, draw(nothing | _near(before) | _near(before - timedelta(days=1))))


@st.composite
def scans(draw: st.DrawFn, *, ref: DatasetRef = SALES, before: datetime = NOW, known: bool = False) -> Scan:
    """A dataset with a few tables as it may be seen at ``before``, and nothing on record."""
    tables, partitions = [], []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=4)):
        table = ref.table(name)
        state = draw(_seen_states(before=before, known=known))
        created_at = draw(st.sampled_from([CREATED, CAPTURED]))
        if draw(st.booleans()):
            tables.append(a_table(table, state, created_at=created_at))
            continue
        tables.append(a_partitioned_table(table, state, created_at=created_at))
        for partition in draw(st.lists(st.sampled_from(_PARTITIONS), unique=True)):
            seen = draw(_seen_states(before=before, known=known))
            partitions.append(UnitState(table.unit(partition), seen))
    return Scan(a_dataset(ref), tuple(tables), tuple(partitions))


@st.composite
def recorded_scans(draw: st.DrawFn, *, ref: DatasetRef = SALES) -> Scan:
    """A scan with versions, absences, failures and unfinished copies of what is there and of what is gone."""
    scan = draw(scans(ref=ref))
    gone = [ref.table("a").unit(), ref.table("b").unit("20251231")]
    there = [unit.unit for unit in scan.partitions]
    there += [table.ref.unit() for table in scan.tables if not table.is_partitioned]
    every = sorted({*gone, *there}, key=lambda unit: unit.sort_key)
    some = st.lists(st.sampled_from(every), unique=True)
    versions = [
        a_version(unit, captured_at=draw(_near(CAPTURED) | _near(NOW)), rows=draw(st.sampled_from([0, 10, None])))
        for unit in draw(some)
    ]
    record = a_record(
        *versions,
        absent={version.unit: draw(st.sampled_from(Absence)) for version in versions if draw(st.booleans())},
        unfinished=[_copy_that_can_be(unit) for unit in draw(some)],
        failures=dict.fromkeys(draw(some), 2),
    )
    return replace(scan, record=record)


def _copy_that_can_be(unit: Unit) -> Copy:
    """No copy job can name a special partition: it is in a copy of the whole table."""
    return a_copy(unit, whole_table_of=(unit,) if unit.partition in (NULL_PARTITION, UNPARTITIONED) else ())


@st.composite
def projects_of_scans(draw: st.DrawFn) -> list[Scan]:
    """Up to two datasets, each with its record."""
    names = draw(st.lists(st.sampled_from(["sales", "ops"]), unique=True))
    return [draw(recorded_scans(ref=DatasetRef("acme-shop", name))) for name in names]
