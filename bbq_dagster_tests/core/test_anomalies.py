"""What is flagged, on both sides of each boundary; that the same loss is one hold; and what holds for every scan."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbq_dagster.core.anomalies import GATE, MOST_UNITS, Anomaly, chosen_anomalies, find_anomalies, is_of_gate
from bbq_dagster.core.anomaly_policy import AnomalyPolicy, AnomalyRules, merge_anomaly_rules
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.inventory import State, TableOptions, UnitState
from bbq_dagster.core.naming import copy_id
from bbq_dagster.core.plan import plan_backup
from bbq_dagster.core.policy import Level, Policy, resolve_policy
from bbq_dagster.core.retention_record import fold_holds, held, hold_of, released
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Absence, Copy
from bbq_dagster.errors import Refused
from bbq_dagster_tests.core import strategies as some
from bbq_dagster_tests.core.strategies import (
    BACKUPS,
    EVENTS,
    HOUR,
    NOW,
    ORDERS,
    PLENTY,
    SALES,
    Scan,
    a_partitioned_table,
    a_record,
    a_scan,
    a_state,
    a_table,
    a_version,
    days,
    planned,
)

POLICY = AnomalyPolicy(rows_lost_share=0.5, bytes_lost_share=0.5, schema_change=True, smallest_rows=100)
MOVED = NOW - HOUR


def anomalies(scan: Scan, policy: AnomalyPolicy = POLICY) -> list[Anomaly]:
    return find_anomalies([(scan.changes(now=NOW), scan.record)], lambda _: policy)


def reasons(scan: Scan, policy: AnomalyPolicy = POLICY) -> list[str]:
    return [anomaly.reason.removesuffix(" than the version of 2026-01-31 02:00") for anomaly in anomalies(scan, policy)]


def orders(now: State, *, rows: int | None = 1000, size_bytes: int | None = 4096) -> Scan:
    """``orders`` in the state ``now``, with a version that has ``rows`` and ``size_bytes``."""
    version = a_version(ORDERS.unit(), rows=rows, size_bytes=size_bytes)
    return a_scan(a_table(state=now), record=a_record(version))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(a_state(500, 4096, MOVED), [], id="half of the rows is not more than half"),
        pytest.param(a_state(499, 4096, MOVED), ["499 rows, 50% fewer"], id="one row more than half"),
        pytest.param(a_state(1000, 2048, MOVED), [], id="half of the bytes is not more than half"),
        pytest.param(a_state(1000, 2047, MOVED), ["2.0 KiB, 50% less"], id="one byte more than half"),
        pytest.param(a_state(1, 4, MOVED), ["1 rows, 100% fewer; 4 B, 100% less"], id="both are named"),
        pytest.param(a_state(2000, 9999, MOVED), [], id="what grew is no loss"),
        pytest.param(a_state(0, 0, MOVED), ["0 rows, 100% fewer; 0 B, 100% less"], id="emptied"),
        pytest.param(a_state(None, None, MOVED), [], id="what nobody says is no reason"),
    ],
)
def test_a_loss_is_flagged_that_is_larger_than_the_share(now: State, expected: list[str]) -> None:
    assert reasons(orders(now)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(100, 1, id="as many rows as the smallest that counts"),
        pytest.param(99, 0, id="one row fewer: too small for shares"),
        pytest.param(None, 0, id="rows that nobody counted"),
    ],
)
def test_versions_that_are_too_small_are_not_compared(rows: int | None, expected: int) -> None:
    assert len(anomalies(orders(a_state(1, 1, MOVED), rows=rows))) == expected


def test_a_share_of_one_turns_a_rule_off() -> None:
    off = replace(POLICY, rows_lost_share=1.0, bytes_lost_share=1.0)

    assert anomalies(orders(a_state(0, 0, MOVED)), off) == []


@pytest.mark.parametrize(
    ("before", "now", "policy", "expected"),
    [
        pytest.param("1", "2", POLICY, ["another schema"], id="another schema"),
        pytest.param("1", "1", POLICY, [], id="the same schema"),
        pytest.param(None, "2", POLICY, [], id="a version of which no schema was noted"),
        pytest.param("1", None, POLICY, [], id="a source without a word of its schema"),
        pytest.param("1", "2", AnomalyPolicy(), [], id="off unless it is asked for"),
    ],
)
def test_another_schema_is_flagged_where_the_policy_says_so(
    before: str | None, now: str | None, policy: AnomalyPolicy, expected: list[str]
) -> None:
    table = replace(a_table(state=a_state(modified_at=MOVED)), schema=now)
    scan = a_scan(table, record=a_record(replace(a_version(ORDERS.unit()), schema=before)))

    assert reasons(scan, policy) == expected


def test_a_table_that_was_never_backed_up_has_nothing_to_lose() -> None:
    assert anomalies(a_scan(a_table(state=a_state(1, 1)))) == []


def test_what_is_known_to_be_empty_is_not_flagged_again() -> None:
    scan = orders(a_state(0, 0, MOVED))
    known = replace(scan, record=replace(scan.record, absent={ORDERS.unit(): Absence.EMPTIED}))

    assert anomalies(known) == []


# Partitions


def emptier(count: int) -> Scan:
    """``events`` with so many partitions that lost nearly all of their 1,000 rows, and one that is as it was."""
    units = days(count + 1)
    seen = [*(UnitState(unit, a_state(1, 4, MOVED)) for unit in units[1:]), UnitState(units[0], a_state(1000))]
    return a_scan(
        a_partitioned_table(state=a_state(modified_at=MOVED)),
        partitions=seen,
        record=a_record(*(a_version(unit, rows=1000) for unit in units)),
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(MOST_UNITS, days(MOST_UNITS + 1)[1:], id="each on its own"),
        pytest.param(MOST_UNITS + 1, [EVENTS.unit()], id="so many that the table is held as a whole"),
    ],
)
def test_partitions_are_flagged_on_their_own_unless_they_are_many(count: int, expected: list[Unit]) -> None:
    assert [anomaly.target for anomaly in anomalies(emptier(count))] == expected


def without(gone: int, of: int, *, expires: float | None = None, rows: dict[int, int | None] | None = None) -> Scan:
    """``events`` without the first ``gone`` of its partitions, which had 100 rows each where ``rows`` says no other."""
    units = days(of)
    table = a_partitioned_table(state=a_state(modified_at=MOVED))
    return a_scan(
        replace(table, options=TableOptions(partition_expiration_days=expires)),
        partitions=[UnitState(unit, a_state(100)) for unit in units[gone:]],
        record=a_record(*(a_version(unit, rows=(rows or {}).get(day, 100)) for day, unit in enumerate(units))),
    )


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        pytest.param(without(5, of=10), [], id="half of the rows is not more than half"),
        pytest.param(without(6, of=10), ["6 partitions gone, with 600 of 1,000 rows"], id="more than half"),
        pytest.param(without(6, of=10, expires=4), [], id="partitions that expire by themselves"),
        pytest.param(without(1, of=1), ["1 partition gone, with 100 of 100 rows"], id="as many as the smallest table"),
        pytest.param(without(2, of=2, rows={0: 99, 1: None}), [], id="an unknown number does not make a table larger"),
        pytest.param(without(6, of=11, rows={0: None}), [], id="an unknown number is no loss"),
    ],
)
def test_a_table_whose_partitions_vanished_is_flagged(scan: Scan, expected: list[str]) -> None:
    assert reasons(scan) == expected


def test_vanished_partitions_flag_their_table_and_the_first_of_them_names_the_loss() -> None:
    scan = without(6, of=10)
    (anomaly,) = anomalies(scan)

    assert (anomaly.target, anomaly.cause) == (
        EVENTS.unit(),
        f"without {scan.record.latest[days(10)[0]].version_id}",
    )


# Holds


def test_the_same_loss_is_one_hold_whoever_sees_it() -> None:
    seen, seen_later = (anomalies(orders(a_state(rows, 4096, MOVED)))[0] for rows in (400, 300))
    events = [
        held(anomaly.hold(since=NOW + timedelta(minutes=minute)), anomaly.target, run_id="run")
        for minute, anomaly in ((9, seen_later), (0, seen))
    ]

    (hold,) = map(hold_of, fold_holds(events))

    assert (hold.owner, hold.target, hold.since) == (GATE, str(ORDERS.unit()), NOW)
    assert hold.reason == "400 rows, 60% fewer than the version of 2026-01-31 02:00"


def test_what_was_released_stays_released_until_there_is_another_loss() -> None:
    (first,) = anomalies(orders(a_state(400, 4096, MOVED)))
    hold = first.hold(since=NOW)
    events = [
        held(hold, first.target, run_id="run"),
        released(hold, first.target, at=NOW + HOUR, run_id="cli"),
        held(first.hold(since=NOW + 2 * HOUR), first.target, run_id="next run"),
    ]
    newer = replace(first, cause="another version")

    assert fold_holds(events) == []
    assert len(fold_holds([*events, held(newer.hold(since=NOW + 3 * HOUR), newer.target, run_id="run")])) == 1


def test_flagged_units_are_copied_and_their_versions_say_so() -> None:
    scan = orders(a_state(4, 4096, MOVED), rows=1000)

    plan = planned(scan)

    (unit,) = plan.units
    assert unit.reason == (
        "modified 2026-02-01 01:15:00 UTC, last backup captured 2026-01-31 02:00:00 UTC;"
        " flagged: 4 rows, 100% fewer than the version of 2026-01-31 02:00"
    )
    assert "flagged:\n  acme-shop.sales.orders: 4 rows, 100% fewer than the version of 2026-01-31 02:00" in str(plan)


def test_a_table_releases_what_is_flagged_of_its_partitions() -> None:
    holds = [anomaly.hold(since=NOW) for anomaly in anomalies(emptier(3))]

    assert chosen_anomalies(holds, [str(EVENTS)]) == holds
    assert chosen_anomalies(holds, [holds[1].hold_id, holds[1].target]) == [holds[1]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([str(ORDERS)], str(ORDERS), id="of a table that is not flagged"),
        pytest.param([str(EVENTS), "nope", "b"], "b, nope", id="two of several are unknown"),
        pytest.param([""], "nothing", id="an empty name"),
        pytest.param([], "nothing", id="no name"),
    ],
)
def test_a_name_of_nothing_flagged_releases_nothing(names: list[str], expected: str) -> None:
    holds = [anomaly.hold(since=NOW) for anomaly in anomalies(emptier(3))]
    with pytest.raises(Refused) as refused:
        chosen_anomalies([*holds, replace(holds[0], target=str(SALES.table("plain")))], names)

    assert str(refused.value) == (
        f"{expected}: not flagged, nothing was released\nHINT: `bbq anomaly list` shows what is"
    )


def test_an_anomaly_has_the_same_hold_in_every_release() -> None:
    assert Anomaly(ORDERS.unit(), "10 rows", "v1").hold(since=NOW).hold_id == "b2a2c28bdbdb"


@pytest.mark.parametrize(
    ("owner", "target", "expected"),
    [
        pytest.param(GATE, str(ORDERS), True, id="a table"),
        pytest.param(GATE, f"{EVENTS}$20240101", True, id="a partition"),
        pytest.param("ada", str(ORDERS), False, id="somebody else's"),
        pytest.param(GATE, f"{EVENTS}*", False, id="a pattern under its name"),
        pytest.param(GATE, "3kq7zr5n2v6w4hxa", False, id="a version under its name"),
    ],
)
def test_the_gate_holds_tables_and_partitions(owner: str, target: str, expected: bool) -> None:
    assert is_of_gate(Hold(target, owner, "why", NOW)) is expected


# Policy


def test_each_key_is_what_the_strongest_level_says() -> None:
    levels = [
        (AnomalyRules(rows_lost_share=0.1, smallest_rows=5), "defaults"),
        (AnomalyRules(smallest_rows=0), "table"),
    ]

    assert merge_anomaly_rules(levels) == (AnomalyPolicy(rows_lost_share=0.1, smallest_rows=0), ("defaults", "table"))


def test_without_a_word_what_is_built_in_holds() -> None:
    assert str(resolve_policy([Level("defaults", Policy())]).anomaly) == (
        "rows_lost_share 0.5, bytes_lost_share 0.5, schema_change False, smallest_rows 1000 (built in)"
    )


# Laws


@settings(deadline=None)
@given(some.recorded_scans(), st.floats(0, 1), st.floats(0, 1))
def test_a_stricter_share_flags_all_that_a_looser_one_does(scan: Scan, one: float, other: float) -> None:
    strict, loose = (AnomalyPolicy(share, 1, smallest_rows=0) for share in sorted((one, other)))
    flagged = {anomaly.target for anomaly in anomalies(scan, loose)}

    assert flagged <= {anomaly.target for anomaly in anomalies(scan, strict)}


@settings(deadline=None)
@given(some.recorded_scans())
def test_the_gate_changes_nothing_of_what_is_copied(scan: Scan) -> None:
    open_gate, strict_gate = (
        [(copy_id(copy), [unit.unit for unit in copy.units]) for copy in _copies(scan, policy)]
        for policy in (
            AnomalyPolicy(1, 1, smallest_rows=10**9),
            AnomalyPolicy(0, 0, schema_change=True, smallest_rows=0),
        )
    )

    assert open_gate == strict_gate


def _copies(scan: Scan, policy: AnomalyPolicy) -> tuple[Copy, ...]:
    datasets = [(scan.changes(now=NOW), scan.record)]
    plan = plan_backup(datasets, into=BACKUPS, now=NOW, quota=PLENTY, anomaly_policy=lambda _: policy)
    return plan.copies
