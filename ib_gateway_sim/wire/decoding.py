"""Payloads to requests, as the negotiated version lays them out."""

import re

from ib_gateway_sim.wire.codec import UNSET_DOUBLE, split
from ib_gateway_sim.wire.layouts import ORDER_RUNS, REQUESTS, Place, layout_of, run_of
from ib_gateway_sim.wire.request import CONDITION_FIELDS, Condition, Leg, Malformed, Request


def _integer(text: str) -> int:
    if text == "":
        return 0
    if not text.isascii():
        raise ValueError
    number = float(text) if not text.lstrip("-").isdigit() else int(text)
    if abs(number) > 2**63:
        raise ValueError
    return int(number)


def _number(text: str) -> float | None:
    """A price or size; None where there is none. `Infinite` and IB's unset value count as none."""
    if text in ("", "Infinite", "Infinity"):
        return None
    value = float(text)
    if value != value or abs(value) == float("inf"):
        raise ValueError
    return None if value >= UNSET_DOUBLE else value


def _flag(text: str) -> bool:
    return text.strip().lower() not in ("", "0", "false")


class _Cursor:
    def __init__(self, fields: list[str]) -> None:
        self._fields = fields
        self._at = 1

    def take(self) -> str:
        if self._at >= len(self._fields):
            return ""
        self._at += 1
        return self._fields[self._at - 1]

    def rest(self) -> list[str]:
        left = self._fields[self._at :]
        self._at = len(self._fields)
        return left

    @property
    def left(self) -> int:
        return max(0, len(self._fields) - self._at)


def _legs(cursor: _Cursor) -> list[Leg]:
    count = _integer(cursor.take())
    if not 0 <= count <= cursor.left // 4:
        raise ValueError
    return [Leg(_integer(cursor.take()), _integer(cursor.take()), cursor.take(), cursor.take()) for _ in range(count)]


def _conditions(cursor: _Cursor) -> list[Condition]:
    count = _integer(cursor.take())
    if not 0 <= count <= cursor.left // 4:
        raise ValueError
    made = []
    for _ in range(count):
        kind, conjunction = _integer(cursor.take()), cursor.take()
        if kind not in CONDITION_FIELDS:
            raise ValueError
        made.append(Condition(kind, conjunction, tuple(cursor.take() for _ in range(CONDITION_FIELDS[kind]))))
    return made


def read_request(data: bytes, version: int) -> Request:
    """Reads one payload as the negotiated version lays it out. Raises Malformed."""
    fields = split(data)
    head = fields[0] if fields else ""
    if not re.fullmatch("[0-9]{1,6}", head) or int(head) not in REQUESTS:
        raise Malformed("unknown", -1, f"Unable to parse data. message id '{head[:20]}' is unknown")
    message_id = int(head)
    kind, places = layout_of(message_id)
    made = Request(kind, message_id, {})
    cursor = _Cursor(fields)
    for place in places:
        if place.since > version:
            continue
        try:
            _read(place, cursor, made, version)
        except (ValueError, OverflowError):
            raise Malformed(
                kind, made.request_id, f"Unable to parse data. field {place.name} of {kind} is no {_KINDS[place.kind]}"
            ) from None
    return made


_KINDS = {
    "i": "integer",
    "f": "number",
    "b": "flag",
    "text": "text",
    "LEGS": "list of legs",
    "NEUTRAL": "contract",
    "ORDER": "order",
}


def _read(place: Place, cursor: _Cursor, made: Request, version: int) -> None:
    if place.kind == "LEGS":
        if made.text("secType") == "BAG":
            made.legs = _legs(cursor)
    elif place.kind == "NEUTRAL":
        if _flag(cursor.take()):
            for _ in range(3):
                cursor.take()
    elif place.kind == "ORDER":
        _tail_of_order(cursor, made, version)
    elif place.kind == "REST":
        made.values["rest"] = "\0".join(cursor.rest())
    elif place.name == "_":
        cursor.take()
    else:
        text = cursor.take()
        made.values[place.name] = {"i": _integer, "f": _number, "b": _flag}.get(place.kind, str)(text)


def _tail_of_order(cursor: _Cursor, made: Request, version: int) -> None:
    def fields(number: int) -> None:
        for place in run_of(ORDER_RUNS[number]):
            _read(place, cursor, made, version)

    def skip(count: int) -> None:
        if not 0 <= count <= max(cursor.left, 8):
            raise ValueError
        for _ in range(count):
            cursor.take()

    if made.text("secType") == "BAG":
        skip(8 * _integer(cursor.take()))
        skip(_integer(cursor.take()))
        skip(2 * _integer(cursor.take()))
    fields(0)
    skip(1 if version < 177 else 0)  # faProfile
    fields(1)
    skip(8 if made.text("deltaNeutralOrderType") else 0)
    fields(2)
    skip(7 if made.number("scalePriceIncrement") > 0 else 0)
    fields(3)
    skip(1 if made.text("hedgeType") else 0)
    fields(4)
    skip(3 if _flag(cursor.take()) else 0)
    fields(5)
    skip(2 * _integer(cursor.take()) if made.text("algoStrategy") else 0)
    fields(6)
    skip(5 if made.text("orderType").upper() == "PEG BENCH" else 0)
    made.conditions = _conditions(cursor)
    if made.conditions:
        fields(7)
