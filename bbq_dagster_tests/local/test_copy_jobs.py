"""Copy jobs, one test per rule. Sources: managing-tables, managing-partitioned-tables, table-snapshots-*, REST Job."""

from datetime import timedelta

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import (
    DAY,
    NOW,
    A,
    a_dataset,
    a_day_table,
    a_table,
    an_ingestion_table,
    copy,
    load,
    modified_of,
    partitions_of,
    rows_of,
)

ONE = [{"a": 1}]
TWO = [{"a": 2}]
RANGE = bq.RangePartitioning(bq.PartitionRange(0, 100, 10), "a")


def test_a_copy_to_a_new_table_takes_schema_partitioning_and_clustering(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """managing-partitioned-tables: "All of the partitioning information is copied"."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02", None], clustering_fields=["a"])

    copy(client, "t", "u")

    copied = client.get_table("shop.sales.u")
    assert [f.name for f in copied.schema] == ["a", "day"]
    assert (copied.time_partitioning.field, copied.clustering_fields) == ("day", ["a"])
    assert partitions_of(bigquery, "u") == {"20240101": 1, "20240102": 1, "__NULL__": 1}


def test_labels_description_and_expiration_are_not_copied(client: bq.Client) -> None:
    """README of the original BBQ."""
    a_table(client, "t", ONE, labels={"k": "v"}, description="words", expires=NOW + timedelta(days=3))

    copy(client, "t", "u")

    copied = client.get_table("shop.sales.u")
    assert (copied.labels, copied.description, copied.expires) == ({}, None, None)


def test_constraints_and_column_descriptions_are_copied(client: bq.Client) -> None:
    """primary-foreign-keys; descriptions are part of the schema."""
    fields = [bq.SchemaField("a", "INTEGER", description="the key", policy_tags=bq.PolicyTagList(["taxonomies/1"]))]
    key = bq.table.TableConstraints(primary_key=bq.table.PrimaryKey(columns=["a"]), foreign_keys=None)
    a_table(client, "t", ONE, fields, table_constraints=key)

    copy(client, "t", "u")

    copied = client.get_table("shop.sales.u")
    assert copied.schema[0].description == "the key"
    assert copied.schema[0].policy_tags.names == ("taxonomies/1",)
    assert copied.table_constraints.primary_key.columns == ["a"]


def test_partition_expiration_is_copied_and_old_partitions_expire_at_once(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """managing-partitioned-tables: partitions older than the expiration "are expired immediately"."""
    a_day_table(client, "t", ["2024-02-28"], expiration_ms=5 * 86_400_000)
    copy(client, "t", "u")
    bigquery.advance(timedelta(days=10))

    assert client.get_table("shop.sales.u").time_partitioning.expiration_ms == 5 * 86_400_000
    assert partitions_of(bigquery, "u") == {}


def test_a_copy_tells_rows_and_bytes(client: bq.Client) -> None:
    a_table(client, "t", [*ONE, *TWO])

    job = copy(client, "t", "u")

    assert job._properties["statistics"]["copy"] == {"copiedRows": "2", "copiedLogicalBytes": "16"}


def test_the_default_disposition_is_write_empty(client: bq.Client) -> None:
    """REST JobConfigurationTableCopy; `duplicate` comes back in the job's result."""
    a_table(client, "t", ONE)
    a_table(client, "u", TWO)

    with pytest.raises(Conflict, match=r"Already Exists: Table shop:sales.u"):
        copy(client, "t", "u")

    assert rows_of(client, "u") == [(2,)]


def test_write_empty_into_an_existing_empty_table_copies(client: bq.Client) -> None:
    """REST Job: fails if the table "already exists and contains data"."""
    a_table(client, "t", ONE)
    a_table(client, "u")

    copy(client, "t", "u")

    assert rows_of(client, "u") == [(1,)]


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        pytest.param("WRITE_TRUNCATE", [(1,)], id="truncate replaces"),
        pytest.param("WRITE_APPEND", [(1,), (2,)], id="append adds"),
    ],
)
def test_a_disposition_decides_what_stays(client: bq.Client, disposition: str, expected: list[tuple[int]]) -> None:
    a_table(client, "t", ONE)
    a_table(client, "u", TWO)

    copy(client, "t", "u", write_disposition=disposition)

    assert rows_of(client, "u") == expected


