"""A ticket and facts with which every check passes, and ways to change one thing about them."""

from dataclasses import replace
from decimal import Decimal

from nautilus.market.instrument import Instrument
from nautilus.orders import limits
from nautilus.orders.exposure import PendingOrder
from nautilus.orders.facts import Counts, Facts, Quote
from nautilus.orders.prices import MarketRule, PriceStep
from nautilus.orders.ticket import OrderType, Prices, Side, Ticket

D = Decimal
NOW = 1_767_366_000_000_000_000  # 2026-01-02T15:00:00Z
CENT = MarketRule((PriceStep(D(0), D("0.01")),), D(1), D(1), True)


def stock(**changes) -> Instrument:
    """Apple, or what the changes make of it."""
    apple = Instrument(
        con_id=265598,
        instrument_id="AAPL.NASDAQ",
        symbol="AAPL",
        asset_class="STK",
        exchange="SMART",
        primary_exchange="NASDAQ",
        currency="USD",
        local_symbol="AAPL",
        trading_class="NMS",
        expiry="",
        multiplier="",
        min_tick=0.01,
        long_name="APPLE INC",
        time_zone="America/New_York",
        calendar="STK:NASDAQ:America/New_York",
    )
    return apple._replace(**changes)


FUTURE = stock(con_id=495512563, asset_class="FUT", symbol="ES", exchange="CME", expiry="20260320", multiplier="50")
PAIR = stock(con_id=12087792, asset_class="CASH", symbol="EUR", exchange="IDEALPRO")


def ticket(**changes) -> Ticket:
    """Buy ten at 100, for the day. limit, stop and the like are prices."""
    given = {name: changes.pop(name) for name in Prices._fields if name in changes}
    prices = Prices(limit=D(100))._replace(**given)
    known = Ticket(
        account="DU1",
        instrument=stock(),
        side=Side.BUY,
        type=OrderType.LMT,
        quantity=D(10),
        prices=prices,
    )
    return replace(known, **changes)


def market_order(**changes) -> Ticket:
    return ticket(type=OrderType.MKT, limit=None, **changes)


def facts(kind="paper", **changes) -> Facts:
    """An account with a million and no position, an open market around 100, an order process that is ready."""
    given = changes.pop("limits", {})
    known = Facts(
        now=NOW,
        today="20260102",
        account_kind=kind,
        mode="paper",
        limits={**limits.merged([], "DU1", kind), **given},
        accounts=frozenset({"DU1", "U1"}),
        trading_state="active",
        may_trade=True,
        allowed=frozenset(),
        position=D(0),
        gross_position_value=D(0),
        net_liquidation=D(1_000_000),
        rule=CENT,
        rate=D(1),
        quote=Quote(D("99.99"), D("100.01"), D(100), D(1)),
        close=D(99),
        session="regular",
        daily_pnl=D(0),
        counts=Counts(0, 0, 0, 0),
        position_break=False,
        losses=0,
        ready=True,
    )
    return replace(known, **changes)


def pending(side=Side.BUY, reserved=10, **changes) -> PendingOrder:
    """An open limit order of ten at 100."""
    return PendingOrder("a", side, "LMT", D(reserved), limit=D(100))._replace(**changes)
