"""Keeps the whole backend up on this machine until Ctrl-C (make up), and says how to talk to it."""

import argparse
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from dev.process import StartError, end_on_signals
from dev.sources import Replay, gateway_of, parser, source_of
from dev.stack import USERNAME, Stack, stack_of

POLL_S = 0.5


def main() -> int:
    options = _options()
    end_on_signals()
    source = source_of(options)
    try:
        with stack_of(options.data, source, port=options.port) as stack:
            say(f"Nautilus with {source} ...")
            stack.start(lambda line: say(f"  {line}"))
            say(_addresses(stack))
            if isinstance(source, Replay) and source.hint:
                say(f"{source.hint}.\n")
            session = ""
            while True:
                stack.tend(say)
                if session != (now := stack.session()):
                    session = now
                    say(f"{time.strftime('%H:%M:%S')}  session with IB: {session}")
                time.sleep(POLL_S)
    except StartError as error:
        print(f"Nautilus cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say(f"\nNautilus has ended; the data stay in {shown((options.data / source.folder).resolve())}")
        return 0


def _options() -> argparse.Namespace:
    made = parser("make up", "Keep the backend up on this machine until Ctrl-C.")
    made.add_argument("--ib", type=gateway_of, metavar="HOST:PORT", help="use this IB Gateway, not the simulator")
    return made.parse_args()


def _addresses(stack: Stack) -> str:
    folder = shown(stack.folder)
    selector = stack.source.selector
    redis = "none on this machine; the API works without a cache"
    if stack.redis is not None:
        redis = f"127.0.0.1:{stack.redis.port}, password in {folder}/redis.conf"
    simulator = ""
    if stack.control_port is not None:
        simulator = f"""
  simulator    {stack.gateway.host}:{stack.gateway.port}, for any TWS API client; control port {stack.control_port}: \
echo help | nc 127.0.0.1 {stack.control_port}"""
    return f"""
Nautilus is up. Ctrl-C ends it; the data stay in {folder}.

  API          {stack.url}
  its pages    {stack.url}/docs
  bridge       {stack.bridge_url} (health){simulator}
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
"""


def shown(folder: Path) -> str:
    """As short as the reader's shell allows: relative to where they are, when below it."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def say(line: str) -> None:
    """A line for the reader, at once, also where the output is no terminal."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
