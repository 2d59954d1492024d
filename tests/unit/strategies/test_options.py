from decimal import Decimal

import pytest

from nautilus.errors import InvalidInput
from nautilus.strategies.options import RunOptions, run_options


def test_what_is_left_out_has_its_default():
    assert run_options({}) == RunOptions()
    found = run_options({"capital": "2500.50", "fill": "close", "warm_up_bars": 0, "on_crash": "cancel"})
    assert (found.capital, found.fill, found.warm_up_bars, found.on_crash) == (Decimal("2500.50"), "close", 0, "cancel")
    assert found.adaptive_ordering


@pytest.mark.parametrize(
    ("given", "field", "allowed"),
    [
        ({"fill": "open"}, "options.fill", ("next_open", "close")),
        ({"on_crash": "sell"}, "options.on_crash", ("keep", "cancel")),
        ({"capital": "0"}, "options.capital", ["up to 1000000000000"]),
        ({"capital": "NaN"}, "options.capital", ["up to 1000000000000"]),
        ({"capital": True}, "options.capital", ["up to 1000000000000"]),
        ({"warm_up_bars": -1}, "options.warm_up_bars", ["0 to 10000"]),
        ({"warm_up_bars": True}, "options.warm_up_bars", ["0 to 10000"]),
        ({"equity_points": 1}, "options.equity_points", ["2 to 1500"]),
        ({"seed": "1"}, "options.seed", ["0 to 2147483647"]),
        ({"adaptive_ordering": 1}, "options.adaptive_ordering", ["true", "false"]),
        ({"leverage": 2}, "options.leverage", RunOptions._fields),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(given, field, allowed):
    with pytest.raises(InvalidInput) as wrong:
        run_options(given)
    assert (wrong.value.errors[0].field, wrong.value.errors[0].allowed) == (field, allowed)


@pytest.mark.parametrize("currency", ["usd", "EURO", "€€€", 1])
def test_a_currency_has_three_capital_letters(currency):
    with pytest.raises(InvalidInput, match="three capital letters"):
        run_options({"currency": currency})
