"""Which table, or which view of INFORMATION_SCHEMA, a name in SQL means."""

import re
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from bbq_dagster.local.errors import BigQueryError, invalid_query, not_found
from bbq_dagster.local.model import Dataset, TableRef
from bbq_dagster.local.sql.parameters import Values, Variable, bind
from bbq_dagster.local.sql.session import Session
from bbq_dagster.local.sql.workspace import Workspace
from bbq_dagster.local.store import Store

_SYSTEM = "INFORMATION_SCHEMA"
_SYSTEM_VIEW = re.compile(rf"(?:(.*)\.)?{_SYSTEM}\.(\w+)", re.IGNORECASE)
_REGION = "region-"
_TABLES = re.compile(r"(?:(.*)\.)?(__TABLES__)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SystemView:
    """A view of INFORMATION_SCHEMA of one dataset, or of all in the region, or (neither) of the project.

    Attributes:
        region: In lower case, without the prefix ``region-``.
    """

    project: str
    name: str
    dataset: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        qualifier = self.dataset or (self.region and _REGION + self.region)
        return f"{self.project}:{qualifier}.{_SYSTEM}.{self.name}" if qualifier else f"{_SYSTEM}.{self.name}"


@dataclass(frozen=True, slots=True)
class Context:
    """What a statement is run with.

    Attributes:
        session: What lasts from one statement to the next.
        location: Of the job; None until the first dataset that the statement names decides it.
        default_dataset: (project, dataset) for names without a dataset.
        parameters: REST query parameters.
        given: Parameters of EXECUTE IMMEDIATE, by name (empty where they go by place); they come before the others.
        now_us: The statement's CURRENT_TIMESTAMP, microseconds since the epoch.
    """

    store: Store
    project: str
    session: Session
    location: str | None = None
    default_dataset: tuple[str, str] | None = None
    parameters: tuple[Any, ...] = ()
    given: tuple[tuple[str, Variable], ...] = ()
    now_us: int = 0

    @property
    def tables(self) -> Workspace:
        """The tables that the statement sees."""
        return self.session.workspace

    def bind(self, statement: exp.Expr) -> Values:
        """Put parameters and variables into the statement; see ``parameters.bind``."""
        return bind(statement, self.parameters, self.session.variables, self.given)

    def dataset(self, project: str, dataset: str) -> Dataset:
        """The dataset, which must be where the job runs."""
        found = self.tables.find_dataset(project, dataset)
        if found is None:
            raise self.not_found("Dataset", f"{project}:{dataset}")
        if (project, dataset) == self.tables.dataset:
            return found
        if self.location is not None and found.location.lower() != self.location.lower():
            raise self.not_found("Dataset", f"{project}:{dataset}")
        return found

    def not_found(self, kind: str, name: object) -> BigQueryError:
        return not_found(kind, f"{name} was not found in location {self.location or 'US'}")


def name_of(table: exp.Table) -> str:
    """The name as one text, its parts joined by dots."""
    return ".".join(part.name for part in table.parts)


def resolve(table: exp.Table, context: Context) -> TableRef | SystemView:
    """The table or system view that a path means; ``t`` needs a default dataset, ``d.t`` is of the job's project."""
    name = name_of(table)
    system = _SYSTEM_VIEW.fullmatch(name) or _TABLES.fullmatch(name)
    if system:
        return _system_view(system[1] or "", system[2].upper(), context)
    return _temporary(name, context) or table_ref(name, context)


def _temporary(name: str, context: Context) -> TableRef | None:
    """``t`` or ``_SESSION.t``: a temporary table hides the one of that name in the default dataset."""
    prefix, _, table = name.rpartition(".")
    if prefix.upper() == "_SESSION":
        return context.tables.temporary_ref(table)
    return None if prefix else context.tables.find_temporary(name)


def table_ref(name: str, context: Context) -> TableRef:
    parts = name.rsplit(".", 2)
    if len(parts) == 3:
        return TableRef(*parts)
    if len(parts) == 2:
        return TableRef(context.project, *parts)
    if context.default_dataset is None:
        raise invalid_query(f'Table "{name}" must be qualified with a dataset (e.g. dataset.table).')
    return TableRef(*context.default_dataset, name)


def dataset_ref(table: exp.Table, context: Context) -> tuple[str, str]:
    """The (project, dataset) that a path in CREATE SCHEMA or DROP SCHEMA means."""
    project, _, dataset = name_of(table).rpartition(".")
    return project or context.project, dataset


def _system_view(qualifier: str, view: str, context: Context) -> SystemView:
    if not qualifier:
        return SystemView(context.project, view, *_default_dataset_of(view, context))
    project, _, scope = qualifier.rpartition(".")
    project = project or context.project
    if scope.lower().startswith(_REGION):
        return _in_region(SystemView(project, view, region=scope.lower().removeprefix(_REGION)), scope, context)
    context.dataset(project, scope)
    return SystemView(project, view, dataset=scope)


def _default_dataset_of(view: str, context: Context) -> tuple[str, ...]:
    needs_none = view.startswith("SCHEMATA") or context.default_dataset is None
    return () if needs_none or context.default_dataset is None else context.default_dataset[1:]


def _in_region(view: SystemView, written: str, context: Context) -> SystemView:
    if context.location is not None and view.region != context.location.lower():
        raise context.not_found("Dataset", f"{view.project}:{written}")
    return view
