"""Each peer: what it is, where it is installed, and what of it runs."""

from __future__ import annotations

from dataclasses import dataclass

from peers.environments import Environment, NodeEnvironment, PythonEnvironment

_CLIENT = "google-cloud-bigquery==3.47.0"


@dataclass(frozen=True, slots=True)
class Peer:
    """``tests``: what the test runner is given: files of ``suites``, or of the source that the environment unpacks."""

    name: str
    environment: Environment
    tests: tuple[str, ...]


_GOOGLE = PythonEnvironment(
    "google-client",
    packages=(
        f"{_CLIENT.replace('==', '[all]==')}",
        "google-cloud-testutils",
        "google-cloud-storage",
        "google-cloud-datacatalog",
        "google-cloud-resource-manager",
        "mock",
        "psutil",
        "pytest",
        "pytest-timeout",
    ),
    sdist=_CLIENT,
)

PEERS = (
    Peer("google-client", _GOOGLE, ("tests/system",)),
    Peer(
        "pandas-gbq",
        PythonEnvironment("pandas-gbq", packages=("pandas-gbq", "pytest", "pytest-timeout")),
        ("test_pandas_gbq.py",),
    ),
    Peer(
        "sqlalchemy",
        PythonEnvironment("sqlalchemy", packages=("sqlalchemy-bigquery", "pytest", "pytest-timeout")),
        ("test_sqlalchemy.py",),
    ),
    Peer(
        "dbt",
        PythonEnvironment("dbt", packages=("dbt-core~=1.10.0", "dbt-bigquery~=1.10.0", "pytest", "pytest-timeout")),
        ("test_dbt.py",),
    ),
    Peer("node", NodeEnvironment("node", packages=("@google-cloud/bigquery",)), ("node.test.cjs",)),
)
