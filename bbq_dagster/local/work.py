"""What each kind of job does: copy, load, query. ``jobs`` decides when, and records how it went.

A preparation reads what the job reads, at its start; the returned function writes, at its end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa

from bbq_dagster.local import sql
from bbq_dagster.local.copying import Copy, Source, plan_copy
from bbq_dagster.local.destination import named_table, write_rows
from bbq_dagster.local.errors import invalid, not_found, not_implemented, required
from bbq_dagster.local.loading import read_file
from bbq_dagster.local.model import Fields, Job, conform
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.schema import normalized
from bbq_dagster.local.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its statistics by kind, and the rows that a query leaves."""

    statistics: Mapping[str, Any]
    rows: pa.Table | None = None
    fields: Fields = field(default_factory=list)


Finish = Callable[[], Outcome]


def prepare(store: Store, job: Job, upload: bytes | None) -> Finish:
    """Read what the job reads at its start. Raises ``BigQueryError``, as does the answer."""
    if job.kind == "copy":
        return _prepare_copy(store, job)
    if job.kind == "load":
        return lambda: _load(store, job, upload)
    if job.kind == "query":
        return lambda: _query(store, job)
    raise not_implemented(f"{job.kind or 'these'} jobs")


def destination_of(configuration: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The table that a job names as its destination, if any."""
    for kind in ("copy", "load", "query"):
        if kind in configuration:
            return configuration[kind].get("destinationTable") or None
    return None


def copy_sources(configuration: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """``sourceTables``, or the one ``sourceTable``."""
    one = configuration.get("sourceTable")
    return list(configuration.get("sourceTables") or ([one] if one else []))


def _prepare_copy(store: Store, job: Job) -> Finish:
    configuration = job.configuration["copy"]
    references = copy_sources(configuration)
    if not references:
        raise required("configuration.copy.sourceTables")
    sources = tuple(_source(store, reference) for reference in references)
    return lambda: _copy(store, configuration, sources)


def _source(store: Store, reference: Mapping[str, Any]) -> Source:
    named = named_table(reference)
    if named.at_ms is None:
        table = store.get_table(named.ref)
        version = table.version
    else:
        table, version = store.table_at(named.ref, named.at_ms)
    return Source(named, table, version, store.get_dataset(named.ref.project, named.ref.dataset))


def _copy(store: Store, configuration: Mapping[str, Any], sources: tuple[Source, ...]) -> Outcome:
    destination = named_table(configuration.get("destinationTable") or {})
    ref = destination.ref
    with store.transaction():
        copy = Copy(
            sources=sources,
            destination=destination,
            dataset=store.get_dataset(ref.project, ref.dataset),
            existing=store.find_table(ref),
            write=configuration.get("writeDisposition") or "WRITE_EMPTY",
            create=configuration.get("createDisposition") or "CREATE_IF_NEEDED",
            operation=configuration.get("operationType") or "COPY",
            expires_ms=_expiration_ms(configuration.get("destinationExpirationTime")),
            now_ms=store.now_ms(),
        )
        plan = plan_copy(copy)
        if plan.resource is not None:
            store.create_table(ref, plan.resource, plan.parts)
        else:
            store.put_parts(ref, plan.parts, destination.partition, copy.write, plan.fields)
            if plan.fields is not None:
                store.take_constraints(ref, sources[0].table.resource)
    return Outcome({"copy": {"copiedRows": str(plan.rows), "copiedLogicalBytes": str(plan.bytes)}})


def _expiration_ms(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise invalid(f"Invalid value for destinationExpirationTime: {text}") from error


def _load(store: Store, job: Job, upload: bytes | None) -> Outcome:
    configuration = job.configuration["load"]
    files = [upload] if upload is not None else [_file(uri) for uri in configuration.get("sourceUris") or ()]
    if not files:
        raise required("configuration.load.sourceUris")
    fields = _load_fields(store, configuration)
    read = [read_file(configuration, content, fields) for content in files]
    fields = read[0][0]
    rows = pa.concat_tables([conform(rows, fields) for _, rows in read])
    write_rows(store, configuration, fields, rows, "WRITE_APPEND")
    size = str(sum(len(content) for content in files))
    counts = {"outputRows": str(rows.num_rows), "outputBytes": str(rows.nbytes), "badRecords": "0"}
    return Outcome({"load": counts | {"inputFiles": str(len(files)), "inputFileBytes": size}})


def _load_fields(store: Store, configuration: Mapping[str, Any]) -> Fields | None:
    """The schema of the configuration; else of the existing table; None is for detection."""
    given = (configuration.get("schema") or {}).get("fields")
    if given:
        return normalized(given)
    table = store.find_table(named_table(configuration.get("destinationTable") or {}).ref)
    if table is not None and table.fields:
        return table.fields
    if configuration.get("autodetect") or configuration.get("sourceFormat") == "PARQUET":
        return None
    raise invalid("No schema specified on job or table.")


def _file(uri: str) -> bytes:
    parsed = urlparse(uri)
    if parsed.scheme != "file":
        raise not_implemented(f"loading from {uri}; only file:// and uploads")
    path = Path(unquote(parsed.path))
    if not path.is_file():
        raise not_found("URI", uri)
    return path.read_bytes()


def _query(store: Store, job: Job) -> Outcome:
    configuration = job.configuration["query"]
    if configuration.get("useLegacySql", True) and "useLegacySql" in configuration:
        raise not_implemented("legacy SQL")
    default = configuration.get("defaultDataset")
    result = sql.run(
        store,
        configuration.get("query") or "",
        project=job.project,
        location=job.location,
        default_dataset=(default.get("projectId") or job.project, default["datasetId"]) if default else None,
        parameters=configuration.get("queryParameters") or [],
        job_id=job.id,
        dry_run=bool(job.configuration.get("dryRun")),
    )
    wanted = configuration.get("destinationTable")
    if wanted and result.schema and not job.configuration.get("dryRun"):
        write_rows(store, configuration, result.schema, conform(result.rows, result.schema), "WRITE_EMPTY")
    return Outcome(_query_statistics(result), conform(result.rows, result.schema), result.schema)


def _query_statistics(result: QueryResult) -> dict[str, Any]:
    read = str(result.total_bytes_processed)
    query: dict[str, Any] = {
        "statementType": result.statement_type,
        "totalBytesProcessed": read,
        "totalBytesBilled": read,
        "cacheHit": False,
        "schema": {"fields": result.schema},
        "referencedTables": [ref.as_json() for ref in result.referenced],
    }
    if result.affected_rows is not None:
        query["numDmlAffectedRows"] = str(result.affected_rows)
        query["dmlStats"] = {name: str(count) for name, count in result.dml_stats.items()}
    if result.ddl_operation is not None:
        query["ddlOperationPerformed"] = result.ddl_operation
        if result.destination is not None:
            query["ddlTargetTable"] = result.destination.as_json()
    answer: dict[str, Any] = {"totalBytesProcessed": read, "query": query}
    return answer | ({"numChildJobs": str(len(result.children))} if result.children else {})
