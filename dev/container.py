"""The API in a container (infra/compose.yaml): keys and a first user are made at the first start and kept in a volume.

`serve` serves it. `sam-env` makes the same keys and user, and prints the settings of the functions for `sam local`,
which then stand in for this container. `admin` makes an administrator, and shows the password once.
"""

import argparse
import json
import os
from pathlib import Path

from dev import local_api
from dev.credentials import password_of, token_settings
from functions.auth.app import make_admin
from nautilus.auth.accounts.users import put_user
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import ROLES
from nautilus.db.connection import Database
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings
from nautilus.settings.base import load

DATA = Path("/data")
USERNAME = ROLE = "trader"
PORT = 8001
PUBLIC_KEYS = "token-public-keys.json"
# What `sam local` passes on: only what the template declares reaches a function.
_PASSED_ON = ("NAUTILUS_", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def prepare(folder: Path = DATA) -> AuthSettings:
    """The settings, with the keys in `folder`; the first user exists and has the password kept there."""
    keys = token_settings(folder)
    os.environ.update(keys)
    # For the container of the stream, which checks tokens and makes none.
    (folder / PUBLIC_KEYS).write_text(keys["NAUTILUS_TOKEN_PUBLIC_KEYS"])
    settings = load(AuthSettings)
    database = Database(settings.database_url.get_secret_value(), name="nautilus-prepare", size=1)
    password = password_of(folder / f"{USERNAME}.password")
    put_user(database, Passwords(), username=USERNAME, password=password, scopes=ROLES[ROLE], reason="container start")
    database.close()
    return settings


def main() -> None:
    options = argparse.ArgumentParser("python -m dev.container", description=__doc__)
    options.add_argument("command", choices=("serve", "sam-env", "admin"))
    options.add_argument("--name", default="admin", help="name of the administrator (default: %(default)s)")
    arguments = options.parse_args()
    command: str = arguments.command
    settings = prepare()
    if command == "serve":
        local_api.serve(settings, PORT)
    elif command == "admin":
        made = make_admin(Services(settings, "api"), {"username": arguments.name})
        print(f"{made['username']} is an administrator\npassword: {made['password']}\nIt is not shown again.")
    else:
        passed_on = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        print(json.dumps({"Parameters": {**passed_on, "NAUTILUS_DATABASE_POOL": "1"}}, indent=1))


if __name__ == "__main__":
    main()
