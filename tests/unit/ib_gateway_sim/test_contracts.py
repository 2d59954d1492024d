"""Which contracts answer a question, as IB's contract details would."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from ib_gateway_sim.market.contracts import Contract, ContractQuery
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.market.instruments.instrument import con_id
from ib_gateway_sim.market.instruments.listing import by_con_id
from ib_gateway_sim.market.instruments.stocks import _isin

MARKET = Market(7)
NOW_S = datetime(2026, 1, 14, 18, tzinfo=UTC).timestamp()


def find(*, now_s: float = NOW_S, **fields: Any) -> list[Contract]:
    return MARKET.find(ContractQuery(**fields), now_s)


STOCKS = ("AAPL", "MSFT", "GOOGL", "AMZN", "TSLA", "NVDA", "QQQ", "TLT", "SPY", "IWM", "GLD", "USO")
FRONT_END = [
    *((symbol, "STK", "USD") for symbol in STOCKS),
    *((base, "CASH", "USD") for base in ("EUR", "GBP", "AUD")),
    *(("USD", "CASH", quote) for quote in ("JPY", "CHF", "CAD")),
    *((symbol, "CONTFUT", "USD") for symbol in ("ES", "NQ", "YM", "RTY", "CL", "NG", "GC", "SI")),
    *((symbol, "IND", "USD") for symbol in ("SPX", "DJX", "VIX", "NDX")),
    *(("BTC", "CRYPTO", "USD"), ("IBUS500", "CFD", "USD")),
]


@pytest.mark.parametrize(("symbol", "sec_type", "currency"), FRONT_END)
def test_everything_the_front_end_lists_is_one_contract_with_bars(symbol: str, sec_type: str, currency: str) -> None:
    (found,) = find(symbol=symbol, sec_type=sec_type, currency=currency)
    assert find(con_id=found.con_id) == [found]
    assert (found.symbol, found.sec_type, found.currency) == (symbol, sec_type, currency)
    assert len(found.market_rule_ids) == len(found.valid_exchanges) > 0
    assert all(MARKET.market_rule(rule) for rule in found.market_rule_ids)
    assert MARKET.market_rule(found.market_rule_ids[0])[0][1] == found.min_tick
    bars = MARKET.bars(found, "1m", found.kinds[0], rth=False, start_s=NOW_S - 3600, end_s=NOW_S, now_s=NOW_S)
    assert len(bars) > 50
    assert MARKET.trading_hours(found, NOW_S, liquid=True).startswith("2026")


def test_contract_ids_are_unique_and_stay() -> None:
    every = by_con_id()
    assert len(every) > 1000
    assert find(symbol="AAPL", sec_type="STK")[0].con_id == con_id("STK", "AAPL", "USD")
    assert find(con_id=1) == []


def test_a_future_is_found_by_month_by_day_and_by_local_symbol() -> None:
    (by_month,) = find(symbol="ES", sec_type="FUT", last_trade_date="202603", exchange="CME", currency="USD")
    assert find(symbol="ES", sec_type="FUT", last_trade_date="20260320") == [by_month]
    assert find(local_symbol="ESH6", sec_type="FUT") == [by_month]
    assert find(con_id=by_month.con_id) == [by_month]
    assert (by_month.multiplier, by_month.contract_month, by_month.time_zone) == ("50", "202603", "US/Central")
    assert find(symbol="ES", sec_type="FUT", last_trade_date="202604") == []
    assert find(symbol="ES", sec_type="FUT", last_trade_date="202603", multiplier="5") == []


def test_a_future_without_month_is_every_listed_month_in_order() -> None:
    found = find(symbol="ES", sec_type="FUT", exchange="CME")
    assert [one.contract_month for one in found] == ["202603", "202606", "202609", "202612", "202703"]
    assert [one.sec_type for one in find(symbol="ES", sec_type="FUT+CONTFUT")] == ["CONTFUT"] + ["FUT"] * 5
    assert find(symbol="ES", sec_type="FUT", exchange="NYMEX") == []


def test_expired_futures_are_known_for_two_years_and_on_request() -> None:
    month: dict[str, Any] = {"symbol": "ES", "sec_type": "FUT", "last_trade_date": "202509"}
    assert find(**month) == []
    (expired,) = find(**month, include_expired=True)
    assert expired.last_trade_date == "20250919"
    assert find(con_id=expired.con_id) == []
    assert find(con_id=expired.con_id, include_expired=True) == [expired]
    assert len(find(symbol="ES", sec_type="FUT", last_trade_date="202403", include_expired=True)) == 1
    assert find(symbol="ES", sec_type="FUT", last_trade_date="202312", include_expired=True) == []
    then_s = datetime(2025, 9, 19, 15, tzinfo=UTC).timestamp()  # its last day
    assert find(**month, now_s=then_s) == [expired]


@pytest.mark.parametrize(
    ("local_symbol", "end"),
    [
        ("ESU5", date(2025, 9, 19)),  # third Friday
        ("ESM4", date(2024, 6, 21)),
        ("CLG6", date(2026, 1, 20)),  # third business day before the 25th
        ("NGG6", date(2026, 1, 28)),
        ("GCG6", date(2026, 2, 25)),  # third last business day
    ],
)
def test_last_trade_dates_follow_the_exchanges_rules(local_symbol: str, end: date) -> None:
    found = [one for one in find(local_symbol=local_symbol, include_expired=True) if one.contract_month > "2024"]
    assert [one.last_trade_date for one in found] == [f"{end:%Y%m%d}"]


def test_one_symbol_with_two_listings_is_ambiguous_until_the_currency_is_said() -> None:
    assert [one.currency for one in find(symbol="DUAL", sec_type="STK", exchange="SMART")] == ["USD", "CAD"]
    assert [one.primary_exchange for one in find(symbol="DUAL", sec_type="STK", currency="CAD")] == ["TSE"]
    assert len(find(symbol="DUAL", sec_type="STK", primary_exchange="ARCA")) == 1


def test_the_exchange_of_the_question_is_that_of_the_answer() -> None:
    assert find(symbol="AAPL", sec_type="STK")[0].exchange == "SMART"
    assert find(symbol="AAPL", sec_type="STK", exchange="ARCA")[0].exchange == "ARCA"
    assert find(symbol="AAPL", sec_type="STK", exchange="LSE") == []
    assert find(symbol="EUR", sec_type="CASH", currency="USD", exchange="SMART") == []
    assert find(symbol="aapl", sec_type="STK", currency="USD")[0].symbol == "AAPL"


def test_a_stock_is_found_by_its_isin() -> None:
    (apple,) = find(symbol="AAPL", sec_type="STK")
    ((tag, isin),) = apple.sec_ids
    assert find(sec_type="STK", sec_id_type=tag, sec_id=isin) == [apple]
    assert find(sec_type="STK", sec_id_type=tag, sec_id="US0000000000") == []
    assert _isin("US", 37833100) == "US0378331005"  # the real one has the same check digit


def test_nothing_is_known_of_an_unknown_symbol_or_of_none() -> None:
    assert find(symbol="NOSUCH", sec_type="STK") == []
    assert find() == []


def test_permission_is_said_by_the_contract() -> None:
    assert not find(symbol="NOPERM", sec_type="STK")[0].permitted
    assert find(symbol="AAPL", sec_type="STK")[0].permitted


def test_search_finds_symbols_first_and_then_names() -> None:
    assert [one.symbol for one in MARKET.search("gld", NOW_S)] == ["GLD"]
    assert {"AAPL", "AMZN"} <= {one.symbol for one in MARKET.search("a", NOW_S)}
    assert [one.symbol for one in MARKET.search("apple", NOW_S)] == ["AAPL"]
    assert MARKET.search("", NOW_S) == MARKET.search("NOSUCH", NOW_S) == []
    apple = MARKET.search("AAPL", NOW_S)[0]
    assert "CFD" in MARKET.derivatives(apple)


# ---- options --------------------------------------------------------------------------------------------------------


def test_a_chain_lists_expiries_and_strikes_that_resolve() -> None:
    (spy,) = find(symbol="SPY", sec_type="STK")
    chains = MARKET.option_params(spy, NOW_S)
    assert {chain.exchange for chain in chains} >= {"SMART", "CBOE"}
    chain = chains[0]
    assert chain.expirations[:2] == ("20260116", "20260123")
    assert len(chain.strikes) > 20
    price = MARKET.quote(spy, NOW_S).last
    assert chain.strikes[0] < price < chain.strikes[-1]
    question: dict[str, Any] = {
        "symbol": "SPY",
        "sec_type": "OPT",
        "exchange": "SMART",
        "last_trade_date": chain.expirations[-1],
    }
    (call,) = find(**question, strike=chain.strikes[9], right="C")
    assert find(con_id=call.con_id) == [call]
    assert find(local_symbol=call.local_symbol, sec_type="OPT") == [call]
    assert len(find(**question, strike=chain.strikes[9])) == 2
    assert len(find(**question)) == 2 * len(chain.strikes)
    assert find(**question, strike=chain.strikes[9] + 0.1, right="C") == []
    assert MARKET.option_params(call, NOW_S) == []
    assert "OPT" in MARKET.derivatives(spy)


def test_an_option_is_worth_what_its_underlying_makes_of_it() -> None:
    (spy,) = find(symbol="SPY", sec_type="STK")
    spot = MARKET.quote(spy, NOW_S).last
    end = MARKET.option_params(spy, NOW_S)[0].expirations[-1]
    strikes = MARKET.option_params(spy, NOW_S)[0].strikes

    def middle(right: str, strike: float) -> float:
        (one,) = find(symbol="SPY", sec_type="OPT", last_trade_date=end, strike=strike, right=right)
        quote = MARKET.quote(one, NOW_S)
        return (quote.bid + quote.ask) / 2

    calls = [middle("C", strike) for strike in strikes[::8]]
    puts = [middle("P", strike) for strike in strikes[::8]]
    assert calls == sorted(calls, reverse=True)
    assert puts == sorted(puts)
    near = min(strikes, key=lambda strike: abs(strike - spot))
    assert (
        abs(middle("C", near) - middle("P", near) - (spot - near)) < 0.06 * spot
    )  # parity, but for interest and noise


def test_options_have_minutes_but_no_days_and_are_gone_when_they_have_expired() -> None:
    (put,) = find(symbol="AAPL", sec_type="OPT", last_trade_date="20260116", strike=330, right="P")
    day_s = datetime(2026, 1, 13, tzinfo=UTC).timestamp()
    window: dict[str, Any] = {"rth": False, "start_s": day_s, "end_s": day_s + 86400, "now_s": NOW_S}
    assert len(MARKET.bars(put, "1m", "TRADES", **window)) > 100
    assert len(MARKET.bars(put, "1m", "BID", **window)) == 390
    assert MARKET.bars(put, "1d", "TRADES", **window) == []
    assert find(con_id=put.con_id, include_expired=True, now_s=NOW_S + 5 * 86400) == []
