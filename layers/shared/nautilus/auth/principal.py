"""Callers, and the names and passwords that people may have. Rules alone, no I/O."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from nautilus.auth.scopes import ALL_ACCOUNTS
from nautilus.errors import Forbidden, InvalidInput

MAX_PASSWORD = 256
"""Characters; a longer one is refused before any work is done."""
MIN_PASSWORD = 12
"""Characters of a new password (NIST SP 800-63B asks for 8 at least, 15 where it is the only factor)."""

# ASCII alone: a Cyrillic a or a Kelvin sign would make two names that look, or in PostgreSQL's lower() become, the same.
_NAME = r"(?a)[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_EMAIL = r"(?a)[a-z0-9._%+-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+"
_MAX_EMAIL = 254


class Principal(NamedTuple):
    """A caller and what they may do.

    id: `user:<number>` (also when the user sends an API key) or `anonymous`; session: the sign-in this comes from, if
    any; key_id: the API key that was sent, or that the session was opened with. accounts: those at IB that they may use;
    `*`: all.
    """

    id: str
    name: str
    scopes: frozenset[str]
    session: str = ""
    key_id: int | None = None
    accounts: frozenset[str] = frozenset()

    @property
    def admin(self) -> bool:
        return "admin" in self.scopes

    @property
    def user_id(self) -> int:
        """The user's number; 0 for an anonymous caller."""
        return int(self.id.removeprefix("user:")) if self.id.startswith("user:") else 0

    @property
    def credential(self) -> str:
        """What the caller showed, for logs: `key:<number>`, `session:<id>` or nothing."""
        return f"key:{self.key_id}" if self.key_id is not None else f"session:{self.session}" if self.session else ""

    def may(self, scope: str) -> bool:
        return self.admin or scope in self.scopes

    def require(self, scope: str) -> None:
        """Forbidden, naming the scope, unless the caller has it."""
        if not self.may(scope):
            raise Forbidden(f"this needs the scope {scope}", code="missing-scope", extra={"scope": scope})

    def may_use(self, account: str) -> bool:
        """Whether the caller may see and use an account at IB, as far as their scopes go."""
        return self.admin or ALL_ACCOUNTS in self.accounts or account in self.accounts

    def require_account(self, account: str) -> None:
        """Forbidden, naming the account, unless the caller may use it."""
        if not self.may_use(account):
            raise Forbidden(
                f"you may not use the account {account}; an administrator can allow it",
                code="account-not-allowed",
                extra={"account": account},
            )

    def require_password_sign_in(self) -> None:
        """Forbidden for API keys and what was opened with one: a stolen key must not make itself more keys."""
        if not self.session or self.key_id is not None:
            raise Forbidden(
                "this needs a sign-in with name and password; an API key is not enough", code="password-sign-in-needed"
            )


class Client(NamedTuple):
    """Where a request comes from. address: an IP address as text, or `unknown`."""

    address: str
    user_agent: str = ""
    request_id: str = ""


def anonymous(scopes: Iterable[str]) -> Principal:
    return Principal("anonymous", "anonymous", frozenset(scopes))


def login_name(text: str) -> str | None:
    """The name or e-mail address as it is stored, or None when nobody can have such a name."""
    plain = text.strip().lower() if text.isascii() else ""
    return plain if re.fullmatch(_NAME, plain) or _is_email(plain) else None


def new_username(text: str) -> str:
    """A name that a new user may have; InvalidInput otherwise."""
    if not text.isascii() or not re.fullmatch(_NAME, text.lower()):
        raise InvalidInput.field(
            "username", "must be 1 to 64 letters a-z, digits, dots, hyphens or underscores, first and last no sign"
        )
    return text.lower()


def new_email(text: str) -> str:
    """An e-mail address that a new user may have; InvalidInput otherwise."""
    if not text.isascii() or not _is_email(text.lower()):
        raise InvalidInput.field("email", "must be an address such as someone@example.com, in ASCII")
    return text.lower()


def new_password(field: str, password: str, username: str) -> str:
    """A password that may be set; InvalidInput otherwise. The sentence never repeats it."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidInput.field(field, f"must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
    if "\x00" in password:
        raise InvalidInput.field(field, "must not hold a null character")
    if len(set(password)) < 5 or username in password.lower():
        raise InvalidInput.field(field, "is too easy to guess: use other characters, and not the name")
    return password


def _is_email(text: str) -> bool:
    return len(text) <= _MAX_EMAIL and re.fullmatch(_EMAIL, text) is not None
