"""Imports of fills: they end in one state, whatever the files, their order and their number; and today's position stays."""

import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from nautilus.clock import NS_PER_DAY
from nautilus.db.connection import Database
from nautilus.db.orders import executions, positions, risk_book
from nautilus.db.portfolio import booking, cash, imports
from nautilus.errors import Conflict, InvalidInput
from nautilus.orders.words import Commission, Position
from nautilus.portfolio import import_applying, import_items, importing
from nautilus.portfolio.importing import ImportDesk
from tests.support import reports
from tests.support.imports import (
    NEW_YORK,
    TRADER,
    bought,
    counts,
    imported,
    moved,
    pieces,
    problems,
    report,
    request,
    state,
    uploaded,
)
from tests.support.order_ledger import ACCOUNT, NOW, counted, findings, ledger, placed, row_of, sent, ticket

D = Decimal
FIRST = reports.FIRST_LINE
HISTORIES = 12


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    """An account that was opened now, with 100 of the stock."""
    with ledger(dsn) as made:
        opened(made)
        yield made
        assert findings(made) == []


@pytest.fixture
def desk(database: Database) -> ImportDesk:
    return ImportDesk(database)


def opened(database: Database, quantity: int = 100) -> None:
    with database.transaction() as cursor:
        cursor.execute("UPDATE accounts SET opened_at = NULL")
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, [Position(ACCOUNT, 1, D(quantity), D(50))], NOW)
        positions.open_account(cursor, ACCOUNT, NOW)


def ib_has(database: Database, quantity: int) -> list[Any]:
    """IB says how much the account holds; the open breaks."""
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_all_broker(cursor, ACCOUNT, [Position(ACCOUNT, 1, D(quantity), D(50))], NOW)
        return positions.compare(cursor, ACCOUNT).open


def position(database: Database, con_id: int = 1) -> Decimal:
    with database.transaction() as cursor:
        return risk_book.read(cursor, ACCOUNT, con_id).position


def breaks(database: Database) -> list[Any]:
    with database.transaction() as cursor:
        return [(row.con_id, row.expected, row.broker) for row in positions.open_breaks(cursor, [ACCOUNT])]


# ---- positions -------------------------------------------------------------------------------------------------------


def test_a_fill_before_the_opening_moves_it_back_and_the_position_stays(database, desk):
    done = imported(desk, report([bought(1, 60, seconds=-3600), bought(2, -10, seconds=-60)]))
    assert counts(done) == {"new": 2, "moved_back": 2}
    assert position(database) == 100
    assert [row[2] for row in state(database)["openings"]] == [D(50)]


def test_a_fill_after_the_opening_moves_the_position_and_explains_a_break(database, desk):
    assert [(row.expected, row.broker) for row in ib_has(database, 130)] == [(D(100), D(130))]
    done = imported(desk, report([bought(1, 20, seconds=60)]))
    assert [(one.con_id, one.expected, one.broker) for one in done.differences] == [(1, D(120), D(130))]
    assert breaks(database) == [(1, D(120), D(130))]  # a part of it
    done = imported(desk, report([bought(1, 20, seconds=60), bought(2, 10, seconds=61)]))
    assert (counts(done), list(done.differences)) == ({"new": 1, "known": 1}, [])
    assert (position(database), breaks(database)) == (D(130), [])


def test_no_break_is_opened_by_an_import(database, desk):
    """IB's newest position may be older than our newest fill: that alone is no break."""
    done = imported(desk, report([bought(1, 20, seconds=60)]))
    assert [one.expected for one in done.differences] == [D(120)]
    assert breaks(database) == []


def test_a_correction_of_a_fill_before_the_opening_moves_the_opening_too(database, desk):
    imported(desk, report([bought(1, 60, seconds=-60)]))
    done = imported(desk, report([bought(1, 50, seconds=-60, revision=2)]))
    assert counts(done) == {"replaced": 1, "moved_back": 1}
    assert position(database) == 100
    assert [row[2] for row in state(database)["openings"]] == [D(50)]


def test_a_correction_after_the_opening_moves_the_position_by_the_difference(database, desk):
    done = imported(desk, report([bought(1, 60, seconds=60, revision=2), bought(1, 70, seconds=60)]))
    assert counts(done) == {"new": 1, "replaced": 1}
    assert position(database) == 160


