"""What each kind of job does: copy, load, query. ``jobs`` decides when, and records how it went.

A preparation reads what the job reads, at its start; the returned function writes, at its end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from bbq_dagster.local import sql
from bbq_dagster.local.access import needs_of_copy, needs_of_writing, place_of
from bbq_dagster.local.copy_limits import CopyUse, count_copy
from bbq_dagster.local.copying import Copy, CopyPlan, Source, plan_copy
from bbq_dagster.local.destination import named_table, write_rows
from bbq_dagster.local.errors import BigQueryError, invalid, not_implemented, required
from bbq_dagster.local.extracting import file_of
from bbq_dagster.local.loading import describes_itself, read_file
from bbq_dagster.local.model import Fields, Job, TableRef, conform, parse_partitioning
from bbq_dagster.local.results import QueryResult
from bbq_dagster.local.schema import normalized
from bbq_dagster.local.sql import Sessions
from bbq_dagster.local.statement_access import needs_of_query
from bbq_dagster.local.store import Store

_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: its statistics by kind, the rows that a query leaves, and the table whose rows it wrote.

    ``children`` are the statements of a script, each a job of its own with this text.
    """

    statistics: Mapping[str, Any]
    rows: pa.Table | None = None
    fields: Fields = field(default_factory=list)
    destination: TableRef | None = None
    text: str = ""
    children: tuple["Outcome", ...] = ()


Finish = Callable[[], Outcome]


def prepare(store: Store, sessions: Sessions, job: Job, upload: bytes | None) -> Finish:
    """Read what the job reads at its start. Raises ``BigQueryError``, as does the answer."""
    if job.kind == "copy":
        return _prepare_copy(store, job)
    if job.kind == "extract":
        return lambda: _extract(store, job)
    if job.kind == "load":
        return lambda: _load(store, job, upload)
    if job.kind == "query":
        return lambda: _query(store, sessions, job)
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
    named = named_table(configuration.get("destinationTable") or {}).ref
    read = [named_table(reference).ref for reference in references]
    store.access.require(job.user, needs_of_copy(read, named, store.find_table(named) is not None, configuration))
    sources = tuple(_source(store, reference) for reference in references)
    return lambda: _copy(store, job, sources)


def _source(store: Store, reference: Mapping[str, Any]) -> Source:
    named = named_table(reference)
    if named.at_ms is None:
        table = store.get_table(named.ref)
        version = table.version
    else:
        table, version = store.table_at(named.ref, named.at_ms)
    return Source(named, table, version, store.get_dataset(named.ref.project, named.ref.dataset))


def _copy(store: Store, job: Job, sources: tuple[Source, ...]) -> Outcome:
    configuration = job.configuration["copy"]
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
        _count_copy(store, job, copy, plan)
        if plan.resource is not None:
            store.create_table(ref, plan.resource, plan.parts)
        else:
            store.put_parts(ref, plan.parts, destination.partition, copy.write, plan.fields)
            if plan.fields is not None:
                store.take_constraints(ref, sources[0].table.resource)
    return Outcome({"copy": {"copiedRows": str(plan.rows), "copiedLogicalBytes": str(plan.bytes)}})


def _count_copy(store: Store, job: Job, copy: Copy, plan: CopyPlan) -> None:
    if not store.limits:
        return
    partitioning = parse_partitioning(plan.resource or {}) if copy.existing is None else copy.existing.partitioning
    base, target = copy.first.named.ref, copy.destination.ref
    use = CopyUse(job.project, copy.operation, base, target, partitioning, len(plan.parts), copy.crosses_locations)
    count_copy(store, use)


