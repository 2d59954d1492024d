"""Why a job is not planned, when a bar counts as closed, what of a calendar is a guess, who has a command, when rows were
last forgotten. Code that does not know the columns goes on: each has a default.

revision: 0004; after: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = """
ALTER TABLE backfill_jobs ADD COLUMN IF NOT EXISTS waits_for text;
ALTER TABLE ib_sessions ADD COLUMN IF NOT EXISTS settle_intraday_s integer NOT NULL DEFAULT 15,
    ADD COLUMN IF NOT EXISTS settle_daily_s integer NOT NULL DEFAULT 900;
ALTER TABLE calendars ADD COLUMN IF NOT EXISTS guessed int8multirange NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS refusals smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS ask_again_at bigint NOT NULL DEFAULT 0;
ALTER TABLE bridge_commands ADD COLUMN IF NOT EXISTS bridge text;
ALTER TABLE store ADD COLUMN IF NOT EXISTS forgotten_at timestamptz;
"""

# What stood in for a schedule so far is asked for at once, from its first session to its last.
_GUESSES = """
UPDATE calendars c SET guessed = int8multirange(int8range(g.first, g.last)) FROM (
    SELECT calendar, session, min(open_ns) AS first, max(close_ns) AS last FROM trading_sessions WHERE stand_in
    GROUP BY calendar, session
) g WHERE c.calendar = g.calendar AND c.session = g.session AND c.guessed = '{}';
"""


def upgrade() -> None:
    op.execute(_COLUMNS)
    op.execute(_GUESSES)
