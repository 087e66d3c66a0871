"""backup_now: names and patterns, across datasets."""

import pytest

from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.defs.jobs import expand_names
from bbq_dagster.errors import Refused
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World

CRM = DatasetRef("acme-shop", "crm")
TABLES = {SALES: ["orders", "orders_2025", "customers"], CRM: ["leads"]}


def tables_in(dataset: DatasetRef) -> list[TableRef]:
    return [dataset.table(table) for table in TABLES[dataset]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["acme-shop.sales.orders"], ["sales.orders"], id="a table"),
        pytest.param(["acme-shop.sales.events$20260301"], ["sales.events$20260301"], id="a partition"),
        pytest.param(["acme-shop.sales.orders*"], ["sales.orders", "sales.orders_2025"], id="a pattern"),
        pytest.param(
            ["acme-shop.sales.*", "acme-shop.crm.l?ads"],
            [*map("sales.{}".format, sorted(TABLES[SALES])), "crm.leads"],
            id="two datasets",
        ),
        pytest.param(["acme-shop.sales.orders", "acme-shop.sales.[no]rders"], ["sales.orders"], id="named twice"),
    ],
)
def test_names_and_patterns_stand_for_units(names: list[str], expected: list[str]) -> None:
    assert sorted(map(str, expand_names(names, tables_in))) == sorted(f"acme-shop.{name}" for name in expected)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(Refused) as refused:
        expand_names(
            ["orders", "acme-shop.sales.x*", "acme-shop.sales.orders*$2026", "acme-shop.sales.orders"], tables_in
        )

    assert str(refused.value).splitlines() == [
        "cannot be backed up, nothing was done:",
        "  orders: not a table: 'orders' HINT: write it as project.dataset.table or project.dataset.table$partition",
        "  acme-shop.sales.x*: it matches no table that can be backed up",
        "  acme-shop.sales.orders*$2026: a pattern is for tables HINT: name the partitions of one table each",
    ]


def test_no_names_are_refused() -> None:
    with pytest.raises(Refused, match="no table is named"):
        expand_names([], tables_in)


@pytest.fixture(autouse=True)
def sources(world: World) -> None:
    world.put("acme-shop.sales.orders", "acme-shop.sales.events$20260301", "acme-shop.sales.events$20260302")
    world.put("acme-shop.crm.leads")
    world.pass_time(hours=1)


def test_the_job_copies_across_datasets_and_each_unit_shows(orchestra: Orchestra, world: World) -> None:
    result = orchestra.backup_now("acme-shop.sales.*", "acme-shop.crm.leads")

    assert result.success
    assert sorted(world.copies) == ["acme-shop.crm.leads", "acme-shop.sales.events", "acme-shop.sales.orders"]
    assert orchestra.statuses() == dict.fromkeys(["events$20260301", "events$20260302", "orders"], "MATERIALIZED")
    assert orchestra.statuses(CRM) == {"leads": "MATERIALIZED"}


def test_the_job_copies_what_did_not_change_and_says_who_asked(orchestra: Orchestra, world: World) -> None:
    orchestra.backup_now("acme-shop.crm.leads")
    result = orchestra.backup_now("acme-shop.crm.leads")

    assert world.copies == ["acme-shop.crm.leads"] * 2
    assert orchestra.materializations(CRM)[-1].description.startswith(f"requested by run {result.run_id} (unchanged")


def test_the_job_leaves_the_unchanged_where_asked(orchestra: Orchestra, world: World) -> None:
    orchestra.backup_now("acme-shop.crm.leads")
    orchestra.backup_now("acme-shop.crm.leads", only_changed=True)

    assert world.copies == ["acme-shop.crm.leads"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["acme-shop.sales.gone"], "acme-shop.sales.gone: there is no such table", id="no such table"),
        pytest.param(["acme-shop.sales.gone*"], "matches no table", id="no match"),
        pytest.param(["other.sales.orders"], "other is not a source", id="not a source"),
        pytest.param(["acme-shop.hidden.t*"], "there is no such dataset", id="no such dataset"),
    ],
)
def test_what_cannot_be_had_fails_the_job_and_nothing_is_copied(
    orchestra: Orchestra, world: World, failure_of, names: list[str], expected: str
) -> None:
    result = orchestra.backup_now("acme-shop.sales.orders", *names)

    assert not result.success
    assert expected in failure_of(result)
    assert world.copies == []
