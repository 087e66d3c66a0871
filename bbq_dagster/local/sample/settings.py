"""A bbq.yaml for the sample: what a first look at the product reads."""

from __future__ import annotations

from pathlib import Path

from bbq_dagster.local.sample.tables import FLIGHTS, HOURLY

BACKUP_PROJECT = "acme-backup"


def sample_settings(url: str, folder: Path | str) -> str:
    """The text of a bbq.yaml for a BigQuery at ``url`` that has the sample; ``folder`` becomes its ``state_dir``."""
    return f"""\
# The sample: two projects of an airline, backed up into a third one.
endpoint: {url}
credentials: anonymous
backup_project: {BACKUP_PROJECT}
catalog:
  location: EU
state_dir: {_quoted(str(folder))}
restore_projects: [acme-lab]

defaults:
  policy:
    retention:
      keep_daily: 7
      keep_weekly: 4
      keep_monthly: 12
      grace_after_source_deleted: 90d

sources:
  - project: {FLIGHTS.project}
    daily_at: "02:00"
    time_zone: Europe/London
    overrides:
      # Gates stream their messages: do not keep a backup waiting for long.
      - dataset: ops
        table: gate_events
        policy:
          streaming_wait_minutes: 30

  - project: {HOURLY.project}
    daily_at: "06:30"
    time_zone: America/New_York
"""


def _quoted(text: str) -> str:
    """A YAML string in single quotes, in which only the quote itself is special."""
    return "'" + text.replace("'", "''") + "'"
