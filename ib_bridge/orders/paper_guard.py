"""Whether the accounts of a connection may get orders: a live account needs two settings that agree.

Judged by the accounts that the gateway names on this very connection, each time it connects: somebody may have logged in as
another user.
"""

from collections.abc import Callable, Collection, Sequence

from nautilus.market.account_kind import account_kind

Mode = str
"""`off`, `paper` or `live`: NAUTILUS_ORDERS."""


def connection_refusal(mode: Mode, live_accounts: Collection[str], accounts: Sequence[str]) -> str | None:
    """Why no order may go over a connection with these accounts; None when orders may."""
    if mode == "off":
        return "orders are switched off (NAUTILUS_ORDERS=off)"
    try:
        kind = account_kind(accounts)
    except ValueError as problem:
        return f"{problem}; orders need accounts of one kind"
    if kind != "live":
        return None
    if mode != "live":
        return (
            f"the gateway manages live accounts ({', '.join(accounts)}), NAUTILUS_ORDERS is {mode}: no order goes there"
        )
    if not set(accounts) & set(live_accounts):
        return f"none of the live accounts {', '.join(accounts)} stands in NAUTILUS_LIVE_ACCOUNT: no order goes there"
    return None


def account_refusal(mode: Mode, live_accounts: Collection[str], accounts: Sequence[str], account: str) -> str | None:
    """Why an order of this account may not go over a connection with these accounts; None when it may."""
    if refusal := connection_refusal(mode, live_accounts, accounts):
        return refusal
    if account not in accounts:
        return f"the gateway does not manage the account {account}, only {', '.join(accounts)}"
    if account_kind([account]) == "live" and account not in live_accounts:
        return f"the live account {account} does not stand in NAUTILUS_LIVE_ACCOUNT"
    return None


class PaperGuard:
    """Both questions for the accounts of the present connection."""

    def __init__(self, mode: Mode, live_accounts: Collection[str], accounts: Callable[[], Sequence[str]]) -> None:
        self._mode = mode
        self._live_accounts = live_accounts
        self._accounts = accounts

    def refusal(self) -> str | None:
        """As `connection_refusal`."""
        return connection_refusal(self._mode, self._live_accounts, self._accounts())

    def account_refusal(self, account: str) -> str | None:
        """As the function of that name."""
        return account_refusal(self._mode, self._live_accounts, self._accounts(), account)
