"""Rules of the order process that need no socket: who may get orders, when, and how fast; how an order is written for IB."""

import asyncio
from decimal import Decimal

import pytest

from ib_bridge.ib.order_encoding import OrderTerms, contract_of, encode
from ib_bridge.orders.gate import GateView, next_restart, restarting, status
from ib_bridge.orders.pacer import Pacer
from ib_bridge.orders.paper_guard import account_refusal, connection_refusal
from nautilus.clock import parse_rfc3339
from nautilus.market.instrument import Instrument

LIVE = ("U1234567",)
OPEN = GateView(
    up=True,
    reason="",
    guard=None,
    read_only=False,
    servers_lost=False,
    reconciled=True,
    recording=True,
    halted_by_signal=False,
    restarting=False,
)


# ---- accounts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accounts", [["DU123"], ["DF1", "DU2"], ["SIM7"]])
@pytest.mark.parametrize("mode", ["paper", "live"])
def test_paper_and_the_simulator_get_orders(mode, accounts):
    assert connection_refusal(mode, LIVE, accounts) is None


@pytest.mark.parametrize(
    ("mode", "named", "accounts", "says"),
    [
        ("off", LIVE, ["DU123"], "switched off"),
        ("paper", LIVE, ["U1234567"], "NAUTILUS_ORDERS is paper"),
        ("live", ("U7654321",), ["U1234567"], "NAUTILUS_LIVE_ACCOUNT"),
        ("live", (), ["U1234567"], "NAUTILUS_LIVE_ACCOUNT"),
        ("live", LIVE, ["U1234567", "DU123"], "several kinds"),
        ("paper", (), [], "no account"),
    ],
)
def test_two_settings_must_agree_before_a_live_account_gets_an_order(mode, named, accounts, says):
    assert says in str(connection_refusal(mode, named, accounts))


def test_of_several_live_accounts_only_those_that_are_named_get_orders():
    accounts = ["U1234567", "U7654321"]
    assert account_refusal("live", LIVE, accounts, "U1234567") is None
    assert "U7654321 does not stand in" in str(account_refusal("live", LIVE, accounts, "U7654321"))
    assert "does not manage the account U9" in str(account_refusal("live", LIVE, accounts, "U9"))


# ---- the gate --------------------------------------------------------------------------------------------------------


def test_the_gate_is_open_when_nothing_is_in_the_way():
    assert status(OPEN).open


@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        ({"up": False, "reason": "client id 5 is in use"}, "connecting", "client id 5"),
        ({"guard": "no order goes there"}, "not_ready", "no order goes there"),
        ({"halted_by_signal": True}, "not_ready", "SIGUSR1"),
        ({"read_only": True}, "not_ready", "Read-Only"),
        ({"servers_lost": True}, "not_ready", "1100"),
        ({"recording": False}, "not_ready", "database"),
        ({"restarting": True}, "not_ready", "restart"),
        ({"reconciled": False}, "reconciling", "asking IB"),
    ],
)
def test_each_obstacle_closes_the_gate_and_says_so(change, state, says):
    found = status(OPEN._replace(**change))
    assert (found.open, found.state) == (False, state)
    assert says in found.reason


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-03T04:43:59Z", False),  # 23:43:59 in New York, in winter
        ("2026-03-03T04:44:01Z", True),
        ("2026-03-03T04:45:59Z", True),
        ("2026-03-03T04:46:01Z", False),
        ("2026-07-03T03:45:00Z", True),  # in summer
    ],
)
def test_no_order_goes_out_a_minute_before_and_after_the_restart(at, expected):
    assert restarting("11:45 PM", parse_rfc3339(at)) is expected
    assert restarting("", parse_rfc3339(at)) is False


def test_a_restart_at_midnight_counts_on_both_days():
    assert restarting("12:00 AM", parse_rfc3339("2026-03-03T04:59:30Z"))
    assert restarting("12:00 AM", parse_rfc3339("2026-03-03T05:00:30Z"))


