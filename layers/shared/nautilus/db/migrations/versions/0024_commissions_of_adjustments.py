"""What the executions that an adjustment stands for have cost.

revision: 0024; after: 0023
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE position_adjustments ADD COLUMN IF NOT EXISTS commission numeric")
    op.execute("ALTER TABLE position_adjustments ADD COLUMN IF NOT EXISTS commission_currency text")
