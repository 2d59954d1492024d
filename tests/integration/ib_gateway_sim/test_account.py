"""The account over a socket: the rows that IB sends, positions where they are listed, and questions that clients wait for."""

import asyncio

import pytest

from ib_bridge.ib.client import library
from tests.support.sim_client import AAPL, EURUSD, RawClient, gateway
from tests.support.sim_orders import messages, order, played

# Tags of account updates as users have printed them from paper accounts, and the documented tags of account summaries.
UPDATES = """
AccountCode AccountOrGroup AccountReady AccountType AccruedCash AccruedDividend AvailableFunds Billable BuyingPower
CashBalance CorporateBondValue Currency Cushion EquityWithLoanValue ExcessLiquidity ExchangeRate FullAvailableFunds
FullExcessLiquidity FullInitMarginReq FullMaintMarginReq FundValue FutureOptionValue FuturesPNL FxCashBalance
GrossPositionValue Guarantee IndianStockHaircut InitMarginReq IssuerOptionValue Leverage-S LookAheadAvailableFunds
LookAheadExcessLiquidity LookAheadInitMarginReq LookAheadMaintMarginReq LookAheadNextChange MaintMarginReq
MoneyMarketFundValue MutualFundValue NLVAndMarginInReview NetDividend NetLiquidation NetLiquidationByCurrency
NetLiquidationUncertainty OptionMarketValue PASharesValue PhysicalCertificateValue PostExpirationExcess
PostExpirationMargin RealCurrency RealizedPnL SegmentTitle-S StockMarketValue TBillValue TBondValue TotalCashBalance
TotalCashValue TotalDebitCardPendingCharges TradingType-S UnrealizedPnL WarrantValue
"""
SUMMARY = """
AccountType NetLiquidation TotalCashValue SettledCash AccruedCash BuyingPower EquityWithLoanValue
PreviousDayEquityWithLoanValue GrossPositionValue RegTEquity RegTMargin SMA InitMarginReq MaintMarginReq AvailableFunds
ExcessLiquidity Cushion FullInitMarginReq FullMaintMarginReq FullAvailableFunds FullExcessLiquidity LookAheadNextChange
LookAheadInitMarginReq LookAheadMaintMarginReq LookAheadAvailableFunds LookAheadExcessLiquidity HighestSeverity
DayTradesRemaining Leverage
"""


async def rows(client: RawClient, message: str, end: str) -> list[list[str]]:
    """The messages of a kind until the one that ends them."""
    found = []
    while (fields := await client.read())[0] != end:
        if fields[0] == message:
            found.append(fields)
    return found


@played()
async def test_account_updates_have_the_rows_that_ib_sends(client, sim, control):
    client.send(6, 2, 1, "SIM7")
    values = {(tag, currency): value for _, _, tag, value, currency, _ in await rows(client, "6", "54")}
    assert set(UPDATES.split()) <= {tag for tag, _ in values}
    assert values["TotalCashBalance", "BASE"] == values["TotalCashBalance", "USD"] == "1000000.00"
    assert values["Currency", "BASE"] == "BASE"
    assert values["RealCurrency", "BASE"] == "USD"
    assert values["ExchangeRate", "USD"] == "1.00"
    assert ("NetLiquidation", "USD") in values
    assert ("NetLiquidation", "BASE") not in values


@played()
async def test_the_ledger_follows_a_position(client, sim, control):
    order(client, 1, quantity=10)
    await client.message(59)
    client.send(6, 2, 1, "SIM7")
    values = {(tag, currency): value for _, _, tag, value, currency, _ in await rows(client, "6", "54")}
    stocks = float(values["StockMarketValue", "USD"])
    assert stocks > 1000
    assert float(values["CashBalance", "USD"]) == pytest.approx(1_000_000 - stocks, abs=50)


