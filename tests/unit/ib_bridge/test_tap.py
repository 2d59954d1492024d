"""The tap: what IB sends becomes words before the client library can keep a state of it, and nothing is lost unnoticed."""

from decimal import Decimal
from typing import Any

import pytest

from ib_bridge.ib.client import new_client
from ib_bridge.ib.tap import Tap
from nautilus.orders.words import (
    AccountValue,
    AccountValuesEnd,
    BrokerError,
    Commission,
    OpenOrdersEnd,
    OrderStatus,
    Pnl,
    Position,
)

UNSET = "1.7976931348623157E308"


@pytest.fixture
def ears():
    """(send a message of fields, the words, what could not be read, the library's client)."""
    words: list[Any] = []
    odd: list[tuple[str, str]] = []
    ib = new_client()
    tap = Tap(words.append, lambda name, why: odd.append((name, why)))
    tap.attach(ib)
    ib.client.decoder.serverVersion = 176
    return ib.client.decoder.interpret, words, odd, (ib, tap)


def test_a_price_is_the_text_that_came_not_its_float(ears):
    send, words, _, _ = ears
    send(["3", "7", "Submitted", "0.1", "0.2", "0.30000000000000004", "9", "0", "0", "5", "", "0"])
    (word,) = words
    assert isinstance(word, OrderStatus)
    assert (word.filled, word.remaining, word.avg_fill_price) == (
        Decimal("0.1"),
        Decimal("0.2"),
        Decimal("0.30000000000000004"),
    )


def test_a_status_without_a_fill_has_no_average(ears):
    send, words, _, _ = ears
    send(["3", "7", "Submitted", "0", "10", "0", "9", "0", "0", "5", "locate", "0"])
    assert (words[0].avg_fill_price, words[0].why_held, words[0].client_id, words[0].perm_id) == (None, "locate", 5, 9)


@pytest.mark.parametrize(("realized", "expected"), [(UNSET, None), ("", None), ("-1.5", Decimal("-1.5")), ("0", 0)])
def test_profit_that_ib_does_not_tell_is_none(ears, realized, expected):
    send, words, _, _ = ears
    send(["59", "1", "x.01", "1.25", "USD", realized, UNSET, ""])
    assert words == [Commission("x.01", Decimal("1.25"), "USD", expected, words[0].raw)]


def test_a_commission_that_is_unset_is_no_commission(ears):
    send, words, odd, _ = ears
    send(["59", "1", "x.01", UNSET, "", "", "", ""])
    assert (words, odd) == ([], [])


def test_an_error_keeps_its_number_and_code(ears):
    send, words, _, _ = ears
    send(["4", "2", "12", "201", "Order rejected", ""])
    assert words == [BrokerError(12, 201, "Order rejected", words[0].raw)]


def test_an_order_id_that_is_unset_is_none(ears):
    send, words, _, _ = ears
    send(["3", "2147483647", "Filled", "1", "0", "5", "9", "0", "5", "2147483647", "", "0"])
    assert (words[0].order_id, words[0].client_id) == (0, 0)


def test_positions_and_ends(ears):
    send, words, _, _ = ears
    contract = ["265598", "AAPL", "STK", "", "0", "", "", "NASDAQ", "USD", "AAPL", "NMS"]
    send(["61", "3", "DU1", *contract, "-12.5", "187.3"])
    send(["53", "1"])
    assert words == [Position("DU1", 265598, Decimal("-12.5"), Decimal("187.3")), OpenOrdersEnd()]


def test_profit_belongs_to_the_request_that_asked_for_it(ears):
    send, words, odd, (_, tap) = ears
    send(["94", "3", "1.0", UNSET, "2.5"])
    tap.pnl_requests[3] = ("DU1", None)
    send(["94", "3", "1.0", UNSET, "2.5"])
    assert words == [Pnl("DU1", None, Decimal(1), None, Decimal("2.5"))]
    assert odd == []


def test_the_profit_of_a_position_has_its_quantity_and_value(ears):
    send, words, odd, (_, tap) = ears
    tap.pnl_requests[4] = ("DU1", 265598)
    send(["95", "4", "-12", "1.5", UNSET, "2.5", "-2244.0"])
    profit = Pnl("DU1", 265598, Decimal("1.5"), None, Decimal("2.5"), quantity=Decimal(-12), value=Decimal(-2244))
    assert words == [profit]
    assert odd == []


def test_the_end_of_values_names_the_account_of_its_request(ears):
    send, words, odd, (_, tap) = ears
    tap.value_requests[8] = "DU1"
    send(["73", "1", "8", "DU1", "", "CashBalance", "5.25", "EUR"])
    send(["74", "1", "8"])
    send(["74", "1", "9"])
    assert words == [AccountValue("DU1", "CashBalance", "EUR", "5.25"), AccountValuesEnd("DU1")]
    assert odd == []


def test_the_library_keeps_no_state_of_orders(ears):
    send, words, _, (ib, _) = ears
    send(["3", "7", "Submitted", "0", "10", "0", "9", "0", "0", "5", "", "0"])
    send(["4", "2", "7", "10147", "not found", ""])
    assert len(words) == 2
    assert ib.trades() == []


@pytest.mark.parametrize(
    "fields",
    [
        ["3", "7", "Submitted", "nan", "10", "0", "9", "0", "0", "5", "", "0"],  # we cannot read it
        ["5", "1", "2"],  # the library cannot
        ["11", "x"],
    ],
)
def test_a_message_that_cannot_be_read_is_told(ears, fields):
    send, words, odd, _ = ears
    send(fields)
    assert words == []
    assert len(odd) == 1


def test_a_message_of_something_else_is_nobodys_business(ears):
    send, words, odd, _ = ears
    send(["106", "broken"])
    assert (words, odd) == ([], [])
