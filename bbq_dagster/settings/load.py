"""From bbq.yaml and the environment to ``Settings``, or to ``SettingsInvalid`` with all that is wrong.

The one place that reads the file. The environment is an argument; two variables count:

    BBQ_CONFIG               path of the file, where the caller names none; else ./bbq.yaml
    BIGQUERY_EMULATOR_HOST   endpoint, where the file names none; credentials are then anonymous unless the file says
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from bbq_dagster.core.anomaly_policy import AnomalyRules
from bbq_dagster.core.policy import Override, Policy
from bbq_dagster.core.retention_policy import RetentionRules, parse_duration
from bbq_dagster.core.selection import Patterns
from bbq_dagster.core.slis import SliLimits
from bbq_dagster.errors import SettingsInvalid
from bbq_dagster.settings.document import MAX_BYTES, Document, read_document
from bbq_dagster.settings.faults import faults_of
from bbq_dagster.settings.problems import Problem, merged, shown
from bbq_dagster.settings.rules import Fault, broken_rules
from bbq_dagster.settings.schema import (
    AnomalyKeys,
    DatasetPatternsKeys,
    NotificationKeys,
    OverrideKeys,
    PolicyKeys,
    RetentionKeys,
    ScheduleAndPolicyKeys,
    SettingsKeys,
    SliKeys,
    SourceKeys,
    TablePatternsKeys,
    endpoint_fault,
    time_of_day,
)
from bbq_dagster.settings.values import CatalogSettings, Limits, Notifications, Settings, Source, Verify

CONFIG_VARIABLE = "BBQ_CONFIG"
ENDPOINT_VARIABLE = "BIGQUERY_EMULATOR_HOST"
DEFAULT_FILE = "bbq.yaml"
DEFAULT_DAILY_AT = "02:00"
DEFAULT_TIME_ZONE = "UTC"


def load_settings(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the file at ``path``. Raises ``SettingsInvalid`` with every problem that it has, one line each."""
    path = (path or Path(env.get(CONFIG_VARIABLE) or DEFAULT_FILE)).absolute()
    document = read_document(_bytes_of(path))
    if document.content is None:
        raise _invalid(path, document.problems)
    host = env.get(ENDPOINT_VARIABLE, "")
    content = _with_endpoint(document.content, host)
    keys, faults = _validate(content)
    problems = merged(
        document.problems,
        _environment_problems(document.content, host),
        _located(faults, document),
        _located(broken_rules(content), document),
    )
    if problems or keys is None:
        raise _invalid(path, problems)
    return _settings(keys, path)


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        text = f"there is no such file: write it, or name another one in {CONFIG_VARIABLE}"
        raise SettingsInvalid(str(path), (text,)) from error
    except OSError as error:
        raise SettingsInvalid(str(path), (f"it cannot be read: {error.strerror}",)) from error


def _with_endpoint(content: object, host: str) -> object:
    if not isinstance(content, dict) or not _takes_endpoint_from_environment(content, host) or endpoint_fault(host):
        return content
    return {"credentials": "anonymous", **content, "endpoint": host}


def _takes_endpoint_from_environment(content: object, host: str) -> bool:
    return bool(host) and isinstance(content, dict) and "endpoint" not in content


def _environment_problems(content: object, host: str) -> list[Problem]:
    if not _takes_endpoint_from_environment(content, host) or not (fault := endpoint_fault(host)):
        return []
    return [Problem(0, (), f"environment variable {ENDPOINT_VARIABLE}: {shown(host)} {fault}")]


def _validate(content: object) -> tuple[SettingsKeys | None, list[Fault]]:
    try:
        return SettingsKeys.model_validate(content), []
    except ValidationError as error:
        return None, faults_of(error)


def _located(faults: list[Fault], document: Document) -> list[Problem]:
    return [Problem(document.line_of(place), place, text) for place, text in faults]


def _invalid(path: Path, problems: tuple[Problem, ...] | list[Problem]) -> SettingsInvalid:
    return SettingsInvalid(str(path), tuple(map(str, problems)))


def _settings(keys: SettingsKeys, path: Path) -> Settings:
    return Settings(
        endpoint=keys.endpoint.rstrip("/") if keys.endpoint else None,
        credentials=keys.credentials,
        backup_project=keys.backup_project,
        catalog=CatalogSettings(**keys.catalog.model_dump()),
        sources=tuple(_source(source, keys.defaults) for source in keys.sources),
        restore_projects=tuple(keys.restore_projects),
        slis=_sli_limits(keys.slis),
        notifications=_notifications(keys.notifications),
        limits=Limits(**keys.limits.model_dump()),
        state_dir=path.parent / keys.state_dir,
        path=path,
        defaults=_policy(keys.defaults.policy),
        verify=Verify(**keys.verify.model_dump()),
    )


def _sli_limits(keys: SliKeys) -> SliLimits:
    return SliLimits(
        timedelta(hours=keys.protected_within_hours), timedelta(hours=keys.unmodified_hours), keys.copies_failed
    )


def _notifications(keys: NotificationKeys) -> Notifications:
    return Notifications(keys.webhook, timedelta(hours=keys.missed_after_hours))


def _source(keys: SourceKeys, defaults: ScheduleAndPolicyKeys) -> Source:
    return Source(
        project=keys.project,
        daily_at=time_of_day(keys.daily_at or defaults.daily_at or DEFAULT_DAILY_AT),
        time_zone=ZoneInfo(keys.time_zone or defaults.time_zone or DEFAULT_TIME_ZONE),
        datasets=_patterns(keys.datasets),
        tables=_patterns(keys.tables),
        policy=_policy(keys.policy),
        overrides=tuple(map(_override, keys.overrides)),
    )


def _override(keys: OverrideKeys) -> Override:
    return Override(keys.dataset, keys.table, _policy(keys.policy))


def _patterns(keys: DatasetPatternsKeys | TablePatternsKeys) -> Patterns:
    return Patterns(tuple(keys.include), tuple(keys.exclude))


def _policy(keys: PolicyKeys) -> Policy:
    return Policy(
        **keys.model_dump(exclude={"retention", "anomaly"}),
        retention=_retention(keys.retention),
        anomaly=_anomaly(keys.anomaly),
    )


def _anomaly(keys: AnomalyKeys) -> AnomalyRules | None:
    rules = AnomalyRules(**keys.model_dump())
    return None if rules == AnomalyRules() else rules


def _retention(keys: RetentionKeys) -> RetentionRules | None:
    durations = {name: getattr(keys, name) for name in ("keep_within", "grace_after_source_deleted")}
    parsed = {name: None if text is None else parse_duration(text) for name, text in durations.items()}
    rules = RetentionRules(**{**keys.model_dump(), **parsed})
    return None if rules == RetentionRules() else rules
