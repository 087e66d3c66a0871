"""What users may set on datasets and tables: checked, normalised, and patched as the REST API patches.

https://cloud.google.com/bigquery/docs/reference/rest/v2/tables and .../datasets. It knows resources, not data.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from bbq_dagster.local.errors import invalid, required
from bbq_dagster.local.model import Fields, TableRef
from bbq_dagster.local.partitioning import parse_partitioning
from bbq_dagster.local.schema import is_repeated, is_required, normalized, type_name

TABLE_PROPERTIES = frozenset(
    [
        "schema",
        "timePartitioning",
        "rangePartitioning",
        "clustering",
        "description",
        "friendlyName",
        "labels",
        "expirationTime",
        "view",
        "materializedView",
        "externalDataConfiguration",
        "encryptionConfiguration",
        "requirePartitionFilter",
        "defaultCollation",
        "tableConstraints",
        "resourceTags",
        "maxStaleness",
        "defaultRoundingMode",
        "caseInsensitive",
        "biglakeConfiguration",
    ]
)
DATASET_PROPERTIES = frozenset(
    [
        "location",
        "description",
        "friendlyName",
        "labels",
        "access",
        "defaultTableExpirationMs",
        "defaultPartitionExpirationMs",
        "storageBillingModel",
        "maxTimeTravelHours",
        "isCaseInsensitive",
        "defaultCollation",
        "defaultEncryptionConfiguration",
        "resourceTags",
        "defaultRoundingMode",
        "linkedDatasetSource",
    ]
)
# Set by the server at creation, and kept through every patch.
_FIXED_TABLE_PROPERTIES = frozenset(("type", "snapshotDefinition", "cloneDefinition"))
_COPIED_PROPERTIES = ("schema", "timePartitioning", "rangePartitioning", "clustering", "tableConstraints")
_TYPE_OF = {"view": "VIEW", "materializedView": "MATERIALIZED_VIEW", "externalDataConfiguration": "EXTERNAL"}
_MINIMUM_EXPIRATION_MS = 3_600_000


def new_table(ref: TableRef, resource: Mapping[str, Any]) -> dict[str, Any]:
    """The resource of a table to create, of what a user sent. Refuses what BigQuery refuses."""
    check_table_id(ref.table)
    kept = {k: v for k, v in resource.items() if k in TABLE_PROPERTIES | _FIXED_TABLE_PROPERTIES and v is not None}
    kept.setdefault("type", next((kind for key, kind in _TYPE_OF.items() if key in kept), "TABLE"))
    return checked_table(ref, kept)


def checked_table(ref: TableRef, resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with its schema normalised, once partitioning, clustering and labels are found to fit it."""
    if "schema" in resource:
        resource["schema"] = {"fields": normalized(resource["schema"].get("fields") or ())}
    if "timePartitioning" in resource:
        resource["timePartitioning"] = {"type": "DAY"} | _without_nulls(resource["timePartitioning"])
    parse_partitioning(resource)
    _check_clustering(ref, resource)
    _check_labels(resource.get("labels") or {})
    return resource


