"""The newest quotes: what IB sent last, how old it is, or why there is none. No number here is made up."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.live import quotes, wants
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.market import instruments
from nautilus.errors import Conflict, NotFound
from nautilus.live import stream_report
from nautilus.live.stream_report import LiveSnapshot, age_s, text_of
from nautilus.live.subscriptions import StreamKey
from nautilus.lookup.identity import trade_day, unexpired
from nautilus.lookup.resolve import known_identity
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import InstrumentName, Selector, choose

NOT_WANTED = "not_wanted"
NO_WORD_YET = "no_word_yet"
_NUMBERS = (
    "bid",
    "bid_size",
    "ask",
    "ask_size",
    "last",
    "last_size",
    "volume",
    "open",
    "high",
    "low",
    "close",
    "halted",
)

NamedLookup = tuple[str, Selector, InstrumentName | None]
"""An instrument as the caller named it, and the lookup of that."""


def answer(cursor: Cursor, requested: Sequence[NamedLookup]) -> dict[str, Any]:
    """The newest quote of each instrument, in the order of the request; as_of: the market time of the answer.

    Nobody asks IB for it: a name that nobody here knows has no stream either.
    """
    snapshot = stream_report.read(cursor)
    found = [_known(cursor, *one) for one in requested]
    con_ids = {one.con_id for one in found if isinstance(one, Instrument)}
    wanted = wants.wanted(cursor, "quotes", con_ids)
    newest = {row.con_id: row for row in quotes.newest(cursor, con_ids)}
    rows = [
        {"symbol": text, **(one if not isinstance(one, Instrument) else _row(snapshot, one, newest, wanted=wanted))}
        for (text, _, _), one in zip(requested, found, strict=True)
    ]
    return {"as_of": text_of(snapshot.now), "quotes": rows}


def _known(cursor: Cursor, text: str, selector: Selector, name: InstrumentName | None) -> Instrument | dict[str, Any]:
    """The instrument, or the row that says why there is none."""
    try:
        identity = known_identity(cursor, selector, name)
        found = identity.instrument if identity else _stored(cursor, selector)
    except NotFound as unknown:
        return _without("unknown_instrument", unknown.detail)
    except Conflict as several:
        return _without("ambiguous_instrument", several.detail)
    return found or _without("unknown_instrument", f"{selector.words} is not known here yet")


def _stored(cursor: Cursor, selector: Selector) -> Instrument | None:
    """The one contract of these words that somebody looked up by other words; Conflict where there are several. Of a future
    without a month none: which is the front contract IB alone can say."""
    if selector.front or selector.con_id:
        return None
    found = unexpired(instruments.stored(cursor, selector), trade_day(market_now(cursor)))
    return choose(selector, found)


def _without(reason: str, detail: str) -> dict[str, Any]:
    return {**_NOTHING, "reason": reason, "detail": detail}


_NOTHING: Mapping[str, Any] = {"con_id": None, "instrument_id": None, "state": None, "quote": None, "stale": None}


def _row(
    snapshot: LiveSnapshot, one: Instrument, newest: Mapping[int, QuoteRow], *, wanted: set[int]
) -> dict[str, Any]:
    key = StreamKey(one.con_id, "quotes")
    state, why = snapshot.state(key)
    is_wanted = one.con_id in wanted or key in snapshot.streams
    quote = newest.get(one.con_id)
    stale = not is_wanted or state != "live"
    reason = why if is_wanted else NOT_WANTED
    return {
        "con_id": one.con_id,
        "instrument_id": one.instrument_id,
        "state": state if is_wanted else None,
        "quote": _fields(snapshot.now, quote) if quote else None,
        "stale": stale if quote else None,
        "reason": reason or (None if quote else NO_WORD_YET),
    }


def _fields(now: int, quote: QuoteRow) -> dict[str, Any]:
    return {
        **{name: getattr(quote, name) for name in _NUMBERS},
        "feed": quote.feed or None,
        "ts": text_of(quote.ts),
        "seen": text_of(quote.seen_at),
        "age_s": age_s(now, quote.seen_at),
    }
