"""The SQL of the catalog: its views, and the questions of ``catalog_store``.

Texts only. A version is live while the newest event of its id is ``version_created``, and not ``version_deleted``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bbq_dagster.core.catalog import COLUMNS, Column

_UNIT = ("source_project", "source_dataset", "source_table", "partition_id")
_NOT_OF_A_VERSION = frozenset({"event", "error", "restore_id", "target", "hold_id", "held", "owner", "held_until"})
VERSION_COLUMNS = tuple(column.name for column in COLUMNS if column.name not in _NOT_OF_A_VERSION)
EVENT_COLUMNS = tuple(column.name for column in COLUMNS)

OF_DATASETS = """`source_project` IN UNNEST(@projects) AND `source_dataset` IN UNNEST(@datasets)
          AND CONCAT(`source_project`, '.', `source_dataset`) IN UNNEST(@refs)"""
"""The first two use the clustering; the third is exact."""

OF_TABLES = f"""{OF_DATASETS}
          AND CONCAT(`source_project`, '.', `source_dataset`, '.', `source_table`) IN UNNEST(@tables)"""

OF_PROJECT = """`source_project` IN UNNEST(@projects)
          AND CONCAT(`source_project`, '.', `source_dataset`) NOT IN UNNEST(@besides)"""

OF_IDS = "`version_id` IN UNNEST(@versions)"

OF_KINDS = "`event` IN UNNEST(@kinds)"

EVERYTHING = "TRUE"


_BY_NAME = {column.name: column for column in COLUMNS}
_VERSION = tuple(_BY_NAME[name] for name in VERSION_COLUMNS)
_ABSENCE = (
    Column("absence", "STRING", "emptied or vanished where the source has nothing to back up any more, else NULL"),
    Column("absent_since", "TIMESTAMP", "When that was seen"),
)
_SOURCE = Column("source", "STRING", "The table or partition of the source, as project.dataset.table$partition")
_BACKUP = Column("backup", "STRING", "The backup table, with its partition")
_HISTORY = (
    *(_BY_NAME[name] for name in ("recorded_at", "event")),
    _SOURCE,
    *(_BY_NAME[name] for name in ("reason", "error", "row_count", "size_bytes", "captured_at")),
    _BACKUP,
    *(_BY_NAME[name] for name in ("run_id", "job_id", "version_id", *_UNIT)),
)


@dataclass(frozen=True, slots=True)
class View:
    """A view of the catalog, with its columns in order."""

    name: str
    description: str
    sql: str
    columns: tuple[Column, ...]


def views(events: str, versions: str) -> tuple[View, ...]:
    """The views, in the order in which they can be created. ``events`` and ``versions`` are quoted names."""
    latest = "The newest version of each table or partition, and whether the source is still there"
    return (
        View("versions", "Every version that can be restored", live_versions(events), _VERSION),
        View("latest", latest, latest_versions(versions, events), (*_VERSION, *_ABSENCE)),
        View("history", "Everything that happened, newest first", _history(events), _HISTORY),
    )


def live_versions(events: str, only: str = EVERYTHING) -> str:
    return f"""
        SELECT {_list(VERSION_COLUMNS)}
        FROM {events}
        WHERE `event` IN ('version_created', 'version_deleted') AND {only}
        QUALIFY `event` = 'version_created'
          AND ROW_NUMBER() OVER (PARTITION BY `version_id` ORDER BY `recorded_at` DESC, `event` DESC) = 1"""


def latest_versions(versions: str, events: str, only: str = EVERYTHING) -> str:
    """The newest of ``versions`` per unit, with ``absence`` and ``absent_since`` from what was recorded after it."""
    return f"""
        WITH newest AS (
          SELECT {_list(VERSION_COLUMNS)}
          FROM {versions}
          WHERE {only}
          QUALIFY {_first_of(_UNIT, "`captured_at` DESC, `recorded_at` DESC")}
        ),
        absences AS (
          SELECT {_list(_UNIT)}, `event`, `recorded_at`
          FROM {events}
          WHERE `event` IN ('emptied', 'vanished') AND {only}
          QUALIFY {_first_of(_UNIT, "`recorded_at` DESC")}
        )
        SELECT {_list(VERSION_COLUMNS, of="newest")},
          absences.`event` AS `absence`, absences.`recorded_at` AS `absent_since`
        FROM newest
        LEFT JOIN absences ON {_same_unit("absences", "newest")} AND absences.`recorded_at` > newest.`recorded_at`"""


_NOT_OF_A_RECORD = frozenset({"error", "restore_id", "target", "hold_id", "held", "owner", "held_until"})
RECORD_COLUMNS = tuple(column for column in EVENT_COLUMNS if column not in _NOT_OF_A_RECORD)
"""What ``fold_record`` needs of an event: of many rows, every column is felt."""


def dataset_records(events: str, only: str) -> str:
    """The rows that ``fold_record`` needs of the asked datasets: of each unit the latest version, and what is open."""
    return f"""
        WITH {_in_order_of_units(events, only)},
        kept AS (
          SELECT `event_id`
          FROM ordered
          WHERE {_MATTERS}
        )
        SELECT {_list(RECORD_COLUMNS)}
        FROM {events}
        JOIN kept USING (`event_id`)
        WHERE {only}"""


def scan_records(events: str, only: str) -> str:
    """As ``dataset_records``, but of settled tables no versions of partitions: the settlement has their number."""
    return f"""
        WITH {_in_order_of_units(events, only)},
        by_table AS (
          SELECT
            *,
            MAX(IF(`event` = 'table_settled', 1, 0)) OVER of_table AS is_settled,
            COUNTIF(`event` = 'version_created' AND place = 1 AND `partition_id` IS NOT NULL) OVER of_table AS versions
          FROM ordered
          WINDOW of_table AS (PARTITION BY {_list(_UNIT[:3])})
        ),
        kept AS (
          SELECT `event_id`, versions
          FROM by_table
          WHERE ({_MATTERS}) AND NOT (`event` = 'version_created' AND is_settled = 1 AND `partition_id` IS NOT NULL)
        )
        SELECT {_list(RECORD_COLUMNS).replace("`row_count`", _COUNTED)}
        FROM {events}
        JOIN kept USING (`event_id`)
        WHERE {only}"""


_COUNTED = "IF(`event` = 'table_settled', versions, `row_count`) AS `row_count`"

_MATTERS = """((`event` IN ('version_created', 'table_settled', 'dataset_scanned') AND place = 1)
            OR (`event` IN ('emptied', 'vanished') AND place = 1 AND `recorded_at` > protected_at)
            OR (`event` = 'copy_failed' AND (protected_at IS NULL OR `recorded_at` > protected_at))
            OR (`event` = 'copy_planned' AND has_ended = 0))"""


def _in_order_of_units(events: str, only: str) -> str:
    """Which events matter is found out on few columns: sorting all of them would carry the whole catalog along.

    ``mine`` leaves out deleted versions and repeated events; ``ordered`` says of each row how many of its kind are
    newer in its unit, and when the newest version of the unit was recorded.
    """
    return f"""mine AS (
          SELECT
            `event_id`, `event`, `recorded_at`, `captured_at`, {_list(_UNIT)},
            MAX(IF(`event` IN ('version_created', 'copy_failed'), 1, 0))
              OVER (PARTITION BY `copy_id`, {_list(_UNIT)}) AS has_ended
          FROM {events}
          WHERE `event` IN (
            'version_created', 'version_deleted', 'copy_planned', 'copy_failed', 'emptied', 'vanished', 'table_settled',
            'dataset_scanned'
          ) AND {only}
          QUALIFY `event` <> 'version_deleted' AND ROW_NUMBER() OVER (
            PARTITION BY IF(`event` IN ('version_created', 'version_deleted'), `version_id`, `event_id`)
            ORDER BY `recorded_at` DESC, `event` DESC
          ) = 1
        ),
        ordered AS (
          SELECT
            *,
            ROW_NUMBER() OVER (
              PARTITION BY {_list(_UNIT)}, `event` ORDER BY `captured_at` DESC, `recorded_at` DESC
            ) AS place,
            FIRST_VALUE(IF(`event` = 'version_created', `recorded_at`, NULL)) OVER (
              PARTITION BY {_list(_UNIT)}
              ORDER BY IF(`event` = 'version_created', 0, 1), `captured_at` DESC, `recorded_at` DESC
            ) AS protected_at
          FROM mine
        )"""


def newest_events(events: str, only: str, limit: int) -> str:
    """The last events, newest first, each once."""
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE {only}
        QUALIFY {_first_of(["event_id"], "`recorded_at`")}
        ORDER BY `recorded_at` DESC, `event_id`
        LIMIT {limit:d}"""


