"""A setting whose value is the ARN of a secret is the secret's text; two ways lead there."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from nautilus.settings import ApiSettings, MigrateSettings, load

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nautilus/dev/database-AbC123"
URL = "postgresql://someone:hidden-word@db.example:5432/bars"


@pytest.fixture
def extension(monkeypatch) -> Iterator[SimpleNamespace]:
    """The HTTP interface of AWS's extension, as its documentation describes it, with secrets of the test."""
    known = SimpleNamespace(secrets={ARN: {"ARN": ARN, "SecretString": URL + "\n"}}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            (arn,) = parse_qs(parts.query)["secretId"]
            known.asked.append((parts.path, arn, self.headers["X-Aws-Parameters-Secrets-Token"]))
            found = known.secrets.get(arn)
            body = json.dumps(found).encode() if found else b"AccessDeniedException: not for you"
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(server.server_port))
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-1")
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_extension_is_asked_for_what_is_an_arn(extension, monkeypatch):
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", ARN)
    monkeypatch.setenv("NAUTILUS_TOKEN_PUBLIC_KEYS", "{}")
    settings = load(ApiSettings)
    assert settings.database_url.get_secret_value() == URL
    assert extension.asked == [("/secretsmanager/get", ARN, "session-1")], "once, and for nothing else"
    assert "hidden-word" not in repr(settings)


def test_a_refusal_names_the_setting_and_gives_aws_words(extension, monkeypatch, capsys):
    extension.secrets.clear()
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", ARN)
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    told = capsys.readouterr().err
    assert f"NAUTILUS_DATABASE_URL: the secret {ARN} could not be read: 400 AccessDeniedException" in told


def test_a_binary_secret_is_refused(extension, monkeypatch, capsys):
    extension.secrets[ARN] = {"ARN": ARN, "SecretBinary": "AAAA"}
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", ARN)
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    assert "holds no text" in capsys.readouterr().err


def test_what_the_secret_holds_is_checked_like_any_value(extension, monkeypatch, capsys):
    extension.secrets[ARN] = {"ARN": ARN, "SecretString": "mysql://x:hidden-word@h/b"}
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", ARN)
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    told = capsys.readouterr().err
    assert "NAUTILUS_DATABASE_URL: must begin with postgresql://" in told
    assert "hidden-word" not in told
