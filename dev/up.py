"""Keeps the whole backend up on this machine until Ctrl-C (make up), and says how to talk to it."""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import datetime as dt
import json
import os
import shlex
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from dev.environment import REPOSITORY, drop_foreign
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.process import StartError, end_on_signals
from dev.sources import Generated, Replay, gateway_of, parser, source_of
from dev.stack import EXPORT_PYTHON, USERNAME, Stack, stack_of
from nautilus.errors import NautilusError

POLL_S = 0.5
LISTENED = ("data.bars.AAPL.NASDAQ-1-MINUTE-LAST-EXTERNAL", "data.quotes.NASDAQ.AAPL")
WATCHED = ("AAPL.NASDAQ:1m", "MSFT.NASDAQ:1m", "EUR/USD.IDEALPRO:1m")
"""Series that are kept current where the simulator makes the market: two of regular hours, one that trades day and night."""


def main() -> int:
    options = _options()
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        source = source_of(options)
        watched = WATCHED if isinstance(source, Generated) and "NAUTILUS_LIVE_WATCH" not in os.environ else ()
        with stack_of(options.data, source, port=options.port, watched=watched) as stack:
            say(f"Nautilus with {source} ...")
            stack.start(lambda line: say(f"  {line}"))
            if options.profile:
                say(_profile(stack))
            try:
                keep_up(stack)
            except (KeyboardInterrupt, SystemExit):  # Ctrl-C, or SIGTERM and SIGHUP (`end_on_signals`)
                say("\nending ...")
        say(f"Nautilus has ended; the data stay in {shown(stack.folder)}")
        return 0
    except (StartError, NautilusError, OSError) as error:
        print(f"Nautilus cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped while it started; nothing runs any more.")
        return INTERRUPTED


def keep_up(stack: Stack) -> None:
    """Say how to talk to it, start again what ends, and tell of its session with IB, until somebody interrupts."""
    say(_addresses(stack))
    if isinstance(stack.source, Replay) and stack.source.hint:
        say(f"{stack.source.hint}.\n")
    session = ""
    while True:
        stack.tend(say)
        if session != (now := stack.session()):
            session = now
            say(f"{time.strftime('%H:%M:%S')}  session with IB: {session}")
        time.sleep(POLL_S)


def _options() -> argparse.Namespace:
    made = parser("make up", "Keep the backend up on this machine until Ctrl-C.")
    made.add_argument("--ib", type=gateway_of, metavar="HOST:PORT", help="use this IB Gateway, not the simulator")
    made.add_argument("--profile", action="store_true", help="write the profile `local` of the Python client")
    return made.parse_args()


def _profile(stack: Stack) -> str:
    """Write the client's profile, and say where; a profile that cannot be written ends nothing."""
    from dev.client_profile import NAME, write_profile
    from nautilus_client.errors import NautilusError as ClientError

    try:
        where = write_profile(stack, os.environ)
    except (ClientError, OSError, KeyError) as error:
        return f"  the client's profile was not written: {error}"
    found = [f"NAUTILUS_CONFIG_DIR={shlex.quote(where)}"] if "NAUTILUS_CONFIG_DIR" in os.environ else []
    found += [
        f"PYTHONPATH={shlex.quote(shown(REPOSITORY / 'clients' / 'python'))}",
        shlex.quote(shown(Path(sys.executable))),
    ]
    selector = dict(stack.source.selector)
    named = [selector.pop("symbol")]
    for name, value in selector.items():
        named += [f"--{name.replace('_', '-')}", value]
    return f"""  the client's profile {NAME}: {where}

Bars by the client's command, `nautilus` where its wheel is installed (docs/client.md):

  {" ".join(found)} -m nautilus_client bars {shlex.join(named)} -t 1m --last 5d --fill"""


