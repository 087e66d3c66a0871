"""Names, texts and files that somebody made to hurt: each is carried through whole, or refused in words.

Nothing here reads the source for quotes: hostile names go through backup, status and restore on the embedded BigQuery,
whose SQL parser would trip over any that is not quoted, and hostile files go through the reader that the commands use.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from google.cloud import bigquery as bq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bbq_dagster import cli
from bbq_dagster.cli import run
from bbq_dagster.cli.output import say, show_json, show_table
from bbq_dagster.core.restore import RestorePlan
from bbq_dagster.core.restore_render import read_plan, write_plan
from bbq_dagster.core.restore_request import RestoreRequest, Scope, Target, read_version_list
from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.defs.metadata import reasons_as_markdown
from bbq_dagster.errors import Refused, SettingsInvalid
from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster.settings import load_settings
from bbq_dagster_tests.core.strategies import table_ids
from bbq_dagster_tests.e2e.house import SHOP, VAULT, House

SALES = DatasetRef(SHOP, "sales")
LAB = "acme-lab"

ALIKE = ("orders", "Orders", "ORDERS", "оrders", "or\u00a0ders", "or\u3000ders", "or\u2010ders", "or-ders", "ordérs")
"""A Cyrillic о, blanks and hyphens of several kinds, é as one letter: other tables, however they look."""
DECOMPOSED = "orde\u0301rs"
LONGEST = ("t" * 1024, "注" * 341 + "x", "𝔱" * 256)

SQL = "'; DROP TABLE `x`; -- \" \\ ${x} {{x}} %s @p $$ */ /*"
TEXTS = {
    "SQL": SQL,
    "JSON": '{"a": [1, null, {"b": "\\u0000"}]}',
    "quotes and backslashes": "\"\"\" ''' ``` \\\" \\' \\n \\",
    "lines": "one\ntwo\r\nthree\ttabbed",
    "right to left": "invoice \u202egpj.exe\u202c \u2066x\u2069",
    "beyond the plane": "𝔱🦖\U000e0041",
    "mark-up": "<img src=x onerror=alert(1)> [a](javascript:alert(1)) | `b` |",
    "blank": " ",
}


# -- names that BigQuery allows


def load(house: House, table: TableRef, rows: list[dict[str, object]]) -> None:
    """By the API: no SQL of the test's own is in the way."""
    config = bq.LoadJobConfig(schema=[bq.SchemaField("n", "INTEGER")])
    reference = bq.DatasetReference(table.project, table.dataset).table(table.table)
    house.bigquery.client(table.project, location="EU").load_table_from_json(
        rows, reference, job_config=config
    ).result()


def rows_of(house: House, table: TableRef) -> list[int]:
    reference = bq.DatasetReference(table.project, table.dataset).table(table.table)
    return [row[0] for row in house.bigquery.client(table.project).list_rows(reference)]


def with_lab(house: House) -> House:
    house.stack = replace(house.stack, settings=replace(house.stack.settings, restore_projects=(LAB,)))
    return house


def go_round(house: House, names: Iterable[str]) -> None:
    """Back up, show and restore tables of these names; the rows of each are its place in the list."""
    tables = [SALES.table(name) for name in names]
    for number, table in enumerate(tables):
        load(house, table, [{"n": number}])

    report = house.back_up()
    status = house.stack.status()
    versions = {version.unit.table: version for version in house.stack.catalog.versions(tables)}
    plan = house.stack.plan_restore(RestoreRequest((Scope(SALES),), target=Target(LAB)), now=house.now)
    restored = house.stack.apply_restore(read_plan(write_plan(plan), name="plan"), run_id="restore")

    assert report.ok, str(report)
    assert {one.table for one in status} == set(tables)
    assert versions.keys() == set(tables)
    assert len({version.backup for version in versions.values()}) == len(tables)
    assert restored.ok, str(restored)
    back = {table: rows_of(house, replace(table, project=LAB)) for table in tables}
    assert back == {table: [number] for number, table in enumerate(tables)}
    assert not house.plan().units, "a second look finds nothing to do"


@pytest.fixture
def house(bigquery: LocalBigQuery, tmp_path: Path) -> House:
    return with_lab(House.build(bigquery, tmp_path))


