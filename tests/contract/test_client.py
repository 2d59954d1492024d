"""The Python client: what it uses of the API exists there, it imports nothing of the server, and it is cheap to begin."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dev import local_api
from dev.credentials import token_settings
from nautilus.market import timeframes as server_timeframes
from nautilus.reading import query
from nautilus.settings.auth import AuthSettings
from nautilus_client import routes, timeframes
from nautilus_client.pages import MOST

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python" / "nautilus_client"
SERVER = (
    "nautilus",
    "functions",
    "ib_bridge",
    "ib_gateway_sim",
    "stream",
    "dev",
    "tests",
    "strategy_host",
    "export_task",
)
LIBRARIES = {"urllib3", "pandas", "numpy", "polars", "pyarrow", "duckdb", "mplfinance", "keyring"}
USERS = {"dev.up", "dev.client_profile"}
"""What of the server's repository uses the client: development alone."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """The API's own description, of all functions and the stream."""
    keys = token_settings(tmp_path_factory.mktemp("keys"))
    known = {name.removeprefix("NAUTILUS_").lower(): value for name, value in keys.items()}
    settings = AuthSettings.model_validate(
        {"database_url": "postgresql://u:p@127.0.0.1:1/none", "env": "test", **known}
    )
    found: Mapping[str, Any] = local_api.create(settings).openapi()
    return found


def differences(described: Mapping[str, Any], table: Mapping[str, routes.Route], newer: frozenset[str]) -> list[str]:
    """What of a table of routes is not in the description."""
    paths = {re.sub(r"\{[^}]*\}", "{}", path): one for path, one in described["paths"].items()}
    found = []
    for name, route in table.items():
        methods = paths.get(re.sub(r"\{[^}]*\}", "{}", route.path), {})
        operation = methods.get(route.method.lower())
        if operation is None:
            found += [] if name in newer else [f"{name}: there is no {route.method} {route.path}"]
            continue
        given = operation.get("parameters", ())
        for where, names in (("query", route.query), ("header", route.headers)):
            known = {one["name"].lower() for one in given if one["in"] == where}
            found += [f"{name}: {where} {one}" for one in names if one.lower() not in known]
        found += [f"{name}: field {one}" for one in route.body if one not in fields(described, operation)]
    return found


def fields(described: Mapping[str, Any], operation: Mapping[str, Any]) -> set[str]:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    names: set[str] = set()
    for one in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in one:
            one = described["components"]["schemas"][one["$ref"].rpartition("/")[2]]
        names |= set(one.get("properties", {}))
    return names


def test_each_route_that_the_client_uses_stands_in_the_apis_description(described: Mapping[str, Any]) -> None:
    assert len(routes.ROUTES) > 50
    assert differences(described, routes.ROUTES, routes.NEWER) == []


def test_a_route_a_parameter_a_header_and_a_field_that_do_not_exist_are_found(described: Mapping[str, Any]) -> None:
    wrong = {
        "gone": routes.Route("GET", "/api/v1/gone"),
        "method": routes.Route("PUT", "/api/v1/orders"),
        "query": routes.Route("GET", "/api/v1/orders", ("acount",)),
        "header": routes.Route("POST", "/api/v1/orders", headers=("Idempotency",)),
        "field": routes.Route("POST", "/api/v1/orders", body=("quantitty",)),
    }
    assert len(differences(described, wrong, frozenset())) == 5


def test_routes_that_a_server_may_lack_are_those_of_work_under_way(described: Mapping[str, Any]) -> None:
    """Once the server has them all, NEWER may go."""
    assert all(re.search(r"/(exports|backtests|strategy-runs)\b", routes.ROUTES[name].path) for name in routes.NEWER)


def test_limits_and_timeframes_are_the_servers() -> None:
    assert query.MAX_LIMIT == MOST
    assert set(timeframes.NAMES) == set(server_timeframes.NAMES)
    for one in server_timeframes.ALL:
        assert timeframes.intraday(one.name) is one.intraday
        if one.intraday:
            assert timeframes.INTRADAY_S[one.name] * 10**9 == one.step_ns


# ---- imports ---------------------------------------------------------------------------------------------------------


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            yield str(node.module).split(".")[0]


def test_the_client_imports_nothing_of_the_server() -> None:
    found = {name for path in CLIENT.rglob("*.py") for name in imports(path)}
    foreign = found - sys.stdlib_module_names - {"nautilus_client"}
    assert not foreign & set(SERVER)
    assert foreign <= LIBRARIES


def test_the_server_imports_nothing_of_the_client() -> None:
    users = set()
    for top in ("layers/shared/nautilus", "functions", "ib_bridge", "ib_gateway_sim", "stream", "dev"):
        for path in (ROOT / top).rglob("*.py"):
            if "nautilus_client" in set(imports(path)):
                users.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert users <= USERS


PROBE = "import json, sys; before = set(sys.modules); {}; print(json.dumps(sorted(set(sys.modules) - before)))"
HEAVY = LIBRARIES | {"httpx", "rich", "requests", "ssl", "typing", "argparse", "json.decoder", "asyncio"}


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE.format(f"sys.path.insert(0, {str(CLIENT.parent)!r}); {code}")],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_client_loads_nothing_else() -> None:
    """Modules, not milliseconds: they are the same on every machine. benchmarks/client.py measures processor time."""
    found = loaded("import nautilus_client")
    assert not found & HEAVY
    assert len(found) <= 5, found


def test_help_is_printed_without_argparse_and_without_the_client() -> None:
    done = "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as out: code = main(['--help'])"
    code = f"from nautilus_client.cli import main; exec({done!r}); assert code == 0 and 'bars' in out.getvalue()"
    assert not loaded(code) & (HEAVY - {"typing"}), "what redirects the output may load more"


def test_a_frame_of_the_standard_library_needs_no_third_party_library() -> None:
    found = loaded("from nautilus_client import Client; import nautilus_client.reading, nautilus_client.bars")
    assert not found & LIBRARIES


# ---- the package -----------------------------------------------------------------------------------------------------


def test_the_package_names_the_pythons_that_it_is_tested_on() -> None:
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    classifiers = [one.rpartition(" :: ")[2] for one in project["classifiers"] if "Python :: 3" in one]
    [tested] = re.findall(r"^CLIENT_PYTHONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert classifiers == tested.split()
    assert project["requires-python"] == f">={classifiers[0]}"


def test_the_package_says_what_it_is() -> None:
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    assert project["name"] == "nautilus-client"
    assert set(project["scripts"]) == {"nautilus", "nautilus-md"}
    assert [one.split(">")[0].split(";")[0] for one in project["dependencies"]] == ["urllib3", "tzdata"]
    assert (CLIENT / "py.typed").exists()


def test_every_name_that_the_package_offers_exists() -> None:
    import nautilus_client

    for name in nautilus_client.__all__:
        assert getattr(nautilus_client, name) is not None, name
