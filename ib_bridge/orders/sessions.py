"""Beginnings: of a life of the process, which frees what the one before it did not write; and of each connection."""

from ib_bridge.orders.parts import OrderParts
from ib_bridge.orders.sender import free_reserved
from ib_bridge.source import source_of
from nautilus.db.bridge import status
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, orders, process, requests, risk_book, sessions, what_ifs
from nautilus.db.orders.events import Event
from nautilus.db.portfolio import booking
from nautilus.market.account_kind import account_kind
from nautilus.orders.states import Pending, RequestKind, RequestState
from nautilus.process.errors import CannotStart


def take_over(cursor: Cursor, parts: OrderParts, holder: str) -> int:
    """Become the order process, and free what an earlier life had reserved and not written; returns the token."""
    token = process.take_over(cursor, holder, mode=parts.settings.orders, client_id=parts.client_id)
    now = parts.clock.now_ns()
    freed = free_reserved(cursor, now, "an earlier life did not write it")
    parts.log.info("orders-started", extra={"mode": parts.settings.orders, "token": token, "orders_freed": freed})
    return token


def book_older(cursor: Cursor) -> int:
    """Book the contracts whose facts are older than the lots; returns how many."""
    found = list(booking.unbooked(cursor))
    risk_book.lock_accounts(cursor, (account for account, _ in found))
    for account, con_id in found:
        booking.rebook(cursor, account, con_id)
    return len(found)


def begin(cursor: Cursor, parts: OrderParts) -> int:
    """A new connection: its row, the floor of its order ids. CannotStart when its accounts are of another source than the
    database: a database never serves a live and a paper account, nor the simulator's."""
    gateway = parts.gateway
    served = source_of(gateway.accounts, parts.settings.source_replay)
    stored = status.claim_source(cursor, served)
    if stored != served:
        raise CannotStart(f"this database belongs to {stored}, the gateway serves {served}; no order is sent from it")
    account_state.seen(cursor, gateway.accounts, account_kind(gateway.accounts))
    parts.next_order_id = sessions.raise_floor(cursor, parts.client_id, max(1, gateway.next_order_id))
    retry_cancels(cursor, parts)
    what_ifs.fail_sent(cursor, "the connection ended before IB answered")
    return sessions.begin(
        cursor,
        parts.client_id,
        gateway.next_order_id,
        gateway.accounts,
        server_version=gateway.server_version,
    )


def retry_cancels(cursor: Cursor, parts: OrderParts) -> None:
    """A cancel that was written over an earlier connection and not answered is written again: twice does no harm.

    A modify is not: over two connections it once made two orders of one. The questions show whether it was done.
    """
    for state in (RequestState.SENDING, RequestState.SENT):
        for request in requests.in_state(cursor, state):
            order = orders.lock_with_book(cursor, request.order_id)
            if order is None:
                continue
            again = RequestState.WANTED if request.kind == RequestKind.CANCEL else RequestState.UNKNOWN
            if requests.update(cursor, request, state=again, why="the connection ended before IB answered") is not None:
                changes = {"pending": Pending.NONE} if again is RequestState.WANTED else {}
                event = Event(f"{request.kind}-{again}", "process", parts.clock.now_ns(), "the connection ended")
                orders.update(cursor, order, changes, event)
