"""Each operation runs with exactly the permissions of its role, and without any one of them says which is missing.

The roles are the files of ``deploy/roles``, the embedded BigQuery enforces them. What is not done for want of a
permission is done by the next run that has it, and then all is as if nothing had been missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery

from bbq_dagster.core.rebuild import render_rebuild
from bbq_dagster.core.restore_request import OnExisting, RestoreRequest, Scope, Target
from bbq_dagster.errors import BbqError
from bbq_dagster.local.access import ROLES
from bbq_dagster.stack import Stack
from bbq_dagster_tests.trust.roles import (
    BACKUPS,
    CATALOG,
    FILES,
    PLACES,
    SNAPSHOTS,
    Grant,
    give,
    grants_of,
    permissions_in,
)
from bbq_dagster_tests.trust.shop import (
    LAB,
    LOCATIONS,
    SALES,
    SHOP,
    VAULT,
    WEATHER,
    Patience,
    Shop,
    Stage,
    build_shop,
    open_shop,
)

DOCS = FILES.parents[1]
A_MOMENT = timedelta(seconds=2)
"""Short enough for rows to stay in the streaming buffer."""
LISTING_JOBS = "jobs.list"
"""Only asked for where many copies run at once."""


@dataclass(frozen=True, slots=True)
class Said:
    """How an operation ended, and all that it said."""

    ok: bool
    text: str


Act = Callable[[Stack], Said]


def back_up(stack: Stack) -> Said:
    report = stack.apply(stack.plan_changed(now=stack.clock()), run_id="backup")
    return Said(report.ok, str(report))


def retain(stack: Stack) -> Said:
    report = stack.apply_retention(stack.plan_retention(now=stack.clock()), run_id="retention")
    return Said(report.ok, str(report))


def restore(stack: Stack) -> Said:
    request = RestoreRequest((Scope(SALES), Scope(WEATHER)), target=Target(LAB), on_existing=OnExisting.REPLACE)
    report = stack.apply_restore(stack.plan_restore(request, now=stack.clock()), run_id="restore")
    return Said(report.ok, str(report))


def undelete(stack: Stack) -> Said:
    tables = [f"{dataset}.*" for dataset in LOCATIONS]
    plan = stack.plan_undelete(now=stack.clock(), run_id="retention", tables=tables)
    report = stack.apply_undelete(plan, run_id="undelete")
    return Said(report.ok, str(report))


def verify(stack: Stack) -> Said:
    """Every version, and one restore drill, in a project of its own."""
    wanted = replace(stack.settings.verify, share_per_day=1.0, scratch_project=LAB)
    stack = replace(stack, settings=replace(stack.settings, verify=wanted))
    report = stack.apply_verification(stack.plan_verification(now=stack.clock()), run_id="verify")
    return Said(report.ok, str(report))


def check(stack: Stack) -> Said:
    drift = stack.check_catalog()
    return Said(drift.is_none, str(drift))


def repair(stack: Stack) -> Said:
    drift = stack.check_catalog()
    report = stack.repair_catalog(approved=drift.digest, run_id="repair")
    return Said(report.ok and not drift.unseen, f"{drift}\n{report}")


def rebuild(stack: Stack) -> Said:
    plan = stack.plan_rebuild()
    report = stack.rebuild_catalog(approved=plan.digest, run_id="rebuild")
    return Said(not plan.unseen, f"{render_rebuild(plan)}\n{report}")


def snapshot(stack: Stack) -> Said:
    taken = stack.take_catalog_snapshot()
    return Said(taken in stack.catalog.snapshots(), str(taken.table))


def lose_versions(shop: Shop) -> None:
    assert retain(shop.stack()).ok
    shop.server.advance(A_MOMENT)


def drift_apart(shop: Shop) -> None:
    """A record without its copy, a copy without its record, a copy that expires."""
    newest = {version.unit.key: version.backup.table for version in reversed(shop.stack().catalog.live_versions(None))}
    client = shop.server.client(VAULT, location="EU")
    client.delete_table(str(newest["invoices"]))
    client.query_and_wait(f"DELETE FROM `{CATALOG}.events` WHERE backup_table = '{newest['orders'].table}'")
    expire(client, str(newest["returns"]))


def lose_events(shop: Shop) -> None:
    """The catalog is gone, and its owner has made it anew."""
    shop.server.client(VAULT).delete_dataset(CATALOG, delete_contents=True)
    shop.stack().catalog.prepare()


def make_snapshots_dataset(shop: Shop) -> None:
    made = bigquery.Dataset(SNAPSHOTS)
    made.location = "EU"
    shop.server.client(VAULT).create_dataset(made)


ACTS: Mapping[str, Act] = {
    "backup": back_up,
    "retention": retain,
    "restore": restore,
    "verify": verify,
    "undelete": undelete,
    "check": check,
    "repair": repair,
    "rebuild": rebuild,
    "snapshot": snapshot,
}
STAGES = {"setup": Stage.NEW, "backup": Stage.CHANGED}
BEFORE: Mapping[str, Callable[[Shop], None]] = {
    "undelete": lose_versions,
    "repair": drift_apart,
    "rebuild": lose_events,
    "snapshot": make_snapshots_dataset,
}
"""What happens first to a shop that was backed up on three days."""
SEEING_BACKUPS = Grant("rebuild", "backups", "bigquery.datasets.get")
"""Without it there is nothing to be seen that could be named."""
GRANTS = [
    grant
    for role in ACTS
    for grant in grants_of(role)
    if not grant.permission.endswith(LISTING_JOBS) and grant != SEEING_BACKUPS
]


def one_of_each_place(grants: Sequence[Grant]) -> list[object]:
    """A case for each grant; the first of each role and place by default, the others by ``make trust``.

    Of the permission to run jobs, which every role has, one in all.
    """
    first = {("" if grant.place == "jobs" else grant.role, grant.place): grant for grant in reversed(grants)}.values()
    return [pytest.param(grant, id=str(grant), marks=[] if grant in first else pytest.mark.trust) for grant in grants]


class Shops:
    """The stages of the shop, each built once; and copies of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = 0
        self._build = cache(self._built)

    def _built(self, stage: Stage) -> Path:
        built = self._folder / stage.name
        build_shop(built, stage, lambda _: None)
        return built

    @contextmanager
    def open(self, role: str) -> Iterator[Shop]:
        """The shop as it is before the operation of ``role``."""
        self._opened += 1
        built = self._build(STAGES.get(role, Stage.OLD))
        with open_shop(built, self._folder / str(self._opened), Patience(threads=4)) as shop:
            if role in BEFORE:
                BEFORE[role](shop)
            yield shop


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    return Shops(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def undisturbed(shops: Shops) -> Callable[[str], object]:
    """What is there after an operation that lacked nothing and was not restricted."""

    @cache
    def after(role: str) -> object:
        with shops.open(role) as shop:
            assert ACTS[role](shop.stack()).ok
            return state_of(shop)

    return after


def state_of(shop: Shop) -> object:
    """The versions on record, each with all rows of its backup table, and the rows of the targets."""
    pasts = shop.stack().catalog.pasts(LOCATIONS)
    versions = [version for past in pasts.values() for version in past.versions]
    rows = {
        table: rows_of(shop, str(table), place) for table, place in {(v.backup.table, v.location) for v in versions}
    }
    targets = shop.server.client(LAB)
    restored = {
        table.table_id: rows_of(shop, f"{LAB}.{dataset.dataset}.{table.table_id}", location)
        for dataset, location in LOCATIONS.items()
        if dataset.dataset in {item.dataset_id for item in targets.list_datasets()}
        for table in targets.list_tables(dataset.dataset)
    }
    return sorted((str(v.unit), v.rows, rows[v.backup.table]) for v in versions), restored


def rows_of(shop: Shop, table: str, location: str) -> tuple[str, ...]:
    found = shop.server.client(VAULT).query_and_wait(f"SELECT TO_JSON_STRING(t) FROM `{table}` AS t", location=location)
    return tuple(sorted(row[0] for row in found))


def attempt(act: Act, stack: Stack) -> Said:
    try:
        return act(stack)
    except BbqError as error:
        return Said(False, str(error))


@pytest.mark.parametrize("role", ACTS)
def test_an_operation_runs_with_its_role_alone(shops: Shops, undisturbed: Callable[[str], object], role: str) -> None:
    with shops.open(role) as shop:
        said = ACTS[role](give(shop, role))

        assert said.ok, said.text
        assert state_of(shop) == undisturbed(role)


@pytest.mark.parametrize("missing", one_of_each_place(GRANTS))
def test_a_missing_permission_is_named_and_what_was_not_done_is_done_by_the_next_run(
    shops: Shops, undisturbed: Callable[[str], object], missing: Grant
) -> None:
    act = ACTS[missing.role]
    with shops.open(missing.role) as shop:
        said = attempt(act, give(shop, missing.role, without=missing))
        shop.server.advance(A_MOMENT)
        healed = attempt(act, give(shop, missing.role))

        assert not said.ok
        assert missing.permission in said.text
        assert any(on in said.text for on in PLACES[missing.place]), said.text
        assert "HINT: give the account that bbq runs as" in said.text
        assert healed.ok, healed.text
        assert state_of(shop) == undisturbed(missing.role)


def test_looking_at_many_copies_at_once_needs_jobs_list(shops: Shops) -> None:
    missing = Grant("backup", "jobs", f"bigquery.{LISTING_JOBS}")
    with shops.open("backup") as shop:
        shop.sql(SALES, *(f"CREATE TABLE `{SALES}.t{number}` AS SELECT 1 AS n" for number in range(10)))
        shop.server.fault({"job_type": "copy"}, {"stuck": True})

        refused = attempt(back_up, give(shop, "backup", without=missing))
        shop.server.clear_faults()
        shop.server.release()
        healed = attempt(back_up, give(shop, "backup"))

        assert not refused.ok
        assert f"{missing.permission} on project {VAULT} (role roles/bigquery.user)" in refused.text
        assert healed.ok, healed.text


def test_a_source_of_which_nothing_may_be_seen_is_no_empty_source(shops: Shops) -> None:
    """Not even on the first day, when nothing is on record that could be missed."""
    with shops.open("setup") as shop:
        shop.stack().catalog.prepare()
        said = attempt(back_up, give(shop, "backup", without=Grant("backup", "sources", "bigquery.datasets.get")))

        assert not said.ok
        assert f"bigquery.datasets.get on project {SHOP}" in said.text


def test_backups_that_may_not_be_seen_are_no_empty_backup_project(shops: Shops) -> None:
    with shops.open("rebuild") as shop:
        said = attempt(rebuild, give(shop, "rebuild", without=SEEING_BACKUPS))

        assert not said.ok
        assert f"{VAULT} shows no backup dataset: nothing can be rebuilt" in said.text
        assert SEEING_BACKUPS.permission in said.text


def test_a_dataset_that_is_missing_is_asked_of_whoever_may_create_it(shops: Shops) -> None:
    """Who creates a dataset owns it and may delete all in it, so the role that backs up creates none."""
    with shops.open("setup") as shop:
        shop.stack().catalog.prepare()
        said = attempt(back_up, give(shop, "backup"))

        assert not said.ok
        assert f"bigquery.datasets.create on project {VAULT}" in said.text
        assert permissions_in(FILES / "setup-backups.yaml") == ["bigquery.datasets.create"]


Forbid = Callable[[bigquery.Client, str], object]


@pytest.fixture(scope="module")
def backed_up(shops: Shops) -> Iterator[tuple[Shop, str]]:
    """A shop that nobody may change, and one of its backup tables."""
    with shops.open("backup") as shop:
        (version, *_) = shop.stack().catalog.versions([SALES.table("orders")])
        yield shop, str(version.backup.table)


def expire(client: bigquery.Client, backup: str) -> None:
    table = bigquery.Table(backup)
    table.expires = datetime(2030, 1, 1, tzinfo=UTC)
    client.update_table(table, ["expires"])


def expire_all(client: bigquery.Client, backup: str) -> None:
    dataset = bigquery.Dataset(backup.rpartition(".")[0])
    dataset.default_table_expiration_ms = 3_600_000
    client.update_dataset(dataset, ["default_table_expiration_ms"])


def run(sql: str) -> Forbid:
    """A statement on the backup table ``{0}``."""
    return lambda client, backup: client.query(sql.format(f"`{backup}`"), location="EU").result()


FORBIDDEN: Mapping[str, tuple[str, Forbid]] = {
    "the backup role deletes no backup": ("backup", lambda client, backup: client.delete_table(backup)),
    "the backup role drops no backup": ("backup", run("DROP TABLE {}")),
    "the backup role deletes no dataset": ("backup", lambda client, backup: client.delete_dataset(BACKUPS[0], True)),
    "the backup role lets no backup expire": ("backup", expire),
    "the backup role lets no dataset expire": ("backup", expire_all),
    "the backup role deletes no rows of a backup": ("backup", run("DELETE FROM {} WHERE TRUE")),
    "the backup role reads no backup": ("backup", run("SELECT * FROM {}")),
    "the backup role deletes no catalog": ("backup", lambda client, _: client.delete_table(f"{CATALOG}.events")),
    "the backup role writes no source": ("backup", run(f"DELETE FROM `{SALES}.orders` WHERE TRUE")),
    "the backup role deletes no source": ("backup", lambda client, _: client.delete_table(f"{SALES}.orders")),
    "the retention role queries no backup": ("retention", run("SELECT * FROM {}")),
    "the retention role lists no rows": ("retention", lambda client, backup: list(client.list_partitions(backup))),
    "the retention role copies no backup": (
        "retention",
        lambda client, backup: client.copy_table(backup, f"{CATALOG}.stolen").result(),
    ),
    "the retention role writes no backup": ("retention", run("TRUNCATE TABLE {}")),
    "the retention role deletes no source": ("retention", lambda client, _: client.delete_table(f"{SALES}.orders")),
    "the retention role reads no source": ("retention", run(f"SELECT * FROM `{SALES}.orders`")),
    "the retention role deletes no catalog": ("retention", lambda client, _: client.delete_table(f"{CATALOG}.events")),
    "the check role deletes no backup": ("check", lambda client, backup: client.delete_table(backup)),
    "the check role reads no backup": ("check", run("SELECT * FROM {}")),
    "the check role lets no backup expire": ("check", expire),
    "the check role writes no catalog": ("check", run(f"DELETE FROM `{CATALOG}.events` WHERE TRUE")),
    "the repair role deletes no backup": ("repair", lambda client, backup: client.delete_table(backup)),
    "the repair role writes no backup": ("repair", run("TRUNCATE TABLE {}")),
    "the rebuild role lets no backup expire": ("rebuild", expire),
    "the rebuild role deletes no catalog": ("rebuild", lambda client, _: client.delete_table(f"{CATALOG}.events")),
    "the snapshot role writes no catalog": ("snapshot", run(f"DELETE FROM `{CATALOG}.events` WHERE TRUE")),
    "the snapshot role reads no backup": ("snapshot", run("SELECT * FROM {}")),
    "the restore role deletes no backup": ("restore", lambda client, backup: client.delete_table(backup)),
    "the restore role writes no backup": ("restore", run("TRUNCATE TABLE {}")),
    "the restore role reads no source": ("restore", run(f"SELECT * FROM `{SALES}.orders`")),
}


@pytest.mark.parametrize(("role", "forbidden"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_role_can_do_nothing_that_it_is_not_for(backed_up: tuple[Shop, str], role: str, forbidden: Forbid) -> None:
    shop, backup = backed_up
    give(shop, role)

    with pytest.raises(Forbidden, match="bigquery\\."):
        forbidden(shop.server.client(VAULT, identity=role), backup)


# -- the files, the page and the README say the same


def test_the_page_lists_every_role_with_the_permissions_of_its_file() -> None:
    page = (DOCS / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `([a-z]+-[a-z]+)` \|[^|]*\| ([^|]*) \|", page, re.MULTILINE)

    assert {name: re.findall(r"`([\w.]+)`", permissions) for name, permissions in rows} == {
        file.stem: [permission.removeprefix("bigquery.") for permission in permissions_in(file)]
        for file in FILES.glob("*.yaml")
    }


def test_the_predefined_roles_of_the_readme_hold_what_all_operations_but_a_restore_need() -> None:
    readme = (DOCS / "README.md").read_text()
    rows = re.findall(r"^\| (each source project|backup project) \| `(roles/[\w.]+)` \|", readme, re.MULTILINE)
    held = {where: {p for on, role in rows if on == where for p in ROLES[role]} for where, _ in rows}

    needed = [grant for role in ("backup", "retention", "undelete", "setup") for grant in grants_of(role)]
    of_sources = {grant.permission for grant in needed if grant.place == "sources"}
    of_vault = {grant.permission for grant in needed if grant.place != "sources"}
    assert held["each source project"] >= of_sources
    assert held["backup project"] >= of_vault
