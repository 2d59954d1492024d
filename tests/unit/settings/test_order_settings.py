"""The settings of orders: two must agree before real money moves, and the client id stays out of the bridge's."""

import pytest
from pydantic import ValidationError

from nautilus.settings.base import explain
from nautilus.settings.orders import OrderModeSettings, OrderSettings

URL = "postgresql://nautilus:nautilus@127.0.0.1/nautilus"


def refusal(**values: str) -> str:
    with pytest.raises(ValidationError) as wrong:
        OrderSettings.model_validate({"database_url": URL, **values})
    return explain(wrong.value)


def test_paper_is_what_holds_without_a_word() -> None:
    settings = OrderSettings.model_validate({"database_url": URL})
    assert (settings.orders, settings.live_account, settings.orders_client_id) == ("paper", (), 5)


def test_live_needs_the_names_of_the_accounts() -> None:
    assert "orders=live also needs live_account" in refusal(orders="live")
    settings = OrderModeSettings.model_validate({"orders": "live", "live_account": "U1234567, U7654321"})
    assert settings.live_account == ("U1234567", "U7654321")
    assert "'u123' is no account" in refusal(orders="live", live_account="u123")


@pytest.mark.parametrize("number", [17, 22, 27])
def test_a_client_id_of_the_bridge_is_refused(number: int) -> None:
    text = refusal(orders_client_id=str(number))
    assert f"orders_client_id {number} is one of the bridge's (17 to 27" in text


@pytest.mark.parametrize("number", [16, 28])
def test_the_ids_beside_them_are_free(number: int) -> None:
    OrderSettings.model_validate({"database_url": URL, "orders_client_id": number})


def test_client_zero_binds_orders_of_others() -> None:
    assert "NAUTILUS_ORDERS_CLIENT_ID" in refusal(orders_client_id="0")


def test_a_crash_point_is_for_tests_alone() -> None:
    assert "orders_crash_at is for tests" in refusal(
        env="prod", orders_crash_at="after-write", database_url="postgresql://nautilus:hidden-word@127.0.0.1/nautilus"
    )


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"gateway_restart_at": "23:45"}, "must be a time of day such as 11:45 PM"),
        ({"orders_zone": "Mars/Base"}, "is not a time zone such as America/New_York"),
        ({"orders_ask_again_s": "5,x"}, "NAUTILUS_ORDERS_ASK_AGAIN_S"),
        ({"orders_ask_again_s": "0"}, "must be one to five numbers of seconds from 0.1 to 300"),
        ({"orders_messages_per_s": "10", "orders_kept_for_cancels": "10"}, "must be less than orders_messages_per_s"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, str], says: str) -> None:
    assert says in refusal(**values)
