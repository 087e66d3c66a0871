"""Where the record and the copies disagree: each kind on its own, and what holds whatever happened."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.drift import (
    Adopt,
    BackupSide,
    CatalogSide,
    Drift,
    Finding,
    Kind,
    LetLive,
    MarkLost,
    Repetition,
    catalog_is_gone,
    find_drift,
    render_drift,
    render_repair,
)
from bbq_dagster.core.found import FoundDataset, FoundTable
from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import backup_table, version_id
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.retention_rules import StoredVersion
from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import BACKUPS, CREATED_AT, EVENTS, LOCATION, NOW, ORDERS, SALES, a_state


def place_of(source: TableRef = ORDERS, number: int = 1) -> TableRef:
    return BACKUPS.table(backup_table(source, [(source.unit(), a_state(number))], created_at=CREATED_AT))


def stored(
    source: TableRef = ORDERS, partition: str | None = None, *, number: int = 1, **overrides: object
) -> StoredVersion:
    """A version of 3 rows; ``number`` tells the backup tables of one source apart."""
    place = place_of(source, number).unit(partition)
    at = NOW - timedelta(days=10 - number)
    version = StoredVersion(version_id(place), source.unit(partition), place.table, at, 3, 30)
    return replace(version, **overrides)  # type: ignore[arg-type]


def found(*versions: StoredVersion, **overrides: object) -> FoundTable:
    """The backup table that holds these versions, all of them in it."""
    held = {v.unit.partition: State(v.rows, v.size_bytes, v.captured_at) for v in versions}
    is_partitioned = any(version.unit.partition is not None for version in versions)
    table = FoundTable(versions[0].table, "BASE TABLE", NOW, held, is_partitioned)
    return replace(table, **overrides)  # type: ignore[arg-type]


def drift(versions: list[StoredVersion], tables: list[FoundTable], **overrides: object) -> Drift:
    record = replace(RetentionRecord(SALES, tuple(versions)), **overrides)  # type: ignore[arg-type]
    return find_drift(CatalogSide((record,)), BackupSide((FoundDataset(BACKUPS, LOCATION, SALES, tuple(tables)),)))


ONE = stored()
DAYS = [stored(EVENTS, "20260101"), stored(EVENTS, "20260102")]
EMPTY = stored(rows=0, size_bytes=0)
EMPTY_DAY = stored(EVENTS, "20260103", rows=0, size_bytes=0)
WHOLE = [replace(version, whole_table=True) for version in DAYS]


@pytest.mark.parametrize(
    ("versions", "tables", "expected"),
    [
        pytest.param([], [], [], id="nothing on both sides"),
        pytest.param([ONE, *DAYS], [found(ONE), found(*DAYS)], [], id="what agrees"),
        pytest.param([ONE], [], [Kind.MISSING_COPY], id="no backup table"),
        pytest.param(DAYS, [found(DAYS[0])], [Kind.MISSING_COPY], id="no partition"),
        pytest.param([EMPTY], [found(EMPTY, partitions={})], [], id="an empty version of an empty table"),
        pytest.param([EMPTY], [], [Kind.MISSING_COPY], id="an empty version without a table"),
        pytest.param([*DAYS, EMPTY_DAY], [found(*DAYS)], [], id="an empty partition is not shown"),
        pytest.param([ONE], [found(replace(ONE, rows=2))], [Kind.OTHER_ROWS], id="a row less"),
        pytest.param([ONE], [found(ONE, partitions={})], [Kind.OTHER_ROWS], id="truncated"),
        pytest.param([ONE], [found(replace(ONE, size_bytes=31))], [Kind.OTHER_BYTES], id="a byte more"),
        pytest.param([replace(ONE, rows=None, size_bytes=None)], [found(ONE)], [], id="unknown is not different"),
        pytest.param([ONE], [found(ONE, expires=True)], [Kind.EXPIRES], id="expires"),
        pytest.param([], [found(ONE)], [Kind.UNRECORDED_COPY], id="a copy that nobody recorded"),
        pytest.param([DAYS[0]], [found(*DAYS)], [Kind.UNRECORDED_COPY], id="a partition that nobody recorded"),
        pytest.param([WHOLE[0]], [found(*WHOLE)], [], id="a partition that came along with a whole table"),
        pytest.param(
            [replace(ONE, version_id="other")], [found(ONE)], [Kind.WRONG_RECORD], id="the id of another place"
        ),
        pytest.param(
            [replace(ONE, unit=EVENTS.unit())], [found(ONE)], [Kind.WRONG_RECORD], id="the copy of another table"
        ),
        pytest.param(
            [replace(ONE, unit=DatasetRef("acme-shop", "crm").table("orders").unit())],
            [found(ONE)],
            [Kind.WRONG_RECORD],
            id="the copy of another dataset",
        ),
        pytest.param(
            [ONE], [found(ONE, description=f"Backup of {EVENTS}")], [Kind.WRONG_DESCRIPTION], id="described as another"
        ),
        pytest.param([ONE], [found(ONE, description=f"Backup of {ORDERS}")], [], id="described as what it is"),
        pytest.param([ONE], [found(ONE, description="mine")], [], id="described by somebody"),
        pytest.param([], [found(ONE, ref=BACKUPS.table("mine"))], [Kind.FOREIGN_TABLE], id="a table by hand"),
        pytest.param(
            [],
            [found(ONE, ref=BACKUPS.table("mine"), expires=True)],
            [Kind.FOREIGN_TABLE],
            id="a table by hand may expire",
        ),
        pytest.param([], [found(ONE, kind="VIEW")], [Kind.FOREIGN_TABLE], id="a view"),
        pytest.param([], [found(ONE, kind="CLONE")], [Kind.UNRECORDED_COPY], id="a clone holds rows as well"),
    ],
)
def test_each_disagreement_has_its_kind(
    versions: list[StoredVersion], tables: list[FoundTable], expected: list[Kind]
) -> None:
    assert [finding.kind for finding in drift(versions, tables).findings] == expected


def test_a_version_whose_deletion_was_begun_may_be_there_or_not() -> None:
    begun = frozenset({ONE.version_id})

    assert drift([ONE], [], begun=begun).is_none
    assert drift([ONE], [found(ONE)], begun=begun).is_none


def test_a_copy_under_way_is_left_to_the_next_backup() -> None:
    assert drift([], [found(ONE)], busy=frozenset({ONE.table})).is_none


def test_a_copy_that_failed_is_not_adopted() -> None:
    side = BackupSide((FoundDataset(BACKUPS, LOCATION, SALES, (found(ONE),)),))
    outcome = find_drift(CatalogSide(failed=frozenset({ONE.place})), side)

    assert [finding.kind for finding in outcome.findings] == [Kind.FAILED_COPY]
    assert outcome.remedies == ()


def test_what_could_not_be_looked_at_is_not_judged() -> None:
    unseen = {BACKUPS: "Access Denied"}
    outcome = find_drift(CatalogSide((RetentionRecord(SALES, (ONE,)),)), BackupSide((), unseen))

    assert (outcome.findings, outcome.unseen) == ((), unseen)
    assert not outcome.is_none


STOCK = DatasetRef("acme-shop", "stock")


@pytest.mark.parametrize(
    ("outcome", "of_sales", "of_stock"),
    [
        pytest.param(Drift((Finding(Kind.REPEATED, "a", "b", SALES),)), 1, 0, id="of its source alone"),
        pytest.param(Drift((Finding(Kind.CATALOG_GONE, "a", "b"),)), 1, 1, id="of nobody in particular: of each"),
        pytest.param(Drift(unseen={BACKUPS: "no"}), 1, 0, id="not looked at: of the source that its name tells"),
        pytest.param(Drift(unseen={DatasetRef("acme-backup", "old"): "no"}), 1, 1, id="not looked at, name tells none"),
    ],
)
def test_what_is_found_counts_for_the_datasets_that_it_may_be_about(
    outcome: Drift, of_sales: int, of_stock: int
) -> None:
    about = [outcome.of(dataset) for dataset in (SALES, STOCK)]

    assert [len(one.findings) + len(one.unseen) for one in about] == [of_sales, of_stock]
    assert [one.is_none for one in about] == [of_sales == 0, of_stock == 0]


def test_a_copy_that_expires_is_of_the_source_that_is_on_record_of_it() -> None:
    theirs = FoundDataset(BACKUPS, LOCATION, None, (found(ONE, expires=True),))
    outcome = find_drift(CatalogSide((RetentionRecord(SALES, (ONE,)),)), BackupSide((theirs,)))

    assert [(finding.kind, finding.source) for finding in outcome.findings] == [(Kind.EXPIRES, SALES)]


def test_tables_of_a_dataset_that_is_not_ours_are_compared_and_never_adopted() -> None:
    theirs = FoundDataset(BACKUPS, LOCATION, None, (found(ONE), found(*DAYS)))
    outcome = find_drift(CatalogSide((RetentionRecord(SALES, (replace(ONE, rows=4),)),)), BackupSide((theirs,)))

    assert [finding.kind for finding in outcome.findings] == [Kind.OTHER_ROWS]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param(1, Kind.REPEATED, id="the same told twice"),
        pytest.param(2, Kind.TOLD_TWICE, id="told in two ways"),
    ],
)
def test_what_is_recorded_twice_is_named_by_whether_it_is_the_same(facts: int, expected: Kind) -> None:
    repeated = Repetition(ORDERS.unit(), ONE.version_id, 2, facts, facts)
    (finding,) = find_drift(CatalogSide(repetitions=(repeated,)), BackupSide()).findings

    assert (finding.kind, finding.remedy) == (expected, None)


def test_an_adopted_version_says_only_what_the_backup_table_says() -> None:
    (remedy,) = drift([], [found(*DAYS)]).remedies
    assert isinstance(remedy, Adopt)
    version = remedy.versions[0]

    assert (version.version_id, version.unit, version.rows) == (DAYS[0].version_id, DAYS[0].unit, 3)
    assert version.captured_at == DAYS[0].captured_at
    assert (version.source_created_at, version.source.rows, version.job_id) == (None, None, "")
    assert version.holds_until == NOW - timedelta(hours=1) + timedelta(seconds=1)


def test_a_copy_with_a_special_partition_is_one_of_a_whole_table() -> None:
    (remedy,) = drift([], [found(stored(EVENTS, NULL_PARTITION))]).remedies
    assert isinstance(remedy, Adopt)

    assert remedy.versions[0].whole_table


def test_only_the_newest_version_that_is_lost_counts_as_a_failed_copy() -> None:
    older, newer = stored(number=1), stored(number=2)
    lost = {r.version: r.is_newest for r in drift([older, newer], []).remedies if isinstance(r, MarkLost)}

    assert lost == {older: False, newer: True}


def test_a_lost_catalog_is_one_finding() -> None:
    outcome = catalog_is_gone(DatasetRef("acme-backup", "bbq_catalog"))

    assert [finding.kind for finding in outcome.findings] == [Kind.CATALOG_GONE]
    assert outcome.remedies == ()


def test_the_digest_stands_for_what_would_be_done() -> None:
    lost, expiring = drift([ONE], []), drift([ONE], [found(ONE, expires=True)])

    assert len({lost.digest, expiring.digest, drift([ONE], [found(ONE)]).digest}) == 3
    assert lost.digest == drift([ONE], []).digest
    with pytest.raises(Refused, match="nothing was changed"):
        lost.refuse_unless_approved(expiring.digest)
    lost.refuse_unless_approved(lost.digest)


# In words

MIXED = drift(
    [ONE, DAYS[1]],
    [
        found(*DAYS, expires=True),
        found(ONE, ref=BACKUPS.table("mine")),
        found(ONE, ref=BACKUPS.table("view"), kind="VIEW"),
    ],
)


def test_a_repair_in_words() -> None:
    days = DAYS[0].table

    assert (
        render_repair(MIXED)
        == f"""\
