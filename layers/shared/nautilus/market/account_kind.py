"""What kind of accounts a login of Interactive Brokers manages: real money, paper, or the simulator's."""

import re
from collections.abc import Sequence
from typing import Literal

AccountKind = Literal["live", "paper", "simulator"]


def account_kind(accounts: Sequence[str]) -> AccountKind:
    """The kind of all managed accounts together. ValueError where there is none, or where they are of several kinds.

    Paper accounts begin with DU, or DF where an advisor has them (IB's account names); the simulator's are SIM<digits>, or
    SIMR<hex digits> of a replayed file. Every other name may be real money.
    """
    kinds = {_kind(account) for account in accounts}
    if len(kinds) > 1:
        raise ValueError(f"the accounts {', '.join(accounts)} are of several kinds: {', '.join(sorted(kinds))}")
    if not kinds:
        raise ValueError("there is no account")
    return kinds.pop()


def _kind(account: str) -> AccountKind:
    if re.fullmatch(r"SIM\d+|SIMR[0-9a-f]+", account):
        return "simulator"
    return "paper" if account.startswith(("DU", "DF")) else "live"
