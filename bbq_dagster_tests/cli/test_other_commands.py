"""`bbq discover`, `bbq catalog …` and `bbq settings …`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bbq_dagster.core.catalog import COLUMNS
from bbq_dagster.settings import json_schema
from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import CLIMATE, SHOP, VAULT, House

SALES, WEATHER = f"{SHOP}.sales", f"{CLIMATE}.weather"


def test_discover_says_which_datasets_are_new_and_remembers_them(bbq: Bbq) -> None:
    first, second = bbq("discover", "--json").json, bbq("discover", "--json").json

    assert first == [
        {"dataset": SALES, "location": "EU", "labels": {}, "new": True},
        {"dataset": WEATHER, "location": "US", "labels": {}, "new": True},
    ]
    assert isinstance(second, list)
    assert [found["new"] for found in second] == [False, False]


def test_discover_shows_the_datasets_as_a_table(bbq: Bbq) -> None:
    answer = bbq("discover")

    assert [line.split() for line in answer.out.split("\n")[-4:-2]] == [[SALES, "EU", "new"], [WEATHER, "US", "new"]]


def test_discover_names_the_folder_where_it_cannot_keep_what_it_found(house: House, bbq: Bbq) -> None:
    house.stack.settings.state_dir.write_text("a file, where a folder is wanted")

    answer = bbq("discover")

    assert answer.code == 2
    assert f"cannot be kept in {house.stack.settings.state_dir}: " in answer.err
    assert "HINT: `state_dir`" in answer.err


def test_catalog_init_makes_the_catalog_and_may_be_called_again(house: House, bbq: Bbq) -> None:
    first, second = bbq("catalog", "init"), bbq("catalog", "init", "--json")

    assert first.out == f"{VAULT}.bbq_catalog is ready, in EU\n"
    assert second.json == {"dataset": f"{VAULT}.bbq_catalog", "location": "EU"}
    assert [found.dataset_id for found in house.bigquery.client(VAULT).list_datasets()] == ["bbq_catalog"]


def test_catalog_columns_need_neither_settings_nor_bigquery(anywhere: Bbq) -> None:
    answer, as_json = anywhere("catalog", "columns"), anywhere("catalog", "columns", "--json").json

    assert isinstance(as_json, list)
    assert [column["name"] for column in as_json] == [column.name for column in COLUMNS]
    assert list(as_json[0]) == ["name", "type", "description", "required"]
    assert all(column.name in answer.out for column in COLUMNS)


def test_history_is_newest_first_as_long_as_asked_for_and_of_the_dataset_asked_for(house: House, bbq: Bbq) -> None:
    house.back_up()

    events = bbq("catalog", "history", "--dataset", SALES, "--limit", "3", "--json").json

    assert isinstance(events, list)
    assert len(events) == 3
    assert {event["source_dataset"] for event in events} == {"sales"}
    assert [event["recorded_at"] for event in events] == sorted((e["recorded_at"] for e in events), reverse=True)
    assert set(events[0]) <= {column.name for column in COLUMNS}


def test_history_of_nothing_says_so(bbq: Bbq) -> None:
    bbq("catalog", "init")

    assert bbq("catalog", "history").out == "nothing is on record yet\n"
    assert bbq("catalog", "history", "--dataset", SALES).out == f"nothing is on record of {SALES}\n"
    assert bbq("catalog", "history", "--json").json == []


def test_settings_check_names_the_sources_and_where_they_are_backed_up(house: House, bbq: Bbq) -> None:
    path = str(house.stack.settings.path)

    assert bbq("settings", "check").out == f"{path} is right: {SHOP}, {CLIMATE} into {VAULT}\n"
    assert bbq("settings", "check", "--json").json == {
        "path": path,
        "backup_project": VAULT,
        "sources": [SHOP, CLIMATE],
    }


def test_settings_check_names_all_that_is_wrong_at_once(anywhere: Bbq, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("backup_project: acme-vault\nsorces: []\ncatalog: {location: 7}\n")

    answer = anywhere("--config", str(path), "settings", "check")

    assert answer.code == 2
    assert answer.err.startswith(f"error: {path}: ")
    assert "sorces" in answer.err
    assert "location" in answer.err


@pytest.mark.parametrize("arguments", [("plan",), ("status",), ("settings", "check")], ids=" ".join)
def test_a_file_that_is_not_there_is_named(anywhere: Bbq, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    answer = anywhere("--config", str(tmp_path / "none.yaml"), *arguments)

    assert answer.code == 2
    assert f"{tmp_path / 'none.yaml'}: 1 problem\n  there is no such file" in answer.err


def test_settings_policy_says_which_level_set_each_value(anywhere: Bbq, tmp_path: Path) -> None:
    path = tmp_path / "bbq.yaml"
    path.write_text(
        "backup_project: acme-vault\ncatalog: {location: EU}\nsources:\n  - project: acme-shop\n"
        "    tables: {exclude: ['*_tmp']}\n    policy: {streaming_wait_minutes: 7}\n"
    )

    orders = anywhere("--config", str(path), "settings", "policy", "acme-shop.sales.orders", "--json").json
    scratch = anywhere("--config", str(path), "settings", "policy", "acme-shop.sales.x_tmp")

    assert isinstance(orders, dict)
    assert list(orders) == ["table", "left_out", "policy"]
    assert (orders["table"], orders["left_out"]) == ("acme-shop.sales.orders", None)
    assert orders["policy"]["streaming_wait_minutes"] == {"value": 7, "set_by": "project acme-shop"}
    assert orders["policy"]["skip"] == {"value": False, "set_by": "built in"}
    assert scratch.out.splitlines()[-1].startswith("left out: it is excluded")


def test_settings_policy_of_a_partition_is_refused(bbq: Bbq) -> None:
    answer = bbq("settings", "policy", f"{SALES}.days$20260101")

    assert answer.code == 2
    assert f"HINT: write it as {SALES}.days\n" in answer.err


def test_settings_schema_is_the_schema(anywhere: Bbq) -> None:
    assert anywhere("settings", "schema").json == json_schema()
