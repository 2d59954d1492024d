"""What a 404 suggests: IB's spelling, other asset classes, venues by the names they have now."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ib_bridge.ib import translate
from ib_bridge.ib.client import Contract
from nautilus.errors import InvalidInput, NotFound
from nautilus.lookup.identity import Lookup, identify
from nautilus.lookup.suggestions import alike, suggestions
from nautilus.market.instrument import ASSET_CLASSES
from nautilus.market.symbols import instrument_id, is_name, leads_back, name_of, renamed_venue, select
from tests.support.markets import many
from tests.support.stored_bars import stock


@pytest.mark.parametrize(
    ("words", "symbol", "asset_class"),
    [
        ({"symbol": "BRK.B"}, "BRK B", "STK"),
        ({"symbol": "brk-b"}, "BRK B", "STK"),
        ({"symbol": "BRK/B"}, "BRK B", "STK"),
        ({"symbol": "BRK_B"}, "BRK B", "STK"),
        ({"symbol": "BF.A"}, "BF A", "STK"),
        ({"instrument_id": "BRK.B.NYSE"}, "BRK B", "STK"),
        ({"symbol": "BAC-PL"}, "BAC PRL", "STK"),
        ({"symbol": "BAM A"}, "BAM.A", "STK"),
        ({"symbol": "ES"}, "ES", "FUT"),
        ({"symbol": "CL"}, "CL", "FUT"),
        ({"symbol": "6E"}, "EUR", "FUT"),
        ({"symbol": "6E", "asset_class": "FUT"}, "EUR", "FUT"),
        ({"symbol": "ES=F"}, "ES", "FUT"),
        ({"symbol": "ESZ6"}, "ESZ6", "FUT"),
        ({"symbol": "SPX"}, "SPX", "IND"),
        ({"symbol": "SPX", "asset_class": "FUT"}, "SPX", "IND"),
        ({"symbol": "^GSPC"}, "SPX", "IND"),
        ({"symbol": "VIX"}, "VIX", "IND"),
        ({"symbol": "VIX"}, "VIX", "FUT"),
        ({"symbol": "EUR.USD"}, "EUR/USD", "CASH"),
        ({"symbol": "EUR-USD"}, "EUR/USD", "CASH"),
        ({"symbol": "EURUSD", "asset_class": "STK"}, "EUR/USD", "CASH"),
        ({"symbol": "USD/EUR"}, "EUR/USD", "CASH"),
        ({"symbol": "BTCUSD"}, "BTC/USD", "CRYPTO"),
        ({"symbol": "BTC-USD"}, "BTC/USD", "CRYPTO"),
        ({"symbol": "BTCUSDT"}, "BTC/USD", "CRYPTO"),
        ({"symbol": "BTC/USD", "asset_class": "CASH"}, "BTC/USD", "CRYPTO"),
        ({"symbol": "ETH"}, "ETH/USD", "CRYPTO"),
        ({"symbol": "XAUUSD"}, "XAUUSD", "CMDTY"),
        ({"symbol": "/ES"}, "ES", "FUT"),
        ({"symbol": "@NQ"}, "NQ", "FUT"),
        ({"symbol": "CME_MINI:ES1!"}, "ES", "FUT"),
        ({"symbol": "I:SPX"}, "SPX", "IND"),
        ({"symbol": "EURUSD=X"}, "EUR/USD", "CASH"),
        ({"symbol": "C:EURUSD"}, "EUR/USD", "CASH"),
        ({"symbol": "BINANCE:BTCUSDT"}, "BTC/USD", "CRYPTO"),
        ({"symbol": "NASDAQ:AAPL"}, "AAPL", "STK"),
        ({"symbol": "AAPL.NASDAQ"}, "AAPL", "STK"),
        ({"symbol": "AAPL.US"}, "AAPL", "STK"),
        ({"symbol": "SPX.CBOE"}, "SPX", "IND"),
        ({"symbol": "ES.GLOBEX"}, "ES", "FUT"),
        ({"symbol": "ESZ6.CME"}, "ESZ6", "FUT"),
        ({"symbol": "aapl:us"}, "AAPL", "STK"),
    ],
)
def test_other_spellings_and_classes_are_suggested(words, symbol, asset_class):
    selector = select(**words)
    with pytest.raises(NotFound) as wrong:
        identify(selector, Lookup((), 200, "No security definition"), "20260306")
    found = wrong.value.extra["suggestions"]
    assert (symbol, asset_class) in [(one["symbol"], one["asset_class"]) for one in found]
    assert "perhaps" in wrong.value.detail
    for one in found:
        again = select(symbol=one["symbol"], asset_class=one["asset_class"], exchange=one.get("exchange"))
        assert again.key != selector.key, "the same again would help nobody"


@pytest.mark.parametrize("words", [{"symbol": "NOSUCH"}, {"symbol": "AAPL"}, {"con_id": 5}, {"symbol": "IBM"}])
def test_nothing_is_suggested_without_a_reason(words):
    assert suggestions(select(**words)) == []


def test_what_is_stored_under_the_symbol_comes_with_its_name():
    index = stock(7, "TNX")._replace(asset_class="IND", instrument_id="TNX.CBOE", primary_exchange="", exchange="CBOE")
    found = suggestions(select(symbol="TNX"), [index])
    assert [(one["symbol"], one["asset_class"], one["instrument_id"]) for one in found] == [("TNX", "IND", "TNX.CBOE")]
    assert {"BRK.B", "BRK B"} <= set(alike(select(symbol="BRK.B")))


def test_a_stored_contract_of_a_future_is_not_suggested_as_the_front_one():
    june = stock(8, "ES")._replace(asset_class="FUT", instrument_id="ESM6.CME", primary_exchange="", exchange="CME")
    found = {
        (one["symbol"], one["asset_class"]): one.get("instrument_id")
        for one in suggestions(select(symbol="ES"), [june])
    }
    assert found == {("ES", "FUT"): "ES.CME", ("ESM6", "FUT"): "ESM6.CME"}


@pytest.mark.parametrize(
    ("exchange", "name", "expected"),
    [
        ("globex", None, ("GLOBEX", "CME")),
        (None, "ES.GLOBEX", ("GLOBEX", "CME")),
        (None, "FDAX.DTB", ("DTB", "EUREX")),
        ("CME", None, None),
        (None, "AAPL.NASDAQ", None),
        (None, None, None),
    ],
)
def test_venues_by_their_old_names(exchange, name, expected):
    assert renamed_venue(exchange, name) == expected


class Description:
    """What IB's symbol search tells of one contract."""

    derivativeSecTypes = ("OPT",)

    def __init__(self, contract):
        self.contract = contract


