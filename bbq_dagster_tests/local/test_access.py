"""Identities and their permissions: what each method, job and statement needs, and how BigQuery says that it lacks."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery as bq

from bbq_dagster.local.access import JOB_METHODS, METHODS, ROLES
from bbq_dagster.local.buckets import Buckets
from bbq_dagster.local.errors import LocalServerError
from bbq_dagster.local.server import LocalBigQuery, LocalBigQueryAdmin
from bbq_dagster_tests.local.builders import a_dataset, a_table, copy, rows_of

T = "shop.sales.t"
TABLE = bq.Table(T, [bq.SchemaField("a", "INTEGER")])
NEW = bq.Table("shop.sales.new", [bq.SchemaField("a", "INTEGER")])
ROUTINE = {
    "routineReference": {"projectId": "shop", "datasetId": "sales", "routineId": "r"},
    "routineType": "PROCEDURE",
    "language": "SQL",
    "definitionBody": "BEGIN END",
}
TO_EU = {"location": "EU"}

Act = Callable[[bq.Client], object]


@pytest.fixture(autouse=True)
def tables(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    a_table(client, "u", [{"a": 2}])
    client.query_and_wait("CREATE VIEW sales.v AS SELECT * FROM sales.t")
    client.query("SELECT 1", job_id="theirs", job_retry=None).result()
    copy(client, "t", "snap", operation_type="SNAPSHOT")


def granted(bigquery: LocalBigQuery, names: Sequence[str]) -> bq.Client:
    """A client of ``backup``, which holds these permissions on the project and nothing else."""
    bigquery.clear_access()
    bigquery.grant("backup", *(f"bigquery.{name}" for name in names), on="shop")
    return bigquery.client("shop", identity="backup")


def check(bigquery: LocalBigQuery, act: Act, needed: Sequence[str], place: str) -> None:
    """Without the last of the needed permissions it is refused, with all of them it is not."""
    *others, last = needed
    name = place.partition(" ")[2]
    if place.startswith("Project"):
        words = f"Access Denied: {place}: User does not have bigquery.{last} permission in project {name}."
    else:
        words = (
            f"Permission bigquery.{last} denied on {place.lower().replace(name.lower(), name)} (or it may not exist)."
        )

    with pytest.raises(Forbidden) as refused:
        act(granted(bigquery, others))
    act(granted(bigquery, needed))

    assert words in refused.value.message
    assert refused.value.errors[0]["reason"] == "accessDenied"


def rotations(needed: Sequence[str]) -> list[list[str]]:
    """The permissions with each of them once as the last, that is, as the one that is missing."""
    return [[*needed[i + 1 :], *needed[: i + 1]] for i in range(len(needed))]


def expand(cases: Sequence[tuple[str, Act, Sequence[tuple[str, str]]]]) -> list[object]:
    """A case for every permission of each row: what is done, all that it needs, and the one that is left out, where."""
    return [
        pytest.param(act, order, dict(needs)[order[-1]], id=f"{name} without {order[-1]}")
        for name, act, needs in cases
        for order in rotations([permission for permission, _ in needs])
    ]


def call(method: str, path: str, body: object = None) -> Act:
    return lambda client: client._connection.api_request(method, f"/projects/shop{path}", data=body)


undeletes = call("POST", "/datasets/gone:undelete", {})
PATH_T = "/datasets/sales/tables/t"
SALES, TABLE_T, PROJECT = "Dataset shop:sales", "Table shop:sales.t", "Project shop"
DATASET_BODY = {"datasetReference": {"projectId": "shop", "datasetId": "made"}, **TO_EU}

CALLS: list[tuple[str, Act, list[tuple[str, str]]]] = [
    ("datasets.insert", call("POST", "/datasets", DATASET_BODY), [("datasets.create", PROJECT)]),
    ("datasets.get", call("GET", "/datasets/sales"), [("datasets.get", SALES)]),
    ("datasets.patch", call("PATCH", "/datasets/sales", {}), [("datasets.get", SALES), ("datasets.update", SALES)]),
    ("datasets.update", call("PUT", "/datasets/sales", {}), [("datasets.get", SALES), ("datasets.update", SALES)]),
    (
        "datasets.delete",
        lambda client: client.delete_dataset("shop.sales", delete_contents=True),
        [("datasets.delete", SALES), ("tables.delete", SALES)],
    ),
    (
        "datasets.undelete",
        undeletes,
        [("datasets.create", PROJECT), ("datasets.get", "Dataset shop:gone")],
    ),
    ("tables.list", call("GET", "/datasets/sales/tables"), [("tables.list", SALES)]),
    ("models.list", call("GET", "/datasets/sales/models"), [("models.list", SALES)]),
    ("tables.getIamPolicy", call("POST", f"{PATH_T}:getIamPolicy", {}), [("tables.getIamPolicy", TABLE_T)]),
    (
        "tables.setIamPolicy",
        call("POST", f"{PATH_T}:setIamPolicy", {"policy": {}}),
        [("tables.setIamPolicy", TABLE_T)],
    ),
    (
        "rowAccessPolicies.list",
        call("GET", f"{PATH_T}/rowAccessPolicies"),
        [("rowAccessPolicies.list", TABLE_T)],
    ),
    ("tables.insert", lambda c: c.create_table(NEW), [("tables.create", SALES)]),
    ("tables.get", call("GET", "/datasets/sales/tables/t"), [("tables.get", TABLE_T)]),
    (
        "tables.patch",
        call("PATCH", "/datasets/sales/tables/t", {}),
        [("tables.get", TABLE_T), ("tables.update", TABLE_T)],
    ),
    (
        "tables.update",
        call("PUT", "/datasets/sales/tables/t", {"schema": {"fields": [{"name": "a", "type": "INTEGER"}]}}),
        [("tables.get", TABLE_T), ("tables.update", TABLE_T)],
    ),
    ("tables.delete", call("DELETE", "/datasets/sales/tables/t"), [("tables.delete", TABLE_T)]),
    ("tabledata.list", call("GET", "/datasets/sales/tables/t/data"), [("tables.getData", TABLE_T)]),
    ("tabledata.insertAll", lambda c: c.insert_rows_json(T, [{"a": 3}]), [("tables.updateData", TABLE_T)]),
    ("routines.list", call("GET", "/datasets/sales/routines"), [("routines.list", SALES)]),
    ("routines.insert", call("POST", "/datasets/sales/routines", ROUTINE), [("routines.create", SALES)]),
    ("routines.get", call("GET", "/datasets/sales/routines/r"), [("routines.get", "Routine shop:sales.r")]),
    ("routines.delete", call("DELETE", "/datasets/sales/routines/r"), [("routines.delete", "Routine shop:sales.r")]),
    ("jobs.list", call("GET", "/jobs"), [("jobs.list", PROJECT)]),
    ("jobs.insert", lambda c: c.query("SELECT 1").result(), [("jobs.create", PROJECT)]),
    ("jobs.query", lambda c: c.query_and_wait("SELECT 1"), [("jobs.create", PROJECT)]),
    ("jobs.get", lambda c: c.get_job("theirs"), [("jobs.get", PROJECT)]),
    ("jobs.getQueryResults", call("GET", "/queries/theirs"), [("jobs.get", PROJECT)]),
    ("jobs.cancel", call("POST", "/jobs/theirs/cancel"), [("jobs.update", PROJECT)]),
    ("jobs.delete", call("DELETE", "/jobs/theirs/delete"), [("jobs.delete", PROJECT)]),
]


@pytest.mark.parametrize(("act", "needed", "place"), expand(CALLS))
def test_a_method_needs(
    bigquery: LocalBigQuery, client: bq.Client, act: Act, needed: Sequence[str], place: str
) -> None:
    """access-control, and the page of each method."""
    if place == "Dataset shop:gone" or needed[-1] == "datasets.create":
        a_dataset(client, "gone")
        client.delete_dataset("shop.gone")
    if "Routine" in place:
        call("POST", "/datasets/sales/routines", ROUTINE)(client)

    check(bigquery, act, needed, place)


def test_every_method_with_a_rule_has_a_case() -> None:
    tested = {name for name, *_ in CALLS}

    assert (METHODS.keys() | JOB_METHODS.keys()) - tested == {"jobs.upload"}


# -- jobs


def job(**config: object) -> Act:
    return lambda client: copy(
        client, "t", str(config.get("to", "new")), **{k: v for k, v in config.items() if k != "to"}
    )


def loads_into(name: str) -> Act:
    config = bq.LoadJobConfig(schema=TABLE.schema)
    return lambda client: client.load_table_from_json([{"a": 1}], f"shop.sales.{name}", job_config=config).result()


SOURCE = [("tables.get", TABLE_T), ("tables.getData", TABLE_T)]
MAKE = [("tables.create", SALES), ("tables.updateData", SALES)]
TABLE_U = "Table shop:sales.u"
BUCKET = "exports"
EXPIRING = "2024-03-02T00:00:00Z"

JOBS: list[tuple[str, Act, list[tuple[str, str]]]] = [
    ("copy to a new table", job(), [*SOURCE, *MAKE]),
    ("copy into a table", job(to="u", write_disposition="WRITE_APPEND"), [*SOURCE, ("tables.updateData", TABLE_U)]),
    (
        "copy over a table",
        job(to="u", write_disposition="WRITE_TRUNCATE"),
        [*SOURCE, ("tables.updateData", TABLE_U), ("tables.update", TABLE_U)],
    ),
    ("snapshot", job(operation_type="SNAPSHOT"), [*SOURCE, ("tables.createSnapshot", TABLE_T), *MAKE]),
    (
        "snapshot that expires",
        job(operation_type="SNAPSHOT", destination_expiration_time=EXPIRING),
        [*SOURCE, ("tables.createSnapshot", TABLE_T), *MAKE, ("tables.deleteSnapshot", SALES)],
    ),
    ("clone", job(operation_type="CLONE"), [*SOURCE, *MAKE]),
    (
        "restore",
        lambda client: copy(client, "snap", "new", operation_type="RESTORE"),
        [(f"tables.{name}", "Table shop:sales.snap") for name in ("get", "getData", "restoreSnapshot")] + MAKE,
    ),
    (
        "load into a new table",
        loads_into("new"),
        MAKE,
    ),
    ("load into a table", loads_into("t"), [("tables.updateData", TABLE_T)]),
    (
        "extract",
        lambda client: client.extract_table(T, f"gs://{BUCKET}/t.csv").result(),
        [*SOURCE, ("tables.export", TABLE_T)],
    ),
    (
        "query with a destination",
        lambda client: client.query(
            "SELECT 1 AS a", job_config=bq.QueryJobConfig(destination="shop.sales.new"), job_retry=None
        ).result(job_retry=None),
        MAKE,
    ),
]


@pytest.mark.parametrize(("act", "needed", "place"), expand(JOBS))
def test_a_job_needs(bigquery: LocalBigQuery, tmp_path: Path, act: Act, needed: Sequence[str], place: str) -> None:
    """managing-tables, table-snapshots-*, table-clones-create, batch-loading-data, exporting-data."""
    bigquery.store.buckets = Buckets(tmp_path)
    check(bigquery, act, ["jobs.create", *needed], place)


# -- statements


def sql(text: str) -> Act:
    return lambda client: client.query(text, job_retry=None, location="EU").result(job_retry=None)


READ_T, WRITE_T = ("tables.getData", TABLE_T), ("tables.updateData", TABLE_T)
CREATE = ("tables.create", SALES)

STATEMENTS: list[tuple[str, Act, list[tuple[str, str]]]] = [
    (text, sql(text), needs)
    for text, needs in (
        ("SELECT * FROM sales.t", [READ_T]),
        ("WITH t AS (SELECT 1 AS a) SELECT t.a FROM t, sales.t AS x", [READ_T]),
        ("SELECT (SELECT MAX(a) FROM sales.t)", [READ_T]),
        ("SELECT * FROM sales.v", [("tables.getData", "Table shop:sales.v")]),
        ("INSERT sales.t (a) VALUES (1)", [WRITE_T]),
        ("INSERT sales.t SELECT a FROM sales.u", [WRITE_T, ("tables.getData", TABLE_U)]),
        ("UPDATE sales.t SET a = 2 WHERE TRUE", [READ_T, WRITE_T]),
        ("DELETE FROM sales.t WHERE TRUE", [READ_T, WRITE_T]),
        ("MERGE sales.t USING (SELECT 1) ON FALSE WHEN NOT MATCHED THEN INSERT (a) VALUES (1)", [READ_T, WRITE_T]),
        ("TRUNCATE TABLE sales.t", [WRITE_T]),
        ("CREATE TABLE sales.new (a INT64)", [CREATE]),
        ("CREATE TABLE sales.new AS SELECT * FROM sales.t", [CREATE, READ_T]),
        ("CREATE OR REPLACE TABLE sales.t (a INT64)", [CREATE, ("tables.update", TABLE_T), WRITE_T]),
        ("CREATE VIEW sales.w AS SELECT * FROM sales.t", [CREATE, READ_T]),
        ("CREATE SNAPSHOT TABLE sales.new CLONE sales.t", [("tables.createSnapshot", TABLE_T), *SOURCE, CREATE]),
        ("DROP TABLE sales.t", [("tables.delete", TABLE_T)]),
        ("DROP SNAPSHOT TABLE sales.snap", [("tables.deleteSnapshot", "Table shop:sales.snap")]),
        ("ALTER TABLE sales.t ADD COLUMN b INT64", [("tables.get", TABLE_T), ("tables.update", TABLE_T)]),
        ("CREATE SCHEMA made", [("datasets.create", PROJECT)]),
        ("DROP SCHEMA sales CASCADE", [("datasets.delete", SALES)]),
        ("ALTER SCHEMA sales SET OPTIONS (description = 'x')", [("datasets.update", SALES)]),
        ("SELECT * FROM sales.INFORMATION_SCHEMA.TABLES", [("tables.get", SALES), ("tables.list", SALES)]),
        ("SELECT * FROM sales.INFORMATION_SCHEMA.PARTITIONS", [("tables.get", SALES), ("tables.list", SALES)]),
        (
            "SELECT * FROM `region-eu`.INFORMATION_SCHEMA.TABLE_STORAGE",
            [("tables.get", PROJECT), ("tables.list", PROJECT)],
        ),
        ("SELECT * FROM sales.INFORMATION_SCHEMA.TABLE_SNAPSHOTS", [("tables.list", SALES)]),
        ("SELECT * FROM `region-eu`.INFORMATION_SCHEMA.SCHEMATA", [("datasets.get", PROJECT)]),
        ("SELECT * FROM `region-eu`.INFORMATION_SCHEMA.JOBS", [("jobs.listAll", PROJECT)]),
    )
]


@pytest.mark.parametrize(("act", "needed", "place"), expand(STATEMENTS))
def test_a_statement_needs(bigquery: LocalBigQuery, act: Act, needed: Sequence[str], place: str) -> None:
    """data-manipulation-language, data-definition-language, information-schema-*: required permissions."""
    check(bigquery, act, ["jobs.create", *needed], place)


# -- identities


def test_nobody_is_restricted_until_somebody_is_granted_something(bigquery: LocalBigQuery) -> None:
    assert rows_of(bigquery.client("shop", identity="backup"), "t") == [(1,)]


def test_who_sends_no_token_is_never_restricted(bigquery: LocalBigQuery, client: bq.Client) -> None:
    bigquery.grant("backup", on="shop")

    assert rows_of(client, "t") == [(1,)]


def test_an_unknown_identity_is_not_authenticated(bigquery: LocalBigQuery) -> None:
    bigquery.grant("backup", on="shop")

    answer = requests.get(
        f"{bigquery.url}/bigquery/v2/projects/shop/datasets", headers={"Authorization": "Bearer other"}, timeout=5
    )

    assert answer.status_code == 401
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"


def test_a_grant_on_a_dataset_is_for_that_dataset(bigquery: LocalBigQuery, client: bq.Client) -> None:
    a_dataset(client, "other")
    client.create_table(bq.Table("shop.other.t", TABLE.schema))
    bigquery.grant("backup", "roles/bigquery.dataViewer", on="shop.sales")
    backup = bigquery.client("shop", identity="backup")

    assert rows_of(backup, "t") == [(1,)]
    with pytest.raises(Forbidden, match=r"Permission bigquery\.tables\.get denied on table shop:other\.t"):
        backup.get_table("shop.other.t")


def test_a_view_needs_what_it_reads(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """authorized-views: a view that is not authorized gives nobody rows that they may not read themselves."""
    a_dataset(client, "views")
    client.query_and_wait("CREATE VIEW views.v AS SELECT * FROM sales.t")
    bigquery.grant("backup", "roles/bigquery.jobUser", on="shop")
    bigquery.grant("backup", "roles/bigquery.dataViewer", on="shop.views")

    with pytest.raises(Forbidden, match=r"Permission bigquery\.tables\.getData denied on table shop:sales\.t"):
        sql("SELECT * FROM views.v")(bigquery.client("shop", identity="backup"))


def test_lists_leave_out_what_may_not_be_read(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """datasets.list: those that the caller has been granted."""
    a_dataset(client, "other")
    bigquery.grant("backup", "roles/bigquery.metadataViewer", on="shop.other")
    bigquery.grant("nobody", "roles/bigquery.jobUser", on="shop")
    backup, nobody = (bigquery.client("shop", identity=who) for who in ("backup", "nobody"))

    assert [dataset.dataset_id for dataset in backup.list_datasets()] == ["other"]
    assert list(nobody.list_datasets()) == []
    assert [project.project_id for project in backup.list_projects()] == ["shop"]
    assert list(nobody.list_projects()) == []


def test_who_creates_a_dataset_owns_it(bigquery: LocalBigQuery) -> None:
    """access-control: the creator is the owner."""
    bigquery.grant("backup", "roles/bigquery.user", on="shop")
    backup = bigquery.client("shop", identity="backup")

    backup.create_dataset("mine")
    backup.create_table(bq.Table("shop.mine.t", TABLE.schema))
    backup.delete_dataset("mine", delete_contents=True)

    assert list(backup.list_datasets()) != []


def test_a_job_of_ones_own_needs_no_permission(bigquery: LocalBigQuery) -> None:
    """access-control: who creates a job may get and cancel it."""
    bigquery.grant("backup", "roles/bigquery.jobUser", on="shop")
    backup = bigquery.client("shop", identity="backup")

    job = backup.query("SELECT 1", job_id="mine", job_retry=None)

    assert list(job.result(job_retry=None)) != []
    assert backup.get_job("mine").user_email == "backup"


def test_another_process_sees_what_was_granted(bigquery: LocalBigQuery) -> None:
    elsewhere = LocalBigQueryAdmin(bigquery.url)
    elsewhere.grant("backup", "bigquery.tables.get", on="shop.sales")

    with pytest.raises(Forbidden, match=r"bigquery\.tables\.getData denied"):
        list(bigquery.client("shop", identity="backup").list_rows(TABLE))


@pytest.mark.parametrize("name", ["roles/bigquery.none", "bigquery.tables.none", "dataViewer"])
def test_an_unknown_role_or_permission_is_refused(bigquery: LocalBigQuery, name: str) -> None:
    with pytest.raises(LocalServerError, match="is no role or permission"):
        bigquery.grant("backup", name, on="shop")


# -- roles


def backs_up(client: bq.Client) -> object:
    return client.copy_table(T, "shop.backup.t").result()


@pytest.mark.parametrize(
    ("role", "act", "allowed"),
    [
        pytest.param("metadataViewer", call("GET", "/datasets/sales/tables/t"), True, id="metadataViewer sees tables"),
        pytest.param("metadataViewer", sql("SELECT * FROM sales.t"), False, id="metadataViewer reads no rows"),
        pytest.param("dataViewer", sql("SELECT * FROM sales.t"), True, id="dataViewer reads rows"),
        pytest.param("dataViewer", sql("DELETE FROM sales.t WHERE TRUE"), False, id="dataViewer writes none"),
        pytest.param("dataEditor", sql("DELETE FROM sales.t WHERE TRUE"), True, id="dataEditor writes rows"),
        pytest.param("dataEditor", job(operation_type="SNAPSHOT"), True, id="dataEditor makes snapshots"),
        pytest.param(
            "dataEditor", lambda c: c.delete_table("shop.sales.snap"), False, id="dataEditor deletes no snapshot"
        ),
        pytest.param(
            "dataEditor",
            job(operation_type="SNAPSHOT", destination_expiration_time=EXPIRING),
            False,
            id="dataEditor makes no snapshot that expires",
        ),
        pytest.param("dataOwner", lambda c: c.delete_table("shop.sales.snap"), True, id="dataOwner deletes snapshots"),
        pytest.param("dataOwner", call("GET", "/jobs"), False, id="dataOwner lists no jobs"),
        pytest.param("user", call("GET", "/jobs"), True, id="user lists jobs"),
        pytest.param("user", sql("SELECT * FROM sales.t"), False, id="user reads no rows"),
        pytest.param("admin", sql("DROP SCHEMA sales CASCADE"), True, id="admin does everything"),
    ],
)
def test_a_role_allows(bigquery: LocalBigQuery, role: str, act: Act, allowed: bool) -> None:
    """access-control: predefined roles; jobUser beside each, for the jobs."""
    bigquery.grant("backup", "roles/bigquery.jobUser", f"roles/bigquery.{role}", on="shop")
    backup = bigquery.client("shop", identity="backup")
    refused = ""

    try:
        act(backup)
    except Forbidden as error:
        refused = error.errors[0]["reason"]

    assert refused == ("" if allowed else "accessDenied")


def test_the_smallest_roles_for_a_backup_are_enough(bigquery: LocalBigQuery, client: bq.Client) -> None:
    """DDL COPY, access-control: dataViewer on the source, dataEditor on the backup, jobUser where it is paid."""
    a_dataset(client, "backup")
    bigquery.grant("backup", "roles/bigquery.dataViewer", on="shop.sales")
    bigquery.grant("backup", "roles/bigquery.dataEditor", on="shop.backup")
    bigquery.grant("backup", "roles/bigquery.jobUser", on="shop")

    backs_up(bigquery.client("shop", identity="backup"))

    assert rows_of(client, "backup.t") == [(1,)]


def test_each_role_has_what_the_smaller_one_has() -> None:
    ladder = [
        ROLES[f"roles/bigquery.{r}"] for r in ("metadataViewer", "dataViewer", "dataEditor", "dataOwner", "admin")
    ]

    assert all(smaller < larger for smaller, larger in pairwise(ladder))
