"""Digits of other alphabets are no digits here, and letters that only become ASCII in upper case are no letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ib_bridge.ib import translate
from ib_gateway_sim.rules.bar_sizes import duration
from ib_gateway_sim.rules.dates import moment
from ib_gateway_sim.rules.errors import Violation
from ib_gateway_sim.wire.decoding import read_request
from ib_gateway_sim.wire.request import Malformed
from nautilus.backfill.schemas import BackfillRequest
from nautilus.clock import nanoseconds
from nautilus.errors import InvalidInput
from nautilus.market.instrument import ASSET_CLASSES, price_kind
from nautilus.market.symbols import select
from nautilus.settings.bridge import _days_by_timeframe
from tests.support.markets import many

FOREIGN = {
    "full-width": "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19",
    "Arabic": "\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669",
    "Devanagari": "\u0966\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e\u096f",
    "raised": "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079",
}


@pytest.fixture(params=list(FOREIGN.values()), ids=list(FOREIGN))
def foreign(request):
    """A table for str.translate from ASCII digits to others."""
    return str.maketrans("0123456789", request.param)


def test_a_contract_month_has_ascii_digits(foreign):
    with pytest.raises(InvalidInput, match="yyyymm, yyyymmdd"):
        select(symbol="ES", asset_class="FUT", expiry="202612".translate(foreign))


@pytest.mark.parametrize(
    "expiry", ["202613", "202600", "20261301", "20260230", "20261232", "000012", "2026120", "-02612"]
)
def test_a_contract_month_exists(expiry):
    with pytest.raises(InvalidInput, match="yyyymm, yyyymmdd") as wrong:
        select(symbol="ES", asset_class="FUT", expiry=expiry)
    assert wrong.value.errors[0].field == "expiry"


@pytest.mark.parametrize("expiry", ["202612", "20261218", "20240229", "197001"])
def test_months_and_days_that_exist_are_taken(expiry):
    assert select(symbol="ES", asset_class="FUT", expiry=expiry).expiry == expiry


def test_times_durations_and_settings_have_ascii_digits(foreign):
    for text in ("1704465000000000000", "2024-01-05T14:30:00Z"):
        with pytest.raises(ValueError, match="RFC 3339"):
            nanoseconds(text.translate(foreign))
    for body in ({"duration": "30 D"}, {"days_back": "30"}, {"priority": "4"}):
        found = {name: value.translate(foreign) for name, value in body.items()}
        with pytest.raises(ValidationError):
            BackfillRequest.model_validate({"symbol": "AAPL", **found})
    with pytest.raises(ValueError, match="timeframe=days"):
        _days_by_timeframe("1s=30".translate(foreign).replace("1s".translate(foreign), "1s"))


def test_a_duration_ends_with_its_unit():
    with pytest.raises(ValidationError):
        BackfillRequest.model_validate({"symbol": "AAPL", "duration": "30 D\nand more"})


def test_names_have_ascii_digits(foreign):
    for name in ("MANY01", "ESZ6"):
        with pytest.raises(InvalidInput):
            select(symbol=name.translate(foreign))
    with pytest.raises(InvalidInput):
        select(instrument_id="ESZ6.CME".translate(foreign))


@pytest.mark.parametrize(
    "words",
    [
        {"symbol": "\u00dfP"},
        {"symbol": "\ufb01V"},
        {"symbol": "A\u017f"},
        {"symbol": "AAPL", "asset_class": "\u017fTK"},
        {"symbol": "AAPL", "exchange": "I\u017fLAND"},
        {"symbol": "AAPL", "currency": "U\u017fD"},
        {"instrument_id": "AAPL.I\u017fLAND"},
        {"instrument_id": "A\u0131.NASDAQ"},
        {"instrument_id": "AAPL.NAS DAQ"},
    ],
)
def test_letters_that_become_ascii_in_upper_case_are_refused(words):
    with pytest.raises(InvalidInput):
        select(**words)


def test_a_price_kind_is_ascii():
    with pytest.raises(InvalidInput):
        price_kind("STK", "TRADE\u017f")


@many
@given(st.text(max_size=12), st.sampled_from([None, *ASSET_CLASSES]), st.text(max_size=8))
def test_what_a_lookup_holds_is_ascii(text, asset_class, expiry):
    try:
        found = select(symbol=text, asset_class=asset_class, expiry=expiry)
    except InvalidInput:
        return
    assert found.key.isascii()
    assert "".join(text.split()).isascii(), "spaces of any kind are spaces; letters and digits are ASCII"
    assert found.key == found.key.upper().replace("|FRONT", "|front").replace("|LOCAL=", "|local=")


def test_ibs_own_texts_are_read_by_ascii_digits(foreign):
    assert translate.last_day("20260302:0930-20260302:1600".translate(foreign), "UTC") == 0
    assert translate.head("1700000000".translate(foreign)) is None


def test_the_simulator_refuses_other_digits_as_ib_does(foreign):
    assert isinstance(duration("30 D".translate(foreign)), Violation)
    found = moment("20260302-15:00:00".translate(foreign), field_name="endDateTime", login_zone="UTC", now_s=0)
    assert isinstance(found, Violation)
    with pytest.raises(Malformed):
        read_request(f"{'49'.translate(foreign)}\x001\x00".encode(), 178)
