"""What wakes the order process and the sockets: a notification with each commit that they should look at."""

from nautilus.db.cursor import Cursor

CHANNEL = "nautilus_orders"


def notify(cursor: Cursor, payload: str = "") -> None:
    """Tell all listeners when the transaction commits. payload: an order's id, or nothing: look at everything."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
