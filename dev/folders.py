"""Data folders, one per source, each used by one stack at a time. `python -m dev.folders` (make clean) removes them."""

import argparse
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev.process import StartError


@contextmanager
def in_use(folder: Path) -> Iterator[int]:
    """Make the folder if need be and hold it; yields the lock's file descriptor. StartError when somebody holds it, or it
    cannot be made or written."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except (FileExistsError, NotADirectoryError) as error:
        raise StartError(f"{error.filename} is no folder: take another one (DATA=...)") from None
    except OSError as error:
        raise StartError(f"{folder} cannot be used: {error.strerror}; take another folder (DATA=...)") from None
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"another stack uses {folder}, or is just ending: stop it first, or take another folder (DATA=...)"
            ) from None
        yield lock.fileno()


def held(folder: Path) -> bool:
    """Whether a stack uses the folder now. The lock is tried briefly."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def main() -> int:
    options = argparse.ArgumentParser("make clean", description="Remove what make demo and make up have stored.")
    options.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    data: Path = options.parse_args().data
    try:
        # Only what a stack has made: DATA may name a folder with other things in it.
        for lock in sorted(data.glob("*/lock")):
            with in_use(lock.parent):
                shutil.rmtree(lock.parent)
            print(f"removed {lock.parent}")
    except StartError as error:
        print(f"not removed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
