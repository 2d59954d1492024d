"""Starts the simulator: `python -m ib_gateway_sim --help`."""

import argparse
import asyncio
import contextlib
import gc
import json
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ib_gateway_sim.clock import Clock
from ib_gateway_sim.control.port import Control
from ib_gateway_sim.control.values import Wrong, parse_time_ns
from ib_gateway_sim.market.generated.market import Market
from ib_gateway_sim.market.source import FILE_CLASSES
from ib_gateway_sim.orders.saving import load, read, save
from ib_gateway_sim.rules.latency import Latency
from ib_gateway_sim.server.listener import Server
from ib_gateway_sim.session.gateway import Gateway
from ib_gateway_sim.session.settings import Settings
from ib_gateway_sim.times import zone

if TYPE_CHECKING:  # loaded where a file is replayed, as it takes half a mebibyte
    from ib_gateway_sim.market.replayed.market import Replay

_ABOUT = """A TCP server that behaves as Interactive Brokers' Gateway does towards any TWS API client.

When it listens it prints one JSON line: event, host, port, control_port (null without one), account.
It ends on SIGTERM or Ctrl-C."""

_EXAMPLES = """examples:
  python -m ib_gateway_sim --port 4002                               then connect your client to 127.0.0.1:4002
  python -m ib_gateway_sim --port 4002 --control-port 4003           and type "help" into: nc 127.0.0.1 4003
  python -m ib_gateway_sim --clock rate:20 --start 2026-03-02T15:00:00Z
  python -m ib_gateway_sim --replay eurusd.csv.gz --replay-symbol EUR/USD --stamp open --replay-price BID"""


