"""The tree of commands. Only the branch that is used is built whole, so that help is printed at once."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from nautilus_client import __version__

Build = Callable[[argparse.ArgumentParser], None]
_SYMBOL = "AAPL, EUR/USD, ESZ6; or AAPL.NASDAQ"
FRAMES = "1s 5s 10s 15s 30s 1m 2m 3m 5m 10m 15m 20m 30m 1h 2h 3h 4h 8h 1d 1w 1M"


class _Help(argparse.HelpFormatter):
    """As wide as the terminal. The usual one imports `shutil` for that, which takes longer than all the rest of a help text."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width() - 2)


def _width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (AttributeError, ValueError, OSError):
        return 80


def _globals(parser: argparse.ArgumentParser, *, default: object = argparse.SUPPRESS) -> None:
    """Options of every command; they may stand before it, too."""

    def usual(value: object) -> object:
        return value if default is None else argparse.SUPPRESS

    group = parser.add_argument_group("options of every command")
    group.add_argument("--profile", default=usual(None), help="which profile (default: NAUTILUS_PROFILE, or local)")
    group.add_argument("--url", default=usual(None), help="address of the API, in place of the profile's")
    group.add_argument("--json", action="store_true", default=usual(False), help="JSON on the output, and nothing else")
    group.add_argument("--quiet", action="store_true", default=usual(False), help="no notices, no progress")
    group.add_argument("--no-color", action="store_true", default=usual(False), help="no colours")
    group.add_argument("--timeout", type=float, default=usual(None), metavar="S", help="seconds for one answer")
    group.add_argument("--retries", type=int, default=usual(None), metavar="N", help="tries of one request")
    group.add_argument("--trace", action="store_true", default=usual(False), help="each request, on the error output")


def _series(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    parser.add_argument("symbol", nargs="+" if many else None, metavar="SYMBOL", help=_SYMBOL)
    parser.add_argument(
        "-t", "--timeframe", default="1m", choices=FRAMES.split(), metavar="FRAME", help=f"{FRAMES} (default: 1m)"
    )
    parser.add_argument("--price", help="TRADES, MIDPOINT, BID, ASK, BID_ASK, AGGTRADES")
    parser.add_argument("--session", help="rth or all")
    parser.add_argument("--asset-class", help="STK, CASH, FUT, IND, CRYPTO, ...")


def _window(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", help="2026-03-02 (midnight of the exchange), or 2026-03-02T14:30:00Z")
    parser.add_argument("--end", help="excluded; default: the last closed bar")
    parser.add_argument("--last", metavar="SPAN", help="in place of start: 30d, 12h, 2w, 3M, 1y")


def _bars(parser: argparse.ArgumentParser) -> None:
    _series(parser, many=True)
    _window(parser)
    parser.add_argument("--limit", type=int, help="bars in all; without a start the newest")
    parser.add_argument("--fill", action="store_true", help="have what is missing fetched first")
    parser.add_argument("-y", "--yes", action="store_true", help="fetch without a question")
    parser.add_argument("--wait", type=float, metavar="S", help="let the read wait for missing bars, at most 20 s")
    parser.add_argument("--as-of", metavar="VERSION", help="the bars as they were at a version or a time")
    parser.add_argument("--require-complete", action="store_true", help="exit with 3 when something is missing")
    parser.add_argument("--tz", help="zone of the times shown: exchange, or a name such as Europe/Berlin")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="a table of numbers")
    form.add_argument("--ndjson", action="store_true", help="a line for each bar")
    form.add_argument("--arrow", action="store_true", help="an Arrow stream")
    parser.add_argument("-o", "--output", metavar="FILE", help=".parquet, .arrow, .csv, .ndjson or .json")


def _coverage(parser: argparse.ArgumentParser) -> None:
    _series(parser, many=True)
    _window(parser)
    parser.add_argument("--map", action="store_true", help="a character for each day")


def _explain(parser: argparse.ArgumentParser) -> None:
    _series(parser)
    parser.add_argument("ts", metavar="TIME", help="a time in the bar")


def _series_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instrument_id", nargs="?", help="such as AAPL.NASDAQ")
    parser.add_argument("-t", "--timeframe", help="only of this timeframe")


def _calendar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", metavar="SYMBOL", help=_SYMBOL)
    parser.add_argument("--session", help="rth or all")
    parser.add_argument("--start", help="2026-03-02 (midnight of the exchange), or 2026-03-02T14:30:00Z")
    parser.add_argument("--end", help="excluded")


def _instruments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "query", nargs="?", help="the beginning of a symbol, or part of a name; without it all that are known"
    )
    parser.add_argument("--asset-class", help="STK, CASH, FUT, IND, CRYPTO, ...")


