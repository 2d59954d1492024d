"""Makes an administrator of the stack that runs below the data folder (make admin), or gives one a new password."""

import argparse
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.postgres import PASSWORD_FILE, running
from nautilus.auth import ROLES
from nautilus.db.connection import Database
from nautilus.errors import NautilusError
from nautilus.passwords import Passwords
from nautilus.sign_in import put_user


def main() -> int:
    options = argparse.ArgumentParser("make admin", description=__doc__)
    options.add_argument("--data", type=Path, default=Path(".data"), help="folder of all local data (default: .data)")
    options.add_argument("--name", default="admin", help="name of the administrator (default: admin)")
    told = options.parse_args()
    password = secrets.token_urlsafe(18)
    found = False
    try:
        for folder, url in databases(told.data):
            found = True
            database = Database(url, name="nautilus-admin", size=1)
            put_user(database, Passwords(), told.name, password, ROLES["admin"], reason="make admin")
            database.close()
            print(f"{told.name} is an administrator of {folder}")
    except NautilusError as error:
        print(f"no administrator was made: {error.detail}", file=sys.stderr)
        return 1
    if not found:
        print(f"nothing runs in {told.data}: start it (make up), then do this again", file=sys.stderr)
        return 1
    print(f"password: {password}\nIt is not shown again. Sign in with it and change it: POST /api/v1/auth/password")
    return 0


def databases(data: Path) -> Iterator[tuple[Path, str]]:
    """Folder and URL of each database that runs in a folder of `data`."""
    for folder in sorted(path.parent for path in data.glob(f"*/{PASSWORD_FILE}")):
        url = running(folder)
        if url is not None:
            yield folder, url


if __name__ == "__main__":
    sys.exit(main())
