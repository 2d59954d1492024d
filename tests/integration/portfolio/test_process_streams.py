"""What the order process keeps of accounts over the simulator's socket: profits of positions, first balances, minutes and days,
commissions that come late, and the questions around midnight."""

import json
from datetime import date
from decimal import Decimal

import pytest

from nautilus.clock import NS_PER_S, parse_rfc3339
from nautilus.portfolio.trade_dates import span_of
from tests.support.order_ledger import findings
from tests.support.order_process import order_stack
from tests.support.portfolio_book import settled

PAIR = {"cmd": "manual_order", "action": "BUY", "quantity": 20000, "symbol": "EUR.USD", "sec_type": "CASH"}
MARKET = {"type": "MKT", "limit_price": None}
_MINUTE = 60 * NS_PER_S


@pytest.fixture
def stack(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn) as made:
        yield made


@pytest.fixture
def at(servers, tmp_path, dsn):
    """A stack whose market begins at a time."""
    opened = []

    def begin(time):
        context = order_stack(servers.group, tmp_path, dsn, "--start", time)
        opened.append(context)
        return context.__enter__()

    yield begin
    for context in opened:
        context.__exit__(None, None, None)


def logged(stack, word):
    """Whether the process wrote this into its log; the log is short."""
    return word in stack.process.log.read_text()


# ---- profits of positions --------------------------------------------------------------------------------------------


def of_position(stack):
    found = stack.rows("SELECT * FROM broker_pnl WHERE con_id = %s", stack.instrument.con_id)
    return found[0] if found else None


def test_the_profit_of_a_position_is_requested_once_and_ends_with_it(stack):
    stack.start()
    stack.until(stack.place(**MARKET), "filled")
    stack.wait(lambda: of_position(stack) is not None, "IB tells the profit of the position", tell=stack.log)
    row = of_position(stack)
    (fill,) = stack.rows("SELECT price FROM executions")
    assert row.quantity == 10
    assert abs(row.value - 10 * fill.price) < 10 * fill.price / 50
    (sent,) = stack.received("reqPnLSingle")
    assert (sent["fields"]["account"], sent["fields"]["conId"]) == (stack.account, stack.instrument.con_id)
    stack.until(stack.place(side="SELL", reducing=True, **MARKET), "filled")
    stack.wait(lambda: stack.received("cancelPnLSingle"), "the stream ends", tell=stack.log)
    assert of_position(stack).quantity == 0, "the last row tells that nothing is left"
    assert len(stack.received("reqPnLSingle")) == 1


def test_positions_of_before_are_followed_again_after_a_kill(stack):
    stack.start()
    stack.until(stack.place(**MARKET), "filled")
    stack.wait(lambda: of_position(stack) is not None, "IB tells the profit of the position", tell=stack.log)
    before = of_position(stack).as_of
    stack.kill()
    stack.start()
    stack.wait(lambda: of_position(stack).as_of > before, "a newer profit comes", tell=stack.log)
    assert len(stack.received("reqPnLSingle")) == 2
    assert of_position(stack).quantity == 10


STREAMS = ("reqAccountUpdatesMulti", "reqPnL", "reqPnLSingle")


@pytest.mark.parametrize("data", ["lost", "maintained"])
def test_streams_of_accounts_are_requested_anew_after_an_outage_of_ibs_servers(stack, data):
    """After 1101 they are dead; after 1102 they may be, and nobody would see it."""
    stack.start()
    stack.until(stack.place(**MARKET), "filled")
    stack.wait(lambda: of_position(stack) is not None, "IB tells the profit of the position", tell=stack.log)
    before = {kind: len(stack.received(kind)) for kind in STREAMS}
    stack.sim.command("lost")
    stack.wait(lambda: stack.status() != "ready", "the outage is noticed", tell=stack.log)
    stack.sim.command(f"restored {data}")
    for kind in STREAMS:
        stack.wait(lambda: len(stack.received(kind)) == before[kind] + 1, f"{kind} is sent again", tell=stack.log)  # noqa: B023
    since = stack.market_ns()
    stack.wait(lambda: of_position(stack).as_of > since, "a newer profit comes", tell=stack.log)
    ended = ("cancelAccountUpdatesMulti", "cancelPnL", "cancelPnLSingle")
    assert [len(stack.received(kind)) for kind in ended] == [1, 1, 1], "none is doubled"