@played()
async def test_the_ledger_alone_for_one_model(client, sim, control):
    client.send(76, 1, 5, "SIM7", "", 1)
    found = await rows(client, "73", "74")
    currencies = {fields[7] for fields in found}
    assert currencies == {"BASE", "USD"}
    assert "NetLiquidation" in {fields[5] for fields in found}


@played()
async def test_every_documented_tag_of_a_summary_has_one_row(client, sim, control):
    client.send(62, 1, 1, "All", ",".join(SUMMARY.split()))
    assert [fields[4] for fields in await rows(client, "63", "64")] == SUMMARY.split()


@pytest.mark.parametrize(
    ("tags", "currencies"), [("$LEDGER", {"BASE"}), ("$LEDGER:USD", {"USD"}), ("$LEDGER:ALL", {"BASE", "USD"})]
)
def test_the_ledger_of_a_summary(tags, currencies):
    @played()
    async def ask(client, sim, control):
        client.send(62, 1, 1, "All", tags)
        assert {fields[6] for fields in await rows(client, "63", "64")} == currencies

    ask()


@played()
async def test_positions_tell_where_they_are_listed_and_no_right(client, sim, control):
    order(client, 1, quantity=10)
    await client.message(59)
    client.send(61, 1)
    (position,) = await rows(client, "61", "62")
    assert position[4:6] == ["AAPL", "STK"]
    assert position[8:11] == ["", "", "NASDAQ"]
    client.send(74, 1, 6, "SIM7", "")
    (position,) = await rows(client, "71", "72")
    assert position[9:12] == ["", "", "NASDAQ"]
    client.send(6, 2, 1, "SIM7")
    portfolio = await client.message(7)
    assert portfolio[7] == "0"  # the portfolio says it so


@pytest.mark.parametrize(
    "question",
    [
        lambda ib: ib.reqMktDepthExchangesAsync(),
        lambda ib: ib.reqSmartComponentsAsync("9c0001"),
        lambda ib: ib.reqNewsProvidersAsync(),
        lambda ib: ib.reqMarketRuleAsync(26),
    ],
    ids=["depth exchanges", "smart components", "news providers", "market rule"],
)
def test_a_client_library_understands_the_answer(question):
    """A field that the library cannot read makes it wait for ever."""

    async def ask():
        async with gateway(clock="real") as (sim, _):
            ib = library.IB()
            await ib.connectAsync("127.0.0.1", sim.port, clientId=9, readonly=True)
            try:
                return await asyncio.wait_for(question(ib), 5)
            finally:
                ib.disconnect()

    assert asyncio.run(ask()) is not None


@played()
async def test_depth_exchanges_have_a_group_that_is_a_number(client, sim, control):
    client.send(82)
    _, count, *fields = await client.message(80)
    groups = [fields[n + 4] for n in range(0, len(fields), 5)]
    assert len(groups) == int(count)
    assert all(group.isdigit() for group in groups)


@played()
async def test_an_end_in_gmt_is_refused_and_one_without_a_date_is_today(client, sim, control):
    client.ask_bars(1, AAPL, end="20260302 15:00:00 GMT")
    number, code, text = await client.error()
    assert (number, code) == (1, 10314)
    assert text.startswith("End Date/Time: ")
    ends = ("15:00:00 UTC", "10:00:00 US/Eastern", "20260302-15:00:00")
    for number, end in enumerate(ends, start=2):
        client.ask_bars(number, AAPL, end=end)
    answers = [await client.message(17) for _ in ends]
    assert len({tuple(answer[2:]) for answer in answers}) == 1


