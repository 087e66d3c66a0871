"""What several levels of the settings say of one thing, merged: field by field, the strongest that says anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def merge_levels(levels: Iterable[tuple[DataclassInstance, str]]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is said of each field by these levels, from weak to strong, and the names of the levels that decided any.

    ``None`` in a field: the level says nothing of it.
    """
    said: dict[str, Any] = {}
    names: dict[str, str] = {}
    for rules, level in levels:
        for field in fields(rules):
            if (value := getattr(rules, field.name)) is not None:
                said[field.name], names[field.name] = value, level
    return said, tuple(dict.fromkeys(names.values()))
