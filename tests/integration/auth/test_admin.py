"""The first administrator: by `make admin` on one machine, by invoking the function in AWS; never by a default."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import functions.auth.app
from dev.credentials import new_private_key
from dev.environment import environment
from dev.postgres import DATABASE, Postgres
from nautilus.db.migrate import upgrade
from nautilus.http.lambda_entry import lambda_handler
from nautilus.settings.auth import AuthSettings
from tests.support.auth_api import AUTH, api_of, bearer, settings_of


def make_admin(data: Path, name: str = "admin") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dev.admin", "--data", str(data), "--name", name]
    return subprocess.run(command, env=dict(environment({})), capture_output=True, text=True, check=False)


@pytest.fixture
def data(postgres: Postgres, servers: Any, tmp_path: Path) -> Path:
    """A data folder as `make up` has it while it runs."""
    upgrade(postgres.dsn(DATABASE))
    (tmp_path / "sim").symlink_to(servers.folder)
    return tmp_path


@pytest.fixture
def loop() -> Iterator[None]:
    """The loop of this thread, closed after the test: the adapter of Lambda makes one and keeps it for good."""
    with closing(asyncio.new_event_loop()) as own:
        asyncio.set_event_loop(own)
        yield
        asyncio.set_event_loop(None)


def test_make_admin_shows_a_password_once_that_works(data: Path, postgres: Postgres) -> None:
    made = make_admin(data, "root1")
    assert made.returncode == 0, made.stderr
    password = made.stdout.split("password: ")[1].split()[0]
    with api_of(postgres.dsn(DATABASE)) as api:
        token = bearer(api.login("root1", password)["access_token"])
        assert api.client().get(f"{AUTH}/users", headers=token).status_code == 200
        again = make_admin(data, "root1")
        renewed = again.stdout.split("password: ")[1].split()[0]
        assert renewed != password
        assert api.client().post(f"{AUTH}/login", json={"username": "root1", "password": password}).status_code == 401
        assert api.login("root1", renewed)


def test_make_admin_says_what_is_missing(tmp_path: Path) -> None:
    made = make_admin(tmp_path)
    assert made.returncode == 1
    assert "make up" in made.stderr


HOST = "abc123.execute-api.us-east-1.amazonaws.com"


def event(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A request as API Gateway's HTTP API hands it on."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": HOST, "content-type": "application/json", "x-forwarded-for": "10.1.1.1"},
        "requestContext": {
            "domainName": HOST,
            "http": {"method": "POST", "path": path, "sourceIp": "203.0.113.8", "protocol": "HTTP/1.1"},
            "requestId": "request-1",
            "stage": "$default",
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.mark.usefixtures("loop")
def test_the_function_makes_an_administrator_for_whoever_may_invoke_it(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(dsn, new_private_key(), "key-1")
    for name in [name for name in os.environ if name.startswith("NAUTILUS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", dsn)
    monkeypatch.setenv("NAUTILUS_TOKEN_PRIVATE_KEY", settings.token_private_key.get_secret_value())
    monkeypatch.setenv("NAUTILUS_TOKEN_KEY_ID", "key-1")
    monkeypatch.setenv("NAUTILUS_TOKEN_PUBLIC_KEYS", settings.token_public_keys)
    handler = functions.auth.app.handler
    made = handler({"task": "make-admin", "username": "first"}, None)
    answer = handler(event(f"{AUTH}/login", {"username": "first", "password": made["password"]}), None)
    assert answer["statusCode"] == 200, answer
    through_the_door = handler(event(f"{AUTH}/login", {"task": "make-admin", "username": "second"}), None)
    assert through_the_door["statusCode"] == 422, "a request is never a task"
    with api_of(dsn) as api:
        rows = api.sql("SELECT action, actor, address FROM audit_log WHERE action = 'sign-in'")
        assert [row.address for row in rows] == ["203.0.113.8"], "of API Gateway's context, not of a header"
    with pytest.raises(ValueError, match="no use for an event"):
        handler({"task": "drop-everything"}, None)


@pytest.mark.usefixtures("loop")
def test_a_deployed_function_with_a_key_of_development_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = new_private_key()
    settings = settings_of("postgresql://api:4nTq81LxWz@127.0.0.1:1/none", pem, "dev-1")
    monkeypatch.setenv("NAUTILUS_ENV", "prod")
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("NAUTILUS_TOKEN_PRIVATE_KEY", pem)
    monkeypatch.setenv("NAUTILUS_TOKEN_KEY_ID", "dev-1")
    monkeypatch.setenv("NAUTILUS_TOKEN_PUBLIC_KEYS", settings.token_public_keys)
    handler = lambda_handler("auth", functions.auth.app.router, AuthSettings, prepare=functions.auth.app.prepare)
    with pytest.raises(RuntimeError, match="dev-1 was made for development: refused when deployed") as refused:
        handler(event(f"{AUTH}/login", {}), None)
    assert "PRIVATE" not in str(refused.value)
    assert "4nTq81LxWz" not in str(refused.value)
    monkeypatch.setenv("NAUTILUS_TOKEN_KEY_ID", "k1")
    monkeypatch.setenv("NAUTILUS_TOKEN_PUBLIC_KEYS", settings.token_public_keys.replace("dev-1", "k1"))
    monkeypatch.setenv("NAUTILUS_TOKEN_PRIVATE_KEY", new_private_key())
    with pytest.raises(ValueError, match="publish its public half first"):
        handler(event(f"{AUTH}/login", {}), None)
