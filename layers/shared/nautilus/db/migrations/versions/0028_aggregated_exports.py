"""Files of exports whose bars are made of a finer series.

revision: 0028; after: 0027
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE export_files ADD COLUMN IF NOT EXISTS timeframe text")
