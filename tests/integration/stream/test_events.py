"""Server-sent events: the same messages over plain HTTP, and Last-Event-ID resumes exactly."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from nautilus.clock import rfc3339
from tests.support.stream_server import BARS, FIVE, MINUTE, OPEN, QUOTES, Chart, Publishing, StreamServer, wait

PATH = "/api/v1/stream/events"


class Events:
    """A reader of events. `received`: (id, event, data) of each so far."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.iter_lines()
        self.received: list[tuple[str, str, dict[str, Any]]] = []

    def next(self, kind: str, channel: str = "") -> dict[str, Any]:
        """The data of the next event of a kind and, where one is given, of a channel."""
        while True:
            one = {"id": "", "event": "", "data": ""}
            while line := next(self.lines):
                name, _, value = line.partition(": ")
                if name:
                    one[name] = value
            if one["data"]:
                self.received.append((one["id"], one["event"], json.loads(one["data"])))
                data = self.received[-1][2]
                if one["event"] == kind and channel in ("", data["c"]):
                    return data


@contextmanager
def events(running: StreamServer, channels: str, last: str = "", **query: Any) -> Iterator[Events]:
    headers = {"Authorization": f"Bearer {running.token()}"} | ({"Last-Event-ID": last} if last else {})
    url = f"http://{running.address}{PATH}"
    with httpx.stream(
        "GET", url, params={"channels": channels, **query}, headers=headers, timeout=30, trust_env=False
    ) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer)


def test_events_are_the_messages_and_their_ids_resume(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 1)
    bridge.long_ago()
    bridge.confirm(2, 3)
    chart = Chart()
    with events(running, f"{BARS},{QUOTES}", bars=2) as reader:
        assert [bar["close"] for bar in reader.next("snapshot", BARS)["bars"]] == [100.02, 100.03]
        bridge.closed(4)
        assert reader.next("bar")["ts"] == rfc3339(OPEN + 4 * MINUTE)
        bridge.quote(3.0)
        assert reader.next("quote")["bid"] == 3.0
        last = reader.received[-1][0]
        epoch, number, versions = last.split(":")
        assert (epoch, int(number) > 0, versions) == (running.stream.hub.epoch, True, "2.0")
        for _, _, data in reader.received:
            chart.take(data)
    bridge.confirm(4, 6)
    bridge.confirm(2, 2, close=1.5, revised=True)
    with events(running, f"{BARS},{QUOTES}", last) as reader:
        snapshot = reader.next("snapshot", BARS)
        assert snapshot["since_version"] == 2
        chart.take(snapshot)
    assert [close for _, close in chart.closes()] == [1.5, 100.03, 100.04, 100.05, 100.06]


def test_ids_resume_where_the_stream_was_started_again(bridge: Publishing, tmp_path: Path) -> None:
    """Nothing that closed, was confirmed or was revised while it was away is missing or twice."""
    bridge.confirm(0, 3)
    chart, channels, last = Chart(), f"{QUOTES},{BARS}", ""
    for n in (4, 6, 8):
        running = StreamServer(bridge.stored.dsn, tmp_path)
        try:
            with events(running, channels, last) as reader:
                reader.next("snapshot", BARS)
                bridge.closed(n)
                reader.next("bar")
                bridge.long_ago()
                bridge.confirm(n, n)
                reader.next("confirmed")
                for _, _, data in reader.received:
                    chart.take(data)
                last = reader.received[-1][0]
        finally:
            running.stop()
        bridge.confirm(n + 1, n + 1)
        bridge.confirm(1, 1, close=100.0 + n, revised=True)
    running = StreamServer(bridge.stored.dsn, tmp_path)
    try:
        with events(running, channels, last) as reader:
            snapshot = reader.next("snapshot", BARS)
    finally:
        running.stop()
    chart.take(snapshot)
    assert [bar["ts"] for bar in snapshot["bars"]] == [rfc3339(OPEN + n * MINUTE) for n in (1, 8, 9)], (
        "what changed, and the last that was told"
    )
    assert [ts for ts, _ in chart.closes()] == [rfc3339(OPEN + n * MINUTE) for n in range(10)]
    assert chart.closes()[1][1] == 108.0


def test_a_command_line_reads_them(bridge: Publishing, running: StreamServer) -> None:
    bridge.confirm(0, 3)
    command = ["curl", "-sN", "--noproxy", "*", "--max-time", "30", "-H", f"Authorization: Bearer {running.token()}"]
    process = subprocess.Popen(
        [*command, f"http://{running.address}{PATH}?channels={BARS}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("data: "):
                break
        assert json.loads(line.removeprefix("data: "))["t"] == "snapshot"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    wait(lambda: not running.stream.open, "the reader who has gone is forgotten")


def refused(running: StreamServer, *scopes: str, last: str = "", **query: Any) -> tuple[int, str]:
    headers = httpx.Headers({"Authorization": f"Bearer {running.token(1, *scopes)}"}, encoding="utf-8")
    if last:
        headers["Last-Event-ID"] = last
    answer = httpx.get(f"http://{running.address}{PATH}", params=query, headers=headers, timeout=30, trust_env=False)
    return answer.status_code, answer.json()["code"]


def test_what_is_wrong_is_a_problem_before_anything_is_sent(bridge: Publishing, running: StreamServer) -> None:
    assert refused(running) == (422, "validation-error")
    assert refused(running, channels="data.nothing") == (422, "validation-error")
    assert refused(running, channels="data.quotes.NASDAQ.NOPE") == (404, "unknown-instrument")
    assert refused(running, channels=BARS, token="x") == (422, "unknown-parameter")
    assert refused(running, "monitoring:read", channels=BARS) == (403, "missing-scope")
    assert refused(running, channels=",".join([BARS, FIVE] * 1), bars=2_001) == (422, "validation-error")
    for last in ("x", "a:1", "a:1:-5", "a:1:٣", "a:1:" + "9" * 30, "a:1:1.1"):
        assert refused(running, channels=BARS, last=last) == (422, "validation-error"), last
    answer = httpx.get(f"http://{running.address}{PATH}", params={"channels": BARS}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert not running.stream.open
