"""Orders: rights to accounts, orders with their events and requests, executions, positions, risk, the order process.

revision: 0015; after: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_RIGHTS = """
ALTER TABLE users ADD COLUMN IF NOT EXISTS accounts text[] NOT NULL DEFAULT '{}';
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS accounts text[];
ALTER TABLE stream_tickets ADD COLUMN IF NOT EXISTS accounts text[] NOT NULL DEFAULT '{}';

CREATE TABLE IF NOT EXISTS accounts (
    account text PRIMARY KEY CHECK (account <> ''),
    kind text NOT NULL CHECK (kind IN ('live', 'paper', 'simulator')),
    base_currency text,
    net_liquidation numeric,
    values_at bigint,
    opened_at bigint,
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS account_values (
    account text NOT NULL,
    tag text NOT NULL,
    currency text NOT NULL,
    value text NOT NULL,
    as_of bigint NOT NULL,
    PRIMARY KEY (account, tag, currency)
);
"""

_RISK = """
CREATE TABLE IF NOT EXISTS trading_state (
    scope text PRIMARY KEY CHECK (scope <> ''),
    state text NOT NULL CHECK (state IN ('active', 'reducing', 'halted')),
    reason text NOT NULL,
    set_by text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until_trade_date date
);
CREATE TABLE IF NOT EXISTS risk_limits (
    account text NOT NULL CHECK (account <> ''),
    name text NOT NULL,
    value numeric,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (account, name)
);
CREATE TABLE IF NOT EXISTS risk_accounts (
    account text PRIMARY KEY,
    reserved_value numeric NOT NULL DEFAULT 0 CHECK (reserved_value >= 0)
);
CREATE TABLE IF NOT EXISTS risk_book (
    account text NOT NULL,
    con_id bigint NOT NULL,
    position numeric NOT NULL DEFAULT 0,
    reserved_buy numeric NOT NULL DEFAULT 0 CHECK (reserved_buy >= 0),
    reserved_sell numeric NOT NULL DEFAULT 0 CHECK (reserved_sell >= 0),
    PRIMARY KEY (account, con_id)
);
"""

_OVER = "('denied', 'rejected', 'filled', 'cancelled', 'expired')"

_ORDERS = f"""
CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY,
    principal text NOT NULL,
    idempotency_key text,
    fingerprint text NOT NULL DEFAULT '',
    account text NOT NULL CHECK (account <> ''),
    con_id bigint NOT NULL,
    symbol text NOT NULL,
    instrument_id text NOT NULL DEFAULT '',
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    type text NOT NULL CHECK (type <> ''),
    tif text NOT NULL,
    quantity numeric NOT NULL CHECK (quantity > 0 OR origin = 'external' AND quantity >= 0 OR state = 'denied'),
    limit_price numeric,
    stop_price numeric,
    trail_amount numeric,
    trail_percent numeric,
    good_till bigint,
    outside_rth boolean NOT NULL DEFAULT false,
    group_id uuid,
    group_kind text NOT NULL DEFAULT '' CHECK (group_kind IN ('', 'bracket', 'oca') AND (group_kind = '') = (group_id IS NULL)),
    group_role text NOT NULL DEFAULT ''
        CHECK (group_role IN ('', 'parent', 'take_profit', 'stop_loss', 'member') AND (group_role = '') = (group_kind = '')),
    oca_group text NOT NULL DEFAULT '',
    oca_type smallint CHECK (oca_type BETWEEN 1 AND 3),
    parent_id uuid REFERENCES orders,
    tags text[] NOT NULL DEFAULT '{{}}',
    origin text NOT NULL CHECK (origin IN ('api', 'front_end', 'kill', 'strategy', 'external')),
    valid_until bigint,
    state text NOT NULL CHECK (state IN ('accepted', 'reserved', 'sending', 'sent', 'held', 'working', 'inactive', 'unknown',
        'denied', 'rejected', 'filled', 'cancelled', 'expired')),
    state_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    why text NOT NULL DEFAULT '',
    pending text NOT NULL DEFAULT '' CHECK (pending IN ('', 'modify', 'cancel')),
    filled numeric NOT NULL DEFAULT 0 CHECK (filled >= 0),
    filled_by_status numeric,
    avg_fill_price numeric,
    reserved_quantity numeric NOT NULL DEFAULT 0
        CHECK (reserved_quantity >= 0 AND (reserved_quantity = 0 OR state NOT IN {_OVER})),
    reserved_value numeric NOT NULL DEFAULT 0 CHECK (reserved_value >= 0 AND (reserved_value = 0 OR reserved_quantity > 0)),
    unit_value numeric CHECK (unit_value >= 0),
    reducing boolean NOT NULL DEFAULT false,
    confirmed_quantity numeric,
    confirmed_limit numeric,
    confirmed_stop numeric,
    client_id integer,
    order_id integer,
    gateway_session bigint,
    perm_ids bigint[] NOT NULL DEFAULT '{{}}',
    broker_status text NOT NULL DEFAULT '',
    why_held text NOT NULL DEFAULT '',
    notices jsonb NOT NULL DEFAULT '[]',
    checks jsonb NOT NULL DEFAULT '[]',
    version bigint NOT NULL DEFAULT 1,
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    market_at bigint NOT NULL,
    sent_at timestamptz,
    acknowledged_at timestamptz,
    over_at timestamptz CHECK ((over_at IS NOT NULL) = (state IN {_OVER})),
    UNIQUE (principal, idempotency_key)
);
CREATE INDEX IF NOT EXISTS orders_open ON orders (account, con_id) WHERE state NOT IN {_OVER};
CREATE INDEX IF NOT EXISTS orders_of_account ON orders (account, accepted_at, id);
CREATE INDEX IF NOT EXISTS orders_of_principal ON orders (principal, accepted_at);
CREATE INDEX IF NOT EXISTS orders_of_group ON orders (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS orders_open_oca ON orders (account, oca_group) WHERE oca_group <> '' AND state NOT IN {_OVER};
CREATE INDEX IF NOT EXISTS orders_by_perm_id ON orders USING gin (perm_ids);
CREATE INDEX IF NOT EXISTS orders_by_order_id ON orders (client_id, order_id) WHERE order_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS order_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid REFERENCES orders,
    account text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    market_at bigint NOT NULL,
    kind text NOT NULL CHECK (kind <> ''),
    source text NOT NULL CHECK (source IN ('api', 'process', 'ib', 'person')),
    before text NOT NULL DEFAULT '',
    after text NOT NULL DEFAULT '',
    text text NOT NULL DEFAULT '',
    frame jsonb NOT NULL DEFAULT '{{}}'
);
CREATE INDEX IF NOT EXISTS order_events_of_account ON order_events (account, id);
CREATE INDEX IF NOT EXISTS order_events_of_order ON order_events (order_id, id) WHERE order_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS order_requests (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    account text NOT NULL,
    principal text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('modify', 'cancel')),
    wanted jsonb NOT NULL DEFAULT '{{}}',
    extra_reserved numeric NOT NULL DEFAULT 0 CHECK (extra_reserved >= 0),
    state text NOT NULL CHECK (state IN ('wanted', 'sending', 'sent', 'confirmed', 'refused', 'unknown', 'overtaken')),
    code integer,
    why text NOT NULL DEFAULT '',
    idempotency_key text,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    over_at timestamptz CHECK ((over_at IS NOT NULL) = (state IN ('confirmed', 'refused', 'overtaken'))),
    UNIQUE (principal, idempotency_key)
);
CREATE UNIQUE INDEX IF NOT EXISTS order_requests_one_modify ON order_requests (order_id)
    WHERE kind = 'modify' AND state IN ('wanted', 'sending', 'sent', 'unknown');
