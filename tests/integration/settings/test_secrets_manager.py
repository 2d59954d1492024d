"""Without the extension a secret is read from Secrets Manager itself (here: moto's)."""

import boto3
import pytest

from dev.process import free_port
from nautilus.settings.base import load
from nautilus.settings.bridge import MigrateSettings

URL = "postgresql://someone:hidden-word@db.example:5432/bars"


@pytest.fixture
def secrets_manager(queue, monkeypatch):
    """A client of moto's Secrets Manager, which the process under test finds as well; no extension anywhere."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", queue.endpoint_url)
    monkeypatch.setenv("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", str(free_port()))
    return boto3.client("secretsmanager", region_name="us-east-1")


def test_a_secret_is_read_by_its_arn(secrets_manager, monkeypatch):
    arn = secrets_manager.create_secret(Name="nautilus/test/database", SecretString=URL)["ARN"]
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", arn)
    assert load(MigrateSettings).database_url.get_secret_value() == URL


def test_a_secret_that_is_not_there_is_named(secrets_manager, monkeypatch, capsys):
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nautilus/none-AbC123"
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", arn)
    with pytest.raises(SystemExit):
        load(MigrateSettings)
    body = capsys.readouterr().err
    assert f"NAUTILUS_DATABASE_URL: the secret {arn} could not be read: " in body
    assert "ResourceNotFoundException" in body