repair plan: 1 to adopt, 1 to record as lost, 1 to let live; digest a74d07a5b4f86b93

let live:
  {days}

adopt:
  {DAYS[0].place} as a version of {DAYS[0].unit}

record as lost:
  {ONE.unit} of 2026-01-22 02:15 ({ONE.version_id})

left to you:
  foreign table: {BACKUPS}.mine: it is no backup table by its name (base table): somebody made it by hand
  foreign table: {BACKUPS}.view: it is no backup table by its name (view): somebody made it by hand"""
    )


def test_a_drift_in_words_has_the_worst_first_and_its_first_lines_of_each_kind() -> None:
    unseen = {DatasetRef("acme-backups", "denied"): "denied", DatasetRef("acme-backups", "slow"): "no answer"}
    shown = render_drift(replace(MIXED, unseen=unseen), limit=1)

    assert (
        shown
        == f"""\
2 versions on record, 3 backup tables found: 5 findings

record without copy:
  {ONE.unit} of 2026-01-22 02:15 ({ONE.version_id}): its backup table {ONE.table} is not there

expires:
  {DAYS[0].table}: it has an expiration that BigQuery would delete it by

copy without record:
  {DAYS[0].table}: it holds 1 partition of {EVENTS}, and no version is on record

foreign table:
  {BACKUPS}.mine: it is no backup table by its name (base table): somebody made it by hand
  … and 1 more

