"""The TWS protocol as values: bytes in, requests out; fields in, frames out. No socket and no clock.

After the handshake both sides send frames: a 4-byte big-endian length, then fields of text, each ended by NUL;
the first field is the message id. `REQUESTS` is the table of everything a client may send, one line per message,
valid for the negotiated versions 157 to 178. A field marked `since` is on the wire only from that version on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

VERSION_FLOOR = 157  # below it ib_insync, ib_async and the simulator do not go
VERSION_CEILING = 178  # the newest layout here; 201 and later carry protobuf
MAX_FRAME_BYTES = 1 << 20  # the largest request seen from a real client is a few kilobytes
MAX_GREETING_BYTES = 1024
UNSET_DOUBLE = 1.7976931348623157e308  # how the API spells "no value" in a double field
UNSET_INTEGER = 2147483647  # and in an integer field

Value = str | int | float | bool | None


class Refused(Exception):
    """These bytes are not the protocol: the connection has to end."""


class Malformed(Exception):
    """A well-framed message that cannot be read. `request_id` is -1 where it was not reached."""

    def __init__(self, kind: str, request_id: int, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.request_id = request_id
        self.reason = reason


# ---- bytes -> frames -------------------------------------------------------------------------------------------------
class FrameReader:
    """Collects bytes until frames are whole; what is incomplete waits for the next call."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads completed by `data`. Raises Refused for a length of zero or above the limit."""
        self._buffer += data
        payloads: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= 4:
            size = int.from_bytes(self._buffer[at : at + 4], "big")
            if not 0 < size <= self._limit:
                raise Refused(f"frame length {size}: allowed are 1 to {self._limit}")
            if len(self._buffer) - at - 4 < size:
                break
            payloads.append(bytes(self._buffer[at + 4 : at + 4 + size]))
            at += 4 + size
        del self._buffer[:at]
        return payloads

    @property
    def waiting(self) -> int:
        """Bytes of the frame that has begun and is not whole."""
        return len(self._buffer)


@dataclass(frozen=True)
class Greeting:
    """What a client offers in its first bytes: `v157..176 +PACEAPI`."""

    lowest: int
    highest: int
    options: str = ""

    def version(self, ceiling: int = VERSION_CEILING) -> int | None:
        """The version to speak, as the gateway chooses it; None when there is none in common."""
        chosen = min(self.highest, ceiling)
        return chosen if chosen >= max(self.lowest, VERSION_FLOOR) else None


_GREETING = re.compile(r"v([0-9]{1,6})\.\.([0-9]{1,6})(?: (.*))?\Z", re.DOTALL)


class GreetingReader:
    """Reads the first bytes of a connection: `API` NUL, a length, the versions."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> tuple[Greeting, bytes] | None:
        """The greeting and the bytes behind it, or None until it is whole. Raises Refused."""
        self._buffer += data
        head = bytes(self._buffer[:4])
        if not b"API\0".startswith(head):
            raise Refused("a connection begins with API and NUL")
        if len(self._buffer) < 8:
            return None
        size = int.from_bytes(self._buffer[4:8], "big")
        if not 0 < size <= MAX_GREETING_BYTES:
            raise Refused(f"greeting length {size}: allowed are 1 to {MAX_GREETING_BYTES}")
        if len(self._buffer) < 8 + size:
            return None
        match = _GREETING.match(self._buffer[8 : 8 + size].decode("ascii", "replace"))
        if match is None:
            raise Refused("the greeting names versions as v157..178")
        rest = bytes(self._buffer[8 + size :])
        self._buffer.clear()
        return Greeting(int(match[1]), int(match[2]), match[3] or ""), rest


# ---- fields -> frames ------------------------------------------------------------------------------------------------
def text_of(value: Value) -> str:
    """One field as the gateway spells it: no value is empty, whole numbers have no point, ASCII only.

    Whole numbers without a point because the official client of 2019 reads sizes with int().
    """
    if isinstance(value, str):
        if not value.isascii():
            value = value.encode("ascii", "backslashreplace").decode()
        return value.replace("\0", "") if "\0" in value else value
    if isinstance(value, float):
        if value >= UNSET_DOUBLE:
            return "1.7976931348623157E308"
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if value is None:
        return ""
    return str(int(value))


def payload(fields: Iterable[Value]) -> bytes:
    return ("\0".join([text_of(value) for value in fields]) + "\0").encode("ascii")


def frame(*fields: Value) -> bytes:
    """One message, ready for the socket."""
    body = payload(fields)
    return len(body).to_bytes(4, "big") + body


def split(data: bytes) -> list[str]:
    """The fields of one payload. Tolerates a missing last NUL and bytes that are no UTF-8."""
    fields = data.decode("utf-8", "replace").split("\0")
    if fields and fields[-1] == "":
        fields.pop()
    return fields


# ---- requests --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Leg:
    """One leg of a combination (secType BAG)."""

    con_id: int
    ratio: int
    action: str
    exchange: str


@dataclass
class Request:
    """One message of a client. `values` holds the fields by the names of IB's documentation."""

    kind: str
    message_id: int
    values: dict[str, Value]
    legs: list[Leg] = field(default_factory=list)

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


