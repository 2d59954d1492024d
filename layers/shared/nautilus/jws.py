"""Signed text: compact JWS (RFC 7515) with Ed25519 (RFC 8037), in the one form that this system writes, and no other.

Algorithm, type and the fields of the header are constants, not what a token says of itself. Where the RFCs leave room
(padding, other encodings of the same bytes, more header fields) a token is refused. The tests hold it against PyJWT,
whose import is a seventh of a function's cold start (docs/decisions/0024-cold-start.md).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "EdDSA"
_HEADER = {"alg", "kid", "typ"}
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", re.ASCII)
_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What a SubjectPublicKeyInfo of this kind of key begins with, always (RFC 8410, section 4); the 32 bytes follow."""


class Invalid(Exception):
    """This is no text that one of our keys has signed."""


class UnknownKey(Invalid):
    """It names a key that is not ours."""


def sign(claims: Mapping[str, Any], key: Ed25519PrivateKey, *, kid: str, kind: str) -> str:
    """The claims as a signed token of that kind (`typ`)."""
    header = {"alg": ALGORITHM, "kid": kid, "typ": kind}
    signed = f"{_written(header)}.{_written(claims)}"
    return f"{signed}.{encoded(key.sign(signed.encode()))}"


def verify(token: str, keys: Mapping[str, Ed25519PublicKey], *, kind: str) -> dict[str, Any]:
    """The claims of a token of that kind, signed by the key that it names. Invalid when it is anything else.

    What the claims say (until when, for whom) is the caller's to check.
    """
    head, body, signature = _parts(token)
    header = _read(head)
    # No jwk, jku, x5c or crit: which key is right is for us to say, by its name alone.
    if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != kind:
        raise Invalid
    key = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
    if key is None:
        raise UnknownKey
    try:
        key.verify(_decoded(signature), head + b"." + body)
    except InvalidSignature:
        raise Invalid from None
    return _read(body)


def public_key(pem: str) -> Ed25519PublicKey:
    """An Ed25519 key of its PEM text. ValueError when it is none."""
    found = _PEM.fullmatch(pem)
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        der = b""
    if not der:
        raise ValueError("is not a PEM")
    if not der.startswith(_ED25519) or len(der) != len(_ED25519) + 32:
        raise ValueError("is not an Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(der[len(_ED25519) :])


def encoded(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _written(value: Mapping[str, Any]) -> str:
    return encoded(json.dumps(value, separators=(",", ":")).encode())


def _parts(token: str) -> tuple[bytes, bytes, bytes]:
    try:
        head, body, signature = token.encode("ascii").split(b".")
    except ValueError:  # other letters, or another number of parts
        raise Invalid from None
    return head, body, signature


def _decoded(part: bytes) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        raise Invalid from None
    if encoded(raw).encode() != part:  # the decoder leaves out what it does not know, and bits that are too many
        raise Invalid
    return raw


def _read(part: bytes) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part).decode())
    except (ValueError, RecursionError):
        raise Invalid from None
    if not isinstance(value, dict):
        raise Invalid
    return value
