"""Files of fills that somebody uploads: their rows and parts, and what the ledger knows of what they hold.

The row of an import is held by whoever writes it, after its account: two that finish one file at once take turns.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from nautilus.db.cursor import Cursor
from nautilus.db.orders.frames import as_json, clean_text
from nautilus.db.rows import every, one, one_or_none, scalar, scalars

MAX_PROBLEMS = 1_000
"""Problems that are kept of one file; of the others the number."""


class NewImport(NamedTuple):
    """A file that somebody is about to upload. kind: `flex` or `csv`. size: bytes. time_zone: of times that name none."""

    id: UUID
    account: str
    kind: str
    name: str
    size: int
    sha256: str
    time_zone: str | None
    by: str


class ImportRow(NamedTuple):
    """A row of `fill_imports`. items: what the file holds that is to be written, None before that is known; items_done: how
    much of it was looked at. problems: as `Problem` has them."""

    id: UUID
    account: str
    kind: str
    name: str
    size: int
    sha256: str
    time_zone: str | None
    state: str
    items: int | None
    items_done: int
    counts: Mapping[str, int]
    problems: Sequence[Mapping[str, object]]
    problems_left_out: int
    by: str
    at: datetime
    finished_at: datetime | None


class Part(NamedTuple):
    """A part of a file that has come. size: bytes."""

    n: int
    size: int


class KnownFill(NamedTuple):
    """The latest revision of a fill that the ledger has."""

    exec_base: str
    revision: int
    exec_id: str
    con_id: int
    side: str
    quantity: Decimal
    price: Decimal
    ts: int
    commission: Decimal | None
    commission_currency: str | None

    @property
    def signed(self) -> Decimal:
        return self.quantity if self.side == "BUY" else self.quantity.copy_negate()


class KnownCash(NamedTuple):
    """A movement of cash that the ledger has under IB's id."""

    external_id: str
    currency: str
    amount: Decimal


class Progress(NamedTuple):
    """What a part of an import changed: counts to add, and problems to keep."""

    state: str
    items: int
    items_done: int
    counts: Mapping[str, int]
    problems: Sequence[Mapping[str, object]]


_COLUMNS = ", ".join(ImportRow._fields)
_OPEN = "state IN ('uploading', 'applying')"


# ---- imports ---------------------------------------------------------------------------------------------------------


def insert(cursor: Cursor, new: NewImport) -> ImportRow:
    cursor.execute(
        f"INSERT INTO fill_imports ({', '.join(NewImport._fields)}, state)"
        f" VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'uploading') RETURNING {_COLUMNS}",
        new._replace(name=clean_text(new.name)),
    )
    return one(cursor, ImportRow)


def read(cursor: Cursor, import_id: UUID, *, lock: bool = False) -> ImportRow | None:
    """One import. lock: hold it until the transaction ends; the account is held before."""
    cursor.execute(f"SELECT {_COLUMNS} FROM fill_imports WHERE id = %s{' FOR UPDATE' if lock else ''}", (import_id,))
    return one_or_none(cursor, ImportRow)


def unfinished(cursor: Cursor, new: NewImport) -> ImportRow | None:
    """The same file of the same person, whose upload was begun and not finished."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fill_imports WHERE account = %(account)s AND sha256 = %(sha256)s AND size = %(size)s"
        " AND kind = %(kind)s AND by = %(by)s AND time_zone IS NOT DISTINCT FROM %(time_zone)s AND state = 'uploading'"
        " ORDER BY at DESC LIMIT 1",
        new._asdict(),
    )
    return one_or_none(cursor, ImportRow)


def unfinished_count(cursor: Cursor, by: str) -> int:
    """How many imports of a person are not finished."""
    cursor.execute(f"SELECT count(*) FROM fill_imports WHERE by = %s AND {_OPEN}", (by,))
    return scalar(cursor, int)


def listed(cursor: Cursor, accounts: Sequence[str] | None, after: ImportRow | None, limit: int) -> list[ImportRow]:
    """Imports of accounts (None: of all), the newest first, older than `after`."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM fill_imports WHERE (%(accounts)s::text[] IS NULL OR account = ANY(%(accounts)s))"
        " AND (%(id)s::uuid IS NULL OR (at, id) < (%(at)s, %(id)s)) ORDER BY at DESC, id DESC LIMIT %(limit)s",
        {
            "accounts": None if accounts is None else list(accounts),
            "id": after.id if after else None,
            "at": after.at if after else None,
            "limit": limit,
        },
    )
    return every(cursor, ImportRow)


