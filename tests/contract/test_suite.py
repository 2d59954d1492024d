"""The suite itself: a test that hangs is ended, wherever it runs; and the benchmarks, which no test runs, can be begun."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_test_has_a_longest_time():
    """Minutes, so that a busy machine alone ends none."""
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert 300 <= configured["tool"]["pytest"]["ini_options"]["timeout"] <= 1_800
    for name in ("dev", "ib-async"):
        assert "\npytest-timeout==" in (ROOT / "requirements" / f"{name}.txt").read_text(), name


def test_a_test_that_hangs_is_ended_and_says_where(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntimeout = 1\n")
    (tmp_path / "test_it.py").write_text("import threading\n\ndef test_it():\n    threading.Event().wait()\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "threading.Event().wait()" in done.stdout
    assert "Timeout" in done.stdout


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_a_benchmark_finds_all_that_it_imports(name):
    """In a process of its own, as it is run: some libraries ask for an event loop when they are imported."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "layers" / "shared")))
    subprocess.run(
        [sys.executable, "-c", f"import benchmarks.{name}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )
