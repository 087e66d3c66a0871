"""Avro, ORC, Parquet and decimals in load and extract jobs.

Sources: loading-data-cloud-storage-avro (Avro conversions), exporting-data (Avro export details), REST
JobConfigurationLoad (decimalTargetTypes, useAvroLogicalTypes) and JobConfigurationExtract (compression).
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pytest
from google.api_core.exceptions import BadRequest, MethodNotImplemented
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import NOW, PROJECT, A, a_dataset, a_table, rows_of

AT = datetime(2024, 1, 2, 3, 4, 5, 6, UTC)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[bq.Client]:
    with LocalBigQuery(now=NOW, buckets=tmp_path) as server, server.client(PROJECT) as client:
        a_dataset(client)
        yield client


def avro(kind: Any, *values: Any, codec: str = "null") -> bytes:
    """A file with one column ``x``."""
    schema = {"type": "record", "name": "Root", "fields": [{"name": "x", "type": kind}]}
    content = io.BytesIO()
    fastavro.writer(content, schema, [{"x": value} for value in values], codec=codec)
    return content.getvalue()


def parquet(**columns: pa.Array) -> bytes:
    content = io.BytesIO()
    pa.parquet.write_table(pa.table(columns), content)
    return content.getvalue()


def load_file(client: bq.Client, content: bytes, kind: str = "AVRO", **config: Any) -> bq.Table:
    job = client.load_table_from_file(
        io.BytesIO(content), f"{PROJECT}.sales.t", job_config=bq.LoadJobConfig(source_format=kind, **config)
    )
    job.result()
    return client.get_table(f"{PROJECT}.sales.t")


def loaded(client: bq.Client) -> list[Any]:
    return [row[0] for row in client.list_rows(f"{PROJECT}.sales.t")]


def extracted(client: bq.Client, tmp_path: Path, **config: Any) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    """Schema and rows of the Avro file that an extract of ``t`` writes."""
    job_config = bq.ExtractJobConfig(destination_format="AVRO", **config)
    client.extract_table(f"{PROJECT}.sales.t", "gs://bucket/t.avro", job_config=job_config).result()
    with (tmp_path / "bucket" / "t.avro").open("rb") as file:
        reader = fastavro.reader(file)
        return reader.writer_schema, list(reader)


def logical(base: str, name: str, **more: int) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


COLOURS = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
POINT = {"type": "record", "name": "Point", "fields": [{"name": "y", "type": "long"}]}


@pytest.mark.parametrize(
    ("kind", "value", "column", "expected"),
    [
        pytest.param("boolean", True, ("BOOLEAN", "REQUIRED"), True, id="boolean"),
        pytest.param("int", 1, ("INTEGER", "REQUIRED"), 1, id="int"),
        pytest.param("long", 2**40, ("INTEGER", "REQUIRED"), 2**40, id="long"),
        pytest.param("float", 0.5, ("FLOAT", "REQUIRED"), 0.5, id="float"),
        pytest.param("double", 0.1, ("FLOAT", "REQUIRED"), 0.1, id="double"),
        pytest.param("bytes", b"ab", ("BYTES", "REQUIRED"), b"ab", id="bytes"),
        pytest.param("string", "é", ("STRING", "REQUIRED"), "é", id="string"),
        pytest.param(COLOURS, "RED", ("STRING", "REQUIRED"), "RED", id="an enum is a STRING"),
        pytest.param({"type": "fixed", "name": "F", "size": 2}, b"ab", ("BYTES", "REQUIRED"), b"ab", id="fixed is BYTES"),  # noqa: E501
        pytest.param(["null", "long"], None, ("INTEGER", "NULLABLE"), None, id="a union with null is NULLABLE"),
        pytest.param(["long", "null"], 3, ("INTEGER", "NULLABLE"), 3, id="in either order"),
        pytest.param({"type": "array", "items": "long"}, [1, 2], ("INTEGER", "REPEATED"), [1, 2], id="an array is REPEATED"),  # noqa: E501
        pytest.param({"type": "map", "values": "long"}, {"k": 1}, ("RECORD", "REPEATED"), [{"key": "k", "value": 1}], id="a map is REPEATED pairs"),  # noqa: E501
        pytest.param(POINT, {"y": 1}, ("RECORD", "REQUIRED"), {"y": 1}, id="a record"),
        pytest.param(["null", POINT], None, ("RECORD", "NULLABLE"), None, id="a record that may be null"),
    ],
)  # fmt: skip
def test_an_avro_type_becomes_a_column(
    client: bq.Client, kind: Any, value: Any, column: tuple[str, str], expected: Any
) -> None:
    table = load_file(client, avro(kind, value))

    assert [(field.field_type, field.mode) for field in table.schema] == [column]
    assert loaded(client) == [expected]


@pytest.mark.parametrize(
    ("kind", "value", "with_types", "without"),
    [
        pytest.param(logical("int", "date"), date(1970, 1, 3), ("DATE", date(1970, 1, 3)), ("INTEGER", 2), id="date"),
        pytest.param(logical("int", "time-millis"), time(0, 0, 1), ("TIME", time(0, 0, 1)), ("INTEGER", 1000), id="time-millis"),  # noqa: E501
        pytest.param(logical("long", "time-micros"), time(0, 0, 1), ("TIME", time(0, 0, 1)), ("INTEGER", 1_000_000), id="time-micros"),  # noqa: E501
        pytest.param(logical("long", "timestamp-micros"), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), ("TIMESTAMP", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), ("INTEGER", 1_000_000), id="timestamp-micros"),  # noqa: E501
        pytest.param(logical("long", "timestamp-millis"), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), ("TIMESTAMP", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), ("INTEGER", 1_000), id="timestamp-millis"),  # noqa: E501
        pytest.param(logical("long", "local-timestamp-micros"), datetime(1970, 1, 1, 0, 0, 1), ("DATETIME", datetime(1970, 1, 1, 0, 0, 1)), ("INTEGER", 1_000_000), id="local-timestamp-micros"),  # noqa: DTZ001, E501
        pytest.param(logical("string", "datetime"), "2024-01-02T03:04:05", ("DATETIME", datetime(2024, 1, 2, 3, 4, 5)), ("STRING", "2024-01-02T03:04:05"), id="datetime"),  # noqa: DTZ001, E501
        pytest.param(logical("bytes", "decimal", precision=9, scale=2), Decimal("1.25"), ("NUMERIC", Decimal("1.25")), ("BYTES", b"\x7d"), id="decimal"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_logical_type_counts_only_if_asked_for(
    client: bq.Client, kind: Any, value: Any, with_types: tuple[str, Any], without: tuple[str, Any]
) -> None:
    """useAvroLogicalTypes: otherwise the raw type is used."""
    content = avro(kind, value)
    seen = []
    for asked in (True, False):
        table = load_file(client, content, use_avro_logical_types=asked, write_disposition="WRITE_TRUNCATE")
        seen.append((table.schema[0].field_type, loaded(client)[0]))

    assert seen == [with_types, without]


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_avro_is_read_from_compressed_blocks(client: bq.Client, codec: str) -> None:
    load_file(client, avro("string", *["pen"] * 100, codec=codec))

    assert loaded(client) == ["pen"] * 100


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "The Apache Avro library failed", id="nothing"),
        pytest.param(b"a,b\n1,2\n", "The Apache Avro library failed", id="another format"),
        pytest.param(avro("string", "pen")[:-5], "The Apache Avro library failed", id="cut off"),
        pytest.param(avro({"type": "array", "items": {"type": "array", "items": "long"}}, [[1]]), "an array of arrays", id="nested arrays"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_not_avro_is_refused(client: bq.Client, content: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        load_file(client, content)


def test_a_union_of_several_types_is_not_modelled(client: bq.Client) -> None:
    with pytest.raises(MethodNotImplemented, match="Avro unions of several types"):
        load_file(client, avro(["string", "long"], 1))


def test_an_avro_file_is_appended_to_a_table_that_fits(client: bq.Client) -> None:
    a_table(client, "t", [{"x": 1}], [bq.SchemaField("x", "INTEGER")])

    load_file(client, avro("long", 2))

    assert sorted(loaded(client)) == [1, 2]


def test_a_column_that_only_the_file_has_is_added_only_if_allowed(client: bq.Client) -> None:
    """schemaUpdateOptions, for files that carry their schema."""
    a_table(client, "t", [{"a": 1}])

    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: x\)"):
        load_file(client, avro(["null", "long"], 2))
    table = load_file(client, avro(["null", "long"], 2), schema_update_options=["ALLOW_FIELD_ADDITION"])

    assert [field.name for field in table.schema] == ["a", "x"]


# -- extracts

EVERY = {
    "s": "STRING",
    "y": "BYTES",
    "i": "INTEGER",
    "f": "FLOAT",
    "b": "BOOLEAN",
    "n": "NUMERIC",
    "ts": "TIMESTAMP",
    "d": "DATE",
    "ti": "TIME",
    "dt": "DATETIME",
}
EVERY_VALUE = [
    "é",
    "YQ==",
    1,
    0.5,
    True,
    "1.25",
    "2024-01-02T03:04:05Z",
    "2024-01-02",
    "03:04:05",
    "2024-01-02T03:04:05",
]
EVERY_ROW = dict(zip(EVERY, EVERY_VALUE, strict=True))


def a_table_of_every_type(client: bq.Client) -> None:
    a_table(client, "t", [EVERY_ROW, {"s": "nothing else"}], [bq.SchemaField(n, k) for n, k in EVERY.items()])


@pytest.mark.parametrize(
    ("use_logical_types", "expected"),
    [
        pytest.param(True, ("int", "long", "string"), id="as logical types"),
        pytest.param(False, ("string", "string", "string"), id="as texts"),
    ],
)
def test_dates_and_times_are_written_to_avro(
    client: bq.Client, tmp_path: Path, use_logical_types: bool, expected: tuple[str, ...]
) -> None:
    a_table_of_every_type(client)

    schema, _ = extracted(client, tmp_path, use_avro_logical_types=use_logical_types)

    kinds = {field["name"]: field["type"][1] for field in schema["fields"]}
    assert tuple(kinds[name]["type"] for name in ("d", "ti", "dt")) == expected


@pytest.mark.parametrize("compression", ["NONE", "DEFLATE", "SNAPPY"])
def test_what_was_extracted_to_avro_is_loaded_again(client: bq.Client, tmp_path: Path, compression: str) -> None:
    a_table_of_every_type(client)
    before, table = rows_of(client, "t"), client.get_table("shop.sales.t")
    extracted(client, tmp_path, use_avro_logical_types=True, compression=compression)

    after = load_file(
        client,
        (tmp_path / "bucket" / "t.avro").read_bytes(),
        use_avro_logical_types=True,
        write_disposition="WRITE_TRUNCATE",
    )

    assert rows_of(client, "t") == before
    assert after.schema == table.schema


def test_nested_and_repeated_columns_are_written_to_avro(client: bq.Client, tmp_path: Path) -> None:
    point = bq.SchemaField("p", "RECORD", fields=[bq.SchemaField("y", "INTEGER", "REPEATED")])
    a_table(client, "t", [{"p": {"y": [1, 2]}}, {}], [point])

    _, rows = extracted(client, tmp_path)

    assert rows == [{"p": {"y": [1, 2]}}, {"p": None}]


@pytest.mark.parametrize(
    ("kind", "compression"),
    [("AVRO", "GZIP"), ("AVRO", "ZSTD"), ("PARQUET", "DEFLATE"), ("CSV", "SNAPPY"), ("CSV", "ZSTD")],
)
def test_not_every_format_has_every_compression(client: bq.Client, kind: str, compression: str) -> None:
    a_table(client, "t", [{"a": 1}])
    config = bq.ExtractJobConfig(destination_format=kind, compression=compression)

    with pytest.raises(BadRequest, match=f"Compression {compression} is not supported for {kind}"):
        client.extract_table("shop.sales.t", "gs://bucket/t", job_config=config).result()


# -- decimals, ORC, Parquet


def decimals(precision: int, scale: int, *values: str) -> bytes:
    kind = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return parquet(x=pa.array([Decimal(value) for value in values], kind))


@pytest.mark.parametrize(
    ("precision", "scale", "targets", "expected"),
    [
        pytest.param(38, 9, ["NUMERIC", "BIGNUMERIC"], "NUMERIC", id="(38, 9) is NUMERIC"),
        pytest.param(39, 9, ["NUMERIC", "BIGNUMERIC"], "BIGNUMERIC", id="(39, 9) is BIGNUMERIC"),
        pytest.param(38, 10, ["NUMERIC", "BIGNUMERIC"], "BIGNUMERIC", id="(38, 10) is BIGNUMERIC"),
        pytest.param(76, 38, ["NUMERIC", "BIGNUMERIC"], "BIGNUMERIC", id="(76, 38) is BIGNUMERIC"),
        pytest.param(38, 9, ["BIGNUMERIC", "NUMERIC"], "NUMERIC", id="the order does not count"),
        pytest.param(38, 12, ["NUMERIC", "STRING"], "STRING", id="STRING holds all"),
        pytest.param(38, 12, ["NUMERIC"], "NUMERIC", id="if none is wide enough, the widest"),
        pytest.param(38, 12, [], "NUMERIC", id="NUMERIC is the default"),
    ],
)
def test_the_type_of_a_decimal_is_the_first_that_is_wide_enough(
    client: bq.Client, precision: int, scale: int, targets: Sequence[str], expected: str
) -> None:
    """REST JobConfigurationLoad, decimalTargetTypes."""
    table = load_file(client, decimals(precision, scale, "1.5"), "PARQUET", decimal_target_types=targets)

    assert [field.field_type for field in table.schema] == [expected]
    assert [str(value) for value in loaded(client)] == ["1.5" if expected != "STRING" else "1.500000000000"]


def test_a_decimal_that_its_type_cannot_hold_is_refused(client: bq.Client) -> None:
    content = decimals(38, 12, "0.000000000001")

    with pytest.raises(BadRequest, match="out of valid NUMERIC range"):
        load_file(client, content, "PARQUET", decimal_target_types=["NUMERIC"])


def test_a_type_that_is_named_twice_is_refused(client: bq.Client) -> None:
    with pytest.raises(BadRequest, match="duplicate types"):
        load_file(client, decimals(9, 2, "1.5"), "PARQUET", decimal_target_types=["NUMERIC", "NUMERIC"])


def test_orc_is_loaded_by_its_own_schema(client: bq.Client) -> None:
    content = io.BytesIO()
    pa.orc.write_table(pa.table({"x": [1, 2], "s": ["a", None], "l": [[1], []]}), content)

    table = load_file(client, content.getvalue(), "ORC")

    assert [(field.field_type, field.mode) for field in table.schema] == [
        ("INTEGER", "NULLABLE"),
        ("STRING", "NULLABLE"),
        ("INTEGER", "REPEATED"),
    ]
    assert rows_of(client, "t") == [(1, "a", [1]), (2, None, [])]


@pytest.mark.parametrize("kind", ["ORC", "PARQUET"])
def test_what_is_not_of_its_format_is_refused(client: bq.Client, kind: str) -> None:
    with pytest.raises(BadRequest, match="Error while reading data"):
        load_file(client, b"a,b\n", kind)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hivePartitioningOptions", {"mode": "AUTO", "sourceUriPrefix": "gs://bucket/t"}),
        ("referenceFileSchemaUri", "gs://bucket/a.parquet"),
        ("dateFormat", "DD/MM/YYYY"),
        ("timeZone", "Europe/Berlin"),
    ],
)
def test_an_option_that_would_change_the_rows_is_not_passed_over(client: bq.Client, option: str, value: Any) -> None:
    config = bq.LoadJobConfig(source_format="PARQUET")
    config._properties["load"][option] = value

    with pytest.raises(MethodNotImplemented, match=f"{option} of load jobs"):
        client.load_table_from_file(io.BytesIO(parquet(a=pa.array([1]))), "shop.sales.t", job_config=config).result()


def test_bytes_in_csv_may_lack_the_padding_of_base64(client: bq.Client) -> None:
    """google-cloud-bigquery, test_load_table_from_dataframe_w_explicit_schema_source_format_csv."""
    load_file(client, b"YWI\nYWI=\n", "CSV", schema=[bq.SchemaField("x", "BYTES")])

    assert loaded(client) == [b"ab", b"ab"]


def test_a_folder_that_cannot_be_written_is_an_access_error(client: bq.Client, tmp_path: Path) -> None:
    a_table(client, "t", [{"a": 1}], [A])
    (tmp_path / "bucket").write_text("a file where a folder should be")

    job = client.extract_table("shop.sales.t", "gs://bucket/t.csv")

    assert job.exception().errors[0]["reason"] == "accessDenied"
