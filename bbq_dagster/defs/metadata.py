"""What a version shows in the UI: metadata of its materialization, its data version, links into Google's console.

From values to values: reads and decides nothing.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import dagster as dg

from bbq_dagster.core.tables import DatasetRef, TableRef
from bbq_dagster.core.versions import Version
from bbq_dagster.core.wording import printable

_MARKUP = re.compile(r"[\\`\[\]<>|!&]")
_CONSOLE = "https://console.cloud.google.com/bigquery"


def version_metadata(version: Version) -> Mapping[str, dg.MetadataValue]:
    """The metadata of the materialization that stands for ``version``; what BigQuery does not say is left out."""
    backup = version.backup.table
    stated = {
        "reason": dg.MetadataValue.text(version.reason),
        "captured at": _instant(version.captured_at),
        "dagster/row_count": None if version.rows is None else dg.MetadataValue.int(version.rows),
        "bytes": None if version.size_bytes is None else dg.MetadataValue.int(version.size_bytes),
        "source modified": _instant(version.source.modified_at),
        "backup table": dg.MetadataValue.text(str(version.backup)),
        "console": dg.MetadataValue.url(table_link(backup)),
        "copied as a whole table": dg.MetadataValue.bool(version.whole_table),
        "job id": dg.MetadataValue.text(version.job_id),
        "version id": dg.MetadataValue.text(version.version_id),
    }
    return {name: value for name, value in stated.items() if value is not None}


def data_version_of(version: Version) -> str:
    """The state of the source that the version holds, and the version: readable, and different for each version.

    2026-01-31T02:15:00.123000+00:00/1200 rows/4096 bytes/3kq7zr5n2v6w4hxa
    """
    source = version.source
    modified = "undated" if source.modified_at is None else source.modified_at.astimezone(UTC).isoformat()
    rows = "?" if source.rows is None else source.rows
    size = "?" if source.size_bytes is None else source.size_bytes
    return f"{modified}/{rows} rows/{size} bytes/{version.version_id}"


def table_link(table: TableRef) -> str:
    """The table in Google's console."""
    return _link(table.project, "!1m5!1m4!4m3", table.project, table.dataset, table.table)


def dataset_link(dataset: DatasetRef) -> str:
    """The dataset in Google's console."""
    return _link(dataset.project, "!1m4!1m3!3m2", dataset.project, dataset.dataset)


def reasons_as_markdown(reasons: Mapping[str, str], *, limit: int) -> str:
    """A table of names with what is to be said about each, the first ``limit`` of them; "none" where there are none."""
    if not reasons:
        return "none"
    lines = [f"| `{_in_code(name)}` | {_in_one_cell(reason)} |" for name, reason in list(reasons.items())[:limit]]
    more = [f"\n… and {len(reasons) - limit:,} more"] if len(reasons) > limit else []
    return "\n".join(["| which | why |", "|---|---|", *lines, *more])


def _link(project: str, place: str, *names: str) -> str:
    """The console's own way to name what is open in its first tab; every character of a name is escaped."""
    parts = "".join(f"!{number}s{quote(name, safe='')}" for number, name in enumerate(names, start=1))
    return f"{_CONSOLE}?project={quote(project, safe='')}&ws={place}{parts}"


def _instant(instant: datetime | None) -> dg.MetadataValue | None:
    return None if instant is None else dg.MetadataValue.timestamp(instant)


def _in_code(text: str) -> str:
    """Between backticks nothing is escaped but the border of a cell."""
    return printable(text).replace("`", "'").replace("|", "\\|")


def _in_one_cell(text: str) -> str:
    """Of text that others wrote: no mark-up, no link, no picture, no new cell."""
    return _MARKUP.sub(r"\\\g<0>", printable(" ".join(text.split())))
