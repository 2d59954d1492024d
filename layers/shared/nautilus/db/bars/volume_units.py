"""In which unit volumes of US stocks were taken to have come, and putting stored bars right when that was wrong.

Some gateways send shares, others lots of a hundred. The table `volume_units` holds the ranges of bars whose unit nobody
has proven: `unknown` ones are stored as IB sent them. Bars in no range are shares: that is proven.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from nautilus.db.bars import write as bar_store
from nautilus.db.cursor import Cursor
from nautilus.db.market import series
from nautilus.db.market.series import ALL_TIME, Series
from nautilus.db.ranges import multirange, spans_of
from nautilus.db.rows import one_or_none, scalar, scalar_or_none
from nautilus.market.bar import Bar
from nautilus.spans import Spans

PROVEN = frozenset({"server_version", "stated", "compared"})
"""Evidence that cannot be otherwise: the protocol's version, the simulator's own word, the same bars in a known unit."""
_SHARES = {"unknown": Decimal(1), "shares": Decimal(1), "lots": Decimal(100)}
_BATCH = 5_000


class Unit(NamedTuple):
    """The unit in which a login's volumes come (`unknown`, `shares`, `lots`) and by which evidence.

    evidence: one of PROVEN, `setting` (a person's word), `guess` (of an earlier release), `none`.
    """

    unit: str
    evidence: str

    @property
    def known(self) -> bool:
        return self.unit != "unknown"

    @property
    def proven(self) -> bool:
        return self.evidence in PROVEN


UNKNOWN = Unit("unknown", "none")


class Taken(NamedTuple):
    """How the volumes of an answer were taken: from which login, and in which unit."""

    login: str
    unit: Unit


class Revised(NamedTuple):
    """One step of putting a series right: how many bars changed."""

    series_id: int
    was: Unit
    bars: int


def in_shares(volume: float, unit: str) -> float:
    """A volume that came in `unit`, in shares, with no digit of its own; `unknown` ones stay as they came."""
    factor = _SHARES[unit]
    return volume if factor == 1 else float(Decimal(repr(volume)) * factor)


def note_taken(cursor: Cursor, row: Series, bars: Sequence[Bar], taken: Taken) -> None:
    """Note how the volumes of these stored bars were taken (ascending, under the series' row lock)."""
    if not bars:
        return
    hull = Spans.of(bars[0].ts, bars[-1].ts + 1)
    if taken.unit.proven and not _marked(cursor, row.id, hull):
        return
    mine = {bar.ts for bar in bars}
    _move(
        cursor,
        row.id,
        _runs(mine, bar_store.stamps(cursor, row.id, row.timeframe, start=bars[0].ts, end=bars[-1].ts + 1)),
        taken,
    )


def _runs(mine: set[int], present: Sequence[int]) -> Spans:
    """The ranges of `present` (ascending) in which every bar is one of `mine`."""
    runs: list[tuple[int, int]] = []
    inside = False
    for ts in present:
        if ts not in mine:
            inside = False
        elif inside:
            runs[-1] = (runs[-1][0], ts + 1)
        else:
            runs.append((ts, ts + 1))
            inside = True
    return Spans(runs)


def _marked(cursor: Cursor, series_id: int, spans: Spans) -> bool:
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM volume_units WHERE series_id = %s AND ranges && %s::int8multirange)",
        (series_id, multirange(spans)),
    )
    return scalar(cursor, bool)


def _move(cursor: Cursor, series_id: int, spans: Spans, taken: Taken) -> None:
    """The volumes of these ranges were taken so and in no other way."""
    arguments = {"series": series_id, "spans": multirange(spans), "login": taken.login}
    cursor.execute(
        "WITH whole AS (DELETE FROM volume_units WHERE series_id = %(series)s AND ranges <@ %(spans)s::int8multirange)"
        " UPDATE volume_units SET ranges = ranges - %(spans)s::int8multirange WHERE series_id = %(series)s"
        " AND ranges && %(spans)s::int8multirange AND NOT ranges <@ %(spans)s::int8multirange",
        arguments,
    )
    if not taken.unit.proven:
        cursor.execute(
            "INSERT INTO volume_units AS v (series_id, login, unit, evidence, ranges)"
            " VALUES (%(series)s, %(login)s, %(unit)s, %(evidence)s, %(spans)s::int8multirange)"
            " ON CONFLICT (series_id, login, unit, evidence) DO UPDATE SET ranges = v.ranges + excluded.ranges",
            {**arguments, **taken.unit._asdict()},
        )


