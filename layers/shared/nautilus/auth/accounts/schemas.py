"""What the sign-in routes are sent. Fields that are not named here are refused: nobody gets a scope by adding one."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from nautilus.auth.principal import MAX_PASSWORD, MIN_PASSWORD
from nautilus.auth.scopes import MAX_ACCOUNTS, ROLES, SCOPES
from nautilus.clock import datetime_of, parse_rfc3339
from nautilus.http.json_values import Flag


def _storable(text: str) -> str:
    # Neither goes into PostgreSQL, and half a surrogate pair not even into bytes.
    if "\x00" in text:
        raise ValueError("must not hold a null character")
    _no_half_letter(text)
    return text


def _no_half_letter(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text, without halves of surrogate pairs") from None


def _encodable(secret: SecretStr) -> SecretStr:
    _no_half_letter(secret.get_secret_value())
    return secret


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time such as 2030-01-05T14:30:00Z")
    return datetime_of(parse_rfc3339(value))


Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, AfterValidator(_storable)]
Secret = Annotated[SecretStr, AfterValidator(_encodable)]
Password = Annotated[Secret, Field(min_length=1, max_length=MAX_PASSWORD)]
NewPassword = Annotated[Secret, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]
Scopes = Annotated[list[str], Field(max_length=len(SCOPES), description=", ".join(SCOPES))]
Accounts = Annotated[
    list[Annotated[str, Field(max_length=32)]],
    Field(max_length=MAX_ACCOUNTS, description="accounts at IB by name, or * for all"),
]
Role = Annotated[str, Field(description=", ".join(ROLES))]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Email = Annotated[Text, Field(min_length=3, max_length=254)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Login(_Body):
    """A user's name (or e-mail address) and password; or an API key."""

    username: Name | None = None
    password: Password | None = None
    api_key: Annotated[Secret, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Login":
        by_password = self.username is not None and self.password is not None
        if by_password == (self.api_key is not None) or (self.username is None) != (self.password is None):
            raise ValueError("send username and password, or api_key alone")
        return self


class Refresh(_Body):
    """A refresh token; without one the cookie counts."""

    refresh_token: Annotated[Secret, Field(max_length=200)] | None = None


class PasswordChange(_Body):
    current_password: Password
    new_password: NewPassword


class NewKey(_Body):
    """An API key to be made. Without scopes it may do what its user may, without accounts use those that its user may;
    without expires_at it does not expire."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    scopes: Annotated[Scopes, Field(min_length=1)] | None = None
    accounts: Accounts | None = None
    expires_at: Moment | None = Field(None, description="RFC 3339 with offset")


class NewUser(_Body):
    """A user to be made, with a role or with scopes; the role `analyst` without either. Without accounts they may use none."""

    username: Annotated[Text, Field(min_length=1, max_length=64)]
    email: Email | None = None
    password: NewPassword
    role: Role | None = None
    scopes: Scopes | None = None
    accounts: Accounts | None = None


class UserChange(_Body):
    """What to change in a user; what is missing stays."""

    email: Email | None = None
    password: NewPassword | None = None
    role: Role | None = None
    scopes: Scopes | None = None
    accounts: Accounts | None = None
    is_active: Flag | None = None
