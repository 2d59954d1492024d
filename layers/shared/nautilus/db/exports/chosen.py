"""Which stored series a request for an export means."""

from collections.abc import Sequence

from nautilus.db.cursor import Cursor
from nautilus.db.rows import scalars

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


def without(
    cursor: Cursor, instrument_ids: Sequence[str] | None, symbols: Sequence[str] | None, ids: Sequence[int]
) -> list[str]:
    """Those of the names that none of these series has."""
    names = [*(_upper(instrument_ids) or ()), *(_upper(symbols) or ())]
    if not names:
        return []
    cursor.execute(
        "SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS w(name, n) WHERE NOT EXISTS ("
        "SELECT FROM series s JOIN instruments i USING (con_id) WHERE s.id = ANY(%s)"
        " AND name IN (i.instrument_id, i.symbol, i.symbol || '/' || i.currency)) ORDER BY n",
        (names, list(ids)),
    )
    return scalars(cursor, str)


def _upper(names: Sequence[str] | None) -> list[str] | None:
    return [name.strip().upper() for name in names] if names is not None else None
