"""Orders and fills are known again by the texts that IB gives."""

from uuid import UUID

import pytest

from nautilus.orders.identity import ExecutionKey, execution_key, order_id_of, order_ref

ID = UUID("0b9a3c1e-52d4-4c64-9d6f-8a5f0a1b2c3d")


@pytest.mark.parametrize(
    ("exec_id", "key"),
    [
        ("0000e0d5.64a1b2c3.01.01", ("0000e0d5.64a1b2c3.01", 1)),
        ("0000e0d5.64a1b2c3.01.02", ("0000e0d5.64a1b2c3.01", 2)),
        ("0000e0d5.64a1b2c3.01.10", ("0000e0d5.64a1b2c3.01", 10)),
        ("nodots", ("nodots", 0)),
        ("0000e0d5.64a1b2c3.0a", ("0000e0d5.64a1b2c3.0a", 0)),
        (".01", (".01", 0)),
        ("a.", ("a.", 0)),
        ("a.٣", ("a.٣", 0)),
        ("a.1234567890", ("a.1234567890", 0)),
        ("", ("", 0)),
    ],
)
def test_the_last_group_of_an_execution_is_its_revision(exec_id: str, key: tuple[str, int]) -> None:
    assert execution_key(exec_id) == ExecutionKey(*key)


def test_two_fills_of_one_order_have_two_keys() -> None:
    assert execution_key("a.b.01.01").base != execution_key("a.b.02.01").base


@pytest.mark.parametrize("text", [str(ID), str(ID).upper(), f" {ID} ", f"{ID}:17", f"{ID}:stop", f"{ID}:"])
def test_our_reference_names_our_order(text: str) -> None:
    assert order_id_of(text) == ID


@pytest.mark.parametrize(
    "text", ["", "manual", str(ID)[:-1], f"{ID}x", f"x{ID}", ID.hex, f"{{{ID}}}", f"{ID}:" + "x" * 41]
)
def test_another_text_names_none_of_ours(text: str) -> None:
    assert order_id_of(text) is None


def test_what_is_sent_is_what_is_read() -> None:
    assert order_id_of(order_ref(ID)) == ID
