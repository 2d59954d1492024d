"""What a query needs before its bars are read, as of one snapshot: which contracts it means, and how their series stand."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.coverage.availability import Availability, Calendars, Subject, Window, assess
from nautilus.db.bars import read
from nautilus.db.bars.bar_source import ProvisionalPart
from nautilus.db.bars.read import LookupSnapshot, SnapshotContext
from nautilus.db.cursor import Cursor
from nautilus.db.market import instruments, series
from nautilus.errors import NautilusError
from nautilus.lookup.identity import Identity, identify, identify_by_name, trade_day
from nautilus.lookup.resolve import known_identity
from nautilus.market.instrument import Instrument, kinds, price_kind, session_kind
from nautilus.market.symbols import Selector
from nautilus.market.timeframes import timeframe
from nautilus.reading import as_of, page_token, provisional
from nautilus.reading.as_of import AsOf
from nautilus.reading.page_token import PageCursor, Token
from nautilus.reading.query import BarsQuery
from nautilus.spans import Span

_NO_FAILURES: Mapping[str, NautilusError] = MappingProxyType({})


class Part:
    """One instrument of a query: what of it is available, what is still to be read, as of which version; or an error."""

    def __init__(self, name: str | None, page_cursor: PageCursor) -> None:
        self.name = name
        self.page_cursor = page_cursor
        self.availability: Availability | None = None
        self.identity: Identity | None = None
        self.error: NautilusError | None = None
        self.key: int | None = None
        self.as_of: int | None = None
        self.provisional: ProvisionalPart | None = None

    @property
    def complete(self) -> bool:
        if self.availability is None:
            return False
        return self.page_cursor.complete if self.as_of is not None else self.availability.complete


class Snapshot(NamedTuple):
    """Everything a query needs, as of one snapshot. unknown: what has to be looked up at IB."""

    context: SnapshotContext
    parts: Sequence[Part]
    token: Token | None
    unknown: Sequence[Selector] = ()

    @property
    def complete(self) -> bool:
        return all(part.complete for part in self.parts)

    @property
    def availabilities(self) -> list[Availability]:
        return [part.availability for part in self.parts if part.availability is not None]

    @property
    def pending(self) -> bool:
        """True while something of a window is under way."""
        return any(availability.pending for availability in self.availabilities)

    @property
    def versions(self) -> dict[int, int]:
        """The series whose bars are read, and their versions now."""
        rows = [availability.row for availability in self.availabilities]
        return {row.id: row.data_version for row in rows if row is not None}


def take(
    cursor: Cursor, query: BarsQuery, calendars: Calendars, failed: Mapping[str, NautilusError] = _NO_FAILURES
) -> Snapshot:
    """What a query needs. failed: why the unknown could not be looked up, by the key of their lookup."""
    prices, sessions = kinds(price_kind, query.price), kinds(session_kind, query.session)
    found = read.lookup_snapshot(
        cursor, query.selectors, query.timeframe, prices=prices, sessions=sessions, name=query.instrument_name
    )
    context = found.context
    if query.page_token is not None:
        token = page_token.unseal(
            query.page_token, context.store_id, query=query.digest, now_s=context.machine_ns // NS_PER_S
        )
        return Snapshot(context, _later_pages(cursor, query, calendars, found=found, token=token), token)
    parts, unknown = [], []
    for name, selector in zip(query.names, query.selectors, strict=True):
        part = Part(name, PageCursor(0, 0, 0, "", (0, 0), False))
        parts.append(part)
        try:
            part.identity = _identity(cursor, query, found, selector)
            if part.identity is None:
                unknown.append(selector)
                part.error = failed.get(selector.key)
                continue
            subject = _subject(query, part.identity.instrument)
            part.availability = _assess(cursor, found, calendars, subject=subject, window=query.window)
            if query.live:
                _with_provisional(cursor, part, part.availability, end=query.window.end, now_ns=context.market_ns)
            elif query.as_of is not None:
                _go_back(cursor, part, part.availability, wanted=query.as_of, now_ns=context.machine_ns)
            else:
                part.page_cursor = _page_cursor(part.availability)
        except NautilusError as wrong:
            if not query.several:
                raise
            part.error = wrong
    return Snapshot(context, parts, None, unknown)


def _assess(
    cursor: Cursor, found: LookupSnapshot, calendars: Calendars, *, subject: Subject, window: Window
) -> Availability:
    series_state = found.series_states.get(subject.instrument.con_id)
    return assess(cursor, found.context, calendars, subject=subject, window=window, series_state=series_state)


def _identity(cursor: Cursor, query: BarsQuery, found: LookupSnapshot, selector: Selector) -> Identity | None:
    """The contract that a selector of the query means; None when only IB can tell."""
    today, lookup = trade_day(found.context.market_ns), found.lookups.get(selector.key)
    if query.instrument_name is not None:
        by_name = identify_by_name(query.instrument_name, found.named, selector, found=lookup, today=today)
        if by_name is not None:
            return by_name
    return identify(selector, lookup, today, partial(instruments.alike, cursor, selector)) if lookup else None


def _subject(query: BarsQuery, instrument: Instrument) -> Subject:
    kind = instrument.asset_class
    return Subject(instrument, query.timeframe, price_kind(kind, query.price), session_kind(kind, query.session))


def _go_back(cursor: Cursor, part: Part, now: Availability, *, wanted: AsOf, now_ns: int) -> None:
    """Let a part be read as it was at a version; `now` is its view as it is, `now_ns` machine time."""
    version = as_of.version_of(cursor, wanted, now, now_ns=now_ns)
    part.availability = as_of.bars_alone(now)
    part.page_cursor = _page_cursor(part.availability)._replace(version=version)
    part.as_of = version if version != now.data_version else None


def _with_provisional(cursor: Cursor, part: Part, now: Availability, *, end: int | None, now_ns: int) -> None:
    """Let a part be read with its provisional bars. end: of the window, where it is given; now_ns: market time."""
    part.availability, part.provisional = provisional.beside(cursor, now, end=end, now_ns=now_ns)
    part.page_cursor = _page_cursor(part.availability)


def _page_cursor(availability: Availability) -> PageCursor:
    return PageCursor(
        availability.subject.instrument.con_id,
        availability.row.id if availability.row else 0,
        availability.data_version,
        availability.finer.name if availability.finer else "",
        availability.span,
        availability.complete,
    )


# ---- pages after the first -------------------------------------------------------------------------------------------


def _later_pages(
    cursor: Cursor, query: BarsQuery, calendars: Calendars, *, found: LookupSnapshot, token: Token
) -> list[Part]:
    """The instruments that a token still holds, as they were when its first page was read."""
    candidates = {i.con_id: i for lookup in found.lookups.values() for i in lookup.candidates}
    parts = []
    for n, page_cursor in enumerate(token.page_cursors):
        part = Part(query.names[token.done + n], page_cursor)
        parts.append(part)
        # What a name means may have changed since; the token holds what it meant.
        instrument = candidates.get(page_cursor.con_id)
        if instrument is None and page_cursor.con_id:
            instrument = instruments.by_id(cursor, page_cursor.con_id)
        selector = query.selectors[token.done + n]
        if instrument is None:
            part.error = _why_unknown(cursor, selector)
            continue
        part.identity = Identity.of(selector, found.lookups.get(selector.key), instrument)
        window = Window(*page_cursor.window, query.window.limit)
        now = _assess(cursor, found, calendars, subject=_subject(query, instrument), window=window)
        if query.live:
            # Provisional bars have no versions: each page shows what is there when it is read.
            _with_provisional(cursor, part, now, end=window.end, now_ns=found.context.market_ns)
            part.key = token.key if n == 0 else None
            continue
        if query.as_of is not None:
            now = as_of.bars_alone(now)
        _go_on(cursor, part, now, token.key if n == 0 else None, backward=query.backward)
    return parts


def _go_on(cursor: Cursor, part: Part, now: Availability, key: int | None, *, backward: bool) -> None:
    """Let a part be read from `key` on as its first page saw it, whatever is there now."""
    seen, subject = part.page_cursor, now.subject
    finer = timeframe(seen.source) if seen.source else None
    row = series.find(
        cursor, subject.instrument.con_id, finer or subject.timeframe, price=subject.price, session=subject.session
    )
    if seen.series_id and (row is None or row.id != seen.series_id or row.data_version < seen.version):
        raise page_token.expired()
    part.availability = now._replace(span=seen.window, row=row if seen.series_id else None, finer=finer)
    part.as_of = seen.version if (row.data_version if row else 0) != seen.version else None
    part.key = key
    rest = remaining(part.availability.span, key, backward=backward)
    # What retention removed has no later revision to be read from: a walk that comes to it ends, and says so.
    if row and part.as_of is not None and read.any_removed(cursor, row.id, seen.version, rest):
        raise page_token.expired()


def remaining(span: Span, key: int | None, *, backward: bool) -> Span:
    """What of a span is still to be read, from `key` on or, backward, up to it."""
    if key is None:
        return span
    return (span[0], key) if backward else (key, span[1])


def _why_unknown(cursor: Cursor, selector: Selector) -> NautilusError | None:
    try:
        known_identity(cursor, selector)
    except NautilusError as wrong:
        return wrong
    return None