# ---- several accounts and currencies ---------------------------------------------------------------------------------
@played(accounts=3)
async def test_a_login_of_several_accounts_lists_them_and_keeps_them_apart(client, sim, control):
    client.send(17, 1)
    assert (await client.message(15))[2] == "SIM7,SIM7001,SIM7002"
    order(client, 1, quantity=10)
    assert (await client.error())[:2] == (1, 435)
    order(client, 2, quantity=10, account="SIM9")
    assert (await client.error())[:2] == (2, 321)
    order(client, 3, quantity=10, account="SIM7001")
    assert (await client.message(11))[16] == "SIM7001"
    await client.message(59)
    client.send(61, 1)
    assert [fields[2] for fields in await rows(client, "61", "62")] == ["SIM7001"]
    client.send(62, 1, 1, "All", "NetLiquidation")
    assert [fields[3] for fields in await rows(client, "63", "64")] == ["SIM7", "SIM7001", "SIM7002"]
    client.send(6, 2, 1, "SIM7001")
    values = {(fields[2], fields[4]): fields[3] for fields in await rows(client, "6", "54")}
    assert (values["AccountCode", ""], float(values["StockMarketValue", "USD"]) > 1000) == ("SIM7001", True)
    client.send(74, 1, 6, "SIM7002", "")
    assert await rows(client, "71", "72") == []


@played()
async def test_a_currency_that_is_bought_is_a_balance(client, sim, control):
    order(client, 1, quantity=20_000, contract=EURUSD)
    await client.message(59)
    client.send(62, 1, 1, "All", "$LEDGER:ALL")
    values = {
        (fields[4], fields[6]): float(fields[5]) for fields in await rows(client, "63", "64") if fields[4] in MONEY
    }
    assert values["CashBalance", "EUR"] == 20_000
    assert values["CashBalance", "USD"] == pytest.approx(1_000_000 - 20_000 * values["ExchangeRate", "EUR"], abs=20)
    for tag in ("CashBalance", "NetLiquidationByCurrency"):
        of_all = values[tag, "USD"] + values[tag, "EUR"] * values["ExchangeRate", "EUR"]
        assert values[tag, "BASE"] == pytest.approx(of_all, abs=0.1)
    client.send(61, 1)
    (position,) = await rows(client, "61", "62")
    assert position[14] == "20000"


MONEY = ("CashBalance", "NetLiquidationByCurrency", "ExchangeRate")


@played(accounts=3, fa=True)
async def test_an_advisors_order_is_shared_out(client, sim, control):
    order(client, 1, quantity=11)
    await client.message(59)
    await client.settle()
    client.send(61, 1)
    assert [(fields[2], fields[14]) for fields in await rows(client, "61", "62")] == [
        ("SIM7001", "6"),
        ("SIM7002", "5"),
    ]


@played()
async def test_the_profit_of_the_day_is_of_the_day(client, sim, control):
    order(client, 1, quantity=100)
    await client.message(59)
    await control.run("advance 86400")
    client.send(92, 5, "SIM7", "")
    daily, unrealized = (float(each) for each in (await client.message(94))[2:4])
    quote = sim.quote(sim.portfolio.open_positions()[0].contract, sim.clock.now_s())
    assert daily == pytest.approx(100 * (quote.last - quote.close), abs=0.01)
    assert daily != pytest.approx(unrealized, abs=1)


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("accounts 0", "n '0'; allowed: a whole number from 1 to 50"),
        ("accounts 2.5", "n '2.5'; allowed: a whole number from 1 to 50"),
        ("eat_order 1.5", "n '1.5'; allowed: a whole number from 0 to 1000000"),
        ("master 1.5", "client_id '1.5'; allowed: a whole number from 0 to 2147483648"),
        ("cash XXX 5", "currency 'XXX'; allowed: USD"),
        ("cash EUR much", "amount 'much'; allowed: a number"),
        ("deposit 5 USD SIM8", "account 'SIM8'; allowed: SIM7"),
        ("assign NOSUCH 1 1", "symbol 'NOSUCH'; allowed: a stock"),
        ("fa maybe", "on 'maybe'; allowed: on, off"),
        ("correct last 5", "execution 'last'; allowed: none was made"),
        ("bust_execution last loud", "how 'loud'; allowed: correction, silent"),
        ("commission_delay late", "seconds 'late'; allowed: a number from 0 to 1e+06, or never"),
        ("commission_first x", "n 'x'; allowed: a whole number"),
    ],
)
def test_a_wrong_word_of_a_command_is_named_with_what_is_allowed(line, allowed):
    @played()
    async def ask(client, sim, control):
        answer = await control.run(line)
        assert not answer["ok"]
        assert allowed in answer["error"]

    ask()