def test_write_truncate_uses_the_schema_of_the_source(client: bq.Client) -> None:
    """REST Job: WRITE_TRUNCATE "uses the schema and table constraints from the source table"."""
    a_table(client, "t", [{"b": "x"}], [bq.SchemaField("b", "STRING")])
    a_table(client, "u", ONE)

    copy(client, "t", "u", write_disposition="WRITE_TRUNCATE")

    assert [f.name for f in client.get_table("shop.sales.u").schema] == ["b"]
    assert rows_of(client, "u") == [("x",)]


def test_create_never_needs_the_destination(client: bq.Client) -> None:
    a_table(client, "t", ONE)

    with pytest.raises(NotFound, match=r"Not found: Table shop:sales.u"):
        copy(client, "t", "u", create_disposition="CREATE_NEVER")


def test_a_missing_source_is_told_in_the_result_of_the_job(client: bq.Client) -> None:
    job = client.copy_table("shop.sales.none", "shop.sales.u")

    assert job.job_id
    with pytest.raises(NotFound, match=r"Not found: Table shop:sales.none"):
        job.result()


def test_a_partition_replaces_the_same_partition_and_no_other(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """managing-partitioned-tables: copying a single partition."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])
    a_day_table(client, "u", ["2024-01-01", "2024-01-01", "2024-01-03"])

    copy(client, "t$20240101", "u$20240101", write_disposition="WRITE_TRUNCATE")

    assert partitions_of(bigquery, "u") == {"20240101": 1, "20240103": 1}


def test_write_truncate_without_a_destination_partition_replaces_the_whole_table(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    """managing-partitioned-tables: "all data in the destination table is overwritten"."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])
    a_day_table(client, "u", ["2024-01-03"])

    copy(client, "t$20240101", "u", write_disposition="WRITE_TRUNCATE")

    assert partitions_of(bigquery, "u") == {"20240101": 1}


def test_only_the_partition_copied_into_is_modified(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])
    a_day_table(client, "u", ["2024-01-01", "2024-01-02"])
    bigquery.advance(timedelta(hours=1))

    copy(client, "t$20240101", "u$20240101", write_disposition="WRITE_TRUNCATE")

    later = NOW + timedelta(hours=1)
    assert (modified_of(client, "u$20240101"), modified_of(client, "u$20240102")) == (later, NOW)
    assert modified_of(client, "u") == later


def test_write_empty_looks_at_the_destination_partition_only(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01"])
    a_day_table(client, "u", ["2024-01-02"])

    copy(client, "t$20240101", "u$20240101")

    assert partitions_of(bigquery, "u") == {"20240101": 1, "20240102": 1}


def test_several_partitions_can_be_copied_at_once(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """managing-partitioned-tables: several partitions as sourceTables."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02", "2024-01-03"])

    copy(client, ["t$20240101", "t$20240103"], "u")

    assert partitions_of(bigquery, "u") == {"20240101": 1, "20240103": 1}


def test_several_sources_are_merged(client: bq.Client) -> None:
    a_table(client, "t", ONE)
    a_table(client, "u", TWO)

    copy(client, ["t", "u"], "v")

    assert rows_of(client, "v") == [(1,), (2,)]


@pytest.mark.parametrize("unit", ["DAY", "MONTH", "YEAR"])
def test_an_ingestion_partition_goes_to_the_same_or_a_coarser_one(
    bigquery: LocalBigQuery, client: bq.Client, unit: str
) -> None:
    """managing-partitioned-tables: `$20180130` to `$20180130`, `$201801` or `$2018`."""
    an_ingestion_table(client, "t", "DAY", ONE)
    an_ingestion_table(client, "u", unit)
    target = {"DAY": "20240301", "MONTH": "202403", "YEAR": "2024"}[unit]

    copy(client, "t$20240301", f"u${target}")

    assert partitions_of(bigquery, "u") == {target: 1}


def test_an_unpartitioned_table_goes_to_todays_partition_of_an_ingestion_table(
    bigquery: LocalBigQuery, client: bq.Client
) -> None:
    a_table(client, "t", ONE)
    an_ingestion_table(client, "u")

    copy(client, "t", "u")

    assert partitions_of(bigquery, "u") == {"20240301": 1}


def test_the_special_partitions_are_copied_with_the_table(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """partitioned-tables: rows outside the range are in `__UNPARTITIONED__`, NULLs in `__NULL__`."""
    a_table(client, "t", [{"a": 5}, {"a": 500}, {"a": None}], range_partitioning=RANGE)

    copy(client, "t", "u")

    assert partitions_of(bigquery, "u") == {"0": 1, "__NULL__": 1, "__UNPARTITIONED__": 1}


def test_a_single_partition_copied_to_a_new_table_keeps_the_partitioning(client: bq.Client) -> None:
    """The original BBQ found the source's expiration on such tables."""
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])

    copy(client, "t$20240101", "u")

    assert client.get_table("shop.sales.u").time_partitioning.field == "day"
    assert client.get_table("shop.sales.u").num_rows == 1


