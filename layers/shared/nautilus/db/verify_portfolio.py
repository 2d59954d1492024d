"""What verifying a store finds about lots: the rows, beside those that openings, executions and adjustments come to."""

from collections.abc import Iterator

from nautilus.db.cursor import Cursor
from nautilus.db.orders import risk_book
from nautilus.db.portfolio import booking
from nautilus.db.verify_findings import Finding


def verify_portfolio(cursor: Cursor) -> Iterator[Finding]:
    """Every contract of every account, in the snapshot of this transaction."""
    for account, con_id in booking.contracts(cursor):
        where = f"account {account}, contract {con_id}"
        due, found = booking.computed(cursor, account, con_id), booking.stored(cursor, account, con_id)
        if found.lots != due.lots:
            yield Finding(
                "portfolio_lots", f"{where}: {len(found.lots)} lots are not those of its executions ({len(due.lots)})"
            )
        if found.matches != due.matches:
            text = f"{where}: {len(found.matches)} matches are not those of its executions ({len(due.matches)})"
            yield Finding("portfolio_matches", text)


def mend_portfolio(cursor: Cursor) -> int:
    """Book every contract anew whose rows are wrong, all accounts held; returns how many were."""
    found = list(booking.contracts(cursor))
    risk_book.lock_accounts(cursor, (account for account, _ in found))
    wrong = [
        (account, con_id)
        for account, con_id in found
        if booking.computed(cursor, account, con_id)[:2] != booking.stored(cursor, account, con_id)[:2]
    ]
    for account, con_id in wrong:
        booking.rebook(cursor, account, con_id)
    return len(wrong)
