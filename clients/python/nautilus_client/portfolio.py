"""The portfolio: accounts, cash, positions, executions, profit. What nobody knows is None, never 0."""

from collections.abc import Mapping, Sequence
from typing import Any

from nautilus_client.connection import Connection
from nautilus_client.records import Account, Balance, Execution, Position, Record, records
from nautilus_client.times import Time, text, to_ns


class Portfolio:
    """What the caller's accounts hold and made. account: one of them; without it all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def accounts(self, account: str | None = None) -> Sequence[Account]:
        return records(Account, self._connection.call("accounts", account=account)["accounts"])

    def balances(self, account: str | None = None) -> Sequence[Balance]:
        """Cash of each currency."""
        return records(Balance, self._connection.call("balances", account=account)["balances"])

    def positions(self, account: str | None = None, *, con_id: int | None = None) -> Sequence[Position]:
        return records(Position, self._connection.call("positions", account=account, con_id=con_id)["positions"])

    def executions(
        self,
        account: str | None = None,
        *,
        since: Time | None = None,
        until: Time | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> Sequence[Execution]:
        """Fills by their latest revision, the newest first. filters: con_id, tag."""
        times = _times(since, until)
        rows = self._connection.every("executions", "executions", account=account, limit_rows=limit, **times, **filters)
        return records(Execution, rows)

    def pnl(
        self, account: str | None = None, *, since: Time | None = None, until: Time | None = None, minutes: bool = False
    ) -> Mapping[str, Any]:
        """Profit by three countings, which are never added: fifo, unrealized, broker."""
        return self._connection.call("pnl", account=account, **_times(since, until), minutes=minutes or None)

    def round_trips(
        self, account: str | None = None, *, since: Time | None = None, until: Time | None = None
    ) -> Mapping[str, Any]:
        """Trades from flat to flat, and their statistics."""
        return self._connection.call("round-trips", account=account, **_times(since, until))

    def performance(self, account: str, *, first: str | None = None, last: str | None = None) -> Record:
        """Equity, returns, drawdown and ratios from trade date `first` to `last`."""
        return Record(self._connection.call("performance", account=account, first=first, last=last))

    def cash(
        self, account: str | None = None, *, since: Time | None = None, until: Time | None = None
    ) -> Mapping[str, Any]:
        """Cash that came or went without a trade."""
        return self._connection.call("cash", account=account, **_times(since, until))

    def breaks(self, account: str | None = None, *, open: bool = False) -> Sequence[Mapping[str, Any]]:
        """Differences between our positions and IB's."""
        rows: Sequence[Mapping[str, Any]] = self._connection.call("breaks", account=account, open=open)["breaks"]
        return rows


def _times(since: Time | None, until: Time | None) -> dict[str, str]:
    given = {"since": since, "until": until}
    return {name: text(to_ns(value, field=name)) for name, value in given.items() if value is not None}
