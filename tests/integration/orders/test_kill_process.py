"""The kill switch of the API, the order process and the simulator together: what is cancelled at IB, and what stays."""

import functions.orders.app
from tests.support.order_process import order_stack
from tests.support.stored_bars import StoredBars


def test_a_kill_cancels_entries_at_ib_and_the_protective_stop_stays(servers, tmp_path, dsn):
    with order_stack(servers.group, tmp_path, dsn, settings={}) as stack:
        stored = StoredBars(dsn, stack.market_ns())
        try:
            api = stored.api(tmp_path, router=functions.orders.app.router)
            trader = stored.user(7, "orders:read", "orders:write", accounts=[stack.account])
            parent, profit, loss = stack.bracket(type="MKT", limit_price=None)
            stack.until(parent, "filled")
            entry = stack.place()
            stack.until(entry, "working")
            answer = api.request("POST", "/api/v1/orders/kill", headers=trader, json={"reason": "a test"})
            assert (answer.status_code, answer.json()["cancelling"]) == (202, [str(entry)]), answer.text
            stack.until(entry, "cancelled")

            def kill():
                report = api.get("/api/v1/orders/risk", headers=trader).json()
                return report["accounts"][0]["trading"]["state"], report["kills"][0]["done"], report["kills"][0]["text"]

            stack.wait(lambda: kill()[1] is not None, "the kill is done", tell=kill)
            assert (kill()[0], kill()[2]) == ("halted", "IB shows none of these orders any more")
            assert len(stack.received("cancelOrder")) == 1
            assert {stack.order(leg).state for leg in (profit, loss)} <= {"working", "held"}
            late = stack.place()
            stack.until(late, "denied")
            assert str(late) not in stack.placed()
        finally:
            stored.close()
