"""Look at what a restore depends on: the backup tables that it reads, and what is at its targets now.

Gathers and decides nothing. A few queries per dataset and 1,000 tables; never a call per table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

from bbq_dagster.core.restore import TableFacts, World, backup_tables_of, targets_of
from bbq_dagster.core.restore_choice import Choice
from bbq_dagster.core.restore_request import RestoreRequest
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import Warehouse


def look_at_world(warehouse: Warehouse, request: RestoreRequest, choice: Choice, *, may_look: Collection[str]) -> World:
    """The state of all that the choice would read and write. Other projects than ``may_look`` are not asked.

    Raises what the warehouse raises: nothing is planned on half a look.
    """
    targets = [target for target in targets_of(request, choice) if target.project in may_look]
    locations = _locations(warehouse, {target.project for target in targets})
    wanted = [
        *backup_tables_of(choice),
        *((target, locations[target.in_dataset]) for target in targets if target.in_dataset in locations),
    ]
    homes = {target.in_dataset for target in targets}
    return World(
        {dataset: location for dataset, location in locations.items() if dataset in homes},
        tables_as_they_are(warehouse, wanted),
    )


def tables_as_they_are(warehouse: Warehouse, wanted: Iterable[tuple[TableRef, str]]) -> Mapping[TableRef, TableFacts]:
    """Shape and rows of these tables, each given with its location; missing ones are not in the answer."""
    found: dict[TableRef, TableFacts] = {}
    in_order = sorted({(table.in_dataset, location, table.table) for table, location in wanted})
    for (dataset, location), same in groupby(in_order, key=lambda one: one[:2]):
        names = [name for _, _, name in same]
        found |= _in_dataset(warehouse, dataset, location, names)
    return found


def _in_dataset(
    warehouse: Warehouse, dataset: DatasetRef, location: str, names: Collection[str]
) -> dict[TableRef, TableFacts]:
    try:
        shapes = warehouse.table_shapes(dataset, location, names)
    except BbqError as error:
        if error.reason != "notFound":
            raise
        return {}
    held = warehouse.backup_tables(dataset, location, names)
    return {
        dataset.table(name): TableFacts(shape, held[name].partitions if name in held else {})
        for name, shape in shapes.items()
    }


def _locations(warehouse: Warehouse, projects: Iterable[str]) -> dict[DatasetRef, str]:
    listed = (dataset for project in sorted(projects) for dataset in warehouse.list_datasets(project))
    return {dataset.ref: dataset.location for dataset in listed}
