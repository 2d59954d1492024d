"""Commands that read market data."""

import argparse
import datetime as dt
import itertools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from nautilus_client import cli, files
from nautilus_client.bars import Bar, Bars
from nautilus_client.cli.context import Context
from nautilus_client.cli.output import fields, table, write_line
from nautilus_client.cli.progress import job_text, span
from nautilus_client.timeframes import intraday
from nautilus_client.times import at, text, zone_of

SHOWN = 20
"""Rows of a table on the terminal: so many at its beginning and at its end."""


def where(context: Context, symbol: str) -> dict[str, Any]:
    """How the client is given the instrument. A name with a venue is an instrument_id."""
    options = context.options
    named = {"instrument_id": symbol} if _has_venue(symbol) else {"symbol": symbol}
    hints = {name: getattr(options, name, None) for name in ("price", "session", "asset_class")}
    return named | {name: value for name, value in hints.items() if value is not None}


def _has_venue(symbol: str) -> bool:
    """AAPL.NASDAQ and EUR/USD.IDEALPRO, not BRK.B."""
    return len(symbol.rpartition(".")[0]) > 0 and len(symbol.rpartition(".")[2]) > 1


def window(context: Context) -> dict[str, Any]:
    return {name: getattr(context.options, name) for name in ("start", "end", "last") if getattr(context.options, name)}


# ---- bars ------------------------------------------------------------------------------------------------------------


def bars(context: Context) -> int:
    options = context.options
    _check_output(options)
    found = [_one(context, symbol) for symbol in options.symbol]
    for each in found:
        context.notice(_summary(each))
    if options.output:
        _save(context, found)
    else:
        _print(context, found)
    incomplete = [each for each in found if each.complete is False]
    if options.require_complete and incomplete:
        return cli.IB_AWAY if context.ib_is_away() else cli.INCOMPLETE
    return cli.OK


def _check_output(options: argparse.Namespace) -> None:
    """Before anything is fetched: an hour of fetching is not for a file that cannot be written."""
    if options.output:
        if len(options.symbol) > 1:
            raise ValueError("one file holds one series: give one symbol, or use `nautilus export`")
        files.check(context_path(options.output))
    elif options.arrow and not options.json:
        from nautilus_client import frames

        frames.library("pyarrow", "arrow")


def _one(context: Context, symbol: str) -> Bars:
    options = context.options
    named = where(context, symbol)
    expected = {"limit": options.limit, "wait": options.wait, "as_of": _version(options.as_of)}
    if options.fill and not _fill(context, symbol, named):
        expected["request_missing"] = False

    def report(done: int, all_of_them: int | None) -> None:
        context.line.show(f"{symbol}: {done:,} bars" + (f" of {all_of_them:,}" if all_of_them else ""))

    found: Bars = context.client.bars(
        timeframe=options.timeframe, **named, **window(context), **expected, progress=report
    )
    if not (options.csv or options.ndjson or (options.output or "").endswith((".csv", ".ndjson", ".parquet"))):
        len(found)
    context.line.end()
    return found


def _version(given: str | None) -> int | str | None:
    return int(given) if given and given.isdigit() and len(given) < 18 else given


def _fill(context: Context, symbol: str, named: Mapping[str, Any]) -> bool:
    """Fetch what is missing. False: whoever was shown what it costs does not want it."""
    options, client = context.options, context.client
    covered = client.coverage(timeframe=options.timeframe, **named, **window(context))
    summary = covered.summary
    if summary["complete"]:
        return True
    request = {**named, "timeframe": options.timeframe, "start": covered.window["start"], "end": covered.window["end"]}
    cost = client.backfill(**request, dry_run=True).as_dict()
    have, missing, requests = summary["bars"], summary["missing_bars"], cost.get("requests", 0)
    words = f"{have:,} bars here; how many there are is not known yet"
    if missing is not None:
        words = f"{have:,} of {summary['expected']:,} bars here; {missing:,} to fetch"
    context.notice(
        f"{symbol} {options.timeframe}: {words}: {requests} request{'' if requests == 1 else 's'}, about"
        f" {span(max(1, cost.get('seconds') or 0))}"
    )
    if not context.confirm("Fetch?"):
        return False
    job = client.backfill(**request)
    context.resume = f"the backfill goes on; `nautilus backfill watch {job.as_dict().get('job_id')}` follows it"
    job.wait(progress=lambda one: context.line.show(job_text(one.as_dict()), ended=one.over))
    context.resume = ""
    return True


def _summary(found: Bars) -> str:
    info = found.info
    state = (
        "as of that version"
        if info.complete is None
        else "complete"
        if info.complete
        else f"{len(info.missing)} ranges missing"
    )
    lines = [f"{info.series}: version {info.version}, {found.window[0]} to {found.window[1]}, {state}"]
    lines += [f"  missing {gap.start} to {gap.end}: {gap.why}" for gap in info.missing[:5]]
    if len(info.missing) > 5:
        lines.append(f"  and {len(info.missing) - 5} more; `nautilus coverage` lists them")
    return "\n".join(lines)