# ---- positions that are equal ----------------------------------------------------------------------------------------


def test_equal_positions_are_written_down_with_the_time_of_ibs_word(stack):
    stack.start()
    stack.until(stack.place(**MARKET), "filled")
    checked = "SELECT * FROM position_checks WHERE con_id = %s AND quantity = 10"
    stack.wait(lambda: stack.rows(checked, stack.instrument.con_id), "the position is verified", tell=stack.log)
    (check,) = stack.rows(checked, stack.instrument.con_id)
    (broker,) = stack.rows("SELECT as_of FROM broker_positions WHERE con_id = %s", stack.instrument.con_id)
    assert check.verified_at <= broker.as_of <= stack.market_ns()


def test_a_position_that_ib_does_not_have_is_not_verified(stack):
    stack.start()
    stack.sim.command("assign MSFT 7 300")
    differs = "SELECT 1 FROM broker_positions WHERE quantity = 7"
    stack.wait(lambda: stack.rows(differs), "IB tells the position", tell=stack.log)
    stack.wait(lambda: len(stack.received("reqExecutions")) >= 2, "the difference is seen", tell=stack.log)
    assert stack.rows("SELECT 1 FROM position_checks WHERE quantity = 7") == []


# ---- cash ------------------------------------------------------------------------------------------------------------


def openings(stack):
    return {row.currency: row.balance for row in stack.rows("SELECT * FROM cash_openings")}


def test_the_first_balance_of_each_currency_is_ibs_once_all_values_came(stack):
    """One that is taken with the first value to come has nothing for the currencies behind it."""
    stack.sim.command("cash EUR 5000")
    stack.sim.command("cash GBP 700")
    stack.start()
    stack.wait(lambda: len(openings(stack)) == 3, "balances are opened", tell=lambda: (openings(stack), stack.log()))
    assert openings(stack) == {"USD": 1_000_000, "EUR": 5_000, "GBP": 700}
    rows = stack.rows("SELECT currency FROM account_values WHERE tag = 'ExchangeRate' AND currency <> 'BASE'")
    assert {row.currency for row in rows} == {"USD", "EUR", "GBP"}


def test_a_currency_that_comes_later_began_with_nothing(stack):
    stack.start()
    stack.wait(lambda: openings(stack) == {"USD": 1_000_000}, "the balance is opened", tell=stack.log)
    stack.learn("EUR.USD")
    stack.sim.command(json.dumps(PAIR))
    stack.sim.command("advance 200")
    stack.wait(lambda: "EUR" in openings(stack), "the new currency is seen", tell=stack.log)
    assert openings(stack)["EUR"] == 0


def test_balances_that_may_lack_a_fill_open_nothing_until_they_are_requested_again(stack):
    """A fill shortly before the first start: what IB sent then may be without it."""
    stack.sim.command("manual_order BUY 10 AAPL")
    stack.start()
    ended = "SELECT 1 FROM account_values WHERE tag = 'CashBalance' AND currency = 'USD'"
    stack.wait(lambda: stack.rows(ended), "values come", tell=stack.log)
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions"), "the fill is known", tell=stack.log)
    assert openings(stack) == {}
    stack.sim.command("advance 260")
    stack.wait(lambda: openings(stack), "balances are requested again", tell=stack.log)
    (fill,) = stack.rows("SELECT quantity * price + commission AS paid FROM executions")
    assert abs(openings(stack)["USD"] - (1_000_000 - fill.paid)) < Decimal("0.01")


# ---- minutes and days ------------------------------------------------------------------------------------------------


