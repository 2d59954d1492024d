"""Whether somebody runs strategies now, and if not, why."""

from collections.abc import Sequence

from nautilus.db.cursor import Cursor
from nautilus.db.strategies import hosts
from nautilus.db.strategies.hosts import SILENT_S, HostRow
from nautilus.errors import Unavailable

RETRY_S = 15


def able(found: Sequence[HostRow]) -> list[HostRow]:
    """The hosts that run strategies now."""
    return [one for one in found if not one.away and not one.problem]


def why_none(found: Sequence[HostRow]) -> str:
    """Why no host runs strategies; empty where one does."""
    if able(found):
        return ""
    if not found:
        return "no strategy host ever ran here; `make up` starts one where it finds a python3.13 (docs/strategies.md)"
    newest = found[0]
    if newest.away:
        return f"the strategy host {newest.host} gave no sign of life for {newest.silent_s:.0f} s ({SILENT_S} s are allowed)"
    return f"the strategy host {newest.host} cannot run strategies: {newest.problem}"


def require(cursor: Cursor) -> list[HostRow]:
    """The hosts that run strategies now; Unavailable with the reason where none does."""
    found = hosts.every_host(cursor)
    if why := why_none(found):
        raise Unavailable(why, code="no-strategy-host", retry_after_s=RETRY_S)
    return able(found)
