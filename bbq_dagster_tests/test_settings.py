"""bbq.yaml: what it becomes, what is wrong with it and how that is said, and that its documentation is true."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import time, timedelta
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bbq_dagster.core.policy import EffectivePolicy, Override, Policy, Setting
from bbq_dagster.core.retention_policy import RetentionPolicy, RetentionRules
from bbq_dagster.core.selection import Patterns, Selection
from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused, SettingsInvalid
from bbq_dagster.settings import CatalogSettings, Limits, Settings, Source, json_schema, load_settings
from bbq_dagster.settings.document import read_document
from bbq_dagster.settings.schema import LimitsKeys, PolicyKeys, RetentionKeys, SettingsKeys, keys_at

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "configuration.md"

MINIMAL = """\
backup_project: acme-backup
catalog: {location: EU}
sources:
- project: acme-shop
"""

FULL = """\
endpoint: http://127.0.0.1:9050/
credentials: anonymous
backup_project: acme-backup
catalog: {dataset: backups, location: europe-west2, snapshots_dataset: kept, snapshots_kept_days: 90}
defaults:
  daily_at: 12:30
  time_zone: Europe/London
  policy: {whole_table_share: 1}
sources:
- project: acme-shop
  daily_at: "03:30"
  policy: {streaming_wait_minutes: 5}
  datasets: {include: ["*"], exclude: ["tmp_*"]}
  tables: {exclude: [sales.scratch]}
  overrides:
  - dataset: sales
    policy: {streaming_wait_minutes: 10}
  - dataset: sales
    table: events_*
    policy: {skip: true}
- project: example.com:crm
  time_zone: Asia/Tokyo
restore_projects: [acme-lab, "example.com:lab"]
limits: {copy_jobs_per_day: 50_000, threads: 8, request_timeout_seconds: 30}
state_dir: /var/lib/bbq
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bbq.yaml"


def load(file: Path, text: str, **env: str) -> Settings:
    file.write_text(text, encoding="utf-8")
    return load_settings(file, env)


def problems_of(file: Path, text: str, **env: str) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalid) as caught:
        load(file, text, **env)
    return caught.value.problems


# What it becomes


def test_three_keys_are_enough(file: Path) -> None:
    assert load(file, MINIMAL) == Settings(
        endpoint=None,
        credentials="default",
        backup_project="acme-backup",
        catalog=CatalogSettings("bbq_catalog", "EU"),
        sources=(Source("acme-shop", time(2), ZoneInfo("UTC"), Patterns(("*",), ()), Patterns(("*",), ())),),
        limits=Limits(100_000, 98, 1, 500, 64, 1000, 60.0),
        state_dir=file.parent / ".bbq",
        path=file,
        defaults=Policy(),
    )


def test_every_key_takes_effect(file: Path) -> None:
    shop = Source(
        "acme-shop",
        time(3, 30),
        ZoneInfo("Europe/London"),
        Patterns(("*",), ("tmp_*",)),
        Patterns(("*",), ("sales.scratch",)),
        Policy(streaming_wait_minutes=5),
        (
            Override("sales", None, Policy(streaming_wait_minutes=10)),
            Override("sales", "events_*", Policy(skip=True)),
        ),
    )

    assert load(file, FULL) == Settings(
        endpoint="http://127.0.0.1:9050",
        credentials="anonymous",
        backup_project="acme-backup",
        catalog=CatalogSettings("backups", "europe-west2", snapshots_dataset="kept", snapshots_kept_days=90),
        sources=(shop, Source("example.com:crm", time(12, 30), ZoneInfo("Asia/Tokyo"))),
        limits=Limits(copy_jobs_per_day=50_000, threads=8, request_timeout_seconds=30),
        state_dir=Path("/var/lib/bbq"),
        path=file,
        restore_projects=("acme-lab", "example.com:lab"),
        defaults=Policy(whole_table_share=1),
    )


