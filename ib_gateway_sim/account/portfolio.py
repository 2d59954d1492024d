"""What the account owns: cash, positions, profit. Rules with values; prices and exchange rates are handed in."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ib_gateway_sim.market.contracts import Contract

START_CASH = 1_000_000.0
CURRENCY = "USD"
# Part of the market value that an open position binds; ours, of the size of a Reg T account.
_MARGIN = {"STK": 0.5, "CFD": 0.25, "CASH": 0.03, "FUT": 0.08, "CRYPTO": 1.0, "OPT": 1.0}
_MARKED = ("FUT", "CFD")  # settled by profit alone: their value is no property

Mark = Callable[[Contract], float]  # the price at which a position is valued
Rate = Callable[[str], float]  # US dollars for one unit of a currency


def multiplier(contract: Contract) -> float:
    return float(contract.multiplier or 1)


def commission(contract: Contract, quantity: float, price: float) -> float:
    """In the contract's currency, of the size of IB's fixed prices."""
    if contract.sec_type == "STK":
        return round(max(1.0, 0.005 * quantity), 4)
    if contract.sec_type == "CASH":
        return round(max(2.0, 0.00002 * quantity * price), 4)
    if contract.sec_type == "FUT":
        return round(2.25 * quantity, 4)
    if contract.sec_type == "CRYPTO":
        return round(0.0018 * quantity * price, 4)
    return round(max(1.0, 0.65 * quantity), 4)


@dataclass
class Position:
    contract: Contract
    quantity: float = 0.0
    average_cost: float = 0.0  # per unit, times the multiplier, commission included, as IB shows it
    realized: float = 0.0

    def value(self, mark: float) -> float:
        return self.quantity * mark * multiplier(self.contract)

    def unrealized(self, mark: float) -> float:
        return self.value(mark) - self.quantity * self.average_cost


@dataclass
class Totals:
    """In US dollars."""

    cash: float
    positions: float
    net: float
    margin: float
    unrealized: float
    realized: float

    @property
    def available(self) -> float:
        return self.net - self.margin


@dataclass
class Portfolio:
    cash: float = START_CASH  # US dollars; fills in other currencies are converted at once
    positions: dict[int, Position] = field(default_factory=dict)  # conId -> position, flat ones included

    def fill(self, contract: Contract, quantity: float, price: float, fee: float, rate: float) -> float | None:
        """Books a fill (`quantity` negative for a sale); the profit it realizes, None where it only opens."""
        position = self.positions.setdefault(contract.con_id, Position(contract))
        unit = price * multiplier(contract)
        if contract.sec_type not in _MARKED:
            self.cash -= (quantity * unit + fee) * rate
        closing = min(abs(quantity), abs(position.quantity)) if quantity * position.quantity < 0 else 0.0
        profit = None
        if closing:
            sign = 1 if position.quantity > 0 else -1
            profit = closing * sign * (unit - position.average_cost) - fee
            position.realized += profit
            if contract.sec_type in _MARKED:
                self.cash += profit * rate  # with the opening fee, which the cost carries
        opening = abs(quantity) - closing
        held = abs(position.quantity) - closing
        if opening:
            cost = opening * unit + (0.0 if closing else fee * (1 if quantity > 0 else -1))
            position.average_cost = (held * position.average_cost + cost) / (held + opening)
        position.quantity = round(position.quantity + quantity, 10)
        if position.quantity == 0:
            position.average_cost = 0.0
        return profit

    def open_positions(self) -> list[Position]:
        return [position for position in self.positions.values() if position.quantity]

    def totals(self, mark: Mark, rate: Rate) -> Totals:
        property_value = margin = unrealized = realized = marked = 0.0
        for position in self.positions.values():
            dollars = rate(position.contract.currency)
            price = mark(position.contract) if position.quantity else 0.0
            value, gain = position.value(price) * dollars, position.unrealized(price) * dollars
            margin += abs(value) * margin_rate(position.contract)
            unrealized += gain
            realized += position.realized * dollars
            property_value += value
            marked += gain if position.contract.sec_type in _MARKED else value
        return Totals(self.cash, property_value, self.cash + marked, margin, unrealized, realized)


def margin_rate(contract: Contract) -> float:
    return _MARGIN.get(contract.sec_type, 1.0)
