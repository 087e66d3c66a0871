"""Who is told of what: failed runs in their words, missed daily backups once a day, nobody where nobody is named."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from bbq_dagster.core.tables import Unit
from bbq_dagster.defs.notifications import (
    FAILED_RUNS,
    MISSED_RUNS,
    Notice,
    build_notification_sensors,
    missed,
    missed_days,
    post_to,
)
from bbq_dagster.errors import Permanent, Transient
from bbq_dagster.settings import Source
from bbq_dagster_tests.defs.conftest import Orchestra
from bbq_dagster_tests.defs.world import World, resource_of

HOUR = timedelta(hours=1)
SHOP = Source("acme-shop", time(2), ZoneInfo("Europe/London"))
DUE = datetime(2026, 3, 10, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("looked_at", "now", "expected"),
    [
        pytest.param(DUE, DUE + 6 * HOUR, {}, id="looked at when it was due"),
        pytest.param(DUE - HOUR, DUE + 6 * HOUR, {"acme-shop": "2026-03-10"}, id="not since it was due"),
        pytest.param(DUE - HOUR, DUE + 6 * HOUR - timedelta(seconds=1), {}, id="there is time left"),
        pytest.param(None, DUE + 6 * HOUR, {"acme-shop": "2026-03-10"}, id="never looked at"),
        pytest.param(DUE - 24 * HOUR, DUE + 5 * HOUR, {}, id="yesterday's was in time"),
    ],
)
def test_a_daily_backup_is_missed_when_nobody_looked_in_time(
    looked_at: datetime | None, now: datetime, expected: dict[str, str]
) -> None:
    seen = {} if looked_at is None else {"acme-shop": looked_at}

    late = missed_days([SHOP], seen, now=now, within=6 * HOUR)

    assert {project: str(day) for project, day in late.items()} == expected


def tick(orchestra: Orchestra, told: list[Notice], cursor: str | None = None) -> SensorExecutionData:
    _, sensor = build_notification_sensors(orchestra.settings, notify=told.append)
    resources = {"bbq": resource_of(orchestra.world, orchestra.settings)}
    with dg.build_sensor_context(orchestra.instance, cursor, resources=resources) as context:
        return sensor.evaluate_tick(context)


def test_a_missed_backup_is_told_of_once_for_each_day(orchestra: Orchestra, world: World) -> None:
    told: list[Notice] = []
    first = tick(orchestra, told)
    second = tick(orchestra, told, first.cursor)
    world.pass_time(days=1)
    third = tick(orchestra, told, second.cursor)

    assert [notice.subject for notice in told] == ["acme-shop", "acme-shop"]
    assert [data.skip_message for data in (first, second, third)] == [
        "told of acme-shop",
        "no daily backup was missed that was not told of",
        "told of acme-shop",
    ]


def test_a_backup_in_time_is_no_news(orchestra: Orchestra, world: World) -> None:
    world.put("acme-shop.sales.orders")
    orchestra.run()
    told: list[Notice] = []

    tick(orchestra, told)

    assert told == []


def test_a_message_that_nobody_took_is_sent_again(orchestra: Orchestra) -> None:
    def refuse(_: Notice) -> None:
        raise Transient("nobody there")

    _, sensor = build_notification_sensors(orchestra.settings, notify=refuse)
    resources = {"bbq": resource_of(orchestra.world, orchestra.settings)}

    with dg.build_sensor_context(orchestra.instance, resources=resources) as context, pytest.raises(Transient):
        sensor.evaluate_tick(context)


def test_a_failed_run_is_told_of_with_the_units_that_failed(orchestra: Orchestra, world: World) -> None:
    world.put("acme-shop.sales.orders")
    world.faults[Unit.parse("acme-shop.sales.orders")] = Permanent("cannot be copied")
    result = orchestra.run()
    told: list[Notice] = []
    sensor, _ = build_notification_sensors(orchestra.settings, notify=told.append)

    with dg.build_run_status_sensor_context(
        FAILED_RUNS, result.get_run_failure_event(), orchestra.instance, result.dagster_run
    ) as context:
        sensor(context.for_run_failure())

    (notice,) = told
    assert notice.kind == "run failed"
    assert "acme-shop.sales.orders" in notice.text
    assert "cannot be copied" in notice.text


@pytest.mark.parametrize(
    ("webhook", "expected"),
    [
        pytest.param(None, set(), id="nobody is told"),
        pytest.param("https://chat.acme.example/hook", {FAILED_RUNS, MISSED_RUNS}, id="a webhook"),
    ],
)
def test_there_are_sensors_where_somebody_is_to_be_told(
    orchestra: Orchestra, webhook: str | None, expected: set[str]
) -> None:
    notifications = replace(orchestra.settings.notifications, webhook=webhook)
    orchestra.settings = replace(orchestra.settings, notifications=notifications)

    names = {sensor.name for sensor in orchestra.definitions.get_repository_def().sensor_defs}

    assert {name for name in names if name.startswith("notify_")} == expected


# The webhook


class Hook(HTTPServer):
    """Takes messages and answers ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.status, self.taken = status, list[object]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret"


class _Taking(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    with Hook(request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("hook", [200], indirect=True)
def test_a_webhook_gets_json_with_the_text(hook: Hook) -> None:
    notice = missed("acme-shop", DUE, 6 * HOUR)

    post_to(hook.url)(notice)

    assert hook.taken == [{"text": notice.text, "kind": "daily backup missed", "subject": "acme-shop"}]


@pytest.mark.parametrize("hook", [500], indirect=True)
def test_a_webhook_that_refuses_is_an_error_that_does_not_tell_its_url(hook: Hook) -> None:
    with pytest.raises(Transient) as caught:
        post_to(hook.url)(missed("acme-shop", DUE, 6 * HOUR))

    assert "HTTPError" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_long_text_is_cut() -> None:
    assert len(Notice("run failed", "run", "x" * 10_000).as_json()["text"]) == 3000
