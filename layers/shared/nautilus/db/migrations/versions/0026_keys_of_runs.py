"""The API key by which a run was begun: its orders need the rights of the key, too.

revision: 0026; after: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

_KEYS = "ALTER TABLE strategy_runs ADD COLUMN IF NOT EXISTS key_id bigint"


def upgrade() -> None:
    op.execute(_KEYS)
