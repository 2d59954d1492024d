"""A setting whose value is the ARN of a secret is the secret's text, by the extension that runs beside a function."""

from collections.abc import Iterator

import pytest

from nautilus.settings.api import ApiSettings
from nautilus.settings.base import load
from nautilus.settings.bridge import MigrateSettings
from tests.support.secrets_extension import Extension, extension

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nautilus/dev/database-AbC123"
URL = "postgresql://someone:hidden-word@db.example:5432/bars"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    """An extension that knows the secret, and an environment whose database setting is its ARN."""
    with extension() as known:
        known.secrets[ARN] = {"ARN": ARN, "SecretString": URL + "\n"}
        monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(known.port))
        monkeypatch.setenv("AWS_SESSION_TOKEN", "session-1")
        monkeypatch.setenv("NAUTILUS_DATABASE_URL", ARN)
        yield known


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    return capsys.readouterr().err


def test_the_extension_is_asked_for_what_is_an_arn(aws, monkeypatch):
    monkeypatch.setenv("NAUTILUS_TOKEN_PUBLIC_KEYS", "{}")
    settings = load(ApiSettings)
    assert settings.database_url.get_secret_value() == URL
    assert aws.requests == [("/secretsmanager/get", ARN, "session-1")], "once, and for nothing else"
    assert "hidden-word" not in repr(settings)


def test_a_refusal_names_the_setting_and_gives_aws_words(aws, capsys):
    aws.secrets.clear()
    found = refusal(capsys)
    assert f"NAUTILUS_DATABASE_URL: the secret {ARN} could not be read: 400 AccessDeniedException" in found


def test_a_binary_secret_is_refused(aws, capsys):
    aws.secrets[ARN] = {"ARN": ARN, "SecretBinary": "AAAA"}
    assert "holds no text" in refusal(capsys)


def test_what_the_secret_holds_is_checked_like_any_value(aws, capsys):
    aws.secrets[ARN]["SecretString"] = "mysql://x:hidden-word@h/b"
    found = refusal(capsys)
    assert "NAUTILUS_DATABASE_URL: must begin with postgresql://" in found
    assert "hidden-word" not in found
