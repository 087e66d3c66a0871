"""Verification on the embedded BigQuery: what is proven, and each way in which a copy can be wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bbq_dagster.apply.drill import drill, drill_request, scratch_dataset
from bbq_dagster.apply.pace import Runtime
from bbq_dagster.apply.verification import VerificationReport
from bbq_dagster.core.restore_request import RestoreRequest, Scope, Target
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.verification_record import How, Outcome, Verified
from bbq_dagster.errors import Refused
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House, made
from bbq_dagster_tests.e2e.retaining import DAY, with_retention
from bbq_dagster_tests.e2e.test_every_partitioning import ROWS, TABLES

ORDERS, EVENTS, EVERY = f"{SHOP}.sales.orders", f"{SHOP}.sales.events", f"{SHOP}.sales.every_type"

TYPES = f"""
CREATE TABLE `{EVERY}` AS SELECT
  1 AS n, 'a "b" ` c' AS `odd name`, 1.5 AS f, CAST('NaN' AS FLOAT64) AS nan, CAST('-inf' AS FLOAT64) AS inf,
  NUMERIC '1.25' AS num, b'x\\x00' AS b, TRUE AS t, DATE '2026-01-01' AS d,
  TIMESTAMP '2026-01-01 00:00:00.123456+00' AS ts, DATETIME '2026-01-01 00:00:00' AS dt, TIME '01:02:03' AS tm,
  JSON '{{"a": [1, null]}}' AS j, [1, 2] AS a, STRUCT(1 AS x, ['y'] AS ys) AS s, [STRUCT('z' AS z)] AS r,
  CAST(NULL AS STRING) AS nothing
