"""Executions that come after a person booked them as missed fills take the place of that adjustment: today's position stays."""

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nautilus.clock import NS_PER_S, rfc3339
from nautilus.db.orders import missed_fills, positions, risk_book
from nautilus.db.orders.positions import Adjustment
from nautilus.db.portfolio import booking, imports
from nautilus.orders.words import Commission, Position
from nautilus.portfolio import import_items
from nautilus.portfolio.importing import ImportDesk
from tests.support import reports
from tests.support.imports import TRADER, bought, counts, imported, report, state, uploaded
from tests.support.order_ledger import ACCOUNT, NOW, findings, ib_says
from tests.support.portfolio_api import CASH, Portfolio, portfolio

D = Decimal
MINUTE = 60 * NS_PER_S
HELD = 10
"""Units that were bought, for 1 of commission, before something was missed."""


@pytest.fixture
def books(dsn: str, tmp_path: Path) -> Iterator[Portfolio]:
    with portfolio(dsn, tmp_path) as made:
        made.fill(900, HELD, "100", at=NOW - 60 * MINUTE)
        yield made
        assert findings(made.db) == []


@pytest.fixture
def desk(books: Portfolio) -> ImportDesk:
    return ImportDesk(books.db)


def missed(books: Portfolio, quantity: int, *, until: int = -10, **given: Any) -> int:
    """A person books fills that nobody saw, `until` minutes from NOW; returns the adjustment's id. They differ from IB first."""
    now = position(books) + quantity
    with books.db.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        words = [Position(ACCOUNT, 1, now, None)]
        positions.put_all_broker(cursor, ACCOUNT, words, NOW + until * MINUTE)
        positions.compare(cursor, ACCOUNT)
        (found,) = positions.open_breaks(cursor, [ACCOUNT])
    body = {"kind": "missed_fills", "reason": "filled at night", "price": "110", "commission": "2", **given}
    answer = books.post(f"/breaks/{found.id}/resolve", **{name: value for name, value in body.items() if value})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["adjustment"]["id"])


def position(books: Portfolio) -> Decimal:
    with books.db.transaction() as cursor:
        return risk_book.read(cursor, ACCOUNT, 1).position


def breaks(books: Portfolio) -> list[Any]:
    return list(books.get("/breaks", open="true")["breaks"])


def adjustment(books: Portfolio, number: int) -> dict[str, Any]:
    """As the history of breaks shows it."""
    found = [one["adjustment"] for one in books.get("/breaks")["breaks"] if one["adjustment"]]
    return next(one for one in found if one["id"] == number)


def parts(books: Portfolio, number: int) -> tuple[str, str, str, str | None]:
    found = adjustment(books, number)
    assert found["reason"] == "filled at night"
    return found["quantity"], found["explained"], found["left"], found["commission"]


def lots(books: Portfolio) -> list[Any]:
    with books.db.transaction() as cursor:
        return [(row.opened_key, row.quantity, row.cost) for row in booking.stored(cursor, ACCOUNT, 1).lots]


def late(number: int, quantity: int, *, minutes: int = -20, **changes: Any) -> dict[str, str]:
    """A fill of a report, so many minutes from NOW."""
    return bought(number, quantity, seconds=minutes * 60, **{"tradePrice": "110", **changes})


def taken_back(fill: dict[str, str], revision: int) -> dict[str, str]:
    return reports.cancel(fill, ibExecID=f"{fill['ibExecID'].partition('.')[0]}.{revision:02d}")


# ---- what becomes of the adjustment ----------------------------------------------------------------------------------


def test_fills_that_a_person_booked_move_no_position_and_open_no_break(books: Portfolio, desk: ImportDesk) -> None:
    number = missed(books, 20)
    done = imported(desk, report([late(1, 15, ibCommission="-1"), late(2, 5, tradePrice="112", ibCommission="-0.5")]))
    assert counts(done) == {"new": 2, "explained": 2}
    assert (position(books), list(done.differences), breaks(books)) == (D(30), [], [])
    assert parts(books, number) == ("20", "20", "0", "0")
    assert adjustment(books, number)["explained_by"] == ["000001", "000002"]
    assert lots(books) == [("exec:000900", 10, 1000), ("exec:000001", 15, 1650), ("exec:000002", 5, 560)]
    # 1,000 and 1 before; 1,650 + 560 and 1.50 now: what the person entered (2,200 and 2) counts no more.
    books.quote(last=130.0)
    books.values(at=NOW, CashBalance=str(CASH - 1000 - 1 - 2210 - D("1.5")))
    (found,) = books.get("/performance", account=ACCOUNT)["identities"]
    assert (found["book"]["identity"], found["cash"]["identity"]) == ("identity: holds", "identity: holds")


