"""What an order costs of PostgreSQL, as the server's own log tells: round trips and their time, by who made them."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import psycopg2

from dev.postgres import Postgres

_LINE = re.compile(
    r"^(?P<who>nautilus-[\w-]+)\|LOG:  duration: (?P<ms>[\d.]+) ms  statement: (?P<what>.*)$", re.MULTILINE
)
_COMMIT = "COMMIT"


class Cost(NamedTuple):
    """trips: statements, several of one message counted once; commits among them; ms: the server's time for all."""

    trips: float = 0.0
    commits: float = 0.0
    ms: float = 0.0


@contextmanager
def logging(postgres: Postgres) -> Iterator[None]:
    """The server writes each statement into its log, with who sent it."""
    wanted = {"log_line_prefix": "'%a|'", "log_min_duration_statement": "0"}
    _alter(postgres, *(f"SET {name} = {value}" for name, value in wanted.items()))
    try:
        yield
    finally:
        _alter(postgres, *(f"RESET {name}" for name in wanted))


def _alter(postgres: Postgres, *changes: str) -> None:
    with closing(psycopg2.connect(postgres.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for change in changes:
                cursor.execute(f"ALTER SYSTEM {change}")
            cursor.execute("SELECT pg_reload_conf()")
    time.sleep(1.0)  # each server process reads its settings before its next statement


def costs(postgres: Postgres, work: Callable[[], None]) -> tuple[dict[str, Cost], float]:
    """Who -> what it cost while `work` was done, and the seconds that took."""
    before, began = postgres.child.log.stat().st_size, time.monotonic()
    work()
    took_s = time.monotonic() - began
    with postgres.child.log.open("rb") as log:
        log.seek(before)
        text = log.read().decode(errors="replace")
    found: dict[str, Cost] = {}
    for line in _LINE.finditer(text):
        so_far = found.get(line["who"], Cost())
        commits = so_far.commits + (line["what"] == _COMMIT)
        found[line["who"]] = Cost(so_far.trips + 1, commits, so_far.ms + float(line["ms"]))
    return found, took_s


def per_order(busy: tuple[dict[str, Cost], float], idle: tuple[dict[str, Cost], float], orders: int) -> dict[str, Cost]:
    """What each of `orders` cost, without what the same processes do anyway."""
    (found, took_s), (anyway, idle_s) = busy, idle
    return {
        who: Cost(
            *((of - its * took_s / idle_s) / orders for of, its in zip(cost, anyway.get(who, Cost()), strict=True))
        )
        for who, cost in found.items()
    }
