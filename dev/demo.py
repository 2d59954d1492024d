"""Shows the whole way of a bar: requested over HTTP, fetched through the bridge, stored, read back (make demo).

Starts the stack, signs a user in, asks for a month of one-minute bars that nobody has fetched before, follows the
progress, prints the last bars and a summary, and leaves nothing running. With --at it does the same with an API that
runs already, in containers or in AWS (make demo AT=https://...).
"""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from dev.api_client import Api, ApiError
from dev.demo_requests import SeriesRequest, Window, requests_of, windows_of
from dev.demo_results import Fetched, StoredBars, completeness, total, went_well
from dev.environment import drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.process import StartError, end_on_signals
from dev.sources import Generated, Replay, Source, parser, source_of
from dev.stack import USERNAME, stack_of
from dev.up import say, shown
from nautilus.errors import NautilusError

TIMEFRAME = "1m"
POLL_S = 0.2
QUIET_S = 0.8  # between two lines of progress, unless a series has ended
MOST_BARS = 50_000  # in one page
TABLE_ROWS = 4


class Running(Protocol):
    """A backend that runs: what it offers, the password of its user `trader`, and what keeps it running."""

    @property
    def source(self) -> Source: ...

    @property
    def password(self) -> str: ...

    def tend(self, report: Callable[[str], None]) -> None: ...


@dataclass(frozen=True)
class Elsewhere:
    """A backend that others keep running."""

    password: str
    source: Source = Generated()  # noqa: RUF009  (immutable)

    def tend(self, report: Callable[[str], None]) -> None:
        """Nothing to do: it is not ours."""


def show(stack: Running, api: Api) -> bool:
    """The demonstration itself, on a running stack. Returns whether every job ended well."""
    api.sign_in(USERNAME, stack.password)
    say(f"  signed in as {USERNAME}, a user with a random password")
    session = until_connected(stack, api)
    say(f"  bridge connected to {session['account']}, market time {session['market_time']}")
    for window in windows_of(stack.source, dt.datetime.fromisoformat(session["market_time"])):
        say(f"\nAsking for one-minute bars, {window}:")
        begun = time.monotonic()
        fetched = [ask(api, series, window) for series in requests_of(stack.source)]
        if any(one.job_id for one in fetched):
            follow(stack, api, fetched)
        seconds = time.monotonic() - begun
        if total(fetched, "requests_sent") or not all(one.stored for one in fetched):
            break
        say("  nothing had to be fetched: an earlier run asked for all of it")
    found = [show_bars(api, one, window) for one in fetched]
    summarize(fetched, found, seconds)
    if isinstance(stack.source, Replay) and stack.source.hint:
        say(f"  {stack.source.hint}")
    return all(went_well(one, bars) for one, bars in zip(fetched, found, strict=True))


def until_connected(stack: Running, api: Api) -> dict[str, Any]:
    """What the API says of the session with IB, once it is connected."""
    deadline = time.monotonic() + 30
    while True:
        session = api.get("/api/v1/ib/session")
        if session["state"] == "connected":
            return session
        if time.monotonic() > deadline:
            raise ApiError(f"the bridge is not connected: {session['state']}, {session['reason']}")
        stack.tend(say)
        time.sleep(POLL_S)


def ask(api: Api, series: SeriesRequest, window: Window) -> Fetched:
    body = {**series.selector, "timeframe": TIMEFRAME, **window.query()}
    answer = api.post("/api/v1/ib/backfill", body)
    job_id = answer["job_id"]
    say(f"  POST /api/v1/ib/backfill {json.dumps(body)}")
    return Fetched(series, job_id, answer if job_id else {})


def follow(stack: Running, api: Api, series: Sequence[Fetched]) -> None:
    """Print a line whenever there is news, until every job has ended."""
    begun = shown_at = time.monotonic()
    last: tuple[object, ...] = ()
    while True:
        for one in series:
            if one.live:
                one.job = api.get(f"/api/v1/historical/backfill/{one.job_id}")
        live = [one for one in series if one.live]
        news = (total(series, "requests_sent"), total(series, "bars_written"))
        state = (len(live), *news)
        now = time.monotonic()
        if state != last and (now - shown_at > QUIET_S or not last or state[0] != last[0]):
            parts = "   ".join(one.words for one in series)
            say(f"  {now - begun:5.1f} s  {news[0]:3d} requests  {news[1]:7,d} bars   {parts}")
            last, shown_at = state, now
        if not live:
            return
        stack.tend(say)
        time.sleep(POLL_S)


