"""`nautilus demo`: a first tour of an API that runs."""

from typing import Any

from nautilus_client import cli
from nautilus_client.cli.context import Context
from nautilus_client.cli.market import SHOWN, where
from nautilus_client.cli.output import table
from nautilus_client.cli.progress import job_text
from nautilus_client.cli.state import _session_line
from nautilus_client.times import at


def demo(context: Context) -> int:
    """The minutes of three days of one instrument: what it costs, the bars, and what is missing of them."""
    client, symbol = context.client, context.options.symbol
    named = where(context, symbol)
    found = client.session()
    context.notice(f"$ nautilus session\n{_session_line(found)}\n")
    covered = client.coverage(timeframe="1m", **named, last="3d")
    window: dict[str, Any] = {"start": covered.window["start"], "end": covered.window["end"]}
    have, slots = covered.summary["bars"], covered.summary["expected"]
    context.notice(f"$ nautilus bars {symbol} -t 1m --last 3d --fill\n{have:,} of {slots:,} bars are here")
    if not covered.summary["complete"]:
        job = client.backfill(**named, timeframe="1m", **window)
        job.wait(progress=lambda one: context.line.show(job_text(one.as_dict()), ended=one.over))
    bars = client.bars(timeframe="1m", **named, **window)
    rows = [[at(bar.ts).strftime("%Y-%m-%d %H:%M"), *bar[1:]] for bar in list(bars)[-SHOWN:]]
    value = {
        "instrument_id": bars.instrument_id,
        "version": bars.version,
        "bars": len(bars),
        "complete": bars.complete,
        "missing": [gap._asdict() for gap in bars.missing],
    }
    names = ["time (UTC)", "open", "high", "low", "close", "volume", "vwap", "trades"]
    state = "complete" if bars.complete else f"{len(bars.missing)} ranges missing"
    context.emit(value, lambda: f"{table(rows, names)}\n{len(bars):,} bars, version {bars.version}, {state}")
    context.notice(
        f"\nNext: nautilus coverage {symbol} --map; nautilus live {symbol}; nautilus orders buy {symbol} 10 --preview;"
        "\n      in Python: Client().bars(" + repr(symbol) + ', "1m", last="5d").pandas()'
    )
    return cli.OK
