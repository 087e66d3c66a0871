"""Settings, warehouse, catalog and clock, as assets, jobs and sensors get them.

dagster-gcp's ``BigQueryResource`` is not used: it carries one project, one location and a key file, and builds a bare
client. Here all of these come from bbq.yaml, and the client gets an endpoint, a pool, timeouts and retries from the
warehouse adapter, so that a subclass would keep none of it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from bbq_dagster.settings import load_settings
from bbq_dagster.stack import Stack, open_stack


class BbqResource(dg.ConfigurableResource[None]):
    """What the settings name, opened; and the only clock of Dagster's side."""

    config_path: str = Field(
        default="",
        description="Path of bbq.yaml. Empty: what the environment variable BBQ_CONFIG names, or ./bbq.yaml.",
    )

    def stack(self) -> Stack:
        """Raises ``SettingsInvalid`` where the settings cannot be used."""
        return open_stack(load_settings(Path(self.config_path) if self.config_path else None, os.environ))

    def now(self) -> datetime:
        return datetime.now(UTC)
