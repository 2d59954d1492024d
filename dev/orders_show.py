"""Shows what becomes of orders when things go wrong (make orders-show): with a simulated market, a line for each step.

1. The order process is killed between the commit that announces an order and its first byte.
2. IB refuses the middle leg of a bracket.
3. The kill switch is pulled while the socket to the gateway is half open.
"""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from dev.api_client import ApiError
from dev.environment import drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.order_desk import ORDERS, OrderDesk, terms
from dev.process import StartError, end_on_signals
from dev.sources import Generated
from dev.stack import stack_of
from dev.up import say
from nautilus.errors import NautilusError

SIMULATOR = ("--price-range", "3", "--latency", "none")
"""A gateway refuses limits more than so many percent from the market (109): IB's default."""
ASK_AGAIN_S = "1,2"
"""When IB is asked again for an order that it does not name. It is 5 and 30 s otherwise; the reader need not wait so long."""
API, PROCESS, IB, ORDER = "API", "order process", "IB", "order"


def main() -> int:
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        with tempfile.TemporaryDirectory() as folder:
            show(Path(folder))
        say("\nNothing runs any more, and nothing was kept.")
        return 0
    except (StartError, ApiError, NautilusError, httpx.HTTPError, OSError) as error:
        print(f"\nThe show did not work: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped; nothing runs any more.")
        return INTERRUPTED


def show(folder: Path) -> None:
    """The whole show, with a stack of its own in a folder."""
    with stack_of(folder, Generated(), simulator=SIMULATOR) as stack:
        say("Nautilus with a simulated market ...")
        stack.start()
        with closing(OrderDesk(stack)) as desk:
            desk.open_market()
            say(f"It is {desk.now():%A, %Y-%m-%d}, and New York trades.")
            say("Times in front of a line are the market's, times in a sentence the machine's; both UTC.")
            killed_before_the_write(desk)
            refused_leg(desk)
            half_open_kill(desk)


# ---- 1 ---------------------------------------------------------------------------------------------------------------


def killed_before_the_write(desk: OrderDesk) -> None:
    say("\n1. kill -9 between commit and write: nobody knows whether IB has the order, and we say so")
    desk.stack.restart("orders", orders_crash_at="after-sending", orders_ask_again_s=ASK_AGAIN_S)
    desk.until_ready()
    wanted = {"symbol": "AAPL", "side": "BUY", "type": "LMT", "quantity": 10, "limit_price": desk.price("AAPL", "0.99")}
    order = desk.place(**wanted)
    number = order["id"]
    desk.line(API, f"accepted: {terms(order)}; it reserves {order['reserved']['value']} USD of the limits")
    desk.wait(lambda: desk.stack.running("orders").exit_code() is not None, "the order process is dead")
    desk.line(PROCESS, "killed (SIGKILL): it had committed `sending`, and had not written a byte")
    desk.line(ORDER, f"{desk.order(number)['state']}, says the database; IB received it {times(desk.received(number))}")
    desk.stack.restart("orders", orders_ask_again_s=ASK_AGAIN_S)
    desk.line(PROCESS, "started again; it asks IB for open orders, completed orders and executions, three times")
    found = desk.until(number, "unknown")
    desk.line(ORDER, f"unknown, as IB does not name it: {found['why']}")
    desk.line(ORDER, f"it may exist, so it still reserves {found['reserved']['value']} USD, and is not sent again")
    desk.until_ready()
    desk.line(API, f"denied: the same once more, as that could be two: {desk.refusal(**wanted, allow_duplicate=True)}")
    body = {"outcome": "never_arrived", "note": "not in TWS, neither open nor traded"}
    resolved = desk.chief.post(f"{ORDERS}/{number}/resolve", body)
    desk.line("administrator", f"looked into TWS: {resolved['why']}")
    desk.line(
        ORDER,
        f"{resolved['state']}, reserves {resolved['reserved']['value']}; IB received it {times(desk.received(number))}",
    )
    again = desk.until(desk.place(**wanted, allow_duplicate=True)["id"], "working")
    desk.line(
        ORDER, f"a new one is {again['state']}: {terms(again)}; IB received it {times(desk.received(again['id']))}"
    )
    cancel(desk, again)


def cancel(desk: OrderDesk, order: dict[str, Any]) -> None:
    desk.trader.delete(f"{ORDERS}/{order['id']}")
    desk.line(ORDER, f"{desk.until(order['id'], 'cancelled')['state']}: the trader took it back, and IB confirmed it")


# ---- 2 ---------------------------------------------------------------------------------------------------------------