def test_settings_answer_for_a_project(file: Path) -> None:
    settings = load(file, FULL)

    assert settings.source("acme-shop") is settings.sources[0]
    assert settings.daily_time("example.com:crm") == (time(12, 30), ZoneInfo("Asia/Tokyo"))
    assert settings.selection_for("acme-shop") == Selection(
        Patterns(("*",), ("tmp_*",)), Patterns(("*",), ("sales.scratch",))
    )


def test_a_project_that_is_no_source_is_refused(file: Path) -> None:
    with pytest.raises(Refused, match=r"(?s)nope is not a source.*HINT: the sources are acme-shop, example\.com:crm"):
        load(file, FULL).source("nope")


def test_a_policy_says_who_set_it(file: Path) -> None:
    policy = load(file, FULL).policy_for(TableRef("acme-shop", "sales", "events_1"))

    assert policy == EffectivePolicy(
        skip=Setting(True, "table events_*"),
        whole_table_share=Setting(1, "defaults"),
        streaming_wait_minutes=Setting(10, "dataset sales"),
    )


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        pytest.param("acme-shop.sales.orders", None, id="backed up"),
        pytest.param("acme-shop.sales.scratch", "excluded by 'sales.scratch'", id="by the table"),
        pytest.param("acme-shop.tmp_1.a", "in dataset tmp_1, which is excluded by 'tmp_*'", id="by the dataset"),
        pytest.param("acme-shop.sales.events_1", "skipped by the policy of table events_*", id="by the policy"),
    ],
)
def test_a_table_left_out_has_a_reason(file: Path, table: str, expected: str | None) -> None:
    assert load(file, FULL).exclusion(TableRef.parse(table)) == expected


# The environment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(MINIMAL, ("http://localhost:9050", "anonymous"), id="endpoint of the environment"),
        pytest.param(
            f"credentials: default\n{MINIMAL}", ("http://localhost:9050", "default"), id="the file has its credentials"
        ),
        pytest.param(FULL, ("http://127.0.0.1:9050", "anonymous"), id="the file has its endpoint"),
        pytest.param(
            f"endpoint: https://bigquery.example\n{MINIMAL}",
            ("https://bigquery.example", "default"),
            id="credentials stay where the file has its endpoint",
        ),
    ],
)
def test_the_environment_has_the_endpoint_where_the_file_has_none(
    file: Path, text: str, expected: tuple[str, str]
) -> None:
    settings = load(file, text, BIGQUERY_EMULATOR_HOST="http://localhost:9050/")

    assert (settings.endpoint, settings.credentials) == expected


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_credentials_may_go_unencrypted_to_this_machine(file: Path, host: str) -> None:
    assert load(file, f"{MINIMAL}endpoint: http://{host}:9050\n").credentials == "default"


@pytest.mark.parametrize("host", ["10.0.0.1", "bigquery"])
def test_credentials_never_go_unencrypted_to_another(file: Path, host: str) -> None:
    problems = problems_of(file, f"{MINIMAL}endpoint: http://{host}:9050\n")

    assert "would get your credentials unencrypted" in problems[0]


def test_a_wrong_endpoint_of_the_environment_is_named(file: Path) -> None:
    assert problems_of(file, MINIMAL, BIGQUERY_EMULATOR_HOST="localhost:9050") == (
        "environment variable BIGQUERY_EMULATOR_HOST: 'localhost:9050' is not a URL: http://host:port or https://host",
    )


def test_an_empty_variable_is_none(file: Path) -> None:
    assert load(file, MINIMAL, BIGQUERY_EMULATOR_HOST="").endpoint is None


def test_the_environment_names_the_file(file: Path) -> None:
    file.write_text(MINIMAL)

    assert load_settings(None, {"BBQ_CONFIG": str(file)}).path == file


def test_else_it_is_in_the_current_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(MINIMAL)
    monkeypatch.chdir(file.parent)

    assert load_settings(None, {}).path == file


# What is wrong with it, and how that is said

KEYS = (
    "endpoint, credentials, backup_project, catalog, defaults, sources, restore_projects, slis, notifications, limits,"
    " verify, state_dir"
)
HEAD = "backup_project: b\ncatalog: {location: EU}\n"
TAIL = "catalog: {location: EU}\nsources: [{project: a}]\n"

