"""Lots and matches of executions, cash, equity, and what IB says about each position.

revision: 0018; after: 0017
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_LOTS = """
ALTER TABLE executions ADD COLUMN IF NOT EXISTS fx_rate numeric CHECK (fx_rate > 0);

CREATE TABLE IF NOT EXISTS lot_books (
    account text NOT NULL,
    con_id bigint NOT NULL,
    last_ts bigint,
    last_key text NOT NULL DEFAULT '',
    matches integer NOT NULL DEFAULT 0 CHECK (matches >= 0),
    PRIMARY KEY (account, con_id)
);
CREATE TABLE IF NOT EXISTS lots (
    account text NOT NULL,
    con_id bigint NOT NULL,
    seq integer NOT NULL,
    opened_key text NOT NULL,
    ts bigint NOT NULL,
    quantity numeric NOT NULL CHECK (quantity <> 0),
    opened numeric NOT NULL CHECK (opened <> 0),
    cost numeric,
    PRIMARY KEY (account, con_id, seq),
    FOREIGN KEY (account, con_id) REFERENCES lot_books
);
CREATE TABLE IF NOT EXISTS lot_matches (
    account text NOT NULL,
    con_id bigint NOT NULL,
    seq integer NOT NULL,
    opened_key text NOT NULL,
    closed_key text NOT NULL,
    opened_ts bigint NOT NULL,
    closed_ts bigint NOT NULL,
    quantity numeric NOT NULL CHECK (quantity <> 0),
    opened numeric NOT NULL CHECK (opened <> 0),
    cost numeric,
    proceeds numeric,
    flat boolean NOT NULL,
    PRIMARY KEY (account, con_id, seq),
    FOREIGN KEY (account, con_id) REFERENCES lot_books
);
CREATE INDEX IF NOT EXISTS lot_matches_of_account ON lot_matches (account, closed_ts);
"""

_CASH = """
CREATE TABLE IF NOT EXISTS cash_openings (
    account text NOT NULL,
    currency text NOT NULL CHECK (currency <> ''),
    balance numeric NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (account, currency)
);
CREATE TABLE IF NOT EXISTS cash_movements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text NOT NULL,
    currency text NOT NULL CHECK (currency <> ''),
    amount numeric NOT NULL,
    kind text NOT NULL CHECK (kind IN ('interest', 'dividend', 'fee', 'tax', 'deposit', 'withdrawal', 'other')),
    ts bigint NOT NULL,
    text text NOT NULL DEFAULT '',
    source text NOT NULL CHECK (source IN ('broker', 'flex', 'person')),
    external_id text,
    by text NOT NULL DEFAULT '',
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account, external_id)
);
CREATE INDEX IF NOT EXISTS cash_movements_of_account ON cash_movements (account, ts);
"""

_EQUITY = """
CREATE TABLE IF NOT EXISTS equity_days (
    account text NOT NULL,
    trade_date date NOT NULL,
    net_liquidation numeric NOT NULL,
    currency text NOT NULL,
    source text NOT NULL CHECK (source IN ('broker', 'flex')),
    as_of bigint NOT NULL,
    PRIMARY KEY (account, trade_date)
);
CREATE TABLE IF NOT EXISTS pnl_minutes (
    account text NOT NULL,
    minute bigint NOT NULL,
    net_liquidation numeric,
    daily numeric,
    unrealized numeric,
    realized numeric,
    PRIMARY KEY (account, minute)
);
"""

_BROKER = """
CREATE TABLE IF NOT EXISTS broker_pnl (
    account text NOT NULL,
    con_id bigint NOT NULL,
    quantity numeric,
    daily numeric,
    unrealized numeric,
    realized numeric,
    value numeric,
    as_of bigint NOT NULL,
    PRIMARY KEY (account, con_id)
);
CREATE TABLE IF NOT EXISTS position_checks (
    account text NOT NULL,
    con_id bigint NOT NULL,
    quantity numeric NOT NULL,
    verified_at bigint NOT NULL,
    PRIMARY KEY (account, con_id)
);
"""


def upgrade() -> None:
    for statements in (_LOTS, _CASH, _EQUITY, _BROKER):
        op.execute(statements)