def test_names_that_look_alike_and_names_of_1024_bytes_go_round(house: House) -> None:
    go_round(house, (*ALIKE, DECOMPOSED, *LONGEST))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(table_ids, unique=True, min_size=1, max_size=8))
def test_whatever_name_bigquery_allows_goes_round(names: list[str]) -> None:
    with LocalBigQuery() as server, tempfile.TemporaryDirectory() as folder:
        go_round(with_lab(House.build(server, Path(folder))), names)


def test_hostile_names_in_a_partitioned_table_go_round_by_partition(house: House) -> None:
    table = SALES.table("Ünïcode — 注文")
    made = bq.Table(bq.DatasetReference(SHOP, "sales").table(table.table), [bq.SchemaField("day", "DATE")])
    made.time_partitioning = bq.TimePartitioning(field="day")
    client = house.bigquery.client(SHOP, location="EU")
    client.create_table(made)
    client.load_table_from_json([{"day": "2026-01-01"}, {"day": "2026-01-02"}, {"day": None}], made.reference).result()

    house.back_up()
    what = (Scope.parse(f"{table}$20260102"), Scope.parse(f"{table}$__NULL__"))
    plan = house.stack.plan_restore(RestoreRequest(what, target=Target(LAB)), now=house.now)
    report = house.stack.apply_restore(plan, run_id="restore")

    assert report.ok, str(report)
    restored = bq.DatasetReference(LAB, "sales").table(table.table)
    assert sorted(str(row[0]) for row in house.bigquery.client(LAB).list_rows(restored)) == ["2026-01-02", "None"]


# -- names that nothing can have

NO_NAME = {
    "a backtick": "acme-shop.sales.a`; DROP TABLE x; --",
    "a new line": "acme-shop.sales.a\nb",
    "a null byte": "acme-shop.sales.a\0b",
    "a decorator": "acme-shop.sales.a@-3600000",
    "an empty table": "acme-shop.sales.",
    "a dataset with a quote": "acme-shop.sa'les.a",
    "a dataset with a backtick": "acme-shop.sa`les.a",
    "a dataset in other letters": "acme-shop.ѕales.a",
    "a project with a backtick": "acme`shop.sales.a",
    "a project with a blank": "acme shop.sales.a",
    "a project with a full-width letter": "ａcme-shop.sales.a",
    "two partitions": "acme-shop.sales.a$20260101$20260102",
    "a partition with a quote": "acme-shop.sales.a$2026'0101",
    "a partition with a comma": "acme-shop.sales.a$20260101,20260102",
    "digits of another script": "acme-shop.sales.a$２０２６０１０１ ",
}


@pytest.mark.parametrize("text", NO_NAME.values(), ids=NO_NAME)
def test_what_no_table_can_be_called_is_refused_before_anybody_is_asked(text: str) -> None:
    with pytest.raises(Refused):
        Unit.parse(text)


@pytest.mark.parametrize("text", NO_NAME.values(), ids=NO_NAME)
def test_a_command_with_such_a_name_ends_with_2_and_has_asked_nothing(house: House, tmp_path: Path, text: str) -> None:
    code, said = bbq(tmp_path, "backup", text)

    assert code == 2
    assert said.startswith("error: ")
    assert not house.bigquery.calls()["jobs.query"]
    assert not house.bigquery.calls()["jobs.insert"]


def test_a_name_that_is_only_odd_is_looked_for_and_not_found(house: House, tmp_path: Path) -> None:
    load(house, SALES.table("orders"), [{"n": 1}])
    house.back_up()

    for name in ("a'; DROP TABLE x; --", 'a" OR ""="', "a) OR (TRUE", "a\\"):
        code, said = bbq(tmp_path, "versions", f"{SALES}.{name}")
        assert (code, "no version" in said or said == "") == (1, True), said
    assert rows_of(house, SALES.table("orders")) == [1]


def bbq(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["--config", str(folder / "bbq.yaml"), *arguments])
    return code, err.getvalue()


