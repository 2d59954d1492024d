"""Find the requests of live bars, which have no chunk, by their series.

revision: 0014; after: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX IF NOT EXISTS ib_requests_of_live_bars ON ib_requests (series_id, id)"
        " WHERE chunk_id IS NULL AND series_id IS NOT NULL"
    )
