"""A setting that is the ARN of a secret stands for the secret's text, read from AWS Secrets Manager."""

import json
import os
from typing import Any

SECRET_ARN = r"arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]+):\d{12}:secret:\S+"
_EXTENSION_PORT = 2773  # AWS's default; PARAMETERS_SECRETS_EXTENSION_HTTP_PORT moves the extension, and us with it
_SECRET_TIMEOUT_S = 5


def read_secret(arn: str, region: str) -> str:
    """The text of a secret in AWS Secrets Manager. ValueError when it cannot be read, with AWS's words.

    In Lambda the Parameters-and-Secrets extension is read first, which listens on localhost: boto3 costs 0.3 s to
    import. The extension serves only while an event is handled, not during a function's init.
    """
    text = _from_extension(arn)
    return _from_aws(arn, region) if text is None else text


def _from_extension(arn: str) -> str | None:
    """The secret by the extension; None where there is none. ValueError when it says no."""
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import quote

    port = int(os.environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT") or _EXTENSION_PORT)
    connection = HTTPConnection("localhost", port, timeout=_SECRET_TIMEOUT_S)
    token = os.environ.get("AWS_SESSION_TOKEN", "")
    try:
        connection.request(
            "GET",
            f"/secretsmanager/get?secretId={quote(arn, safe='')}",
            headers={"X-Aws-Parameters-Secrets-Token": token},
        )
        answer = connection.getresponse()
        body = answer.read()
    except ConnectionRefusedError:
        return None
    except (OSError, HTTPException) as broken:
        raise ValueError(f"the secret {arn} could not be read: the extension on port {port}: {broken}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"the secret {arn} could not be read: {answer.status} {body.decode(errors='replace').strip()}")
    return _text(arn, json.loads(body))


def _from_aws(arn: str, region: str) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    limits = Config(
        connect_timeout=_SECRET_TIMEOUT_S, read_timeout=_SECRET_TIMEOUT_S, retries={"total_max_attempts": 2}
    )
    try:
        answer = boto3.client("secretsmanager", region_name=region, config=limits).get_secret_value(SecretId=arn)
    except (BotoCoreError, ClientError) as refused:
        raise ValueError(f"the secret {arn} could not be read: {refused}") from None
    return _text(arn, answer)


def _text(arn: str, answer: dict[str, Any]) -> str:
    if not answer.get("SecretString"):
        raise ValueError(f"the secret {arn} holds no text; store the value itself, not as binary")
    return str(answer["SecretString"]).strip()
