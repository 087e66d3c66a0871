"""A store with a dataset ``shop.sales`` in the EU, at a time that only tests move, and SQL run on it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bbq_dagster.local.clock import Clock
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.sql import run
from bbq_dagster.local.store import Store

NOW = datetime(2024, 3, 15, 12, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.set(NOW)
    return clock


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    store = Store(clock=clock)
    store.create_dataset("shop", "sales", {"location": "EU"})
    yield store
    store.close()


@pytest.fixture
def sql(store: Store) -> Callable[..., QueryResult]:
    """Runs SQL as a job of project ``shop`` in the EU."""

    def run_in_shop(text: str, **arguments: Any) -> QueryResult:
        return run(store, text, **{"project": "shop", "location": "EU"} | arguments)

    return run_in_shop


@pytest.fixture
def rows(sql: Callable[..., QueryResult]) -> Callable[..., list[tuple[Any, ...]]]:
    """The rows of a query, as tuples."""

    def rows_of(text: str, **arguments: Any) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in sql(text, **arguments).rows.to_pylist()]

    return rows_of
