"""The routes of the portfolio before a store with two accounts, what IB says to it, and the callers."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import functions.portfolio.app
from nautilus.clock import NS_PER_S
from nautilus.db.cursor import Cursor
from nautilus.db.live import quotes
from nautilus.db.live.quotes import QuoteRow
from nautilus.db.orders import account_state, positions, risk_book
from nautilus.db.orders.positions import Adjustment
from nautilus.db.portfolio import cash
from nautilus.orders.words import AccountValue, Commission, Execution, Position
from tests.support.order_ledger import ACCOUNT, NOW, furnish, ib_says
from tests.support.stored_bars import Api, StoredBars

OTHER = "SIM2"
PORTFOLIO = "/api/v1/portfolio"
CASH = Decimal(10_000)
DAY_NS = 24 * 3600 * NS_PER_S


class Portfolio:
    """A reader of the first account, one of both, an administrator; and an IB that says what a test wants."""

    def __init__(self, stored: StoredBars, folder: Path) -> None:
        self.stored = stored
        self.folder = folder
        self.db = stored.db
        self.api: Api = stored.api(folder, router=functions.portfolio.app.router)
        self.reader = stored.user(8, "orders:read", accounts=[ACCOUNT])
        self.partner = stored.user(9, "orders:read", accounts=["*"])
        self.chief = stored.user(1, "admin")

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Any:
        """The answer of a route below /api/v1/portfolio, or of a whole path."""
        whole = path if path.startswith("/api/") else PORTFOLIO + path
        answer = self.api.get(whole, headers=headers or self.reader, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> tuple[int, str]:
        answer = self.api.get(PORTFOLIO + path, headers=headers or self.reader, params=query)
        return answer.status_code, answer.json()["detail"]

    def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        return self.api.request("POST", PORTFOLIO + path, headers=headers or self.chief, json=body)

    # ---- what IB says ------------------------------------------------------------------------------------------------

    def fill(
        self,
        number: int,
        quantity: int,
        price: str,
        *,
        at: int = NOW,
        fee: str | None = "1",
        account: str = ACCOUNT,
        con_id: int = 1,
        currency: str = "USD",
        realized: str | None = None,
    ) -> Execution:
        """An execution, bought when positive, with its commission unless that is late."""
        word = Execution(
            exec_id=f"{number:06d}.01",
            order_id=0,
            client_id=0,
            perm_id=number,
            order_ref="",
            account=account,
            con_id=con_id,
            side="BUY" if quantity > 0 else "SELL",
            quantity=Decimal(abs(quantity)),
            price=Decimal(price),
            exchange="X",
            time_ns=at,
        )
        ib_says(self.db, word)
        if fee is not None:
            gain = None if realized is None else Decimal(realized)
            ib_says(self.db, Commission(word.exec_id, Decimal(fee), currency, gain))
        return word

    def values(self, account: str = ACCOUNT, at: int = NOW, currency: str = "USD", **tags: str) -> None:
        """Values of an account, of one currency; IB's names of them."""
        with self.db.transaction() as cursor:
            words = [AccountValue(account, tag, currency, value) for tag, value in tags.items()]
            account_state.put_values(cursor, words, at)

    def broker_holds(self, *held: tuple[int, int], account: str = ACCOUNT) -> None:
        """All positions of an account by IB, compared with ours."""
        words = [Position(account, con_id, Decimal(quantity), None) for con_id, quantity in held]
        with self.db.transaction() as cursor:
            risk_book.lock_account(cursor, account)
            positions.put_all_broker(cursor, account, words, NOW)
            positions.compare(cursor, account)

    def quote(self, con_id: int = 1, last: float | None = None, seen_at: int = NOW, **fields: Any) -> None:
        nothing: dict[str, Any] = dict.fromkeys(QuoteRow._fields)
        row = {**nothing, "con_id": con_id, "last": last, "feed": "live", "seen_at": seen_at, **fields}
        with self.db.transaction() as cursor:
            quotes.put(cursor, [QuoteRow(**row)])

    def adjusted(self, quantity: int, kind: str, price: str | None, at: int = NOW) -> int:
        with self.db.transaction() as cursor:
            risk_book.lock_account(cursor, ACCOUNT)
            made = Adjustment(
                ACCOUNT, 1, Decimal(quantity), kind, "a test", "user:1", at, None if price is None else Decimal(price)
            )
            return positions.adjust(cursor, made)


def instrument(
    cursor: Cursor, con_id: int, symbol: str, *, kind: str = "STK", currency: str = "USD", multiplier: str = ""
) -> None:
    """A contract that IB described."""
    cursor.execute(
        "INSERT INTO instruments (con_id, instrument_id, symbol, asset_class, exchange, primary_exchange, currency, local_symbol,"
        " trading_class, expiry, multiplier, min_tick, long_name, time_zone, calendar, details)"
        " VALUES (%s, %s, %s, %s, 'X', 'X', %s, %s, %s, '', %s, 0.01, %s, 'UTC', 'X', '{}')",
        (con_id, f"{symbol}.X", symbol, kind, currency, symbol, symbol, multiplier, symbol),
    )


@contextmanager
def portfolio(dsn: str, folder: Path) -> Iterator[Portfolio]:
    """Accounts whose cash was opened long before the first fill."""
    stored = StoredBars(dsn, NOW)
    with stored.db.transaction() as cursor:
        furnish(cursor, ACCOUNT, OTHER)
        instrument(cursor, 2, "ESZ", kind="FUT", multiplier="50")
        instrument(cursor, 3, "EUR", kind="CASH", currency="USD")
        instrument(cursor, 4, "SAP", currency="EUR")
    made = Portfolio(stored, folder)
    made.values(at=NOW - 2 * DAY_NS, CashBalance=str(CASH), NetLiquidation=str(CASH))
    with stored.db.transaction() as cursor:
        cash.open_balances(cursor, ACCOUNT)
    try:
        yield made
    finally:
        stored.close()
