"""Scopes, and roles as names of usual sets of them. Rules alone, no I/O."""

from collections.abc import Iterable

from nautilus.errors import InvalidInput

SCOPES: tuple[str, ...] = (
    "bars:read",
    "backfill:write",
    "monitoring:read",
    "session:write",
    "orders:read",
    "orders:write",
    "admin",
)
"""All scopes there are. `admin` includes every other."""
USER_SCOPES: tuple[str, ...] = ("bars:read", "backfill:write", "monitoring:read")
"""What a new user gets unless told otherwise."""
ROLES: dict[str, tuple[str, ...]] = {
    "viewer": ("bars:read", "monitoring:read"),
    "analyst": USER_SCOPES,
    "trader": (*USER_SCOPES, "session:write", "orders:read", "orders:write"),
    "admin": ("admin",),
}
"""Names of usual sets of scopes. Stored are the scopes."""


def key_scopes(user_scopes: Iterable[str], granted: Iterable[str]) -> frozenset[str]:
    """What a key may do: what it was granted, as long as its user may do so too."""
    owned, given = frozenset(user_scopes), frozenset(granted)
    return given if "admin" in owned else given & owned


def role_of(scopes: Iterable[str]) -> str | None:
    """The role with exactly these scopes."""
    wanted = frozenset(scopes)
    return next((role for role, given in ROLES.items() if frozenset(given) == wanted), None)


def checked_scopes(field: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes in their usual order; InvalidInput for one that does not exist."""
    wanted = frozenset(scopes)
    if not wanted <= frozenset(SCOPES):
        raise InvalidInput.field(field, f"{sorted(wanted - frozenset(SCOPES))[0]!r} is not a scope", SCOPES)
    return tuple(scope for scope in SCOPES if scope in wanted)
