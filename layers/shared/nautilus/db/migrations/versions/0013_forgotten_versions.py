"""From which version on the bars of a series can be told, where older changes were forgotten.

revision: 0013; after: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Changes are forgotten by age, the oldest first. Where retention has run before, the first change that is left is the
# oldest version of which all later changes are there.
_FORGOTTEN = """
CREATE TABLE IF NOT EXISTS forgotten_versions (
    series_id integer PRIMARY KEY,
    version bigint NOT NULL,
    at timestamptz NOT NULL
);
INSERT INTO forgotten_versions (series_id, version, at)
 SELECT s.id, coalesce(c.version, s.data_version), coalesce(c.committed_at, clock_timestamp())
  FROM store JOIN series s ON store.forgotten_at IS NOT NULL AND s.data_version > 0
  LEFT JOIN LATERAL (SELECT version, committed_at FROM series_changes WHERE series_id = s.id ORDER BY version LIMIT 1) c
   ON true
 ON CONFLICT (series_id) DO NOTHING;
"""


def upgrade() -> None:
    op.execute(_FORGOTTEN)
