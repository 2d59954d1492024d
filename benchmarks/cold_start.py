"""Cold start of each built function, beside FastAPI + Mangum alone and an empty handler, measured in one run.

Init is Lambda's definition: from the start of the process to its first request for an event. On a machine of one's own
the milliseconds are this machine's; compare the columns, not the numbers with Lambda's. First event: settings, app and
adapter are made, and the answer is a 401 or, of health, a check of a database that is not there. Needs `make build`.

    python -m benchmarks.cold_start --rounds 9
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dev.credentials import token_settings
from dev.lambda_build import BUILD, LAYER, missing
from dev.lambda_events import http_event
from dev.lambda_runtime import Function, running
from dev.process import Group

PLAIN = """
def handler(event, context):
    return {"statusCode": 200, "body": "{}"}
"""
FASTAPI = """
from fastapi import FastAPI
from mangum import Mangum

app = FastAPI(openapi_url=None)


@app.get("/api/v1/x")
async def x(symbol: str = ""):  # a parameter, as any API has one: FastAPI imports more for it
    return {"symbol": symbol}


handler = Mangum(app, lifespan="off")
"""
# Our web layer around the same route.
OURS = """
from fastapi import APIRouter

from nautilus.http.lambda_entry import lambda_handler

router = APIRouter()


@router.get("/api/v1/x")
async def x(symbol: str = ""):
    return {"symbol": symbol}


handler = lambda_handler("x", router)
"""
EVENTS = {
    "auth": ("GET", "/api/v1/auth/me"),
    "backfill": ("GET", "/api/v1/historical/backfill/status"),
    "bars": ("GET", "/api/v1/market-data/historical/bars"),
    "live": ("GET", "/api/v1/market-data/live"),
    "exports": ("GET", "/api/v1/market-data/exports"),
    "frontend": ("GET", "/api/v1/trades"),
    "monitoring": ("GET", "/api/v1/ib/session"),
    "orders": ("GET", "/api/v1/orders"),
    "portfolio": ("GET", "/api/v1/portfolio/positions"),
    "strategies": ("GET", "/api/v1/strategy-templates"),
}
SETTINGS = {
    "NAUTILUS_ENV": "test",
    "NAUTILUS_LOG_LEVEL": "WARNING",
    "NAUTILUS_DATABASE_URL": "postgresql://nobody:of-a-database-that-is-not-there@127.0.0.1:1/none",
    "NAUTILUS_DATABASE_POOL": "1",
}
WARM_CALLS = 400


@dataclass
class Numbers:
    """Of one function, one entry per round."""

    init_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)


def measure(
    group: Group, name: str, folder: Path | None, work: Path, settings: Mapping[str, str], into: Numbers
) -> None:
    layer = None if name == "an empty handler" else BUILD / LAYER / "python"
    event = http_event(*EVENTS.get(name, ("GET", "/api/v1/x")))
    log = work / f"{name.replace(' ', '-')}.log"
    with running(Function(group, name, log, settings, folder=folder, layer=layer)) as function:
        into.init_ms.append(function.init_ms)
        into.cpu_ms.append(function.cpu_ms())
        begun = time.perf_counter()
        function.invoke(event)
        into.first_ms.append((time.perf_counter() - begun) * 1000)
        if folder is not None:
            calls = []
            for _ in range(WARM_CALLS):
                begun = time.perf_counter()
                function.invoke(event)
                calls.append((time.perf_counter() - begun) * 1000)
            into.warm_ms.append(statistics.median(calls))
        into.peak_mb.append(function.peak_bytes() / 1e6)


def main() -> int:
    options = argparse.ArgumentParser("python -m benchmarks.cold_start", description=__doc__)
    options.add_argument("--rounds", type=int, default=7, help="each function is started so often (default: 7)")
    rounds: int = options.parse_args().rounds
    if reason := missing():
        print(f"cold start: not measured, {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary, Group() as group:
        work = Path(temporary)
        folders: dict[str, Path | None] = {}
        for name, text in (("an empty handler", PLAIN), ("FastAPI + Mangum", FASTAPI), ("our edge, one route", OURS)):
            folder = work / name.replace(" ", "-")
            folder.mkdir()
            (folder / "app.py").write_text(text)
            folders[name] = folder
        folders.update(dict.fromkeys(EVENTS))
        settings = {**SETTINGS, **token_settings(work)}
        numbers = {name: Numbers() for name in folders}
        for _ in range(rounds):  # in turns, so that a busy time hits all alike
            for name, path in folders.items():
                measure(group, name, path, work, settings, numbers[name])
    show(numbers, rounds)
    return 0


def show(numbers: Mapping[str, Numbers], rounds: int) -> None:
    base = numbers["FastAPI + Mangum"]
    print(f"\nbest and median of {rounds}; init and first event of a new process, ms; (+) beyond FastAPI + Mangum\n")
    print(f"{'':22} {'init':^17} {'processor time':^29} {'first':>7} {'warm':>7} {'memory MB':>10}")
    for name, of in numbers.items():
        warm = f"{statistics.median(of.warm_ms):7.2f}" if of.warm_ms else f"{'':7}"
        print(
            f"{name:22} {min(of.init_ms):8.0f} {statistics.median(of.init_ms):8.0f}"
            f" {min(of.cpu_ms):8.0f} ({min(of.cpu_ms) - min(base.cpu_ms):+4.0f})"
            f" {statistics.median(of.cpu_ms):6.0f} ({statistics.median(of.cpu_ms) - statistics.median(base.cpu_ms):+4.0f})"
            f" {statistics.median(of.first_ms):7.0f} {warm} {statistics.median(of.peak_mb):10.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
