"""Bodies of orders: decimals as they were written, and refusals that name the field."""

from decimal import Decimal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from nautilus.orders import schemas
from nautilus.orders.schemas import ChangeRequest, DecimalText, KillRequest, LimitRequest, OrderRequest, ResolveRequest
from nautilus.orders.ticket import OrderType, Origin, Prices, Side, Tif
from tests.unit.orders.cases import stock

D = Decimal
DECIMAL = TypeAdapter(DecimalText)
PLAIN = {"symbol": "AAPL", "side": "BUY", "type": "LMT", "quantity": 10, "limit_price": "187.25"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("187.25", "187.25"),
        ("187.2500", "187.2500"),
        ("0.00000001", "0.00000001"),
        ("-3", "-3"),
        (7, "7"),
        ("9" * 15, "9" * 15),
    ],
)
def test_a_decimal_is_kept_as_it_was_written(given, expected):
    found = DECIMAL.validate_python(given)
    assert isinstance(found, Decimal)
    assert DECIMAL.dump_python(found, mode="json") == expected


@pytest.mark.parametrize(
    "given",
    [
        1.5,
        1.0,
        True,
        None,
        [],
        "",
        " 1",
        "1e3",
        "NaN",
        "Infinity",
        ".5",
        "5.",
        "+5",
        "1,5",
        "٣",
        "1" * 16,
        "1." + "1" * 13,
        10**15,
    ],
)
def test_another_form_is_refused_with_the_right_one(given):
    with pytest.raises(ValidationError) as refused:
        DECIMAL.validate_python(given)
    (error,) = refused.value.errors()
    assert "text such as" in error["msg"]


def test_a_number_with_a_point_is_shown_in_quotes():
    with pytest.raises(ValidationError, match=r'write "187\.25" in quotes'):
        OrderRequest.model_validate({**PLAIN, "limit_price": 187.25})


def test_the_document_says_text_or_whole_number():
    schema = OrderRequest.model_json_schema()["properties"]["quantity"]
    assert {one["type"] for one in schema["anyOf"]} == {"string", "integer"}


def test_a_body_becomes_a_ticket():
    body = OrderRequest.model_validate(
        {
            **PLAIN,
            "account": "DU1",
            "tif": "GTD",
            "good_till": "2026-01-05T15:00:00Z",
            "outside_rth": True,
            "take_profit": {"limit_price": "190"},
            "stop_loss": {"stop_price": "180.5", "tif": "DAY"},
            "tags": ["idea"],
            "allow_duplicate": True,
        }
    )
    ticket = body.ticket("DU1", stock(), Origin.FRONT_END)
    assert (ticket.account, ticket.con_id, ticket.side, ticket.type) == ("DU1", 265598, Side.BUY, OrderType.LMT)
    assert (ticket.quantity, ticket.prices) == (D(10), Prices(limit=D("187.25")))
    assert (ticket.tif, ticket.good_till) == (Tif.GTD, 1_767_625_200_000_000_000)
    assert ticket.take_profit is not None
    assert ticket.stop_loss is not None
    assert (ticket.take_profit.type, ticket.take_profit.prices.limit, ticket.take_profit.tif) == ("LMT", D(190), "GTC")
    assert (ticket.stop_loss.type, ticket.stop_loss.prices.stop, ticket.stop_loss.tif) == ("STP", D("180.5"), "DAY")
    assert (ticket.outside_rth, ticket.tags, ticket.allow_duplicate) == (True, ("idea",), True)
    assert (ticket.dry_run, ticket.round_prices, ticket.valid_for_s, ticket.origin) == (False, False, 30, "front_end")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"stop_price": "1"}, "STP"),
        ({"stop_price": "1", "limit_price": "1"}, "STP_LMT"),
        ({"trail_percent": "1"}, "TRAIL"),
        ({"trail_amount": "1", "limit_price": "1", "stop_price": "1"}, "TRAIL_LIMIT"),
    ],
)
def test_the_prices_of_a_stop_loss_tell_its_type(given, expected):
    assert schemas.StopLoss.model_validate(given).exit().type == expected


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"side": "buy"}, "side"),
        ({"type": "STP LMT"}, "type"),
        ({"tif": "FOREVER"}, "tif"),
        ({"quantity": None}, "quantity"),
        ({"quantity": "10 shares"}, "quantity"),
        ({"good_till": "2026-01-05T15:00:00"}, "good_till"),
        ({"good_till": 1}, "good_till"),
        ({"outside_rth": "yes"}, "outside_rth"),
        ({"valid_for_s": 0}, "valid_for_s"),
        ({"valid_for_s": 86_401}, "valid_for_s"),
        ({"valid_for_s": "30"}, "valid_for_s"),
        ({"oca": {"group": ""}}, "oca"),
        ({"oca": {"group": "g", "type": 4}}, "oca"),
        ({"take_profit": {}}, "take_profit"),
        ({"tags": ["a"] * 11}, "tags"),
        ({"tags": [""]}, "tags"),
        ({"account": ""}, "account"),
        ({"limitprice": "1"}, "limitprice"),
    ],
)
def test_what_is_wrong_in_an_order_names_its_field(changed, field):
    with pytest.raises(ValidationError) as refused:
        OrderRequest.model_validate({**PLAIN, **changed})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


def test_a_change_names_what_is_to_change():
    assert ChangeRequest.model_validate({"quantity": 5, "stop_price": None}).changed() == {"quantity": D(5)}
    with pytest.raises(ValidationError, match="at least one of quantity, limit_price"):
        ChangeRequest.model_validate({})
    with pytest.raises(ValidationError):
        ChangeRequest.model_validate({"side": "SELL"})


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        (KillRequest, {"reason": ""}, "reason"),
        (KillRequest, {"reason": "x", "cancel": "all"}, "cancel"),
        (KillRequest, {"reason": "x", "accounts": []}, "accounts"),
        (KillRequest, {"reason": "x", "flatten": 1}, "flatten"),
        (ResolveRequest, {"outcome": "filled", "note": "x"}, "outcome"),
        (ResolveRequest, {"outcome": "cancelled", "note": ""}, "note"),
        (LimitRequest, {"name": "notional"}, "value"),
        (LimitRequest, {"name": "notional", "value": 1.5}, "value"),
    ],
)
def test_other_bodies_name_the_field_too(kind: type[BaseModel], given, field):
    with pytest.raises(ValidationError) as refused:
        kind.model_validate(given)
    assert {error["loc"][0] for error in refused.value.errors()} == {field}


def test_a_kill_that_says_no_more_leaves_the_choice_of_orders_to_the_kill_switch():
    body = KillRequest.model_validate({"reason": "x"})
    assert (body.cancel, body.flatten, body.accounts) == (None, False, None)


def test_a_limit_can_be_taken_away():
    assert LimitRequest.model_validate({"name": "notional", "value": None}).value is None