def test_minutes_are_written_as_market_time_goes_on(stack):
    stack.start()
    minutes = "SELECT minute FROM pnl_minutes WHERE daily IS NOT NULL ORDER BY minute"
    for _ in range(3):
        before = stack.market_ns() // _MINUTE * _MINUTE
        stack.sim.command("advance 60")
        stack.wait(
            lambda: stack.rows("SELECT 1 FROM pnl_minutes WHERE minute > %s AND daily IS NOT NULL", before),  # noqa: B023
            "the next minute is written",
            tell=stack.log,
        )
    found = [row.minute for row in stack.rows(minutes)]
    assert len(found) == len(set(found)) >= 3
    assert all(minute % _MINUTE == 0 for minute in found)


def test_worth_that_does_not_change_grows_no_older(stack):
    """IB repeats only what has changed: an account without a position has one value for ever."""
    stack.start()
    stack.wait(lambda: stack.rows("SELECT 1 FROM accounts WHERE values_at IS NOT NULL"), "values come", tell=stack.log)
    worth = "SELECT 1 FROM pnl_minutes WHERE minute > %s AND net_liquidation = 1000000"
    for _ in range(7):
        before = stack.market_ns() // _MINUTE * _MINUTE
        stack.sim.command("advance 60")
        written = "SELECT 1 FROM pnl_minutes WHERE minute > %s"
        stack.wait(lambda: stack.rows(written, before), "the minute is written", tell=stack.log)  # noqa: B023
        assert stack.rows(worth, before)
    at = stack.rows("SELECT values_at FROM accounts")[0].values_at
    requested = len(stack.received("reqAccountUpdatesMulti"))
    stack.sim.command("advance 200")
    stack.wait(lambda: values_after(stack, at), "the values are requested anew", tell=stack.log)
    assert len(stack.received("reqAccountUpdatesMulti")) > min(requested, 1)


def values_after(stack, at):
    return stack.rows("SELECT 1 FROM accounts WHERE values_at > %s", at)


MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


def days(stack):
    return {row.trade_date: row for row in stack.rows("SELECT * FROM equity_days")}


def values_since(stack, time):
    since = parse_rfc3339(time)
    return stack.rows("SELECT 1 FROM accounts WHERE values_at >= %s", since)


def test_a_trade_date_ends_with_the_last_value_before_its_end_and_a_day_that_nobody_saw_has_none(at):
    """Winter: 17:00 in New York is 22:00 UTC. Nobody works on Tuesday evening."""
    stack = at("2026-03-02T21:50:00Z")
    stack.start()
    stack.wait(lambda: values_since(stack, "2026-03-02T21:50:00Z"), "values come", tell=stack.log)
    stack.sim.command("set_clock 2026-03-02T21:56:00Z")
    stack.wait(lambda: values_since(stack, "2026-03-02T21:55:30Z"), "values are requested again", tell=stack.log)
    assert MONDAY not in days(stack)
    worth = stack.rows("SELECT net_liquidation FROM accounts")[0].net_liquidation
    stack.sim.command("set_clock 2026-03-02T22:00:10Z")
    stack.wait(lambda: MONDAY in days(stack), "the day ends", tell=stack.log)
    row = days(stack)[MONDAY]
    assert (row.net_liquidation, row.currency, row.source) == (worth, "USD", "broker")
    assert span_of(MONDAY)[1] - 600 * NS_PER_S < row.as_of < span_of(MONDAY)[1]
    stack.kill()
    stack.sim.command("set_clock 2026-03-04T20:00:00Z")
    stack.start()
    stack.wait(lambda: logged(stack, "equity-day-missing"), "the missing day is told", tell=stack.log)
    assert set(days(stack)) == {MONDAY}


def test_a_process_that_was_killed_over_the_end_of_a_day_ends_it_by_the_minutes_that_it_wrote(at):
    stack = at("2026-03-02T21:50:00Z")
    stack.start()
    stack.wait(lambda: values_since(stack, "2026-03-02T21:50:00Z"), "values come", tell=stack.log)
    stack.sim.command("advance 60")
    kept = "SELECT net_liquidation FROM pnl_minutes WHERE net_liquidation IS NOT NULL"
    stack.wait(lambda: stack.rows(kept), "a minute has a value", tell=stack.log)
    stack.kill()
    stack.sim.command("set_clock 2026-03-02T22:10:00Z")
    stack.sim.command("deposit 5000")
    stack.start()
    stack.wait(lambda: MONDAY in days(stack), "the day ends", tell=stack.log)
    assert days(stack)[MONDAY].net_liquidation == 1_000_000, "not what came after its end"


