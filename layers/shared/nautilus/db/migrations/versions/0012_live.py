"""Live data: who wants what, which streams there are, provisional bars, newest quotes, the watch list, tickets for sockets.

revision: 0012; after: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LIVE = """
CREATE TABLE IF NOT EXISTS live_wants (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner text NOT NULL,
    con_id bigint NOT NULL REFERENCES instruments,
    kind text NOT NULL CHECK (kind IN ('bars', 'quotes', 'ticks')),
    timeframe text NOT NULL DEFAULT '' CHECK ((timeframe = '') = (kind <> 'bars')),
    price text NOT NULL DEFAULT '' CHECK ((price = '') = (kind <> 'bars')),
    session text NOT NULL DEFAULT '' CHECK (session IN ('', 'rth', 'all') AND (session = '') = (kind <> 'bars')),
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 9),
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (owner, con_id, kind, timeframe, price, session)
);
CREATE INDEX IF NOT EXISTS live_wants_by_lease ON live_wants (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE IF NOT EXISTS live_streams (
    con_id bigint NOT NULL REFERENCES instruments,
    kind text NOT NULL CHECK (kind IN ('bars:1m', 'bars:5s', 'quotes', 'ticks')),
    price text NOT NULL DEFAULT '',
    session text NOT NULL DEFAULT '' CHECK (session IN ('', 'rth', 'all')),
    bridge text NOT NULL,
    source text NOT NULL DEFAULT '' CHECK (source IN ('', 'kutd', 'rtb', 'mkt', 'tbt', 'poll')),
    state text NOT NULL CHECK (state IN ('wanted', 'asking', 'live', 'stale', 'waiting', 'refused', 'evicted')),
    reason text NOT NULL DEFAULT '',
    refused_code integer,
    feed text NOT NULL DEFAULT '' CHECK (feed IN ('', 'live', 'frozen', 'delayed', 'delayed_frozen')),
    priority smallint NOT NULL,
    since bigint NOT NULL,
    last_event_at bigint,
    confirmed_until bigint,
    holes int8multirange NOT NULL DEFAULT '{}',
    resubscribed integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (con_id, kind, price, session)
);

CREATE UNLOGGED TABLE IF NOT EXISTS live_bars (
    series_id integer NOT NULL,
    ts bigint NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision,
    trades integer,
    state text NOT NULL CHECK (state IN ('forming', 'closed')),
    partial boolean NOT NULL,
    source text NOT NULL,
    seen_at bigint NOT NULL,
    PRIMARY KEY (series_id, ts)
);
CREATE UNLOGGED TABLE IF NOT EXISTS live_bars_marker (generation bigint NOT NULL);
CREATE TABLE IF NOT EXISTS live_generation (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    generation bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE IF NOT EXISTS live_quotes (
    con_id bigint PRIMARY KEY REFERENCES instruments,
    bid double precision,
    bid_size double precision,
    ask double precision,
    ask_size double precision,
    last double precision,
    last_size double precision,
    volume double precision,
    open double precision,
    high double precision,
    low double precision,
    close double precision,
    halted boolean,
    feed text NOT NULL DEFAULT '' CHECK (feed IN ('', 'live', 'frozen', 'delayed', 'delayed_frozen')),
    ts bigint,
    seen_at bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE IF NOT EXISTS live_watch_list (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    set_by text NOT NULL
);
CREATE TABLE IF NOT EXISTS live_watch_series (
    con_id bigint NOT NULL REFERENCES instruments,
    timeframe text NOT NULL,
    price text NOT NULL,
    session text NOT NULL CHECK (session IN ('rth', 'all')),
    instrument_id text NOT NULL,
    place integer NOT NULL,
    PRIMARY KEY (con_id, timeframe, price, session)
);

CREATE TABLE IF NOT EXISTS stream_tickets (
    hash bytea PRIMARY KEY,
    principal text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    session text NOT NULL DEFAULT '',
    key_id bigint,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS stream_tickets_by_end ON stream_tickets (expires_at);
"""


def upgrade() -> None:
    op.execute(_LIVE)
    op.execute(
        "ALTER TABLE backfill_jobs DROP CONSTRAINT backfill_jobs_origin_check,"
        " ADD CONSTRAINT backfill_jobs_origin_check CHECK (origin IN ('api', 'read', 'confirm', 'live'))"
    )
