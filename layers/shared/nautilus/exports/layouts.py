"""How the files of an export are named and cut: in partitions, side by side, or as a catalog of NautilusTrader."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from nautilus.clock import datetime_of, ns_of
from nautilus.errors import InvalidInput
from nautilus.market.instrument import Instrument
from nautilus.market.timeframes import Timeframe
from nautilus.spans import Span


class Layout(StrEnum):
    """Where files lie. The two catalogs are those of NautilusTrader's first and second line: neither reads the other's."""

    HIVE = "hive"
    FLAT = "flat"
    CATALOG_1 = "nautilus-trader-1.x"
    CATALOG_2 = "nautilus-trader-2.x"

    @property
    def catalog(self) -> bool:
        return self in (Layout.CATALOG_1, Layout.CATALOG_2)


class Split(StrEnum):
    """How the bars of a series are cut into files, by their stamps in UTC."""

    YEAR = "year"
    MONTH = "month"
    NONE = "none"


class Names(NamedTuple):
    """What the files of a series are named by."""

    instrument: Instrument
    timeframe: Timeframe
    price: str
    session: str


_CATALOG_PRICES = {"TRADES": "LAST", "MIDPOINT": "MID", "BID": "BID", "ASK": "ASK"}
_UNITS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "M": "MONTH"}
_PARTS = re.compile(r"part-v[0-9]+\.[a-z.]+")
_INTERVAL = re.compile(r"([0-9TZ-]+)_([0-9TZ-]+)\.parquet")
DEFAULT_SPLITS = {
    Layout.HIVE: Split.YEAR,
    Layout.FLAT: Split.YEAR,
    Layout.CATALOG_1: Split.MONTH,
    Layout.CATALOG_2: Split.MONTH,
}


def parts(span: Span, split: Split) -> Iterator[tuple[str, Span]]:
    """A range cut at the beginnings of years or months, each part with its label: `2024`, `2024-03`, or nothing."""
    if split is Split.NONE:
        yield "", span
        return
    at = span[0]
    while at < span[1]:
        day = datetime_of(at)
        if split is Split.YEAR:
            label, after = f"{day.year}", datetime(day.year + 1, 1, 1, tzinfo=UTC)
        else:
            label = f"{day.year}-{day.month:02}"
            after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        end = min(ns_of(after), span[1])
        yield label, (at, end)
        at = end


def check(layout: Layout, names: Names) -> None:
    """InvalidInput when a layout cannot hold such a series."""
    if layout.catalog and names.price not in _CATALOG_PRICES:
        raise InvalidInput.field(
            "price", f"NautilusTrader has no bars of {names.price}", [*_CATALOG_PRICES, "layout=hive", "layout=flat"]
        )


def bar_type(names: Names) -> str:
    """The series in NautilusTrader's words: `AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL`."""
    found = re.fullmatch(r"([0-9]+)([smhdwM])", names.timeframe.name)
    assert found is not None  # noqa: S101  for the type checker: a test goes through all timeframes
    price = _CATALOG_PRICES[names.price]
    return f"{names.instrument.instrument_id}-{found[1]}-{_UNITS[found[2]]}-{price}-EXTERNAL"


def folder(layout: Layout, names: Names, part: str) -> str:
    """The folder of a part of a series, below that of the export; empty: that itself."""
    if layout is Layout.FLAT:
        return ""
    if layout is Layout.HIVE:
        year, _, month = part.partition("-")
        found = f"timeframe={names.timeframe.name}/price={names.price}/session={names.session}"
        found += f"/instrument_id={quote(names.instrument.instrument_id, safe='')}"
        return found + (f"/year={year}" if year else "") + (f"/month={int(month)}" if month else "")
    bars = "bar" if layout is Layout.CATALOG_1 else "bars"
    return f"{layout}/data/{bars}/{bar_type(names).replace('/', '')}"


def file_name(layout: Layout, names: Names, part: str, *, version: int, interval: Span | None, ending: str) -> str:
    """What a file is called. interval: the first and the last stamp within, for catalogs."""
    if layout is Layout.HIVE:
        return f"part-v{version}.{ending}"
    if layout is Layout.FLAT:
        words = [quote(names.instrument.instrument_id, safe=""), names.timeframe.name, names.price, names.session, part]
        return f"{'_'.join(word for word in words if word)}.{ending}"
    assert interval is not None  # noqa: S101  for the type checker: no file of a catalog is empty
    return f"{stamp(interval[0])}_{stamp(interval[1])}.{ending}"


def stamp(ns: int) -> str:
    """A time in the names of catalogs: `2024-01-05T14-31-00-000000000Z`."""
    return f"{datetime_of(ns):%Y-%m-%dT%H-%M-%S}-{ns % 10**9:09}Z"


class Overlap(Exception):
    """A file of a catalog that would lie across one that is there already."""


def replaced(layout: Layout, name: str, existing: list[str]) -> list[str]:
    """Which files of the same folder a new one replaces. Overlap: a catalog may not have it beside them."""
    if layout is Layout.HIVE:
        return [other for other in existing if other != name and _PARTS.fullmatch(other)]
    found, ours = [], _INTERVAL.fullmatch(name)
    if not layout.catalog or ours is None:
        return []
    # Such stamps have one length, so that texts compare as times do.
    for other in existing:
        theirs = _INTERVAL.fullmatch(other)
        if theirs is None or other == name or theirs[2] < ours[1] or theirs[1] > ours[2]:
            continue
        if theirs[1] < ours[1] or theirs[2] > ours[2]:
            raise Overlap(f"{name} would overlap {other}, which is there already")
        found.append(other)
    return found
