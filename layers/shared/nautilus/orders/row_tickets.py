"""An order's row as the ticket that the checks look at: for a modify, and once more before it is sent."""

from nautilus.db.orders.orders import OrderRow
from nautilus.market.instrument import Instrument
from nautilus.orders.groups import EXITS
from nautilus.orders.outcome import Terms
from nautilus.orders.ticket import Oca, OrderType, Origin, Prices, Side, Ticket, Tif

_NONE = Terms()


def ticket_of(row: OrderRow, instrument: Instrument, terms: Terms = _NONE) -> Ticket:
    """The order alone, without the legs that are rows of their own; with other terms where they are given."""
    return Ticket(
        account=row.account,
        instrument=instrument,
        side=Side(row.side),
        type=OrderType(row.type),
        quantity=row.quantity if terms.quantity is None else terms.quantity,
        tif=Tif(row.tif if terms.tif is None else terms.tif),
        prices=Prices(
            row.limit_price if terms.limit_price is None else terms.limit_price,
            row.stop_price if terms.stop_price is None else terms.stop_price,
            row.trail_amount if terms.trail_amount is None else terms.trail_amount,
            row.trail_percent if terms.trail_percent is None else terms.trail_percent,
        ),
        good_till=row.good_till,
        outside_rth=row.outside_rth,
        oca=Oca(row.oca_group, row.oca_type or 1) if row.group_kind == "oca" else None,
        tags=tuple(row.tags),
        origin=Origin(row.origin),
    )


def protects(row: OrderRow) -> bool:
    """Whether an order is an exit that was placed after the end of its entry: it protects what is there already."""
    return row.group_role in EXITS and row.parent_id is None


def columns_of(terms: Terms) -> dict[str, object]:
    """The columns of `orders` that terms are about, with their values; without those that stay as they are."""
    return {name: getattr(terms, name) for name in Terms.__dataclass_fields__ if getattr(terms, name) is not None}
