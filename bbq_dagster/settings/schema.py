"""The keys of bbq.yaml: type, limits, default, description and example of each.

The one place that says what a single key may be; editors get the same as JSON schema. What must hold between keys is
in ``rules``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import time
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from bbq_dagster.core.naming import dataset_source_of
from bbq_dagster.core.retention_policy import Preset, parse_duration
from bbq_dagster.core.selection import pattern_fault
from bbq_dagster.core.tables import DatasetRef
from bbq_dagster.errors import Refused
from bbq_dagster.settings.problems import Place, did_you_mean, shown
from bbq_dagster.settings.values import Credentials, Limits, Verify

FAULT = "fault"
"""The type of the validation errors that carry our own words."""

_TIME_OF_DAY = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_DATASET_ID = r"[A-Za-z0-9][A-Za-z0-9_]{0,1023}"
_LOCATION = r"[A-Za-z]+(-[A-Za-z0-9]+)*"
_LIMITS = Limits()
_VERIFY = Verify()


def _checked(fault_of: Callable[[str], str]) -> AfterValidator:
    """A validator of text from a function that says what is wrong with it, in words that follow the value."""

    def check(text: str) -> str:
        if fault := fault_of(text):
            raise PydanticCustomError(FAULT, "{fault}", {"fault": f"{shown(text)} {fault}"})
        return text

    return AfterValidator(check)


def _project_fault(text: str) -> str:
    try:
        DatasetRef.parse(f"{text}.any")
    except Refused:
        return "is not a project id: lower case letters, digits and hyphens, such as acme-shop"
    return ""


def _catalog_dataset_fault(text: str) -> str:
    if not re.fullmatch(_DATASET_ID, text):
        return "is not a dataset id: letters, digits and underscores, the first one no underscore"
    if dataset_source_of(DatasetRef("any", text)) is not None:
        return "is what a backup dataset would be called: choose another name, such as bbq_catalog"
    return ""


def _location_fault(text: str) -> str:
    return "" if re.fullmatch(_LOCATION, text) else "is not a location: such as EU, US or europe-west2"


def _time_fault(text: str) -> str:
    return "" if re.fullmatch(_TIME_OF_DAY, text) else 'is not a time of day: write "HH:MM", "00:00" to "23:59"'


def _time_zone_fault(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the zone database is an OSError
        return (
            f"is not a time zone of the IANA database, such as Europe/London{did_you_mean(text, available_timezones())}"
        )
    return ""


def _duration_fault(text: str) -> str:
    try:
        parse_duration(text)
    except Refused:
        return "is not a duration: write hours, days or weeks as 36h, 30d or 8w, or forever"
    return ""


def endpoint_fault(text: str) -> str:
    """What is wrong with an endpoint; empty where it is one."""
    try:
        url = urlsplit(text)
        has_port = url.port is None or url.port > 0
    except ValueError:
        return "is not a URL: http://host:port or https://host"
    if url.scheme not in {"http", "https"} or not url.hostname or not has_port or re.search(r"\s", text):
        return "is not a URL: http://host:port or https://host"
    if url.path not in {"", "/"} or url.query or url.fragment or url.username is not None:
        return "has more than scheme, host and port: http://host:port or https://host"
    return ""


def _webhook_fault(text: str) -> str:
    try:
        url = urlsplit(text)
    except ValueError:
        return "is not a URL: https://host/path"
    is_one = url.scheme in {"http", "https"} and url.hostname and not re.search(r"\s", text)
    return "" if is_one else "is not a URL: https://host/path"


def _dataset_pattern_fault(text: str) -> str:
    return _as_pattern(pattern_fault(text, dots=0))


def _table_pattern_fault(text: str) -> str:
    return _as_pattern(pattern_fault(text))


def _bare_table_pattern_fault(text: str) -> str:
    return _as_pattern(pattern_fault(text, dots=0))


def _as_pattern(fault: str) -> str:
    return f"is not a pattern: {fault}" if fault else ""


Endpoint = Annotated[str, _checked(endpoint_fault)]
WebhookUrl = Annotated[str, _checked(_webhook_fault)]
ProjectId = Annotated[str, _checked(_project_fault)]
CatalogDataset = Annotated[
    str, _checked(_catalog_dataset_fault), Field(json_schema_extra={"pattern": f"^{_DATASET_ID}$"})
]
Location = Annotated[str, _checked(_location_fault), Field(json_schema_extra={"pattern": f"^{_LOCATION}$"})]
TimeOfDay = Annotated[str, _checked(_time_fault), Field(json_schema_extra={"pattern": f"^{_TIME_OF_DAY}$"})]
Duration = Annotated[
    str, _checked(_duration_fault), Field(json_schema_extra={"pattern": "^([0-9]{1,5}[hdw]|forever)$"})
]
TimeZone = Annotated[str, _checked(_time_zone_fault)]
DatasetPattern = Annotated[str, _checked(_dataset_pattern_fault)]
TablePattern = Annotated[str, _checked(_table_pattern_fault)]
BareTablePattern = Annotated[str, _checked(_bare_table_pattern_fault)]


def _without_null(schema: dict[str, Any]) -> None:
    """``None`` is the default of a key that another level decides. It cannot be written: ``document`` refuses it."""
    for name, key in schema.get("properties", {}).items():
        if key.get("default", "") is None:
            written, _null = key.pop("anyOf")
            del key["default"]
            schema["properties"][name] = {**written, **key}


class _Mapping(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_without_null
    )


def _count(what: str, example: int) -> Any:
    return Field(None, ge=0, le=100_000, description=f"{what} 0 turns the rule off.", examples=[example])


class RetentionKeys(_Mapping):
    """Which versions are kept: those that any rule keeps. Every key may be left out; then a weaker level decides."""

    keep_last: int | None = _count("Keep the newest versions.", 3)
    keep_hourly: int | None = _count("Keep the newest version of each of so many hours that have one.", 24)
    keep_daily: int | None = _count("Keep the newest version of each of so many days that have one.", 7)
    keep_weekly: int | None = _count("Keep the newest version of each of so many weeks that have one.", 4)
    keep_monthly: int | None = _count("Keep the newest version of each of so many months that have one.", 12)
    keep_yearly: int | None = _count("Keep the newest version of each of so many years that have one.", 5)
    keep_within: Duration | None = Field(
        None, description="Keep all versions that are not older; forever keeps everything.", examples=["30d"]
    )
    min_versions: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Never keep fewer versions while the source exists. A floor, no rule of its own. Built in: 1.",
        examples=[2],
    )
    grace_after_source_deleted: Duration | None = Field(
        None,
        description="All versions go when the source has been gone for longer. Built in: forever, with the preset bbq"
        " its months.",
        examples=["90d"],
    )
    preset: Preset | None = Field(
        None, description="bbq: the rules of the original BBQ, beside the others. Built in: none.", examples=["bbq"]
    )
    bbq_months: int | None = Field(
        None,
        ge=1,
        le=1200,
        description="Of the preset bbq: after how many months a version is old, and how many a source has to be gone."
        " Built in: 7.",
        examples=[7],
    )
    bbq_count: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Of the preset bbq: how many young versions are kept. Built in: 10.",
        examples=[10],
    )


class AnomalyKeys(_Mapping):
    """Which changes are flagged: older versions then stay until somebody released them. Every key may be left out;
    then a weaker level decides.
    """

    rows_lost_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Flag what lost more than this share of its rows since the last version. 1 turns the rule off."
        " Built in: 0.5.",
        examples=[0.5],
    )
    bytes_lost_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Flag what lost more than this share of its bytes. 1 turns the rule off. Built in: 0.5.",
        examples=[0.5],
    )
    schema_change: bool | None = Field(
        None, description="Flag what has other columns than the last version. Built in: false.", examples=[True]
    )
    smallest_rows: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="Shares are not looked at where the last version has fewer rows. Built in: 1000.",
        examples=[1000],
    )


class PolicyKeys(_Mapping):
    """How tables are backed up. Every key may be left out; then the next weaker level decides."""

    skip: bool | None = Field(
        None, description="Do not back this up. Versions that exist stay. Built in: false.", examples=[True]
    )
    whole_table_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="From this share of changed partitions on, one copy job takes the whole table instead of one job"
        " for each changed partition. Built in: 0.5.",
        examples=[0.5],
    )
    streaming_wait_minutes: int | None = Field(
        None,
        ge=0,
        le=1440,
        description="How long rows in the streaming buffer may keep a copy waiting, as a copy does not take them."
        " Built in: 90.",
        examples=[90],
    )
    retention: RetentionKeys = Field(
        default_factory=RetentionKeys,
        description="Which versions are kept. Where no level says anything, nothing is ever deleted.",
        examples=[{"keep_daily": 7, "keep_weekly": 4}],
    )
    anomaly: AnomalyKeys = Field(
        default_factory=AnomalyKeys,
        description="Which changes are flagged: older versions then stay until somebody released them.",
        examples=[{"rows_lost_share": 0.2, "schema_change": True}],
    )


class CatalogKeys(_Mapping):
    """The record of every version, in the backup project."""

    dataset: CatalogDataset = Field("bbq_catalog", description="Dataset of the catalog.", examples=["bbq_catalog"])
    location: Location = Field(
        description="Where the catalog is kept. It cannot be changed once the catalog exists.", examples=["EU"]
    )
    snapshots_dataset: CatalogDataset | None = Field(
        None,
        description="Dataset of the snapshots of the catalog. Built in: that of the catalog with _snapshots behind it.",
        examples=["bbq_catalog_snapshots"],
    )
    snapshots_kept_days: int = Field(
        30, ge=1, le=3650, description="Days after which BigQuery deletes a snapshot of the catalog.", examples=[30]
    )


class ScheduleAndPolicyKeys(_Mapping):
    """When backups start and how they are made; what a source leaves out, defaults decide."""

    daily_at: TimeOfDay | None = Field(
        None, description='Time of day of the daily backup, "HH:MM". Built in: "02:00".', examples=["02:00"]
    )
    time_zone: TimeZone | None = Field(
        None,
        description="Time zone of daily_at, as the IANA database calls it. Built in: UTC.",
        examples=["Europe/London"],
    )
    policy: PolicyKeys = Field(
        default_factory=PolicyKeys, description="Policy of this level.", examples=[{"streaming_wait_minutes": 60}]
    )


class DatasetPatternsKeys(_Mapping):
    """Which datasets, by patterns of their ids."""

    include: list[DatasetPattern] = Field(
        ["*"],
        min_length=1,
        description="Datasets to back up. Hidden ones only by a pattern that begins with an underscore.",
        examples=[["*"], ["sales", "crm_*"]],
    )
    exclude: list[DatasetPattern] = Field(
        [], description="Datasets to leave out; wins over include.", examples=[["tmp_*", "regex:test_[0-9]+"]]
    )


class TablePatternsKeys(_Mapping):
    """Which tables, by patterns of ``table`` or ``dataset.table``."""

    include: list[TablePattern] = Field(
        ["*"], min_length=1, description="Tables to back up.", examples=[["*"], ["sales.*"]]
    )
    exclude: list[TablePattern] = Field(
        [], description="Tables to leave out; wins over include.", examples=[["*_staging", "sales.scratch"]]
    )


class OverrideKeys(_Mapping):
    """A policy for some datasets, or for some of their tables."""

    dataset: DatasetPattern = Field(description="Datasets this is for: an id or a pattern.", examples=["sales"])
    table: BareTablePattern | None = Field(
        None, description="Tables of these datasets this is for. Without it: all of them.", examples=["events_*"]
    )
    policy: PolicyKeys = Field(description="Policy of this level.", examples=[{"whole_table_share": 0.8}])


class SourceKeys(ScheduleAndPolicyKeys):
    """A project that is backed up."""

    project: ProjectId = Field(description="Project to back up.", examples=["acme-shop"])
    datasets: DatasetPatternsKeys = Field(
        default_factory=DatasetPatternsKeys, description="Which datasets.", examples=[{"exclude": ["tmp_*"]}]
    )
    tables: TablePatternsKeys = Field(
        default_factory=TablePatternsKeys, description="Which tables.", examples=[{"exclude": ["*_staging"]}]
    )
    overrides: list[OverrideKeys] = Field(
        [],
        description="Policies of single datasets and tables; the more specific one is the stronger.",
        examples=[[{"dataset": "sales", "policy": {"streaming_wait_minutes": 30}}]],
    )


class LimitsKeys(_Mapping):
    """What a run may use of BigQuery's quotas and of this machine."""

    copy_jobs_per_day: int = Field(
        _LIMITS.copy_jobs_per_day,
        ge=1,
        le=10_000_000,
        description="Copy jobs in 24 hours; what does not fit waits for the next run. BigQuery's quota is 100,000.",
        examples=[100_000],
    )
    requests_per_second: int = Field(
        _LIMITS.requests_per_second,
        ge=1,
        le=1000,
        description="Starts of copy jobs per second at most. BigQuery allows 100 requests per second, user and method;"
        " what it refuses slows the run down.",
        examples=[98],
    )
    concurrent_runs: int = Field(
        _LIMITS.concurrent_runs,
        ge=1,
        le=100,
        description="Runs that copy at the same time. Each begins with its share of requests_per_second, and finds out"
        " what the others leave.",
        examples=[3],
    )
    concurrent_jobs: int = Field(
        _LIMITS.concurrent_jobs,
        ge=1,
        le=50_000,
        description="Copy jobs that run at the same time. The quota is 50,000 pending jobs per project and region.",
        examples=[500],
    )
    threads: int = Field(
        _LIMITS.threads,
        ge=1,
        le=256,
        description="Requests that one run has open at the same time. BigQuery allows 300 per user.",
        examples=[64],
    )
    max_units_per_run: int = Field(
        _LIMITS.max_units_per_run,
        ge=1,
        le=10_000,
        description="Tables and partitions that one Dagster run backs up at most; more become several runs.",
        examples=[1000],
    )
    request_timeout_seconds: float = Field(
        _LIMITS.request_timeout_seconds,
        ge=1,
        le=3600,
        description="How long one request may take before it is tried again.",
        examples=[60.0],
    )
    retry_for_seconds: float = Field(
        _LIMITS.retry_for_seconds,
        ge=0,
        le=86_400,
        description="How long a request that fails in passing (rate limits, errors of the backend) is tried again.",
        examples=[600.0],
    )
    retention_share_of_versions: float = Field(
        _LIMITS.retention_share_of_versions,
        ge=0,
        le=1,
        description="A retention run that would delete a larger share of all versions needs the digest of its plan.",
        examples=[0.5],
    )
    retention_share_of_bytes: float = Field(
        _LIMITS.retention_share_of_bytes,
        ge=0,
        le=1,
        description="A retention run that would delete a larger share of all bytes needs the digest of its plan.",
        examples=[0.5],
    )
    retention_max_scan_age_hours: int = Field(
        _LIMITS.retention_max_scan_age_hours,
        ge=1,
        le=8760,
        description="Retention of a dataset is frozen where its tables were not listed for so long.",
        examples=[48],
    )


