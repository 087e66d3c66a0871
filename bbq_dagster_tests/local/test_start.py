"""A server is there at once: it loads what it needs, and nothing that only its clients need."""

import subprocess
import sys

LOADED = """
import sys
import bbq_dagster.local.server
print(*sys.modules)
"""


def test_a_server_does_not_load_what_only_its_clients_need() -> None:
    """Google's client alone takes longer to load than the server."""
    loaded = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.split()

    assert "uvicorn" in loaded
    assert {"google.cloud.bigquery", "pandas", "requests", "dagster"} & {*loaded} == set()
