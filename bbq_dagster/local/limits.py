"""How much BigQuery lets a user, project or table do: each limit a row of ``RULES``, and none in force until it is set.

``Limits`` counts and refuses; what happened, and when, its callers say. What is allowed per day or per 10 s comes back
evenly ("replenished at regular intervals", quotas), by the server's clock; requests per second by the machine's, as the
waits of clients are. Quotas of a table belong to its name: a table made anew under it has no fresh ones (quotas).
"""

import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from bbq_dagster.local.errors import BigQueryError, invalid, refused
from bbq_dagster.local.model import Table, TableRef
from bbq_dagster.local.partitioning import Partitioning

DAY_SECONDS, UPDATE_SECONDS = 86_400, 10
_SEE = "For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas"
_RATE, _QUOTA = "rateLimitExceeded", "quotaExceeded"
_UPDATES = "Exceeded rate limits: too many table update operations for this table."
_REQUESTS = "Exceeded rate limits: too many api requests per user per method for this user_method."


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit.

    Attributes:
        documented: BigQuery's own figure.
        seconds: In which so many are allowed; None: at one time, or in one job or request.
        words: Of the error; may tell what is ``{allowed}`` and the ``{count}`` that was asked for.
        location: What the error says of where it was met.
        source: Page of the documentation, or where the words were observed.
    """

    name: str
    documented: int
    seconds: int | None
    reason: str
    words: str
    location: str | None
    source: str

    def error(self, allowed: float, count: int) -> BigQueryError:
        words = self.words.format(allowed=round(allowed), count=count)
        return refused(self.reason, f"{words} {_SEE}" if self.reason in (_RATE, _QUOTA) else words, self.location)


RULES = (
    Rule(
        "copy_jobs_per_day",
        100_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for copies per project.",
        None,
        "quotas#copy_jobs: snapshots, clones and failed jobs count; troubleshoot-quotas",
    ),
    Rule(
        "cross_region_copies_per_day",
        2_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for cross-region copies per project.",
        None,
        "quotas#copy_jobs",
    ),
    Rule(
        "cross_region_copies_per_table_per_day",
        100,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for cross-region copies per destination table.",
        None,
        "quotas#copy_jobs",
    ),
    Rule(
        "table_updates_per_10_seconds",
        5,
        UPDATE_SECONDS,
        _RATE,
        _UPDATES,
        "table.write",
        "quotas#standard_tables; embulk/embulk-output-bigquery#75",
    ),
    Rule(
        "partitioned_table_updates_per_10_seconds",
        50,
        UPDATE_SECONDS,
        _RATE,
        _UPDATES,
        "table.write",
        "quotas#partitioned_tables; embulk/embulk-output-bigquery#75",
    ),
    Rule(
        "table_operations_per_day",
        1_500,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for imports or query appends per table.",
        None,
        "quotas#standard_tables; troubleshoot-quotas",
    ),
    Rule(
        "ingestion_partition_modifications_per_day",
        11_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for Number of partition modifications to an ingestion-time "
        "partitioned table.",
        None,
        "quotas#partitioned_tables",
    ),
    Rule(
        "column_partition_modifications_per_day",
        30_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for Number of partition modifications to a column partitioned "
        "table.",
        "partition_modifications_per_column_partitioned_table.long",
        "quotas#partitioned_tables; troubleshoot-quotas",
    ),
    Rule("requests_per_second", 100, 1, _RATE, _REQUESTS, None, "quotas#api_request_quotas"),
    Rule("jobs_get_per_second", 1_000, 1, _RATE, _REQUESTS, None, "quotas#api_request_quotas"),
    Rule("tables_insert_per_second", 10, 1, _RATE, _REQUESTS, None, "quotas#api_request_quotas"),
    Rule("projects_list_per_second", 10, 1, _RATE, _REQUESTS, None, "quotas#api_request_quotas"),
    Rule("tabledata_list_per_second", 1_000, 1, _RATE, _REQUESTS, None, "quotas#api_request_quotas"),
    Rule(
        "concurrent_requests",
        300,
        None,
        _RATE,
        "Exceeded rate limits: too many concurrent api requests per user per method for this user_method.",
        None,
        "quotas#api_request_quotas; troubleshoot-quotas",
    ),
    Rule(
        "dataset_updates_per_10_seconds",
        5,
        UPDATE_SECONDS,
        _RATE,
        "Exceeded rate limits: too many dataset metadata update operations for this dataset.",
        None,
        "quotas#dataset_limits",
    ),
    Rule(
        "snapshots_per_table_per_day",
        50,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for table snapshots per table per day.",
        None,
        "quotas#table_snapshots",
    ),
    Rule(
        "snapshots_per_day",
        50_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for table snapshots per project per day.",
        None,
        "quotas#table_snapshots",
    ),
    Rule(
        "concurrent_snapshots",
        100,
        None,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for concurrent table snapshot jobs.",
        None,
        "quotas#table_snapshots",
    ),
    Rule(
        "snapshot_chain_depth",
        3,
        None,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for the depth of a chain of table snapshots and clones.",
        None,
        "quotas#table_snapshots, quotas#table_clones",
    ),
    Rule(
        "snapshots_and_clones_per_table",
        1_000,
        None,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for table snapshots and clones per base table.",
        None,
        "quotas#table_snapshots, quotas#table_clones",
    ),
    Rule(
        "partitions_per_table",
        10_000,
        None,
        _QUOTA,
        "Quota exceeded: Your table exceeded quota for Number of partitions per partitioned table.",
        None,
        "quotas#partitioned_tables",
    ),
    Rule(
        "partitions_per_job",
        4_000,
        None,
        "invalidQuery",
        "Too many partitions produced by query, allowed {allowed}, query produces at least {count} partitions",
        None,
        "quotas#partitioned_tables: a query or load; the words: fivetran/dbt_zendesk#39",
    ),
    Rule(
        "partitions_per_copy_job",
        4_000,
        None,
        "invalid",
        "Too many partitions produced by copy, allowed {allowed}, copy produces at least {count} partitions",
        None,
        "quotas#partitioned_tables names queries and loads; this is for who fears that copies are meant too",
    ),
    Rule(
        "rows_per_insert_all",
        50_000,
        None,
        "invalid",
        "too many rows present in the request, limit: {allowed} row count: {count}.",
        None,
        "quotas#streaming_inserts",
    ),
    Rule(
        "bytes_per_insert_all",
        10_485_760,
        None,
        "badRequest",
        "Request payload size exceeds the limit: {allowed} bytes.",
        None,
        "quotas#streaming_inserts; googleapis/google-cloud-go#2855",
    ),
    Rule(
        "load_jobs_per_day",
        100_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for imports per project.",
        None,
        "quotas#load_jobs: failed jobs count",
    ),
    Rule(
        "extract_jobs_per_day",
        100_000,
        DAY_SECONDS,
        _QUOTA,
        "Quota exceeded: Your project exceeded quota for exports per project.",
        None,
        "quotas#export_jobs",
    ),
    Rule(
        "pending_jobs",
        50_000,
        None,
        _QUOTA,
        "Quota exceeded: Your project_and_region exceeded quota for pending jobs.",
        None,
        "quotas#jobs: per project and region",
    ),
)
_BY_NAME: Mapping[str, Rule] = {rule.name: rule for rule in RULES}

# Methods with a figure of their own; all others have requests_per_second each.
_OWN_RATES = {
    "jobs.get": "jobs_get_per_second",
    "tables.insert": "tables_insert_per_second",
    "projects.list": "projects_list_per_second",
    "tabledata.list": "tabledata_list_per_second",
}


@dataclass(frozen=True, slots=True)
class Charge:
    """What something takes of a limit: how many, of which user's, project's or table's."""

    limit: str
    whose: Hashable
    count: int = 1


