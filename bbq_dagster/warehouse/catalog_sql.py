"""The SQL of the catalog: its views, and the questions of ``catalog_store``.

Texts only. A version is live while the newest event of its id is ``version_created``, and not ``version_deleted``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bbq_dagster.core.catalog import COLUMNS, Column
from bbq_dagster.core.naming import SCRATCH_PREFIX

_UNIT = ("source_project", "source_dataset", "source_table", "partition_id")
_OF_A_RESTORE_OR_HOLD = frozenset({"restore_id", "target", "hold_id", "held", "owner", "held_until"})
_OF_A_VERIFICATION = frozenset({"outcome", "how", "fingerprint", "bytes_scanned", "duration_ms"})
_NOT_OF_A_VERSION = frozenset({"event", "error"}) | _OF_A_RESTORE_OR_HOLD | _OF_A_VERIFICATION
VERSION_COLUMNS = tuple(column.name for column in COLUMNS if column.name not in _NOT_OF_A_VERSION)
EVENT_COLUMNS = tuple(column.name for column in COLUMNS)

OF_DATASETS = """`source_project` IN UNNEST(@projects) AND `source_dataset` IN UNNEST(@datasets)
          AND CONCAT(`source_project`, '.', `source_dataset`) IN UNNEST(@refs)"""
"""The first two use the clustering; the third is exact."""

OF_TABLES = f"""{OF_DATASETS}
          AND CONCAT(`source_project`, '.', `source_dataset`, '.', `source_table`) IN UNNEST(@tables)"""

OF_PROJECT = """`source_project` IN UNNEST(@projects)
          AND CONCAT(`source_project`, '.', `source_dataset`) NOT IN UNNEST(@besides)"""

IN_PROJECTS = "`source_project` IN UNNEST(@projects)"

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


_PROOF_OF = ("version_id", *_UNIT, "captured_at", "row_count", "size_bytes")
_PROOFS = (
    *(_BY_NAME[name] for name in _PROOF_OF),
    Column("last_proven_at", "TIMESTAMP", "When it was last found to be what was copied; NULL where it never was"),
    Column("last_drilled_at", "TIMESTAMP", "When it was last restored and compared"),
    Column("looked_at", "TIMESTAMP", "When it was last read, whatever was found"),
    *(_BY_NAME[name] for name in ("outcome", "reason")),
)


_EXPOSURE = (
    *(_BY_NAME[name] for name in _UNIT[:3]),
    Column("units", "INT64", "Tables or partitions of it that have a version"),
    Column("oldest_at", "TIMESTAMP", "When the oldest of their newest versions was captured"),
    Column("newest_at", "TIMESTAMP", "When the newest of these was captured"),
    Column("exposed_units", "INT64", "Units that changed and have no version of it: a copy was planned, or failed"),
    Column("exposed_since", "TIMESTAMP", "When the first of these changes was seen"),
    Column(
        "rpo_seconds", "INT64", "Age of the oldest version of these units; NULL where one of them has none, or none is"
    ),
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
        View("proofs", "When each version that can be restored was proven", _proofs(versions, events), _PROOFS),
        View("history", "Everything that happened, newest first", _history(events), _HISTORY),
        View(
            "exposure", "Of each table what would be lost if it were gone now", _exposure(events, versions), _EXPOSURE
        ),
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


_NOT_OF_A_RECORD = frozenset({"error"}) | _OF_A_RESTORE_OR_HOLD | _OF_A_VERIFICATION
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
    *("row_count", "size_bytes", "whole_table", "outcome"),
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
              WHEN `event` = 'verified' THEN CONCAT('proof ', `version_id`)
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
            'copy_planned', 'copy_failed', 'verified'
          ) AND {only}
        )
        SELECT {_list(RETENTION_COLUMNS)}
        FROM mine
        WHERE `event` <> 'copy_failed' AND (`event` <> 'copy_planned' OR has_ended = 0)
          AND IFNULL(`outcome`, '') <> 'could_not'
        QUALIFY ROW_NUMBER() OVER (PARTITION BY about ORDER BY `recorded_at` DESC, `event` DESC) = 1
          AND `event` <> 'version_deleted' AND (`event` <> 'verified' OR `outcome` = 'differs')"""


def last_scans(events: str) -> str:
    return f"""
        SELECT `source_project`, `source_dataset`, MAX(`recorded_at`)
        FROM {events}
        WHERE `event` = 'dataset_scanned'
        GROUP BY `source_project`, `source_dataset`"""


