"""What happens to executions and positions that is hard to book, over the simulator's socket. The process is killed in the middle
of each; in the end our book is the simulator's, row by row, and nothing in it contradicts itself."""

import json
from decimal import Decimal

import pytest

from nautilus.db.orders import positions, risk_book
from nautilus.db.orders.positions import Adjustment
from tests.support.order_process import order_stack
from tests.support.portfolio_book import cash, differences, settled

MARKET = {"type": "MKT", "limit_price": None}
PAIR = {"cmd": "manual_order", "symbol": "EUR.USD", "sec_type": "CASH"}


@pytest.fixture
def at(servers, tmp_path, dsn):
    """A stack whose market begins at a time, with further options of the simulator; no process runs yet."""
    opened = []

    def begin(time, *options):
        context = order_stack(servers.group, tmp_path, dsn, "--start", time, *options)
        opened.append(context)
        return context.__enter__()

    yield begin
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def stack(at):
    """A started process at noon in New York; its first balances are there."""
    made = at("2026-03-02T17:00:00Z")
    begin(made)
    return made


def begin(stack):
    stack.start()
    opened = "SELECT account FROM accounts WHERE account NOT IN (SELECT account FROM cash_openings)"
    stack.wait(lambda: stack.rows("SELECT 1 FROM cash_openings") and not stack.rows(opened), "balances", tell=stack.log)


def restart(stack):
    """Killed at once, and started again."""
    stack.kill()
    stack.start()


def filled(stack, **fields):
    return stack.until(stack.place(**{**MARKET, **fields}), "filled")


def lots(stack):
    return stack.rows("SELECT * FROM lots WHERE con_id = %s ORDER BY seq", stack.instrument.con_id)


def matches(stack):
    return stack.rows("SELECT * FROM lot_matches WHERE con_id = %s ORDER BY seq", stack.instrument.con_id)


# ---- executions ------------------------------------------------------------------------------------------------------


def test_fills_of_an_opening_batch_that_come_right_behind_1100_are_committed_during_the_outage(at):
    """Market time stands in the second of the open: 1100, and the fills of five orders behind it."""
    stack = at("2026-03-02T14:20:00Z")
    begin(stack)
    batch = []
    for symbol in ("AAPL", "MSFT", "SPY", "QQQ", "IWM"):
        stack.instrument = stack.learn(symbol)
        batch.append(stack.place(tif="OPG", **MARKET))
    for order in batch:
        stack.until(order, "working", "sent", "held")
    stack.sim.command("rate 0")
    stack.sim.command("set_clock 2026-03-02T14:30:00Z")
    stack.sim.command("lost")
    stack.sim.command("advance 0.009")
    for order in batch:
        stack.sim.command(f"fill_now {order} 10 200.5")
    for order in batch:
        stack.until(order, "filled")
    assert "1100" in stack.reason()
    assert stack.status() != "ready"
    made = stack.rows("SELECT order_id FROM executions WHERE latest AND quantity = 10 AND price = 200.5")
    assert {row.order_id for row in made} == set(batch)
    stack.kill()
    stack.sim.command("restored")
    stack.sim.command("rate 1")
    stack.start()
    settled(stack)
    assert sorted(stack.placed()) == sorted(map(str, batch))


def test_a_round_trip_made_what_the_simulator_and_ib_say(stack):
    """Where a position is flat all methods agree: first in, first out, IB's reports with each commission, the simulator's."""
    filled(stack)
    filled(stack, quantity=Decimal(4))
    restart(stack)
    filled(stack, side="SELL", quantity=Decimal(14), reducing=True)
    settled(stack)
    (ours,) = stack.rows("SELECT sum(proceeds - cost) AS gross FROM lot_matches")
    (reported,) = stack.rows(
        "SELECT sum(commission) AS fees, sum(broker_realized) AS realized FROM executions WHERE latest"
    )
    assert abs(ours.gross - reported.fees - reported.realized) < Decimal("0.01")
    stack.rows("UPDATE lot_matches SET proceeds = proceeds + 0.02 WHERE seq = 0 RETURNING 1")
    assert [line.partition(" of ")[0] for line in differences(stack)] == ["realized"], "two cents are seen"


def test_corrections_and_busts_replace_what_they_correct(stack):
    filled(stack)
    filled(stack, side="SELL", quantity=Decimal(4), reducing=True)
    stack.sim.command("correct last 290.25")
    stack.wait(lambda: [row.proceeds for row in matches(stack)] == [1161], "the correction is booked", tell=stack.log)
    restart(stack)
    settled(stack)
    stack.kill()
    stack.sim.command("bust_execution last")
    stack.start()
    stack.wait(lambda: matches(stack) == [], "the sale is taken back", tell=stack.log)
    settled(stack)
    assert [lot.quantity for lot in lots(stack)] == [10]


def test_commissions_that_are_late_come_to_the_executions_of_a_life_before(stack):
    stack.sim.command("commission_delay 90")
    filled(stack)
    restart(stack)
    assert stack.rows("SELECT commission FROM executions")[0].commission is None
    assert any("commission" in line for line in differences(stack)), "the books differ by it"
    stack.sim.command("advance 100")
    settled(stack)
    assert stack.rows("SELECT commission FROM executions")[0].commission > 0


def test_a_fill_that_turns_a_position_closes_one_lot_and_opens_another(stack):
    stack.rows("INSERT INTO risk_limits (account, name, value, set_by) VALUES ('*', 'short', 1, 'test') RETURNING 1")
    filled(stack)
    restart(stack)
    filled(stack, side="SELL", quantity=Decimal(25))
    restart(stack)
    settled(stack)
    (lot,), (match,) = lots(stack), matches(stack)
    assert (lot.quantity, match.quantity, match.flat) == (-15, 10, True)
    assert lot.opened_key == match.closed_key


