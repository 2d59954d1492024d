"""Where the bars of a local stack come from, and the command line that says so. One data folder per source."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Generated:
    """The simulator's own market."""

    @property
    def folder(self) -> str:
        return "sim"

    def __str__(self) -> str:
        return "a simulated market"


@dataclass(frozen=True)
class Replay:
    """The simulator serves the one-minute bars of a CSV file as one instrument.

    `stamp`: whether the file's times are those of a bar's open or close. `price`: its kind (TRADES, BID, ...), empty:
    the usual one of its class.
    """

    file: Path
    symbol: str
    stamp: str
    price: str

    @property
    def folder(self) -> str:
        return f"replay-{self.name}"

    @property
    def name(self) -> str:
        """The file's name without .csv or .csv.gz, as far as folders like it."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"\.csv(\.gz)?$", "", self.file.name))

    def __str__(self) -> str:
        return f"{self.file.name} replayed as {self.symbol}"


@dataclass(frozen=True)
class Gateway:
    """A running IB Gateway or TWS."""

    host: str
    port: int

    @property
    def folder(self) -> str:
        return "ib"

    def __str__(self) -> str:
        return f"Interactive Brokers by the gateway at {self.host}:{self.port}"


Source = Generated | Replay | Gateway


def parser(program: str, about: str) -> argparse.ArgumentParser:
    """The options that `make demo` and `make up` share."""
    made = argparse.ArgumentParser(program, description=about)
    made.add_argument("--replay", type=Path, metavar="FILE", help="serve the one-minute bars of this CSV (or .csv.gz)")
    made.add_argument("--symbol", default="", help="what the file holds: AAPL, GBP/USD, 6EH4")
    made.add_argument("--stamp", choices=("open", "close"), default="open", help="the file's times are the bars' ...")
    made.add_argument("--price", default="", help="price kind of the file: TRADES, BID, ASK, MIDPOINT")
    made.add_argument("--port", type=_port, help="port of the API (default: a free one)")
    made.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    return made


def source_of(options: argparse.Namespace) -> Source:
    """The source that the command line names. SystemExit with a sentence when it makes no sense."""
    gateway: Gateway | None = getattr(options, "ib", None)
    if options.replay is None:
        if options.symbol or options.price:
            raise SystemExit("SYMBOL and PRICE describe a file: give REPLAY=path.csv.gz as well")
        return gateway or Generated()
    if gateway is not None:
        raise SystemExit("REPLAY and IB exclude each other: a database holds one source")
    if not options.replay.is_file():
        raise SystemExit(f"REPLAY: there is no file {options.replay}")
    if not options.symbol:
        raise SystemExit("REPLAY needs SYMBOL=, the instrument whose bars the file holds: AAPL, GBP/USD, 6EH4")
    return Replay(options.replay, options.symbol, options.stamp, options.price)


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
