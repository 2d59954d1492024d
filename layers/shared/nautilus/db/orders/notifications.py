"""What wakes the order process and the sockets: a notification with each commit that they should look at."""

from nautilus.db.cursor import Cursor

CHANNEL = "nautilus_orders"
"""Of what the order process has to do."""
EVENTS = "nautilus_order_events"
"""Of each event that was written; its payload is the account."""


def notify(cursor: Cursor, payload: str = "") -> None:
    """Tell the order process when the transaction commits. payload: an order's id, or nothing: look at everything."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