def test_what_executions_do_not_explain_stays_an_adjustment_with_its_share_of_the_commission(
    books: Portfolio, desk: ImportDesk
) -> None:
    number = missed(books, -8, commission="4")
    done = imported(desk, report([late(1, -6, tradePrice="108", ibCommission="-1")]))
    assert (position(books), list(done.differences)) == (D(2), [])
    assert parts(books, number) == ("-8", "-6", "-2", "1")
    (profit,) = books.get("/pnl")["fifo"]
    # 6 sold at 108 and 2 at 110 of 10 at 100; a fee of 1 for 6, of 1 for 2, and eight tenths of the first purchase's.
    assert (profit["gross"], profit["fees"], profit["net"]) == ("68", "2.8", "65.2")


def test_fills_of_both_sides_explain_what_they_come_to(books: Portfolio, desk: ImportDesk) -> None:
    number = missed(books, 20)
    imported(desk, report([late(1, 25)]))
    assert (position(books), parts(books, number)[:3]) == (D(35), ("20", "20", "0"))  # 5 more than IB holds, until
    imported(desk, report([late(2, -9)]))
    assert (position(books), parts(books, number)[:3]) == (D(30), ("20", "16", "4"))


def test_each_of_several_adjustments_is_explained_by_the_fills_of_its_time(books: Portfolio, desk: ImportDesk) -> None:
    first, second = missed(books, 20, until=-30), missed(books, 7, until=-10)
    imported(desk, report([late(1, 7, minutes=-20)]))
    assert (parts(books, first)[2], parts(books, second)[2]) == ("20", "0")
    done = imported(desk, report([late(2, 12, minutes=-40), late(3, 3, minutes=-31)]))
    assert counts(done) == {"new": 2, "explained": 2}
    assert (parts(books, first)[2], parts(books, second)[2], position(books)) == ("5", "0", D(37))


@pytest.mark.parametrize(
    ("fill", "left", "held"),
    [
        ({"quantity": -5}, "20", 25),
        ({"quantity": 5, "minutes": -5}, "20", 35),
        ({"quantity": 5, "conid": 2}, "20", 30),
        ({"quantity": 5}, "15", 30),
    ],
    ids=["other side", "later than it", "other contract", "belongs"],
)
def test_a_fill_that_is_not_in_an_adjustment_moves_the_position(
    books: Portfolio, desk: ImportDesk, fill: dict[str, Any], left: str, held: int
) -> None:
    number = missed(books, 20)
    done = imported(desk, report([late(1, **fill)]))
    assert counts(done) == ({"new": 1, "explained": 1} if left != "20" else {"new": 1})
    assert (parts(books, number)[2], position(books)) == (left, D(held))


def test_a_fill_in_the_time_of_an_adjustment_of_another_kind_moves_the_position(
    books: Portfolio, desk: ImportDesk
) -> None:
    missed(books, 20, until=-30, kind="transfer", commission=None)
    number = missed(books, 7, until=-10)
    imported(desk, report([late(1, 5, minutes=-40)]))
    assert (parts(books, number)[2], position(books)) == ("7", D(42))


def test_a_fill_before_the_opening_moves_the_opening_alone(books: Portfolio, desk: ImportDesk) -> None:
    with books.db.transaction() as cursor:
        cursor.execute("UPDATE accounts SET opened_at = %s WHERE account = %s", (NOW - 40 * MINUTE, ACCOUNT))
    number = missed(books, 20)
    assert counts(imported(desk, report([late(1, 20, minutes=-50)]))) == {"new": 1, "moved_back": 1}
    assert (parts(books, number)[2], position(books)) == ("20", D(30))


# ---- again, corrected, late ------------------------------------------------------------------------------------------


def test_a_correction_and_a_bust_explain_less_and_the_position_stays(books: Portfolio, desk: ImportDesk) -> None:
    number = missed(books, 20)
    imported(desk, report([late(1, 20)]))
    imported(desk, report([late(1, 12, revision=2)]))
    assert (parts(books, number), position(books)) == (("20", "12", "8", "0.8"), D(30))
    imported(desk, report([taken_back(late(1, 12), 3)]))
    assert (parts(books, number), position(books)) == (("20", "0", "20", "2"), D(30))


def test_an_execution_that_comes_late_over_the_api_takes_the_place_too(books: Portfolio) -> None:
    number = missed(books, 20)
    books.fill(1, 15, "111", at=NOW - 20 * MINUTE, fee="1")
    assert (parts(books, number), position(books)) == (("20", "15", "5", "0.5"), D(30))
    assert lots(books)[1:] == [("exec:000001", 15, 1665), (f"adjustment:{number}", 5, 550)]
    books.fill(2, 4, "111", at=NOW)  # and a new one is a new one
    assert (parts(books, number)[2], position(books)) == ("5", D(34))


