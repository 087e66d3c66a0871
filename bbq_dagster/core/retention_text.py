"""A retention plan in words and as JSON. Text only, decides nothing."""

from __future__ import annotations

from bbq_dagster.core.retention import RetentionPlan
from bbq_dagster.core.retention_rules import Fate
from bbq_dagster.core.wording import counted, section, size

_SHOWN = 12


def render_retention(plan: RetentionPlan, *, limit: int | None = _SHOWN) -> str:
    """The plan as text, ``limit`` lines per list at most (None: all)."""
    return "\n".join(
        [
            retention_summary(plan),
            *section("delete", map(_line, plan.expired), limit=limit),
            *section("keep", (f"{count:,} {why}" for why, count in plan.kept_by_reason().items()), limit=limit),
            *section("frozen, nothing is deleted", (f"{ref}: {why}" for ref, why in plan.frozen), limit=limit),
            *section("inconsistent, left as it is", (f"{u}: {why}" for u, why in plan.inconsistent), limit=limit),
            *section("needs approval", plan.tripped, limit=None),
        ]
    )


def retention_summary(plan: RetentionPlan) -> str:
    """One line: how many versions go, how many stay, in how many places, and the digest."""
    expired = sum(1 for _ in plan.expired)
    tables = sum(deletion.place.partition is None for deletion in plan.deletions)
    partitions = len(plan.deletions) - tables
    return (
        f"retention plan of {plan.planned_at:%Y-%m-%d %H:%M} UTC:"
        f" delete {expired:,} of {counted(len(plan.fates), 'version')} ({size(plan.bytes_freed)})"
        f" by {counted(tables, 'backup table')} and {counted(partitions, 'partition')}; digest {plan.digest}"
    )


def retention_as_json(plan: RetentionPlan) -> dict[str, object]:
    """The plan in the types of JSON: every version with every reason."""
    return {
        "planned_at": plan.planned_at.isoformat(),
        "digest": plan.digest,
        "needs_approval": list(plan.tripped),
        "bytes_freed": plan.bytes_freed,
        "kept_by_reason": plan.kept_by_reason(),
        "delete": [_as_json(fate) for fate in plan.expired],
        "keep": [_as_json(fate) for fate in plan.kept],
        "deletions": [
            {"place": str(deletion.place), "versions": [version.version_id for version in deletion.versions]}
            for deletion in plan.deletions
        ],
        "frozen": [{"dataset": str(dataset), "reason": why} for dataset, why in plan.frozen],
        "inconsistent": [{"unit": str(unit), "reason": why} for unit, why in plan.inconsistent],
    }


def _line(fate: Fate) -> str:
    version = fate.version
    return f"{version.unit} of {version.captured_at:%Y-%m-%d %H:%M} ({version.version_id}): {fate.why}"


def _as_json(fate: Fate) -> dict[str, object]:
    version = fate.version
    return {
        "version_id": version.version_id,
        "unit": str(version.unit),
        "captured_at": version.captured_at.isoformat(),
        "place": str(version.place),
        "bytes": version.size_bytes,
        "reasons": list(fate.reasons),
    }
