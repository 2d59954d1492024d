"""A deployed process checks the database that libpq will connect to, not the one that its URL seems to name."""

import psycopg2
import pytest

from nautilus.settings.base import DatabaseSettings, read
from nautilus.settings.database_url import addresses, effective, on_this_machine

STRONG = "kR7-xyz"
REFUSED = {
    # what looks like this machine and is another
    "host in the query": ("postgresql://u:{p}@127.0.0.1/d?host=db.example.com", {}),
    "host in the query, escaped": ("postgresql://u:{p}@localhost/d?host=%64b.example.com", {}),
    "hostaddr in the query": ("postgresql://u:{p}@localhost/d?hostaddr=10.0.0.7", {}),
    "the last of two hosts in the query": ("postgresql://u:{p}@localhost/d?host=localhost&host=db.example.com", {}),
    "one of several": ("postgresql://u:{p}@localhost,db.example.com/d", {}),
    "one of several with ports": ("postgresql://u:{p}@127.0.0.1:1,[::1]:2,10.0.0.7:3/d", {}),
    "one of several addresses": ("postgresql://u:{p}@/d?host=localhost,localhost&hostaddr=127.0.0.1,10.0.0.7", {}),
    "a host by the environment": ("postgresql://u:{p}@/d", {"PGHOST": "db.example.com"}),
    "an address by the environment": ("postgresql://u:{p}@localhost/d", {"PGHOSTADDR": "10.0.0.7"}),
    "a service in the query": ("postgresql://u:{p}@localhost/d?service=other", {}),
    "a service by the environment": ("postgresql://u:{p}@localhost/d", {"PGSERVICE": "other"}),
    "a service, although TLS is asked for": ("postgresql://u:{p}@h/d?sslmode=require&service=x", {}),
    "an address that is no loopback": ("postgresql://u:{p}@127.0.0.1.example.com/d", {}),
    # no TLS
    "no mode": ("postgresql://u:{p}@db.example.com/d", {}),
    "a mode that allows none": ("postgresql://u:{p}@db.example.com/d?sslmode=prefer", {}),
    "the last of two modes": ("postgresql://u:{p}@db.example.com/d?sslmode=require&sslmode=disable", {}),
    "a mode by the environment that the URL overrides": (
        "postgresql://u:{p}@db.example.com/d?sslmode=disable",
        {"PGSSLMODE": "require"},
    ),
    "a mode by the environment": ("postgresql://u:{p}@db.example.com/d", {"PGSSLMODE": "allow"}),
    # a password that anybody guesses
    "escaped": ("postgresql://u:%70assword@localhost/d", {}),
    "in the query": ("postgresql://u:{p}@localhost/d?password=postgres", {}),
    "by the environment": ("postgresql://u@localhost/d", {"PGPASSWORD": "nautilus"}),
    "none": ("postgresql://u@localhost/d", {}),
    # what libpq does not read
    "no URL": ("postgresql://u:{p}@[::1/d", {}),
    "an unknown parameter": ("postgresql://u:{p}@localhost/d?nonsense=1", {}),
}
TAKEN = {
    "this machine": ("postgresql://u:{p}@localhost/d", {}),
    "in capitals": ("postgresql://u:{p}@LocalHost/d", {}),
    "its addresses": ("postgresql://u:{p}@127.0.0.1:5432,[::1],127.8.8.8/d", {}),
    "its socket": ("postgresql://u:{p}@%2Fvar%2Frun%2Fpostgresql/d", {}),
    "its socket in the query": ("postgresql://u:{p}@/d?host=/tmp", {}),
    "another by TLS": ("postgresql://u:{p}@db.example.com/d?sslmode=verify-full", {}),
    "several by TLS": ("postgresql://u:{p}@a.example.com,b.example.com/d?sslmode=require", {}),
    "by the old word of other drivers": ("postgresql://u:{p}@db.example.com/d?ssl=true", {}),
    "TLS by the environment": ("postgresql://u:{p}@db.example.com/d", {"PGSSLMODE": "verify-full"}),
    "a password by the environment": ("postgresql://u@localhost/d", {"PGPASSWORD": STRONG}),
    "a host by the environment that the URL overrides": ("postgresql://u:{p}@localhost/d", {"PGHOST": "h.example.com"}),
    "a name that is this machine's by its address": ("postgresql://u:{p}@db.example.com/d?hostaddr=127.0.0.1", {}),
}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch):
    for name in ("PGHOST", "PGHOSTADDR", "PGPASSWORD", "PGSSLMODE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)

    def settings(url: str, environment: dict[str, str], env: str = "prod") -> DatabaseSettings:
        for name, value in {**environment, "NAUTILUS_ENV": env, "NAUTILUS_DATABASE_URL": url.format(p=STRONG)}.items():
            monkeypatch.setenv(name, value)
        return read(DatabaseSettings)

    return settings


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("env", ["prod", "staging"])
def test_a_deployed_process_refuses(deployed, what, env):
    with pytest.raises(ValueError) as refused:
        deployed(*REFUSED[what], env)
    [error] = refused.value.errors(include_input=False)  # type: ignore[attr-defined]
    assert STRONG not in error["msg"]
    assert "database_url" in error["msg"]


@pytest.mark.parametrize("what", TAKEN)
def test_a_deployed_process_takes(deployed, what):
    assert deployed(*TAKEN[what])


@pytest.mark.parametrize("what", REFUSED)
def test_elsewhere_anything_goes(deployed, what):
    assert deployed(*REFUSED[what], "dev")


def test_hosts_are_those_that_libpq_tries(postgres) -> None:
    """Held against libpq itself: what it says of a connection, and of one that fails."""
    dsn = postgres.dsn("postgres")
    found = effective(dsn, {})
    with psycopg2.connect(dsn) as connection:
        assert connection.info.dsn_parameters["host"] in addresses(found)
    connection.close()
    for query in ("host=nowhere.invalid", "hostaddr=127.0.0.9", "host=127.0.0.8,127.0.0.9"):
        tried = addresses(effective(f"postgresql://u:p@127.0.0.1:1/d?{query}", {}))
        with pytest.raises(psycopg2.OperationalError) as failed:
            psycopg2.connect(f"postgresql://u:p@127.0.0.1:1/d?{query}", connect_timeout=3)
        assert all(address in str(failed.value) for address in tried), failed.value


def test_this_machine() -> None:
    for host in ("", "/tmp", "@abstract", "localhost", "127.0.0.1", "127.255.0.1", "::1"):
        assert on_this_machine(host), host
    for host in ("10.0.0.1", "localhost.", "localhost.example.com", "127.1", "0.0.0.0", "::", "2130706433"):
        assert not on_this_machine(host), host
