"""The names that the original BBQ gave, and what they can be read as."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbq_dagster.core.changes import Verdict, detect_change
from bbq_dagster.core.found import FoundDataset, FoundTable
from bbq_dagster.core.inventory import State, UnitState
from bbq_dagster.core.naming import version_id
from bbq_dagster.core.original import ADOPTED, AdoptionPlan, ExportedBackup, Known, plan_adoption, source_project_of
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import NOW, a_table

TAKEN = datetime(2019, 2, 3, 4, 5, 6, tzinfo=UTC)
VAULT = "acme-vault"
SALES = DatasetRef("acme-shop", "sales")
LONG = "x" * 1000


def original_dataset(project: str, location: str, at: datetime) -> str:
    """As the original did it, with the year of the calendar and the week of ISO 8601."""
    return f"{at.year}_{at.isocalendar()[1]:02}_{location}_{project}".replace("-", "_")


def original_table(unit: Unit, at: datetime) -> str:
    """As the original did it; the hash is any number."""
    source = unit.table
    name = f"{at:%Y%m%d_%H%M%S}_{source.project.replace('-', '_')}_{source.dataset}_{source.table}"
    if unit.partition is not None:
        name += f"_partition_{unit.partition}"
    return name if len(name) <= 1024 else f"{name[:1000]}_{'-1234567890123'.replace('-', '_')}"


def copy_of(unit: Unit, *, partitions: tuple[str, ...] = (), name: str = "") -> FoundTable:
    """What the original left of ``unit``; ``partitions`` of a table that it copied as a whole."""
    dataset = original_dataset(unit.table.project, "EU", TAKEN)
    ref = TableRef(VAULT, dataset, name or original_table(unit, TAKEN))
    keys = partitions or (unit.partition,)
    held = {key: State(3, 30, TAKEN + timedelta(minutes=1)) for key in keys}
    return FoundTable(ref, "BASE TABLE", TAKEN, held, is_partitioned=None not in keys)


def adopt(
    *tables: FoundTable, location: str = "EU", on_record: frozenset[str] = frozenset(), **known: object
) -> AdoptionPlan:
    dataset = FoundDataset(tables[0].ref.in_dataset, location, None, tables)
    return plan_adoption([dataset], on_record=on_record, known=Known(**known))  # type: ignore[arg-type]


def units_of(plan: AdoptionPlan) -> list[str]:
    return [str(version.unit) for version in plan.versions]


def unit(name: str) -> Unit:
    return Unit.parse(f"acme-shop.{name}")


@pytest.mark.parametrize(
    ("dataset", "location", "expected"),
    [
        pytest.param("2019_05_EU_acme_shop", "EU", "acme-shop", id="a multi-region"),
        pytest.param("2019_05_europe_west2_acme_shop", "europe-west2", "acme-shop", id="a region"),
        pytest.param("2018_01_US_shop", "US", "shop", id="the last days of a year"),
        pytest.param("2019_05_EU_acme_shop", "US", None, id="in another location than it says"),
        pytest.param("2019_05_EU_", "EU", None, id="no project"),
        pytest.param("bbq_acme_shop__sales__eu", "EU", None, id="one of ours"),
        pytest.param("analytics_2019", "EU", None, id="a dataset of somebody"),
    ],
)
def test_a_backup_dataset_tells_the_source_project(dataset: str, location: str, expected: str | None) -> None:
    assert source_project_of(DatasetRef(VAULT, dataset), location) == expected


@pytest.mark.parametrize(
    ("table", "known", "expected"),
    [
        pytest.param(copy_of(unit("sales.orders")), {}, ["sales.orders"], id="one reading"),
        pytest.param(copy_of(unit("sales.days$20190101")), {}, ["sales.days$20190101"], id="a partition"),
        pytest.param(
            copy_of(unit("sales.hours"), partitions=("2019010101", "2019010102")),
            {},
            ["sales.hours$2019010101", "sales.hours$2019010102"],
            id="a table by the hour was copied as a whole",
        ),
        pytest.param(copy_of(unit("sales.orders_2019")), {}, [], id="two readings"),
        pytest.param(
            copy_of(unit("sales.orders_2019")),
            {"tables": {unit("sales.orders_2019").table}},
            ["sales.orders_2019"],
            id="two readings, one of which exists",
        ),
        pytest.param(
            copy_of(unit("a.b_c")), {"tables": {unit("a.b_c").table, unit("a_b.c").table}}, [], id="both readings exist"
        ),
        pytest.param(
            copy_of(unit("sales.orders_2019")),
            {"datasets": {SALES}},
            ["sales.orders_2019"],
            id="two readings, one of a named dataset",
        ),
        pytest.param(
            copy_of(unit("sales.orders_2019")),
            {"datasets": {SALES, DatasetRef("acme-shop", "sales_orders")}},
            [],
            id="two readings of named datasets",
        ),
        pytest.param(copy_of(unit("sales.t_partition_20190101")), {}, [], id="a table that is called like a partition"),
        pytest.param(
            copy_of(unit("sales.t_partition_20190101")),
            {"tables": {unit("sales.t_partition_20190101").table}},
            ["sales.t_partition_20190101"],
            id="which exists",
        ),
        pytest.param(
            copy_of(unit("sales.t"), name=original_table(unit("sales.t$20190101"), TAKEN), partitions=("20190102",)),
            {},
            [],
            id="the name says another partition",
        ),
        pytest.param(copy_of(unit("sales.orders_")), {}, ["sales.orders_"], id="a table has a name"),
        pytest.param(
            copy_of(unit("sales.t"), name="20190203_040506_acme_shop_größe_a"),
            {},
            [],
            id="a dataset has letters of ASCII",
        ),
        pytest.param(copy_of(unit("sales.größe")), {}, ["sales.größe"], id="a table has any letters"),
        pytest.param(copy_of(unit(f"sales.{LONG}")), {}, [], id="a name that was cut"),
        pytest.param(copy_of(unit("sales.t"), name="mine"), {}, [], id="a table of somebody"),
        pytest.param(copy_of(unit("sales.t"), name="20191399_000000_acme_shop_a_b"), {}, [], id="no time"),
        pytest.param(copy_of(unit("sales.t"), name="20190101_000000_acme_lab_a_b"), {}, [], id="another project"),
        pytest.param(copy_of(unit("sales.t"), name="20190101_000000_acme_shop_ab"), {}, [], id="no dataset and table"),
    ],
)
def test_a_copy_is_one_of_what_its_name_can_only_mean(
    table: FoundTable, known: dict[str, object], expected: list[str]
) -> None:
    plan = adopt(table, **known)

    assert units_of(plan) == [f"acme-shop.{name}" for name in expected]
    assert len(plan.unclear) == (not expected)


@pytest.mark.parametrize("name", ["sales.orders_2019", "a.b_c", f"sales.{LONG}", "sales.t_partition_20190101"])
def test_the_export_tells_what_a_name_does_not(name: str) -> None:
    table = copy_of(unit(name))
    started = TAKEN + timedelta(seconds=30)
    exported = {table.ref: ExportedBackup(table.ref, unit(name), started)}
    plan = adopt(table, exported=exported)

    assert units_of(plan) == [f"acme-shop.{name}"]
    assert plan.versions[0].captured_at == started


def test_an_adopted_version_is_where_the_original_put_it() -> None:
    table = copy_of(unit("sales.days$20190101"))
    (version,) = adopt(table).versions

    assert version.backup == table.ref.unit("20190101")
    assert version.version_id == version_id(version.backup)
    assert (version.rows, version.size_bytes, version.location) == (3, 30, "EU")
    assert (version.captured_at, version.reason) == (TAKEN, ADOPTED)


def test_what_is_on_record_is_not_adopted_again() -> None:
    table = copy_of(unit("sales.orders"))
    first = adopt(table)
    again = adopt(table, on_record=frozenset(version.version_id for version in first.versions))

    assert (again.versions, again.known) == ((), 1)


@pytest.mark.parametrize(
    ("modified_at", "expected"),
    [
        pytest.param(TAKEN - timedelta(microseconds=1), Verdict.UNCHANGED, id="written before it was copied"),
        pytest.param(TAKEN, Verdict.MODIFIED, id="written when it was about to be copied"),
        pytest.param(NOW, Verdict.MODIFIED, id="written since"),
    ],
)
def test_the_next_backup_copies_only_what_was_written_since(modified_at: datetime, expected: Verdict) -> None:
    (version,) = adopt(copy_of(unit("sales.orders"))).versions
    source = a_table(version.unit.table, created_at=TAKEN - timedelta(days=1))
    state = UnitState(version.unit, State(3, 30, modified_at))

    assert detect_change(source, state, version).verdict is expected


def test_the_digest_stands_for_the_versions() -> None:
    plan = adopt(copy_of(unit("sales.orders")))

    assert plan.digest != adopt(copy_of(unit("sales.customers"))).digest
    with pytest.raises(Refused, match="nothing was adopted"):
        plan.refuse_unless_approved("other")
    plan.refuse_unless_approved(plan.digest)


def test_the_plan_in_words() -> None:
    whole = copy_of(unit("sales.hours"), partitions=("2019010101", "2019010102"))
    elsewhere = DatasetRef(VAULT, "2019_05_EU_acme_lab")
    dataset = FoundDataset(whole.ref.in_dataset, "EU", None, (copy_of(unit("sales.a_b_c_d_e")), whole))
    plan = plan_adoption([dataset], on_record=(), known=Known(), unseen={elsewhere: "denied"})

    assert str(plan).splitlines() == [
        f"adoption plan: 2 versions (60 B) of 1 table; 0 on record already, 1 unclear; digest {plan.digest}",
        "",
        "adopt:",
        "  acme-shop.sales.hours: 2 versions since 2019-02-03",
        "",
        "unclear, left alone:",
        f"  {VAULT}.2019_05_EU_acme_shop.20190203_040506_acme_shop_sales_a_b_c_d_e:"
        " its name can be that of sales.a_b_c_d_e or sales_a.b_c_d_e or sales_a_b.c_d_e or others",
        "",
        "not looked at:",
        f"  {elsewhere}: denied",
    ]


_ids = st.from_regex(r"[a-z]{1,3}(_[a-z]{1,3}){0,2}", fullmatch=True)
_partitions = st.none() | st.dates(datetime(1970, 1, 1).date()).map(lambda day: f"{day:%Y%m%d}")  # noqa: DTZ001
_projects = st.from_regex(r"[a-z]{2,4}(-[a-z]{1,3}){0,2}", fullmatch=True)
_times = st.datetimes(datetime(2016, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(_projects, _ids, _ids, _partitions, _times, st.sampled_from(["EU", "US", "europe-west2", "asia-northeast1"]))
def test_what_the_original_named_is_read_as_it_was_or_not_at_all(
    project: str, dataset: str, table: str, partition: str | None, at: datetime, location: str
) -> None:
    source = TableRef(project, dataset, table).unit(partition)
    place = DatasetRef(VAULT, original_dataset(project, location, at))
    held = {partition: State(1, 1, at)}
    copy = FoundTable(place.table(original_table(source, at)), "BASE TABLE", at, held, partition is not None)
    found = FoundDataset(place, location, None, (copy,))
    alone = plan_adoption([found], on_record=(), known=Known())
    helped = plan_adoption([found], on_record=(), known=Known(tables={source.table}))

    assert source_project_of(place, location) == project
    assert [version.unit for version in helped.versions] == [source]
    assert [version.unit for version in alone.versions] in ([source], [])
    assert len(alone.versions) + len(alone.unclear) == 1
