"""What holds for every command: it loads only what it needs, answers in one voice, and ends as documented."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bbq_dagster.cli import cli
from bbq_dagster.cli.commands import COMMANDS
from bbq_dagster_tests.cli.conftest import Bbq
from bbq_dagster_tests.e2e.house import House

DOCUMENTED = Path(__file__).parents[2] / "docs" / "operations.md"

WITHOUT_JSON = {"metrics", "local serve", "settings schema", "dev", "demo"}
"""What answers with no table: servers, a show, and what is for programs anyway."""


def commands(group: click.Group = cli, names: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name: ``catalog init``."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        elif command is not None:
            yield " ".join((*names, name)), command


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``program``."""
    report = "import sys; print('\\n'.join(['', '--', *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stdout.partition("\n--\n")[2].split())


def bbq_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bbq_dagster.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plan", "--help"], ["local", "--help"], ["catalog", "columns"]], ids=" ".join
)
def test_help_loads_none_of_the_heavy_libraries(arguments: list[str]) -> None:
    loaded = loaded_by(f"from bbq_dagster.cli import run; assert run({arguments!r}) == 0")

    assert "bbq_dagster.cli.commands" in loaded
    assert not loaded & {"dagster", "google.cloud.bigquery", "google.auth", "duckdb", "pandas", "pyarrow", "pydantic"}


def test_a_plan_loads_neither_dagster_nor_the_embedded_bigquery(house: House) -> None:
    arguments = ["--config", str(house.stack.settings.path), "plan"]

    loaded = loaded_by(f"from bbq_dagster.cli import run; assert run({arguments!r}) == 0")

    assert "google.cloud.bigquery" in loaded
    assert not loaded & {"dagster", "duckdb", "uvicorn", "sqlglot", "bbq_dagster.local.server"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_bbq_says_of_a_command_what_the_command_says_of_itself(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert (command.help or "").split("\n\n")[0].replace("\n", " ") == COMMANDS[name].help


def test_every_command_that_answers_takes_json() -> None:
    without = {name for name, command in commands() if all(p.name != "as_json" for p in command.params)}

    assert without == WITHOUT_JSON


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_is_documented(name: str) -> None:
    assert f"| `{name}" in DOCUMENTED.read_text()


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["plan", "--bogus"], ["versions"], ["catalog", "history", "--limit", "0"], ["local", "bogus"]],
    ids=" ".join,
)
def test_a_command_that_does_not_exist_or_is_called_wrong_is_refused(anywhere: Bbq, arguments: list[str]) -> None:
    answer = anywhere(*arguments)

    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("Usage: bbq")


def test_the_process_ends_with_the_exit_code_and_without_a_stack_trace(house: House) -> None:
    done = bbq_process("--config", str(house.stack.settings.path), "plan", "nope.sales.orders")

    assert done.returncode == 2
    assert done.stderr.startswith("error: nope is not a source")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_failure() -> None:
    program = (
        "import sys; from bbq_dagster.cli import main\n"
        "import bbq_dagster.cli.catalog as commands, click\n"
        "commands.columns.callback = lambda **_: [click.echo('x' * 1_000_000) for _ in range(5)]\n"
        "sys.argv = ['bbq', 'catalog', 'columns']; main()"
    )

    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bbq:
        assert bbq.stdout is not None
        assert bbq.stderr is not None
        bbq.stdout.read(10)
        bbq.stdout.close()
        err = bbq.stderr.read()

    assert (bbq.returncode, err) == (0, b"")


def test_the_embedded_bigquery_that_is_not_installed_is_told_how_to_be() -> None:
    program = "import sys; sys.modules['duckdb'] = None\nfrom bbq_dagster.cli import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", program, "local", "serve"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == (
        "error: the embedded BigQuery needs duckdb, which is not installed\nHINT: pip install 'bbq_dagster[local]'\n"
    )
