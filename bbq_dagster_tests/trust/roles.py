"""The roles of ``deploy/roles``, and accounts of the small shop that hold them.

A file there is what `gcloud iam roles create --file` takes: the permissions of one role on one place. Its name says
which: ``backup-sources`` is what the role backup needs on the source projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

import bbq_dagster
from bbq_dagster.stack import Stack
from bbq_dagster.warehouse.bigquery import BigQueryWarehouse
from bbq_dagster.warehouse.catalog_store import BigQueryCatalog
from bbq_dagster.warehouse.client import Patience
from bbq_dagster_tests.trust.shop import CLIMATE, LAB, SHOP, VAULT, Shop

FILES = Path(bbq_dagster.__file__).parents[1] / "deploy" / "roles"
BACKUPS = (f"{VAULT}.bbq_acme_shop__sales__eu", f"{VAULT}.bbq_acme_climate__weather__us")
CATALOG = f"{VAULT}.bbq_catalog"
SNAPSHOTS = f"{VAULT}.bbq_catalog_snapshots"

PLACES: Mapping[str, tuple[str, ...]] = {
    "sources": (SHOP, CLIMATE),
    "jobs": (VAULT,),
    "backups": BACKUPS,
    "catalog": (CATALOG,),
    "snapshots": (SNAPSHOTS,),
    "targets": (LAB,),
    "scratch": (LAB,),
}
"""Where in the shop a file is granted: on projects or on datasets."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A permission that a role holds on a place."""

    role: str
    place: str
    permission: str

    def __str__(self) -> str:
        return f"{self.role} without {self.permission} on {self.place}"


def grants_of(role: str) -> tuple[Grant, ...]:
    return tuple(
        Grant(role, place, permission)
        for place in PLACES
        if (file := FILES / f"{role}-{place}.yaml").exists()
        for permission in permissions_in(file)
    )


def permissions_in(file: Path) -> list[str]:
    return list(yaml.safe_load(file.read_text())["includedPermissions"])


def give(shop: Shop, role: str, *, without: Grant | None = None) -> Stack:
    """The stack of an account that is named like its role and holds nothing else, but for ``without``."""
    shop.server.clear_access()
    for grant in grants_of(role):
        for on in PLACES[grant.place] if grant != without else ():
            shop.server.grant(role, grant.permission, on=on)
    return stack_of(shop, role)


def stack_of(shop: Shop, identity: str) -> Stack:
    stack = shop.stack()
    client = shop.server.client(VAULT, identity=identity)
    patience = Patience(give_up_after=5, first_pause=0.01, longest_pause=0.1)
    catalog = stack.settings.catalog
    return replace(
        stack,
        warehouse=BigQueryWarehouse(client, patience=patience),
        catalog=BigQueryCatalog(
            client, backup_project=VAULT, dataset=catalog.dataset, location=catalog.location, patience=patience
        ),
    )