BAD_KEYS = [
    pytest.param(
        "",
        [
            "line 1: backup_project: is missing; for example backup_project: acme-backup",
            "line 1: catalog: is missing; for example catalog: {location: EU}",
            "line 1: sources: is missing; for example sources: [{project: acme-shop}]",
        ],
        id="an empty file",
    ),
    pytest.param("- a\n", ["line 1: ['a'] is not a mapping: write key: value"], id="a list"),
    pytest.param(
        f"{MINIMAL}limit: {{}}\n",
        [f"line 5: limit: there is no such key; did you mean 'limits'? (the keys here are {KEYS})"],
        id="an unknown key that looks like a known one",
    ),
    pytest.param(
        f'{MINIMAL}"a b\\nc": 1\n',
        [f"line 5: 'a b\\nc': there is no such key (the keys here are {KEYS})"],
        id="an unknown key stays on one line",
    ),
    pytest.param(
        f"{MINIMAL}defaults: {{skip: true}}\n",
        [
            "line 5: defaults.skip: there is no such key; write it as policy.skip"
            " (the keys here are daily_at, time_zone, policy)"
        ],
        id="a key one level too high",
    ),
    pytest.param(
        f"{MINIMAL}  project: b\n", ["line 5: sources[0].project: written twice, first on line 4: keep one"], id="twice"
    ),
    pytest.param(
        f"{MINIMAL}limits:\n", ["line 5: limits: has no value: write one, or remove the key"], id="a key without value"
    ),
    pytest.param(
        f"{MINIMAL}  tables: {{exclude: [a, ]}}\n  datasets:\n    exclude:\n    -\n",
        ["line 8: sources[0].datasets.exclude[0]: has no value: write one, or remove the key"],
        id="an item without value",
    ),
    pytest.param(
        f"{MINIMAL}defaults: &d {{}}\nlimits: {{<<: *d}}\n",
        ["line 6: limits: merge keys (<<) are not used here: write common keys under defaults"],
        id="a merge key",
    ),
    pytest.param(
        f"{MINIMAL}state_dir: !env HOME\n",
        ["line 5: state_dir: !env is a tag, and tags are not used here: write the plain value"],
        id="a tag",
    ),
    pytest.param(f"{MINIMAL}? [a]\n: b\n", ["line 5: a key must be text, not a list or mapping"], id="a list as key"),
]

