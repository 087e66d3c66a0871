"""Who may import whom: read from the source, and proven in a fresh interpreter.

The core decides and the rest carries out. That is only true while the core cannot reach the rest.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import bbq_dagster

PACKAGE = Path(bbq_dagster.__file__).parent

HEAVY = ("dagster", "google", "pydantic", "yaml", "click", "rich", "pyarrow", "duckdb", "sqlglot", "requests")

LAYERS = {
    "errors": (),
    "core": ("errors",),
    "warehouse.port": ("errors", "core"),
    "warehouse": ("errors", "core", "warehouse.port"),
    "apply": ("errors", "core", "warehouse.port"),
    "settings": ("errors", "core"),
    "stack": ("errors", "core", "warehouse.port", "warehouse", "apply", "settings"),
    "defs": ("errors", "core", "warehouse.port", "apply", "settings", "stack"),
    "cli": ("errors", "core", "warehouse.port", "apply", "settings", "stack", "defs", "definitions", "local"),
    "definitions": ("errors", "core", "settings", "stack", "defs"),
    "local": ("errors", "core", "settings"),
}
"""What each part may import of this project, besides itself. The order is the direction: nothing looks down."""


def modules(under: str = "") -> list[str]:
    """The modules of the package, or of a part of it: ``bbq_dagster.core.plan``."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(name)
    prefix = f"bbq_dagster.{under}".rstrip(".")
    return [name for name in found if name == prefix or name.startswith(f"{prefix}.")]


def source_of(module: str) -> Path:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that ``module`` names in an import, wherever in the file: ``bbq_dagster.core.plan``, ``re``."""
    return frozenset(_imported(ast.walk(ast.parse(source_of(module).read_text())), module))


def _imported(nodes: Iterable[ast.AST], module: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: write the whole name"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if _is_module(name) else str(node.module) for name in names)


def _is_module(name: str) -> bool:
    """``from package import module`` imports the module, ``from module import name`` does not."""
    return name.startswith("bbq_dagster.") and source_of(name).exists()


def part_of(module: str) -> str:
    """The layer of a module of this project; empty for the package itself."""
    inside = module.removeprefix("bbq_dagster").removeprefix(".")
    return "warehouse.port" if inside == "warehouse.port" else inside.partition(".")[0]


def loaded_by(names: Iterable[str]) -> set[str]:
    """The top-level modules that importing ``names`` adds to a fresh interpreter; ``__main__`` is not for importing."""
    program = (
        "import importlib, sys\n"
        "before = set(sys.modules)\n"
        f"for name in {[name for name in names if not name.endswith('__main__')]!r}: importlib.import_module(name)\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_there_is_something_to_look_at() -> None:
    assert {part_of(module) for module in modules()} >= {"errors", "core", "warehouse", "warehouse.port", "apply"}
    assert "bbq_dagster.core.plan" in modules("core")
    assert "bbq_dagster.core.naming" in imports_of("bbq_dagster.core.plan")


def test_every_module_is_in_a_layer() -> None:
    assert {part_of(module) for module in modules()} - {""} <= set(LAYERS)


@pytest.mark.parametrize("module", modules())
def test_imports_go_one_way(module: str) -> None:
    part = part_of(module)
    allowed = {part, *LAYERS.get(part, ())}
    own = {name for name in imports_of(module) if name.split(".")[0] == "bbq_dagster"}

    assert {name for name in own if part_of(name) not in allowed} == set()


@pytest.mark.parametrize("part", ["core", "apply", "warehouse.port", "errors"])
def test_the_pure_parts_load_nothing_but_the_standard_library(part: str) -> None:
    loaded = loaded_by(modules(part))

    assert "bbq_dagster" in loaded
    assert not loaded & set(HEAVY)
    assert loaded - {"bbq_dagster"} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        pytest.param(
            "settings", ("dagster", "google", "duckdb", "pyarrow"), id="settings need neither Dagster nor Google"
        ),
        pytest.param("warehouse", ("dagster", "duckdb", "yaml"), id="the adapters do not need Dagster"),
        pytest.param("stack", ("dagster", "duckdb"), id="plan and apply do not need Dagster"),
        pytest.param("cli", ("dagster", "duckdb"), id="the CLI starts without Dagster and the local BigQuery"),
    ],
)
def test_a_part_does_not_load_what_it_does_not_need(part: str, forbidden: tuple[str, ...]) -> None:
    loaded = loaded_by(modules(part))

    assert "bbq_dagster" in loaded
    assert not loaded & set(forbidden)


@pytest.mark.parametrize(
    ("library", "parts"),
    [
        pytest.param("google", {"warehouse", "local"}, id="google.cloud"),
        pytest.param("dagster", {"defs", "definitions", "cli"}, id="dagster"),
        pytest.param("duckdb", {"local"}, id="duckdb"),
        pytest.param("click", {"cli"}, id="click"),
        pytest.param("yaml", {"settings", "cli", "local"}, id="yaml"),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library: str, parts: set[str]) -> None:
    users = {part_of(module) for module in modules() for name in imports_of(module) if name.split(".")[0] == library}

    assert users <= parts


def test_only_the_cli_and_itself_import_the_embedded_bigquery() -> None:
    users = {part_of(module) for module in modules() if any(part_of(name) == "local" for name in imports_of(module))}

    assert users <= {"local", "cli"}


@pytest.mark.parametrize("module", modules("core"))
def test_the_core_reads_no_clock_and_draws_no_lots(module: str) -> None:
    calls = {
        node.attr
        for node in ast.walk(ast.parse(source_of(module).read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today", "uuid4", "environ", "getenv"}
    }

    assert calls == set()
    assert not imports_of(module) & {"random", "uuid", "time", "os", "secrets", "logging"}
