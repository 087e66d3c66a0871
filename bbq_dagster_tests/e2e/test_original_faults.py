"""Faults of the original BBQ that show only where everything works together, each shown gone; the others, and which
test shows what, are in docs/original-faults.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bbq_dagster.apply.checking import Wrong, check_copy
from bbq_dagster.apply.copying import CopyOutcome
from bbq_dagster.core.inventory import State
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_record import ItemState
from bbq_dagster.core.restore_request import Partitions, RestoreRequest, Scope, Target, VersionWish
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused
from bbq_dagster.stack import Stack
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.port import BackupTableFacts
from bbq_dagster_tests.builders import NOW, a_copy
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House, made
from bbq_dagster_tests.e2e.retaining import EVENTS, ORDERS, backups, on_record, plan, with_retention

BACK = f"{SHOP}.back"


@pytest.fixture
def shop(house_of_five_days: House) -> House:
    """Five versions of orders, the last one of 5 rows, and several of three partitions of events."""
    return house_of_five_days


def planned(house: House, *what: str, **asked: object) -> RestorePlan:
    """Into the dataset ``back`` of the same project, unless told otherwise."""
    wanted = {"target": Target(dataset="back"), **asked}
    request = RestoreRequest(what=tuple(map(Scope.parse, what)), **wanted)  # type: ignore[arg-type]
    return house.stack.plan_restore(request, now=house.now)


def restore(house: House, *what: str, **asked: object) -> RestorePlan:
    made_plan = planned(house, *what, **asked)
    report = house.stack.apply_restore(made_plan, run_id="restore")
    assert report.ok, str(report)
    return made_plan


def tables(house: House, dataset: str) -> set[str]:
    return {table.table_id for table in house.client_of(dataset).list_tables(dataset)}


def test_w11_a_dataset_comes_back_as_of_an_instant_and_not_as_its_newest_corrupted_self(shop: House) -> None:
    good = shop.now
    shop.sql(f"CREATE TABLE `{SHOP}.sales.late` AS SELECT 1 AS n")
    shop.sql(f"UPDATE `{ORDERS}` SET n = -1 WHERE TRUE")
    shop.back_up()
    restore(shop, f"{SHOP}.sales", as_of=good)

    assert tables(shop, BACK) == {"orders", "events"}
    assert shop.rows_of(f"{BACK}.orders", location="EU") == [f'{{"n":{day}}}' for day in range(5)]


def test_w11_what_was_deleted_long_ago_is_not_among_it(shop: House) -> None:
    shop.sql(f"DROP TABLE `{ORDERS}`")
    shop.back_up()
    restore(shop, f"{SHOP}.sales")

    assert tables(shop, BACK) == {"events"}


def test_w11_a_table_that_was_made_anew_as_a_partitioned_one_is_one_of_both_not_a_mixture(shop: House) -> None:
    shop.sql(f"DROP TABLE `{ORDERS}`")
    shop.sql(f"CREATE TABLE `{ORDERS}` (day DATE, n INT64) PARTITION BY day")
    shop.sql(f"INSERT `{ORDERS}` VALUES (DATE '2026-02-01', 7)")
    shop.back_up()
    restore(shop, ORDERS)

    assert shop.rows_of(f"{BACK}.orders", location="EU") == ['{"day":"2026-02-01","n":7}']


def test_w12_a_partitioned_table_is_one_request(shop: House) -> None:
    restore(shop, EVENTS)

    assert shop.rows_of(f"{BACK}.events", location="EU") == shop.rows_of(EVENTS, location="EU")


def test_w12_two_versions_of_one_table_never_share_a_target(shop: House) -> None:
    first, second = (version.version_id for version in shop.versions(ORDERS)[:2])
    together = planned(shop, versions=(VersionWish(first), VersionWish(second)))
    apart = planned(shop, versions=(VersionWish(first), VersionWish(second, "orders_before")))

    assert together.conflicts
    assert apart.conflicts == ()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"target": Target(project="acme-other", dataset="d")}, "acme-other", id="a project of nobody's"),
        pytest.param({"partitions": Partitions(last_days=0)}, "the last 0 days are none", id="no days"),
        pytest.param({"partitions": Partitions(last_days=-1)}, "the last -1 days are none", id="less than none"),
        pytest.param({"partitions": Partitions(first="latest")}, "is no partition id", id="no partition id"),
    ],
)
def test_w13_an_option_that_means_nothing_is_refused_by_the_plan(
    shop: House, asked: dict[str, object], expected: str
) -> None:
    conflicts = planned(shop, EVENTS, **asked).conflicts

    assert conflicts
    assert expected in " ".join(conflicts)


def test_w13_no_target_project_is_the_one_that_it_came_from(shop: House) -> None:
    assert {str(table.target) for table in planned(shop, f"{SHOP}.sales").tables} == {
        f"{BACK}.orders",
        f"{BACK}.events",
    }


def test_w13_a_limit_of_days_lets_no_special_partition_through(shop: House) -> None:
    shop.sql(f"INSERT `{EVENTS}` VALUES (NULL, 9), (DATE '2026-03-07', 9)")
    shop.back_up()
    made_plan = planned(shop, EVENTS, partitions=Partitions(last_days=7))

    assert {unit.unit.partition for table in made_plan.tables for item in table.items for unit in item.units} == {
        "20260307"
    }


def test_w14_a_restore_is_done_only_once_every_item_is_and_goes_on_where_it_stopped(shop: House) -> None:
    shop.bigquery.fault(
        match={"job_type": "copy", "destination": f"{BACK}.orders"},
        action={"job_error": {"reason": "accessDenied"}},
        times=1,
    )
    made_plan = planned(shop, f"{SHOP}.sales")
    first = shop.stack.apply_restore(made_plan, run_id="r1")
    states = {item.target.table.table: item.state for item in shop.stack.restore_status(made_plan.restore_id)}
    shop.later()
    second = shop.stack.apply_restore(made_plan, run_id="r2")

    assert not first.ok
    assert (states["orders"], states["events"]) == (ItemState.FAILED, ItemState.DONE)
    assert second.ok
    assert [str(item.target) for item in second.done] == [f"{BACK}.orders"], "what was done is not done again"


def test_w14_nothing_at_all_is_no_success(shop: House) -> None:
    with pytest.raises(Refused, match="nothing was restored"):
        shop.stack.apply_restore(planned(shop, f"{SHOP}.sales.nothing"), run_id="r")


def test_w15_what_failed_has_the_words_of_bigquery(shop: House) -> None:
    words = "Quota exceeded, said BigQuery"
    shop.bigquery.fault(match={"job_type": "copy"}, action={"job_error": {"reason": "invalid", "message": words}})
    made_plan = planned(shop, ORDERS)
    report = shop.stack.apply_restore(made_plan, run_id="r")
    (item,) = shop.stack.restore_status(made_plan.restore_id)

    assert words in report.failed[0].error
    assert words in (item.message or "")


def test_w16_a_partitioned_table_comes_back_with_all_that_describes_it(house: House) -> None:
    house.sql(
        f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day CLUSTER BY n OPTIONS("
        "description='what happened', labels=[('team', 'ops')], require_partition_filter=true)"
    )
    house.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-01', 1), (DATE '2026-01-02', 2)")
    house.back_up()
    restore(house, EVENTS)
    was, back = (house.client_of(SHOP).get_table(name) for name in (EVENTS, f"{BACK}.events"))

    assert back.clustering_fields == was.clustering_fields == ["n"]
    assert (back.description, back.labels) == ("what happened", {"team": "ops"})
    assert back.require_partition_filter
    assert back.time_partitioning.field == "day"


def test_w17_a_rate_limit_is_waited_for_and_costs_one_more_job(house: House) -> None:
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT 1 AS n")
    house.bigquery.fault(match={"job_type": "copy"}, action={"job_error": {"reason": "rateLimitExceeded"}}, times=1)
    report = house.back_up()
    jobs = [job for job in house.client_of(VAULT).list_jobs() if job.job_type == "copy"]

    assert report.ok
    assert len(jobs) == 2


def gone_by_retention(house: House, version_id: str) -> None:
    with_retention(house, RetentionRules(keep_last=1))
    house.stack.apply_retention(plan(house), run_id="r")


def gone_by_hand(house: House, version_id: str) -> None:
    (version,) = house.stack.catalog.versions_by_id([version_id])
    house.client_of(VAULT).delete_table(str(version.backup.table))


def in_another_location(house: House, version_id: str) -> None:
    house.add_dataset(BACK, location="US")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        pytest.param(gone_by_retention, "there is no version", id="deleted by retention"),
        pytest.param(gone_by_hand, "is not there", id="deleted by hand"),
        pytest.param(in_another_location, "US", id="another location"),
    ],
)
def test_w18_what_cannot_be_restored_is_told_by_the_plan(
    shop: House, spoil: Callable[[House, str], None], expected: str
) -> None:
    oldest = shop.versions(ORDERS)[-1].version_id
    spoil(shop, oldest)
    conflicts = planned(shop, versions=(VersionWish(oldest),)).conflicts

    assert expected in " ".join(conflicts)


def test_w22_looking_changes_nothing_and_a_request_needs_no_more_than_a_name(shop: House) -> None:
    loads = load_jobs(shop)
    shop.bigquery.reset_calls()
    shop.plan()
    shop.stack.status()
    planned(shop, ORDERS)
    plan(shop)
    looked = {call for call in shop.bigquery.calls() if not call.endswith((".get", ".list", ".getQueryResults"))}
    loads_of_a_look = load_jobs(shop) - loads
    unit = TableRef.parse(ORDERS).unit()
    asked = shop.stack.plan_units([unit], now=shop.now, by="ada", only_changed=False, salt="once")
    report = shop.stack.apply(asked, run_id="asked")

    assert looked <= {"jobs.query", "jobs.insert"}
    assert loads_of_a_look == set()
    assert made(report) == ["orders"]


def load_jobs(house: House) -> set[str]:
    return {job.job_id for job in house.client_of(VAULT).list_jobs() if job.job_type == "load"}


def test_w24_what_is_not_protected_is_told_by_table_at_once_and_an_emptied_partition_is_judged_alone(
    shop: House,
) -> None:
    shop.sql(f"DELETE FROM `{EVENTS}` WHERE day = DATE '2026-01-01'")
    shop.sql(f"INSERT `{ORDERS}` VALUES (9)")
    denied = {"job_error": {"reason": "accessDenied"}}
    shop.bigquery.fault(match={"job_type": "copy", "source": ORDERS}, action=denied)
    shop.back_up()
    status = {one.table.table: one for one in shop.stack.status()}

    assert (status["orders"].failed, status["orders"].gone) == (1, 0)
    assert (status["events"].failed, status["events"].gone, status["events"].units) == (0, 1, 3)
    assert status["orders"].looked_at is not None


@pytest.mark.parametrize("partitions", [2, 20])
def test_w27_a_partitioned_table_is_made_once_however_many_partitions_it_has(house: House, partitions: int) -> None:
    house.sql(
        f"CREATE TABLE `{EVENTS}` PARTITION BY day AS SELECT DATE_ADD(DATE '2026-01-01', INTERVAL n DAY) AS day"
        f" FROM UNNEST(GENERATE_ARRAY(1, {partitions})) AS n"
    )
    house.back_up()
    house.bigquery.reset_calls()
    restore(house, EVENTS)
    calls = house.bigquery.calls()

    assert calls["tables.insert"] <= 1
    assert calls["tables.get"] <= 3


@pytest.mark.parametrize("project", ["shop-10", "a0b", "example.com:shop-0"])
def test_w28_a_project_with_a_zero_and_a_domain_is_read(project: str) -> None:
    assert TableRef.parse(f"{project}.sales.orders") == TableRef(project, "sales", "orders")


def test_w28_a_dot_is_a_dot() -> None:
    with pytest.raises(Refused):
        TableRef.parse("shopXsalesXorders")


def test_w29_only_what_changed_is_copied_and_nothing_where_nothing_did(shop: House) -> None:
    shop.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-02', 77)")
    changed = shop.back_up()
    unchanged = shop.plan()

    assert made(changed) == ["events$20260102"]
    assert unchanged.is_empty


def test_w30_a_copy_that_holds_other_rows_than_its_job_copied_is_no_version() -> None:
    copy = a_copy()
    outcome = CopyOutcome(copy, "job", NOW, rows=3, size_bytes=30)
    (check,) = check_copy(outcome, BackupTableFacts({None: State(2, 20, NOW)}))

    assert isinstance(check, Wrong)
    assert "3 rows" in check.error


def test_w30_a_restore_is_compared_with_its_version(shop: House) -> None:
    """The drill that the original gave up: what came back has the rows and the columns that it had."""
    restore(shop, f"{SHOP}.sales")

    for name in ("orders", "events"):
        assert shop.rows_of(f"{BACK}.{name}", location="EU") == shop.rows_of(f"{SHOP}.sales.{name}", location="EU")


def as_writer(house: House) -> House:
    """The stack of an account that may do all that backups need, which is not to delete."""
    house.bigquery.grant("writer", "roles/bigquery.dataViewer", on=SHOP)
    house.bigquery.grant("writer", "roles/bigquery.dataViewer", on="acme-climate")
    tables = ("create", "update", "updateData", "get", "getData", "list")
    names = ["bigquery.jobs.create", "bigquery.datasets.create", "bigquery.datasets.get", "bigquery.datasets.update"]
    house.bigquery.grant("writer", *names, *(f"bigquery.tables.{name}" for name in tables), on=VAULT)
    client = house.bigquery.client(VAULT, identity="writer")
    catalog = BigQueryCatalog(client, backup_project=VAULT, location="EU")
    stack = Stack(house.stack.settings, BigQueryWarehouse(client), catalog, clock=lambda: house.now)
    return replace(house, stack=stack)


def test_w31_who_makes_backups_need_not_be_able_to_delete_them(shop: House) -> None:
    writer = as_writer(with_retention(shop, RetentionRules(keep_last=1)))
    writer.sql(f"INSERT `{ORDERS}` VALUES (9)")
    backed_up = writer.back_up()
    before = backups(shop)
    report = writer.stack.apply_retention(plan(writer), run_id="writer")

    assert backed_up.ok
    assert not report.ok
    assert "bigquery.tables.delete" in report.failures[0].error
    assert backups(shop) == before == on_record(shop)
