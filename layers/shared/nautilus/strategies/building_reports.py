"""The report of a run from its rows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from nautilus.clock import rfc3339
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.strategies import chart_bars, results
from nautilus.db.strategies.results import FillRow
from nautilus.db.strategies.runs import RunRow
from nautilus.market.timeframes import timeframe
from nautilus.strategies.desk import changes_of
from nautilus.strategies.options import run_options
from nautilus.strategies.report_values import EquityPoint, PriceBar, PriceChart, Report, ReportFill, ReportTrip
from nautilus.strategies.results_of_runs import fills, trips
from nautilus.strategies.run_report import names_of
from nautilus.strategies.states import Mode

MOST_CHARTS = 4
_MODES = {Mode.BACKTEST: "Back-test", Mode.PAPER: "Paper", Mode.LIVE: "Live"}
_SIDES = {1: "LONG", -1: "SHORT"}


def report_of(cursor: Cursor, row: RunRow) -> Report:
    """All that a report shows, as it is now."""
    rows, names = fills(cursor, row), names_of(row)
    options = run_options(row.options)
    currency = options.currency or next((one.currency for one in rows if one.currency), "")
    return Report(
        title=row.name or row.template_id,
        subtitle=_subtitle(row),
        figures=_figures(row.metrics or {}, currency),
        facts=_facts(cursor, row),
        notes=[str(note) for note in row.notes],
        currency=currency,
        capital=options.capital,
        equity=[EquityPoint(one.market_ns, one.equity) for one in results.equity(cursor, row.id)],
        trips=_trips(cursor, rows, names),
        fills=[
            ReportFill(
                one.market_ns,
                names.get(one.con_id, str(one.con_id)),
                one.side,
                one.quantity,
                one.price,
                one.commission,
            )
            for one in rows
        ],
        charts=_charts(cursor, row),
    )


def _subtitle(row: RunRow) -> str:
    found = f"{_MODES[Mode(row.mode)]}, {row.state}"
    if row.start_ns is not None and row.end_ns is not None:
        found += f", {rfc3339(row.start_ns)} to {rfc3339(row.end_ns)}"
    return f"{found}: {row.reason}" if row.reason else found


def _trips(cursor: Cursor, rows: Sequence[FillRow], names: Mapping[int, str]) -> list[ReportTrip]:
    return [
        ReportTrip(names.get(con_id, str(con_id)), _SIDES[trip.side], trip.began, trip.ended, trip.quantity, trip.net)
        for con_id, trip in trips(cursor, rows)
    ]


def _charts(cursor: Cursor, row: RunRow) -> list[PriceChart]:
    """Of each instrument one: of a pair its first price kind."""
    drawn: dict[int, tuple[int, Mapping[str, Any]]] = {}
    for n, one in enumerate(row.series):
        drawn.setdefault(int(one["con_id"]), (n, one))
    found = []
    for n, one in list(drawn.values())[:MOST_CHARTS]:
        frame = timeframe(str(one["timeframe"]))
        bars: Sequence[chart_bars.ChartColumn] = ()
        if row.start_ns is None or row.end_ns is None:
            bars = chart_bars.of_run(cursor, row.id, n)
        else:
            stored = series.find(
                cursor, int(one["con_id"]), frame, price=str(one["price"]), session=str(one["session"])
            )
            if stored is not None:
                bars = chart_bars.of_series(cursor, stored.id, frame, (row.start_ns, row.end_ns))
        found.append(
            PriceChart(str(one["instrument_id"]), frame.name, [PriceBar(b.ts, b.high, b.low, b.close) for b in bars])
        )
    return found


# ---- texts -----------------------------------------------------------------------------------------------------------

_PERCENT = ("total_return", "win_rate", "max_drawdown", "volatility")
_HEADLINE = {
    "total_pnl": "Profit, open positions included",
    "total_return": "Return",
    "max_drawdown": "Largest drawdown",
    "sharpe_ratio": "Sharpe ratio",
    "total_trades": "Trades",
    "win_rate": "Win rate",
    "profit_factor": "Profit factor",
    "commissions": "Commissions",
}


def _figures(metrics: Mapping[str, Any], currency: str) -> list[tuple[str, str]]:
    return [(words, _figure(name, metrics.get(name), currency)) for name, words in _HEADLINE.items()]


def _figure(name: str, value: Any, currency: str) -> str:
    if value is None:
        return "unknown"
    if name == "total_trades":
        return f"{int(value):,}"
    amount = Decimal(str(value))
    if name in _PERCENT:
        return f"{amount * 100:.2f} %"
    return f"{amount:,.2f}" if name in ("sharpe_ratio", "profit_factor") else f"{amount:,.2f} {currency}".strip()


def _facts(cursor: Cursor, row: RunRow) -> list[tuple[str, str]]:
    found = {
        "Run": str(row.id),
        "Template": row.template_id,
        "Parameters": _words(row.parameters),
        "Series": "; ".join(
            f"{one['instrument_id']} {one['timeframe']} {one['price']} {one['session']}" for one in row.series
        ),
        "Account": row.account,
        "Options": _words(run_options(row.options)._asdict()),
        "Engine": row.engine,
        "Code": row.code_hash,
        "Hash of the fills": row.fills_hash,
        "Bars": f"{row.bars_done:,} of {row.bars_total:,}" if row.bars_total else f"{row.bars_done:,}",
        "Orders": f"{row.orders:,}, of which {row.denied:,} denied and {row.rejected:,} rejected",
        "Data": _data(cursor, row),
    }
    return [(name, value) for name, value in found.items() if value]


def _data(cursor: Cursor, row: RunRow) -> str:
    """The versions of the series that were read, and whether their bars have changed since."""
    if not row.data_versions:
        return ""
    read = ", ".join(f"series {number} version {version}" for number, version in sorted(row.data_versions.items()))
    changed = changes_of(cursor, row)
    if changed is None:
        return read
    return f"{read}; {'bars have changed since: another run may differ' if changed else 'no bar has changed since'}"


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value != "")
