"""Access tokens: JWTs signed with Ed25519, good for minutes, checked without asking anybody.

Only functions/auth holds the private key (nautilus/auth/tokens/sign.py); all others check with the public keys (`KeySet`). A key
has a name, the `kid`: during a change of keys both names are known, so that tokens of either key are good.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from nautilus.auth.principal import Principal
from nautilus.auth.scopes import SCOPES
from nautilus.errors import Unauthorized

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
"""RFC 9068: nothing else that this key may sign one day passes for an access token."""
_HEADER = {"alg", "kid", "typ"}
LEEWAY_S = 5
MAX_LIFE_S = 3_600
"""Longest life of an access token; what denies one may be forgotten after it."""
_MAX_TOKEN = 4_096
_TEXTS = ("iss", "aud", "sub", "jti", "sid", "scope")
_TIMES = ("exp", "iat", "nbf")
_SCOPES = frozenset(SCOPES)
_NO_TOKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What PyJWT and the JSON in a token raise for what is no token of ours, the signed ones among it."""
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
        key = self._key_of(token)
        try:
            claims = self._decoded(token, key)
        except jwt.ExpiredSignatureError:
            _check(self._decoded(token, key, verify_exp=False))
            raise Unauthorized(
                "the access token has expired; refresh it or sign in again", code="expired-token"
            ) from None
        _check(claims)
        return _principal(claims)

    def _decoded(self, token: str, key: Ed25519PublicKey, *, verify_exp: bool = True) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": [*_TEXTS, *_TIMES], "strict_aud": True, "verify_exp": verify_exp},
            )
        except jwt.ExpiredSignatureError:
            raise
        except _NO_TOKEN:
            raise _invalid() from None

    def _key_of(self, token: str) -> Ed25519PublicKey:
        """The key that the token names in a header of just our form.

        No jwk, jku, x5c or crit: which key is right is for us to say, by its name alone.
        """
        try:
            header = jwt.get_unverified_header(token)
            ours = (
                set(header) == _HEADER and (header["alg"], header["typ"]) == (ALGORITHM, TYPE) and _has_one_form(token)
            )
        except _NO_TOKEN:
            raise _invalid() from None
        if not ours:
            raise _invalid()
        key = self._keys.get(header["kid"]) if isinstance(header["kid"], str) else None
        if key is None:
            raise Unauthorized("the access token was signed by an unknown key", code="invalid-token")
        return key

    def jwks(self) -> dict[str, Any]:
        """The keys as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        return {"keys": [_jwk(kid, key) for kid, key in self._keys.items()]}

    def require(self, kid: str, public: Ed25519PublicKey) -> None:
        """ValueError unless the key of this name is this very key: what others cannot check must not be signed."""
        if kid not in self._keys or self._keys[kid].public_bytes_raw() != public.public_bytes_raw():
            raise ValueError(
                f"the signing key {kid!r} is not among NAUTILUS_TOKEN_PUBLIC_KEYS: publish its public half first"
            )


def _check(claims: Mapping[str, Any]) -> None:
    """Unauthorized unless the claims are of the exact types that we write (True is no time, and a text is none either) and
    the token lives no longer than what may deny it is kept."""
    whole = all(type(claims[name]) is str for name in _TEXTS) and all(type(claims[name]) is int for name in _TIMES)
    if not whole or claims["exp"] - claims["iat"] > MAX_LIFE_S:
        raise _invalid()


def _has_one_form(token: str) -> bool:
    """True when each part is written as its bytes are encoded: a decoder leaves out padding, letters that it does not know
    and bits that are too many, and would take several texts for one token."""
    return all(_encoded(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) == part for part in token.split("."))


def _principal(claims: Mapping[str, Any]) -> Principal:
    """The caller whom the claims name, in the very forms that `Signer.sign` writes: numbers and ids go into the database."""
    subject, session, name, key_id = claims["sub"], claims["sid"], claims.get("name", ""), claims.get("key")
    accounts = claims.get("accounts", "")  # a token of before there were accounts has none
    known = (
        re.fullmatch(_SUBJECT, subject)
        and int(subject.removeprefix("user:")) <= _MAX_ID
        and re.fullmatch(_SESSION, session)
        and type(name) is str
        and len(name) <= _MAX_NAME
        and name.isprintable()  # neither a null character nor half a letter
        and type(accounts) is str
        and (key_id is None or (type(key_id) is int and 0 < key_id <= _MAX_ID))
    )
    if not known:
        raise _invalid()
    scopes = frozenset(claims["scope"].split()) & _SCOPES
    return Principal(subject, name, scopes, session, key_id, frozenset(accounts.split()))


def _invalid() -> Unauthorized:
    return Unauthorized("the access token is not valid", code="invalid-token")


def _public_key(kid: str, pem: str) -> Ed25519PublicKey:
    """ValueError, in words that name the key, when the text is no Ed25519 key in PEM."""
    try:
        key = load_pem_public_key(pem.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"the public key {kid!r} is not a PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"the public key {kid!r} is not an Ed25519 key")
    return key


def _encoded(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _jwk(kid: str, key: Ed25519PublicKey) -> dict[str, str]:
    x = _encoded(key.public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x, "alg": ALGORITHM, "use": "sig"}