def read_bars(api: Api, series: SeriesRequest, window: Window, *, page_size: int = MOST_BARS) -> StoredBars:
    """The whole window, page by page. ApiError when the API says no."""
    query: dict[str, object] = {
        **series.selector,
        "timeframe": TIMEFRAME,
        **window.query(),
        "limit": page_size,
        "wait": 0,
    }
    first = answer = api.get("/api/v1/market-data/historical/bars", **query)
    candles, pages = list(answer["candles"]), 1
    while answer["next_page_token"]:
        answer = api.get("/api/v1/market-data/historical/bars", **query, page_token=answer["next_page_token"])
        candles += answer["candles"]
        pages += 1
    coverage = answer["coverage"]
    return StoredBars(
        first["instrument_id"],
        first["price"],
        first["source"],
        candles,
        pages,
        first["coverage"]["complete"] and coverage["complete"],
        coverage["missing"],
    )


def show_bars(api: Api, fetched: Fetched, window: Window) -> StoredBars:
    """Read the whole window back; print its end, and what the API says is missing."""
    begun = time.monotonic()
    bars = read_bars(api, fetched.series, window)
    ms = 1000 * (time.monotonic() - begun)
    pages = f" in {bars.pages} pages" if bars.pages > 1 else ""
    say(f"\n{bars.name}, {bars.price}, {bars.source}: {len(bars.candles):,} bars in {ms:.0f} ms{pages}")
    if bars.candles:
        say(f"  {'time (UTC)':<19} {'open':>10} {'high':>10} {'low':>10} {'close':>10} {'volume':>12}")
    for candle in bars.candles[-TABLE_ROWS:]:
        prices = " ".join(f"{candle[name]:>10.10g}" for name in ("open", "high", "low", "close"))
        volume = "-" if candle["volume"] is None else f"{candle['volume']:,.10g}"
        at = dt.datetime.fromtimestamp(candle["ts"] // 1_000_000_000, dt.UTC)
        say(f"  {at:%Y-%m-%d %H:%M:%S} {prices} {volume:>12}")
    for line in completeness(fetched, bars):
        say(f"  {line}")
    return bars


def summarize(fetched: Sequence[Fetched], found: Sequence[StoredBars], seconds: float) -> None:
    read = sum(len(one.candles) for one in found)
    say(f"\n{read:,} bars in the range asked for, {total(fetched, 'requests_sent')} requests to IB, {seconds:.1f} s")
    for one in fetched:
        for error in one.job.get("errors", []):
            say(f"  {one.series.name}: {error.get('detail', error)}")


def show_at(url: str) -> int:
    """The demonstration with an API that runs at `url`; returns the exit status."""
    password = os.environ.get("NAUTILUS_DEMO_PASSWORD", "")
    if not password:
        print(f"AT needs NAUTILUS_DEMO_PASSWORD, the password of the user {USERNAME} there", file=sys.stderr)
        return 2
    say(f"Nautilus at {url}:")
    try:
        with closing(Api(url)) as api:
            return 0 if show(Elsewhere(password), api) else 1
    except (ApiError, httpx.HTTPError, httpx.InvalidURL) as error:
        print(f"\nThe demo did not work: {error}", file=sys.stderr)
        return 1


def api_address(text: str) -> str:
    """The address of an API, for argparse."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is no address such as http://127.0.0.1:8001")
    return text


def main() -> int:
    made = parser("make demo", "See it work, then leave nothing running.")
    made.add_argument(
        "--at",
        type=api_address,
        metavar="URL",
        help="an API that runs; NAUTILUS_DEMO_PASSWORD is its trader's password",
    )
    options = made.parse_args()
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        return show_at(options.at) if options.at and options.replay is None else show_here(options)
    except (StartError, ApiError, NautilusError, httpx.HTTPError, OSError) as error:
        print(f"\nThe demo did not work: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped." if options.at else "\nStopped; nothing runs any more.")
        return INTERRUPTED


def show_here(options: argparse.Namespace) -> int:
    """The demonstration with a stack of its own; returns the exit status."""
    if options.at:
        raise SystemExit("AT and REPLAY exclude each other: an API that runs has its own source")
    source = source_of(options)
    begun = time.monotonic()
    say(f"Nautilus with {source}:")
    with stack_of(options.data, source, port=options.port) as stack:
        stack.start(lambda line: say(f"  {line}"))
        say("  on 127.0.0.1: " + ", ".join(f"{name} {port}" for name, port in stack.ports.items()))
        say(f"  the API's pages: {stack.url}/docs")
        with closing(Api(stack.url)) as api:
            good = show(stack, api)
    say(f"Nothing runs any more ({time.monotonic() - begun:.1f} s in all). The bars stay in {shown(stack.folder)}.")
    say("make up keeps it running; make clean removes the bars.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
