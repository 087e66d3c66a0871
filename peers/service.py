"""What a peer needs around it: an embedded BigQuery, and tokens for clients that insist on credentials.

The clients stay as they are. They find the server by ``BIGQUERY_EMULATOR_HOST`` and their credentials by
``GOOGLE_APPLICATION_CREDENTIALS``: workload identity, with a token service on loopback that gives what is no secret.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bbq_dagster.local.server import LocalBigQuery

PROJECT = "peers"
_TOKEN = {
    "access_token": "none",
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "token_type": "Bearer",
    "expires_in": 3600,
}


@contextmanager
def peer_service(folder: Path) -> Iterator[dict[str, str]]:
    """The environment variables by which a client finds it all, while it lasts."""
    with LocalBigQuery() as bigquery, _token_service() as token_url:
        yield {
            "BIGQUERY_EMULATOR_HOST": bigquery.url,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_APPLICATION_CREDENTIALS": str(_credentials(folder, token_url)),
            "NO_PROXY": "127.0.0.1",
        }


class _Tokens(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(_TOKEN).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@contextmanager
def _token_service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tokens) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


def _credentials(folder: Path, token_url: str) -> Path:
    subject = folder / "subject_token"
    subject.write_text("nobody")
    path = folder / "credentials.json"
    identity = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/peers/providers/peers",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(subject)},
    }
    path.write_text(json.dumps(identity))
    return path
