"""YAML text to plain values, with the line of every key, and with all faults of the text as problems.

Knows no key of bbq.yaml. Stricter than YAML where YAML surprises: a key is written once, a value is never left empty,
``no`` and ``12:30`` are text (as in YAML 1.2), tags and merge keys are refused, and so is a text that is, or by its
aliases unfolds into, more than a settings file can hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from bbq_dagster.settings.problems import Place, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 20_000

_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], object]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,18}|[-+]?[0-9]{1,3}(_[0-9]{3}){1,5}"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)
"""What an unquoted scalar means (YAML 1.2, core schema), and ``100_000`` besides; all else is text."""

_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


@dataclass(frozen=True, slots=True)
class Document:
    """What the text says: dicts, lists and scalars; the line of each place; what is wrong with the text."""

    content: object
    lines: dict[Place, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def line_of(self, place: Place) -> int:
        """The line of ``place``, or of the nearest thing around it that is written down."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_document(raw: bytes) -> Document:
    """Never raises: what cannot be read at all is a document without content and with one problem."""
    try:
        node = _compose(raw)
        reader = _Reader()
        content = {} if node is None else reader.read(node, ())
    except _Unreadable as error:
        return Document(None, problems=(error.problem,))
    return Document(content, reader.lines, tuple(reader.problems))


class _Unreadable(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, (), text)


def _compose(raw: bytes) -> yaml.Node | None:
    if len(raw) > MAX_BYTES:
        raise _Unreadable(1, f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(raw.count(b"\n", 0, error.start) + 1, f"the file is not UTF-8: {error}") from error
    try:
        _refuse_excess(text)
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_fault(error) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Unreadable(line, f"not YAML: the character {chr(error.character)!r} is not allowed") from error


def _refuse_excess(text: str) -> None:
    """Looks at events, which come one by one and without recursion, before anything recursive sees the text."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _too_deep(event)
        if count > 3 * MAX_VALUES:  # a value has two events at most, and its key one
            raise _too_many(event)


def _syntax_fault(error: yaml.MarkedYAMLError) -> _Unreadable:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    text = ", ".join(part for part in (error.context, error.problem) if part)
    return _Unreadable(line, f"not YAML (column {column}): {text}")


def _too_deep(where: Any) -> _Unreadable:
    return _Unreadable(where.start_mark.line + 1, f"nested more than {MAX_DEPTH} levels deep")


def _too_many(where: Any) -> _Unreadable:
    return _Unreadable(where.start_mark.line + 1, f"more than {MAX_VALUES:,} values, those behind aliases included")


class _Reader:
    """Turns nodes into values; an alias is read anew at each place, so that every place has its line."""

    def __init__(self) -> None:
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []
        self._values = 0

    def read(self, node: yaml.Node, place: Place) -> object:
        self._count(node, place)
        self.lines.setdefault(place, _line(node))
        if node.tag not in _TAGS:
            self._problem(node, place, f"{node.tag} is a tag, and tags are not used here: write the plain value")
        if isinstance(node, yaml.MappingNode):
            return {key: self.read(value, (*place, key)) for key, value in self._entries(node, place)}
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        raise TypeError(f"YAML has no other kind of node: {node!r}")

    def _count(self, node: yaml.Node, place: Place) -> None:
        self._values += 1
        if len(place) > MAX_DEPTH:
            raise _too_deep(node)
        if self._values > MAX_VALUES:
            raise _too_many(node)

    def _entries(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, place, "a key must be text, not a list or mapping")
            elif key == "<<":
                self._problem(key_node, place, "merge keys (<<) are not used here: write common keys under defaults")
            elif key in seen:
                self._problem(key_node, (*place, key), f"written twice, first on line {seen[key]}: keep one")
            else:
                seen[key] = self.lines[(*place, key)] = _line(key_node)
                yield key, value

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> object:
        text = str(node.value)
        value = text if node.style else _plain_value(text)
        if value is None:
            self._problem(node, place, "has no value: write one, or remove the key")
        return value

    def _problem(self, node: yaml.Node, place: Place, text: str) -> None:
        self.problems.append(Problem(_line(node), place, text))


def _plain_value(text: str) -> object:
    return next((meaning(text) for form, meaning in _PLAIN if form.fullmatch(text)), text)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
