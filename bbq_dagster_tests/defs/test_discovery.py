"""The files of known datasets."""

from dataclasses import replace
from pathlib import Path

import pytest

from bbq_dagster.core.selection import Patterns
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.defs.discovery import known_datasets, remember_datasets
from bbq_dagster.errors import Refused
from bbq_dagster.settings import Settings, Source
from bbq_dagster_tests.defs.world import settings_in

SALES, CRM = DatasetRef("acme-shop", "sales"), DatasetRef("acme-shop", "crm")
SCOPED = DatasetRef("example.com:shop", "sales")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(settings_in(tmp_path), sources=(Source("acme-shop"), Source("example.com:shop")))


def test_before_the_first_discovery_nothing_is_known(settings: Settings) -> None:
    assert known_datasets(settings) == ()


def test_what_was_remembered_is_known_and_new_once(settings: Settings) -> None:
    first = remember_datasets(settings, [SALES, SCOPED])
    second = remember_datasets(settings, [CRM, SALES])

    assert first == (SALES, SCOPED)
    assert second == (CRM,)
    assert known_datasets(settings) == (CRM, SALES, SCOPED)


def test_a_dataset_that_is_gone_from_its_source_is_still_known(settings: Settings) -> None:
    remember_datasets(settings, [SALES, CRM])
    remember_datasets(settings, [SALES])

    assert CRM in known_datasets(settings)


def test_what_is_not_selected_any_more_is_not_shown(settings: Settings) -> None:
    remember_datasets(settings, [SALES, CRM, SCOPED])
    narrowed = replace(settings, sources=(Source("acme-shop", datasets=Patterns(exclude=("crm",))),))

    assert known_datasets(narrowed) == (SALES,)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "datasets": []}', '{"version": 1, "datasets": ["x"]}'])
def test_a_file_that_is_not_ours_is_refused_with_its_name_and_what_to_do(settings: Settings, text: str) -> None:
    remember_datasets(settings, [SALES])
    (file,) = (settings.state_dir / "datasets").iterdir()
    file.write_text(text)

    with pytest.raises(Refused, match=r"acme-shop.json is not a list of datasets[\s\S]*HINT: delete it"):
        known_datasets(settings)


def test_nothing_but_the_lists_is_left_behind(settings: Settings) -> None:
    remember_datasets(settings, [SALES, SCOPED])

    assert sorted(file.name for file in (settings.state_dir / "datasets").iterdir()) == [
        "acme-shop.json",
        "example.com_shop.json",
    ]