def drill_times(events: str) -> str:
    return f"""
        SELECT `source_project`, `source_dataset`, `duration_ms`
        FROM {events}
        WHERE `event` = 'verified' AND `how` = 'drill' AND `outcome` = 'proven'
        QUALIFY {_first_of(_UNIT[:2], "`recorded_at` DESC")}"""


def holds(events: str) -> str:
    """Every hold that was ever placed or released; they are few."""
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE `event` IN ('held', 'released')"""


PROOF_COLUMNS = (
    *("event_id", "event", "recorded_at", "run_id", *_UNIT, "reason", "version_id"),
    *("outcome", "how", "duration_ms"),
)
"""What ``fold_proofs`` reads of an event; the fingerprints are read where they are compared."""


def verifications(events: str, only: str) -> str:
    """Of each live version the newest verification with each outcome, in each way."""
    return f"""
        WITH live AS (
          {live_versions(events, only)}
        )
        SELECT {_list(PROOF_COLUMNS)}
        FROM {events}
        WHERE `event` = 'verified' AND `version_id` IN (SELECT `version_id` FROM live) AND {only}
        QUALIFY {_first_of(("version_id", "outcome", "how"), "`recorded_at` DESC")}"""


def restore_times(events: str, only: str) -> str:
    """Of each table the newest drill that proved it and the newest restore of all of it that was planned.

    A restore takes from its plan to the last of the table's places; the restore of a drill is that of the drill alone.
    """
    return f"""
        WITH of_restores AS (
          SELECT
            {_list(_UNIT[:3])}, MAX(IF(`event` = 'restored', `recorded_at`, NULL)) AS ended_at,
            TIMESTAMP_DIFF(
              MAX(IF(`event` = 'restored', `recorded_at`, NULL)), MIN(`recorded_at`), MILLISECOND
            ) AS took_ms
          FROM {events}
          WHERE `event` IN ('restore_planned', 'restored') AND STRPOS(`target`, '.{SCRATCH_PREFIX}') = 0 AND {only}
          GROUP BY `restore_id`, {_list(_UNIT[:3])}
          HAVING COUNT(DISTINCT IF(`event` = 'restored', `target`, NULL)) = COUNT(DISTINCT `target`)
        ),
        taken AS (
          SELECT {_list(_UNIT[:3])}, 'restore' AS way, ended_at, took_ms
          FROM of_restores
          UNION ALL
          SELECT {_list(_UNIT[:3])}, 'drill' AS way, `recorded_at` AS ended_at, `duration_ms` AS took_ms
          FROM {events}
          WHERE `event` = 'verified' AND `how` = 'drill' AND `outcome` = 'proven' AND {only}
        )
        SELECT
          {_list(_UNIT[:3])}, way, ended_at, took_ms,
          MAX(took_ms) OVER (PARTITION BY {_list(_UNIT[:3])}, way) AS longest_ms
        FROM taken
        QUALIFY ROW_NUMBER() OVER (PARTITION BY {_list(_UNIT[:3])}, way ORDER BY ended_at DESC) = 1"""


def with_columns(events: str, missing: Iterable[str]) -> str:
    """The events of a catalog that lacks these columns, with NULL in them: what they have once they are added."""
    added = ", ".join(f"CAST(NULL AS {_BY_NAME[name].type}) AS `{name}`" for name in missing)
    return f"(SELECT *, {added} FROM {events})"


def verified_since(events: str) -> str:
    """Versions and drills that could be verified since then, and the bytes of all that was tried."""
    looked = "`outcome` <> 'could_not'"
    return f"""
        SELECT
          COUNTIF(`how` <> 'drill' AND {looked}), SUM(`bytes_scanned`), COUNTIF(`how` = 'drill' AND {looked})
        FROM {events}
        WHERE `recorded_at` >= @since AND `event` = 'verified'"""


def events_of_versions(events: str) -> str:
    return f"""
        SELECT {_list(EVENT_COLUMNS)}
        FROM {events}
        WHERE {OF_IDS}"""


_FACTS = ("captured_at", "row_count", "size_bytes", "backup_project", "backup_dataset", "backup_table", *_UNIT)
"""What every record of one version has to agree about."""


def repetitions(events: str) -> str:
    """Unit, version, rows, events and contents of the versions that are recorded more than once.

    One that was deleted and is there again may have been read off its backup table, and differ from what was known.
    """
    created = "`event` = 'version_created'"
    return f"""
        SELECT
          {", ".join(f"MIN(`{column}`)" for column in _UNIT)}, `version_id`,
          COUNTIF({created}) AS told,
          COUNT(DISTINCT IF({created}, `event_id`, NULL)) AS tellings,
          IF(COUNTIF(NOT {created}) > 0, 1, COUNT(DISTINCT IF({created}, {_joined(_FACTS)}, NULL))) AS facts
        FROM {events}
        WHERE `event` IN ('version_created', 'version_deleted')
        GROUP BY `version_id`
        HAVING told > tellings OR facts > 1"""


def failed_places(events: str) -> str:
    """Where copies were to be that failed."""
    return f"""
        SELECT DISTINCT `backup_project`, `backup_dataset`, `backup_table`, `partition_id`
        FROM {events}
        WHERE `event` = 'copy_failed'"""


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
          WHERE `recorded_at` >= @since AND `copy_id` IS NOT NULL AND `copy_id` NOT IN UNNEST(@besides) AND `event` IN (
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


def _proofs(versions: str, events: str) -> str:
    """``outcome`` and ``reason`` are the newest word on a version: one that could not be read says nothing of it."""
    return f"""
        WITH words AS (
          SELECT
            `version_id`, `outcome`, `reason`,
            MAX(IF(`outcome` = 'proven', `recorded_at`, NULL)) OVER of_version AS last_proven_at,
            MAX(IF(`how` = 'drill', `recorded_at`, NULL)) OVER of_version AS last_drilled_at,
            MAX(`recorded_at`) OVER of_version AS looked_at,
            ROW_NUMBER() OVER (
              PARTITION BY `version_id` ORDER BY IF(`outcome` = 'could_not', 1, 0), `recorded_at` DESC
            ) AS place
          FROM {events}
          WHERE `event` = 'verified'
          WINDOW of_version AS (PARTITION BY `version_id`)
        )
        SELECT
          {_list(_PROOF_OF, of="versions")},
          words.last_proven_at, words.last_drilled_at, words.looked_at, words.`outcome`, words.`reason`
        FROM {versions} AS versions
        LEFT JOIN words ON words.`version_id` = versions.`version_id` AND words.place = 1"""


def _exposure(events: str, versions: str) -> str:
    """What was asked for since the last thing that put a unit at rest: a version, or that there is nothing to copy."""
    return f"""
        WITH happened AS (
          SELECT {_list(_UNIT)}, `recorded_at`, `captured_at`, FALSE AS is_asked
          FROM {versions}
          UNION ALL
          SELECT {_list(_UNIT)}, `recorded_at`, NULL, `event` IN ('copy_planned', 'copy_failed')
          FROM {events}
          WHERE `event` IN ('copy_planned', 'copy_failed', 'emptied', 'vanished')
        ),
        at_rest AS (
          SELECT *, MAX(IF(is_asked, NULL, `recorded_at`)) OVER (PARTITION BY {_list(_UNIT)}) AS rested_at
          FROM happened
        ),
        by_unit AS (
          SELECT
            {_list(_UNIT[:3])}, MAX(`captured_at`) AS captured,
            MIN(IF(is_asked AND (rested_at IS NULL OR `recorded_at` > rested_at), `recorded_at`, NULL)) AS exposed
          FROM at_rest
          GROUP BY {_list(_UNIT)}
        )
        SELECT
          {_list(_UNIT[:3])}, COUNT(captured) AS `units`, MIN(captured) AS `oldest_at`, MAX(captured) AS `newest_at`,
          COUNT(exposed) AS `exposed_units`, MIN(exposed) AS `exposed_since`,
          IF(
            COUNTIF(exposed IS NOT NULL AND captured IS NULL) > 0, NULL,
            TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), MIN(IF(exposed IS NULL, NULL, captured)), SECOND)
          ) AS `rpo_seconds`
        FROM by_unit
        GROUP BY {_list(_UNIT[:3])}"""


def _list(columns: Iterable[str], of: str = "") -> str:
    prefix = f"{of}." if of else ""
    return ", ".join(f"{prefix}`{column}`" for column in columns)


def _joined(columns: Iterable[str]) -> str:
    """One text of all of them, in which NULL is a value of its own."""
    parts = ", '|', ".join(f"IFNULL(CAST(`{column}` AS STRING), '-')" for column in columns)
    return f"CONCAT({parts})"


def _first_of(group: Iterable[str], order: str) -> str:
    return f"ROW_NUMBER() OVER (PARTITION BY {_list(group)} ORDER BY {order}) = 1"


def _same_unit(one: str, other: str) -> str:
    """A partition id of NULL is equal to itself here: it stands for the whole table."""
    same = " AND ".join(f"{one}.`{column}` = {other}.`{column}`" for column in _UNIT[:3])
    return f"{same} AND IFNULL({one}.`partition_id`, '') = IFNULL({other}.`partition_id`, '')"
