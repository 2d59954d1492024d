"""What a DataFrame of many bars costs: `python -m benchmarks.frames`. Processor time of database, API and client together.

The client reads over HTTP; beside it raw binary COPY of the same rows, thrown away, and what a user would write: SQLAlchemy,
Pydantic and JSON, read by pandas. FRAME_BARS=100000 measures as many (1,000,000 by default). Needs `make client`.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg2
from fastapi import FastAPI

from benchmarks import _peer, exports
from dev.postgres import start_postgres
from dev.process import Group
from nautilus.db.migrate import upgrade
from tests.support.client_server import PYTHON, served
from tests.support.stored_bars import StoredBars

_BARS = int(os.environ.get("FRAME_BARS", "1000000"))
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
    copied_s, _ = exports.copied(dsn)
    stored_bars = StoredBars(dsn, _END + _MINUTE)
    peer = FastAPI()
    peer.include_router(_peer.router(dsn))
    with served(stored_bars.app(folder)) as url, served(peer) as peer_url:
        ours = min(_spent(dsn, lambda: _child(CLIENT, url)) for _ in range(2))
        theirs = _spent(dsn, lambda: _child(PEER, peer_url))
    stored_bars.close()
    print(f"== a DataFrame of {_BARS:,} bars over HTTP; seconds of CPU of database, API and client")
    print(f"   raw binary COPY, thrown away: {copied_s:.2f} s")
    print(f"   client: {ours:.2f} s, ratio {ours / copied_s:.2f} (at most 2.5)")
    print(f"   SQLAlchemy, Pydantic, JSON, read_json: {theirs:.2f} s, {theirs / ours:.1f} times as much (at least 10)")


def _child(code: str, url: str) -> float:
    """Seconds that a program says it took, without its imports."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "HOME": "/nonexistent"}
    done = subprocess.run(
        [str(PYTHON), "-I", "-c", code, url], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def _spent(dsn: str, work: Callable[[], float]) -> float:
    """Seconds of CPU of the database's processes, of this one, which serves the API, and of the work."""
    connection = psycopg2.connect(dsn)
    parent = _parent(connection.info.backend_pid)
    connection.close()
    before = time.process_time() + _tree_s(parent)
    found = work()
    return found + time.process_time() + _tree_s(parent) - before


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
    run()
