"""A restore drill: restore a version into a scratch dataset, compare it, say how long that took, and remove it.

The scratch table has the id of the version for its name, and is deleted before and after: what a stopped drill left
behind is in nobody's way, and BigQuery deletes it after a day. The dataset goes with its last table.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from bbq_dagster.apply.pace import Runtime
from bbq_dagster.core.fingerprint import Fingerprint, Question, content_difference, row_difference
from bbq_dagster.core.naming import SCRATCH_PREFIX
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_request import RestoreRequest, Target, VersionWish
from bbq_dagster.core.tables import DatasetRef, Unit
from bbq_dagster.core.verification_record import How, Outcome, Verified
from bbq_dagster.core.versions import Version
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Warehouse

KEPT_FOR = timedelta(days=1)
"""The longest that a scratch table stays after a drill that was stopped."""


def scratch_dataset(project: str, location: str) -> DatasetRef:
    """Where versions of this location are restored to. Its name cannot be that of a backup dataset (``naming``)."""
    return DatasetRef(project, f"{SCRATCH_PREFIX}{location.lower().replace('-', '_')}")


def drill_request(version: Version, *, into: str) -> RestoreRequest:
    """The restore of ``version`` into its scratch table in project ``into``."""
    dataset = scratch_dataset(into, version.location)
    return RestoreRequest(
        versions=(VersionWish(version.version_id, version.version_id),),
        target=Target(dataset.project, dataset.dataset),
    )


def drill(
    version: Version,
    stored: Fingerprint | None,
    warehouse: Warehouse,
    *,
    into: str,
    plan_drill: Callable[[Version], RestorePlan],
    restore: Callable[[RestorePlan], str],
    runtime: Runtime,
) -> Verified:
    """Restore ``version``, compare the result with ``stored``, or the copy where nothing is stored, and drop it."""
    dataset = scratch_dataset(into, version.location)
    target = dataset.table(version.version_id).unit(version.unit.partition)
    try:
        warehouse.ensure_scratch_dataset(dataset, location=version.location, kept_for=KEPT_FOR)
        warehouse.delete_table(target.table)
        began = runtime.monotonic()
        errors = restore(plan_drill(version))
        seconds = runtime.monotonic() - began
        found = (
            _verified(version, Outcome.COULD_NOT, f"it could not be restored: {errors}")
            if errors
            else _compared(version, stored, target, warehouse, seconds)
        )
        warehouse.delete_table(target.table)
        warehouse.delete_dataset_if_empty(dataset)
    except BbqError as error:
        return _verified(version, Outcome.COULD_NOT, f"the drill was not finished: {error}")
    return found


def _compared(
    version: Version, stored: Fingerprint | None, target: Unit, warehouse: Warehouse, seconds: float
) -> Verified:
    restored, scanned = _read(warehouse, target, version.location)
    if restored is None:
        return _verified(version, Outcome.COULD_NOT, "it was restored, and is not there")
    expected = stored
    if expected is None:
        expected, more = _read(warehouse, version.backup, version.location)
        scanned += more
    if expected is None:
        return _verified(version, Outcome.DIFFERS, "missing: the backup table is not there")
    wrong = None if version.rows is None else row_difference(version.rows, restored.rows)
    wrong = wrong or content_difference(expected, restored)
    outcome = Outcome.DIFFERS if wrong else Outcome.PROVEN
    reason = f"restored in {seconds:,.1f} s, {wrong or 'with all that it has to have'}"
    # A restored table may have other modes than the backup table: what is stored stays that of the copy.
    return Verified(version, outcome, How.DRILL, reason, None if wrong else expected, scanned, round(seconds * 1000))


def _read(warehouse: Warehouse, unit: Unit, location: str) -> tuple[Fingerprint | None, int]:
    layout = warehouse.table_layout(unit.table)
    if layout is None:
        return None, 0
    question = Question(unit.table, location, layout, (unit.partition,))
    found, scanned = warehouse.fingerprints(question, at_most=warehouse.scan_bytes(question))
    return found.get(unit.partition, Fingerprint.of_nothing(layout)), scanned


def _verified(version: Version, outcome: Outcome, reason: str) -> Verified:
    return Verified(version, outcome, How.DRILL, reason)
