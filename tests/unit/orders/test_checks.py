"""The 23 checks: each just inside its limit, just outside, and with what it needs not known."""

from dataclasses import replace
from decimal import Decimal

import pytest

from nautilus.orders import checks
from nautilus.orders.check_case import Case
from nautilus.orders.checks import CHECKS, Facts, Place, Refusal
from nautilus.orders.facts import Counts, Margin, Quote, RecentOrder
from nautilus.orders.groups import legs, oca_group_id
from nautilus.orders.prices import MarketRule, PriceStep
from nautilus.orders.ticket import Exit, Oca, OrderType, Origin, Prices, Side, Ticket, Tif
from tests.unit.orders.cases import CENT, FUTURE, NOW, PAIR, facts, market_order, pending, stock, ticket

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
PASSES: tuple[str, ...] = ()


def codes(order: Ticket, known: Facts, where="all") -> list[str]:
    return [one.code for one in checks.run(order, known, where)]


def quote(price, age=1, spread="0.02", feed="live") -> Quote:
    half = D(spread) / 2
    return Quote(D(price) - half, D(price) + half, D(price), D(age), feed)


def sale(**changes) -> Ticket:
    return ticket(side=SELL, **changes)


# Check number, what is tried, the ticket, the facts, and the codes that must come: none when it passes.
ROWS: list[tuple[int, str, Ticket, Facts, tuple[str, ...]]] = [
    # 1: the trading state
    (1, "active", ticket(), facts(), PASSES),
    (1, "reducing", ticket(), facts(trading_state="reducing"), ("reducing_only",)),
    (1, "reducing, and it reduces", sale(), facts(trading_state="reducing", position=D(10)), PASSES),
    (
        1,
        "reducing, and it goes through zero",
        sale(),
        facts(trading_state="reducing", position=D(9)),
        ("reducing_only", "short_not_allowed"),
    ),
    (1, "halted", sale(), facts(trading_state="halted", position=D(10)), ("trading_halted",)),
    (1, "flattens during a halt", sale(origin=Origin.KILL), facts(trading_state="halted", position=D(10)), PASSES),
    (1, "a kill that would open", ticket(origin=Origin.KILL), facts(trading_state="halted"), ("reducing_only",)),
    (1, "not known", ticket(), facts(trading_state=None), ("trading_halted",)),
    # 2: account and mode
    (2, "off", ticket(), facts(mode="off"), ("orders_off",)),
    (2, "another login", ticket(account="DU9"), facts(), ("unknown_account",)),
    (2, "accounts not known", ticket(), facts(accounts=None), ("unknown_account",)),
    (2, "kind not known", ticket(), facts(account_kind=None), ("unknown_account",)),
    (
        2,
        "real money, mode paper",
        ticket(account="U1"),
        facts("live", allowed=frozenset({"STK"})),
        ("live_not_enabled",),
    ),
    (
        2,
        "real money, no name",
        ticket(account="U1"),
        facts("live", mode="live", allowed=frozenset({"STK"})),
        ("live_not_enabled",),
    ),
    (
        2,
        "real money, another name",
        ticket(account="U1"),
        facts("live", mode="live", live_accounts=frozenset({"U11"}), allowed=frozenset({"STK"})),
        ("live_not_enabled",),
    ),
    (
        2,
        "real money, both agree",
        ticket(account="U1"),
        facts("live", mode="live", live_accounts=frozenset({"U1"}), allowed=frozenset({"STK"})),
        PASSES,
    ),
    # 3: rights
    (3, "no right", ticket(), facts(may_trade=False), ("forbidden",)),
    (3, "not known", ticket(), facts(may_trade=None), ("forbidden",)),
    # 4: what may be traded
    (4, "an index", ticket(instrument=stock(asset_class="IND")), facts(), ("instrument_not_allowed",)),
    (4, "a bond", ticket(instrument=stock(asset_class="BOND")), facts(), ("instrument_not_allowed",)),
    (
        4,
        "expires today",
        ticket(instrument=stock(asset_class="FUT", expiry="20260102"), quantity=D(1)),
        facts(),
        PASSES,
    ),
    (
        4,
        "expired",
        ticket(instrument=stock(asset_class="FUT", expiry="20260101"), quantity=D(1)),
        facts(),
        ("instrument_not_allowed",),
    ),
    (4, "not on the list", ticket(), facts(allowed=frozenset({"FUT", "4815"})), ("instrument_not_allowed",)),
    (4, "on the list by number", ticket(), facts(allowed=frozenset({"265598"})), PASSES),
    (
        4,
        "real money without a list",
        ticket(account="U1"),
        facts("live", mode="live", live_accounts=frozenset({"U1"})),
        ("instrument_not_allowed",),
    ),
    (4, "not on the list, sold off", sale(), facts(position=D(10), allowed=frozenset({"FUT"})), PASSES),
    # 5: types, prices, time in force
    (5, "nothing", ticket(quantity=D(0)), facts(), ("invalid_order", "quantity_step")),
    (5, "limit without price", ticket(limit=None), facts(), ("invalid_order",)),
    (5, "price without need", ticket(type=OrderType.MKT), facts(), ("invalid_order",)),
    (5, "stop without price", ticket(type=OrderType.STP, limit=None), facts(), ("invalid_order",)),
    (
        5,
        "negative price",
        ticket(limit=D(-1), side=BUY),
        facts(limits={"collar_percent_passive": None}),
        ("invalid_order",),
    ),
    (
        5,
        "negative price of a future",
        ticket(instrument=FUTURE, limit=D("-1"), quantity=D(1)),
        facts(limits={"collar_percent_passive": None}),
        PASSES,
    ),
    (5, "stop, IOC", ticket(type=OrderType.STP, limit=None, stop=D(105), tif=Tif.IOC), facts(), ("invalid_order",)),
    (5, "close, GTC", ticket(type=OrderType.LOC, tif=Tif.GTC), facts(), ("invalid_order",)),
    (5, "for the opening", ticket(tif=Tif.OPG), facts(), PASSES),
    (
        5,
        "for the opening of a pair",
        ticket(instrument=PAIR, tif=Tif.OPG, quantity=D(100)),
        facts(),
        ("invalid_order",),
    ),
    (5, "GTD without time", ticket(tif=Tif.GTD), facts(), ("invalid_order",)),
    (5, "time without GTD", ticket(good_till=NOW + 1), facts(), ("invalid_order",)),
    (5, "GTD now", ticket(tif=Tif.GTD, good_till=NOW), facts(), ("invalid_order",)),
    (5, "GTD a moment later", ticket(tif=Tif.GTD, good_till=NOW + 1), facts(), PASSES),
    (5, "market order outside", market_order(outside_rth=True), facts(), ("invalid_order",)),
    (5, "limit order outside", ticket(outside_rth=True), facts(), PASSES),
    (5, "trail without distance", ticket(type=OrderType.TRAIL, limit=None), facts(), ("invalid_order",)),
    (
        5,
        "trail with two",
        ticket(type=OrderType.TRAIL, limit=None, trail_amount=D(1), trail_percent=D(1)),
        facts(),
        ("invalid_order",),
    ),
    (
        5,
        "trail of everything",
        ticket(type=OrderType.TRAIL, limit=None, trail_percent=D(100)),
        facts(limits={"collar_percent_passive": None}),
        ("invalid_order",),
    ),
    (5, "trail", sale(type=OrderType.TRAIL, limit=None, trail_percent=D(5)), facts(position=D(10)), PASSES),
    (
        5,
        "trailing limit",
        sale(type=OrderType.TRAIL_LIMIT, limit=D("94.5"), stop=D(95), trail_amount=D(5)),
        facts(position=D(10)),
        PASSES,
    ),
    # 6: steps
    (6, "on its step", ticket(limit=D("100.01")), facts(), PASSES),
    (6, "off its step", ticket(limit=D("100.005")), facts(), ("price_step",)),
    (6, "a stop off its step", ticket(type=OrderType.STP, limit=None, stop=D("105.005")), facts(), ("price_step",)),
    (
        6,
        "a trail off its step",
        sale(type=OrderType.TRAIL, limit=None, trail_amount=D("0.505")),
        facts(position=D(10)),
        ("price_step",),
    ),
    (6, "half a share", ticket(quantity=D("0.5")), facts(), ("quantity_step",)),
    (6, "below the least", ticket(quantity=D(5)), facts(rule=CENT._replace(min_size=D(10))), ("quantity_step",)),
    (6, "steps not known", ticket(), facts(rule=None), ("price_step",)),
    # 7: quantity
    (7, "1,000 shares", ticket(quantity=D(1000)), facts(), PASSES),
    (7, "1,001 shares", ticket(quantity=D(1001)), facts(), ("quantity_limit",)),
    (7, "5 contracts", ticket(instrument=FUTURE, quantity=D(5)), facts(), PASSES),
    (7, "6 contracts", ticket(instrument=FUTURE, quantity=D(6)), facts(), ("quantity_limit",)),
    (
        7,
        "100,000 units",
        ticket(instrument=PAIR, quantity=D(100_000), limit=D("1.1")),
        facts(quote=quote("1.1", spread="0")),
        PASSES,
    ),
    (
        7,
        "100,001 units",
        ticket(instrument=PAIR, quantity=D(100_001), limit=D("1.1")),
        facts(quote=quote("1.1", spread="0")),
        ("quantity_limit",),
    ),
    (7, "limit taken away", ticket(quantity=D(1001)), facts(limits={"quantity_shares": None}), PASSES),
    (7, "flattens", sale(quantity=D(1001), origin=Origin.KILL), facts(position=D(1001)), PASSES),
    # 8: notional
    (8, "at the limit", ticket(), facts(limits={"notional": D(1000)}), PASSES),
    (8, "above it", ticket(), facts(limits={"notional": D("999.99")}), ("notional_limit",)),
    (
        8,
        "a sale is worth the market",
        sale(limit=D(99)),
        facts(position=D(5), limits={"notional": D("999.99"), "short": D(1)}),
        ("notional_limit",),
    ),
    (
        8,
        "multiplier and rate",
        ticket(),
        facts(limits={"notional": D(44_999)}, multiplier=D(50), rate=D("0.9")),
        ("notional_limit",),
    ),
    (8, "reducing", sale(), facts(position=D(10), limits={"notional": D(1)}), PASSES),
    (8, "no rate", ticket(), facts(rate=None), ("notional_limit", "position_limit")),
    # 9: collar
    (9, "5 % worse", ticket(limit=D(105)), facts(), PASSES),
    (9, "a cent more", ticket(limit=D("105.01")), facts(), ("price_collar",)),
    (9, "half the price", ticket(limit=D(50)), facts(), PASSES),
    (9, "a cent less", ticket(limit=D("49.99")), facts(), ("price_collar",)),
    (9, "a sale 5 % worse", sale(limit=D(95)), facts(limits={"short": D(1)}), PASSES),
    (9, "a cent less of a sale", sale(limit=D("94.99")), facts(limits={"short": D(1)}), ("price_collar",)),
    (9, "a reducing sale 15 % worse", sale(limit=D(85)), facts(position=D(10)), PASSES),
    (9, "a cent less of a reducing one", sale(limit=D("84.99")), facts(position=D(10)), ("price_collar",)),
    (9, "3 % of a future", ticket(instrument=FUTURE, quantity=D(1), limit=D(103)), facts(), PASSES),
    (9, "more of a future", ticket(instrument=FUTURE, quantity=D(1), limit=D("103.01")), facts(), ("price_collar",)),
    (9, "1 % of a pair", ticket(instrument=PAIR, limit=D(101)), facts(), PASSES),
    (9, "more of a pair", ticket(instrument=PAIR, limit=D("101.01")), facts(), ("price_collar",)),
    (9, "two steps of a cheap one", ticket(limit=D("0.12")), facts(quote=quote("0.1")), PASSES),
    (9, "three steps of a cheap one", ticket(limit=D("0.13")), facts(quote=quote("0.1")), ("price_collar",)),
    (9, "an old quote, 10 % of the close", ticket(limit=D("108.90")), facts(quote=quote(100, age=61)), PASSES),
    (9, "more than 10 % of the close", ticket(limit=D("108.91")), facts(quote=quote(100, age=61)), ("price_collar",)),
    (9, "a quote of 60 s", ticket(limit=D(105)), facts(quote=quote(100, age=60), close=D(50)), PASSES),
    (9, "a stop far above", ticket(type=OrderType.STP, limit=None, stop=D(150)), facts(), PASSES),
    (9, "a stop too far above", ticket(type=OrderType.STP, limit=None, stop=D("150.01")), facts(), ("price_collar",)),
    (
        9,
        "a stop that is live at once",
        ticket(type=OrderType.STP, limit=None, stop=D("94.99")),
        facts(),
        ("price_collar",),
    ),
    (9, "if touched below", ticket(type=OrderType.MIT, limit=None, stop=D(50)), facts(), PASSES),
    (9, "if touched far above", ticket(type=OrderType.MIT, limit=None, stop=D("105.01")), facts(), ("price_collar",)),
    (9, "a limit behind its stop", ticket(type=OrderType.STP_LMT, limit=D(126), stop=D(120)), facts(), PASSES),
    (
        9,
        "a limit too far behind",
        ticket(type=OrderType.STP_LMT, limit=D("126.01"), stop=D(120)),
        facts(),
        ("price_collar",),
    ),
    (9, "a trail of 50 %", sale(type=OrderType.TRAIL, limit=None, trail_percent=D(50)), facts(position=D(10)), PASSES),
    (
        9,
        "a longer trail",
        sale(type=OrderType.TRAIL, limit=None, trail_amount=D("50.01")),
        facts(position=D(10)),
        ("price_collar",),
    ),
    (9, "no price at all", ticket(), facts(quote=None, close=None), ("price_collar",)),
    (
        9,
        "delayed where it must be live",
        ticket(limit=D(105)),
        facts(quote=quote(100, feed="delayed"), close=D(10)),
        ("price_collar",),
    ),
    # 10: market orders
    (10, "a new quote", market_order(), facts(quote=quote(100, age=5)), PASSES),
    (10, "an old one", market_order(), facts(quote=quote(100, age="5.001")), ("market_order_not_allowed",)),
    (10, "1 % of spread", market_order(), facts(quote=quote(100, spread=1)), PASSES),
    (10, "more", market_order(), facts(quote=quote(100, spread="1.02")), ("market_order_not_allowed",)),
    (10, "before the open", market_order(), facts(session="extended"), ("market_order_not_allowed",)),
    (10, "for the opening", market_order(tif=Tif.OPG), facts(session="closed", quote=None), PASSES),
    (10, "no quote", market_order(), facts(quote=None), ("market_order_not_allowed",)),
    (10, "no bid", market_order(), facts(quote=Quote(None, D(100), D(100), D(1))), ("market_order_not_allowed",)),
    (10, "frozen", market_order(), facts(quote=quote(100, feed="frozen")), ("market_order_not_allowed",)),
    (10, "feed not told", market_order(), facts(quote=quote(100, feed="")), ("market_order_not_allowed",)),
    (10, "delayed", market_order(), facts(quote=quote(100, feed="delayed")), ("market_order_not_allowed",)),
    (
        10,
        "delayed, and that may be",
        market_order(),
        facts(quote=quote(100, feed="delayed"), delayed_allowed=True),
        PASSES,
    ),
    (10, "hours not known", market_order(), facts(session=None), ("market_order_not_allowed", "session_closed")),
    # 11: session
    (11, "a limit order waits", ticket(), facts(session="closed"), PASSES),
    (11, "a market order does not", market_order(), facts(session="closed"), ("session_closed",)),
    (11, "IOC does not", ticket(tif=Tif.IOC), facts(session="closed"), ("session_closed",)),
    # 12: position
    (12, "at the limit", ticket(), facts(position=D(5), orders=(pending(),), limits={"position": D(2500)}), PASSES),
    (
        12,
        "above it",
        ticket(),
        facts(position=D(5), orders=(pending(),), limits={"position": D("2499.99")}),
        ("position_limit",),
    ),
    (
        12,
        "open sales make no room",
        ticket(),
        facts(position=D(5), orders=(pending(SELL, limit=D(120)),), limits={"position": D("1499.99")}),
        ("position_limit",),
    ),
    (
        12,
        "a short position",
        sale(),
        facts(position=D(-5), limits={"position": D("1499.99"), "short": D(1)}),
        ("position_limit",),
    ),
    (12, "reducing", sale(), facts(position=D(1000), limits={"position": D(1)}), PASSES),
    (12, "position not known", ticket(), facts(position=None), ("position_limit",)),
    # 13: gross exposure
    (
        13,
        "at the limit",
        ticket(),
        facts(gross_position_value=D(500), reserved_value=D(500), limits={"gross_exposure": D(2000)}),
        PASSES,
    ),
    (
        13,
        "above it",
        ticket(),
        facts(gross_position_value=D(500), reserved_value=D("500.01"), limits={"gross_exposure": D(2000)}),
        ("exposure_limit",),
    ),
    (13, "all the account has", ticket(), facts(net_liquidation=D(1000)), PASSES),
    (13, "more than it has", ticket(), facts(net_liquidation=D("999.99")), ("exposure_limit",)),
    (13, "reducing", sale(), facts(position=D(10), net_liquidation=D(1)), PASSES),
    (13, "value not known", ticket(), facts(gross_position_value=None), ("exposure_limit",)),
    (13, "account's value not known", ticket(), facts(net_liquidation=None), ("exposure_limit", "daily_loss")),
    # 14: short sale
    (14, "all that is held", sale(), facts(position=D(10)), PASSES),
    (14, "one more", sale(quantity=D(11)), facts(position=D(10)), ("short_not_allowed",)),
    (14, "an open sale counts", sale(), facts(position=D(15), orders=(pending(SELL),)), ("short_not_allowed",)),
    (14, "switched on", sale(), facts(limits={"short": D(1)}), PASSES),
    (14, "a future has no short sale", sale(instrument=FUTURE, quantity=D(1)), facts(), PASSES),
    (14, "position not known", sale(), facts(position=None), ("position_limit", "short_not_allowed")),
    # 15: daily loss
    (15, "just below 2 %", ticket(), facts(daily_pnl=D("-19999.99"), net_liquidation=D("980000.01")), PASSES),
    (15, "2 %", ticket(), facts(daily_pnl=D(-20_000), net_liquidation=D(980_000)), ("daily_loss",)),
    (
        15,
        "everything",
        ticket(),
        facts(daily_pnl=D(-20_000), net_liquidation=D(-1000), limits={"gross_exposure_percent": None}),
        ("daily_loss",),
    ),
    (15, "reducing", sale(), facts(position=D(10), daily_pnl=D(-50_000)), PASSES),
    (15, "not known", ticket(), facts(daily_pnl=None), ("daily_loss",)),
    # 16: rate
    (16, "the fifth of a second", ticket(), facts(counts=Counts(4, 0, 0, 0)), PASSES),
    (16, "the sixth", ticket(), facts(counts=Counts(5, 0, 0, 0)), ("rate_limit",)),
    (16, "the 61st of a minute", ticket(), facts(counts=Counts(0, 60, 0, 0)), ("rate_limit",)),
    (16, "the 501st of a day", ticket(), facts(counts=Counts(0, 0, 500, 0)), ("rate_limit",)),
    (16, "the eleventh of the account", ticket(), facts(counts=Counts(0, 0, 0, 10)), ("rate_limit",)),
    (16, "a change at 18 to 1", ticket(), facts(orders=(pending(),), changes="a", order_ratio=D(18)), ("rate_limit",)),
    (16, "a new order at 18 to 1", ticket(), facts(order_ratio=D(18)), PASSES),
    (16, "not known", ticket(), facts(counts=None), ("rate_limit",)),
    # 17: duplicates
    (
        17,
        "ten seconds ago",
        ticket(),
        facts(recent=(RecentOrder("BUY", "LMT", D(10), D(100), None, D(10)),)),
        ("duplicate_order",),
    ),
    (17, "longer ago", ticket(), facts(recent=(RecentOrder("BUY", "LMT", D(10), D(100), None, D("10.01")),)), PASSES),
    (17, "another price", ticket(), facts(recent=(RecentOrder("BUY", "LMT", D(10), D("100.01"), None, D(1)),)), PASSES),
    (
        17,
        "allowed",
        ticket(allow_duplicate=True),
        facts(recent=(RecentOrder("BUY", "LMT", D(10), D(100), None, D(1)),)),
        PASSES,
    ),
    (
        17,
        "a strategy",
        ticket(origin=Origin.STRATEGY),
        facts(recent=(RecentOrder("BUY", "LMT", D(10), D(100), None, D(1)),)),
        PASSES,
    ),
    # 18: open orders
    (18, "the fifteenth", ticket(), facts(orders=(pending(reserved=1),) * 14), PASSES),
    (18, "the sixteenth", ticket(), facts(orders=(pending(reserved=1),) * 15), ("too_many_orders",)),
    (18, "others on the other side", ticket(), facts(orders=(pending(SELL, reserved=1, limit=D(120)),) * 15), PASSES),
    (
        18,
        "a change is none more",
        ticket(),
        facts(orders=(pending(reserved=1),) * 14 + (pending(order_id="b"),), changes="b"),
        PASSES,
    ),
    # 19: trading with oneself
    (19, "a sale at the same price", ticket(), facts(orders=(pending(SELL),)), ("self_match",)),
    (19, "a cent above", ticket(), facts(orders=(pending(SELL, limit=D("100.01")),)), PASSES),
    (19, "a market order rests", ticket(), facts(orders=(pending(SELL, type="MKT", limit=None),)), ("self_match",)),
    (19, "a stop waits", ticket(), facts(orders=(pending(SELL, type="STP", limit=None, stop=D(90)),)), PASSES),
    (
        19,
        "a market buy, own sale at the ask",
        market_order(),
        facts(orders=(pending(SELL, limit=D("100.01")),)),
        ("self_match",),
    ),
    (19, "a market buy, own sale above", market_order(), facts(orders=(pending(SELL, limit=D("100.02")),)), PASSES),
    (
        19,
        "a market sale, own buy at the bid",
        market_order(side=SELL),
        facts(position=D(10), orders=(pending(limit=D("99.99")),)),
        ("self_match",),
    ),
    (
        19,
        "both at the close",
        ticket(type=OrderType.LOC),
        facts(orders=(pending(SELL, type="MOC", limit=None),)),
        ("self_match",),
    ),
    (19, "one now and one at the close", ticket(), facts(orders=(pending(SELL, type="MOC", limit=None),)), PASSES),
    (19, "an exit that sleeps", ticket(), facts(orders=(pending(SELL, asleep=True),)), PASSES),
    (
        19,
        "of one group",
        ticket(oca=Oca("g")),
        facts(orders=(pending(SELL, group=str(oca_group_id("DU1", "g"))),)),
        PASSES,
    ),
    (
        19,
        "of another group",
        ticket(oca=Oca("g")),
        facts(orders=(pending(SELL, group=str(oca_group_id("DU1", "h"))),)),
        ("self_match",),
    ),
    (
        19,
        "the entry of its bracket",
        ticket(),
        facts(
            orders=(pending(order_id="own", group="b"), pending(SELL, type="MKT", limit=None, entry_of="b")),
            changes="own",
        ),
        PASSES,
    ),
    (
        19,
        "the entry of another bracket",
        ticket(),
        facts(
            orders=(pending(order_id="own", group="b"), pending(SELL, type="MKT", limit=None, entry_of="c")),
            changes="own",
        ),
        ("self_match",),
    ),
    # 20: margin
    (20, "not asked on paper", ticket(instrument=FUTURE, quantity=D(1)), facts(), PASSES),
    (
        20,
        "enough",
        ticket(instrument=FUTURE, quantity=D(1)),
        facts(limits={"margin_check": D(1)}, margin=Margin(D(10), D(10))),
        PASSES,
    ),
    (
        20,
        "a cent too little",
        ticket(instrument=FUTURE, quantity=D(1)),
        facts(limits={"margin_check": D(1)}, margin=Margin(D("10.01"), D(10))),
        ("margin",),
    ),
    (
        20,
        "refused",
        ticket(instrument=FUTURE, quantity=D(1)),
        facts(limits={"margin_check": D(1)}, margin_refusal="no"),
        ("margin",),
    ),
    (20, "a stock has none", ticket(), facts(limits={"margin_check": D(1)}), PASSES),
    (20, "a short sale has", sale(), facts(limits={"margin_check": D(1), "short": D(1)}), ("margin",)),
    (
        20,
        "closing has none",
        sale(instrument=FUTURE, quantity=D(1)),
        facts(position=D(1), limits={"margin_check": D(1)}),
        PASSES,
    ),
    # 21: what is unresolved
    (21, "unknown order", ticket(), facts(orders=(pending(unknown=True),)), ("unresolved_order",)),
    (21, "unknown order, closing", sale(limit=D(101)), facts(position=D(10), orders=(pending(unknown=True),)), PASSES),
    (
        21,
        "unknown sale counts",
        sale(),
        facts(position=D(10), orders=(pending(SELL, unknown=True),)),
        ("short_not_allowed", "unresolved_order"),
    ),
    (21, "position break", ticket(), facts(position_break=True), ("position_break",)),
    (21, "position break, closing", sale(), facts(position=D(10), position_break=True), PASSES),
    (21, "not known", ticket(), facts(position_break=None), ("position_break",)),
    # 22: a pause after losses
    (22, "off", ticket(), facts(losses=9, last_loss_age=D(1)), PASSES),
    (22, "two of three", ticket(), facts(losses=2, last_loss_age=D(1), limits={"cool_down_losses": D(3)}), PASSES),
    (
        22,
        "three of three",
        ticket(),
        facts(losses=3, last_loss_age=D(1799), limits={"cool_down_losses": D(3)}),
        ("cool_down",),
    ),
    (
        22,
        "half an hour later",
        ticket(),
        facts(losses=3, last_loss_age=D(1800), limits={"cool_down_losses": D(3)}),
        PASSES,
    ),
    (
        22,
        "closing",
        sale(),
        facts(position=D(10), losses=3, last_loss_age=D(1), limits={"cool_down_losses": D(3)}),
        PASSES,
    ),
    (22, "not known", ticket(), facts(losses=None, limits={"cool_down_losses": D(3)}), ("cool_down",)),
    # 23: the broker
    (23, "not ready", ticket(), facts(ready=False), ("broker_not_ready",)),
    (23, "not known", ticket(), facts(ready=None), ("broker_not_ready",)),
    (23, "60 s before a restart", ticket(), facts(restart_in=D(60)), PASSES),
    (23, "59 s before", ticket(), facts(restart_in=D(59)), ("broker_not_ready",)),
]


