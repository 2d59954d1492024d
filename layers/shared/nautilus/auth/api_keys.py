"""API keys: `nautilus_<prefix>_<secret>`. The prefix finds the row, the secret's hash decides.

SHA-256 without salt or repetition is right here: the secret has 192 random bits, so there is nothing to guess, and each
request has to check it.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

PREFIX = "nautilus_"
"""What every key begins with."""
_MAX_LENGTH = 100
_FORM = r"(?a)nautilus_([0-9a-f]{8})_[0-9a-f]{48}"


class ApiKey(NamedTuple):
    """A key as its holder has it; `hash` is all that is stored of it, beside the prefix."""

    text: str
    prefix: str
    hash: bytes

    def __repr__(self) -> str:
        return f"ApiKey(prefix={self.prefix!r})"


def new_key() -> ApiKey:
    found = parse(f"nautilus_{secrets.token_hex(4)}_{secrets.token_hex(24)}")
    assert found is not None  # noqa: S101  the form above is the form below
    return found


def parse(text: str) -> ApiKey | None:
    """The key in a header; None when it has not the form of one."""
    match = re.fullmatch(_FORM, text) if len(text) <= _MAX_LENGTH else None
    return ApiKey(text, match[1], hashlib.sha256(text.encode()).digest()) if match else None