def test_a_client_library_reads_accounts_currencies_and_corrections():
    async def ask():
        async with gateway(clock="real", accounts=2) as (_, control):
            ib = library.IB()
            await ib.connectAsync("127.0.0.1", control.server.gateway.port, clientId=9, account="SIM7001")
            try:
                assert ib.managedAccounts() == ["SIM7", "SIM7001"]
                await control.run("cash EUR 1000 SIM7001")
                ledger = await ib.accountSummaryAsync()
                (stock,) = await ib.qualifyContractsAsync(library.Stock("AAPL", "SMART", "USD"))
                bought = library.Order(action="BUY", totalQuantity=10, orderType="LMT", lmtPrice=400, outsideRth=True)
                bought.account = "SIM7001"
                trade = ib.placeOrder(stock, bought)
                await control.run("fill_now " + str((await _permanent(ib, trade)).order.permId))
                await _true(lambda: trade.fills)
                answer = await control.run("correct last 251 9")
                await _true(lambda: answer["exec_id"] in [fill.execution.execId for fill in ib.fills()])
                return ledger, [position.account for position in await ib.reqPositionsAsync()]
            finally:
                ib.disconnect()

    ledger, owners = asyncio.run(ask())
    assert ("SIM7001", "CashBalance", "1000.00") in [
        (row.account, row.tag, row.value) for row in ledger if row.currency == "EUR"
    ]
    assert owners == ["SIM7001"]


async def _permanent(ib, trade):
    await _true(lambda: trade.order.permId)
    return trade


async def _true(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


# ---- how many accounts there are -------------------------------------------------------------------------------------
@played(accounts=3)
async def test_accounts_are_opened_and_never_closed(client, sim, control):
    order(client, 1, quantity=10, account="SIM7002")
    await messages(client)
    client.send(92, 5, "SIM7002", "")
    await client.message(94)
    answer = await control.run("accounts 1")
    assert answer["error"] == "n '1'; allowed: a whole number from 3 to 50"
    assert (await control.run("accounts 4"))["accounts"] == ["SIM7", "SIM7001", "SIM7002", "SIM7003"]
    order(client, 2, quantity=10, account="SIM7002")
    await control.run("advance 2")
    assert "322" not in [fields[3] for fields in await messages(client) if fields[0] == "4"]
    assert sim.portfolios["SIM7002"].open_positions()[0].quantity == 20


def test_accounts_that_a_file_does_not_have_begin_anew_when_it_is_loaded(tmp_path):
    @played()
    async def first(client, sim, control):
        order(client, 1, quantity=10)
        await messages(client)
        await control.run(f"orders_save {tmp_path}/x")

    @played(accounts=2)
    async def second(client, sim, control):
        await control.run("deposit 5 USD SIM7001")
        client.send(92, 5, "SIM7001", "")
        client.send(61, 1)
        await client.message(94)
        answer = await control.run(f"orders_load {tmp_path}/x")
        assert answer["accounts"] == ["SIM7", "SIM7001"]
        order(client, 2, quantity=7, account="SIM7001")
        await control.run("advance 2")
        assert "322" not in [fields[3] for fields in await messages(client) if fields[0] == "4"]
        held = {name: sum(each.quantity for each in owned.positions.values()) for name, owned in sim.portfolios.items()}
        assert held == {"SIM7": 10, "SIM7001": 7}
        assert sim.portfolios["SIM7001"].cash < 1_000_000

    first()
    second()