# -- texts of others


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_descriptions_come_back_as_they_were(house: House, text: str) -> None:
    table = SALES.table("orders")
    load(house, table, [{"n": 1}])
    client = house.bigquery.client(SHOP)
    described = client.get_table(str(table))
    described.description, described.friendly_name, described.labels = text, text, {"größe": "注文-_1"}
    client.update_table(described, ["description", "friendly_name", "labels"])

    assert house.back_up().ok
    plan = house.stack.plan_restore(RestoreRequest((Scope(SALES),), target=Target(LAB)), now=house.now)
    assert house.stack.apply_restore(read_plan(write_plan(plan), name="plan"), run_id="restore").ok

    restored = house.bigquery.client(LAB).get_table(f"{LAB}.sales.orders")
    assert (restored.description, restored.friendly_name, restored.labels) == (text, text, {"größe": "注文-_1"})


def test_the_words_of_a_hold_are_never_sql(house: House) -> None:
    load(house, SALES.table("orders"), [{"n": 1}])
    house.back_up()

    placed = house.stack.hold(f"{SALES}.*", owner=SQL, reason=SQL, until=None, run_id=SQL)

    assert [(hold.owner, hold.reason) for hold in house.stack.holds()] == [(SQL, SQL)]
    house.later()
    assert house.stack.release(placed.hold_id, run_id="r") == placed
    assert house.stack.holds() == []


@pytest.mark.parametrize("text", ["clear \x1b[2J", "two\nlines", "\u202ederotser", "bell\a", "c1 \x9b31m"])
def test_the_words_of_a_hold_are_one_line_that_shows(house: House, text: str) -> None:
    with pytest.raises(Refused, match="one line of plain text"):
        house.stack.hold(f"{SALES}.*", owner="ada", reason=text, until=None, run_id="r")


STEERING = "\x1b[2J\x9b31m\x07\u202e\u2066\u200b\u2028\U000e0041\ud800"


def test_no_answer_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("", ("what",), [(f"a{STEERING}b\nc",)])
    say(f"a plan of {STEERING}")
    shown = capsys.readouterr().out
    show_json({"what": f"a{STEERING}b\nc"})
    as_json = capsys.readouterr().out

    assert all(char.isprintable() or char == "\n" for char in shown + as_json)
    assert json.loads(as_json) == {"what": f"a{STEERING}b\nc"}


def test_every_command_writes_by_way_of_what_escapes() -> None:
    commands = Path(cli.__file__).parent
    by_itself = {file.name for file in commands.glob("*.py") if "click.echo(" in file.read_text()}

    assert by_itself == {"__init__.py", "metrics.py", "output.py"}


def test_an_error_does_not_steer_it_either(house: House, tmp_path: Path) -> None:
    house.bigquery.fault({"call": "datasets.list"}, {"http_error": {"reason": "accessDenied", "message": STEERING[:7]}})

    code, said = bbq(tmp_path, "plan")

    assert code == 3
    assert all(char.isprintable() or char == "\n" for char in said)


def test_what_others_wrote_is_no_markup_in_the_ui() -> None:
    shown = reasons_as_markdown({"a`|b": TEXTS["mark-up"], "c": TEXTS["lines"]}, limit=5)

    assert shown.splitlines()[2:] == [
        "| `a'\\|b` | \\<img src=x onerror=alert(1)\\> \\[a\\](javascript:alert(1)) \\| \\`b\\` \\| |",
        "| `c` | one two three tabbed |",
    ]


# -- bbq.yaml

