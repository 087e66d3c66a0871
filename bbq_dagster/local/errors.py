"""What BigQuery answers when it refuses: HTTP status, reason and words.

Source of reasons and statuses: https://cloud.google.com/bigquery/docs/error-messages

    Exception
    ├── BigQueryError       a refused request or a failed job, as the API words it
    └── LocalServerError    the server itself cannot start or cannot be reached
"""

from collections.abc import Mapping
from typing import Any

_STATUS_WORDS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

# reason -> HTTP status, as the table of error messages gives them.
REASON_STATUS: Mapping[str, int] = {
    "accessDenied": 403,
    "backendError": 503,
    "badGateway": 502,
    "badRequest": 400,
    "billingNotEnabled": 403,
    "blocked": 403,
    "conditionNotMet": 412,
    "duplicate": 409,
    "internalError": 500,
    "invalid": 400,
    "invalidQuery": 400,
    "jobBackendError": 400,
    "jobInternalError": 400,
    "jobRateLimitExceeded": 400,
    "notFound": 404,
    "notImplemented": 501,
    "quotaExceeded": 403,
    "rateLimitExceeded": 403,
    "required": 400,
    "resourceInUse": 400,
    "resourcesExceeded": 400,
    "responseTooLarge": 403,
    "stopped": 200,
    "tableUnavailable": 400,
    "timeout": 400,
}


class BigQueryError(Exception):
    """A refusal, as the HTTP answer (``body``) or as the ``errorResult`` of a job (``as_job_error``)."""

    def __init__(self, status: int, reason: str, message: str, location: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.location = location

    def body(self) -> dict[str, Any]:
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location is not None:
            detail |= {"location": self.location, "locationType": "parameter"}
        error: dict[str, Any] = {"code": self.status, "message": self.message, "errors": [detail]}
        if self.status in _STATUS_WORDS:
            error["status"] = _STATUS_WORDS[self.status]
        return {"error": error}

    def as_job_error(self) -> dict[str, str]:
        error = {"reason": self.reason, "message": self.message}
        return error if self.location is None else error | {"location": self.location}


class LocalServerError(Exception):
    """The embedded BigQuery cannot start, or does not answer. The message says what to do."""


def refused(reason: str, message: str, location: str | None = None) -> BigQueryError:
    """The error of a documented reason, with that reason's HTTP status."""
    return BigQueryError(REASON_STATUS[reason], reason, message, location)


def not_found(kind: str, name: object) -> BigQueryError:
    return refused("notFound", f"Not found: {kind} {name}")


def duplicate(kind: str, name: object) -> BigQueryError:
    return refused("duplicate", f"Already Exists: {kind} {name}")


def invalid(message: str, location: str | None = None) -> BigQueryError:
    return refused("invalid", message, location)


def invalid_query(message: str) -> BigQueryError:
    return refused("invalidQuery", message, "query")


def required(parameter: str) -> BigQueryError:
    return refused("required", f"Required parameter is missing: {parameter}", parameter)


def access_denied(kind: str, name: object, permission: str) -> BigQueryError:
    words = f"Permission {permission} denied on {kind.lower()} {name} (or it may not exist)."
    return refused("accessDenied", f"Access Denied: {kind} {name}: {words}")


def resource_in_use(name: object) -> BigQueryError:
    return refused("resourceInUse", f"Dataset {name} is still in use")


def condition_not_met() -> BigQueryError:
    return refused("conditionNotMet", "Precondition check failed.")


def quota_exceeded(message: str) -> BigQueryError:
    return refused("quotaExceeded", f"Quota exceeded: {message}")


def rate_limit_exceeded(message: str) -> BigQueryError:
    return refused("rateLimitExceeded", f"Exceeded rate limits: {message}")


def backend_error(
    message: str = "Error encountered during execution. Retrying may solve the problem.",
) -> BigQueryError:
    return refused("backendError", message)


def not_implemented(what: str) -> BigQueryError:
    """What BigQuery can do and this server cannot: refused, never answered wrongly."""
    return refused("notImplemented", f"The embedded BigQuery does not support {what}")
