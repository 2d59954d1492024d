"""Strategies: templates, configurations, runs with their bars, orders, fills, equity and events, sweeps, and hosts.

revision: 0022; after: 0021
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TEMPLATES = """
CREATE TABLE IF NOT EXISTS strategy_hosts (
    host text PRIMARY KEY CHECK (host <> ''),
    engine text NOT NULL DEFAULT '',
    fence jsonb NOT NULL DEFAULT '{}',
    problem text NOT NULL DEFAULT '',
    children integer NOT NULL DEFAULT 0 CHECK (children >= 0),
    capacity integer NOT NULL DEFAULT 0 CHECK (capacity >= 0),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS strategy_templates (
    id text PRIMARY KEY CHECK (id <> ''),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    code_hash text NOT NULL DEFAULT '',
    parameter_schema jsonb NOT NULL DEFAULT '{}',
    source text NOT NULL,
    error text,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS strategy_configs (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    description text NOT NULL DEFAULT '',
    template_id text NOT NULL REFERENCES strategy_templates,
    template_hash text NOT NULL DEFAULT '',
    parameters jsonb NOT NULL DEFAULT '{}',
    series jsonb NOT NULL DEFAULT '[]',
    risk jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    archived_at timestamptz
);
CREATE INDEX IF NOT EXISTS strategy_configs_of_owner ON strategy_configs (owner, created_at, id);
"""

_OVER = "('stopped', 'completed', 'failed', 'error', 'cancelled')"

_RUNS = f"""
CREATE TABLE IF NOT EXISTS strategy_sweeps (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    name text NOT NULL DEFAULT '',
    grid jsonb NOT NULL,
    runs integer NOT NULL CHECK (runs BETWEEN 1 AND 50),
    correlation_id text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancelled_at timestamptz
);
CREATE INDEX IF NOT EXISTS strategy_sweeps_of_owner ON strategy_sweeps (owner, created_at, id);

CREATE TABLE IF NOT EXISTS strategy_runs (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    name text NOT NULL DEFAULT '',
    config_id uuid REFERENCES strategy_configs,
    sweep_id uuid REFERENCES strategy_sweeps,
    sweep_n integer CHECK ((sweep_n IS NULL) = (sweep_id IS NULL)),
    mode text NOT NULL CHECK (mode IN ('backtest', 'paper', 'live')),
    template_id text NOT NULL,
    template_hash text NOT NULL DEFAULT '',
    parameters jsonb NOT NULL DEFAULT '{{}}',
    series jsonb NOT NULL,
    con_ids bigint[] NOT NULL CHECK (cardinality(con_ids) > 0),
    account text NOT NULL DEFAULT '' CHECK ((account <> '') = (mode = 'live')),
    options jsonb NOT NULL DEFAULT '{{}}',
    start_ns bigint CHECK ((start_ns IS NOT NULL) = (mode = 'backtest')),
    end_ns bigint CHECK (end_ns > start_ns AND (end_ns IS NOT NULL) = (mode = 'backtest')),
    as_of jsonb,
    wanted text NOT NULL CHECK (wanted IN ('running', 'paused', 'stopped', 'flat')),
    wanted_by text NOT NULL DEFAULT '',
    state text NOT NULL CHECK (state IN ('queued', 'starting', 'warming_up', 'running', 'pausing', 'paused', 'stopping',
        'stopped', 'completed', 'failed', 'error', 'cancelled')),
    reason text NOT NULL DEFAULT '',
    engine text NOT NULL DEFAULT '',
    code_hash text NOT NULL DEFAULT '',
    data_versions jsonb NOT NULL DEFAULT '{{}}',
    bars_done bigint NOT NULL DEFAULT 0,
    bars_total bigint NOT NULL DEFAULT 0,
    trade_date date,
    last_bar_ns bigint,
    orders integer NOT NULL DEFAULT 0,
    fills integer NOT NULL DEFAULT 0,
    denied integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    fills_hash text NOT NULL DEFAULT '',
    metrics jsonb,
    notes jsonb NOT NULL DEFAULT '[]',
    lease_host text,
    lease_until timestamptz CHECK ((lease_until IS NOT NULL) = (lease_host IS NOT NULL)),
    token bigint NOT NULL DEFAULT 0,
    heartbeat_at timestamptz,
    restarts integer NOT NULL DEFAULT 0,
    recent_restarts timestamptz[] NOT NULL DEFAULT '{{}}',
    not_before timestamptz NOT NULL DEFAULT clock_timestamp(),
    correlation_id text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz CHECK ((finished_at IS NOT NULL) = (state IN {_OVER})),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS strategy_runs_of_owner ON strategy_runs (owner, created_at, id);
CREATE INDEX IF NOT EXISTS strategy_runs_open ON strategy_runs (created_at) WHERE state NOT IN {_OVER};
CREATE UNIQUE INDEX IF NOT EXISTS strategy_runs_of_sweep ON strategy_runs (sweep_id, sweep_n) WHERE sweep_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS strategy_runs_of_config ON strategy_runs (config_id, created_at) WHERE config_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS strategy_claims (
    account text NOT NULL CHECK (account <> ''),
    con_id bigint NOT NULL,
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    PRIMARY KEY (account, con_id)
);
CREATE INDEX IF NOT EXISTS strategy_claims_of_run ON strategy_claims (run_id);
"""

_RESULTS = """
CREATE TABLE IF NOT EXISTS strategy_bars (
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    n bigint NOT NULL,
    series smallint NOT NULL CHECK (series >= 0),
    opened_ns bigint NOT NULL,
    closed_ns bigint NOT NULL CHECK (closed_ns > opened_ns),
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision,
    state text NOT NULL CHECK (state IN ('warm_up', 'closed', 'confirmed', 'unconfirmed')),
    given_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    PRIMARY KEY (run_id, n),
    UNIQUE (run_id, series, opened_ns)
);
CREATE TABLE IF NOT EXISTS strategy_orders (
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    n bigint NOT NULL,
    client_order_id text NOT NULL,
    con_id bigint NOT NULL,
    decided_ns bigint NOT NULL,
    decided_price numeric,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    type text NOT NULL CHECK (type <> ''),
    quantity numeric NOT NULL,
    limit_price numeric,
    stop_price numeric,
    tag text NOT NULL DEFAULT '',
    state text NOT NULL,
    reason text NOT NULL DEFAULT '',
    filled numeric NOT NULL DEFAULT 0 CHECK (filled >= 0),
    order_id uuid,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, n),
    UNIQUE (run_id, client_order_id)
);
CREATE INDEX IF NOT EXISTS strategy_orders_of_order ON strategy_orders (order_id) WHERE order_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS strategy_fills (
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    n bigint NOT NULL,
    client_order_id text NOT NULL,
    trade_id text NOT NULL DEFAULT '',
    con_id bigint NOT NULL,
    market_ns bigint NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity > 0),
    price numeric NOT NULL,
    commission numeric,
    currency text NOT NULL DEFAULT '',
    realized numeric,
    position numeric,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, n)
);
CREATE UNIQUE INDEX IF NOT EXISTS strategy_fills_once ON strategy_fills (run_id, trade_id) WHERE trade_id <> '';
CREATE TABLE IF NOT EXISTS strategy_equity (
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    market_ns bigint NOT NULL,
    equity numeric NOT NULL,
    cash numeric,
    unrealized numeric,
    drawdown numeric,
    PRIMARY KEY (run_id, market_ns)
);
CREATE TABLE IF NOT EXISTS strategy_events (
    run_id uuid NOT NULL REFERENCES strategy_runs ON DELETE CASCADE,
    n bigint NOT NULL,
    market_ns bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL CHECK (kind IN ('state', 'signal', 'log', 'fault', 'revision', 'denied', 'gap')),
    body jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, n)
);
CREATE INDEX IF NOT EXISTS strategy_events_of_kind ON strategy_events (run_id, kind, n);
CREATE INDEX IF NOT EXISTS strategy_events_recent ON strategy_events (at) WHERE kind = 'signal';
"""


def upgrade() -> None:
    for statements in (_TEMPLATES, _RUNS, _RESULTS):
        op.execute(statements)
