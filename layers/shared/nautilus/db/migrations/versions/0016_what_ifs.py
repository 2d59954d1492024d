"""What-if orders: which margin and commission IB would want for an order, without the order.

revision: 0016; after: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_WHAT_IFS = """
CREATE TABLE IF NOT EXISTS what_ifs (
    id uuid PRIMARY KEY,
    principal text NOT NULL,
    account text NOT NULL CHECK (account <> ''),
    con_id bigint NOT NULL,
    terms jsonb NOT NULL,
    fingerprint text NOT NULL,
    position numeric,
    state text NOT NULL CHECK (state IN ('wanted', 'sent', 'answered', 'refused', 'failed')),
    client_id integer,
    order_id integer,
    code integer,
    text text NOT NULL DEFAULT '',
    margins jsonb NOT NULL DEFAULT '{}',
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    over_at timestamptz CHECK ((over_at IS NOT NULL) = (state IN ('answered', 'refused', 'failed')))
);
CREATE INDEX IF NOT EXISTS what_ifs_open ON what_ifs (asked_at) WHERE state IN ('wanted', 'sent');
CREATE INDEX IF NOT EXISTS what_ifs_of_order ON what_ifs (account, fingerprint, asked_at);
CREATE INDEX IF NOT EXISTS what_ifs_asked_at ON what_ifs (asked_at);
"""


def upgrade() -> None:
    op.execute(_WHAT_IFS)
