"""Orders and fills over sockets while something dies, falls silent or is slow: nothing is lost, doubled or invented for who
comes back."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.postgres import start_postgres
from dev.process import Group
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.db.orders import events
from stream.listener import SocketListener
from stream.outbox import Outbox
from tests.integration.stream.test_neighbours import started_again
from tests.integration.stream.test_slow_clients import Stalled, stalled
from tests.support.neighbours import relay
from tests.support.order_followers import Follower, Writer
from tests.support.order_ledger import ledger, placed
from tests.support.order_process import OrderStack, order_stack
from tests.support.stream_mutants import MUTANTS
from tests.support.stream_process import StreamProcess
from tests.support.stream_server import Client, StreamServer, client, wait

ONE, TWO = "SIM1", "SIM2"
ORDERS, FILLS, OTHERS = f"events.orders.{ONE}", f"events.fills.{ONE}", f"events.orders.{TWO}"
KILLS = 4


def ids(database: Database, account: str = ONE, after: int = 0) -> list[int]:
    with database.transaction() as cursor:
        return [row.id for row in events.after(cursor, {account: after}, 100_000)]


def received_ids(socket: Client, channel: str = ORDERS) -> list[int]:
    return [one["version"] for one in socket.received if one["t"] in ("order", "fill") and one["c"] == channel]


def states(socket: Client) -> list[tuple[str, str]]:
    return [(one["state"], one["reason"]) for one in socket.received if one["t"] == "stream" and one["c"] == ORDERS]


def follow(socket: Client) -> int:
    """Follow the orders; returns the version of the snapshot."""
    socket.subscribe(ORDERS)
    return int(socket.next("snapshot")["version"])


def trader(running: StreamServer) -> str:
    return running.token(1, "orders:read", accounts=["*"])


def sign_in_as_trader(running: StreamServer) -> None:
    """All tokens are those of traders."""
    token = running.token
    running.token = lambda user=1, *_, **__: token(user, "orders:read", accounts=["*"])  # type: ignore[method-assign]


# ---- killed at random ------------------------------------------------------------------------------------------------


def play(group: Group, database: Database, folder: Path, dsn: str, *, mutant: str = "") -> tuple[Follower, Writer]:
    """Orders are written while the stream process is killed at random; in the end the follower has had time for all of them."""
    module = ["tests.support.stream_mutants", mutant] if mutant else ["stream"]
    chance = random.Random(7)
    process = StreamProcess(group, folder, dsn, *module)
    headers = lambda: process.headers("orders:read", accounts=["*"])  # noqa: E731
    writer = Writer(database, (ONE, TWO), seed=7)
    follower = Follower(process.port, headers, [ORDERS, FILLS, OTHERS])
    neighbour = Follower(process.port, headers, [ORDERS, OTHERS])
    try:
        wait(lambda: len(follower.begun) == 3, "it follows")
        for kill in range(KILLS):
            before = len(follower.received[ORDERS])
            wait(lambda n=before: len(follower.received[ORDERS]) > n + 5, f"events come after kill {kill}")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))
            group.kill_child(process.child)
            time.sleep(chance.uniform(0, 0.3))
            process.start()
        before = len(follower.received[ORDERS])
        wait(lambda: len(follower.received[ORDERS]) > before + 20, "events come")
        writer.close()
        for channel, account in ((ORDERS, ONE), (OTHERS, TWO)):
            wait(
                lambda c=channel, a=account: follower.received[c][-1:] == ids(database, a)[-1:],  # type: ignore[misc]
                f"the last event of {account} is told",
                20,
            )
        wait(lambda: received_fills(follower)[-1:] == writer.expected[-1:], "the last fill is told", 20)
    finally:
        for one in (follower, neighbour):
            one.close()
        group.kill_child(process.child)
    return follower, writer


def received_fills(follower: Follower) -> list[tuple[str, str]]:
    return [(one["fill"]["exec_id"], one["event"]["kind"]) for one in follower.fills]


def check(follower: Follower, writer: Writer, database: Database) -> None:
    assert follower.connections > KILLS
    assert follower.anew == 0
    for channel, account in ((ORDERS, ONE), (OTHERS, TWO)):
        assert follower.received[channel] == ids(database, account, after=follower.begun[channel])
    fills = received_fills(follower)
    assert fills == writer.expected[len(writer.expected) - len(fills) :]
    assert len(writer.expected) - len(fills) <= 4, "those that were told before it followed"


def test_a_process_that_is_killed_at_random_loses_and_doubles_nothing(
    database: Database, dsn: str, tmp_path: Path
) -> None:
    with Group() as group:
        check(*play(group, database, tmp_path, dsn), database)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_loses_or_doubles_something(database: Database, dsn: str, tmp_path: Path, mutant: str) -> None:
    with Group() as group, pytest.raises(AssertionError, match=r"assert|still not"):
        check(*play(group, database, tmp_path, dsn, mutant=mutant), database)


# ---- neighbours ------------------------------------------------------------------------------------------------------


def test_a_database_that_falls_silent_makes_the_channel_stale_and_then_all_of_it_follows(
    database: Database, dsn: str, tmp_path: Path
) -> None:
    with relay(dsn) as frozen:
        running = StreamServer(frozen.before(dsn), tmp_path)
        try:
            with client(running, trader(running)) as socket:
                start = follow(socket)
                placed(database)
                socket.next("order")
                frozen.hang()
                began = time.monotonic()
                for _ in range(5):
                    placed(database)
                assert socket.next("stream", c=ORDERS)["reason"] == "database_away"
                assert time.monotonic() - began < 14, "six seconds on a quiet machine"
                frozen.heal()
                socket.collect(lambda: received_ids(socket)[-1:] == ids(database)[-1:], "what happened meanwhile")
                assert received_ids(socket) == ids(database, after=start)
                assert states(socket) == [("stale", "database_away"), ("live", "")]
        finally:
            running.stop()


def test_a_database_that_is_killed_and_comes_back_costs_no_event(tmp_path: Path) -> None:
    with Group() as group:
        folder = tmp_path / "store"
        server = start_postgres(group, folder, durable=True)
        server.child.wait_ready()
        upgrade(server.dsn())
        with ledger(server.dsn(), ONE, TWO) as database:
            running = StreamServer(server.dsn(), tmp_path)
            try:
                with client(running, trader(running)) as socket:
                    start = follow(socket)
                    for _ in range(3):
                        placed(database)
                    socket.next("order")
                    group.kill_child(server.child)
                    assert socket.next("stream", c=ORDERS)["state"] == "stale"
                    server = started_again(group, folder, server.port)
                    placed(database)
                    socket.collect(lambda: received_ids(socket)[-1:] == ids(database)[-1:], "what happened meanwhile")
                    assert received_ids(socket) == ids(database, after=start)
                    assert states(socket)[-1] == ("live", "")
                    placed(database)
                    socket.collect(lambda: received_ids(socket) == ids(database, after=start), "and what happens then")
            finally:
                running.stop()


def test_who_subscribes_while_the_database_is_silent_is_told_and_gets_the_snapshot_later(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relay(dsn) as frozen:
        running = StreamServer(frozen.before(dsn), tmp_path)
        held = running.stream.orders._in_transaction

        def falls_silent(read: object) -> object:
            frozen.hang()
            return held(read)

        try:
            with client(running, trader(running)) as socket:
                monkeypatch.setattr(running.stream.orders, "_in_transaction", falls_silent)
                socket.subscribe(ORDERS)
                assert socket.next("error", channel=ORDERS)["code"] in ("database-unavailable", "database-slow")
                monkeypatch.setattr(running.stream.orders, "_in_transaction", held)
                placed(database)
                frozen.heal()
                assert socket.next("snapshot")["version"] == ids(database)[-1]
        finally:
            running.stop()


def test_a_client_that_reads_nothing_is_closed_and_comes_back_to_all_that_it_missed(
    database: Database, dsn: str, tmp_path: Path
) -> None:
    running = StreamServer(dsn, tmp_path, stream_stuck_s=1.5)
    try:
        sign_in_as_trader(running)
        with stalled(running) as slow, client(running, running.token()) as healthy:
            slow.send(op="subscribe", id=1, channels=[ORDERS])
            slow.read(until="snapshot")
            start = follow(healthy)
            [listener] = [one for one in running.stream.open if one.caller.id == "user:9"]
            deadline = time.monotonic() + 90
            while listener in running.stream.open:
                for _ in range(20):
                    placed(database)
                healthy.next("order")
                assert time.monotonic() < deadline, "still open"
            slow.read(until="nothing")
            assert slow.code == 4008
            bye = slow.received[-1]
            had = [one["version"] for one in slow.received if one["t"] == "order"]
            assert had == ids(database, after=start)[: len(had)]
            assert bye["resume"]["channels"][ORDERS]["version"] == (had or [start])[-1]
            healthy.collect(lambda: received_ids(healthy) == ids(database, after=start), "the other one hears all")
        with client(running, running.token()) as again:
            again.send(op="resume", id=1, **bye["resume"])
            again.next("resumed")
            again.collect(lambda: received_ids(again)[-1:] == ids(database)[-1:], "what it missed")
            assert had + received_ids(again) == ids(database, after=start)
    finally:
        running.stop()


def stuck(running: StreamServer, database: Database) -> SocketListener:
    """The socket of the slow client, once it takes nothing more."""
    listener: SocketListener
    [listener] = [one for one in running.stream.open if one.caller.id == "user:9"]
    deadline = time.monotonic() + 90
    while listener.stuck_since is None or listener.outbox.waiting < 20:
        placed(database)
        assert time.monotonic() < deadline, "it takes all of it"
    return listener


def goodbye(slow: Stalled) -> tuple[list[int], int]:
    """The ids that came before the close, and the version to go on from."""
    slow.read(until="nothing")
    assert slow.code == 1012
    return [one["version"] for one in slow.received if one["t"] == "order"], slow.received[-1]["resume"]["channels"][
        ORDERS
    ]["version"]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "mutant"])
def test_a_restart_while_a_client_is_slow_leaves_nothing_out(
    database: Database, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The mutant forgets the frame for which there was no room."""
    if not kept:
        monkeypatch.setattr(Outbox, "put_back", lambda self, frame: None)
    running = StreamServer(dsn, tmp_path, stream_stuck_s=60)
    try:
        sign_in_as_trader(running)
        with stalled(running) as slow:
            slow.send(op="subscribe", id=1, channels=[ORDERS])
            slow.read(until="snapshot")
            start = slow.received[-1]["version"]
            listener = stuck(running, database)
            running.stream.orders._cursors.clear()  # nothing more is told
            asyncio.run_coroutine_threadsafe(end(listener), listener.ended.get_loop()).result(10)
            had, version = goodbye(slow)
            assert version == had[-1]
            assert (had == ids(database, after=start)[: len(had)]) is kept
    finally:
        running.stop()


