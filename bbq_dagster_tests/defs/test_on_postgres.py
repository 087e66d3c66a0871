"""Dagster's storage on Postgres: what is written in batches there, and that all of it can be read again."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.test_utils import create_run_for_test

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.events import (
    Materialized,
    RunEvents,
    add_partitions,
    data_versions,
    keep_connected,
    remove_partitions,
)
from bbq_dagster.defs.names import asset_key_of, partitions_of
from bbq_dagster_tests.builders import NOW
from bbq_dagster_tests.defs.world import statuses
from bbq_dagster_tests.postgres import Postgres, running_postgres

SALES = DatasetRef("acme-shop", "sales")
KEY, PARTITIONS = asset_key_of(SALES), partitions_of(SALES)
DATABASE = "dagster"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        postgres.create_database(DATABASE)
        yield postgres


@pytest.fixture
def instance(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    config = f"storage: {{postgres: {{postgres_url: '{postgres.url(DATABASE)}'}}}}\ntelemetry: {{enabled: false}}\n"
    (tmp_path / "dagster.yaml").write_text(config)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def statements_of(postgres: Postgres, table: str) -> int:
    """How many statements have written into ``table``: a trigger counts them."""
    with postgres.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count FROM counted WHERE name = '{table}'")
        return int(cursor.fetchone()[0])


def count_statements(postgres: Postgres, *tables: str) -> None:
    with postgres.connect(DATABASE) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS counted (name text PRIMARY KEY, count int)")
        cursor.execute(
            "CREATE OR REPLACE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE counted SET count = count + 1 WHERE name = TG_TABLE_NAME; RETURN NULL; END $$"
        )
        for table in tables:
            cursor.execute(f"INSERT INTO counted VALUES ('{table}', 0)")
            cursor.execute(
                f"CREATE TRIGGER counting AFTER INSERT OR UPDATE OR DELETE ON {table}"
                " FOR EACH STATEMENT EXECUTE FUNCTION count_statement()"
            )


def test_1_000_events_are_one_write_and_can_be_read(instance: dg.DagsterInstance, postgres: Postgres) -> None:
    """Dagster's batches are what makes Postgres fast, and are not published: this turns red where they go."""
    count_statements(postgres, "event_logs", "asset_keys")
    run = create_run_for_test(instance, job_name="__ASSET_JOB", status=dg.DagsterRunStatus.SUCCESS)
    keys = [f"table_{number}" for number in range(1000)]
    materialized = [Materialized(key, "modified", {"rows": dg.MetadataValue.int(1)}, "v1") for key in keys]
    add_partitions(instance, PARTITIONS, keys)

    RunEvents(instance, run.run_id, "__ASSET_JOB", "backup").record_materializations(KEY, materialized, at=NOW)

    assert statements_of(postgres, "event_logs") == 1
    assert statements_of(postgres, "asset_keys") <= 2
    assert data_versions(instance, KEY, keys) == dict.fromkeys(keys, "v1")
    assert statuses(instance, KEY, PARTITIONS) == dict.fromkeys(keys, "MATERIALIZED")


def test_an_event_is_stored_whole(instance: dg.DagsterInstance) -> None:
    orders, key = DatasetRef("acme-shop", "orders"), asset_key_of(DatasetRef("acme-shop", "orders"))
    run = create_run_for_test(instance, job_name="__ASSET_JOB", status=dg.DagsterRunStatus.FAILURE)
    events = RunEvents(instance, run.run_id, "__ASSET_JOB", "backup")
    add_partitions(instance, partitions_of(orders), ["a", "b", "Größe$2026"])

    events.record_materializations(
        key, [Materialized("Größe$2026", "modified", {"rows": dg.MetadataValue.int(3)}, "v1")], at=NOW
    )
    events.report_failed(key, ["b"], at=NOW)

    (record,) = instance.fetch_materializations(key, limit=10).records
    assert record.asset_materialization is not None
    assert (record.run_id, record.timestamp) == (run.run_id, NOW.timestamp())
    assert record.asset_materialization.metadata["rows"].value == 3
    assert statuses(instance, key, partitions_of(orders)) == {"Größe$2026": "MATERIALIZED", "b": "FAILED"}


def test_1_000_partitions_are_taken_out_by_one_statement(instance: dg.DagsterInstance, postgres: Postgres) -> None:
    stock = partitions_of(DatasetRef("acme-shop", "stock"))
    add_partitions(instance, stock, [f"table_{number}" for number in range(1001)])
    count_statements(postgres, "dynamic_partitions")

    remove_partitions(instance, stock, [f"table_{number}" for number in range(1000)])

    assert statements_of(postgres, "dynamic_partitions") == 1
    assert instance.get_dynamic_partitions(str(stock.name)) == ["table_1000"]


def test_connections_are_kept(instance: dg.DagsterInstance) -> None:
    def connection() -> int:
        with instance.event_log_storage.index_connection() as connection:
            return int(connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar_one())

    before = {connection() for _ in range(3)}
    keep_connected(instance)
    after = {connection() for _ in range(3)}

    assert (len(before), len(after)) == (3, 1)
