"""Scripts, temporary tables, transactions, sessions and functions that users define, by Google's own client."""

from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, MethodNotImplemented, NotFound
from google.cloud import bigquery as bq

from bbq_dagster.local.server import LocalBigQuery
from bbq_dagster_tests.local.builders import a_table, rows_of


def answer(client: bq.Client, sql: str, config: bq.QueryJobConfig | None = None) -> list[tuple[Any, ...]]:
    """The rows that a script leaves."""
    return [row.values() for row in client.query(sql, job_config=config).result()]


def in_session(session_id: str) -> bq.QueryJobConfig:
    return bq.QueryJobConfig(connection_properties=[bq.ConnectionProperty("session_id", session_id)])


def a_session(client: bq.Client, sql: str = "SELECT 1") -> bq.QueryJobConfig:
    """Starts a session with a query; the configuration of jobs in it."""
    job = client.query(sql, job_config=bq.QueryJobConfig(create_session=True), location="EU")
    job.result()
    assert job.session_info is not None
    return in_session(str(job.session_info.session_id))


# -- procedural language


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("DECLARE x INT64 DEFAULT 1; SET x = x + 1; SELECT x", [(2,)], id="variables"),
        pytest.param("DECLARE x DEFAULT 'a'; SELECT x", [("a",)], id="a default gives the type"),
        pytest.param("DECLARE x, y INT64; SET (x, y) = (1, 2); SELECT x, y", [(1, 2)], id="SET of several"),
        pytest.param(
            "IF 1 > 2 THEN SELECT 'a'; ELSEIF 2 > 1 THEN SELECT 'b'; ELSE SELECT 'c'; END IF", [("b",)], id="IF"
        ),
        pytest.param("CASE WHEN FALSE THEN SELECT 1; ELSE SELECT 2; END CASE", [(2,)], id="CASE"),
        pytest.param("CASE 2 WHEN 1 THEN SELECT 'a'; WHEN 2 THEN SELECT 'b'; END CASE", [("b",)], id="CASE of a value"),
        pytest.param(
            "DECLARE x INT64 DEFAULT 0; WHILE x < 3 DO SET x = x + 1; END WHILE; SELECT x", [(3,)], id="WHILE"
        ),
        pytest.param(
            "DECLARE x INT64 DEFAULT 0; LOOP SET x = x + 1; IF x = 2 THEN CONTINUE; END IF; "
            "IF x > 4 THEN BREAK; END IF; END LOOP; SELECT x",
            [(5,)],
            id="LOOP with CONTINUE and BREAK",
        ),
        pytest.param(
            "DECLARE x INT64 DEFAULT 0; REPEAT SET x = x + 1; UNTIL x >= 3 END REPEAT; SELECT x", [(3,)], id="REPEAT"
        ),
        pytest.param(
            "DECLARE s STRING DEFAULT ''; FOR r IN (SELECT a, b FROM UNNEST([STRUCT(1 AS a, 'x' AS b), (2, 'y')]) "
            "ORDER BY a) DO SET s = CONCAT(s, r.b, CAST(r.a AS STRING)); END FOR; SELECT s",
            [("x1y2",)],
            id="FOR over a query",
        ),
        pytest.param(
            "BEGIN SELECT ERROR('no'); EXCEPTION WHEN ERROR THEN SELECT @@error.message; END",
            [("no",)],
            id="an error is handled",
        ),
        pytest.param("BEGIN RAISE USING MESSAGE = 'no'; EXCEPTION WHEN ERROR THEN SELECT 1; END", [(1,)], id="RAISE"),
        pytest.param("BEGIN DECLARE x INT64 DEFAULT 7; SELECT x; END", [(7,)], id="a block has variables"),
        pytest.param("SELECT 1; RETURN; SELECT 2", [(1,)], id="RETURN ends the script"),
        pytest.param("EXECUTE IMMEDIATE 'SELECT ' || '5'", [(5,)], id="EXECUTE IMMEDIATE"),
        pytest.param(
            "DECLARE x, y INT64; EXECUTE IMMEDIATE 'SELECT ? + 1, @b' INTO x, y USING 1, 5 AS b; SELECT x, y",
            [(2, 5)],
            id="EXECUTE IMMEDIATE ... INTO ... USING",
        ),
        pytest.param("ASSERT 1 < 2 AS 'smaller'; SELECT 1", [(1,)], id="ASSERT that holds"),
        pytest.param("SELECT CASE WHEN TRUE THEN 'a; b' END -- END;\n; ", [("a; b",)], id="semicolons in text"),
    ],
)
def test_a_script_leaves_the_rows_of_its_last_query(client: bq.Client, script: str, expected: list[Any]) -> None:
    """procedural-language."""
    assert answer(client, script) == expected


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("ASSERT 1 > 2 AS 'not smaller'", "not smaller", id="ASSERT that fails"),
        pytest.param("RAISE USING MESSAGE = CONCAT('a', 'b')", "ab", id="RAISE"),
        pytest.param("BEGIN SELECT ERROR('no'); EXCEPTION WHEN ERROR THEN RAISE; END", "no", id="RAISE again"),
        pytest.param("SET x = 1", "Undeclared variable: x", id="an undeclared variable"),
        pytest.param("BEGIN DECLARE x INT64; END; SELECT x", "Unrecognized name: x", id="a variable after its block"),
        pytest.param("BREAK", "BREAK is only allowed inside of a loop body", id="BREAK outside of a loop"),
        pytest.param("SELECT 1; IF TRUE THEN SELECT 1;", "Syntax error: Unexpected end of script", id="no END IF"),
        pytest.param("SELECT 1;\n  SELEC 2", r'Unexpected identifier "SELEC" at \[2:3\]', id="an error has its place"),
        pytest.param("COMMIT TRANSACTION", "There is no transaction in progress", id="COMMIT without BEGIN"),
    ],
)
def test_a_script_fails_with_the_words_of_its_error(client: bq.Client, script: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        answer(client, script)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("CALL sales.p()", id="CALL"),
        pytest.param("CREATE PROCEDURE sales.p() BEGIN SELECT 1; END", id="CREATE PROCEDURE"),
        pytest.param("CREATE FUNCTION sales.f(x FLOAT64) RETURNS FLOAT64 LANGUAGE js AS r'return x;'", id="JavaScript"),
        pytest.param("CREATE TEMP AGGREGATE FUNCTION f(x INT64) AS (SUM(x))", id="an aggregate function"),
        pytest.param("CREATE TABLE FUNCTION sales.f() AS SELECT 1", id="a table function"),
    ],
)
def test_what_no_script_can_do_here_is_not_implemented(client: bq.Client, statement: str) -> None:
    with pytest.raises(MethodNotImplemented):
        answer(client, statement)


