"""The account over a socket: the rows that IB sends, positions where they are listed, and questions that clients wait for."""

import asyncio

import pytest

from ib_bridge.ib.client import library
from tests.support.sim_client import AAPL, RawClient, gateway
from tests.support.sim_orders import order, played

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
    told = {(tag, currency): value for _, _, tag, value, currency, _ in await rows(client, "6", "54")}
    assert set(UPDATES.split()) <= {tag for tag, _ in told}
    assert told["TotalCashBalance", "BASE"] == told["TotalCashBalance", "USD"] == "1000000.00"
    assert told["Currency", "BASE"] == "BASE"
    assert told["RealCurrency", "BASE"] == "USD"
    assert told["ExchangeRate", "USD"] == "1.00"
    assert ("NetLiquidation", "USD") in told
    assert ("NetLiquidation", "BASE") not in told


@played()
async def test_the_ledger_follows_a_position(client, sim, control):
    order(client, 1, quantity=10)
    await client.message(59)
    client.send(6, 2, 1, "SIM7")
    told = {(tag, currency): value for _, _, tag, value, currency, _ in await rows(client, "6", "54")}
    stocks = float(told["StockMarketValue", "USD"])
    assert stocks > 1000
    assert float(told["CashBalance", "USD"]) == pytest.approx(1_000_000 - stocks, abs=50)


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