CONTRACT = (
    "conId:i symbol secType lastTradeDateOrContractMonth strike:f right multiplier exchange primaryExchange currency"
    " localSymbol tradingClass"
)
# placeOrder is read up to whatIf, the last field that the simulator acts on; `_tail_of_order` reads what varies.
_ORDER = (
    "orderId:i " + CONTRACT + " secIdType secId action totalQuantity:f orderType lmtPrice:f auxPrice:f tif ocaGroup"
    " account openClose origin:i orderRef transmit:b parentId:i blockOrder:b sweepToFill:b displaySize:i"
    " triggerMethod:i outsideRth:b hidden:b"
)

# message id -> kind and fields. `name` text, `name:i` integer, `name:f` number, `name:b` flag; `name@176` from that
# version on; `_` a field without meaning (the message's own version); LEGS the legs when secType is BAG; REST the
# rest, unread; ORDER the second half of an order. A client may leave out fields at the end; they are then empty.
REQUESTS: dict[int, tuple[str, str]] = {
    1: ("reqMktData", f"_ reqId:i {CONTRACT} LEGS NEUTRAL genericTickList snapshot:b regulatorySnapshot:b options"),
    2: ("cancelMktData", "_ reqId:i"),
    3: ("placeOrder", f"{_ORDER} ORDER"),
    4: ("cancelOrder", "_ orderId:i manualCancelTime@169"),
    5: ("reqOpenOrders", "_"),
    6: ("reqAccountUpdates", "_ subscribe:b account"),
    7: ("reqExecutions", "_ reqId:i clientId:i account time symbol secType exchange side"),
    8: ("reqIds", "_ count:i"),
    9: ("reqContractDetails", f"_ reqId:i {CONTRACT} includeExpired:b secIdType secId issuerId@176"),
    10: ("reqMktDepth", f"_ reqId:i {CONTRACT} numRows:i isSmartDepth:b options"),
    11: ("cancelMktDepth", "_ reqId:i isSmartDepth:b"),
    12: ("reqNewsBulletins", "_ allMessages:b"),
    13: ("cancelNewsBulletins", "_"),
    14: ("setServerLogLevel", "_ level:i"),
    15: ("reqAutoOpenOrders", "_ bind:b"),
    16: ("reqAllOpenOrders", "_"),
    17: ("reqManagedAccts", "_"),
    18: ("requestFA", "_ faType:i"),
    19: ("replaceFA", "_ faType:i xml reqId:i"),
    20: (
        "reqHistoricalData",
        f"reqId:i {CONTRACT} includeExpired:b endDateTime barSize duration useRTH:b whatToShow formatDate:i LEGS"
        " keepUpToDate:b options",
    ),
    21: ("exerciseOptions", "_ reqId:i REST"),
    22: ("reqScannerSubscription", "reqId:i rows:i instrument location scanCode REST"),
    23: ("cancelScannerSubscription", "_ reqId:i"),
    24: ("reqScannerParameters", "_"),
    25: ("cancelHistoricalData", "_ reqId:i"),
    49: ("reqCurrentTime", "_"),
    50: ("reqRealTimeBars", f"_ reqId:i {CONTRACT} barSize:i whatToShow useRTH:b options"),
    51: ("cancelRealTimeBars", "_ reqId:i"),
    52: ("reqFundamentalData", "_ reqId:i REST"),
    53: ("cancelFundamentalData", "_ reqId:i"),
    54: ("calculateImpliedVolatility", f"_ reqId:i {CONTRACT} optionPrice:f underPrice:f REST"),
    55: ("calculateOptionPrice", f"_ reqId:i {CONTRACT} volatility:f underPrice:f REST"),
    56: ("cancelCalculateImpliedVolatility", "_ reqId:i"),
    57: ("cancelCalculateOptionPrice", "_ reqId:i"),
    58: ("reqGlobalCancel", "_"),
    59: ("reqMarketDataType", "_ marketDataType:i"),
    61: ("reqPositions", "_"),
    62: ("reqAccountSummary", "_ reqId:i group tags"),
    63: ("cancelAccountSummary", "_ reqId:i"),
    64: ("cancelPositions", "_"),
    71: ("startApi", "_ clientId:i optionalCapabilities"),
    74: ("reqPositionsMulti", "_ reqId:i account modelCode"),
    75: ("cancelPositionsMulti", "_ reqId:i"),
    76: ("reqAccountUpdatesMulti", "_ reqId:i account modelCode ledgerAndNLV:b"),
    77: ("cancelAccountUpdatesMulti", "_ reqId:i"),
    78: ("reqSecDefOptParams", "reqId:i symbol futFopExchange secType conId:i"),
    79: ("reqSoftDollarTiers", "reqId:i"),
    80: ("reqFamilyCodes", ""),
    81: ("reqMatchingSymbols", "reqId:i pattern"),
    82: ("reqMktDepthExchanges", ""),
    83: ("reqSmartComponents", "reqId:i bboExchange"),
    84: ("reqNewsArticle", "reqId:i providerCode articleId options"),
    85: ("reqNewsProviders", ""),
    86: ("reqHistoricalNews", "reqId:i conId:i providerCodes startDateTime endDateTime totalResults:i options"),
    87: ("reqHeadTimestamp", f"reqId:i {CONTRACT} includeExpired:b useRTH:b whatToShow formatDate:i"),
    88: ("reqHistogramData", f"reqId:i {CONTRACT} includeExpired:b useRTH:b period"),
    89: ("cancelHistogramData", "reqId:i"),
    90: ("cancelHeadTimestamp", "reqId:i"),
    91: ("reqMarketRule", "marketRuleId:i"),
    92: ("reqPnL", "reqId:i account modelCode"),
    93: ("cancelPnL", "reqId:i"),
    94: ("reqPnLSingle", "reqId:i account modelCode conId:i"),
    95: ("cancelPnLSingle", "reqId:i"),
    96: (
        "reqHistoricalTicks",
        f"reqId:i {CONTRACT} includeExpired:b startDateTime endDateTime numberOfTicks:i whatToShow useRTH:b"
        " ignoreSize:b options",
    ),
    97: ("reqTickByTickData", f"reqId:i {CONTRACT} tickType numberOfTicks:i ignoreSize:b"),
    98: ("cancelTickByTickData", "reqId:i"),
    99: ("reqCompletedOrders", "apiOnly:b"),
    100: ("reqWshMetaData", "reqId:i"),
    101: ("cancelWshMetaData", "reqId:i"),
    102: ("reqWshEventData", "reqId:i REST"),
    103: ("cancelWshEventData", "reqId:i"),
    104: ("reqUserInfo", "reqId:i"),
}