@pytest.mark.parametrize(("number", "what", "order", "known", "expected"), ROWS, ids=[f"{r[0]}-{r[1]}" for r in ROWS])
def test_a_check_refuses_what_is_beyond_its_limit_and_nothing_else(number, what, order, known, expected):
    found = checks.run(order, known, "all")
    assert tuple(one.code for one in found) == expected
    table = {code: row.number for row in CHECKS for code in row.codes}
    for one in found:
        assert one.check == table[one.code]
        assert one.text
        assert one.limit or one.value or one.temporary, one


def test_every_check_is_tried_inside_and_outside_its_limit():
    tried: dict[int, set[bool]] = {row.number: set() for row in CHECKS}
    codes_tried = set()
    for number, _, _, _, expected in ROWS:
        tried[number].add(bool(expected))
        codes_tried |= set(expected)
    assert {number for number, both in tried.items() if both != {True, False}} == {3}, "3 passes in every other row"
    assert codes_tried == {code for row in CHECKS for code in row.codes}


def test_the_table_has_the_23_checks_in_order():
    assert [row.number for row in CHECKS] == list(range(1, 24))
    every = [code for row in CHECKS for code in row.codes]
    assert len(every) == len(set(every))
    assert {row.number for row in CHECKS if not row.reducing} == {8, 12, 13, 15}


