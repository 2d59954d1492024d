"""Where a database URL leads, read as libpq reads it: by its query before its host, and by the PG* variables beside it.

`postgresql://x@127.0.0.1/store?host=db.example.com` goes to db.example.com; so does a URL without a host where PGHOST
says so. What is checked must be what connects, so libpq's own parser decides.
https://www.postgresql.org/docs/current/libpq-connect.html, https://www.postgresql.org/docs/current/libpq-envars.html
"""

import ipaddress
from collections.abc import Mapping
from itertools import zip_longest

TLS_MODES = ("verify-full", "verify-ca", "require")
_DEFAULT_PASSWORDS = ("", "nautilus", "postgres", "password", "changeme", "secret", "admin", "test")
_VARIABLES = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPASSWORD": "password",
    "PGSSLMODE": "sslmode",
    "PGSERVICE": "service",
}
"""Variables that libpq takes for what a URL leaves out, as far as they say where it connects, and how."""


def effective(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    """libpq's parameters of a URL, those that it takes from the environment included. ValueError when it refuses the URL;
    the sentence does not repeat it, as it holds a password."""
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        given: dict[str, str] = parse_dsn(url)
    except ProgrammingError:
        raise ValueError("is not a URL that PostgreSQL's client library can read") from None
    beside = {name: environment[variable] for variable, name in _VARIABLES.items() if variable in environment}
    return beside | given


def addresses(parameters: Mapping[str, str]) -> list[str]:
    """The hosts that libpq would try, in turn; an empty one, or a path, is a socket of this machine. `hostaddr` wins."""
    hosts, numbers = (parameters.get(name, "").split(",") for name in ("host", "hostaddr"))
    return [number.strip() or host.strip() for host, number in zip_longest(hosts, numbers, fillvalue="")]


def on_this_machine(host: str) -> bool:
    """Whether a host of `addresses` is this very machine."""
    if not host or host.startswith(("/", "@")) or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_safe(name: str, url: str, environment: Mapping[str, str]) -> None:
    """ValueError when a database would be reached with a password that anybody guesses, or in the clear, or when nobody
    can say which it is."""
    try:
        found = effective(url, environment)
    except ValueError as wrong:
        raise ValueError(f"{name} {wrong}") from None
    if found.get("service"):
        raise ValueError(
            f"{name}, or PGSERVICE, names a service of a file, which may lead anywhere: when deployed the URL says it all"
        )
    if found.get("password", "").lower() in _DEFAULT_PASSWORDS:
        raise ValueError(f"the password in {name} is empty or a default one: refused when deployed")
    mode = found.get("sslmode", "prefer")
    if mode not in TLS_MODES and not all(map(on_this_machine, addresses(found))):
        raise ValueError(
            f"{name} has sslmode={mode}: when deployed it must be {', '.join(TLS_MODES)} (the first checks"
            " whose server it is), unless the database is on the same machine"
        )
