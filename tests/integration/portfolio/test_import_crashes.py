"""An import over a PostgreSQL that is killed with -9: between parts, and within the finish."""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from dev.postgres import start_postgres
from nautilus.db.connection import Database
from nautilus.db.migrate import upgrade
from nautilus.db.orders import positions, risk_book
from nautilus.db.orders.positions import Adjustment
from nautilus.db.portfolio import imports
from nautilus.errors import Unavailable
from nautilus.portfolio import import_items
from nautilus.portfolio.importing import ImportDesk
from tests.support.imports import TRADER, bought, counts, pieces, report, request, state
from tests.support.order_ledger import ACCOUNT, NOW, findings, furnish

_numbers = itertools.count(1)
FILLS = 120


class Killed:
    """A durable server of its own, which can be killed and started again."""

    def __init__(self, servers: Any) -> None:
        self._servers = servers
        self._folder = servers.folder / f"imports-{next(_numbers)}"
        self._server = start_postgres(servers.group, self._folder, durable=True)
        self._server.child.wait_ready()
        upgrade(self._server.dsn())
        self.database = Database(self._server.dsn(), name="test", size=4)
        with self.database.transaction() as cursor:
            furnish(cursor)

    def kill(self) -> None:
        self._servers.group.kill_child(self._server.child)

    def start(self) -> None:
        self._server = start_postgres(self._servers.group, self._folder, durable=True, port=self._server.port)
        self._server.child.wait_ready()

    def close(self) -> None:
        self.database.close()
        self._servers.group.stop_child(self._server.child)


@pytest.fixture
def server(servers: Any) -> Iterator[Killed]:
    made = Killed(servers)
    yield made
    made.close()


def missed(database: Database) -> None:
    """A person booked the fills of the first contract before they come in a file."""
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        whole = Decimal(FILLS // 6)
        positions.adjust(cursor, Adjustment(ACCOUNT, 1, whole, "missed_fills", "at night", "user:1", NOW + 10**12))


def position(database: Database) -> Decimal:
    with database.transaction() as cursor:
        return risk_book.read(cursor, ACCOUNT, 1).position


def raw() -> bytes:
    return report([bought(n, 1, seconds=n, conid=n % 6 + 1) for n in range(1, FILLS + 1)])


def test_a_kill_between_parts_loses_no_part_that_was_answered(server: Killed) -> None:
    desk = ImportDesk(server.database)
    first, *rest = pieces(raw(), 20_000)
    begun = desk.begin(request(raw()), TRADER)
    desk.add_part(begun.row.id, 1, first, TRADER)
    server.kill()
    with pytest.raises(Unavailable):
        desk.add_part(begun.row.id, 2, rest[0], TRADER)
    server.start()
    again = desk.begin(request(raw()), TRADER)
    assert (again.row.id, [part.n for part in again.parts]) == (begun.row.id, [1])
    for n, part in enumerate(rest, start=2):
        desk.add_part(begun.row.id, n, part, TRADER)
    assert counts(desk.finish(begun.row.id, TRADER)) == {"new": FILLS}


@pytest.mark.parametrize("pieces_written", [0, 1, 3])
def test_a_kill_in_the_finish_leaves_whole_pieces_and_the_next_finish_goes_on(
    server: Killed, monkeypatch: pytest.MonkeyPatch, pieces_written: int
) -> None:
    monkeypatch.setattr(import_items, "PIECE", 20)
    missed(server.database)
    desk = ImportDesk(server.database)
    begun = desk.begin(request(raw()), TRADER)
    for n, part in enumerate(pieces(raw()), start=1):
        desk.add_part(begun.row.id, n, part, TRADER)
    advance, written = imports.advance, itertools.count()

    def advance_and_die(*given: Any) -> Any:
        done = advance(*given)
        if next(written) == pieces_written:
            server.kill()  # before the commit of this piece
        return done

    monkeypatch.setattr(imports, "advance", advance_and_die)
    with pytest.raises(Unavailable):
        desk.finish(begun.row.id, TRADER)
    monkeypatch.setattr(imports, "advance", advance)
    server.start()
    row = desk.read(begun.row.id, TRADER).row
    assert (row.items_done, row.counts.get("new", 0)) == (20 * pieces_written, 20 * pieces_written)
    assert len(state(server.database)["executions"]) == 20 * pieces_written
    assert findings(server.database) == []
    assert position(server.database) == FILLS // 6
    done = desk.finish(begun.row.id, TRADER)
    assert (done.row.state, counts(done)) == ("done", {"new": FILLS, "explained": FILLS // 6})
    assert position(server.database) == FILLS // 6, "as the person booked it"
    assert len(state(server.database)["executions"]) == FILLS
    assert findings(server.database) == []
