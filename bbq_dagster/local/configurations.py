"""What a job's configuration must say before there is a job: one kind, what that needs, and words that are known.

What is wrong here is refused with 400 (REST Job). What is wrong with the tables, files and statements that it names is
found out by the job, and is its error.
"""

from collections.abc import Mapping
from typing import Any

from bbq_dagster.local.errors import invalid, required

_KINDS = ("copy", "query", "load", "extract")

# The words that a setting may have, of every kind of job that has the setting.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "writeDisposition": ("WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND", "WRITE_EMPTY"),
    "createDisposition": ("CREATE_IF_NEEDED", "CREATE_NEVER"),
    "priority": ("INTERACTIVE", "BATCH"),
    "parameterMode": ("NAMED", "POSITIONAL"),
    "sourceFormat": ("CSV", "NEWLINE_DELIMITED_JSON", "AVRO", "PARQUET", "ORC", "DATASTORE_BACKUP"),
    "destinationFormat": (
        "CSV",
        "NEWLINE_DELIMITED_JSON",
        "PARQUET",
        "AVRO",
        "ML_TF_SAVED_MODEL",
        "ML_XGBOOST_BOOSTER",
    ),
    "compression": ("NONE", "GZIP", "DEFLATE", "SNAPPY", "ZSTD"),
    "encoding": ("UTF-8", "ISO-8859-1", "UTF-16BE", "UTF-16LE", "UTF-32BE", "UTF-32LE"),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "copy": ("destinationTable",),
    "query": ("query",),
    "load": ("destinationTable",),
    "extract": ("destinationUris",),
}


def checked_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what is null, at any depth, once it is found to be of one kind and complete."""
    kept: dict[str, Any] = _without_nulls(configuration)
    kinds = [kind for kind in _KINDS if kind in kept]
    if not kinds:
        raise required("configuration")
    if len(kinds) > 1:
        raise invalid(f"Invalid job: it has more than one configuration: {', '.join(kinds)}")
    _check_needed(kinds[0], kept[kinds[0]])
    _check_words(kept[kinds[0]])
    return kept


def _check_needed(kind: str, given: Mapping[str, Any]) -> None:
    for name in _NEEDED[kind]:
        if not given.get(name):
            raise required(f"configuration.{kind}.{name}")
    if kind == "copy" and not (given.get("sourceTable") or given.get("sourceTables")):
        raise required("configuration.copy.sourceTables")
    if any("parameterType" not in parameter for parameter in given.get("queryParameters", ())):
        raise required("configuration.query.queryParameters.parameterType")


def _check_words(given: Mapping[str, Any]) -> None:
    for name, words in _WORDS.items():
        if given.get(name) and str(given[name]).upper() not in words:
            raise invalid(f"Invalid value for {name}: {given[name]} is not a valid value", name)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