def _live(parser: argparse.ArgumentParser) -> None:
    _series(parser)
    parser.add_argument("--forming", action="store_true", help="each change of the bar that forms, too")
    parser.add_argument("--count", type=int, metavar="N", help="end after N changes")


def _backfill(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (("start", "begin one"), ("dry-run", "what it would cost")):
        one = actions.add_parser(name, help=words)
        _series(one, many=True)
        _window(one)
        one.add_argument("--force", action="store_true", help="fetch what is covered, too")
        one.add_argument("--wait", action="store_true", help="wait until it is over")
        _globals(one)
    _globals(actions.add_parser("status", help="the newest jobs"))
    jobs = (
        ("show", "one job"),
        ("chunks", "its requests"),
        ("stop", "stop it"),
        ("watch", "follow it until it is over"),
    )
    for name, words in jobs:
        one = actions.add_parser(name, help=words)
        one.add_argument("job_id", metavar="JOB", help="its id, as `nautilus backfill status` shows it")
        _globals(one)


_EXPORT = "its id, as `nautilus export list` shows it"


def _export(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("start", help="begin one")
    one.add_argument("symbol", nargs="*", metavar="SYMBOL", help=_SYMBOL)
    one.add_argument("--all", action="store_true", help="every instrument that is stored")
    one.add_argument(
        "-t",
        "--timeframe",
        action="append",
        choices=FRAMES.split(),
        metavar="FRAME",
        help=f"{FRAMES} (default: 1m); may stand several times",
    )
    one.add_argument("--start", help="2026-03-02 (midnight UTC), or 2026-03-02T14:30:00Z; default: the first bar")
    one.add_argument("--end", help="excluded; default: the last bar")
    one.add_argument(
        "--layout", default="hive", help="hive, flat, nautilus-trader-1.x or nautilus-trader-2.x (default: hive)"
    )
    one.add_argument("--format", default="parquet", help="parquet, arrow or csv (default: parquet)")
    one.add_argument("--require-complete", action="store_true", help="refuse it when something is missing")
    one.add_argument("--dry-run", action="store_true", help="only what it would come to, and which gaps it would have")
    one.add_argument("--get", metavar="FOLDER", help="wait, and download")
    _globals(one)
    _globals(actions.add_parser("list", help="the newest exports"))
    for name, words in (("status", "one export"), ("stop", "stop it")):
        one = actions.add_parser(name, help=words)
        one.add_argument("export_id", metavar="EXPORT", help=_EXPORT)
        _globals(one)
    one = actions.add_parser("get", help="download its files; begins where it ended")
    one.add_argument("export_id", metavar="EXPORT", help=_EXPORT)
    one.add_argument("folder", metavar="FOLDER", help="where to; it is made where it is not there")
    _globals(one)
    one = actions.add_parser("verify", help="compare the files of a folder with their manifest")
    one.add_argument("folder", metavar="FOLDER", help="where an export was downloaded to")
    _globals(one)


def _cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("info", "clear"), help="how much is kept, or remove it")


def _watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="once, and end")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two (default: 2)")


def _session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="each change, until Ctrl-C")


def _incidents(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are over, too")


def _login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="user name or e-mail address")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from the input")
    parser.add_argument(
        "--scope", action="append", metavar="SCOPE", help="what the key may do (default: all that you may)"
    )
    parser.add_argument("--days", type=int, default=90, help="for how long the key is good (default: 90)")
    parser.add_argument("--keyring", action="store_true", help="keep the key in the system's keyring")
    parser.add_argument("--allow-http", action="store_true", help="an address without encryption is wanted")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "get", "set"), help="all profiles, or a setting of one"
    )
    parser.add_argument("setting", nargs="?", help="url, cache, timeout, ...; a wrong one lists them")
    parser.add_argument("value", nargs="?", help="what it is set to")


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which; its output is what the shell reads")


_ACCOUNT = "such as DU1234567; needed where several may be used"


