"""How the process of a strategy is started: in an environment that holds nothing, so that there is nothing to read in it."""

from collections.abc import Sequence
from pathlib import Path

_BEGIN = "import sys; sys.path[:0] = {paths!r}; from runpy import run_module; run_module('strategy_runner', run_name='__main__')"


def runner_argv(python: str, paths: Sequence[Path], *arguments: str) -> list[str]:
    """The command line. python: the interpreter of the strategies' environment. paths: the folders that hold the packages
    `strategy_runner` and `nautilus`. arguments: as in `strategy_runner/__main__.py`. Start it with an empty environment."""
    begin = _BEGIN.format(paths=[str(one) for one in paths])
    return [python, "-I", "-B", "-c", begin, *arguments]