RETENTION_COLUMNS = (
    *("event_id", "event", "recorded_at", "run_id", *_UNIT),
    *("backup_project", "backup_dataset", "backup_table", "copy_id", "version_id", "captured_at"),
    *("row_count", "size_bytes", "whole_table"),
)
"""What retention reads of an event: it reads the events of all versions, so the fewer the better."""


def retention_records(events: str, only: str) -> str:
    """All live versions, the last absence of each unit, the last scan of each dataset, and what was begun.

    ``about`` is the thing of whose events the newest one counts.
    """
    return f"""
        WITH mine AS (
          SELECT
            {_list(RETENTION_COLUMNS)},
            MAX(IF(`event` IN ('version_created', 'copy_failed'), 1, 0))
              OVER (PARTITION BY `copy_id`, {_list(_UNIT)}) AS has_ended,
            CASE
              WHEN `event` IN ('version_created', 'version_deleted') THEN CONCAT('version ', `version_id`)
              WHEN `event` = 'deletion_planned' THEN CONCAT('deletion ', `version_id`)
              WHEN `event` IN ('emptied', 'vanished') THEN CONCAT(
                'absence ', `source_project`, '.', `source_dataset`, '.', `source_table`,
                IFNULL(CONCAT('$', `partition_id`), '')
              )
              WHEN `event` = 'dataset_scanned' THEN CONCAT('scan ', `source_project`, '.', `source_dataset`)
              ELSE `event_id`
            END AS about
          FROM {events}
          WHERE `event` IN (
            'version_created', 'version_deleted', 'deletion_planned', 'emptied', 'vanished', 'dataset_scanned',
            'copy_planned', 'copy_failed'
          ) AND {only}
        )
        SELECT {_list(RETENTION_COLUMNS)}
        FROM mine
        WHERE `event` <> 'copy_failed' AND (`event` <> 'copy_planned' OR has_ended = 0)
        QUALIFY ROW_NUMBER() OVER (PARTITION BY about ORDER BY `recorded_at` DESC, `event` DESC) = 1
          AND `event` <> 'version_deleted'"""


