"""Orders and fills over sockets and event streams: what a listener is told, who may listen, and that nothing is told twice."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from nautilus.auth import api_keys
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.db.auth import api_keys as stored_keys
from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.db.orders import events, orders, risk_book
from nautilus.db.orders.events import Event, EventRow
from nautilus.orders import account_events
from nautilus.orders.report import described
from tests.support.order_ledger import (
    NOW,
    commission,
    corrected,
    execution,
    ib_says,
    placed,
    row_of,
    sent,
    status,
    ticket,
    working,
)
from tests.support.stream_server import Client, StreamServer, client, wait

ONE, TWO = "SIM1", "SIM2"
ORDERS, FILLS = f"events.orders.{ONE}", f"events.fills.{ONE}"


@pytest.fixture
def running(database: Database, dsn: str, tmp_path: Path) -> Iterator[StreamServer]:
    made = StreamServer(dsn, tmp_path)
    yield made
    made.stop()


@contextmanager
def trader(running: StreamServer, *accounts: str) -> Iterator[Client]:
    with client(running, running.token(1, "orders:read", accounts=accounts or (ONE,))) as socket:
        yield socket


def resume(socket: Client, version: int, channel: str = ORDERS) -> dict[str, Any]:
    """Go on behind an event; returns the first answer about the channel."""
    socket.send(op="resume", id=8, channels={channel: {"version": version}})
    return socket.next("resumed", "snapshot", "error", c=channel)


def events_of(database: Database, account: str = ONE) -> list[EventRow]:
    with database.transaction() as cursor:
        return events.after(cursor, {account: 0})


def ids(database: Database, account: str = ONE) -> list[int]:
    return [row.id for row in events_of(database, account)]


def received_ids(socket: Client, channel: str = ORDERS) -> list[int]:
    """The ids of the events that came over a channel, in their order."""
    return [one["version"] for one in socket.received if one["t"] in ("order", "fill") and one["c"] == channel]


def shown(database: Database, order_id: UUID) -> Any:
    """The order as the API answers it."""
    with database.transaction() as cursor:
        row = orders.read(cursor, order_id)
        assert row is not None
        return json.loads(json.dumps(described(cursor, [row])[0]))


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_a_listener_sees_the_open_orders_and_then_each_event_as_the_api_tells_it(
    database: Database, running: StreamServer
) -> None:
    resting = working(database)
    over = placed(database, ticket(quantity=10**9, limit="1")).orders[0]
    with trader(running) as socket:
        ack = socket.subscribe(ORDERS)
        assert ack["channels"] == [{"c": ORDERS, "state": "live", "reason": ""}]
        snapshot = socket.next("snapshot")
        last = ids(database)[-1]
        assert (snapshot["c"], snapshot["version"]) == (ORDERS, last)
        assert {one["id"] for one in snapshot["orders"]} == {str(resting.id), str(over.id)}
        assert shown(database, resting.id) in snapshot["orders"]
        placed_now = placed(database).orders[0]
        message = socket.next("order")
        [row] = [row for row in events_of(database) if row.id > last]
        assert (message["c"], message["version"]) == (ORDERS, row.id)
        event = message["event"]
        assert (event["id"], event["kind"], event["source"]) == (row.id, "accepted", "api")
        assert (event["before"], event["after"], event["market_at_ns"]) == (None, "accepted", NOW)
        assert "frame" not in event
        assert message["order"] == shown(database, placed_now.id)


def test_a_fill_is_told_once_its_correction_as_such_and_its_commission_beside_it(
    database: Database, running: StreamServer
) -> None:
    row = working(database, ticket(quantity=10))
    with trader(running) as socket:
        socket.subscribe(FILLS)
        snapshot = socket.next("snapshot")
        assert snapshot == {"t": "snapshot", "c": FILLS, "version": ids(database)[-1]}
        first = execution(row, 4, "100", "0001.aa.01")
        ib_says(database, first)
        ib_says(database, first)  # IB says it again
        ib_says(database, commission(first, "1.5"))
        second = corrected(first, 3, "99.5")
        ib_says(database, second)
        ib_says(database, first)  # an old revision, late
        ib_says(database, status(row, "Submitted", row.perm_ids[0]))
        socket.collect(lambda: len(received_ids(socket, FILLS)) >= 3, "three messages")
        filled, charged, revised = (one for one in socket.received if one["t"] == "fill")
        assert (filled["event"]["kind"], filled["fill"]["exec_base"], filled["fill"]["revision"]) == (
            "execution",
            "0001.aa",
            1,
        )
        assert (filled["fill"]["order_id"], filled["fill"]["quantity"], filled["fill"]["price"]) == (
            str(row.id),
            "4",
            "100",
        )
        assert "was" not in filled
        assert (charged["event"]["kind"], charged["fill"]["commission"], charged["fill"]["revision"]) == (
            "commission",
            "1.5",
            1,
        )
        assert (revised["fill"]["revision"], revised["fill"]["quantity"], revised["fill"]["price"]) == (2, "3", "99.5")
        assert revised["was"] == {"exec_id": "0001.aa.01", "revision": 1, "quantity": "4", "price": "100"}
        # Whoever comes back with the first of them gets the same two others, and nothing of the repetitions.
        with trader(running) as again:
            assert resume(again, filled["version"], FILLS)["count"] == 2
            again.collect(lambda: len(received_ids(again, FILLS)) == 2, "two messages")
            assert [one["fill"] for one in again.received if one["t"] == "fill"] == [
                {**charged["fill"], "commission": "1.5"},
                revised["fill"],
            ]


def test_an_event_that_fits_no_order_is_told_without_one(database: Database, running: StreamServer) -> None:
    with trader(running) as socket:
        socket.subscribe(ORDERS)
        socket.next("snapshot")
        with database.transaction() as cursor:
            risk_book.lock_account(cursor, ONE)
            events.add(cursor, Event("completed-order", "ib", NOW, "it fits no order"), account=ONE)
        message = socket.next("order")
        assert (message["order"], message["event"]["order_id"], message["event"]["text"]) == (
            None,
            None,
            "it fits no order",
        )


def test_a_notification_that_is_lost_costs_a_second_at_most(
    database: Database, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No notification reaches anybody."""
    monkeypatch.setattr("nautilus.db.orders.events.EVENTS", "nobody")
    row = placed(database).orders[0]
    with trader(running) as socket:
        socket.subscribe(ORDERS)
        socket.next("snapshot")
        with database.transaction() as cursor:
            held = orders.lock_with_book(cursor, row.id)
            assert held is not None
            orders.update(cursor, held, {"why": "without a word"}, Event("reserved", "process", NOW))
        assert socket.next("order")["order"]["why"] == "without a word"


