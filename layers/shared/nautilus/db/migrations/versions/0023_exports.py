"""Exports: what somebody wants written as files, series by series as of one version each, and what has been written.

revision: 0023; after: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
CREATE TABLE IF NOT EXISTS exports (
    id uuid PRIMARY KEY,
    owner text NOT NULL CHECK (owner <> ''),
    state text NOT NULL CHECK (state IN ('queued', 'running', 'stopping', 'done', 'failed', 'stopped', 'expired')),
    idempotency_key text,
    request jsonb NOT NULL,
    target jsonb NOT NULL,
    problem jsonb,
    extras jsonb NOT NULL DEFAULT '{}',
    holder text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz CHECK ((finished_at IS NOT NULL) = (state IN ('done', 'failed', 'stopped', 'expired'))),
    expires_at timestamptz,
    UNIQUE (owner, idempotency_key)
);
CREATE INDEX IF NOT EXISTS exports_of_owner ON exports (owner, created_at, id);
CREATE INDEX IF NOT EXISTS exports_open ON exports (created_at) WHERE state IN ('queued', 'running', 'stopping');
CREATE TABLE IF NOT EXISTS export_series (
    export_id uuid NOT NULL REFERENCES exports ON DELETE CASCADE,
    series_id integer NOT NULL,
    data_version bigint NOT NULL,
    price_digits integer NOT NULL CHECK (price_digits BETWEEN 0 AND 16),
    size_digits integer NOT NULL CHECK (size_digits BETWEEN 0 AND 16),
    missing jsonb NOT NULL,
    PRIMARY KEY (export_id, series_id)
);
CREATE TABLE IF NOT EXISTS export_files (
    export_id uuid NOT NULL REFERENCES exports ON DELETE CASCADE,
    n integer NOT NULL CHECK (n >= 0),
    series_id integer NOT NULL,
    part text NOT NULL,
    start_ts bigint NOT NULL,
    end_ts bigint NOT NULL CHECK (end_ts > start_ts),
    path text,
    row_count bigint CHECK (row_count >= 0),
    bytes bigint CHECK (bytes >= 0),
    sha256 text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    data_version bigint,
    written_at timestamptz,
    PRIMARY KEY (export_id, n),
    CHECK ((written_at IS NULL) = (row_count IS NULL)),
    CHECK ((path IS NULL) = (sha256 IS NULL) AND (path IS NULL) = (bytes IS NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS export_files_by_path ON export_files (export_id, path) WHERE path IS NOT NULL;
"""
    )
