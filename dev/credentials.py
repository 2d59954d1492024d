"""Keys and passwords of a local stack: random, made at the first start, kept in its data folder for this user only."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from nautilus.settings.api import DEVELOPMENT_KEY


def password_of(file: Path) -> str:
    """The password kept in that file, 192 random bits; made when there is none."""
    return _kept(file, lambda: secrets.token_urlsafe(24) + "\n").strip()


def token_settings(folder: Path, *, kid_prefix: str = DEVELOPMENT_KEY) -> Mapping[str, str]:
    """The settings of the key pair that signs access tokens; its private half lies in `folder`."""
    private = _kept(folder / "token-key.pem", new_private_key)
    pem = public_pem(private)
    kid = kid_prefix + hashlib.sha256(pem.encode()).hexdigest()[:8]
    return {
        "NAUTILUS_TOKEN_PRIVATE_KEY": private,
        "NAUTILUS_TOKEN_KEY_ID": kid,
        "NAUTILUS_TOKEN_PUBLIC_KEYS": json.dumps({kid: pem}),
    }


def public_pem(private_pem: str) -> str:
    """The public half of a private key, both PEM."""
    public = load_pem_private_key(private_pem.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def new_private_key() -> str:
    """An Ed25519 key of its own, PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _kept(file: Path, make: Callable[[], str]) -> str:
    """The file's text; made, whole or not at all, when there is none."""
    if not file.exists():
        new = file.with_name(file.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            output.write(make())
        new.rename(file)
    return file.read_text()
