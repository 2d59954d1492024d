"""`python -m stream` as a process: its health page, its leases, its end by SIGTERM and by SIGKILL."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from dev.credentials import token_settings
from dev.environment import environment
from dev.process import Child, Group, free_port
from nautilus.auth.tokens.sign import Signer
from nautilus.db.live import wants
from nautilus.db.live.wants import CurrentWant
from stream.wants import LEASE_S
from tests.support.stream_server import BARS, FIVE, QUOTES, Client, Publishing, wait


class Process:
    """One stream process and who signs its tokens."""

    def __init__(self, group: Group, folder: Path, dsn: str) -> None:
        keys = token_settings(folder)
        self.port = free_port()
        self._signer = Signer(
            keys["NAUTILUS_TOKEN_KEY_ID"],
            keys["NAUTILUS_TOKEN_PRIVATE_KEY"],
            issuer="nautilus",
            audience="nautilus-api",
        )
        settings = {
            "NAUTILUS_DATABASE_URL": dsn,
            "NAUTILUS_STREAM_PORT": str(self.port),
            "NAUTILUS_STREAM_BYE_S": "0.5",
            **keys,
        }
        self.child: Child = group.start(
            f"stream-{self.port}",
            [sys.executable, "-m", "stream"],
            log=folder / f"stream-{self.port}.log",
            env=environment(settings),
            ready=lambda child: self.health() is not None,
        )
        self.child.wait_ready(within_s=60)

    def health(self) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return None
        return dict(answer.json())

    @contextmanager
    def client(self, user: int = 1) -> Iterator[Client]:
        now_s = int(time.time())
        token = self._signer.sign(
            user_id=user,
            name="ann",
            scopes=["bars:read"],
            session=f"00000000-0000-0000-0000-{user:012d}",
            key_id=None,
            now_s=now_s,
            expires_s=now_s + 300,
        ).token
        headers = {"Authorization": f"Bearer {token}"}
        with connect(
            f"ws://127.0.0.1:{self.port}/ws/v1/stream", additional_headers=headers, proxy=None, compression=None
        ) as opened:
            yield Client(opened)


@pytest.fixture
def group() -> Iterator[Group]:
    with Group() as made:
        yield made


@pytest.fixture
def process(group: Group, bridge: Publishing, tmp_path: Path) -> Process:
    return Process(group, tmp_path, bridge.stored.dsn)


def wanted(bridge: Publishing) -> list[CurrentWant]:
    with bridge.stored.db.transaction() as cursor:
        return [want for want in wants.current(cursor) if want.owner.startswith("stream:")]


def kinds(bridge: Publishing) -> list[tuple[str, str, int]]:
    return sorted((want.kind, want.timeframe, want.priority) for want in wanted(bridge))


def test_all_sockets_want_a_channel_once_and_the_last_one_gives_it_up(bridge: Publishing, process: Process) -> None:
    with process.client() as first:
        first.subscribe(BARS, QUOTES)
        with process.client(2) as second:
            second.subscribe(BARS, FIVE, chart=True)
            wait(lambda: kinds(bridge) == [("bars", "1m", 7), ("bars", "5m", 7), ("quotes", "", 6)], "one want each")
            assert {(one.price, one.session) for one in wanted(bridge)} == {("TRADES", "rth"), ("", "")}
            assert process.health() == {**(process.health() or {}), "ok": True, "sockets": 2}
        wait(lambda: kinds(bridge) == [("bars", "1m", 6), ("quotes", "", 6)], "one socket is left")
        first.send(op="unsubscribe", channels=[BARS])
        wait(lambda: kinds(bridge) == [("quotes", "", 6)], "the quotes are left")
    wait(lambda: wanted(bridge) == [], "nothing is wanted")


def test_sigterm_says_goodbye_and_wants_nothing_any_more(bridge: Publishing, process: Process, group: Group) -> None:
    with process.client() as socket:
        socket.subscribe(BARS)
        socket.next("snapshot")
        wait(lambda: wanted(bridge), "the lease is written")
        assert group.stop_child(process.child) == 0
        assert socket.closed() == 1012
        bye = socket.received[-1]
        assert (bye["t"], bye["code"]) == ("bye", 1012)
        assert 1 <= bye["retry_after_s"] <= 10
        assert list(bye["resume"]["channels"]) == [BARS]
    assert wanted(bridge) == []
    lines = [json.loads(line) for line in process.child.log.read_text().splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines if line["level"] in ("ERROR", "CRITICAL")] == []


def test_what_a_killed_process_wants_ends_within_a_minute(bridge: Publishing, process: Process, group: Group) -> None:
    with process.client() as socket:
        socket.subscribe(BARS)
        wait(lambda: wanted(bridge), "the lease is written")
        group.kill_child(process.child)
        killed_at = datetime.now(UTC)
    [left] = wanted(bridge)
    assert left.lease_until is not None
    assert (left.lease_until - killed_at).total_seconds() <= LEASE_S
    bridge.stored.rows("UPDATE live_wants SET lease_until = lease_until - interval '60 s'")
    assert wanted(bridge) == []
    with bridge.stored.db.transaction() as cursor:
        assert wants.expire(cursor) == 1