def test_each_check_gives_its_own_codes_alone():
    for row in CHECKS:
        for _, _, order, known, _ in ROWS:
            case = checks_case(order, known)
            assert {one.code for one in row.run(case)} <= set(row.codes), row.number


def checks_case(order, known):
    return Case(order, legs(order)[0], known)


# ---- who runs what ---------------------------------------------------------------------------------------------------
def test_the_function_leaves_to_the_process_what_it_cannot_know():
    nothing = facts(
        position=None,
        rule=None,
        rate=None,
        quote=None,
        close=None,
        session=None,
        gross_position_value=None,
        ready=None,
        daily_pnl=None,
        net_liquidation=None,
        accounts=None,
        position_break=None,
    )
    assert codes(market_order(), nothing, "function") == []
    left = checks.run(market_order(), nothing, "process")
    assert {one.check for one in left} == {2, 6, 8, 10, 11, 12, 13, 15, 21, 23}
    assert checks.only_temporary(left)


def test_what_the_function_alone_checks_is_refused_where_it_is_not_known():
    nobody = facts(may_trade=None, counts=None)
    assert codes(ticket(), nobody, "function") == ["forbidden", "rate_limit"]
    assert codes(ticket(), nobody, "process") == []


@pytest.mark.parametrize("place", ["function", "process"])
def test_each_place_runs_its_rows(place):
    rows = [row for row in CHECKS if row.where in (place, Place.BOTH)]
    wrong = facts(
        trading_state="halted",
        mode="off",
        may_trade=False,
        allowed=frozenset({"FUT"}),
        ready=False,
        daily_pnl=D(-50_000),
        counts=Counts(5, 0, 0, 0),
        orders=(pending(SELL, unknown=True),) + (pending(),) * 15,
        losses=3,
        last_loss_age=D(1),
        session="closed",
        recent=(RecentOrder("SELL", "LMT", D("1000.5"), D(10), None, D(1)),),
        gross_position_value=D(10**9),
        limits={"cool_down_losses": D(1), "margin_check": D(1), "notional": D(1), "position": D(1)},
        margin_refusal="no",
    )
    order = ticket(side=SELL, quantity=D("1000.5"), limit=D(10), tif=Tif.IOC, good_till=1)
    found = {one.check for one in checks.run(order, wrong, place)}
    never = {10, 18}  # a market order, and fifteen sales, would be another ticket
    assert found == {row.number for row in rows} - never


