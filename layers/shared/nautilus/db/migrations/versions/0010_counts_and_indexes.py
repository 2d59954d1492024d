"""Chunks are counted as they change, so that nobody counts them by reading all; and indexes for questions that read whole
tables: what a command brought, a series' chunks by time, jobs by age, keys by age, requests that are open.

revision: 0010; after: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A row per server process and state: two processes never wait for each other's row, and the sum is what counts.
_COUNTS = """
CREATE TABLE IF NOT EXISTS backfill_chunk_counts (
    backend integer NOT NULL,
    state text NOT NULL,
    chunks bigint NOT NULL,
    PRIMARY KEY (backend, state)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION count_backfill_chunks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO backfill_chunk_counts AS c (backend, state, chunks)
        SELECT pg_backend_pid(), state, count(*) FROM new_rows GROUP BY state
        ON CONFLICT (backend, state) DO UPDATE SET chunks = c.chunks + excluded.chunks;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO backfill_chunk_counts AS c (backend, state, chunks)
        SELECT pg_backend_pid(), state, -count(*) FROM old_rows GROUP BY state
        ON CONFLICT (backend, state) DO UPDATE SET chunks = c.chunks + excluded.chunks;
    ELSE
        INSERT INTO backfill_chunk_counts AS c (backend, state, chunks)
        SELECT pg_backend_pid(), state, sum(n) FROM
            (SELECT state, 1 AS n FROM new_rows UNION ALL SELECT state, -1 FROM old_rows) moved
        GROUP BY state HAVING sum(n) <> 0
        ON CONFLICT (backend, state) DO UPDATE SET chunks = c.chunks + excluded.chunks;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER backfill_chunks_made AFTER INSERT ON backfill_chunks
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_backfill_chunks();
CREATE OR REPLACE TRIGGER backfill_chunks_changed AFTER UPDATE ON backfill_chunks
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_backfill_chunks();
CREATE OR REPLACE TRIGGER backfill_chunks_gone AFTER DELETE ON backfill_chunks
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_backfill_chunks();

DELETE FROM backfill_chunk_counts;
INSERT INTO backfill_chunk_counts (backend, state, chunks) SELECT 0, state, count(*) FROM backfill_chunks GROUP BY state;
"""

_INDEXES = """
CREATE INDEX IF NOT EXISTS backfill_chunks_by_series ON backfill_chunks (series_id, span_start, span_end);
CREATE INDEX IF NOT EXISTS backfill_chunks_waiting ON backfill_chunks (series_id, not_before) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS backfill_jobs_by_age ON backfill_jobs (created_at DESC);
CREATE INDEX IF NOT EXISTS bridge_commands_done ON bridge_commands (type, args, finished_at DESC) WHERE state = 'done';
CREATE INDEX IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX IF NOT EXISTS ib_requests_open ON ib_requests (bridge) WHERE outcome = 'sent';
"""


def upgrade() -> None:
    op.execute(_COUNTS)
    op.execute(_INDEXES)
