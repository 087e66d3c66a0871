"""What became of a backup: one outcome per unit, and a report that names everything that did not go well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bbq_dagster.core.plan import DatasetFailure, ProjectFailure
from bbq_dagster.core.render import not_looked_at
from bbq_dagster.core.tables import Unit
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted


@dataclass(frozen=True, slots=True)
class VersionMade:
    """The unit was copied, checked and recorded."""

    version: Version

    @property
    def unit(self) -> Unit:
        return self.version.unit


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """The unit was not copied. ``reason`` is why it should have been.

    ``error`` is what the warehouse said, or the check. The next run plans a new copy.
    """

    unit: Unit
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnitUnfinished:
    """Nobody knows yet whether the unit was copied. Its copy stays planned, and the next run goes on with it."""

    unit: Unit
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotCaptured:
    """The copy of its table is good and the unit is not in it, which is no fault: it has no new version."""

    unit: Unit
    reason: str


UnitOutcome = VersionMade | UnitFailure | UnitUnfinished | NotCaptured


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time of a run went: the catalog, whoever is told of the outcomes, and the rest."""

    total: float = 0.0
    catalog: float = 0.0
    on_recorded: float = 0.0

    @property
    def warehouse(self) -> float:
        """Waiting for the warehouse: all that is neither catalog nor reporting."""
        return self.total - self.catalog - self.on_recorded

    def __str__(self) -> str:
        return (
            f"{self.total:,.1f} s (warehouse {self.warehouse:,.1f}, catalog {self.catalog:,.1f},"
            f" reporting {self.on_recorded:,.1f})"
        )


@dataclass(frozen=True, slots=True)
class BackupReport:
    """All outcomes of a run.

    ``datasets_failed`` and ``projects_failed`` could not even be looked at, so that nothing of them was planned.
    """

    run_id: str
    versions: tuple[VersionMade, ...] = ()
    failures: tuple[UnitFailure, ...] = ()
    unfinished: tuple[UnitUnfinished, ...] = ()
    not_captured: tuple[NotCaptured, ...] = ()
    datasets_failed: tuple[DatasetFailure, ...] = ()
    projects_failed: tuple[ProjectFailure, ...] = ()
    seconds: Seconds = field(default_factory=Seconds)

    @property
    def ok(self) -> bool:
        """Every unit that should have a version now has one, except for those not captured."""
        return not (self.failures or self.unfinished or self.datasets_failed or self.projects_failed)

    def __str__(self) -> str:
        return "\n".join(
            [
                self._summary(),
                *_section("failed", self.failures),
                *_section("unfinished: the next run goes on with them", self.unfinished),
                *(["not looked at:"] if self.datasets_failed or self.projects_failed else []),
                *(f"  {line}" for line in not_looked_at(self.datasets_failed, self.projects_failed)),
                *(["not captured:"] if self.not_captured else []),
                *(f"  {missed.unit}: {missed.reason}" for missed in self.not_captured),
            ]
        )

    def _summary(self) -> str:
        rows = sum(made.version.rows or 0 for made in self.versions)
        size_bytes = sum(made.version.size_bytes or 0 for made in self.versions)
        return (
            f"run {self.run_id}: {counted(len(self.versions), 'version')}, {counted(rows, 'row')}, {size_bytes:,} bytes"
            f" in {self.seconds}; {len(self.failures):,} failed, {len(self.unfinished):,} unfinished,"
            f" {len(self.not_captured):,} not captured"
        )


def _section(title: str, bad: Sequence[UnitFailure | UnitUnfinished]) -> Iterator[str]:
    """Units of one dataset with one error together: a refused dataset is one story, not ten thousand."""
    if bad:
        yield f"{title}:"
    in_order = sorted(bad, key=lambda one: (_dataset_and_error(one), one.unit))
    for (dataset, error), same in groupby(in_order, _dataset_and_error):
        keys = [one.unit.key for one in same]
        yield f"  {dataset}: {', '.join(keys)}: {error}"


def _dataset_and_error(one: UnitFailure | UnitUnfinished) -> tuple[str, str]:
    return str(one.unit.table.in_dataset), one.error
