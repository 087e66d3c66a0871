"""What pydantic found wrong, in our words: the value, and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bbq_dagster.settings.problems import Place, did_you_mean, shown
from bbq_dagster.settings.schema import FAULT, keys_at


def faults_of(error: ValidationError) -> list[tuple[Place, str]]:
    """One place and one sentence for every fault that validation found."""
    return [(details["loc"], _in_words(details)) for details in error.errors(include_url=False)]


def _in_words(details: ErrorDetails) -> str:
    words = _WORDS.get(details["type"])
    return words(details) if words else f"{shown(details['input'])}: {details['msg']}"


def _missing(details: ErrorDetails) -> str:
    *around, key = details["loc"]
    example = (keys_at(tuple(around)).model_fields[str(key)].examples or [""])[0]
    return f"is missing; for example {key}: {_as_yaml(example)}"


def _unknown_key(details: ErrorDetails) -> str:
    *around, key = details["loc"]
    keys = keys_at(tuple(around))
    known = list(keys.model_fields)
    elsewhere = [f"{name}.{key}" for name in known if key in _keys_below(keys, name)]
    hint = f"; write it as {elsewhere[0]}" if elsewhere else did_you_mean(str(key), known)
    return f"there is no such key{hint} (the keys here are {', '.join(known)})"


def _keys_below(keys: type[BaseModel], name: str) -> Mapping[str, object]:
    below = keys.model_fields[name].annotation
    return below.model_fields if isinstance(below, type) and issubclass(below, BaseModel) else {}


def _not_text(details: ErrorDetails) -> str:
    value = details["input"]
    hint = ": put it in quotes" if isinstance(value, bool | int | float) else ""
    return f"{shown(value)} is not text{hint}"


def _not_a_list(details: ErrorDetails) -> str:
    return f"{shown(details['input'])} is not a list: write [a, b], or one line for each that begins with a hyphen"


def _not_one_of(details: ErrorDetails) -> str:
    return f"{shown(details['input'])} is not known: write {_context(details)['expected']}"


def _too_small(details: ErrorDetails) -> str:
    return f"{shown(details['input'])} is too small: at least {_context(details)['ge']:,}"


def _too_large(details: ErrorDetails) -> str:
    return f"{shown(details['input'])} is too large: at most {_context(details)['le']:,}"


def _context(details: ErrorDetails) -> dict[str, Any]:
    return details.get("ctx", {})


def _is_not(what: str) -> Callable[[ErrorDetails], str]:
    return lambda details: f"{shown(details['input'])} is not {what}"


_WORDS: Mapping[str, Callable[[ErrorDetails], str]] = {
    FAULT: lambda details: str(_context(details)["fault"]),
    "missing": _missing,
    "extra_forbidden": _unknown_key,
    "string_type": _not_text,
    "string_too_short": lambda _: "is empty",
    "bool_type": _is_not("true or false"),
    "int_type": _is_not("a whole number"),
    "float_type": _is_not("a number"),
    "finite_number": _is_not("a finite number"),
    "model_type": _is_not("a mapping: write key: value"),
    "list_type": _not_a_list,
    "too_short": lambda _: "is an empty list: name at least one",
    "literal_error": _not_one_of,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_large,
}


def _as_yaml(example: object) -> str:
    """Examples are text, or small enough for YAML's flow style, which reads like this."""
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_as_yaml(value)}" for key, value in example.items()) + "}"
    if isinstance(example, list):
        return "[" + ", ".join(_as_yaml(item) for item in example) + "]"
    return str(example)
