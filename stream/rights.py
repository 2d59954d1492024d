"""Who may have a channel: each needs a scope, and those of orders and fills the right to the account."""

from nautilus.auth.principal import Principal
from nautilus.errors import Forbidden
from nautilus.live.channels import FILLS, ORDERS, Channel

_SCOPES = {"events.session": "monitoring:read", ORDERS: "orders:read", FILLS: "orders:read"}


def refusal(caller: Principal, channel: Channel) -> Forbidden | None:
    """Why a caller may not have a channel: they lack its scope, or the right to its account; None: they may."""
    scope, account = _SCOPES.get(channel.kind, "bars:read"), channel.account
    if not caller.may(scope):
        return Forbidden(
            f"{channel.name}: this needs the scope {scope}",
            code="missing-scope",
            extra={"scope": scope, "channel": channel.name},
        )
    if not account or caller.may_use(account):
        return None
    own = sorted(caller.accounts)
    return Forbidden(
        f"{channel.name}: you may not use the account {account}; yours: {', '.join(own) or 'none'}",
        code="account-not-allowed",
        extra={"account": account, "accounts": own, "channel": channel.name},
    )
