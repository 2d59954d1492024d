"""A store with an account that may trade one stock, and short ways to place orders there and to let IB speak."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from nautilus.db.connection import Database
from nautilus.db.cursor import Cursor
from nautilus.db.orders import account_state, events, orders, positions, process, risk_book, sessions
from nautilus.db.orders.events import Event
from nautilus.db.orders.orders import OrderRow
from nautilus.db.rows import scalar
from nautilus.db.verify_findings import Finding
from nautilus.db.verify_orders import verify_orders
from nautilus.db.verify_portfolio import verify_portfolio
from nautilus.market.instrument import Instrument
from nautilus.orders.facts import Facts, Quote
from nautilus.orders.outcome import Known
from nautilus.orders.place import Placed, place
from nautilus.orders.placing_rows import Caller
from nautilus.orders.prices import MarketRule, PriceStep
from nautilus.orders.recording import Recorded, record
from nautilus.orders.ticket import OrderType, Prices, Side, Ticket
from nautilus.orders.words import AccountValue, Commission, Execution, OpenOrder, OrderStatus, Word

ACCOUNT = "SIM1"
CLIENT = 5
NOW = 1_704_726_000_000_000_000
"""Market time: Monday, 2024-01-08 15:00 UTC."""
STOCK = Instrument(
    con_id=1,
    instrument_id="A.X",
    symbol="A",
    asset_class="STK",
    exchange="SMART",
    primary_exchange="X",
    currency="USD",
    local_symbol="A",
    trading_class="A",
    expiry="",
    multiplier="",
    min_tick=0.01,
    long_name="A",
    time_zone="America/New_York",
    calendar="X",
)
HUNDRED = Decimal(100)
_MARKET = Facts(
    now=NOW,
    today="20240108",
    account_kind=None,
    mode="paper",
    limits={},
    may_trade=True,
    rule=MarketRule((PriceStep(Decimal(0), Decimal("0.01")),), size_step=Decimal(1), min_size=Decimal(1), known=True),
    rate=Decimal(1),
    quote=Quote(Decimal("99.99"), Decimal("100.01"), HUNDRED, Decimal(0)),
    close=HUNDRED,
    session="regular",
)
GENEROUS = {
    "quantity_shares": None,
    "orders_per_second": None,
    "orders_per_minute": None,
    "orders_per_day": None,
    "account_orders_per_second": None,
    "order_ratio": None,
    "open_orders": None,
    "position": None,
    "notional": None,
    "gross_exposure": None,
    "gross_exposure_percent": None,
    "short": Decimal(1),
    "duplicate_window": None,
}
"""Limits that let everything pass; a test gives those that it is about."""


def market(**changes: object) -> Facts:
    """What is known of the market: all that the checks need."""
    return replace(_MARKET, **changes)  # type: ignore[arg-type]


def ticket(
    side: str = "BUY", quantity: int | str = 1, limit: str | None = "100", account: str = ACCOUNT, **more: Any
) -> Ticket:
    """A limit order of the stock, or what `more` makes of it."""
    kind = OrderType.MKT if limit is None else OrderType.LMT
    prices = Prices(limit=None if limit is None else Decimal(limit))
    fields: dict[str, object] = {"type": kind, "prices": prices, "allow_duplicate": True} | more
    return Ticket(
        account=account,
        instrument=STOCK,
        side=Side(side),
        quantity=Decimal(quantity),
        **fields,  # type: ignore[arg-type]
    )


def caller(key: str | None = None, fingerprint: str = "", principal: str = "user:1") -> Caller:
    return Caller(principal, key, fingerprint)


def seen(*values: object) -> tuple[object, ...]:
    """Values to compare with a row of others at once, whatever their types."""
    return values


# ---- the store -------------------------------------------------------------------------------------------------------


def furnish(
    cursor: Cursor, *accounts: str, limits: Mapping[str, Decimal | None] | None = None, worth: int = 10**9
) -> None:
    """Accounts that hold nothing, an order process that is ready, and limits: those of GENEROUS unless others are given."""
    names = accounts or (ACCOUNT,)
    columns = ", ".join(Instrument._fields)
    cursor.execute(
        f"INSERT INTO instruments ({columns}) VALUES ({', '.join(['%s'] * len(STOCK))}) ON CONFLICT DO NOTHING", STOCK
    )
    account_state.seen(cursor, names, "simulator")
    for name in names:
        values = {"NetLiquidation": ("USD", str(worth)), "GrossPositionValue": ("USD", "0")}
        words = [AccountValue(name, tag, currency, value) for tag, (currency, value) in values.items()]
        account_state.put_values(cursor, words, NOW - 1)
        risk_book.lock_account(cursor, name)
        positions.open_account(cursor, name, NOW - 10**15)
    token = process.take_over(cursor, "test", mode="paper", client_id=CLIENT)
    process.report(cursor, token, state="ready", accounts=list(names), reconciled=True)
    for name, value in {**GENEROUS, **(limits or {})}.items():
        cursor.execute(
            "INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', %s, %s, 'test')"
            " ON CONFLICT (account, name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


@contextmanager
def ledger(
    dsn: str, *accounts: str, size: int = 10, limits: Mapping[str, Decimal | None] | None = None
) -> Iterator[Database]:
    """A furnished store."""
    database = Database(dsn, name="test", size=size)
    with database.transaction() as cursor:
        furnish(cursor, *accounts, limits=limits)
    yield database
    database.close()


def findings(database: Database) -> list[Finding]:
    """What `make verify` finds about orders, positions and lots."""
    with database.transaction(snapshot=True) as cursor:
        return [*verify_orders(cursor), *verify_portfolio(cursor)]


def counted(database: Database, question: str) -> int:
    """The number that a statement answers with."""
    with database.transaction() as cursor:
        cursor.execute(question)
        return scalar(cursor, int)


def row_of(database: Database, order_id: UUID) -> OrderRow:
    with database.transaction() as cursor:
        row = orders.read(cursor, order_id)
    assert row is not None
    return row


# ---- orders ----------------------------------------------------------------------------------------------------------


def placed(
    database: Database, what: Ticket | None = None, who: Caller | None = None, facts: Facts | None = None
) -> Placed:
    """Place an order in a transaction of its own."""
    with database.transaction() as cursor:
        return place(cursor, what or ticket(), who or caller(), facts or market())


def sent(database: Database, order_id: UUID) -> OrderRow:
    """What the order process does before the write: an order id, then `sending`, each in a commit of its own."""
    for state in ("reserved", "sending"):
        with database.transaction() as cursor:
            row = orders.lock_with_book(cursor, order_id)
            assert row is not None
            changes: dict[str, object] = {"state": state}
            if state == "reserved":
                number = sessions.reserve_order_id(cursor, CLIENT, 1)
                changes |= {"client_id": CLIENT, "order_id": number, "gateway_session": 1}
            done = orders.update(cursor, row, changes, Event(state, "process", NOW))
    return done


def just_sent(database: Database, what: Ticket | None = None) -> OrderRow:
    """An order that was placed and written, and of which IB has said nothing yet."""
    return sent(database, placed(database, what).orders[0].id)


def working(database: Database, what: Ticket | None = None, perm_id: int = 0) -> OrderRow:
    """An order that IB has and calls Submitted."""
    row = just_sent(database, what)
    ib_says(database, status(row, "Submitted", perm_id or number_of(row)))
    return row_of(database, row.id)


def number_of(row: OrderRow) -> int:
    """A permId for an order that has none yet."""
    return 1_000_000 + (row.order_id or 0)


# ---- words of IB -----------------------------------------------------------------------------------------------------

_executions = itertools.count(1)


def ib_says(database: Database, *words: Word, known: Known | None = None) -> list[Recorded]:
    """Let IB say something, in one transaction."""
    with database.transaction() as cursor:
        return record(cursor, words, known or Known(now_ns=NOW))


def status(row: OrderRow, word: str, perm_id: int = 0, filled: Decimal | None = None) -> OrderStatus:
    return OrderStatus(
        order_id=row.order_id or 0,
        client_id=CLIENT,
        perm_id=perm_id,
        status=word,
        filled=row.filled if filled is None else filled,
        remaining=row.quantity - (row.filled if filled is None else filled),
        raw={"status": word},
    )


def open_order(row: OrderRow, word: str, perm_id: int = 0, **changes: object) -> OpenOrder:
    """IB shows an order of ours."""
    fields: dict[str, object] = {
        "order_id": row.order_id or 0,
        "client_id": CLIENT,
        "perm_id": perm_id,
        "order_ref": str(row.id),
        "account": row.account,
        "con_id": row.con_id,
        "symbol": row.symbol,
        "side": row.side,
        "type": row.type,
        "tif": row.tif,
        "quantity": row.quantity,
        "status": word,
        "limit_price": row.limit_price,
        "raw": {"status": word},
    }
    return OpenOrder(**(fields | changes))  # type: ignore[arg-type]


def execution(
    row: OrderRow, quantity: int | str | Decimal, price: str = "100", exec_id: str | None = None, **changes: object
) -> Execution:
    """A fill of an order of ours; the first revision of a new one unless an id is given."""
    fields: dict[str, object] = {
        "exec_id": exec_id or f"0001.{next(_executions):06d}.01",
        "order_id": row.order_id or 0,
        "client_id": CLIENT,
        "perm_id": row.perm_ids[0] if row.perm_ids else number_of(row),
        "order_ref": str(row.id),
        "account": row.account,
        "con_id": row.con_id,
        "side": row.side,
        "quantity": Decimal(quantity),
        "price": Decimal(price),
        "exchange": "X",
        "time_ns": NOW,
    }
    return Execution(**(fields | changes))  # type: ignore[arg-type]


def corrected(word: Execution, quantity: int | str | Decimal, price: str = "100") -> Execution:
    """The next revision of a fill; quantity 0: it is taken back."""
    base, _, revision = word.exec_id.rpartition(".")
    return replace(word, exec_id=f"{base}.{int(revision) + 1:02d}", quantity=Decimal(quantity), price=Decimal(price))


def commission(word: Execution, amount: str = "1", realized: str | None = None) -> Commission:
    return Commission(word.exec_id, Decimal(amount), "USD", None if realized is None else Decimal(realized))


def events_of(database: Database, order_id: UUID) -> Sequence[str]:
    """The kinds of an order's events, in their order."""
    with database.transaction() as cursor:
        return [event.kind for event in events.of_order(cursor, order_id)]
