"""Orders and accounts outlast the simulator's process, and what it sent is in its log."""

import asyncio
import os
import pickle
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from ib_gateway_sim.account.portfolio import Portfolio
from ib_gateway_sim.market.contracts import ContractQuery
from ib_gateway_sim.orders.book import OrderBook
from ib_gateway_sim.orders.saving import SAVED, read
from tests.support.sim_client import EURUSD, RawClient, gateway
from tests.support.sim_orders import messages, order, played, reported_orders, words
from tests.support.sim_process import killed_simulator

NOON = ("--clock", "stepped", "--start", "2026-03-02T17:00:00Z")


def lives(path, *works):
    """Runs each work with a client of a simulator of its own, which is killed behind it; all have one file."""

    async def live(work, port, command):
        client = await RawClient.start(port)
        try:
            return await work(client, command)
        finally:
            client.close()

    found = []
    for work in works:
        with killed_simulator(*NOON, "--accounts", "2", "--state", str(path)) as sim:
            found.append(asyncio.run(live(work, sim.port, sim.command)))
    return found


def test_a_killed_simulator_goes_on_where_the_last_word_was(tmp_path):
    async def first(client, command):
        order(client, 1, quantity=10, account="SIM7")
        order(client, 2, kind="LMT", limit=100, quantity=5, tif="GTC", account="SIM7001", ref="resting")
        order(client, 3, kind="LMT", limit=100, quantity=5, transmit=0, account="SIM7", ref="untransmitted")
        order(client, 4, quantity=1000, contract=EURUSD, account="SIM7")
        command("commission_delay 30")
        await messages(client)
        order(client, 5, quantity=7, account="SIM7001")
        return [fields[14] for fields in await messages(client) if fields[0] == "11"]

    async def second(client, command):
        found, filled = await reported_orders(client)
        client.send(8, 1, 1)
        next_id = int((await client.message(9))[2])
        client.send(61, 1)
        held = []
        while (fields := await client.read())[0] != "62":
            held.append((fields[2], fields[4], fields[14]))
        command("advance 31")
        late = [fields[2] for fields in await messages(client) if fields[0] == "59"]
        client.send(4, 1, 2, "")
        return found, filled, next_id, held, late, await words(client)

    made, (found, filled, next_id, held, late, ends) = lives(tmp_path / "state", first, second)
    assert sorted(found) == [("ref", 1600000001), ("ref", 1600000004), ("ref", 1600000005), ("resting", 1600000002)]
    assert filled == {"ref": 1017.0}
    assert next_id == 6
    assert sorted(held) == [("SIM7", "AAPL", "10"), ("SIM7", "EUR", "1000"), ("SIM7001", "AAPL", "7")]
    assert late == [made[-1]]  # a commission that was due after the kill
    assert "orderStatus Cancelled" in ends


def test_nobody_has_heard_of_an_order_that_is_not_in_the_file(tmp_path):
    """The file is read again at each word that reaches a client."""
    path = tmp_path / "state"

    async def life(client, command):
        for number in range(1, 9):
            order(client, number, kind="LMT", limit=100, quantity=1, account="SIM7", tif="GTC")
            await client.message(5)
            saved = read(path, "SIM7")["orders"]
            assert saved.orders[1, number].status == "Submitted"
        assert not path.with_name("state.new").exists()
        return True

    assert lives(path, life) == [True]


@played()
async def test_orders_are_saved_and_loaded_by_command(client, sim, control):
    path = f"/tmp/orders-{os.getpid()}"
    try:
        order(client, 1, quantity=10)
        order(client, 2, kind="LMT", limit=100, quantity=5, tif="GTC")
        await messages(client)
        assert (await control.run(f"orders_save {path}"))["ok"]
        await control.run("deposit 500")
        client.send(4, 1, 2, "")
        await messages(client)
        answer = await control.run(f"orders_load {path}")
        assert (answer["orders"], answer["executions"]) == (2, 1)
        assert sim.orders.orders[1, 2].status == "Submitted"
        assert sim.portfolio.cash < 1_000_000
        order(client, 2, kind="LMT", limit=1000, quantity=5, tif="GTC")
        assert "orderStatus Filled" in await words(client)
    finally:
        os.unlink(path)
    assert "allowed: a file of orders_save" in (await control.run(f"orders_load {path}"))["error"]
    assert "allowed: a file that can be written" in (await control.run("orders_save /no/such/folder/x"))["error"]


@pytest.mark.parametrize("content", [b"", b"rubbish", pickle.dumps({"format": 1}), pickle.dumps(os.system)])
def test_what_is_no_saved_file_is_refused(tmp_path, content):
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no file of"):
        read(path, "SIM7")


