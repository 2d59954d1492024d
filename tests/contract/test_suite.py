"""The suite itself: a test that hangs is ended, wherever it runs; and the benchmarks, which no test runs, can be begun."""

import os
import re
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


def pins(name: str) -> dict[str, str]:
    """Package (with its condition) -> version of a file of pins."""
    found = re.findall(r"^([\w-]+)==(\S+)( ;.*?)? \\$", (ROOT / name).read_text(), re.MULTILINE)
    return {package + condition: version for package, version, condition in found}


@pytest.mark.parametrize(
    "name",
    ["requirements/run.txt", "requirements/bridge.txt", "requirements/api.txt", "layers/shared/requirements.txt"],
)
def test_what_runs_is_pinned_to_what_was_tested(name):
    tested: dict[str, set[str]] = {key.partition(" ;")[0]: set() for key in pins("requirements/dev.txt")}
    for key, version in pins("requirements/dev.txt").items():
        tested[key.partition(" ;")[0]].add(version)
    assert len(pins(name)) > 20
    assert [key for key, version in pins(name).items() if version not in tested.get(key.partition(" ;")[0], ())] == []
    assert not re.search(r"^-", (ROOT / name).read_text(), re.MULTILINE), "every line is a package or its hash"


def test_demo_and_up_need_no_tools_of_tests():
    tools = {"pytest", "pytest-xdist", "pytest-timeout", "hypothesis", "schemathesis", "mypy", "ruff", "pandas"}
    assert tools <= set(pins("requirements/dev.txt"))
    assert not tools & set(pins("requirements/run.txt"))
    runs = (ROOT / "Makefile").read_text()
    for target in ("demo", "up", "admin", "migrate", "verify", "forget", "backup", "restore"):
        assert f"\n{target}: $(RUN) ##" in runs, target


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
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "layers" / "shared", ROOT / "clients" / "python")))
    subprocess.run(
        [sys.executable, "-c", f"import benchmarks.{name}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
    )


INTERPRETER = """#!/bin/sh
# An interpreter and a uv that do nothing but say what they were called for.
echo "$(basename "$0") $*" >>"$CALLS"
for last; do :; done
if [ "$2" = venv ]; then mkdir -p "$last/bin" && cp "$0" "$last/bin/python" && cp "$0" "$last/bin/uv"; fi
if [ "$1" = venv ]; then mkdir -p "$last"; fi
exit 0
"""


@pytest.mark.parametrize(
    "goals", ["strategies setup", "setup strategies", "setup migrate", "exports-environment setup"]
)
def test_no_rule_takes_away_the_tools_of_tests_that_another_installed(tmp_path, goals):
    """In a new clone, whatever else is made with it: what is installed last in .venv is what tests need."""
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    calls, interpreter = tmp_path / "calls", tmp_path / "interpreter"
    interpreter.write_text(INTERPRETER)
    interpreter.chmod(0o755)
    env = {**os.environ, "CALLS": str(calls), "MAKEFLAGS": ""}
    names = [f"{name}={interpreter}" for name in ("PYTHON", "STRATEGY_PYTHON", "PYTHON_LAMBDA")]
    subprocess.run(["make", *names, *goals.split()], cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
    synced = [
        line.split()[-1]
        for line in calls.read_text().splitlines()
        if line.startswith("uv pip sync") and " .venv/bin/python " in line
    ]
    assert synced[-1:] == ["requirements/dev.txt"]


@pytest.mark.parametrize(
    ("given", "text"),
    [([], "say DIST=folder"), (["DIST=nowhere"], "there is no index.html in 'nowhere'"), (["DIST=."], "no index.html")],
)
def test_a_walk_without_a_page_is_refused_before_anything_is_made(tmp_path, given, text):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    env = {**os.environ, "MAKEFLAGS": ""}
    done = subprocess.run(["make", "front-end", *given], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode != 0, text in done.stdout) == (True, True), done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
