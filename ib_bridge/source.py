"""Where the bars of a connection come from, and whether they belong into this database."""

from collections.abc import Sequence

from ib_bridge.ib.connection import IbConnection
from nautilus.db.bridge import status
from nautilus.market.account_kind import account_kind
from nautilus.process.errors import CannotStart
from nautilus.process.transactions import TransactionRunner


def source_of(accounts: Sequence[str], replay: str) -> str:
    """Where the bars of a connection come from, by all its managed accounts. CannotStart when it has none, or accounts of
    several kinds.

    The simulator's first account spells its source: SIM<seed>, or SIMR<hash of the replayed file>.
    """
    if not accounts:
        raise CannotStart("the gateway manages no account, so nobody can say where its bars come from; log in to one")
    try:
        kind = account_kind(accounts)
    except ValueError as problem:
        raise CannotStart(f"{problem}; log in to accounts of one kind") from None
    if kind != "simulator":
        return f"ib:{kind}"
    first = min(accounts, key=len)
    seed = first.removeprefix("SIM")
    return f"replay:{replay or 'file'}:{seed[1:]}" if seed.startswith("R") else f"sim:{seed}"


class StoreSource:
    """The source of the database: the first connection claims it, later ones must have the same."""

    def __init__(self, transactions: TransactionRunner, connection: IbConnection, replay: str) -> None:
        self._transactions = transactions
        self._connection = connection
        self._replay = replay
        self._admitted: list[str] | None = None
        self.name: str | None = None
        """None until a connection has been admitted."""

    @property
    def ready(self) -> bool:
        """True when connected to accounts whose bars belong into this database."""
        return self._connection.up and self._admitted == self._connection.accounts

    async def claim(self) -> None:
        """Admit the accounts of the connection. CannotStart when the database holds bars of another source: generated bars
        never meet IB's."""
        accounts = list(self._connection.accounts)
        served = source_of(accounts, self._replay)
        stored = await self._transactions.run(status.claim_source, served)
        if stored != served:
            raise CannotStart(
                f"this database holds bars of {stored}, the gateway serves {served}; use a database of its own for each"
            )
        self.name, self._admitted = served, accounts