def test_a_file_whose_parts_do_not_fit_is_refused_and_changes_nothing(tmp_path):
    """Its form is right, and it was made by hand, or a part of it is missing."""
    path = tmp_path / "state"

    def parts(**other):
        whole = {"format": 3, "account": "SIM7", "orders": OrderBook(), "portfolios": {"SIM7": Portfolio()}}
        return {name: part for name, part in {**whole, **other}.items() if part is not None}

    @played()
    async def run(client, sim, control):
        order(client, 1, quantity=10)
        await words(client)
        before = pickle.dumps((sim.orders, sim.portfolios))
        strangers = OrderBook(executions=[*sim.orders.executions])
        strangers.executions[0].account = "SIM7001"
        accounts: list[Any] = [None, 5, {}, {"SIM7": 3}]
        books: list[Any] = [strangers, OrderBook(read_ids={1: -1}), OrderBook(perm_ids=-1), 5, None]
        broken = [{"portfolios": each} for each in accounts] + [{"orders": each} for each in books]
        for part in broken:
            path.write_bytes(pickle.dumps(parts(**part)))
            assert "allowed: a file of orders_save" in (await control.run(f"orders_load {path}"))["error"]
        strangers.executions[0].account = ""
        assert pickle.dumps((sim.orders, sim.portfolios)) == before
        path.write_bytes(pickle.dumps(parts()))
        assert (await control.run(f"orders_load {path}"))["ok"]
        assert (await control.run('orders_save ""'))["error"].startswith("path ''")

    run()


def test_a_file_of_another_market_is_refused(tmp_path):
    async def work():
        async with gateway() as (_, control):
            assert (await control.run(f"orders_save {tmp_path}/x"))["ok"]

    asyncio.run(work())
    with pytest.raises(ValueError, match="of the market of SIM7; this one is that of SIM8"):
        read(tmp_path / "x", "SIM8")


# ---- what was sent ---------------------------------------------------------------------------------------------------
@played()
async def test_the_log_of_what_was_sent_is_what_the_client_got(client, sim, control):
    other = await RawClient.start(sim.port, client_id=2)
    await control.run("forget")
    await control.run("status_duplicate 1")
    order(client, 1, quantity=10)
    got = [fields for fields in await messages(client) if fields[0] != "49"]
    answer = await control.run("sent all 1")
    logged = [entry["fields"] for entry in answer["sent"] if entry["kind"] != "currentTime"]
    assert logged == got
    assert [fields[0] for fields in logged].count("3") == 3  # with the doubled one: after the faults of delivery
    (fee,) = (await control.run("sent commissionReport"))["sent"]
    assert (fee["client_id"], fee["time_ns"], fee["fields"][0]) == (1, sim.clock.now_ns(), "59")
    assert (await control.run("sent all 2"))["count"] == 0
    await control.run("half_open 2")
    other.send(49, 1)
    await control.run("notice 2100 hello")
    assert (await control.run("sent all 2"))["count"] == 0  # what a half-open socket swallows was not sent
    assert "allowed: all, accountDownloadEnd" in (await control.run("sent rumour"))["error"]


@played()
async def test_ticks_do_not_push_an_orders_words_out_and_long_messages_are_cut(client, sim, control):
    order(client, 1, quantity=10)
    await messages(client)
    for _ in range(5000):
        sim.clients[1].outbox.send("tickPrice", b"\0\0\0\5tick\0")
        sim.clients[1].outbox.send("orderStatus", b"\0\0\0\2" + b"3\0")
    assert (await control.run("sent tickPrice"))["count"] == 500
    assert (await control.run("sent orderStatus"))["count"] == 2000
    assert (await control.run("sent execDetails"))["count"] == 1
    client.ask_bars(7, size="5 secs")
    await client.message(17)
    (bars,) = (await control.run("sent historicalData"))["sent"]
    assert bars["cut"]
    assert len("".join(bars["fields"])) < 4096


@played()
async def test_what_is_dropped_with_its_socket_was_not_sent(client, sim, control):
    other = await RawClient.start(sim.port, 2)
    await messages(client)
    await control.run("forget")
    for client_id, end in ((1, sim.clients[1].abort), (2, sim.clients[2].outbox.mute)):
        sim.clients[client_id].error(-1, 2100, "never on its way")
        assert (await control.run(f"sent error {client_id}"))["count"] == 1
        end()
        assert (await control.run(f"sent error {client_id}"))["count"] == 0
    other.close()


# ---- what cannot be saved --------------------------------------------------------------------------------------------
class Disk:
    """Saves in memory; while it is full it does not."""

    def __init__(self, sim):
        self.sim, self.full, self.saved = sim, False, b""
        sim.saver = self.save

    def save(self):
        if self.full:
            raise OSError("the disk is full")
        self.saved = pickle.dumps((self.sim.orders, self.sim.portfolios))

    def orders(self):
        return pickle.loads(self.saved)[0].orders