def test_a_bust_takes_the_fill_back(database, desk):
    fill = bought(1, 60, seconds=60)
    imported(desk, report([fill]))
    done = imported(desk, report([reports.cancel(fill, ibExecID="000001.02")]))
    assert counts(done) == {"replaced": 1}
    assert position(database) == 100


def test_an_account_that_was_never_opened_takes_fills_and_opens_with_what_they_do_not_explain(database, desk):
    with database.transaction() as cursor:
        cursor.execute("UPDATE accounts SET opened_at = NULL")
        cursor.execute("DELETE FROM position_openings")
        cursor.execute("UPDATE risk_book SET position = 0")
        cursor.execute("DELETE FROM lots")
    imported(desk, report([bought(1, 60)]))
    opened(database)
    assert (position(database), [row[2] for row in state(database)["openings"]]) == (D(100), [D(40)])


# ---- the same again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flex", "csv"])
def test_the_same_file_twice_changes_nothing(database, desk, kind):
    trades = [bought(1, 60, seconds=-60), bought(2, -10, seconds=60, taxes="-0.5"), bought(3, 5, seconds=61, conid=2)]
    raw = report(trades, [moved(1)]) if kind == "flex" else reports.sheet(trades)
    first = imported(desk, raw, kind)
    assert counts(first)["new"] == 3
    before = state(database)
    again = imported(desk, raw, kind)
    assert counts(again)["known"] == 3
    assert "new" not in counts(again)
    assert state(database) == before
    assert again.row.id != first.row.id


def test_both_kinds_of_file_say_the_same(database, desk):
    trades = [bought(1, 60, seconds=-60), bought(2, -10, seconds=60)]
    imported(desk, report(trades))
    before = state(database)
    assert counts(imported(desk, reports.sheet(trades), "csv")) == {"known": 2}
    assert state(database) == before


