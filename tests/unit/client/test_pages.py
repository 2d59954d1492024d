"""Pages of bars: one that is cut, that repeats something, or is of another version is never a shorter frame."""

import json

import pytest

from nautilus_client.columns import USUAL
from nautilus_client.errors import BrokenAnswer, VersionChanged
from nautilus_client.messages import Answer
from nautilus_client.pages import Chain, Gap, info_of, merged_info, page_of

FIELDS = ("ts", "close", "volume")


def described(*, version=3, token=None, total=0, source="sim:7", missing=()):
    return {
        "symbol": "AAPL",
        "timeframe": "1m",
        "total": total,
        "source": source,
        "store": "sim:7",
        "instrument_id": "AAPL.NASDAQ",
        "price": "TRADES",
        "session": "rth",
        "data_version": version,
        "window": {"start": "2026-03-02T14:30:00Z", "end": "2026-03-02T21:00:00Z"},
        "coverage": {"complete": not missing, "missing": list(missing)},
        "next_page_token": token,
    }


def page(*stamps, **about):
    candles = {"ts": list(stamps), "close": [1.0] * len(stamps), "volume": [None] * len(stamps)} if stamps else {}
    body = described(total=about.pop("total", len(stamps)), **about) | {"candles": candles}
    return page_of(answer(body), FIELDS)


def answer(body, media_type="application/vnd.nautilus.columns+json"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(200, {"content-type": media_type}, data)


def test_pages_become_one_answer():
    chain = Chain(FIELDS)
    assert chain.take(page(1, 2, token="next")) == "next"
    assert chain.take(page(3)) is None
    columns = chain.columns()
    assert columns["ts"].values() == [1, 2, 3]
    assert columns["volume"].values() == [None] * 3
    assert chain.info is not None
    assert chain.info.version == 3


def test_pages_that_walk_back_are_put_in_order():
    chain = Chain(FIELDS, backward=True)
    chain.take(page(5, 6, token="older"))
    chain.take(page(3, 4))
    assert chain.columns()["ts"].values() == [3, 4, 5, 6]
    with pytest.raises(BrokenAnswer, match="repeats"):
        chain.take(page(2, 3))


@pytest.mark.parametrize(
    ("following", "error"),
    [
        (lambda: page(2, 3), BrokenAnswer),  # repeats a bar
        (lambda: page(4, 3), BrokenAnswer),  # does not ascend
        (lambda: page(3, 3), BrokenAnswer),
        (lambda: page(3, source="derived from 5s"), BrokenAnswer),
        (lambda: page(token="next"), BrokenAnswer),  # nothing, and yet more
        (lambda: page(3, version=4), VersionChanged),
    ],
)
def test_a_page_that_does_not_continue_the_one_before_raises(following, error):
    chain = Chain(FIELDS)
    chain.take(page(1, 2, token="next"))
    with pytest.raises(error):
        chain.take(following())


def test_every_answer_that_is_cut_raises():
    whole = json.dumps(
        described(total=2) | {"candles": {"ts": [1, 2], "close": [1.0, 2.0], "volume": [None, 2.0]}}
    ).encode()
    assert page_of(answer(whole), FIELDS).columns.size == 2
    for end in range(len(whole)):
        with pytest.raises(BrokenAnswer):
            page_of(answer(whole[:end]), FIELDS)


@pytest.mark.parametrize(
    "body",
    [
        described(total=3) | {"candles": {"ts": [1, 2], "close": [1.0, 2.0], "volume": [1, 1]}},
        described(total=2) | {"candles": {"ts": [1, 2], "close": [1.0], "volume": [1, 1]}},
        described(total=2) | {"candles": {"ts": [1, 2], "volume": [1, 1]}},
        described(total=2) | {"candles": {"ts": ["1", 2], "close": [1, 2], "volume": [1, 1]}},
        {"candles": {}, "total": 0},
        [],
        described(total=2),
    ],
)
def test_an_answer_with_less_than_it_says_raises(body):
    with pytest.raises(BrokenAnswer):
        page_of(answer(body), FIELDS)


def test_an_answer_without_bars_has_all_columns():
    found = page_of(answer(described() | {"candles": {}}), USUAL)
    assert list(found.columns) == list(USUAL)
    assert found.columns.size == 0


def test_gaps_of_ranges_that_touch_are_one():
    day = "2026-03-02T"
    gaps = [
        {"start": f"{day}14:30:00Z", "end": f"{day}15:00:00Z", "state": "not_asked"},
        {"start": f"{day}15:00:00Z", "end": f"{day}16:00:00Z", "state": "not_asked"},
        {"start": f"{day}16:00:00Z", "end": f"{day}17:00:00Z", "state": "failed", "reason": "no_answer"},
    ]
    parts = [info_of(described(missing=[gap])) for gap in gaps] + [info_of(described())]
    merged = merged_info(parts, (1, 2))
    assert merged.missing == [
        Gap(f"{day}14:30:00Z", f"{day}16:00:00Z", "not_asked"),
        Gap(f"{day}16:00:00Z", f"{day}17:00:00Z", "failed", "no_answer"),
    ]
    assert merged.complete is False
    assert merged_info([info_of(described())], (1, 2)).complete is True