def test_a_notification_brings_an_event_before_the_next_look(
    database: Database, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.order_events.SWEEP_S", 3_600.0)
    with trader(running) as socket:
        socket.subscribe(ORDERS, FILLS)
        socket.next("snapshot", c=ORDERS)
        socket.next("snapshot", c=FILLS)
        wait(lambda: running.stream.orders._wakes.works, "notifications are heard")
        orders_placed = [placed(database).orders[0] for _ in range(3)]
        row = sent(database, orders_placed[0].id)
        ib_says(database, execution(row, 1))
        kinds = [socket.next("order")["event"]["kind"] for _ in range(6)]
        assert kinds == ["accepted"] * 3 + ["reserved", "sending", "execution"]
        assert socket.next("fill")["fill"]["quantity"] == "1"


def test_more_open_orders_than_a_snapshot_holds_are_read_by_rest(
    database: Database, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.order_messages.MOST_ORDERS", 2)
    rows = [placed(database).orders[0] for _ in range(3)]
    with trader(running) as socket:
        socket.subscribe(ORDERS)
        snapshot = socket.next("snapshot")
        assert [one["id"] for one in snapshot["orders"]] == [str(rows[2].id), str(rows[1].id)]
        assert snapshot["rest"] == f"/api/v1/orders?account={ONE}&open=true"


# ---- coming back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("had", [1, 3, 6])
def test_who_comes_back_gets_exactly_what_was_missed(database: Database, running: StreamServer, had: int) -> None:
    for _ in range(3):
        working(database)
    placed(database, ticket(account=TWO))
    all_ids = ids(database)
    with trader(running) as socket:
        answer = resume(socket, all_ids[had - 1])
        assert (answer["t"], answer["version"], answer["count"]) == (
            "resumed",
            all_ids[had - 1],
            len(all_ids) - had,
        )
        placed(database)
        socket.collect(lambda: received_ids(socket)[-1:] == ids(database)[-1:], "all that came")
        assert received_ids(socket) == ids(database)[had:]


def test_who_was_away_for_too_long_begins_anew(
    database: Database, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.subscriber.MOST_EVENTS_AT_ONCE", 2)
    first = placed(database).orders[0]
    [seen] = ids(database)
    for _ in range(3):
        placed(database)
    with trader(running) as socket:
        for channel in (ORDERS, FILLS):
            answer = resume(socket, seen, channel)
            last = ids(database)[-1]
            if channel == FILLS:  # of fills there was none
                assert (answer["t"], answer["count"]) == ("resumed", 0)
                continue
            assert (answer["t"], answer["reason"], answer["version"]) == ("snapshot", "resync", last)
            assert (answer["since_version"], answer["rest"]) == (seen, f"/api/v1/orders?account={ONE}")
            assert str(first.id) in {one["id"] for one in answer["orders"]}
        placed(database)
        assert socket.next("order")["version"] == ids(database)[-1]


def test_an_event_of_another_account_or_of_nowhere_is_no_place_to_go_on_from(
    database: Database, running: StreamServer
) -> None:
    placed(database)
    placed(database, ticket(account=TWO))
    with trader(running) as socket:
        for version in (*ids(database, TWO), 10**12):
            assert resume(socket, version)["reason"] == "resync"


def test_no_event_is_missed_or_doubled_however_a_subscription_meets_it(
    database: Database, running: StreamServer
) -> None:
    """Twenty sockets subscribe and leave while orders are placed; each is told all that comes after its snapshot."""
    with trader(running) as always:
        always.subscribe(ORDERS)
        start = always.next("snapshot")["version"]
        for n in range(20):
            placed(database)
            with trader(running) as socket:
                socket.send(op="subscribe", channels=[ORDERS])
                placed(database)
                version = socket.next("snapshot")["version"]
                placed(database)
                wanted = [one for one in ids(database) if one > version]
                socket.collect(lambda s=socket, w=wanted: len(received_ids(s)) >= len(w), f"events of round {n}")  # type: ignore[misc]
                assert received_ids(socket) == wanted
        wanted = [one for one in ids(database) if one > start]
        always.collect(lambda: len(received_ids(always)) >= len(wanted), "all of them")
        assert received_ids(always) == wanted


# ---- two accounts ----------------------------------------------------------------------------------------------------


def test_an_event_with_an_early_id_and_a_late_commit_is_told(database: Database, running: StreamServer) -> None:
    two = f"events.orders.{TWO}"
    with trader(running, ONE, TWO) as socket:
        socket.subscribe(ORDERS, two)
        for _ in range(2):
            socket.next("snapshot")
        with database.transaction() as slow:
            risk_book.lock_account(slow, ONE)
            early = events.add(slow, Event("terms", "ib", NOW, "early id, late commit"), account=ONE)
            placed(database, ticket(account=TWO))
            late = socket.next("order", c=two)["version"]
            assert early < late
        assert socket.next("order", c=ORDERS)["version"] == early


def test_one_place_for_all_accounts_would_lose_it(
    database: Database, running: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: the reader goes on from the highest id of all accounts."""
    after = account_events.after

    def from_the_highest(cursor: Any, seen: dict[str, int], limit: int) -> Any:
        return after(cursor, dict.fromkeys(seen, max(seen.values())), limit)

    monkeypatch.setattr("stream.order_events.account_events.after", from_the_highest)
    monkeypatch.setattr("tests.support.stream_server.PATIENCE_S", 5.0)
    with pytest.raises(AssertionError, match=r"no .*'order'"):
        test_an_event_with_an_early_id_and_a_late_commit_is_told(database, running)


# ---- rights ----------------------------------------------------------------------------------------------------------


def test_a_channel_needs_the_scope_and_the_account(database: Database, running: StreamServer) -> None:
    with client(running, running.token(1, "bars:read", accounts=["*"])) as socket:
        socket.subscribe(ORDERS)
        error = socket.next("error")
        assert (error["code"], error["scope"], error["channel"]) == ("missing-scope", "orders:read", ORDERS)
    with trader(running, TWO) as socket:
        for channel in (ORDERS, FILLS):
            assert socket.subscribe(channel)["channels"] == []
            error = socket.next("error")
            assert (error["code"], error["channel"], error["account"]) == ("account-not-allowed", channel, ONE)
            assert error["accounts"] == [TWO]
            assert (channel in error["detail"], TWO in error["detail"]) == (True, True)
    with client(running, running.token(1, "admin")) as socket:
        assert len(socket.subscribe(ORDERS, f"events.fills.{TWO}")["channels"]) == 2
        socket.subscribe("events.orders.DU999")
        assert socket.next("error")["code"] == "unknown-account"
        socket.send(op="subscribe", channels=["events.orders.no account"])
        assert socket.next("error")["errors"][0]["allowed"] == ["events.orders.<account>"]


def test_the_events_of_another_account_are_not_heard(database: Database, running: StreamServer) -> None:
    with trader(running) as socket:
        socket.subscribe(ORDERS, FILLS)
        for _ in range(2):
            socket.next("snapshot")
        placed(database, ticket(account=TWO))
        placed(database)
        assert socket.next("order")["order"]["account"] == ONE
        assert not [one for one in socket.received if TWO in json.dumps(one)]


class Key:
    """An API key of a user who may use the first account."""

    def __init__(self, database: Database) -> None:
        scopes = ["orders:read", "bars:read"]
        put_user(
            database,
            Passwords(passes=1, memory_kib=64),
            username="ann",
            password="a rather long sentence, 7",
            scopes=scopes,
            reason="test",
            accounts=[ONE],
        )
        made = api_keys.new_key()
        self.headers = {"X-API-Key": made.text}
        self._db = database
        with database.transaction() as cursor:
            user = users.by_login(cursor, "ann")
            assert user is not None
            self.user = user.id
            stored_keys.create(
                cursor,
                user_id=user.id,
                name="k",
                prefix=made.prefix,
                secret_hash=made.hash,
                scopes=scopes,
                expires_at=None,
            )

    def change_user(self, **changes: Any) -> None:
        with self._db.transaction() as cursor:
            users.update(cursor, self.user, **changes)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"accounts": [TWO]}, "account-not-allowed"), ({"scopes": ["bars:read"]}, "missing-scope")],
    ids=["account", "scope"],
)
def test_a_right_that_is_taken_away_ends_the_channel(
    database: Database, running: StreamServer, change: dict[str, list[str]], code: str
) -> None:
    key = Key(database)
    with client(running, headers=key.headers) as socket:
        socket.subscribe(ORDERS, FILLS)
        socket.next("snapshot", c=FILLS)
        key.change_user(**change)
        assert {socket.next("error", code=code)["channel"] for _ in range(2)} == {ORDERS, FILLS}
        placed(database)
        assert socket.subscribe(ORDERS)["channels"] == []
        assert not received_ids(socket)


def test_a_disabled_user_is_closed(database: Database, running: StreamServer) -> None:
    key = Key(database)
    with client(running, headers=key.headers) as socket:
        socket.subscribe(ORDERS)
        socket.next("snapshot")
        key.change_user(is_active=False)
        assert socket.closed() == 4401
        assert socket.received[-1]["resume"]["channels"][ORDERS]["version"] == 0


# ---- event streams ---------------------------------------------------------------------------------------------------


def read_events(running: StreamServer, number: int, last_id: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The id and the message of so many server-sent events."""
    headers = {"Authorization": f"Bearer {running.token(1, 'orders:read', accounts=[ONE])}"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    found: list[tuple[str, dict[str, Any]]] = []
    with (
        httpx.Client(trust_env=False, timeout=30) as http,
        http.stream(
            "GET",
            f"http://{running.address}/api/v1/stream/events",
            params={"channels": f"{ORDERS},{FILLS}"},
            headers=headers,
        ) as answer,
    ):
        assert answer.status_code == 200
        number_of_event = ""
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number_of_event = line[4:]
            elif line.startswith("data: "):
                found.append((number_of_event, json.loads(line[6:])))
                if len(found) == number:
                    return found
    raise AssertionError(f"the stream ended: {found}")


def test_an_event_stream_goes_on_behind_the_last_event_that_came(database: Database, running: StreamServer) -> None:
    row = working(database, ticket(quantity=10))
    first = read_events(running, 2)
    assert {one["t"] for _, one in first} == {"snapshot"}
    word = execution(row, 4)
    ib_says(database, word)
    ib_says(database, commission(word))
    seen = len(ids(database)) - 2
    came = read_events(running, 6, first[-1][0])
    assert sorted(one["t"] for _, one in came) == ["fill", "fill", "order", "order", "resumed", "resumed"]
    assert [one["version"] for _, one in came if one["t"] == "order"] == ids(database)[seen:]
    nothing_new = read_events(running, 2, came[-1][0])
    assert [(one["t"], one["count"]) for _, one in nothing_new] == [("resumed", 0)] * 2
    assert row_of(database, row.id).filled == 4