def history(seed: int) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Fills of two contracts on both sides of the opening, some of them corrected or taken back, and movements of cash."""
    dice = random.Random(seed)
    trades = []
    for number in range(1, 25):
        seconds = dice.randint(-600, 600)
        quantity = dice.choice([-1, 1]) * dice.randint(1, 50)
        given: dict[str, Any] = {"conid": dice.choice([1, 1, 2]), "tradePrice": dice.choice(["10", "10.25", "11"])}
        for revision in range(1, dice.choice([2, 2, 2, 3, 4])):
            size = quantity if revision == 1 else (1 if quantity > 0 else -1) * dice.randint(1, 50)
            trades.append(bought(number, size, seconds=seconds, revision=revision, **given))
    cash = [moved(number, amount=dice.randint(-100, 100)) for number in range(5)]
    return trades, cash


def files(seed: int) -> list[bytes]:
    """A history in several files that overlap, in any order; each revision stands in one of them at least."""
    dice = random.Random(f"{seed} files")
    trades, cash = history(seed)
    split: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(4)]
    for rows, which in ((trades, 0), (cash, 1)):
        for row in rows:
            for one in dice.sample(split, dice.choice([1, 2])):
                one[which].append(row)
    done = [report(dice.sample(a, len(a)), dice.sample(b, len(b))) for a, b in split]
    return dice.sample(done * 2, 8)


def difference_of(dsn: str, seed: int) -> bool:
    """Whether several files end in another state than one."""
    found = []
    for all_files in ([report(*history(seed))], files(seed)):
        with ledger(dsn) as database:
            with database.transaction() as cursor:
                for table in ("lots", "lot_matches", "executions", "position_openings", "cash_movements"):
                    cursor.execute(f"DELETE FROM {table}")
                cursor.execute("DELETE FROM lot_books")
                cursor.execute("UPDATE risk_book SET position = 0")
            opened(database)
            for raw in all_files:
                assert imported(ImportDesk(database), raw).row.state == "done"
            assert position(database) == 100 + after_the_opening(seed)
            assert findings(database) == []
            found.append(state(database))
    return found[0] != found[1]


def after_the_opening(seed: int) -> Decimal:
    """How much of the stock the newest revisions bought after the opening."""
    newest: dict[str, dict[str, str]] = {}
    for row in history(seed)[0]:
        base, _, revision = row["ibExecID"].rpartition(".")
        if base not in newest or revision > newest[base]["ibExecID"].rpartition(".")[2]:
            newest[base] = row
    late = [row for row in newest.values() if row["conid"] == "1" and row["dateTime"] >= "20240108;150000"]
    return sum((D(row["quantity"]) for row in late), D(0))


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_any_files_in_any_order_end_in_the_state_of_one(dsn, seed):
    assert not difference_of(dsn, seed)


@pytest.mark.parametrize("mutant", ["no-compensation", "lower-revisions-too", "no-booking"])
def test_the_comparison_finds_a_mutant(dsn, monkeypatch, mutant):
    if mutant == "no-compensation":
        monkeypatch.setattr(import_applying, "difference", lambda one, other: D(0))
    elif mutant == "lower-revisions-too":
        monkeypatch.setattr(imports, "known_fills", lambda *_: {})
    else:
        monkeypatch.setattr(booking, "rebook", lambda *_: None)

    def differs() -> bool:
        for seed in range(HISTORIES):
            try:
                if difference_of(dsn, seed):
                    return True
            except Exception:
                return True
        return False

    assert differs()


# ---- what is there already -------------------------------------------------------------------------------------------


def test_a_commission_that_was_missing_is_filled_in_and_another_one_is_told(database, desk):
    imported(desk, report([bought(1, 60, ibCommission=""), bought(2, 60, ibCommission="-1")]))
    done = imported(desk, report([bought(1, 60, ibCommission="-2"), bought(2, 60, ibCommission="-1.5")]))
    assert counts(done) == {"known": 2, "commissions": 1}
    assert problems(done) == [(FIRST + 1, "ibCommission", "-1.5")]
    assert [(row[1], row[8]) for row in state(database)["executions"]] == [("000001", D(2)), ("000002", D(1))]


def test_a_commission_that_came_over_the_api_before_its_fill_stays(database, desk):
    with database.transaction() as cursor:
        assert not executions.commission(cursor, Commission("000001.01", D("1.5"), "USD", None))
    imported(desk, report([bought(1, 60, ibCommission="-1")]))
    assert [row[8] for row in state(database)["executions"]] == [D("1.5")]


@pytest.mark.parametrize(("field", "value"), [("tradePrice", "11"), ("quantity", "61"), ("conid", "2")])
def test_another_figure_of_the_same_revision_is_told_and_not_written(database, desk, field, value):
    imported(desk, report([bought(1, 60)]))
    before = state(database)
    done = imported(desk, report([{**bought(1, 60), field: value}]))
    assert counts(done) == {"refused": 1}
    assert problems(done) == [(FIRST, field, value)]
    assert state(database) == before


def test_a_fill_that_the_file_takes_back_is_told_where_the_ledger_has_it(database, desk):
    fill = bought(1, 60, seconds=60, tradeID="t1")
    done = imported(desk, report([fill, reports.cancel(fill)]))
    assert (counts(done), position(database)) == ({"taken_back": 1}, D(100))
    imported(desk, report([fill]))
    done = imported(desk, report([fill, reports.cancel(fill)]))
    assert (counts(done), problems(done)) == ({"refused": 1}, [(FIRST, "ibExecID", "000001.01")])
    assert position(database) == 160


def test_a_report_that_was_read_in_the_wrong_zone_is_refused(database, desk):
    zoneless: dict[str, Any] = {"dateTime": "20240108;110000"}
    imported(desk, report([bought(1, 60, **zoneless), bought(2, 5, **zoneless)]))
    before = state(database)
    raw = report([bought(1, 60, **zoneless), bought(2, 5, **zoneless), bought(3, 7, **zoneless)])
    done = imported(desk, raw, time_zone="Europe/Berlin")
    assert (done.row.state, problems(done)) == ("refused", [(FIRST, "dateTime", "20240108;110000")])
    assert state(database) == before
    assert desk.finish(done.row.id, TRADER).row.state == "refused"


def test_one_time_that_differs_is_told_alone(database, desk):
    imported(desk, report([bought(n, 60) for n in (1, 2, 3)]))
    done = imported(desk, report([bought(1, 60), bought(2, 60), bought(3, 60, seconds=3600), bought(4, 1)]))
    assert (counts(done), [one[0] for one in problems(done)]) == ({"known": 3, "new": 1}, [FIRST + 2])


def test_cash_is_stored_once_and_other_figures_are_told(database, desk):
    done = imported(desk, report(cash=[moved(1, amount="12.5"), moved(2, type="Withholding Tax", amount="-3")]))
    assert counts(done) == {"cash_new": 2}
    done = imported(desk, report(cash=[moved(1, amount="12.5"), moved(2, amount="-4"), moved(3)]))
    assert counts(done) == {"cash_known": 1, "refused": 1, "cash_new": 1}
    assert problems(done) == [(done.row.problems[0]["line"], "amount", "-4")]
    kinds = [(row[3], row[2]) for row in state(database)["cash"]]
    assert sorted(kinds) == [("dividend", D("12.5")), ("dividend", D("12.5")), ("tax", D(-3))]


def entered(database: Database, amount: str, at: int, kind: str = "dividend", external_id: str | None = None) -> None:
    """A person entered cash."""
    with database.transaction() as cursor:
        new = cash.Movement(ACCOUNT, "USD", D(amount), kind, at, "by hand", "person", external_id, "user:1")
        assert cash.put(cursor, new) is not None


@pytest.mark.parametrize(
    ("amount", "days", "kind", "external_id", "known"),
    [
        ("12.5", 0, "dividend", None, True),
        ("12.5", 4, "dividend", None, True),
        ("12.5", -4, "other", None, True),
        ("12.5", 5, "dividend", None, False),
        ("12.51", 0, "dividend", None, False),
        ("-12.5", 0, "dividend", None, False),
        ("12.5", 0, "interest", None, False),
        ("12.5", 0, "dividend", "another", False),
    ],
)
def test_cash_that_a_person_entered_is_recognised_in_a_statement(
    database, desk, amount, days, kind, external_id, known
):
    statement = report(cash=[moved(1, amount="12.5")])
    imported(desk, statement)
    at = state(database)["cash"][0][4]
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM cash_movements")
    entered(database, amount, at + days * NS_PER_DAY, kind, external_id)
    done = imported(desk, statement)
    assert counts(done) == ({"cash_recognised": 1} if known else {"cash_new": 1})
    assert len(state(database)["cash"]) == (1 if known else 2)
    assert counts(imported(desk, statement)) == {"cash_known": 1}


def test_one_entry_stands_for_one_movement_of_a_statement(database, desk):
    statement = report(cash=[moved(1, amount="12.5"), moved(2, amount="12.5")])
    imported(desk, statement)
    at = state(database)["cash"][0][4]
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM cash_movements")
    entered(database, "12.5", at)
    number = uploaded(desk, statement)
    assert desk.finish(number, TRADER, dry=True).row.counts == {"cash_recognised": 1, "cash_new": 1}
    assert counts(desk.finish(number, TRADER)) == {"cash_recognised": 1, "cash_new": 1}
    assert sum(row[2] for row in state(database)["cash"]) == 25


@pytest.mark.parametrize("entries", [1, 2])
@pytest.mark.parametrize("piece", [1, 100])
def test_a_dry_run_counts_each_entry_of_a_person_once(database, desk, monkeypatch, entries, piece):
    """Whether the two movements of a statement stand in one piece of the file or in two."""
    statement = report(cash=[moved(1, amount="12.5"), moved(2, amount="12.5")])
    imported(desk, statement)
    at = state(database)["cash"][0][4]
    with database.transaction() as cursor:
        cursor.execute("DELETE FROM cash_movements")
    for _ in range(entries):
        entered(database, "12.5", at)
    monkeypatch.setattr(import_items, "PIECE", piece)
    number = uploaded(desk, statement)
    dry = counts(desk.finish(number, TRADER, dry=True))
    assert dry == {1: {"cash_recognised": 1, "cash_new": 1}, 2: {"cash_recognised": 2}}[entries]
    assert counts(desk.finish(number, TRADER)) == dry


def test_a_dry_run_knows_the_revisions_of_the_pieces_before(database, desk, monkeypatch):
    monkeypatch.setattr(import_items, "PIECE", 1)
    monkeypatch.setattr(import_items, "LARGEST_PIECE", 1)
    number = uploaded(desk, report([bought(1, 60, seconds=60), bought(1, 70, seconds=60, revision=2)]))
    dry = counts(desk.finish(number, TRADER, dry=True))
    assert dry == {"new": 1, "replaced": 1}
    assert counts(desk.finish(number, TRADER)) == dry


def test_taxes_of_a_trade_are_a_movement_of_their_own(database, desk):
    for _ in range(2):
        imported(desk, report([bought(1, 60, taxes="-0.25")]))
    assert [(row[2], row[3], row[7]) for row in state(database)["cash"]] == [(D("-0.25"), "tax", "taxes:000001")]


def test_a_row_of_another_account_is_refused_alone(database, desk):
    done = imported(desk, report([bought(1, 60), bought(2, 60, accountId="SIM2")]))
    assert (counts(done), problems(done)) == ({"new": 1, "refused": 1}, [(FIRST + 1, "accountId", "SIM2")])
    assert counted(database, "SELECT count(*) FROM executions WHERE account <> 'SIM1'") == 0


# ---- orders of ours --------------------------------------------------------------------------------------------------


def test_a_fill_with_our_reference_says_what_became_of_the_order(database, desk):
    order = sent(database, placed(database, ticket(quantity=60)).orders[0].id)
    raw = report([bought(1, 60, seconds=60, orderReference=order.id, tradePrice="99")])
    assert counts(imported(desk, raw)) == {"new": 1}
    now = row_of(database, order.id)
    assert (now.state, now.filled, now.avg_fill_price) == ("filled", D(60), D(99))
    before = state(database)
    assert counts(imported(desk, raw)) == {"known": 1}
    assert state(database) == before


def test_a_reference_that_is_none_of_ours_is_a_text(database, desk):
    raw = report([bought(1, 60, orderReference="=cmd|' /C calc'!A0"), bought(2, 1, orderReference="9" * 36)])
    assert counts(imported(desk, raw)) == {"new": 2}
    assert counted(database, "SELECT count(*) FROM executions WHERE order_id IS NOT NULL") == 0


# ---- dry runs, two at once, crashes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_dry_run_counts_what_is_written_then_and_writes_nothing(database, desk, seed):
    all_files = files(seed)
    for raw in all_files[:3]:
        before = state(database)
        number = uploaded(desk, raw)
        dry = desk.finish(number, TRADER, dry=True)
        assert state(database) == before
        assert (dry.dry, desk.read(number, TRADER).row.state) == (True, "uploading")
        done = desk.finish(number, TRADER)
        assert (counts(done), problems(done)) == (counts(dry), problems(dry))


def many(fills: int, contracts: int = 10) -> bytes:
    return report([bought(n, 1, seconds=n % 500 - 250, conid=n % contracts + 1) for n in range(1, fills + 1)])


def test_two_finishes_at_once_write_once(database, desk, monkeypatch):
    monkeypatch.setattr(import_items, "PIECE", 20)
    number = uploaded(desk, many(300))
    done: list[Any] = []

    def finish() -> None:
        done.append(ImportDesk(database).finish(number, TRADER))

    threads = [threading.Thread(target=finish) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.row.state for one in done] == ["done"] * 3
    row = desk.read(number, TRADER).row
    assert (row.counts["new"], row.items_done, row.items) == (300, 300, 300)
    assert counted(database, "SELECT count(*) FROM executions") == 300


def test_what_a_request_has_no_time_for_is_written_by_the_next(database, monkeypatch):
    monkeypatch.setattr(import_items, "PIECE", 20)
    ticks = iter(range(0, 10_000, 10))
    desk = ImportDesk(database, clock=lambda: next(ticks))
    number = uploaded(desk, many(300))
    seen = []
    while (done := desk.finish(number, TRADER)).row.state == "applying":
        seen.append(done.row.items_done)
        assert findings(database) == []
        with pytest.raises(Conflict, match="applying"):
            desk.add_part(number, 1, b"x", TRADER)
    assert len(seen) > 2
    assert seen == sorted(set(seen))
    assert counts(done) == {"new": 300, "moved_back": counts(done)["moved_back"]}
    assert counted(database, "SELECT count(*) FROM fill_import_parts") == 0


def test_a_contract_with_very_many_fills_is_divided():
    def item(con_id: int) -> Any:
        return import_items.contents(report([bought(1, 1, conid=con_id)]), "flex", ACCOUNT, None).items[0]

    items = [item(1)] * 30 + [item(2)] * 90 + [item(3)] * 700
    sizes, at = [], 0
    while at < len(items):
        sizes.append(len(import_items.piece(items, at)))
        at += sizes[-1]
    assert sizes == [30, 90, 500, 200]


# ---- uploads ---------------------------------------------------------------------------------------------------------


def test_an_upload_goes_on_where_it_stopped(database, desk):
    raw = many(200)
    parts = pieces(raw, 10_000)
    begun = desk.begin(request(raw), TRADER)
    desk.add_part(begun.row.id, 2, parts[1], TRADER)
    again = ImportDesk(database).begin(request(raw), TRADER)
    assert (again.row.id, again.resumed, [part.n for part in again.parts]) == (begun.row.id, True, [2])
    with pytest.raises(InvalidInput, match="part 1 has not come"):
        desk.finish(begun.row.id, TRADER)
    for n, part in enumerate(parts, start=1):
        desk.add_part(begun.row.id, n, part, TRADER)
    assert desk.finish(begun.row.id, TRADER).row.state == "done"


def test_a_wrong_part_can_be_sent_again(database, desk):
    raw = report([bought(1, 60)])
    begun = desk.begin(request(raw), TRADER)
    desk.add_part(begun.row.id, 1, raw[:-1] + b"X", TRADER)
    with pytest.raises(InvalidInput, match="sha256"):
        desk.finish(begun.row.id, TRADER)
    desk.add_part(begun.row.id, 1, raw[:-1], TRADER)
    with pytest.raises(InvalidInput, match="size"):
        desk.finish(begun.row.id, TRADER)
    with pytest.raises(InvalidInput, match="announced"):
        desk.add_part(begun.row.id, 2, b"more", TRADER)
    assert counted(database, "SELECT count(*) FROM fill_import_parts") == 1  # the refused part is not kept
    desk.add_part(begun.row.id, 1, raw, TRADER)
    assert counts(desk.finish(begun.row.id, TRADER)) == {"new": 1}


def test_a_file_that_cannot_be_read_is_refused_for_good(database, desk):
    number = uploaded(desk, b"<!DOCTYPE x [<!ENTITY a 'b'>]><FlexQueryResponse/>")
    before = state(database)
    done = desk.finish(number, TRADER)
    assert (done.row.state, problems(done)) == ("refused", [(1, "file", "<!DOCTYPE")])
    assert state(database) == before
    assert counted(database, "SELECT count(*) FROM fill_import_parts") == 0


def test_only_so_many_problems_are_kept(database, desk):
    done = imported(desk, report([bought(n, 1, currency="?") for n in range(1, imports.MAX_PROBLEMS + 11)]))
    assert (len(done.row.problems), done.row.problems_left_out) == (imports.MAX_PROBLEMS, 10)
    assert counts(done) == {"refused": imports.MAX_PROBLEMS + 10}


def test_only_so_many_imports_may_be_open(database, desk):
    for n in range(importing.MAX_UNFINISHED):
        desk.begin(request(report([bought(n + 1, 1)])), TRADER)
    with pytest.raises(Conflict) as refused:
        desk.begin(request(report([bought(99, 1)])), TRADER)
    assert refused.value.code == "too-many-imports"


def test_times_without_a_zone_need_one(database, desk):
    raw = report([bought(1, 60, dateTime="20240108;100000")])
    done = imported(desk, raw, time_zone=None)
    assert (counts(done), problems(done)) == ({"refused": 1}, [(FIRST, "dateTime", "20240108;100000")])
    assert counts(imported(desk, raw, time_zone=NEW_YORK)) == {"new": 1}