SETTLED_S = 30
"""A replay's clock starts this long after its last bar: clients that wait a little before they trust a bar trust it."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "python -m ib_gateway_sim",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    made.add_argument("--port", type=_port, default=4002, help="port for clients, 0 picks one (default: %(default)s)")
    made.add_argument("--control-port", type=_port, help="port for commands on 127.0.0.1, 0 picks one (default: none)")
    made.add_argument("--seed", type=int, default=7, help="the market: same seed, same prices (default: %(default)s)")
    made.add_argument("--latency", default="none", help="none, measured or milliseconds (default: %(default)s)")
    made.add_argument("--clock", default="real", help="real, rate:<factor> or stepped (default: %(default)s)")
    made.add_argument(
        "--start", help="market time at the start, as 2026-03-02T15:00:00Z (default: now; replay: its end)"
    )
    made.add_argument("--replay", type=Path, help="serve the one-minute bars of this CSV instead of a market")
    made.add_argument("--replay-symbol", help="what it is: AAPL, EUR/USD, ESZ6")
    made.add_argument(
        "--replay-class", default="", help=f"{', '.join(FILE_CLASSES)} (default: guessed from the symbol)"
    )
    made.add_argument(
        "--replay-zone", default="", help="zone of its times without one, America/New_York (default: UTC)"
    )
    made.add_argument("--stamp", choices=("open", "close"), default="open", help="what its times are (default: open)")
    made.add_argument(
        "--replay-price",
        default="",
        help="its whatToShow (default: MIDPOINT for CASH, AGGTRADES for CRYPTO, else TRADES)",
    )
    made.add_argument("--describe", action="store_true", help="print what the file holds as one JSON line, and end")
    made.add_argument("--read-only", action="store_true", help="refuse orders, as the Read-Only API checkbox does")
    made.add_argument("--lines", type=int, default=100, help="market data lines; half is messages/s (default: 100)")
    made.add_argument(
        "--max-clients", type=int, default=32, help="connections at a time (default: 32, as the real one)"
    )
    made.add_argument("--reject-rate", action="store_true", help="error 100 above the message rate instead of queueing")
    made.add_argument("--steps", choices=("current", "old"), default="current", help="IB's table of legal bar steps")
    made.add_argument("--login-zone", default="US/Eastern", help="zone of zone-less times (default: %(default)s)")
    made.add_argument(
        "--date-zone", choices=("instrument", "login", "utc"), default="instrument", help="zone of text dates sent"
    )
    made.add_argument("--volume", choices=("shares", "lots"), default="shares", help="unit of US stock volumes")
    made.add_argument("--live-slots", choices=("held", "free"), default="held", help="of the 50, by keepUpToDate")
    made.add_argument("--rtb-book", choices=("own", "shared"), default="own", help="pacing of bars of 5 seconds")
    made.add_argument("--lines-by", choices=("request", "contract"), default="request", help="what uses a line")
    made.add_argument(
        "--tick-pause", type=float, default=15.0, help="seconds between tick-by-tick requests of an instrument; 0: none"
    )
    made.add_argument("--empty-live", choices=("refuse", "stream"), default="refuse", help="keepUpToDate without a bar")
    made.add_argument("--live-cadence", choices=("grid", "class"), default="grid", help="looks at the market")
    made.add_argument("--at-close", choices=("keep", "end"), default="keep", help="bars at the end of a trade date")
    made.add_argument("--max-version", type=int, default=178, help="newest protocol version spoken, 157 to 178")
    _add_order_options(made)
    made.add_argument("--state", type=Path, help="keep orders and accounts in this file over restarts (default: none)")
    made.add_argument("--accounts", type=int, default=1, help="accounts of the login (default: 1), as SIM7, SIM7001")
    made.add_argument("--scenario", help="faults to play from the start: lines of <seconds> <command>")
    return made


def _add_order_options(made: argparse.ArgumentParser) -> None:
    """What a gateway's settings decide about orders, and what is not established of IB."""
    made.add_argument("--master-client", type=int, default=-1, help="hears of everybody's orders (default: none)")
    made.add_argument(
        "--client-zero", choices=("manual", "all"), default="manual", help="whose orders client 0 hears of"
    )
    made.add_argument(
        "--gone-clients", choices=("work", "drop"), default="work", help="orders that were read when their client went"
    )
    made.add_argument("--halted", choices=("refuse", "hold"), default="refuse", help="orders for what is halted")
    made.add_argument(
        "--children", choices=("full", "partial"), default="full", help="fill that wakes bracket children"
    )
    made.add_argument(
        "--twin-cancel",
        choices=("first", "next"),
        default="first",
        help="which of two orders of one id a cancel reaches, when the first is over: none, or the next",
    )
    made.add_argument(
        "--left-children",
        choices=("end", "stay"),
        default="end",
        help="what becomes of bracket children whose parent is cancelled when a part of it has filled",
    )
    made.add_argument("--modify-cancelled", type=int, default=201, help="code for changing a cancelled order")
    made.add_argument("--past-gtd", choices=("refuse", "cancel"), default="refuse", help="GTD orders of the past")
    made.add_argument(
        "--refused", choices=("forget", "complete"), default="forget", help="refused orders among completed ones"
    )
    made.add_argument("--price-range", type=float, default=800.0, help="percent from the market; 0: any limit is taken")


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]+", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: 0 to 65535")
    return int(text)


def make_market(options: argparse.Namespace) -> "Market | Replay":
    if options.replay is None:
        return Market(options.seed)
    if not options.replay_symbol:
        raise ValueError("--replay-symbol: missing; with --replay it names the instrument, as AAPL, EUR/USD or ESZ6")
    if not options.replay.is_file():
        raise ValueError(f"--replay: there is no file {options.replay}")
    from ib_gateway_sim.market.replayed.contract import ReplayFile
    from ib_gateway_sim.market.replayed.market import Replay

    file = ReplayFile(
        options.replay,
        options.replay_symbol,
        stamp=options.stamp,
        kind=options.replay_price,
        sec_type=options.replay_class,
        zone=options.replay_zone,
    )
    return Replay([file])


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """What a replayed file holds. ValueError when it cannot be read, or there is none."""
    market = make_market(options)
    if isinstance(market, Market):
        raise ValueError("--describe: there is no file to describe; say --replay and --replay-symbol")
    return market.description()


