"""Makes an administrator of the stack that runs below the data folder (make admin), or gives one a new password."""

if __name__ == "__main__":  # first: what follows takes half a second, in which somebody may press Ctrl-C
    from dev.launch import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.environment import drop_foreign
from dev.folders import held
from dev.launch import INTERRUPTED, unwind_on_interrupt
from dev.postgres import PASSWORD_FILE, running
from dev.process import StartError
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import ROLES
from nautilus.db.connection import Database
from nautilus.db.migrate import is_current
from nautilus.errors import NautilusError


def main() -> int:
    options = argparse.ArgumentParser("make admin", description=__doc__)
    options.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    options.add_argument("--name", default="admin", help="name of the administrator (default: admin)")
    arguments = options.parse_args()
    try:
        unwind_on_interrupt()
        drop_foreign()
        password = secrets.token_urlsafe(18)
        for folder, url in running_databases(arguments.data):
            make_admin(url, arguments.name, password)
            print(f"{arguments.name} is an administrator of {folder}")
    except (StartError, NautilusError, OSError) as error:
        print(f"no administrator was made: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    print(f"password: {password}\nIt is not shown again. Sign in with it and change it: POST /api/v1/auth/password")
    return 0


def make_admin(url: str, name: str, password: str) -> None:
    """Make an administrator, or give one that password. StartError while the database has not this version's schema."""
    if not is_current(url):
        raise StartError("the database has not this version's schema: make up is just starting, or has to start anew")
    database = Database(url, name="nautilus-admin", size=1)
    put_user(database, Passwords(), username=name, password=password, scopes=ROLES["admin"], reason="make admin")
    database.close()


def running_databases(data: Path) -> list[tuple[Path, str]]:
    """Folder and URL of each database that runs in a folder of `data`. StartError when none does, or one just starts."""
    arguments = list(databases(data))
    if not arguments:
        starting = [str(lock.parent) for lock in data.glob("*/lock") if held(lock.parent)]
        if starting:
            raise StartError(f"{', '.join(starting)}: it is just starting; try again in a moment")
        raise StartError(f"nothing runs in {data}: start it (make up), then do this again")
    return arguments


def databases(data: Path) -> Iterator[tuple[Path, str]]:
    """Folder and URL of each database that runs in a folder of `data`."""
    for folder in sorted(path.parent for path in data.glob(f"*/{PASSWORD_FILE}")):
        url = running(folder)
        if url is not None:
            yield folder, url


if __name__ == "__main__":
    sys.exit(main())
