"""Look at all that the backup project and the catalog say of the copies, so that they can be compared.

Gathers and decides nothing. A query per backup dataset, and one more per 1,000 tables; never a call per table. A
dataset that cannot be looked at is named with the reason and stops no other one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bbq_dagster.core.drift import BackupSide, CatalogSide
from bbq_dagster.core.found import FoundDataset, FoundTable, source_of_dataset
from bbq_dagster.core.inventory import Dataset, SourceTable
from bbq_dagster.core.original import source_project_of
from bbq_dagster.core.retention import RetentionRecord
from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.errors import BbqError
from bbq_dagster.warehouse.port import BackupTableFacts, Catalog, Warehouse

OURS = ("bbq", "backup")
"""The label that every backup dataset has."""


def read_catalog(catalog: Catalog) -> CatalogSide:
    """What the catalog says: three queries. Nothing where there is no catalog."""
    if not catalog.is_there():
        return CatalogSide()
    return CatalogSide(
        records=tuple(catalog.retention_records(None)),
        repetitions=tuple(catalog.repetitions()),
        failed=catalog.failed_places(),
    )


def look_at_backups(warehouse: Warehouse, project: str, *, on_record: Iterable[RetentionRecord]) -> BackupSide:
    """All backup datasets of ``project``, by their names or labels, and those that versions on record are in.

    Raises what listing the datasets raises: without the list nothing can be compared.
    """
    found: list[FoundDataset] = []
    unseen: dict[DatasetRef, str] = {}
    listed = {dataset.ref: dataset for dataset in warehouse.list_datasets(project)}
    wanted = {version.table.in_dataset for record in on_record for version in record.versions}
    for ref in sorted(wanted.union(_backup_datasets(listed.values()))):
        try:
            dataset = _find(warehouse, ref, listed.get(ref))
            if dataset is not None:
                found.append(look_at_dataset(warehouse, dataset))
        except BbqError as error:
            unseen[ref] = str(error)
    return BackupSide(tuple(found), unseen)


def look_at_original(warehouse: Warehouse, project: str) -> BackupSide:
    """All backup datasets of the original BBQ in ``project``, by their names."""
    found: list[FoundDataset] = []
    unseen: dict[DatasetRef, str] = {}
    for dataset in sorted(warehouse.list_datasets(project), key=lambda dataset: dataset.ref):
        if source_project_of(dataset.ref, dataset.location) is None:
            continue
        try:
            found.append(look_at_dataset(warehouse, dataset))
        except BbqError as error:
            unseen[dataset.ref] = str(error)
    return BackupSide(tuple(found), unseen)


def tables_there(warehouse: Warehouse, projects: Iterable[str]) -> set[TableRef]:
    """All tables of these projects, by one query per dataset. Raises what the warehouse raises."""
    return {
        table.ref
        for project in projects
        for dataset in warehouse.list_datasets(project)
        for table in warehouse.list_tables(dataset, {})
    }


def look_at_dataset(warehouse: Warehouse, dataset: Dataset) -> FoundDataset:
    """All tables of one dataset with what they hold."""
    tables = warehouse.list_tables(dataset, {})
    facts = warehouse.backup_tables(dataset.ref, dataset.location, [table.ref.table for table in tables])
    looked = (_table(table, facts.get(table.ref.table, BackupTableFacts())) for table in tables)
    return FoundDataset(dataset.ref, dataset.location, source_of_dataset(dataset), tuple(looked))


def _backup_datasets(listed: Collection[Dataset]) -> set[DatasetRef]:
    name, value = OURS
    return {
        dataset.ref for dataset in listed if dataset.labels.get(name) == value or source_of_dataset(dataset) is not None
    }


def _find(warehouse: Warehouse, ref: DatasetRef, listed: Dataset | None) -> Dataset | None:
    """The list has no descriptions: a dataset whose name does not tell its source is asked for. So is a hidden one."""
    if listed is not None and source_of_dataset(listed) is not None:
        return listed
    return warehouse.find_dataset(ref)


def _table(table: SourceTable, facts: BackupTableFacts) -> FoundTable:
    return FoundTable(
        ref=table.ref,
        kind=table.kind,
        created_at=table.created_at,
        partitions=facts.partitions,
        is_partitioned=table.is_partitioned,
        expires=facts.expires,
        description=table.options.description,
    )
