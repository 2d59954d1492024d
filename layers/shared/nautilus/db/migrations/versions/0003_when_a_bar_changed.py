"""When a revision was made, so that old ones can be forgotten. Code that does not know the column goes on.

The foreign key of revisions goes: it cost as much as writing them. Their series is locked by whoever writes them, and
`nautilus.db.verify` looks for orphans.

revision: 0003; after: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Revisions that are there already count from now. A constant default does not rewrite the table (a volatile one would).
_COLUMN = """
ALTER TABLE bar_revisions ADD COLUMN IF NOT EXISTS changed_at timestamptz NOT NULL DEFAULT transaction_timestamp();
ALTER TABLE bar_revisions ALTER COLUMN changed_at SET DEFAULT transaction_timestamp();
ALTER TABLE bar_revisions DROP CONSTRAINT IF EXISTS bar_revisions_series_id_fkey;
"""


def upgrade() -> None:
    op.execute(_COLUMN)
