"""Every answer is, byte by byte, what a plain and slow implementation computes: over random series, windows, sorts,
fields and forms, over days when clocks change and days that close early."""

import json
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from nautilus.market.bar import Bar
from nautilus.market.calendar import Calendar, Session
from nautilus.market.timeframes import timeframe
from nautilus.market.windows import days_back
from tests.support.markets import DAY, HOUR, MINUTE, forex, label, ns, nyse
from tests.support.stored_bars import BARS, SOURCE, Api, StoredBars, stock

# Between two sessions of both markets: all bars are closed.
NOW = ns("2024-12-10 17:05", "America/New_York")
YEAR = (ns("2024-01-01 00:00"), NOW)
# The weeks in which clocks change in New York and in London, and those with early closes.
SPELLS = [
    (date(2024, 3, 6), 9),
    (date(2024, 3, 28), 6),
    (date(2024, 7, 1), 5),
    (date(2024, 10, 25), 14),
    (date(2024, 11, 26), 7),
]
FIELDS = ["time", "ts", "open", "high", "low", "close", "volume", "vwap", "trades", "ts_open", "ts_close"]


@dataclass(frozen=True)
class Market:
    """One instrument with its sessions and the bars that are stored of it."""

    symbol: str
    calendar: Calendar
    session: str
    price: str
    stored: dict[str, list[Bar]]
    frames: tuple[str, ...]


# ---- the reference ---------------------------------------------------------------------------------------------------


def number(value: float | int | None) -> str:
    """As PostgreSQL writes a float8: the shortest digits that mean it, with an exponent below 1e-4 and from 1e15 on.

    (Beyond 2**53 PostgreSQL now and then writes one digit more than the fewest; prices do not go there.)
    """
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    size = exponent + len(text) - 1
    if -5 < size < 15:
        whole = text + "0" * exponent if exponent >= 0 else text[:exponent] or "0"
        rest = "" if exponent >= 0 else text[exponent:].rjust(-exponent, "0")
        shown = whole + ("." + rest if rest else "")
    else:
        shown = text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{'-' if size < 0 else '+'}{abs(size):02d}"
    return ("-" if sign else "") + shown


