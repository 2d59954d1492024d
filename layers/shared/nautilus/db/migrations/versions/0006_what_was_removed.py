"""Which bars were removed, so that a walk through pages that began before knows it even if they have come back since.

revision: 0006; after: 0004, 0005
"""

from alembic import op

revision = "0006"
down_revision = ("0004", "0005")
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE series_changes ADD COLUMN IF NOT EXISTS removed int8multirange NOT NULL DEFAULT '{}'")
