"""What a cash movement was worth in the account's base currency at its time.

revision: 0021; after: 0020
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE cash_movements ADD COLUMN IF NOT EXISTS fx_rate numeric CHECK (fx_rate > 0)")