def test_a_fill_of_a_currency_pair_moves_two_balances(stack):
    pair = stack.learn("EUR.USD")
    for action, quantity in (("BUY", 30_000), ("SELL", 12_000)):
        stack.sim.command(json.dumps(PAIR | {"action": action, "quantity": quantity}))
        restart(stack)
    stack.wait(lambda: len(stack.rows("SELECT 1 FROM executions")) >= 2, "both fill", tell=stack.log)
    settled(stack)
    now = cash(stack)
    assert now[stack.account, "EUR"] == 18_000
    assert now[stack.account, "USD"] != 1_000_000
    assert stack.rows("SELECT 1 FROM position_breaks WHERE con_id = %s", pair.con_id) == []


def test_two_accounts_have_books_of_their_own(at):
    stack = at("2026-03-02T17:00:00Z", "--accounts", "2")
    begin(stack)
    one, two = (row.account for row in stack.rows("SELECT account FROM accounts ORDER BY account"))
    filled(stack, account=one)
    restart(stack)
    filled(stack, account=two, quantity=Decimal(3))
    filled(stack, account=two, quantity=Decimal(3), side="SELL", reducing=True)
    settled(stack)
    assert [(lot.account, lot.quantity) for lot in lots(stack)] == [(one, 10)]
    assert [(match.account, match.quantity) for match in matches(stack)] == [(two, 3)]
    assert {account for account, _ in cash(stack)} == {one, two}


# ---- changes without an execution ------------------------------------------------------------------------------------


def until_break(stack, con_id):
    """IB has another position, executions do not explain it, and somebody has to say what it was."""
    found = lambda: stack.rows("SELECT * FROM position_breaks WHERE con_id = %s AND until IS NULL", con_id)  # noqa: E731
    stack.wait(found, "the break is found", tell=stack.log, within_s=120)
    incident = "SELECT 1 FROM incidents WHERE code = 'position-break' AND subject = %s AND until IS NULL"
    stack.wait(lambda: stack.rows(incident, f"{stack.account}:{con_id}"), "an incident asks", tell=stack.log)


def resolve(stack, con_id, kind, price=None):
    """What a person does."""
    with stack.db.transaction() as cursor:
        risk_book.lock_account(cursor, stack.account)
        (found,) = positions.open_breaks(cursor, [stack.account], con_id)
        change = Adjustment(
            account=stack.account,
            con_id=con_id,
            quantity=found.broker - found.expected,
            kind=kind,
            reason="a test",
            by="user:1",
            at=stack.market_ns(),
            price=price,
        )
        assert positions.resolve_break(cursor, found, change) is not None


def test_a_fill_that_nobody_saw_before_midnight_is_a_break_and_no_price_is_invented(at):
    """The process is away from 23:40 to 00:20 in New York, and the order fills at 23:59."""
    stack = at("2026-03-03T04:39:00Z")
    begin(stack)
    order = stack.place(tif="GTC")
    stack.until(order, "working", "sent", "held")
    stack.kill()
    stack.sim.command("set_clock 2026-03-03T04:59:00Z")
    stack.sim.command(f"fill_now {order} 10 279.5")
    stack.sim.command("set_clock 2026-03-03T05:20:00Z")
    stack.start()
    until_break(stack, stack.instrument.con_id)
    assert stack.rows("SELECT 1 FROM executions") == []
    assert lots(stack) == []
    restart(stack)
    resolve(stack, stack.instrument.con_id, "missed_fills")
    ended = "SELECT 1 FROM incidents WHERE code = 'position-break' AND until IS NULL"
    stack.wait(lambda: not stack.rows(ended), "the incident ends", tell=stack.log)
    (lot,) = lots(stack)
    assert (lot.quantity, lot.cost) == (10, None)
    assert stack.rows("SELECT 1 FROM executions") == []
    left = {line.partition(" (")[0].partition(" of")[0] for line in differences(stack)}
    assert left == {"execution", "cash"}, "the position is right; nobody knows the execution and its cash"


def test_a_split_an_expiry_and_an_assignment_are_adjustments_that_a_person_answers_for(at):
    """A position of before expires at nothing, one is split two for one, one comes by an assignment at its price."""
    stack = at("2026-03-02T17:00:00Z")
    expiring, assigned = stack.learn("MSFT"), stack.learn("SPY")
    stack.sim.command("assign MSFT 5 300")
    begin(stack)
    filled(stack)
    (before,) = lots(stack)
    stack.sim.command("split_position AAPL 2")
    stack.sim.command("assign MSFT -5 0")
    restart(stack)
    stack.sim.command("assign SPY 100 450.25")
    for one in (stack.instrument, expiring, assigned):
        until_break(stack, one.con_id)
    resolve(stack, stack.instrument.con_id, "corporate_action")
    resolve(stack, expiring.con_id, "expiry", Decimal(0))
    restart(stack)
    resolve(stack, assigned.con_id, "assignment", Decimal("450.25"))
    settled(stack)
    (lot,) = lots(stack)
    assert (lot.quantity, lot.cost) == (20, before.cost)
    (match,) = stack.rows("SELECT * FROM lot_matches")
    assert (match.con_id, match.quantity, match.proceeds, match.cost) == (expiring.con_id, 5, 0, 1_500)
    (new,) = stack.rows("SELECT * FROM lots WHERE con_id = %s", assigned.con_id)
    assert (new.quantity, new.cost) == (100, 45_025)
