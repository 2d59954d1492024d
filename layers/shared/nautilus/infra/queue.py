"""SQS, both ends: functions send hints after their commit, the bridge receives them.

No request fails or waits because of a hint: the row is written, and the bridge's sweep finds it without the message. Hints
go out from threads of their own, and an SQS that fails is left alone for a while. boto3 costs 400 ms at import, so it is
imported at the first send.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

from pydantic import ValidationError

from nautilus.infra.breaker import Breaker
from nautilus.infra.executors import Executor
from nautilus.infra.messages import HINT, CommandHint, JobHint

_WAIT_S = 20
_RECEIVE_MORE_S = 3.0
"""How much longer a poll may take than the time that SQS waits for messages."""
_SEND_S = 2.0
"""A hint is worth no more than this."""
_REST_S = 5.0
"""How long an SQS that failed is sent nothing."""
_SENDERS = 2
_MOST_UNDER_WAY = 200
"""With so many hints under way a further one is dropped: the sweep, once a second, is faster."""
_log = logging.getLogger(__name__)


class Received(NamedTuple):
    """One message: its hint, or why it cannot be read."""

    receipt: str
    body: str
    hint: JobHint | CommandHint | None
    error: str = ""


class Queue:
    """One SQS queue of hints; safe to share between threads. Without a URL nothing is sent and nothing ever comes.

    patience_s: how long SQS may take over one hint. breaker: what leaves an SQS alone that failed to take one.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str = "",
        region: str = "us-east-1",
        patience_s: float = _SEND_S,
        breaker: Breaker | None = None,
    ) -> None:
        self.url = url
        self._endpoint = endpoint
        self._region = region
        self._patience_s = patience_s
        self._breaker = breaker or Breaker(_REST_S)
        self._senders = Executor("hints", _SENDERS)
        self._under_way: set[Future[bool]] = set()
        self._waited_for: set[Future[bool]] = set()
        self._clients: dict[float, Any] = {}
        self._lock = threading.Lock()

    def _sqs(self, patience_s: float = _WAIT_S + _RECEIVE_MORE_S) -> Any:
        with self._lock:
            if patience_s not in self._clients:
                import boto3
                from botocore.config import Config

                self._clients[patience_s] = boto3.client(
                    "sqs",
                    endpoint_url=self._endpoint or None,
                    region_name=self._region,
                    config=Config(connect_timeout=1, read_timeout=patience_s, retries={"total_max_attempts": 1}),
                )
            return self._clients[patience_s]

    def announce(self, hint: JobHint | CommandHint) -> None:
        """Have a hint sent; nobody waits for that. Call it after the commit of what the hint tells of."""
        if not self.url or self._breaker.resting or len(self._under_way) >= _MOST_UNDER_WAY:
            return
        sending = self._senders.start(self.send, hint)
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the hints under way are sent or given up; False when `timeout_s` seconds were not enough.

        None is waited for twice: what hung at the end of one answer keeps no other.
        """
        left = wait(set(self._under_way) - self._waited_for, timeout_s).not_done
        self._waited_for = (self._waited_for & self._under_way) | left
        return not left

    def send(self, hint: JobHint | CommandHint) -> bool:
        """Send a hint now; False when it could not be sent, which only makes things slower."""
        if not self.url or not self._breaker.admits():
            return False
        began = self._breaker.clock()
        try:
            self._sqs(self._patience_s).send_message(QueueUrl=self.url, MessageBody=hint.model_dump_json())
        except Exception as gone:
            # Whatever it is (network, credentials, a queue that is gone): the row is the truth, the sweep will find it.
            self._breaker.failed(began)
            _log.warning("hint-not-sent: %s", gone)
            return False
        self._breaker.succeeded(began)
        return True

    def receive(self, wait_s: int = _WAIT_S) -> list[Received]:
        """Up to ten messages, waiting at most `wait_s` for the first. botocore's errors are the caller's."""
        sqs = self._sqs(wait_s + _RECEIVE_MORE_S)
        answer = sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        return [_read(message["ReceiptHandle"], message["Body"]) for message in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Received]) -> None:
        """Forget messages whose rows were seen."""
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m.receipt} for i, m in enumerate(messages)]
            self._sqs().delete_message_batch(QueueUrl=self.url, Entries=entries)

    def move_to_dead_letters(self, message: Received, dead_letter_url: str) -> None:
        """Move a message that cannot be read to the dead-letter queue, with the reason beside it."""
        if dead_letter_url:
            self._sqs().send_message(
                QueueUrl=dead_letter_url,
                MessageBody=message.body,
                MessageAttributes={"reason": {"DataType": "String", "StringValue": message.error[:250]}},
            )
        self.delete([message])

    def dead_letter_url(self) -> str:
        """The queue's dead-letter queue, by its redrive policy; empty when it has none."""
        import json

        attributes = self._sqs().get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
        policy = attributes.get("Attributes", {}).get("RedrivePolicy")
        if not policy:
            return ""
        name = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
        return str(self._sqs().get_queue_url(QueueName=name)["QueueUrl"])


def _read(receipt: str, body: str) -> Received:
    try:
        return Received(receipt, body, HINT.validate_json(body))
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        return Received(receipt, body, None, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
