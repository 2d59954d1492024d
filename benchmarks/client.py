"""What the Python client costs: `python -m benchmarks.client`. Processor time, the least of several, as on an idle machine.

import nautilus_client and `nautilus --help`, beside Python alone and beside argparse; and a page of 50,000 bars turned into a
DataFrame, from Arrow and from column-wise JSON, beside json.loads and pandas alone. Needs `make client`.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nautilus.reading import arrow
from nautilus_client.arrow_stream import MEDIA_TYPE
from nautilus_client.bars import Bars, Source
from nautilus_client.columns import USUAL
from nautilus_client.messages import Answer
from nautilus_client.pages import JSON_COLUMNS, page_of

PYTHON = Path(__file__).parents[1] / ".venv-client" / "bin" / "python"
ROUNDS = 15
BARS = 50_000
HELP = "import sys; from nautilus_client.cli import main; sys.argv = ['nautilus', '--help']; main()"
STARTS: Mapping[str, str] = {
    "Python alone": "pass",
    "import nautilus_client": "import nautilus_client",
    "nautilus --help": HELP,
    "import argparse": "import argparse",
    "from nautilus_client import Client": "from nautilus_client import Client",
    "import urllib3": "import urllib3",
}


def child_s(code: str, environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([PYTHON, "-c", code], stdout=subprocess.DEVNULL, env=dict(environment), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts() -> None:
    """In turns, so that a busy time hits all alike."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": compiled}
        costs: dict[str, list[float]] = {name: [] for name in STARTS}
        for _ in range(ROUNDS):
            for name, code in STARTS.items():
                costs[name].append(child_s(code, environment))
    bare = min(costs["Python alone"])
    print(f"{'':36} {'ms':>6} {'more':>6} {'ratio':>6}")
    for name, found in costs.items():
        least = min(found)
        print(f"{name:36} {least * 1e3:6.0f} {(least - bare) * 1e3:6.0f} {least / bare:6.2f}")


def cpu_s(work: Callable[[], object], times: int = 7) -> float:
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def answers() -> tuple[Answer, Answer]:
    """The same page as Arrow and as column-wise JSON."""
    first = 1_704_724_200_000_000_000
    floats = {name: [100 + n % 997 / 100 for n in range(BARS)] for name in ("open", "high", "low", "close", "vwap")}
    columns: dict[str, Sequence[Any]] = {"ts": [first + n * 60 * 10**9 for n in range(BARS)], **floats}
    columns |= {"volume": [float(n % 900) for n in range(BARS)], "trades": [n % 70 for n in range(BARS)]}
    described = {
        "symbol": "AAPL",
        "timeframe": "1m",
        "total": BARS,
        "source": "sim:7",
        "store": "sim:7",
        "instrument_id": "AAPL.NASDAQ",
        "price": "TRADES",
        "session": "rth",
        "data_version": 1,
        "window": {"start": "2024-01-08T14:30:00Z", "end": "2024-03-08T14:30:00Z"},
        "coverage": {"complete": True, "missing": []},
        "next_page_token": None,
    }
    packed = [arrow.Packed(name, network_order(columns[name])) for name in USUAL]
    stream = arrow.stream(USUAL, [arrow.batch(packed, BARS)], described)
    text = json.dumps({**described, "candles": {name: columns[name] for name in USUAL}}, separators=(",", ":"))
    return Answer(200, {"content-type": MEDIA_TYPE}, stream), Answer(200, {"content-type": JSON_COLUMNS}, text.encode())


def network_order(values: Sequence[Any]) -> bytes:
    found: array[Any] = array("d" if isinstance(values[0], float) else "q", values)
    found.byteswap()
    return found.tobytes()


def frame(answer: Answer) -> Any:
    page = page_of(answer, USUAL)
    none = Source(lambda: (page.info, page.columns), lambda: iter(()), dict, lambda: "UTC")
    return Bars("AAPL", page.info, page.columns, none).pandas()


def frames() -> None:
    import pandas

    of_arrow, of_json = answers()
    assert frame(of_arrow).equals(frame(of_json))
    costs = {
        "Arrow to a DataFrame": (cpu_s(lambda: frame(of_arrow)), len(of_arrow.body)),
        "column-wise JSON to a DataFrame": (cpu_s(lambda: frame(of_json)), len(of_json.body)),
        "json.loads and pandas alone": (
            cpu_s(lambda: pandas.DataFrame(json.loads(of_json.body)["candles"])),
            len(of_json.body),
        ),
    }
    print(f"\n{BARS:,} bars {'ms':>30} {'bytes a bar':>12}")
    for name, (seconds, size) in costs.items():
        print(f"{name:36} {seconds * 1e3:6.1f} {size / BARS:12.1f}")


def main() -> int:
    if not PYTHON.exists():
        print("client: not measured, there is no .venv-client: make client", file=sys.stderr)
        return 1
    starts()
    frames()
    return 0


if __name__ == "__main__":
    sys.exit(main())
