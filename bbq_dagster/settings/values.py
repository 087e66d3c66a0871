"""The settings as the rest of the project sees them: frozen, complete, valid.

Reads nothing and checks nothing: ``load`` builds these values from bbq.yaml and the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from bbq_dagster.core.policy import EffectivePolicy, Override, Policy, levels_for, resolve_policy
from bbq_dagster.core.selection import NotSelected, Patterns, Selection
from bbq_dagster.core.slis import SliLimits
from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused

Credentials = Literal["default", "anonymous"]


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """Where in the backup project the catalog lives; ``location`` cannot change once it exists.

    ``snapshots_dataset``: where its snapshots are; None for ``dataset`` with ``_snapshots`` behind it.
    """

    dataset: str
    location: str
    snapshots_dataset: str | None = None
    snapshots_kept_days: int = 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use. The defaults stay below BigQuery's own quotas (BigQuery: quotas)."""

    copy_jobs_per_day: int = 100_000
    requests_per_second: int = 98
    concurrent_runs: int = 1
    concurrent_jobs: int = 500
    threads: int = 64
    max_units_per_run: int = 1000
    request_timeout_seconds: float = 60.0
    retry_for_seconds: float = 600.0
    retention_share_of_versions: float = 0.5
    retention_share_of_bytes: float = 0.5
    retention_max_scan_age_hours: int = 48


@dataclass(frozen=True, slots=True)
class Verify:
    """What verifications may use in a day (UTC). The bytes are what queries read; 10 GiB cost some cents."""

    share_per_day: float = 0.02
    versions_per_day: int = 1000
    bytes_per_day: int = 10 * 2**30
    drills_per_day: int = 1
    scratch_project: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One source project: what of it is backed up, when, and how."""

    project: str
    daily_at: time = time(2)
    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    datasets: Patterns = field(default_factory=Patterns)
    tables: Patterns = field(default_factory=Patterns)
    policy: Policy = field(default_factory=Policy)
    overrides: tuple[Override, ...] = ()

    @property
    def selection(self) -> Selection:
        return Selection(self.datasets, self.tables)


@dataclass(frozen=True, slots=True)
class Notifications:
    """Who is told of failed runs, and of daily backups that did not happen ``missed_after`` their time.

    ``webhook``: None is nobody.
    """

    webhook: str | None = None
    missed_after: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Settings:
    """All of bbq.yaml. ``endpoint`` None is BigQuery itself; ``path`` is the file that was read.

    ``restore_projects`` may be restored into, besides the project that a version came from.
    """

    endpoint: str | None
    credentials: Credentials
    backup_project: str
    catalog: CatalogSettings
    sources: tuple[Source, ...]
    limits: Limits
    state_dir: Path
    path: Path
    restore_projects: tuple[str, ...] = ()
    slis: SliLimits = field(default_factory=SliLimits)
    notifications: Notifications = field(default_factory=Notifications)
    defaults: Policy = field(default_factory=Policy)
    verify: Verify = field(default_factory=Verify)

    @property
    def scratch_project(self) -> str:
        """Where restore drills go."""
        return self.verify.scratch_project or self.backup_project

    def source(self, project: str) -> Source:
        """Raises ``Refused`` where ``project`` is not among the sources."""
        found = next((source for source in self.sources if source.project == project), None)
        if found is None:
            known = ", ".join(source.project for source in self.sources)
            raise Refused(f"{project} is not a source in {self.path}", hint=f"the sources are {known}")
        return found

    def daily_time(self, project: str) -> tuple[time, ZoneInfo]:
        """When the daily backup of ``project`` starts, by the clock of that time zone."""
        source = self.source(project)
        return source.daily_at, source.time_zone

    def selection_for(self, project: str) -> Selection:
        return self.source(project).selection

    def policy_for(self, table: TableRef) -> EffectivePolicy:
        source = self.source(table.project)
        return resolve_policy(
            levels_for(table, defaults=self.defaults, project=source.policy, overrides=source.overrides)
        )

    def exclusion(self, table: TableRef) -> str | None:
        """Why the settings leave ``table`` out, in words that follow "it is"; None where it is to be backed up."""
        decision = self.selection_for(table.project).decide_table(table)
        if isinstance(decision, NotSelected):
            return decision.reason
        skip = self.policy_for(table).skip
        return f"skipped by the policy of {skip.set_by}" if skip.value else None