class SliKeys(_Mapping):
    """From when on something counts as not protected, for `bbq slis`, the asset checks and the metrics."""

    protected_within_hours: int = Field(
        48,
        ge=1,
        le=8760,
        description="Hours in which a change or a new table has to be backed up.",
        examples=[48],
    )
    unmodified_hours: int = Field(
        72,
        ge=1,
        le=8760,
        description="A source that nobody wrote to for so long has to look like its newest version.",
        examples=[72],
    )
    copies_failed: int = Field(
        3,
        ge=1,
        le=1000,
        description="So many copies of a table or partition may not fail in a row.",
        examples=[3],
    )


class NotificationKeys(_Mapping):
    """Who is told when a run fails, or a daily backup does not happen."""

    webhook: WebhookUrl | None = Field(
        None,
        description="Gets a POST with a JSON object, of which `text` is the message, for every failed run and every"
        " daily backup that did not happen. Without it nobody is told.",
        examples=["https://hooks.slack.com/services/T0/B0/xyz"],
    )
    missed_after_hours: int = Field(
        6,
        ge=1,
        le=24,
        description="A daily backup did not happen when none of its datasets was looked at so long after its time.",
        examples=[6],
    )


class VerifyKeys(_Mapping):
    """What verifications may use in a day, in UTC."""

    share_per_day: float = Field(
        _VERIFY.share_per_day,
        ge=0,
        le=1,
        description="Share of all versions that are read in a day. 0.02 reads each of them about every 50 days.",
        examples=[0.02],
    )
    versions_per_day: int = Field(
        _VERIFY.versions_per_day,
        ge=0,
        le=1_000_000,
        description="Versions that are read in a day, however many the share would be. 0 turns verifications off.",
        examples=[1000],
    )
    bytes_per_day: int = Field(
        _VERIFY.bytes_per_day,
        ge=0,
        le=2**60,
        description="Bytes that the queries of a day read at most, which is what they cost. Built in: 10 GiB.",
        examples=[10_737_418_240],
    )
    drills_per_day: int = Field(
        _VERIFY.drills_per_day,
        ge=0,
        le=1000,
        description="Versions that are restored for trial in a day, compared and dropped.",
        examples=[1],
    )
    scratch_project: ProjectId | None = Field(
        None,
        description="Project that restore drills go to; never a source. Built in: the backup project.",
        examples=["acme-lab"],
    )


