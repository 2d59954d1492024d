"""Reads bars: page by page, or in parts side by side where there are many. All of one answer have one version."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nautilus_client import routes
from nautilus_client.columns import Columns, join_columns
from nautilus_client.errors import ApiError, BrokenAnswer, Invalid, PageTokenExpired, VersionChanged, VersionForgotten
from nautilus_client.messages import Answer, Request
from nautilus_client.pages import ACCEPTED, MOST, Chain, Info, Page, merged_info, page_of
from nautilus_client.times import months

PARALLEL_FROM = 200_000
"""Bars from which on a range is read in parts."""
WORKERS = 4
LARGE = 2_000_000
"""Bars from which on an export is cheaper."""

Send = Callable[[Request], Answer]
Progress = Callable[[int, int | None], None]
"""Called with the bars so far, and how many there will be where that is known."""


class Query(NamedTuple):
    """What is read. parameters: those of the route that name series and window, `start` and `end` in ns. limit: bars in all.
    page_size: bars of a page. wait: seconds that the first page may wait for missing bars."""

    parameters: Mapping[str, Any]
    fields: Sequence[str]
    limit: int | None = None
    page_size: int = MOST
    wait: float | None = None
    allow_newer: bool = False

    @property
    def backward(self) -> bool:
        """Without a start the first page has the newest bars."""
        return self.parameters.get("start") is None

    def between(self, start: int, end: int) -> "Query":
        return self._replace(parameters={**self.parameters, "start": start, "end": end}, limit=None, wait=None)

    def at_version(self, version: int) -> "Query":
        return self._replace(parameters={**self.parameters, "as_of": version})


class Reader:
    """Reads one query. send: returns the answer of a success, and raises any other."""

    def __init__(self, send: Send, query: Query, progress: Progress | None = None) -> None:
        self._send = send
        self.query = query
        self._progress = progress or (lambda done, expected: None)

    def first(self) -> Page:
        return self._page(self.query, None, done=0)

    def _page(self, query: Query, token: str | None, *, done: int) -> Page:
        size = query.page_size if query.limit is None else min(query.page_size, query.limit - done)
        fields = [name for name in query.fields if name != "provisional"]
        wanted = routes.request(
            "bars",
            **query.parameters,
            limit=size,
            fields=",".join(fields),
            page_token=token,
            wait=query.wait if token is None else None,
        )
        page = page_of(self._send(wanted._replace(headers={"Accept": ACCEPTED})), query.fields)
        if page.columns.size > size:
            raise BrokenAnswer(f"{size} bars were requested, {page.columns.size} came")
        return page

    # ---- one page behind the other -----------------------------------------------------------------------------------

    def pages(self, first: Page) -> Iterator[Page]:
        """The first page and those that follow, as the server cuts them."""
        yield from self._pages(self.query, first, Chain(self.query.fields, backward=self.query.backward))

    def _pages(self, query: Query, page: Page, chain: Chain) -> Iterator[Page]:
        while True:
            token = chain.take(page)
            self._progress(chain.size, None)
            yield page
            if token is None or (query.limit is not None and chain.size >= query.limit):
                return
            page = self._page(query, token, done=chain.size)

    def _chain(self, query: Query, first: Page | None = None) -> tuple[Info, Columns]:
        """All pages of a query. A token that has expired starts it over, once."""
        for last_try in (False, True):
            chain = Chain(query.fields, backward=query.backward)
            try:
                for _ in self._pages(query, first or self._page(query, None, done=0), chain):
                    pass
            except PageTokenExpired:
                if last_try:
                    raise
                warnings.warn("reading took so long that it starts over", stacklevel=2)
                first = None
                continue
            assert chain.info is not None  # noqa: S101  for the type checker: a page was taken
            return chain.info, chain.columns()
        raise AssertionError("not reached")

    # ---- all ---------------------------------------------------------------------------------------------------------

    def all(self, first: Page) -> tuple[Info, Columns]:
        """Everything, and what holds for it."""
        if first.token is None or self._has_enough(first):
            return first.info, first.columns
        start, end = first.info.window
        expected = None
        if not self.query.backward and self.query.limit is None:
            expected = self._expected(first.info)
        if expected is not None and expected > LARGE:
            warnings.warn(f"{expected:,} bars: an export is cheaper (Client.export)", stacklevel=3)
        parts = months(start, end)
        if expected is None or expected <= PARALLEL_FROM or len(parts) < 2 or self.query.parameters.get("live"):
            return self._chain(self.query, first)
        found = self._parallel(parts, first.info.series, expected)
        return found or self._chain(self.query, first)

    def _has_enough(self, first: Page) -> bool:
        return self.query.limit is not None and first.columns.size >= self.query.limit

    def _expected(self, info: Info) -> int | None:
        """How many bars the window has, by its coverage."""
        named = {key: value for key, value in self.query.parameters.items() if key in routes.ROUTES["coverage"].query}
        try:
            summary = self._send(routes.request("coverage", **named)).record()["summary"]
        except (ApiError, KeyError):
            return None
        return int(summary["bars"])

    def _parallel(self, parts: Sequence[tuple[int, int]], series: str, expected: int) -> tuple[Info, Columns] | None:
        """The parts side by side, in order of time; None where they come from different sources, which one reading never has."""
        from concurrent.futures import ThreadPoolExecutor

        queries = [self.query.between(start, end) for start, end in parts]
        with ThreadPoolExecutor(WORKERS) as pool:
            found = []
            for each in pool.map(self._chain, queries):
                found.append(each)
                self._progress(sum(columns.size for _, columns in found), expected)
            if not self.query.allow_newer:
                found = self._of_one_version(series, queries, found, lambda again: list(pool.map(self._chain, again)))
        if len({info.source for info, _ in found}) > 1:
            return None
        window = (parts[0][0], parts[-1][1])
        info = merged_info([info for info, _ in found], window)
        return info, join_columns([columns for _, columns in found], self.query.fields)

    def _of_one_version(
        self,
        series: str,
        queries: Sequence[Query],
        found: list[tuple[Info, Columns]],
        read: Callable[[Sequence[Query]], list[tuple[Info, Columns]]],
    ) -> list[tuple[Info, Columns]]:
        """The same parts, those of an older version read again: as they are, then as they were at the newest version."""
        for pinned in (False, True):
            newest = max(info.version for info, _ in found)
            older = [n for n, (info, _) in enumerate(found) if info.version != newest]
            if not older:
                return found
            before = found[older[0]][0].version
            again = [queries[n].at_version(newest) if pinned else queries[n] for n in older]
            try:
                renewed = read(again)
            except (VersionForgotten, Invalid):
                raise VersionChanged(series, before, newest) from None
            for n, (info, columns) in zip(older, renewed, strict=True):
                kept = found[n][0]
                if pinned:  # the bars of that version; its coverage is what is known of the range
                    info = info._replace(complete=kept.complete, missing=kept.missing)
                found[n] = info, columns
        versions = {info.version for info, _ in found}
        if len(versions) > 1:
            raise VersionChanged(series, min(versions), max(versions))
        return found
