"""The job ``retention``: what it shows, what it deletes, and how it fails."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from bbq_dagster.core.policy import Policy
from bbq_dagster.core.retention_policy import RetentionRules
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.defs.retention import retention_daily, retire_partitions
from bbq_dagster.errors import Permanent
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import World

ORDERS = TableRef.parse("acme-shop.sales.orders")


@pytest.fixture
def shop(orchestra: Orchestra, world: World) -> Orchestra:
    """Three versions of orders; one is kept, and one run may delete all others."""
    for rows in (10, 20, 30):
        world.put(str(ORDERS), rows=rows)
        world.pass_time(hours=1)
        assert orchestra.run().success
    return configured(orchestra, RetentionRules(keep_last=1))


def configured(orchestra: Orchestra, rules: RetentionRules, *, share: float = 1.0) -> Orchestra:
    limits = replace(orchestra.settings.limits, retention_share_of_versions=share, retention_share_of_bytes=share)
    orchestra.settings = replace(orchestra.settings, defaults=Policy(retention=rules), limits=limits)
    return orchestra


def retain(orchestra: Orchestra, **config: object) -> dg.ExecuteInProcessResult:
    return orchestra.definitions.get_job_def("retention").execute_in_process(
        run_config={"ops": {"delete_expired_versions": {"config": config}}},
        instance=orchestra.instance,
        raise_on_error=False,
    )


def shown(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def versions(world: World) -> int:
    return len(world.catalog.versions([ORDERS]))


def test_by_default_it_shows_the_plan_and_deletes_nothing(shop: Orchestra, world: World) -> None:
    metadata = shown(retain(shop))

    assert versions(world) == 3
    assert metadata["expired"] == 2
    assert metadata["bytes expired"] == 300
    assert metadata["kept per reason"] == {"last good version": 1, "last": 1}
    assert "beyond keep_last 1" in str(metadata["biggest expired"])
    assert "deleted" not in metadata


def test_it_deletes_what_the_plan_lets_go(shop: Orchestra, world: World) -> None:
    metadata = shown(retain(shop, dry_run=False))

    assert versions(world) == 1
    assert (metadata["deleted"], metadata["bytes freed"], metadata["not deleted"]) == (2, 300, "none")


def test_a_scope_leaves_the_others_alone(shop: Orchestra, world: World) -> None:
    assert retain(shop, dry_run=False, datasets=["acme-shop.crm"]).success
    assert versions(world) == 3
    assert retain(shop, dry_run=False, datasets=["acme-shop.sales"]).success
    assert versions(world) == 1


def test_too_much_needs_the_digest_that_a_dry_run_shows(shop: Orchestra, world: World, failure_of) -> None:
    configured(shop, RetentionRules(keep_last=1), share=0.1)
    digest = shown(retain(shop))["digest"]
    refused = retain(shop, dry_run=False)

    assert not refused.success
    assert "nothing was deleted" in failure_of(refused)
    assert versions(world) == 3
    assert retain(shop, dry_run=False, approved_digest=digest).success
    assert versions(world) == 1


def test_what_could_not_be_deleted_fails_the_run_by_name(shop: Orchestra, world: World, failure_of) -> None:
    world.warehouse.calls.fail_next("delete_table", Permanent("Access Denied"))
    result = retain(shop, dry_run=False)

    assert not result.success
    assert "Access Denied" in failure_of(result)
    assert versions(world) == 2


def test_a_dataset_that_was_not_listed_lately_is_left_alone_and_named(shop: Orchestra, world: World) -> None:
    world.pass_time(days=3)
    metadata = shown(retain(shop, dry_run=False))

    assert versions(world) == 3
    assert "acme-shop.sales" in str(metadata["left alone"])


def test_the_partitions_of_what_is_gone_from_source_and_backups_are_retired(orchestra: Orchestra, world: World) -> None:
    """One run deletes the last versions, the next one, which reads that they are gone, takes the partitions out."""
    gone, there = "acme-shop.sales.events$20260301", "acme-shop.sales.events$20260302"
    world.put(gone, there)
    orchestra.run()
    world.warehouse.delete_partition(Unit.parse(gone))
    world.pass_time(hours=1)
    orchestra.run()
    world.pass_time(hours=1)
    configured(orchestra, RetentionRules(keep_last=1, grace_after_source_deleted=timedelta(0)))
    retired = [shown(retain(orchestra, dry_run=False))["partitions retired"] for _ in range(3)]

    assert retired == [0, 1, 0]
    assert orchestra.instance.get_dynamic_partitions("acme-shop.sales") == ["events$20260302"]


def test_partitions_that_dagster_does_not_have_are_not_counted_as_retired(orchestra: Orchestra) -> None:
    units = [TableRef.parse("acme-shop.sales.events").unit(f"2026030{day}") for day in range(1, 4)]
    orchestra.instance.add_dynamic_partitions("acme-shop.sales", [unit.key for unit in units])
    unknown = TableRef.parse("acme-shop.crm.leads").unit()

    assert retire_partitions(orchestra.instance, [unknown, *units[:2]]) == 2
    assert orchestra.instance.get_dynamic_partitions("acme-shop.sales") == [units[2].key]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"datasets": ["sales"]}, "not a dataset", id="no dataset"),
        pytest.param({"projects": ["nope"]}, "nope is not a source", id="no source"),
    ],
)
def test_a_scope_that_is_none_fails(shop: Orchestra, failure_of, config: dict[str, object], expected: str) -> None:
    assert expected in failure_of(retain(shop, **config))


def test_the_schedule_is_off_until_it_is_turned_on_and_then_deletes(orchestra: Orchestra) -> None:
    assert retention_daily.default_status is dg.DefaultScheduleStatus.STOPPED
    with dg.build_schedule_context(orchestra.instance) as context:
        (request,) = retention_daily.evaluate_tick(context).run_requests

    assert request.run_config == {"ops": {"delete_expired_versions": {"config": {"dry_run": False}}}}
