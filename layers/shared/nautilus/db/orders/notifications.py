"""What wakes the order process and the sockets: a notification with each commit that they should look at."""

from nautilus.db.cursor import Cursor

CHANNEL = "nautilus_orders"
"""The order process looks at everything."""
SENDING, CANCELS, MODIFIES, WHAT_IFS = (f"{CHANNEL}_{part}" for part in ("sending", "cancels", "modifies", "what_ifs"))
"""It looks for orders to send, for cancels, for modifies, for what-if orders: each look costs a transaction."""
EVENTS = "nautilus_order_events"
"""Of each event that was written; its payload is the account."""


def notify(cursor: Cursor, *channels: str) -> None:
    """Tell the order process when the transaction commits what it should look at: everything, where none is named."""
    cursor.execute("SELECT pg_notify(channel, '') FROM unnest(%s::text[]) AS channel", (list(channels or (CHANNEL,)),))