@played()
async def test_nobody_is_told_what_could_not_be_saved(client, sim, control):
    disk = Disk(sim)
    order(client, 1, kind="LMT", limit=100, quantity=5)
    assert await words(client) == ["openOrder Submitted", "orderStatus Submitted"]
    disk.full = True
    order(client, 2, kind="LMT", limit=100, quantity=5)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await client.read()
    assert 2 not in [order_id for _, order_id in disk.orders()]
    assert "orders and accounts cannot be saved: the disk is full" in (await control.run("accounts"))["error"]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await RawClient.start(sim.port)
    disk.full = False
    assert (await control.run("sent openOrder"))["count"] == 1
    again = await RawClient.start(sim.port)
    assert len((await reported_orders(again))[0]) == 2
    assert [order_id for _, order_id in disk.orders()] == [1, 2]


@played()
async def test_the_market_is_looked_at_though_it_cannot_be_saved(client, sim, control):
    disk = Disk(sim)
    order(client, 1, kind="LMT", limit=100, quantity=5)
    await words(client)
    disk.full = True
    sim.orders.orders[1, 1].request.values["lmtPrice"] = 1000.0
    await control.run("advance 60")
    assert sim.orders.orders[1, 1].filled == 0  # nothing woke it
    sim.clock.hasten()
    await control.run("advance 5")
    disk.full = False
    await control.run("advance 5")
    assert disk.orders()[1, 1].status == "Filled"


@pytest.mark.parametrize("line", ["ids_rollback 1", "ids_reset", "accounts 3"])
def test_what_a_command_changes_is_saved(line):
    @played()
    async def run(client, sim, control):
        disk = Disk(sim)
        order(client, 1, kind="LMT", limit=100, quantity=5)
        await words(client)
        await control.run(line)
        assert pickle.loads(disk.saved) == (sim.orders, sim.portfolios)

    run()


@played()
async def test_what_is_told_without_a_word_about_an_order_is_saved(client, sim, control):
    """The id of a refused order, a bound order's id, and where a trailing stop stands."""
    disk = Disk(sim)

    def saved():
        return pickle.loads(disk.saved) == (sim.orders, sim.portfolios)

    await control.run("reject_next placeOrder 201 no")
    order(client, 1, quantity=5)
    await words(client)
    assert saved()
    zero = await RawClient.start(sim.port, 0)
    await control.run("manual_order BUY 30 AAPL 100")
    zero.send(5, 1)
    await zero.message(5)
    assert saved()
    order(client, 2, "SELL", kind="TRAIL", aux=5, quantity=10)
    await words(client)
    before = sim.orders.orders[1, 2].stop
    while sim.orders.orders[1, 2].stop == before:
        sim.clock.hasten()
        await sim.clock.advance(60)
    client.send(16, 1)
    await words(client)
    assert saved()


# ---- what a file may hold --------------------------------------------------------------------------------------------
class Runs:
    """Is read back as a call of a type that the modules of the simulator import."""

    def __reduce__(self):
        return Path, ("/",)


@pytest.mark.parametrize("module", ["ib_gateway_sim.orders.saving", "pathlib"])
def test_a_file_makes_no_value_but_of_the_types_that_are_saved(tmp_path, module):
    state = {"format": 2, "account": "SIM7", "orders": OrderBook(), "portfolios": {"SIM7": Runs()}}
    path = tmp_path / "state"
    path.write_bytes(pickle.dumps(state, protocol=2).replace(b"cpathlib\n", f"c{module}\n".encode()))
    with pytest.raises(ValueError, match="is no file of"):
        read(path, "SIM7")


@played(accounts=2)
async def test_all_types_that_are_saved_are_read_again(client, sim, control):
    path = Path(f"/tmp/all-{os.getpid()}")
    (aapl,) = sim.market.find(ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART"), sim.clock.now_s())
    price = (1, "a", 1, 100, aapl.con_id, "SMART", 0)
    order(client, 1, quantity=10, account="SIM7")
    order(client, 2, kind="LMT", limit=100, quantity=5, account="SIM7001", conditions=(price,))
    await messages(client)
    for line in ("manual_order BUY 10 AAPL 100", "deposit 5", "assign MSFT 5 400", f"orders_save {path}"):
        assert (await control.run(line))["ok"]
    try:
        state = read(path, "SIM7")
        found = {(type(each).__module__, type(each).__name__) for each in walked(state)}
    finally:
        path.unlink()
    assert (state["orders"], state["portfolios"]) == (sim.orders, sim.portfolios)
    assert {name for name in found if name[0].startswith("ib_gateway_sim")} == SAVED, "each is needed, and none lacks"


def walked(value):
    """A value and all that it holds."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if is_dataclass(value):
        inner = [getattr(value, each.name) for each in fields(value)]
    for each in inner:
        yield from walked(each)
