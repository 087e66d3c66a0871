"""Our frozen values as JSON and back, by their declared types: what is written is what is read.

Decides nothing about files. Names (``Unit``, ``TableRef``, ``DatasetRef``) are text, times are ISO 8601 in UTC, tuples
are lists, an optional value may be null.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from bbq_dagster.core.tables import DatasetRef, TableRef, Unit
from bbq_dagster.errors import Refused

T = TypeVar("T")

_NAMES = (DatasetRef, TableRef, Unit)
_PLAIN = frozenset({str, int, bool, float, types.NoneType})


def to_json(value: Any) -> Any:
    """``value`` in the types of JSON."""
    kind: type = type(value)
    return value if kind in _PLAIN else _writer(kind)(value)


def from_json(kind: type[T], value: object) -> T:
    """The value of type ``kind`` that ``to_json`` wrote. Raises ``Refused`` where it is none."""
    try:
        return cast(T, _read(kind, value))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise Refused(f"this is not what bbq wrote: {error}") from error


@cache
def _writer(kind: type) -> Callable[[Any], Any]:
    """How values of one type are written: found once, as a plan has some hundred thousand of a few types."""
    if issubclass(kind, _NAMES):
        return str
    if issubclass(kind, datetime):
        return lambda instant: instant.astimezone(UTC).isoformat()
    if issubclass(kind, Enum):
        return lambda member: member.value
    if is_dataclass(kind):
        names = [field.name for field in fields(kind)]
        return lambda made: {
            name: value if type(value := getattr(made, name)) in _PLAIN else to_json(value) for name in names
        }
    if issubclass(kind, Mapping):
        return lambda mapping: {str(key): to_json(item) for key, item in mapping.items()}
    if issubclass(kind, tuple | list):
        return lambda items: [to_json(item) for item in items]
    return lambda value: value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(part for part in get_args(kind) if part is not types.NoneType)
        return None if value is None else _read(inner, value)
    if origin is tuple:
        return tuple(_read(part, item) for part, item in zip(_parts(kind, len(value)), value, strict=True))
    if kind in _NAMES:
        return kind.parse(value)
    if kind is datetime:
        return _read_instant(value)
    if is_dataclass(kind):
        return _read_fields(cast(type, kind), value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _read_instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant.astimezone(UTC)


def _parts(kind: Any, length: int) -> tuple[Any, ...]:
    parts = get_args(kind)
    return (parts[0],) * length if parts[-1] is ... else parts


def _read_fields(kind: type, value: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    if unknown := value.keys() - hints.keys():
        raise KeyError(f"{kind.__name__} has no {sorted(unknown)[0]!r}")
    return kind(**{name: _read(hints[name], item) for name, item in value.items()})
