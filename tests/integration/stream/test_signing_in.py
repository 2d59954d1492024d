"""Who may open a socket, by which credential, from which page, and for how long."""

import hashlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from nautilus.auth import api_keys
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.cursor import Cursor
from nautilus.db.live import tickets
from nautilus.db.live.tickets import Ticket
from nautilus.db.rows import one_or_none
from nautilus.infra.bus.publishing import Message
from tests.support.stream_server import BARS, QUOTES, Client, Publishing, StreamServer, client

SESSION = "11111111-0000-0000-0000-000000000001"
SCOPES = ["bars:read", "monitoring:read"]
BUSY_S = 4
"""So much longer a busy machine may take."""


def ticket(bridge: Publishing, text: str, seconds: float = 30, scopes: list[str] = SCOPES) -> str:
    row = Ticket("user:1", "ann", scopes, SESSION, None, [])
    with bridge.stored.db.transaction() as cursor:
        tickets.put(cursor, hashlib.sha256(text.encode()).digest(), row, seconds)
    return text


def refused(running: StreamServer, path: str = "/ws/v1/stream", **more: Any) -> tuple[int, str]:
    """Status and code with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as answer:
        connect(f"ws://{running.address}{path}", proxy=None, **more)
    response = answer.value.response
    return response.status_code, json.loads(response.body or b"{}").get("code", "")


def test_a_ticket_signs_in_by_the_first_message_and_only_once(bridge: Publishing, running: StreamServer) -> None:
    ticket(bridge, "abc")
    with client(running) as socket:
        socket.send(op="auth", ticket="abc")
        assert socket.next("welcome")["scopes"] == SCOPES
        socket.subscribe(BARS)
    with client(running) as socket:
        socket.send(op="auth", ticket="abc")
        assert socket.next("error")["code"] == "invalid-ticket"
        assert socket.closed() == 4401


def taken_at_once(running: StreamServer, *texts: str) -> list[int]:
    """How many sockets of two that send the same ticket at one instant are signed in, for each ticket."""
    found = []
    for text in texts:
        with client(running) as one, client(running) as other, ThreadPoolExecutor(2) as threads:
            ready = threading.Barrier(2)

            def sign_in(socket: Client, text: str = text, ready: threading.Barrier = ready) -> str:
                ready.wait()
                socket.send(op="auth", ticket=text)
                return str(socket.next("welcome", "error").get("code", "signed in"))

            answers = sorted(threads.map(sign_in, (one, other)))
        assert set(answers) <= {"invalid-ticket", "signed in"}
        found.append(answers.count("signed in"))
    return found


def test_of_two_sockets_with_one_ticket_at_one_instant_exactly_one_is_signed_in(
    bridge: Publishing, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [ticket(bridge, f"ticket-{n}") for n in range(20)]
    assert taken_at_once(running, *names) == [1] * len(names)

    def looks_then_takes(cursor: Cursor, ticket_hash: bytes) -> Ticket | None:
        """The mutant: two statements in place of one."""
        columns = ", ".join(Ticket._fields)
        cursor.execute(f"SELECT {columns} FROM stream_tickets WHERE hash = %s", (ticket_hash,))
        found = one_or_none(cursor, Ticket)
        time.sleep(0.2)
        cursor.execute("DELETE FROM stream_tickets WHERE hash = %s", (ticket_hash,))
        return found

    monkeypatch.setattr(tickets, "take", looks_then_takes)
    assert 2 in taken_at_once(running, *(ticket(bridge, f"later-{n}") for n in range(3)))


def test_a_ticket_signs_in_as_subprotocol_and_the_answer_does_not_repeat_it(
    bridge: Publishing, running: StreamServer
) -> None:
    ticket(bridge, "abc")
    offered = [Subprotocol("nautilus.v1"), Subprotocol("ticket.abc")]
    with connect(f"ws://{running.address}/ws/v1/stream", proxy=None, subprotocols=offered) as connection:
        assert connection.subprotocol == "nautilus.v1"
        assert Client(connection).next("welcome")
    assert refused(running, subprotocols=offered) == (401, "invalid-ticket")


def test_an_old_ticket_is_refused(bridge: Publishing, running: StreamServer) -> None:
    ticket(bridge, "old", seconds=-1)
    with client(running) as socket:
        socket.send(op="auth", ticket="old")
        assert socket.closed() == 4401


def test_who_says_nothing_or_something_else_first_is_closed(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_sign_in_s=0.3)
    try:
        with client(running) as socket:
            assert socket.closed() == 4401
        with client(running) as socket:
            socket.send(op="subscribe", channels=[BARS])
            assert "not signed in" in socket.next("error")["detail"]
            assert socket.closed() == 4401
        with client(running) as socket:
            socket.connection.send("{")
            assert socket.closed() == 4400
    finally:
        running.stop()


def test_a_handshake_takes_an_access_token_or_an_api_key_and_no_bad_one(
    bridge: Publishing, running: StreamServer
) -> None:
    with client(running, running.token()) as socket:
        assert socket.next("welcome")
    key = new_key(bridge)
    with client(running, headers={"X-API-Key": key[1]}) as socket:
        assert socket.next("welcome")
    assert refused(running, additional_headers={"Authorization": "Bearer x.y.z"}) == (401, "invalid-token")
    assert refused(running, additional_headers={"X-API-Key": "nautilus_x"}) == (401, "invalid-api-key")


@pytest.mark.parametrize("name", ["token", "ticket", "access_token", "api_key", "X-API-Key"])
def test_a_credential_in_the_address_is_refused_whatever_it_is(running: StreamServer, name: str) -> None:
    for path in ("/ws/v1/stream", "/ws/realtime"):
        assert refused(running, f"{path}?{name}={running.token()}") == (400, "credential-in-address")
    assert refused(running, "/ws/v1/stream?colour=red") == (422, "validation-error")


def test_a_foreign_page_or_host_opens_no_socket(running: StreamServer) -> None:
    good = {"Authorization": f"Bearer {running.token()}"}
    for path in ("/ws/v1/stream", "/ws/realtime"):
        assert refused(running, path, additional_headers={**good, "Origin": "https://evil.example"}) == (
            403,
            "foreign-origin",
        )
        with socket.create_connection(("127.0.0.1", running.port)) as raw, pytest.raises(InvalidStatus) as answer:
            connect(f"ws://evil.example{path}", sock=raw, proxy=None, additional_headers=good)
        assert json.loads(answer.value.response.body or b"")["code"] == "foreign-host"
    with client(running, running.token(), headers={"Origin": f"http://{running.address}"}) as opened:
        assert opened.next("welcome")


def closed_after_s(socket: Client) -> float:
    """How long it takes until a socket is closed as its sign-in has ended."""
    began = time.monotonic()
    assert socket.closed() == 4401
    return time.monotonic() - began


def test_a_session_that_ends_closes_its_sockets_within_five_seconds(bridge: Publishing, running: StreamServer) -> None:
    with (
        client(running, running.token(session=SESSION)) as socket,
        client(running, running.token(2)) as other,
    ):
        socket.next("welcome")
        bridge.stored.rows(
            "INSERT INTO denied (subject, reason, expires_at) VALUES (%s, 'ended', clock_timestamp() + interval '1 hour')",
            f"session:{SESSION}",
        )
        assert closed_after_s(socket) < 5 + BUSY_S
        assert socket.received[-1]["code"] == 4401
        other.send(op="ping", id=1)
        assert other.next("pong")["id"] == 1


def new_key(bridge: Publishing) -> tuple[int, str]:
    """An API key of a user: its number and its text."""
    put_user(
        bridge.stored.db,
        Passwords(passes=1, memory_kib=64),
        username="ann",
        password="a rather long sentence, 7",
        scopes=SCOPES,
        reason="test",
    )
    key = api_keys.new_key()
    with bridge.stored.db.transaction() as cursor:
        cursor.execute("SELECT id FROM users WHERE username = 'ann'")
        user_id = cursor.fetchone()[0]
        made = stored_keys.create(
            cursor, user_id=user_id, name="k", prefix=key.prefix, secret_hash=key.hash, scopes=SCOPES, expires_at=None
        )
    return made.id, key.text


def test_a_revoked_key_closes_its_sockets(bridge: Publishing, running: StreamServer) -> None:
    number, text = new_key(bridge)
    with client(running, headers={"X-API-Key": text}) as socket:
        socket.next("welcome")
        bridge.stored.rows("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE id = %s", number)
        assert closed_after_s(socket) < 5 + BUSY_S


def test_a_key_that_ends_by_its_date_closes_its_sockets_within_five_seconds(
    bridge: Publishing, running: StreamServer
) -> None:
    number, text = new_key(bridge)
    ends = "UPDATE api_keys SET expires_at = clock_timestamp() + interval '%s seconds' WHERE id = %s"
    bridge.stored.rows(ends, 600, number)
    with client(running, headers={"X-API-Key": text}) as socket:
        socket.next("welcome")
        bridge.stored.rows(ends, 2, number)
        began = time.monotonic()
        assert socket.closed() == 4401
        assert 2 <= time.monotonic() - began < 2 + 5 + 3, (
            "two seconds it is good, then five, and some for a busy machine"
        )
        assert socket.received[-1]["reason"] == "the sign-in has ended"
    assert refused(running, additional_headers={"X-API-Key": text}) == (401, "invalid-api-key")


def test_scopes_are_asked_for_by_topic_and_close_nothing(bridge: Publishing, running: StreamServer) -> None:
    with client(running, running.token(1, "monitoring:read")) as socket:
        ack = socket.subscribe(BARS, "events.session.bridge-1")
        assert [one["c"] for one in ack["channels"]] == ["events.session.bridge-1"]
        error = socket.next("error")
        assert (error["code"], error["scope"], error["channel"]) == ("missing-scope", "bars:read", BARS)
    with client(running, running.token(1, "bars:read")) as socket:
        ack = socket.subscribe("events.session.bridge-1", BARS)
        assert [one["c"] for one in ack["channels"]] == [BARS]
        assert socket.next("error")["scope"] == "monitoring:read"


def test_a_socket_must_sign_in_anew_and_may_do_so_while_it_is_open(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_sign_in_again_s=3.0)
    try:
        with client(running, running.token()) as kept, client(running, running.token()) as left:
            kept.next("welcome")
            kept.subscribe(BARS)
            for _ in range(3):
                kept.collect(lambda: not kept.read(1.0), "a second passes")
                kept.send(op="auth", token=running.token())
                kept.next("welcome")
            assert left.closed() == 4401
            kept.send(op="ping", id=9)
            assert kept.next("pong")["id"] == 9
    finally:
        running.stop()


def test_callers_without_credentials_have_what_the_setting_says(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, anonymous_scopes=("bars:read",))
    try:
        with client(running) as socket:
            assert socket.next("welcome")["scopes"] == ["bars:read"]
            socket.subscribe(BARS)
    finally:
        running.stop()


def test_who_signs_in_anew_with_less_keeps_only_the_channels_that_he_may_have(
    bridge: Publishing, running: StreamServer
) -> None:
    """Or a socket would hear, for as long as it is open, what its sign-in must not hear: the session that could has ended."""
    with client(running, running.token(1)) as socket:
        socket.next("welcome")
        socket.subscribe("events.session.bridge-1", BARS, QUOTES)
        socket.send(op="auth", token=running.token(2, "bars:read"))
        assert socket.next("error")["channel"] == "events.session.bridge-1"
        assert socket.next("welcome", scopes=["bars:read"])
        socket.send(op="subscribe", id=7, channels=[BARS])
        assert [one["c"] for one in socket.next("ack", id=7)["channels"]] == [BARS, QUOTES]
        socket.next("snapshot", c=BARS)
        bridge.publish(Message("session", "events.session.bridge-1", {"state": "connected"}))
        bridge.closed(3)
        socket.next("bar", state="closed")
        assert not [one for one in socket.received if one["t"] == "session"]


def test_quotes_count_for_who_has_signed_in_last(bridge: Publishing, tmp_path: Path) -> None:
    running = StreamServer(bridge.stored.dsn, tmp_path, stream_quotes_per_caller=1)
    try:
        with client(running, running.token(1)) as first, client(running, running.token(1)) as second:
            first.next("welcome")
            first.subscribe(QUOTES)
            second.send(op="subscribe", channels=[QUOTES])
            assert second.next("error")["code"] == "limit-exceeded"
            first.send(op="auth", token=running.token(2))
            first.next("welcome")
            second.subscribe(QUOTES)
            second.next("snapshot", c=QUOTES)
            second.send(op="auth", token=running.token(2))
            assert second.next("error", op="auth")["code"] == "limit-exceeded"
    finally:
        running.stop()