def a_view(client: bq.Client) -> None:
    view = bq.Table("shop.sales.view")
    view.view_query = "SELECT 1 AS a"
    client.create_table(view)


def test_views_cannot_be_copied(client: bq.Client) -> None:
    a_view(client)

    with pytest.raises(BadRequest, match=r"shop:sales.view is not allowed for this operation because of its type"):
        copy(client, "view", "u")


def test_views_cannot_be_copied_into(client: bq.Client) -> None:
    a_table(client, "t", ONE)
    a_view(client)

    with pytest.raises(BadRequest, match=r"shop:sales.view is not allowed"):
        copy(client, "t", "view", write_disposition="WRITE_TRUNCATE")


@pytest.mark.parametrize("operation", ["SNAPSHOT", "CLONE"])
def test_snapshots_and_clones_stay_in_their_location(client: bq.Client, operation: str) -> None:
    """managing-tables, table-snapshots-intro: only a COPY goes to another region."""
    a_dataset(client, "american", "US")
    a_table(client, "t", ONE)

    with pytest.raises(BadRequest, match="Cannot read and write in different locations: source: EU, destination: US"):
        copy(client, "t", "american.u", operation_type=operation)


def test_a_copy_into_another_location_takes_the_expiration_along(client: bq.Client) -> None:
    """managing-tables, copy across regions: "Expiration time from the source table is copied"."""
    expires = NOW + timedelta(days=3)
    a_dataset(client, "american", "US")
    a_table(client, "t", ONE, expires=expires)

    copy(client, "t", "american.u")

    assert rows_of(client, "american.u") == [(1,)]
    assert client.get_table("shop.american.u").expires == expires


@pytest.mark.parametrize(
    ("sources", "disposition", "words"),
    [
        pytest.param(["t", "t"], "WRITE_EMPTY", "Only one source table", id="several sources"),
        pytest.param(["t"], "WRITE_APPEND", "cannot append", id="appending"),
        pytest.param(["t"], "WRITE_EMPTY", "Already Exists", id="a table that exists, though without rows"),
        pytest.param(["tagged"], "WRITE_TRUNCATE", "policy tags", id="policy tags"),
    ],
)
def test_what_a_copy_into_another_location_may_not(
    client: bq.Client, sources: list[str], disposition: str, words: str
) -> None:
    """managing-tables, copy across regions."""
    a_dataset(client, "american", "US")
    client.create_table(bq.Table("shop.american.u", [A]))
    a_table(client, "t", ONE)
    tagged = bq.SchemaField("a", "INTEGER", policy_tags=bq.PolicyTagList(["projects/p/locations/eu/taxonomies/1"]))
    a_table(client, "tagged", fields=[tagged])

    with pytest.raises((BadRequest, Conflict), match=words):
        copy(client, sources, "american.u", write_disposition=disposition)


@pytest.mark.parametrize("instant", ["0", "-3600000"])
def test_an_instant_may_be_the_oldest_or_count_back(bigquery: LocalBigQuery, client: bq.Client, instant: str) -> None:
    """access-historical-data: `t@0` is the oldest there is, `t@-ms` counts back from now."""
    a_table(client, "t", ONE)
    bigquery.advance(timedelta(hours=1))
    load(client, "t", TWO, "WRITE_TRUNCATE")

    copy(client, f"t@{instant}", "u")

    assert rows_of(client, "u") == [(1,)]


