"""`nautilus doctor`: what works, and what does not."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from nautilus_client import __version__, cli, profiles, routes
from nautilus_client.cli.context import Context
from nautilus_client.errors import NautilusError

LIBRARIES = {"pandas": "pandas", "polars": "polars", "pyarrow": "arrow", "duckdb": "duckdb", "mplfinance": "plot"}
CLOCK_S = 5.0
"""A clock that is further off makes `--last` and keys that expire behave strangely."""


class Finding(NamedTuple):
    """state: ok, warn or fail."""

    state: str
    text: str


def doctor(context: Context) -> int:
    found = [finding for check in (_machine, _path, _settings, _server) for finding in check(context)]
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    context.emit([one._asdict() for one in found], "\n".join(f"{marks[one.state]}  {one.text}" for one in found))
    return cli.FAILED if any(one.state == "fail" for one in found) else cli.OK


def _machine(context: Context) -> Iterator[Finding]:
    yield Finding("ok", f"nautilus-client {__version__}, Python {sys.version.split()[0]}")
    there = [name for name in LIBRARIES if find_spec(name)]
    absent = [f"{name} (extra {LIBRARIES[name]})" for name in LIBRARIES if name not in there]
    yield Finding(
        "ok", f"libraries: {', '.join(there) or 'none'}" + (f"; not installed: {', '.join(absent)}" if absent else "")
    )


def _path(context: Context) -> Iterator[Finding]:
    """Whether the command `nautilus` is this one: GNOME's files and another trading platform have that name, too."""
    first = shutil.which("nautilus")
    ours = Path(sys.executable).parent / "nautilus"
    if first is None:
        yield Finding(
            "warn",
            f"the command nautilus is not in PATH; {ours} is this one" if ours.exists() else "nautilus is not in PATH",
        )
    elif not _is_ours(Path(first)):
        yield Finding("warn", f"another program named nautilus comes first in PATH ({first}): use nautilus-md")
    else:
        yield Finding("ok", f"nautilus is {first}")


def _is_ours(path: Path) -> bool:
    try:
        return b"nautilus_client" in path.read_bytes()[:4_096]
    except OSError:
        return False


def _settings(context: Context) -> Iterator[Finding]:
    where = profiles.folder()
    secrets = where / profiles.SECRETS
    if secrets.exists():
        try:
            profiles.check_mode(secrets)
            yield Finding("ok", f"{secrets} is yours alone")
        except NautilusError as error:
            yield Finding("fail", str(error))
    proxies = sorted(name for name in os.environ if name.lower() in ("http_proxy", "https_proxy"))
    if proxies:
        yield Finding("ok", f"requests go through the proxy of {', '.join(proxies)}")


def _server(context: Context) -> Iterator[Finding]:
    try:
        connection = context.client._connection
    except NautilusError as error:
        yield Finding("fail", str(error))
        return
    chosen = connection.settings
    named = f"profile {chosen.profile}" if chosen.profile else "no profile"
    key = profiles.shortened(chosen.key) or "no key"
    try:
        answer = connection.transport.send(routes.request("me"))
    except NautilusError as error:
        yield Finding("fail", f"{named}: {error}")
        return
    if not answer.ok:
        yield Finding("fail", f"{named}, {key}: {answer.error()}")
        return
    me = answer.record()
    yield Finding(
        "ok", f"{named}, {key}, {me.get('username') or me.get('name') or ''}: {', '.join(me.get('scopes') or ())}"
    )
    yield _clock(answer.headers.get("date"))
    yield from _session(context.client.session)


def _clock(date: str | None) -> Finding:
    if date is None:
        return Finding("warn", "the server names no time: its clock cannot be compared")
    off = abs(time.time() - parsedate_to_datetime(date).timestamp())
    return Finding("ok" if off < CLOCK_S else "warn", f"clock {off:.0f} s off")


def _session(read: Callable[[], object]) -> Iterator[Finding]:
    try:
        found = read()
    except NautilusError as error:
        yield Finding("warn", f"the session with Interactive Brokers: {error}")
        return
    assert isinstance(found, dict)  # noqa: S101  for the type checker
    good = found["state"] == "connected"
    yield Finding(
        "ok" if good else "warn",
        f"session with Interactive Brokers: {found['state']} {found.get('reason') or ''}".rstrip(),
    )
