"""The process of a strategy, with a test as its host: real, in its own Python, over its pipes."""

import random
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from nautilus.strategies.pipe import FROM_RUNNER, TO_RUNNER, Lines, line
from nautilus.strategies.runner_command import runner_argv

ROOT = Path(__file__).parents[2]
INTERPRETER = ROOT / ".venv-strategies" / "bin" / "python"
needs_engine = pytest.mark.skipif(
    not INTERPRETER.exists(), reason="no environment of strategies: `make strategies`, where a python3.13 is installed"
)
NS = 1_000_000_000
MINUTE = 60 * NS
OPEN = 1_790_775_000 * NS
"""2026-09-30 13:30:00 UTC, when the market opens in New York."""
DAY = 86_400 * NS
SHARES = {"per_unit": "0.005", "rate": "0", "minimum": "1", "most_rate": "0.01"}
STOCK: dict[str, Any] = {
    "con_id": 265598,
    "instrument_id": "AAPL.NASDAQ",
    "symbol": "AAPL",
    "asset_class": "STK",
    "exchange": "NASDAQ",
    "currency": "USD",
    "local_symbol": "AAPL",
    "multiplier": "",
    "min_tick": "0.01",
    "digits": 2,
    "expires_ns": None,
    "commission": SHARES,
}
PAIR = STOCK | {
    "con_id": 12087792,
    "instrument_id": "EUR/USD.IDEALPRO",
    "symbol": "EUR",
    "asset_class": "CASH",
    "exchange": "IDEALPRO",
    "local_symbol": "EUR.USD",
    "min_tick": "0.00005",
    "digits": 6,
    "commission": {"per_unit": "0", "rate": "0.00002", "minimum": "2", "most_rate": None},
}
FUTURE = STOCK | {
    "con_id": 495512563,
    "instrument_id": "ESZ6.CME",
    "symbol": "ES",
    "asset_class": "FUT",
    "exchange": "CME",
    "local_symbol": "ESZ6",
    "multiplier": "50",
    "min_tick": "0.25",
    "expires_ns": OPEN + 80 * DAY,
    "commission": {"per_unit": "2.25", "rate": "0", "minimum": "0", "most_rate": None},
}


def series_of(con_id: int, *prices: str, timeframe: str = "1m", first: int = 0) -> list[dict[str, Any]]:
    rows = enumerate(prices, first)
    return [{"index": n, "con_id": con_id, "timeframe": timeframe, "price": price} for n, price in rows]


START: dict[str, Any] = {
    "run_id": "11111111-2222-3333-4444-555555555555",
    "mode": "backtest",
    "template": "ema_cross",
    "parameters": {},
    "instruments": [STOCK],
    "series": series_of(STOCK["con_id"], "TRADES"),
    "capital": "100000",
    "currency": "USD",
    "fill": "next_open",
    "adaptive_ordering": True,
    "seed": 7,
    "equity_points": 1_500,
    "bars_total": 390,
}
Bar = tuple[int, int, float, float, float, float, float | None]
"""Opened, closed, open, high, low, close, volume."""


def columns(bars: Iterable[Bar], index: int = 0) -> dict[str, Any]:
    names = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
    rows = [dict(zip(names, bar, strict=True)) for bar in bars]
    return {"index": index, **{name: [row[name] for row in rows] for name in names}}


def minutes(closes: Iterable[float], opens: Iterable[float] | None = None, since: int = OPEN) -> list[Bar]:
    """Bars of one minute each. Their opens are the closes before them where none are given."""
    found: list[Bar] = []
    closed = list(closes)
    opened = list(opens) if opens is not None else [closed[0], *closed[:-1]]
    for n, (first, last) in enumerate(zip(opened, closed, strict=True)):
        at = since + n * MINUTE
        found.append((at, at + MINUTE, first, max(first, last), min(first, last), last, 5_000.0))
    return found


def market(days: int, *, per_day: int = 390, seed: int = 1) -> list[list[Bar]]:
    """Days of a market that wanders about, always the same for one seed."""
    chance = random.Random(seed)
    close, found = 100.0, []
    for day in range(days):
        bars: list[Bar] = []
        for n in range(per_day):
            first = round(close + chance.gauss(0, 0.03), 2)
            close = round(first + chance.gauss(0, 0.08), 2)
            high = round(max(first, close) + abs(chance.gauss(0, 0.03)), 2)
            low = round(min(first, close) - abs(chance.gauss(0, 0.03)), 2)
            at = OPEN + day * DAY + n * MINUTE
            bars.append((at, at + MINUTE, first, high, low, close, float(chance.randrange(100, 9_000))))
        found.append(bars)
    return found


def chunk(bars: Iterable[Bar], **more: Any) -> bytes:
    return chunks_of([columns(bars)], **more)


def chunks_of(series: list[dict[str, Any]], *, trade_date: str = "2026-09-30", last: bool = True) -> bytes:
    return line(TO_RUNNER, "chunk", trade_date=trade_date, last=last, series=series)