def new_dataset(dataset: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    if not re.fullmatch(r"\w{1,1024}", dataset, re.ASCII):
        raise invalid(
            f'Invalid dataset ID "{dataset}". Dataset IDs must be alphanumeric (plus underscores) and must be at most '
            "1024 characters long."
        )
    kept = {k: v for k, v in resource.items() if k in DATASET_PROPERTIES and v is not None}
    kept["location"] = canonical_location(kept.get("location") or "US")
    return checked_dataset(kept)


def checked_dataset(resource: dict[str, Any]) -> dict[str, Any]:
    expiration = resource.get("defaultTableExpirationMs")
    if expiration is not None and int(expiration) and int(expiration) < _MINIMUM_EXPIRATION_MS:
        raise invalid("Invalid value for: defaultTableExpirationMs; the minimum is 3600000 milliseconds (one hour)")
    hours = int(resource.get("maxTimeTravelHours") or 168)
    if not 48 <= hours <= 168 or hours % 24:
        raise invalid("Invalid value for maxTimeTravelHours: it must be a multiple of 24 between 48 and 168")
    _check_labels(resource.get("labels") or {})
    return resource


def canonical_location(location: str) -> str:
    """Multi-regions are upper case (US, EU), regions lower case (europe-west1)."""
    return location.lower() if "-" in location else location.upper()


def patched(old: Mapping[str, Any], patch: Mapping[str, Any], allowed: Iterable[str]) -> dict[str, Any]:
    """A PATCH: null clears, objects merge, lists and values replace; what users may not set is ignored."""
    return _merged(old, {k: v for k, v in patch.items() if k in allowed})


def replaced(
    old: Mapping[str, Any], new: Mapping[str, Any], allowed: Iterable[str], kept: Iterable[str]
) -> dict[str, Any]:
    """A PUT: everything that users may set is as sent; what is fixed at creation stays."""
    fixed = {k: old[k] for k in kept if k in old}
    return fixed | {k: v for k, v in new.items() if k in allowed and v is not None}


def patch_table_resource(ref: TableRef, old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    new = checked_table(ref, patched(old, patch, TABLE_PROPERTIES))
    _check_unchanged_partitioning(ref, old, new)
    return new


def replace_table_resource(ref: TableRef, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    kept = (*_FIXED_TABLE_PROPERTIES, "schema", "timePartitioning", "rangePartitioning")
    resource = checked_table(ref, replaced(old, new, TABLE_PROPERTIES, kept))
    _check_unchanged_partitioning(ref, old, resource)
    return resource


def what_a_copy_takes(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Schema, partitioning (with its expiration), clustering and constraints; not labels, description or expiration.

    Partition expiration: table-snapshots-intro ("To retain the partition expiration information, copy the table").
    Constraints: primary-foreign-keys. Labels, description and expirationTime: the original BBQ's README.
    """
    return {k: resource[k] for k in _COPIED_PROPERTIES if k in resource}


def check_schema_change(ref: TableRef, old: Fields, new: Fields) -> None:
    """Refuse a schema that drops, retypes, narrows or adds required columns (managing-table-schemas)."""
    by_name = {f["name"].lower(): f for f in new}
    for field in old:
        after = by_name.get(field["name"].lower())
        if after is None:
            raise _mismatch(ref, f"Field {field['name']} is missing in new schema")
        _check_field_change(ref, field, after)
    known = {f["name"].lower() for f in old}
    for field in new:
        if field["name"].lower() not in known and is_required(field):
            raise _mismatch(ref, f"Cannot add required fields to an existing schema. (field: {field['name']})")


def check_table_id(table: str) -> None:
    """1 to 1,024 UTF-8 bytes of letters, marks, numbers, connectors, dashes and spaces (docs: tables, table naming)."""
    if not table:
        raise required("tableReference.tableId")
    if len(table.encode()) > 1024 or not all(_may_be_in_table_id(char) for char in table):
        raise invalid(
            f'Invalid table ID "{table}". Table IDs must be alphanumeric (plus underscores) and must be at most 1024 '
            "characters long. Also, Table decorators cannot be used."
        )


def _may_be_in_table_id(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LMN" or category in ("Pc", "Pd", "Zs")


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    answer = dict(old)
    for key, value in patch.items():
        if value is None:
            answer.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old.get(key), Mapping):
            answer[key] = _merged(old[key], value)
        else:
            answer[key] = _without_nulls(value) if isinstance(value, Mapping) else value
    return answer


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if v is not None}


def _check_clustering(ref: TableRef, resource: Mapping[str, Any]) -> None:
    columns = (resource.get("clustering") or {}).get("fields") or ()
    if len(columns) > 4:
        raise invalid("Too many clustering fields: the maximum is 4")
    names = {f["name"].lower() for f in (resource.get("schema") or {}).get("fields") or ()}
    for column in columns:
        if column.lower() not in names:
            raise invalid(f"The field specified for clustering cannot be found in the schema of {ref}: {column}")


def _check_labels(labels: Mapping[str, Any]) -> None:
    for key, value in labels.items():
        if not re.fullmatch(r"[^\W\d_][\w-]*", key) or len(key) > 63 or key != key.lower():
            raise invalid(
                f'Invalid label key "{key}": keys start with a lower-case letter and have at most 63 characters'
            )
        if value is not None and (len(value) > 63 or value != value.lower() or not re.fullmatch(r"[\w-]*", value)):
            raise invalid(f'Invalid label value "{value}" of key "{key}"')


def _check_unchanged_partitioning(ref: TableRef, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if parse_partitioning(old).spec != parse_partitioning(new).spec:
        raise invalid(f"Cannot change partitioning spec of table {ref}")


def _check_field_change(ref: TableRef, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    if type_name(old) != type_name(new):
        raise _mismatch(ref, f"Field {old['name']} has changed type from {type_name(old)} to {type_name(new)}")
    if is_repeated(old) != is_repeated(new) or (is_required(new) and not is_required(old)):
        raise _mismatch(ref, f"Field {old['name']} has changed mode from {old.get('mode')} to {new.get('mode')}")
    if type_name(old) == "RECORD":
        check_schema_change(ref, old["fields"], new["fields"])


def _mismatch(ref: TableRef, why: str) -> Exception:
    return invalid(f"Provided Schema does not match Table {ref}. {why}")