def test_a_refusal_that_passes_by_itself_is_told_apart():
    assert checks.only_temporary(checks.run(ticket(), facts(ready=False), "process"))
    assert not checks.only_temporary(checks.run(ticket(quantity=D("0.5")), facts(ready=False), "process"))
    assert not checks.only_temporary(checks.run(market_order(), facts(quote=quote(100, spread=5)), "process"))
    assert checks.only_temporary([])


def test_a_refusal_reads_as_the_api_tells_it():
    (found,) = checks.run(ticket(limit=D("100.005")), facts(), "function")
    assert found == Refusal("price_step", 6, "0.01", "100.005", "limit_price is off its step; near: 100 or 100.01")
    assert found.as_dict() == {
        "code": "price_step",
        "check": 6,
        "limit": "0.01",
        "value": "100.005",
        "detail": "limit_price is off its step; near: 100 or 100.01",
    }


def test_a_refusal_is_a_sentence_with_its_numbers_where_they_are_numbers():
    (quantity,) = [one for one in checks.run(ticket(quantity=D(5000)), facts(), "function") if one.check == 7]
    assert quantity.sentence.endswith(" (5000; limit 1000)")
    (halted,) = checks.run(ticket(), facts(trading_state="halted"), "function")
    assert halted.sentence == f"trading_halted: {halted.text}"


