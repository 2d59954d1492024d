"""What functions/auth reads."""

from pydantic import Field, SecretStr, model_validator

from nautilus.settings.api import ApiSettings


class AuthSettings(ApiSettings):
    """What only functions/auth reads: it alone may sign."""

    token_private_key: SecretStr = Field(description="Ed25519 private key (PEM) that signs access tokens")
    token_key_id: str = Field(description="`kid` of that key")
    token_minutes: int = Field(15, ge=1, le=60, description="life of an access token")
    refresh_days: int = Field(7, ge=1, le=90, description="life of a refresh token that is not used")
    session_days: int = Field(30, ge=1, le=365, description="longest life of a session, however often refreshed")
    refresh_grace_s: float = Field(
        45.0, ge=0, le=120, description="for how long a client that lost the answer may repeat a refresh"
    )

    @model_validator(mode="after")
    def _no_development_key_when_deployed(self) -> "AuthSettings":
        self._refuse_development_keys([self.token_key_id])
        return self
