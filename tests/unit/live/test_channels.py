"""Names of channels: what is written can be read again, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.errors import InvalidInput
from nautilus.live.channels import Channel, bars, parse, quotes
from nautilus.market.timeframes import NAMES

ids = st.sampled_from(["AAPL.NASDAQ", "BRK B.NYSE", "BRK.B.NYSE", "EUR/USD.IDEALPRO", "ES-X.CME", "ESZ6.CME"])


@given(
    ids,
    st.sampled_from(NAMES),
    st.sampled_from(["TRADES", "MIDPOINT", "BID", "ASK"]),
    st.sampled_from(["", "rth", "all"]),
)
def test_a_channel_of_bars_is_read_as_it_was_written(name: str, frame: str, price: str, session: str) -> None:
    channel = bars(name, frame, price, session)
    assert parse(channel.name) == channel
    assert channel.price_kind("STK") == price


@given(ids)
def test_a_channel_of_quotes_is_read_as_it_was_written(name: str) -> None:
    assert parse(quotes(name).name) == quotes(name)


def test_names_are_those_of_nautilustrader() -> None:
    assert bars("AAPL.NASDAQ", "1m", "TRADES").name == "data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL"
    assert bars("EUR/USD.IDEALPRO", "1M", "MIDPOINT").name == "data.bars.EUR/USD.IDEALPRO-1-MONTH-MID-EXTERNAL"
    assert quotes("AAPL.NASDAQ").name == "data.quotes.NASDAQ.AAPL"
    assert parse("events.series.7") == Channel("events.series", subject="7")


def test_the_last_price_of_a_coin_is_its_own_kind() -> None:
    assert bars("BTC/USD.PAXOS", "1m", "AGGTRADES").price == "LAST"
    assert parse("data.bars.BTC/USD.PAXOS-1-MINUTE-LAST-EXTERNAL").price_kind("CRYPTO") == "AGGTRADES"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is no channel"),
        ("data.bars.", "is no channel"),
        ("data.depth.NASDAQ.AAPL", "allowed: data.bars"),
        ("data.quotes.AAPL", "names no instrument"),
        ("data.quotes.NASDAQ.", "names no instrument"),
        ("data.bars.AAPL.NASDAQ", "no channel of bars"),
        ("data.bars.AAPL-1-MINUTE-LAST-EXTERNAL", "no channel of bars"),
        ("data.bars.AAPL.NASDAQ-1-MINUTE-LAST-INTERNAL", "no channel of bars"),
        ("data.bars.AAPL.NASDAQ-7-MINUTE-LAST-EXTERNAL", "7-MINUTE is not a timeframe"),
        ("data.bars.AAPL.NASDAQ-1-TICK-LAST-EXTERNAL", "1-TICK is not a timeframe"),
        ("data.bars.AAPL.NASDAQ-1-MINUTE-OPEN-EXTERNAL", "'OPEN' is not a price"),
        ("data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL@night", "'night' is not a session"),
        ("data.quotes.NASDAQ." + "A" * 200, "too long"),
        ("events.series.-1", "names no series (allowed: events.series.<number of a series>)"),
        ("events.series.0", "names no series"),
        ("events.series.٣", "names no series"),
        ("events.series.7x", "names no series"),
        ("events.job.7", "is no channel"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name: str, says: str) -> None:
    with pytest.raises(InvalidInput, match="channel") as refused:
        parse(name)
    assert says in refused.value.detail


def test_a_kind_without_live_bars_is_refused() -> None:
    with pytest.raises(InvalidInput, match="BID_ASK"):
        bars("AAPL.NASDAQ", "1m", "BID_ASK")
