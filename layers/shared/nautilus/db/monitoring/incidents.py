"""Incidents: opened while a condition holds, closed when it does not. This is the one place that writes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from nautilus.db.connection import Json
from nautilus.db.cursor import Cursor
from nautilus.db.rows import every, one, one_or_none, scalars
from nautilus.monitoring.incidents import CODES, Condition


class Incident(NamedTuple):
    """One incident. since, until: machine time; until is None while it lasts. keeper: who opened it and will close it."""

    id: int
    code: str
    subject: str
    severity: str
    keeper: str
    since: datetime
    until: datetime | None
    detail: Mapping[str, Any]


class Changes(NamedTuple):
    """What `keep` has changed."""

    opened: Sequence[Incident]
    closed: Sequence[Incident]


_COLUMNS = "id, code, subject, severity, keeper, since, until, detail"


def keep(cursor: Cursor, keeper: str, conditions: Sequence[Condition]) -> Changes:
    """Make the open incidents of a keeper those conditions that hold now.

    One that holds already keeps its `since` and gets the new detail. Nothing is written where nothing changed. A condition that
    another keeper has open stays that one's.
    """
    cursor.execute(f"SELECT {_COLUMNS} FROM incidents WHERE keeper = %s AND until IS NULL", (keeper,))
    known = {(row.code, row.subject): row for row in every(cursor, Incident)}
    wanted = {(c.code, c.subject): c for c in conditions}
    new = [c for key, c in wanted.items() if key not in known or known[key].detail != c.detail]
    gone = [row.id for key, row in known.items() if key not in wanted]
    closed = _close(cursor, gone)
    written = _write(cursor, keeper, new)
    return Changes([row for row in written if (row.code, row.subject) not in known], closed)


def tell(cursor: Cursor, keeper: str, conditions: Sequence[Condition]) -> list[Incident]:
    """Open incidents of things that happened, beside those that the keeper has open; `end` closes them."""
    return _write(cursor, keeper, conditions)


def end(cursor: Cursor, keeper: str, subject: str, codes: Sequence[str] | None = None) -> list[Incident]:
    """Close what a keeper has open about a subject. codes: None for all."""
    cursor.execute(
        "SELECT id FROM incidents WHERE keeper = %(keeper)s AND subject = %(subject)s AND until IS NULL"
        " AND (%(codes)s::text[] IS NULL OR code = ANY(%(codes)s))",
        {"keeper": keeper, "subject": subject, "codes": None if codes is None else list(codes)},
    )
    return _close(cursor, scalars(cursor, int))


def end_code(cursor: Cursor, keeper: str, code: str) -> list[Incident]:
    """Close what a keeper has open of one code, whatever it is about."""
    cursor.execute("SELECT id FROM incidents WHERE keeper = %s AND code = %s AND until IS NULL", (keeper, code))
    return _close(cursor, scalars(cursor, int))


def locked(cursor: Cursor, incident_id: int) -> Incident | None:
    """One incident, held until the transaction ends."""
    cursor.execute(f"SELECT {_COLUMNS} FROM incidents WHERE id = %s FOR UPDATE", (incident_id,))
    return one_or_none(cursor, Incident)


def close(cursor: Cursor, incident_id: int, *, by: str, note: str) -> Incident:
    """A person ends one that is open and held; who and why stand in its detail."""
    cursor.execute(
        "UPDATE incidents SET until = greatest(since, clock_timestamp()), detail = detail || %s WHERE id = %s"
        f" RETURNING {_COLUMNS}",
        (Json({"closed_by": by, "note": note}), incident_id),
    )
    return one(cursor, Incident)


def _write(cursor: Cursor, keeper: str, conditions: Sequence[Condition]) -> list[Incident]:
    """Open incidents, or change the detail of those that are open. Both processes of a keeper may do so at once."""
    found: list[Incident] = []
    for code, subject, detail in conditions:
        cursor.execute(
            "INSERT INTO incidents AS i (code, subject, severity, keeper, detail) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (code, subject) WHERE until IS NULL DO UPDATE SET detail = excluded.detail"
            f" WHERE i.keeper = excluded.keeper RETURNING {_COLUMNS}",
            (code, subject, CODES[code], keeper, Json(dict(detail))),
        )
        found += every(cursor, Incident)
    return found


def _close(cursor: Cursor, ids: Sequence[int]) -> list[Incident]:
    if not ids:
        return []
    cursor.execute(
        "UPDATE incidents SET until = greatest(since, clock_timestamp()) WHERE id = ANY(%s) AND until IS NULL"
        f" RETURNING {_COLUMNS}",
        (list(ids),),
    )
    return every(cursor, Incident)


def open_codes(cursor: Cursor, keeper: str) -> frozenset[str]:
    """The codes that a keeper has open."""
    cursor.execute("SELECT code FROM incidents WHERE keeper = %s AND until IS NULL", (keeper,))
    return frozenset(scalars(cursor, str))


def listed(
    cursor: Cursor, *, only_open: bool = False, code: str | None = None, limit: int = 100, before: int | None = None
) -> list[Incident]:
    """Incidents, the newest first. before: the id of the last one of the page before."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM incidents WHERE (NOT %(open)s OR until IS NULL)"
        " AND (%(code)s::text IS NULL OR code = %(code)s) AND (%(before)s::bigint IS NULL OR id < %(before)s)"
        " ORDER BY id DESC LIMIT %(limit)s",
        {"open": only_open, "code": code, "before": before, "limit": limit},
    )
    return every(cursor, Incident)


class OpenIncidents(NamedTuple):
    """How many incidents are open, and how many of them are critical."""

    incidents: int
    critical: int


def open_incidents(cursor: Cursor) -> OpenIncidents:
    """Count the open incidents."""
    cursor.execute(
        "SELECT count(*) AS incidents, count(*) FILTER (WHERE severity = 'critical') AS critical"
        " FROM incidents WHERE until IS NULL"
    )
    return one(cursor, OpenIncidents)
