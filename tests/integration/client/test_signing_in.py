"""`nautilus login` and `logout` before the whole API: a key is made, kept alone, and ended."""

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nautilus_client import cli, profiles
from nautilus_client.client import Client
from nautilus_client.errors import NotSignedIn
from tests.support.auth_api import PASSWORD, Api, api_of
from tests.support.client_server import served

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_of(dsn, allowed_hosts=("127.0.0.1", "testserver"), log_level="ERROR") as made:
        yield made


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with served(api.app) as found:
        yield found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; returns exit code, output and error output."""
    monkeypatch.setattr(signal, "signal", lambda *given: None)  # which is for a process of its own

    def call(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = cli.main(arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def log_in(run: Run, url: str, *more: str, password: str = PASSWORD) -> tuple[int, str, str]:
    return run("--url", url, "login", "--name", "ann", "--password-stdin", *more, typed=f"{password}\n")


def test_a_key_is_made_kept_alone_and_ended_by_itself(
    api: Api, url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = log_in(run, url, "--days", "2", "--scope", "bars:read")
    assert (code, err) == (cli.OK, "")
    text = profiles.settings().key
    assert text.startswith("nautilus_")
    for path in profiles.folder().iterdir():
        assert PASSWORD not in path.read_text()
    assert (profiles.folder() / profiles.SECRETS).stat().st_mode & 0o777 == 0o600
    assert text not in out

    code, out, _ = run("--json", "whoami")
    mine = json.loads(out)
    assert (code, mine["scopes"]) == (cli.OK, ["bars:read"])
    [row] = api.sql("SELECT * FROM api_keys")
    assert (row.id, row.revoked_at) == (mine["api_key_id"], None)
    assert row.expires_at is not None
    assert api.sql("SELECT count(*) FROM refresh_families WHERE ended_at IS NULL")[0].count == 0, "the session is over"

    # Another key of the environment is not the one that ends.
    other = api.new_key()["api_key"]
    monkeypatch.setenv("NAUTILUS_API_KEY", other)
    code, out, _ = run("logout")
    assert (code, out) == (cli.OK, "the key of profile local is revoked and forgotten\n")
    monkeypatch.delenv("NAUTILUS_API_KEY")
    assert profiles.settings().key == ""
    with Client(url, text) as client, pytest.raises(NotSignedIn):
        client.me()
    with Client(url, other) as client:
        assert client.me()["username"] == "ann"
    code, out, _ = run("logout")
    assert (code, out) == (cli.OK, "profile local has no key\n")
    assert run("whoami")[0] == cli.NOT_ALLOWED


def test_a_wrong_password_keeps_nothing(url: str, run: Run) -> None:
    code, out, err = log_in(run, url, password="not it at all")
    assert (code, out) == (cli.NOT_ALLOWED, "")
    assert "401" in err
    assert not profiles.folder().exists()


def test_a_key_that_could_not_be_ended_is_forgotten_and_the_command_fails(url: str, run: Run, tmp_path: Path) -> None:
    profiles.save(profiles.folder(), "local", {"url": "http://127.0.0.1:9", "tries": 1}, key="nautilus_aaaaaaaa_b")
    code, out, _ = run("--json", "logout")
    assert (code, json.loads(out)) == (cli.FAILED, {"profile": "local", "revoked": False})
    assert profiles.settings().key == ""


def test_a_key_that_has_ended_before_is_forgotten(api: Api, url: str, run: Run) -> None:
    log_in(run, url)
    api.sql("UPDATE api_keys SET revoked_at = now()")
    assert run("--json", "logout")[0] == cli.OK
    assert profiles.settings().key == ""
