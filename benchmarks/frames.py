"""What a DataFrame of many bars costs: `python -m benchmarks.frames`. Processor time of database, API and client together.

The client reads over HTTP; beside it raw binary COPY of the same rows, thrown away, and what a user would write: SQLAlchemy,
Pydantic and JSON, read by pandas. COPY and client take turns, so that whatever else the machine does strikes both alike, and
are measured alike: of each the median and the span, of the ratio that of each turn. FRAME_BARS=100000 measures as many
(1,000,000 by default), FRAME_TURNS as many turns (7). Needs `make client`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psycopg2
from fastapi import FastAPI

from benchmarks import _peer, exports
from dev.postgres import start_postgres
from dev.process import Group
from dev.stack import MEMORY
from nautilus.db.migrate import upgrade
from tests.support.client_server import PYTHON, served
from tests.support.stored_bars import StoredBars

_BARS = int(os.environ.get("FRAME_BARS", "1000000"))
_ROUNDS = int(os.environ.get("FRAME_TURNS", "7"))
_FIRST, _MINUTE = exports.FIRST, exports.MINUTE
_END = _FIRST + _BARS * _MINUTE
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = 50_000
CLIENT = f"""
import sys, time
import pandas
from nautilus_client import Client
from nautilus_client import analysis, bars, frames, pages, reading, transport
import urllib3
began = time.process_time()
frame = Client(sys.argv[1]).bars("AAPL", "1m", start={_FIRST}, end={_END}).pandas()
spent = time.process_time() - began
assert len(frame) == {_BARS}, len(frame)
print(spent)
"""
PEER = f"""
import io, sys, time
import pandas
from urllib.request import urlopen
import json
began = time.process_time()
parts = []
for start in range({_FIRST}, {_END}, {_PAGE * _MINUTE}):
    end = min({_END}, start + {_PAGE * _MINUTE})
    with urlopen(f"{{sys.argv[1]}}{_peer.PATH}?start={{start}}&end={{end}}&limit={_PAGE}") as answer:
        text = answer.read().decode()
    candles = text[text.index("[") : text.rindex("]") + 1]
    parts.append(pandas.read_json(io.StringIO(candles)))
frame = pandas.concat(parts)
spent = time.process_time() - began
assert len(frame) == {_BARS}, len(frame)
print(spent)
"""


def run() -> None:
    folder = Path(tempfile.mkdtemp(prefix="nautilus-bench-"))
    try:
        with Group() as group:
            postgres = start_postgres(group, folder, durable=False)
            group.wait_ready()
            upgrade(postgres.dsn())
            _measure(postgres.dsn(), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(dsn: str, folder: Path) -> None:
    exports.filled(dsn, _BARS)
    stored_bars = StoredBars(dsn, _END + _MINUTE)
    peer = FastAPI()
    peer.include_router(_peer.router(dsn))
    copies: list[_Spent] = []
    ours: list[_Spent] = []
    with served(stored_bars.app(folder)) as url, served(peer) as peer_url:
        _spent(dsn, lambda: _child(CLIENT, url))  # nobody's: caches are filled, statements prepared
        for _ in range(_ROUNDS):
            copies.append(_spent(dsn, lambda: _copied(dsn)))
            ours.append(_spent(dsn, lambda: _child(CLIENT, url)))
        theirs = _spent(dsn, lambda: _child(PEER, peer_url))
    stored_bars.close()
    ratios = [sum(mine) / sum(copy) for mine, copy in zip(ours, copies, strict=True)]
    database, here, client = (median(part) for part in zip(*ours, strict=True))
    print(f"== a DataFrame of {_BARS:,} bars over HTTP; seconds of CPU of database, API and client; {_ROUNDS} turns")
    print(f"   raw binary COPY, thrown away: {_shown(list(map(sum, copies)))} s")
    print(f"   client: {_shown(list(map(sum, ours)))} s, ratio {_shown(ratios)} (at most 2.5)")
    print(f"      of it database {database:.2f}, API {here:.2f}, client {client:.2f}")
    times = sum(theirs) / median(map(sum, ours))
    print(f"   SQLAlchemy, Pydantic, JSON, read_json: {sum(theirs):.2f} s, {times:.1f} times as much (at least 10)")


def _shown(found: Sequence[float]) -> str:
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def _copied(dsn: str) -> float:
    """Raw COPY by a connection of its own; this process does it, so that nothing is left to add."""
    exports.copy(dsn)
    return 0.0


def _child(code: str, url: str) -> float:
    """Seconds that a program says it took, without its imports."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "HOME": "/nonexistent"}
    done = subprocess.run(
        [str(PYTHON), "-I", "-c", code, url], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


class _Spent(NamedTuple):
    """Seconds of CPU: of the database's processes, of this one, which serves the API and copies, and of the client."""

    database: float
    here: float
    client: float


def _spent(dsn: str, work: Callable[[], float]) -> _Spent:
    connection = psycopg2.connect(dsn)
    parent = _parent(connection.info.backend_pid)
    connection.close()
    database, here = _tree_s(parent), time.process_time()
    client = work()
    return _Spent(_tree_s(parent) - database, time.process_time() - here, client)


def _stat(pid: int) -> list[str]:
    """What /proc says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _tree_s(pid: int) -> float:
    """Seconds of a process and its children, those that have ended, too."""
    own = sum(map(int, _stat(pid)[11:15]))
    for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
            own += sum(map(int, _stat(int(one))[11:13]))
    return own / _TICKS


if __name__ == "__main__":
    if not MEMORY.items() <= os.environ.items():  # as the API runs; glibc reads them when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.frames"], {**os.environ, **MEMORY})
    run()