def _expiration_ms(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError as error:
        raise invalid(f"Invalid value for destinationExpirationTime: {text}") from error


def _load(store: Store, job: Job, upload: bytes | None) -> Outcome:
    configuration = job.configuration["load"]
    _require_writing(store, job, configuration)
    files = [upload] if upload is not None else _files(store, configuration)
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


def _require_writing(store: Store, job: Job, configuration: Mapping[str, Any]) -> None:
    destination = configuration.get("destinationTable")
    if destination:
        ref = named_table(destination).ref
        store.access.require(job.user, needs_of_writing(ref, store.find_table(ref) is not None, configuration))


def _load_fields(store: Store, configuration: Mapping[str, Any]) -> Fields | None:
    """The schema of the configuration; else of the existing table, if it stays; None is for detection."""
    given = (configuration.get("schema") or {}).get("fields")
    detects = configuration.get("autodetect") or describes_itself(configuration)
    if given:
        return normalized(given)
    if detects and configuration.get("writeDisposition") == "WRITE_TRUNCATE":
        return None
    table = store.find_table(named_table(configuration.get("destinationTable") or {}).ref)
    if table is not None and table.fields:
        return table.fields
    if detects:
        return None
    raise invalid("No schema specified on job or table.")


def _files(store: Store, configuration: Mapping[str, Any]) -> list[bytes]:
    return [content for uri in configuration.get("sourceUris") or () for content in store.buckets.read(uri)]


def _extract(store: Store, job: Job) -> Outcome:
    configuration = job.configuration["extract"]
    named, uris = named_table(configuration.get("sourceTable") or {}), configuration.get("destinationUris") or ()
    if not uris:
        raise required("configuration.extract.destinationUris")
    needs = [(f"tables.{name}", place_of(named.ref)) for name in ("get", "getData", "export")]
    store.access.require(job.user, needs)
    table = store.get_table(named.ref) if named.at_ms is None else store.table_at(named.ref, named.at_ms)[0]
    if not table.holds_rows:
        raise invalid(f"{named.ref} is not allowed for this operation because it is currently a {table.kind}.")
    partitions = None if named.partition is None else [named.partition]
    rows = store.read(named.ref, include_streaming=False, at_ms=named.at_ms, partitions=partitions)
    content = file_of(configuration, table.fields, rows)
    for uri in uris:
        store.buckets.write(uri, content)
    return Outcome({"extract": {"destinationUriFileCounts": ["1"] * len(uris), "inputBytes": str(rows.nbytes)}})


def _query(store: Store, sessions: Sessions, job: Job) -> Outcome:
    configuration = job.configuration["query"]
    if configuration.get("useLegacySql", True) and "useLegacySql" in configuration:
        raise not_implemented("legacy SQL")
    if store.access and job.user:
        store.access.require(job.user, needs_of_query(store, sessions, job, configuration))
        _require_writing(store, job, configuration)
    session = sessions.of(job.project, job.location, job.id, configuration)
    with session.lock:
        result = _run_sql(store, job, configuration, session)
    sessions.keep(job.project, session)
    wanted = configuration.get("destinationTable")
    if wanted and result.schema and not job.configuration.get("dryRun"):
        write_rows(store, configuration, result.schema, conform(result.rows, result.schema), "WRITE_EMPTY")
    about = {"sessionInfo": {"sessionId": session.id}} if session.id else {}
    return _outcome(result, about)


def _run_sql(store: Store, job: Job, configuration: Mapping[str, Any], session: sql.Session) -> QueryResult:
    default = configuration.get("defaultDataset")
    run = partial(
        sql.run,
        store,
        configuration.get("query") or "",
        project=job.project,
        location=job.location,
        default_dataset=(default.get("projectId") or job.project, default["datasetId"]) if default else None,
        parameters=configuration.get("queryParameters") or [],
        session=session,
    )
    is_dry = bool(job.configuration.get("dryRun"))
    if configuration.get("maximumBytesBilled") and not is_dry:
        _check_billed(run(dry_run=True), int(configuration["maximumBytesBilled"]))
    return run(dry_run=is_dry)


def _check_billed(estimate: QueryResult, allowed: int) -> None:
    """Refuse before anything is done (REST JobConfigurationQuery, maximumBytesBilled).

    Bytes are billed in whole megabytes, at least ten for each table that is read (pricing).
    """
    changed = {estimate.destination} if estimate.statement_type in ("UPDATE", "DELETE", "MERGE") else set()
    megabytes = max(-(-estimate.total_bytes_processed // _MEGABYTE), 10 * len(changed.union(estimate.referenced)))
    if megabytes * _MEGABYTE > allowed:
        words = f"Query exceeded limit for bytes billed: {allowed}. {megabytes * _MEGABYTE} or higher required."
        raise BigQueryError(400, "bytesBilledLimitExceeded", words)


def _outcome(result: QueryResult, about: Mapping[str, Any]) -> Outcome:
    """``about`` is what the statistics say besides, of a session for example."""
    return Outcome(
        {**_query_statistics(result), **about},
        conform(result.rows, result.schema),
        result.schema,
        result.destination if result.writes_rows else None,
        result.text,
        tuple(_outcome(child, about) for child in result.children),
    )


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
