"""Where a peer is installed, in ``.peers/``, and how its tests are started. Made once; `rm -r .peers` makes it anew."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parent.parent / ".peers"
_SUITES = Path(__file__).parent / "suites"
_PLUGINS = Path(__file__).parent / "plugins"
_SECONDS_PER_TEST = 120


class Tests(Protocol):
    """What is to be run."""

    @property
    def tests(self) -> tuple[str, ...]: ...


class Environment(Protocol):
    def make(self) -> None:
        """Install what is not there yet."""

    def run(self, peer: Tests, report: Path, excluded: Iterable[str], variables: Mapping[str, str]) -> str:
        """Run the peer's tests but for the excluded; write a JUnit report, and give what was printed."""


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """A virtual environment; of ``sdist`` the source is unpacked, for the tests it carries."""

    name: str
    packages: tuple[str, ...]
    sdist: str | None = None

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    @property
    def source(self) -> Path:
        return self.folder / "source"

    def make(self) -> None:
        ready = self.folder / ".ready"
        if ready.exists():
            return
        _call([sys.executable, "-m", "venv", str(self.folder)])
        self._pip("install", *self.packages)
        if self.sdist is not None:
            self._unpack(self.sdist)
        ready.touch()

    def run(self, peer: Tests, report: Path, excluded: Iterable[str], variables: Mapping[str, str]) -> str:
        command = [str(self.folder / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *peer.tests]
        command += [f"--junitxml={report}", f"--timeout={_SECONDS_PER_TEST}", "-o", "junit_family=xunit1"]
        left_out = self.folder / "left_out.txt"
        left_out.write_text("\n".join(excluded))
        command += ["-p", "leave_out", f"--leave-out={left_out}"]
        tests_in = self.source if self.sdist else _SUITES
        configuration = self.folder / "pytest.ini"
        configuration.write_text("[pytest]\n")
        command += ["-c", str(configuration), f"--rootdir={tests_in}"]
        here = {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(_PLUGINS)}
        return _output(command, tests_in, {**variables, **here})

    def _pip(self, *arguments: str) -> None:
        pip = [str(self.folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        _call([*pip, *arguments])

    def _unpack(self, requirement: str) -> None:
        self._pip("download", "--no-binary", ":all:", "--no-deps", "--dest", str(self.folder), requirement)
        archive = next(self.folder.glob("*.tar.gz"))
        with tarfile.open(archive) as packed:
            packed.extractall(self.folder, filter="data")
        archive.with_name(archive.name.removesuffix(".tar.gz")).rename(self.source)


@dataclass(frozen=True, slots=True)
class NodeEnvironment:
    """A folder with ``node_modules``; the tests are run by Node's own runner."""

    name: str
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return ROOT / self.name

    def make(self) -> None:
        if not (self.folder / "node_modules").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _call(["npm", "install", "--silent", "--no-fund", "--prefix", str(self.folder), *self.packages])

    def run(self, peer: Tests, report: Path, excluded: Iterable[str], variables: Mapping[str, str]) -> str:
        if any(excluded):
            raise ValueError("Node's test runner cannot leave tests out: change the suite instead")
        reporters = ["--test-reporter=junit", f"--test-reporter-destination={report}"]
        here = {"NODE_PATH": str(self.folder / "node_modules")}
        return _output(["node", "--test", *reporters, *peer.tests], _SUITES, {**variables, **here})


def _call(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def _output(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr
