"""What Dagster calls a source project, a dataset and a unit: derived from the reference, free of collisions.

    acme-shop.sales          asset key acme-shop/sales, partitions acme-shop.sales, op backup_acme_shop__sales
    example.com:shop.sales   asset key example.com_shop/sales, op backup_exampleDOTcomCOLONshop__sales

Asset keys may hold ``-`` and ``.``, but not ``:``; groups, ops and sensors only letters, digits and ``_``. Project ids
have neither ``_`` nor capitals, so both are free for what cannot be written.
"""

import re

import dagster as dg

from bbq_dagster.core.tables import DatasetRef


def asset_key_of(dataset: DatasetRef) -> dg.AssetKey:
    return dg.AssetKey([dataset.project.replace(":", "_"), dataset.dataset])


def dataset_of(key: dg.AssetKey) -> DatasetRef:
    """The dataset of an asset key; the inverse of ``asset_key_of``. Raises ``ValueError`` for another kind of key."""
    project, dataset = key.path
    return DatasetRef(project.replace("_", ":"), dataset)


def partitions_of(dataset: DatasetRef) -> dg.DynamicPartitionsDefinition:
    """The partitions of a dataset's asset: one per unit, called by the unit's key."""
    return dg.DynamicPartitionsDefinition(name=str(dataset))


def group_of(project: str) -> str:
    return identifier(project)


def op_of(dataset: DatasetRef) -> str:
    """The first double underscore ends the project: ``identifier`` has none."""
    return f"backup_{identifier(dataset.project)}__{dataset.dataset}"


def sensor_of(project: str) -> str:
    return f"daily_{identifier(project)}"


def identifier(project: str) -> str:
    """``project`` in letters, digits and single underscores, the last one no underscore. No two projects share one."""
    escaped = project.replace(":", "COLON").replace(".", "DOT")
    return re.sub(r"-(?=-|$)", "DASH", escaped).replace("-", "_")
