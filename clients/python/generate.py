"""Writes what is made of the tree of commands: the help text and the completions for shells. Needs shtab.

python generate.py           # writes them
python generate.py --check   # status 1 when they are not those of the tree
"""

import os
import sys
from pathlib import Path

import shtab

from nautilus_client.cli.tree import parser_of

TEXTS = Path(__file__).parent / "nautilus_client" / "texts"


def texts() -> dict[str, str]:
    """File -> its text."""
    os.environ["COLUMNS"] = "100"
    made = {"help.txt": parser_of("").format_help()}
    for shell in ("bash", "zsh", "tcsh"):
        made[f"nautilus.{shell}"] = shtab.complete(parser_of(), shell=shell)
    return made


def main() -> int:
    found = {name: path.read_text() if (path := TEXTS / name).exists() else "" for name in texts()}
    if "--check" in sys.argv:
        stale = [name for name, text in texts().items() if found[name] != text]
        print(*(f"{name} is not that of the tree: python generate.py" for name in stale), sep="\n")
        return 1 if stale else 0
    for name, text in texts().items():
        (TEXTS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