def advance(cursor: Cursor, row: ImportRow, step: Progress) -> ImportRow:
    """Write what a part of an import changed. One that is over gives up its parts. The import is held."""
    counts = {**row.counts}
    for name, more in step.counts.items():
        counts[name] = counts.get(name, 0) + more
    room = max(MAX_PROBLEMS - len(row.problems), 0)
    over = step.state in ("done", "refused")
    cursor.execute(
        "UPDATE fill_imports SET state = %s, items = %s, items_done = %s, counts = %s, problems = problems || %s,"
        " problems_left_out = problems_left_out + %s, finished_at = CASE WHEN %s THEN clock_timestamp() END"
        f" WHERE id = %s RETURNING {_COLUMNS}",
        (
            step.state,
            step.items,
            step.items_done,
            as_json(counts),
            as_json(list(step.problems[:room])),
            max(len(step.problems) - room, 0),
            over,
            row.id,
        ),
    )
    done = one(cursor, ImportRow)
    if over:
        cursor.execute("DELETE FROM fill_import_parts WHERE import_id = %s", (row.id,))
    return done


# ---- parts -----------------------------------------------------------------------------------------------------------


def put_part(cursor: Cursor, import_id: UUID, n: int, body: bytes) -> None:
    """Store a part; it replaces an earlier one of its number. The import is held."""
    cursor.execute(
        "INSERT INTO fill_import_parts (import_id, n, body) VALUES (%s, %s, %s)"
        " ON CONFLICT (import_id, n) DO UPDATE SET body = excluded.body",
        (import_id, n, memoryview(body)),
    )


def parts(cursor: Cursor, import_id: UUID) -> list[Part]:
    """The parts that have come, in their order."""
    cursor.execute(
        "SELECT n, octet_length(body) AS size FROM fill_import_parts WHERE import_id = %s ORDER BY n", (import_id,)
    )
    return every(cursor, Part)


def body(cursor: Cursor, import_id: UUID) -> bytes:
    """All parts that have come, in their order."""
    cursor.execute("SELECT body FROM fill_import_parts WHERE import_id = %s ORDER BY n", (import_id,))
    return b"".join(bytes(part) for part in scalars(cursor, memoryview))


# ---- what the ledger knows -------------------------------------------------------------------------------------------


def known_fills(cursor: Cursor, account: str, bases: Iterable[str]) -> dict[str, KnownFill]:
    """Those of these executions of an account that the ledger has: id without its revision -> latest revision."""
    cursor.execute(
        f"SELECT {', '.join(KnownFill._fields)} FROM executions WHERE account = %s AND exec_base = ANY(%s) AND latest",
        (account, sorted(set(bases))),
    )
    return {row.exec_base: row for row in every(cursor, KnownFill)}


def known_cash(cursor: Cursor, account: str, external_ids: Iterable[str]) -> dict[str, KnownCash]:
    """The same of movements of cash, by IB's id."""
    cursor.execute(
        f"SELECT {', '.join(KnownCash._fields)} FROM cash_movements WHERE account = %s AND external_id = ANY(%s)",
        (account, sorted(set(external_ids))),
    )
    return {row.external_id: row for row in every(cursor, KnownCash)}


def fill_commission(
    cursor: Cursor, account: str, exec_id: str, *, commission: Decimal, currency: str, realized: Decimal | None
) -> bool:
    """Store what an execution cost where nobody knew it; False where somebody did."""
    cursor.execute(
        "UPDATE executions SET commission = %s, commission_currency = %s, broker_realized = coalesce(broker_realized, %s)"
        " WHERE account = %s AND exec_id = %s AND commission IS NULL",
        (commission, currency, realized, account, exec_id),
    )
    return int(cursor.rowcount) > 0