# ---- the pacer -------------------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_orders_leave_ten_of_fifty_to_cancels():
    clock = Clock()
    pacer = Pacer(50, 10, clock)
    for _ in range(40):
        assert pacer.wait_s() == 0
        pacer.count()
    assert pacer.wait_s() > 1
    for _ in range(10):
        assert pacer.wait_s(urgent=True) == 0
        pacer.count()
    assert pacer.wait_s(urgent=True) > 1
    clock.now += 1.06
    assert pacer.wait_s() == pacer.wait_s(urgent=True) == 0


def test_a_message_that_left_late_counts_from_when_it_left():
    clock = Clock()
    pacer = Pacer(50, 10, clock)
    counted = asyncio.run(pacer.passed(3))
    clock.now += 0.9  # the commit before the write took so long
    pacer.count(37)
    pacer.written(counted, 3)
    clock.now += 0.2
    assert pacer.wait_s() == pytest.approx(0.85), "forty left within the last second"
    clock.now += 0.86
    assert pacer.wait_s() == 0


def test_a_group_waits_for_room_for_all_of_it():
    clock = Clock()
    pacer = Pacer(50, 10, clock)
    pacer.count(38)
    clock.now += 0.5
    pacer.count(1)
    assert pacer.wait_s(1) == 0
    assert pacer.wait_s(3) == pytest.approx(0.55)


def test_a_new_connection_begins_to_count_anew():
    pacer = Pacer(50, 10, Clock())
    pacer.count(50)
    pacer.forget()
    assert pacer.wait_s() == 0


# ---- IB's words ------------------------------------------------------------------------------------------------------


def terms(**fields):
    given = {"ref": "r", "account": "DU1", "side": "BUY", "type": "LMT", "tif": "DAY", "quantity": Decimal("10")}
    return OrderTerms(**{**given, **fields})


def test_numbers_go_out_as_they_stand_in_the_row():
    order = encode(terms(quantity=Decimal("1E+2"), limit_price=Decimal("0.00001230")))
    assert (order.totalQuantity, order.lmtPrice) == ("100", "0.00001230")
    assert (order.account, order.orderRef, order.transmit, order.parentId) == ("DU1", "r", True, 0)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "STP_LMT", "limit_price": Decimal(9), "stop_price": Decimal(8)}, ("STP LMT", "9", "8")),
        ({"type": "STP", "stop_price": Decimal(8)}, ("STP", None, "8")),
        ({"type": "TRAIL", "trail_amount": Decimal("0.5")}, ("TRAIL", None, "0.5")),
        ({"type": "MKT"}, ("MKT", None, None)),
    ],
)
def test_each_type_has_its_prices_and_no_others(fields, expected):
    order = encode(terms(**fields))
    prices = [value if isinstance(value, str) else None for value in (order.lmtPrice, order.auxPrice)]
    assert (order.orderType, *prices) == expected


def test_a_time_goes_out_in_utc():
    order = encode(terms(limit_price=Decimal(1), tif="GTD", good_till=parse_rfc3339("2026-03-02T22:00:00Z")))
    assert order.goodTillDate == "20260302-22:00:00"


def test_a_contract_goes_out_by_its_number_alone():
    row = Instrument(7, "A.B", "A", "STK", "NASDAQ", "NASDAQ", "USD", "A", "NMS", "", "", 0.01, "", "UTC", "c")
    assert contract_of(row).conId == 7
    assert (contract_of(row).exchange, contract_of(row).symbol) == ("SMART", "")
    assert contract_of(row._replace(asset_class="FUT", exchange="CME")).exchange == "CME"


@pytest.mark.parametrize(
    ("at", "restart"),
    [
        ("2026-03-03T04:44:59Z", "2026-03-03T04:45:00Z"),
        ("2026-03-03T04:45:00Z", "2026-03-04T04:45:00Z"),
        ("2026-03-07T20:00:00Z", "2026-03-08T04:45:00Z"),
        ("2026-03-08T20:00:00Z", "2026-03-09T03:45:00Z"),  # New York has changed its clocks
    ],
)
def test_the_next_restart_is_the_first_one_ahead(at: str, restart: str) -> None:
    assert next_restart("11:45 PM", parse_rfc3339(at)) == parse_rfc3339(restart)
    assert next_restart("", parse_rfc3339(at)) is None
