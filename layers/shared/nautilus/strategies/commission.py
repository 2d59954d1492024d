"""What a broker charges for one order, from the terms of its instrument."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, Self


class Terms(NamedTuple):
    """In the instrument's currency; of one order, however many executions it has.

    per_unit: per share or contract. rate: fraction of the order's value. minimum: the least. most_rate: the most, as a
    fraction of the order's value; None where there is no such limit. IB charges the most where it is below the least.
    """

    per_unit: Decimal
    rate: Decimal
    minimum: Decimal
    most_rate: Decimal | None

    @classmethod
    def of(cls, row: Mapping[str, str | None]) -> Self:
        """The terms of a message's object `commission`."""
        most = row["most_rate"]
        per_unit, rate, minimum = (Decimal(row[name] or "0") for name in ("per_unit", "rate", "minimum"))
        return cls(per_unit, rate, minimum, None if most is None else Decimal(most))

    def charge(self, quantity: Decimal, value: Decimal) -> Decimal:
        """The commission of `quantity` units that are worth `value`; nothing for nothing."""
        if not quantity:
            return Decimal(0)
        charged = max(self.minimum, self.per_unit * quantity + self.rate * abs(value))
        return charged if self.most_rate is None else min(charged, self.most_rate * abs(value))