def test_a_table_made_anew_leaves_the_old_ones_data_in_reach(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """restore-deleted-tables: by an instant at which the old table existed."""
    a_table(client, "t", ONE)
    bigquery.advance(timedelta(hours=1))
    client.delete_table("shop.sales.t")
    a_table(client, "t", TWO)

    copy(client, f"t@{int(NOW.timestamp() * 1000)}", "u")

    assert rows_of(client, "u") == [(1,)]


def test_a_restore_needs_a_snapshot(client: bq.Client) -> None:
    """table-snapshots-restore."""
    a_table(client, "t", ONE)

    with pytest.raises(BadRequest, match="Only snapshots can be restored"):
        copy(client, "t", "u", operation_type="RESTORE")


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        pytest.param("plain$20240101", "u", "not partitioned", id="a partition of an unpartitioned table"),
        pytest.param(
            "days$20240101", "plain$20240101", "not partitioned", id="into a partition of an unpartitioned table"
        ),
        pytest.param("days$2024", "u", "Invalid partition id", id="an id of another granularity"),
        pytest.param("days$20249999", "u", "Invalid partition id", id="an id that is no day"),
        pytest.param("plain", "days", "Non partitioned table to Column partitioned", id="unpartitioned to column"),
        pytest.param("days", "clustered", "Incompatible table clustering", id="another clustering"),
        pytest.param("days", "ingested", "Incompatible table partitioning", id="column to ingestion time"),
        pytest.param("days", "ranges", "Incompatible table partitioning", id="time to range"),
        pytest.param("days$20240101", "days2$20240102", "must be identical", id="a column partition to another"),
        pytest.param("monthly$202403", "ingested$20240301", "coarser", id="an ingestion partition to a finer one"),
        pytest.param("days", "plain", "Cannot add or change field day", id="append with another schema"),
    ],
)
def test_a_copy_that_does_not_match_is_refused(client: bq.Client, source: str, target: str, words: str) -> None:
    """managing-partitioned-tables: partition and clustering specs of source and destination must match."""
    a_table(client, "plain", ONE)
    a_day_table(client, "days", ["2024-01-01"])
    a_day_table(client, "days2")
    a_day_table(client, "clustered", clustering_fields=["a"])
    an_ingestion_table(client, "ingested")
    an_ingestion_table(client, "monthly", "MONTH", ONE)
    a_table(client, "ranges", (), (A, DAY), range_partitioning=RANGE)

    with pytest.raises(BadRequest, match=words):
        copy(client, source, target, write_disposition="WRITE_APPEND")


def test_several_sources_must_have_one_schema(client: bq.Client) -> None:
    """managing-tables: schemas, partitioning and clustering of several sources must be identical."""
    a_table(client, "t", ONE)
    a_table(client, "u", [{"b": "x"}], [bq.SchemaField("b", "STRING")])

    with pytest.raises(BadRequest, match=r"must be identical: shop:sales.u differs"):
        copy(client, ["t", "u"], "v")


def test_a_partition_of_a_missing_table_is_not_created(client: bq.Client) -> None:
    """The partitioned table has to be created first."""
    a_day_table(client, "t", ["2024-01-01"])

    with pytest.raises(NotFound):
        copy(client, "t$20240101", "u$20240101")


def test_rows_in_the_streaming_buffer_are_not_copied(client: bq.Client) -> None:
    """write-api-rest: absent from copies for up to 90 minutes."""
    a_table(client, "t", ONE)
    client.insert_rows_json("shop.sales.t", TWO)

    copy(client, "t", "u")

    assert rows_of(client, "u") == [(1,)]


def test_a_copy_stays_as_it_was_when_the_source_changes(client: bq.Client) -> None:
    a_table(client, "t", ONE)
    copy(client, "t", "u")

    load(client, "t", TWO)

    assert (rows_of(client, "t"), rows_of(client, "u")) == ([(1,), (2,)], [(1,)])


def test_default_table_expiration_applies_to_the_destination(client: bq.Client) -> None:
    """REST datasets: every new table inherits it, of a copy too."""
    a_dataset(client, "short", default_table_expiration_ms=3_600_000)
    a_table(client, "t", ONE)

    copy(client, "t", "short.u")

    assert client.get_table("shop.short.u").expires == NOW + timedelta(hours=1)


def test_destination_expiration_time_is_set(client: bq.Client) -> None:
    a_table(client, "t", ONE)

    copy(client, "t", "u", destination_expiration_time=(NOW + timedelta(days=1)).isoformat())

    assert client.get_table("shop.sales.u").expires == NOW + timedelta(days=1)


