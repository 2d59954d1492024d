"""What `sam build` made, run by Python 3.13 and AWS's runtime client, with real servers behind it.

Skipped, with the reason, where there is no python3.13 or no build of the present sources; `make test` builds first.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from dev.credentials import token_settings
from dev.lambda_build import missing
from dev.lambda_events import http_event
from dev.lambda_runtime import Function, running
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import USER_SCOPES
from nautilus.db.auth import users
from nautilus.db.connection import Database
from nautilus.db.market import instruments
from nautilus.market.symbols import select
from tests.conftest import database
from tests.support.stored_bars import stock

USER, PASSWORD = "trader", "correct horse"
PATIENCE_S = 300
"""How long an event may take on a machine that does much else."""


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def store(server: Any, template: str) -> Iterator[SimpleNamespace]:
    """A database with one user and 50,000 one-minute bars of AAPL; `dsn` and `db`."""
    with database(server, template) as dsn:
        db = Database(dsn, name="tests", size=1)
        with db.transaction() as cursor:
            users.put(cursor, USER, Passwords().hash(PASSWORD), USER_SCOPES)
            instruments.store(cursor, _AAPL, {})
            instruments.remember(cursor, select(instrument_id=_AAPL.instrument_id).key, [_AAPL.con_id], keep_s=None)
            cursor.execute(
                "INSERT INTO series (con_id, timeframe, price, session) VALUES (265598, '1m', 'TRADES', 'rth') RETURNING id"
            )
            cursor.execute(
                "INSERT INTO bars_minute (series_id, ts, open, high, low, close, volume, vwap, trades)"
                " SELECT %s, (1704465000 + 60 * n) * 1000000000::bigint, 181.99, 182.76, 180.17, 181.18, 1234567, 181.5, 4321"
                " FROM generate_series(0, 49999) n",
                (cursor.fetchone().id,),
            )
        yield SimpleNamespace(dsn=dsn, db=db)
        db.close()


_AAPL = stock(265598)


@pytest.fixture(scope="session")
def hints(sqs: Any) -> SimpleNamespace:
    """The queue that the functions send to."""
    url, _ = sqs.make_queue_pair("built")
    return SimpleNamespace(url=url, endpoint_url=sqs.endpoint_url)


@pytest.fixture(scope="session")
def settings(servers: Any, store: SimpleNamespace, hints: SimpleNamespace) -> Mapping[str, str]:
    """The environment of every function, as the template makes it, with local servers."""
    return {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "session-1",
        "NAUTILUS_ENV": "staging",
        "NAUTILUS_DATABASE_URL": store.dsn,
        "NAUTILUS_DATABASE_POOL": "1",
        # Nothing here is about how soon an answer comes; the tests that are say so with settings of their own.
        "NAUTILUS_STATEMENT_TIMEOUT_MS": str(PATIENCE_S * 1000),
        "NAUTILUS_QUEUE_URL": hints.url,
        "NAUTILUS_QUEUE_ENDPOINT": hints.endpoint_url,
        "POWERTOOLS_METRICS_NAMESPACE": "Nautilus/test",
        "NAUTILUS_TOKEN_MINUTES": "60",
        **token_settings(servers.folder, kid_prefix="built-"),
    }


@pytest.fixture(scope="session")
def functions(servers: Any, settings: Mapping[str, str]) -> Iterator[Callable[[str], Function]]:
    """`functions("bars")`: that function, started when first asked for, then warm."""
    started: dict[str, Function] = {}
    with ExitStack() as stack:

        def named(name: str) -> Function:
            if name not in started:
                log = servers.folder / f"lambda-{name}.log"
                made = Function(servers.group, name, log, settings, timeout_s=PATIENCE_S)
                started[name] = stack.enter_context(running(made))
            return started[name]

        yield named


@pytest.fixture(scope="session")
def token(functions: Callable[[str], Function]) -> str:
    """An access token of the user, from the sign-in function."""
    body = b64encode(json.dumps({"username": USER, "password": PASSWORD}).encode()).decode()
    event = http_event(
        "POST", "/api/v1/auth/login", headers={"content-type": "application/json"}, body=body, base64=True
    )
    answer = functions("auth").invoke(event)
    assert answer["statusCode"] == 200, answer
    return str(json.loads(answer["body"])["access_token"])
