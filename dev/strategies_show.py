"""Shows a strategy in its three modes (make strategies-show): a back-test of past days with its report, then paper and live side
by side on a simulated market, and in the end the back-test of each one's minutes beside it.
"""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from dev.api_client import ApiError
from dev.environment import drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.order_desk import ORDERS, OrderDesk
from dev.process import StartError, end_on_signals
from dev.sources import Generated
from dev.stack import stack_of, strategy_python
from dev.up import say
from nautilus.clock import NS_PER_DAY, NS_PER_S, ns_of, parse_rfc3339, rfc3339
from nautilus.errors import NautilusError

RUNS, BACKTESTS, BACKFILL = "/api/v1/strategy-runs", "/api/v1/backtests", "/api/v1/ib/backfill"
TRADED = {"template": "ema_cross", "instruments": [{"symbol": "AAPL"}], "timeframe": "1m"}
SLOW = {**TRADED, "parameters": {"fast": 5, "slow": 20}}
QUICK = {**TRADED, "parameters": {"fast": 1, "slow": 3}, "warm_up_bars": 0}
"""Of the minutes, in which something is to happen. Bars to warm up with would be others later: history has more by then."""
MODES = ("paper", "live")
_MINUTE_NS = 60 * NS_PER_S
_FOLLOWS_NS = 30 * NS_PER_S
"""What follows from a bar has happened so long after it."""
_CONFIRMED_NS = 3 * _MINUTE_NS
"""History has confirmed all bars so long after the last of them."""
_OVER = ("completed", "stopped", "failed", "error", "cancelled")


def main() -> int:
    given = options()
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        with tempfile.TemporaryDirectory() as folder:
            wrong = show(Path(folder), given.minutes, given.speed, given.report)
        say("\nNothing runs any more, and nothing else was kept.")
        return 1 if wrong else 0
    except (StartError, ApiError, NautilusError, httpx.HTTPError, OSError) as error:
        print(f"\nThe show did not work: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped; nothing runs any more.")
        return INTERRUPTED


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser("make strategies-show", description="Show a strategy in its three modes.")
    made.add_argument("--minutes", type=int, choices=range(4, 301), default=60, metavar="4..300", help="of market time")
    made.add_argument("--speed", type=float, default=20.0, help="market seconds in a second of the machine, at most 30")
    made.add_argument(
        "--report", type=Path, default=Path(".data/report.html"), help="where the page of the back-test goes"
    )
    given = made.parse_args()
    if not 0 < given.speed <= 30:
        made.error("--speed: from 0 to 30, 0 excluded: orders take part of a second, and bars a minute of the market")
    return given


def show(folder: Path, minutes: int, speed: float, report: Path) -> Sequence[str]:
    """The whole show, with a stack of its own in a folder; where the modes decided otherwise."""
    if not strategy_python():
        raise StartError("strategies need Python 3.13: make strategies (NAUTILUS_STRATEGY_PYTHON names another)")
    simulator = ("--clock", f"rate:{speed:g}", "--latency", "none", "--reject-rate")
    with stack_of(folder, Generated(), simulator=simulator) as stack:
        say("Nautilus with a simulated market ...")
        stack.start()
        with closing(OrderDesk(stack)) as desk:
            desk.open_market()
            say(f"It is {desk.now():%A, %Y-%m-%d}, and New York trades. Times are the market's, UTC.")
            past_days(desk, report)
            return same_minutes(desk, minutes)


# ---- past days ------------------------------------------------------------------------------------------------------


def past_days(desk: OrderDesk, report: Path) -> None:
    say("\n1. a back-test of the three days before")
    end = _now_ns(desk) // NS_PER_DAY * NS_PER_DAY
    window = {"start": rfc3339(end - 3 * NS_PER_DAY), "end": rfc3339(end)}
    body = {**SLOW, **window}
    try:
        desk.trader.post(BACKTESTS, body)
    except ApiError as missing:
        desk.line("API", f"refuses it: {missing}")
        for wanted in missing.answer.get("backfill", ()):
            filled(desk, wanted)
    run = over(desk, desk.trader.post(BACKTESTS, body)["id"], BACKTESTS)
    desk.line("back-test", _in_words(run))
    page = desk.trader.page(f"{BACKTESTS}/{run['id']}/report")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(page)
    desk.line("report", f"{report}: figures, equity, drawdown, the chart with its fills; open it in a browser")


def filled(desk: OrderDesk, body: Mapping[str, Any]) -> None:
    """Request bars of IB, and wait for them."""
    job = desk.trader.post(BACKFILL, dict(body))
    if job["job_id"]:
        path = f"/api/v1/historical/backfill/{job['job_id']}"
        desk.wait(lambda: desk.trader.get(path)["finished_at"], "history has answered")
        bars = desk.trader.get(path)["progress"]["bars_written"]
        desk.line("IB", f"{bars:,} bars of AAPL came")


def _in_words(run: Mapping[str, Any]) -> str:
    figures, counts = run["metrics"] or {}, run["counts"]
    return (
        f"{run['state']}: {run['bars_done']:,} bars, {counts['fills']} fills, profit {figures.get('total_pnl')} USD,"
        f" largest loss from a peak {figures.get('max_drawdown')}, hash of the fills {run['fills_hash']}"
    )


# ---- the same minutes, three times -----------------------------------------------------------------------------------


class Decision(NamedTuple):
    """An order as a run decided it, and the price of its last fill."""

    what: str
    price: str | None


