"""The command `bbq`: the same plan and apply as in Dagster, from a terminal.

Exit codes:

    0   done, or nothing to do
    1   done in part: the message names what failed; everything else is as it should be
    2   not done: a bad option, bad settings, or a rule of ours; nothing was changed
    3   not done: BigQuery said no, or could not be reached
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from bbq_dagster.cli.backups import backup, discover, plan, status, versions
from bbq_dagster.cli.catalog import catalog
from bbq_dagster.cli.demo import demo
from bbq_dagster.cli.local import local
from bbq_dagster.cli.sandbox import dev
from bbq_dagster.cli.settings import settings
from bbq_dagster.errors import BbqError, Refused

PARTLY_DONE, NOT_DONE, WAREHOUSE_SAID_NO = 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path), help="The settings; default: $BBQ_CONFIG, then ./bbq.yaml.")
@click.version_option(package_name="bbq_dagster")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Backups of BigQuery that can be restored.

    Exit codes: 0 done, 1 done in part (what failed is named), 2 refused before anything was changed,
    3 BigQuery said no or could not be reached.
    """
    context.obj = config


for command in (plan, backup, status, versions, discover, catalog, settings, local, dev, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command; an error of ours becomes its message and its exit code, never a stack trace."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = NOT_DONE
    except click.Abort:
        click.echo("stopped; what was begun is finished by the next run", err=True)
        code = 130
    except BbqError as error:
        click.echo(f"error: {error}", err=True)
        code = NOT_DONE if isinstance(error, Refused) else WAREHOUSE_SAID_NO
    except BrokenPipeError:
        # The reader went away (`bbq plan | head`): nobody is left to be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
