"""What lasts from one statement to the next: variables, functions and temporary tables.

A script has a session of its own, which ends with it; a query job with ``createSession`` leaves one for later jobs,
which name it by the connection property ``session_id`` (https://cloud.google.com/bigquery/docs/sessions-intro).
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bbq_dagster.local.errors import invalid, not_found
from bbq_dagster.local.sql.functions import Function
from bbq_dagster.local.sql.parameters import Variable
from bbq_dagster.local.sql.workspace import Workspace
from bbq_dagster.local.store import Store

_PROPERTY = "session_id"


@dataclass(slots=True)
class Session:
    """Variables and functions by name in lower case. ``lock`` is held by the job that uses the session."""

    workspace: Workspace
    id: str = ""
    location: str = ""
    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_open: bool = True


class Sessions:
    """The open sessions of a server, by their ids."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[tuple[str, str], Session] = {}

    def of(self, project: str, location: str, job_id: str, configuration: Mapping[str, Any]) -> Session:
        """The session that a query job asks for: a new one, an open one, or one of its own."""
        named = named_session(configuration)
        if named is not None:
            return self._found(project, location, named)
        if not configuration.get("createSession"):
            return Session(Workspace(self._store, project, job_id))
        session_id = f"session_{job_id}"
        return Session(Workspace(self._store, project, session_id), session_id, location)

    def location_of(self, project: str, configuration: Mapping[str, Any]) -> str | None:
        """Where the session is that a query names, if it is open."""
        session = self._open.get((project, named_session(configuration) or ""))
        return None if session is None else session.location

    def keep(self, project: str, session: Session) -> None:
        """Let later jobs find it, or forget it once it has ended."""
        if session.id and session.is_open:
            self._open[project, session.id] = session
        else:
            self._open.pop((project, session.id), None)

    def _found(self, project: str, location: str, named: str) -> Session:
        session = self._open.get((project, named))
        if session is None:
            raise not_found("Session", f"{project}:{named}")
        if session.location != location:
            raise invalid(f"Session {named} is in location {session.location}, not in {location}")
        return session


def named_session(configuration: Mapping[str, Any]) -> str | None:
    """The session that a query's ``connectionProperties`` name."""
    properties: Sequence[Mapping[str, Any]] = configuration.get("connectionProperties") or ()
    return next((str(p.get("value")) for p in properties if p.get("key") == _PROPERTY), None)
