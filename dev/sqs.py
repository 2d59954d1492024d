"""SQS on this machine: moto's server as a child process on the loopback interface. Queues live as long as it does."""

import json
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.environment import REGION, environment
from dev.process import Child, Group, free_port


@dataclass(frozen=True)
class Sqs:
    """A server; `endpoint_url` is what an SQS client is to use in place of Amazon's."""

    child: Child
    port: int

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_queue(self, name: str, **attributes: str) -> str:
        """Make a queue, or find it if it has these attributes; returns its URL. Names: [A-Za-z0-9_-], at most 80."""
        url: str = self._call("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def make_queue_pair(self, name: str, *, receives: int = 5, visibility_s: int = 30) -> tuple[str, str]:
        """Make a queue and its dead-letter queue `<name>-dead`, which gets what was received `receives` times."""
        dead = self.make_queue(f"{name}-dead")
        arn = self._call("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        return self.make_queue(name, VisibilityTimeout=str(visibility_s), RedrivePolicy=redrive), dead

    def _call(self, action: str, **body: object) -> dict[str, Any]:
        """One call of the SQS JSON protocol. Three calls at start-up are not worth importing boto3 (0.2 s)."""
        request = urllib.request.Request(
            self.endpoint_url,
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"AmazonSQS.{action}",
                # moto reads the service from the scope of the signature, which it does not check.
                "Authorization": f"AWS4-HMAC-SHA256 Credential=local/20240101/{REGION}/sqs/aws4_request, "
                "SignedHeaders=host, Signature=0",
            },
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy knows our loopback
        with direct.open(request, timeout=10) as answer:
            result: dict[str, Any] = json.load(answer)
            return result


def start_sqs(group: Group, folder: Path, *, port: int | None = None) -> Sqs:
    """Begin to start the server, its log in `folder`; `child.wait_ready()` waits for it, about a second."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = port or free_port()
    child = group.start(
        "sqs",
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        log=folder / "sqs.log",
        ready=lambda child: child.logged("Running on"),
        env=environment({}),
    )
    return Sqs(child, port)
