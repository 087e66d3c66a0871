"""The definitions as they are deployed, by a clock that a test moves: for the processes of a deployment.

The environment variable ``BBQ_CLOCK_AHEAD`` names a file with the seconds that the clock is ahead.
"""

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from bbq_dagster.definitions import build_definitions
from bbq_dagster.defs.discovery import known_datasets
from bbq_dagster.defs.resources import BbqResource
from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack

CLOCK_VARIABLE = "BBQ_CLOCK_AHEAD"


class ClockedResource(BbqResource):
    def stack(self) -> Stack:
        return replace(super().stack(), clock=self.now)

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=float(Path(os.environ[CLOCK_VARIABLE]).read_text()))


@dg.definitions
def defs() -> dg.Definitions:
    settings = load_settings(None, os.environ)
    return build_definitions(settings, known_datasets(settings), bbq=ClockedResource(config_path=str(settings.path)))
