"""What IB takes for an order, by its public schedule for US customers ("Fixed" pricing where there is a choice).

Source: interactivebrokers.com, Pricing, Commissions (stocks, options, futures, spot currencies, CFDs, crypto currencies),
as read in 2025: shares 0.005 USD each, at least 1 USD an order, at most 1 % of the value of the trade, which goes before
the minimum. Options by premium: 0.65 USD a contract from 0.10, 0.50 from 0.05, 0.25 below, at least 1 USD. Currencies 0.2
basis points of the value, at least 2 USD. Crypto currencies 0.18 %, at least 1.75 USD, at most 1 %. Futures 2.25 USD a
contract: 0.85 and the fees of the exchange and its regulator, as for E-mini futures of the CME; IB has a price for each
product, and this is that of one. Share CFDs as shares, without the cap.
"""

from ib_gateway_sim.account.portfolio import multiplier
from ib_gateway_sim.market.contracts import Contract

_SHARE, _SHARE_LEAST, _MOST_PART = 0.005, 1.0, 0.01
_OPTION_PREMIUMS = ((0.10, 0.65), (0.05, 0.50), (0.0, 0.25))  # from this premium on: a contract
_OPTION_LEAST = 1.0
_FUTURE = 2.25
_CURRENCY_PART, _CURRENCY_LEAST = 0.00002, 2.0
_CRYPTO_PART, _CRYPTO_LEAST = 0.0018, 1.75


def order_commission(contract: Contract, quantity: float, price: float, dollars: float = 1.0) -> float:
    """Of a whole order, in the contract's currency. `dollars`: US dollars for one unit of it, as minima are in dollars."""
    value = abs(quantity * price * multiplier(contract))
    kind, quantity = contract.sec_type, abs(quantity)
    if kind == "STK":
        fee = min(max(_SHARE_LEAST / dollars, _SHARE / dollars * quantity), _MOST_PART * value)
    elif kind == "CFD":
        fee = max(_SHARE_LEAST / dollars, _SHARE / dollars * quantity)
    elif kind == "CASH":
        fee = max(_CURRENCY_LEAST / dollars, _CURRENCY_PART * value)
    elif kind == "CRYPTO":
        fee = min(max(_CRYPTO_LEAST / dollars, _CRYPTO_PART * value), _MOST_PART * value)
    elif kind == "FUT":
        fee = _FUTURE / dollars * quantity
    else:
        each = next(fee for least, fee in _OPTION_PREMIUMS if abs(price) >= least)
        fee = max(_OPTION_LEAST / dollars, each / dollars * quantity)
    return round(fee, 4)


def fill_commission(
    contract: Contract, before: tuple[float, float], shares: float, price: float, dollars: float = 1.0
) -> float:
    """What one fill adds: minimum and cap hold for the order. `before`: quantity filled so far, and its mean price."""
    filled, mean = before
    quantity = filled + shares
    whole = order_commission(contract, quantity, (filled * mean + shares * price) / quantity, dollars)
    return round(whole - order_commission(contract, filled, mean, dollars), 4) if filled else whole
