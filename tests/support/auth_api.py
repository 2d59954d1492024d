"""The whole API in this process on a real database, with keys of its own, for the tests of sign-in."""

import asyncio
import itertools
import json
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import psycopg2
import psycopg2.extras
from fastapi import FastAPI
from pydantic import SecretStr

import dev.local_api
from dev.credentials import new_private_key, public_pem
from nautilus.auth.accounts.users import put_user
from nautilus.auth.authenticate import DENIED_FOR_S, Callers, machine_clocks
from nautilus.auth.passwords import Passwords
from nautilus.auth.scopes import ROLES
from nautilus.auth.tokens.sign import Signer
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings

AUTH = "/api/v1/auth"
PASSWORD = "a rather long sentence, 7"
ADMIN_PASSWORD = "the administrator's sentence, 9"
CHEAP = {"passes": 1, "memory_kib": 64}
"""Argon2 parameters for tests that are not about its cost."""
_addresses = itertools.count(1)
T = TypeVar("T")


def settings_of(dsn: str, pem: str, kid: str = "dev-1", **more: Any) -> AuthSettings:
    values: dict[str, Any] = {
        "database_url": SecretStr(dsn),
        "database_pool": 4,
        "allowed_hosts": ("testserver", "api.example.com"),
        "token_private_key": SecretStr(pem),
        "token_key_id": kid,
        "token_public_keys": json.dumps({kid: public_pem(pem)}),
    }
    return AuthSettings(**(values | more))


class MovedClocks:
    """The machine's clocks, moved forward by as many seconds as a test says."""

    def __init__(self) -> None:
        self.monotonic_s = 0.0
        self.time_s = 0.0

    def __call__(self) -> tuple[float, float]:
        monotonic, time_of_day = machine_clocks()
        return monotonic + self.monotonic_s, time_of_day + self.time_s

    def move(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.time_s += seconds


class Loop:
    """An event loop in a thread of its own, so that tests need not be coroutines."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Client:
    """Somebody elsewhere who sends requests: an address, headers and cookies of their own."""

    def __init__(self, app: Any, loop: Loop, address: str, base: str) -> None:
        transport = httpx.ASGITransport(app, client=(address, 50_000), raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url=base, timeout=30)
        self.tokens: dict[str, Any] = {}
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the API's event loop."""
        return self._loop.run(work)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._loop.run(self.http.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)

    def patch(self, path: str, **more: Any) -> httpx.Response:
        return self.request("PATCH", path, **more)

    def delete(self, path: str, **more: Any) -> httpx.Response:
        return self.request("DELETE", path, **more)

    def together(self, count: int, method: str, path: str, **more: Any) -> list[httpx.Response]:
        """The same request `count` times at once."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self.http.request(method, path, **more) for _ in range(count)))

        return self._loop.run(all_of_them())

    def close(self) -> None:
        self._loop.run(self.http.aclose())


class Api:
    """The API with an administrator `boss` and a user `ann`; each client has an address of its own.

    argon2: other parameters than the cheap ones.
    """

    def __init__(
        self, dsn: str, *, real_argon2: bool = False, argon2: Mapping[str, int] | None = None, **more: Any
    ) -> None:
        self.dsn = dsn
        self.pem = new_private_key()
        self.settings = settings_of(dsn, self.pem, **more)
        self.app = dev.local_api.create(self.settings)
        self.services: Services = self.app.state.services
        self.clocks = MovedClocks()
        self.services.callers = Callers(self.services.db, self.services.keys, self.services.log, clocks=self.clocks)
        self.passwords = self.services.kept(Passwords, lambda: Passwords(**({} if real_argon2 else argon2 or CHEAP)))
        put_user(
            self.services.db,
            self.passwords,
            username="boss",
            password=ADMIN_PASSWORD,
            scopes=ROLES["admin"],
            reason="test",
        )
        put_user(
            self.services.db, self.passwords, username="ann", password=PASSWORD, scopes=ROLES["analyst"], reason="test"
        )
        self._loop = Loop()
        self._clients: list[Client] = []

    def client(
        self, address: str | None = None, base: str = "http://testserver", *, app: FastAPI | None = None
    ) -> Client:
        """app: another one than this API's."""
        number = next(_addresses)
        made = Client(app or self.app, self._loop, address or f"198.51.{number // 250}.{number % 250 + 1}", base)
        self._clients.append(made)
        return made

    def login(self, name: str = "ann", password: str = PASSWORD, client: Client | None = None) -> dict[str, Any]:
        answer = (client or self.client()).post(f"{AUTH}/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def signed_in(self, name: str = "ann", password: str = PASSWORD) -> Client:
        """A client that sends its access token, and no cookie; `tokens` is the answer of its sign-in."""
        client = self.client()
        client.tokens = self.login(name, password, client)
        client.http.headers["authorization"] = f"Bearer {client.tokens['access_token']}"
        client.http.cookies.clear()
        return client

    def boss(self) -> Client:
        return self.signed_in("boss", ADMIN_PASSWORD)

    def new_key(self, client: Client | None = None, **body: Any) -> dict[str, Any]:
        answer = (client or self.signed_in()).post(f"{AUTH}/api-keys", json={"name": "script"} | body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def signer(self) -> Signer:
        return Signer("dev-1", self.pem, issuer="nautilus", audience="nautilus-api")

    def sql(self, statement: str, *values: Any) -> list[Any]:
        connection = psycopg2.connect(self.dsn, cursor_factory=psycopg2.extras.NamedTupleCursor)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def forget_denied(self) -> None:
        """Let the deny list be read at the next request: five seconds pass."""
        self.clocks.move(DENIED_FOR_S)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._loop.close()
        self.services.db.close()


@contextmanager
def api_of(dsn: str, **more: Any) -> Iterator[Api]:
    api = Api(dsn, **more)
    try:
        yield api
    finally:
        api.close()


def key(text: str) -> dict[str, str]:
    return {"x-api-key": text}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def log_text(caplog) -> str:
    """Everything that was logged, with all fields."""
    return "\n".join(json.dumps(record.__dict__, default=str) for record in caplog.records)
