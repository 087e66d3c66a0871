"""The datasets that are known: one small file per source project, so that loading definitions asks BigQuery nothing.

``bbq discover`` and the sensors write what they found, the definitions read it. A dataset that is gone from its source
stays: its backups are still there. What the settings do not select (any more) is not shown.

Dagster's StateBackedComponent does the same for components. It is not used: it keeps its file inside the installed
package or needs a storage of its own in dagster.yaml, replaces it in place, under ``dagster dev`` calls the outside
world on every load, and is refreshed by a command (``dg``) that this project does not depend on.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from bbq_dagster.core.selection import Selected
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.errors import Refused
from bbq_dagster.settings import Settings

_VERSION = 1


def known_datasets(settings: Settings) -> tuple[DatasetRef, ...]:
    """The datasets of all source projects that were found so far and are selected; no file is no datasets.

    Raises ``Refused`` where a file is not one of ours.
    """
    return tuple(
        dataset
        for source in settings.sources
        for dataset in sorted(_read(_file_of(settings.state_dir, source.project)))
        if isinstance(source.selection.decide_dataset(dataset.dataset), Selected)
    )


def remember_datasets(settings: Settings, found: Iterable[DatasetRef]) -> tuple[DatasetRef, ...]:
    """Add the datasets that were ``found`` to those that are known, and say which ones are new.

    Projects have files of their own, so that their sensors do not overwrite each other's.
    """
    by_project: dict[str, set[DatasetRef]] = {}
    for dataset in found:
        by_project.setdefault(dataset.project, set()).add(dataset)
    new: set[DatasetRef] = set()
    for project, datasets in by_project.items():
        file = _file_of(settings.state_dir, project)
        known = _read(file)
        if datasets - known:
            _replace(file, known | datasets)
            new |= datasets - known
    return tuple(sorted(new))


def _file_of(state_dir: Path, project: str) -> Path:
    return state_dir / "datasets" / f"{project.replace(':', '_')}.json"


def _read(file: Path) -> frozenset[DatasetRef]:
    if not file.exists():
        return frozenset()
    try:
        stored = json.loads(file.read_text())
        if stored["version"] != _VERSION:
            raise ValueError(f"version {stored['version']}, expected {_VERSION}")
        return frozenset(map(DatasetRef.parse, stored["datasets"]))
    except (ValueError, KeyError, TypeError, Refused) as error:
        raise Refused(
            f"{file} is not a list of datasets: {error}", hint="delete it and run bbq discover, which writes it anew"
        ) from error


def _replace(file: Path, datasets: Iterable[DatasetRef]) -> None:
    """Readers see the old file or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"version": _VERSION, "datasets": sorted(map(str, datasets))}, indent=2) + "\n")
    new.replace(file)
