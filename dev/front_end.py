"""Walks a built copy of the old front end in Chromium against our API (make front-end DIST=...), and says what died or failed.

The copy is built elsewhere: its sources are not here. Its page, the API and the socket get one address, as the page wants them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from dev.api_client import ApiError
from dev.environment import drop_foreign, environment
from dev.front_end_server import FrontEndServer
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.order_desk import OrderDesk
from dev.process import StartError, end_on_signals
from dev.sources import Generated
from dev.stack import Stack, stack_of
from dev.up import say
from nautilus.errors import NautilusError

PYTHON = Path(".venv-front-end/bin/python")
CHROMIUM = "/usr/bin/chromium"
SCOPES = ["bars:read", "backfill:write", "monitoring:read", "orders:read", "orders:write"]
SPARED = ("ExpressionError",)
"""Errors that the page throws whatever it is answered."""
_WALK_S = 600.0


@contextmanager
def served_api(folder: Path) -> Iterator[tuple[Stack, str]]:
    """A stack with a simulated market that is open, and the key of the page."""
    with stack_of(folder, Generated(), simulator=("--latency", "none")) as stack:
        stack.start()
        with closing(OrderDesk(stack)) as desk:
            desk.open_market()
            desk.until_ready()
            made = desk.trader.post("/api/v1/auth/api-keys", {"name": "front end", "scopes": SCOPES})
        yield stack, str(made["api_key"])


def walked(url: str, *, python: Path = PYTHON, chromium: str = CHROMIUM) -> list[dict[str, Any]]:
    """What the walk found, tab by tab. StartError: it could not be walked."""
    words = [str(python), "-m", "dev.front_end_walk", url, "--chromium", chromium]
    words += [word for one in SPARED for word in ("--spare", one)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_WALK_S, env=environment({}))
    if done.returncode:
        raise StartError(f"the page could not be walked: {done.stderr.strip()[-800:]}")
    return list(json.loads(done.stdout))


def report(found: Sequence[dict[str, Any]]) -> int:
    """Say what each tab did; returns how many died or failed."""
    bad = 0
    for tab in found:
        refused = [line for line in tab["requests"] if not line.startswith(("2", "3"))]
        broken = [*tab["died"], *tab["failed"]]
        bad += bool(broken)
        say(f"{'DIED' if tab['died'] else 'FAIL' if broken else 'ok':<5} {tab['tab']}: {len(tab['requests'])} answers")
        for line in broken:
            say(f"        {line}")
        for line in dict.fromkeys(refused):
            say(f"      . {line}")
        for line in dict.fromkeys(tab["console"]):
            say(f"      > {line}")
    return bad


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("dist", type=Path, help="the folder of a built copy, with index.html")
    options.add_argument(
        "--port", type=int, default=8001, help="the page opens its socket at 8001, whatever its own port is"
    )
    options.add_argument("--chromium", default=CHROMIUM)
    given = options.parse_args()
    try:
        unwind_on_interrupt()
        end_on_signals()
        drop_foreign()
        with (
            tempfile.TemporaryDirectory() as folder,
            served_api(Path(folder)) as (stack, key),
            closing(FrontEndServer(given.dist, stack.url, key, port=given.port)) as server,
        ):
            say(f"{given.dist} at {server.url}, walked with {given.chromium}")
            bad = report(walked(server.url, chromium=given.chromium))
        say("every tab was opened, and nothing died" if not bad else f"{bad} tabs died or had requests that failed")
        return int(bad > 0)
    except (StartError, ApiError, NautilusError, httpx.HTTPError, OSError) as error:
        print(f"\nThe front end could not be walked: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
