"""Commands of the accounts: how many there are, money and positions that come and go without orders."""

from typing import Any

from ib_gateway_sim.account.changes import send_change, send_money
from ib_gateway_sim.account.portfolio import CURRENCY
from ib_gateway_sim.control.command import commands
from ib_gateway_sim.control.context import Context
from ib_gateway_sim.control.values import Answer, Wrong, choice, number, whole
from ib_gateway_sim.market.contracts import Contract, ContractQuery

_MOST = 1e12
_ACCOUNTS = 50  # IB's limit for account updates of all accounts of a login


def accounts(control: Context, n: Any = None) -> Answer:
    """the accounts of the login; with a number so many from the next sign-in on (SIM7, SIM7001, SIM7002), never fewer"""
    if n is not None:
        control.gateway.open_accounts(whole("n", n, len(control.gateway.portfolios), _ACCOUNTS))
    return {"accounts": list(control.gateway.portfolios)}


def fa(control: Context, on: str = "on") -> None:
    """the first account is an advisor's (on): orders that name none are shared out equally among the others; off: not"""
    control.gateway.settings.fa = choice("on", on, ["on", "off"]) == "on"


def cash(control: Context, currency: str, amount: Any, account: str = "") -> Answer:
    """the cash of an account in a currency is so much"""
    portfolio = control.gateway.portfolios[_account(control, account)]
    wanted = number("amount", amount, -_MOST, _MOST)
    return _pay(control, currency, wanted - portfolio.ledgers.get(currency, 0.0), account)


def deposit(control: Context, amount: Any, currency: str = CURRENCY, account: str = "") -> Answer:
    """money comes or, negative, goes; it is no profit"""
    return _pay(control, currency, number("amount", amount, -_MOST, _MOST), account)


def assign(
    control: Context, symbol: str, quantity: Any, price: Any, sec_type: str = "STK", account: str = ""
) -> Answer:
    """a position comes (or, negative, goes) at a price without an order and an execution, as assignments and transfers do"""
    gateway, name = control.gateway, _account(control, account)
    contract, now_s = _contract(control, symbol, sec_type), gateway.clock.now_s()
    moved = number("quantity", quantity, -1e9, 1e9)
    gateway.portfolios[name].fill(contract, moved, number("price", price, -1e9, 1e9), 0.0, at_s=now_s)
    send_change(gateway, contract, name)
    return {"account": name, "position": gateway.portfolios[name].positions[contract.con_id].quantity}


def split_position(control: Context, symbol: str, ratio: Any) -> Answer:
    """positions in a stock are multiplied by a ratio and their cost a unit divided, in all accounts; prices stay (split)"""
    gateway, contract = control.gateway, _contract(control, symbol, "STK")
    by = number("ratio", ratio, 0.001, 1000)
    held = {name: each for name, each in gateway.portfolios.items() if contract.con_id in each.positions}
    for name, portfolio in held.items():
        portfolio.split(contract, by, gateway.clock.now_s())
        send_change(gateway, contract, name)
    return {"positions": {name: each.positions[contract.con_id].quantity for name, each in held.items()}}


def _account(control: Context, account: str) -> str:
    name = control.gateway.account_named(account)
    if name is None:
        raise Wrong(f"account {account!r}; allowed: {', '.join(control.gateway.portfolios)}")
    return name


def _pay(control: Context, currency: str, amount: float, account: str) -> Answer:
    gateway, name = control.gateway, _account(control, account)
    if currency != CURRENCY and not gateway.pair_of(currency):
        raise Wrong(f"currency {currency!r}; allowed: {CURRENCY} and those with a pair of it in this market, as EUR")
    gateway.portfolios[name].pay(currency, amount, gateway.clock.now_s())
    send_money(gateway, name)
    return {"account": name, "cash": gateway.portfolios[name].ledgers}


def _contract(control: Context, symbol: str, sec_type: str) -> Contract:
    choice("sec_type", sec_type, ["STK", "FUT", "OPT"])
    query = ContractQuery(symbol=symbol, sec_type=sec_type, exchange="SMART")
    if sec_type != "STK":
        query = ContractQuery(local_symbol=symbol, sec_type=sec_type)
    found = control.gateway.market.find(query, control.gateway.clock.now_s())
    if len(found) != 1:
        raise Wrong(f"symbol {symbol!r}; allowed: a stock of this market, as AAPL; of FUT and OPT the local symbol")
    return found[0]


COMMANDS = commands(
    accounts,
    fa,
    cash,
    deposit,
    assign,
    split_position,
)
