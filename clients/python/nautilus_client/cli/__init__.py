"""The command `nautilus` (and `nautilus-md`, where another program has that name).

Exit codes: 0 all there; 1 error; 2 usage; 3 answered, but incomplete; 4 not signed in or not allowed; 5 not found; 6 the session
with Interactive Brokers is away; 7 too many requests; 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence

OK, FAILED, USAGE, INCOMPLETE, NOT_ALLOWED, NOT_FOUND, IB_AWAY, LIMITED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in ([], ["-h"], ["--help"]):
        sys.stdout.write(help_text())
        return OK if given else USAGE
    from nautilus_client.cli.tree import parse

    options = parse(given)  # help and wrong usage end here
    from nautilus_client.cli.context import run

    return run(options)


def help_text() -> str:
    """What argparse would print, made beforehand: importing argparse takes as long as Python itself."""
    with open(os.path.join(os.path.dirname(os.path.dirname(__file__)), "texts", "help.txt"), encoding="utf-8") as file:
        return file.read()
