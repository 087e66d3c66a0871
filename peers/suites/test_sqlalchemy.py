"""sqlalchemy-bigquery reflects and queries: https://github.com/googleapis/python-bigquery-sqlalchemy."""

import datetime
import os

import pytest
from google.cloud import bigquery
from sqlalchemy import (
    Column,
    Date,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)

PROJECT = os.environ["GOOGLE_CLOUD_PROJECT"]


@pytest.fixture
def engine():
    client = bigquery.Client()
    client.create_dataset("alchemy")
    made = """
        CREATE TABLE alchemy.orders (id INT64 NOT NULL, item STRING OPTIONS(description='what'), day DATE,
            tags ARRAY<STRING>, place STRUCT<city STRING, zip INT64>)
        PARTITION BY day CLUSTER BY item OPTIONS(description='all orders');
        INSERT INTO alchemy.orders VALUES
            (1, 'pen', DATE '2024-01-01', ['a', 'b'], ('Rome', 1)), (2, 'ink', DATE '2024-01-02', [], NULL);
        CREATE VIEW alchemy.pens AS SELECT * FROM alchemy.orders WHERE item = 'pen';
    """
    client.query_and_wait(made)
    yield create_engine(f"bigquery://{PROJECT}/alchemy")
    client.delete_dataset("alchemy", delete_contents=True)


@pytest.fixture
def orders(engine):
    return Table("orders", MetaData(), autoload_with=engine)


def test_tables_and_views_are_listed(engine):
    inspector = inspect(engine)

    assert inspector.get_table_names() == ["orders"]
    assert inspector.get_view_names() == ["pens"]
    assert "alchemy" in inspector.get_schema_names()


def test_a_view_definition_is_read(engine):
    assert "FROM alchemy.orders" in inspect(engine).get_view_definition("pens")


def test_columns_are_reflected(engine):
    columns = {c["name"]: c for c in inspect(engine).get_columns("orders")}

    assert isinstance(columns["id"]["type"], Integer)
    assert columns["id"]["nullable"] is False
    assert columns["item"]["comment"] == "what"
    assert "place.city" in columns


def test_has_table_tells(engine):
    assert inspect(engine).has_table("orders")
    assert not inspect(engine).has_table("none")


def test_a_reflected_table_is_queried(engine, orders):
    with engine.connect() as connection:
        rows = connection.execute(select(orders.c.item, orders.c.tags).order_by(orders.c.id)).all()

    assert [tuple(row) for row in rows] == [("pen", ["a", "b"]), ("ink", [])]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param(lambda t: t.c.item == "pen", 1, id="equal"),
        pytest.param(lambda t: t.c.item.in_(["pen", "ink"]), 2, id="in"),
        pytest.param(lambda t: t.c.item.like("p%"), 1, id="like"),
        pytest.param(lambda t: t.c.day >= datetime.date(2024, 1, 2), 1, id="date"),
    ],
)
def test_conditions_are_bound(engine, orders, condition, expected):
    with engine.connect() as connection:
        found = connection.execute(select(func.count()).select_from(orders).where(condition(orders))).scalar()

    assert found == expected


def test_rows_are_inserted_updated_and_deleted(engine):
    table = Table("made", MetaData(), Column("id", Integer), Column("name", String), Column("day", Date))
    with engine.connect() as connection:
        table.create(connection)
        connection.execute(insert(table).values(id=1, name="a", day=datetime.date(2024, 1, 1)))
        connection.execute(insert(table), [{"id": 2, "name": "b"}, {"id": 3, "name": "c"}])
        connection.execute(update(table).where(table.c.id == 2).values(name="z"))
        connection.execute(delete(table).where(table.c.id == 3))
        rows = connection.execute(select(table.c.id, table.c.name).order_by(table.c.id)).all()
        table.drop(connection)

    assert [tuple(row) for row in rows] == [(1, "a"), (2, "z")]


def test_text_with_parameters_is_run(engine):
    with engine.connect() as connection:
        assert connection.execute(text("SELECT :a + 1"), {"a": 1}).scalar() == 2


def test_comments_are_reflected(engine):
    assert inspect(engine).get_table_comment("orders")["text"] == "all orders"
