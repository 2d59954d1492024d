"""What wakes the host of strategies, and who watches runs: notifications with each commit that they should look at."""

from nautilus.db.cursor import Cursor

CHANNEL = "nautilus_strategies"
"""Of what the host has to do."""
EVENTS = "nautilus_strategy_events"
"""Of each change of a run that somebody may watch: its state, its progress. The payload is the run's id."""


def notify(cursor: Cursor, payload: str = "") -> None:
    """Wake the host when the transaction commits. payload: a run's id, or nothing: look at everything."""
    cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))


def notify_watchers(cursor: Cursor, run_id: str) -> None:
    """Wake who watches a run when the transaction commits."""
    cursor.execute("SELECT pg_notify(%s, %s)", (EVENTS, run_id))