def slot_of(session: Session, ts: int, step: int, zone: str) -> tuple[int, int]:
    """[open, close) of the bar that holds ts: by the exchange's wall clock, cut at the session's ends."""
    local = datetime.fromtimestamp(ts // 1_000_000_000, UTC).astimezone(ZoneInfo(zone))
    seconds = step // 1_000_000_000
    if seconds <= 3600:
        begin = ts - ((local.hour * 3600 + local.minute * 60 + local.second) % seconds) * 1_000_000_000
        end = begin + step
    else:
        hour = local.hour - local.hour % (seconds // 3600)
        begin = wall(local.date(), hour, zone)
        end = wall(local.date(), hour + seconds // 3600, zone)
    return max(begin, session.open_ns), min(end, session.close_ns)


def wall(day: date, hour: int, zone: str) -> int:
    day, hour = day + timedelta(days=hour // 24), hour % 24
    return round(datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000


def holding(market: Market, ts: int) -> Session | None:
    sessions = market.calendar.sessions
    at = bisect_right([s.open_ns for s in sessions], ts) - 1
    return sessions[at] if at >= 0 and ts < sessions[at].close_ns else None


def period(frame: str, ts: int) -> int:
    day = datetime.fromtimestamp(ts // 1_000_000_000, UTC).date()
    return label((day - timedelta(days=day.weekday()) if frame == "1w" else day.replace(day=1)).isoformat())


def grouped(market: Market, frame: str, finer: Sequence[Bar]) -> list[Bar]:
    """Bars of a coarser timeframe, made one after the other."""
    groups: dict[int, list[Bar]] = {}
    for bar in finer:
        if frame in ("1w", "1M"):
            groups.setdefault(period(frame, bar.ts), []).append(bar)
            continue
        session = holding(market, bar.ts)
        if session is not None:
            stamp = slot_of(session, bar.ts, timeframe(frame).step_ns, market.calendar.time_zone)[0]
            groups.setdefault(stamp, []).append(bar)
    made = []
    for stamp, bars in sorted(groups.items()):
        volume = total(b.volume for b in bars)
        turnover = total(None if b.vwap is None or b.volume is None else b.vwap * b.volume for b in bars)
        trades = None if any(b.trades is None for b in bars) else sum(b.trades or 0 for b in bars)
        vwap = turnover / volume if turnover is not None and volume else None
        made.append(
            Bar(
                stamp,
                bars[0].open,
                max(b.high for b in bars),
                min(b.low for b in bars),
                bars[-1].close,
                volume,
                vwap,
                trades,
            )
        )
    return made


def total(values: Any) -> float | None:
    found = 0.0
    for value in values:
        if value is None:
            return None
        found += value
    return found


def bars_of(market: Market, frame: str) -> tuple[list[Bar], str]:
    """All bars of a timeframe and the source they are from: stored, or made of the coarsest that divides it."""
    if frame in market.stored:
        return market.stored[frame], SOURCE
    step = timeframe(frame).step_ns
    if frame in ("1w", "1M"):
        finer = "1d"
    else:
        names = [n for n in market.stored if timeframe(n).step_ns < step and step % timeframe(n).step_ns == 0]
        finer = max((n for n in names if n != "1d"), key=lambda n: timeframe(n).step_ns)
    return grouped(market, frame, market.stored[finer]), f"derived from {finer}"


def last_close(market: Market, frame: str) -> int:
    """The end of the last bar that is closed now, on the axis of the timeframe."""
    if timeframe(frame).intraday:
        return max(s.close_ns for s in market.calendar.sessions if s.close_ns <= NOW)
    dates = sorted({s.trade_date for s in market.calendar.sessions if s.close_ns <= NOW - 15 * MINUTE})
    labels = [label(d.isoformat()) for d in dates]
    if frame == "1d":
        return labels[-1] + DAY
    return period(frame, labels[-1])  # the week and the month of NOW still form


def window(market: Market, frame: str, query: dict[str, Any]) -> tuple[int, int]:
    end = query.get("end") or last_close(market, frame)
    if query.get("start") is not None:
        start = query["start"]
    else:
        days = days_back(timeframe(frame), query.get("limit"))
        before = min(end, last_close(market, frame))
        if timeframe(frame).intraday:
            begun = [s for s in market.calendar.sessions if s.open_ns < before]
            dates = sorted({s.trade_date for s in begun})[-days:]
            start = min(s.open_ns for s in begun if s.trade_date == dates[0])
        else:
            dates = [
                d for d in sorted({s.trade_date for s in market.calendar.sessions}) if label(d.isoformat()) < before
            ]
            start = label(dates[-days:][0].isoformat())
    if frame in ("1w", "1M"):
        return period(frame, start), end
    if frame == "1d":
        return start - start % DAY, end
    session = Session(-(2**62), 2**62, date(2024, 1, 1))
    return slot_of(session, start, timeframe(frame).step_ns, market.calendar.time_zone)[0], end


def shown(market: Market, frame: str, bar: Bar, name: str) -> str:
    moment = datetime.fromtimestamp(bar.ts // 1_000_000_000, UTC)
    if name == "time":
        return moment.strftime("%Y%m%d  %H:%M:%SZ" if timeframe(frame).intraday else "%Y%m%d")
    if name in ("ts_open", "ts_close"):
        return number(hours(market, frame, bar.ts)[name == "ts_close"])
    return number(getattr(bar, name))


def hours(market: Market, frame: str, ts: int) -> tuple[int, int]:
    if timeframe(frame).intraday:
        session = holding(market, ts)
        assert session is not None
        return ts, slot_of(session, ts, timeframe(frame).step_ns, market.calendar.time_zone)[1]
    day = datetime.fromtimestamp(ts // 1_000_000_000, UTC).date()
    until = {
        "1d": day + timedelta(days=1),
        "1w": day + timedelta(days=7),
        "1M": (day + timedelta(days=32)).replace(day=1),
    }
    inside = [s for s in market.calendar.sessions if day <= s.trade_date < until[frame]]
    return min(s.open_ns for s in inside), max(s.close_ns for s in inside)


def rows(market: Market, frame: str, bars: Sequence[Bar], fields: Sequence[str], form: str) -> str:
    """The candles of an answer, one character after the other."""
    if form == "csv":
        lines = [",".join(shown(market, frame, b, f).replace("null", "") for f in fields) for b in bars]
        return "".join(line + "\n" for line in [",".join(fields), *lines])
    quoted = [[f'"{v}"' if f == "time" else v for f in fields for v in [shown(market, frame, b, f)]] for b in bars]
    if form == "columns":
        if not bars:
            return ""
        return ",".join(f'"{f}":[{",".join(row[n] for row in quoted)}]' for n, f in enumerate(fields))
    objects = ["{" + ",".join(f'"{f}":{v}' for f, v in zip(fields, row, strict=True)) + "}" for row in quoted]
    return "".join(line + "\n" for line in objects) if form == "ndjson" else ",".join(objects)


# ---- the series ------------------------------------------------------------------------------------------------------


def spelt(calendar: Calendar) -> Iterator[Session]:
    for first, days in SPELLS:
        yield from (s for s in calendar.sessions if first <= s.trade_date < first + timedelta(days=days))


def series(calendar: Calendar, chance: random.Random, step: int, thin: float, *, quotes: bool) -> list[Bar]:
    """Random bars of the chosen weeks; in every other session or so `thin` of the slots hold none."""
    return [
        some(chance, ts, quotes=quotes)
        for session in spelt(calendar)
        for rate in [thin * chance.randrange(2)]
        for ts in range(session.open_ns, session.close_ns, step)
        if chance.random() >= rate
    ]


def some(chance: random.Random, ts: int, *, quotes: bool) -> Bar:
    price = chance.choice(
        [round(chance.uniform(1, 300), chance.randrange(6)), chance.uniform(-50, 50), 1e-7, 1e15, 0.1, 100.0]
    )
    bare = quotes or chance.random() < 0.02
    volume = None if bare else chance.choice([0.0, float(chance.randrange(10**9)), 12.5])
    vwap = None if bare or chance.random() < 0.02 else round(price, 4)
    return Bar(
        ts, price, price + 1, price - 1, round(price, 2), volume, vwap, None if bare else chance.randrange(10**6)
    )


@pytest.fixture
def markets(dsn: str, tmp_path: Path) -> Iterator[tuple[Api, list[Market]]]:
    chance = random.Random(20)
    shares, pair = nyse(), forex()
    lately = Calendar(shares.sessions[-30:], shares.known, shares.time_zone)
    days = [label(s.trade_date.isoformat()) for s in shares.sessions if YEAR[0] <= label(s.trade_date.isoformat())]
    made = [
        Market(
            "AAPL",
            shares,
            "rth",
            "TRADES",
            {
                "1m": series(shares, chance, MINUTE, 0.1, quotes=False),
                "5m": series(shares, chance, 5 * MINUTE, 0.0, quotes=False),
                "30s": series(lately, chance, MINUTE // 2, 0.5, quotes=False),
                "1d": [some(chance, ts, quotes=False) for ts in days if ts <= label("2024-12-10")],
            },
            ("1m", "2m", "3m", "5m", "15m", "30m", "1h", "2h", "3h", "4h", "8h", "1d", "1w", "1M"),
        ),
        Market(
            "EUR", pair, "all", "MIDPOINT",
            {
                "1m": series(pair, chance, MINUTE, 0.002, quotes=True),
                "15m": series(pair, chance, 15 * MINUTE, 0.05, quotes=True),
            },
            ("1m", "15m", "30m", "1h", "2h", "4h", "8h"),
        ),
    ]  # fmt: skip
    stored_bars = StoredBars(dsn, NOW)
    for con_id, market in enumerate(made, 1):
        one = stock(con_id, market.symbol, f"STK:{market.symbol}")
        stored_bars.instrument(one, market.calendar, market.session)
        for frame, bars in market.stored.items():
            edge = (YEAR[0], label("2024-12-11")) if frame == "1d" else YEAR
            stored_bars.record(one, frame, bars, settled=[edge], price=market.price, session=market.session)
    yield stored_bars.api(tmp_path, anonymous_scopes=("bars:read",)), made
    stored_bars.close()


@st.composite
def queries(draw: st.DrawFn) -> tuple[int, str, str, dict[str, Any]]:
    which = draw(st.integers(0, 1))
    frames = ("1m", "2m", "3m", "5m", "15m", "30m", "1h", "2h", "3h", "4h", "8h", "1d", "1w", "1M")
    frame = draw(st.sampled_from(frames if which == 0 else ("1m", "15m", "30m", "1h", "2h", "4h", "8h")))
    form = draw(st.sampled_from(["json", "csv", "ndjson", "columns"]))
    query: dict[str, Any] = {"sort": draw(st.sampled_from(["asc", "desc"]))}
    first, days = draw(st.sampled_from(SPELLS))
    at = label(first.isoformat()) + draw(st.integers(0, days * 24 * 60)) * MINUTE
    length = draw(st.sampled_from([HOUR, 7 * HOUR, DAY, 3 * DAY, 9 * DAY, 40 * DAY]))
    end = min(at + length, YEAR[1] - 5 * DAY)
    kind = draw(st.integers(0, 3))
    if kind in (0, 1):
        query["start"] = at
    if kind in (0, 2):
        query["end"] = end
    if draw(st.booleans()):
        query["limit"] = draw(st.sampled_from([1, 2, 7, 50, 777, 3_000]))
    if "start" not in query and days_back(timeframe(frame), query.get("limit")) > 40:
        query["start"] = at  # else the window would begin before the first bar, and have gaps
        query["end"] = end
    if draw(st.booleans()):
        query["fields"] = ",".join(draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=11, unique=True)))
    return which, frame, form, query


def test_answers_are_those_of_the_reference(markets: tuple[Api, list[Market]]) -> None:
    api, made = markets
    known = {(m.symbol, frame): bars_of(m, frame) for m in made for frame in m.frames}
    looked_at = set()

    @settings(
        deadline=None,
        max_examples=150,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(queries())
    def holds(requested: tuple[int, str, str, dict[str, Any]]) -> None:
        note(str(requested))
        which, frame, form, query = requested
        market = made[which]
        every, source = known[market.symbol, frame]
        start, end = window(market, frame, query)
        # A derived bar is there when its slot is closed; stored ones are all closed.
        inside = [b for b in every if start <= b.ts < min(end, last_close(market, frame))]
        if query["sort"] == "desc":
            inside.reverse()
        backward = "start" not in query and query["sort"] == "asc"
        limit = query.get("limit", 1_000)
        fields = query["fields"].split(",") if "fields" in query else FIELDS[form == "csv" : 7]
        requested_of: dict[str, Any] = {
            "symbol": market.symbol,
            "asset_class": "STK",
            "timeframe": frame,
            "format": form,
        }
        requested_of |= {"session": market.session, "price": market.price, "wait": 0}
        token, left, pages = None, inside, 0
        while True:
            page = left[-limit:] if backward else left[:limit]
            answer = api.get(BARS, params={**requested_of, **query, **({"page_token": token} if token else {})})
            assert answer.status_code == 200, answer.text
            expected = rows(market, frame, page, fields, form)
            token = answer.headers.get("x-next-page-token")
            assert (token is not None) == (len(page) < len(left))
            if form in ("csv", "ndjson"):
                assert answer.text == expected
            else:
                opening, closing = ("{", "}") if form == "columns" else ("[", "]")
                assert f'"candles":{opening}{expected}{closing},"total":{len(page)},' in answer.text
                body = json.loads(answer.text)
                assert body["source"] == source or not page
                assert (body["next_page_token"] is not None) == (token is not None)
                ends = sorted(b.ts for b in page)
                assert body["start_date"] == (shown(market, frame, Bar(ends[0], *[0] * 7), "time") if ends else None)
                assert body["coverage"]["complete"], body["coverage"]
            left = left[:-limit] if backward else left[limit:]
            pages += 1
            if token is None or pages == 4:
                break
        looked_at.add((frame, form, bool(inside)))

    holds()
    assert len(looked_at) > 35


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_columns_tell_what_objects_tell_where_bars_are_even_and_where_not(dsn: str, tmp_path: Path, order: str) -> None:
    """Sessions of 24 hours and of a few minutes, whole ones, gaps, and bars beside the multiples of their step."""
    day = label("2024-06-04")
    edges = [(0, 23), (24, 30), (30.5, 31), (40, 63), (64, 72)]
    sessions = [
        Session(day + int(a * HOUR), day + int(b * HOUR), date(2024, 6, 4 + n)) for n, (a, b) in enumerate(edges)
    ]
    span = (day - DAY, day + 4 * DAY)
    one, stored_bars = stock(), StoredBars(dsn, NOW)
    stored_bars.instrument(one, Calendar.of(sessions, span, "America/New_York"), "all")
    stamps = {ts for s in sessions for ts in range(s.open_ns, s.close_ns, MINUTE)}
    stamps -= {day + 45 * HOUR, day + 45 * HOUR + MINUTE}
    # As many as there is room for between the first and the last, and yet not all of them.
    stamps = stamps - {day + 25 * HOUR} | {day + 25 * HOUR + 7_000_000_000}
    chance = random.Random(3)
    stored_bars.record(
        one, "1m", [some(chance, ts, quotes=False) for ts in sorted(stamps)], settled=[span], session="all"
    )
    api = stored_bars.api(tmp_path, anonymous_scopes=("bars:read",))
    for limit in (10_000, 1_500, 600):
        query = {"symbol": "AAPL", "timeframe": "1m", "session": "all", "start": day, "end": day + 3 * DAY, "wait": 0}
        query |= {"sort": order, "limit": limit, "fields": "ts,close,volume"}
        rows = api.get(BARS, params=query).json()["candles"]
        query |= {"format": "columns", "fields": "close,time,ts,volume"}
        columns = api.get(BARS, params=query).json()["candles"]
        assert [row["ts"] for row in rows] == sorted(stamps, reverse=order == "desc")[:limit]
        assert columns == {
            "close": [row["close"] for row in rows],
            "time": [f"{datetime.fromtimestamp(row['ts'] // 10**9, UTC):%Y%m%d  %H:%M:%SZ}" for row in rows],
            "ts": [row["ts"] for row in rows],
            "volume": [row["volume"] for row in rows],
        }
    stored_bars.close()
