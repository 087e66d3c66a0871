"""What the world looks like after an operation, as a value that two worlds can be compared by.

Read from outside: the catalog, the backup tables with their rows, BigQuery's list of jobs, the targets of a restore,
the event log of Dagster. Times, runs and the ids of jobs are left out: they differ, and nobody asks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, NamedTuple

from google.cloud import bigquery
from google.cloud.bigquery.dataset import DatasetListItem

from bbq_dagster.core.catalog import EventKind
from bbq_dagster.core.restore_record import item_statuses
from bbq_dagster.core.restore_render import read_plan
from bbq_dagster.core.verification_record import Outcome
from bbq_dagster.core.versions import Version
from bbq_dagster.stack import Stack
from bbq_dagster_tests.trust.dagster_side import data_versions_per_key
from bbq_dagster_tests.trust.shop import LAB, VAULT, Shop

Rows = tuple[str, ...]
_TABLE = "a table"


class Fact(NamedTuple):
    """What a version is."""

    unit: str
    place: str
    rows: int | None
    reason: str


ONCE = frozenset(
    {
        EventKind.VERSION_CREATED,
        EventKind.VERSION_DELETED,
        EventKind.EMPTIED,
        EventKind.VANISHED,
        EventKind.HELD,
        EventKind.RELEASED,
        EventKind.RESTORED,
    }
)
"""What is on record once, however often it was begun."""


@dataclass(frozen=True, slots=True)
class Picture:
    """``events``: how often each fact is on record. ``copied``: the successful copy jobs by source and destination.

    ``tables``: the rows of every table in the backup project and of the targets; ``places``: these, their datasets, and
    which of them expire. ``proofs``: what verifications found of each version. ``holds``: how many there are
    on what. ``open``: what is still to do.
    """

    versions: Mapping[str, Fact]
    events: Mapping[str, int]
    copied: Mapping[str, int]
    tables: Mapping[str, Rows]
    places: Mapping[str, str]
    proofs: Mapping[str, tuple[str, ...]]
    holds: Mapping[str, int]
    restored: Mapping[str, str]
    materialized: Mapping[str, list[str]]
    open: tuple[str, ...]

    def differences(self, other: Picture) -> list[str]:
        """What is not as in ``other``, a line each; nothing where they are alike."""
        return [
            f"{name}: {key}: {mine.get(key)!r} instead of {theirs.get(key)!r}"
            for name, mine, theirs in self._side_by_side(other)
            for key in sorted({*mine, *theirs})
            if mine.get(key) != theirs.get(key)
        ] + [f"still to do: {one}" for one in self.open if one not in other.open]

    def as_read(self) -> Picture:
        """The same as whoever reads the record sees it: a fact that is on record twice is a fact."""
        return replace(self, events=dict.fromkeys(self.events, 1), holds=dict.fromkeys(self.holds, 1))

    def as_done(self) -> Picture:
        """The same however often it was done: what was copied twice into the same place was copied."""
        return replace(self.as_read(), copied=dict.fromkeys(self.copied, 1))

    def content(self) -> Picture:
        """The same without what follows from a failed attempt: its names, and tables that it left empty.

        A new attempt goes into a new backup table. ``tables`` are by the source that their name tells; a table with
        rows and without a version on record keeps its name.
        """
        known = {fact.place.split("$")[0] for fact in self.versions.values()}
        return Picture(
            versions={
                f"{unit} #{number}": Fact(unit, "", fact.rows, "")
                for unit, facts in _by_unit(self.versions.values())
                for number, fact in enumerate(facts)
            },
            events={},
            copied=_sums((line.split(" to ")[0], count) for line, count in self.copied.items()),
            tables=_joined(
                (_without_digest(name) if name in known else name, rows) for name, rows in self.tables.items() if rows
            ),
            places={name: kind for name, kind in self.places.items() if kind != _TABLE},
            proofs=self.proofs,
            holds=self.holds,
            restored=self.restored,
            materialized={key: [str(len(made))] for key, made in self.materialized.items()},
            open=self.open,
        )

    def _side_by_side(self, other: Picture) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
        names = [field.name for field in fields(self) if field.name != "open"]
        return [(name, getattr(self, name), getattr(other, name)) for name in names]


def picture_of(shop: Shop) -> Picture:
    """Look at everything; changes nothing but the server's list of query jobs."""
    stack = shop.stack()
    history = stack.catalog.history(limit=100_000, kinds=ONCE)
    made = {event.version_id for event in history if event.version_id is not None}
    versions = stack.catalog.versions_by_id(made)
    now = stack.clock()
    plan = stack.plan_changed(now=now)
    retention = stack.plan_retention(now=now)
    datasets = list(_datasets(shop))
    tables = [(client, table) for client, dataset in datasets for table in client.list_tables(dataset.dataset_id)]
    return Picture(
        versions={version.version_id: _fact(version) for version in versions},
        events=Counter(f"{event.event} {event.version_id or event.target or event.subject}" for event in history),
        copied=copies_of(shop),
        tables={_name(table.reference): _rows(client, table) for client, table in tables},
        places={
            **dict.fromkeys((f"{dataset.project}.{dataset.dataset_id}" for _, dataset in datasets), "a dataset"),
            **{
                _name(table.reference): _TABLE if table.expires is None else "a table that expires"
                for _, table in tables
            },
        },
        proofs=_proofs(stack),
        holds=Counter(hold.target for hold in stack.holds()),
        restored=_restored(shop),
        materialized=data_versions_per_key(shop.dagster_home) if shop.dagster_home.exists() else {},
        open=(
            *(f"copy {unit.unit}: {unit.reason}" for unit in plan.units),
            *(f"delete {deletion.place}" for deletion in retention.deletions),
            *(f"{where}: {why}" for where, why in (*retention.frozen, *retention.inconsistent)),
        ),
    )


