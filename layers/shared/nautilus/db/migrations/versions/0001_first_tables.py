"""The first tables. docs/data.md says what each column means and in which unit.

revision: 0001; after: none
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# One shape, three tables: chunk width and compression differ by how dense the bars are. NaN sorts above Infinity in
# PostgreSQL, so `< 'Infinity'` refuses both.
_BARS = """
CREATE TABLE {name} (
    series_id integer NOT NULL,
    ts bigint NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision,
    vwap double precision,
    trades integer,
    PRIMARY KEY (series_id, ts),
    CONSTRAINT {name}_finite CHECK (
        open > '-Infinity' AND open < 'Infinity' AND high > '-Infinity' AND high < 'Infinity'
        AND low > '-Infinity' AND low < 'Infinity' AND close > '-Infinity' AND close < 'Infinity'
        AND (volume IS NULL OR (volume >= 0 AND volume < 'Infinity'))
        AND (vwap IS NULL OR (vwap > '-Infinity' AND vwap < 'Infinity'))
    )
)
"""

_TABLES = """
CREATE TABLE store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    source text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO store DEFAULT VALUES;

CREATE TABLE instruments (
    con_id bigint PRIMARY KEY,
    instrument_id text NOT NULL,
    symbol text NOT NULL,
    asset_class text NOT NULL,
    exchange text NOT NULL,
    primary_exchange text NOT NULL,
    currency text NOT NULL,
    local_symbol text NOT NULL,
    trading_class text NOT NULL,
    expiry text NOT NULL,
    multiplier text NOT NULL,
    min_tick double precision NOT NULL,
    long_name text NOT NULL,
    time_zone text NOT NULL,
    calendar text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    resolved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX instruments_by_name ON instruments (instrument_id);
CREATE INDEX instruments_by_symbol ON instruments (symbol text_pattern_ops);

CREATE TABLE instrument_lookups (
    key text PRIMARY KEY,
    con_ids bigint[] NOT NULL,
    ib_code integer,
    ib_text text,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz
);

CREATE TABLE calendars (
    calendar text NOT NULL,
    session text NOT NULL CHECK (session IN ('rth', 'all')),
    time_zone text NOT NULL,
    known int8range NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (calendar, session)
);
CREATE TABLE trading_sessions (
    calendar text NOT NULL,
    session text NOT NULL,
    trade_date date NOT NULL,
    open_ns bigint NOT NULL,
    close_ns bigint NOT NULL CHECK (close_ns > open_ns),
    stand_in boolean NOT NULL DEFAULT false,
    PRIMARY KEY (calendar, session, open_ns),
    FOREIGN KEY (calendar, session) REFERENCES calendars ON DELETE CASCADE
);

CREATE TABLE series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    con_id bigint NOT NULL REFERENCES instruments,
    timeframe text NOT NULL,
    price text NOT NULL,
    session text NOT NULL CHECK (session IN ('rth', 'all')),
    covered int8multirange NOT NULL DEFAULT '{}',
    data_version bigint NOT NULL DEFAULT 0,
    head_ts bigint,
    head_checked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (con_id, timeframe, price, session)
);
CREATE TABLE series_changes (
    series_id integer NOT NULL REFERENCES series ON DELETE CASCADE,
    version bigint NOT NULL,
    added int8multirange NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (series_id, version)
);
CREATE TABLE bar_revisions (
    series_id integer NOT NULL REFERENCES series ON DELETE CASCADE,
    ts bigint NOT NULL,
    until_version bigint NOT NULL,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    volume double precision,
    vwap double precision,
    trades integer,
    request_id bigint,
    PRIMARY KEY (series_id, ts, until_version)
);
CREATE TABLE coverage_notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id integer NOT NULL REFERENCES series ON DELETE CASCADE,
    range int8range NOT NULL CHECK (NOT isempty(range)),
    state text NOT NULL CHECK (state IN ('empty_unconfirmed', 'unavailable', 'failed', 'stale')),
    reason text NOT NULL,
    ib_code integer,
    checked_at bigint NOT NULL,
    expires_at bigint,
    request_id bigint
);
CREATE INDEX coverage_notes_by_series ON coverage_notes (series_id);
CREATE INDEX coverage_notes_by_expiry ON coverage_notes (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username text NOT NULL,
    email text,
    password_hash text NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_login timestamptz
);
CREATE UNIQUE INDEX users_by_name ON users (lower(username));
CREATE UNIQUE INDEX users_by_email ON users (lower(email)) WHERE email IS NOT NULL;

CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    job_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (principal, route, key)
);

