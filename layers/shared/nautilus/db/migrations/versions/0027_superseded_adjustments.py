"""Executions that take the place of missed fills which a person had booked.

revision: 0027; after: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE position_adjustments
    ADD COLUMN IF NOT EXISTS covers_until bigint,
    ADD COLUMN IF NOT EXISTS explained numeric NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS whole_commission numeric
"""
_LINKS = """
CREATE TABLE IF NOT EXISTS adjustment_executions (
    account text NOT NULL,
    exec_base text NOT NULL,
    adjustment_id bigint NOT NULL REFERENCES position_adjustments,
    PRIMARY KEY (account, exec_base)
);
CREATE INDEX IF NOT EXISTS adjustment_executions_of_adjustment ON adjustment_executions (adjustment_id);
"""


def upgrade() -> None:
    op.execute(_COLUMNS)
    op.execute("UPDATE position_adjustments SET whole_commission = commission WHERE whole_commission IS NULL")
    op.execute(_LINKS)
