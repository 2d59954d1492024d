"""Access tokens: JWTs signed with Ed25519, good for minutes, checked without asking anybody.

Only functions/auth holds the private key (`Signer`); all others check with the public keys (`KeySet`). A key has a name,
the `kid`: during a change of keys both names are known, so that tokens of either key are good.
"""

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from nautilus.auth import SCOPES, Principal
from nautilus.errors import Unauthorized

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""RFC 9068: nothing else that this key may sign one day passes for an access token."""
LEEWAY_S = 5
MAX_LIFE_S = 3_600
"""Longest life of an access token; what denies one may be forgotten after it."""
_MAX_TOKEN = 4_096
_HEADER = {"alg", "kid", "typ"}
_CLAIMS = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "sid", "scope"]
_SCOPES = frozenset(SCOPES)


class KeySet:
    """The public keys, each by its `kid`, and what a token must say beside."""

    def __init__(self, pems: Mapping[str, str], *, issuer: str, audience: str) -> None:
        self._keys = {kid: _public_key(kid, pem) for kid, pem in pems.items()}
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str) -> Principal:
        """The caller behind an access token. Unauthorized says what is wrong with it, never more."""
        if len(token) > _MAX_TOKEN:
            raise _invalid()
        try:
            header = jwt.get_unverified_header(token)
            # No jwk, jku, x5c or crit: which key is right is for us to say, by its name alone.
            if set(header) != _HEADER or header["typ"] != TYPE:
                raise _invalid()
            key = self._keys.get(header["kid"])
            if key is None:
                raise Unauthorized("the access token was signed by an unknown key", code="invalid-token")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": _CLAIMS, "strict_aud": True},
            )
            return _principal(claims)
        except jwt.ExpiredSignatureError:
            raise Unauthorized(
                "the access token has expired; refresh it or sign in again", code="expired-token"
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _invalid() from None

    def jwks(self) -> dict[str, Any]:
        """The keys as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        return {"keys": [_jwk(kid, key) for kid, key in self._keys.items()]}

    def require(self, kid: str, public: Ed25519PublicKey) -> None:
        """ValueError unless the key of this name is this very key: what others cannot check must not be signed."""
        if kid not in self._keys or _raw(self._keys[kid]) != _raw(public):
            raise ValueError(
                f"the signing key {kid!r} is not among NAUTILUS_TOKEN_PUBLIC_KEYS: publish its public half first"
            )


@dataclass(frozen=True, slots=True)
class Access:
    """A new access token and how long it lives."""

    token: str
    expires_in_s: int


class Signer:
    """The private key, its name, and what goes into each token."""

    def __init__(self, kid: str, pem: str, *, issuer: str, audience: str) -> None:
        key = load_pem_private_key(pem.encode(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"the signing key {kid!r} is not an Ed25519 key")
        self.kid = kid
        self._key = key
        self._issuer = issuer
        self._audience = audience

    @property
    def public(self) -> Ed25519PublicKey:
        return self._key.public_key()

    def sign(
        self,
        *,
        user_id: int,
        name: str,
        scopes: Iterable[str],
        session: str,
        key_id: int | None,
        now_s: int,
        expires_s: int,
    ) -> Access:
        """An access token for a user; times in whole seconds since the epoch, machine time."""
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": f"user:{user_id}",
            "name": name,
            "scope": " ".join(sorted(scopes)),
            "sid": session,
            "iat": now_s,
            "nbf": now_s,
            "exp": expires_s,
            "jti": secrets.token_urlsafe(16),
        }
        if key_id is not None:
            claims["key"] = key_id
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.kid, "typ": TYPE})
        return Access(token, expires_s - now_s)


def _principal(claims: Mapping[str, Any]) -> Principal:
    key_id = claims.get("key")
    if not isinstance(claims["scope"], str) or not isinstance(claims["sid"], str) or not claims["sid"]:
        raise _invalid()
    return Principal(
        str(claims["sub"]),
        str(claims.get("name", "")),
        frozenset(claims["scope"].split()) & _SCOPES,
        claims["sid"],
        None if key_id is None else int(key_id),
    )


def _invalid() -> Unauthorized:
    return Unauthorized("the access token is not valid", code="invalid-token")


def _public_key(kid: str, pem: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        raise ValueError(f"the public key {kid!r} is not a PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"the public key {kid!r} is not an Ed25519 key")
    return key


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    x = base64.urlsafe_b64encode(_raw(key)).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "alg": ALGORITHM, "use": "sig"}
