"""Names: legal for Dagster, the same each time, never the same for two."""

import re
from itertools import product

import dagster as dg
import pytest

from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.names import asset_key_of, dataset_of, identifier, op_of, partitions_of, sensor_of

PROJECTS = [
    "acme-shop",
    "a",
    "a--b",
    "a-",
    "-a",
    "a-b",
    "example.com:shop",
    "example-com:shop",
    "a.b:c-d",
    "a..b",
    "a.-b",
]
DATASETS = ["sales", "_hidden", "b__c", "__", "Sales", "sales_2"]
REFS = [DatasetRef(project, dataset) for project, dataset in product(PROJECTS, DATASETS)]


@pytest.mark.parametrize(
    ("dataset", "key", "op"),
    [
        pytest.param("acme-shop.sales", "acme-shop/sales", "backup_acme_shop__sales", id="plain"),
        pytest.param(
            "example.com:shop.sales",
            "example.com_shop/sales",
            "backup_exampleDOTcomCOLONshop__sales",
            id="domain-scoped",
        ),
    ],
)
def test_names_can_be_read(dataset: str, key: str, op: str) -> None:
    ref = DatasetRef.parse(dataset)

    assert asset_key_of(ref).to_user_string() == key
    assert op_of(ref) == op
    assert partitions_of(ref).name == dataset


@pytest.mark.parametrize("dataset", REFS, ids=str)
def test_an_asset_key_gives_its_dataset_back(dataset: DatasetRef) -> None:
    assert dataset_of(asset_key_of(dataset)) == dataset


@pytest.mark.parametrize("name_of", [asset_key_of, op_of, lambda ref: ref.project and partitions_of(ref).name])
def test_no_two_datasets_share_a_name(name_of) -> None:
    assert len({name_of(dataset) for dataset in REFS}) == len(REFS)


def test_no_two_projects_share_an_identifier() -> None:
    assert len({identifier(project) for project in PROJECTS}) == len(PROJECTS)
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", sensor_of(project)) for project in PROJECTS)


@pytest.mark.parametrize("dataset", REFS, ids=str)
def test_dagster_takes_the_names(dataset: DatasetRef) -> None:
    spec = dg.AssetSpec(
        asset_key_of(dataset), group_name=identifier(dataset.project), partitions_def=partitions_of(dataset)
    )

    @dg.multi_asset(name=op_of(dataset), specs=[spec])
    def asset() -> None: ...

    assert dg.Definitions(assets=[asset]).get_repository_def().asset_graph.has(asset_key_of(dataset))
