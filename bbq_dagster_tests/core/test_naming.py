"""Names of backup datasets, backup tables and jobs: free of collisions, reversible, the same on every retry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bbq_dagster.core.inventory import State
from bbq_dagster.core.naming import (
    MAX_NAME_BYTES,
    backup_dataset,
    backup_table,
    copy_id,
    dataset_source_of,
    is_created_first,
    job_id,
    source_of,
    version_id,
)
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.core.versions import Copy
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import (
    BACKUPS,
    CAPTURED,
    CREATED,
    EVENTS,
    MICROSECOND,
    NOW,
    ORDERS,
    SALES,
    a_copy,
    a_state,
    days,
)

SUFFIX_BYTES = len("-20260131T021500Z-") + 16
STATED = [(ORDERS.unit(), a_state())]


def name_of(
    source: TableRef = ORDERS,
    units: Sequence[tuple[Unit, State]] = (),
    *,
    created_at: datetime = CREATED,
    supersedes: Sequence[str] = (),
    attempt: int = 1,
    salt: str = "",
) -> str:
    stated = units or [(source.unit(), a_state())]
    return backup_table(source, stated, created_at=created_at, supersedes=supersedes, attempt=attempt, salt=salt)


# Backup datasets


@pytest.mark.parametrize(
    ("source", "location", "expected"),
    [
        pytest.param(SALES, "EU", "bbq_acme_shop__sales__eu", id="dashes become underscores"),
        pytest.param(SALES, "us-central1", "bbq_acme_shop__sales__us_central1", id="so they do in a region"),
        pytest.param(DatasetRef("a--b", "d"), "US", "bbq_aDASH_b__d__us", id="two dashes are no double underscore"),
        pytest.param(
            DatasetRef("example.com:shop", "d"), "US", "bbq_exampleDOTcomCOLONshop__d__us", id="a domain-scoped project"
        ),
        pytest.param(DatasetRef("acme", "_tmp"), "EU", "bbq_acme___tmp__eu", id="a hidden dataset"),
        pytest.param(
            DatasetRef("acme", "a__eu"), "US", "bbq_acme__a__eu__us", id="a dataset that ends like a location"
        ),
    ],
)
def test_a_backup_dataset_is_named_after_project_dataset_and_location(
    source: DatasetRef, location: str, expected: str
) -> None:
    backup = backup_dataset(source, location=location, into=BACKUPS)

    assert backup == DatasetRef(BACKUPS, expected)
    assert dataset_source_of(backup) == source


@pytest.mark.parametrize(
    ("name"),
    [
        pytest.param("sales", id="somebody's dataset"),
        pytest.param("bbq_catalog", id="the catalog"),
        pytest.param("bbq_acme__sales", id="no location"),
        pytest.param("xbbq_acme__sales__eu", id="another prefix"),
        pytest.param("bbq_acme__sales__EU", id="a location is in lower case"),
    ],
)
def test_a_dataset_that_is_not_ours_has_no_source(name: str) -> None:
    assert dataset_source_of(DatasetRef(BACKUPS, name)) is None


@pytest.mark.parametrize(
    ("length", "shortened"),
    [
        pytest.param(MAX_NAME_BYTES - len("bbq_acme____eu"), False, id="1,024 characters"),
        pytest.param(MAX_NAME_BYTES - len("bbq_acme____eu") + 1, True, id="one character too many"),
        pytest.param(MAX_NAME_BYTES, True, id="the longest source dataset"),
    ],
)
def test_a_dataset_name_that_would_be_too_long_is_shortened_and_marked(length: int, shortened: bool) -> None:
    backup = backup_dataset(DatasetRef("acme", "d" * length), location="EU", into=BACKUPS)

    assert len(backup.dataset) == MAX_NAME_BYTES
    assert ("__CUT_" in backup.dataset) is shortened
    assert (dataset_source_of(backup) is None) is shortened


def test_long_datasets_that_differ_in_the_last_character_get_two_names() -> None:
    one, other = (DatasetRef("acme", "d" * 1023 + last) for last in "ab")

    assert backup_dataset(one, location="EU", into=BACKUPS) != backup_dataset(other, location="EU", into=BACKUPS)


def test_a_source_that_carries_the_mark_is_not_taken_for_what_it_would_stand_for() -> None:
    long = backup_dataset(DatasetRef("acme", "d" * 1024), location="EU", into=BACKUPS)
    marked = DatasetRef("acme", long.dataset.removeprefix("bbq_acme__").removesuffix("__eu"))

    assert backup_dataset(marked, location="EU", into=BACKUPS) != long
    assert dataset_source_of(backup_dataset(marked, location="EU", into=BACKUPS)) is None


_SOURCES = st.builds(DatasetRef, some.projects, some.datasets)


@given(_SOURCES, some.locations)
def test_every_backup_dataset_is_a_dataset_id(source: DatasetRef, location: str) -> None:
    backup = backup_dataset(source, location=location, into=BACKUPS)

    assert re.fullmatch(r"\w{1,1024}", backup.dataset, re.ASCII)
    assert not backup.dataset.startswith("_"), "hidden datasets are absent from INFORMATION_SCHEMA"
    assert backup.project == BACKUPS


@given(_SOURCES, some.locations)
def test_a_backup_dataset_gives_its_source_back_unless_it_was_shortened(source: DatasetRef, location: str) -> None:
    backup = backup_dataset(source, location=location, into=BACKUPS)

    assert dataset_source_of(backup) == (None if "__CUT_" in backup.dataset else source)


@given(_SOURCES, some.locations, _SOURCES, some.locations)
def test_two_sources_or_locations_never_share_a_backup_dataset(
    one: DatasetRef, here: str, other: DatasetRef, there: str
) -> None:
    same = (one, here) == (other, there)

    assert (backup_dataset(one, location=here, into="x") == backup_dataset(other, location=there, into="x")) is same


def test_projects_and_datasets_made_of_few_letters_and_separators_do_not_meet() -> None:
    """All of them, up to three letters and four characters: what an escape could confuse."""
    tails = ["", *("".join(tail) for tail in product(["-", "--", ""], "ab"))]
    projects = [f"{domain}a{one}{two}" for domain in ("", "a.b:", "a-b.a:") for one in tails for two in tails]
    ids = ["".join(letters) for length in range(1, 5) for letters in product("ab_", repeat=length)]
    sources = {DatasetRef(project, dataset) for project in projects for dataset in ids}
    backups = {source: backup_dataset(source, location="EU", into=BACKUPS) for source in sources}

    assert len(set(backups.values())) == len(sources) > 5_000
    assert all(dataset_source_of(backup) == source for source, backup in backups.items())


# Backup tables


def test_a_backup_table_begins_with_its_source_and_the_newest_write() -> None:
    first, second = days(2)
    name = name_of(EVENTS, [(first, a_state(modified_at=CAPTURED)), (second, a_state(modified_at=NOW))])

    assert re.fullmatch(r"events-20260201T021500Z-[a-z2-7]{16}", name)


def test_a_state_without_a_time_is_undated() -> None:
    assert re.fullmatch(r"orders-undated-[a-z2-7]{16}", name_of(units=[(ORDERS.unit(), State())]))


def test_the_time_in_a_name_is_utc_whatever_the_zone_of_the_state() -> None:
    tokyo = NOW.astimezone(timezone(timedelta(hours=9)))

    assert name_of(units=[(ORDERS.unit(), a_state(modified_at=tokyo))]) == name_of(
        units=[(ORDERS.unit(), a_state(modified_at=NOW))]
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(name_of(DatasetRef("acme-shop", "ops").table("orders")), id="another dataset"),
        pytest.param(name_of(DatasetRef("acme-shops", "sales").table("orders")), id="another project"),
        pytest.param(name_of(SALES.table("order")), id="another table"),
        pytest.param(name_of(units=[(ORDERS.unit(), a_state(rows=11))]), id="a row more"),
        pytest.param(name_of(units=[(ORDERS.unit(), a_state(rows=None))]), id="rows unknown"),
        pytest.param(name_of(units=[(ORDERS.unit(), a_state(size_bytes=101))]), id="a byte more"),
        pytest.param(name_of(units=[(ORDERS.unit(), a_state(modified_at=NOW))]), id="another write"),
        pytest.param(
            name_of(units=[(ORDERS.unit(), a_state(modified_at=CAPTURED - timedelta(hours=1) + MICROSECOND))]),
            id="a write in the same second",
        ),
        pytest.param(name_of(created_at=CREATED + MICROSECOND), id="created anew in the same state"),
        pytest.param(name_of(units=[(ORDERS.unit("20260101"), a_state())]), id="a partition of it"),
        pytest.param(name_of(units=[*STATED, (ORDERS.unit("20260101"), a_state())]), id="one unit more"),
        pytest.param(name_of(supersedes=["v1"]), id="after a version that shows the same state"),
        pytest.param(name_of(attempt=2), id="after a copy that failed"),
        pytest.param(name_of(salt="run"), id="asked for although nothing changed"),
    ],
)
def test_what_is_another_state_has_another_name(other: str) -> None:
    assert name_of() != other


def test_the_salt_is_no_version_that_is_superseded() -> None:
    assert name_of(supersedes=["v1"]) != name_of(salt="v1")


@given(st.permutations(days(4)), st.permutations(["v1", "v2", "v3"]))
def test_the_order_of_units_and_versions_makes_no_other_name(units: list[Unit], versions: list[str]) -> None:
    name = name_of(EVENTS, [(unit, a_state()) for unit in units], supersedes=versions)

    assert name == name_of(EVENTS, [(unit, a_state()) for unit in days(4)], supersedes=["v1", "v2", "v3"])


@pytest.mark.parametrize(
    ("table", "shortened"),
    [
        pytest.param("t" * (MAX_NAME_BYTES - SUFFIX_BYTES), False, id="1,024 bytes"),
        pytest.param("t" * (MAX_NAME_BYTES - SUFFIX_BYTES + 1), True, id="one byte too many"),
        pytest.param("é" * ((MAX_NAME_BYTES - SUFFIX_BYTES) // 2), False, id="bytes are counted, not characters"),
        pytest.param("é" * ((MAX_NAME_BYTES - SUFFIX_BYTES) // 2 + 1), True, id="two bytes too many"),
        pytest.param("𝔸" * 256, True, id="four bytes a character"),
        pytest.param("orders-cut", True, id="a source that ends with the mark counts as shortened"),
        pytest.param("orders-cut-", False, id="the mark is at the end"),
        pytest.param(name_of(), False, id="a source that is named like a backup"),
    ],
)
def test_a_table_name_gives_its_source_back_unless_it_was_shortened(table: str, shortened: bool) -> None:
    name = name_of(SALES.table(table))

    assert len(name.encode()) <= MAX_NAME_BYTES
    assert source_of(name) == (None if shortened else table)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("orders", id="a table of somebody"),
        pytest.param("orders-20260131T021500Z", id="no digest"),
        pytest.param("orders-20260131T021500Z-abcdefghijklmnop-x", id="something behind the digest"),
        pytest.param("orders-20260131T021500Z-ABCDEFGHIJKLMNOP", id="a digest is in lower case"),
        pytest.param("-20260131T021500Z-abcdefghijklmnop", id="nothing before the time"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_table_that_is_not_ours_has_no_source(name: str) -> None:
    assert source_of(name) is None


_STATED = st.tuples(some.table_refs, some.states, some.instants, st.lists(st.text(max_size=3), max_size=2), st.text())


def _name(stated: tuple[TableRef, State, datetime, list[str], str]) -> str:
    table, state, created_at, supersedes, salt = stated
    return name_of(table, [(table.unit(), state)], created_at=created_at, supersedes=supersedes, salt=salt)


@given(_STATED)
def test_every_backup_table_is_a_table_id(stated: tuple[TableRef, State, datetime, list[str], str]) -> None:
    name = _name(stated)

    assert 1 <= len(name.encode()) <= MAX_NAME_BYTES
    assert str(Unit.parse(f"p.d.{name}")) == f"p.d.{name}"


@given(_STATED)
def test_a_backup_table_gives_the_id_of_its_source_back(
    stated: tuple[TableRef, State, datetime, list[str], str],
) -> None:
    table = stated[0].table
    assume(len(table.encode()) <= MAX_NAME_BYTES - SUFFIX_BYTES and not table.endswith("-cut"))

    assert source_of(_name(stated)) == table


@given(_STATED, _STATED)
def test_the_same_state_has_one_name_and_two_states_have_two(
    one: tuple[TableRef, State, datetime, list[str], str], other: tuple[TableRef, State, datetime, list[str], str]
) -> None:
    def identity(stated: tuple[TableRef, State, datetime, list[str], str]) -> tuple[object, ...]:
        return (*stated[:3], sorted(stated[3]), stated[4])

    assert (_name(one) == _name(other)) is (identity(one) == identity(other))


@given(_STATED, st.sampled_from(range(5)), st.data())
def test_one_fact_that_differs_makes_another_name(
    stated: tuple[TableRef, State, datetime, list[str], str], place: int, data: st.DataObject
) -> None:
    strategies = (some.table_refs, some.states, some.instants, st.just(["v9"]), st.just("salt"))
    changed: list[object] = list(stated)
    changed[place] = data.draw(strategies[place].filter(lambda fact: fact != stated[place]))

    assert _name(stated) != _name(tuple(changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        pytest.param(a_copy(ORDERS.unit()), False, id="an unpartitioned table: the copy job creates it"),
        pytest.param(a_copy(days(1)[0]), True, id="a partition: the expirations of its source must not come along"),
        pytest.param(a_copy(EVENTS.unit(), whole_table_of=days(2)), True, id="a whole partitioned table"),
        pytest.param(
            replace(a_copy(ORDERS.unit()), destination=SALES.table(name_of(SALES.table("t" * 1024))).unit()),
            True,
            id="a shortened name: its description has the whole one",
        ),
        pytest.param(
            replace(a_copy(ORDERS.unit()), destination=SALES.table(name_of(SALES.table("orders-cut"))).unit()),
            True,
            id="a name that reads as shortened",
        ),
        pytest.param(
            replace(a_copy(ORDERS.unit()), destination=SALES.table(name_of(SALES.table("orders-cut-"))).unit()),
            False,
            id="a name that does not",
        ),
    ],
)
def test_a_backup_table_is_created_first_where_a_copy_job_would_bring_too_much_or_too_little(
    copy: Copy, expected: bool
) -> None:
    assert is_created_first(copy) is expected


@given(_STATED)
def test_whatever_does_not_lead_back_to_its_source_is_created_first(
    stated: tuple[TableRef, State, datetime, list[str], str],
) -> None:
    name = _name(stated)
    copy = replace(a_copy(ORDERS.unit()), destination=SALES.table(name).unit())

    assert is_created_first(copy) is (source_of(name) is None)


# Jobs and versions


def test_the_id_of_a_job_says_which_copy_which_attempt_and_which_try() -> None:
    copy = a_copy(ORDERS.unit(), attempt=2)

    assert re.fullmatch(r"bbq_[a-z2-7]{16}_2", copy_id(copy))
    assert job_id(copy, tried=0) == f"{copy_id(copy)}_1"
    assert job_id(copy, tried=2) == f"{copy_id(copy)}_3"


def test_what_is_not_the_copy_itself_does_not_change_its_id() -> None:
    copy = a_copy(EVENTS.unit(), whole_table_of=days(3))

    assert copy_id(copy) == copy_id(replace(copy, units=copy.units[:1]))


def test_one_source_and_two_destinations_are_two_copies() -> None:
    copy = a_copy(ORDERS.unit())

    assert copy_id(copy) != copy_id(replace(copy, destination=SALES.table("elsewhere").unit()))
    assert copy_id(copy) != copy_id(replace(copy, source=EVENTS.unit()))


def test_attempts_and_tries_are_not_confused() -> None:
    ids = {job_id(a_copy(ORDERS.unit(), attempt=a), tried=t) for a in range(1, 12) for t in range(12)}

    assert len(ids) == 11 * 12


_COPIES = st.builds(lambda unit, attempt: a_copy(unit, attempt=attempt), some.units, st.integers(1, 1000))


@given(_COPIES, st.integers(0, 1000))
def test_every_job_id_is_one_that_bigquery_takes(copy: Copy, tried: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", job_id(copy, tried=tried))


@given(_COPIES, _COPIES)
def test_two_copies_never_share_an_id(one: Copy, other: Copy) -> None:
    def identity(copy: Copy) -> tuple[object, ...]:
        return copy.source, copy.destination, copy.attempt

    assert (copy_id(one) == copy_id(other)) is (identity(one) == identity(other))


@given(some.units, some.units)
def test_a_version_is_identified_by_where_it_is_kept(one: Unit, other: Unit) -> None:
    assert (version_id(one) == version_id(other)) is (one == other)
