"""Messages are hints: unreadable ones are kept with their reason, lost ones are harmless, and none does a job twice."""

from types import SimpleNamespace
from uuid import UUID, uuid4

from nautilus.infra.messages import JobHint
from nautilus.infra.queue import Queue
from tests.support.stack import service_stack


def test_a_hint_comes_out_as_it_went_in(queue: SimpleNamespace) -> None:
    ours = Queue(queue.url, endpoint=queue.endpoint_url)
    hint = JobHint(job_id=uuid4(), correlation_id="abc")
    assert ours.send(hint)
    (received,) = ours.receive(wait_s=5)
    assert received.hint == hint
    ours.delete([received])
    assert ours.receive(wait_s=0) == []


def test_what_cannot_be_read_goes_to_the_dead_letters_with_its_reason(queue: SimpleNamespace) -> None:
    ours = Queue(queue.url, endpoint=queue.endpoint_url)
    bodies = ["not json", '{"v": 2, "kind": "job"}', '{"v": 1, "kind": "job", "job_id": "seven"}']
    for body in bodies:
        ours._sqs().send_message(QueueUrl=queue.url, MessageBody=body)
    dead = ours.dead_letter_url()
    assert dead == queue.dead_url
    buried = 0
    while buried < len(bodies):
        for message in ours.receive(wait_s=5):
            assert message.hint is None
            ours.move_to_dead_letters(message, dead)
            buried += 1
    letters = ours._sqs().receive_message(QueueUrl=dead, MaxNumberOfMessages=10, MessageAttributeNames=["All"])[
        "Messages"
    ]
    reasons = {m["Body"]: m["MessageAttributes"]["reason"]["StringValue"] for m in letters}
    assert set(reasons) == set(bodies)
    assert "json" in reasons[bodies[0]].lower()
    assert "job_id" in reasons[bodies[2]]


def test_a_queue_that_is_gone_fails_no_request() -> None:
    gone = Queue("http://127.0.0.1:9/queue/none", endpoint="http://127.0.0.1:9")
    assert not gone.send(JobHint(job_id=uuid4()))
    assert not Queue("").send(JobHint(job_id=uuid4()))


def test_the_bridge_buries_rubbish_and_a_hint_that_comes_thrice_does_its_job_once(
    servers: SimpleNamespace, dsn: str, queue: SimpleNamespace
) -> None:
    options = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options, queue=queue) as stack:
        stack.start_bridge()
        ours = Queue(queue.url, endpoint=queue.endpoint_url)
        ours._sqs().send_message(QueueUrl=queue.url, MessageBody="rubbish")
        job = stack.backfill(symbol="AAPL", timeframe="1d", days_back=30)
        for _ in range(3):
            ours.send(JobHint(job_id=UUID(job)))
        assert stack.finished(job)["progress"]["requests_sent"] == 1
        stack.wait(lambda: [x for x in stack.log() if x["message"] == "message-unreadable"], "the rubbish is noticed")
        letters = ours._sqs().receive_message(QueueUrl=queue.dead_url, WaitTimeSeconds=5)["Messages"]
        assert [m["Body"] for m in letters] == ["rubbish"]


def test_one_id_goes_from_the_request_to_the_request_at_ib(servers: SimpleNamespace, dsn: str) -> None:
    """So that whoever wonders about a bar, a job or an answer finds all lines and rows that belong to it."""
    options = ("--latency", "none", "--clock", "rate:20", "--start", "2026-03-04T17:30:30Z")
    with service_stack(servers.group, servers.folder, dsn, *options) as stack:
        stack.start_bridge()
        body = {"symbol": "AAPL", "timeframe": "1d", "days_back": 30}
        answer = stack.client.post("/api/v1/ib/backfill", json=body, headers={"x-request-id": "wish-1"})
        assert answer.headers["x-request-id"] == "wish-1"
        stack.finished(answer.json()["job_id"])
        rows = stack.rows("SELECT kind, correlation_id FROM ib_requests")
        assert {row.correlation_id for row in rows} == {"wish-1"}
        assert "bars" in {row.kind for row in rows}
        (line,) = [line for line in stack.log() if line["message"] == "chunk-done"]
        assert (line["service"], line["correlation_id"]) == ("ib_bridge", "wish-1")
