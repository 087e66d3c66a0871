"""tables.getIamPolicy, setIamPolicy and testIamPermissions, and the lists of what this server has none of.

A policy is kept and given back; it restricts nobody, that is ``access``' part. Like what is granted there, it does not
outlive the server. https://cloud.google.com/bigquery/docs/reference/rest/v2/tables/setIamPolicy
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from bbq_dagster.local.access import place_of
from bbq_dagster.local.errors import BigQueryError, invalid, required
from bbq_dagster.local.model import Table, parse_decorated
from bbq_dagster.local.requests import Request
from bbq_dagster.local.service import Service

_MEMBERS = ("allUsers", "allAuthenticatedUsers")
_KINDS = ("user", "serviceAccount", "group", "domain", "deleted", "principal", "principalSet")


def get_policy(service: Service, request: Request) -> dict[str, Any]:
    held = service.policies.get(_table(service, request).id, {})
    return {"version": 1, "etag": _etag(0), **held}


def set_policy(service: Service, request: Request) -> dict[str, Any]:
    """Replace the policy; one that names the etag of an earlier policy is refused."""
    policy, table = request.body().get("policy"), _table(service, request)
    if policy is None:
        raise required("policy")
    held = get_policy(service, request)
    if policy.get("etag") not in (None, "", held["etag"]):
        raise BigQueryError(
            409,
            "aborted",
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.",
        )
    bindings = [_checked(binding) for binding in policy.get("bindings") or ()]
    kept = {"version": policy.get("version") or 1, "etag": _etag(service.store.now_ms(), held["etag"])}
    service.policies[table.id] = kept | ({"bindings": bindings} if bindings else {})
    return dict(service.policies[table.id])


def held_permissions(service: Service, request: Request) -> dict[str, Any]:
    """Of the permissions asked for, those that the caller has on the table."""
    asked: Sequence[str] = request.body().get("permissions") or ()
    table = _table(service, request)
    unknown = [name for name in asked if not name.startswith("bigquery.") or "*" in name]
    if unknown:
        raise invalid(f"Permission {unknown[0]} is not valid for this resource.", "permissions")
    access, place = service.store.access, place_of(table.ref)
    had = [name for name in asked if access.allows(request.user, name.removeprefix("bigquery."), place)]
    return {"permissions": had} if had else {}


def list_row_access_policies(service: Service, request: Request) -> dict[str, Any]:
    _table(service, request)
    return {}


def list_models(service: Service, request: Request) -> dict[str, Any]:
    service.store.get_dataset(request.params["project"], request.params["dataset"])
    return {}


def _table(service: Service, request: Request) -> Table:
    params = request.params
    return service.store.get_table(parse_decorated(params["project"], params["dataset"], params["table"]).ref)


def _checked(binding: Mapping[str, Any]) -> dict[str, Any]:
    role, members = str(binding.get("role") or ""), list(binding.get("members") or ())
    if not role.startswith(("roles/", "projects/", "organizations/")):
        raise invalid(f"Role {role} is not supported for this resource.")
    for member in members:
        if member not in _MEMBERS and member.partition(":")[0] not in _KINDS:
            raise invalid(f"The member {member} is of an unknown type. Please set a valid type prefix for the member.")
    return {**binding, "role": role, "members": members}


def _etag(moment: int, before: str = "") -> str:
    """Another one for every change, even within a millisecond."""
    return base64.b64encode(f"{moment:x}{before[-4:]}".encode()).decode() if moment else "ACAB"
