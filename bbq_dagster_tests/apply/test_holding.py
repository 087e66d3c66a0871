"""Placing and releasing holds: what was asked for twice, as after a stop, is there once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bbq_dagster.apply.holding import place_hold, release_hold
from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.holds import Hold
from bbq_dagster.errors import Refused
from bbq_dagster_tests.builders import NOW, ORDERS
from bbq_dagster_tests.fakes import FakeCatalog

LATER = NOW + timedelta(hours=1)


def hold(catalog: FakeCatalog, *, now: datetime, owner: str = "ada", until: datetime | None = None) -> Hold:
    return place_hold(catalog, str(ORDERS), owner=owner, reason="audit", until=until, now=now, run_id="r")


def test_the_same_hold_asked_for_again_is_the_one_that_is_in_force() -> None:
    catalog = FakeCatalog()
    first, second = hold(catalog, now=NOW), hold(catalog, now=LATER)

    assert second == first
    assert len(catalog.of_kind(EventKind.HELD)) == 1


@pytest.mark.parametrize(
    ("owner", "until"),
    [
        pytest.param("bob", None, id="of somebody else"),
        pytest.param("ada", NOW + timedelta(days=30), id="with another end"),
    ],
)
def test_a_hold_that_differs_is_one_more(owner: str, until: datetime | None) -> None:
    catalog = FakeCatalog()
    hold(catalog, now=NOW)
    hold(catalog, now=LATER, owner=owner, until=until)

    assert len(catalog.holds()) == 2


def test_a_hold_that_was_released_can_be_placed_again() -> None:
    catalog = FakeCatalog()
    first = hold(catalog, now=NOW)
    release_hold(catalog, first.hold_id, now=LATER, run_id="r")
    second = hold(catalog, now=LATER + timedelta(hours=1))

    assert [event.hold_id for event in catalog.holds()] == [second.hold_id]
    with pytest.raises(Refused, match="nothing was released"):
        release_hold(catalog, first.hold_id, now=LATER, run_id="r")
