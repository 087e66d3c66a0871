"""What a request may say: the names and types of its body and parameters, as BigQuery's discovery document has them.

``discovery.json`` is that document, cut down to the methods and to what they are sent (peers/discovery.py). What has
the right shape may still be refused for what it says: that is the handlers' part. The words are those of the JSON
parser in front of Google's APIs, seen at https://github.com/r-dbi/bigrquery/pull/280.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bbq_dagster.local.errors import BigQueryError, refused

_DISCOVERY: Mapping[str, Any] = json.loads(Path(__file__).with_name("discovery.json").read_text())
_METHODS: Mapping[str, Mapping[str, Any]] = _DISCOVERY["methods"]
SHAPES: Mapping[str, Mapping[str, Any]] = _DISCOVERY["shapes"]
_PREFIX = re.compile("/?(upload/)?bigquery/v2/")

# Of every method: https://cloud.google.com/apis/docs/system-parameters, and what an upload is steered by.
_SYSTEM_PARAMETERS = frozenset(
    (
        *("$.xgafv", "access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser"),
        *("uploadType", "upload_id", "upload_protocol", "upload_token", "userIp", "trace"),
    )
)
# Google's own client sends it to jobs.get and jobs.cancel, which do not have it.
_TOLERATED = frozenset(["projection"])
_SHOWN = 200


def body_of(call: str) -> str:
    """The name of the shape that a method's body has; empty if it takes none."""
    return str(_METHODS.get(call, {}).get("body", ""))


def settled_body(shape: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body as Google's parser takes it. Refuses names that the shape has not, and values of other types.

    Null stands for absent, wherever it is. Forgiven is what google-cloud-bigquery's own tests count on: a number for a
    text (``"value": 3.14`` of a query parameter), "true" for a boolean, and a list in a list, which is put flat
    (``test_iam_permissions(table, [names])``).
    """
    return _settled_fields(SHAPES[shape], body, (shape,)) if shape in SHAPES else body


def check_parameters(call: str, query: Mapping[str, list[str]]) -> None:
    """Refuse parameters that the method has not, and values of other types."""
    known = _METHODS.get(call)
    if known is None:
        return
    for name, values in query.items():
        if name in known["query"]:
            kind = known["query"][name]
            _settled(kind, values if isinstance(kind, list) else values[-1], (name,))
        elif name not in _SYSTEM_PARAMETERS | _TOLERATED:
            cause = f"Cannot bind query parameter. Field '{name}' could not be found in request message."
            raise _refused(f'Invalid JSON payload received. Unknown name "{name}": {cause}')


def documented_call(method: str, path: str) -> str | None:
    """The name of the method that BigQuery has here, whether this server has it or not."""
    prefix = _PREFIX.match(path)
    if prefix is None:
        return None
    inside, same = path[prefix.end() :], (call for call, known in _METHODS.items() if known["http"] == method)
    return next((call for call in same if _pattern(_METHODS[call]["path"]).fullmatch(inside)), None)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/:]+", re.escape(path)))


Place = tuple[str, ...]
"""Where in a body something stands: the names from its shape on."""


def _settled_fields(fields: Mapping[str, Any], given: Mapping[str, Any], at: Place) -> dict[str, Any]:
    if not given.keys() <= fields.keys():
        raise _unknown_name(next(name for name in given if name not in fields), at, "Cannot find field.")
    return {name: _settled(fields[name], value, (*at, name)) for name, value in given.items()}


def _settled(kind: Any, value: Any, at: Place) -> Any:
    if value is None or kind == "ANY":
        return value
    if isinstance(kind, list):
        return _settled_list(kind[0], value, at)
    if isinstance(value, list):
        raise _unknown_name(at[-1], at[:-1], "Proto field is not repeating, cannot start list.")
    if isinstance(kind, dict):
        return _settled_unnamed(kind, value, at)
    if kind in SHAPES:
        return _settled_fields(SHAPES[kind], _object(value, at, kind), at)
    return _settled_scalar(kind, value, at)


def _settled_scalar(kind: str, value: Any, at: Place) -> Any:
    if not _FITS[kind](value):
        raise _bad_value(at, f"TYPE_{kind}", value)
    if kind == "STRING" and not isinstance(value, str):
        return json.dumps(value)
    return value.lower() == "true" if kind == "BOOL" and isinstance(value, str) else value


def _settled_list(kind: Any, value: Any, at: Place) -> list[Any]:
    if not isinstance(value, list):
        raise _bad_value(at, "a list", value)
    settled: list[Any] = []
    for index, item in enumerate(value):
        place = (*at[:-1], f"{at[-1]}[{index}]")
        if item is None:
            raise _bad_value(place, "an element", item)
        if isinstance(item, list) and kind != "ANY":
            settled += _settled_list(kind, item, place)
        else:
            settled.append(_settled(kind, item, place))
    return settled


def _settled_unnamed(kind: Mapping[str, Any], value: Any, at: Place) -> Any:
    if "enum" in kind:
        if str(value).upper() not in (word.upper() for word in kind["enum"]):
            raise _bad_value(at, "TYPE_ENUM", value)
        return value
    if "of" in kind:
        return _settled_fields(kind["of"], _object(value, at, "an object"), at)
    inside = _object(value, at, "a map")
    return inside if kind["*"] == "ANY" else {k: _settled(kind["*"], v, (*at, k)) for k, v in inside.items()}


def _object(value: Any, at: Place, kind: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad_value(at, kind, value)
    return value


def _is_integer(bits: int, *, signed: bool) -> Callable[[Any], bool]:
    lowest, beyond = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)

    def fits(value: Any) -> bool:
        if isinstance(value, str):
            return bool(re.fullmatch(r"-?[0-9]{1,20}", value)) and lowest <= int(value) < beyond
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return lowest <= value < beyond and value == int(value)

    return fits


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, (int, float, str)) and float(value) is not None
    except (ValueError, OverflowError):
        return False


# Numbers may be sent as strings, as JSON has no 64-bit ones.
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "ANY": lambda _: True,
    "STRING": lambda value: isinstance(value, (str, int, float)) and not isinstance(value, bool),
    "BOOL": lambda value: isinstance(value, bool) or str(value).lower() in ("true", "false"),
    "INT64": _is_integer(64, signed=True),
    "UINT64": _is_integer(64, signed=False),
    "INT32": _is_integer(32, signed=True),
    "UINT32": _is_integer(32, signed=False),
    "DOUBLE": _is_number,
}


def _unknown_name(name: str, at: Place, cause: str) -> BigQueryError:
    return _refused(f"Invalid JSON payload received. Unknown name \"{name}\" at '{_path(at)}': {cause}")


def _bad_value(at: Place, kind: str, value: Any) -> BigQueryError:
    return _refused(f"Invalid value at '{_path(at)}' ({kind}), {json.dumps(value)[:_SHOWN]}")


def _refused(message: str) -> BigQueryError:
    return refused("badRequest", message)


def _path(at: Place) -> str:
    """In the words of the parser: ``table.time_partitioning``."""
    names = (re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name[:1].lower() + name[1:]).lower() for name in at)
    return ".".join(names)
