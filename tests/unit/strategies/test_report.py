"""The report of a run as a page: what it shows, and that no text of it becomes markup."""

import base64
import hashlib
from collections import Counter
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from nautilus.clock import NS_PER_DAY, NS_PER_S
from nautilus.strategies import report_charts, report_page
from nautilus.strategies.report_charts import Axis, columns, scale
from nautilus.strategies.report_page import MOST_ROWS, page
from nautilus.strategies.report_style import POLICY
from nautilus.strategies.report_values import EquityPoint, MonthReturn, drawdowns, month_returns
from tests.unit.strategies.reports import START, report

HOSTILE = "\"'><script>alert(1)</script><img src=https://evil.example onerror=alert(1)> &amp; </style></title></svg>"


class Parsed(HTMLParser):
    """Tags with their attributes, and the texts, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._open.append("")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)


def hostile(text: str) -> str:
    return f"{text}{HOSTILE}"


def test_texts_of_others_stay_texts() -> None:
    plain, attacked = Parsed(page(report())), Parsed(page(report(hostile)))
    assert attacked.tags == plain.tags
    assert [(tag, name) for tag, name, _ in attacked.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    for text in ("EMA cross 10/20", "Back-test, completed", "Net profit", "57.1 %", "fast=10", "Margin and", "LONG"):
        assert any(text in found and HOSTILE in found for found in attacked.texts), text


@pytest.mark.parametrize("module", [report_page, report_charts])
def test_a_page_that_escapes_nothing_would_be_found(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "escape", str)
    with pytest.raises(AssertionError):
        test_texts_of_others_stay_texts()


def test_there_is_no_script_and_nothing_is_loaded() -> None:
    found = Parsed(page(report()))
    assert not {"script", "link", "img", "iframe", "object", "form", "a", "base", "use", "image"} & set(found.tags)
    assert not {name for _, name, _ in found.attributes if name.startswith("on") or name in ("style", "href", "src")}
    assert "url(" not in found.style


def test_the_policy_lets_in_the_one_style_and_nothing_else() -> None:
    style = Parsed(page(report())).style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert {"default-src 'none'", "sandbox", "frame-ancestors 'none'"} <= set(POLICY.split("; "))
    assert "unsafe" not in POLICY


def test_a_page_shows_every_fill_and_every_trade() -> None:
    made = report()
    found = Parsed(page(made))
    marks = [value for tag, name, value in found.attributes if (tag, name) == ("path", "class")]
    assert Counter(marks) == {"up": 7, "down": 7}
    assert sum(text.endswith(f"BUY 10 at {made.fills[0].price}") for text in found.texts) == 1
    assert found.texts.count("LONG") == len(made.trips)
    assert found.texts.count("BUY") + found.texts.count("SELL") == len(made.fills)
    assert f"{made.trips[0].net:,.2f}" in found.texts


def test_what_is_not_known_is_unknown_and_not_zero() -> None:
    made = report()
    fills = [made.fills[0]._replace(commission=None)]
    found = Parsed(page(made._replace(fills=fills, trips=[made.trips[0]._replace(net=None)])))
    assert found.texts.count("unknown") == 2


def test_a_run_that_did_nothing_says_so() -> None:
    texts = Parsed(page(report(equity=[], fills=[], trips=[], charts=[]))).texts
    assert {"No equity is recorded: the run has closed no bar.", "There are no fills.", "There are no trades."} <= set(
        texts
    )


def test_a_long_table_ends_and_says_how_much_is_left_out() -> None:
    fill = report().fills[0]
    found = Parsed(page(report(fills=[fill._replace(ts=fill.ts + n) for n in range(MOST_ROWS + 7)], charts=[])))
    assert found.texts.count("BUY") == MOST_ROWS
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 7} fills; the files of the report have all." in found.texts


# ---- what follows from equity ----------------------------------------------------------------------------------------


def points(*values: int, day: int = 1) -> list[EquityPoint]:
    return [EquityPoint(START + n * day * NS_PER_DAY, Decimal(value)) for n, value in enumerate(values)]


def test_a_drawdown_counts_from_the_highest_equity_so_far_the_capital_included() -> None:
    assert [float(one.share) for one in drawdowns(points(90, 120, 60, 130), Decimal(100))] == [0.1, 0, 0.5, 0]


def test_a_month_is_compared_with_the_end_of_the_one_before() -> None:
    found = month_returns(points(105, 110, 99, 121, day=20), Decimal(100))
    assert found == [
        MonthReturn(2026, 1, Decimal("0.1")),
        MonthReturn(2026, 2, Decimal("-0.1")),
        MonthReturn(2026, 3, Decimal(121) / 99 - 1),
    ]


def test_a_month_after_nothing_was_left_has_no_return() -> None:
    assert [one.value for one in month_returns(points(0, 50, day=31), Decimal(100))] == [Decimal(-1), None]


def test_the_year_is_all_its_months_together() -> None:
    cells = Parsed(
        page(report(equity=points(110, 99, day=31), capital=Decimal(100), charts=[], fills=[], trips=[]))
    ).texts
    at = cells.index("2026")
    assert cells[at + 1 : at + 4] == ["10.00", "-10.00", "-1.00"]


# ---- charts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (99_000, 103_400), (-0.0003, 0.0001), (-5, -5), (0, 0), (280.1, 280.2), (1e9, 3e9)]
)
def test_an_axis_has_few_round_steps_and_holds_what_is_drawn(low: float, high: float) -> None:
    found = scale(low, high)
    assert found.low <= low <= high <= found.high
    assert 3 <= len(found.ticks) <= 8
    assert found.y(found.high, 240) < found.y(found.low, 240) <= 240


def test_columns_keep_the_lowest_the_highest_and_the_last() -> None:
    values = [(float(n % 97), float(n % 89 + 100), float(n)) for n in range(10_001)]
    found = columns(values)
    assert len(found) <= 500
    assert min(c.low for c in found) == 0
    assert max(c.high for c in found) == 188
    assert (found[-1].last, found[-1].at) == (10_000, 10_000)
    assert columns(values[:3]) == [(0, 0, 100, 0), (1, 1, 101, 1), (2, 2, 102, 2)]


def test_time_that_nobody_trades_in_takes_no_room() -> None:
    hour = 3600 * NS_PER_S
    axis = Axis([START, START + hour, START + 64 * hour, START + 65 * hour])
    assert [axis.share_of(ts) for ts in axis.times] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.share_of(START + 30 * hour) == pytest.approx(2 / 3)
    assert axis.share_of(START + 99 * hour) == 1
    assert Axis([START]).share_of(START) == 0


def test_a_mark_lies_at_its_price() -> None:
    def at(price: float) -> float:
        mark = report_charts.Mark(START, price, "up", "a fill")
        text = report_charts.price_chart("p", [START], [(1.0, 9.0, 5.0)], marks=[mark], write=str)
        return next(float(v) for tag, name, v in Parsed(text).attributes if tag == "svg" and name == "y")

    assert at(8.0) < at(5.0) < at(2.0)
