"""Writes bbq_dagster/local/discovery.json anew: `python -m peers.discovery bigquery.v2.json`.

The file given is BigQuery's discovery document, as google-api-python-client carries it. Of it are kept the methods
with their parameters, and of each request body the names and types, but for what only the service says of a job.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "bbq_dagster" / "local" / "discovery.json"
# Told by the service alone, and large: whatever stands there is let pass.
_OPAQUE = ("JobStatistics", "JobStatus", "Model", "JsonValue", "BigtableOptions")
_BUILTIN = {"boolean": "BOOL", "any": "ANY", "number": "DOUBLE"}
_NUMBERS = {"int64": "INT64", "uint64": "UINT64", "int32": "INT32", "uint32": "UINT32", "double": "DOUBLE"}


def compact(document: Mapping[str, Any]) -> dict[str, Any]:
    """``methods`` by name, and ``shapes`` by the name of the schema."""
    methods = {m["id"].removeprefix("bigquery."): _method(m) for m in _methods(document)}
    names = {method["body"] for method in methods.values() if "body" in method} - set(_OPAQUE)
    return {"revision": document["revision"], "methods": methods, "shapes": _shapes(document["schemas"], names)}


def _methods(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _method(method: Mapping[str, Any]) -> dict[str, Any]:
    parameters = method.get("parameters", {}).items()
    answer = {"http": method["httpMethod"], "path": method["flatPath"]}
    answer["query"] = {name: _type(given) for name, given in sorted(parameters) if given["location"] == "query"}
    return answer | ({"body": method["request"]["$ref"]} if "request" in method else {})


def _shapes(schemas: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    shapes: dict[str, Any] = {}
    while names:
        name = names.pop()
        shapes[name] = _fields(schemas[name])
        names |= {found for found in _words(shapes[name]) if found in schemas} - shapes.keys()
    return shapes


def _fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _type(given) for key, given in schema.get("properties", {}).items()}


def _words(shape: Any) -> Iterator[str]:
    """Every type that a shape mentions, at any depth."""
    if isinstance(shape, str):
        yield shape
    else:
        for inner in shape.values() if isinstance(shape, dict) else shape:
            yield from _words(inner)


def _type(given: Mapping[str, Any]) -> Any:
    """The compact form: a shape's name, a type in capitals, a list of one of them; or an object with one key: ``*`` for
    maps to one, ``enum`` for words, ``of`` for an object without a name.
    """
    if given.get("repeated"):
        return [_type({key: value for key, value in given.items() if key != "repeated"})]
    if "$ref" in given:
        return {"JsonObject": {"*": "ANY"}, **dict.fromkeys(_OPAQUE, "ANY")}.get(given["$ref"], given["$ref"])
    if given["type"] == "array":
        return [_type(given["items"])]
    if given["type"] == "object":
        mapped = given.get("additionalProperties")
        return {"of": _fields(given)} if mapped is None else {"*": _type(mapped)}
    if "enum" in given:
        return {"enum": given["enum"]}
    return _NUMBERS.get(given.get("format", "")) or _BUILTIN.get(given["type"], "STRING")


if __name__ == "__main__":
    found = compact(json.loads(Path(sys.argv[1]).read_text()))
    TARGET.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