@dataclass(frozen=True)
class _Place:
    name: str
    kind: str  # text, i, f, b, or one of LEGS, NEUTRAL, REST, ORDER
    since: int


@cache
def _places(message_id: int) -> tuple[str, tuple[_Place, ...]]:
    kind, layout = REQUESTS[message_id]
    places = []
    for word in layout.split():
        if word in ("LEGS", "NEUTRAL", "REST", "ORDER"):
            places.append(_Place(word, word, 0))
            continue
        name, _, since = word.partition("@")
        name, _, letter = name.partition(":")
        places.append(_Place(name, letter or "text", int(since or 0)))
    return kind, tuple(places)


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


def request(data: bytes, version: int) -> Request:
    """Reads one payload as the negotiated version lays it out. Raises Malformed."""
    fields = split(data)
    head = fields[0] if fields else ""
    if not re.fullmatch("[0-9]{1,6}", head) or int(head) not in REQUESTS:
        raise Malformed("unknown", -1, f"Unable to parse data. message id '{head[:20]}' is unknown")
    message_id = int(head)
    kind, places = _places(message_id)
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


def _read(place: _Place, cursor: _Cursor, made: Request, version: int) -> None:
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


# Runs of fields between the places where the layout of an order varies; `_` for those that mean nothing here.
_ORDER_RUNS = (
    "_ discretionaryAmt:f goodAfterTime goodTillDate faGroup faMethod faPercentage",
    "modelCode shortSaleSlot:i designatedLocation exemptCode:i ocaType:i rule80A settlingFirm allOrNone:b minQty:f"
    " percentOffset:f eTradeOnly firmQuoteOnly nbboPriceCap:f auctionStrategy:i startingPrice:f stockRefPrice:f delta:f"
    " stockRangeLower:f stockRangeUpper:f overridePercentageConstraints:b volatility:f volatilityType:i"
    " deltaNeutralOrderType deltaNeutralAuxPrice:f",
    "continuousUpdate:b referencePriceType:i trailStopPrice:f trailingPercent:f scaleInitLevelSize:i"
    " scaleSubsLevelSize:i scalePriceIncrement:f",
    "scaleTable activeStartTime activeStopTime hedgeType",
    "optOutSmartRouting:b clearingAccount clearingIntent notHeld:b",
    "algoStrategy",
    "algoId whatIf:b",
)


@cache
def _run(layout: str) -> tuple[_Place, ...]:
    return tuple(_Place(word.partition(":")[0], word.partition(":")[2] or "text", 0) for word in layout.split())


def _tail_of_order(cursor: _Cursor, made: Request, version: int) -> None:
    def fields(number: int) -> None:
        for place in _run(_ORDER_RUNS[number]):
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
