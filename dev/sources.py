"""Where the bars of a local stack come from, and the command line that says so. One data folder per source."""

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.environment import environment

CLASSES = ("STK", "CASH", "FUT", "IND", "CRYPTO")
SESSIONS = ("rth", "all")


@dataclass(frozen=True)
class Generated:
    """The simulator's own market."""

    @property
    def folder(self) -> str:
        return "sim"

    @property
    def selector(self) -> dict[str, str]:
        """An instrument that it has, as the API takes it."""
        return {"symbol": "AAPL"}

    def __str__(self) -> str:
        return "a simulated market"


@dataclass(frozen=True)
class Content:
    """What the simulator, the one reader of such files, says of a file: `python -m ib_gateway_sim --describe`.

    symbol, asset_class and price are the API's words. regular_bars: how many bars lie in regular hours; where the class
    has none, all. start and end: open of the first bar and close of the last, UTC. account: names file and reading.
    """

    account: str
    symbol: str
    asset_class: str
    price: str
    bars: int
    regular_bars: int
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True)
class ReplayOptions:
    """What the command line says of a file. `stamp`: whether its times are those of a bar's open or close. `zone`: of times
    without one. `price`: its kind (TRADES, BID, ...). Empty: the usual one; `session` empty: that of the class."""

    file: Path
    symbol: str
    stamp: str = "open"
    price: str = ""
    asset_class: str = ""
    zone: str = ""
    session: str = ""

    @property
    def for_simulator(self) -> list[str]:
        """The same as the simulator's options."""
        words = {
            "--replay": str(self.file.resolve()),
            "--replay-symbol": self.symbol,
            "--stamp": self.stamp,
            "--replay-price": self.price,
            "--replay-class": self.asset_class,
            "--replay-zone": self.zone,
        }
        return [f"{name}={value}" for name, value in words.items() if value]


@dataclass(frozen=True)
class Replay:
    """The simulator serves the one-minute bars of a file as one instrument."""

    options: ReplayOptions
    content: Content

    @property
    def folder(self) -> str:
        """Another file, or the same read in another way, has other bars: a folder of its own."""
        return f"replay-{self.name}-{self.content.account.removeprefix('SIMR')}"

    @property
    def name(self) -> str:
        """The file's name without .csv or .csv.gz, as far as folders like it."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"\.(csv(\.gz)?|parquet)$", "", self.options.file.name))

    @property
    def selector(self) -> dict[str, str]:
        """The instrument and its bars, as the API takes them."""
        found = {"symbol": self.content.symbol, "asset_class": self.content.asset_class, "price": self.content.price}
        return found | ({"session": self.options.session} if self.options.session else {})

    @property
    def bars_to_read(self) -> int:
        """How many bars the API has once all are fetched, in the requested session."""
        return self.content.bars if self.options.session == "all" else self.content.regular_bars

    @property
    def hint(self) -> str:
        """What to say of bars that are not requested, and how to have them; empty when there are none."""
        outside = self.content.bars - self.bars_to_read
        if not outside:
            return ""
        return (
            f"{outside:,} of the {self.content.bars:,} bars of {self.options.file.name} lie outside the regular hours of "
            f"{self.content.asset_class}, 09:30 to 16:00 New York, and are not asked for. SESSION=all asks for them too; "
            "CLASS=CRYPTO, FUT or CASH says that it is no stock; times without a zone are taken for UTC, and "
            "ZONE=America/New_York says whose they are"
        )

    def __str__(self) -> str:
        return f"{self.options.file.name} replayed as {self.content.symbol} ({self.content.asset_class})"


@dataclass(frozen=True)
class Gateway:
    """A running IB Gateway or TWS."""

    host: str
    port: int

    @property
    def folder(self) -> str:
        return "ib"

    @property
    def selector(self) -> dict[str, str]:
        """An instrument that it has, as the API takes it."""
        return {"symbol": "AAPL"}

    def __str__(self) -> str:
        return f"Interactive Brokers by the gateway at {self.host}:{self.port}"


Source = Generated | Replay | Gateway


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """The options that `make demo` and `make up` share."""
    made = argparse.ArgumentParser(program, description=about)
    made.add_argument("--replay", type=Path, metavar="FILE", help="serve the one-minute bars of this CSV (or .csv.gz)")
    made.add_argument("--symbol", default="", help="what the file holds: AAPL, GBP/USD, 6EH4, BTC/USD")
    made.add_argument(
        "--stamp", type=str.lower, choices=("open", "close"), help="the file's times are the bars' (open)"
    )
    made.add_argument("--price", type=str.upper, default="", help="price kind of the file: TRADES, BID, ASK, MIDPOINT")
    made.add_argument("--class", dest="asset_class", type=str.upper, choices=CLASSES, help="default: by the symbol")
    made.add_argument("--zone", default="", help="zone of the file's times without one: America/New_York (UTC)")
    made.add_argument("--session", type=str.lower, choices=SESSIONS, help="which bars to ask for (stocks: rth)")
    made.add_argument("--port", type=_port, help="port of the API (default: a free one)")
    made.add_argument("--data", type=_folder, default=Path(".data"), help="folder of all local data (default: .data)")
    return made


def source_of(options: argparse.Namespace) -> Source:
    """The source that the command line names. SystemExit with a sentence when it makes no sense."""
    gateway: Gateway | None = getattr(options, "ib", None)
    of_file = ("symbol", "stamp", "price", "asset_class", "zone", "session")
    if options.replay is None:
        if any(getattr(options, name) for name in of_file):
            raise SystemExit(
                "SYMBOL, STAMP, PRICE, CLASS, ZONE and SESSION describe a file: give REPLAY=path.csv.gz as well"
            )
        return gateway or Generated()
    if gateway is not None:
        raise SystemExit("REPLAY and IB exclude each other: a database holds one source")
    if not options.replay.is_file():
        raise SystemExit(f"REPLAY: there is no file {options.replay}")
    if not options.symbol.strip():
        raise SystemExit("REPLAY needs SYMBOL=, the instrument whose bars the file holds: AAPL, GBP/USD, 6EH4, BTC/USD")
    given = {name: getattr(options, name) for name in of_file if getattr(options, name)}
    replayed = ReplayOptions(options.replay, **given)
    replay = Replay(replayed, described(replayed))
    if not replay.bars_to_read:
        raise SystemExit(f"REPLAY: no bar lies in regular hours: {replay.hint}")
    return replay


def described(options: ReplayOptions) -> Content:
    """What the file holds. SystemExit with the simulator's sentence when it cannot be served."""
    command = [sys.executable, "-m", "ib_gateway_sim", *options.for_simulator, "--describe"]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"REPLAY: {_last_line(done.stderr.splitlines())}")
    found = json.loads(done.stdout)
    found |= {name: dt.datetime.fromisoformat(found[name]) for name in ("start", "end")}
    return Content(**found)


def _last_line(lines: Sequence[str]) -> str:
    return lines[-1].partition("ib_gateway_sim: ")[2] or lines[-1] if lines else "the simulator ended without a word"


def gateway_of(text: str) -> Gateway:
    """`host:port` of a gateway, for argparse."""
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch("[0-9]+", port) or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port, as in 127.0.0.1:4002")
    return Gateway(host, int(port))


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]+", text) or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 1 to 65535")
    return int(text)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no folder, as .data is")
    return Path(text)
