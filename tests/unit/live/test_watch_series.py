"""Series of the watch list in one word, and what can be had live at all."""

import pytest

from nautilus.errors import InvalidInput
from nautilus.live import offered
from nautilus.live.subscriptions import StreamKey
from nautilus.live.watch_series import MAX_WATCHED, WatchSeries, parse, parse_list
from nautilus.market.instrument import Instrument
from nautilus.settings.base import WatchSettings
from tests.support.stored_bars import stock


@pytest.mark.parametrize(
    ("text", "series"),
    [
        ("AAPL.NASDAQ:1m", WatchSeries("AAPL.NASDAQ", "1m")),
        (" aapl.nasdaq:5s ", WatchSeries("AAPL.NASDAQ", "5s")),
        ("EUR/USD.IDEALPRO:1m:MIDPOINT", WatchSeries("EUR/USD.IDEALPRO", "1m", "MIDPOINT")),
        ("AAPL.NASDAQ:8h:TRADES:all", WatchSeries("AAPL.NASDAQ", "8h", "TRADES", "all")),
        ("AAPL.NASDAQ:1h::all", WatchSeries("AAPL.NASDAQ", "1h", "", "all")),
        ("A:1m.NYSE:5m", WatchSeries("A:1M.NYSE", "5m")),
    ],
)
def test_a_series_is_one_word(text: str, series: WatchSeries) -> None:
    assert parse(text) == series
    assert parse(series.text) == series


