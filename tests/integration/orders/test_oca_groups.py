"""Groups of which one order cancels the others, at the gateway: a name joins the orders of one account, and no others."""

from nautilus.orders.groups import oca_group_id
from tests.support.order_process import order_stack


def members(stack, account):
    """Two orders of the group `out` in an account."""
    group = {
        "group_id": oca_group_id(account, "out"),
        "group_kind": "oca",
        "group_role": "member",
        "oca_group": "out",
        "oca_type": 1,
    }
    return [stack.place(account=account, limit_price=price, **group) for price in ("279.00", "278.00")]


def test_one_name_in_two_accounts_is_two_groups_at_ib(servers, tmp_path, dsn):
    """An order of one account fills: the other one of its group is cancelled, those of the other account work on."""
    with order_stack(servers.group, tmp_path, dsn, "--accounts", "2", settings={}) as stack:
        ours, theirs = (members(stack, account) for account in (stack.account, f"{stack.account}001"))
        for order in (*ours, *theirs):
            stack.until(order, "working")
        stack.sim.command(f"fill_now {ours[0]}")
        stack.until(ours[0], "filled")
        stack.until(ours[1], "cancelled")
        assert [stack.order(order).state for order in theirs] == ["working", "working"]
        named = {str(one["fields"]["orderRef"]): one["fields"]["ocaGroup"] for one in stack.received("placeOrder")}
        assert named == {str(order): str(stack.order(order).group_id) for order in (*ours, *theirs)}
        assert len(set(named.values())) == 2