def unknown(cursor: Cursor, series_id: int, spans: Spans) -> bool:
    """True when the unit of some volume in `spans` is unknown, or only guessed."""
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM volume_units WHERE series_id = %s AND (unit = 'unknown' OR evidence = 'guess')"
        " AND ranges && %s::int8multirange)",
        (series_id, multirange(spans)),
    )
    return scalar(cursor, bool)


def undecided(cursor: Cursor, login: str, without: Sequence[int] = ()) -> int | None:
    """An instrument (con_id) of this login with volumes of unknown or guessed unit, but for some; None when there is none."""
    cursor.execute(
        "SELECT s.con_id FROM volume_units v JOIN series s ON s.id = v.series_id"
        " WHERE v.login = %s AND (v.unit = 'unknown' OR v.evidence = 'guess') AND s.con_id <> ALL(%s)"
        " ORDER BY s.id LIMIT 1",
        (login, list(without)),
    )
    return scalar_or_none(cursor, int)


class _Otherwise(NamedTuple):
    series_id: int
    unit: str
    evidence: str


def revise(cursor: Cursor, taken: Taken, limit: int = _BATCH) -> Revised | None:
    """Put right up to `limit` bars whose volumes were taken otherwise, as a revision; None when all are right.

    What was proven stays: where two findings differ, the gateway has changed, and not what was believed of it.
    """
    cursor.execute(
        "SELECT series_id, unit, evidence FROM volume_units WHERE login = %s AND (unit, evidence) <> (%s, %s)"
        " ORDER BY series_id, unit, evidence LIMIT 1",
        (taken.login, *taken.unit),
    )
    found = one_or_none(cursor, _Otherwise)
    if found is None:
        return None
    row, was = series.by_id(cursor, found.series_id, lock=True), Unit(found.unit, found.evidence)
    cursor.execute(
        "SELECT ranges::text FROM volume_units WHERE series_id = %s AND login = %s AND unit = %s AND evidence = %s",
        (row.id, taken.login, *was),
    )
    there = scalar_or_none(cursor, str)
    if there is None:
        return Revised(row.id, was, 0)  # another answer has put it right meanwhile
    spans = spans_of(there)
    if _SHARES[was.unit] == _SHARES[taken.unit.unit]:
        _move(cursor, row.id, spans, taken)
        return Revised(row.id, was, 0)
    start, end = next(iter(spans))
    old = bar_store.first(cursor, row.id, row.timeframe, span=(start, end), limit=limit)
    factor = _SHARES[taken.unit.unit] / _SHARES[was.unit]
    new = [bar._replace(volume=None if bar.volume is None else _scaled(bar.volume, factor)) for bar in old]
    written = series.apply_changes(cursor, row, bars=new)
    done = (start, old[-1].ts + 1 if len(old) == limit else end)
    _move(cursor, row.id, Spans.of(*done), taken)
    return Revised(row.id, was, written.revised)


def _scaled(volume: float, factor: Decimal) -> float:
    # Fifteen digits are what a float keeps of a decimal: an earlier release multiplied floats.
    return float(Decimal(f"{volume:.15g}") * factor)


def adopt_guesses(cursor: Cursor, bridge: str) -> int:
    """What an earlier release stored by the guess that `bridge` last published is from now on known to be guessed.

    Returns how many series that are. To be called before the bridge tells of itself again.
    """
    cursor.execute(
        "INSERT INTO volume_units (series_id, login, unit, evidence, ranges)"
        " SELECT s.id, b.login, b.activity ->> 'stock_volume_unit', 'guess', %s::int8multirange"
        " FROM ib_sessions b, series s JOIN instruments i USING (con_id) WHERE b.bridge = %s"
        " AND b.activity ? 'stock_volume_unit' AND NOT b.activity ? 'volume_unit'"
        " AND i.asset_class = 'STK' AND i.currency = 'USD' AND s.price NOT IN ('MIDPOINT', 'BID', 'ASK', 'BID_ASK')"
        " AND NOT EXISTS (SELECT 1 FROM volume_units v WHERE v.series_id = s.id)",
        (multirange(Spans.of(*ALL_TIME)), bridge),
    )
    return int(cursor.rowcount)
