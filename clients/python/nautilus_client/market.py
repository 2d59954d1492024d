"""Market data: bars, what is missing of them, series, sessions, instruments, backfills."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from nautilus_client import timeframes
from nautilus_client.bars import Bars, ManyBars, Source
from nautilus_client.columns import USUAL, Columns
from nautilus_client.errors import BadTime, Incomplete, NautilusError
from nautilus_client.pages import MOST, Info, Page
from nautilus_client.reading import WORKERS, Progress, Query, Reader
from nautilus_client.records import Calendar, Coverage, Instrument, Series, records
from nautilus_client.times import Time, is_date, span_ns, text, to_ns, zone_of

if TYPE_CHECKING:
    from nautilus_client.backfills import Job
    from nautilus_client.connection import Connection

_HINTS = ("asset_class", "exchange", "currency")
_SELECTORS = ("symbol", "instrument_id", "con_id", *_HINTS, "price", "session")


def named(symbol: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that name an instrument and its series; exactly one of symbol, instrument_id and con_id is given."""
    found = {"symbol": symbol, **{name: given.get(name) for name in _SELECTORS if name != "symbol"}}
    unknown = set(given) - set(_SELECTORS)
    if unknown:
        raise TypeError(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(_SELECTORS)}")
    if sum(found[name] is not None for name in ("symbol", "instrument_id", "con_id")) != 1:
        raise TypeError("give exactly one of symbol, instrument_id and con_id")
    return {name: value for name, value in found.items() if value is not None}


