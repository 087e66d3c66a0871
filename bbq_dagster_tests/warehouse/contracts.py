"""What every ``Warehouse`` and every ``Catalog`` must keep, BigQuery's and the ones in memory alike.

A test module derives from a contract and gives it the fixtures ``warehouse`` and ``scene``, or ``catalog``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Protocol

import pytest

from bbq_dagster.core.catalog import (
    Event,
    EventKind,
    copy_failed,
    copy_planned,
    dataset_scanned,
    fold_record,
    table_settled,
    version_found,
    version_of,
)
from bbq_dagster.core.drift import Repetition
from bbq_dagster.core.fingerprint import Fingerprint, Question
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.inventory import Dataset, SourceTable, State, TableOptions
from bbq_dagster.core.naming import SCRATCH_PREFIX, copy_id, job_id
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_record import restore_planned, restored
from bbq_dagster.core.restore_request import Target
from bbq_dagster.core.retention_record import RetentionFold, held, hold_of, released
from bbq_dagster.core.rto import RestoreTime, Way
from bbq_dagster.core.tables import NULL_PARTITION, DatasetRef, TableRef, Unit
from bbq_dagster.core.verification import Spent
from bbq_dagster.core.verification_record import How, Outcome, Verified, fold_proofs, verified
from bbq_dagster.core.versions import Absence, DatasetRecord, Writing
from bbq_dagster.errors import Permanent, Refused
from bbq_dagster.warehouse.port import BackupTableFacts, Catalog, CopyStatus, JobRef, Warehouse
from bbq_dagster_tests.builders import (
    BACKUPS,
    EVENTS,
    LOCATION,
    NOW,
    ORDERS,
    SALES,
    a_copy,
    a_planned_unit,
    a_table,
    a_version,
)
from bbq_dagster_tests.core.restoring import Story, a_request
from bbq_dagster_tests.warehouse.stories import (
    backed_up,
    backed_up_by,
    days,
    deleted,
    deletion_begun,
    failed,
    found_empty,
    found_gone,
    of_restore,
    random_events,
    scanned,
)

LAB = DatasetRef("acme-lab", "sales")


class Scene(Protocol):
    """Makes what a warehouse is then asked about. Rows differ; what is in them does not matter."""

    def create_dataset(
        self,
        ref: DatasetRef,
        *,
        location: str = LOCATION,
        labels: Mapping[str, str] | None = None,
        expires: bool = False,
    ) -> None:
        """``expires``: with a default expiration of its tables."""

    def create_table(
        self, ref: TableRef, *, rows: int = 0, labels: Mapping[str, str] | None = None, expires: bool = False
    ) -> None:
        """A table of two columns that is not partitioned."""

    def create_partitioned_table(self, ref: TableRef, partitions: Mapping[str, int], *, expires: bool = False) -> None:
        """A table of two columns, partitioned by day on a column ``day``; partition id to number of rows."""

    def create_view(self, ref: TableRef, *, of: TableRef) -> None: ...

    def delete_table(self, ref: TableRef) -> None: ...


class WarehouseContract:
    """Derive, and give the fixtures ``warehouse`` and ``scene``: two sides of the same empty BigQuery."""

    @pytest.fixture
    def sales(self, scene: Scene) -> Dataset:
        scene.create_dataset(SALES)
        return Dataset(SALES, LOCATION)

    @pytest.fixture
    def backups(self, warehouse: Warehouse) -> DatasetRef:
        warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="backups of acme-shop.sales")
        return BACKUPS

    def test_a_project_without_datasets_has_none(self, warehouse: Warehouse) -> None:
        assert warehouse.list_datasets("acme-shop") == []

    def test_a_dataset_is_found_by_its_name_or_is_not_there(self, warehouse: Warehouse, scene: Scene) -> None:
        scene.create_dataset(SALES, labels={"team": "shop"})

        assert warehouse.find_dataset(SALES) == Dataset(SALES, LOCATION, {"team": "shop"})
        assert warehouse.find_dataset(LAB) is None

    def test_datasets_are_listed_with_location_and_labels_hidden_ones_included(
        self, warehouse: Warehouse, scene: Scene
    ) -> None:
        scene.create_dataset(SALES, labels={"team": "sales"})
        scene.create_dataset(DatasetRef("acme-shop", "_staging"), location="europe-west2")

        listed = sorted(warehouse.list_datasets("acme-shop"), key=lambda dataset: dataset.ref)

        assert listed == [
            Dataset(DatasetRef("acme-shop", "_staging"), "europe-west2"),
            Dataset(SALES, LOCATION, {"team": "sales"}),
        ]

    def test_the_state_of_a_table_has_its_rows_and_bytes_and_last_write(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS, rows=3)

        state = warehouse.table_states("acme-shop", LOCATION)[ORDERS]

        assert state.rows == 3
        assert state.size_bytes is not None
        assert state.size_bytes > 0
        assert state.modified_at is not None
        assert state.modified_at.utcoffset() == timedelta(0)

    def test_a_deleted_table_has_no_state(self, warehouse: Warehouse, scene: Scene, sales: Dataset) -> None:
        scene.create_table(ORDERS, rows=3)
        scene.create_table(SALES.table("kept"), rows=1)
        scene.delete_table(ORDERS)

        assert list(warehouse.table_states("acme-shop", LOCATION)) == [SALES.table("kept")]

    def test_tables_of_another_location_have_no_state_here(self, warehouse: Warehouse, scene: Scene) -> None:
        scene.create_dataset(SALES, location="europe-west2")
        scene.create_table(ORDERS, rows=3)

        assert warehouse.table_states("acme-shop", LOCATION) == {}

    def test_an_empty_dataset_has_no_tables(self, warehouse: Warehouse, sales: Dataset) -> None:
        assert warehouse.list_tables(sales, {}) == []

    def test_tables_are_listed_with_state_columns_and_labels(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS, rows=3, labels={"bbq": "skip", "team": "sales"})
        states = warehouse.table_states("acme-shop", LOCATION)

        (orders,) = warehouse.list_tables(sales, states)

        assert orders == SourceTable(
            ref=ORDERS,
            kind="BASE TABLE",
            created_at=orders.created_at,
            columns=2,
            state=states[ORDERS],
            labels={"bbq": "skip", "team": "sales"},
            schema=orders.schema,
        )
        assert orders.created_at.utcoffset() == timedelta(0)

    def test_some_tables_are_listed_as_they_are_among_all(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS, rows=3, labels={"team": "sales"})
        scene.create_table(SALES.table("returns"), rows=1)
        scene.create_partitioned_table(EVENTS, {"20240131": 2})
        states, asked = warehouse.table_states("acme-shop", LOCATION), [ORDERS, EVENTS, SALES.table("gone")]

        some = warehouse.table_states("acme-shop", LOCATION, asked)

        assert some == {ref: states[ref] for ref in (ORDERS, EVENTS)}
        every = {table.ref: table for table in warehouse.list_tables(sales, states)}
        assert {table.ref: table for table in warehouse.list_tables(sales, some, asked)} == {
            ref: every[ref] for ref in (ORDERS, EVENTS)
        }

    def test_a_table_without_a_known_state_is_listed_all_the_same(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS, rows=3)

        (orders,) = warehouse.list_tables(sales, {})

        assert orders.state == State()

    def test_a_partitioned_table_is_listed_with_its_partitioning(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2})

        (events,) = warehouse.list_tables(sales, {})

        assert (events.partition_column, events.partition_type) == ("day", "DATE")
        assert events.columns == 2

    def test_a_view_is_listed_as_a_view(self, warehouse: Warehouse, scene: Scene, sales: Dataset) -> None:
        scene.create_table(ORDERS, rows=3)
        scene.create_view(SALES.table("recent"), of=ORDERS)

        listed = {table.ref.table: table.kind for table in warehouse.list_tables(sales, {})}

        assert listed == {"orders": "BASE TABLE", "recent": "VIEW"}

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param("orders-2024", id="dashes"),
            pytest.param("orders of today", id="spaces"),
            pytest.param("Größe_訂單", id="other scripts"),
            pytest.param("o" * 1024, id="1,024 bytes"),
        ],
    )
    def test_names_come_back_as_they_are(
        self, name: str, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        source, backup = SALES.table(name), backups.table(name)
        scene.create_table(source, rows=1)
        warehouse.start_copy(a_copy(source.unit(), destination=backup.unit()), job_of(backup.unit()))

        assert list(warehouse.table_states("acme-shop", LOCATION)) == [source]
        assert [table.ref for table in warehouse.list_tables(sales, {})] == [source]
        assert self._end(warehouse, job_of(backup.unit())).rows == 1
        assert list(warehouse.backup_tables(backups, LOCATION, [name])) == [name]

    def test_listing_a_dataset_that_is_gone_is_an_error(self, warehouse: Warehouse) -> None:
        with pytest.raises(Permanent) as error:
            warehouse.list_tables(Dataset(SALES, LOCATION), {})

        assert error.value.reason == "notFound"

    def test_partitions_are_listed_with_their_rows(self, warehouse: Warehouse, scene: Scene, sales: Dataset) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2, "20240201": 5, NULL_PARTITION: 1})
        scene.create_partitioned_table(SALES.table("others"), {"20240131": 9})

        listed = {unit.unit: unit.state for unit in warehouse.list_partitions(sales, [EVENTS])}

        assert {unit.partition: state.rows for unit, state in listed.items()} == {
            "20240131": 2,
            "20240201": 5,
            NULL_PARTITION: 1,
        }
        assert {unit.table for unit in listed} == {EVENTS}
        assert all(state.size_bytes and state.modified_at for state in listed.values())

    def test_no_tables_have_no_partitions(self, warehouse: Warehouse, sales: Dataset) -> None:
        assert list(warehouse.list_partitions(sales, [])) == []

    def test_a_backup_dataset_is_created_once(self, warehouse: Warehouse) -> None:
        for _ in range(2):
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="backups of acme-shop.sales")

        (dataset,) = warehouse.list_datasets("acme-backup")

        assert (dataset.ref, dataset.location) == (BACKUPS, LOCATION)

    def test_a_backup_dataset_in_another_location_is_refused(self, warehouse: Warehouse, scene: Scene) -> None:
        scene.create_dataset(BACKUPS, location="US")

        with pytest.raises(Refused, match="is in US"):
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

    def test_a_backup_dataset_that_expires_is_refused(self, warehouse: Warehouse, scene: Scene) -> None:
        scene.create_dataset(BACKUPS, expires=True)

        with pytest.raises(Refused, match="default expiration"):
            warehouse.ensure_dataset(BACKUPS, location=LOCATION, description="")

    def test_a_backup_table_is_created_empty_and_partitioned_like_its_source(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2}, expires=True)
        backup = backups.table("events-1")
        for _ in range(2):
            warehouse.create_table_like(EVENTS, backup, description="events")

        (created,) = warehouse.list_tables(Dataset(backups, LOCATION), {})

        assert (created.ref, created.partition_column, created.partition_type) == (backup, "day", "DATE")
        assert warehouse.backup_tables(backups, LOCATION, ["events-1"]) == {"events-1": BackupTableFacts()}

    def test_a_table_of_another_kind_in_the_place_of_a_backup_table_is_refused(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2})
        scene.create_table(backups.table("events-1"))

        with pytest.raises(Refused, match="partitioned"):
            warehouse.create_table_like(EVENTS, backups.table("events-1"), description="events")

    def test_a_dataset_to_restore_into_is_created_once(self, warehouse: Warehouse, scene: Scene) -> None:
        for _ in range(2):
            warehouse.ensure_restore_dataset(LAB, location=LOCATION)

        assert warehouse.list_datasets("acme-lab") == [Dataset(LAB, LOCATION)]

    def test_a_dataset_to_restore_into_that_is_elsewhere_is_refused(self, warehouse: Warehouse, scene: Scene) -> None:
        scene.create_dataset(LAB, location="US")

        with pytest.raises(Refused, match="in US"):
            warehouse.ensure_restore_dataset(LAB, location=LOCATION)

    def test_the_shape_of_a_table_has_its_columns_and_its_partitioning(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_table(ORDERS)
        scene.create_partitioned_table(EVENTS, {"20240131": 2})

        shapes = warehouse.table_shapes(SALES, LOCATION, ["orders", "events", "missing"])

        assert sorted(shapes) == ["events", "orders"]
        assert (shapes["events"].kind, shapes["events"].partition_type) == ("BASE TABLE", "DATE")
        assert len(shapes["orders"].columns) == len(shapes["events"].columns) == 2
        assert not shapes["orders"].is_partitioned

    @pytest.mark.parametrize(
        ("writing", "expected"),
        [
            pytest.param(Writing.INTO_EMPTY, {"20240131": 7, "20240201": 1}, id="refused"),
            pytest.param(Writing.REPLACE, {"20240131": 2, "20240201": 1}, id="replaced"),
            pytest.param(Writing.APPEND, {"20240131": 9, "20240201": 1}, id="appended"),
        ],
    )
    def test_a_restored_partition_does_to_the_rows_that_are_there_what_it_is_told(
        self,
        warehouse: Warehouse,
        scene: Scene,
        backups: DatasetRef,
        writing: Writing,
        expected: dict[str, int],
    ) -> None:
        scene.create_dataset(LAB)
        backup, target = backups.table("events-1"), LAB.table("events")
        scene.create_partitioned_table(backup, {"20240131": 2})
        scene.create_partitioned_table(target, {"20240131": 7, "20240201": 1})
        copy = a_copy(
            backup.unit("20240131"), destination=target.unit("20240131"), restore_id="restore_1", writing=writing
        )

        warehouse.start_copy(copy, job_of(copy.destination))
        self._end(warehouse, job_of(copy.destination))

        held = warehouse.backup_tables(LAB, LOCATION, ["events"])["events"]
        assert {partition: state.rows for partition, state in held.partitions.items()} == expected

    def test_a_restore_creates_no_table_by_a_copy(
        self, warehouse: Warehouse, scene: Scene, backups: DatasetRef
    ) -> None:
        scene.create_dataset(LAB)
        scene.create_table(backups.table("orders-1"), rows=3)
        copy = a_copy(backups.table("orders-1").unit(), destination=LAB.table("orders").unit(), restore_id="restore_1")

        warehouse.start_copy(copy, job_of(copy.destination))
        status = self._end(warehouse, job_of(copy.destination))

        assert isinstance(status.error, Permanent)
        assert warehouse.table_shapes(LAB, LOCATION, ["orders"]) == {}

    def test_a_restore_makes_a_table_that_is_new_by_a_copy_and_describes_it(
        self, warehouse: Warehouse, scene: Scene, backups: DatasetRef
    ) -> None:
        scene.create_dataset(LAB)
        scene.create_table(backups.table("orders-1"), rows=3)
        source, target = backups.table("orders-1").unit(), LAB.table("orders").unit()
        copy = a_copy(source, destination=target, restore_id="restore_1", writing=Writing.INTO_NEW)

        warehouse.start_copy(copy, job_of(target))
        status = self._end(warehouse, job_of(target))
        for _ in range(2):
            warehouse.describe_table(target.table, TableOptions("what was sold", labels=(("team", "sales"),)))

        (made,) = warehouse.list_tables(Dataset(LAB, LOCATION), {})
        assert status.error is None
        assert made.labels == {"team": "sales"}

    def test_what_is_to_be_new_and_has_rows_is_not_touched(
        self, warehouse: Warehouse, scene: Scene, backups: DatasetRef
    ) -> None:
        scene.create_dataset(LAB)
        scene.create_table(backups.table("orders-1"), rows=3)
        scene.create_table(LAB.table("orders"), rows=7)
        source, target = backups.table("orders-1").unit(), LAB.table("orders").unit()

        warehouse.start_copy(
            a_copy(source, destination=target, restore_id="restore_1", writing=Writing.INTO_NEW), job_of(target)
        )
        status = self._end(warehouse, job_of(target))

        assert isinstance(status.error, Permanent)
        assert warehouse.backup_tables(LAB, LOCATION, ["orders"])["orders"].partitions[None].rows == 7

    def test_a_copy_has_the_rows_and_bytes_of_its_source_and_says_when_it_started(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_table(ORDERS, rows=3)
        source = warehouse.table_states("acme-shop", LOCATION)[ORDERS]
        backup = backups.table("orders-1")

        warehouse.start_copy(a_copy(ORDERS.unit(), destination=backup.unit()), job_of(backup.unit()))
        status = self._end(warehouse, job_of(backup.unit()))

        assert (status.rows, status.size_bytes, status.error) == (3, source.size_bytes, None)
        assert status.started_at is not None
        assert source.modified_at is not None
        assert status.started_at >= source.modified_at
        held = warehouse.backup_tables(backups, LOCATION, ["orders-1"])["orders-1"]
        assert (held.partitions[None].rows, held.expires) == (3, False)

    def test_one_partition_is_copied_into_the_same_partition(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2, "20240201": 5})
        backup = backups.table("events-1")
        warehouse.create_table_like(EVENTS, backup, description="events")
        copy = a_copy(EVENTS.unit("20240201"), destination=backup.unit("20240201"))

        warehouse.start_copy(copy, job_of(copy.destination))
        status = self._end(warehouse, job_of(copy.destination))

        assert (status.rows, status.error) == (5, None)
        held = warehouse.backup_tables(backups, LOCATION, ["events-1"])["events-1"]
        assert {partition: state.rows for partition, state in held.partitions.items()} == {"20240201": 5}

    def test_a_copy_of_a_whole_table_has_all_its_partitions(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2, NULL_PARTITION: 1})
        copy = a_copy(EVENTS.unit(), destination=backups.table("events-1").unit())

        warehouse.start_copy(copy, job_of(copy.destination))
        self._end(warehouse, job_of(copy.destination))

        held = warehouse.backup_tables(backups, LOCATION, ["events-1"])["events-1"]
        assert {partition: state.rows for partition, state in held.partitions.items()} == {
            "20240131": 2,
            NULL_PARTITION: 1,
        }

    def test_the_same_job_started_twice_copies_once(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_table(ORDERS, rows=3)
        backup = backups.table("orders-1")
        job = job_of(backup.unit())

        warehouse.start_copy(a_copy(ORDERS.unit(), destination=backup.unit()), job)
        first = self._end(warehouse, job)
        warehouse.start_copy(a_copy(ORDERS.unit(), destination=backup.unit()), job)

        assert self._end(warehouse, job) == first
        assert first.error is None

    def test_a_destination_with_data_is_never_overwritten(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_table(ORDERS, rows=3)
        scene.create_table(backups.table("orders-1"), rows=7)
        copy = a_copy(ORDERS.unit(), destination=backups.table("orders-1").unit())

        warehouse.start_copy(copy, job_of(copy.destination))
        status = self._end(warehouse, job_of(copy.destination))

        assert isinstance(status.error, Permanent)
        assert status.error.reason == "duplicate"
        held = warehouse.backup_tables(backups, LOCATION, ["orders-1"])["orders-1"]
        assert held.partitions[None].rows == 7

    def test_copying_a_table_that_is_gone_fails_for_good(
        self, warehouse: Warehouse, sales: Dataset, backups: DatasetRef
    ) -> None:
        copy = a_copy(ORDERS.unit(), destination=backups.table("orders-1").unit())

        warehouse.start_copy(copy, job_of(copy.destination))
        error = self._end(warehouse, job_of(copy.destination)).error

        assert isinstance(error, Permanent)
        assert error.reason == "notFound"
        assert "acme-shop.sales.orders" in str(error)

    @pytest.mark.parametrize("number", [pytest.param(3, id="looked up"), pytest.param(40, id="listed")])
    def test_many_jobs_are_told_apart_and_unknown_ones_left_out(
        self, number: int, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        jobs = {}
        for rows in range(number):
            source, backup = SALES.table(f"t{rows}"), backups.table(f"t{rows}")
            scene.create_table(source, rows=rows % 3)
            warehouse.start_copy(a_copy(source.unit(), destination=backup.unit()), job_of(backup.unit()))
            jobs[job_of(backup.unit())] = rows % 3

        for job in jobs:
            self._end(warehouse, job)
        statuses = warehouse.copy_statuses([*jobs, JobRef("bbq_unknown_1", LOCATION)])

        assert {job: status.rows for job, status in statuses.items()} == jobs

    def test_no_jobs_have_no_statuses(self, warehouse: Warehouse) -> None:
        assert warehouse.copy_statuses([]) == {}

    def test_a_backup_table_that_is_not_there_is_not_in_the_answer(
        self, warehouse: Warehouse, scene: Scene, backups: DatasetRef
    ) -> None:
        scene.create_table(backups.table("orders-1"), rows=1)

        assert list(warehouse.backup_tables(backups, LOCATION, ["orders-1", "orders-2"])) == ["orders-1"]

    def test_expirations_are_seen_and_removed(self, warehouse: Warehouse, scene: Scene, backups: DatasetRef) -> None:
        scene.create_table(backups.table("orders-1"), rows=1, expires=True)
        scene.create_partitioned_table(backups.table("events-1"), {"20240131": 2}, expires=True)
        names = ["orders-1", "events-1"]
        before = warehouse.backup_tables(backups, LOCATION, names)

        for name in names:
            warehouse.remove_expirations(backups.table(name))
        after = warehouse.backup_tables(backups, LOCATION, names)

        assert {name: facts.expires for name, facts in before.items()} == {"orders-1": True, "events-1": True}
        assert after == {name: replace(facts, expires=False) for name, facts in before.items()}

    def test_a_table_is_deleted_once_and_twice(self, warehouse: Warehouse, scene: Scene, backups: DatasetRef) -> None:
        scene.create_table(backups.table("orders-1"), rows=1)
        scene.create_table(backups.table("orders-2"), rows=1)

        warehouse.delete_table(backups.table("orders-1"))
        warehouse.delete_table(backups.table("orders-1"))
        warehouse.delete_table(backups.table("none"))

        assert list(warehouse.backup_tables(backups, LOCATION, ["orders-1", "orders-2"])) == ["orders-2"]

    def test_a_partition_is_deleted_once_and_twice(
        self, warehouse: Warehouse, scene: Scene, backups: DatasetRef
    ) -> None:
        table = backups.table("events-1")
        scene.create_partitioned_table(table, {"20240131": 2, "20240201": 3})

        warehouse.delete_partition(table.unit("20240131"))
        warehouse.delete_partition(table.unit("20240131"))
        warehouse.delete_partition(backups.table("none").unit("20240131"))

        (facts,) = warehouse.backup_tables(backups, LOCATION, ["events-1"]).values()
        assert {name: state.rows for name, state in facts.partitions.items() if state.rows} == {"20240201": 3}

    def _end(self, warehouse: Warehouse, job: JobRef) -> CopyStatus:
        for _ in range(200):
            status = warehouse.copy_statuses([job])[job]
            if status.is_done:
                return status
            sleep(0.02)
        raise AssertionError(f"{job} does not end")

    def test_a_copy_has_the_fingerprint_of_its_source_and_other_rows_have_another(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset, backups: DatasetRef
    ) -> None:
        scene.create_table(ORDERS, rows=3)
        other = SALES.table("others")
        scene.create_table(other, rows=4)
        copy = a_copy(ORDERS.unit(), destination=backups.table("orders-1").unit())
        warehouse.start_copy(copy, job_of(copy.destination))
        self._end(warehouse, job_of(copy.destination))
        of_source, of_copy, of_other = (
            fingerprints_of(warehouse, table, None)[None] for table in (ORDERS, copy.destination.table, other)
        )

        assert of_copy == of_source
        assert (of_source.rows, of_other.rows) == (3, 4)
        assert of_other.whole != of_source.whole

    def test_a_fingerprint_is_of_the_partitions_that_were_asked_for(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scene.create_partitioned_table(EVENTS, {"20240131": 2, "20240201": 5, NULL_PARTITION: 1})
        found = fingerprints_of(warehouse, EVENTS, "20240131", NULL_PARTITION, "20240301")

        assert {name: one.rows for name, one in found.items()} == {"20240131": 2, NULL_PARTITION: 1}

    def test_a_table_that_is_not_there_has_no_layout(self, warehouse: Warehouse, sales: Dataset) -> None:
        assert warehouse.table_layout(ORDERS) is None

    def test_a_scratch_dataset_goes_when_it_is_empty_and_not_before(
        self, warehouse: Warehouse, scene: Scene, sales: Dataset
    ) -> None:
        scratch = DatasetRef("acme-backup", "bbq_drill__eu")
        scene.create_table(ORDERS, rows=1)
        for _ in range(2):
            warehouse.ensure_scratch_dataset(scratch, location=LOCATION, kept_for=timedelta(days=1))
        warehouse.create_table_like(ORDERS, scratch.table("t"), description="", options=TableOptions())
        warehouse.delete_dataset_if_empty(scratch)
        kept = warehouse.find_dataset(scratch)
        warehouse.delete_table(scratch.table("t"))
        for _ in range(2):
            warehouse.delete_dataset_if_empty(scratch)

        assert kept is not None
        assert warehouse.find_dataset(scratch) is None


def fingerprints_of(warehouse: Warehouse, table: TableRef, *partitions: str | None) -> Mapping[str | None, Fingerprint]:
    layout = warehouse.table_layout(table)
    assert layout is not None
    question = Question(table, LOCATION, layout, partitions)
    found, scanned = warehouse.fingerprints(question, at_most=warehouse.scan_bytes(question))
    assert scanned > 0
    return found


class CatalogContract:
    """Derive, and give the fixture ``catalog``: prepared and empty."""

    def test_nothing_on_record_is_an_empty_record(self, catalog: Catalog) -> None:
        assert catalog.records([SALES]) == {SALES: DatasetRecord()}

    def test_nobody_asked_for_is_no_record(self, catalog: Catalog) -> None:
        assert catalog.records([]) == {}

    def test_preparing_twice_changes_nothing(self, catalog: Catalog) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])
        catalog.prepare()

        assert len(catalog.versions([ORDERS])) == 1

    def test_a_version_comes_back_as_it_was_written(self, catalog: Catalog) -> None:
        event = backed_up(EVENTS.unit("20240131"), at=NOW)
        catalog.append([event])

        assert catalog.records([SALES])[SALES] == fold_record([event])
        assert catalog.versions([EVENTS]) == list(fold_record([event]).latest.values())

    def test_what_is_unknown_comes_back_as_unknown(self, catalog: Catalog) -> None:
        event = replace(backed_up(ORDERS.unit(), at=NOW), row_count=None, source_modified_at=None, source_bytes=None)
        catalog.append([event])

        (version,) = catalog.versions([ORDERS])

        assert (version.rows, version.source.modified_at, version.source.size_bytes) == (None, None, None)

    def test_text_comes_back_as_it_was_written(self, catalog: Catalog) -> None:
        event = replace(backed_up(ORDERS.unit(), at=NOW), reason='Größe 訂單 "quoted" \\ `back`\nand a line')
        catalog.append([event])

        assert catalog.versions([ORDERS])[0].reason == event.reason

    def test_appending_nothing_is_nothing(self, catalog: Catalog) -> None:
        catalog.append([])

        assert catalog.records([SALES])[SALES] == DatasetRecord()

    def test_the_same_batch_twice_is_stored_once(self, catalog: Catalog) -> None:
        event = failed(ORDERS.unit(), at=NOW)
        catalog.append([event])
        catalog.append([event])

        assert catalog.records([SALES])[SALES].failures == {ORDERS.unit(): 1}

    def test_an_event_in_two_batches_counts_once(self, catalog: Catalog) -> None:
        event = failed(ORDERS.unit(), at=NOW)
        catalog.append([event])
        catalog.append([event, failed(EVENTS.unit("20240131"), at=NOW)])

        assert catalog.records([SALES])[SALES].failures == {ORDERS.unit(): 1, EVENTS.unit("20240131"): 1}

    def test_the_newest_version_is_the_latest(self, catalog: Catalog) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW + days(1)), backed_up(ORDERS.unit(), at=NOW)])

        assert catalog.records([SALES])[SALES].latest[ORDERS.unit()].captured_at == NOW + days(1)

    def test_an_emptied_unit_is_absent_and_keeps_its_version(self, catalog: Catalog) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW), found_empty(ORDERS.unit(), at=NOW + days(1))])

        record = catalog.records([SALES])[SALES]

        assert record.absent == {ORDERS.unit(): Absence.EMPTIED}
        assert record.latest[ORDERS.unit()].captured_at == NOW

    def test_a_version_after_an_absence_ends_it(self, catalog: Catalog) -> None:
        catalog.append(
            [
                backed_up(ORDERS.unit(), at=NOW),
                found_empty(ORDERS.unit(), at=NOW + days(1)),
                backed_up(ORDERS.unit(), at=NOW + days(2)),
            ]
        )

        assert catalog.records([SALES])[SALES].absent == {}

    def test_the_last_absence_is_the_one_that_holds(self, catalog: Catalog) -> None:
        catalog.append(
            [
                backed_up(ORDERS.unit(), at=NOW),
                found_gone(ORDERS.unit(), at=NOW + days(2)),
                found_empty(ORDERS.unit(), at=NOW + days(1)),
            ]
        )

        assert catalog.records([SALES])[SALES].absent == {ORDERS.unit(): Absence.VANISHED}

    def test_failures_are_counted_since_the_latest_version(self, catalog: Catalog) -> None:
        catalog.append(
            [
                failed(ORDERS.unit(), at=NOW),
                backed_up(ORDERS.unit(), at=NOW + days(1)),
                failed(ORDERS.unit(), at=NOW + days(2)),
                failed(ORDERS.unit(), at=NOW + days(3)),
            ]
        )

        assert catalog.records([SALES])[SALES].failures == {ORDERS.unit(): 2}

    def test_a_planned_copy_without_an_end_is_unfinished(self, catalog: Catalog) -> None:
        copy = a_copy(EVENTS.unit("20240131"), destination=BACKUPS.table("events-1").unit("20240131"))
        catalog.append(copy_planned(copy, at=NOW, run_id="run-1"))

        assert catalog.records([SALES])[SALES].unfinished == (copy,)

    def test_a_copy_of_many_units_is_unfinished_for_those_without_an_end(self, catalog: Catalog) -> None:
        units = tuple(a_planned_unit(EVENTS.unit(partition)) for partition in ("20240131", "20240201"))
        copy = a_copy(EVENTS.unit(), destination=BACKUPS.table("events-1").unit(), units=units)
        catalog.append(copy_planned(copy, at=NOW, run_id="run-1"))
        catalog.append([backed_up_by(copy, units[0], at=NOW + timedelta(minutes=1))])

        (unfinished,) = catalog.records([SALES])[SALES].unfinished

        assert unfinished == replace(copy, units=units[1:])

    @pytest.mark.parametrize("end", ["version", "failure"])
    def test_a_copy_with_an_end_is_not_unfinished(self, end: str, catalog: Catalog) -> None:
        copy = a_copy(ORDERS.unit(), destination=BACKUPS.table("orders-1").unit())
        later = NOW + timedelta(minutes=1)
        ends = {
            "version": backed_up_by(copy, copy.units[0], at=later),
            "failure": copy_failed(copy, copy.units[0], job_id="j", error="no", at=later, run_id="run-1"),
        }
        catalog.append([*copy_planned(copy, at=NOW, run_id="run-1"), ends[end]])

        assert catalog.records([SALES])[SALES].unfinished == ()

    def test_the_newest_settlement_of_a_table_holds(self, catalog: Catalog) -> None:
        table = a_table(EVENTS, partitioned=True, created_at=NOW)
        newer = replace(table, state=State(4, 40, NOW + days(1)))
        catalog.append(
            [
                table_settled(newer, at=NOW + days(2), run_id="run-2"),
                table_settled(table, at=NOW + days(1), run_id="run-1"),
            ]
        )

        assert catalog.records([SALES])[SALES].settled == {EVENTS: (NOW, newer.state)}

    def test_datasets_are_kept_apart(self, catalog: Catalog) -> None:
        stock = DatasetRef("acme-shop", "stock")
        twin = DatasetRef("acme-test", "sales")
        for dataset in (SALES, stock, twin):
            catalog.append([backed_up(dataset.table("orders").unit(), at=NOW)])

        records = catalog.records([SALES, DatasetRef("acme-test", "stock"), twin])

        assert {dataset: [str(unit) for unit in record.latest] for dataset, record in records.items()} == {
            SALES: ["acme-shop.sales.orders"],
            DatasetRef("acme-test", "stock"): [],
            twin: ["acme-test.sales.orders"],
        }

    def test_all_that_is_on_record_can_be_asked_for(self, catalog: Catalog) -> None:
        stock = DatasetRef("acme-shop", "stock")
        for dataset in (SALES, stock):
            catalog.append([backed_up(dataset.table("orders").unit(), at=NOW)])

        assert catalog.records(None) == catalog.records([SALES, stock])

    def test_a_scan_counts_the_partitions_of_settled_tables_and_reads_all_others(self, catalog: Catalog) -> None:
        moving = SALES.table("moving")
        days_of_events = [EVENTS.unit(day) for day in ("20240131", "20240201", "20240202")]
        catalog.append(
            [
                *(backed_up(unit, at=NOW) for unit in (*days_of_events, moving.unit("20240131"), ORDERS.unit())),
                backed_up(days_of_events[0], at=NOW + days(1)),
                found_gone(days_of_events[1], at=NOW + days(1)),
                table_settled(a_table(EVENTS, partitioned=True), at=NOW + days(2), run_id="run-1"),
            ]
        )
        record = catalog.scan_records("acme-shop", only=None, besides=[])[SALES]

        assert set(record.latest) == {ORDERS.unit(), moving.unit("20240131")}
        assert record.unread == {EVENTS: 3}
        assert record.absent == {days_of_events[1]: Absence.VANISHED}
        assert record == catalog.records([SALES])[SALES].without_settled_units()

    def test_the_units_of_settled_tables_can_be_read_for_some_of_them(self, catalog: Catalog) -> None:
        catalog.append(
            [
                *(backed_up(unit, at=NOW) for unit in (EVENTS.unit("20240131"), ORDERS.unit())),
                table_settled(a_table(EVENTS, partitioned=True), at=NOW + days(1), run_id="run-1"),
            ]
        )
        record = catalog.scan_records("acme-shop", only=[SALES], besides=[])[SALES]
        more = catalog.table_records([EVENTS])[SALES]

        assert set(more.latest) == {EVENTS.unit("20240131")}
        assert record.with_units_of(more) == catalog.records([SALES])[SALES]

    def test_a_scan_reads_every_dataset_on_record_of_its_project_unless_some_are_named(self, catalog: Catalog) -> None:
        stock = DatasetRef("acme-shop", "stock")
        for dataset in (SALES, stock, DatasetRef("acme-test", "sales")):
            catalog.append([backed_up(dataset.table("orders").unit(), at=NOW)])

        assert set(catalog.scan_records("acme-shop", only=None, besides=[])) == {SALES, stock}
        assert set(catalog.scan_records("acme-shop", only=None, besides=[stock])) == {SALES}
        assert set(catalog.scan_records("acme-shop", only=[stock], besides=[])) == {stock}
        assert catalog.scan_records("acme-shop", only=[], besides=[]) == {}

    def test_of_tables_without_a_record_there_is_none(self, catalog: Catalog) -> None:
        assert catalog.table_records([EVENTS]) == {}

    def test_history_is_newest_first_and_counts_an_event_once(self, catalog: Catalog) -> None:
        early, late = failed(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        catalog.append([early])
        catalog.append([early, late])

        assert catalog.history([SALES], limit=10) == [late, early]
        assert catalog.history(None, limit=1) == [late]
        assert catalog.history([DatasetRef("acme-shop", "stock")], limit=10) == []

    @pytest.mark.parametrize("seed", range(3))
    def test_a_record_is_what_all_the_events_say(self, seed: int, catalog: Catalog) -> None:
        events = random_events(random.Random(seed), number=150)
        for start in range(0, len(events), 50):
            catalog.append(events[start : start + 50])
        expected = fold_record(events)

        record = catalog.records([SALES])[SALES]

        assert record.latest == expected.latest
        assert {unit: record.absent[unit] for unit in record.absent if unit in record.latest} == {
            unit: expected.absent[unit] for unit in expected.absent if unit in expected.latest
        }
        assert record.failures == expected.failures
        assert record.settled == expected.settled
        assert set(record.unfinished) == set(expected.unfinished)

    def test_verifications_are_the_newest_of_each_outcome_and_say_what_a_day_spent(self, catalog: Catalog) -> None:
        version = version_of(backed_up(ORDERS.unit(), at=NOW))
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])
        words = [(Outcome.PROVEN, How.SOURCE), (Outcome.DIFFERS, How.FINGERPRINT), (Outcome.PROVEN, How.DRILL)]
        catalog.append(
            [
                verified(Verified(version, outcome, how, "why", None, 10, 7), at=NOW + days(day), run_id="r")
                for day, (outcome, how) in enumerate(words, start=1)
            ]
        )
        proofs = fold_proofs(catalog.verifications([SALES]))

        assert [live.version_id for live in catalog.live_versions([SALES])] == [version.version_id]
        assert proofs[version.version_id].last_proven_at == NOW + days(3)
        assert catalog.verifications([DatasetRef("acme-shop", "stock")]) == []
        assert catalog.verified_since(NOW + days(2)) == Spent(versions=1, size_bytes=20, drills=1)
        assert catalog.verified_since(NOW + days(4)) == Spent()

    def test_a_verification_that_could_not_look_took_bytes_and_no_turn(self, catalog: Catalog) -> None:
        version = version_of(backed_up(ORDERS.unit(), at=NOW))
        tried = [Verified(version, Outcome.COULD_NOT, how, "why", None, 10) for how in (How.SOURCE, How.DRILL)]
        catalog.append([verified(one, at=NOW, run_id="r") for one in tried])

        assert catalog.verified_since(NOW) == Spent(versions=0, size_bytes=20, drills=0)

    def test_verifications_are_those_of_versions_that_are_there(self, catalog: Catalog) -> None:
        gone, there = backed_up(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        catalog.append([gone, there, deleted(gone, at=NOW + days(2))])
        found = [Verified(version_of(created), Outcome.PROVEN, How.SOURCE, "why") for created in (gone, there)]
        catalog.append([verified(one, at=NOW + days(1), run_id="r") for one in found])

        assert [event.version_id for event in catalog.verifications(None)] == [there.version_id]
        assert [event.version_id for event in catalog.verifications([SALES])] == [there.version_id]

    def test_one_project_is_read_without_the_others(self, catalog: Catalog) -> None:
        other = DatasetRef("acme-web", "sales").table("orders").unit()
        created = [backed_up(unit, at=NOW) for unit in (ORDERS.unit(), other)]
        catalog.append(created)
        found = [Verified(version_of(event), Outcome.PROVEN, How.DRILL, "why", None, 0, 7) for event in created]
        catalog.append([verified(one, at=NOW + days(1), run_id="r") for one in found])

        assert set(catalog.records(None, projects=["acme-web"])) == {other.table.in_dataset}
        assert [event.unit for event in catalog.verifications(None, projects=["acme-web"])] == [other]
        assert [time.table for time in catalog.restore_times(None, projects=["acme-web"])] == [other.table]
        assert set(catalog.records(None, projects=[])) == set()

    def test_of_each_table_the_last_and_the_longest_drill_are_told(self, catalog: Catalog) -> None:
        version = version_of(backed_up(ORDERS.unit(), at=NOW))
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])
        drills = [(Outcome.PROVEN, 9_000), (Outcome.PROVEN, 3_500), (Outcome.DIFFERS, 60_000)]
        catalog.append(
            [
                verified(Verified(version, outcome, How.DRILL, "why", None, 0, took), at=NOW + days(day), run_id="r")
                for day, (outcome, took) in enumerate(drills, start=1)
            ]
        )
        seconds = timedelta(seconds=1)

        assert catalog.restore_times([SALES]) == [
            RestoreTime(ORDERS, Way.DRILL, NOW + days(2), took=3.5 * seconds, longest=9 * seconds)
        ]
        assert catalog.restore_times([DatasetRef("acme-shop", "stock")]) == []

    def test_a_restore_takes_from_its_plan_to_the_last_place_of_a_table(self, catalog: Catalog) -> None:
        minute, first, second = timedelta(minutes=1), EVENTS.unit("20240131"), EVENTS.unit("20240201")
        catalog.append([of_restore("long", False, unit, at=NOW) for unit in (first, second)])
        catalog.append([of_restore("long", True, first, at=NOW + 30 * minute)])
        half = catalog.restore_times(None)
        catalog.append([of_restore("long", True, second, at=NOW + 20 * minute)])
        catalog.append([of_restore("short", False, first, at=NOW + days(1))])
        catalog.append([of_restore("short", True, first, at=NOW + days(1) + 2 * minute)])

        assert half == []
        assert catalog.restore_times(None) == [
            RestoreTime(EVENTS, Way.RESTORE, NOW + days(1) + 2 * minute, took=2 * minute, longest=30 * minute)
        ]

    def test_the_restore_of_a_drill_is_no_restore_of_its_own(self, catalog: Catalog) -> None:
        scratch = f"acme-lab.{SCRATCH_PREFIX}eu"
        catalog.append([of_restore("drill", done, ORDERS.unit(), at=NOW, into=scratch) for done in (False, True)])

        assert catalog.restore_times(None) == []

    def test_a_bad_version_is_bad_for_retention_until_it_is_proven_again(self, catalog: Catalog) -> None:
        version = version_of(backed_up(ORDERS.unit(), at=NOW))
        catalog.append([backed_up(ORDERS.unit(), at=NOW)])
        bad = []
        for day, outcome in enumerate([Outcome.DIFFERS, Outcome.COULD_NOT, Outcome.PROVEN], start=1):
            found = Verified(version, outcome, How.FINGERPRINT, "why")
            catalog.append([verified(found, at=NOW + days(day), run_id="r")])
            (record,) = catalog.retention_records([SALES])
            bad.append([stored.is_bad for stored in record.versions])

        assert bad == [[True], [True], [False]]

    def test_copy_jobs_are_counted_once_each_since_a_moment(self, catalog: Catalog) -> None:
        units = tuple(a_planned_unit(EVENTS.unit(partition)) for partition in ("20240131", "20240201"))
        of_two_units = a_copy(EVENTS.unit(), destination=BACKUPS.table("events-1").unit(), units=units)
        of_one_unit = a_copy(ORDERS.unit(), destination=BACKUPS.table("orders-1").unit())
        too_early = a_copy(ORDERS.unit(), destination=BACKUPS.table("orders-0").unit())
        catalog.append(copy_planned(too_early, at=NOW - timedelta(microseconds=1), run_id="run-1"))
        catalog.append(
            [*copy_planned(of_two_units, at=NOW, run_id="r"), *copy_planned(of_one_unit, at=NOW, run_id="r")]
        )

        assert catalog.copy_jobs_since(NOW) == 2
        assert catalog.copy_jobs_since(NOW, besides=[copy_id(of_one_unit), "bbq_another"]) == 1

    def test_copy_jobs_that_were_tried_again_are_counted_each(self, catalog: Catalog) -> None:
        copy = a_copy(ORDERS.unit())
        third = job_id(copy, tried=2)
        (unit,) = copy.units
        catalog.append(copy_planned(copy, at=NOW - timedelta(days=1), run_id="r"))
        catalog.append([copy_failed(copy, unit, job_id=third, error="backend error", at=NOW, run_id="r")])

        assert catalog.copy_jobs_since(NOW) == 3

    def test_versions_are_those_of_the_tables_newest_first(self, catalog: Catalog) -> None:
        catalog.append(
            [
                backed_up(ORDERS.unit(), at=NOW),
                backed_up(EVENTS.unit("20240131"), at=NOW + days(1)),
                backed_up(ORDERS.unit(), at=NOW + days(2)),
                backed_up(SALES.table("others").unit(), at=NOW),
            ]
        )

        found = [(version.unit.key, version.captured_at) for version in catalog.versions([ORDERS, EVENTS])]

        assert found == [
            ("orders", NOW + days(2)),
            ("events$20240131", NOW + days(1)),
            ("orders", NOW),
        ]

    def test_a_deleted_version_is_none(self, catalog: Catalog) -> None:
        first, second = backed_up(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        catalog.append([first, second, deleted(second, at=NOW + days(2))])

        assert [version.captured_at for version in catalog.versions([ORDERS])] == [NOW]
        assert catalog.records([SALES])[SALES].latest[ORDERS.unit()].captured_at == NOW

    def test_a_version_that_was_brought_back_is_one_again(self, catalog: Catalog) -> None:
        first = backed_up(ORDERS.unit(), at=NOW)
        catalog.append([first, deleted(first, at=NOW + days(1))])
        catalog.append([replace(first, recorded_at=NOW + days(2))])

        assert [version.captured_at for version in catalog.versions([ORDERS])] == [NOW]
        assert [version.captured_at for version in catalog.retention_records([SALES])[0].versions] == [NOW]

    def test_retention_reads_versions_absences_scans_and_what_was_begun(self, catalog: Catalog) -> None:
        old, new = backed_up(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        gone, back = backed_up(EVENTS.unit("20240101"), at=NOW), backed_up(EVENTS.unit("20240102"), at=NOW)
        copy = a_copy(SALES.table("open").unit())
        catalog.append(
            [
                *(old, new, gone, back),
                deletion_begun(old, at=NOW + days(2)),
                found_gone(gone.unit, at=NOW + days(2)),
                *(found_gone(back.unit, at=NOW + days(2)), backed_up(back.unit, at=NOW + days(3))),
                *copy_planned(copy, at=NOW, run_id="run-1"),
                *(scanned(at=NOW + days(2)), scanned(at=NOW + days(3))),
            ]
        )

        (record,) = catalog.retention_records([SALES])

        assert record.dataset == SALES
        assert sorted(version.captured_at for version in record.versions) == [NOW] * 3 + [NOW + days(1), NOW + days(3)]
        assert record.gone_since == {gone.unit: NOW + days(2)}
        assert record.scanned_at == NOW + days(3)
        assert record.busy == {copy.destination.table}
        assert record.begun == {old.version_id}
        assert record.departed == frozenset()

    def test_retention_knows_units_that_nothing_is_left_of(self, catalog: Catalog) -> None:
        departed, held_by_backup = backed_up(ORDERS.unit(), at=NOW), backed_up(EVENTS.unit("20240101"), at=NOW)
        catalog.append(
            [departed, held_by_backup, *(found_gone(e.unit, at=NOW + days(1)) for e in (departed, held_by_backup))]
        )
        catalog.append([deleted(departed, at=NOW + days(2))])

        assert catalog.retention_records([SALES])[0].departed == {ORDERS.unit()}

    def test_retention_of_all_datasets_is_that_of_each(self, catalog: Catalog) -> None:
        catalog.append([backed_up(ORDERS.unit(), at=NOW), backed_up(DatasetRef("a-b", "c").table("t").unit(), at=NOW)])

        assert {record.dataset for record in catalog.retention_records(None)} == {SALES, DatasetRef("a-b", "c")}
        assert [len(record.versions) for record in catalog.retention_records([SALES])] == [1]
        assert catalog.retention_records([DatasetRef("a-b", "none")])[0].versions == ()

    @pytest.mark.parametrize("seed", range(2))
    def test_a_retention_record_is_what_all_the_events_say(self, seed: int, catalog: Catalog) -> None:
        events = random_events(random.Random(seed), number=150)
        catalog.append(events)
        fold = RetentionFold(SALES)
        for event in events:
            fold.take(event)
        expected = fold.record()

        (record,) = catalog.retention_records([SALES])

        assert set(record.versions) == set(expected.versions)
        assert replace(record, versions=()) == replace(expected, versions=())

    def test_holds_are_those_that_were_not_released(self, catalog: Catalog) -> None:
        kept = Hold("acme-shop.sales.orders", "ada", "audit", NOW, NOW + days(9))
        given_up = Hold("acme-shop.*.*", "bob", "migration", NOW + days(1))
        catalog.append([held(kept, ORDERS.unit(), run_id="r"), held(given_up, SALES, run_id="r")])
        catalog.append([released(given_up, SALES, at=NOW + days(2), run_id="r")])

        assert [hold_of(event) for event in catalog.holds()] == [kept]

    def test_a_hold_that_was_placed_twice_counts_from_the_first_time(self, catalog: Catalog) -> None:
        first = Hold("acme-shop.sales.orders", "gate", "9 rows", NOW, given_id="cause")
        again = replace(first, since=NOW + days(1), reason="8 rows")
        catalog.append([held(again, ORDERS.unit(), run_id="r"), held(first, ORDERS.unit(), run_id="r")])

        assert [hold_of(event) for event in catalog.holds()] == [first]

    def test_the_last_look_at_each_dataset_is_known(self, catalog: Catalog) -> None:
        crm = DatasetRef("acme-shop", "crm")
        looks = [(SALES, NOW), (SALES, NOW + days(1)), (crm, NOW - days(1))]
        catalog.append([dataset_scanned(ref, location=LOCATION, tables=1, at=at, run_id="r") for ref, at in looks])

        assert catalog.last_scans() == {SALES: NOW + days(1), crm: NOW - days(1)}

    def test_the_time_of_the_last_drill_that_succeeded_is_known(self, catalog: Catalog) -> None:
        def drill(day: int, seconds: int, outcome: Outcome = Outcome.PROVEN, how: How = How.DRILL) -> Event:
            found = Verified(a_version(), outcome, how, "words", milliseconds=1000 * seconds)
            return verified(found, at=NOW + days(day), run_id="r")

        catalog.append([drill(2, 7), drill(1, 5), drill(3, 9, outcome=Outcome.DIFFERS), drill(4, 11, how=How.SOURCE)])

        assert catalog.drill_times() == {SALES: timedelta(seconds=7)}

    def test_the_story_of_a_version_is_told_oldest_first(self, catalog: Catalog) -> None:
        created = backed_up(ORDERS.unit(), at=NOW)
        end = deleted(created, at=NOW + days(1))
        catalog.append([end, backed_up(ORDERS.unit(), at=NOW + days(2)), created])

        assert catalog.events_of_versions([created.version_id or "", "none"]) == [created, end]

    def test_deletions_are_those_since_an_instant_oldest_first(self, catalog: Catalog) -> None:
        first, second = backed_up(ORDERS.unit(), at=NOW), backed_up(EVENTS.unit("20240101"), at=NOW)
        early, late = deleted(first, at=NOW + days(1)), deleted(second, at=NOW + days(2))
        catalog.append([first, second, late, early])

        assert catalog.deletions_since(NOW) == [early, late]
        assert catalog.deletions_since(NOW + days(2)) == [late]

    def test_a_prepared_catalog_is_there(self, catalog: Catalog) -> None:
        catalog.prepare()
        catalog.prepare_anew()

        assert catalog.is_there()

    def test_a_day_has_one_snapshot_and_it_has_what_was_there_first(self, catalog: Catalog) -> None:
        catalog.prepare()
        noon = a_noon()
        first = catalog.take_snapshot(noon)
        second, next_day = catalog.take_snapshot(noon + timedelta(hours=1)), catalog.take_snapshot(noon + days(1))

        assert first == second != next_day
        assert catalog.snapshots() == [next_day, first]

    def test_a_catalog_without_snapshots_has_none(self, catalog: Catalog) -> None:
        assert catalog.snapshots() == []

    def test_reading_a_snapshot_back_loses_and_doubles_nothing(self, catalog: Catalog) -> None:
        before, after = backed_up(ORDERS.unit(), at=NOW), backed_up(ORDERS.unit(), at=NOW + days(1))
        catalog.append([before])
        snapshot = catalog.take_snapshot(a_noon())
        catalog.append([after])
        catalog.read_back(snapshot)

        assert catalog.history(None, limit=9) == [after, before]
        assert catalog.repetitions() == []

    def test_a_version_that_is_recorded_twice_in_the_same_way_is_no_contradiction(self, catalog: Catalog) -> None:
        created = backed_up(ORDERS.unit(), at=NOW)
        catalog.append([created, replace(created, recorded_at=NOW + days(1))])

        assert catalog.repetitions() == []

    def test_records_that_contradict_each_other_are_told(self, catalog: Catalog) -> None:
        created = backed_up(EVENTS.unit("20240101"), at=NOW)
        catalog.append([created, replace(created, row_count=99), backed_up(ORDERS.unit(), at=NOW)])
        (repeated,) = catalog.repetitions()

        assert repeated == Repetition(created.unit, created.version_id or "", rows=2, tellings=2, facts=2)

    def test_a_version_that_is_there_again_may_differ_from_what_was_known(self, catalog: Catalog) -> None:
        created = backed_up(ORDERS.unit(), at=NOW)
        again = replace(created, recorded_at=NOW + days(2), captured_at=NOW + days(1))
        catalog.append([created, deleted(created, at=NOW + days(1)), again])

        assert catalog.repetitions() == []

    def test_failed_copies_are_known_by_their_places(self, catalog: Catalog) -> None:
        table, partition = failed(ORDERS.unit(), at=NOW), failed(EVENTS.unit("20240101"), at=NOW)
        catalog.append([table, partition, backed_up(ORDERS.unit(), at=NOW + days(1))])

        assert catalog.failed_places() == {
            BACKUPS.table(table.backup_table or "").unit(),
            BACKUPS.table(partition.backup_table or "").unit("20240101"),
        }

    def test_a_version_that_was_found_comes_back_with_what_is_known_of_it(self, catalog: Catalog) -> None:
        at = NOW + days(1)
        found = a_version(job_id="", source=State(modified_at=NOW), source_created_at=None, recorded_at=at, run_id="r")
        catalog.append([version_found(found, at=at, run_id="r")])

        assert catalog.versions([ORDERS]) == [found]

    def test_the_record_says_when_the_dataset_was_last_listed(self, catalog: Catalog) -> None:
        catalog.append([scanned(at=NOW + days(1)), scanned(at=NOW), backed_up(ORDERS.unit(), at=NOW + days(2))])

        assert catalog.records([SALES])[SALES].scanned_at == NOW + days(1)

    def test_history_is_of_the_kinds_that_are_asked_for(self, catalog: Catalog) -> None:
        created = backed_up(ORDERS.unit(), at=NOW)
        end, scan = deleted(created, at=NOW + days(1)), scanned(at=NOW + days(2))
        catalog.append([created, end, scan])

        assert catalog.history(None, limit=9) == [scan, end, created]
        assert catalog.history([SALES], limit=9, kinds=[EventKind.VERSION_DELETED]) == [end]
        assert catalog.history(None, limit=1, kinds=[EventKind.VERSION_DELETED, EventKind.VERSION_CREATED]) == [end]

    def test_versions_are_found_by_their_ids(self, catalog: Catalog) -> None:
        event = backed_up(ORDERS.unit(), at=NOW)
        catalog.append([event, backed_up(ORDERS.unit(), at=NOW + days(1))])

        (found,) = catalog.versions_by_id([event.version_id or "", "none"])

        assert (found.unit, found.captured_at) == (ORDERS.unit(), NOW)

    def test_the_past_of_a_dataset_is_every_version_and_every_absence(self, catalog: Catalog) -> None:
        catalog.append(
            [
                *(backed_up(ORDERS.unit(), at=NOW + days(number)) for number in range(3)),
                found_gone(ORDERS.unit(), at=NOW + days(4)),
                found_empty(EVENTS.unit("20240131"), at=NOW + days(5)),
                backed_up(DatasetRef("acme-shop", "crm").table("t").unit(), at=NOW),
            ]
        )

        past = catalog.pasts([SALES])[SALES]

        assert sorted(version.captured_at for version in past.versions) == [NOW + days(number) for number in range(3)]
        assert sorted((gone.at, gone.absence) for gone in past.absences) == [
            (NOW + days(4), Absence.VANISHED),
            (NOW + days(5), Absence.EMPTIED),
        ]

    def test_the_options_of_a_source_come_back_with_its_version(self, catalog: Catalog) -> None:
        options = TableOptions('What "was" sold\nand when', None, (("team", "sales"),), True, 30.5)
        copy = a_copy(ORDERS.unit(), options=options)
        catalog.append([backed_up_by(copy, copy.units[0], at=NOW)])

        assert catalog.versions([ORDERS])[0].options == options

    def test_a_restore_is_told_oldest_first_and_apart_from_others(self, catalog: Catalog) -> None:
        plan = a_restore()
        begun, other = (restore_planned(one, at=NOW, run_id="r") for one in (plan, replace(plan, seen="else")))
        done = restored(plan, plan.tables[0], plan.items[0], job_id="j", attempt=1, at=NOW + days(1), run_id="r")
        catalog.append([done, *other, *begun])

        assert catalog.restore_events(plan.restore_id) == [*begun, done]
        assert catalog.records([SALES])[SALES] == DatasetRecord()

    def test_no_tables_have_no_versions(self, catalog: Catalog) -> None:
        assert catalog.versions([]) == []


def a_noon() -> datetime:
    """Today's: what is to expire a while after it has not expired by the clock of any BigQuery."""
    return datetime.now(UTC).replace(hour=12)


def a_restore() -> RestorePlan:
    """A plan that restores one table into another project."""
    story = Story()
    story.back_up(1, ORDERS, 5)
    return story.plan(a_request(target=Target(project="acme-lab")))


def job_of(destination: Unit) -> JobRef:
    """The first job of the copy into ``destination``."""
    return JobRef(job_id(a_copy(destination, destination=destination), tried=0), LOCATION)
