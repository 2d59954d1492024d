"""Whether a contract is known well enough to send orders for it: IB described it on this day, and named its hours of now.

A ticker can pass to another company over night, and a contract can expire: an order stores a con_id, and its words lead to
that con_id by an answer of this day. The hours tell a closed market from an open one.
"""

from nautilus.db.bridge.status import market_now
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from nautilus.orders import hours


def is_confirmed(cursor: Cursor, selector: Selector, instrument: Instrument) -> bool:
    """IB answered these words, and described this contract, on this UTC day; its hours at market time are known."""
    today = instruments.known_today(cursor, selector.key, instrument.con_id)
    if not (today.described and (today.answered or selector.con_id)):
        return False
    return hours.are_known(instrument, today.details, market_now(cursor))