def _orders(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("list", help="the newest orders")
    one.add_argument("--open", action="store_true", help="those that are not over")
    one.add_argument("--account", help="only of this one, such as DU1234567")
    one.add_argument("--limit", type=int, default=50, help="so many (default: 50)")
    _globals(one)
    for name, words in (("buy", "place an order to buy"), ("sell", "place an order to sell")):
        one = actions.add_parser(name, help=words)
        one.add_argument("symbol", metavar="SYMBOL", help=_SYMBOL)
        one.add_argument("quantity", metavar="QUANTITY", help="shares, contracts, or units of the first currency")
        one.add_argument(
            "--type", default=None, help="MKT, LMT, STP, ... (default: LMT with --limit, STP with --stop, else MKT)"
        )
        one.add_argument("--limit", metavar="PRICE", help="limit price")
        one.add_argument("--stop", metavar="PRICE", help="stop price")
        one.add_argument("--tif", default="DAY", help="for how long: DAY, GTC, IOC, ... (default: DAY)")
        one.add_argument("--account", help=_ACCOUNT)
        one.add_argument("--key", help="idempotency key: the same key and order is the same order")
        one.add_argument("--preview", action="store_true", help="all checks, and IB's margin; nothing is placed")
        one.add_argument("--wait", type=float, default=5.0, metavar="S", help="seconds for IB's word (default: 5)")
        _globals(one)
    for name, words in (("show", "one order"), ("events", "what happened to it"), ("cancel", "request its end")):
        one = actions.add_parser(name, help=words)
        one.add_argument("order_id", metavar="ORDER", help="its id, as `nautilus orders list` shows it")
        _globals(one)
    one = actions.add_parser("cancel-all", help="request the end of all open orders of an account")
    one.add_argument("account", metavar="ACCOUNT", help="such as DU1234567")
    _globals(one)


def _account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", help="such as DU1234567 (default: all that you may see)")


def _kill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reason", metavar="REASON", help="a few words; it stands in the log")
    parser.add_argument("--account", action="append", help="only this account; may stand several times")
    parser.add_argument(
        "--cancel", choices=("none", "entries", "ours", "everything"), help="which orders (default: entries)"
    )
    parser.add_argument("--flatten", action="store_true", help="close the positions, too")


def _strategies(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in (("list", "strategies that trade"), ("backtests", "back-tests")):
        _globals(actions.add_parser(name, help=words))
    for name in ("show", "pause", "resume", "stop", "flatten"):
        one = actions.add_parser(name, help=f"{name} one")
        one.add_argument("run_id", metavar="RUN", help="its id, as `nautilus strategies list` shows it")
        _globals(one)


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", nargs="?", default="AAPL", metavar="SYMBOL", help=f"{_SYMBOL} (default: AAPL)")


def _nothing(parser: argparse.ArgumentParser) -> None:
    """No options of its own."""


COMMANDS: dict[str, tuple[str, str, Build]] = {
    "bars": ("market", "bars, with what is missing", _bars),
    "coverage": ("coverage", "what of a window is there, and why not the rest", _coverage),
    "explain": ("market", "how one bar came to be, or why there is none", _explain),
    "series": ("market", "which series are stored", _series_list),
    "calendar": ("market", "trading sessions", _calendar),
    "instruments": ("market", "instruments that are known, or match", _instruments),
    "live": ("market", "live bars until Ctrl-C", _live),
    "backfill": ("jobs", "have missing bars fetched", _backfill),
    "export": ("jobs", "bars in bulk, as files", _export),
    "cache": ("jobs", "bars kept on this machine", _cache),
    "session": ("state", "the session with Interactive Brokers", _session),
    "budget": ("state", "what IB's limits leave", _nothing),
    "incidents": ("state", "what is wrong", _incidents),
    "watch": ("state", "session, budget and jobs, repainted", _watch),
    "orders": ("trading", "place, show and cancel orders", _orders),
    "positions": ("trading", "what the accounts hold", _account),
    "strategies": ("trading", "strategies and back-tests", _strategies),
    "kill": ("trading", "halt trading at once", _kill),
    "login": ("access", "sign in once; an API key is kept", _login),
    "logout": ("access", "revoke the key, and forget it", _nothing),
    "whoami": ("access", "who the key is, and what it may do", _nothing),
    "config": ("access", "profiles of this machine", _config),
    "doctor": ("doctor", "what works, and what does not", _nothing),
    "completion": ("access", "completion for a shell", _completion),
    "demo": ("demo", "a first tour of a running stack", _demo),
}
"""Command -> module with its function, help, options."""


def parser_of(only: str | None = None) -> argparse.ArgumentParser:
    """The parser; only: the command whose options are needed, None: all of them."""
    parser = argparse.ArgumentParser(
        "nautilus", description="Bars, live data, orders and the portfolio of a Nautilus API."
    )
    parser.add_argument("--version", action="version", version=f"nautilus-client {__version__}")
    _globals(parser, default=None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for name, (_, words, build) in COMMANDS.items():
        one = commands.add_parser(
            name, help=words, description=f"{words[0].upper()}{words[1:]}.", formatter_class=_Help
        )
        if only is None or only == name:
            build(one)
            _globals(one)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line. Ends the process for help (0) and wrong usage (2)."""
    named = next((one for one in arguments if one in COMMANDS), "")
    return parser_of(named).parse_args(arguments)
