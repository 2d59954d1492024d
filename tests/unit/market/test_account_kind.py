"""All managed accounts are judged, and a login of several kinds is of none."""

import pytest

from ib_bridge.source import source_of
from nautilus.market.account_kind import account_kind
from nautilus.process.errors import CannotStart


@pytest.mark.parametrize(
    ("accounts", "kind"),
    [
        (["SIM7"], "simulator"),
        (["SIM7", "SIM7001", "SIM7002"], "simulator"),
        (["SIMR0a1b2c3d"], "simulator"),
        (["DU1234567"], "paper"),
        (["DF12345", "DU12346"], "paper"),
        (["U1234567", "U1234568"], "live"),
        (["F12345", "U12346"], "live"),
        (["SIMON1"], "live"),  # what is not known may be real money
    ],
)
def test_the_kind_of_a_login(accounts, kind):
    assert account_kind(accounts) == kind


@pytest.mark.parametrize("accounts", [[], ["DU1", "U2"], ["U2", "DU1"], ["SIM7", "DU1"], ["SIM7", "U1"]])
def test_no_account_and_several_kinds_are_refused(accounts):
    with pytest.raises(ValueError, match=", ".join(accounts) or "no account"):
        account_kind(accounts)
    with pytest.raises(CannotStart):
        source_of(accounts, "")


@pytest.mark.parametrize(
    ("accounts", "source"),
    [
        (["SIM7", "SIM7001"], "sim:7"),
        (["SIM7001", "SIM7"], "sim:7"),
        (["SIMRab12cd34", "SIMRab12cd34001"], "replay:eurusd:ab12cd34"),
        (["DU1"], "ib:paper"),
        (["U1", "U2"], "ib:live"),
    ],
)
def test_the_source_of_bars_is_told_by_all_accounts(accounts, source):
    assert source_of(accounts, "eurusd") == source
