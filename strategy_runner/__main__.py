"""The process of one strategy. It knows bars and orders from its standard input, and nothing else of the world.

    python -m strategy_runner run [--strategies FOLDER] [--scratch FOLDER]        one run; the first message is `start`
    python -m strategy_runner describe [--strategies FOLDER] [--within S] [--one ID]      the message `templates`

Exit codes: 0 after `result` or `templates`; 1 when the host is gone; 2 after a `fault` that kept the run from beginning.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nautilus.strategies.pipe import PipeError
from strategy_runner import fence
from strategy_runner.channel import Channel
from strategy_runner.heartbeat import Heartbeat

HOST_GONE, NOT_BEGUN = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """The exit code. Descriptors come first: whatever is imported later may print."""
    channel = Channel.take_standard()
    options = parser().parse_args(arguments)
    # Whoever describes all templates imports no user's code itself, and starts processes that are fenced in.
    describes_all = options.command == "describe" and options.one is None
    folders = [one for one in (options.strategies, options.scratch) if one is not None]
    holds = [] if describes_all else fence.close(folders, options.scratch)
    channel.read_prints()
    try:
        if options.command == "describe":
            return describe(channel, options)
        return run(channel, options.strategies, holds)
    except (BrokenPipeError, EOFError):
        return HOST_GONE


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="strategy_runner")
    found.add_argument("command", choices=("run", "describe"))
    found.add_argument("--strategies", type=Path, help="a folder with files of strategies")
    found.add_argument("--scratch", type=Path, help="the only folder in which strategies may write")
    found.add_argument("--within", type=float, default=20.0, help="seconds in which templates of users are imported")
    found.add_argument("--one", help="describe this template alone")
    return found


def describe(channel: Channel, options: argparse.Namespace) -> int:
    from strategy_runner import describe as describing

    if options.one is None:
        command = [sys.executable, *sys.orig_argv[1:], "--one"]
        describing.describe(channel, options.strategies, command, options.within)
    else:
        describing.describe_one(channel, options.one, options.strategies)
    return 0


def run(channel: Channel, folder: Path | None, holds: list[str]) -> int:
    """One run, by the mode of its first message."""
    heartbeat = Heartbeat(channel)
    try:
        heartbeat.begin()
        start = channel.next()
        if start["type"] != "start":
            raise PipeError(f"the first message is {start['type']}, not start")
        go = mode(start["mode"])
        go(channel, start, folder, holds, heartbeat=heartbeat)
    except (BrokenPipeError, EOFError):
        raise
    except BaseException as error:  # the import of a template may raise anything
        frames = [] if isinstance(error, PipeError) else frames_of(error)
        channel.send("fault", exception=type(error).__name__, message=str(error)[:2_000], frames=frames)
        return NOT_BEGUN
    return 0


def mode(name: str) -> Any:
    """The function of a mode. Imported here: a back-test needs nothing of the live node."""
    if name == "backtest":
        from strategy_runner.backtest import backtest

        return backtest
    from strategy_runner.node import live

    return live


def frames_of(error: BaseException) -> list[str]:
    import traceback

    return [
        f"{one.filename}:{one.lineno} {one.name}: {one.line}" for one in traceback.extract_tb(error.__traceback__)[-10:]
    ]


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads and loops of a strategy's libraries are not waited for
