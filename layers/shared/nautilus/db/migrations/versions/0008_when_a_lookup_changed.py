"""What the words of a lookup meant before, and since when they mean something else; and the oldest answers, to renew.

revision: 0008; after: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE instrument_lookups ADD COLUMN IF NOT EXISTS former_con_ids bigint[] NOT NULL DEFAULT '{}',"
        " ADD COLUMN IF NOT EXISTS changed_at timestamptz"
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS instrument_lookups_by_age ON instrument_lookups (checked_at)"
        " WHERE cardinality(con_ids) > 0"
    )