def test_statements_of_a_script_are_jobs_of_their_own(client: bq.Client) -> None:
    """REST Job.statistics: numChildJobs and parentJobId; jobs.list with parentJobId."""
    script = client.query("SELECT 1; SELECT 'a' AS x")
    script.result()

    children = sorted(client.list_jobs(parent_job=script), key=lambda job: str(job.job_id))
    assert script.num_child_jobs == 2
    assert [(job.query, job.statement_type) for job in children] == [
        ("SELECT 1", "SELECT"),
        ("SELECT 'a' AS x", "SELECT"),
    ]
    assert [[row.values() for row in job.result()] for job in children] == [[(1,)], [("a",)]]
    assert [job.job_id for job in client.list_jobs()] == [script.job_id]


# -- temporary tables


def test_a_temporary_table_lasts_as_long_as_its_script(client: bq.Client) -> None:
    """multi-statement-queries#temporary_tables."""
    script = "CREATE TEMP TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2); SELECT * FROM t ORDER BY a"

    assert answer(client, script) == [(1,), (2,)]
    with pytest.raises(BadRequest, match='Table "t" must be qualified with a dataset'):
        answer(client, "SELECT * FROM t")


def test_a_temporary_table_is_no_table_of_a_dataset(bigquery: LocalBigQuery, client: bq.Client) -> None:
    answer(client, "CREATE TEMP TABLE t (a INT64); CREATE TABLE sales.u AS SELECT * FROM _SESSION.t")

    assert [table.table_id for table in client.list_tables("sales")] == ["u"]
    assert [d.dataset_id for d in client.list_datasets(include_all=True)] == ["sales"]


def test_a_temporary_table_is_altered_updated_and_dropped(client: bq.Client) -> None:
    script = (
        "CREATE TEMP TABLE t (a INT64); ALTER TABLE t ADD COLUMN b INT64; INSERT t VALUES (1, 2); "
        "UPDATE t SET b = 3 WHERE a = 1; CREATE TABLE sales.u AS SELECT * FROM t; DROP TABLE t; SELECT * FROM t"
    )

    with pytest.raises(BadRequest, match="must be qualified"):
        answer(client, script)
    assert rows_of(client, "u") == [(1, 3)]


# -- transactions


def test_rollback_undoes_dml(client: bq.Client) -> None:
    """transactions: ROLLBACK TRANSACTION; what it wrote is seen within it."""
    a_table(client, "t", [{"a": 1}])

    seen = answer(
        client,
        "DECLARE n INT64; BEGIN TRANSACTION; INSERT INTO sales.t VALUES (2); UPDATE sales.t SET a = 5 WHERE a = 1; "
        "SET n = (SELECT SUM(a) FROM sales.t); ROLLBACK TRANSACTION; SELECT n",
    )

    assert (seen, rows_of(client, "t")) == ([(7,)], [(1,)])


