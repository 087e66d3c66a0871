"""The catalog written anew from what the backup project holds: which versions can be read off it, which not.

Decides; writes nothing and reads no clock. What is on record already stays as it is. What a rebuild cannot know (holds,
which versions were bad, which units are gone) is not guessed: the rebuilt versions are held until somebody looks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bbq_dagster.core.drift import Adopt, BackupSide, CatalogSide, Finding, Kind, find_drift
from bbq_dagster.core.holds import Hold
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import counted, section, size
from bbq_dagster.errors import Refused

REBUILT = "rebuilt from its backup table"
"""The reason of a version that was read off its backup table, and is in no record from before."""

OWNER = "bbq catalog rebuild"
_LEFT_OUT = frozenset({Kind.FAILED_COPY, Kind.WRONG_DESCRIPTION, Kind.FOREIGN_TABLE})
_WHY_HELD = "rebuilt: which of its versions were held is not known"


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """The versions that are recorded anew; ``known`` were on record; ``left_out`` and ``unseen`` are named with why."""

    versions: tuple[Version, ...] = ()
    known: int = 0
    left_out: tuple[Finding, ...] = ()
    unseen: Mapping[DatasetRef, str] = field(default_factory=dict)

    @property
    def datasets(self) -> tuple[DatasetRef, ...]:
        """The source datasets of these versions."""
        return tuple(sorted({version.unit.table.in_dataset for version in self.versions}))

    @property
    def digest(self) -> str:
        """The same for the same versions, whenever they are found."""
        lines = sorted(f"{v.backup} {v.unit} {v.rows} {v.size_bytes}" for v in self.versions)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def refuse_unless_approved(self, approved: str) -> None:
        """Raises ``Refused`` where it is not what was approved."""
        if approved != self.digest:
            raise Refused(
                f"the plan {approved} was approved, this one is {self.digest}: nothing was recorded",
                hint="something moved since it was shown: look at it again",
            )

    def __str__(self) -> str:
        return render_rebuild(self)


def plan_rebuild(catalog: CatalogSide, backup: BackupSide) -> RebuildPlan:
    """Everything that the backup project holds and the catalog does not tell of."""
    drift = find_drift(catalog, backup, reason=REBUILT)
    adoptions = [finding.remedy for finding in drift.findings if isinstance(finding.remedy, Adopt)]
    of_copies = (finding for finding in drift.findings if finding.kind in _LEFT_OUT)
    return RebuildPlan(
        versions=tuple(version for adoption in adoptions for version in adoption.versions),
        known=drift.versions,
        left_out=tuple(of_copies),
        unseen=backup.unseen,
    )


def holds_for(plan: RebuildPlan, placed: Iterable[Hold], *, at: datetime) -> list[Hold]:
    """A hold on each dataset that versions are rebuilt of, but for those that an earlier rebuild has placed."""
    held = {hold.target for hold in placed if hold.owner == OWNER}
    targets = (f"{dataset}.*" for dataset in plan.datasets)
    return [Hold(target, OWNER, _WHY_HELD, since=at) for target in targets if target not in held]


def render_rebuild(plan: RebuildPlan, *, limit: int | None = 12) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    of_table: dict[str, list[Version]] = {}
    for version in plan.versions:
        of_table.setdefault(str(version.unit.table), []).append(version)
    total = size(sum(version.size_bytes or 0 for version in plan.versions))
    lines = (f"{table}: {counted(len(versions), 'version')}" for table, versions in sorted(of_table.items()))
    return "\n".join(
        [
            f"rebuild plan: {counted(len(plan.versions), 'version')} ({total}) of {counted(len(of_table), 'table')};"
            f" {plan.known:,} on record already; digest {plan.digest}",
            *section("record", lines, limit=limit),
            *section("left out", map(str, plan.left_out), limit=limit),
            *section("not looked at", (f"{ref}: {why}" for ref, why in plan.unseen.items()), limit=limit),
        ]
    )
