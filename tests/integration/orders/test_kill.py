"""The kill switch halts in one transaction and cancels what it says; an administrator resumes, and changes limits."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import dev.kill
from nautilus.auth.principal import Client
from nautilus.clock import parse_rfc3339
from nautilus.db.connection import Database
from nautilus.db.orders import account_state, kill_orders, orders, positions, requests, risk_book, trading_state
from nautilus.db.orders.events import Event
from nautilus.db.rows import scalars
from nautilus.errors import Conflict, InvalidInput, NotFound
from nautilus.orders import change, flatten, kill, limit_changes, tightening
from nautilus.orders.account_facts import state_of
from nautilus.orders.flatten import Flattened
from nautilus.orders.kill import Killed
from nautilus.orders.outcome import Terms
from nautilus.orders.ticket import Exit, OrderType, Prices
from nautilus.orders.words import AccountValue, Position
from tests.support.order_ledger import (
    ACCOUNT,
    NOW,
    STOCK,
    caller,
    counted,
    events_of,
    execution,
    findings,
    ib_says,
    ledger,
    market,
    open_order,
    placed,
    row_of,
    sent,
    status,
    ticket,
    working,
)

OTHER = "SIM2"
ADMIN = Client("192.0.2.7", request_id="r1")


@pytest.fixture
def database(dsn: str) -> Iterator[Database]:
    with ledger(dsn, ACCOUNT, OTHER) as made:
        yield made
        assert findings(made) == []


def killed(database: Database, accounts: list[str] | None = None, **how: Any) -> Killed:
    with database.transaction() as cursor:
        given: dict[str, Any] = {"reason": "a test", "by": "user:1", "client": ADMIN, "now": NOW} | how
        return kill.kill(cursor, accounts, **given)


def resumed(database: Database, accounts: list[str] | None = None, **how: Any) -> None:
    with database.transaction() as cursor:
        kill.resume(cursor, accounts, **{"reason": "looked", "by": "user:1", "client": ADMIN} | how)


def state(database: Database, account: str = ACCOUNT) -> str:
    with database.transaction() as cursor:
        return state_of(trading_state.read(cursor, [account]), "simulator", date(2024, 1, 8))


def audited(database: Database, action: str) -> list[Any]:
    with database.transaction() as cursor:
        cursor.execute("SELECT detail FROM audit_log WHERE action = %s ORDER BY id", (action,))
        return scalars(cursor, dict)


def wanted(database: Database, order_id: UUID) -> list[tuple[str, str]]:
    """Kind and state of the requests of an order."""
    with database.transaction() as cursor:
        return [(one.kind, one.state) for one in requests.of_order(cursor, order_id)]


def held_long(database: Database, quantity: int = 10) -> None:
    """A position, so that a sale of it only reduces."""
    row = working(database, ticket(quantity=quantity))
    ib_says(database, execution(row, quantity))
    assert row_of(database, row.id).state == "filled"


# ---- what it halts ---------------------------------------------------------------------------------------------------


def test_after_a_kill_no_order_passes_anywhere(database: Database) -> None:
    done = killed(database)
    assert [(row.scope, row.state, row.reason, row.set_by) for row in done.halted] == [
        ("*", "halted", "a test", "user:1")
    ]
    for account in (ACCOUNT, OTHER):
        assert state(database, account) == "halted"
        refused = placed(database, ticket(account=account))
        assert {one.code for one in refused.refusals} == {"trading_halted"}
    assert audited(database, "trading-halted") == [
        {"reason": "a test", "cancel": "entries", "flatten": False, "denied": 0, "cancelling": 0}
    ]


def test_a_kill_of_one_account_leaves_the_others(database: Database) -> None:
    mine, theirs = working(database), working(database, ticket(account=OTHER))
    done = killed(database, [ACCOUNT])
    assert done.cancelling == (mine.id,)
    assert wanted(database, theirs.id) == []
    assert (state(database), state(database, OTHER)) == ("halted", "active")
    assert not placed(database, ticket(account=OTHER)).denied


@pytest.mark.parametrize("prepared", ["accepted", "reserved"])
@pytest.mark.parametrize("cancel", kill.CANCELS)
def test_what_was_not_sent_is_never_sent(database: Database, prepared: str, cancel: str) -> None:
    row = placed(database).orders[0]
    if prepared == "reserved":
        with database.transaction() as cursor:
            held = orders.lock_with_book(cursor, row.id)
            assert held is not None
            orders.update(
                cursor, held, {"state": "reserved", "client_id": 5, "order_id": 1}, Event("reserved", "process", NOW)
            )
    assert killed(database, cancel=cancel).denied == (row.id,)
    after = row_of(database, row.id)
    assert (after.state, after.reserved_quantity) == ("denied", Decimal(0))
    assert after.why == "trading was halted by user:1: a test"
    assert events_of(database, row.id)[-1] == "denied"


# ---- what it cancels -------------------------------------------------------------------------------------------------


def furnished(database: Database) -> dict[str, UUID]:
    """An entry, a stop that protects a position, one whose fate is unknown, and one of somebody else."""
    held_long(database)
    entry = working(database)
    stop = working(database, ticket("SELL", 10, type=OrderType.STP, prices=Prices(stop=Decimal(90))))
    assert stop.reducing
    unknown = sent(database, placed(database).orders[0].id)
    with database.transaction() as cursor:
        held = orders.lock_with_book(cursor, unknown.id)
        assert held is not None
        orders.update(cursor, held, {"state": "unknown"}, Event("not-named", "process", NOW))
    shown = open_order(entry, "Submitted", 77, order_ref="", order_id=0, client_id=0)
    external = ib_says(database, shown)[0].order_id
    assert external is not None
    return {"entry": entry.id, "stop": stop.id, "unknown": unknown.id, "external": external}


@pytest.mark.parametrize(
    ("cancel", "names"),
    [
        ("none", set()),
        ("entries", {"entry", "unknown"}),
        ("ours", {"entry", "unknown", "stop"}),
        ("everything", {"entry", "unknown", "stop"}),
    ],
)
def test_a_kill_cancels_what_it_says(database: Database, cancel: str, names: set[str]) -> None:
    there = furnished(database)
    done = killed(database, cancel=cancel)
    assert set(done.cancelling) == {there[name] for name in names}
    for name, order_id in there.items():
        assert wanted(database, order_id) == ([("cancel", "wanted")] if name in names else []), name
    with database.transaction() as cursor:
        (kept,) = kill_orders.listed(cursor, [ACCOUNT])
    assert (kept.account, kept.cancel, kept.flatten, kept.done_at) == ("*", cancel, False, None)


def test_the_exits_of_a_bracket_stay(database: Database) -> None:
    exits: dict[str, Any] = {
        "take_profit": Exit(OrderType.LMT, Prices(limit=Decimal(110))),
        "stop_loss": Exit(OrderType.STP, Prices(stop=Decimal(90))),
    }
    parent, *legs = placed(database, ticket(quantity=10, **exits)).orders
    for row in (parent, *legs):
        sent(database, row.id)
        ib_says(database, status(row_of(database, row.id), "Submitted", 100 + len(str(row.group_role))))
    assert killed(database).cancelling == (parent.id,)
    assert [wanted(database, leg.id) for leg in legs] == [[], []]


def test_a_second_kill_asks_for_no_cancel_twice(database: Database) -> None:
    row = working(database)
    killed(database)
    killed(database, cancel="ours", reason="again")
    assert wanted(database, row.id) == [("cancel", "wanted")]
    with database.transaction() as cursor:
        assert [one.reason for one in kill_orders.listed(cursor, None)] == ["again", "a test"]


def test_a_modify_that_waits_is_not_sent_after_a_kill(database: Database) -> None:
    row = working(database, ticket(quantity=10))
    with database.transaction() as cursor:
        more = Terms(quantity=Decimal(20))
        change.modify(cursor, row.id, more, caller(), version=None, instrument=STOCK, facts=market())
    killed(database)
    assert wanted(database, row.id) == [("modify", "overtaken"), ("cancel", "wanted")]
    assert row_of(database, row.id).reserved_quantity == 10


def test_orders_and_a_kill_at_once_leave_no_order_that_may_still_be_sent(database: Database) -> None:
    """Whichever is first: an order is denied by the check, or by the kill."""
    together = threading.Barrier(9)

    def one(n: int) -> None:
        together.wait()
        if n == 0:
            killed(database)
        else:
            placed(database, ticket(account=(ACCOUNT, OTHER)[n % 2]))

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(one, range(9)))
    assert counted(database, "SELECT count(*) FROM orders WHERE state <> 'denied'") == 0
    assert counted(database, "SELECT count(*) FROM orders") == 8


# ---- flatten ---------------------------------------------------------------------------------------------------------


def flattened(database: Database, kill_id: UUID, account: str = "*") -> Flattened:
    with database.transaction() as cursor:
        return flatten.flatten(cursor, kill_id, account, lambda instrument, name: market())


def shown_at_ib(database: Database, quantity: int) -> None:
    """IB shows this position of the account."""
    with database.transaction() as cursor:
        positions.put_broker(cursor, [Position(ACCOUNT, STOCK.con_id, Decimal(quantity), None)], NOW)


def test_flatten_closes_a_position_when_nothing_of_ours_is_open_there(database: Database) -> None:
    held_long(database, 10)
    stop = working(database, ticket("SELL", 10, type=OrderType.STP, prices=Prices(stop=Decimal(90))))
    shown_at_ib(database, 10)
    (kept,) = killed(database, flatten=True).kill_orders
    assert (kept.cancel, kept.flatten) == ("ours", True)
    waits = flattened(database, kept.id)
    assert (waits.placed, waits.done) == ((), False)
    assert waits.waiting == ("SIM1 contract 1: 1 orders of ours are open there, 0 of them unknown",)
    ib_says(database, status(row_of(database, stop.id), "Cancelled"))
    (made,) = flattened(database, kept.id).placed
    row = row_of(database, made)
    assert (row.side, row.type, row.quantity, row.origin, row.state) == ("SELL", "MKT", Decimal(10), "kill", "accepted")
    assert flattened(database, kept.id).placed == (), "an order is under way"
    ib_says(database, execution(sent(database, made), 10))
    shown_at_ib(database, 0)
    assert flattened(database, kept.id) == Flattened()


def test_flatten_goes_on_with_what_its_order_left(database: Database) -> None:
    held_long(database, 10)
    shown_at_ib(database, 10)
    (kept,) = killed(database, flatten=True).kill_orders
    (first,) = flattened(database, kept.id).placed
    row = sent(database, first)
    ib_says(database, execution(row, 4), status(row, "Cancelled"))
    shown_at_ib(database, 6)
    (second,) = flattened(database, kept.id).placed
    assert row_of(database, second).quantity == 6


def test_flatten_waits_for_an_unknown_order_and_for_ibs_position(database: Database) -> None:
    held_long(database, 10)
    (kept,) = killed(database, flatten=True).kill_orders
    assert flattened(database, kept.id).waiting == ("SIM1 contract 1: IB's position is not ours",)
    shown_at_ib(database, 10)
    assert flattened(database, kept.id, OTHER) == Flattened()
    assert len(flattened(database, kept.id, ACCOUNT).placed) == 1


def test_what_a_check_refuses_is_not_tried_for_ever(database: Database) -> None:
    held_long(database, 10)
    shown_at_ib(database, 10)
    (kept,) = killed(database, flatten=True).kill_orders

    def closed() -> Flattened:
        with database.transaction() as cursor:
            return flatten.flatten(cursor, kept.id, "*", lambda instrument, name: market(session="closed"))

    first = closed()
    assert (len(first.refused), first.done) == (1, True)
    assert closed() == first
    assert counted(database, "SELECT count(*) FROM orders WHERE origin = 'kill'") == 1


# ---- resume ----------------------------------------------------------------------------------------------------------


def test_an_administrator_lets_trading_go_on(database: Database) -> None:
    killed(database)
    resumed(database)
    assert state(database) == "active"
    assert not placed(database).denied
    assert audited(database, "trading-resumed") == [{"reason": "looked", "state": "active"}]


def test_a_halt_of_one_account_outlasts_a_resume_of_all(database: Database) -> None:
    killed(database, [ACCOUNT])
    killed(database)
    resumed(database)
    assert (state(database), state(database, OTHER)) == ("halted", "active")
    resumed(database, [ACCOUNT], state="reducing")
    assert state(database) == "reducing"


def test_nobody_resumes_while_a_position_is_not_ibs(database: Database) -> None:
    killed(database)
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        risk_book.move(cursor, ACCOUNT, 1, Decimal(3))
        positions.compare(cursor, ACCOUNT)
    with pytest.raises(Conflict, match="SIM1 contract 1") as no:
        resumed(database)
    assert no.value.code == "position-breaks-open"
    assert state(database) == "halted"
    resumed(database, [OTHER])
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        risk_book.move(cursor, ACCOUNT, 1, Decimal(-3))
        positions.compare(cursor, ACCOUNT)
    resumed(database)
    assert state(database) == "active"


@pytest.mark.parametrize(
    ("how", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"cancel": "all"}, "cancel"),
        ({"flatten": True, "cancel": "entries"}, "flatten"),
        ({"flatten": True, "cancel": "none"}, "flatten"),
        ({"accounts": []}, "accounts"),
        ({"accounts": ["DU 1"]}, "accounts"),
    ],
)
def test_a_kill_that_is_wrong_halts_nothing_and_names_the_field(
    database: Database, how: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as wrong:
        killed(database, **how)
    assert wrong.value.errors[0].field == field
    assert state(database) == "active"


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_a_limit_that_an_administrator_sets_counts_from_the_next_order_on(database: Database) -> None:
    assert not placed(database, ticket(quantity=5)).denied
    with database.transaction() as cursor:
        limit_changes.set_limit(cursor, ACCOUNT, "quantity_shares", Decimal(4), by="user:1", client=ADMIN)
    (refusal,) = placed(database, ticket(quantity=5)).refusals
    assert (refusal.code, refusal.limit) == ("quantity_limit", "4")
    assert not placed(database, ticket(quantity=5, account=OTHER)).denied
    with database.transaction() as cursor:
        assert limit_changes.unset_limit(cursor, ACCOUNT, "quantity_shares", by="user:1", client=ADMIN)
    with database.transaction() as cursor, pytest.raises(NotFound):
        limit_changes.unset_limit(cursor, ACCOUNT, "quantity_shares", by="user:1", client=ADMIN)
    assert not placed(database, ticket(quantity=5)).denied
    assert audited(database, "limit-changed") == [
        {"limit": "quantity_shares", "before": "default", "after": "4"},
        {"limit": "quantity_shares", "before": "4", "after": "default"},
    ]


# ---- by itself -------------------------------------------------------------------------------------------------------


def lost(database: Database, amount: int, now: int = NOW) -> list[str]:
    """A loss of the day by IB's count, in an account that had a million when it began; what the order process makes of it."""
    with database.transaction() as cursor:
        account_state.put_values(cursor, [AccountValue(ACCOUNT, "NetLiquidation", "USD", str(10**6 - amount))], now)
        account_state.put_values(cursor, [AccountValue(ACCOUNT, "DailyPnL", "BASE", str(-amount))], now)
    with database.transaction() as cursor:
        return [one.state for one in tightening.tighten_all(cursor, now)]


