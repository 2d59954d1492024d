"""The report of a strategy's run as a page: static HTML, no script, every text escaped. `POLICY` goes with it as a header."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape

from nautilus.clock import datetime_of
from nautilus.strategies import report_charts
from nautilus.strategies.report_charts import Mark
from nautilus.strategies.report_style import STYLE
from nautilus.strategies.report_values import MonthReturn, PriceChart, Report, ReportFill, drawdowns, month_returns

MOST_ROWS = 500
"""Rows of a table; the files of the report have all."""
MOST_MARKS = 2_000
"""Fills that are drawn on one chart."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNKNOWN = "unknown"


def page(report: Report) -> str:
    """The whole page."""
    body = "".join(
        (
            f"<h1>{escape(report.title)}</h1>",
            f'<p class="sub">{escape(report.subtitle)}</p>',
            _figures(report.figures),
            _equity(report),
            _months(month_returns(report.equity, report.capital)),
            *(_prices(chart, report.fills) for chart in report.charts),
            _trips(report),
            _fills(report),
            _facts(report),
        )
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _figures(figures: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<li><span>{escape(name)}</span><strong>{escape(value)}</strong></li>" for name, value in figures)
    return f'<ul class="figures">{rows}</ul>'


# ---- charts ----------------------------------------------------------------------------------------------------------


def _equity(report: Report) -> str:
    if not report.equity:
        return _section("Equity", _few("No equity is recorded: the run has closed no bar."))
    times = [point.ts for point in report.equity]
    worth = report_charts.line_chart(
        f"Equity in {report.currency}",
        times,
        [float(point.equity) for point in report.equity],
        write=lambda value: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}",
        kind="equity",
    )
    fall = report_charts.line_chart(
        "Drawdown in percent",
        times,
        [-100 * float(point.share) for point in drawdowns(report.equity, report.capital)],
        write=lambda value: f"{value:g} %",
        kind="fall",
        height=160,
    )
    return _section(f"Equity ({report.currency})", worth) + _section("Drawdown", fall)


def _prices(chart: PriceChart, fills: Sequence[ReportFill]) -> str:
    own = [fill for fill in fills if fill.symbol == chart.symbol]
    drawn = report_charts.price_chart(
        f"Prices of {chart.symbol}, with the fills",
        [bar.ts for bar in chart.bars],
        [(bar.low, bar.high, bar.close) for bar in chart.bars],
        marks=[_mark(fill) for fill in own[:MOST_MARKS]],
        write=lambda value: f"{value:.10g}",
    )
    more = _few(f"The first {MOST_MARKS:,} of {len(own):,} fills are drawn.") if len(own) > MOST_MARKS else ""
    return _section(f"{chart.symbol}, {chart.timeframe}", drawn or _few("No bars are stored."), more)


def _mark(fill: ReportFill) -> Mark:
    text = f"{_time(fill.ts)}: {fill.side} {_exact(fill.quantity)} at {_exact(fill.price)}"
    return Mark(fill.ts, float(fill.price), "up" if fill.side == "BUY" else "down", text)


# ---- tables ----------------------------------------------------------------------------------------------------------


def _months(found: Sequence[MonthReturn]) -> str:
    if not found:
        return ""
    by_month = {(one.year, one.month): one.value for one in found}
    rows = []
    for year in sorted({one.year for one in found}):
        cells = [_percent(by_month[year, n]) if (year, n) in by_month else "<td></td>" for n in range(1, 13)]
        growth: Decimal | None = Decimal(1)
        for one in found:
            if one.year == year:
                growth = None if growth is None or one.value is None else growth * (1 + one.value)
        whole = _percent(None if growth is None else growth - 1)
        rows.append(f'<tr><th scope="row">{year}</th>{"".join(cells)}{whole}</tr>')
    return _section("Returns of months (UTC, percent)", _table(("Year", *_MONTHS, "Year"), rows))


def _trips(report: Report) -> str:
    rows = [
        f'<tr><td>{_time(one.began)}</td><td class="text">{_time(one.ended)}</td><td class="text">{escape(one.symbol)}</td>'
        f'<td class="text">{escape(one.side)}</td><td>{_exact(one.quantity)}</td>{_result(one.net)}</tr>'
        for one in report.trips[:MOST_ROWS]
    ]
    heads = ("From (UTC)", "To", "Instrument", "Side", "Quantity", f"Net ({report.currency})")
    return _section("Trades from flat to flat", _rows(heads, rows, len(report.trips), "trades"))


def _fills(report: Report) -> str:
    rows = [
        f'<tr><td>{_time(one.ts)}</td><td class="text">{escape(one.symbol)}</td><td class="text">{escape(one.side)}</td>'
        f"<td>{_exact(one.quantity)}</td><td>{_exact(one.price)}</td><td>{_exact(one.commission)}</td></tr>"
        for one in report.fills[:MOST_ROWS]
    ]
    heads = ("Time (UTC)", "Instrument", "Side", "Quantity", "Price", "Commission")
    return _section("Fills", _rows(heads, rows, len(report.fills), "fills"))


def _facts(report: Report) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in report.facts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    known = _section("What to know", f"<ul>{notes}</ul>") if notes else ""
    return _section("How it ran", f"<dl>{facts}</dl>") + known


def _rows(heads: Sequence[str], rows: Sequence[str], count: int, what: str) -> str:
    if not rows:
        return _few(f"There are no {what}.")
    more = _few(f"The first {len(rows):,} of {count:,} {what}; the files of the report have all.")
    return _table(heads, rows) + (more if count > len(rows) else "")


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    text = ("To", "Instrument", "Side")
    cells = "".join(f'<th scope="col"{" class=text" if head in text else ""}>{escape(head)}</th>' for head in heads)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _few(text: str) -> str:
    return f'<p class="few">{escape(text)}</p>'


# ---- values ----------------------------------------------------------------------------------------------------------


def _percent(value: Decimal | None) -> str:
    if value is None:
        return f"<td>{_UNKNOWN}</td>"
    return f'<td class="{_side(value)}">{value * 100:.2f}</td>'


def _result(value: Decimal | None) -> str:
    if value is None:
        return f"<td>{_UNKNOWN}</td>"
    return f'<td class="{_side(value)}">{value:,.2f}</td>'


def _side(value: Decimal) -> str:
    return "gain" if value > 0 else "loss" if value < 0 else "even"


def _exact(value: Decimal | None) -> str:
    """All digits that a value has, without zeros at the end."""
    if value is None:
        return _UNKNOWN
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time(ns: int) -> str:
    return datetime_of(ns).strftime("%Y-%m-%d %H:%M:%S")
