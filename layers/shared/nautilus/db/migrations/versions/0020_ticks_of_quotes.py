"""Want ticks of quotes and midpoints too: a want of ticks may have a price.

revision: 0020; after: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# PostgreSQL has named the check of 0012 by its place.
_PRICES = """
ALTER TABLE live_wants DROP CONSTRAINT IF EXISTS live_wants_check1;
ALTER TABLE live_wants DROP CONSTRAINT IF EXISTS live_wants_price_check;
ALTER TABLE live_wants ADD CONSTRAINT live_wants_price_check CHECK (
    CASE kind WHEN 'bars' THEN price <> ''
              WHEN 'ticks' THEN price IN ('', 'TRADES', 'BID_ASK', 'MIDPOINT')
              ELSE price = '' END
)
"""


def upgrade() -> None:
    op.execute(_PRICES)
