"""Faults of executions: commissions that are late, missing or first, corrections, and fills that are taken back."""

from typing import Any

from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, choice, count, number
from ib_gateway_sim.orders.fills import correct as correct_fill
from ib_gateway_sim.orders.order import Execution


def commission_delay(control: Context, seconds: Any) -> None:
    """commissions come so many seconds after their executions; never: not at all, on request neither; 0 is normal"""
    never = seconds == "never"
    try:
        delay_s = float("inf") if never else number("seconds", seconds, 0, 1e6)
    except Wrong:
        raise Wrong(f"seconds {seconds!r}; allowed: a number from 0 to 1e+06, or never") from None
    control.gateway.faults.orders.fee_delay_s = delay_s


def commission_first(control: Context, n: Any = 1) -> None:
    """the next n commissions come before their executions"""
    control.gateway.faults.orders.fee_first = count("n", n)


def correct(control: Context, execution: str, price: Any, quantity: Any = None) -> Answer:
    """an execution (its execId, or last) is corrected: another execDetails whose id ends with the next number, as .02"""
    made = _find(control, execution)
    most = round(made.shares + made.order.remaining, 10)  # what the order asks for
    shares = made.shares if quantity is None else number("quantity", quantity, 0, most)
    new = correct_fill(control.gateway, made, shares, number("price", price, -1e9, 1e9))
    return {"exec_id": new.exec_id}


def bust_execution(control: Context, execution: str, how: str = "correction") -> Answer:
    """an execution is taken back: by a correction to 0 shares, or silent, by the position alone (which of the two
    IB does is not established)"""
    reported = choice("how", how, ["correction", "silent"]) == "correction"
    made = _find(control, execution)
    return {"exec_id": correct_fill(control.gateway, made, 0.0, made.price, reported=reported).exec_id}


def _find(control: Context, execution: str) -> Execution:
    """The newest revision of an execution by an execId of it, or the last execution. Raises Wrong."""
    booked = [made for made in control.gateway.orders.executions if _is_booked(control, made)]
    found = [made for made in booked if execution in ("last", made.exec_id, made.key) or made.key == _key(execution)]
    if not found:
        raise Wrong(
            f"execution {execution!r}; allowed: {', '.join(made.exec_id for made in booked) or 'none was made'}"
        )
    return found[-1]


def _key(execution: str) -> str:
    return execution.rpartition(".")[0]


def _is_booked(control: Context, made: Execution) -> bool:
    """The whole of an advisor's order is booked nowhere: its shares are."""
    return any(booking.key == made.key for booking in control.gateway.portfolios[made.owner].bookings)


COMMANDS = commands(
    commission_delay,
    commission_first,
    correct,
    bust_execution,
)
