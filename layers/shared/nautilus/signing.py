"""The private key of this moment: from a setting on one machine, from Secrets Manager in AWS. Only functions/auth.

The key may change while we run: the secret is read again every five minutes. A new key signs only when its public half
is among those that all functions know, so that an exchange done in the wrong order signs nobody out.
"""

import json
import threading
import time

from aws_lambda_powertools import Logger

from nautilus import secret_store
from nautilus.settings import AuthSettings
from nautilus.tokens import KeySet, Signer

READ_AGAIN_S = 300.0


class SigningKey:
    """Gives the `Signer`. Made once, at the start: ValueError or RuntimeError when there is no key that fits."""

    def __init__(self, settings: AuthSettings, keys: KeySet, log: Logger) -> None:
        self._settings = settings
        self._keys = keys
        self._log = log
        self._lock = threading.Lock()
        self._read_at = time.monotonic()
        self._signer = self._checked(self._read())

    def signer(self) -> Signer:
        if self._settings.token_private_key_arn:
            with self._lock:
                if time.monotonic() - self._read_at >= READ_AGAIN_S:
                    self._read_at = time.monotonic()
                    self._renew()
        return self._signer

    def _renew(self) -> None:
        try:
            self._signer = self._checked(self._read())
        except (ValueError, RuntimeError) as error:
            self._log.error("signing-key-kept", extra={"kid": self._signer.kid, "reason": str(error)})

    def _read(self) -> Signer:
        settings = self._settings
        kid, pem = settings.token_key_id, settings.token_private_key.get_secret_value()
        if settings.token_private_key_arn:
            kid, pem = _kid_and_pem(secret_store.read(settings.token_private_key_arn))
            settings.refuse_development_keys([kid])
        return Signer(kid, pem, issuer=settings.token_issuer, audience=settings.token_audience)

    def _checked(self, signer: Signer) -> Signer:
        if not self._keys.holds(signer.kid, signer.public):
            raise ValueError(
                f"the signing key {signer.kid!r} is not among NAUTILUS_TOKEN_PUBLIC_KEYS: publish its public half first"
            )
        return signer


def _kid_and_pem(secret: str) -> tuple[str, str]:
    try:
        found = json.loads(secret)
        return str(found["kid"]), str(found["private_key"])
    except (ValueError, KeyError, TypeError):
        raise ValueError("the secret must be a JSON object with kid and private_key") from None
