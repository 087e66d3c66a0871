"""When a daily backup is due: time zones, clocks that are moved, missed days."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from bbq_dagster.defs.schedule import Cursor, Daily, due_day
from bbq_dagster.errors import Refused


@pytest.mark.parametrize(
    ("at", "zone", "day", "expected"),
    [
        pytest.param("02:00", "UTC", "2026-03-10", "2026-03-10T02:00", id="UTC"),
        pytest.param("02:00", "Europe/London", "2026-07-01", "2026-07-01T01:00", id="summer time"),
        pytest.param("01:00", "Pacific/Auckland", "2026-01-01", "2025-12-31T12:00", id="the day before in UTC"),
        pytest.param(
            "02:30", "America/New_York", "2026-03-08", "2026-03-08T07:00", id="skipped time: right after the gap"
        ),
        pytest.param("02:00", "America/New_York", "2026-03-08", "2026-03-08T07:00", id="first skipped minute"),
        pytest.param("01:59", "America/New_York", "2026-03-08", "2026-03-08T06:59", id="last minute before the gap"),
        pytest.param("03:00", "America/New_York", "2026-03-08", "2026-03-08T07:00", id="first minute after the gap"),
        pytest.param("02:15", "Australia/Lord_Howe", "2026-10-04", "2026-10-03T15:30", id="a gap of half an hour"),
        pytest.param("01:30", "America/New_York", "2026-11-01", "2026-11-01T05:30", id="doubled time: the first one"),
        pytest.param("12:00", "Pacific/Apia", "2011-12-30", "2011-12-30T10:00", id="a day that did not exist"),
    ],
)
def test_the_backup_of_a_day_is_due_at_its_local_time(at: str, zone: str, day: str, expected: str) -> None:
    due = Daily(time.fromisoformat(at), ZoneInfo(zone)).due_at(date.fromisoformat(day))

    assert due == datetime.fromisoformat(expected).replace(tzinfo=UTC)


DAILY = Daily(time(2), ZoneInfo("Europe/London"))


@pytest.mark.parametrize(
    ("last_day", "now", "expected"),
    [
        pytest.param(None, "2026-03-10T12:00", "2026-03-10", id="an empty cursor is due at once"),
        pytest.param(None, "2026-03-10T01:59", "2026-03-09", id="before its time, for the day before"),
        pytest.param("2026-03-09", "2026-03-10T01:59", None, id="a minute early"),
        pytest.param("2026-03-09", "2026-03-10T02:00", "2026-03-10", id="on time"),
        pytest.param("2026-03-10", "2026-03-10T23:59", None, id="once a day"),
        pytest.param("2026-03-01", "2026-03-10T12:00", "2026-03-10", id="missed days are one backup"),
        pytest.param("2026-03-12", "2026-03-10T12:00", None, id="not twice after the time zone was changed"),
        pytest.param("2026-10-24", "2026-10-25T02:00", "2026-10-25", id="the day on which clocks go back"),
    ],
)
def test_which_day_is_due(last_day: str | None, now: str, expected: str | None) -> None:
    last = date.fromisoformat(last_day) if last_day else None

    due = due_day(DAILY, last, datetime.fromisoformat(now).replace(tzinfo=UTC))

    assert due == (date.fromisoformat(expected) if expected else None)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kolkata"])
@pytest.mark.parametrize("at", [time(0), time(1, 30), time(2, 15), time(23, 59)])
def test_every_day_of_a_year_is_due_once_and_in_order(zone: str, at: time) -> None:
    daily = Daily(at, ZoneInfo(zone))
    days = [date.fromordinal(n) for n in range(date(2026, 1, 1).toordinal(), date(2027, 1, 1).toordinal())]
    due = [daily.due_at(day) for day in days]

    assert due == sorted(set(due))
    assert [daily.latest_day(instant) for instant in due] == days


CURSOR = Cursor({"acme-shop": date(2026, 3, 10), "example.com:crm": date(2026, 3, 9)})


@pytest.mark.parametrize("cursor", [CURSOR, Cursor()])
def test_a_cursor_survives_being_written(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


def test_a_cursor_remembers_what_was_looked_at_and_forgets_what_is_gone() -> None:
    after = CURSOR.after(date(2026, 3, 11), ["acme-shop", "acme-web"]).only({"acme-shop", "acme-web"})

    assert after == Cursor({"acme-shop": date(2026, 3, 11), "acme-web": date(2026, 3, 11)})


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"version": 2, "days": {}}', '{"version": 1, "days": []}', "3"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Cursor.parse(text)
