"""Which candles fit into a page, instrument by instrument, and where the next page goes on."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.clock import NS_PER_S
from nautilus.coverage.availability import Availability, missing_rows
from nautilus.db.bars import bar_source, candles
from nautilus.db.bars.bar_source import BarSource
from nautilus.db.bars.candles import Rendering, TimeSlice
from nautilus.db.cursor import Cursor
from nautilus.db.market.series import Series
from nautilus.market import slots
from nautilus.reading import arrow, page_token
from nautilus.reading import as_of as versions
from nautilus.reading.formats import Format, compact
from nautilus.reading.page_token import Token
from nautilus.reading.query import DEFAULT_LIMIT, BarsQuery
from nautilus.reading.snapshot import Part, Snapshot, remaining
from nautilus.spans import Span, Spans

MAX_BYTES = 5_900_000
"""Largest body, as the text within JSON that Lambda's answer is (its limit: 6,291,556 bytes with all else)."""
_LEAST_SLOTS = 1_000
"""At least so many slots are searched at once."""
_WIDER = 8
"""How many times more slots are searched for the end of a page when those before held too few bars."""


class SeriesPage(NamedTuple):
    """The candles of one instrument in a page, as text.

    first_ts, last_ts: the stamps of its oldest and its newest candle. next_key: where the next page goes on, or, backward,
    up to where it goes; None when there are no more candles.
    """

    candles: bytes = b""
    total: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    next_key: int | None = None


class Page(NamedTuple):
    """The candles of the first instruments of a query, and the token of the next page; None when there is none."""

    series: Sequence[SeriesPage]
    next_token: str | None


def read_page(cursor: Cursor, query: BarsQuery, snapshot: Snapshot) -> Page:
    """The candles that fit into one page."""
    left, room = query.window.limit or DEFAULT_LIMIT, MAX_BYTES
    pages: list[SeriesPage] = []
    for n, part in enumerate(snapshot.parts):
        availability, page = part.availability, SeriesPage()
        if availability is not None and availability.missing:
            room -= escaped_length(compact({"missing": missing_rows(availability.missing)}))
        if pages and (left <= 0 or room <= 0):
            return Page(pages, _token(query, snapshot, n, None))
        if availability is not None and availability.row is not None:
            reader = SeriesReader(cursor, query, part, availability, row=availability.row)
            page = reader.page(remaining(availability.span, part.key, backward=query.backward), left, room)
        pages.append(page)
        if page.next_key is not None:
            return Page(pages, _token(query, snapshot, n, page.next_key))
        left -= page.total
        room -= length_in_answer(query.form, page.candles) if query.several else 0
    return Page(pages, None)


def _token(query: BarsQuery, snapshot: Snapshot, done: int, key: int | None) -> str:
    """The token of a page that goes on with part `done` of this snapshot, from `key` or from its beginning."""
    before = snapshot.token.done if snapshot.token else 0
    window = snapshot.parts[done].page_cursor.window
    if key is None:
        key = window[1] if query.backward else window[0]
    now_s = snapshot.context.machine_ns // NS_PER_S
    # Each page checks whether what a version is made from is still kept.
    expires_s = page_token.expiry(now_s) if query.as_of is None else page_token.NEVER_S
    token = Token(
        query.digest,
        tuple(part.page_cursor for part in snapshot.parts[done:]),
        key,
        before + done,
        snapshot.token.expires_s if snapshot.token else expires_s,
    )
    return token.seal(snapshot.context.store_id)


