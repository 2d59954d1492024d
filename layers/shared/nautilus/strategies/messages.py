"""Every message between the strategy host and a runner: its fields, and what each may hold.

Units: every time is ns since the epoch, UTC. Money, quantities and prices of orders are decimal texts. Columns of bars are
lists of floats of one length; of `volume` a list, or single values of it, may be null. `con_id` names an instrument, `index`
a series of the run. Labelled bars (1d and longer) carry the close of the last session of their trade date in `closed_ns`.
"""

from collections.abc import Mapping
from typing import Final

from nautilus.strategies.fields import Amount, Columns, Figure, Flag, Free, Kind, Number, Object, Rows, Text

MODES: Final = ("backtest", "paper", "live")
FILLS: Final = ("next_open", "close")
"""When a market order fills that follows from a bar: at the open of the next one, or at this bar's close."""
BAR_STATES: Final = ("closed", "confirmed", "unconfirmed", "warm_up")
"""From an unconfirmed bar no entry follows. One of the warm-up came too late: it is learned, and nothing is decided."""
ORDER_KINDS: Final = (
    "submitted",
    "accepted",
    "rejected",
    "denied",
    "triggered",
    "updated",
    "canceled",
    "expired",
    "filled",
    "modify_rejected",
    "cancel_rejected",
)
"""What happens to an order. `submitted`: the order's row is committed; `accepted`: the broker has it."""
SIDES: Final = ("BUY", "SELL")
ORDER_TYPES: Final = ("MARKET", "LIMIT", "STOP_MARKET", "STOP_LIMIT")
TIMES_IN_FORCE: Final = ("DAY", "GTC", "IOC", "FOK")
LEVELS: Final = ("debug", "info", "warning", "error")

_NS, _NS_OR_NONE = Number(), Number(nullable=True)
_AMOUNT, _AMOUNT_OR_NONE = Amount(), Amount(nullable=True)
_TEXT, _TEXT_OR_NONE = Text(), Text(nullable=True)

COMMISSION: Final[Mapping[str, Kind]] = {
    "per_unit": _AMOUNT,
    "rate": _AMOUNT,
    "minimum": _AMOUNT,
    "most_rate": _AMOUNT_OR_NONE,
}
"""Of one order: per share or contract, plus a fraction of its value, at least `minimum`, at most `most_rate` of its value.
In the instrument's currency. Where the most is below the minimum, the most counts."""

INSTRUMENT: Final[Mapping[str, Kind]] = {
    "con_id": Number(),
    "instrument_id": _TEXT,
    "symbol": _TEXT,
    "asset_class": _TEXT,
    "exchange": _TEXT,
    "currency": _TEXT,
    "local_symbol": _TEXT,
    "multiplier": _TEXT,
    "min_tick": _AMOUNT,
    "digits": Number(),
    "expires_ns": _NS_OR_NONE,
    "commission": Object(COMMISSION),
}
"""`digits`: decimals that the bars of the run have at most. `expires_ns`: close of the last session, of futures alone."""

SERIES: Final[Mapping[str, Kind]] = {"index": Number(), "con_id": Number(), "timeframe": _TEXT, "price": _TEXT}
BARS: Final[Mapping[str, Kind]] = {
    "index": Number(),
    "opened_ns": Rows(Number()),
    "closed_ns": Rows(Number()),
    "open": Rows(Figure()),
    "high": Rows(Figure()),
    "low": Rows(Figure()),
    "close": Rows(Figure()),
    "volume": Rows(Figure(nullable=True), nullable=True),
}
ADOPTED_ORDER: Final[Mapping[str, Kind]] = {
    "client_order_id": _TEXT,
    "venue_order_id": _TEXT_OR_NONE,
    "con_id": Number(),
    "side": Text(*SIDES),
    "order_type": Text(*ORDER_TYPES),
    "time_in_force": Text(*TIMES_IN_FORCE),
    "quantity": _AMOUNT,
    "filled": _AMOUNT,
    "average_price": _AMOUNT_OR_NONE,
    "price": _AMOUNT_OR_NONE,
    "trigger_price": _AMOUNT_OR_NONE,
    "at_ns": _NS,
}
ADOPTED_POSITION: Final[Mapping[str, Kind]] = {
    "con_id": Number(),
    "quantity": _AMOUNT,
    "average_price": _AMOUNT_OR_NONE,
}
TEMPLATE: Final[Mapping[str, Kind]] = {
    "id": _TEXT,
    "source": _TEXT,
    "hash": _TEXT_OR_NONE,
    "description": _TEXT,
    "schema": Free(nullable=True),
    "error": _TEXT_OR_NONE,
}
"""`hash`: SHA-256 of the code, hexadecimal. `error`: why it cannot be imported; then there is no schema."""

_ORDER_EVENT: Mapping[str, Kind] = {
    "client_order_id": _TEXT,
    "kind": Text(*ORDER_KINDS),
    "at_ns": _NS,
    "venue_order_id": _TEXT_OR_NONE,
    "reason": _TEXT_OR_NONE,
    "quantity": _AMOUNT_OR_NONE,
    "price": _AMOUNT_OR_NONE,
    "trigger_price": _AMOUNT_OR_NONE,
    "trade_id": _TEXT_OR_NONE,
    "commission": _AMOUNT_OR_NONE,
    "currency": _TEXT_OR_NONE,
}

