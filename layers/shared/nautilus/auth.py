"""Who is calling, and what they may do: scopes, access tokens, passwords.

Access tokens are JWTs signed with Ed25519. Only functions/auth holds the private key; all others get the public keys.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt

from nautilus.clock import NS_PER_S
from nautilus.errors import Forbidden, Unauthorized

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
ALGORITHM = "EdDSA"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller: `user:<id>`, `key:<id>` or `anonymous`, and what they may do."""

    id: str
    name: str
    scopes: frozenset[str]
    token_id: str = ""

    @property
    def admin(self) -> bool:
        return "admin" in self.scopes

    def may(self, scope: str) -> bool:
        return self.admin or scope in self.scopes

    def require(self, scope: str) -> None:
        """Forbidden, naming the scope, unless the caller has it."""
        if not self.may(scope):
            raise Forbidden(f"this needs the scope {scope}", code="missing-scope", extra={"scope": scope})


def anonymous(scopes: Iterable[str]) -> Principal:
    return Principal("anonymous", "anonymous", frozenset(scopes))


def sign(
    private_key: str,
    key_id: str,
    *,
    user_id: int,
    name: str,
    scopes: Iterable[str],
    issuer: str,
    audience: str,
    now_ns: int,
    minutes: int,
) -> str:
    """An access token for a user, good for `minutes` from `now_ns` (machine time)."""
    issued = now_ns // NS_PER_S
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": f"user:{user_id}",
        "name": name,
        "scope": " ".join(scopes),
        "iat": issued,
        "nbf": issued,
        "exp": issued + minutes * 60,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, private_key, algorithm=ALGORITHM, headers={"kid": key_id})


def verify(token: str, public_keys: Mapping[str, str], *, issuer: str, audience: str) -> Principal:
    """The caller behind an access token. Unauthorized says what is wrong with it, never more."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = public_keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise Unauthorized("the access token was signed by an unknown key", code="invalid-token")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=audience,
            leeway=5,
            options={"require": ["iss", "aud", "sub", "exp", "iat", "jti", "scope"]},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthorized("the access token has expired; sign in again", code="expired-token") from None
    except jwt.PyJWTError:
        raise Unauthorized("the access token is not valid", code="invalid-token") from None
    scopes = frozenset(str(claims["scope"]).split()) & frozenset(SCOPES)
    return Principal(str(claims["sub"]), str(claims.get("name", "")), scopes, str(claims["jti"]))


@cache
def _hasher() -> Any:
    # Imported here: only functions/auth hashes, the other functions need not pay for it.
    from argon2 import PasswordHasher

    return PasswordHasher()


def hash_password(password: str) -> str:
    """Argon2id with the library's parameters (RFC 9106, low-memory profile)."""
    return str(_hasher().hash(password))


@cache
def _decoy() -> str:
    return hash_password(secrets.token_urlsafe(16))


def check_password(password: str, password_hash: str | None) -> bool:
    """True when the password fits. Without a hash (unknown user) the same work is done, so time tells nothing."""
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        return bool(_hasher().verify(password_hash or _decoy(), password)) and password_hash is not None
    except (Argon2Error, InvalidHashError):
        return False
