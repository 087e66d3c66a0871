"""A deployment past one process: code server, daemon, webserver and a process per run, on Postgres.

As ``deploy/dagster.yaml`` has it, but for the launcher: run workers are processes here instead of containers.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml

from bbq_dagster_tests.e2e.clocked import CLOCK_VARIABLE
from bbq_dagster_tests.postgres import Postgres

DEPLOYED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"
DEFINITIONS = "bbq_dagster_tests.e2e.clocked"
STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Deployment:
    """The folder with Dagster's home and bbq.yaml, where the webserver answers, and who starts the run workers."""

    folder: Path
    port: int
    code_server: psutil.Process

    def move_clock(self, seconds: float) -> None:
        clock_of(self.folder).write_text(str(seconds))

    def ask(self, question: str, **variables: Any) -> Any:
        """What the webserver answers to a question in GraphQL."""
        body = json.dumps({"query": question, "variables": variables}).encode()
        url, headers = f"http://127.0.0.1:{self.port}/graphql", {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, answer
        return answer["data"]

    def kill_a_worker(self) -> None:
        """One of the processes in which runs are executed."""
        children = self.code_server.children(recursive=True)
        workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
        min(workers, key=lambda worker: worker.create_time()).kill()

    def log(self) -> str:
        """The last lines of all processes, for when something does not come to its end."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in logs)


def clock_of(folder: Path) -> Path:
    return folder / "clock"


@contextmanager
def environment(folder: Path, postgres: Postgres, database: str) -> Iterator[None]:
    """What all processes of the deployment, and this one, see of the machine while it is open."""
    home = folder / "dagster"
    home.mkdir()
    config = yaml.safe_load(DEPLOYED.read_text())
    del config["run_launcher"]
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    clock_of(folder).write_text("0")
    before = dict(os.environ)
    os.environ.update(
        {
            "DAGSTER_HOME": str(home),
            "BBQ_CONFIG": str(folder / "bbq.yaml"),
            CLOCK_VARIABLE: str(clock_of(folder)),
            **postgres.environment(database),
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """All processes, up. The datasets are those that are known when they start."""
    code, web = _free_port(), _free_port()
    workspace = folder / "workspace.yaml"
    server = {"host": "127.0.0.1", "port": code, "location_name": "bbq_dagster"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    code_server = ["dagster", "code-server", "start", "-p", str(code), "-m", DEFINITIONS]
    with ExitStack() as stack:
        pid = stack.enter_context(_running(folder / "code.log", code_server))
        _wait_for_port(code)
        stack.enter_context(
            _running(folder / "webserver.log", ["dagster-webserver", "-p", str(web), "-w", str(workspace)])
        )
        stack.enter_context(_running(folder / "daemon.log", ["dagster-daemon", "run", "-w", str(workspace)]))
        _wait_for_port(web)
        yield Deployment(folder, web, psutil.Process(pid))


def wait_until(is_so: Callable[[], bool], *, seconds: float, deployment: Deployment) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} seconds\n{deployment.log()}"
        time.sleep(1)


def most_at_once(instance: dg.DagsterInstance) -> int:
    """How many runs were under way at one time."""
    times = [(record.start_time, record.end_time) for record in instance.get_run_records()]
    assert all(start and end for start, end in times)
    return max((sum(start <= moment < end for start, end in times) for moment, _ in times), default=0)  # type: ignore[operator]


@contextmanager
def _running(log: Path, command: list[str]) -> Iterator[int]:
    program, *arguments = command
    with log.open("w") as file:
        process = subprocess.Popen([Path(sys.executable).parent / program, *arguments], stdout=file, stderr=file)
        try:
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                # Dagster takes the one signal for SIGINT, which a shell lets its processes in the background ignore.
                process.kill()
                process.wait()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"nobody listens on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
