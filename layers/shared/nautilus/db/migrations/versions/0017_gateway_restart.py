"""When the gateway restarts next, as the order process knows it.

revision: 0017; after: 0016
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE order_process ADD COLUMN IF NOT EXISTS restarts_at bigint")
