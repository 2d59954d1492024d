"""A person ends an incident of something that happened once."""

from nautilus.auth.principal import Client
from nautilus.db.auth import audit
from nautilus.db.cursor import Cursor
from nautilus.db.monitoring import incidents
from nautilus.db.monitoring.incidents import Incident
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.monitoring.incidents import CLOSED_BY_A_PERSON


def close(cursor: Cursor, incident_id: int, *, note: str, by: str, client: Client) -> Incident:
    """End an incident. note: what was found, not empty. NotFound; Conflict where it is over, or ends with what it tells of."""
    if not note.strip():
        raise InvalidInput.field("note", "must say what you found, in a sentence")
    row = incidents.locked(cursor, incident_id)
    if row is None:
        raise NotFound(f"there is no incident {incident_id}", code="incident-not-found")
    if row.until is not None:
        raise Conflict(f"the incident {incident_id} is over already", code="incident-over")
    if row.code not in CLOSED_BY_A_PERSON:
        raise Conflict(
            f"{row.code} ends when what it tells of is over (docs/operations.md says what to do); nobody can end it before",
            code="incident-lasts",
        )
    done = incidents.close(cursor, incident_id, by=by, note=note.strip())
    detail = {"code": row.code, "about": row.subject, "note": note.strip()}
    audit.record(cursor, "incident-closed", actor=by, subject=f"incident:{incident_id}", client=client, detail=detail)
    return done
