"""Load jobs from uploads and files. Source: batch-loading-data, REST JobConfigurationLoad."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import DAY, A, a_day_table, a_table, load, partitions_of, rows_of

FIELDS = [A, bq.SchemaField("s", "STRING"), bq.SchemaField("at", "TIMESTAMP")]
TARGET = "shop.sales.t"


def test_json_is_loaded_under_a_schema_with_nested_and_repeated_fields(client: bq.Client) -> None:
    inner = bq.SchemaField("r", "RECORD", fields=[A, bq.SchemaField("tags", "STRING", mode="REPEATED")])
    rows = [{"r": {"a": 1, "tags": ["x", "y"]}}, {"r": None}]

    client.load_table_from_json(rows, TARGET, job_config=bq.LoadJobConfig(schema=[inner])).result()

    assert [row["r"] for row in client.list_rows(TARGET)] == [{"a": 1, "tags": ["x", "y"]}, None]


def test_a_schema_is_detected(client: bq.Client) -> None:
    row = {
        "i": 1,
        "f": 1.5,
        "b": True,
        "d": "2024-01-01",
        "at": "2024-01-01T00:00:00Z",
        "s": "x",
        "l": [1],
        "r": {"a": 1},
    }

    client.load_table_from_json([row], TARGET).result()

    found = {f.name: (f.field_type, f.mode) for f in client.get_table(TARGET).schema}
    assert [kind for kind, _ in found.values()] == [
        "INTEGER", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP", "STRING", "INTEGER", "RECORD",
    ]  # fmt: skip
    assert found["l"] == ("INTEGER", "REPEATED")


@pytest.mark.parametrize("zipped", [False, True])
def test_csv_is_loaded(client: bq.Client, zipped: bool) -> None:
    content = b'a,s,at\n1,"x, y",2024-01-01 10:00:00 UTC\n,,\n'
    config = bq.LoadJobConfig(schema=FIELDS, source_format="CSV", skip_leading_rows=1)

    file = io.BytesIO(gzip.compress(content) if zipped else content)
    client.load_table_from_file(file, TARGET, job_config=config).result()

    assert [(r["a"], r["s"], r["at"] and r["at"].hour) for r in client.list_rows(TARGET)] == [
        (1, "x, y", 10),
        (None, None, None),
    ]


def test_parquet_is_loaded_and_brings_its_schema(client: bq.Client) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2], "s": ["x", None]}), file)
    file.seek(0)

    client.load_table_from_file(file, TARGET, job_config=bq.LoadJobConfig(source_format="PARQUET")).result()

    assert rows_of(client, "t") == [(1, "x"), (2, None)]


def test_a_large_file_is_uploaded_in_chunks(client: bq.Client) -> None:
    """A resumable upload: the client sends the file in several requests."""
    content = b"".join(b"%d\n" % i for i in range(200_000))
    config = bq.LoadJobConfig(schema=[A], source_format="CSV")

    job = client.load_table_from_file(io.BytesIO(content), TARGET, job_config=config).result()

    assert job.output_rows == 200_000
    assert client.get_table(TARGET).num_rows == 200_000


def test_a_local_file_is_loaded_by_its_uri(client: bq.Client, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1\n2\n")
    config = bq.LoadJobConfig(schema=[A], source_format="CSV")

    client.load_table_from_uri((tmp_path / "rows.csv").as_uri(), TARGET, job_config=config).result()

    assert rows_of(client, "t") == [(1,), (2,)]


def test_rows_are_loaded_into_one_partition(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])

    load(client, "t$20240101", [{"a": 7, "day": "2024-01-01"}] * 3, "WRITE_TRUNCATE")

    assert partitions_of(bigquery, "t") == {"20240101": 3, "20240102": 1}


def test_rows_of_another_partition_are_refused(client: bq.Client) -> None:
    a_day_table(client, "t")

    with pytest.raises(BadRequest, match="rather than destination partition"):
        load(client, "t$20240101", [{"a": 7, "day": "2024-01-02"}])


def test_a_new_table_is_partitioned_and_clustered_as_the_job_says(client: bq.Client) -> None:
    config = bq.LoadJobConfig(
        schema=[A, DAY], time_partitioning=bq.TimePartitioning(field="day"), clustering_fields=["a"]
    )

    client.load_table_from_json([{"a": 1, "day": "2024-01-01"}], TARGET, job_config=config).result()

    table = client.get_table(TARGET)
    assert (table.time_partitioning.field, table.clustering_fields) == ("day", ["a"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        pytest.param([{"a": "x"}], "Cannot convert value to integer: x", id="no number"),
        pytest.param([{"a": 1.5}], "Cannot convert value to integer", id="a fraction"),
        pytest.param([{"b": 1}], "no such field: b", id="an unknown column"),
        pytest.param([{"a": 2**63}], "Cannot convert value to integer", id="beyond 64 bits"),
        pytest.param([{"a": [1]}], "Cannot convert value to integer", id="a list"),
    ],
)
def test_bad_rows_fail_the_whole_load(client: bq.Client, rows: list[dict[str, object]], words: str) -> None:
    a_table(client, "t", [{"a": 1}])

    with pytest.raises(BadRequest, match=words):
        load(client, "t", rows)

    assert rows_of(client, "t") == [(1,)]


def test_write_empty_refuses_rows_over_rows(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])

    with pytest.raises(Conflict):
        load(client, "t", [{"a": 2}], "WRITE_EMPTY")


def test_create_never_needs_the_table(client: bq.Client) -> None:
    config = bq.LoadJobConfig(schema=[A], create_disposition="CREATE_NEVER")

    with pytest.raises(NotFound):
        client.load_table_from_json([{"a": 1}], TARGET, job_config=config).result()


def test_columns_are_added_only_where_asked(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    wider = [A, bq.SchemaField("b", "STRING")]
    config = bq.LoadJobConfig(schema=wider, write_disposition="WRITE_APPEND")
    with pytest.raises(BadRequest, match="Cannot add fields"):
        client.load_table_from_json([{"a": 2, "b": "x"}], TARGET, job_config=config).result()

    config.schema_update_options = ["ALLOW_FIELD_ADDITION"]
    client.load_table_from_json([{"a": 2, "b": "x"}], TARGET, job_config=config).result()

    assert rows_of(client, "t") == [(1, None), (2, "x")]


def test_nested_columns_are_added_only_where_asked(client: bq.Client) -> None:
    narrow = bq.SchemaField("r", "RECORD", fields=[A])
    wide = bq.SchemaField("r", "RECORD", fields=[A, bq.SchemaField("b", "STRING")])
    a_table(client, "t", [{"r": {"a": 1}}], [narrow])
    config = bq.LoadJobConfig(schema=[wide], write_disposition="WRITE_APPEND")
    with pytest.raises(BadRequest, match="Cannot add fields"):
        client.load_table_from_json([{"r": {"a": 2, "b": "x"}}], TARGET, job_config=config).result()

    config.schema_update_options = ["ALLOW_FIELD_ADDITION"]
    client.load_table_from_json([{"r": {"a": 2, "b": "x"}}], TARGET, job_config=config).result()

    assert rows_of(client, "t") == [({"a": 1, "b": None},), ({"a": 2, "b": "x"},)]


def test_a_column_of_another_type_is_refused(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    config = bq.LoadJobConfig(schema=[bq.SchemaField("a", "STRING")], write_disposition="WRITE_APPEND")

    with pytest.raises(BadRequest, match="Field a has changed type from INTEGER to STRING"):
        client.load_table_from_json([{"a": "2"}], TARGET, job_config=config).result()


def test_csv_tells_an_empty_text_from_null_by_its_quotes(client: bq.Client) -> None:
    """REST JobConfigurationLoad.nullMarker: the empty field is NULL; a quoted one is an empty STRING."""
    config = bq.LoadJobConfig(schema=[A, bq.SchemaField("s", "STRING")], source_format="CSV")

    client.load_table_from_file(io.BytesIO(b'1,""\n2,\n'), TARGET, job_config=config).result()

    assert rows_of(client, "t") == [(1, ""), (2, None)]
