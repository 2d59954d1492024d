"""A ticket of the API signs one socket of the stream in."""

import pytest

import functions.live.app
from nautilus.auth.principal import Principal
from nautilus.live import tickets
from tests.support.stored_bars import Api
from tests.support.stream_server import BARS, Publishing, StreamServer, client

TICKETS = "/api/v1/stream/tickets"


@pytest.fixture
def api(bridge: Publishing, running: StreamServer, tmp_path: object) -> Api:
    return bridge.stored.api(tmp_path, router=functions.live.app.router)


def ticket(api: Api, running: StreamServer, *scopes: str) -> str:
    answer = api.request("POST", TICKETS, headers={"Authorization": f"Bearer {running.token(7, *scopes)}"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["ticket"])


def test_a_ticket_signs_one_socket_in_and_no_second(api: Api, running: StreamServer) -> None:
    given = ticket(api, running)
    with client(running) as socket:
        socket.send(op="auth", ticket=given)
        assert socket.next("welcome")["v"] == 1
        assert [one["c"] for one in socket.subscribe(BARS)["channels"]] == [BARS]
    with client(running) as socket:
        socket.send(op="auth", ticket=given)
        assert socket.closed() == 4401


@pytest.mark.parametrize("text", ["", "x", "\ud800", "x" * 5_000, "\x00"])
def test_what_is_no_ticket_is_refused_as_such(api: Api, running: StreamServer, text: str) -> None:
    with client(running) as socket:
        socket.send(op="auth", ticket=text)
        assert socket.closed() in (4400, 4401)


def test_a_socket_may_what_its_ticket_may(api: Api, running: StreamServer) -> None:
    given = ticket(api, running, "bars:read")
    with client(running, subprotocols=["nautilus.v1", f"ticket.{given}"]) as socket:
        assert socket.connection.subprotocol == "nautilus.v1"
        assert socket.next("welcome")["scopes"] == ["bars:read"]


def test_a_ticket_keeps_the_accounts_of_its_caller(api: Api) -> None:
    caller = Principal("user:7", "ada", frozenset(["orders:read"]), accounts=frozenset(["DU1", "DU2"]))
    with api.services.db.transaction() as cursor:
        assert tickets.redeem(cursor, tickets.issue(cursor, caller).ticket) == caller


def test_the_want_of_a_socket_is_on_the_list_of_streams_and_not_on_the_callers(
    api: Api, bridge: Publishing, running: StreamServer
) -> None:
    with client(running, running.token(7)) as socket:
        socket.subscribe(BARS)
        headers = {"Authorization": f"Bearer {running.token(7)}"}
        assert api.get("/api/v1/market-data/live", headers=headers).json()["wants"] == []
