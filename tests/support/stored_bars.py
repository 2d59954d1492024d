"""Stored bars for tests of reading: a real database with instruments, sessions and series, and the API before it.

No bridge and no simulator: what IB would have answered is put in through `nautilus.db.market.series.record`, as the bridge does.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI

import functions.bars.app
from dev.credentials import token_settings
from nautilus.auth.tokens.sign import Signer
from nautilus.clock import NS_PER_DAY, NS_PER_S, MarketTime
from nautilus.coverage.states import Note
from nautilus.db import retention
from nautilus.db.bars.write import Written
from nautilus.db.bridge import status
from nautilus.db.connection import Database
from nautilus.db.market import calendars, instruments, series
from nautilus.db.retention import Kept
from nautilus.http.app import create_app
from nautilus.http.services import Services
from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar
from nautilus.market.instrument import Instrument
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.settings.api import ApiSettings
from nautilus.spans import Span, Spans

BARS = "/api/v1/market-data/historical/bars"
SOURCE = "sim:7"


def stock(con_id: int = 1, symbol: str = "AAPL", calendar: str = "STK:NASDAQ:America/New_York") -> Instrument:
    return Instrument(
        con_id=con_id,
        instrument_id=f"{symbol}.NASDAQ",
        symbol=symbol,
        asset_class="STK",
        exchange="SMART",
        primary_exchange="NASDAQ",
        currency="USD",
        local_symbol=symbol,
        trading_class="NMS",
        expiry="",
        multiplier="",
        min_tick=0.01,
        long_name=f"{symbol} INC",
        time_zone="America/New_York",
        calendar=calendar,
    )


class Api:
    """The app in this process, without a socket; one event loop for all requests."""

    def __init__(self, app: FastAPI) -> None:
        self.services: Services = app.state.services
        self._runner = asyncio.Runner()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=30)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self.client.request(method, path, **options))

    def all(self, *gets: Coroutine[Any, Any, Any]) -> list[Any]:
        """The results of several requests made at once."""

        async def together() -> list[Any]:
            return list(await asyncio.gather(*gets))

        return self._runner.run(together())

    def close(self) -> None:
        self._runner.run(self.client.aclose())
        self._runner.close()


class StoredBars:
    """The database and short words for filling it. Market time stands still at `now` until it is moved."""

    def __init__(self, dsn: str, now: int) -> None:
        self.dsn = dsn
        self._apis: list[Api] = []
        self.db = Database(dsn, name="test-stored-bars", size=12)
        with self.db.transaction() as cursor:
            status.claim_source(cursor, SOURCE)
        self.set_time(now)

    def set_time(self, now: int) -> None:
        """Market time stands still at `now`, and the bridge that says so was heard just now."""
        with self.db.transaction() as cursor:
            status.publish(
                cursor,
                "bridge-1",
                login="SIM7",
                account="SIM7",
                state="connected",
                reason="",
                host="",
                port=0,
                client_id=None,
                server_version=None,
                farms={},
                activity={},
                clock=MarketTime(0, now, 0.0),
                settle_s=(15, 900),
            )

    def instrument(self, one: Instrument, calendar: Calendar, session: str = "rth") -> Instrument:
        """Make an instrument known, with the sessions of its calendar."""
        with self.db.transaction() as cursor:
            instruments.store(cursor, one, {})
            for key in (Selector(one.asset_class, one.symbol, one.currency), Selector(one.asset_class, one.symbol)):
                instruments.remember(cursor, key.key, [one.con_id], keep_s=None)
            calendars.store(
                cursor,
                one.calendar,
                session,
                time_zone=calendar.time_zone,
                known=calendar.known,
                sessions=list(calendar.sessions),
            )
        return one

    def record(
        self,
        one: Instrument,
        frame: str,
        bars: Sequence[Bar] = (),
        *,
        settled: Iterable[Span] = (),
        noted: Iterable[Note] = (),
        price: str = "TRADES",
        session: str = "rth",
    ) -> Written:
        """What one answer changes, in its own transaction, as the bridge commits it."""
        with self.db.transaction() as cursor:
            row = series.find_or_make(cursor, one.con_id, timeframe(frame), price=price, session=session)
            locked = series.by_id(cursor, row.id, lock=True)
            return series.apply_changes(cursor, locked, bars=bars, settled=Spans(settled), noted=noted)

    def api(self, folder: Any, **settings: Any) -> Api:
        """The bars function, or another one's `router`, for callers without credentials; closed with the database."""
        made = Api(self.app(folder, **settings))
        self._apis.append(made)
        return made

    def app(self, folder: Any, *, router: APIRouter = functions.bars.app.router, **settings: Any) -> FastAPI:
        """The bars function's app, or another function's; callers without credentials may read and fill."""
        known: dict[str, Any] = {
            "database_url": self.dsn,
            "log_level": "WARNING",
            "anonymous_scopes": ("bars:read", "backfill:write"),
            "reads_per_minute": 0,
            "read_wait_s": 0,
            "search_wait_s": 0.2,
        }
        keys = {name.removeprefix("NAUTILUS_").lower(): value for name, value in token_settings(folder).items()}
        self._keys = keys
        keys = {name: value for name, value in keys.items() if name in ApiSettings.model_fields}
        return create_app(
            router,
            services=Services(ApiSettings.model_validate(known | keys | settings), "test"),
        )

    def user(
        self, number: int, *scopes: str, accounts: Iterable[str] = (), key_id: int | None = None
    ) -> dict[str, str]:
        """Headers of a signed-in user with these accounts at IB; an app must have been made before. key_id: of the API key that
        opened the sign-in."""
        keys = self._keys
        signer = Signer(keys["token_key_id"], keys["token_private_key"], issuer="nautilus", audience="nautilus-api")
        now_s = int(time.time())
        token = signer.sign(
            user_id=number,
            name="",
            scopes=scopes,
            accounts=tuple(accounts),
            session=str(UUID(int=number)),
            key_id=key_id,
            now_s=now_s,
            expires_s=now_s + 300,
        ).token
        return {"Authorization": f"Bearer {token}"}

    def record_session(self, start: int, now: int) -> None:
        """The 390 one-minute bars of a session of the stock that opens at `start`; from the day before up to `now` all is
        settled."""
        bars = [Bar(start + n * 60 * NS_PER_S, 1.0, 2.0, 0.5, 1.5, 10.0, 1.2, 3) for n in range(390)]
        self.record(stock(), "1m", bars, settled=[(start - NS_PER_DAY, now)])

    def forget_changes(self, upto: int) -> Mapping[str, int]:
        """Let retention forget the changes of all versions up to this one, as the daily command does with what is older than a
        day; here the age is made. Returns how many rows of each table went."""
        for table, version, when in (
            ("series_changes", "version", "committed_at"),
            ("bar_revisions", "until_version", "changed_at"),
        ):
            self.rows(f"UPDATE {table} SET {when} = now() - interval '9 days' WHERE {version} <= %s", upto)
        return retention.forget(self.db, Kept(requests=0, revisions=8, audit=0, bars={}))

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.db.transaction() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        for api in self._apis:
            api.close()
        self.db.close()
