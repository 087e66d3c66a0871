"""Five days of changes to the sample, backed up each day; then what was there on a day is there again.

Through the command line and through the Dagster job, on the embedded BigQuery with Google's own client.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bbq_dagster.cli import run
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.local.sample import ChangeKind, change, sample_settings, seed
from bbq_dagster.local.sample.tables import AIRPORTS, FLIGHTS, OPS
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack

MORNING = datetime(2025, 3, 3, 5, tzinfo=UTC)
DAY = timedelta(days=1)
LAB = "acme-lab"
Rows = Mapping[str, list[str]]


class ResourceAt(BbqResource):
    """The resource with the embedded BigQuery's clock."""

    at: str

    def now(self) -> datetime:
        return datetime.fromisoformat(self.at)


@dataclass
class Airline:
    """The sample after its days: on each of them its rows were noted right before they were backed up."""

    server: LocalBigQuery
    stack: Stack
    instance: dg.DagsterInstance
    now: datetime = MORNING
    rows_on: dict[int, Rows] = field(default_factory=dict)
    backed_up_at: dict[int, datetime] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    def live(self, days: int) -> None:
        self.end_day(0)
        for day in range(1, days + 1):
            made = change(self.server.client(OPS.project), day=day)
            self.dropped |= {one.table.table: day for one in made if one.kind is ChangeKind.TABLE_DROPPED}
            if day == 4:
                self.drop_a_report()
            self.end_day(day)

    def drop_a_report(self) -> None:
        newest = max(name for name in self.tables_of(OPS) if name.startswith("carrier_report"))
        self.server.client(OPS.project).delete_table(str(OPS.table(newest)))
        self.dropped[newest] = 4

    def dropped_on(self, day: int) -> str:
        (name,) = (name for name, dropped in self.dropped.items() if dropped == day)
        return name

    def end_day(self, day: int) -> None:
        """Hours later, when all that was streamed is in its partition, the backup."""
        self.pass_time(timedelta(hours=12))
        self.rows_on[day] = self.rows_of(OPS)
        report = self.stack.apply(self.stack.plan_changed(now=self.now), run_id=f"day {day}")
        assert report.ok, str(report)
        self.pass_time(timedelta(hours=1))
        self.backed_up_at[day] = self.now
        self.pass_time(timedelta(hours=11))

    def pass_time(self, step: timedelta) -> None:
        self.now += step
        self.server.set_clock(self.now)

    def tables_of(self, dataset: DatasetRef) -> list[str]:
        listed = self.server.client(dataset.project).list_tables(str(dataset))
        return sorted(table.table_id for table in listed if table.table_type == "TABLE")

    def rows_of(self, dataset: DatasetRef) -> dict[str, list[str]]:
        """All rows of all its tables that have some, as text."""
        rows = {name: self.rows_in(dataset.table(name)) for name in self.tables_of(dataset)}
        return {name: found for name, found in rows.items() if found}

    def rows_in(self, table: TableRef) -> list[str]:
        rows = self.server.client(table.project).list_rows(str(table))
        return sorted(str(sorted(row.items())) for row in rows)


def live_five_days(folder: Path, server: LocalBigQuery, instance: dg.DagsterInstance) -> Airline:
    server.set_clock(MORNING)
    seed(server.client(OPS.project), small=True)
    path = folder / "bbq.yaml"
    path.write_text(sample_settings(server.url, folder / "state"))
    stack = open_stack(load_settings(path, {}))
    airline = Airline(server, stack, instance)
    airline.stack = Stack(stack.settings, stack.warehouse, stack.catalog, clock=lambda: airline.now)
    server.client(stack.settings.backup_project)
    server.client(LAB)
    airline.live(5)
    return airline


@pytest.fixture(scope="module")
def airline(tmp_path_factory: pytest.TempPathFactory, dagster_in_memory: dg.DagsterInstance) -> Iterator[Airline]:
    with LocalBigQuery() as server:
        yield live_five_days(tmp_path_factory.mktemp("airline"), server, dagster_in_memory)


Restore = Callable[[Airline, Mapping[str, Any]], None]


def by_command_line(airline: Airline, options: Mapping[str, Any]) -> None:
    config = ["--config", str(airline.stack.settings.path)]
    plan = airline.stack.settings.path.parent / "plan.json"
    arguments = [text for name, value in options.items() for text in _arguments(name, value)]

    assert run([*config, "restore", "plan", *arguments, "-o", str(plan)]) == 0
    assert run([*config, "restore", "apply", str(plan)]) == 0
    assert run([*config, "restore", "status", json.loads(plan.read_text())["restore_id"]]) == 0


