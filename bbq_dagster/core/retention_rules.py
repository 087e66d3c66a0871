"""Which versions of one unit to keep, and why.

``judge`` decides; it deletes nothing and reads no clock. The rules are rows and OR-ed: a version that any rule keeps
is kept and carries every reason; one that none keeps carries what each rule said.

Versions without rows, whose rows nobody counted, or that a verification found to differ from what was copied compete
among themselves: they take no place of a good one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from bbq_dagster.core.retention_policy import RetentionPolicy, duration_text
from bbq_dagster.core.retention_preset import bbq_grace_is_over, bbq_reasons
from bbq_dagster.core.tables import TableRef, Unit
from bbq_dagster.core.versions import Version


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What retention has to know of a version: when ``unit`` was captured, and the backup table that holds it."""

    version_id: str
    unit: Unit
    table: TableRef
    captured_at: datetime
    rows: int | None = None
    size_bytes: int | None = None
    whole_table: bool = False
    is_bad: bool = False
    """It is not what was copied, as far as is known."""

    @classmethod
    def of(cls, version: Version) -> StoredVersion:
        return cls(
            version.version_id,
            version.unit,
            version.backup.table,
            version.captured_at,
            version.rows,
            version.size_bytes,
            version.whole_table,
        )

    @property
    def is_good(self) -> bool:
        """It has rows. One that is empty, that nobody counted, or that is bad, is no replacement for one that has."""
        return self.rows is not None and self.rows > 0 and not self.is_bad

    @property
    def place(self) -> Unit:
        """Where it is: the same partition of the backup table."""
        return self.table.unit(self.unit.partition)


def newest_first(version: StoredVersion) -> tuple[float, str]:
    """Sorts the versions of a unit; two of one instant by their ids, so that every run sees the same order."""
    return -version.captured_at.timestamp(), version.version_id


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a version, with all reasons: why it is kept, or what let it go."""

    version: StoredVersion
    is_kept: bool
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Keep the newest version of each of so many periods. ``period_of`` numbers periods by instant and place."""

    setting: str
    reason: str
    period: str
    period_of: Callable[[datetime, int], int]


_RULES = (
    _Rule("keep_last", "last", "version", lambda _, place: place),
    _Rule("keep_hourly", "hourly", "hour", lambda at, _: at.toordinal() * 24 + at.hour),
    _Rule("keep_daily", "daily", "day", lambda at, _: at.toordinal()),
    _Rule("keep_weekly", "weekly", "week", lambda at, _: (at.toordinal() - 1) // 7),  # day 1 was a Monday
    _Rule("keep_monthly", "monthly", "month", lambda at, _: at.year * 12 + at.month),
    _Rule("keep_yearly", "yearly", "year", lambda at, _: at.year),
)


def judge(
    versions: Sequence[StoredVersion], policy: RetentionPolicy, *, gone_since: datetime | None, now: datetime
) -> list[Fate]:
    """The fate of every version of one unit, newest first. ``gone_since``: when its source was first found gone."""
    in_order = sorted(versions, key=newest_first)
    if gone_since is not None and (over := _grace_is_over(in_order, policy, gone_since, now)):
        return [Fate(version, False, (over,)) for version in in_order]
    verdicts: dict[str, _Verdict] = {version.version_id: _Verdict() for version in in_order}
    good = [version for version in in_order if version.is_good]
    rest = [version for version in in_order if not version.is_good]
    _protect(good or rest, policy, verdicts, "last good version" if good else "last version")
    if good and not in_order[0].is_good:
        # Changes are told by comparing the source with its newest version, whatever that holds.
        verdicts[in_order[0].version_id].in_favour.append("newest version")
    for of_a_kind in (good, rest):
        _apply_rules(of_a_kind, policy, now, verdicts)
        if policy.preset == "bbq":
            _apply_preset(of_a_kind, policy, now, verdicts)
    return [verdicts[version.version_id].on(version) for version in in_order]


class _Verdict:
    __slots__ = ("against", "in_favour")

    def __init__(self) -> None:
        self.in_favour: list[str] = []
        self.against: list[str] = []

    def on(self, version: StoredVersion) -> Fate:
        return Fate(version, bool(self.in_favour), tuple(self.in_favour or self.against))


def _protect(
    versions: Sequence[StoredVersion], policy: RetentionPolicy, verdicts: dict[str, _Verdict], reason: str
) -> None:
    for place, version in enumerate(versions[: max(1, policy.min_versions)], start=1):
        verdicts[version.version_id].in_favour.append(reason if place == 1 else f"min_versions #{place}")


def _apply_rules(
    versions: Sequence[StoredVersion], policy: RetentionPolicy, now: datetime, verdicts: dict[str, _Verdict]
) -> None:
    of_each = [(verdicts[version.version_id], version.captured_at.astimezone(UTC)) for version in versions]
    for rule in _RULES:
        if count := getattr(policy, rule.setting):
            _apply_rule(rule, count, of_each)
    if policy.keep_within:
        _apply_within(policy.keep_within, now, of_each)


def _apply_rule(rule: _Rule, count: int, of_each: Sequence[tuple[_Verdict, datetime]]) -> None:
    periods, last = 0, None
    for place, (verdict, at) in enumerate(of_each):
        period = rule.period_of(at, place)
        if period == last:
            verdict.against.append(_not_newest(rule.period))
            continue
        last = period
        periods += 1
        if periods <= count:
            verdict.in_favour.append(_numbered(rule.reason, periods))
        else:
            verdict.against.append(_numbered_out(rule.setting, count))


def _apply_within(within: timedelta, now: datetime, of_each: Sequence[tuple[_Verdict, datetime]]) -> None:
    length = duration_text(within)
    for verdict, at in of_each:
        if now - at <= within:
            verdict.in_favour.append(f"within {length}")
        else:
            verdict.against.append(f"older than {length}")


def _apply_preset(
    versions: Sequence[StoredVersion], policy: RetentionPolicy, now: datetime, verdicts: dict[str, _Verdict]
) -> None:
    dates = [version.captured_at.astimezone(UTC).date() for version in versions]
    today = now.astimezone(UTC).date()
    reasons = bbq_reasons(dates, today=today, months=policy.bbq_months, count=policy.bbq_count)
    for version, (is_kept, reason) in zip(versions, reasons, strict=True):
        verdict = verdicts[version.version_id]
        (verdict.in_favour if is_kept else verdict.against).append(reason)


def _grace_is_over(
    versions: Sequence[StoredVersion], policy: RetentionPolicy, gone_since: datetime, now: datetime
) -> str:
    """Why everything of a source that is gone goes, or nothing. A grace that is set counts before the preset's."""
    gone = f"the source is gone since {gone_since:%Y-%m-%d}"
    if (grace := policy.grace_after_source_deleted) is not None:
        return f"{gone}, longer than the grace of {duration_text(grace)}" if now - gone_since > grace else ""
    dates = [version.captured_at.astimezone(UTC).date() for version in versions]
    since, today = gone_since.astimezone(UTC).date(), now.astimezone(UTC).date()
    months = policy.bbq_months
    if policy.preset == "bbq" and bbq_grace_is_over(dates, gone_since=since, today=today, months=months):
        return f"bbq: {gone}, longer than {months} months"
    return ""


@lru_cache(maxsize=10_000)
def _numbered(reason: str, number: int) -> str:
    return f"{reason} #{number}"


@lru_cache(maxsize=1000)
def _numbered_out(setting: str, count: int) -> str:
    return f"beyond {setting} {count}"


@lru_cache(maxsize=100)
def _not_newest(period: str) -> str:
    return f"not the newest of its {period}"
