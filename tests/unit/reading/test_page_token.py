"""Page tokens come back as they were made, and no others are believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nautilus.errors import BadRequest, Gone
from nautilus.reading.page_token import LIFE_S, PageCursor, Token, expiry, unseal
from tests.support.markets import few

STORE = "5e4a0f6c-0000-4000-8000-000000000000"
page_cursors = st.builds(
    PageCursor,
    con_id=st.integers(0, 2**62),
    series_id=st.integers(0, 2**31 - 1),
    version=st.integers(0, 2**62),
    source=st.sampled_from(["", "1m", "1d"]),
    window=st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
    complete=st.booleans(),
)
tokens = st.builds(
    Token,
    query=st.just("q"),
    page_cursors=st.lists(page_cursors, min_size=1, max_size=5).map(tuple),
    key=st.integers(0, 2**62),
    done=st.integers(0, 100),
    expires_s=st.just(2_000),
)


@few
@given(tokens)
def test_a_token_comes_back_whole(token: Token) -> None:
    text = token.seal(STORE)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert unseal(text, STORE, query="q", now_s=1_999) == token


@few
@given(tokens, st.data())
def test_a_changed_token_is_refused(token: Token, data: st.DataObject) -> None:
    text = token.seal(STORE)
    at = data.draw(st.integers(0, len(text) - 2))  # of the last character some bits mean nothing
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[at]))
    with pytest.raises(BadRequest):
        unseal(text[:at] + other + text[at + 1 :], STORE, query="q", now_s=0)


@few
@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    for whatever in (text, "1" + text):
        with pytest.raises(BadRequest):
            unseal(whatever, STORE, query="q", now_s=0)


def test_a_token_belongs_to_its_store_its_query_and_its_day() -> None:
    token = Token("q", (PageCursor(1, 2, 3, "", (4, 5), True),), 4, 0, 2_000)
    text = token.seal(STORE)
    with pytest.raises(BadRequest, match="not a token"):
        unseal(text, STORE.replace("5", "6"), query="q", now_s=0)
    with pytest.raises(BadRequest, match="another query"):
        unseal(text, STORE, query="r", now_s=0)
    with pytest.raises(Gone):
        unseal(text, STORE, query="q", now_s=2_000)


def test_tokens_of_a_day_expire_together_and_live_a_day_at_least() -> None:
    assert expiry(0) == expiry(LIFE_S - 1) == 2 * LIFE_S
    assert all(LIFE_S < expiry(now) - now <= 2 * LIFE_S for now in range(0, 5 * LIFE_S, 977))


def test_a_token_of_a_hundred_symbols_fits_into_an_address() -> None:
    many = tuple(
        PageCursor(10**8 + n * 7919, n + 1, n * 3, "", (1704465000000000000, 1736000000000000000), True)
        for n in range(100)
    )
    assert len(Token("q" * 32, many, 1704465000000000000, 0, 2_000_000_000).seal(STORE)) < 4_000
