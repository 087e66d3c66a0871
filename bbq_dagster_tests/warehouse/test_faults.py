import pytest
import requests.exceptions
from google.api_core.exceptions import GoogleAPICallError, RetryError, from_http_status
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from bbq_dagster.errors import BbqError, Permanent, Transient
from bbq_dagster.warehouse.faults import Need, explained, is_transient, job_error


def answered(status: int, reason: str | None = None, message: str = "said BigQuery") -> GoogleAPICallError:
    """An error as the library makes it of an HTTP answer; without a reason, of one that is not JSON."""
    errors = [{"reason": reason, "message": message}] if reason else []
    return from_http_status(status, f"GET https://bigquery.googleapis.com/x: {message}", errors=errors)


def gave_up(cause: Exception) -> RetryError:
    return RetryError("Timeout of 600s exceeded", cause)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(answered(503, "backendError"), Transient, id="backend error"),
        pytest.param(answered(403, "rateLimitExceeded"), Transient, id="rate limit, as 403"),
        pytest.param(answered(504), Transient, id="bare 504"),
        pytest.param(answered(429), Transient, id="bare 429"),
        pytest.param(answered(400, "jobBackendError"), Transient, id="query that failed in the backend"),
        pytest.param(answered(403, "accessDenied"), Permanent, id="access denied"),
        pytest.param(answered(403, "quotaExceeded"), Permanent, id="quota of the day"),
        pytest.param(answered(404, "notFound"), Permanent, id="not found"),
        pytest.param(answered(400, "invalidQuery"), Permanent, id="query that is wrong"),
        pytest.param(answered(409, "duplicate"), Permanent, id="exists already"),
        pytest.param(ConnectionResetError(104, "reset"), Transient, id="connection reset"),
        pytest.param(requests.exceptions.ReadTimeout("slow"), Transient, id="no answer in time"),
        pytest.param(requests.exceptions.SSLError("broken"), Transient, id="TLS broke off"),
        pytest.param(requests.exceptions.ChunkedEncodingError("half"), Transient, id="half an answer"),
        pytest.param(requests.exceptions.JSONDecodeError("half", "{", 1), Transient, id="half a JSON"),
        pytest.param(requests.exceptions.InvalidSchema("no http"), Permanent, id="endpoint that is none"),
        pytest.param(TransportError("lost", retryable=True), Transient, id="token server not reached"),
        pytest.param(RefreshError("revoked"), Permanent, id="credentials revoked"),
        pytest.param(TimeoutError(), Transient, id="a query that goes on for too long"),
        pytest.param(gave_up(answered(503, "backendError")), Transient, id="repeated until the deadline"),
    ],
)
def test_it_is_decided_once_whether_trying_again_may_help(error: Exception, expected: type[BbqError]) -> None:
    with pytest.raises(expected), explained("listing the tables of acme-shop.sales"):
        raise error


def test_only_errors_of_google_and_requests_are_turned_into_ours() -> None:
    with pytest.raises(ZeroDivisionError), explained("listing"):
        raise ZeroDivisionError


def test_a_message_says_what_was_being_done_and_what_bigquery_said() -> None:
    with pytest.raises(Permanent) as error, explained("listing the tables of acme-shop.sales"):
        raise answered(404, "notFound", "Not found: Dataset acme-shop:sales was not found in location EU")

    first, hint = str(error.value).split("\nHINT: ")
    assert first == (
        "listing the tables of acme-shop.sales: "
        "Not found: Dataset acme-shop:sales was not found in location EU (notFound)"
    )
    assert hint.startswith("it was deleted or renamed")
    assert error.value.reason == "notFound"


def test_a_missing_permission_is_named_with_its_place_and_role() -> None:
    needs = (
        Need("bigquery.tables.getData", "roles/bigquery.dataViewer", "acme-shop.sales"),
        Need("bigquery.jobs.create", "roles/bigquery.jobUser", "project acme-backup"),
    )
    with pytest.raises(Permanent) as error, explained("copying", *needs):
        raise answered(403, "accessDenied")

    assert str(error.value).split("HINT: ")[1] == (
        "give the account that bbq runs as"
        " bigquery.tables.getData on acme-shop.sales (role roles/bigquery.dataViewer),"
        " and bigquery.jobs.create on project acme-backup (role roles/bigquery.jobUser)"
    )


def test_only_the_permission_that_bigquery_names_is_asked_for() -> None:
    needs = (
        Need("bigquery.tables.getData", "roles/bigquery.dataViewer", "acme-shop.sales"),
        Need("bigquery.jobs.create", "roles/bigquery.jobUser", "project acme-backup"),
    )

    def hint(permission: str) -> str:
        with pytest.raises(Permanent) as error, explained("copying", *needs):
            raise answered(403, "accessDenied", f"Permission {permission} denied on dataset x (or it may not exist).")
        return str(error.value).split("HINT: give the account that bbq runs as ")[1]

    assert hint("bigquery.jobs.create") == "bigquery.jobs.create on project acme-backup (role roles/bigquery.jobUser)"
    assert hint("bigquery.tables.get") == "bigquery.tables.get on what is named here"


def test_giving_up_names_the_last_cause() -> None:
    with pytest.raises(Transient, match="copying: gave up: backend is down \\(backendError\\)"), explained("copying"):
        raise gave_up(answered(503, "backendError", "backend is down"))


def test_missing_credentials_say_how_to_get_them() -> None:
    with pytest.raises(Permanent, match="gcloud auth application-default login"), explained("connecting"):
        raise DefaultCredentialsError("none found")


def test_an_answer_without_json_keeps_its_words() -> None:
    with pytest.raises(Transient, match="upstream timed out"), explained("listing"):
        raise answered(504, message="upstream timed out")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        *[
            pytest.param(reason, Transient, id=reason)
            for reason in (
                "backendError",
                "internalError",
                "rateLimitExceeded",
                "jobBackendError",
                "jobInternalError",
                "jobRateLimitExceeded",
            )
        ],
        *[
            pytest.param(reason, Permanent, id=reason)
            for reason in ("duplicate", "notFound", "invalid", "accessDenied", "quotaExceeded", "stopped")
        ],
    ],
)
def test_a_failed_job_is_worth_a_new_one_only_where_bigquery_failed(reason: str, expected: type[BbqError]) -> None:
    error = job_error({"reason": reason, "message": "said BigQuery"}, "copying a to b")

    assert type(error) is expected
    assert error.reason == reason
    assert str(error).startswith(f"copying a to b: said BigQuery ({reason})")


def test_a_job_that_exists_is_no_reason_to_repeat_a_call() -> None:
    assert not is_transient(answered(409, "duplicate"))
