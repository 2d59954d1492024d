"""By which names a word of IB may be about an order of ours, and what an order that others placed looks like."""

from decimal import Decimal
from uuid import UUID, uuid5

from nautilus.db.orders.finding import Names
from nautilus.db.orders.orders import NewOrder
from nautilus.orders.apply import terms_of
from nautilus.orders.identity import order_id_of
from nautilus.orders.outcome import Terms
from nautilus.orders.states import OrderState
from nautilus.orders.words import BrokerError, CompletedOrder, Execution, OpenOrder, OrderStatus

IDENTIFIED = OpenOrder | CompletedOrder | Execution
"""Words that say enough of an order to adopt it when nobody here placed it."""
_EXTERNAL = UUID("0d6d3f0e-4a5b-4d0f-8a3d-2f6b6f6f0c11")
FILL_ALONE = "?"
"""Type of an external order of which only executions are known: what was ordered is what has filled."""
LONGEST_NAME = 100
"""Characters of an account, and of the subject of an incident: both are keys."""
BROKER = "ib"
"""Principal of an order that somebody placed beside us."""


def names_of(word: OpenOrder | CompletedOrder | Execution | OrderStatus | BrokerError) -> Names:
    """What a word says about its order."""
    if isinstance(word, BrokerError):
        return Names(order_id=word.number)
    if isinstance(word, OrderStatus):
        return Names(perm_id=word.perm_id, client_id=word.client_id, order_id=word.order_id)
    ref = order_id_of(word.order_ref)
    foreign = ref is None and bool(word.order_ref.strip())
    if isinstance(word, CompletedOrder):
        return Names(ref, foreign, word.account, word.perm_id)
    return Names(ref, foreign, word.account, word.perm_id, word.client_id, word.order_id)


def external(word: IDENTIFIED, *, market_at: int, instrument_id: str, symbol: str) -> NewOrder | None:
    """The row of an order that is at IB and that nobody here placed; None where the word does not say enough.

    It begins as `unknown`: the word that made it known is applied to it next, and says how it stands. An execution tells how
    much has filled, not how much was ordered.
    """
    if word.perm_id <= 0 or not 0 < len(word.account) <= LONGEST_NAME or word.side not in ("BUY", "SELL"):
        return None
    described = None if isinstance(word, Execution) else word
    terms = terms_of(word) if isinstance(word, OpenOrder) else Terms()
    return NewOrder(
        id=order_id_of(word.order_ref) or uuid5(_EXTERNAL, f"{word.account}|{word.perm_id}"),
        principal=BROKER,
        account=word.account,
        con_id=word.con_id,
        symbol=word.symbol if isinstance(word, OpenOrder) else symbol,
        side=word.side,
        type=type_of(described.type) if described else FILL_ALONE,
        tif=described.tif if described else "",
        quantity=max(word.quantity, _filled(word), Decimal(0)),
        origin="external",
        state=OrderState.UNKNOWN,
        market_at=market_at,
        instrument_id=instrument_id,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        trail_amount=terms.trail_amount,
        trail_percent=terms.trail_percent,
        client_id=word.client_id if isinstance(word, (OpenOrder, Execution)) else None,
        order_id=(word.order_id or None) if isinstance(word, (OpenOrder, Execution)) else None,
        perm_ids=[word.perm_id],
    )


def _filled(word: IDENTIFIED) -> Decimal:
    """Of a completed order IB may tell what has filled, and not what was ordered."""
    return word.filled or Decimal(0) if isinstance(word, CompletedOrder) else Decimal(0)


def type_of(text: str) -> str:
    """IB's order type as our rows have it."""
    return text.replace(" ", "_") or FILL_ALONE


def prices_of(word: OpenOrder) -> dict[str, Decimal | None]:
    """The prices of an order, by column, without those that its type has not."""
    terms = terms_of(word)
    return {
        "limit_price": terms.limit_price,
        "stop_price": terms.stop_price,
        "trail_amount": terms.trail_amount,
        "trail_percent": terms.trail_percent,
    }
