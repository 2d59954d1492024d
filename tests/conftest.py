"""Real servers for tests: PostgreSQL, Redis and SQS, started when the first test asks for them.

One set per pytest-xdist worker: initdb takes about a second and starting next to nothing, so that sharing one between
workers would save little, and would need a lock and a last one to switch off the light. A test gets a database of its
own, a copy of a template in which the migrations ran once (20 to 50 ms by FILE_COPY; WAL_LOG took 50 to 200).

NAUTILUS_TEST_DSN names another server for those databases, such as one with TimescaleDB: the URL of a superuser, with a
password, and of any database there. Tests of servers themselves (that kill one, or look into its folder) go on with ours.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import redis

from dev.environment import CLIENT_ENVIRONMENT
from dev.postgres import Postgres, start_postgres
from dev.process import Group
from dev.redis import Redis, redis_binary, start_redis
from dev.sqs import Sqs, start_sqs
from nautilus.db.migrate import upgrade

_numbers = itertools.count(1)


class Server(Protocol):
    """A PostgreSQL server on which tests make databases."""

    def dsn(self, database: str) -> str:
        """A superuser's URL of one of its databases."""


@dataclass(frozen=True)
class Given:
    """A server that runs already."""

    url: str = field(repr=False)

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path="/" + database))


@pytest.fixture(scope="session")
def servers() -> Iterator[SimpleNamespace]:
    """`group` of server processes and the temporary `folder` of their data; both end with the session."""
    # Not below pytest's own folder, which only its owner may enter: dev/postgres.py may have to be somebody else.
    folder = Path(tempfile.mkdtemp(prefix="nautilus-tests-"))
    try:
        with Group() as group:
            yield SimpleNamespace(group=group, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(servers: SimpleNamespace) -> Postgres:
    server = start_postgres(servers.group, servers.folder, durable=False)
    server.child.wait_ready()
    return server


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """Where databases are made: on the server that NAUTILUS_TEST_DSN names, else on our own."""
    given = os.environ.get("NAUTILUS_TEST_DSN")
    return Given(given) if given else request.getfixturevalue("postgres")


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """Name of a database in which all migrations ran. Nobody may connect to it, as workers of TimescaleDB would."""
    with database(server, "template0") as own:
        upgrade(own)
        name = urlsplit(own).path[1:]
        with unconnected(server, name):
            yield name


@pytest.fixture
def dsn(server: Server, template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with database(server, template) as own:
        yield own


@pytest.fixture
def empty_dsn(server: Server) -> Iterator[str]:
    """An empty database of this test's own."""
    with database(server, "template0") as own:
        yield own


@pytest.fixture(scope="session")
def redis_server(servers: SimpleNamespace) -> Redis:
    if redis_binary() is None:
        pytest.skip("there is no redis-server on this machine")
    server = start_redis(servers.group, servers.folder)
    server.child.wait_ready()
    return server


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis."""
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def sqs(servers: SimpleNamespace) -> Sqs:
    server = start_sqs(servers.group, servers.folder)
    server.child.wait_ready()
    return server


@pytest.fixture
def queue(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A queue of this test's own: `url`, its dead-letter queue `dead_url`, and the server's `endpoint_url`.

    The environment holds the credentials that boto3 insists on, and nothing else of AWS.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CLIENT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    url, dead_url = sqs.make_queue_pair(f"test-{next(_numbers)}")
    return SimpleNamespace(url=url, dead_url=dead_url, endpoint_url=sqs.endpoint_url)


@contextmanager
def database(server: Server, template: str) -> Iterator[str]:
    """A copy of `template` as long as the block lasts; yields its DSN."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield server.dsn(name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def unconnected(server: Server, name: str) -> Iterator[None]:
    """Nobody is connected to a database, nor may connect, as a template asks. Workers of TimescaleDB would, unasked."""
    execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    execute(server, f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
    yield
    execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def execute(server: Server, statement: str) -> None:
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