async def end(listener: SocketListener) -> None:
    listener.end(1012, "the server restarts")


# ---- from the order process on ---------------------------------------------------------------------------------------


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


@contextmanager
def following(stack: OrderStack, running: StreamServer) -> Iterator[tuple[Client, int]]:
    """A client that follows the orders and fills of the stack's account, and the id of the last event before."""
    with client(running, running.token(1, "orders:read", accounts=[stack.account])) as socket:
        socket.subscribe(f"events.orders.{stack.account}", f"events.fills.{stack.account}")
        versions = [int(socket.next("snapshot")["version"]) for _ in range(2)]
        yield socket, versions[-1]


def hear(stack: OrderStack, socket: Client, order: object) -> list[int]:
    """Wait until the order is filled with its commission, and until all of it was told; returns the ids."""
    stack.until(order, "filled")  # type: ignore[arg-type]
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions WHERE commission IS NOT NULL"), "the commission comes")
    channel = f"events.orders.{stack.account}"
    socket.collect(lambda: received_ids(socket, channel)[-1:] == ids(stack.db, stack.account)[-1:], "all was told")
    return received_ids(socket, channel)


def filled(socket: Client) -> dict[str, str]:
    """Fill -> its quantity, as the messages tell them; none is told twice."""
    found = [one["fill"] for one in socket.received if one["t"] == "fill" and one["event"]["kind"] == "execution"]
    keyed = {(one["exec_base"], one["revision"]): one["quantity"] for one in found}
    assert len(keyed) == len(found)
    return {base: quantity for (base, _), quantity in keyed.items()}


