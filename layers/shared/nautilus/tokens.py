"""Access tokens: JWTs signed with Ed25519, good for minutes, checked without asking anybody.

Only functions/auth holds the private key (nautilus/signing.py); all others check with the public keys (`KeySet`). A key
has a name, the `kid`: during a change of keys both names are known, so that tokens of either key are good.
"""

import re
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nautilus import jws
from nautilus.auth import SCOPES, Principal
from nautilus.errors import Unauthorized

TYPE = "at+jwt"
"""RFC 9068: nothing else that this key may sign one day passes for an access token."""
LEEWAY_S = 5
MAX_LIFE_S = 3_600
"""Longest life of an access token; what denies one may be forgotten after it."""
_MAX_TOKEN = 4_096
_TEXTS = ("iss", "aud", "sub", "jti", "sid", "scope")
_TIMES = ("exp", "iat", "nbf")
_SCOPES = frozenset(SCOPES)
_SUBJECT = r"(?a)user:[1-9]\d{0,18}"
_SESSION = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MAX_ID = 2**63 - 1
_MAX_NAME = 254


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
            claims = jws.verify(token, self._keys, kind=TYPE)
        except jws.UnknownKey:
            raise Unauthorized("the access token was signed by an unknown key", code="invalid-token") from None
        except jws.Invalid:
            raise _invalid() from None
        self._check(claims)
        return _principal(claims)

    def _check(self, claims: Mapping[str, Any]) -> None:
        """Unauthorized unless the claims are whole, meant for us and good at this moment (machine time)."""
        # The exact types that we write: True is no time, and a text is none either.
        whole = all(type(claims.get(name)) is str for name in _TEXTS) and all(
            type(claims.get(name)) is int for name in _TIMES
        )
        if not whole or (claims["iss"], claims["aud"]) != (self._issuer, self._audience):
            raise _invalid()
        if claims["exp"] - claims["iat"] > MAX_LIFE_S:
            raise _invalid()
        now_s = time.time()
        if max(claims["iat"], claims["nbf"]) > now_s + LEEWAY_S:
            raise _invalid()
        if claims["exp"] <= now_s - LEEWAY_S:
            raise Unauthorized("the access token has expired; refresh it or sign in again", code="expired-token")

    def jwks(self) -> dict[str, Any]:
        """The keys as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        return {"keys": [_jwk(kid, key) for kid, key in self._keys.items()]}

    def require(self, kid: str, public: Ed25519PublicKey) -> None:
        """ValueError unless the key of this name is this very key: what others cannot check must not be signed."""
        if kid not in self._keys or self._keys[kid].public_bytes_raw() != public.public_bytes_raw():
            raise ValueError(
                f"the signing key {kid!r} is not among NAUTILUS_TOKEN_PUBLIC_KEYS: publish its public half first"
            )


def _principal(claims: Mapping[str, Any]) -> Principal:
    """The caller whom the claims name, in the very forms that `Signer.sign` writes: numbers and ids go into the database."""
    subject, session, name, key_id = claims["sub"], claims["sid"], claims.get("name", ""), claims.get("key")
    known = (
        re.fullmatch(_SUBJECT, subject)
        and int(subject.removeprefix("user:")) <= _MAX_ID
        and re.fullmatch(_SESSION, session)
        and type(name) is str
        and len(name) <= _MAX_NAME
        and name.isprintable()  # neither a null character nor half a letter
        and (key_id is None or (type(key_id) is int and 0 < key_id <= _MAX_ID))
    )
    if not known:
        raise _invalid()
    scopes = frozenset(claims["scope"].split()) & _SCOPES
    return Principal(subject, name, scopes, session, key_id)


def _invalid() -> Unauthorized:
    return Unauthorized("the access token is not valid", code="invalid-token")


def _public_key(kid: str, pem: str) -> Ed25519PublicKey:
    try:
        return jws.public_key(pem)
    except ValueError as wrong:
        raise ValueError(f"the public key {kid!r} {wrong}") from None


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    x = jws.encoded(key.public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "alg": jws.ALGORITHM, "use": "sig"}