def holds(events: str) -> str:
    """Every hold that was ever placed or released; they are few."""
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE `event` IN ('held', 'released')"""


def events_of_versions(events: str) -> str:
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE {OF_IDS}"""


def deletions_since(events: str) -> str:
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE `recorded_at` >= @since AND `event` = 'version_deleted'"""


def copy_jobs(events: str) -> str:
    """Those of backups and of restores, which share the quota, by what was planned or ended.

    The id of a job ends with how many there were of its copy (``naming.job_id``); one is promised to each planned one.
    """
    return f"""
        SELECT SUM(jobs)
        FROM (
          SELECT MAX(IFNULL(CAST(REGEXP_EXTRACT(`job_id`, r'_([0-9]+)$') AS INT64), 1)) AS jobs
          FROM {events}
          WHERE `recorded_at` >= @since AND `copy_id` NOT IN UNNEST(@besides) AND `event` IN (
            'copy_planned', 'version_created', 'copy_failed', 'restore_planned', 'restored', 'restore_failed'
          )
          GROUP BY `copy_id`
        )"""


def absences(events: str, only: str) -> str:
    """Every time that a unit was seen to be empty or gone."""
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE `event` IN ('emptied', 'vanished') AND {only}"""


def restore_events(events: str) -> str:
    """All that is on record of one restore."""
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE `event` IN ('restore_planned', 'restored', 'restore_failed') AND `restore_id` IN UNNEST(@restores)"""


def _history(events: str) -> str:
    texts = {
        _SOURCE: """CONCAT(
            `source_project`, '.', `source_dataset`, IFNULL(CONCAT('.', `source_table`), ''),
            IFNULL(CONCAT('$', `partition_id`), '')
          ) AS `source`""",
        _BACKUP: """CONCAT(
            `backup_project`, '.', `backup_dataset`, '.', `backup_table`, IFNULL(CONCAT('$', `partition_id`), '')
          ) AS `backup`""",
    }
    columns = ",\n          ".join(texts.get(column, f"`{column.name}`") for column in _HISTORY)
    return f"""
        SELECT
          {columns}
        FROM {events}
        WHERE TRUE
        QUALIFY {_first_of(["event_id"], "`recorded_at`")}
        ORDER BY `recorded_at` DESC"""


def _list(columns: Iterable[str], of: str = "") -> str:
    prefix = f"{of}." if of else ""
    return ", ".join(f"{prefix}`{column}`" for column in columns)


def _first_of(group: Iterable[str], order: str) -> str:
    return f"ROW_NUMBER() OVER (PARTITION BY {_list(group)} ORDER BY {order}) = 1"


def _same_unit(one: str, other: str) -> str:
    """A partition id of NULL is equal to itself here: it stands for the whole table."""
    same = " AND ".join(f"{one}.`{column}` = {other}.`{column}`" for column in _UNIT[:3])
    return f"{same} AND IFNULL({one}.`partition_id`, '') = IFNULL({other}.`partition_id`, '')"