YAML = "backup_project: acme-vault\ncatalog: {location: EU}\nsources: [{project: acme-shop}]\n"
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 12)]
)
BAD_YAML: Mapping[str, bytes] = {
    "aliases that unfold into billions": BOMB.encode(),
    "an alias to itself": b"a: &a [*a]",
    "an unknown alias": b"a: *nobody",
    "brackets without end": b"[" * 100_000,
    "nested mappings without end": b"".join(b" " * at + b"a:\n" for at in range(500)),
    "a tag that would run code": b"a: !!python/object/apply:os.system [id]",
    "a merge key": YAML.encode() + b"limits: {<<: {threads: 1}}",
    "a tab": YAML.encode() + b"limits:\n\tthreads: 1\n",
    "the same key twice": YAML.encode() + b"backup_project: acme-other\n",
    "not UTF-8": YAML.encode() + b"state_dir: \xff\xfe",
    "UTF-16": YAML.encode("utf-16"),
    "a null byte": YAML.encode() + b"state_dir: a\0b",
    "an escape": YAML.encode() + b"state_dir: \x1b[2J",
    "a number of 100,000 digits": YAML.encode() + b"limits: {threads: " + b"9" * 100_000 + b"}",
    "a number beyond all limits": YAML.encode() + b"limits: {threads: 999999999999999999}",
    "not a number": YAML.encode() + b"defaults: {policy: {whole_table_share: .nan}}",
    "an infinite number": YAML.encode() + b"limits: {retry_for_seconds: .inf}",
    "a number with an exponent": YAML.encode() + b"defaults: {policy: {whole_table_share: 1e999}}",
    "a number below none": YAML.encode() + b"limits: {threads: -1}",
    "text for a number": YAML.encode() + b"limits: {threads: '8'}",
    "a list for a mapping": YAML.encode() + b"limits: [8]",
    "a mapping for text": b"backup_project: {a: b}\ncatalog: {location: EU}\nsources: [{project: acme-shop}]",
    "a mapping as key": YAML.encode() + b"? {a: b}\n: c\n",
    "two documents": YAML.encode() + b"---\n" + YAML.encode(),
    "a list": b"- a",
    "a project with a backtick": YAML.replace("acme-shop", "'acme`; DROP'").encode(),
    "a project with a line break": YAML.replace("acme-shop", '"acme\\nshop"').encode(),
    "a location with a backtick": YAML.replace("EU", "'EU`.x'").encode(),
    "more than a settings file can hold": YAML.encode() + b"#" * 300_000,
}


