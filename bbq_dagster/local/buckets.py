"""Files of load and extract jobs: ``gs://bucket/path`` in a local folder that stands for Cloud Storage, and ``file://``.

https://cloud.google.com/bigquery/docs/exporting-data#exporting_data_into_one_or_more_files and
.../batch-loading-data#load-wildcards. Wildcards are in object names, never in the bucket's.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from bbq_dagster.local.errors import invalid, not_found, not_implemented, refused

_URI = re.compile(r"(?P<scheme>gs|file)://(?P<path>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Buckets:
    """``folder`` has one folder per bucket; None where no folder stands for Cloud Storage."""

    folder: Path | None

    def read(self, uri: str) -> list[bytes]:
        """The files that a URI means, by name; ``notFound`` if there is none."""
        path = self._path(uri)
        try:
            found = sorted(_matching(path)) if "*" in path.name else [path]
            if not found or not all(file.is_file() for file in found):
                raise not_found("URI", uri)
            return [file.read_bytes() for file in found]
        except OSError as error:
            raise refused("accessDenied", f"Access Denied: {uri}: cannot be read: {error.strerror}") from error

    def write(self, uri: str, content: bytes) -> None:
        """Write the one file of an extract; ``*`` in the name becomes its number, of 12 digits."""
        if uri.count("*") > 1:
            raise invalid(f"Invalid extract destination URI '{uri}'. At most one wildcard is allowed.")
        path = self._path(uri.replace("*", "0" * 12))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise refused("accessDenied", f"Access Denied: {uri}: cannot be written: {error.strerror}") from error

    def _path(self, uri: str) -> Path:
        found = _URI.fullmatch(uri)
        if found is None or ".." in Path(uri).parts:
            raise invalid(f"Source URI must be a Google Cloud Storage location: {uri}")
        if found["scheme"] == "file":
            return Path(unquote(found["path"]))
        if self.folder is None:
            raise not_implemented(f"{uri} without a folder that stands for Cloud Storage")
        return self.folder / found["path"]


def _matching(path: Path) -> list[Path]:
    """A wildcard matches across folders too, as object names have none."""
    fixed = next(parent for parent in path.parents if "*" not in str(parent))
    wanted = re.compile(re.escape(str(path)).replace(r"\*", ".*"), re.DOTALL)
    return [file for file in fixed.rglob("*") if file.is_file() and wanted.fullmatch(str(file))]
