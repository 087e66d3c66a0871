"""Google's errors in our words: what was being done, BigQuery's reason and message, and what to do about it.

The only module that catches exceptions of Google's libraries and of requests. It decides what is ``Transient``; how
long a transient error is repeated is decided in ``client``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass

import requests.exceptions
from google.api_core.exceptions import GoogleAPICallError, NotFound, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from bbq_dagster.core.wording import printable_lines
from bbq_dagster.errors import BbqError, Permanent, Transient
from bbq_dagster.warehouse.port import RATE_LIMIT

TRANSIENT_CALL_REASONS = frozenset({"rateLimitExceeded", "backendError", "internalError", "badGateway"})
TRANSIENT_JOB_REASONS = frozenset({"jobRateLimitExceeded", "jobBackendError", "jobInternalError"})
"""BigQuery: error-messages. A job that ended so is tried again under a new id, a call is simply repeated."""

_TRANSIENT_CODES = frozenset({408, 429, 500, 502, 503, 504})
_REASON_OF_CODE = {401: "authError", 403: "accessDenied", 404: "notFound", 409: "duplicate", 429: "rateLimitExceeded"}
_LOST = (
    ConnectionError,
    FutureTimeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ConnectionError,  # SSLError too: every call of ours is safe to repeat
    requests.exceptions.InvalidJSONError,  # an answer that was cut off
    requests.exceptions.Timeout,
)
_PERMISSION = re.compile(r"\bbigquery\.[A-Za-z]+\.[A-Za-z]+\b")
_FOREIGN = (GoogleAPICallError, RetryError, GoogleAuthError, requests.exceptions.RequestException, *_LOST)

_HINTS: Mapping[str, str] = {
    "authError": "the credentials are not valid any more: sign in again, or renew the key of the service account",
    "notFound": "it was deleted or renamed meanwhile, or the location in bbq.yaml is not the one where it is",
    "quotaExceeded": "a quota of the backup project is used up: it refills in the course of a day,"
    " and the next run goes on",
    "billingNotEnabled": "enable billing for the backup project: the free tier has no copies",
    "invalidQuery": "this query is bbq's own: please report it with this message",
    "resourceInUse": "wait until the other job on it is done",
    "conditionNotMet": "somebody else changed it at the same moment: run it again",
}


@dataclass(frozen=True, slots=True)
class Need:
    """A permission that a step needs, where, and the smallest predefined role with it (BigQuery: access-control)."""

    permission: str
    role: str
    on: object

    def __str__(self) -> str:
        return f"{self.permission} on {self.on} (role {self.role})"


@contextmanager
def explained(doing: str, *needs: Need) -> Iterator[None]:
    """Turn a foreign exception into ours. ``doing`` names step and thing: "listing the tables of acme-shop.sales"."""
    try:
        yield
    except _FOREIGN as error:
        raise _explain(error, doing, needs) from error


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed when it is repeated. All calls of this project are safe to repeat."""
    if isinstance(error, GoogleAPICallError):
        return reason_of(error) in TRANSIENT_CALL_REASONS or error.code in _TRANSIENT_CODES
    if isinstance(error, GoogleAuthError):
        return bool(error.retryable)
    return isinstance(error, _LOST)


def is_transient_at_this_pace(error: BaseException) -> bool:
    """``is_transient``, but for what is refused because too many ask: whoever sets the pace is to know."""
    return is_transient(error) and not (isinstance(error, GoogleAPICallError) and reason_of(error) == RATE_LIMIT)


def is_transient_job(error: BaseException) -> bool:
    """Whether a query failed in a way that a new job may mend."""
    return isinstance(error, GoogleAPICallError) and reason_of(error) in TRANSIENT_JOB_REASONS


def is_not_visible_yet(error: BaseException) -> bool:
    """For a job that BigQuery said exists: a 404 right after a 409 passes (python-bigquery issue 2134)."""
    return is_transient(error) or isinstance(error, NotFound)


def job_error(result: Mapping[str, str], doing: str, *needs: Need) -> BbqError:
    """The ``errorResult`` of a job that is done."""
    reason, message = result.get("reason", ""), result.get("message", "no message")
    is_worth_a_new_job = reason in TRANSIENT_CALL_REASONS | TRANSIENT_JOB_REASONS
    return _build(Transient if is_worth_a_new_job else Permanent, doing, message, reason, needs)


def reason_of(error: GoogleAPICallError) -> str:
    """BigQuery's word for what went wrong; where it gave none, the one that its HTTP status stands for."""
    for detail in error.errors or ():
        if isinstance(detail, dict) and detail.get("reason"):
            return str(detail["reason"])
    return _REASON_OF_CODE.get(error.code or 0, "")


def _explain(error: BaseException, doing: str, needs: tuple[Need, ...]) -> BbqError:
    if isinstance(error, RetryError):
        return _build(Transient, f"{doing}: gave up", _message_of(error.cause), _reason(error.cause), needs)
    if isinstance(error, DefaultCredentialsError):
        return Permanent(f"{doing}: no credentials", hint="run: gcloud auth application-default login")
    kind = Transient if is_transient(error) or is_transient_job(error) else Permanent
    return _build(kind, doing, _message_of(error), _reason(error), needs)


def _build(kind: type[BbqError], doing: str, message: str, reason: str, needs: tuple[Need, ...]) -> BbqError:
    said = printable_lines(f"{doing}: {message}")
    return kind(f"{said} ({reason})" if reason else said, hint=_hint(reason, message, needs), reason=reason)


def _hint(reason: str, message: str, needs: tuple[Need, ...]) -> str:
    if reason == "accessDenied" and needs:
        return f"give the account that bbq runs as {_missing(message, needs)}"
    return _HINTS.get(reason, "")


def _missing(message: str, needs: tuple[Need, ...]) -> str:
    """The permission that BigQuery names; where it names none, all that the step needs."""
    asked = _PERMISSION.search(message)
    if asked is None:
        return ", and ".join(str(need) for need in needs)
    return next((str(need) for need in needs if need.permission == asked[0]), f"{asked[0]} on what is named here")


def _reason(error: BaseException | None) -> str:
    return reason_of(error) if isinstance(error, GoogleAPICallError) else ""


def _message_of(error: BaseException | None) -> str:
    """BigQuery's own sentence, without the method and URL that the library puts before it."""
    if isinstance(error, GoogleAPICallError):
        said = [detail["message"] for detail in error.errors or () if isinstance(detail, dict) and "message" in detail]
        return str(said[0]) if said else str(error.message)
    if isinstance(error, FutureTimeout) and not str(error):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"
