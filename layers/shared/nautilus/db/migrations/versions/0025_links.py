"""Links of one use, by which a browser opens a page or a file without a header.

revision: 0025; after: 0024
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_LINKS = """
CREATE TABLE IF NOT EXISTS one_use_links (
    hash bytea PRIMARY KEY,
    path text NOT NULL,
    principal text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS one_use_links_by_end ON one_use_links (expires_at);
"""


def upgrade() -> None:
    op.execute(_LINKS)
