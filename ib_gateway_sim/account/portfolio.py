"""What one account owns: cash by currency, positions, profit. Rules with values; prices and exchange rates are handed in.

Everything that changes it is a booking, and the account is what its bookings come to in their order: so a booking can be
corrected or taken back later.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ib_gateway_sim.market.contracts import Contract

START_CASH = 1_000_000.0
CURRENCY = "USD"  # the account's own
# Part of the market value that an open position binds; ours, of the size of a Reg T account.
_MARGIN = {"STK": 0.5, "CFD": 0.25, "CASH": 0.03, "FUT": 0.08, "CRYPTO": 1.0, "OPT": 1.0}
SETTLED_BY_PROFIT = ("FUT", "CFD")  # settled by profit alone: their value is no property

Mark = Callable[[Contract], float]  # the price at which a position is valued
Rate = Callable[[str], float]  # US dollars for one unit of a currency


def multiplier(contract: Contract) -> float:
    return float(contract.multiplier or 1)


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
class Booking:
    """A fill (`contract`, signed `quantity`, `price`, `fee` in the contract's currency); with a `ratio` a split of the
    position instead; without a contract a payment of `quantity` in a currency."""

    key: str  # the execution without its revision; empty: no execution
    contract: Contract | None
    quantity: float
    price: float = 0.0
    fee: float = 0.0
    currency: str = CURRENCY
    ratio: float = 0.0
    at_s: float = 0.0  # market time


def _start() -> dict[str, float]:
    return {CURRENCY: START_CASH}


@dataclass
class Portfolio:
    ledgers: dict[str, float] = field(default_factory=_start)  # currency -> cash in it
    positions: dict[int, Position] = field(default_factory=dict)  # conId -> position, flat ones included
    bookings: list[Booking] = field(default_factory=list)

    @property
    def cash(self) -> float:
        """In the account's currency alone."""
        return self.ledgers.get(CURRENCY, 0.0)

    # ---- bookings ------------------------------------------------------------------------------------------------
    def fill(
        self, contract: Contract, quantity: float, price: float, fee: float, key: str = "", at_s: float = 0.0
    ) -> float | None:
        """Books a fill (`quantity` negative for a sale); the profit it realizes, None where it only opens."""
        return self._book(Booking(key, contract, quantity, price, fee, at_s=at_s))

    def pay(self, currency: str, amount: float, at_s: float = 0.0) -> None:
        """Cash that comes or, negative, goes."""
        self._book(Booking("", None, amount, currency=currency, at_s=at_s))

    def split(self, contract: Contract, ratio: float, at_s: float = 0.0) -> None:
        """One unit of a position becomes `ratio` units; what they cost together stays."""
        self._book(Booking("", contract, 0.0, ratio=ratio, at_s=at_s))

    def correct(self, key: str, quantity: float, price: float, fee: float) -> None:
        """Another quantity (signed), price and fee for a fill that is booked; a quantity of 0 takes it back."""
        for booking in self.bookings:
            if booking.key == key:
                booking.quantity, booking.price, booking.fee = quantity, price, fee
        bookings, self.bookings = self.bookings, []
        self.ledgers, self.positions = _start(), {}
        for booking in bookings:
            self._book(booking)

    def _book(self, booking: Booking) -> float | None:
        self.bookings.append(booking)
        contract = booking.contract
        if contract is None:
            self._pay(booking.currency, booking.quantity)
            return None
        position = self.positions.setdefault(contract.con_id, Position(contract))
        if booking.ratio:
            position.quantity = round(position.quantity * booking.ratio, 10)
            position.average_cost /= booking.ratio
            return None
        self._settle(booking, contract)
        return self._move(position, booking)

    def _pay(self, currency: str, amount: float) -> None:
        self.ledgers[currency] = self.ledgers.get(currency, 0.0) + amount

    def _settle(self, booking: Booking, contract: Contract) -> None:
        """Cash against the instrument; a currency pair moves two ledgers. What is settled by profit alone moves none."""
        if contract.sec_type not in SETTLED_BY_PROFIT:
            self._pay(contract.currency, -(booking.quantity * booking.price * multiplier(contract) + booking.fee))
        if contract.sec_type == "CASH":
            self._pay(contract.symbol, booking.quantity)

    def _move(self, position: Position, booking: Booking) -> float | None:
        quantity, fee, unit = booking.quantity, booking.fee, booking.price * multiplier(position.contract)
        closing = min(abs(quantity), abs(position.quantity)) if quantity * position.quantity < 0 else 0.0
        profit = None
        if closing:
            sign = 1 if position.quantity > 0 else -1
            profit = closing * sign * (unit - position.average_cost) - fee
            position.realized += profit
            if position.contract.sec_type in SETTLED_BY_PROFIT:
                self._pay(position.contract.currency, profit)  # with the opening fee, which the cost carries
        opening = abs(quantity) - closing
        held = abs(position.quantity) - closing
        if opening:
            cost = opening * unit + (0.0 if closing else fee * (1 if quantity > 0 else -1))
            position.average_cost = (held * position.average_cost + cost) / (held + opening)
        position.quantity = round(position.quantity + quantity, 10)
        if position.quantity == 0:
            position.average_cost = 0.0
        return profit

    # ---- what it comes to ----------------------------------------------------------------------------------------
    def open_positions(self) -> list[Position]:
        return [position for position in self.positions.values() if position.quantity]

    def currencies(self) -> list[str]:
        """Its own first, then those it has cash or a position in."""
        held = {position.contract.currency for position in self.open_positions()}
        held |= {currency for currency, amount in self.ledgers.items() if amount}
        return [CURRENCY, *sorted(held - {CURRENCY})]

    def daily(self, contract: Contract, since_s: float, close: float, mark: float) -> float:
        """Profit of one contract since a time, in its currency: of what was held then since the close before, of what
        was traded since then since its price, less commissions. IB's definition of Daily P&L (TWS users' guide)."""
        held = flow = 0.0
        for booking in self.bookings:
            if booking.contract is None or booking.contract.con_id != contract.con_id:
                continue
            if booking.ratio:
                held *= booking.ratio
            elif booking.at_s < since_s:
                held += booking.quantity
            else:
                flow -= booking.quantity * booking.price * multiplier(contract) + booking.fee
        position = self.positions.get(contract.con_id)
        return (position.value(mark) if position else 0.0) - held * close * multiplier(contract) + flow

    def totals(self, mark: Mark, rate: Rate) -> Totals:
        """Currency pairs are no property beside the cash that they have moved, and bind margin by their value."""
        property_value = margin = unrealized = realized = marked = 0.0
        for position in self.positions.values():
            dollars, kind = rate(position.contract.currency), position.contract.sec_type
            price = mark(position.contract) if position.quantity else 0.0
            value, gain = position.value(price) * dollars, position.unrealized(price) * dollars
            margin += abs(value) * margin_rate(position.contract)
            unrealized += gain
            realized += position.realized * dollars
            property_value += value
            marked += gain if kind in SETTLED_BY_PROFIT else 0.0 if kind == "CASH" else value
        cash = sum(amount * rate(currency) for currency, amount in self.ledgers.items())
        return Totals(cash, property_value, cash + marked, margin, unrealized, realized)


def margin_rate(contract: Contract) -> float:
    return _MARGIN.get(contract.sec_type, 1.0)
