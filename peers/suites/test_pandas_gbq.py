"""pandas-gbq reads and writes: https://googleapis.dev/python/pandas-gbq/latest/."""

import os

import pandas
import pandas_gbq
import pytest
from google.cloud import bigquery

PROJECT = os.environ["GOOGLE_CLOUD_PROJECT"]
FRAME = pandas.DataFrame(
    {
        "id": [1, 2, 3],
        "item": ["pen", "ink", None],
        "price": [1.5, 2.5, 3.5],
        "paid": [True, False, True],
        "at": pandas.to_datetime(["2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z", "2024-01-03T10:00:00Z"], utc=True),
    }
)


@pytest.fixture(autouse=True)
def dataset():
    client = bigquery.Client()
    client.create_dataset("frames")
    yield
    client.delete_dataset("frames", delete_contents=True)


def read(sql, **options):
    return pandas_gbq.read_gbq(sql, project_id=PROJECT, use_bqstorage_api=False, progress_bar_type=None, **options)


def write(frame, table="frames.t", **options):
    pandas_gbq.to_gbq(frame, table, project_id=PROJECT, progress_bar=False, **options)


def test_a_query_comes_as_a_frame():
    frame = read("SELECT 1 AS a, 'x' AS b, DATE '2024-01-01' AS c")

    assert frame.to_dict("records")[0] | {"c": None} == {"a": 1, "b": "x", "c": None}


@pytest.mark.parametrize("api_method", ["default", "load_parquet", "load_csv"])
def test_what_is_written_is_read_again(api_method):
    write(FRAME, api_method=api_method)

    frame = read("SELECT * FROM frames.t ORDER BY id")

    assert frame["item"].fillna("none").tolist() == ["pen", "ink", "none"]
    assert frame["price"].tolist() == [1.5, 2.5, 3.5]
    assert frame["at"].tolist() == FRAME["at"].tolist()


def test_a_table_is_read_by_its_name():
    write(FRAME)

    assert len(read("frames.t")) == 3


def test_append_adds_and_replace_replaces():
    write(FRAME)
    write(FRAME, if_exists="append")
    appended = len(read("SELECT * FROM frames.t"))
    write(FRAME, if_exists="replace")

    assert (appended, len(read("SELECT * FROM frames.t"))) == (6, 3)


def test_fail_refuses_an_existing_table():
    write(FRAME)

    with pytest.raises(pandas_gbq.gbq.TableCreationError):
        write(FRAME, if_exists="fail")


def test_a_dataset_is_made_when_missing():
    write(FRAME, "made_by_pandas.t")

    assert len(read("SELECT * FROM made_by_pandas.t")) == 3


def test_parameters_are_bound():
    parameters = [{"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "2"}}]
    frame = read(
        "SELECT @n + 1 AS m", configuration={"query": {"parameterMode": "NAMED", "queryParameters": parameters}}
    )

    assert frame["m"].tolist() == [3]


def test_a_table_schema_is_kept():
    write(FRAME[["id"]], table_schema=[{"name": "id", "type": "FLOAT"}])

    assert bigquery.Client().get_table("frames.t").schema[0].field_type == "FLOAT"


def test_a_bad_query_is_refused():
    with pytest.raises(pandas_gbq.gbq.GenericGBQException):
        read("SELECT nothing FROM frames.none")
