"""The figures that a monitoring system gets of each source project, from what is on record and a look at the sources.

``measured_figures`` sums up; how they are written down is up to the edge. Every project has every figure, also those
that are 0: a series that is not there cannot be told from one that nobody writes any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bbq_dagster.core.holds import Hold
from bbq_dagster.core.slis import Sli, SliReport, Violation
from bbq_dagster.core.status import TableStatus
from bbq_dagster.core.tables import DatasetRef, Unit


@dataclass(frozen=True, slots=True)
class Figure:
    """A gauge with its samples: values by the values of its ``labels``."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    samples: Mapping[tuple[str, ...], float]


def measured_figures(
    report: SliReport,
    *,
    projects: Sequence[str],
    statuses: Collection[TableStatus],
    looks: Mapping[DatasetRef, datetime],
    drill_times: Mapping[DatasetRef, timedelta],
    flagged: Collection[Hold],
) -> list[Figure]:
    """All figures of ``projects`` at ``report.at``. Times are seconds since 1970; 0 is never."""
    newest = ((s.table.project, s.newest_at.timestamp()) for s in statuses if s.newest_at is not None)
    looked = ((dataset.project, at.timestamp()) for dataset, at in looks.items())
    rpos = ((rpo.table.project, rpo.rpo.total_seconds()) for rpo in report.rpos if rpo.rpo is not None)
    rtos = ((dataset.project, took.total_seconds()) for dataset, took in drill_times.items())
    held = Counter(Unit.parse(hold.target).table.project for hold in flagged)

    def largest(name: str, meaning: str, values: Iterable[tuple[str, float]]) -> Figure:
        return _by_project(name, meaning, _largest(values, projects))

    return [
        Figure("bbq_measured_timestamp_seconds", "When these figures were made", (), {(): report.at.timestamp()}),
        largest("bbq_last_look_timestamp_seconds", "When a dataset of the project was last looked at", looked),
        largest("bbq_last_version_timestamp_seconds", "When the newest version was captured", newest),
        largest("bbq_rpo_seconds", "Age of the oldest version of what changed since", rpos),
        largest("bbq_rto_seconds", "The longest restore among the last drills of the datasets", rtos),
        largest("bbq_flagged", "What the anomaly gate flagged and nobody released", held.items()),
        _violations(report.violations, projects),
        *(_summed(name, meaning, column, statuses, projects) for name, meaning, column in _SUMS),
    ]


_SUMS = (
    ("bbq_units", "Tables and partitions that have a version", "units"),
    ("bbq_bytes", "Logical bytes of the newest versions", "size_bytes"),
    ("bbq_units_gone", "Units with versions that were emptied, or vanished from the source", "gone"),
    ("bbq_units_failed", "Units whose copies failed since their newest version", "failed"),
    ("bbq_units_unfinished", "Units in copies that have no end on record", "unfinished"),
)
"""Figure, meaning, and the field of ``TableStatus`` that is summed up."""


def _by_project(name: str, meaning: str, values: Mapping[str, float]) -> Figure:
    return Figure(name, meaning, ("project",), {(project,): value for project, value in values.items()})


def _largest(values: Iterable[tuple[str, float]], projects: Iterable[str]) -> dict[str, float]:
    found = dict.fromkeys(projects, 0.0)
    for project, value in values:
        if project in found:
            found[project] = max(found[project], value)
    return found


def _summed(name: str, meaning: str, column: str, statuses: Collection[TableStatus], projects: Sequence[str]) -> Figure:
    return _by_project(
        name, meaning, {p: sum(getattr(s, column) for s in statuses if s.table.project == p) for p in projects}
    )


def _violations(violations: Collection[Violation], projects: Sequence[str]) -> Figure:
    found = [(_project_of(violation), violation.sli) for violation in violations]
    counted: dict[tuple[str, ...], float] = {(p, sli.value): found.count((p, sli)) for p in projects for sli in Sli}
    return Figure("bbq_violations", "What is not protected as it should be", ("project", "sli"), counted)


def _project_of(violation: Violation) -> str:
    match violation.subject:
        case Unit(table=table):
            return table.project
        case DatasetRef(project=project):
            return project
        case str() as project:  # pragma: no branch: the last of the subjects
            return project
