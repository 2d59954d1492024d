"""Names: a person's words become one lookup, and IB's contract becomes one name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.errors import Conflict, InvalidInput
from nautilus.market.instrument import ASSET_CLASSES, PRICE_KINDS, Instrument, price_kind, session_kind
from nautilus.market.symbols import Selector, choose, instrument_id, select
from tests.support.markets import many

AAPL = Instrument(
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
    time_zone="US/Eastern",
    calendar="NASDAQ",
)


# ---- from words to a lookup ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"symbol": "AAPL"}, Selector("STK", "AAPL", "USD")),
        ({"symbol": " aapl "}, Selector("STK", "AAPL", "USD")),
        ({"symbol": "BRK.B"}, Selector("STK", "BRK.B", "USD")),
        ({"symbol": "BRK B"}, Selector("STK", "BRK B", "USD")),
        ({"symbol": "SAP", "currency": "eur", "exchange": "ibis"}, Selector("STK", "SAP", "EUR", exchange_hint="IBIS")),
        ({"symbol": "AAPL", "exchange": "ISLAND"}, Selector("STK", "AAPL", "USD", exchange_hint="NASDAQ")),
        ({"symbol": "EUR/USD"}, Selector("CASH", "EUR", "USD")),
        ({"symbol": "EURUSD"}, Selector("CASH", "EUR", "USD")),
        ({"symbol": "eur.usd", "asset_class": "forex"}, Selector("CASH", "EUR", "USD")),
        ({"symbol": "EUR", "asset_class": "CASH", "currency": "GBP"}, Selector("CASH", "EUR", "GBP")),
        ({"symbol": "USDTHB", "asset_class": "CASH"}, Selector("CASH", "USD", "THB")),
        ({"symbol": "EURUSD", "asset_class": "STK"}, Selector("STK", "EURUSD", "USD")),
        ({"symbol": "BTC/USD"}, Selector("CRYPTO", "BTC", "USD")),
        ({"symbol": "BTC", "asset_class": "CRYPTO"}, Selector("CRYPTO", "BTC", "USD")),
        ({"symbol": "BTCUSD", "asset_class": "CRYPTO"}, Selector("CRYPTO", "BTC", "USD")),
        ({"symbol": "ES", "asset_class": "FUT"}, Selector("FUT", "ES", "")),
        (
            {"symbol": "ES", "asset_class": "CONTFUT", "exchange": "GLOBEX"},
            Selector("FUT", "ES", "", exchange_hint="CME"),
        ),
        ({"symbol": "ES", "asset_class": "FUT", "expiry": "202612"}, Selector("FUT", "ES", "", "202612")),
        ({"symbol": "IBEX35", "asset_class": "FUT", "expiry": "202612"}, Selector("FUT", "IBEX35", "", "202612")),
        ({"instrument_id": "ES.CME", "expiry": "202612"}, Selector("FUT", "ES", "", "202612", venue="CME")),
        ({"symbol": "M2K", "asset_class": "FUT"}, Selector("FUT", "M2K", "")),
        ({"symbol": "N225", "asset_class": "FUT", "currency": "JPY"}, Selector("FUT", "N225", "JPY")),
        ({"symbol": "ESZ6", "asset_class": "FUT"}, Selector("FUT", "", local_symbol="ESZ6")),
        ({"symbol": "M2KH27", "asset_class": "FUT"}, Selector("FUT", "", local_symbol="M2KH27")),
        ({"symbol": "ZN   DEC 26", "asset_class": "FUT"}, Selector("FUT", "", local_symbol="ZN DEC 26")),
        ({"symbol": "SPX", "asset_class": "IND"}, Selector("IND", "SPX", "")),
        ({"instrument_id": "AAPL.NASDAQ"}, Selector("STK", "AAPL", venue="NASDAQ")),
        ({"instrument_id": "BRK.B.NYSE"}, Selector("STK", "BRK.B", venue="NYSE")),
        ({"instrument_id": "EUR/USD.IDEALPRO"}, Selector("CASH", "EUR", "USD", venue="IDEALPRO")),
        ({"instrument_id": "BTC/USD.PAXOS"}, Selector("CRYPTO", "BTC", "USD", venue="PAXOS")),
        ({"instrument_id": "ESZ6.CME"}, Selector("FUT", "", local_symbol="ESZ6", venue="CME")),
        ({"instrument_id": "esz6.globex"}, Selector("FUT", "", local_symbol="ESZ6", venue="CME")),
        ({"instrument_id": "ES.CME"}, Selector("FUT", "ES", venue="CME")),
        ({"instrument_id": "SPX.CBOE"}, Selector("IND", "SPX", venue="CBOE")),
        ({"con_id": 265598}, Selector("", "", con_id=265598)),
    ],
)
def test_words_mean_one_lookup(words, expected):
    assert select(**words) == expected


@pytest.mark.parametrize(
    ("words", "field", "says"),
    [
        ({}, "symbol", "either symbol or instrument_id or con_id"),
        ({"symbol": "", "instrument_id": ""}, "symbol", "either symbol or instrument_id"),
        ({"symbol": "AAPL", "instrument_id": "AAPL.NASDAQ"}, "symbol", "either symbol or instrument_id"),
        ({"symbol": "AAPL", "asset_class": "SHARE"}, "asset_class", "STK, CASH, FUT"),
        ({"symbol": "ES", "asset_class": "FUT", "expiry": "DEC26"}, "expiry", "yyyymm, yyyymmdd"),
        ({"con_id": 5, "expiry": "202613"}, "expiry", "yyyymm, yyyymmdd"),
        ({"con_id": 5, "asset_class": "SHARE"}, "asset_class", "STK"),
        ({"con_id": 5, "currency": "US$"}, "currency", "USD"),
        ({"con_id": 5, "exchange": "N?"}, "exchange", "NASDAQ"),
        ({"instrument_id": "AAPL.NASDAQ", "currency": "US$"}, "currency", "USD"),
        ({"instrument_id": "AAPL.NASDAQ", "exchange": "N?"}, "exchange", "NASDAQ"),
        *(
            ({**words, "expiry": "202612"}, "expiry", "has no contract month")
            for words in (
                {"con_id": 5},
                {"symbol": "AAPL"},
                {"symbol": "EUR/USD"},
                {"symbol": "EURUSD"},
                {"symbol": "SPX", "asset_class": "IND"},
                {"instrument_id": "EUR/USD.IDEALPRO"},
                {"instrument_id": "AAPL.NASDAQ"},
                {"instrument_id": "SPX.CBOE"},
                {"instrument_id": "ESZ6.CME"},
            )
        ),
        ({"symbol": "EUR", "asset_class": "CASH"}, "symbol", "EUR/USD, EURUSD"),
        ({"symbol": "A;B"}, "symbol", "letters, digits"),
        ({"symbol": "ÄPPEL"}, "symbol", "letters, digits"),
        ({"symbol": "A" * 41}, "symbol", "at most 40"),
        ({"instrument_id": "AAPL"}, "instrument_id", "SYMBOL.VENUE"),
        ({"instrument_id": ".NASDAQ"}, "instrument_id", "SYMBOL.VENUE"),
        ({"instrument_id": "AAPL."}, "instrument_id", "SYMBOL.VENUE"),
    ],
)
def test_words_that_make_no_sense_name_the_field_and_what_is_allowed(words, field, says):
    with pytest.raises(InvalidInput, match=says) as wrong:
        select(**words)
    assert wrong.value.errors[0].field == field


@many
@given(st.text(max_size=50), st.sampled_from([None, *ASSET_CLASSES]), st.booleans())
def test_any_words_are_a_lookup_or_a_field_error(text, asset_class, by_id):
    words = {"instrument_id" if by_id else "symbol": text, "asset_class": asset_class}
    try:
        found = select(**words)
    except InvalidInput:
        return  # any other exception would be a fault of ours
    assert found.key
    assert found.symbol or found.local_symbol


def test_one_question_has_one_key_whichever_way_it_is_asked():
    assert select(symbol="EURUSD").key == select(symbol="EUR/USD").key == select(instrument_id="EUR/USD.IDEALPRO").key
    assert select(symbol="ESZ6", asset_class="FUT").key == select(instrument_id="ESZ6.CME").key == "FUT|local=ESZ6"
    assert select(symbol="AAPL", exchange="NASDAQ").key == select(symbol="aapl", exchange="NYSE").key, (
        "hints are no keys"
    )
    assert select(symbol="ES", asset_class="FUT").key != select(symbol="ES", asset_class="FUT", expiry="202612").key
    assert select(con_id=7).key == "conId=7"


def test_a_selector_travels_as_a_dict_and_reads_as_words():
    for words in ({"symbol": "EURUSD"}, {"instrument_id": "ESZ6.CME"}, {"con_id": 5}, {"symbol": "A", "exchange": "X"}):
        selector = select(**words)
        assert Selector.of(selector.as_dict()) == selector
    assert select(symbol="AAPL").words == "AAPL (STK)"
    assert select(instrument_id="ESZ6.CME").words == "ESZ6 (FUT)"
    assert select(con_id=5).words == "con_id 5"


# ---- from a contract to a name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        ({"symbol": "AAPL", "exchange": "SMART", "primary_exchange": "NASDAQ"}, "AAPL.NASDAQ"),
        ({"symbol": "AAPL", "exchange": "SMART", "primary_exchange": "ISLAND"}, "AAPL.NASDAQ"),
        ({"symbol": "SAP", "exchange": "IBIS", "primary_exchange": "IBIS"}, "SAP.IBIS"),
        ({"symbol": "EUR", "asset_class": "CASH", "exchange": "IDEALPRO"}, "EUR/USD.IDEALPRO"),
        ({"symbol": "BTC", "asset_class": "CRYPTO", "exchange": "PAXOS"}, "BTC/USD.PAXOS"),
        ({"symbol": "SPX", "asset_class": "IND", "exchange": "CBOE"}, "SPX.CBOE"),
        (
            {"symbol": "ES", "asset_class": "FUT", "exchange": "CME", "local_symbol": "ESZ6", "expiry": "20261218"},
            "ESZ6.CME",
        ),
        ({"symbol": "ES", "asset_class": "FUT", "exchange": "GLOBEX", "local_symbol": "ESZ6"}, "ESZ6.CME"),
        (
            {
                "symbol": "ZN",
                "asset_class": "FUT",
                "exchange": "ECBOT",
                "local_symbol": "ZN   DEC 26",
                "trading_class": "ZN",
                "expiry": "20261221",
            },
            "ZNZ6.CBOT",
        ),
        (
            {"symbol": "AAPL", "asset_class": "OPT", "exchange": "SMART", "local_symbol": "AAPL  261218C00200000"},
            "AAPL 261218C00200000.SMART",
        ),
    ],
)
def test_names_are_symbol_and_venue(contract, name):
    usual = {"asset_class": "STK", "currency": "USD", "primary_exchange": "", "local_symbol": "", "trading_class": ""}
    assert instrument_id(**{"expiry": "", **usual, **contract}) == name


def test_a_name_leads_back_to_its_instrument():
    assert select(instrument_id=AAPL.instrument_id).symbol == AAPL.symbol
    assert AAPL.display_symbol == "AAPL"
    assert AAPL._replace(symbol="EUR", asset_class="CASH").display_symbol == "EUR/USD"


# ---- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asset_class", "kind"),
    [
        ("STK", "TRADES"),
        ("FUT", "TRADES"),
        ("IND", "TRADES"),
        ("OPT", "TRADES"),
        ("CASH", "MIDPOINT"),
        ("CRYPTO", "AGGTRADES"),
    ],
)
def test_the_default_price_kind(asset_class, kind):
    assert price_kind(asset_class, None) == price_kind(asset_class, "") == kind


@pytest.mark.parametrize(
    ("asset_class", "requested"),
    [
        ("IND", "MIDPOINT"),
        ("CASH", "TRADES"),
        ("CRYPTO", "TRADES"),
        ("STK", "AGGTRADES"),
        ("STK", "LAST"),
        ("CFD", "TRADES"),
    ],
)
def test_a_price_kind_that_does_not_exist_names_those_that_do(asset_class, requested):
    with pytest.raises(InvalidInput) as wrong:
        price_kind(asset_class, requested)
    allowed = wrong.value.errors[0].allowed
    assert allowed
    assert requested not in allowed
    assert set(allowed) <= set(PRICE_KINDS)
    assert all(price_kind(asset_class, kind.lower()) == kind for kind in allowed)


def test_sessions():
    assert {c: session_kind(c, None) for c in ("STK", "IND", "FUT", "CASH", "CRYPTO")} == {
        "STK": "rth",
        "IND": "rth",
        "FUT": "all",
        "CASH": "all",
        "CRYPTO": "all",
    }
    assert session_kind("STK", " ALL ") == "all"
    with pytest.raises(InvalidInput, match="rth, all"):
        session_kind("STK", "pre")


# ---- choosing --------------------------------------------------------------------------------------------------------

IN_FRANKFURT = AAPL._replace(
    con_id=2, instrument_id="AAPL.IBIS", exchange="IBIS", primary_exchange="IBIS", currency="EUR"
)


def test_one_candidate_is_it_whatever_the_hint():
    assert choose(select(symbol="AAPL", exchange="NYSE"), [AAPL]) is AAPL
    assert choose(select(symbol="AAPL"), iter([])) is None


def test_a_hint_chooses_between_several():
    both = [AAPL, IN_FRANKFURT]
    assert choose(select(symbol="AAPL", exchange="IBIS"), both) is IN_FRANKFURT
    assert choose(select(symbol="AAPL", exchange="ISLAND"), both) is AAPL


@pytest.mark.parametrize("hint", [None, "NYSE"])
def test_several_without_a_hint_that_helps_are_a_conflict_with_candidates(hint):
    with pytest.raises(Conflict, match=r"AAPL.NASDAQ \(USD\), AAPL.IBIS \(EUR\)") as several:
        choose(select(symbol="AAPL", exchange=hint), [AAPL, IN_FRANKFURT])
    assert several.value.code == "ambiguous-instrument"
    assert [c["instrument_id"] for c in several.value.extra["candidates"]] == ["AAPL.NASDAQ", "AAPL.IBIS"]
