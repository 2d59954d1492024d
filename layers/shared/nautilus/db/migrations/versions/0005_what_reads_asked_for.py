"""What reads asked for within the last minute, found without a look at every job there ever was.

revision: 0005; after: 0003
"""

from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX IF NOT EXISTS backfill_jobs_by_read ON backfill_jobs (created_at) WHERE origin = 'read'")
