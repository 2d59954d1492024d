"""The routes of strategies over rows that a test writes, as a host would: one stock with stored bars, a template, callers."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import APIRouter

import functions.frontend.app
import functions.strategies.app
from nautilus.clock import NS_PER_DAY, NS_PER_S, day_of
from nautilus.db.strategies import hosts, runs, templates
from nautilus.db.strategies.runs import RunRow
from nautilus.db.strategies.templates import Template
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.strategies.states import Mode
from tests.support.stored_bars import Api, StoredBars, stock
from tests.support.strategy_rows import new_run

OPEN = 1_704_465_000 * NS_PER_S  # 2024-01-05T14:30:00Z, a Friday
MINUTE = 60 * NS_PER_S
CLOSE = OPEN + 390 * MINUTE
NOW = CLOSE + 3600 * NS_PER_S
ACCOUNT = "SIM1"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "fast": {"type": "integer", "minimum": 1, "maximum": 500, "default": 10, "description": "bars"},
        "slow": {"type": "integer", "exclusiveMinimum": 1, "default": 20},
        "trade_size": {
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}],
            "default": "10",
            "title": "Trade size",
        },
        "side": {"enum": ["both", "long"], "type": "string", "default": "both"},
    },
}


class Strategies:
    """A trader, who owns what is made; another one; an administrator; and what a host writes."""

    def __init__(self, stored: StoredBars, folder: Path) -> None:
        self.stored = stored
        self.db = stored.db
        self.api = self._api(folder, functions.strategies.app.router)
        self.page = self._api(folder, functions.frontend.app.router)
        scopes = ("orders:read", "orders:write", "strategies:write", "monitoring:read")
        self.trader = stored.user(7, *scopes, accounts=[ACCOUNT])
        self.other = stored.user(8, *scopes)
        self.reader = stored.user(7, "orders:read", accounts=[ACCOUNT])
        self.chief = stored.user(1, "admin")

    def _api(self, folder: Path, router: APIRouter) -> Api:
        return self.stored.api(folder, router=router)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        return self.api.request(method, f"/api/v1{path}", headers=headers or self.trader, **options)

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Any:
        answer = self.send("GET", path, headers, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def shown(self, path: str, **query: Any) -> Any:
        """What the old front end gets."""
        answer = self.page.get(f"/api/v1{path}", headers=self.trader, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask_page(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        return self.page.request(method, f"/api/v1{path}", headers=headers or self.trader, json=body)

    def backtest(self, **changes: Any) -> Any:
        body = {
            "template": "ema_cross",
            "instruments": [{"con_id": 1}],
            "timeframe": "1m",
            "start": "2024-01-05T14:30:00Z",
            "end": "2024-01-05T21:00:00Z",
        }
        given = {name: value for name, value in {**body, **changes}.items() if value is not None}
        return self.send("POST", "/backtests", json=given)

    # ---- what a host writes ------------------------------------------------------------------------------------------

    def host(self, **changes: Any) -> None:
        given: dict[str, Any] = {
            "engine": "nautilus_trader 2",
            "fence": {},
            "problem": "",
            "children": 0,
            "capacity": 1,
        }
        with self.db.transaction() as cursor:
            hosts.put(cursor, "strategies-1", **{**given, **changes})

    def templates(self, *found: Template) -> None:
        with self.db.transaction() as cursor:
            templates.replace(cursor, found)

    def run(self, mode: Mode = Mode.BACKTEST, *, owner: str = "user:7", account: str = "", **columns: Any) -> RunRow:
        """A run with columns as a host would have written them."""
        with self.db.transaction() as cursor:
            new = new_run(mode, 1, owner=owner, account=account)
            if mode is Mode.BACKTEST:
                new = new._replace(start_ns=OPEN, end_ns=CLOSE)
            row = runs.insert(cursor, new)
            if columns:
                written = ", ".join(f"{name} = %s" for name in columns)
                cursor.execute(f"UPDATE strategy_runs SET {written} WHERE id = %s", (*columns.values(), row.id))
            found = runs.read(cursor, row.id)
            assert found is not None
            return found

    def fill(
        self, run_id: UUID, n: int, side: str, quantity: str, price: str, *, at: int, fee: str | None = "1"
    ) -> None:
        with self.db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO strategy_fills (run_id, n, client_order_id, trade_id, con_id, market_ns, side, quantity, price,"
                " commission, currency) VALUES (%s, %s, %s, %s, 1, %s, %s, %s, %s, %s, 'USD')",
                (run_id, n, f"O-{n}", f"T-{n}", at, side, Decimal(quantity), Decimal(price), fee and Decimal(fee)),
            )

    def equity(self, run_id: UUID, *points: tuple[int, str]) -> None:
        with self.db.transaction() as cursor:
            for at, value in points:
                cursor.execute(
                    "INSERT INTO strategy_equity (run_id, market_ns, equity) VALUES (%s, %s, %s)", (run_id, at, value)
                )

    def event(self, run_id: UUID, n: int, kind: str, body: str, at: int | None = None) -> None:
        with self.db.transaction() as cursor:
            cursor.execute(
                "INSERT INTO strategy_events (run_id, n, market_ns, kind, body) VALUES (%s, %s, %s, %s, %s)",
                (run_id, n, at, kind, body),
            )

    def sql(self, statement: str, *values: Any) -> list[Any]:
        return self.stored.rows(statement, *values)


EMA = Template("ema_cross", "EMA cross", "two averages", "hash-1", SCHEMA, "strategy_runner:ema_cross")


@contextmanager
def strategies(dsn: str, folder: Path) -> Iterator[Strategies]:
    """A store with a day of minutes of one stock, and a host that runs."""
    stored = StoredBars(dsn, NOW)
    session = Session(OPEN, CLOSE, day_of(OPEN))
    known = (OPEN - 3 * NS_PER_DAY, CLOSE + 3 * NS_PER_DAY)
    stored.instrument(stock(), Calendar.of([session], known, "America/New_York"))
    bars = [Bar(OPEN + n * MINUTE, 1.0, 2.0, 0.5, 1.5 + n / 1000, 10.0, 1.2, 3) for n in range(390)]
    stored.record(stock(), "1m", bars, settled=[(OPEN - NS_PER_DAY, CLOSE)])
    made = Strategies(stored, folder)
    made.templates(EMA)
    made.host()
    try:
        yield made
    finally:
        stored.close()