@dataclass(slots=True)
class _Level:
    """What is left of an allowance, as of a moment."""

    left: float
    at_seconds: float


class Limits:
    """The limits in force, and how much of each is used."""

    def __init__(self) -> None:
        self._allowed: dict[str, float] = {}
        self._levels: dict[tuple[str, Hashable], _Level] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._allowed)

    def change(self, wanted: Mapping[str, object]) -> None:
        """Set limits by name: a number, True for BigQuery's own figure, None for none. Each begins unused."""
        unknown = sorted(wanted.keys() - _BY_NAME.keys())
        if unknown or not all(_is_allowance(value) for value in wanted.values()):
            raise invalid(f"Invalid limits: {unknown or 'a limit is a number above 0, true or null'}")
        with self._lock:
            for name, value in wanted.items():
                self._allowed.pop(name, None)
                if isinstance(value, int | float):
                    self._allowed[name] = _BY_NAME[name].documented if value is True else value
            self._levels = {key: level for key, level in self._levels.items() if key[0] not in wanted}

    def clear(self) -> None:
        with self._lock:
            self._allowed.clear()
            self._levels.clear()

    def as_json(self) -> dict[str, float | None]:
        return {rule.name: self._allowed.get(rule.name) for rule in RULES}

    def spend(self, charges: Sequence[Charge], now_ms: int | None = None) -> None:
        """Take all of it, or raise the error of the first limit that does not hold it and take nothing.

        ``now_ms`` None is the machine's own time.
        """
        if not self._allowed:
            return
        now = time.monotonic() if now_ms is None else now_ms / 1000
        with self._lock:
            levels = [(c, self._refilled(c, now)) for c in charges if c.limit in self._allowed and c.count]
            for charge, level in levels:
                if level.left < charge.count:
                    raise _BY_NAME[charge.limit].error(self._allowed[charge.limit], charge.count)
            for charge, level in levels:
                level.left -= charge.count

    def hold(self, limit: str, held: int) -> None:
        """Refuse one more where so many are held at this time already."""
        self.check(limit, held + 1)

    def check(self, limit: str, count: int) -> None:
        """Refuse so many in one."""
        allowed = self._allowed.get(limit)
        if allowed is not None and count > allowed:
            raise _BY_NAME[limit].error(allowed, count)

    def restricts(self, limit: str) -> bool:
        return limit in self._allowed

    def _refilled(self, charge: Charge, now: float) -> _Level:
        rule, allowed = _BY_NAME[charge.limit], self._allowed[charge.limit]
        level = self._levels.setdefault((charge.limit, charge.whose), _Level(allowed, now))
        elapsed = max(0.0, now - level.at_seconds)
        level.left = min(allowed, level.left + elapsed * allowed / (rule.seconds or 1))
        level.at_seconds = now
        return level


