"""Secrets of AWS Secrets Manager, by ARN.

In Lambda the Parameters-and-Secrets extension answers on the loopback interface, with a cache of five minutes; without
it boto3 asks AWS, which costs some 400 ms of import once.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request

_TIMEOUT_S = 3.0
_DEFAULT_PORT = "2773"


def read(arn: str) -> str:
    """The secret's text, as AWS has it now. RuntimeError names the secret when it cannot be read, never its content."""
    try:
        return _from_extension(arn) or _from_aws(arn)
    except Exception as error:
        raise RuntimeError(f"the secret {arn} cannot be read: {type(error).__name__}") from error


def _from_extension(arn: str) -> str | None:
    """None where no extension listens."""
    session = os.environ.get("AWS_SESSION_TOKEN")
    if not session:
        return None
    port = os.environ.get("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", _DEFAULT_PORT)
    url = f"http://127.0.0.1:{port}/secretsmanager/get?secretId={urllib.parse.quote(arn, safe='')}"
    request = urllib.request.Request(url, headers={"X-Aws-Parameters-Secrets-Token": session})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=_TIMEOUT_S) as answer:
            return str(json.load(answer)["SecretString"])
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError:
        return None


def _from_aws(arn: str) -> str:
    import boto3
    from botocore.config import Config

    # arn:aws:secretsmanager:<region>:<account>:secret:<name>
    region = arn.split(":")[3]
    config = Config(connect_timeout=_TIMEOUT_S, read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 2})
    client = boto3.client("secretsmanager", region_name=region, config=config)
    return str(client.get_secret_value(SecretId=arn)["SecretString"])
