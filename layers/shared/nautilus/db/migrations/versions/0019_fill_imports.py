"""Files of fills that somebody uploads: what they are, their parts, and what became of them.

revision: 0019; after: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS fill_imports (
    id uuid PRIMARY KEY,
    account text NOT NULL CHECK (account <> ''),
    kind text NOT NULL CHECK (kind IN ('flex', 'csv')),
    name text NOT NULL,
    size integer NOT NULL CHECK (size BETWEEN 1 AND 20000000),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    time_zone text,
    state text NOT NULL CHECK (state IN ('uploading', 'applying', 'done', 'refused')),
    items integer,
    items_done integer NOT NULL DEFAULT 0 CHECK (items_done >= 0),
    counts jsonb NOT NULL DEFAULT '{}',
    problems jsonb NOT NULL DEFAULT '[]',
    problems_left_out integer NOT NULL DEFAULT 0 CHECK (problems_left_out >= 0),
    by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'refused')))
);
CREATE INDEX IF NOT EXISTS fill_imports_of_account ON fill_imports (account, at, id);
CREATE INDEX IF NOT EXISTS fill_imports_open ON fill_imports (at) WHERE state IN ('uploading', 'applying');
CREATE TABLE IF NOT EXISTS fill_import_parts (
    import_id uuid NOT NULL REFERENCES fill_imports ON DELETE CASCADE,
    n integer NOT NULL CHECK (n BETWEEN 1 AND 100),
    body bytea NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 1000000),
    PRIMARY KEY (import_id, n)
);
"""
    )
