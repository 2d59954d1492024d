"""Halts trading in every database that runs below the data folder (make kill), by `python -m nautilus.orders.kill`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.admin import running_databases
from dev.environment import drop_foreign
from dev.process import StartError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("make kill", description=__doc__, add_help=False)
    parser.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    parser.add_argument("--url", default="", help="of the database, when it is not that of `make up`")
    options, rest = parser.parse_known_args(arguments)
    try:
        urls = [options.url] if options.url else _running(options.data)
    except (StartError, OSError) as error:
        print(f"NOT HALTED: {error}", file=sys.stderr)
        return 1
    return max([_halt(url, rest) for url in urls])


def _running(data: Path) -> list[str]:
    drop_foreign()
    return [url for _, url in running_databases(data)]


def _halt(url: str, options: Sequence[str]) -> int:
    environment = os.environ | {"NAUTILUS_DATABASE_URL": url}
    command = [sys.executable, "-m", "nautilus.orders.kill", *options]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
