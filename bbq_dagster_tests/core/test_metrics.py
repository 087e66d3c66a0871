"""The figures of each project: those that are 0 are there too, and nobody else's are counted."""

from __future__ import annotations

from datetime import timedelta

from bbq_dagster.core.holds import Hold
from bbq_dagster.core.metrics import measured_figures
from bbq_dagster.core.slis import Sli, SliReport, TableRpo, Violation
from bbq_dagster.core.status import TableStatus
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster_tests.core.strategies import EVENTS, HOUR, NOW, ORDERS, SALES

SHOP, LAB = "acme-shop", "acme-lab"


def figures() -> dict[str, dict[tuple[str, ...], float]]:
    status = TableStatus(ORDERS, 1, 10, 100, NOW, NOW - HOUR, gone=0, failed=1, unfinished=0)
    report = SliReport(
        at=NOW,
        violations=(
            Violation(Sli.UNPROTECTED, ORDERS.unit(), "since yesterday"),
            Violation(Sli.UNPROTECTED, EVENTS.unit("20240101"), "since yesterday"),
            Violation(Sli.NOT_LOOKED_AT, DatasetRef(LAB, "d"), "denied"),
            Violation(Sli.NOT_LOOKED_AT, LAB, "denied"),
            Violation(Sli.NOT_LOOKED_AT, "acme-other", "denied"),
        ),
        rpos=(TableRpo(ORDERS, 1, NOW - HOUR, HOUR), TableRpo(EVENTS, 1, None, None)),
    )
    measured = measured_figures(
        report,
        projects=[SHOP, LAB],
        statuses=[status],
        drill_times={SALES: HOUR, DatasetRef(SHOP, "crm"): 2 * HOUR},
        looks={SALES: NOW - timedelta(minutes=1), DatasetRef("acme-other", "d"): NOW},
        flagged=[Hold(str(ORDERS), "anomaly gate", "10 rows", NOW)],
    )
    return {figure.name: dict(figure.samples) for figure in measured}


def test_each_figure_is_of_its_project() -> None:
    shown = figures()

    assert shown["bbq_measured_timestamp_seconds"] == {(): NOW.timestamp()}
    assert shown["bbq_last_look_timestamp_seconds"] == {(SHOP,): NOW.timestamp() - 60, (LAB,): 0}
    assert shown["bbq_last_version_timestamp_seconds"] == {(SHOP,): NOW.timestamp(), (LAB,): 0}
    assert shown["bbq_rpo_seconds"] == {(SHOP,): 3600, (LAB,): 0}
    assert shown["bbq_rto_seconds"] == {(SHOP,): 7200, (LAB,): 0}
    assert shown["bbq_flagged"] == {(SHOP,): 1, (LAB,): 0}
    assert shown["bbq_units_failed"] == {(SHOP,): 1, (LAB,): 0}
    assert shown["bbq_bytes"] == {(SHOP,): 100, (LAB,): 0}


def test_every_indicator_of_every_project_has_a_figure() -> None:
    violations = figures()["bbq_violations"]

    assert len(violations) == 2 * len(Sli)
    assert {key: number for key, number in violations.items() if number} == {
        (SHOP, "unprotected"): 2,
        (LAB, "not looked at"): 2,
    }
