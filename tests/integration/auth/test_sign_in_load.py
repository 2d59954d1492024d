"""Many who sign in at once: the others are served beside them, and who was not judged has not failed."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import psycopg2
import pytest

from nautilus.auth.accounts.attempts import Attempts
from nautilus.auth.principal import Client as Caller
from tests.support.auth_api import ADMIN_PASSWORD, AUTH, PASSWORD, Api, Client, api_of

CALLERS = 80
MANY = 50
"""So many of a crowd are still at the door when somebody else has been served. More than there are threads for all."""
HEAVY = {"passes": 60, "memory_kib": 8 * 1024}
"""A check takes a third of a second of the processor, two run at a time: the crowd takes longer than anybody waits."""


@pytest.fixture
def api(dsn: str) -> Iterator[Api]:
    with api_of(dsn, argon2=HEAVY, database_pool=10) as made:
        yield made


async def login(api: Api, number: int, _: Client) -> httpx.Response:
    """Somebody whom nobody knows, from an address of their own: refused after the same work as anybody."""
    body = {"username": f"nobody{number}", "password": "a wrong one, but long"}
    return await api.client().http.post(f"{AUTH}/login", json=body)


async def make_user(_: Api, number: int, boss: Client) -> httpx.Response:
    return await boss.http.post(f"{AUTH}/users", json={"username": f"new{number}", "password": PASSWORD})


async def change_user(_: Api, number: int, boss: Client) -> httpx.Response:
    return await boss.http.patch(f"{AUTH}/users/2", json={"password": f"{PASSWORD} {number}"})


@pytest.mark.parametrize("work", [login, make_user, change_user])
def test_others_are_served_while_many_sign_in(api: Api, work: Any) -> None:
    boss = api.signed_in("boss", ADMIN_PASSWORD)
    boss.get(f"{AUTH}/me")  # the deny list is at hand

    async def callers() -> tuple[list[tuple[str, int, int]], list[httpx.Response]]:
        tasks = [asyncio.create_task(work(api, n, boss)) for n in range(CALLERS)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)  # by now all others wait
        served = []
        for path in ("/health", f"{AUTH}/me", f"{AUTH}/jwks.json"):
            answer = await boss.http.get(path)
            served.append((path, answer.status_code, sum(not task.done() for task in tasks)))
        return served, await asyncio.gather(*tasks)

    served, answers = boss.run(callers())
    assert [(path, status) for path, status, _ in served] == [
        ("/health", 200),
        (f"{AUTH}/me", 200),
        (f"{AUTH}/jwks.json", 200),
    ]
    assert min(waiting for *_, waiting in served) >= MANY, served
    body = {answer.status_code for answer in answers}
    assert body <= {200, 201, 401, 503}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 503} <= {"sign-in-busy"}


def test_who_hears_busy_has_not_failed(api: Api) -> None:
    door = api.client()

    async def callers() -> list[httpx.Response]:
        return await asyncio.gather(*(login(api, n, door) for n in range(CALLERS)))

    statuses = [answer.status_code for answer in door.run(callers())]
    assert set(statuses) == {401, 503}, "some were judged, some were not"
    failures = {row.subject: row.failures for row in api.sql("SELECT subject, failures FROM login_failures")}
    for kind in ("pair:", "name:", "address:"):
        counted = sorted(count for subject, count in failures.items() if subject.startswith(kind))
        assert counted == [0] * statuses.count(503) + [1] * statuses.count(401), kind


def test_an_attempt_given_back_leaves_the_counters_as_they_were(api: Api) -> None:
    door = Attempts(api.services.db, api.services.log)
    here, there = Caller("203.0.113.1"), Caller("203.0.113.2")
    for _ in range(3):
        door.admit("ann", here)
    api.sql("UPDATE login_failures SET last_failed_at = last_failed_at - interval '2 hours 1 minute'")
    before = api.sql("SELECT subject, failures, last_failed_at FROM login_failures ORDER BY subject")
    assert {row.failures for row in before} == {3}
    attempt = door.admit("ann", here)
    assert {row.failures for row in api.sql("SELECT failures FROM login_failures")} == {1}, "halved twice, and one more"
    door.give_back(attempt)
    assert api.sql("SELECT subject, failures, last_failed_at FROM login_failures ORDER BY subject") == before

    # Somebody else tries the same name meanwhile: theirs stays counted, and when it was.
    attempt = door.admit("ann", here)
    door.admit("ann", there)
    later = api.sql("SELECT last_failed_at FROM login_failures WHERE subject LIKE 'name:%%'")
    door.give_back(attempt)
    now = api.sql("SELECT failures, last_failed_at FROM login_failures WHERE subject LIKE 'name:%%'")
    assert [row.last_failed_at for row in now] == [row.last_failed_at for row in later]
    assert [row.failures for row in now] == [1]


def test_an_attempt_that_the_database_cut_short_is_not_counted(dsn: str) -> None:
    with api_of(dsn, statement_timeout_ms=1_000) as api, closing(psycopg2.connect(dsn)) as other:
        other.cursor().execute("SELECT 1 FROM users FOR UPDATE")
        door = api.client()
        for _ in range(2):
            answer = door.post(f"{AUTH}/login", json={"username": "ann", "password": PASSWORD})
            assert (answer.status_code, answer.json()["code"]) == (503, "database-slow")
        assert [row.failures for row in api.sql("SELECT failures FROM login_failures")] == [0, 0, 0]
        other.rollback()
        assert api.login(client=door)
