"""Incidents: what is wrong, since when, and until when.

revision: 0011; after: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_INCIDENTS = """
CREATE TABLE IF NOT EXISTS incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL,
    subject text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    keeper text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz CHECK (until >= since),
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX IF NOT EXISTS incidents_open ON incidents (code, subject) WHERE until IS NULL;
CREATE INDEX IF NOT EXISTS incidents_by_end ON incidents (until) WHERE until IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_INCIDENTS)