CREATE TABLE backfill_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('api', 'read', 'confirm')),
    state text NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'planning', 'running', 'stopping', 'succeeded', 'partial', 'failed', 'stopped')),
    priority smallint NOT NULL DEFAULT 4 CHECK (priority BETWEEN 0 AND 9),
    mode text NOT NULL DEFAULT 'missing' CHECK (mode IN ('missing', 'force')),
    request jsonb NOT NULL,
    fingerprint text NOT NULL,
    correlation_id text NOT NULL DEFAULT '',
    lease_bridge text,
    lease_until timestamptz,
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    plan_attempts smallint NOT NULL DEFAULT 0,
    chunks_total integer NOT NULL DEFAULT 0,
    chunks_done integer NOT NULL DEFAULT 0,
    chunks_good integer NOT NULL DEFAULT 0,
    items_failed integer NOT NULL DEFAULT 0,
    shortfall boolean NOT NULL DEFAULT false,
    requests_sent integer NOT NULL DEFAULT 0,
    bars_new bigint NOT NULL DEFAULT 0,
    bars_revised bigint NOT NULL DEFAULT 0,
    bars_same bigint NOT NULL DEFAULT 0,
    served_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX backfill_jobs_live ON backfill_jobs (priority DESC, served_at NULLS FIRST)
    WHERE state IN ('queued', 'planning', 'running', 'stopping');
CREATE INDEX backfill_jobs_by_owner ON backfill_jobs (owner, created_at DESC);

CREATE TABLE backfill_items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES backfill_jobs ON DELETE CASCADE,
    selector jsonb NOT NULL,
    timeframe text NOT NULL,
    price text,
    session text,
    wanted_start bigint,
    wanted_end bigint,
    wanted_back bigint,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'planned', 'failed')),
    series_id integer REFERENCES series ON DELETE CASCADE,
    plan jsonb,
    error jsonb
);
CREATE INDEX backfill_items_by_job ON backfill_items (job_id);

CREATE TABLE backfill_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    series_id integer NOT NULL REFERENCES series ON DELETE CASCADE,
    span_start bigint NOT NULL,
    span_end bigint NOT NULL,
    window_start bigint NOT NULL,
    window_end bigint NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN
        ('pending', 'leased', 'done', 'failed', 'split', 'cancelled')),
    outcome text,
    ib_code integer,
    mode text NOT NULL DEFAULT 'missing',
    attempts smallint NOT NULL DEFAULT 0,
    not_before bigint NOT NULL DEFAULT 0,
    lease_bridge text,
    lease_until timestamptz,
    token bigint NOT NULL DEFAULT 0,
    request_id bigint,
    bars integer,
    parent_id bigint REFERENCES backfill_chunks ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (span_start < span_end AND window_start < window_end)
);
CREATE INDEX backfill_chunks_live ON backfill_chunks (series_id, span_start) WHERE state IN ('pending', 'leased');
CREATE INDEX backfill_chunks_pending ON backfill_chunks (series_id, id) WHERE state = 'pending';
CREATE INDEX backfill_chunks_leased ON backfill_chunks (lease_until) WHERE state = 'leased';
CREATE TABLE job_chunks (
    job_id uuid NOT NULL REFERENCES backfill_jobs ON DELETE CASCADE,
    chunk_id bigint NOT NULL REFERENCES backfill_chunks ON DELETE CASCADE,
    PRIMARY KEY (job_id, chunk_id)
);
CREATE INDEX job_chunks_by_chunk ON job_chunks (chunk_id);

CREATE TABLE ib_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL,
    bridge text NOT NULL,
    kind text NOT NULL,
    identity text NOT NULL,
    contract text NOT NULL,
    small boolean NOT NULL,
    weight smallint NOT NULL,
    interactive boolean NOT NULL DEFAULT false,
    historical boolean NOT NULL DEFAULT true,
    sent_at bigint NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    series_id integer,
    chunk_id bigint,
    correlation_id text NOT NULL DEFAULT '',
    outcome text NOT NULL DEFAULT 'sent',
    ib_code integer,
    ib_text text,
    ms integer,
    bars integer
);
CREATE INDEX ib_requests_book ON ib_requests (login, sent_at DESC);
CREATE INDEX ib_requests_by_chunk ON ib_requests (chunk_id) WHERE chunk_id IS NOT NULL;

CREATE TABLE ib_sessions (
    bridge text PRIMARY KEY,
    login text NOT NULL DEFAULT '',
    account text NOT NULL DEFAULT '',
    state text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    reason text NOT NULL DEFAULT '',
    host text NOT NULL DEFAULT '',
    port integer NOT NULL DEFAULT 0,
    client_id integer,
    server_version integer,
    farms jsonb NOT NULL DEFAULT '{}',
    activity jsonb NOT NULL DEFAULT '{}',
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    clock_machine_ns bigint NOT NULL DEFAULT 0,
    clock_market_ns bigint NOT NULL DEFAULT 0,
    clock_rate double precision NOT NULL DEFAULT 1
);

CREATE TABLE bridge_commands (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type text NOT NULL CHECK (type IN ('resolve', 'search', 'reconnect')),
    args jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    result jsonb,
    error jsonb,
    requested_by text NOT NULL,
    correlation_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX bridge_commands_open ON bridge_commands (created_at) WHERE state IN ('queued', 'running');
"""


def upgrade() -> None:
    for name in ("bars_fine", "bars_minute", "bars_coarse"):
        op.execute(_BARS.format(name=name))
    op.execute(_TABLES)