def test_delayed_data_are_told():
    assert checks.notices(facts(quote=quote(100, feed="delayed"), delayed_allowed=True)) == ["delayed_data"]
    assert checks.notices(facts()) == []


# ---- brackets --------------------------------------------------------------------------------------------------------
BRACKET = ticket(
    take_profit=Exit(OrderType.LMT, Prices(limit=D(110))), stop_loss=Exit(OrderType.STP, Prices(stop=D(90)))
)


def test_the_exits_of_a_bracket_are_no_short_sale():
    assert codes(BRACKET, facts()) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"take_profit": Exit(OrderType.LMT, Prices(limit=D("110.005")))}, ["price_step"]),
        ({"stop_loss": Exit(OrderType.STP, Prices(stop=D("49.99")))}, ["price_collar"]),
        ({"stop_loss": Exit(OrderType.STP, Prices())}, ["invalid_order"]),
        ({"stop_loss": Exit(OrderType.STP, Prices(stop=D(101)))}, ["invalid_order"]),
    ],
)
def test_every_leg_is_checked_before_the_first_is_sent(changed, expected):
    assert codes(replace(BRACKET, **changed), facts()) == expected


def test_the_legs_of_a_bracket_count_on_their_sides():
    many = tuple(pending(SELL, reserved=1, limit=D(120)) for _ in range(14))
    assert codes(BRACKET, facts(orders=many[:13])) == []
    assert codes(BRACKET, facts(orders=many)) == ["too_many_orders"]