# ---- contracts of before ---------------------------------------------------------------------------------------------


def test_contracts_that_nobody_booked_are_booked_before_the_process_is_ready(stack):
    stack.start()
    stack.until(stack.place(**MARKET), "filled")
    settled(stack)
    assert stack.stop() == 0
    stack.rows("WITH l AS (DELETE FROM lots) SELECT 1")
    stack.rows("WITH b AS (DELETE FROM lot_books) SELECT 1")
    assert findings(stack.db), "they are missed"
    stack.start()
    assert findings(stack.db) == []
    assert stack.rows("SELECT quantity FROM lots")[0].quantity == 10


# ---- commissions -----------------------------------------------------------------------------------------------------


def requests(stack):
    return len(stack.received("reqExecutions"))


def missing(stack):
    return stack.rows("SELECT detail FROM incidents WHERE code = 'commission-missing' AND until IS NULL")


def test_a_commission_that_never_comes_is_requested_three_times_and_stays_null(at):
    """23:30 in New York: a minute, ten minutes, and ten minutes before midnight."""
    stack = at("2026-03-03T04:30:00Z")
    stack.sim.command("commission_delay never")
    stack.start()
    made = stack.sim.command("manual_order BUY 10 AAPL 100")
    stack.sim.command(f"manual_fill {made['perm_id']} 10 100")
    stack.wait(lambda: stack.rows("SELECT 1 FROM executions"), "the fill comes", tell=stack.log)
    stack.wait(lambda: stack.rows("SELECT 1 FROM position_checks WHERE quantity = 10"), "it is quiet", tell=stack.log)
    for seconds, what in ((61, "after a minute"), (541, "after ten minutes"), (601, "ten minutes before midnight")):
        before = requests(stack)
        stack.sim.command(f"advance {seconds}")
        stack.wait(lambda: requests(stack) > before, f"it is requested {what}", tell=stack.log)  # noqa: B023
        assert missing(stack) == []
    stack.sim.command("advance 70")
    stack.wait(lambda: missing(stack), "the incident opens", tell=stack.log)
    (fill,) = stack.rows("SELECT commission, broker_realized FROM executions")
    assert (fill.commission, fill.broker_realized) == (None, None)
    stack.sim.command("commission_delay 0")


def test_a_commission_that_is_late_comes_with_the_first_question(stack):
    stack.start()
    stack.sim.command("commission_delay 30")
    stack.until(stack.place(**MARKET), "filled")
    stack.sim.command("ack_delay 100000")  # nothing comes by itself any more
    stack.sim.command("advance 61")
    paid = "SELECT 1 FROM executions WHERE commission > 0"
    stack.wait(lambda: stack.rows(paid), "the commission comes", tell=stack.log)
    stack.sim.command("ack_delay 0")
    settled(stack)


# ---- midnight of the login -------------------------------------------------------------------------------------------


def test_everything_is_requested_before_and_after_the_midnight_of_the_login(at):
    stack = at("2026-03-03T04:49:00Z")
    stack.start()
    questions = lambda: [len(stack.received(one)) for one in ("reqAllOpenOrders", "reqCompletedOrders", "reqPositions")]  # noqa: E731
    stack.wait(lambda: stack.status() == "ready", "it is ready", tell=stack.log)
    for seconds, what in ((61, "23:50"), (901, "00:05")):
        before = questions()
        stack.sim.command(f"advance {seconds}")
        more = lambda: all(now > then for now, then in zip(questions(), before, strict=True))  # noqa: B023, E731
        stack.wait(more, f"all is requested at {what}", tell=stack.log)