_SYMBOL = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F), max_size=20)


@many
@given(_SYMBOL, st.sampled_from(ASSET_CLASSES), st.sampled_from(["", "NASDAQ", "CBOE", "OSE.JPN", "X Y"]))
def test_a_name_that_is_taken_for_one_is_accepted_everywhere(symbol, asset_class, venue):
    contract = Contract(conId=1, symbol=symbol, secType=asset_class, primaryExchange=venue, currency="USD")
    row = translate.match(Description(contract))
    if not is_name(row["instrument_id"]):
        with pytest.raises(InvalidInput):
            name_of(row["instrument_id"])
        return
    assert select(instrument_id=row["instrument_id"]).key
    assert is_name(name_of(row["instrument_id"]).text)


@pytest.mark.parametrize(
    ("name", "asset_class", "symbol", "leads"),
    [
        ("AAPL.NASDAQ", "STK", "AAPL", True),
        ("SPX.", "IND", "SPX", False),
        ("SPX.CBOE", "IND", "SPX", True),
        ("DAX.EUREX", "IND", "DAX", False),
        ("AAPL.SMART", "CFD", "AAPL", False),
        ("EUR/USD.IDEALPRO", "CASH", "EUR", True),
        ("ESZ6.CME", "FUT", "ES", True),
        ("IBM.", "BOND", "IBM", False),
    ],
)
def test_a_name_leads_back_or_is_not_taken(name, asset_class, symbol, leads):
    assert leads_back(name, asset_class, symbol) is leads


def test_symbols_with_marks_have_names():
    for symbol in ("BP.", "BRK B", "A+", "S&P", "T'X"):
        named = instrument_id(
            symbol=symbol,
            asset_class="STK",
            currency="USD",
            exchange="SMART",
            primary_exchange="LSE",
            local_symbol=symbol,
            trading_class="",
            expiry="",
        )
        assert name_of(named).text == f"{symbol}.LSE"
        assert select(instrument_id=named).symbol == symbol