@pytest.mark.parametrize(
    ("text", "field", "allowed"),
    [
        ("", "series", "AAPL.NASDAQ:1m"),
        ("AAPL.NASDAQ", "series", "AAPL.NASDAQ:1m"),
        ("1m", "series", "AAPL.NASDAQ:1m"),
        ("AAPL.NASDAQ:7m", "series", "AAPL.NASDAQ:1m"),
        ("AAPL.NASDAQ:1m:TRADES:all:more", "series", "AAPL.NASDAQ:1m"),
        ("AAPL:1m", "instrument_id", "AAPL.NASDAQ"),
        ("AAPL.NASDAQ:1s", "timeframe", "5s"),
        ("AAPL.NASDAQ:30s", "timeframe", "1m"),
        ("AAPL.NASDAQ:1d", "timeframe", "8h"),
        ("AAPL.NASDAQ:1M", "timeframe", "8h"),
        ("AAPL.NASDAQ:1m:BID_ASK", "price", "MIDPOINT"),
        ("AAPL.NASDAQ:1m:trades", "price", "TRADES"),
        ("AAPL.NASDAQ:1m:TRADES:night", "session", "rth"),
    ],
)
def test_what_is_no_series_is_told_with_what_is_allowed(text: str, field: str, allowed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    (error,) = refused.value.errors
    assert error.field == field
    assert allowed in (error.allowed or ())


def test_a_list_has_each_series_once_and_not_too_many() -> None:
    with pytest.raises(InvalidInput, match=r"AAPL\.NASDAQ:1m stands twice"):
        parse_list(["AAPL.NASDAQ:1m", "MSFT.NASDAQ:1m", "aapl.nasdaq:1m"])
    many = [f"S{n}.NYSE:1m" for n in range(MAX_WATCHED + 1)]
    with pytest.raises(InvalidInput, match=f"at most {MAX_WATCHED}"):
        parse_list(many)
    assert len(parse_list(many[1:])) == MAX_WATCHED


def test_a_setting_with_a_word_that_is_no_series_is_refused_at_the_start() -> None:
    given = {"live_watch": "AAPL.NASDAQ:1m, EUR/USD.IDEALPRO:5m ,"}
    assert WatchSettings.model_validate(given).watched == (
        WatchSeries("AAPL.NASDAQ", "1m"),
        WatchSeries("EUR/USD.IDEALPRO", "5m"),
    )
    assert WatchSettings().watched == ()
    with pytest.raises(ValueError, match="timeframe: 1d is not kept current"):
        WatchSettings.model_validate({"live_watch": "AAPL.NASDAQ:1d"})


def test_what_can_be_had_live() -> None:
    assert offered.LIVE_TIMEFRAMES[:3] == ("5s", "1m", "2m")
    assert offered.LIVE_TIMEFRAMES[-3:] == ("1d", "1w", "1M")
    assert offered.live_timeframe("1 min").name == "1m"
    for name in ("1s", "10s", "15s", "30s", "7m"):
        with pytest.raises(InvalidInput) as refused:
            offered.live_timeframe(name)
        assert refused.value.errors[0].field == "timeframe"


def test_a_want_is_served_by_one_stream() -> None:
    assert offered.stream_of(7, "quotes") == StreamKey(7, "quotes")
    assert offered.stream_of(7, "ticks", price="BID_ASK") == StreamKey(7, "ticks", "BID_ASK")
    assert offered.stream_of(7, "ticks") == offered.stream_of(7, "ticks", price="TRADES")
    assert offered.stream_of(7, "bars", "5s", price="TRADES", session="rth") == StreamKey(7, "bars:5s", "TRADES", "rth")
    for frame in ("1m", "1h", "1d", "1M"):
        assert offered.stream_of(7, "bars", frame, price="TRADES", session="all") == StreamKey(
            7, "bars:1m", "TRADES", "all"
        )


def test_a_want_has_a_channel() -> None:
    assert offered.channel_of(stock(), "quotes").name == "data.quotes.NASDAQ.AAPL"
    assert offered.channel_of(stock(), "ticks").name == "data.trades.NASDAQ.AAPL"
    assert offered.channel_of(stock(), "ticks", price="BID_ASK").name == "data.quote_ticks.NASDAQ.AAPL"
    assert offered.channel_of(stock(), "ticks", price="MIDPOINT").name == "data.midpoint_ticks.NASDAQ.AAPL"
    usual = offered.channel_of(stock(), "bars", "1m", price="TRADES", session="rth").name
    assert usual == "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
    assert offered.channel_of(stock(), "bars", "1m", price="TRADES", session="all").name == f"{usual}@all"


def of_class(asset_class: str) -> Instrument:
    return stock()._replace(asset_class=asset_class, instrument_id="X.Y")


@pytest.mark.parametrize(
    ("asset_class", "prices"),
    [
        ("STK", ("TRADES", "MIDPOINT", "BID", "ASK")),
        ("CASH", ("MIDPOINT", "BID", "ASK")),
        ("IND", ("TRADES",)),
        ("CRYPTO", ("AGGTRADES", "MIDPOINT", "BID", "ASK")),
    ],
)
def test_an_error_about_a_price_names_the_live_ones_of_the_asset_class(
    asset_class: str, prices: tuple[str, ...]
) -> None:
    for given in {"TRADES", "AGGTRADES", "BID_ASK", "BID", "middle"} - set(prices):
        with pytest.raises(InvalidInput) as refused:
            offered.live_price(of_class(asset_class), given)
        (error,) = refused.value.errors
        assert (error.field, tuple(error.allowed or ())) == ("price", prices)
    assert offered.live_price(of_class(asset_class), None) == prices[0]


QUOTED, ALL_TICKS = ("BID_ASK", "MIDPOINT"), ("TRADES", "BID_ASK", "MIDPOINT")
TICKS_OF = {
    **dict.fromkeys(("STK", "FUT", "CRYPTO", "BOND"), ALL_TICKS),
    **dict.fromkeys(("CASH", "CFD", "CMDTY"), QUOTED),
}


@pytest.mark.parametrize(("asset_class", "prices"), TICKS_OF.items())
def test_ticks_are_of_what_ib_has_of_an_asset_class(asset_class: str, prices: tuple[str, ...]) -> None:
    one = of_class(asset_class)
    assert offered.tick_prices(one) == prices
    assert offered.tick_price(one, None) == prices[0]
    assert [offered.tick_price(one, price.lower()) for price in prices] == list(prices)
    for given in {*ALL_TICKS, "BID", "AGGTRADES", "each"} - set(prices):
        with pytest.raises(InvalidInput) as refused:
            offered.tick_price(one, given)
        (error,) = refused.value.errors
        assert (error.field, error.allowed) == ("price", prices)


@pytest.mark.parametrize(
    ("asset_class", "why"), [("OPT", "options"), ("FOP", "options"), ("IND", "indices of the CME")]
)
def test_ticks_that_ib_has_not_are_refused_before_anybody_asks_for_them(asset_class: str, why: str) -> None:
    one = of_class(asset_class)._replace(exchange="CBOE")
    for given in (None, *ALL_TICKS):
        with pytest.raises(InvalidInput, match=why) as refused:
            offered.tick_price(one, given)
        (error,) = refused.value.errors
        assert (error.field, error.allowed) == ("kind", ("quotes", "bars"))


def test_an_index_of_the_cme_has_ticks_of_its_value_and_of_no_quotes() -> None:
    one = of_class("IND")._replace(exchange="CME")
    assert offered.tick_prices(one) == ("TRADES",)
    with pytest.raises(InvalidInput, match="no quotes of IND"):
        offered.tick_price(one, "BID_ASK")