def test_commit_writes_every_table(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    a_table(client, "u", [{"a": 1}])

    answer(client, "BEGIN; DELETE FROM sales.t WHERE TRUE; INSERT INTO sales.u VALUES (2); COMMIT")

    assert (rows_of(client, "t"), rows_of(client, "u")) == ([], [(1,), (2,)])


def test_only_partitions_that_a_transaction_changed_are_modified(bigquery: LocalBigQuery, client: bq.Client) -> None:
    answer(
        client,
        "CREATE TABLE sales.t PARTITION BY d AS SELECT DATE '2024-01-01' AS d UNION ALL SELECT DATE '2024-01-02'",
    )
    before = client.get_table("shop.sales.t$20240101").modified
    bigquery.advance(timedelta(hours=1))

    answer(client, "BEGIN TRANSACTION; INSERT INTO sales.t VALUES ('2024-01-02'); COMMIT TRANSACTION")

    after = [client.get_table(f"shop.sales.t$2024010{day}").modified for day in (1, 2)]
    assert after == [before, before + timedelta(hours=1)]


def test_an_error_in_a_script_rolls_its_transaction_back(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])

    with pytest.raises(BadRequest, match="no"):
        answer(client, "BEGIN TRANSACTION; INSERT INTO sales.t VALUES (2); SELECT ERROR('no'); COMMIT TRANSACTION")

    assert rows_of(client, "t") == [(1,)]


def test_a_handler_rolls_back(client: bq.Client) -> None:
    """transactions: the example of an EXCEPTION clause with ROLLBACK."""
    a_table(client, "t", [{"a": 1}])

    answer(
        client,
        "BEGIN BEGIN TRANSACTION; INSERT INTO sales.t VALUES (2); SELECT 1/0; COMMIT TRANSACTION; "
        "EXCEPTION WHEN ERROR THEN ROLLBACK TRANSACTION; END",
    )

    assert rows_of(client, "t") == [(1,)]


def test_a_commit_after_another_write_is_refused(client: bq.Client) -> None:
    """transactions: a transaction that mutates a table conflicts with other mutations of it."""
    a_table(client, "t", [{"a": 1}])
    session = a_session(client, "BEGIN TRANSACTION; INSERT INTO sales.t VALUES (2)")
    answer(client, "INSERT INTO sales.t VALUES (3)")

    with pytest.raises(BadRequest, match=r"Transaction is aborted due to concurrent update against table shop:sales.t"):
        answer(client, "COMMIT TRANSACTION", session)

    assert rows_of(client, "t") == [(1,), (3,)]


def test_a_transaction_takes_no_ddl_of_permanent_tables(client: bq.Client) -> None:
    with pytest.raises(BadRequest, match="A transaction cannot contain DDL"):
        answer(client, "BEGIN TRANSACTION; CREATE TABLE sales.t (a INT64); COMMIT TRANSACTION")


# -- sessions


def test_a_session_keeps_temporary_tables_variables_and_functions(client: bq.Client) -> None:
    """sessions-intro."""
    session = a_session(client, "CREATE TEMP TABLE t AS SELECT 1 AS a")

    answer(client, "INSERT INTO t VALUES (2)", session)
    answer(client, "DECLARE x INT64 DEFAULT 10", session)
    answer(client, "CREATE TEMP FUNCTION f(v INT64) AS (v * x)", session)

    assert answer(client, "SELECT f(a) FROM t ORDER BY a", session) == [(10,), (20,)]


def test_a_transaction_lasts_over_the_jobs_of_a_session(client: bq.Client) -> None:
    a_table(client, "t", [{"a": 1}])
    session = a_session(client, "BEGIN TRANSACTION")
    answer(client, "INSERT INTO sales.t VALUES (2)", session)
    outside = rows_of(client, "t")
    answer(client, "COMMIT TRANSACTION", session)

    assert (outside, rows_of(client, "t")) == ([(1,)], [(1,), (2,)])


def test_a_session_that_was_ended_is_not_found(client: bq.Client) -> None:
    """sessions#terminate: CALL BQ.ABORT_SESSION()."""
    session = a_session(client, "CREATE TEMP TABLE t AS SELECT 1 AS a")
    answer(client, "CALL BQ.ABORT_SESSION()", session)

    with pytest.raises(NotFound, match="Session"):
        answer(client, "SELECT * FROM t", session)


