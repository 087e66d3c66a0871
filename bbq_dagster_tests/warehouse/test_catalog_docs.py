"""docs/catalog.md says what the code does: its tables are compared, its queries are run."""

import re
from pathlib import Path

from bbq_dagster.core.catalog import COLUMNS, EventKind
from bbq_dagster.core.drift import Kind
from bbq_dagster.warehouse.catalog_sql import views

PAGE = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text()
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


def section(name: str) -> str:
    """What stands between the two marks of a part that is checked."""
    match = re.search(rf"<!-- {name}: checked by a test -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert match is not None, f"docs/catalog.md has no part {name}"
    return match[1]


def table(*rows: tuple[str, ...]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def test_the_columns_are_those_of_the_events_table() -> None:
    rows = [
        (f"`{column.name}`", column.type + (", required" if column.required else ""), column.description)
        for column in COLUMNS
    ]

    assert section("columns") == table(("column", "type", "meaning"), *rows)


def test_the_views_are_those_that_are_created() -> None:
    known = {column.name for column in COLUMNS}
    rows = []
    for view in views("events", "versions"):
        own = "; ".join(f"`{column.name}`: {column.description}" for column in view.columns if column.name not in known)
        rows.append((f"`{view.name}`", view.description, own))

    assert section("views") == table(("view", "has", "columns of its own"), *rows)


def test_every_event_is_explained() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("events"), re.MULTILINE) == [kind.value for kind in EventKind]


def test_every_kind_of_drift_is_explained() -> None:
    kinds = re.findall(r"^\| ([^|]+?) \|", section("drift"), re.MULTILINE)

    assert kinds == ["kind", *(kind.value for kind in Kind)]


def test_there_are_queries_to_run() -> None:
    assert len(QUERIES) >= 8