BAD_VALUES = [
    pytest.param(
        f"backup_project: Acme\n{TAIL}",
        [
            "line 1: backup_project: 'Acme' is not a project id: lower case letters, digits and hyphens,"
            " such as acme-shop"
        ],
        id="project id",
    ),
    pytest.param(
        f"backup_project: 1e5\n{TAIL}", ["line 1: backup_project: 100000.0 is not text: put it in quotes"], id="text"
    ),
    pytest.param(
        "backup_project: b\ncatalog: {location: 'E U', dataset: _c}\nsources: [{project: a}]\n",
        [
            "line 2: catalog.dataset: '_c' is not a dataset id: letters, digits and underscores,"
            " the first one no underscore",
            "line 2: catalog.location: 'E U' is not a location: such as EU, US or europe-west2",
        ],
        id="catalog",
    ),
    pytest.param(
        "backup_project: b\ncatalog: {location: EU, dataset: bbq_a__b__eu}\nsources: [{project: a}]\n",
        [
            "line 2: catalog.dataset: 'bbq_a__b__eu' is what a backup dataset would be called:"
            " choose another name, such as bbq_catalog"
        ],
        id="a catalog that could be a backup",
    ),
    pytest.param(
        "backup_project: b\ncatalog: {location: EU, snapshots_dataset: bbq_catalog, snapshots_kept_days: 0}\n"
        "sources: [{project: a}]\n",
        [
            "line 2: catalog.snapshots_dataset: 'bbq_catalog' is the dataset of the catalog:"
            " whoever deletes that would delete its snapshots too",
            "line 2: catalog.snapshots_kept_days: 0 is too small: at least 1",
        ],
        id="snapshots of the catalog",
    ),
    pytest.param(
        f'{MINIMAL}  daily_at: "25:00"\ndefaults: {{daily_at: 3:30}}\n',
        [
            'line 5: sources[0].daily_at: \'25:00\' is not a time of day: write "HH:MM", "00:00" to "23:59"',
            'line 6: defaults.daily_at: \'3:30\' is not a time of day: write "HH:MM", "00:00" to "23:59"',
        ],
        id="time of day",
    ),
    pytest.param(
        f"{MINIMAL}  time_zone: Europe/Londn\n",
        [
            "line 5: sources[0].time_zone: 'Europe/Londn' is not a time zone of the IANA database,"
            " such as Europe/London; did you mean 'Europe/London'?"
        ],
        id="time zone",
    ),
    pytest.param(
        f"{MINIMAL}  time_zone: Arctic\n",
        ["line 5: sources[0].time_zone: 'Arctic' is not a time zone of the IANA database, such as Europe/London"],
        id="a folder of time zones",
    ),
    pytest.param(
        f"{MINIMAL}limits:\n  threads: 0\n  requests_per_second: 90.5\n  concurrent_jobs: 50_001\n"
        "  max_units_per_run: true\n  request_timeout_seconds: soon\n",
        [
            "line 6: limits.threads: 0 is too small: at least 1",
            "line 7: limits.requests_per_second: 90.5 is not a whole number",
            "line 8: limits.concurrent_jobs: 50001 is too large: at most 50,000",
            "line 9: limits.max_units_per_run: true is not a whole number",
            "line 10: limits.request_timeout_seconds: 'soon' is not a number",
        ],
        id="impossible numbers",
    ),
    pytest.param(
        f"{MINIMAL}  policy: {{skip: no, whole_table_share: 1.5}}\n",
        [
            "line 5: sources[0].policy.skip: 'no' is not true or false",
            "line 5: sources[0].policy.whole_table_share: 1.5 is too large: at most 1.0",
        ],
        id="policy",
    ),
    pytest.param(
        f"{MINIMAL}  policy: {{whole_table_share: 1e999}}\n",
        ["line 5: sources[0].policy.whole_table_share: inf is not a finite number"],
        id="an infinite number",
    ),
    pytest.param(
        f'{MINIMAL}  datasets: {{include: "*", exclude: [a.b]}}\n  tables:\n    include:\n    - 20240131\n    - ""\n'
        "    - regex:(\n",
        [
            "line 5: sources[0].datasets.exclude[0]: 'a.b' is not a pattern: there is no dot in this name",
            "line 5: sources[0].datasets.include: '*' is not a list: write [a, b],"
            " or one line for each that begins with a hyphen",
            "line 8: sources[0].tables.include[0]: 20240131 is not text: put it in quotes",
            "line 9: sources[0].tables.include[1]: '' is not a pattern: it is empty; '*' matches everything",
            "line 10: sources[0].tables.include[2]: 'regex:(' is not a pattern: the regular expression is wrong:"
            " missing ), unterminated subpattern at position 0",
        ],
        id="patterns",
    ),
    pytest.param(f"{HEAD}sources: []\n", ["line 3: sources: is an empty list: name at least one"], id="no sources"),
    pytest.param(
        f"{MINIMAL}restore_projects: [acme-lab, acme-backup]\n",
        ["line 5: restore_projects[1]: 'acme-backup' is the backup project: restore into another one"],
        id="the backup project as restore project",
    ),
    pytest.param(f"{MINIMAL}state_dir: ''\n", ["line 5: state_dir: is empty"], id="no folder"),
    pytest.param(
        f"{MINIMAL}credentials: anon\n",
        ["line 5: credentials: 'anon' is not known: write 'default' or 'anonymous'"],
        id="credentials",
    ),
    pytest.param(
        f"{MINIMAL}endpoint: http://host:99999\n",
        ["line 5: endpoint: 'http://host:99999' is not a URL: http://host:port or https://host"],
        id="a port that is none",
    ),
    pytest.param(
        f"{MINIMAL}endpoint: http://me:secret@host/path\n",
        [
            "line 5: endpoint: 'http://…@host/path' has more than scheme, host and port:"
            " http://host:port or https://host"
        ],
        id="a password is not shown",
    ),
]

