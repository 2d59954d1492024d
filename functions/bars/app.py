"""Bars: GET /api/v1/market-data/historical/bars."""

import json
import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from nautilus.auth import Principal
from nautilus.clock import datetime_of, rfc3339
from nautilus.db.bars import DEFAULT_FIELDS, FIELDS
from nautilus.errors import InvalidInput
from nautilus.instruments import price_kind, select, session_kind
from nautilus.market_data import DEFAULT_LIMIT, MAX_LIMIT, MarketData, View, Window
from nautilus.schemas.backfill import nanoseconds
from nautilus.timeframes import timeframe
from nautilus.web import ServicesDep, lambda_handler, needs

router = APIRouter(tags=["market data"])
_MAX_WAIT_S = 20.0


@router.get(
    "/api/v1/market-data/historical/bars",
    summary="Bars of one instrument, with what is missing and why",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
)
async def bars(
    request: Request,
    services: ServicesDep,
    caller: Annotated[Principal, needs("bars:read")],
    symbol: Annotated[str | None, Query(description="such as AAPL, EURUSD or EUR/USD")] = None,
    instrument_id: Annotated[str | None, Query(description="such as AAPL.NASDAQ, instead of symbol")] = None,
    asset_class: Annotated[str | None, Query(description="STK, CASH, FUT, IND, ...; default from the symbol")] = None,
    exchange: Annotated[str | None, Query(description="a hint between candidates")] = None,
    currency: Annotated[str | None, Query()] = None,
    frame: Annotated[str, Query(alias="timeframe", description="1m, 5m, 1h, 1d, ...")] = "1h",
    price: Annotated[str | None, Query(description="TRADES, MIDPOINT, BID, ASK, BID_ASK, AGGTRADES")] = None,
    session: Annotated[str | None, Query(description="rth or all")] = None,
    start: Annotated[str | None, Query(description="RFC 3339 with offset, or epoch nanoseconds; included")] = None,
    end: Annotated[str | None, Query(description="the same; excluded")] = None,
    limit: Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description=f"default {DEFAULT_LIMIT}")] = None,
    fields: Annotated[str | None, Query(description="comma-separated; " + ", ".join(FIELDS))] = None,
    wait: Annotated[float | None, Query(ge=0, le=_MAX_WAIT_S, description="seconds to wait for missing bars")] = None,
) -> Response:
    selector = select(
        symbol=symbol, instrument_id=instrument_id, asset_class=asset_class, exchange=exchange, currency=currency
    )
    size = timeframe(frame)
    window = Window(_time("start", start), _time("end", end), limit)
    if window.start is not None and window.end is not None and window.start >= window.end:
        raise InvalidInput.field("start", "must be before end")
    names = _fields(fields)
    data = MarketData(
        services.db,
        services.queue,
        search_wait_s=services.settings.search_wait_s,
        plan_limit=services.settings.read_plan_limit,
    )
    instrument = await data.instrument(selector, caller)
    view, job_id = await data.read(
        instrument,
        size,
        price_kind(instrument.asset_class, price),
        session_kind(instrument.asset_class, session),
        window,
        caller=caller,
        fields=names,
        wait_s=_wait(request, wait),
        default_wait_s=services.settings.read_wait_s,
    )
    return Response(_body(view, job_id, symbol), media_type="application/json", headers={"Cache-Control": "no-store"})


def _time(field: str, text: str | None) -> int | None:
    try:
        value: int | None = nanoseconds(text)
    except ValueError as wrong:
        raise InvalidInput.field(field, str(wrong), ["2024-01-05T14:30:00Z", "1704465000000000000"]) from None
    return value


def _fields(text: str | None) -> tuple[str, ...]:
    if not text:
        return DEFAULT_FIELDS
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [name for name in names if name not in FIELDS]
    if wrong or not names:
        raise InvalidInput.field("fields", f"{', '.join(wrong) or text!r} is not a field of a bar", FIELDS)
    return names


def _wait(request: Request, asked: float | None) -> float | None:
    """Seconds to wait: the parameter, else `Prefer: wait=N` (RFC 7240)."""
    if asked is not None:
        return asked
    found = re.search(r"\bwait=(\d+(?:\.\d+)?)", request.headers.get("prefer", ""))
    return min(float(found[1]), _MAX_WAIT_S) if found else None


def _body(view: View, job_id: UUID | None, symbol: str | None) -> str:
    """The answer as text: PostgreSQL made the candles, so they are put between the other fields as they are."""
    page = view.page
    head = json.dumps({"symbol": symbol or view.instrument.display_symbol, "timeframe": view.timeframe.name})
    rest: dict[str, Any] = {
        "total": page.count,
        "start_date": _date(view, page.first_ts),
        "end_date": _date(view, page.last_ts),
        "source": view.source,
        "instrument_id": view.instrument.instrument_id,
        "price": view.price,
        "session": view.session,
        "data_version": view.data_version,
        "window": {"start": rfc3339(view.span[0]), "end": rfc3339(view.span[1])},
        "coverage": {
            "complete": view.complete,
            "missing": [
                {
                    "start": rfc3339(m.span[0]),
                    "end": rfc3339(m.span[1]),
                    "state": m.state.value,
                    **({"reason": m.reason} if m.reason else {}),
                    **({"ib_code": m.ib_code} if m.ib_code else {}),
                }
                for m in view.missing
            ],
        },
        "job_id": str(job_id) if job_id else None,
    }
    return f'{head[:-1]}, "candles": [{page.rows}], {json.dumps(rest)[1:]}'


def _date(view: View, ts: int | None) -> str | None:
    """A time as the front end's chart reads it: `20240105  14:30:00Z`, or `20240105` for days and longer."""
    if ts is None:
        return None
    return datetime_of(ts).strftime("%Y%m%d  %H:%M:%SZ" if view.timeframe.intraday else "%Y%m%d")


handler = lambda_handler("bars", router)
