"""`bbq demo` as a new user starts it."""

import subprocess
import sys
from pathlib import Path


def test_the_demo_backs_up_what_changed_and_brings_a_lost_table_back(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bbq_dagster.cli", "demo", "--small", "--folder", str(tmp_path / "demo")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    said = dict(line.split(": ", 1) for line in ended.stdout.splitlines() if ": " in line)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "FAILED" not in ended.stdout
    assert said["lost"].strip().startswith("0 flights")
    assert said["before"].strip() == said["restored"].strip() != said["lost"].strip()
