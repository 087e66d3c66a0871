"""Projects, datasets, tables, routines and rows as REST calls: what is asked of the store, and how it is shown.

https://cloud.google.com/bigquery/docs/reference/rest. The rules are in ``store`` and ``definition``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from bbq_dagster.local.access import Place
from bbq_dagster.local.anonymous import anonymous_resource
from bbq_dagster.local.definition import DATASET_PROPERTIES
from bbq_dagster.local.errors import condition_not_met, duplicate, invalid, not_found, required
from bbq_dagster.local.model import Dataset, Decorated, Table, parse_decorated
from bbq_dagster.local.partitioning import UNPARTITIONED, check_partition_id
from bbq_dagster.local.requests import NO_CONTENT, Request, Response, is_place, page_of_names, page_size
from bbq_dagster.local.service import Service
from bbq_dagster.local.sql.defaults import default_values
from bbq_dagster.local.sql.information_schema import project_number
from bbq_dagster.local.values import BadValue, decode_rows, encode_rows

_SET_BY_SERVER = ("type", "snapshotDefinition", "cloneDefinition")
_LISTED = (
    "timePartitioning",
    "rangePartitioning",
    "clustering",
    "labels",
    "friendlyName",
    "expirationTime",
    "requirePartitionFilter",
    "snapshotDefinition",
    "cloneDefinition",
)
_ROWS_PER_PAGE = 10_000
# What a ``datasetView`` leaves out: https://cloud.google.com/bigquery/docs/reference/rest/v2/datasets/get
_NOT_SHOWN = {"METADATA": ("access",), "ACL": tuple(DATASET_PROPERTIES - {"access", "location"})}
_OWNER = {"role": "OWNER", "specialGroup": "projectOwners"}


def list_projects(service: Service, request: Request) -> dict[str, Any]:
    seen = [p for p in service.store.projects() if _sees_any(service, request.user, p)]
    names, more = page_of_names(seen, request)
    projects = [_project(name) for name in names]
    return {"kind": "bigquery#projectList", "projects": projects, "totalItems": len(seen)} | more


def get_service_account(_: Service, request: Request) -> dict[str, Any]:
    number = project_number(request.params["project"])
    return {
        "kind": "bigquery#getServiceAccountResponse",
        "email": f"bq-{number}@bigquery-encryption.iam.gserviceaccount.com",
    }


def list_datasets(service: Service, request: Request) -> dict[str, Any]:
    hidden = request.flag("all")
    held = service.store.datasets(request.params["project"])
    datasets = {d.dataset: d for d in held if _sees(service, request.user, d)}
    names, more = page_of_names([n for n in datasets if hidden or not n.startswith("_")], request)
    answer: dict[str, Any] = {"kind": "bigquery#datasetList", "datasets": [_listed_dataset(datasets[n]) for n in names]}
    return answer | more


def get_dataset(service: Service, request: Request) -> dict[str, Any]:
    """``datasetView`` METADATA leaves out who has access, ACL all but that."""
    shown = _dataset(service, _found_dataset(service, request))
    left_out = _NOT_SHOWN.get((request.option("datasetView") or "").upper(), ())
    return {key: value for key, value in shown.items() if key not in left_out}


def insert_dataset(service: Service, request: Request) -> dict[str, Any]:
    body = request.body()
    name = (body.get("datasetReference") or {}).get("datasetId")
    if not name:
        raise required("datasetReference.datasetId")
    created = service.store.create_dataset(request.params["project"], str(name), body)
    service.store.access.own(request.user, created.project, created.dataset)
    return _dataset(service, created)


def patch_dataset(service: Service, request: Request) -> dict[str, Any]:
    return _change_dataset(service, request, put=False)


def update_dataset(service: Service, request: Request) -> dict[str, Any]:
    return _change_dataset(service, request, put=True)


def delete_dataset(service: Service, request: Request) -> Response:
    found = _found_dataset(service, request)
    service.store.delete_dataset(found.project, found.dataset, delete_contents=request.flag("deleteContents"))
    return NO_CONTENT


def undelete_dataset(service: Service, request: Request) -> dict[str, Any]:
    """datasets.undelete: ``deletionTime`` chooses the version, the latest if it is left out."""
    at = request.body().get("deletionTime")
    try:
        deleted_ms = None if at is None else round(datetime.fromisoformat(str(at)).timestamp() * 1000)
    except ValueError as error:
        raise invalid(f"Invalid value for deletionTime: {at}", "deletionTime") from error
    project, name = request.params["project"], request.params["dataset"]
    return _dataset(service, service.store.undelete_dataset(project, name, deleted_ms))


def list_tables(service: Service, request: Request) -> dict[str, Any]:
    found = _found_dataset(service, request)
    all_names = service.store.table_names(found.project, found.dataset)
    names, more = page_of_names(all_names, request)
    tables = (service.store.find_table(_named(request, name).ref) for name in names)
    listed = [_listed_table(t) for t in tables if t is not None]
    return {"kind": "bigquery#tableList", "tables": listed, "totalItems": len(all_names)} | more


def get_table(service: Service, request: Request) -> dict[str, Any]:
    named = _named(request, request.params["table"])
    if named.at_ms is not None:
        raise invalid(f"Invalid table ID {request.params['table']}: snapshot decorators cannot be used here")
    kept = service.jobs.kept(named.ref)
    if kept is not None:
        return dict(anonymous_resource(named.ref, kept))
    shown = table_resource(
        service, service.store.get_table(named.ref), named.partition, request.option("view") == "BASIC"
    )
    chosen = request.option("selectedFields")
    return shown if not chosen else shown | {"schema": {"fields": _selected(shown["schema"]["fields"], chosen)}}


def insert_table(service: Service, request: Request) -> dict[str, Any]:
    body = request.body()
    name = (body.get("tableReference") or {}).get("tableId")
    if not name:
        raise required("tableReference.tableId")
    resource = {k: v for k, v in body.items() if k not in _SET_BY_SERVER}
    _found_dataset(service, request)
    named = _named(request, str(name))
    if named.partition is not None or named.at_ms is not None:
        raise invalid(f'Invalid table ID "{name}": table decorators cannot be used here')
    return table_resource(service, service.store.create_table(named.ref, resource))


def patch_table(service: Service, request: Request) -> dict[str, Any]:
    return _change_table(service, request, put=False)


def update_table(service: Service, request: Request) -> dict[str, Any]:
    return _change_table(service, request, put=True)


def delete_table(service: Service, request: Request) -> Response:
    """``t$20240131`` deletes one partition, ``t`` the table."""
    named = _named(request, request.params["table"])
    _check_etag(request, service.store.get_table(named.ref).etag)
    if named.partition is not None:
        service.store.delete_partition(named.ref, named.partition)
    else:
        service.store.delete_table(named.ref)
    return NO_CONTENT


def list_rows(service: Service, request: Request) -> dict[str, Any]:
    """tabledata.list, also of one partition or an earlier instant. ``selectedFields`` chooses top-level columns."""
    named = _named(request, request.params["table"])
    kept = service.jobs.kept(named.ref)
    if kept is not None:
        return _listed_rows(request, named.ref.table, kept.fields, kept.rows)
    table = (
        service.store.get_table(named.ref) if named.at_ms is None else service.store.table_at(named.ref, named.at_ms)[0]
    )
    if not table.holds_rows:
        raise invalid(f"Cannot list a table of type {table.kind}.")
    partitions = None if named.partition is None else [named.partition]
    rows = service.store.read(named.ref, at_ms=named.at_ms, partitions=partitions)
    return _listed_rows(request, table.etag, table.fields, rows)


def _listed_rows(request: Request, etag: str, fields: Sequence[Mapping[str, Any]], rows: pa.Table) -> dict[str, Any]:
    fields = _selected(fields, request.option("selectedFields") or "")
    answer = {"kind": "bigquery#tableDataList", "etag": etag, "totalRows": str(rows.num_rows)}
    return answer | page_of_rows(request, fields, rows.select([f["name"] for f in fields]))


def _selected(fields: Sequence[Mapping[str, Any]], names: str) -> Sequence[Mapping[str, Any]]:
    wanted = {name.lower() for name in names.split(",") if name}
    unknown = wanted - {field["name"].lower() for field in fields}
    if unknown:
        raise invalid(f"Invalid value for selectedFields: no such field: {min(unknown)}", "selectedFields")
    return [field for field in fields if not wanted or field["name"].lower() in wanted]


def insert_rows(service: Service, request: Request) -> dict[str, Any]:
    """tabledata.insertAll: into the streaming buffer. One bad row stops all, unless ``skipInvalidRows``."""
    named, body = _named(request, request.params["table"]), request.body()
    table = service.store.get_table(named.ref)
    if table.kind != "TABLE":
        raise invalid(f"{named.ref} is not allowed for this operation because it is currently a {table.kind}.")
    rows = body.get("rows") or []
    if not rows:
        raise invalid("No rows present in the request.")
    service.store.limits.check("bytes_per_insert_all", len(request.content))
    service.store.limits.check("rows_per_insert_all", len(rows))
    defaults = default_values(table.fields, service.store.now_ms())
    good, errors = _checked_rows(table, rows, bool(body.get("ignoreUnknownValues")), defaults)
    answer: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
    if errors and not body.get("skipInvalidRows"):
        stopped = {"reason": "stopped", "location": "", "debugInfo": "", "message": ""}
        bad = {error["index"] for error in errors}
        errors += [{"index": i, "errors": [stopped]} for i in range(len(rows)) if i not in bad]
    elif good:
        fresh = service.inserted.take(table.id, good, service.store.now_ms())
        decoded = decode_rows(table.fields, fresh, ignore_unknown=bool(body.get("ignoreUnknownValues")))
        service.store.stream(named.ref, decoded, named.partition)
    return answer | ({"insertErrors": errors} if errors else {})


def list_routines(service: Service, request: Request) -> dict[str, Any]:
    found = _found_dataset(service, request)
    return {"routines": list(service.store.routines(found.project, found.dataset))}


def get_routine(service: Service, request: Request) -> dict[str, Any]:
    return dict(_found_routine(service, request))


def insert_routine(service: Service, request: Request) -> dict[str, Any]:
    body, found = request.body(), _found_dataset(service, request)
    name = (body.get("routineReference") or {}).get("routineId")
    if not name:
        raise required("routineReference.routineId")
    key, now = (found.project, found.dataset, str(name)), str(service.store.now_ms())
    if service.store.find_routine(key) is not None:
        raise duplicate("Routine", f"{found}.{name}")
    reference = {"projectId": found.project, "datasetId": found.dataset, "routineId": name}
    resource = body | {"routineReference": reference, "creationTime": now, "lastModifiedTime": now, "etag": now}
    service.store.put_routine(key, resource)
    return resource


def delete_routine(service: Service, request: Request) -> Response:
    _found_routine(service, request)
    service.store.put_routine(_routine_key(request), None)
    return NO_CONTENT


def page_of_rows(request: Request, fields: Sequence[Mapping[str, Any]], rows: Any) -> dict[str, Any]:
    """``rows`` and, if there are more, ``pageToken``; starts at ``startIndex`` or where the token says."""
    token = request.option("pageToken")
    if token is not None and not is_place(token):
        raise invalid(f'Invalid page token "{token}"', "pageToken")
    start = min(int(token) if token is not None else request.number("startIndex") or 0, rows.num_rows)
    size = page_size(request, _ROWS_PER_PAGE, _ROWS_PER_PAGE * 10)
    encoded = encode_rows(
        fields, rows.slice(start, size), int64_timestamps=request.flag("formatOptions.useInt64Timestamp")
    )
    return {"rows": encoded} | ({"pageToken": str(start + size)} if start + size < rows.num_rows else {})


def table_resource(service: Service, table: Table, partition: str | None = None, basic: bool = False) -> dict[str, Any]:
    """A table as tables.get shows it; of a partition, with that partition's rows, bytes and time.

    BASIC omits sizes and lastModifiedTime (REST tables.get). A metadata edit moves the time of every partition here
    (the original BBQ's README), not in INFORMATION_SCHEMA.PARTITIONS.
    """
    suffix = "" if partition is None else f"${partition}"
    path = f"projects/{table.ref.project}/datasets/{table.ref.dataset}/tables/{table.ref.table}{suffix}"
    answer = {
        "kind": "bigquery#table",
        "etag": table.etag,
        "id": f"{table.ref}{suffix}",
        "selfLink": f"{service.url}/bigquery/v2/{path}",
        **table.resource,
        "tableReference": table.ref.as_json() | {"tableId": f"{table.ref.table}{suffix}"},
        "creationTime": str(table.created_ms),
        "location": service.store.get_dataset(table.ref.project, table.ref.dataset).location,
    }
    return answer if basic else answer | _sizes(table, partition)


def _sizes(table: Table, partition: str | None) -> dict[str, Any]:
    if not table.holds_rows:
        return {"lastModifiedTime": str(table.modified_ms), "numRows": "0", "numBytes": "0"}
    if partition is not None:
        return _partition_sizes(table, partition)
    rows, size = table.version.rows, table.version.bytes
    answer: dict[str, Any] = {
        "lastModifiedTime": str(table.modified_ms),
        "numRows": str(rows),
        "numBytes": str(size),
        "numTotalLogicalBytes": str(size),
        "numActiveLogicalBytes": str(size),
        "numLongTermBytes": "0",
        "numLongTermLogicalBytes": "0",
    }
    if table.partitioning.is_partitioned:
        answer["numPartitions"] = str(len(table.parts))
    return answer | _streaming_buffer(table)


def _partition_sizes(table: Table, partition: str) -> dict[str, Any]:
    if not table.partitioning.is_partitioned:
        raise invalid(
            f"Cannot read partition information from a table that is not partitioned: {table.ref}${partition}"
        )
    check_partition_id(table.partitioning, partition)
    part = table.parts.get(partition)
    rows, size, modified = (part.rows, part.bytes, part.modified_ms) if part else (0, 0, table.created_ms)
    if partition == UNPARTITIONED:
        rows, size = rows + sum(s.rows for s in table.streamed), size + sum(s.bytes for s in table.streamed)
        modified = max([modified, *(s.at_ms for s in table.streamed)])
    return {"lastModifiedTime": str(max(modified, table.defined_ms)), "numRows": str(rows), "numBytes": str(size)}


def _streaming_buffer(table: Table) -> dict[str, Any]:
    if not table.streamed:
        return {}
    buffer = {
        "estimatedRows": str(sum(s.rows for s in table.streamed)),
        "estimatedBytes": str(sum(s.bytes for s in table.streamed)),
        "oldestEntryTime": str(table.streamed[0].at_ms),
    }
    return {"streamingBuffer": buffer}


def _checked_rows(
    table: Table, rows: Sequence[Mapping[str, Any]], ignore_unknown: bool, defaults: Mapping[str, Any]
) -> tuple[list[tuple[str | None, Mapping[str, Any]]], list[dict[str, Any]]]:
    """The rows that fit, each with its insertId, and what is wrong with the others."""
    good, errors = [], []
    for index, row in enumerate(rows):
        given = (row.get("json") if isinstance(row, Mapping) else None) or {}
        values = _with_defaults(given, defaults) if defaults else given
        try:
            decode_rows(table.fields, [values], ignore_unknown=ignore_unknown)
            good.append((row.get("insertId"), values))
        except BadValue as error:
            detail = {"reason": "invalid", "location": error.location, "debugInfo": "", "message": str(error)}
            errors.append({"index": index, "errors": [detail]})
    return good, errors


def _with_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    names = {name.lower() for name in given}
    return {**{name: value for name, value in defaults.items() if name.lower() not in names}, **given}


def _change_dataset(service: Service, request: Request, *, put: bool) -> dict[str, Any]:
    found = _found_dataset(service, request)
    _check_etag(request, found.etag)
    return _dataset(service, service.store.patch_dataset(found.project, found.dataset, request.body(), put=put))


def _change_table(service: Service, request: Request, *, put: bool) -> dict[str, Any]:
    named = _named(request, request.params["table"])
    _check_etag(request, service.store.get_table(named.ref).etag)
    return table_resource(service, service.store.patch_table(named.ref, request.body(), put=put))


def _check_etag(request: Request, etag: str) -> None:
    wanted = request.headers.get("if-match")
    if wanted not in (None, "*", etag):
        raise condition_not_met()


def _named(request: Request, name: str) -> Decorated:
    return parse_decorated(request.params["project"], request.params["dataset"], name)


def _sees(service: Service, user: str, dataset: Dataset) -> bool:
    """Datasets that may not be read are left out of lists (datasets.list)."""
    return service.store.access.allows(user, "datasets.get", Place(dataset.project, dataset.dataset))


def _sees_any(service: Service, user: str, project: str) -> bool:
    return any(_sees(service, user, dataset) for dataset in service.store.datasets(project))


def _found_dataset(service: Service, request: Request) -> Dataset:
    return service.store.get_dataset(request.params["project"], request.params["dataset"])


def _routine_key(request: Request) -> tuple[str, str, str]:
    return (request.params["project"], request.params["dataset"], request.params["routine"])


def _found_routine(service: Service, request: Request) -> Mapping[str, Any]:
    found = service.store.find_routine(_routine_key(request))
    if found is None:
        project, dataset, routine = _routine_key(request)
        raise not_found("Routine", f"{project}:{dataset}.{routine}")
    return found


def _project(name: str) -> dict[str, Any]:
    reference = {"projectId": name}
    return {
        "kind": "bigquery#project",
        "id": name,
        "numericId": "0",
        "projectReference": reference,
        "friendlyName": name,
    }


def _dataset(service: Service, dataset: Dataset) -> dict[str, Any]:
    return {
        "kind": "bigquery#dataset",
        "etag": dataset.etag,
        "id": str(dataset),
        "selfLink": f"{service.url}/bigquery/v2/projects/{dataset.project}/datasets/{dataset.dataset}",
        "datasetReference": {"projectId": dataset.project, "datasetId": dataset.dataset},
        "access": [_OWNER],
        "type": "DEFAULT",
        "maxTimeTravelHours": str(dataset.time_travel_hours),
        **dataset.resource,
        "creationTime": str(dataset.created_ms),
        "lastModifiedTime": str(dataset.modified_ms),
    }


def _listed_dataset(dataset: Dataset) -> dict[str, Any]:
    optional = {k: dataset.resource[k] for k in ("labels", "friendlyName") if k in dataset.resource}
    return optional | {
        "kind": "bigquery#dataset",
        "id": str(dataset),
        "datasetReference": {"projectId": dataset.project, "datasetId": dataset.dataset},
        "location": dataset.location,
        "type": "DEFAULT",
    }


def _listed_table(table: Table) -> dict[str, Any]:
    optional = {k: table.resource[k] for k in _LISTED if k in table.resource}
    if "view" in table.resource:
        optional["view"] = {"useLegacySql": bool(table.resource["view"].get("useLegacySql"))}
    return optional | {
        "kind": "bigquery#table",
        "id": str(table.ref),
        "tableReference": table.ref.as_json(),
        "type": table.kind,
        "creationTime": str(table.created_ms),
    }