# -- functions


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param("CREATE TEMP FUNCTION f(x INT64) AS (x + 1); SELECT f(1) + F(2)", [(5,)], id="temporary"),
        pytest.param(
            "CREATE FUNCTION sales.f(x INT64, y STRING) RETURNS STRING AS (CONCAT(y, CAST(x AS STRING))); "
            "SELECT sales.f(1, 'a'), shop.sales.f(2, 'b'), `shop.sales.f`(3, 'c')",
            [("a1", "b2", "c3")],
            id="persistent, by all its names",
        ),
        pytest.param("CREATE TEMP FUNCTION f(x ANY TYPE) AS (x); SELECT f('a'), f(1)", [("a", 1)], id="ANY TYPE"),
        pytest.param("CREATE TEMP FUNCTION f(x FLOAT64) AS (x); SELECT f(1) / 2", [(0.5,)], id="arguments are cast"),
        pytest.param(
            "CREATE TEMP FUNCTION f(s STRUCT<a INT64>) AS (s.a); SELECT f(STRUCT(3 AS a))", [(3,)], id="a struct"
        ),
        pytest.param(
            "CREATE TEMP FUNCTION f(x INT64) AS (x + 1); CREATE TEMP FUNCTION g(x INT64) AS (f(x) * 2); SELECT g(1)",
            [(4,)],
            id="a function calls another",
        ),
        pytest.param(
            "CREATE TEMP FUNCTION f(xs ARRAY<INT64>) AS ((SELECT SUM(x) FROM UNNEST(xs) AS x)); SELECT f([1, 2])",
            [(3,)],
            id="a query as the body",
        ),
    ],
)
def test_a_function_is_called(client: bq.Client, script: str, expected: list[Any]) -> None:
    """user-defined-functions."""
    assert answer(client, script) == expected


def test_a_function_is_a_routine_of_its_dataset(client: bq.Client) -> None:
    answer(client, "CREATE FUNCTION sales.f(x INT64, y ARRAY<STRING>) RETURNS INT64 AS (x)")
    routine = client.get_routine("shop.sales.f")

    assert (routine.type_, routine.language, routine.body) == ("SCALAR_FUNCTION", "SQL", "x")
    assert [argument.name for argument in routine.arguments] == ["x", "y"]
    assert routine.return_type == bq.StandardSqlDataType(type_kind=bq.StandardSqlTypeNames.INT64)


def test_a_routine_made_by_the_api_is_called(client: bq.Client) -> None:
    integer = bq.StandardSqlDataType(type_kind=bq.StandardSqlTypeNames.INT64)
    arguments = [bq.RoutineArgument(name="x", data_type=integer)]
    routine = bq.Routine("shop.sales.f", type_="SCALAR_FUNCTION", language="SQL", body="x * 3", arguments=arguments)
    client.create_routine(routine)

    assert answer(client, "SELECT sales.f(2)") == [(6,)]


def test_a_view_calls_functions_of_datasets(client: bq.Client) -> None:
    answer(client, "CREATE FUNCTION sales.f(x INT64) AS (x + 1); CREATE VIEW sales.v AS SELECT sales.f(1) AS a")

    assert answer(client, "SELECT a FROM sales.v") == [(2,)]


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        pytest.param("CREATE FUNCTION sales.f() AS (1)", GoogleAPICallError, "Already Exists: Routine", id="again"),
        pytest.param("SELECT sales.g(1)", NotFound, "Function shop:sales.g", id="a call of none"),
        pytest.param("SELECT sales.f(1, 2)", BadRequest, "Number of arguments does not match", id="arguments"),
        pytest.param("DROP FUNCTION sales.g", NotFound, "Routine shop:sales.g", id="dropping none"),
        pytest.param(
            "CREATE TEMP FUNCTION f() AS (f()); SELECT f()", BadRequest, "call each other too deeply", id="recursion"
        ),
    ],
)
def test_functions_are_refused(client: bq.Client, statement: str, error: type[Exception], words: str) -> None:
    answer(client, "CREATE FUNCTION sales.f() AS (1)")

    with pytest.raises(error, match=words):
        answer(client, statement)


def test_a_function_is_replaced_skipped_and_dropped(client: bq.Client) -> None:
    answer(client, "CREATE FUNCTION sales.f() AS (1); CREATE OR REPLACE FUNCTION sales.f() AS (2)")
    answer(client, "CREATE FUNCTION IF NOT EXISTS sales.f() AS (3)")
    seen = answer(client, "SELECT sales.f()")
    answer(client, "DROP FUNCTION sales.f; DROP FUNCTION IF EXISTS sales.f")

    assert (seen, list(client.list_routines("sales"))) == ([(2,)], [])