class SeriesReader:
    """Reads pages of one series, as it is now, as it was at a version, or with its provisional bars."""

    def __init__(
        self, cursor: Cursor, query: BarsQuery, part: Part, availability: Availability, *, row: Series
    ) -> None:
        self._cursor = cursor
        self._query = query
        self._availability = availability
        self._row = row
        self._as_of = as_of = part.as_of
        self._provisional = part.provisional
        self._added = bar_source.added_after(cursor, row.id, as_of) if as_of is not None else Spans()
        self._rendering = Rendering(
            query.form,
            query.fields,
            query.timeframe,
            availability.subject.instrument.display_symbol if query.several and not query.form.enveloped else None,
            query.descending,
            marked=query.live and not query.form.table,
        )

    def page(self, span: Span, limit: int, room: int) -> SeriesPage:
        """At most `limit` candles of the near end of a span, which take at most `room` bytes of Lambda's answer.

        The near end is the beginning, or, backward, the end. One candle is read however long it is.
        """
        if self._query.as_of is not None and self._as_of is not None:
            versions.check_kept(self._cursor, self._availability, self._row.id, version=self._as_of, span=span)
        if self._query.form is Format.ARROW:
            limit = min(limit, max(1, room * 3 // 4 // arrow.row_bytes(self._rendering.fields, self._rendering.symbol)))
        while True:
            slices, next_key = self._read(span, limit)
            size = sum(each.size for each in slices)
            fitting = slices if size <= 1 else self._fitting(slices, room)
            if len(fitting) < len(slices):
                next_key = self._next_key(slices, fitting)
            if fitting or not slices:
                return _series_page(self._rendering, fitting, next_key)
            limit = min(limit, size) // 2

    def _read(self, span: Span, limit: int) -> tuple[Sequence[TimeSlice], int | None]:
        """The first `limit` candles of a span, and where the page after them begins; None when there are no more.

        As many slots as candles are wanted are read at once: mostly each slot has its bar. What is lacking then is searched
        for behind them.
        """
        part = self._known_slots(span, limit)
        slices = self._slices(part, limit)
        if sum(each.size for each in slices) > limit:  # bars that lie beside the slots
            part, slices = self._nothing(span), []
        lacking = limit - sum(each.size for each in slices)
        rest = (span[0], part[0]) if self._query.backward else (part[1], span[1])
        next_key = self._end(rest, lacking)
        if lacking:
            more = self._slices(rest if next_key is None else self._near(rest, next_key), lacking)
            slices = [*more, *slices] if self._query.backward else [*slices, *more]
        return slices, next_key

    def _slices(self, span: Span, limit: int) -> Sequence[TimeSlice]:
        rendering, calendar = self._rendering, self._availability.calendar
        if calendar is not None and {"ts_open", "ts_close"} & set(rendering.fields):
            rendering = rendering._replace(hours=slots.in_time(calendar, self._query.timeframe, span))
        return candles.time_slices(self._cursor, self._source(span), span, rendering, limit=limit)

    def _known_slots(self, span: Span, number: int) -> Span:
        """The near end of a span that has so many slots, or all of it; none of it where the calendar does not tell."""
        part, calendar = self._with_slots(span, number), self._availability.calendar
        known = calendar.known_axis(self._query.timeframe) if calendar is not None else Spans()
        return part if not Spans.of(*part) - known else self._nothing(span)

    def _nothing(self, span: Span) -> Span:
        """An empty range at the near end of a span."""
        at = span[1] if self._query.backward else span[0]
        return (at, at)

    def _end(self, span: Span, limit: int) -> int | None:
        """Where the first `limit` candles of a span end; None when it has no more. The calendar tells where to look."""
        if span[0] >= span[1]:
            return None
        number = max(limit, _LEAST_SLOTS)
        while True:
            part = self._with_slots(span, number)
            end = bar_source.page_end(self._cursor, self._source(part), part, limit, backward=self._query.backward)
            if end is not None or part == span:
                return end
            number *= _WIDER

    def _with_slots(self, span: Span, number: int) -> Span:
        """The near end of a span that has so many slots; all of it where the calendar is not known."""
        calendar, frame, backward = self._availability.calendar, self._query.timeframe, self._query.backward
        if calendar is None or span[0] >= span[1]:
            return span
        return self._near(span, slots.cut_after(calendar, frame, span, number, backward=backward))

    def _near(self, span: Span, cut: int) -> Span:
        """The near end of a span, up to a cut."""
        return (cut, span[1]) if self._query.backward else (span[0], cut)

    def _source(self, span: Span) -> BarSource:
        """The stored bars of a span, or the slots in it to which they are aggregated."""
        availability, known = self._availability, None
        if availability.finer is not None and availability.calendar is not None:
            known = slots.on_axis(availability.calendar, self._query.timeframe, span)
            # What still forms is no bar yet, though its first parts may be stored.
            closed = [n for n, start in enumerate(known.starts) if start < availability.until]
            known = slots.Slots(*([row[n] for n in closed] for row in (known.starts, known.opens, known.closes)))
        return BarSource(self._row.id, self._row.timeframe, self._as_of, self._added, known, self._provisional)

    def _fitting(self, slices: Sequence[TimeSlice], room: int) -> Sequence[TimeSlice]:
        """The slices at the near end that fit into the room together. Of packed columns no more were read than fit."""
        if not self._query.form.text:
            return slices
        if 2 * sum(len(text) for each in slices for text in each.texts) <= room:
            return slices  # no text takes more than twice its length
        number = 0
        for each in reversed(slices) if self._query.backward else slices:
            room -= sum(map(escaped_length, each.texts))
            if room < 0:
                break
            number += 1
        return slices[len(slices) - number :] if self._query.backward else slices[:number]

    def _next_key(self, slices: Sequence[TimeSlice], fitting: Sequence[TimeSlice]) -> int:
        """Where the candles go on after those that fit."""
        if self._query.backward:
            return slices[-len(fitting) - 1].last_ts + 1
        return slices[len(fitting)].first_ts


def _series_page(rendering: Rendering, slices: Sequence[TimeSlice], next_key: int | None) -> SeriesPage:
    return SeriesPage(
        candles.joined(rendering, slices),
        sum(each.size for each in slices),
        slices[0].first_ts if slices else None,
        slices[-1].last_ts if slices else None,
        next_key,
    )


def length_in_answer(form: Format, candles: bytes) -> int:
    """How long the candles are within Lambda's answer."""
    return escaped_length(candles) if form.text else -(-len(candles) // 3) * 4


def escaped_length(text: bytes) -> int:
    """How long a text is within the JSON that Lambda answers with: quotes, backslashes and line ends take two bytes."""
    return 2 * len(text) - len(text.translate(None, b'"\\\n'))
