"""The options of tables and datasets, as SQL sets them and INFORMATION_SCHEMA shows them.

https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#table_option_list
A row per option: its name and type, how it is read from a REST resource, and the REST patch that sets it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

Resource = Mapping[str, Any]
_DAY_MS = 86_400_000
_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        key: The REST property that holds it.
        kind: Its SQL type, as OPTION_TYPE prints it.
        show: The value of a resource as SQL text, or None where it is not set.
        patch: The REST patch for a value: text, number, bool, list of pairs, milliseconds for a time, or None to clear.
    """

    name: str
    key: str
    kind: str
    show: Callable[[Resource], str | None]
    patch: Callable[[Any], dict[str, Any]]


class OptionRow(NamedTuple):
    """A row of TABLE_OPTIONS or SCHEMATA_OPTIONS."""

    name: str
    kind: str
    value: str


def shown(options: Sequence[Option], resource: Resource) -> Iterator[OptionRow]:
    """The options that are set."""
    for option in options:
        value = option.show(resource) if option.key in resource else None
        if value is not None:
            yield OptionRow(option.name, option.kind, value)


@lru_cache(maxsize=4096)
def quoted(text: str) -> str:
    """Text as a string literal in double quotes."""
    return _JSON.encode(text)


def days(milliseconds: object) -> str:
    """Milliseconds as a FLOAT64 number of days: ``7.0``."""
    return str(int(str(milliseconds)) / _DAY_MS)


def _text(name: str, key: str) -> Option:
    def show(resource: Resource) -> str | None:
        return quoted(resource[key]) if resource.get(key) else None

    return Option(name, key, "STRING", show, lambda value: {key: value})


def _labels(resource: Resource) -> str | None:
    labels = resource.get("labels")
    if not labels:
        return None
    return "[" + ", ".join(f"STRUCT({quoted(k)}, {quoted(v)})" for k, v in sorted(labels.items())) + "]"


def _expiration(resource: Resource) -> str | None:
    at = resource.get("expirationTime")
    if at is None:
        return None
    moment = datetime.fromtimestamp(int(at) / 1000, UTC)
    return f'TIMESTAMP "{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"'


def _partition_expiration(resource: Resource) -> str | None:
    milliseconds = (resource.get("timePartitioning") or {}).get("expirationMs")
    return days(milliseconds) if milliseconds else None


def _requires_filter(resource: Resource) -> str | None:
    return "true" if resource.get("requirePartitionFilter") else None


def _kms_key(resource: Resource) -> str | None:
    key = (resource.get("encryptionConfiguration") or {}).get("kmsKeyName")
    return quoted(key) if key else None


def _of_days(name: str, key: str) -> Option:
    def show(resource: Resource) -> str | None:
        return days(resource[key]) if resource.get(key) else None

    return Option(name, key, "FLOAT64", show, lambda value: {key: _milliseconds(value)})


def _milliseconds(number_of_days: Any) -> str | None:
    return None if number_of_days is None else str(round(float(number_of_days) * _DAY_MS))


def _labels_patch(value: Any) -> dict[str, Any]:
    return {"labels": None if value is None else dict(value)}


TABLE_OPTIONS: tuple[Option, ...] = (
    _text("friendly_name", "friendlyName"),
    _text("description", "description"),
    Option("labels", "labels", "ARRAY<STRUCT<STRING, STRING>>", _labels, _labels_patch),
    Option(
        "expiration_timestamp",
        "expirationTime",
        "TIMESTAMP",
        _expiration,
        lambda value: {"expirationTime": None if value is None else str(value)},
    ),
    Option(
        "partition_expiration_days",
        "timePartitioning",
        "FLOAT64",
        _partition_expiration,
        lambda value: {"timePartitioning": {"expirationMs": _milliseconds(value)}},
    ),
    Option(
        "require_partition_filter",
        "requirePartitionFilter",
        "BOOL",
        _requires_filter,
        lambda value: {"requirePartitionFilter": value},
    ),
    Option(
        "kms_key_name",
        "encryptionConfiguration",
        "STRING",
        _kms_key,
        lambda value: {"encryptionConfiguration": value and {"kmsKeyName": value}},
    ),
)

DATASET_OPTIONS: tuple[Option, ...] = (
    _text("friendly_name", "friendlyName"),
    _text("description", "description"),
    Option("labels", "labels", "ARRAY<STRUCT<STRING, STRING>>", _labels, _labels_patch),
    _of_days("default_table_expiration_days", "defaultTableExpirationMs"),
    _of_days("default_partition_expiration_days", "defaultPartitionExpirationMs"),
    _text("storage_billing_model", "storageBillingModel"),
    Option(
        "max_time_travel_hours",
        "maxTimeTravelHours",
        "INT64",
        lambda resource: str(resource["maxTimeTravelHours"]) if resource.get("maxTimeTravelHours") else None,
        lambda value: {"maxTimeTravelHours": None if value is None else str(value)},
    ),
)