def _fact(version: Version) -> Fact:
    return Fact(str(version.unit), str(version.backup), version.rows, version.reason)


def copies_of(shop: Shop) -> Counter[str]:
    """The successful copy jobs, by source and destination."""
    jobs = shop.server.client(VAULT).list_jobs(all_users=True, max_results=10_000)
    copies = [job for job in jobs if isinstance(job, bigquery.CopyJob) and job.state == "DONE"]
    return Counter(f"{_name(job.sources[0])} to {_name(job.destination)}" for job in copies if not job.error_result)


def _name(table: bigquery.TableReference) -> str:
    return f"{table.project}.{table.dataset_id}.{table.table_id}"


def _datasets(shop: Shop) -> Iterator[tuple[bigquery.Client, DatasetListItem]]:
    """Those of the backup project, but for the catalog, and those that restores go to."""
    for project in (VAULT, LAB):
        client = shop.server.client(project)
        for dataset in client.list_datasets():
            if dataset.dataset_id != "bbq_catalog":
                yield client, dataset


def _proofs(stack: Stack) -> dict[str, tuple[str, ...]]:
    """What was found of each version, and compared with what; not how often nothing could be found."""
    found: dict[str, set[str]] = {}
    for event in stack.catalog.verifications(None):
        if event.outcome != Outcome.COULD_NOT:
            found.setdefault(event.version_id or "", set()).add(f"{event.how}: {event.outcome}")
    return {version: tuple(sorted(words)) for version, words in found.items()}


def _rows(client: bigquery.Client, table: bigquery.table.TableListItem) -> Rows:
    listed = client.list_rows(client.get_table(table.reference))
    return tuple(sorted(str(dict(row)) for row in listed))


def _restored(shop: Shop) -> dict[str, str]:
    if not shop.restore_plan.exists():
        return {}
    plan = read_plan(shop.restore_plan.read_text(), name="the plan")
    statuses = item_statuses(shop.stack().catalog.restore_events(plan.restore_id))
    return {str(status.target): status.state.value for status in statuses}


def _by_unit(facts: Iterable[Fact]) -> Iterator[tuple[str, list[Fact]]]:
    in_order = sorted(facts, key=lambda fact: (fact.unit, fact.rows or 0))
    for unit, of_unit in groupby(in_order, key=lambda fact: fact.unit):
        yield unit, list(of_unit)


def _sums(counts: Iterable[tuple[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in counts:
        total[name] += count
    return total


def _joined(tables: Iterable[tuple[str, Rows]]) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for name, rows in tables:
        found[name] = tuple(sorted((*found.get(name, ()), *rows)))
    return found


def _without_digest(table: str) -> str:
    return table.rsplit("-", 1)[0]