class Runner:
    """A child that runs. Use it with `with`: it is gone afterwards, whatever it did."""

    def __init__(
        self, *arguments: str, folder: Path | None = None, scratch: Path | None = None, more: Iterable[Path] = ()
    ) -> None:
        options = [
            *(["--strategies", str(folder)] if folder else []),
            *(["--scratch", str(scratch)] if scratch else []),
        ]
        command = runner_argv(
            str(INTERPRETER), [ROOT, ROOT / "layers" / "shared", *more], *(arguments or ("run",)), *options
        )
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env={}, cwd="/")
        self._lines = Lines(FROM_RUNNER)
        self._read: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def send(self, kind: str, /, **body: Any) -> None:
        self.write(line(TO_RUNNER, kind, **body))

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the child writes, until it closes its pipe."""
        assert self.process.stdout is not None
        while True:
            while self._read:
                yield self._read.pop(0)
            data = self.process.stdout.read1(65_536)  # type: ignore[attr-defined]
            if not data:
                return
            self._read += self._lines.feed(data)

    def until(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Everything up to the first message of this kind with these fields, which is the last of the list."""
        found = []
        for one in self.messages():
            found.append(one)
            if one["type"] == kind and all(one[name] == value for name, value in fields.items()):
                return found
        raise AssertionError(f"the child ended without {kind} {fields}: {found[-5:]}")

    def rest(self) -> list[dict[str, Any]]:
        """Everything to the end, after closing its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        found = list(self.messages())
        self.process.stdin = None
        return found


class Node(Runner):
    """A paper or live run that has begun, and waits for its first bar."""

    def __init__(
        self,
        mode: str,
        *,
        folder: Path | None = None,
        orders: Iterable[dict[str, Any]] = (),
        positions: Iterable[dict[str, Any]] = (),
        **start: Any,
    ) -> None:
        super().__init__(folder=folder)
        self.seen: list[dict[str, Any]] = []
        self.send("start", **START | {"mode": mode} | start)
        self.send("orders", orders=list(orders))
        self.send("positions", positions=list(positions))
        self.until("heartbeat")

    def until(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        found = super().until(kind, **fields)
        self.seen += found
        return found

    def bar(self, bar: Bar, state: str = "closed", *, forming: bool = False) -> list[dict[str, Any]]:
        """Send a bar, and wait until the strategy has seen it; what was written meanwhile."""
        if forming:
            self.send("forming", index=0, opened_ns=bar[0], open=bar[2])
        names = ("opened_ns", "closed_ns", "open", "high", "low", "close", "volume")
        self.send("bar", index=0, state=state, **dict(zip(names, bar, strict=True)))
        return [one for one in self.until("bar_done", closed_ns=bar[1]) if one["type"] not in ("bar_done", "heartbeat")]

    def event(self, order: dict[str, Any], kind: str, **more: Any) -> None:
        key = order["client_order_id"]
        self.send("order_event", client_order_id=key, kind=kind, at_ns=1, venue_order_id=f"V-{key}", **more)

    def fill(self, order: dict[str, Any], price: float, quantity: str | None = None, trade: str = "1") -> None:
        """Accept an order, and fill it."""
        self.event(order, "accepted")
        trade_id, size = f"{order['client_order_id'][:20]}-{trade}", quantity or order["quantity"]
        more = {"trade_id": trade_id, "commission": "1", "currency": "USD"}
        self.event(order, "filled", quantity=size, price=str(price), **more)

    def end(self) -> "Done":
        self.send("stop", flatten=False)
        self.seen += self.rest()
        return Done(self.seen, self.process.wait())


class Done:
    """All messages of a run that is over."""

    def __init__(self, messages: list[dict[str, Any]], code: int) -> None:
        self.messages, self.code = messages, code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["type"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        found = self.of(kind)
        assert len(found) == 1, (kind, self.messages[-5:])
        return found[0]

    @property
    def fills(self) -> list[tuple[Any, ...]]:
        """(side, quantity, price, close of the bar it follows from, time) of each."""
        return [(one["side"], one["quantity"], one["price"], one["bar_ns"], one["at_ns"]) for one in self.of("fill")]


def backtest(chunks: Iterable[bytes], *, folder: Path | None = None, end: bool = True, **start: Any) -> Done:
    """A whole back-test in a process of its own."""
    with Runner(folder=folder) as runner:
        ended = line(TO_RUNNER, "end") if end else b""
        data = line(TO_RUNNER, "start", **START | start) + b"".join(chunks) + ended
        out, _ = runner.process.communicate(data)
        return Done(list(Lines(FROM_RUNNER).feed(out)), runner.process.returncode)


SCRIPTED = '''
from decimal import Decimal
from strategy_runner.strategy import Strategy, StrategyParameters

class Scripted(Strategy):
    """Wants after the bar of a number what its parameters have for it."""
    class Parameters(StrategyParameters):
        wanted: dict[int, Decimal]

    def prepare(self):
        self.seen = 0
        self.closes = []

    def learn(self, bar):
        self.closes.append(str(bar.close))

    def decide(self, bar):
        self.seen += 1
        return self.parameters.wanted.get(self.seen)
'''


def scripted(folder: Path, text: str = SCRIPTED, name: str = "scripted") -> Path:
    """A folder with a strategy of a user in it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text)
    return folder