def test_price_and_commission_that_are_told_later_are_of_what_is_left(books: Portfolio, desk: ImportDesk) -> None:
    number = missed(books, 20, price=None, commission=None)
    imported(desk, report([late(1, 15)]))
    assert books.post(f"/adjustments/{number}/price", price="109", commission="3").status_code == 200
    assert (parts(books, number)[3], lots(books)[2]) == ("3", (f"adjustment:{number}", 5, 545))
    imported(desk, report([taken_back(late(1, 15), 2)]))
    assert parts(books, number)[3] == "12"
    imported(desk, report([late(2, 20)]))
    assert books.post(f"/adjustments/{number}/price", price="1").json()["code"] == "adjustment-explained"


def all_of(books: Portfolio) -> list[Any]:
    found = state(books.db)
    with books.db.transaction() as cursor:
        cursor.execute("SELECT quantity, explained, commission FROM position_adjustments ORDER BY id")
        return [*found.items(), [tuple(row) for row in cursor.fetchall()]]


FILLS = (late(1, 9), late(2, -4), late(2, -3, revision=2), late(3, 30, minutes=-40), late(4, 2, minutes=-1))


def orders(books: Portfolio, desk: ImportDesk) -> Sequence[list[Any]]:
    """The state after each of some orders in which files come; what each of them wrote is taken away before the next one."""
    missed(books, 20, until=-30)
    missed(books, 7, until=-10)
    before, found = len(all_of(books)), []
    for order in itertools.islice(itertools.permutations(FILLS), 0, 120, 17):
        with books.db.transaction() as cursor:
            risk_book.lock_account(cursor, ACCOUNT)
            cursor.execute("DELETE FROM adjustment_executions")
            cursor.execute("DELETE FROM executions WHERE exec_base <> '000900'")
            cursor.execute("UPDATE risk_book SET position = 37")
            missed_fills.supersede(cursor, ACCOUNT, 1)
        for one in order:
            imported(desk, report([one]))
            imported(desk, report([one]))
        found.append(all_of(books))
        assert len(found[-1]) == before
    return found


def test_the_order_of_files_and_their_number_do_not_matter(books: Portfolio, desk: ImportDesk) -> None:
    first, *others = orders(books, desk)
    assert all(one == first for one in others)


def test_an_import_that_ends_in_the_middle_leaves_the_position_and_goes_on(
    books: Portfolio, desk: ImportDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contract with very many fills is divided into several transactions."""
    monkeypatch.setattr(import_items, "PIECE", 5)
    monkeypatch.setattr(import_items, "LARGEST_PIECE", 5)
    number = missed(books, 20)
    advance, written = imports.advance, itertools.count()

    def fail_at_the_third(*given: Any) -> Any:
        if next(written) == 2:
            raise ConnectionError("the server is gone")
        return advance(*given)

    raw = report([late(n, 2) for n in range(1, 11)] + [late(n, 1) for n in range(11, 21)])
    import_id = uploaded(desk, raw)
    assert counts(desk.finish(import_id, TRADER, dry=True)) == {"new": 20, "explained": 20}
    monkeypatch.setattr(imports, "advance", fail_at_the_third)
    with pytest.raises(ConnectionError):
        desk.finish(import_id, TRADER)
    assert (position(books), parts(books, number)[1], breaks(books)) == (D(30), "20", [])
    assert findings(books.db) == []
    monkeypatch.setattr(imports, "advance", advance)
    done = desk.finish(import_id, TRADER)
    assert counts(done) == {"new": 20, "explained": 20}
    # The file has 10 more than was missed: that is a difference, and it is told.
    assert [(one.expected, one.broker) for one in done.differences] == [(D(40), D(30))]


def test_a_ledger_without_the_rule_moves_the_position_twice(
    books: Portfolio, desk: ImportDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed_fills, "take_place", lambda *_: None)
    missed(books, 20)
    done = imported(desk, report([late(1, 20)]))
    assert (position(books), [one.expected for one in done.differences]) == (D(50), [D(50)])


def test_a_person_who_resolves_with_an_older_time_has_booked_what_ib_had_told(
    books: Portfolio, desk: ImportDesk
) -> None:
    number = missed(books, 20, at=rfc3339(NOW - 50 * MINUTE))
    imported(desk, report([late(1, 20, minutes=-11)]))
    assert (parts(books, number)[2], position(books)) == ("0", D(30))


def test_an_adjustment_that_nobody_resolved_a_break_with_has_what_was_before_its_time(
    books: Portfolio, desk: ImportDesk
) -> None:
    with books.db.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        made = Adjustment(ACCOUNT, 1, D(20), "missed_fills", "by hand", "user:1", NOW - 10 * MINUTE)
        positions.adjust(cursor, made)
    imported(desk, report([late(1, 4), late(2, 5, minutes=-9)]))
    assert position(books) == 35
    ib_says(books.db, Commission("000001.01", D(1), "USD", None))