def test_an_exit_can_be_changed_before_its_entry_has_filled():
    resting = (
        pending(SELL, order_id="tp", asleep=True, group="g"),
        pending(SELL, order_id="sl", asleep=True, group="g"),
    )
    order = sale(limit=D(111))
    assert codes(order, facts(orders=resting, changes="tp", is_exit=True)) == []
    assert "short_not_allowed" in codes(order, facts(orders=resting, changes="tp"))


# ---- changes ---------------------------------------------------------------------------------------------------------
def test_a_change_counts_without_the_order_that_it_changes():
    tight = facts(orders=(pending(),), limits={"position": D(1000)})
    assert codes(ticket(), tight) == ["position_limit"]
    assert codes(ticket(), replace(tight, changes="a")) == []


def test_of_a_change_only_what_is_left_to_fill_counts():
    tight = facts(position=D(4), orders=(pending(reserved=6),), limits={"position": D(1000)}, changes="a", filled=D(4))
    assert codes(ticket(), tight) == []
    assert codes(ticket(quantity=D(11)), tight) == ["position_limit"]


def test_the_second_exit_of_an_oca_group_may_close_the_same_position():
    group = str(oca_group_id("DU1", "out"))
    first = pending(SELL, group=group, limit=D(110))
    stop = sale(type=OrderType.STP, limit=None, stop=D(90), oca=Oca("out"))
    held = facts(position=D(10), orders=(first,), trading_state="reducing")
    assert codes(stop, held) == []
    assert codes(replace(stop, oca=Oca("out", 3)), held) == ["reducing_only", "short_not_allowed"]
    assert codes(replace(stop, oca=None), held) == ["reducing_only", "short_not_allowed"]


def test_steps_of_a_rule_with_two_of_them_are_told_where_they_count():
    rule = MarketRule((PriceStep(D(0), D("0.01")), PriceStep(D(3), D("0.05"))), D(1), D(1), True)
    (found,) = checks.run(ticket(limit=D("100.01")), facts(rule=rule), "function")
    assert (found.limit, found.text) == ("0.05", "limit_price is off its step; near: 100 or 100.05")