BROKEN_RULES = [
    pytest.param(
        f"backup_project: a\n{TAIL}",
        ["line 1: backup_project: 'a' is sources[0].project too: keep backups in another project"],
        id="the backup project is a source",
    ),
    pytest.param(
        f"{MINIMAL}- project: acme-shop\n",
        ["line 5: sources[1].project: 'acme-shop' is sources[0].project too: write one source per project"],
        id="a source twice",
    ),
    pytest.param(
        f"{MINIMAL}  overrides:\n  - {{dataset: s, policy: {{}}}}\n  - {{dataset: s, table: t, policy: {{}}}}\n"
        "  - {dataset: s, policy: {skip: true}}\n",
        ["line 8: sources[0].overrides[2]: is for the same as overrides[0]: write one override with both policies"],
        id="an override twice",
    ),
    pytest.param(
        f'{MINIMAL}  datasets: {{exclude: ["*"]}}\n  tables: {{include: [a, b], exclude: [b]}}\n',
        [
            "line 5: sources[0].datasets.exclude[0]: '*' is in include too, and so selects nothing: keep one of them",
            "line 6: sources[0].tables.exclude[0]: 'b' is in include too, and so selects nothing: keep one of them",
        ],
        id="included and excluded",
    ),
    pytest.param(
        f"{MINIMAL}credentials: anonymous\n",
        ["line 5: credentials: 'anonymous' needs an endpoint: BigQuery itself wants credentials: default"],
        id="nobody at BigQuery itself",
    ),
    pytest.param(
        f"{MINIMAL}endpoint: http://bigquery.example\n",
        [
            "line 5: endpoint: 'http://bigquery.example' would get your credentials unencrypted:"
            " write https://, or credentials: anonymous"
        ],
        id="credentials in the clear",
    ),
    pytest.param(
        "backup_project: a\ncatalog: {locaton: EU}\nsources:\n- project: a\n- project: [a]\nlimits: {threads: -1}\n",
        [
            "line 1: backup_project: 'a' is sources[0].project too: keep backups in another project",
            "line 2: catalog.location: is missing; for example location: EU",
            "line 2: catalog.locaton: there is no such key; did you mean 'location'?"
            " (the keys here are dataset, location, snapshots_dataset, snapshots_kept_days)",
            "line 5: sources[1].project: ['a'] is not text",
            "line 6: limits.threads: -1 is too small: at least 1",
        ],
        id="beside other faults",
    ),
]

NOT_YAML = [
    pytest.param(
        "a: b\nc: 'd\n",
        ["line 3: not YAML (column 1): while scanning a quoted scalar, found unexpected end of stream"],
        id="a quote that is not closed",
    ),
    pytest.param(
        "a:\n\t- b\n",
        [
            "line 2: not YAML (column 1): while scanning for the next token,"
            " found character '\\t' that cannot start any token"
        ],
        id="a tab",
    ),
    pytest.param("a: *b\n", ["line 1: not YAML (column 4): found undefined alias 'b'"], id="an alias of nothing"),
    pytest.param(
        "a: b\n---\na: c\n",
        [
            "line 2: not YAML (column 1): expected a single document in the stream, but found another document",
        ],
        id="two documents",
    ),
    pytest.param("a: b\nc: \0\n", ["line 2: not YAML: the character '\\x00' is not allowed"], id="a control character"),
    pytest.param("[" * 5000, ["line 1: nested more than 20 levels deep"], id="deep nesting"),
    pytest.param("a: &a [*a]\n", ["line 1: nested more than 20 levels deep"], id="an alias inside of itself"),
    pytest.param(
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{name}: &{name} [{', '.join([f'*{of}'] * 10)}]\n" for of, name in zip("abcdef", "bcdefg")),  # noqa: B905
        ["line 1: more than 20,000 values, those behind aliases included"],
        id="a bomb of aliases",
    ),
    pytest.param(
        "a: [" + "b," * 61_000 + "]",
        ["line 1: more than 20,000 values, those behind aliases included"],
        id="many values",
    ),
    pytest.param("#" * 300_000, ["line 1: the file has 262,145 bytes; at most 262,144 are read"], id="a large file"),
]


