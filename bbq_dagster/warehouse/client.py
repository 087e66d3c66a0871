"""The client of BigQuery, and how patient every call is.

Decides on connections, credentials, timeouts and repeats; knows nothing of datasets and tables. The library has no
timeout and no retry of a bare 504 of its own (google-cloud-bigquery 3.47), so every call is given both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict

from google.api_core.client_options import ClientOptions
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from requests import Session
from requests.adapters import HTTPAdapter

from bbq_dagster.warehouse.faults import (
    explained,
    is_not_visible_yet,
    is_transient,
    is_transient_at_this_pace,
    is_transient_job,
)


class CallOptions(TypedDict):
    """What every method of the client is given."""

    retry: Retry
    timeout: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may take, and how long a transient error is repeated. All in seconds.

    The pauses between repeats grow from ``first_pause`` to ``longest_pause``, each with full jitter.
    """

    request_timeout: float = 60.0
    give_up_after: float = 600.0
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def call_options(self) -> CallOptions:
        return {"retry": self._retry(is_transient), "timeout": self.request_timeout}

    def options_of_a_paced_call(self) -> CallOptions:
        """For a caller that slows down where BigQuery says so."""
        return {"retry": self._retry(is_transient_at_this_pace), "timeout": self.request_timeout}

    def options_for_an_existing_job(self) -> CallOptions:
        return {"retry": self._retry(is_not_visible_yet), "timeout": self.request_timeout}

    def job_retry(self) -> Retry:
        return self._retry(is_transient_job)

    def polls(self) -> Iterator[float]:
        """How long to sleep between two looks at a job; ends when the patience does."""
        waited, pause = 0.0, min(0.25, self.first_pause)
        while waited < self.give_up_after:
            yield pause
            waited += pause
            pause = min(pause * 1.5, 5.0)

    def _retry(self, predicate: Callable[[BaseException], bool]) -> Retry:
        return Retry(
            predicate=predicate, initial=self.first_pause, maximum=self.longest_pause, timeout=self.give_up_after
        )


def build_client(
    project: str,
    *,
    endpoint: str | None = None,
    credentials: Literal["default", "anonymous"] = "default",
    pool_size: int = 32,
) -> bigquery.Client:
    """A client whose jobs run in ``project``, for ``pool_size`` threads.

    ``endpoint`` None leaves the choice to the library: BIGQUERY_EMULATOR_HOST, else BigQuery itself.
    Raises ``Permanent`` where Google's default credentials are wanted and there are none.
    """
    with explained("connecting to BigQuery"):
        client = bigquery.Client(
            project=project,
            credentials=AnonymousCredentials() if credentials == "anonymous" else None,  # type: ignore[no-untyped-call]
            client_options=ClientOptions(api_endpoint=endpoint) if endpoint else None,
        )
    # The library has no other way to a pool that fits the threads: python-bigquery issue 59.
    adapter = HTTPAdapter(pool_connections=pool_size, pool_maxsize=pool_size)
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, adapter)
    _settle_environment(client._http, str(client._connection.API_BASE_URL))
    return client


def _settle_environment(session: Session, url: str) -> None:
    """Read proxies and certificates from the environment once.

    requests would go through all of the environment for every request: a sixth of the client's time for a copy job.
    """
    settled = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.trust_env = settled["proxies"], settled["verify"], False