def test_a_loss_tightens_until_its_trade_date_is_over(database: Database) -> None:
    assert (lost(database, 19_999), state(database)) == ([], "active")
    assert (lost(database, 20_000), state(database)) == (["reducing"], "reducing")
    assert (lost(database, 5), state(database)) == ([], "reducing"), "it stays when the loss is gone"
    assert {one.code for one in placed(database, ticket()).refusals} == {"reducing_only"}
    assert (lost(database, 40_000), state(database)) == (["halted"], "halted")
    assert state(database, OTHER) == "active"
    with database.transaction() as cursor:
        assert state_of(trading_state.read(cursor, [ACCOUNT]), "simulator", date(2024, 1, 9)) == "active"
        assert state_of(trading_state.read(cursor, [ACCOUNT]), "live", date(2024, 1, 8)) == "halted"


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2024-01-08T21:59:59Z", date(2024, 1, 8)),  # winter: New York's 17:00 is 22:00 UTC
        ("2024-01-08T22:00:00Z", date(2024, 1, 9)),
        ("2024-07-08T21:00:00Z", date(2024, 7, 9)),  # summer
        ("2024-07-12T21:00:00Z", date(2024, 7, 15)),  # Friday evening belongs to Monday
    ],
)
def test_a_loss_tightens_the_trade_date_of_the_account_not_the_day_of_utc(
    database: Database, at: str, day: date
) -> None:
    assert lost(database, 20_000, parse_rfc3339(at)) == ["reducing"]
    with database.transaction() as cursor:
        (row,) = trading_state.read(cursor, [ACCOUNT])
    assert row.until_trade_date == day


