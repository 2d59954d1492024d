"""Which stored series a request for an export means."""

from collections.abc import Sequence
from typing import NamedTuple

from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, scalars

_NAMED = (
    "(%(ids)s::text[] IS NULL AND %(symbols)s::text[] IS NULL OR i.instrument_id = ANY(%(ids)s)"
    " OR i.symbol = ANY(%(symbols)s) AND i.asset_class NOT IN ('CASH', 'CRYPTO')"
    " OR i.symbol || '/' || i.currency = ANY(%(symbols)s))"
)


def numbers(
    cursor: Cursor,
    instrument_ids: Sequence[str] | None,
    symbols: Sequence[str] | None,
    *,
    frames: Sequence[str] | None,
    price: str | None,
    session: str | None,
) -> list[int]:
    """Numbers of series, in order: of the instruments that are named, or of all; of these kinds, where they are named."""
    cursor.execute(
        f"SELECT s.id FROM series s JOIN instruments i USING (con_id) WHERE {_NAMED}"
        " AND (%(frames)s::text[] IS NULL OR s.timeframe = ANY(%(frames)s))"
        " AND (%(price)s::text IS NULL OR s.price = %(price)s)"
        " AND (%(session)s::text IS NULL OR s.session = %(session)s) ORDER BY s.id",
        {
            "ids": _upper(instrument_ids),
            "symbols": _upper(symbols),
            "frames": list(frames) if frames is not None else None,
            "price": price,
            "session": session,
        },
    )
    return scalars(cursor, int)


class NamedContracts(NamedTuple):
    """The contracts of those series that a name means."""

    name: str
    con_ids: list[int]


def contracts_of(
    cursor: Cursor, instrument_ids: Sequence[str] | None, symbols: Sequence[str] | None, ids: Sequence[int]
) -> list[NamedContracts]:
    """The contracts of these series by the names, in their order; none where no series has the name."""
    names = [*(_upper(instrument_ids) or ()), *(_upper(symbols) or ())]
    cursor.execute(
        "SELECT name, coalesce(array_agg(DISTINCT s.con_id) FILTER (WHERE s.con_id IS NOT NULL), '{}') AS con_ids"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS w(name, n)"
        " LEFT JOIN (SELECT con_id, i.instrument_id, i.symbol, i.currency FROM series s"
        "  JOIN instruments i USING (con_id) WHERE s.id = ANY(%s)) AS s"
        " ON name IN (s.instrument_id, s.symbol, s.symbol || '/' || s.currency) GROUP BY name, n ORDER BY n",
        (names, list(ids)),
    )
    return every(cursor, NamedContracts)


def _upper(names: Sequence[str] | None) -> list[str] | None:
    return [name.strip().upper() for name in names] if names is not None else None
