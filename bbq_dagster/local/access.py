"""Who may do what: identities with permissions, and what each method and each copy or load job needs.

Nobody is restricted until an identity is granted something. Who sends no bearer token may always do everything; who
sends one may do what was granted to that identity, on a project or on one dataset of it. What SQL needs is in
``statement_access``. Sources: access-control, the required permissions of each page and method.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bbq_dagster.local.copying import RESTORE, SNAPSHOT
from bbq_dagster.local.errors import BigQueryError, access_denied, invalid, refused
from bbq_dagster.local.model import Job, Table, TableRef, parse_decorated

_METADATA = (
    *("datasets.get", "datasets.getIamPolicy", "tables.get", "tables.list", "tables.getIamPolicy"),
    *("routines.get", "routines.list", "models.list"),
)
_VIEW = (*_METADATA, "tables.getData", "tables.export", "tables.createSnapshot", "tables.replicateData")
_EDIT = (
    *_VIEW,
    *("datasets.create", "tables.create", "tables.delete", "tables.update", "tables.updateData"),
    *("tables.restoreSnapshot", "routines.create", "routines.delete", "routines.update"),
)
_OWN = (
    *_EDIT,
    "datasets.delete",
    "datasets.update",
    "datasets.setIamPolicy",
    "tables.setIamPolicy",
    "tables.deleteSnapshot",
    "rowAccessPolicies.list",
)
_USE = ("jobs.create", "jobs.list", "datasets.create", "datasets.get", "tables.list", "routines.list")
_ADMINISTER = (*_OWN, *_USE, "jobs.get", "jobs.listAll", "jobs.update", "jobs.delete")

# Predefined roles, as far as this server knows their permissions (access-control).
ROLES: Mapping[str, frozenset[str]] = {
    f"roles/bigquery.{role}": frozenset(f"bigquery.{name}" for name in names)
    for role, names in (
        ("metadataViewer", _METADATA),
        ("dataViewer", _VIEW),
        ("dataEditor", _EDIT),
        ("dataOwner", _OWN),
        ("jobUser", ("jobs.create",)),
        ("user", _USE),
        ("admin", _ADMINISTER),
    )
}
PERMISSIONS = frozenset().union(*ROLES.values())


@dataclass(frozen=True, slots=True)
class Place:
    """What a permission is needed on: a project, a dataset of it, or a table or routine in that."""

    project: str
    dataset: str | None = None
    item: str | None = None
    kind: str = "Table"

    def __str__(self) -> str:
        if self.dataset is None:
            return self.project
        return f"{self.project}:{self.dataset}" + (f".{self.item}" if self.item is not None else "")

    def denied(self, permission: str) -> BigQueryError:
        """In the words of each kind of place, as they are observed."""
        if self.dataset is not None:
            return access_denied("Dataset" if self.item is None else self.kind, self, permission)
        words = f"Project {self}: User does not have {permission} permission in project {self}."
        return refused("accessDenied", f"Access Denied: {words}")


Need = tuple[str, Place]
"""A permission, without the prefix ``bigquery.``, and where."""


class Access:
    """The identities and what they were granted. Without any, everything is allowed."""

    def __init__(self) -> None:
        self._grants: dict[str, dict[str, frozenset[str]]] = {}

    def __bool__(self) -> bool:
        return bool(self._grants)

    def grant(self, identity: str, on: str, names: Iterable[str]) -> None:
        """Add roles and permissions on a project, ``shop``, or a dataset, ``shop.sales``."""
        granted: set[str] = set()
        for name in names:
            if name not in ROLES and name not in PERMISSIONS:
                raise invalid(f"Invalid access: {name} is no role or permission that is known here")
            granted |= ROLES.get(name, {name})
        held = self._grants.setdefault(identity, {})
        held[on] = held.get(on, frozenset()) | granted

    def clear(self) -> None:
        self._grants.clear()

    def as_json(self) -> dict[str, dict[str, list[str]]]:
        return {who: {on: sorted(names) for on, names in held.items()} for who, held in self._grants.items()}

    def user_of(self, authorization: str | None) -> str:
        """Who sends this header; empty for who sends none, or while nobody was granted anything."""
        token = (authorization or "").removeprefix("Bearer ").strip()
        if not self._grants or not token:
            return ""
        if token not in self._grants:
            raise BigQueryError(
                401,
                "authError",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential.",
            )
        return token

    def allows(self, user: str, permission: str, place: Place) -> bool:
        if not user or not self._grants:
            return True
        held, wanted = self._grants.get(user, {}), f"bigquery.{permission}"
        scopes = [place.project] if place.dataset is None else [place.project, f"{place.project}.{place.dataset}"]
        return any(wanted in held.get(scope, ()) for scope in scopes)

    def require(self, user: str, needs: Iterable[Need]) -> None:
        """Raise 403 ``accessDenied`` for the first permission that is missing; it names permission and place."""
        for permission, place in needs:
            if not self.allows(user, permission, place):
                raise place.denied(f"bigquery.{permission}")

    def own(self, user: str, project: str, dataset: str) -> None:
        """Who creates a dataset is its owner (access-control)."""
        if user:
            self.grant(user, f"{project}.{dataset}", ["roles/bigquery.dataOwner"])


# What a method needs, and on what: the project, dataset, table, routine or job of its path.
METHODS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "datasets.insert": (("datasets.create", "project"),),
    "datasets.get": (("datasets.get", "dataset"),),
    "datasets.patch": (("datasets.get", "dataset"), ("datasets.update", "dataset")),
    "datasets.update": (("datasets.get", "dataset"), ("datasets.update", "dataset")),
    "datasets.delete": (("datasets.delete", "dataset"), ("tables.delete", "dataset")),
    "datasets.undelete": (("datasets.create", "project"), ("datasets.get", "dataset")),
    "tables.list": (("tables.list", "dataset"),),
    "tables.insert": (("tables.create", "dataset"),),
    "tables.get": (("tables.get", "table"),),
    "tables.patch": (("tables.get", "table"), ("tables.update", "table")),
    "tables.update": (("tables.get", "table"), ("tables.update", "table")),
    "tables.delete": (("tables.delete", "table"),),
    "tabledata.list": (("tables.getData", "table"),),
    "tabledata.insertAll": (("tables.updateData", "table"),),
    "tables.getIamPolicy": (("tables.getIamPolicy", "table"),),
    "tables.setIamPolicy": (("tables.setIamPolicy", "table"),),
    "rowAccessPolicies.list": (("rowAccessPolicies.list", "table"),),
    "models.list": (("models.list", "dataset"),),
    "routines.list": (("routines.list", "dataset"),),
    "routines.insert": (("routines.create", "dataset"),),
    "routines.get": (("routines.get", "routine"),),
    "routines.delete": (("routines.delete", "routine"),),
    "jobs.list": (("jobs.list", "project"),),
    "jobs.insert": (("jobs.create", "project"),),
    "jobs.query": (("jobs.create", "project"),),
    "jobs.upload": (("jobs.create", "project"),),
}

# What a method needs of a job; who started it needs nothing (access-control).
JOB_METHODS: Mapping[str, str] = {
    "jobs.get": "jobs.get",
    "jobs.getQueryResults": "jobs.get",
    "jobs.cancel": "jobs.update",
    "jobs.delete": "jobs.delete",
}


def needs_of_method(call: str, params: Mapping[str, str], find_table: Callable[[TableRef], Table | None]) -> list[Need]:
    """Deleting a snapshot is a permission of its own (table-snapshots-delete): ``find_table`` tells what it is."""
    if call == "tables.delete":
        named = parse_decorated(params["project"], params["dataset"], params["table"]).ref
        table = find_table(named)
        if table is not None and table.kind == SNAPSHOT:
            return [("tables.deleteSnapshot", place_of(named))]
    return [(permission, _place(kind, params)) for permission, kind in METHODS.get(call, ())]


def needs_of_job_method(call: str, job: Job, user: str) -> list[Need]:
    return [] if job.user == user else [(JOB_METHODS[call], Place(job.project))]


def needs_of_copy(
    sources: Iterable[TableRef], destination: TableRef, exists: bool, configuration: Mapping[str, Any]
) -> list[Need]:
    """managing-tables, table-snapshots-create, table-snapshots-restore, table-clones-create."""
    operation = configuration.get("operationType") or "COPY"
    more = {SNAPSHOT: ["createSnapshot"], RESTORE: ["restoreSnapshot"]}.get(operation, [])
    needs = [(f"tables.{name}", place_of(s)) for s in sources for name in ("get", "getData", *more)]
    needs += needs_of_writing(destination, exists, configuration)
    if operation == SNAPSHOT and configuration.get("destinationExpirationTime") is not None:
        needs.append(("tables.deleteSnapshot", Place(destination.project, destination.dataset)))
    return needs


def needs_of_writing(destination: TableRef, exists: bool, configuration: Mapping[str, Any]) -> list[Need]:
    """Of a job with a destination table: to create it, to write, and to change its schema by truncating it."""
    if not exists:
        dataset = Place(destination.project, destination.dataset)
        return [("tables.create", dataset), ("tables.updateData", dataset)]
    needs = [("tables.updateData", place_of(destination))]
    if configuration.get("writeDisposition") == "WRITE_TRUNCATE":
        needs.append(("tables.update", place_of(destination)))
    return needs


def place_of(ref: TableRef) -> Place:
    return Place(ref.project, ref.dataset, ref.table)


def _place(kind: str, params: Mapping[str, str]) -> Place:
    project, dataset = params["project"], params.get("dataset")
    if kind == "project":
        return Place(project)
    if kind == "dataset" or dataset is None:
        return Place(project, dataset)
    if kind == "routine":
        return Place(project, dataset, params["routine"], "Routine")
    return place_of(parse_decorated(project, dataset, params["table"]).ref)