not looked at:
  acme-backups.denied: denied
  … and 1 more"""
    )


def test_where_all_agrees_the_words_are_one_line() -> None:
    assert str(drift([ONE], [found(ONE)])) == "1 version on record, 1 backup table found: they agree"


@pytest.mark.parametrize(
    ("versions", "tables", "expected"),
    [
        pytest.param([ONE], [], f"its backup table {ONE.table} is not there", id="no table"),
        pytest.param(DAYS[:1], [found(DAYS[1])], f"its backup table has no rows at {DAYS[0].place}", id="no rows"),
        pytest.param(
            [replace(ONE, rows=3000)],
            [found(replace(ONE, rows=2000))],
            f"{ONE.place} has 2,000 rows, the record says 3,000",
            id="rows",
        ),
        pytest.param(
            [replace(ONE, size_bytes=3000)],
            [found(replace(ONE, size_bytes=2000))],
            f"{ONE.place} has 2,000 bytes, the record says 3,000",
            id="bytes",
        ),
        pytest.param(
            [replace(ONE, version_id="x")], [found(ONE)], f"its id is not that of its place {ONE.place}", id="wrong id"
        ),
        pytest.param(
            [replace(ONE, unit=EVENTS.unit())],
            [found(ONE)],
            f"its place {ONE.place} holds backups of another table",
            id="wrong place",
        ),
        pytest.param(
            [ONE],
            [found(ONE, description=f"Backup of {EVENTS}")],
            f"its description says that it is a backup of {EVENTS}, its name says {ORDERS}",
            id="wrong description",
        ),
        pytest.param([], [found(ONE)], f"it holds {ORDERS}, and no version is on record", id="no record"),
        pytest.param(
            [],
            [found(*DAYS)],
            f"it holds 2 partitions of {EVENTS}, and no version is on record",
            id="no record of partitions",
        ),
        pytest.param(
            [],
            [found(ONE, ref=BACKUPS.table("undelete-orders"))],
            "an undelete that was stopped has left it: the same undelete, run again, removes it",
            id="left by an undelete",
        ),
    ],
)
def test_each_disagreement_has_its_words(
    versions: list[StoredVersion], tables: list[FoundTable], expected: str
) -> None:
    assert drift(versions, tables).findings[0].words == expected


def test_a_table_by_hand_that_the_catalog_knows_is_compared_and_not_foreign() -> None:
    place = BACKUPS.table("by_hand").unit()
    version = replace(ONE, table=place.table, version_id=version_id(place))

    assert drift([version], [found(version)]).is_none


# What holds for any damage

_versions = st.lists(
    st.builds(
        lambda number, partition, rows: stored(
            ORDERS if partition is None else EVENTS, partition, number=number, rows=rows, size_bytes=rows * 10
        ),
        st.integers(1, 5),
        st.sampled_from([None, "20260101", "20260102", "20260103"]),
        st.integers(1, 4),
    ),
    unique_by=lambda version: version.place,
    max_size=12,
)


def as_found(versions: list[StoredVersion]) -> list[FoundTable]:
    tables: dict[TableRef, list[StoredVersion]] = {}
    for version in versions:
        tables.setdefault(version.table, []).append(version)
    return [found(*of_one) for of_one in tables.values()]


def mended(versions: list[StoredVersion], tables: list[FoundTable], outcome: Drift) -> Drift:
    """The drift after all remedies."""
    lost = {r.version for r in outcome.remedies if isinstance(r, MarkLost)}
    live = {r.table for r in outcome.remedies if isinstance(r, LetLive)}
    adopted = [StoredVersion.of(v) for r in outcome.remedies if isinstance(r, Adopt) for v in r.versions]
    kept = [version for version in versions if version not in lost]
    return drift([*kept, *adopted], [replace(t, expires=t.expires and t.ref not in live) for t in tables])


@given(_versions)
def test_a_record_of_what_is_there_never_drifts(versions: list[StoredVersion]) -> None:
    assert drift(versions, as_found(versions)).is_none


@given(_versions, _versions, st.booleans())
def test_what_has_a_remedy_is_gone_after_it_and_nothing_new_appears(
    recorded: list[StoredVersion], held: list[StoredVersion], expires: bool
) -> None:
    tables = [replace(table, expires=expires) for table in as_found(held)]
    outcome = drift(recorded, tables)
    left = [finding for finding in outcome.findings if finding.remedy is None]

    assert mended(recorded, tables, outcome).findings == tuple(left)


@given(_versions, _versions)
def test_every_version_and_every_copy_is_judged_once(recorded: list[StoredVersion], held: list[StoredVersion]) -> None:
    outcome = drift(recorded, as_found(held))
    adopted = {v.backup for r in outcome.remedies if isinstance(r, Adopt) for v in r.versions}
    lost = {r.version.place for r in outcome.remedies if isinstance(r, MarkLost)}
    on_record, there = {version.place for version in recorded}, {version.place for version in held}

    assert adopted == there - on_record
    assert lost == on_record - there