def test_a_copy_of_an_earlier_instant_brings_back_what_was(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """access-historical-data: `t@ms` as the source."""
    a_table(client, "t", ONE)
    bigquery.advance(timedelta(hours=1))
    load(client, "t", TWO, "WRITE_TRUNCATE")

    copy(client, f"t@{int(NOW.timestamp() * 1000)}", "u")

    assert rows_of(client, "u") == [(1,)]


def test_a_deleted_table_comes_back_within_the_time_travel_window(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """restore-deleted-tables."""
    a_table(client, "t", ONE)
    bigquery.advance(timedelta(hours=1))
    client.delete_table("shop.sales.t")

    copy(client, f"t@{int(NOW.timestamp() * 1000)}", "t")

    assert rows_of(client, "t") == [(1,)]


def test_time_travel_ends_with_the_window(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """time-travel: 7 days unless the dataset says otherwise; the message has the earliest instant."""
    a_table(client, "t", ONE)
    bigquery.advance(timedelta(days=8))

    with pytest.raises(BadRequest, match="Invalid time travel timestamp"):
        copy(client, f"t@{int(NOW.timestamp() * 1000)}", "u")


def test_a_partition_of_an_instant_is_refused(client: bq.Client) -> None:
    """access-historical-data: a partition decorator with a time decorator is not supported."""
    a_day_table(client, "t", ["2024-01-01"])

    with pytest.raises(BadRequest, match="cannot be combined"):
        copy(client, f"t$20240101@{int(NOW.timestamp() * 1000)}", "u")


def test_a_snapshot_keeps_partitioning_but_not_its_expiration(client: bq.Client) -> None:
    """table-snapshots-intro."""
    a_day_table(client, "t", ["2024-02-29"], expiration_ms=30 * 86_400_000)

    copy(client, "t", "s", operation_type="SNAPSHOT")

    snapshot = client.get_table("shop.sales.s")
    assert (snapshot.table_type, snapshot.snapshot_definition.base_table_reference.table_id) == ("SNAPSHOT", "t")
    assert (snapshot.time_partitioning.field, snapshot.time_partitioning.expiration_ms) == ("day", None)


def test_a_snapshot_never_overwrites(client: bq.Client) -> None:
    """table-snapshots-intro."""
    a_table(client, "t", ONE)
    a_table(client, "u")

    with pytest.raises(Conflict):
        copy(client, "t", "u", operation_type="SNAPSHOT")


def test_a_snapshot_can_be_restored_over_a_table(client: bq.Client) -> None:
    """table-snapshots-restore."""
    a_table(client, "t", ONE)
    copy(client, "t", "s", operation_type="SNAPSHOT")
    load(client, "t", TWO, "WRITE_TRUNCATE")

    copy(client, "s", "t", operation_type="RESTORE", write_disposition="WRITE_TRUNCATE")

    assert rows_of(client, "t") == [(1,)]


def test_a_snapshot_cannot_be_written_to(client: bq.Client) -> None:
    a_table(client, "t", ONE)
    copy(client, "t", "s", operation_type="SNAPSHOT")

    with pytest.raises(BadRequest, match="not allowed for this operation"):
        copy(client, "t", "s", write_disposition="WRITE_APPEND")


def test_a_clone_is_a_table_of_its_own(client: bq.Client) -> None:
    """table-clones-create."""
    a_table(client, "t", ONE)

    copy(client, "t", "c", operation_type="CLONE")
    load(client, "c", TWO)

    assert client.get_table("shop.sales.c").clone_definition.base_table_reference.table_id == "t"
    assert (rows_of(client, "t"), rows_of(client, "c")) == ([(1,)], [(1,), (2,)])


def test_a_nested_column_that_the_destination_lacks_is_refused(client: bq.Client) -> None:
    narrow = bq.SchemaField("r", "RECORD", fields=[A])
    wide = bq.SchemaField("r", "RECORD", fields=[A, bq.SchemaField("b", "STRING")])
    a_table(client, "t", [{"r": {"a": 1, "b": "x"}}], [wide])
    a_table(client, "u", [{"r": {"a": 1}}], [narrow])

    with pytest.raises(BadRequest, match="Cannot add or change field r"):
        copy(client, "t", "u", write_disposition="WRITE_APPEND")