def make_clock(options: argparse.Namespace, market: "Market | Replay") -> Clock:
    start_ns = None
    if options.start:
        try:
            start_ns = parse_time_ns(options.start)
        except Wrong as problem:
            raise ValueError(f"--start: {problem}") from None
    elif not isinstance(market, Market):
        start_ns = (market.end_s + SETTLED_S) * 1_000_000_000
    mode, _, factor = options.clock.partition(":")
    if mode == "rate":
        try:
            return Clock("rate", rate=float(factor), start_ns=start_ns)
        except ValueError:
            raise ValueError(
                f"--clock: {options.clock!r} is not allowed; allowed: rate:<above 0>, as rate:20"
            ) from None
    if mode not in ("real", "stepped") or factor:
        raise ValueError(f"--clock: {options.clock!r} is not allowed; allowed: real, rate:<factor>, stepped")
    return Clock(mode, start_ns=start_ns)


def make_settings(options: argparse.Namespace) -> Settings:
    try:
        zone(options.login_zone)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"--login-zone: {options.login_zone!r} is unknown; allowed: as US/Eastern or UTC") from None
    if options.lines < 2:
        raise ValueError(f"--lines: {options.lines} is not allowed; allowed: 2 and more")
    if not 157 <= options.max_version <= 178:
        raise ValueError(f"--max-version: {options.max_version} is not allowed; allowed: 157 to 178")
    if not 1 <= options.accounts <= 50:
        raise ValueError(f"--accounts: {options.accounts} is not allowed; allowed: 1 to 50")
    return Settings(
        accounts=options.accounts,
        lines=options.lines,
        max_clients=options.max_clients,
        reject_rate=options.reject_rate,
        steps=options.steps,
        login_zone=options.login_zone,
        date_zone=options.date_zone,
        volume=options.volume,
        read_only=options.read_only,
        max_version=options.max_version,
        at_close=options.at_close,
        live_slots=options.live_slots,
        rtb_book=options.rtb_book,
        lines_by=options.lines_by,
        tick_pause=options.tick_pause,
        empty_live=options.empty_live,
        live_cadence=options.live_cadence,
        master_client=options.master_client,
        client_zero=options.client_zero,
        gone_clients=options.gone_clients,
        halted=options.halted,
        children=options.children,
        left_children=options.left_children,
        twin_cancel=options.twin_cancel,
        modify_cancelled=options.modify_cancelled,
        past_gtd=options.past_gtd,
        refused=options.refused,
        price_range=options.price_range,
    )


def keep_state(gateway: Gateway, path: Path) -> None:
    """Goes on with the orders and accounts of a file, where it is there, and saves every change in it."""
    if path.exists():
        try:
            load(gateway, read(path, gateway.market.account))
        except ValueError as problem:
            raise ValueError(f"--state: {problem}") from None
    gateway.open_accounts(gateway.settings.accounts)
    gateway.saver = partial(save, gateway, path)
    gateway.saver()  # so a file that cannot be written is known at once


async def serve(options: argparse.Namespace) -> None:
    try:
        latency = Latency.parse(options.latency)
    except ValueError as problem:
        raise ValueError(f"--{problem}") from None
    settings = make_settings(options)
    market = make_market(options)
    gateway = Gateway(market, make_clock(options, market), latency, settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stop.set)
    if options.state is not None:
        keep_state(gateway, options.state)
    server = Server(gateway)
    control = Control(server)
    await server.listen(options.host, options.port)
    if options.control_port is not None:
        await control.listen(options.control_port)
    if options.scenario:
        played = await control.run(json.dumps({"cmd": "scenario", "path": options.scenario}))
        if not played["ok"]:
            raise ValueError(f"--scenario: {played['error']}")
    ready = {
        "event": "ready",
        "host": options.host,
        "port": gateway.port,
        "control_port": control.port or None,
        "account": market.account,
    }
    print(json.dumps(ready), flush=True)
    # Long answers make many small objects at once; the collector's walks over them are pauses for everybody.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    await stop.wait()
    await control.close()
    await server.close()


def main() -> int:
    options = parser().parse_args()
    try:
        if options.describe:
            print(json.dumps(describe(options)))
            return 0
        asyncio.run(serve(options))
    except (Wrong, ValueError, OSError) as problem:
        print(f"ib_gateway_sim: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
