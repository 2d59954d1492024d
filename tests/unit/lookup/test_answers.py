"""What a lookup's answer means: contracts that expire, names that several share, words that change hands."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.errors import Conflict, NotFound
from nautilus.lookup.identity import Lookup, change_of, identify, identify_by_name
from nautilus.market.instrument import ASSET_CLASSES
from nautilus.market.symbols import InstrumentName, Selector, select
from tests.support.markets import many
from tests.support.stored_bars import stock

TODAY = "20260306"
THEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = InstrumentName("AAPL.NASDAQ")
AAPL = select(symbol="AAPL")


def future(con_id, expiry):
    return stock(con_id)._replace(
        asset_class="FUT", symbol="ES", instrument_id="ESZ6.CME", exchange="CME", primary_exchange="", expiry=expiry
    )


_TEXT = st.text("ABCXYZ019./-_ ^&", min_size=1, max_size=12)


@many
@given(
    st.builds(
        Selector,
        st.sampled_from(ASSET_CLASSES),
        _TEXT,
        st.sampled_from(["", "USD"]),
        st.sampled_from(["", "202612", "20261218"]),
        st.sampled_from(["", "ESZ6", "ZN DEC 26"]),
        st.sampled_from([0, 5]),
    )
)
def test_a_key_leads_back_to_its_question(selector):
    assert Selector.of_key(selector.key).key == selector.key
    assert Selector.of_key(selector.key).front == selector.front


def test_the_age_and_ibs_later_refusal_stand_beside_the_contract():
    found = identify(AAPL, Lookup((stock(1),), 200, "No security definition", THEN), TODAY)
    assert found is not None
    assert found.as_dict() == {
        "instrument": {
            "con_id": 1,
            "checked_at": "2026-03-01T12:00:00.000000Z",
            "upstream": {"system": "ib", "code": 200, "text": "No security definition"},
        }
    }
    with pytest.raises(NotFound):
        identify(AAPL, Lookup((), 200, "No security definition"), TODAY)


def test_words_that_mean_another_contract_tell_both():
    found = identify(AAPL, Lookup((stock(2),), former=(stock(1),), changed_at=THEN), TODAY)
    assert found is not None
    assert found.instrument.con_id == 2
    result = found.as_dict()["instrument_changed"]
    assert (result["from_con_id"], result["to_con_id"], result["seen_at"]) == (1, 2, "2026-03-01T12:00:00.000000Z")


@pytest.mark.parametrize(
    ("former", "now", "expected"),
    [
        ((), (2,), None),
        ((1,), (1,), None),
        ((1,), (2,), (1, 2)),
        ((1, 3), (2,), None),
        ((1,), (2, 3), None),
    ],
)
def test_a_change_is_one_contract_for_another(former, now, expected):
    lookup = Lookup(tuple(map(stock, now)), former=tuple(map(stock, former)))
    change = change_of(AAPL, lookup)
    assert (change and (change.before.con_id, change.now.con_id)) == expected


def test_a_hint_chooses_before_and_after_a_change():
    tokyo = stock(9)._replace(primary_exchange="TSE", instrument_id="AAPL.TSE")
    lookup = Lookup((stock(2), tokyo), former=(stock(1), tokyo))
    change = change_of(select(instrument_id="AAPL.NASDAQ"), lookup)
    assert change is not None
    assert (change.before.con_id, change.now.con_id) == (1, 2)
    assert change_of(select(instrument_id="AAPL.TSE"), lookup) is None


def test_a_front_contract_that_is_over_is_not_answered_from():
    front = select(symbol="ES", asset_class="FUT")
    assert identify(front, Lookup((future(1, "20260305"),)), TODAY) is None
    found = identify(front, Lookup((future(1, "20260306"),)), TODAY)
    assert found is not None, "it trades on its last day"
    by_month = select(symbol="ES", asset_class="FUT", expiry="202512")
    assert identify(by_month, Lookup((future(1, "20251219"),)), TODAY) is not None, "expired ones are asked for by name"


def test_of_contracts_that_share_a_name_the_one_that_trades_is_meant():
    name = InstrumentName("ESZ6.CME")
    words = select(instrument_id="ESZ6.CME")
    both = Lookup((future(1, "20161216"), future(2, "20261218")), checked_at=THEN)
    found = identify_by_name(name, both, words, found=None, today=TODAY)
    assert found is not None
    assert (found.instrument.con_id, found.checked_at) == (2, THEN)
    over = Lookup((future(1, "20061215"), future(2, "20161216")))
    found = identify_by_name(name, over, words, found=None, today=TODAY)
    assert found is not None
    assert found.instrument.con_id == 2, "of expired ones the newest"
    assert identify_by_name(name, Lookup(()), words, found=None, today=TODAY) is None


def test_a_name_that_several_unexpired_contracts_share_is_ambiguous():
    both = Lookup((stock(1), stock(2)))
    with pytest.raises(Conflict) as wrong:
        identify_by_name(NAME, both, AAPL, found=None, today=TODAY)
    assert wrong.value.code == "ambiguous-instrument"
    assert [one["con_id"] for one in wrong.value.extra["candidates"]] == [1, 2]


def test_hints_choose_between_contracts_of_one_name():
    both = Lookup((stock(1), stock(2)._replace(currency="CAD"), stock(3)._replace(asset_class="CFD")))
    found = identify_by_name(NAME._replace(currency="CAD"), both, AAPL, found=None, today=TODAY)
    assert found is not None
    assert found.instrument.con_id == 2
    found = identify_by_name(NAME._replace(asset_class="CFD"), both, AAPL, found=None, today=TODAY)
    assert found is not None
    assert found.instrument.con_id == 3