@pytest.mark.parametrize(("text", "expected"), [*BAD_KEYS, *BAD_VALUES, *BROKEN_RULES, *NOT_YAML])
def test_every_problem_has_its_line(file: Path, text: str, expected: list[str]) -> None:
    assert list(problems_of(file, text)) == expected


def test_the_error_names_the_file(file: Path) -> None:
    with pytest.raises(SettingsInvalid, match=rf"^{re.escape(str(file))}: 3 problems\n  line 1: "):
        load(file, "")


def test_a_missing_file_is_a_problem(file: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(file, {})

    assert caught.value.problems == ("there is no such file: write it, or name another one in BBQ_CONFIG",)


def test_a_folder_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, {})

    assert caught.value.problems == ("it cannot be read: Is a directory",)


def test_text_in_another_encoding_is_a_problem(file: Path) -> None:
    file.write_bytes(b"a: b\nc: \xff\n")

    with pytest.raises(SettingsInvalid, match="line 2: the file is not UTF-8"):
        load_settings(file, {})


def test_a_byte_order_mark_is_not_a_problem(file: Path) -> None:
    assert load(file, "\ufeff" + MINIMAL).backup_project == "acme-backup"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("no", "no", id="no is text"),
        pytest.param("12:30", "12:30", id="a time is text"),
        pytest.param("2024-01-31", "2024-01-31", id="a date is text"),
        pytest.param("0123", 123, id="a leading zero is not octal"),
        pytest.param("100_000", 100_000, id="grouped digits"),
        pytest.param("1_0", "1_0", id="but only in thousands"),
        pytest.param("1e3", 1000.0, id="an exponent"),
        pytest.param("True", True, id="a boolean"),
        pytest.param("'true'", "true", id="quoted is text"),
    ],
)
def test_a_plain_value_means_what_it_looks_like(text: str, expected: object) -> None:
    document = read_document(f"a: {text}".encode())

    assert document.content == {"a": expected}


@given(raw=st.binary() | st.text("ab:-[]{}&*!<'\"|>\n #?,%@\t", max_size=60).map(str.encode))
def test_no_text_is_too_broken_for_a_problem(raw: bytes) -> None:
    document = read_document(raw)

    assert document.content is not None or document.problems


@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*SettingsKeys.model_fields, "project", "policy", "x"]), inner, max_size=5
            )
        ),
    )
)
def test_no_content_escapes_validation(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(json.dumps(content))

    with pytest.raises(SettingsInvalid) as caught:
        load_settings(file, {})

    assert all("\n" not in problem for problem in caught.value.problems)


# Its documentation


def documented_keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, object]]:
    """Every key with its default; those of a policy once, as the documentation has them."""
    for name, key in model.model_fields.items():
        yield f"{path}{name}", None if key.is_required() else key.get_default(call_default_factory=True)
        item = next(iter(get_args(key.annotation)), key.annotation)
        if isinstance(item, type) and issubclass(item, BaseModel) and item is not PolicyKeys:
            below = f"{path}{name}[]." if item is not key.annotation else f"{path}{name}."
            yield from documented_keys(item, below)


@pytest.mark.parametrize(("key", "default"), [*documented_keys(SettingsKeys), *documented_keys(PolicyKeys, "policy.")])
def test_every_key_is_documented_with_its_default(key: str, default: object) -> None:
    rows = [line for line in DOC.read_text().splitlines() if line.startswith(f"| `{key}` |")]

    assert len(rows) == 1
    in_words = default is None or isinstance(default, BaseModel)
    assert in_words or f"| `{default if isinstance(default, str) else json.dumps(default)}` |" in rows[0]