def charges_of_request(call: str, user: str) -> list[Charge]:
    return [Charge(_OWN_RATES.get(call, "requests_per_second"), (user, call))]


def charges_of_update(ref: TableRef, partitioning: Partitioning) -> list[Charge]:
    """Of one operation on a table, by the API, a statement of DDL or a job that writes; DML is free of it (quotas)."""
    if partitioning.is_partitioned:
        return [Charge("partitioned_table_updates_per_10_seconds", ref)]
    return [Charge("table_updates_per_10_seconds", ref)]


def charges_of_write(ref: TableRef, partitioning: Partitioning, partitions: int) -> list[Charge]:
    """Of the data that one load, copy or query job writes into so many partitions."""
    if not partitioning.is_partitioned:
        return [Charge("table_operations_per_day", ref)]
    kind = "ingestion" if partitioning.is_ingestion else "column"
    return [Charge(f"{kind}_partition_modifications_per_day", ref, partitions)]


def is_based_on(table: Table, base: TableRef) -> bool:
    """Whether a table is a snapshot or clone of this one."""
    definition = table.resource.get("snapshotDefinition") or table.resource.get("cloneDefinition") or {}
    return bool(definition) and definition["baseTableReference"] == base.as_json()


def as_told_by_a_query(error: BigQueryError) -> BigQueryError:
    """A statement of DDL that comes too soon fails in words of its own (googleapis/python-bigquery#1790)."""
    if not error.message.startswith(_UPDATES):
        return error
    words = "Job exceeded rate limits: Your table exceeded quota for table update operations."
    return refused("jobRateLimitExceeded", f"{words} {_SEE}")


def _is_allowance(value: object) -> bool:
    return value is None or value is True or (isinstance(value, int | float) and value > 0)
