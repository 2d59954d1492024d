"""The whole stack deployed to an emulator of AWS on this machine (make emulator), and a request through it.

The emulator (ministack, in an environment of its own) reads infra/template.yaml as built; a local stack (dev/stack.py)
gives it a database, a simulator and a bridge. For developers who change the template; the emulator is young, and what
works here may still fail in AWS.
"""

import argparse
import importlib
import json
import shlex
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from dev.api_client import Api, ApiError
from dev.credentials import token_settings
from dev.environment import REGION, REPOSITORY, environment
from dev.process import Child, Group, StartError, end_on_signals, free_port
from dev.sources import Generated
from dev.stack import USERNAME, stack_of
from dev.up import say

STACK = "nautilus-emulated"
FUNCTIONS = sorted(path.parent.name for path in (REPOSITORY / "functions").glob("*/app.py"))
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


class Emulator:
    """A running emulator and the few calls of AWS's JSON interfaces that are needed here."""

    def __init__(self, group: Group, program: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url}
        self.child: Child = group.start(
            "emulator",
            [str(program)],
            log=folder / "emulator.log",
            env=environment(
                {
                    **self.environment,
                    "GATEWAY_PORT": str(port),
                    "BIND_HOST": "127.0.0.1",
                    "DOCKER_HOST": "unix:///nonexistent",  # it would run containers
                    "HOME": str(folder),
                }
            ),
            ready=lambda child: _listens(port),
        )

    def call(self, service: str, target: str, **body: object) -> dict[str, Any]:
        """One call of an interface that names its action in a header."""
        return self._send(
            service,
            "POST",
            "/",
            body=body,
            headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
        )

    def rest(self, service: str, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One call of an interface that names its action in the path."""
        return self._send(service, method, path, body=body, headers={"Content-Type": "application/json"})

    def _send(self, service: str, method: str, path: str, *, body: object, headers: dict[str, str]) -> dict[str, Any]:
        scope = f"test/20240101/{REGION}/{service}/aws4_request"
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                **headers,
                "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            },
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=30) as answer:
            read: dict[str, Any] = json.loads(answer.read() or b"{}")
            return read


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def put_secrets(emulator: Emulator, database: str, tokens: Mapping[str, str]) -> list[str]:
    """What docs/aws.md makes by hand; returns the parameters of the stack that name it."""

    def secret(name: str, text: str) -> str:
        made = emulator.call(
            "secretsmanager", "secretsmanager.CreateSecret", Name=f"nautilus/dev/{name}", SecretString=text
        )
        return str(made["ARN"])

    emulator.call(
        "ssm",
        "AmazonSSM.PutParameter",
        Name="/nautilus/dev/token-public-keys",
        Type="String",
        Value=tokens["NAUTILUS_TOKEN_PUBLIC_KEYS"],
    )
    return [
        "Environment=dev",
        f"DatabaseSecretArn={secret('database', database)}",
        f"TokenKeySecretArn={secret('token-key', tokens['NAUTILUS_TOKEN_PRIVATE_KEY'])}",
        f"TokenKeyId={tokens['NAUTILUS_TOKEN_KEY_ID']}",
        f"IbLoginSecretArn={secret('ib-login', json.dumps({'username': 'u', 'password': 'p'}))}",
        "VpcId=vpc-1",
        "BridgeSubnetIds=subnet-1",
        "BridgeCount=0",
        "StreamCount=1",
        "StreamCertificateArn=arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
        "StreamHost=live.example.com",
        "StreamSubnetIds=subnet-1,subnet-2",
        f"AwsEndpointUrl={emulator.url}",
    ]


def deploy(emulator: Emulator, sam: list[str], parameters: list[str], log: Path) -> None:
    """`sam deploy` of what is built."""
    command = [*sam, "deploy", "--stack-name", STACK, "--region", REGION, "--resolve-s3", "--no-confirm-changeset"]
    command += ["--capabilities", "CAPABILITY_IAM", "--parameter-overrides", *parameters]
    with log.open("wb") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment(emulator.environment), check=False
        )
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise StartError(f"sam deploy failed ({log}):\n{tail}")


def add_routes(emulator: Emulator) -> str:
    """Routes by hand, as the emulator takes none from the OpenAPI document that SAM makes; returns the API's id."""
    (api,) = [a for a in emulator.rest("apigateway", "GET", "/v2/apis")["items"] if STACK in a["name"]]
    base = f"/v2/apis/{api['apiId']}"
    functions = emulator.rest("lambda", "GET", "/2015-03-31/functions")["Functions"]
    for name in FUNCTIONS:
        (arn,) = [f["FunctionArn"] for f in functions if f"{name.capitalize()}Function" in f["FunctionName"]]
        integration = emulator.rest(
            "apigateway",
            "POST",
            f"{base}/integrations",
            {"integrationType": "AWS_PROXY", "integrationUri": f"{arn}:live", "payloadFormatVersion": "2.0"},
        )
        for route in importlib.import_module(f"functions.{name}.app").router.routes:
            for method in route.methods:
                target = f"integrations/{integration['integrationId']}"
                emulator.rest(
                    "apigateway", "POST", f"{base}/routes", {"routeKey": f"{method} {route.path}", "target": target}
                )
    return str(api["apiId"])


def show(emulator: Emulator, api_id: str, password: str, symbol: str) -> None:
    """Sign in, ask for bars nobody has, read them, all through the emulator's API."""
    port = emulator.url.rpartition(":")[2]
    with closing(Api(emulator.url, {"Host": f"{api_id}.execute-api.localhost:{port}"})) as api:
        api.sign_in(USERNAME, password)
        answer = api.get("/api/v1/market-data/historical/bars", symbol=symbol, timeframe="1h", limit=5, wait=15)
    say(f"  GET bars: {answer['total']} of {answer['instrument_id']}, the last {answer['candles'][-1]}")


def main() -> int:
    options = argparse.ArgumentParser("make emulator", description=__doc__)
    options.add_argument("--emulator", type=Path, required=True, help="the emulator's program")
    options.add_argument("--sam", required=True, help="the sam command")
    arguments = options.parse_args()
    end_on_signals()
    with tempfile.TemporaryDirectory() as temporary, stack_of(Path(temporary), Generated()) as stack:
        folder = Path(temporary)
        try:
            stack.start(lambda line: say(f"  {line}"))
            with Group() as group:
                emulator = Emulator(group, arguments.emulator, folder)
                emulator.child.wait_ready()
                parameters = put_secrets(emulator, stack.postgres.dsn(), token_settings(stack.folder))
                deploy(emulator, shlex.split(arguments.sam), parameters, folder / "deploy.log")
                lines = (folder / "deploy.log").read_text().splitlines()
                made = [line.split() for line in lines if line.startswith("CREATE_COMPLETE")]
                say(f"  sam deploy: {len(made)} times CREATE_COMPLETE, the last for {made[-1][-1]}")
                show(emulator, add_routes(emulator), stack.password, stack.source.selector["symbol"])
        except (StartError, ApiError, httpx.HTTPError, OSError) as error:
            print(f"the emulator did not work: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