def _addresses(stack: Stack) -> str:
    folder = shown(stack.folder)
    selector = stack.source.selector
    redis = "none on this machine; the API works without a cache"
    if stack.redis is not None:
        redis = f"127.0.0.1:{stack.redis.port}, password in {folder}/redis.conf"
    simulator = ""
    if stack.control_port is not None:
        simulator = f"""
  simulator    {stack.gateway.host}:{stack.gateway.port}, for any TWS API client
  its control  {_sent_to(stack.control_port, "help")}"""
    return f"""
Nautilus is up. Ctrl-C ends it; the data stay in {folder}.

  API          {stack.url}
  its pages    {stack.url}/docs
  sockets      ws://127.0.0.1:{stack.stream_port}/ws/v1/stream, and on the API's port
  bridge       {stack.bridge_url} (health)
  orders       {stack.orders_url} (health; NAUTILUS_ORDERS={os.environ.get("NAUTILUS_ORDERS", "paper")})
  strategies   {_strategies(stack)}
  exports      {_exports(stack)}{simulator}
  PostgreSQL   127.0.0.1:{stack.postgres.port}, database and user nautilus, password in {folder}/postgres.password
  Redis        {redis}
  SQS          {stack.sqs.endpoint_url}
  logs         {folder}/*.log

Sign in, ask for a month of bars, read the last of them:

  TOKEN=$(curl -s {stack.url}/api/v1/auth/login -H 'Content-Type: application/json' \\
    -d "{{\\"username\\": \\"{USERNAME}\\", \\"password\\": \\"$(cat {folder}/{USERNAME}.password)\\"}}" \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')

  curl -s {stack.url}/api/v1/ib/backfill -H "Authorization: Bearer $TOKEN" \\
    -H 'Content-Type: application/json' -d '{json.dumps({**selector, "timeframe": "1m", "days_back": 30})}'

  curl -s "{stack.url}/api/v1/market-data/historical/bars?{urlencode(selector, safe="/")}&timeframe=1m&limit=5" \\
    -H "Authorization: Bearer $TOKEN"
{_live(stack)}"""


def _strategies(stack: Stack) -> str:
    """Where the strategy host is, and where strategies of one's own lie."""
    port = stack.ports.get("strategies")
    if port is None:
        return "none: they need Python 3.13 (make strategies, docs/strategies.md)"
    folder = os.environ.get("NAUTILUS_STRATEGY_FOLDER")
    own = (
        f"your own in {shown(Path(folder).resolve())}"
        if folder
        else "NAUTILUS_STRATEGY_FOLDER names a folder of your own"
    )
    return f"http://127.0.0.1:{port}/ (health; {own})"


def _exports(stack: Stack) -> str:
    """Whether bars can be exported, and where the files lie."""
    if not EXPORT_PYTHON.exists():
        return "none: they need an environment of their own (make exports-environment, docs/exports.md)"
    return f"a process without a port, files in {shown(stack.folder)}/exports"


def _live(stack: Stack) -> str:
    """How to listen to live data, how to open a simulated market that is closed, and how to trade there. A replayed file has
    ended: nothing."""
    if isinstance(stack.source, Replay):
        return ""
    closed = ""
    if stack.control_port is not None:
        opened = open_hour(dt.datetime.now(dt.UTC))
        closed = f"""
AAPL trades in New York's hours. Is its market closed now? Move the simulator's clock into open hours, for this run:

  {_sent_to(stack.control_port, f"set_clock {opened:%Y-%m-%dT%H:%M:%SZ}")}
"""
    return f"""
Listen to its live bars and quotes until Ctrl-C (docs/live.md):

  curl -sN "{stack.url}/api/v1/stream/events?channels={",".join(LISTENED)}&bars=3" \\
    -H "Authorization: Bearer $TOKEN"
{closed}{_order(stack)}"""


def _order(stack: Stack) -> str:
    """How to buy something; with a simulated market alone."""
    if stack.control_port is None:
        return ""
    body = {"symbol": "AAPL", "side": "BUY", "type": "MKT", "quantity": 10}
    return f"""
Buy ten shares on the simulated market while it is open (docs/orders.md has the rest):

  curl -s "{stack.url}/api/v1/orders?wait=5" -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" -d '{json.dumps(body)}'
"""


def _sent_to(port: int, command: str) -> str:
    """A line of the shell that sends the control port a command and prints its answer."""
    return f"(echo {command}; sleep 1) | curl -s -m 2 telnet://127.0.0.1:{port}"


def open_hour(now: dt.datetime) -> dt.datetime:
    """The next 15:00 UTC of a weekday: New York trades then, in summer and in winter, but on a holiday."""
    found = now.replace(hour=15, minute=0, second=0, microsecond=0)
    while found <= now or found.weekday() >= 5:
        found += dt.timedelta(days=1)
    return found


def shown(folder: Path) -> str:
    """As short as the reader's shell allows: relative to where they are, when below it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def say(line: str) -> None:
    """A line for the reader, at once, also where the output is no terminal."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