def same_minutes(desk: OrderDesk, minutes: int) -> Sequence[str]:
    """Paper and live beside each other, then the back-test of their minutes; where they differ."""
    say(f"\n2. the next {minutes} minutes in paper and live")
    desk.until_ready()
    runs = {mode: _begin(desk, mode) for mode in MODES}
    end = -(-_now_ns(desk) // _MINUTE_NS) * _MINUTE_NS + minutes * _MINUTE_NS
    begun = _watch(desk, runs, end)
    for mode, run_id in runs.items():
        desk.trader.post(f"{RUNS}/{run_id}/flatten", {})
        run = over(desk, run_id, RUNS)
        desk.line(mode, f"{run['state']}: {run['counts']['fills']} fills; its position is closed")
    say("\n3. the same minutes in a back-test")
    desk.wait(partial(_is_after, desk, end + _CONFIRMED_NS), "history has confirmed the bars")
    return [line for mode in MODES for line in compare(desk, mode, runs[mode], (begun[mode], end))]


def _begin(desk: OrderDesk, mode: str) -> str:
    account = desk.trader.get(f"{ORDERS}/risk")["accounts"][0]["account"]
    trades = {"account": account, "confirm": account} if mode == "live" else {}
    body = {**QUICK, "mode": mode, **trades}
    run = desk.trader.post(RUNS, body, headers={"Idempotency-Key": str(uuid4())})
    desk.line(mode, "begins: it holds AAPL while the last close is above an average of three")
    return str(run["id"])


def _watch(desk: OrderDesk, runs: Mapping[str, str], end_ns: int) -> dict[str, int]:
    """A line for each fill, until a time of the market. Mode -> when the first bar that it was given opened."""
    seen, begun = dict.fromkeys(runs, 0), dict[str, int]()
    while _now_ns(desk) < end_ns + _FOLLOWS_NS:
        for mode, run_id in runs.items():
            run = desk.trader.get(f"{RUNS}/{run_id}")
            if run["over"]:
                raise StartError(f"{mode} is {run['state']}: {run['reason']}")
            if run["last_bar"]:
                begun.setdefault(mode, parse_rfc3339(run["last_bar"]) - _MINUTE_NS)
            for fill in desk.trader.get(f"{RUNS}/{run_id}/fills", after=seen[mode], limit=100)["fills"]:
                seen[mode] = fill["n"]
                desk.line(mode, f"{fill['side']:<4} {fill['quantity']} at {fill['price']}, {fill['time'][11:19]}")
    if missing := [mode for mode in runs if mode not in begun]:
        raise StartError(f"no bar was given in {' and '.join(missing)}")
    return begun


def over(desk: OrderDesk, run_id: str, routes: str) -> dict[str, Any]:
    """A run when it is over."""
    desk.wait(lambda: desk.trader.get(f"{routes}/{run_id}")["state"] in _OVER, "the run is over")
    return desk.trader.get(f"{routes}/{run_id}")


def _decisions(desk: OrderDesk, run: str) -> dict[str, Decision]:
    """What a run decided, by the bar that it followed from."""
    orders = desk.trader.get(f"{run}/orders", limit=1_000)["orders"]
    fills = desk.trader.get(f"{run}/fills", limit=1_000)["fills"]
    prices = {fill["client_order_id"]: fill["price"] for fill in fills}
    return {
        one["decided_at"]: Decision(f"{one['side']} {one['quantity']}", prices.get(one["client_order_id"]))
        for one in orders
    }


def compare(desk: OrderDesk, mode: str, run_id: str, span: tuple[int, int]) -> Sequence[str]:
    """A line for each bar on which something was decided; where the back-test of the run's minutes decided otherwise."""
    window = dict(zip(("start", "end"), map(rfc3339, span), strict=True))
    filled(desk, {"symbol": "AAPL", "timeframe": "1m", **window})
    run = over(desk, desk.trader.post(BACKTESTS, {**QUICK, **window})["id"], BACKTESTS)
    desk.line("back-test", f"of the minutes of {mode}: {_in_words(run)}")
    known, tested = _decisions(desk, f"{RUNS}/{run_id}"), _decisions(desk, f"{BACKTESTS}/{run['id']}")
    wrong = []
    for at in sorted({*known, *tested}, key=parse_rfc3339):
        if parse_rfc3339(at) >= span[1]:  # there is no bar after it at which the back-test could fill
            continue
        here, there = known.get(at), tested.get(at)
        differ = differs(here, there)
        wrong += [f"{mode} {at}: {here}, back-test {there}"] if differ else []
        desk.line(
            "decision",
            f"{at[11:16]}  {mode} {_words(here)}, back-test {_words(there)}{'  DIFFERENT' if differ else ''}",
        )
    desk.line(
        "comparison", f"{mode}: {len(wrong)} decisions differ" if wrong else f"{mode} and back-test decided alike"
    )
    return wrong


def differs(one: Decision | None, other: Decision | None) -> bool:
    """Whether two runs did not decide the same on a bar; their prices may be others."""
    return (one and one.what) != (other and other.what)


def _words(one: Decision | None) -> str:
    return "nothing" if one is None else f"{one.what} at {one.price}"


def _is_after(desk: OrderDesk, market_ns: int) -> bool:
    return _now_ns(desk) > market_ns


def _now_ns(desk: OrderDesk) -> int:
    return ns_of(desk.now())


if __name__ == "__main__":
    sys.exit(main())
