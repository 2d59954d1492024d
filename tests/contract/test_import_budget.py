"""How many modules each function imports at its cold start, beyond FastAPI and Mangum alone. Modules, not seconds: they are
the same on every machine, and each costs. benchmarks/cold_start.py measures the seconds."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))

# Third-party and standard modules a function may add to FastAPI and Mangum, and packages of which they may be. Raise a
# number only for something that every request of the function needs; otherwise import it where it is used.
FUNCTION_NAMES = ("auth", "backfill", "bars", "live", "monitoring", "orders", "portfolio", "frontend", "exports")
BUDGET = dict.fromkeys((*FUNCTION_NAMES, "strategies"), 140)
PACKAGES = (
    {"fastapi", "starlette", "pydantic", "psycopg2", "cryptography", "jwt"}
    | {"aws_lambda_powertools", "jmespath"}
    | {
        "botocore",  # of it powertools loads the empty package alone
    }
)

PROBE = """
import gc, json, sys
sys.path[:0] = json.loads(sys.argv[1])
sys.modules["pydantic.v1"] = None  # as in Lambda: the layer leaves it out
import fastapi, mangum
before = set(sys.modules)
import app
print(json.dumps([sorted(set(sys.modules) - before), gc.isenabled(), gc.get_freeze_count()]))
"""


@cache
def imported(name: str) -> tuple[list[str], bool, int]:
    """Modules that importing a function's app adds, in an interpreter of its own with an empty environment; whether the
    garbage collector is on afterwards, and how many objects it leaves alone."""
    paths = [str(ROOT / "functions" / name), str(ROOT / "layers" / "shared")]
    done = subprocess.run(
        [sys.executable, "-B", "-P", "-c", PROBE, json.dumps(paths)], env={}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    modules, collects, frozen = json.loads(done.stdout)
    return modules, collects, frozen


def added(name: str) -> list[str]:
    return imported(name)[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_no_more_than_its_budget(name):
    foreign = [m for m in added(name) if m.split(".")[0] not in ("nautilus", "app", "functions")]
    count = len(foreign)
    print(f"{name}: {count} modules beyond FastAPI and Mangum, {len(added(name)) - count} of ours")
    assert count <= BUDGET[name], f"{count} modules, among them {', '.join(foreign[:20])} ..."
    assert count > BUDGET[name] * 0.6, f"{count} modules: lower the budget"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_no_other_packages(name):
    packages = {m.split(".")[0] for m in added(name)} - set(sys.stdlib_module_names) - {"nautilus", "app", "functions"}
    unknown = {p for p in packages if not p.startswith("_")} - PACKAGES
    assert not unknown, f"functions/{name} imports {', '.join(sorted(unknown))} at its start"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_garbage_is_not_looked_for_while_a_function_loads_but_afterwards(name):
    first = ast.parse((ROOT / "functions" / name / "app.py").read_text()).body[1]  # [0] says what it is
    assert ast.unparse(first) == "import nautilus.http.cold_start"
    _, collects, frozen = imported(name)
    assert collects
    assert frozen > 10_000