def test_an_order_is_told_from_its_acceptance_to_its_fill(stack: OrderStack, tmp_path: Path) -> None:
    stack.start()
    running = StreamServer(stack.dsn, tmp_path)
    try:
        with following(stack, running) as (socket, start):
            order = stack.place(type="MKT", limit_price=None)
            assert hear(stack, socket, order) == ids(stack.db, stack.account, after=start)
            messages = [
                one for one in socket.received if one["t"] == "order" and one["event"]["order_id"] == str(order)
            ]
            moves = [one["event"]["after"] for one in messages]
            assert [moves[0], moves[-1]] == ["accepted", "filled"]
            assert {"reserved", "sending"} <= set(moves)
            assert messages[-1]["order"]["filled"] == "10"
            assert sum(map(int, filled(socket).values())) == 10
            [charged] = {one["fill"]["commission"] for one in socket.received if one["t"] == "fill"} - {None}
            assert float(charged) > 0
    finally:
        running.stop()


def test_an_order_process_that_is_killed_after_the_write_tells_each_fill_once(
    stack: OrderStack, tmp_path: Path
) -> None:
    stack.start(orders_crash_at="after-write")
    running = StreamServer(stack.dsn, tmp_path)
    try:
        with following(stack, running) as (socket, start):
            order = stack.place(type="MKT", limit_price=None)
            stack.died()
            stack.start()
            assert hear(stack, socket, order) == ids(stack.db, stack.account, after=start)
            assert sum(map(int, filled(socket).values())) == 10
            last = [one for one in socket.received if one["t"] == "order"][-1]
            assert (last["order"]["id"], last["order"]["state"]) == (str(order), "filled")
    finally:
        running.stop()
