"""Pages of bars: what one holds, and whether it continues the one before. No socket.

A page that is cut, that repeats or skips something, or that belongs to another version raises. There is never a shorter frame.
"""

import json
import operator
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from nautilus_client.arrow_stream import MEDIA_TYPE, read
from nautilus_client.columns import Columns, join_columns
from nautilus_client.errors import BrokenAnswer, VersionChanged
from nautilus_client.messages import Answer
from nautilus_client.times import to_ns

JSON_COLUMNS = "application/vnd.nautilus.columns+json"
ACCEPTED = f"{MEDIA_TYPE}, {JSON_COLUMNS};q=0.5"
"""Arrow where the server has it, else column-wise JSON."""
METADATA = "nautilus"
"""Where an Arrow stream has the answer without its candles."""
MOST = 50_000
"""Bars of one page."""


class Gap(NamedTuple):
    """A range without settled bars. start, end: RFC 3339, end excluded. state and reason: docs/backfill.md has all of them."""

    start: str
    end: str
    state: str
    reason: str = ""
    ib_code: int | None = None

    @property
    def why(self) -> str:
        words = f"{self.state}, {self.reason}" if self.reason else self.state
        return f"{words} (code {self.ib_code})" if self.ib_code else words


class Info(NamedTuple):
    """What an answer says of its bars. window: [start, end) in ns. complete: None with `as_of`, as coverage has no versions.
    rest: the whole answer without its candles."""

    symbol: str
    timeframe: str
    instrument_id: str
    price: str
    session: str
    version: int
    source: str
    store: str
    window: tuple[int, int]
    complete: bool | None
    missing: Sequence[Gap]
    rest: Mapping[str, Any]

    @property
    def series(self) -> str:
        return f"{self.instrument_id} {self.timeframe} {self.price} {self.session}"


class Page(NamedTuple):
    """One page. token: of the next one; None: it is the last."""

    info: Info
    columns: Columns
    token: str | None


def page_of(answer: Answer, fields: Sequence[str]) -> Page:
    """The page of an answer. BrokenAnswer when it is not whole."""
    if answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        stream = read(answer.body)
        try:
            described = json.loads(stream.metadata[METADATA])
        except (KeyError, ValueError) as wrong:
            raise BrokenAnswer(f"the Arrow stream has no description of its bars: {wrong!r}") from None
        columns = Columns({name: stream.columns[name] for name in fields if name in stream.columns})
    else:
        described = answer.record()
        columns = Columns.of_lists(described.pop("candles", None) or {}, fields)
    if set(fields) - set(columns):
        raise BrokenAnswer(f"the answer lacks {', '.join(sorted(set(fields) - set(columns)))}")
    if described.get("total") != columns.size:
        raise BrokenAnswer(f"the answer has {columns.size} bars and says {described.get('total')}")
    return Page(info_of(described), columns, described.get("next_page_token"))


def info_of(described: Mapping[str, Any]) -> Info:
    """What an answer says, without its candles."""
    try:
        coverage = described["coverage"]
        missing = [gap_of(row) for row in coverage["missing"]] if coverage is not None else []
        return Info(
            symbol=described["symbol"],
            timeframe=described["timeframe"],
            instrument_id=described["instrument_id"],
            price=described["price"],
            session=described["session"],
            version=described["data_version"],
            source=described["source"],
            store=described["store"],
            window=(to_ns(described["window"]["start"]), to_ns(described["window"]["end"])),
            complete=None if coverage is None else coverage["complete"],
            missing=missing,
            rest=described,
        )
    except (KeyError, TypeError) as wrong:
        raise BrokenAnswer(f"the answer lacks {wrong}") from None


def gap_of(row: Mapping[str, Any]) -> Gap:
    return Gap(row["start"], row["end"], row["state"], row.get("reason") or "", row.get("ib_code"))


class Chain:
    """The pages of one reading, from the first on. backward: from the newest to the oldest page; bars ascend within each."""

    def __init__(self, fields: Sequence[str], *, backward: bool = False) -> None:
        self._fields = fields
        self._backward = backward
        self._parts: list[Columns] = []
        self._end: int | None = None
        self.info: Info | None = None
        self.size = 0

    def take(self, page: Page) -> str | None:
        """Add a page; returns the token of the next one. BrokenAnswer, or VersionChanged, when it does not continue."""
        before = self.info
        if before is None:
            self.info = page.info
        elif page.info.version != before.version:
            raise VersionChanged(before.series, before.version, page.info.version)
        elif page.info.source != before.source:
            raise BrokenAnswer(f"a page has bars of {page.info.source!r}, those before of {before.source!r}")
        self._check_order(page)
        self._parts.append(page.columns)
        self.size += page.columns.size
        if page.token is not None and not page.columns.size:
            raise BrokenAnswer("a page without bars has a token of a next page")
        return page.token

    def _check_order(self, page: Page) -> None:
        if "ts" not in page.columns or not page.columns.size:
            return
        ts = page.columns["ts"].data
        if any(map(operator.ge, ts, islice(ts, 1, None))):
            raise BrokenAnswer("the bars of a page do not ascend")
        near, far = (ts[-1], ts[0]) if self._backward else (ts[0], ts[-1])
        if self._end is not None and (near >= self._end if self._backward else near <= self._end):
            raise BrokenAnswer("a page repeats bars of the one before")
        self._end = far

    def columns(self) -> Columns:
        """All bars so far, ascending."""
        return join_columns(self._parts[::-1] if self._backward else self._parts, self._fields)


def merged_info(parts: Sequence[Info], window: tuple[int, int]) -> Info:
    """What holds for ranges that follow each other and have one version."""
    gaps: list[Gap] = []
    for gap in (gap for part in parts for gap in part.missing):
        last = gaps[-1] if gaps else None
        if last is not None and last.end == gap.start and last[2:] == gap[2:]:
            gaps[-1] = last._replace(end=gap.end)
        else:
            gaps.append(gap)
    known = [part.complete for part in parts if part.complete is not None]
    return parts[0]._replace(
        window=window,
        missing=gaps,
        version=max(part.version for part in parts),
        complete=all(known) if known else None,
    )
