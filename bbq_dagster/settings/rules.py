"""What must hold between the keys of bbq.yaml.

The rules look at what was written, not at the validated model, so that they speak up beside faults of single keys
too. They pass over whatever has the wrong type: that is reported by its own key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from bbq_dagster.settings.problems import Place, shown
from bbq_dagster.settings.schema import endpoint_fault

Fault = tuple[Place, str]
Written = Mapping[str, object]


def broken_rules(content: object) -> list[Fault]:
    """All that is wrong between the keys of ``content``; nothing where it is no mapping at all."""
    written = _mapping(content)
    return [fault for rule in _RULES for fault in rule(written)]


def _backup_project_is_no_source(written: Written) -> Iterator[Fault]:
    backup_project = written.get("backup_project")
    for index, source in _mappings(written.get("sources")):
        if isinstance(backup_project, str) and source.get("project") == backup_project:
            text = f"{shown(backup_project)} is sources[{index}].project too: keep backups in another project"
            yield ("backup_project",), text


def _backup_project_is_no_restore_project(written: Written) -> Iterator[Fault]:
    backup_project = written.get("backup_project")
    for index, project in enumerate(_list(written.get("restore_projects"))):
        if isinstance(backup_project, str) and project == backup_project:
            text = f"{shown(backup_project)} is the backup project: restore into another one"
            yield ("restore_projects", index), text


def _scratch_project_is_no_source(written: Written) -> Iterator[Fault]:
    scratch = _mapping(written.get("verify")).get("scratch_project")
    for index, source in _mappings(written.get("sources")):
        if isinstance(scratch, str) and source.get("project") == scratch:
            text = f"{shown(scratch)} is sources[{index}].project too: drills would be backed up"
            yield ("verify", "scratch_project"), text


def _snapshots_are_beside_the_catalog(written: Written) -> Iterator[Fault]:
    catalog = _mapping(written.get("catalog"))
    snapshots = catalog.get("snapshots_dataset")
    if isinstance(snapshots, str) and snapshots == catalog.get("dataset", "bbq_catalog"):
        text = f"{shown(snapshots)} is the dataset of the catalog: whoever deletes that would delete its snapshots too"
        yield ("catalog", "snapshots_dataset"), text


def _sources_are_distinct(written: Written) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, source in _mappings(written.get("sources")):
        project = source.get("project")
        if isinstance(project, str) and seen.setdefault(project, index) != index:
            place = ("sources", index, "project")
            yield place, f"{shown(project)} is sources[{seen[project]}].project too: write one source per project"


def _overrides_are_distinct(written: Written) -> Iterator[Fault]:
    for index, source in _mappings(written.get("sources")):
        seen: dict[str, int] = {}
        for at, override in _mappings(source.get("overrides")):
            wanted = repr((override.get("dataset"), override.get("table")))
            if "dataset" in override and seen.setdefault(wanted, at) != at:
                place: Place = ("sources", index, "overrides", at)
                yield place, f"is for the same as overrides[{seen[wanted]}]: write one override with both policies"


def _nothing_is_both_included_and_excluded(written: Written) -> Iterator[Fault]:
    for index, source in _mappings(written.get("sources")):
        for kind in ("datasets", "tables"):
            patterns = _mapping(source.get(kind))
            included = _list(patterns.get("include", ["*"]))
            for at, pattern in enumerate(_list(patterns.get("exclude"))):
                if isinstance(pattern, str) and pattern in included:
                    place = ("sources", index, kind, "exclude", at)
                    yield place, f"{shown(pattern)} is in include too, and so selects nothing: keep one of them"


def _anonymous_needs_an_endpoint(written: Written) -> Iterator[Fault]:
    if written.get("credentials") == "anonymous" and "endpoint" not in written:
        yield ("credentials",), "'anonymous' needs an endpoint: BigQuery itself wants credentials: default"


def _credentials_travel_encrypted(written: Written) -> Iterator[Fault]:
    endpoint = written.get("endpoint")
    if not isinstance(endpoint, str) or endpoint_fault(endpoint) or written.get("credentials", "default") != "default":
        return
    url = urlsplit(endpoint)
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        text = f"{shown(endpoint)} would get your credentials unencrypted: write https://, or credentials: anonymous"
        yield ("endpoint",), text


_RULES: tuple[Callable[[Written], Iterator[Fault]], ...] = (
    _backup_project_is_no_source,
    _backup_project_is_no_restore_project,
    _scratch_project_is_no_source,
    _snapshots_are_beside_the_catalog,
    _sources_are_distinct,
    _overrides_are_distinct,
    _nothing_is_both_included_and_excluded,
    _anonymous_needs_an_endpoint,
    _credentials_travel_encrypted,
)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _mapping(value: object) -> Written:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _mappings(value: object) -> Iterator[tuple[int, Written]]:
    return ((index, item) for index, item in enumerate(_list(value)) if isinstance(item, dict))
