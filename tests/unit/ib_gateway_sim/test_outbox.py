"""Every message to a client passes one place, and has a name there."""

import ast
from pathlib import Path

import pytest

from ib_gateway_sim.session.outbox import Message, error_frame
from ib_gateway_sim.wire import codec

ROOT = Path(__file__).resolve().parents[3] / "ib_gateway_sim"


def calls(path: Path, name: str) -> bool:
    """Whether a module calls a method of that name."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name for node in nodes
    )


def test_only_the_outbox_writes_to_the_sockets_of_clients():
    writing = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if calls(path, "write")}
    assert writing == {"session/outbox.py", "control/port.py"}


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (codec.frame(3, 1, "Filled"), "orderStatus"),
        (error_frame(-1, 2104, "OK", 178), "error"),
        (codec.frame(102), "completedOrdersEnd"),
    ],
)
def test_a_message_is_named_by_its_id(frame, kind):
    assert Message.of(frame) == (kind, frame)


def test_a_message_that_is_not_in_the_table_is_refused():
    with pytest.raises(KeyError):
        Message.of(codec.frame(999, 1))