@pytest.mark.parametrize("raw", BAD_YAML.values(), ids=BAD_YAML)
def test_hostile_settings_are_refused_in_words_and_at_once(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bbq.yaml"
    path.write_bytes(raw)

    began = time.process_time()
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(path, {})

    assert time.process_time() - began < 5
    assert refused.value.problems
    assert all(char.isprintable() or char == "\n" for char in str(refused.value))


def test_a_byte_order_mark_and_windows_lines_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "bbq.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + YAML.replace("\n", "\r\n").encode())

    assert load_settings(path, {}).backup_project == "acme-vault"


# -- plan files


@pytest.fixture(scope="module")
def plan() -> RestorePlan:
    with LocalBigQuery() as server, tempfile.TemporaryDirectory() as folder:
        house = with_lab(House.build(server, Path(folder)))
        load(house, SALES.table("orders"), [{"n": 1}])
        house.back_up()
        return house.stack.plan_restore(RestoreRequest((Scope(SALES),), target=Target(LAB)), now=house.now)


Change = Callable[[dict[str, object]], object]


def in_plan(key: str, value: object) -> Change:
    return lambda content: content["plan"].update({key: value})  # type: ignore[attr-defined]


CHANGED: Mapping[str, Change] = {
    "another digest": lambda content: content.update(digest="0" * 16),
    "another id": lambda content: content.update(restore_id="restore_x"),
    "no digest": lambda content: content.pop("digest"),
    "another format": lambda content: content.update(format="bbq restore plan 99"),
    "no plan": lambda content: content.pop("plan"),
    "a plan that is a list": lambda content: content.update(plan=[]),
    "an unknown key": in_plan("also", 1),
    "a time without a zone": in_plan("planned_at", "2026-03-02T12:01:00"),
    "a time before all times": in_plan("planned_at", "0001-01-01T00:00:00+14:00"),
    "a time that is a number": in_plan("planned_at", 1),
    "tables that are text": in_plan("tables", "abc"),
    "tables that are a number": in_plan("tables", 7),
    "tables that are null": in_plan("tables", None),
    "a table of nothing": in_plan("tables", [{}]),
    "a conflict that is gone": in_plan("conflicts", [1]),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_plan_file_that_was_changed_is_refused(plan: RestorePlan, change: Change) -> None:
    content = json.loads(write_plan(plan))
    change(content)

    with pytest.raises(Refused, match="nothing was done"):
        read_plan(json.dumps(content), name="plan.json")


def test_every_name_and_number_in_a_plan_file_is_under_its_digest(plan: RestorePlan) -> None:
    text = write_plan(plan)
    changed = [text.replace("sales.orders", "sales.others"), text.replace(VAULT, "acme-thief"), text.replace(LAB, SHOP)]

    for other in changed:
        assert other != text
        with pytest.raises(Refused, match="nothing was done"):
            read_plan(other, name="plan.json")
    assert read_plan(text, name="plan.json") == plan


NO_JSON = {
    "nothing": "",
    "half": '{"format": ',
    "nested without end": "[" * 200_000,
    "objects without end": '{"a":' * 200_000,
    "a number of 100,000 digits": '{"format": ' + "9" * 100_000 + "}",
    "not a number": '{"format": NaN, "plan": Infinity}',
    "a list": "[]",
    "text": '"plan"',
    "a byte order mark within": '{"a":\ufeff1}',
}


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_plan_file_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nothing was done"):
        read_plan(text, name="plan.json")


def test_a_key_that_is_written_twice_in_a_plan_file_changes_nothing_unseen(plan: RestorePlan) -> None:
    """JSON takes the last one; what it says is what the digest is compared with."""
    text = write_plan(plan)
    twice = text.replace('"planned_at":', '"planned_at": "2020-01-01T00:00:00+00:00", "planned_at":', 1)

    assert read_plan(twice, name="plan.json") == plan


@pytest.mark.parametrize("raw", [b"\xff\xfe{}", b"{\x00}", b"\x80"], ids=["UTF-16", "a null byte", "half a letter"])
def test_a_file_of_bytes_is_refused_by_the_command(house: House, tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(raw)

    applied = bbq(tmp_path, "restore", "apply", str(file))
    listed = bbq(tmp_path, "restore", "plan", "--list", str(file))

    assert [code for code, _ in (applied, listed)] == [2, 2]
    assert all("nothing was done" in said for _, said in (applied, listed))


# -- lists of versions

BAD_LISTS = {
    "no header": "abc,def\n",
    "another header": "id,name\nabc,def\n",
    "a column too many": "version,table\nabc,def,ghi\n",
    "a column that nobody knows": "version,table,drop\nabc,def,ghi\n",
    "an empty version": 'version\n""\n',
    "nothing": "",
    "a header alone": "version,table\n",
    "a field of a megabyte": "version\n" + "a" * 1_000_000,
    "nested without end": "[" * 200_000,
    "a number of 100,000 digits": "[" + "9" * 100_000 + "]",
    "an object": '{"version": "abc"}',
    "a version that is a number": "[1]",
    "a version that is a list": '[{"version": ["abc"]}]',
    "a table that is a number": '[{"version": "abc", "table": 1}]',
    "a key that nobody knows": '[{"version": "abc", "sql": "x"}]',
}


@pytest.mark.parametrize("text", BAD_LISTS.values(), ids=BAD_LISTS)
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_version_list(text)


def test_a_list_from_a_spreadsheet_is_read(tmp_path: Path, house: House) -> None:
    """With a byte order mark, Windows lines and quotes: the versions are then looked for, and are not there."""
    file = tmp_path / "list.csv"
    file.write_bytes(b'\xef\xbb\xbf"version","table"\r\n"3kq7zr5n2v6w4hxa","a, b"\r\n')
    load(house, SALES.table("orders"), [{"n": 1}])
    house.back_up()

    _, said = bbq(tmp_path, "restore", "plan", "--list", str(file))

    assert [(wish.version_id, wish.table) for wish in read_version_list(file.read_text("utf-8-sig"))] == [
        ("3kq7zr5n2v6w4hxa", "a, b")
    ]
    assert "has no version" not in said


BAD_OPTIONS = {
    "a time before all times": ("--as-of", "0001-01-01T00:00+14:00"),
    "a time that is none": ("--as-of", "2026-13-01"),
    "a partition of 5,000 digits": ("--from-partition", "9" * 5000),
    "more days than there are": ("--last-days", "999999999"),
}


@pytest.mark.parametrize("options", BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_options_beyond_all_bounds_restore_nothing(house: House, tmp_path: Path, options: tuple[str, ...]) -> None:
    load(house, SALES.table("orders"), [{"n": 1}])
    house.back_up()

    code, said = bbq(tmp_path, "restore", "plan", str(SALES), *options)

    assert code in (1, 2), said
