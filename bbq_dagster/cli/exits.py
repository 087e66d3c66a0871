"""The exit codes of `bbq`, and which error stands for which. A shell script can rely on them.

    0     done, or nothing to do
    1     done in part: what failed is named, everything else is as it should be
    2     not done: a bad option, bad settings, or a rule of ours; nothing was changed
    3     not done: BigQuery said no, or could not be reached
    130   stopped by Ctrl-C

The first that fits counts: a run that BigQuery refused in the middle says 1 and names what it refused.
"""

from __future__ import annotations

from enum import IntEnum

import click

from bbq_dagster.errors import BbqError, Refused
from bbq_dagster.local.errors import LocalServerError


class ExitCode(IntEnum):
    """See the table above."""

    DONE = 0
    PARTLY_DONE = 1
    NOT_DONE = 2
    WAREHOUSE_SAID_NO = 3
    STOPPED = 130


def exit_code_of(error: BbqError | LocalServerError) -> ExitCode:
    """The embedded BigQuery that cannot be reached is a BigQuery that cannot be reached."""
    return ExitCode.NOT_DONE if isinstance(error, Refused) else ExitCode.WAREHOUSE_SAID_NO


def end_with(code: ExitCode) -> None:
    """End the command with ``code``, once it has said all there is to say."""
    click.get_current_context().exit(code)
