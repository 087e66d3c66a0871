"""A believable day of changes to the sample: ``bbq local change``.

Decides which changes a day brings; ``steps`` makes them. Five days bring every kind, then they come again with other
rows. The same day, seed and sample give the same changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from random import Random

from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from bbq_dagster.errors import Refused
from bbq_dagster.local.sample import steps
from bbq_dagster.local.sample.made import ChangeMade
from bbq_dagster.local.sample.steps import Day
from bbq_dagster.local.sample.tables import OPS, progress_labels

DEFAULT_SEED = 2013

_SCHEDULE: tuple[tuple[Callable[[Day], ChangeMade], ...], ...] = (
    (
        steps.append_flights,
        steps.load_charters_late,
        steps.correct_delays,
        steps.delete_cancelled_flights,
        steps.describe_weather,
        steps.stream_gate_events,
    ),
    (
        steps.append_flights,
        steps.append_weather,
        steps.load_gate_events,
        steps.add_departure_board,
        steps.drop_oldest_report,
        steps.create_report,
    ),
    (
        steps.append_flights,
        steps.correct_precipitation,
        steps.recreate_aircraft_types,
        steps.drop_board_hour,
        steps.load_charters_late,
    ),
    (
        steps.append_flights,
        steps.append_weather,
        steps.truncate_staging,
        steps.insert_planes_without_year,
        steps.stream_gate_events,
    ),
    (
        steps.append_flights,
        steps.fill_staging,
        steps.label_airports,
        steps.correct_delays,
        steps.delete_cancelled_flights,
    ),
)


def change(client: bigquery.Client, *, day: int, seed: int = DEFAULT_SEED) -> tuple[ChangeMade, ...]:
    """Make the changes of one day, the first of which is 1; ``next_day`` says which one is due.

    The airline's days follow the last one that was seeded. Days may be left out, not made twice: raises ``Refused``
    where the sample has seen this day, and where there is no sample.
    """
    ops, until, done = _progress(client)
    if day <= done:
        raise Refused(f"the sample is past day {day}: day {done} is made", hint=f"the next one is day {done + 1}")
    today = _day(client, day, until, Random(f"{seed}:{day}"))
    made = tuple(step(today) for step in _SCHEDULE[(day - 1) % len(_SCHEDULE)])
    ops.labels.update(progress_labels(until, day=day))
    client.update_dataset(ops, ["labels"])
    return made


def next_day(client: bigquery.Client) -> int:
    """The day after the last day of changes. Raises ``Refused`` where there is no sample."""
    return _progress(client)[2] + 1


def _progress(client: bigquery.Client) -> tuple[bigquery.Dataset, date, int]:
    try:
        ops = client.get_dataset(str(OPS))
    except NotFound as error:
        raise Refused(f"there is no sample: {OPS} was not found", hint="make it by: bbq local seed") from error
    return ops, date.fromisoformat(ops.labels["sample_until"]), int(ops.labels["sample_day"])


def _day(client: bigquery.Client, number: int, until: date, rng: Random) -> Day:
    cancelled = steps.cancelled_flights(client)
    # The last seeded day is left alone: 2013's last day has no weather.
    late, corrected = rng.sample([day for day in cancelled if day < until], 2)
    with_cancelled = [day for day, count in cancelled.items() if count and day not in (late, corrected)]
    return Day(client, number, until + timedelta(days=number), rng, late, corrected, rng.choice(with_cancelled))