CREATE UNIQUE INDEX IF NOT EXISTS order_requests_one_cancel ON order_requests (order_id)
    WHERE kind = 'cancel' AND state IN ('wanted', 'sending', 'sent');
CREATE INDEX IF NOT EXISTS order_requests_of_order ON order_requests (order_id, asked_at);
CREATE INDEX IF NOT EXISTS order_requests_wanted ON order_requests (kind, asked_at) WHERE state = 'wanted';

CREATE TABLE IF NOT EXISTS kill_orders (
    id uuid PRIMARY KEY,
    account text NOT NULL CHECK (account <> ''),
    cancel text NOT NULL CHECK (cancel IN ('none', 'entries', 'ours', 'everything')),
    flatten boolean NOT NULL,
    by text NOT NULL,
    reason text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    text text NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS kill_orders_open ON kill_orders (asked_at) WHERE done_at IS NULL;
"""

_EXECUTIONS = """
CREATE TABLE IF NOT EXISTS executions (
    account text NOT NULL,
    exec_base text NOT NULL,
    revision integer NOT NULL,
    exec_id text NOT NULL,
    order_id uuid REFERENCES orders,
    perm_id bigint NOT NULL DEFAULT 0,
    client_id integer,
    broker_order_id integer,
    con_id bigint NOT NULL,
    side text NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity >= 0),
    price numeric NOT NULL,
    exchange text NOT NULL DEFAULT '',
    ts bigint NOT NULL,
    commission numeric,
    commission_currency text,
    broker_realized numeric,
    latest boolean NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    raw jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (account, exec_base, revision)
);
CREATE UNIQUE INDEX IF NOT EXISTS executions_one_latest ON executions (account, exec_base) WHERE latest;
CREATE INDEX IF NOT EXISTS executions_by_exec_id ON executions (exec_id);
CREATE INDEX IF NOT EXISTS executions_of_order ON executions (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS executions_of_account ON executions (account, ts);
CREATE INDEX IF NOT EXISTS executions_without_commission ON executions (seen_at) WHERE commission IS NULL AND latest;

CREATE TABLE IF NOT EXISTS early_commissions (
    exec_id text PRIMARY KEY,
    commission numeric NOT NULL,
    currency text NOT NULL,
    realized numeric,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

_POSITIONS = """
CREATE TABLE IF NOT EXISTS broker_positions (
    account text NOT NULL,
    con_id bigint NOT NULL,
    quantity numeric NOT NULL,
    avg_cost numeric,
    as_of bigint NOT NULL,
    PRIMARY KEY (account, con_id)
);
CREATE TABLE IF NOT EXISTS position_openings (
    account text NOT NULL,
    con_id bigint NOT NULL,
    quantity numeric NOT NULL,
    price numeric,
    at bigint NOT NULL,
    PRIMARY KEY (account, con_id)
);
CREATE TABLE IF NOT EXISTS position_adjustments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    con_id bigint NOT NULL,
    quantity numeric NOT NULL,
    price numeric,
    kind text NOT NULL CHECK (kind IN ('opening', 'transfer', 'assignment', 'expiry', 'corporate_action', 'missed_fills',
        'correction')),
    reason text NOT NULL CHECK (reason <> ''),
    by text NOT NULL,
    at bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS position_adjustments_of_account ON position_adjustments (account, con_id);
CREATE TABLE IF NOT EXISTS position_breaks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    con_id bigint NOT NULL,
    expected numeric NOT NULL,
    broker numeric NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz,
    adjustment_id bigint REFERENCES position_adjustments,
    by text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX IF NOT EXISTS position_breaks_open ON position_breaks (account, con_id) WHERE until IS NULL;
"""

_PROCESS = """
CREATE TABLE IF NOT EXISTS gateway_sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id integer NOT NULL,
    next_order_id integer NOT NULL,
    accounts text[] NOT NULL,
    server_version integer,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
CREATE TABLE IF NOT EXISTS order_ids (
    client_id integer PRIMARY KEY,
    next_order_id integer NOT NULL CHECK (next_order_id > 0)
);
CREATE TABLE IF NOT EXISTS order_process (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    token bigint NOT NULL,
    holder text NOT NULL,
    state text NOT NULL CHECK (state IN ('starting', 'connecting', 'reconciling', 'ready', 'not_ready', 'stopped')),
    reason text NOT NULL DEFAULT '',
    mode text NOT NULL DEFAULT 'off' CHECK (mode IN ('off', 'paper', 'live')),
    client_id integer,
    accounts text[] NOT NULL DEFAULT '{}',
    last_reconciled_at timestamptz,
    heartbeat timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


def upgrade() -> None:
    for statements in (_RIGHTS, _RISK, _ORDERS, _EXECUTIONS, _POSITIONS, _PROCESS):
        op.execute(statements)