def test_every_documented_key_exists() -> None:
    documented = re.findall(r"^\| `([a-z_.\[\]]+)` \| (?!exactly)", DOC.read_text(), re.MULTILINE)

    known = {key for key, _ in [*documented_keys(SettingsKeys), *documented_keys(PolicyKeys, "policy.")]}
    assert set(documented) == known


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", DOC.read_text(), re.DOTALL))
def test_every_example_of_the_documentation_loads(file: Path, text: str) -> None:
    assert load(file, text).sources


def test_the_documented_policy_is_the_effective_one(file: Path) -> None:
    document = DOC.read_text()
    example = next(text for text in re.findall(r"```yaml\n(.*?)```", document, re.DOTALL) if "overrides" in text)
    settings = load(file, example)
    policy = str(settings.policy_for(TableRef("acme-shop", "sales", "events_2024")))

    assert "".join(f"    {line}\n" for line in policy.splitlines()) in document
    assert settings.exclusion(TableRef("acme-shop", "sales", "orders")) == "skipped by the policy of dataset sales"


def test_the_documented_faults_are_what_is_printed(file: Path) -> None:
    documented = re.findall(r"```text\n.*? problems\n(.*?)```", DOC.read_text(), re.DOTALL)
    problems = problems_of(
        file, 'backup_project: b\ncatalog: {}\nlimit: {}\nsources:\n- {project: a, daily_at: "25:00"}\n'
    )

    assert "".join(f"  {problem}\n" for problem in problems) == documented[0]


def test_the_example_file_loads() -> None:
    settings = load_settings(ROOT / "bbq.example.yaml", {})

    assert (
        settings.exclusion(TableRef("acme-shop", "sales", "events_debug"))
        == "skipped by the policy of table events_debug"
    )


def test_the_schema_for_editors_is_current() -> None:
    assert (ROOT / "docs" / "bbq.schema.json").read_text() == json.dumps(json_schema(), indent=2) + "\n", (
        "write json.dumps(json_schema(), indent=2) and a newline into docs/bbq.schema.json"
    )


def test_the_schema_describes_every_key_and_gives_an_example() -> None:
    mappings = [json_schema(), *json_schema()["$defs"].values()]

    for mapping in mappings:
        assert mapping["additionalProperties"] is False
        for name, key in mapping["properties"].items():
            assert key["description"], name
            assert key["examples"], name
            assert key.get("default", "") is not None, name


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        pytest.param(PolicyKeys, Policy, id="policy"),
        pytest.param(RetentionKeys, RetentionRules, id="retention"),
        pytest.param(LimitsKeys, Limits, id="limits"),
    ],
)
def test_what_is_written_has_the_keys_of_what_it_becomes(keys: type[BaseModel], values: type) -> None:
    assert list(keys.model_fields) == [field.name for field in dataclasses.fields(values)]


def test_retention_is_merged_key_by_key_over_the_levels(file: Path) -> None:
    settings = load(
        file,
        "backup_project: acme-backup\ncatalog: {location: EU}\n"
        "defaults: {policy: {retention: {keep_daily: 7, grace_after_source_deleted: 90d}}}\n"
        "sources: [{project: acme-shop, overrides: [{dataset: sales, policy: {retention: {keep_within: forever}}}]}]\n",
    )
    retention = settings.policy_for(TableRef("acme-shop", "sales", "orders")).retention

    assert retention.value == RetentionPolicy(
        keep_daily=7, keep_within=timedelta.max, grace_after_source_deleted=timedelta(days=90)
    )
    assert str(retention) == (
        "keep_daily 7, keep_within forever, grace_after_source_deleted 90d (defaults, dataset sales)"
    )
    assert settings.policy_for(TableRef("acme-shop", "crm", "leads")).retention.set_by == "defaults"


def test_a_place_leads_to_its_keys() -> None:
    assert keys_at(("sources", 3, "overrides", 0, "policy")) is PolicyKeys
