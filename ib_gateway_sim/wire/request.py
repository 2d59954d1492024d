"""One message of a client as a value."""

from dataclasses import dataclass, field

from ib_gateway_sim.wire.codec import Value


class Malformed(Exception):
    """A well-framed message that cannot be read. `request_id` is -1 where it was not reached."""

    def __init__(self, kind: str, request_id: int, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.request_id = request_id
        self.reason = reason


@dataclass(frozen=True)
class Leg:
    """One leg of a combination (secType BAG)."""

    con_id: int
    ratio: int
    action: str
    exchange: str


CONDITION_FIELDS = {1: 5, 3: 2, 4: 2, 5: 3, 6: 4, 7: 4}
"""Kind of a condition (price, time, margin, execution, volume, percent change) -> fields behind kind and conjunction."""


@dataclass(frozen=True)
class Condition:
    """One condition of an order. `fields` as the client spelled them, in the order of IB's documentation."""

    kind: int
    conjunction: str  # how it is joined to the next one: a (and) | o (or)
    fields: tuple[str, ...]


@dataclass
class Request:
    """One message of a client. `values` holds the fields by the names of IB's documentation."""

    kind: str
    message_id: int
    values: dict[str, Value]
    legs: list[Leg] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)

    @property
    def request_id(self) -> int:
        """The id that answers carry: reqId, for orders the order id, else -1."""
        for name in ("reqId", "orderId"):
            if name in self.values:
                return self.integer(name)
        return -1

    def text(self, name: str) -> str:
        return str(self.values.get(name) or "")

    def integer(self, name: str) -> int:
        value = self.values.get(name)
        return int(value) if isinstance(value, int | float) else 0

    def optional(self, name: str) -> float | None:
        """A number, or None where the client sent none (empty or IB's unset value)."""
        value = self.values.get(name)
        return float(value) if isinstance(value, int | float) else None

    def number(self, name: str) -> float:
        return self.optional(name) or 0.0

    def flag(self, name: str) -> bool:
        return bool(self.values.get(name))