"""


@pytest.fixture
def shop(house: House) -> House:
    """Two plain tables, and partitions by day with one of NULL; backed up once."""
    house.sql(f"CREATE TABLE `{ORDERS}` AS SELECT n, CAST(n AS STRING) AS name FROM UNNEST(GENERATE_ARRAY(1, 5)) AS n")
    house.sql(f"CREATE TABLE `{EVENTS}` (day DATE, n INT64) PARTITION BY day")
    house.sql(
        f"INSERT `{EVENTS}` VALUES (DATE '2026-01-01', 1), (DATE '2026-01-02', 2), (DATE '2026-01-02', 3), (NULL, 4)"
    )
    house.sql(TYPES)
    assert house.back_up("first").ok
    return house


def verify(house: House, *names: str, size_bytes: int = 2**40) -> VerificationReport:
    plan = house.stack.plan_verification(
        now=house.now, units=[Unit.parse(name) for name in names], size_bytes=size_bytes, with_drills=False
    )
    report = house.stack.apply_verification(plan, run_id="verify")
    house.later()
    return report


def backup_of(house: House, name: str) -> str:
    (version,) = {version.backup.table for version in house.versions(name)}
    return str(version)


def found(report: VerificationReport) -> list[tuple[str, str, str]]:
    return sorted((one.version.unit.key, one.outcome.value, one.how.value) for one in report.found)


def test_a_fresh_copy_is_proven_by_its_source_and_later_by_its_own_fingerprint(shop: House) -> None:
    units = ["events$20260101", "events$20260102", "events$__NULL__", "every_type", "orders"]
    first = verify(shop, ORDERS, EVENTS, EVERY)
    shop.sql(f"UPDATE `{ORDERS}` SET n = 9 WHERE TRUE")
    shop.later(8 * DAY)
    second = verify(shop, ORDERS, EVENTS, EVERY)

    assert found(first) == [(unit, "proven", "source") for unit in units]
    assert found(second) == [(unit, "proven", "fingerprint") for unit in units]
    assert first.bytes_scanned > second.bytes_scanned > 0


def test_a_source_that_was_written_to_since_is_read_as_it_was(shop: House) -> None:
    shop.sql(f"DELETE FROM `{ORDERS}` WHERE n > 1")
    shop.sql(f"INSERT `{EVENTS}` VALUES (DATE '2026-01-01', 7)")

    assert {outcome for _, outcome, _ in found(verify(shop, ORDERS, EVENTS))} == {"proven"}


def test_every_partitioning_is_proven_partition_by_partition(house: House) -> None:
    tables = {f"t{number}": shape for number, (shape, _) in enumerate(TABLES.values())}
    for name, shape in tables.items():
        house.sql(f"CREATE TABLE `{SHOP}.sales.{name}` {shape} AS {ROWS}")
    house.sql(f"CREATE TABLE `{SHOP}.sales.raw` (n INT64) PARTITION BY _PARTITIONDATE")
    client = house.bigquery.client(SHOP)
    for day in ("20260101", "20260102"):
        client.load_table_from_json([{"n": int(day)}], f"{SHOP}.sales.raw${day}").result()
    house.later(timedelta(hours=3))
    copied = made(house.back_up())
    report = verify(house, *(f"{SHOP}.sales.{name}" for name in (*tables, "raw")))

    assert found(report) == [(unit, "proven", "source") for unit in copied]
    assert len(copied) > len(tables) + 30


CORRUPTIONS = [
    pytest.param(
        "UPDATE `{backup}` SET name = 'x' WHERE n = 2", "other values: not those", "column name", id="a changed row"
    ),
    pytest.param(
        "UPDATE `{backup}` SET name = CASE n WHEN 1 THEN '2' WHEN 2 THEN '1' ELSE name END WHERE TRUE",
        "other values: every column has its values",
        "not in the rows",
        id="values that changed places",
    ),
    pytest.param(
        "DELETE FROM `{backup}` WHERE n > 3", "other rows: it has 3 rows, 5 were copied", "", id="a truncated copy"
    ),
    pytest.param("TRUNCATE TABLE `{backup}`", "missing: none of its 5 rows", "", id="an empty copy"),
    pytest.param("DROP TABLE `{backup}`", "missing: the backup table is not there", "", id="a missing copy"),
    pytest.param(
        "CREATE OR REPLACE TABLE `{backup}` AS SELECT n AS other FROM UNNEST(GENERATE_ARRAY(1, 5)) AS n",
        "other table: its columns are not",
        "other",
        id="a copy of another table",
    ),
]


@pytest.mark.parametrize("was_proven", [True, False], ids=["proven before", "never looked at"])
@pytest.mark.parametrize(("damage", "expected", "named"), CORRUPTIONS)
def test_damage_is_found_and_named(shop: House, damage: str, expected: str, named: str, was_proven: bool) -> None:
    if was_proven:
        assert verify(shop, ORDERS).ok
    shop.sql(damage.format(backup=backup_of(shop, ORDERS)), project=VAULT)
    (one,) = verify(shop, ORDERS).found

    assert one.outcome is Outcome.DIFFERS
    assert one.reason.startswith(expected)
    assert named in one.reason


def test_damage_of_one_partition_is_that_of_one_version(shop: House) -> None:
    shop.sql(f"UPDATE `{backup_of(shop, EVENTS)}` SET n = 0 WHERE day = DATE '2026-01-02'", project=VAULT)

    assert found(verify(shop, EVENTS)) == [
        ("events$20260101", "proven", "source"),
        ("events$20260102", "differs", "source"),
        ("events$__NULL__", "proven", "source"),
    ]


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        pytest.param([f"DROP TABLE `{ORDERS}`"], "not there any more", id="dropped"),
        pytest.param([f"DROP TABLE `{ORDERS}`", f"CREATE TABLE `{ORDERS}` (n INT64)"], "another table", id="made anew"),
        pytest.param(
            [f"ALTER TABLE `{ORDERS}` ADD COLUMN more INT64"], "may have changed since", id="other columns now"
        ),
    ],
)
def test_without_its_source_a_version_is_not_proven_but_from_then_on_it_is(
    shop: House, statements: list[str], expected: str
) -> None:
    for statement in statements:
        shop.sql(statement)
    (first,) = verify(shop, ORDERS).found
    (second,) = verify(shop, ORDERS).found

    assert (first.outcome, second.outcome) == (Outcome.SOURCE_GONE, Outcome.PROVEN)
    assert expected in first.reason
    assert second.how is How.FINGERPRINT


@pytest.mark.parametrize("reason", ["accessDenied", "tableUnavailable", "resourcesExceeded", "quotaExceeded"])
def test_a_source_that_cannot_be_read_today_is_not_gone(shop: House, reason: str) -> None:
    shop.bigquery.fault(
        match={"job_type": "query", "sql": "SYSTEM_TIME AS OF"}, action={"job_error": {"reason": reason}}
    )
    (first,) = verify(shop, ORDERS).found
    shop.bigquery.clear_faults()
    (second,) = verify(shop, ORDERS).found

    assert (first.outcome, second.outcome) == (Outcome.COULD_NOT, Outcome.PROVEN)
    assert second.how is How.SOURCE


def test_a_query_that_would_read_more_than_is_left_is_not_run(shop: House) -> None:
    report = verify(shop, ORDERS, size_bytes=0)

    assert report.found == ()
    plan = shop.stack.plan_verification(now=shop.now, units=[Unit.parse(ORDERS)], size_bytes=0)
    assert "the budget of the day has 0 B left" in str(plan)


def test_the_day_has_a_budget_that_a_second_run_does_not_get_again(shop: House) -> None:
    settings = replace(
        shop.stack.settings, verify=replace(shop.stack.settings.verify, share_per_day=1.0, versions_per_day=3)
    )
    shop.stack = replace(shop.stack, settings=settings)
    runs = []
    for _ in range(2):
        plan = shop.stack.plan_verification(now=shop.now, with_drills=False)
        runs.append(len(shop.stack.apply_verification(plan, run_id="verify").found))
        shop.later()
    shop.later(DAY)

    assert runs == [3, 0]
    assert len(shop.stack.plan_verification(now=shop.now, with_drills=False).checks) == 3


def test_a_drill_restores_compares_and_leaves_nothing_behind(shop: House) -> None:
    plan = shop.stack.plan_verification(now=shop.now)
    report = shop.stack.apply_verification(plan, run_id="verify")
    (drilled,) = [one for one in report.found if one.how is How.DRILL]

    assert drilled.outcome is Outcome.PROVEN
    assert drilled.reason.startswith("restored in")
    assert [d.dataset_id for d in shop.bigquery.client(VAULT).list_datasets() if "drill" in d.dataset_id] == []
    assert shop.plan().is_empty


def drill_once(house: House) -> Verified:
    plan = replace(house.stack.plan_verification(now=house.now), checks=())
    (drilled,) = house.stack.apply_verification(plan, run_id="drill").found
    return drilled


def test_what_a_stopped_drill_left_behind_is_in_nobodys_way(shop: House) -> None:
    """A drill that may not delete leaves its table, as one that was stopped does; the next one is good."""
    (planned,) = shop.stack.plan_verification(now=shop.now).drills
    shop.bigquery.fault(
        match={"call": "tables.delete"}, action={"http_error": {"reason": "accessDenied"}}, after=1, times=1
    )
    first = drill_once(shop)
    scratch = scratch_dataset(VAULT, "EU")
    (left,) = shop.bigquery.client(VAULT).list_tables(str(scratch))
    expires = shop.bigquery.client(VAULT).get_table(left.reference).expires
    shop.later()
    found = drill(
        planned,
        None,
        shop.stack.warehouse,
        into=VAULT,
        plan_drill=lambda v: shop.stack.plan_restore(drill_request(v, into=VAULT), now=shop.now, may_write=[VAULT]),
        restore=lambda plan: str(shop.stack.apply_restore(plan, run_id="again", may_write=[VAULT]).failed or ""),
        runtime=Runtime(),
    )

    assert first.outcome is Outcome.COULD_NOT
    assert left.table_id == planned.version_id
    assert expires is not None
    assert expires <= shop.now + DAY
    assert found.outcome is Outcome.PROVEN
    assert shop.stack.warehouse.find_dataset(scratch) is None


def test_a_dataset_of_somebody_else_is_no_scratch_dataset(shop: House) -> None:
    shop.add_dataset(str(scratch_dataset(VAULT, "EU")), location="EU")

    drilled = drill_once(shop)

    assert drilled.outcome is Outcome.COULD_NOT
    assert "keeps its tables for ever, so it is none of ours" in drilled.reason


def test_drills_go_from_table_to_table(shop: House) -> None:
    drilled = []
    for _ in range(3):
        plan = shop.stack.plan_verification(now=shop.now)
        report = shop.stack.apply_verification(plan, run_id="verify")
        drilled += [one.version.unit.table.table for one in report.found if one.how is How.DRILL]
        shop.later(DAY)

    assert sorted(drilled) == ["events", "every_type", "orders"]


def test_a_bad_version_takes_no_place_of_a_good_one_and_is_restored_only_if_asked_for(shop: House) -> None:
    shop.later(DAY)
    shop.sql(f"INSERT `{ORDERS}` VALUES (6, '6')")
    shop.back_up("second")
    bad, good = shop.versions(ORDERS)
    shop.sql(f"UPDATE `{bad.backup}` SET name = '7' WHERE n = 6", project=VAULT)
    verify(shop, ORDERS)
    with_retention(shop, RetentionRules(keep_last=1))
    fates = {fate.version.version_id: fate.is_kept for fate in shop.stack.plan_retention(now=shop.now).fates}
    request = RestoreRequest(what=(Scope.parse(ORDERS),), target=Target(suffix="_then"))
    refused = shop.stack.plan_restore(request, now=shop.now)
    asked = shop.stack.plan_restore(replace(request, even_if_bad=True), now=shop.now)

    assert fates[good.version_id]
    assert "is bad: other values: not those that were copied in column name" in str(refused.conflicts)
    assert asked.conflicts == ()
    with pytest.raises(Refused, match="nothing was restored"):
        shop.stack.apply_restore(refused, run_id="r")