def _arguments(name: str, value: Any) -> list[str]:
    if name == "what":
        return list(value)
    if name == "names":
        return [text for old, new in value.items() for text in ("--rename", f"{old}={new}")]
    option = f"--{_OPTIONS.get(name, name.replace('_', '-'))}"
    return [text for one in (value if isinstance(value, list) else [value]) for text in (option, str(one))]


_OPTIONS = {"versions": "version", "partitions": "partition"}


def by_dagster(airline: Airline, options: Mapping[str, Any]) -> None:
    """A dry run first; then the plan that it showed."""
    names = {"on_existing": str.upper}
    config = {name: names.get(name, lambda value: value)(value) for name, value in options.items()}
    shown = run_job(airline, config)
    assert shown.success
    restore_id = metadata_of(shown)["restore id"].value

    assert run_job(airline, {"plan": restore_id, "dry_run": False}).success


def run_job(airline: Airline, config: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
    settings = airline.stack.settings
    resource = ResourceAt(config_path=str(settings.path), at=airline.now.isoformat())
    return (
        build_definitions(settings, [], bbq=resource)
        .get_job_def("restore")
        .execute_in_process(
            run_config={"ops": {"restore_versions": {"config": dict(config)}}},
            instance=airline.instance,
            raise_on_error=False,
        )
    )


def metadata_of(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    (event,) = [event for event in result.all_events if event.is_successful_output]
    return event.step_output_data.metadata


@pytest.fixture(params=[by_command_line, by_dagster], ids=["command line", "Dagster"])
def restore(request: pytest.FixtureRequest) -> Restore:
    chosen: Restore = request.param
    return chosen


def test_a_dataset_is_as_it_was_on_the_third_day(airline: Airline, restore: Restore) -> None:
    dataset = f"was_{restore.__name__}"

    restore(
        airline,
        {
            "what": [str(OPS)],
            "as_of": airline.backed_up_at[3].isoformat(),
            "into_project": LAB,
            "into_dataset": dataset,
        },
    )

    there = airline.rows_of(DatasetRef(LAB, dataset))
    assert there == airline.rows_on[3]
    assert airline.dropped_on(2) in airline.rows_on[1]
    assert airline.dropped_on(2) not in airline.tables_of(DatasetRef(LAB, dataset))
    assert airline.dropped_on(4) in there
    assert airline.dropped_on(4) not in airline.rows_on[5]


def test_what_a_copy_does_not_keep_is_there_again(airline: Airline, restore: Restore) -> None:
    """Fault W16 of the original: description, labels, required filter and clustering were lost."""
    airline.server.client(LAB).delete_dataset(f"{LAB}.whole", delete_contents=True, not_found_ok=True)
    names = ("flights", "gate_events", "staging_flights")
    what = [str(OPS.table(name)) for name in names]
    restore(airline, {"what": what, "into_project": LAB, "into_dataset": "whole"})

    for name in names:
        was, is_now = definition_of(airline, OPS.table(name)), definition_of(airline, TableRef(LAB, "whole", name))
        assert {key: value for key, value in is_now.items() if value != was[key]} == {}


def definition_of(airline: Airline, table: TableRef) -> dict[str, object]:
    """All that makes a table but for its rows, its times, and an expiration of partitions that nobody asked for."""
    resource = airline.server.client(table.project).get_table(str(table)).to_api_repr()
    time = {key: value for key, value in resource.get("timePartitioning", {}).items() if key in ("type", "field")}
    return {key: resource.get(key) or None for key in _OF_A_DEFINITION} | {"timePartitioning": time}


_OF_A_DEFINITION = ("schema", "rangePartitioning", "clustering", "requirePartitionFilter", "description", "labels")


def test_three_partitions_are_as_they_were_on_the_second_day_in_place(airline: Airline, restore: Restore) -> None:
    then, now = flights_by_day(airline.rows_on[2]), flights_by_day(airline.rows_on[5])
    changed = [day for day in sorted(then) if then[day] != now[day]][:3]
    assert len(changed) == 3

    restore(
        airline,
        {
            "what": [str(FLIGHTS)],
            "as_of": airline.backed_up_at[2].isoformat(),
            "partitions": changed,
            "on_existing": "replace",
        },
    )

    there = flights_by_day({FLIGHTS.table: airline.rows_in(FLIGHTS)})
    assert there == now | {day: then[day] for day in changed}


def flights_by_day(rows: Rows) -> dict[str, list[str]]:
    """Partition id to rows."""
    by_day: dict[str, list[str]] = {}
    for row in rows[FLIGHTS.table]:
        found = re.search(r"'flight_date', datetime.date\((\d+), (\d+), (\d+)\)", row)
        assert found is not None
        year, month, day = map(int, found.groups())
        by_day.setdefault(f"{year}{month:02}{day:02}", []).append(row)
    return by_day


def test_versions_are_restored_by_their_ids(airline: Airline, restore: Restore) -> None:
    dropped = {name: OPS.table(name) for name in airline.dropped}
    versions = {v.unit.table.table: v for v in airline.stack.catalog.versions(dropped.values())}
    suffix = f"_{restore.__name__}"

    restore(
        airline,
        {"versions": [version.version_id for version in versions.values()], "suffix": suffix, "into_project": LAB},
    )

    for name in airline.dropped:
        before = airline.rows_on[1 if airline.dropped[name] == 2 else 3]
        assert airline.rows_in(DatasetRef(LAB, OPS.dataset).table(name + suffix)) == before[name]


def test_versions_are_restored_by_a_list(airline: Airline, tmp_path: Path) -> None:
    table = OPS.table(airline.dropped_on(4))
    (version, *_) = airline.stack.catalog.versions([table])
    (tmp_path / "list.csv").write_text(f"version,table\n{version.version_id},from_a_list\n")

    by_command_line(airline, {"list": tmp_path / "list.csv", "into_project": LAB})

    assert airline.rows_in(DatasetRef(LAB, OPS.dataset).table("from_a_list")) == airline.rows_on[3][table.table]


def refused_by_command_line(airline: Airline, options: Mapping[str, Any]) -> str:
    arguments = [text for name, value in options.items() for text in _arguments(name, value)]
    with redirect_stdout(StringIO()) as said, redirect_stderr(said):
        code = run(["--config", str(airline.stack.settings.path), "restore", "plan", *arguments])
    assert code == 2
    return said.getvalue()


def refused_by_dagster(airline: Airline, options: Mapping[str, Any]) -> str:
    result = run_job(airline, {**options, "dry_run": False})
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    return str(failed.step_failure_data.user_failure_data)


@pytest.mark.parametrize("refused", [refused_by_command_line, refused_by_dagster], ids=["command line", "Dagster"])
@pytest.mark.parametrize(
    ("options", "expected", "way_out"),
    [
        pytest.param({}, "nothing is named", "name a dataset, a table", id="empty selection"),
        pytest.param({"what": ["ops"]}, "not something to restore: 'ops'", "HINT: write project", id="no name"),
        pytest.param({"what": [f"{OPS}.typo"]}, "no version on record has that name", "bbq status", id="unknown table"),
        pytest.param({"what": ["acme-flights.x"]}, "nothing of acme-flights.x", "bbq status", id="unknown dataset"),
        pytest.param({"versions": ["typo"]}, "there is no version typo", "bbq versions TABLE", id="unknown version"),
        pytest.param(
            {"what": [str(OPS)], "as_of": "2013-01-01"},
            "no version of 2013-01-01",
            "the first one was captured at 2025-03-0",
            id="before the first version",
        ),
        pytest.param({"what": [str(OPS)], "as_of": "2999-01-01"}, "is in the future", "nothing", id="in the future"),
        pytest.param({"what": [str(OPS)], "as_of": "noon"}, "not a time: 'noon'", "HINT: write it as", id="no time"),
        pytest.param(
            {"what": [str(FLIGHTS)], "partitions": ["29991231"], "into_project": LAB},
            "partition 29991231: no table that was asked for had it then",
            "flights$20130101 … flights$20130115 (15)",
            id="unknown partition",
        ),
        pytest.param(
            {"what": [str(OPS)], "into_project": "acme-evil"},
            "acme-evil is neither the source project acme-flights nor a restore project",
            f"restore_projects: {LAB}",
            id="forbidden project",
        ),
        pytest.param(
            {"what": [str(FLIGHTS)], "into_project": LAB, "suffix": "$20130101"},
            "cannot be the name of a table",
            "flights$20130101",
            id="a partition as the name of a table",
        ),
        pytest.param({"what": [str(OPS)]}, "has rows already", "skip, replace or append", id="targets are there"),
        pytest.param(
            {"what": [str(FLIGHTS), f"{OPS}.departure_board"], "names": {"departure_board": "flights"}}
            | {"into_project": LAB},
            "acme-flights.ops.departure_board and acme-flights.ops.flights would both go there",
            "acme-lab.ops.flights",
            id="two tables onto one",
        ),
    ],
)
def test_bad_input_is_refused_with_a_way_out_before_anything_is_touched(
    airline: Airline,
    refused: Callable[[Airline, Mapping[str, Any]], str],
    options: Mapping[str, Any],
    expected: str,
    way_out: str,
) -> None:
    before = airline.server.calls()

    said = refused(airline, options)

    assert expected in said
    assert way_out in said
    assert changes(airline, before) == {}


def changes(airline: Airline, before: Counter[str]) -> Counter[str]:
    """The calls since then that change something, or start a job."""
    since = airline.server.calls() - before
    return Counter({call: count for call, count in since.items() if call.endswith(_CHANGES)})


_CHANGES = (".insert", ".update", ".patch", ".delete")


@pytest.mark.parametrize("refused", [refused_by_command_line, refused_by_dagster], ids=["command line", "Dagster"])
def test_two_versions_onto_one_target_are_refused_before_anything_is_touched(
    airline: Airline, refused: Callable[[Airline, Mapping[str, Any]], str]
) -> None:
    """Fault W12 of the original: two versions of one table in a list overwrote each other."""
    by_unit: dict[Unit, list[str]] = {}
    for version in airline.stack.catalog.versions([FLIGHTS]):
        by_unit.setdefault(version.unit, []).append(version.version_id)
    two = next(ids[:2] for ids in by_unit.values() if len(ids) > 1)
    before = airline.server.calls()

    said = refused(airline, {"versions": two, "into_project": LAB})

    assert "would both go there" in said
    assert changes(airline, before) == {}


def test_a_plan_is_not_applied_once_the_world_has_moved(airline: Airline, tmp_path: Path) -> None:
    config, plan = ["--config", str(airline.stack.settings.path)], tmp_path / "plan.json"
    options = [str(AIRPORTS), "--into-project", LAB, "--into-dataset", "moved", "-o", str(plan)]
    assert run([*config, "restore", "plan", *options]) == 0
    dataset = airline.server.client(LAB).create_dataset(f"{LAB}.moved")
    airline.server.client(LAB).query_and_wait(f"CREATE TABLE `{LAB}.moved.airports` AS SELECT 1 AS n")

    assert run([*config, "restore", "apply", str(plan)]) == 2
    assert airline.rows_in(TableRef(LAB, dataset.dataset_id, "airports")) == ["[('n', 1)]"]


def test_an_edited_plan_is_not_applied(airline: Airline, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, plan = ["--config", str(airline.stack.settings.path)], tmp_path / "plan.json"
    options = [str(AIRPORTS), "--into-project", LAB, "--into-dataset", "edited", "-o", str(plan)]
    assert run([*config, "restore", "plan", *options]) == 0
    plan.write_text(plan.read_text().replace("edited", "else"))

    code = run([*config, "restore", "apply", str(plan)])

    said = capsys.readouterr().err
    assert code == 2
    assert "was changed after it was written" in said
    assert "HINT: make it again" in said


def test_the_job_does_not_apply_an_edited_plan(airline: Airline) -> None:
    shown = run_job(airline, {"what": [str(AIRPORTS)], "into_project": LAB, "into_dataset": "edited"})
    restore_id = metadata_of(shown)["restore id"].value
    file = airline.stack.settings.state_dir / "restores" / f"{restore_id}.json"
    file.write_text(file.read_text().replace("edited", "else"))

    said = refused_by_dagster(airline, {"plan": restore_id})

    assert "was changed after it was written" in said
    assert not {"edited", "else"} & {dataset.dataset_id for dataset in airline.server.client(LAB).list_datasets()}


def test_the_job_tells_what_it_restored(airline: Airline) -> None:
    options = {"what": [str(AIRPORTS)], "into_project": LAB, "into_dataset": "told", "dry_run": False}

    result = run_job(airline, options)

    metadata = metadata_of(result)
    assert (metadata["restored"].value, metadata["copy jobs"].value) == (1, 1)
    assert f"{LAB}.told.airports" in metadata["items"].value


def test_the_job_is_a_dry_run_unless_told_otherwise(airline: Airline) -> None:
    result = run_job(airline, {"what": [str(AIRPORTS)], "into_project": LAB, "into_dataset": "dry"})

    assert result.success
    assert metadata_of(result)["copy jobs"].value == 1
    assert "dry" not in {dataset.dataset_id for dataset in airline.server.client(LAB).list_datasets()}