class SettingsKeys(_Mapping):
    """The settings of bbq_dagster."""

    endpoint: Endpoint | None = Field(
        None,
        description="Another BigQuery than Google's, such as the embedded one. Without it: the environment variable"
        " BIGQUERY_EMULATOR_HOST, else BigQuery itself.",
        examples=["http://127.0.0.1:9050"],
    )
    credentials: Credentials = Field(
        "default",
        description="default: Google's application default credentials. anonymous: none, for an embedded BigQuery.",
        examples=["default", "anonymous"],
    )
    backup_project: ProjectId = Field(
        description="Project that holds the copies and the catalog; never a source.", examples=["acme-backup"]
    )
    catalog: CatalogKeys = Field(description="Where the catalog is kept.", examples=[{"location": "EU"}])
    defaults: ScheduleAndPolicyKeys = Field(
        default_factory=ScheduleAndPolicyKeys,
        description="What holds for every source that does not say otherwise.",
        examples=[{"daily_at": "02:00", "time_zone": "Europe/London"}],
    )
    sources: list[SourceKeys] = Field(
        min_length=1, description="The projects that are backed up.", examples=[[{"project": "acme-shop"}]]
    )
    restore_projects: list[ProjectId] = Field(
        [],
        description="Projects that may be restored into. A source project may always get its own tables back.",
        examples=[["acme-lab"]],
    )
    slis: SliKeys = Field(
        default_factory=SliKeys,
        description="From when on something counts as not protected.",
        examples=[{"protected_within_hours": 30}],
    )
    notifications: NotificationKeys = Field(
        default_factory=NotificationKeys,
        description="Who is told when something goes wrong.",
        examples=[{"webhook": "https://hooks.slack.com/services/T0/B0/xyz"}],
    )
    limits: LimitsKeys = Field(
        default_factory=LimitsKeys, description="What a run may use.", examples=[{"requests_per_second": 50}]
    )
    verify: VerifyKeys = Field(
        default_factory=VerifyKeys,
        description="What verifications may use in a day.",
        examples=[{"bytes_per_day": 1_099_511_627_776}],
    )
    state_dir: str = Field(
        ".bbq",
        min_length=1,
        description="Folder where the datasets that were found are remembered; relative to the folder of this file.",
        examples=[".bbq", "/var/lib/bbq"],
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of bbq.yaml, for editors."""
    schema = SettingsKeys.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "bbq.yaml"}


def keys_at(place: Place) -> type[BaseModel]:
    """The keys of the mapping at ``place``, which has to be a place where the schema has a mapping."""
    here: Any = SettingsKeys
    for step in place:
        here = get_args(here)[0] if isinstance(step, int) else here.model_fields[step].annotation
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        raise KeyError(place)
    return here


def time_of_day(text: str) -> time:
    """The value of a ``TimeOfDay``."""
    return time.fromisoformat(text)
