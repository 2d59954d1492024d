"""Prices and volumes of rows, with a decimal point or comma."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from math import isfinite

from ib_gateway_sim.market.bars import Bar
from ib_gateway_sim.market.replayed.bar_table import NUMBER_WANTED, PRICE_COLUMNS, Row, Table, short

# Beyond these a float no longer tells one cent, or one share, from the next.
_MOST_PRICE = 1e12
_MOST_VOLUME = 1e15
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MARKED = re.compile(r"[+-]?[0-9.,]*[0-9][0-9.,]*")
# Thousands in groups, and the other mark, if any, before the fraction.
_GROUPED = {
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?"),
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?:,[0-9]*)?"),
}


def decimal_mark(table: Table) -> str:
    """What stands before the fraction, "." or ",": numbers show it that can be read in one way only."""
    with_comma = False
    shown: dict[str, tuple[Row, str, str]] = {}
    for row in table.rows:
        for column, text in _numbers(row):
            if not _MARKED.fullmatch(text):
                continue
            with_comma = with_comma or "," in text
            for mark, other in ((".", ","), (",", ".")):
                if mark not in shown and mark in text and not _GROUPED[other].fullmatch(text):
                    shown[mark] = (row, column, text)
    if not with_comma:
        return "."
    if len(shown) == 1:
        return next(iter(shown))
    if shown:
        row, column, text = shown[","]
        dotted = shown["."]
        problem = f"has a decimal comma, and {short(dotted[2])} in row {dotted[0].line} a decimal point"
        raise table.refusal(row, column, text, problem, NUMBER_WANTED)
    cells = ((row, *cell) for row in table.rows for cell in _numbers(row))
    row, column, text = next(cell for cell in cells if "," in cell[2] and _MARKED.fullmatch(cell[2]))
    raise table.refusal(row, column, text, "may mean thousands or a fraction", f"{NUMBER_WANTED}, without a comma")


def _numbers(row: Row) -> Iterator[tuple[str, str]]:
    return chain(zip(PRICE_COLUMNS, row.prices, strict=True), (("volume", row.volume),))


def bar_of(table: Table, row: Row, at_s: int, mark: str, positive: bool) -> Bar:
    prices = [
        _number(table, row, column, text, mark, _MOST_PRICE)
        for column, text in zip(PRICE_COLUMNS, row.prices, strict=True)
    ]
    for column, price, text in zip(PRICE_COLUMNS, prices, row.prices, strict=True):
        if positive and price <= 0:
            raise table.refusal(row, column, text, "is no price of such an instrument", "a number above 0")
    _check_range(table, row, prices)
    volume = _number(table, row, "volume", row.volume, mark, _MOST_VOLUME) if row.volume else -1.0
    if row.volume and volume < 0:
        raise table.refusal(row, "volume", row.volume, "is below 0", "0 or more, or nothing where it is not known")
    opened, high, low, close = prices
    return Bar(at_s, opened, high, low, close, int(volume) if volume.is_integer() else volume, -1, -1)


def _check_range(table: Table, row: Row, prices: Sequence[float]) -> None:
    """Refuse a high below the low, and an open or close outside of both."""
    opened, high, low, close = prices
    texts = dict(zip(PRICE_COLUMNS, row.prices, strict=True))
    if high < low:
        problem = f"is below the low, {short(texts['low'])}"
        raise table.refusal(row, "high", texts["high"], problem, "a high that is not below the low")
    for column, price in (("open", opened), ("close", close)):
        if not low <= price <= high:
            edge = "high" if price > high else "low"
            problem = f"is {'above' if price > high else 'below'} the {edge}, {short(texts[edge])}"
            raise table.refusal(row, column, texts[column], problem, "a price from low to high")


def _number(table: Table, row: Row, column: str, text: str, mark: str, most: float) -> float:
    other = "," if mark == "." else "."
    plain = text.replace(other, "") if other in text and _GROUPED[mark].fullmatch(text) else text
    plain = plain.replace(",", ".") if mark == "," and "." not in plain else plain
    if not _NUMBER.fullmatch(plain):
        raise table.refusal(row, column, text, "is no number" if text else "is empty", NUMBER_WANTED)
    number = float(plain)
    if not isfinite(number) or abs(number) > most:
        raise table.refusal(row, column, text, "is too large", f"a number of at most {most:g}")
    return number
