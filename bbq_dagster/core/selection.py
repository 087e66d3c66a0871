r"""Which datasets and tables are backed up by their names, and why the others are not.

Knows names and patterns alone: labels, kinds of tables and policies are asked elsewhere.

    orders, sales_*    shell-like and case-sensitive: ``*`` any text, ``?`` one character, ``[ab]`` and ``[!ab]`` sets
    regex:events_\d+   a regular expression for the whole name
    sales.tmp_*        for tables: with a dot (in a regular expression ``\.``) the dataset is matched too
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

from bbq_dagster.core.tables import TableRef
from bbq_dagster.errors import Refused

REGEX = "regex:"
HIDDEN = "_"
"""BigQuery hides datasets whose id begins so, and they are absent from INFORMATION_SCHEMA (BigQuery: datasets)."""

_WILDCARD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")
_CATEGORIES_OF_NAMES = frozenset({"Pc", "Pd", "Zs"})
"""Besides letters, marks and numbers: connectors, dashes and spaces (BigQuery: tables#table_naming)."""


@dataclass(frozen=True, slots=True)
class Selected:
    """In scope; ``by`` is the first pattern that includes the name."""

    by: str


@dataclass(frozen=True, slots=True)
class NotSelected:
    """Out of scope; ``reason`` continues the sentence "it is …"."""

    reason: str


Decision = Selected | NotSelected


@dataclass(frozen=True, slots=True)
class Patterns:
    """A name is selected where a pattern of ``include`` matches and none of ``exclude`` does."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.include, *self.exclude):
            if fault := pattern_fault(pattern):
                raise Refused(f"{pattern!r} is not a pattern: {fault}")

    def decide(self, name: str) -> Decision:
        """``name`` is ``dataset``, or ``dataset.table`` for a table."""
        if (excluded_by := _first_match(self.exclude, name)) is not None:
            return NotSelected(f"excluded by {excluded_by!r}")
        if (included_by := _first_match(self.include, name)) is not None:
            return Selected(included_by)
        return NotSelected(f"not included by any of {', '.join(map(repr, self.include)) or 'no patterns'}")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of one source project is backed up."""

    datasets: Patterns = field(default_factory=Patterns)
    tables: Patterns = field(default_factory=Patterns)

    def decide_dataset(self, dataset: str) -> Decision:
        """Hidden datasets are out, unless a pattern that itself begins with an underscore includes them."""
        decision = self.datasets.decide(dataset)
        if isinstance(decision, NotSelected) or not dataset.startswith(HIDDEN):
            return decision
        by_name = tuple(pattern for pattern in self.datasets.include if _begins_hidden(pattern))
        if (named_by := _first_match(by_name, dataset)) is not None:
            return Selected(named_by)
        return NotSelected(
            f"hidden: its name begins with {HIDDEN}, and no pattern of datasets.include that does matches"
        )

    def decide_table(self, table: TableRef) -> Decision:
        """A table is in scope where its dataset and the table itself are."""
        of_dataset = self.decide_dataset(table.dataset)
        if isinstance(of_dataset, NotSelected):
            return NotSelected(f"in dataset {table.dataset}, which is {of_dataset.reason}")
        return self.tables.decide(f"{table.dataset}.{table.table}")


def matches(pattern: str, name: str) -> bool:
    """``name`` is ``dataset`` or ``dataset.table``; a pattern without a dot is compared with the last part alone."""
    subject = name if _has_dot(pattern) else name.rpartition(".")[2]
    return _compiled(pattern).fullmatch(subject) is not None


def specificity(pattern: str) -> tuple[bool, int]:
    """Sorts patterns from vague to specific: an exact name beats every pattern, then more literal characters win.

    How specific a regular expression is cannot be counted: it has no literal characters, like ``*``.
    """
    if pattern.startswith(REGEX):
        return (False, 0)
    literal = _WILDCARD.sub("", pattern)
    return (literal == pattern, len(literal))


def pattern_fault(pattern: str, *, dots: int = 1) -> str:
    """Why nothing could ever match ``pattern``, in words; empty where it is a pattern.

    ``dots`` is how many dots a name of that kind has: 1 for ``dataset.table``, 0 for a dataset.
    """
    if not pattern.removeprefix(REGEX).strip():
        return "it is empty; '*' matches everything"
    return _regex_fault(pattern, dots) if pattern.startswith(REGEX) else _glob_fault(pattern, dots)


def _regex_fault(pattern: str, dots: int) -> str:
    try:
        re.compile(pattern.removeprefix(REGEX))
    except (re.error, RecursionError, OverflowError) as error:
        return f"the regular expression is wrong: {error}"
    return "" if dots or not _has_dot(pattern) else "there is no dot in this name"


def _glob_fault(pattern: str, dots: int) -> str:
    literal = _WILDCARD.sub("", pattern)
    if literal.count(".") > dots:
        return "write it as table or dataset.table" if dots else "there is no dot in this name"
    if strange := next((character for character in literal if not _may_be_in_a_name(character)), ""):
        return f"no name has {strange!r} in it; wildcards are * ? [ab], and 'regex:' begins a regular expression"
    return ""


def _may_be_in_a_name(character: str) -> bool:
    category = unicodedata.category(character)
    return character == "." or category[0] in "LMN" or category in _CATEGORIES_OF_NAMES


def _first_match(patterns: tuple[str, ...], name: str) -> str | None:
    for pattern in patterns:
        if matches(pattern, name):
            return pattern
    return None


def _begins_hidden(pattern: str) -> bool:
    return pattern.removeprefix(REGEX).startswith(HIDDEN)


def _has_dot(pattern: str) -> bool:
    return (r"\." if pattern.startswith(REGEX) else ".") in pattern


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern.startswith(REGEX):
        return re.compile(pattern.removeprefix(REGEX))
    return re.compile(fnmatch.translate(pattern))
