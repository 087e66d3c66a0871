"""Extract jobs, and loads of what they wrote; a local folder stands for gs://. Source: exporting-data."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, MethodNotImplemented, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, PROJECT, A, a_dataset, a_day_table, a_table, rows_of

AT = bq.SchemaField("at", "TIMESTAMP")
S = bq.SchemaField("s", "STRING")
ROWS = [{"a": 1, "s": 'x, "y"', "at": "2024-01-01T10:00:00Z"}, {"a": 2}]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[bq.Client]:
    with LocalBigQuery(now=NOW, buckets=tmp_path) as server:
        client = server.client(PROJECT)
        a_dataset(client)
        yield client
        client.close()


def extract(client: bq.Client, source: str, uri: str, **config: object) -> bq.ExtractJob:
    job = client.extract_table(f"{PROJECT}.sales.{source}", uri, job_config=bq.ExtractJobConfig(**config))
    return job.result()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, 'a,s,at\n1,"x, ""y""",2024-01-01 10:00:00 UTC\n2,,\n', id="CSV with a header"),
        pytest.param({"print_header": False, "field_delimiter": ";"}, '1;"x, ""y""";2024-01-01 10:00:00 UTC\n2;;\n', id="CSV without"),  # noqa: E501
        pytest.param({"destination_format": "NEWLINE_DELIMITED_JSON"}, '{"a":"1","s":"x, \\"y\\"","at":"2024-01-01 10:00:00 UTC"}\n{"a":"2"}\n', id="JSON: INT64 as text, no nulls"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_table_is_written_as_text(
    client: bq.Client, tmp_path: Path, config: dict[str, object], expected: str
) -> None:
    a_table(client, "t", ROWS, (A, S, AT))

    job = extract(client, "t", "gs://bucket/folder/t.txt", **config)

    assert (tmp_path / "bucket" / "folder" / "t.txt").read_text() == expected
    assert job.destination_uri_file_counts == [1]


def test_a_wildcard_becomes_the_number_of_the_file(client: bq.Client, tmp_path: Path) -> None:
    a_table(client, "t", [{"a": 1}])

    extract(client, "t", "gs://bucket/t-*.csv.gz", compression="GZIP")

    assert gzip.decompress((tmp_path / "bucket" / "t-000000000000.csv.gz").read_bytes()) == b"a\n1\n"


def test_parquet_is_written(client: bq.Client, tmp_path: Path) -> None:
    a_table(client, "t", [{"a": 1}])

    extract(client, "t", "gs://bucket/t.parquet", destination_format="PARQUET")

    content = io.BytesIO((tmp_path / "bucket" / "t.parquet").read_bytes())
    assert pq.read_table(content).to_pylist() == [{"a": 1}]


def test_one_partition_is_written(client: bq.Client, tmp_path: Path) -> None:
    a_day_table(client, "t", ["2024-01-01", "2024-01-02"])

    extract(client, "t$20240102", "gs://bucket/t.csv")

    assert (tmp_path / "bucket" / "t.csv").read_text() == "a,day\n2,2024-01-02\n"


def test_csv_holds_no_nested_columns(client: bq.Client) -> None:
    a_table(client, "t", [], (bq.SchemaField("r", "RECORD", fields=[A]),))

    with pytest.raises(BadRequest, match=r"nested schema\. Field: r"):
        extract(client, "t", "gs://bucket/t.csv")


def test_a_view_cannot_be_extracted(client: bq.Client) -> None:
    client.query_and_wait("CREATE VIEW sales.v AS SELECT 1 AS a")

    with pytest.raises(BadRequest, match="currently a VIEW"):
        extract(client, "v", "gs://bucket/v.csv")


@pytest.mark.parametrize("kind", ["CSV", "NEWLINE_DELIMITED_JSON", "PARQUET", "AVRO"])
def test_what_was_extracted_is_loaded_again(client: bq.Client, kind: str) -> None:
    a_table(client, "t", ROWS, (A, S, AT))
    extract(client, "t", "gs://bucket/t-*", destination_format=kind)

    config = bq.LoadJobConfig(source_format=kind, schema=[A, S, AT], use_avro_logical_types=True)
    if kind == "CSV":
        config.skip_leading_rows = 1
    client.load_table_from_uri("gs://bucket/t-*", f"{PROJECT}.sales.u", job_config=config).result()

    assert rows_of(client, "u") == rows_of(client, "t")


def test_a_missing_uri_is_not_found(client: bq.Client) -> None:
    with pytest.raises(NotFound, match="URI gs://bucket/none"):
        client.load_table_from_uri(
            "gs://bucket/none", f"{PROJECT}.sales.t", job_config=bq.LoadJobConfig(schema=[A])
        ).result()


def test_without_a_folder_for_buckets_gs_is_refused(bigquery: LocalBigQuery) -> None:
    client = bigquery.client(PROJECT)
    a_dataset(client)
    a_table(client, "t", [{"a": 1}])

    with pytest.raises(MethodNotImplemented, match="stands for Cloud Storage"):
        extract(client, "t", "gs://bucket/t.csv")