TO_RUNNER: Final[Mapping[str, Mapping[str, Kind]]] = {
    # The first message of a run. seed: of whatever is random; equity_points: the most that are written of the equity curve.
    "start": {
        "run_id": _TEXT,
        "mode": Text(*MODES),
        "template": _TEXT,
        "parameters": Free(),
        "instruments": Rows(INSTRUMENT),
        "series": Rows(SERIES),
        "capital": _AMOUNT,
        "currency": _TEXT,
        "fill": Text(*FILLS),
        "adaptive_ordering": Flag(),
        "seed": Number(),
        "equity_points": Number(),
        "bars_total": Number(),
    },
    # Bars from before the run, for indicators; before the first chunk or bar, in all modes. Nothing is traded on them.
    "warm_up": {"series": Columns(BARS)},
    # Back-test: the bars of one trade date, or a part of them; `last` on the last part.
    "chunk": {"trade_date": _TEXT, "last": Flag(), "series": Columns(BARS)},
    "end": {},
    # Live and paper: what the run holds from an earlier life, by our ledger; both before the first bar, if only empty.
    "orders": {"orders": Rows(ADOPTED_ORDER)},
    "positions": {"positions": Rows(ADOPTED_POSITION)},
    "bar": {
        "index": Number(),
        "opened_ns": _NS,
        "closed_ns": _NS,
        "open": Figure(),
        "high": Figure(),
        "low": Figure(),
        "close": Figure(),
        "volume": Figure(nullable=True),
        "state": Text(*BAR_STATES),
    },
    # Paper with `next_open`: the first sign of the next bar, at whose open waiting market orders fill.
    "forming": {"index": Number(), "opened_ns": _NS, "open": Figure()},
    # filled: quantity and price are those of this one execution.
    "order_event": _ORDER_EVENT,
    "pause": {},
    "resume": {},
    # flatten: paper alone; in live the ledger closes what a run holds.
    "stop": {"flatten": Flag()},
}

FROM_RUNNER: Final[Mapping[str, Mapping[str, Kind]]] = {
    "templates": {"engine": _TEXT, "templates": Rows(TEMPLATE)},
    # fence: what keeps the strategy within its process, by the names of strategy_runner/fence.py.
    "ready": {"engine": _TEXT, "code_hash": _TEXT, "fence": Rows(Text())},
    "heartbeat": {"last_bar_ns": _NS_OR_NONE, "rss_kb": Number()},
    "progress": {"bars_done": Number(), "trade_date": _TEXT},
    "bar_done": {"index": Number(), "closed_ns": _NS},
    "submit": {
        "client_order_id": _TEXT,
        "con_id": Number(),
        "side": Text(*SIDES),
        "order_type": Text(*ORDER_TYPES),
        "time_in_force": Text(*TIMES_IN_FORCE),
        "quantity": _AMOUNT,
        "price": _AMOUNT_OR_NONE,
        "trigger_price": _AMOUNT_OR_NONE,
        "reduce_only": Flag(),
        "tags": Rows(Text()),
        "bar_ns": _NS_OR_NONE,
    },
    "modify": {
        "client_order_id": _TEXT,
        "quantity": _AMOUNT_OR_NONE,
        "price": _AMOUNT_OR_NONE,
        "trigger_price": _AMOUNT_OR_NONE,
    },
    "cancel": {"client_order_id": _TEXT},
    # Back-test and paper: orders and fills of the simulated account. bar_ns: close of the bar from which the order follows.
    "order": {
        **_ORDER_EVENT,
        "con_id": Number(),
        "side": Text(*SIDES),
        "order_type": Text(*ORDER_TYPES),
        "bar_ns": _NS_OR_NONE,
    },
    "fill": {
        "client_order_id": _TEXT,
        "trade_id": _TEXT,
        "con_id": Number(),
        "side": Text(*SIDES),
        "quantity": _AMOUNT,
        "price": _AMOUNT,
        "commission": _AMOUNT,
        "currency": _TEXT,
        "at_ns": _NS,
        "bar_ns": _NS_OR_NONE,
    },
    "equity": {"at_ns": _NS, "equity": _AMOUNT, "cash": _AMOUNT, "unrealized": _AMOUNT},
    "signal": {"at_ns": _NS, "name": _TEXT, "body": Free()},
    "log": {"level": Text(*LEVELS), "text": _TEXT},
    # The strategy's own failure. frames: the last ten of its code, as texts.
    "fault": {"exception": _TEXT, "message": _TEXT, "frames": Rows(Text())},
    # The end. position: what is still held, by con_id. not_simulated: what the figures leave out, in words.
    "result": {
        "fills_hash": _TEXT,
        "bars": Number(),
        "orders": Number(),
        "fills": Number(),
        "denied": Number(),
        "rejected": Number(),
        "positions": Rows(ADOPTED_POSITION),
        "not_simulated": Rows(Text()),
    },
}
