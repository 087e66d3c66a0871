"""Asset events in batches: what is written, how often, and what Dagster makes of it.

These tests turn red when what is not public in Dagster moves.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.events import Materialized, RunEvents, add_partitions, data_versions, remove_partitions
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster_tests.defs.world import statuses

SALES = DatasetRef("acme-shop", "sales")
KEY, PARTITIONS = asset_key_of(SALES), partitions_of(SALES)
AT = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass
class CountedWrites:
    """An event log that counts how often it is written to, and keeps the names of the partitions."""

    sizes: list[int] = field(default_factory=list)
    partitions: list[str] = field(default_factory=list)

    def store_event_batch(self, events: list[dg.EventLogEntry]) -> None:
        self.sizes.append(len(events))
        self.partitions += [event.dagster_event.partition for event in events]


@dataclass
class CountedInstance:
    event_log_storage: CountedWrites


def events_of(instance: dg.DagsterInstance, *, failed: bool = False) -> RunEvents:
    status = dg.DagsterRunStatus.FAILURE if failed else dg.DagsterRunStatus.SUCCESS
    run = create_run_for_test(instance, job_name="__ASSET_JOB", status=status)
    return RunEvents(instance, run.run_id, "__ASSET_JOB", "backup")


def materialized(*keys: str, data_version: str = "v1") -> list[Materialized]:
    return [Materialized(key, "modified", {"rows": dg.MetadataValue.int(1)}, data_version) for key in keys]


def test_2_000_keys_are_two_writes() -> None:
    log, keys = CountedWrites(), [f"t{n}" for n in range(2000)]

    RunEvents(CountedInstance(log), "run", "job", "step").record_materializations(KEY, materialized(*keys), at=AT)

    assert log.sizes == [1000, 1000]
    assert log.partitions == keys


def test_what_is_written_can_be_read_with_dagsters_own_api(instance: dg.DagsterInstance) -> None:
    events = events_of(instance)
    events.record_materializations(KEY, materialized("orders", "events$20260301"), at=AT)
    records = instance.fetch_materializations(KEY, limit=10, ascending=True).records
    orders = records[0].asset_materialization

    assert [record.partition_key for record in records] == ["orders", "events$20260301"]
    assert (orders.description, orders.metadata["rows"].value) == ("modified", 1)
    assert orders.tags["dagster/data_version"] == "v1"
    assert (records[0].run_id, records[0].timestamp) == (events.run_id, AT.timestamp())
    assert records[0].event_log_entry.step_key == "backup"


def test_the_log_of_a_run_shows_its_events(instance: dg.DagsterInstance) -> None:
    events = events_of(instance)
    events.record_materializations(KEY, materialized("orders"), at=AT)
    entries = instance.all_logs(events.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)

    assert [entry.dagster_event.partition for entry in entries] == ["orders"]


@pytest.mark.parametrize(
    ("run_failed", "expected"),
    [
        pytest.param(True, {"a": "MATERIALIZED", "b": "FAILED"}, id="exactly the failed one, in a failed run"),
        pytest.param(False, {"a": "MATERIALIZED"}, id="none in a run that succeeded"),
    ],
)
def test_failed_partitions_show_as_failed(
    instance: dg.DagsterInstance, run_failed: bool, expected: dict[str, str]
) -> None:
    add_partitions(instance, PARTITIONS, ["a", "b", "c"])
    events = events_of(instance, failed=run_failed)
    events.record_materializations(KEY, materialized("a"), at=AT)
    events.report_failed(KEY, ["b"], at=AT)

    assert statuses(instance, KEY, PARTITIONS) == expected


def test_a_partition_that_is_materialized_later_is_not_failed(instance: dg.DagsterInstance) -> None:
    add_partitions(instance, PARTITIONS, ["a"])
    events_of(instance, failed=True).report_failed(KEY, ["a"], at=AT)
    events_of(instance).record_materializations(KEY, materialized("a"), at=AT)

    assert statuses(instance, KEY, PARTITIONS) == {"a": "MATERIALIZED"}


def test_the_latest_data_version_is_read_for_many_at_once(instance: dg.DagsterInstance) -> None:
    keys = [f"t{n}" for n in range(2500)]
    known = ["t0", "t7", "t999", "t1000", "t1999", "t2000", "t2499"]
    events = events_of(instance)
    events.record_materializations(KEY, materialized(*known), at=AT)
    events.record_materializations(KEY, materialized("t7", data_version="v2"), at=AT)

    assert data_versions(instance, KEY, keys) == {**dict.fromkeys(known, "v1"), "t7": "v2"}
    assert data_versions(instance, KEY, []) == {}


def test_nothing_to_write_is_no_write() -> None:
    log = CountedWrites()

    RunEvents(CountedInstance(log), "run", "job", "step").record_materializations(KEY, [], at=AT)

    assert log.sizes == []


def test_partitions_are_added_once_and_keep_their_order(instance: dg.DagsterInstance) -> None:
    add_partitions(instance, PARTITIONS, ["b", "Größe"])
    add_partitions(instance, PARTITIONS, ["a", "b"])

    assert instance.get_dynamic_partitions(str(PARTITIONS.name)) == ["b", "Größe", "a"]


def test_partitions_are_taken_out_and_no_others(instance: dg.DagsterInstance) -> None:
    keys = [f"t{number}" for number in range(1500)]
    other = partitions_of(DatasetRef("acme-shop", "other"))
    add_partitions(instance, PARTITIONS, ["before", *keys, "Größe$2026"])
    add_partitions(instance, other, keys)

    remove_partitions(instance, PARTITIONS, [*keys, "never there"])

    assert instance.get_dynamic_partitions(str(PARTITIONS.name)) == ["before", "Größe$2026"]
    assert instance.get_dynamic_partitions(str(other.name)) == keys