class Market:
    """The part of a client that reads market data."""

    def __init__(self, connection: "Connection", *, cache: bool = False) -> None:
        self._connection = connection
        self._cache = cache
        self._zones: dict[tuple[tuple[str, Any], ...], str] = {}

    # ---- bars --------------------------------------------------------------------------------------------------------

    @overload
    def bars(self, symbol: str | None = None, timeframe: str = "1m", **options: Any) -> Bars: ...

    @overload
    def bars(self, symbol: list[str] | tuple[str, ...], timeframe: str = "1m", **options: Any) -> ManyBars: ...

    def bars(
        self,
        symbol: str | Sequence[str] | None = None,
        timeframe: str = "1m",
        *,
        start: Time | None = None,
        end: Time | None = None,
        last: str | None = None,
        limit: int | None = None,
        fill: bool = False,
        wait: float | None = None,
        require_complete: bool = False,
        as_of: int | str | None = None,
        live: bool = False,
        request_missing: bool = True,
        fields: Sequence[str] = USUAL,
        page_size: int = MOST,
        allow_newer: bool = False,
        progress: Progress | None = None,
        **series: Any,
    ) -> Any:
        """Bars of an instrument: `Bars`; of a list of symbols: `ManyBars`, each symbol with a version of its own.

        start, end: RFC 3339 text, a datetime with a zone, ns, or a date: the date begins at midnight of the exchange (for 1d, 1w
        and 1M it is the date itself). last: a length such as `30d`, back from the last closed bar. Without any of them the
        window is the server's usual one. limit: bars in all, the newest where there is no start. fill: have what is missing
        fetched first, and wait for it. wait: seconds that the read itself waits for missing bars, at most 20.
        require_complete: Incomplete is raised when something is missing. as_of: the bars as they were at a version or a time.
        live: with provisional bars. request_missing: False, so that the read itself has nothing fetched. page_size: bars of one
        answer. allow_newer: parts of a large range may have different versions. series: instrument_id or con_id in
        place of the symbol; asset_class, exchange, currency; price; session.
        """
        options = {key: value for key, value in locals().items() if key not in ("self", "symbol", "series")} | series
        if symbol is not None and not isinstance(symbol, str):
            return self._many(list(symbol), options)
        return self._one(symbol, timeframe, series, options)

    def _many(self, symbols: Sequence[str], options: Mapping[str, Any]) -> ManyBars:
        """Side by side. An error of one symbol is kept for whoever uses that symbol; when all fail, the first is raised."""
        from concurrent.futures import ThreadPoolExecutor

        def read(symbol: str) -> Bars | NautilusError:
            try:
                found: Bars = self.bars(symbol, **options)
                len(found)
            except Incomplete:
                raise
            except NautilusError as error:
                return error
            return found

        unique = list(dict.fromkeys(symbols))
        if not unique:
            raise TypeError("give at least one symbol")
        with ThreadPoolExecutor(WORKERS) as pool:
            found = dict(zip(unique, pool.map(read, unique), strict=True))
        errors = {name: each for name, each in found.items() if isinstance(each, NautilusError)}
        if len(errors) == len(unique):
            raise errors[unique[0]]
        return ManyBars({name: each for name, each in found.items() if isinstance(each, Bars)}, errors)

    def _one(self, symbol: str | None, timeframe: str, series: Mapping[str, Any], options: Mapping[str, Any]) -> Bars:
        where = named(symbol, series) | {"timeframe": timeframes.checked(timeframe)}
        limit, page_size = options["limit"], options["page_size"]
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if not 1 <= page_size <= MOST:
            raise ValueError(f"page_size must be 1 to {MOST:,}, not {page_size}")
        window = self.window(where, start=options["start"], end=options["end"], last=options["last"])
        if options["fill"]:
            self._fill(where, window)
        parameters = {**where, **window, "as_of": options["as_of"], "live": 1 if options["live"] else None}
        parameters |= {} if options["request_missing"] else {"backfill": "never"}
        fields = tuple(dict.fromkeys(("ts", *options["fields"], *(("provisional",) if options["live"] else ()))))
        query = Query(
            {name: value for name, value in parameters.items() if value is not None},
            fields,
            limit=limit,
            page_size=page_size,
            wait=options["wait"],
            allow_newer=options["allow_newer"],
        )
        found = self._read(query, symbol, options["progress"])
        return found.require_complete() if options["require_complete"] else found

    def _read(self, query: Query, symbol: str | None, progress: Progress | None) -> Bars:
        """The bars of a query. Its first page is read at once, so that errors come here."""
        if self._cache:
            from nautilus_client import cache

            kept = cache.read(self._connection, query, progress)
            if kept is not None:
                info, columns = kept
                return Bars(symbol or info.instrument_id, info, columns, self._source(query, None, progress))
        reader = Reader(self._connection.send, query, progress)
        first = reader.first()
        whole = first.columns if first.token is None or first.columns.size == query.limit else None
        name = symbol or first.info.instrument_id
        return Bars(name, first.info, whole, self._source(query, first, progress))

    def _source(self, query: Query, first: Page | None, progress: Progress | None) -> Source:
        reader = Reader(self._connection.send, query, progress)
        where = {key: query.parameters[key] for key in _SELECTORS if key in query.parameters}

        def load() -> tuple[Info, Columns]:
            return reader.all(first or reader.first())

        def batches() -> Iterator[tuple[Info, Columns]]:
            page, ascending = first or reader.first(), reader
            if query.backward and page.token is not None:  # pages would come from the newest to the oldest
                ascending = Reader(self._connection.send, query.between(*page.info.window), progress)
                page = ascending.first()
            for each in ascending.pages(page):
                yield each.info, each.columns

        return Source(load, batches, lambda: self._details(first, where), lambda: self.zone_name(where))

    def _details(self, first: Page | None, where: Mapping[str, Any]) -> Mapping[str, Any]:
        instrument = (
            first.info.instrument_id
            if first
            else str(where.get("instrument_id") or self._calendar(where).instrument_id)
        )
        return self.instrument(instrument).as_dict()

    # ---- windows -----------------------------------------------------------------------------------------------------

    def window(
        self, where: Mapping[str, Any], *, start: Time | None, end: Time | None, last: str | None
    ) -> dict[str, int | None]:
        """start and end in ns. where: the parameters that name the series."""
        if last is not None and start is not None:
            raise BadTime("give start or last, not both")
        dated = any(value is not None and is_date(value) for value in (start, end))
        zone = None
        if dated:
            zone = zone_of(self.zone_name(where)) if timeframes.intraday(where["timeframe"]) else zone_of("UTC")
        found = {
            "start": None if start is None else to_ns(start, zone, field="start"),
            "end": None if end is None else to_ns(end, zone, field="end"),
        }
        if last is not None:
            found["end"] = found["end"] or self._last_closed(where)
            found["start"] = (found["end"] or 0) - span_ns(last)
        if found["start"] is not None and found["end"] is not None and found["start"] >= found["end"]:
            raise BadTime(f"start {text(found['start'])} is not before end {text(found['end'])}")
        return found

    def _last_closed(self, where: Mapping[str, Any]) -> int:
        """The end of the last closed bar, as the server knows it: its clock counts, not that of this machine."""
        return to_ns(self._connection.call("coverage", **where, limit=1)["window"]["end"])

    def zone_name(self, where: Mapping[str, Any]) -> str:
        """The time zone of an instrument's exchange. where: the parameters that name it."""
        key = tuple(
            sorted(
                (name, value) for name, value in where.items() if name in ("symbol", "instrument_id", "con_id", *_HINTS)
            )
        )
        if key not in self._zones:
            self._zones[key] = self._calendar(dict(key)).time_zone
        return self._zones[key]

    def _calendar(self, where: Mapping[str, Any]) -> Calendar:
        return Calendar(self._connection.call("calendar", **where, limit=1))

    # ---- what is missing ---------------------------------------------------------------------------------------------

    def coverage(
        self,
        symbol: str | None = None,
        timeframe: str = "1m",
        *,
        start: Time | None = None,
        end: Time | None = None,
        last: str | None = None,
        **series: Any,
    ) -> Coverage:
        """What of a window is there, range by range, and why not the rest. Parameters as of `bars`."""
        where = named(symbol, series) | {"timeframe": timeframes.checked(timeframe)}
        window = self.window(where, start=start, end=end, last=last)
        return Coverage(self._connection.call("coverage", **where, **window, limit=MOST))

    def coverage_map(
        self,
        instrument_id: str | None = None,
        timeframe: str | None = None,
        *,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """The coverage of many series day by day, as runs of trade dates; without a window of the last 90 days. A date begins at
        midnight UTC."""
        given = {"start": start, "end": end}
        window = {name: to_ns(value, zone_of("UTC"), field=name) for name, value in given.items() if value is not None}
        where: dict[str, Any] = {"instrument_id": instrument_id, "timeframe": timeframe, "limit": 200}
        return self._connection.every("coverage-map", "series", **where, **window)

    def explain(
        self, symbol: str | None = None, timeframe: str = "1m", *, ts: Time, **series: Any
    ) -> Mapping[str, Any]:
        """How the bar at a time came to be, or why there is none."""
        where = named(symbol, series) | {"timeframe": timeframes.checked(timeframe)}
        zone = zone_of("UTC") if not timeframes.intraday(timeframe) else None
        return self._connection.call("explain", **where, ts=to_ns(ts, zone, field="ts"))

    def revisions(
        self, symbol: str | None = None, timeframe: str = "1m", *, since_version: int = 0, **options: Any
    ) -> Sequence[Mapping[str, Any]]:
        """What bars were before they changed. options: start, end, last and the names of a series, as of `bars`."""
        times = {name: options.pop(name, None) for name in ("start", "end", "last")}
        where = named(symbol, options) | {"timeframe": timeframes.checked(timeframe)}
        window = self.window(where, **times)
        found: list[Mapping[str, Any]] = []
        while True:
            page = self._connection.call("revisions", **where, **window, since_version=since_version)
            found += page["revisions"]
            if page["next_start"] is None:
                return found
            window["start"] = int(page["next_start"])

    def calendar(
        self, symbol: str | None = None, *, start: Time | None = None, end: Time | None = None, **series: Any
    ) -> Calendar:
        """Trading sessions; without a window those of the last month and the next week."""
        where = named(symbol, series)
        window = self.window(where | {"timeframe": "1m"}, start=start, end=end, last=None)
        return Calendar(self._connection.call("calendar", **where, **window))

    # ---- lists -------------------------------------------------------------------------------------------------------

    def series(self, instrument_id: str | None = None, timeframe: str | None = None) -> Sequence[Series]:
        """All series that are stored, or those of an instrument or a timeframe."""
        return records(
            Series, self._connection.every("series", "series", instrument_id=instrument_id, timeframe=timeframe)
        )

    def instruments(self, asset_class: str | None = None) -> Sequence[Instrument]:
        """All instruments that are known."""
        return records(Instrument, self._connection.every("instruments", "instruments", asset_class=asset_class))

    def search(self, query: str, asset_class: str | None = None, *, limit: int = 100) -> Sequence[Instrument]:
        """Instruments by symbol or name; IB is requested once a day for each text."""
        found = self._connection.call("search", q=query, asset_class=asset_class, limit=limit)
        return records(Instrument, found["instruments"])

    def instrument(self, instrument_id: str) -> Instrument:
        """One instrument, with the details that IB sent."""
        return Instrument(self._connection.call("instrument", instrument_id=instrument_id))

    def quotes(self, symbols: str | Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """The newest quotes of up to 100 symbols; where there is none, `reason` says why."""
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        rows: Sequence[Mapping[str, Any]] = self._connection.call("quotes", symbols=names)["quotes"]
        return rows

    # ---- backfills ---------------------------------------------------------------------------------------------------

    def backfill(
        self, symbols: str | Sequence[str] | None = None, timeframe: str | Sequence[str] = "1m", **request: Any
    ) -> "Job":
        """Have missing bars fetched: as `backfills.start`."""
        from nautilus_client import backfills

        return backfills.start(self, self._connection, symbols, timeframe, **request)

    def job(self, job_id: str) -> "Job":
        """A backfill job that was begun before."""
        from nautilus_client.backfills import Job

        return Job(self._connection, self._connection.call("job", job_id=job_id))

    def jobs(self) -> Sequence["Job"]:
        """The newest 50 jobs, live ones first."""
        from nautilus_client.backfills import Job

        return [Job(self._connection, row) for row in self._connection.call("jobs")["jobs"]]

    def _fill(self, where: Mapping[str, Any], window: Mapping[str, int | None]) -> None:
        """Have the window fetched, and wait."""
        from nautilus_client import backfills

        backfills.fill(self._connection, where, window)
