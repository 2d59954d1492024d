"""The private half of access tokens: only functions/auth imports this."""

import secrets
from collections.abc import Iterable
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from nautilus.auth.tokens.verify import ALGORITHM, TYPE


class Access(NamedTuple):
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
        accounts: Iterable[str] = (),
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
            "accounts": " ".join(sorted(accounts)),
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