def _save(context: Context, found: list[Bars]) -> None:
    path = files.save(found[0], context_path(context.options.output))
    context.notice(f"{path}: {path.stat().st_size:,} bytes")


def context_path(name: str) -> Any:
    from pathlib import Path

    return Path(name).expanduser()


def _print(context: Context, found: list[Bars]) -> None:
    options, out = context.options, context.out
    if context.json:
        rows = [{"symbol": each.name, **files.described(each), "bars": list(files.rows(each))} for each in found]
        context.emit(rows[0] if len(rows) == 1 else {"results": rows}, "")
    elif options.ndjson:
        for each in found:
            for row in files.rows(each):
                write_line({"symbol": each.name, **row} if len(found) > 1 else row, out)
    elif options.csv:
        _print_csv(found, out)
    elif options.arrow:
        _print_arrow(found)
    else:
        out.write(_table(context, found) + "\n")


def _print_csv(found: list[Bars], out: Any) -> None:
    if len(found) == 1:
        files.write_csv(found[0], out)
        return
    import csv

    names = ["symbol", *found[0].columns]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for each in found:
        writer.writerows({"symbol": each.name, **row} for row in files.rows(each))


def _print_arrow(found: list[Bars]) -> None:
    from nautilus_client import frames

    pa: Any = frames.library("pyarrow", "arrow")
    tables = [frames.arrow(each, each.name if len(found) > 1 else None) for each in found]
    with pa.ipc.new_stream(sys.stdout.buffer, tables[0].schema) as writer:
        for one in tables:
            writer.write_table(one)


def _table(context: Context, found: list[Bars]) -> str:
    rows: list[list[Any]] = []
    for each in found:
        zone = (
            dt.UTC
            if not context.options.tz
            else zone_of(each.zone if context.options.tz == "exchange" else context.options.tz)
        )
        bars_of_one = list(each)
        cut = len(bars_of_one) > 2 * SHOWN
        shown = [*bars_of_one[:SHOWN], None, *bars_of_one[-SHOWN:]] if cut else bars_of_one
        rows += [[each.name if len(found) > 1 else None, *_cells(bar, zone, each)] for bar in shown]
    heading = f"time ({context.options.tz or 'UTC'})" if intraday(context.options.timeframe) else "date"
    headings = ["symbol", heading, *Bar._fields[1:]]
    several = len(found) > 1
    return table([row if several else row[1:] for row in rows], headings if several else headings[1:])


def _cells(bar: Bar | None, zone: dt.tzinfo, found: Bars) -> list[Any]:
    if bar is None:
        return ["..."] + [None] * (len(Bar._fields) - 1)
    form = "%Y-%m-%d %H:%M:%S" if intraday(found.timeframe) else "%Y-%m-%d"
    return [at(bar.ts, zone).strftime(form), *bar[1:]]


# ---- the rest --------------------------------------------------------------------------------------------------------


def explain(context: Context) -> int:
    found = context.client.explain(
        timeframe=context.options.timeframe, ts=context.options.ts, **where(context, context.options.symbol)
    )
    context.emit(found, lambda: fields(found))
    return cli.OK


def _list(context: Context, rows: Iterable[Any], names: list[str]) -> int:
    found = [row.as_dict() for row in rows]
    context.emit(found, lambda: table([[row.get(name) for name in names] for row in found], names))
    return cli.OK


def series(context: Context) -> int:
    names = ["instrument_id", "timeframe", "price", "session", "data_version", "first_bar", "last_bar"]
    return _list(context, context.client.series(context.options.instrument_id, context.options.timeframe), names)


def calendar(context: Context) -> int:
    found = context.client.calendar(
        **where(context, context.options.symbol), start=context.options.start, end=context.options.end
    )
    rows = [[one["trade_date"], one["open"], one["close"]] for one in found.as_dict()["sessions"]]
    heading = f"{found.instrument_id}, {found.as_dict()['session']}, {found.time_zone}"
    context.emit(found.as_dict(), lambda: f"{heading}\n{table(rows, ['date', 'open', 'close'])}")
    return cli.OK


def instruments(context: Context) -> int:
    options, client = context.options, context.client
    found = (
        client.search(options.query, options.asset_class) if options.query else client.instruments(options.asset_class)
    )
    return _list(context, found, ["instrument_id", "con_id", "asset_class", "exchange", "currency", "long_name"])


def live(context: Context) -> int:
    from nautilus_client.live import STATES, open_bars

    options = context.options
    states = (*STATES, "forming") if options.forming else STATES
    named = where(context, options.symbol)
    with open_bars(
        context.client._connection, named.pop("symbol", None), options.timeframe, states=states, **named
    ) as stream:
        context.notice(f"{stream.channel}; Ctrl-C ends")
        for bar in itertools.islice(stream, options.count):
            if context.json:
                write_line({**bar._asdict(), "ts": text(bar.ts)}, context.out)
            else:
                cells = [at(bar.ts).strftime("%H:%M:%S"), *bar[2:8], bar.state]
                context.out.write("  ".join("" if one is None else str(one) for one in cells) + "\n")
                context.out.flush()
    return cli.OK
