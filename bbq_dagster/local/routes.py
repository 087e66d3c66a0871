"""Every call the server knows: method, path, BigQuery's name for it, who carries it out, and whether that writes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from bbq_dagster.local import admin, job_calls, policies, resources
from bbq_dagster.local.requests import Request
from bbq_dagster.local.service import Service

Handler = Callable[[Service, Request], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """``writes`` marks handlers that take the write lock; asynchronous ones see to it themselves."""

    method: str
    pattern: tuple[str, ...]
    call: str
    handler: Handler
    writes: bool = False

    @property
    def is_local(self) -> bool:
        """Steers the server; it is none of BigQuery's calls."""
        return self.call == "local"

    def params(self, segments: list[str]) -> dict[str, str] | None:
        """The placeholders' values if the path is this route's. A verb may follow one, ``{dataset}:undelete``."""
        params = {}
        for wanted, given in zip(self.pattern, segments, strict=True):
            if wanted.startswith("{"):
                name, _, verb = wanted[1:].partition("}")
                value = unquote(given)
                if not value.endswith(verb):
                    return None
                params[name] = value.removesuffix(verb)
            elif wanted != given:
                return None
        return params


def _route(line: str, handler: Handler, *, writes: bool = False) -> Route:
    method, path, call = line.split()
    return Route(method, tuple(path.strip("/").split("/")), call, handler, writes)


_V2 = "/bigquery/v2/projects"
_DATASET = f"{_V2}/{{project}}/datasets"
_TABLE = f"{_DATASET}/{{dataset}}/tables"
_ROUTINE = f"{_DATASET}/{{dataset}}/routines"
_JOB = f"{_V2}/{{project}}/jobs"
_QUERY = f"{_V2}/{{project}}/queries"
_UPLOAD = "/upload/bigquery/v2/projects/{project}/jobs"

ROUTES = (
    _route(f"GET    {_V2} projects.list", resources.list_projects),
    _route(f"GET    {_V2}/{{project}}/serviceAccount projects.getServiceAccount", resources.get_service_account),
    _route(f"GET    {_DATASET} datasets.list", resources.list_datasets),
    _route(f"POST   {_DATASET} datasets.insert", resources.insert_dataset, writes=True),
    _route(f"GET    {_DATASET}/{{dataset}} datasets.get", resources.get_dataset),
    _route(f"PATCH  {_DATASET}/{{dataset}} datasets.patch", resources.patch_dataset, writes=True),
    _route(f"PUT    {_DATASET}/{{dataset}} datasets.update", resources.update_dataset, writes=True),
    _route(f"DELETE {_DATASET}/{{dataset}} datasets.delete", resources.delete_dataset, writes=True),
    _route(f"POST   {_DATASET}/{{dataset}}:undelete datasets.undelete", resources.undelete_dataset, writes=True),
    _route(f"GET    {_TABLE} tables.list", resources.list_tables),
    _route(f"POST   {_TABLE} tables.insert", resources.insert_table, writes=True),
    _route(f"GET    {_TABLE}/{{table}} tables.get", resources.get_table),
    _route(f"PATCH  {_TABLE}/{{table}} tables.patch", resources.patch_table, writes=True),
    _route(f"PUT    {_TABLE}/{{table}} tables.update", resources.update_table, writes=True),
    _route(f"DELETE {_TABLE}/{{table}} tables.delete", resources.delete_table, writes=True),
    _route(f"GET    {_TABLE}/{{table}}/data tabledata.list", resources.list_rows),
    _route(f"POST   {_TABLE}/{{table}}/insertAll tabledata.insertAll", resources.insert_rows, writes=True),
    _route(f"POST   {_TABLE}/{{table}}:getIamPolicy tables.getIamPolicy", policies.get_policy),
    _route(f"POST   {_TABLE}/{{table}}:setIamPolicy tables.setIamPolicy", policies.set_policy),
    _route(f"POST   {_TABLE}/{{table}}:testIamPermissions tables.testIamPermissions", policies.held_permissions),
    _route(f"GET    {_TABLE}/{{table}}/rowAccessPolicies rowAccessPolicies.list", policies.list_row_access_policies),
    _route(f"GET    {_DATASET}/{{dataset}}/models models.list", policies.list_models),
    _route(f"GET    {_ROUTINE} routines.list", resources.list_routines),
    _route(f"POST   {_ROUTINE} routines.insert", resources.insert_routine, writes=True),
    _route(f"GET    {_ROUTINE}/{{routine}} routines.get", resources.get_routine),
    _route(f"DELETE {_ROUTINE}/{{routine}} routines.delete", resources.delete_routine, writes=True),
    _route(f"GET    {_JOB} jobs.list", job_calls.list_jobs),
    _route(f"POST   {_JOB} jobs.insert", job_calls.insert_job),
    _route(f"GET    {_JOB}/{{job}} jobs.get", job_calls.get_job),
    _route(f"POST   {_JOB}/{{job}}/cancel jobs.cancel", job_calls.cancel_job),
    _route(f"DELETE {_JOB}/{{job}}/delete jobs.delete", job_calls.delete_job, writes=True),
    _route(f"POST   {_QUERY} jobs.query", job_calls.query),
    _route(f"GET    {_QUERY}/{{job}} jobs.getQueryResults", job_calls.get_query_results),
    _route(f"POST   {_UPLOAD} jobs.insert", job_calls.insert_upload),
    _route(f"PUT    {_UPLOAD} jobs.upload", job_calls.continue_upload),
    _route("GET    /local/v1/clock local", admin.get_clock),
    _route("POST   /local/v1/clock local", admin.set_clock, writes=True),
    _route("GET    /local/v1/calls local", admin.get_calls),
    _route("DELETE /local/v1/calls local", admin.reset_calls),
    _route("GET    /local/v1/record local", admin.get_record),
    _route("POST   /local/v1/record local", admin.start_record),
    _route("DELETE /local/v1/record local", admin.stop_record),
    _route("GET    /local/v1/held local", admin.get_held),
    _route("POST   /local/v1/release local", admin.release_held),
    _route("GET    /local/v1/faults local", admin.get_faults),
    _route("POST   /local/v1/faults local", admin.add_fault),
    _route("DELETE /local/v1/faults local", admin.clear_faults),
    _route("GET    /local/v1/limits local", admin.get_limits),
    _route("POST   /local/v1/limits local", admin.change_limits),
    _route("DELETE /local/v1/limits local", admin.clear_limits),
    _route("POST   /local/v1/multiply local", admin.multiply_table, writes=True),
    _route("GET    /local/v1/access local", admin.get_access),
    _route("POST   /local/v1/access local", admin.grant_access),
    _route("DELETE /local/v1/access local", admin.clear_access),
    _route("GET    /local/v1/settings local", admin.get_settings),
    _route("POST   /local/v1/settings local", admin.change_settings, writes=True),
)

# By method and number of segments, so that a request is compared with a few routes only.
_BY_SHAPE: dict[tuple[str, int], list[Route]] = {}
for _r in ROUTES:
    _BY_SHAPE.setdefault((_r.method, len(_r.pattern)), []).append(_r)


def find_route(method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a request and the values of its placeholders. ``raw_path`` is still percent-encoded."""
    segments = raw_path.strip("/").split("/")
    for route in _BY_SHAPE.get((method, len(segments)), ()):
        params = route.params(segments)
        if params is not None:
            return route, params
    return None
