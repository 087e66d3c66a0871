"""What a table, a partition and a unit are called.

Parses and prints names; knows nothing of what exists. The unit key ``orders`` or ``events$20240131`` is the
Dagster partition key of the unit inside the asset of its dataset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bbq_dagster.errors import Refused

NULL_PARTITION = "__NULL__"
UNPARTITIONED = "__UNPARTITIONED__"
SPECIAL_PARTITIONS = frozenset({NULL_PARTITION, UNPARTITIONED})
"""Partitions that a copy job is not documented to name: only a copy of the whole table takes them
(BigQuery: managing-partitioned-tables)."""

_PROJECT = r"(?:[a-z0-9.-]+:)?[a-z0-9-]+"  # domain-scoped projects are called "example.com:shop"
_DATASET = re.compile(rf"(?P<project>{_PROJECT})\.(?P<dataset>\w+)", re.ASCII)
_TABLE = re.compile(rf"(?P<dataset>{_PROJECT}\.\w+)\.(?P<table>[^.$@`\x00-\x1f]+)(?:\$(?P<partition>-?\w+))?")


@dataclass(frozen=True, slots=True, order=True)
class DatasetRef:
    """``project.dataset``."""

    project: str
    dataset: str

    @classmethod
    def parse(cls, text: str) -> DatasetRef:
        """Raises ``Refused`` where the text is not ``project.dataset``."""
        match = _DATASET.fullmatch(text)
        if match is None:
            raise Refused(f"not a dataset: {text!r}", hint="write it as project.dataset")
        return cls(match["project"], match["dataset"])

    def table(self, table: str) -> TableRef:
        return TableRef(self.project, self.dataset, table)

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}"


@dataclass(frozen=True, slots=True, order=True)
class TableRef:
    """``project.dataset.table``."""

    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableRef:
        """Raises ``Refused`` where the text is not ``project.dataset.table``."""
        unit = Unit.parse(text)
        if unit.partition is not None:
            raise Refused(f"a table is wanted, not a partition: {text!r}", hint=f"write it as {unit.table}")
        return unit.table

    @property
    def in_dataset(self) -> DatasetRef:
        return DatasetRef(self.project, self.dataset)

    def unit(self, partition: str | None = None) -> Unit:
        return Unit(self, partition)

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest thing that is backed up: an unpartitioned table, or one partition of a partitioned one."""

    table: TableRef
    partition: str | None = None

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Raises ``Refused`` where the text is not ``project.dataset.table``, with or without ``$partition``."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise Refused(
                f"not a table: {text!r}", hint="write it as project.dataset.table or project.dataset.table$partition"
            )
        return cls(DatasetRef.parse(match["dataset"]).table(match["table"]), match["partition"])

    @classmethod
    def of_key(cls, dataset: DatasetRef, key: str) -> Unit:
        """The unit that ``key`` stands for inside ``dataset``; the inverse of ``unit.key``."""
        table, _, partition = key.partition("$")
        return cls(dataset.table(table), partition or None)

    @property
    def key(self) -> str:
        """``orders`` or ``events$20240131``: unique inside the dataset, as ``$`` cannot be in a table id."""
        return self.table.table if self.partition is None else f"{self.table.table}${self.partition}"

    def __str__(self) -> str:
        return f"{self.table.project}.{self.table.dataset}.{self.key}"

    def __lt__(self, other: Unit) -> bool:
        return self.sort_key < other.sort_key

    @property
    def sort_key(self) -> tuple[str, str, str, str]:
        return self.table.project, self.table.dataset, self.table.table, self.partition or ""