def test_an_administrator_resumes_in_spite_of_a_loss_for_the_rest_of_the_trade_date(database: Database) -> None:
    lost(database, 20_000)
    resumed(database, [ACCOUNT])
    assert (lost(database, 20_000), state(database)) == ([], "active")


def test_a_break_reduces(database: Database) -> None:
    with database.transaction() as cursor:
        risk_book.lock_account(cursor, ACCOUNT)
        positions.put_broker(cursor, [Position(ACCOUNT, STOCK.con_id, Decimal(3), None)], NOW)
        positions.compare(cursor, ACCOUNT)
    assert (lost(database, 0), state(database)) == (["reducing"], "reducing")


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_needs_the_database_alone(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", dsn)
    row, waiting = working(database), placed(database).orders[0]
    assert kill.main(["--reason", "the market is mad"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "halted: * (* is every account)",
        "1 orders that were not sent are denied, 1 cancels wait for the order process",
    ]
    assert (state(database), row_of(database, waiting.id).state) == ("halted", "denied")
    assert wanted(database, row.id) == [("cancel", "wanted")]
    with database.transaction() as cursor:
        assert [one.by for one in kill_orders.listed(cursor, None)] == ["command"]


def test_make_kill_halts_a_database_by_its_url(database: Database, dsn: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert dev.kill.main(["--url", dsn, "--reason", "make kill", "--account", OTHER, "--cancel", "none"]) == 0
    assert "halted: SIM2" in capfd.readouterr().out
    assert (state(database), state(database, OTHER)) == ("active", "halted")


def test_make_kill_says_when_nothing_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert dev.kill.main(["--data", str(tmp_path), "--reason", "make kill"]) == 1
    assert capfd.readouterr().err.startswith("NOT HALTED: nothing runs in")


def test_the_command_says_when_it_did_not_halt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAUTILUS_DATABASE_URL", "postgresql://a:b@127.0.0.1:1/x")
    assert kill.main(["--reason", "the market is mad"]) == 1
    assert capsys.readouterr().err.startswith("NOT HALTED: ")