def refused_leg(desk: OrderDesk) -> None:
    say("\n2. IB refuses the middle leg of a bracket: no entry is left without its protection")
    entry = desk.place(
        symbol="AAPL",
        side="BUY",
        type="LMT",
        quantity=20,
        limit_price=desk.price("AAPL", "0.99"),
        take_profit={"limit_price": desk.price("AAPL", "1.08")},
        stop_loss={"stop_price": desk.price("AAPL", "0.95")},
    )
    legs = [entry, *entry["legs"]]
    for leg in legs:
        desk.line(API, f"accepted, {role(leg)}: {terms(leg)}")
    found = desk.until(legs[1]["id"], "rejected")
    desk.line(IB, f"refuses the take profit: {found['why']}")
    desk.line(PROCESS, "cancels what has not filled: the entry would have bought without a way out at a profit")
    for leg in (legs[0], legs[2]):
        desk.line(ORDER, f"{role(leg)} is {desk.until(leg['id'], 'cancelled', 'rejected')['state']}")
    left = [desk.order(leg["id"]) for leg in legs]
    filled, reserved = sum(int(one["filled"]) for one in left), sum(int(one["reserved"]["quantity"]) for one in left)
    desk.line(ORDER, f"of all three: {filled} filled, {reserved} reserved")


def role(order: dict[str, Any]) -> str:
    return {"parent": "entry", "take_profit": "take profit", "stop_loss": "stop loss"}[order["group"]["role"]]


# ---- 3 ---------------------------------------------------------------------------------------------------------------


def half_open_kill(desk: OrderDesk) -> None:
    say(
        "\n3. the kill switch over a half-open socket: it needs the database alone; cancels go out first when IB is back"
    )
    bought = desk.place(
        symbol="AAPL",
        side="BUY",
        type="MKT",
        quantity=10,
        take_profit={"limit_price": desk.price("AAPL", "1.02")},
        stop_loss={"stop_price": desk.price("AAPL", "0.95")},
    )
    filled = desk.until(bought["id"], "filled")
    desk.line(ORDER, f"filled: {terms(filled)} at {filled['avg_fill_price']}; its exits rest at IB")
    resting = desk.place(symbol="MSFT", side="BUY", type="LMT", quantity=5, limit_price=desk.price("MSFT", "0.99"))
    desk.line(ORDER, f"{desk.until(resting['id'], 'working')['state']}: {terms(resting)}, an entry")
    desk.simulator("half_open 5")
    desk.line(IB, "the socket goes half open: writes succeed, and nothing arrives any more")
    killed = desk.trader.post(f"{ORDERS}/kill", {"reason": "prices look wrong"})
    halted = ", ".join(row["account"] for row in killed["halted"])
    desk.line(
        API, f"kill: {halted} is halted at once; {len(killed['cancelling'])} cancel waits, exits of brackets stay"
    )
    refused = desk.refusal(symbol="MSFT", side="BUY", type="LMT", quantity=1, limit_price=desk.price("MSFT", "0.99"))
    desk.line(API, f"denied: {refused}")
    follow_cancel(desk, resting["id"])
    desk.wait(lambda: newest_kill(desk)["done"], "the kill is done")
    desk.line(PROCESS, f"the kill is done: {newest_kill(desk)['text']}")
    for leg in bought["legs"]:
        desk.line(ORDER, f"{desk.order(leg['id'])['state']}: {role(leg)}, it protects the position")
    desk.chief.post(
        f"{ORDERS}/resume", {"reason": "prices are right", "accounts": [row["account"] for row in killed["halted"]]}
    )
    desk.line("administrator", "resumes: orders pass again")


def newest_kill(desk: OrderDesk) -> dict[str, Any]:
    found: dict[str, Any] = desk.trader.get(f"{ORDERS}/risk")["kills"][0]
    return found


STEPS = {
    ("cancel-sent", "process"): "the cancel is written into the socket",
    ("cancel-wanted", "process"): "the gateway does not answer; on a new connection the cancel is written first",
}
"""Kind and source of an event -> what it means here."""


def follow_cancel(desk: OrderDesk, number: str) -> None:
    """How a cancel comes to its end, by the order's events."""
    seen, over = 0, False
    while not over:
        over = desk.order(number)["state"] == "cancelled"
        for event in desk.trader.get(f"{ORDERS}/{number}/events", after=seen)["events"]:
            seen = event["id"]
            if words := STEPS.get((event["kind"], event["source"])):
                desk.line(PROCESS, words)
    desk.line(ORDER, f"cancelled, says IB: {terms(desk.order(number))}")


def times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


if __name__ == "__main__":
    sys.exit(main())
