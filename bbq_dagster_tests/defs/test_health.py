"""The asset checks of a dataset: what fails them, that all take one look, and that runs of backups leave them out."""

from dataclasses import replace

import dagster as dg
import pytest

from bbq_dagster.core.anomaly_policy import AnomalyRules
from bbq_dagster.core.policy import Policy
from bbq_dagster.defs.health import ALIKE, NO_ANOMALY, PROTECTED
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import SALES, World

ORDERS = "acme-shop.sales.orders"


def check(orchestra: Orchestra) -> dict[str, dg.AssetCheckEvaluation]:
    result = (
        orchestra.definitions.get_repository_def().get_job("health").execute_in_process(instance=orchestra.instance)
    )
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def passed(orchestra: Orchestra) -> dict[str, bool]:
    return {name: evaluation.passed for name, evaluation in check(orchestra).items()}


def test_what_is_backed_up_passes_all_checks(orchestra: Orchestra, world: World) -> None:
    world.put(ORDERS)
    world.pass_time(hours=1)
    orchestra.run()

    assert passed(orchestra) == {PROTECTED: True, ALIKE: True, NO_ANOMALY: True}


def test_a_change_that_waits_for_too_long_is_a_warning_that_names_it(orchestra: Orchestra, world: World) -> None:
    world.put(ORDERS)
    world.pass_time(hours=1)
    orchestra.run()
    world.put(ORDERS, rows=12)
    world.pass_time(days=3)

    evaluation = check(orchestra)[PROTECTED]

    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"`{ORDERS}`" in str(evaluation.metadata["which"].value)
    assert "3 days ago" in str(evaluation.metadata["which"].value)
    assert int(str(evaluation.metadata["RPO in seconds"].value)) >= 3 * 86400


def test_a_dataset_that_cannot_be_looked_at_is_not_protected_for_all_we_know(
    orchestra: Orchestra, world: World
) -> None:
    world.put(ORDERS)
    world.deny_listing(SALES)

    assert passed(orchestra) == {PROTECTED: False, ALIKE: True, NO_ANOMALY: True}


def test_what_the_gate_flagged_fails_until_it_is_released(orchestra: Orchestra, world: World) -> None:
    policy = Policy(anomaly=AnomalyRules(smallest_rows=10))
    orchestra.settings = replace(orchestra.settings, defaults=policy)
    world.put(ORDERS, rows=100)
    world.pass_time(hours=1)
    orchestra.run()
    world.put(ORDERS, rows=10)
    world.pass_time(hours=1)
    orchestra.run()

    assert passed(orchestra)[NO_ANOMALY] is False


def test_runs_that_make_backups_take_no_look_for_the_checks(orchestra: Orchestra, world: World) -> None:
    world.put(ORDERS)

    result = orchestra.run()

    assert result.success
    assert result.get_asset_check_evaluations() == []


def test_the_runs_of_the_daily_sensor_plan_no_checks(orchestra: Orchestra, world: World) -> None:
    world.put(ORDERS)

    (request,) = orchestra.tick().run_requests or ()

    assert request.asset_check_keys == []


@pytest.mark.parametrize("datasets", [(), (SALES,)])
def test_there_is_a_job_where_there_is_something_to_check(orchestra: Orchestra, datasets: tuple[object, ...]) -> None:
    orchestra.datasets = datasets  # type: ignore[assignment]

    assert orchestra.definitions.get_repository_def().has_job("health") is bool(datasets)
